"""`asset-ledger runs`: what was read, when, and what failed. Read from the ledger, not from Dagster."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.probing import print_target_table
from asset_ledger.cli.reports import counted, print_report
from asset_ledger.cli.screen import coloured, note, print_json, print_table, say, short
from asset_ledger.cli.wording import proof_in_words

if TYPE_CHECKING:
    from asset_ledger.store.database import Connection

app = typer.Typer(help="What was read, when, and what failed.", no_args_is_help=True)


@app.command("list")
def list_(
    source: Annotated[str | None, typer.Option(help="Of this source.")] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="collect, or collect_SCOPE of one scope alone: what it read. replay: what it derived again."),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those with something that failed.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    offset: Annotated[int, typer.Option(min=0, help="How many to pass over.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what runs read or derived again, newest first: a row for each source and day of a run."""
    from asset_ledger.store.query.runs import list_runs

    if mode is not None and mode not in _modes():
        raise typer.BadParameter(f"{mode!r} is none of {', '.join(_modes())}", param_hint="--mode")
    with connected() as connection:
        found = list_runs(connection, source=source, mode=mode, failed=failed, limit=limit, offset=offset)
    if as_json:
        print_json(found)
        return
    if not found:
        if source or mode or failed:
            sources = "" if source is None else " The sources are in `asset-ledger sources list`."
            note(f"No run is like that. See all with `asset-ledger runs list`.{sources}")
        else:
            note("Nothing was read yet. Try `asset-ledger import FILE --dry-run`, or `asset-ledger up`.")
        return
    rows = [
        [
            short(each["run_id"]),
            each["source"],
            each["mode"],
            each["collected_date"],
            each["recorded_at"],
            coloured(each["status"]),
            each["ok"],
            each["partial"],
            each["failed"],
            each["error_code"] or counted(each["counts"]),
        ]
        for each in found
    ]
    columns = ["run!", "source", "mode", "day!", "when!", "status", "ok>", "partial>", "failed>", "what it did…"]
    print_table(columns, rows)
    say("`asset-ledger runs show RUN` shows each target and rejected row")


def _modes() -> list[str]:
    from asset_ledger.sources.registry import PLATFORMS, platform

    scopes = dict.fromkeys(scope for name in PLATFORMS for scope in platform(name).scopes if scope != "all")
    return ["collect", *(f"collect_{scope}" for scope in scopes), "replay"]


class Status(StrEnum):
    """How a target fared."""

    OK = "ok"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or what it begins with.")],
    failed: Annotated[bool, typer.Option("--failed", help="Only targets that failed or are partial.")] = False,
    status: Annotated[Status | None, typer.Option(help="Only targets of this status.")] = None,
    code: Annotated[str | None, typer.Option(help="Only targets with this error code.")] = None,
    search: Annotated[str | None, typer.Option(help="Only targets with this in name, message or effect.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many targets at most.")] = 100,
    offset: Annotated[int, typer.Option(min=0, help="How many targets to pass over.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: whole reports.")] = False,
) -> None:
    """Show one run: its readings with their reports, and its targets, failed ones first."""
    from asset_ledger.store.query.runs import count_records, run_days, run_records, run_reports

    wishes: dict[str, Any] = {
        "failed": failed,
        "status": None if status is None else status.value,
        "code": None if code is None else code.upper(),
        "text": search,
    }
    with connected() as connection:
        run_id = _find(connection, run)
        document: dict[str, Any] = {
            "run_id": run_id,
            "readings": run_reports(connection, run_id),
            "days": run_days(connection, run_id),
            "total": count_records(connection, run_id, **wishes),
            "offset": offset,
            "targets": run_records(connection, run_id, **wishes, limit=limit, offset=offset),
        }
    if as_json:
        print_json(document)
        return
    say(f"run {run_id}")
    for reading in document["readings"]:
        what = reading["target"] or "all targets"
        say(f"{reading['source']} for {reading['collected_date']}, {reading['mode']}, {reading['status']}: {what}")
        for line in proof_in_words(reading["proof"]):
            say(f"  {line}")
        if reading["error_code"]:
            say(f"  {reading['error_code']}; `asset-ledger errors {reading['error_code']}` says what to do")
        elif reading["status"] == "failed":
            say("  nothing was derived from it; the targets below say why")
        else:
            print_report(reading["report"], reading["source"])
    _print_page(document, filtered=any(wishes.values()))


def _print_page(document: dict[str, Any], *, filtered: bool) -> None:
    say("targets")
    targets, total, offset = document["targets"], document["total"], document["offset"]
    print_target_table(targets)
    names = ("failed", "partial", "skipped", "ok")
    counts = {name: sum(day[name] for day in document["days"]) for name in names}
    every = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no targets"
    say(f"  like that: {total} of the run's targets; in all {every}" if filtered else f"  {every}")
    last = offset + len(targets)
    if targets and (offset or last < total):
        more = f"; --offset {last} goes on" if last < total else ""
        note(f"  {offset + 1} to {last} of {total}{more}")
    elif not targets and offset:
        note(f"  --offset {offset} is behind the last of {total}")


def _find(connection: Connection, prefix: str) -> str:
    from asset_ledger.store.query.runs import runs_beginning_with

    found = runs_beginning_with(connection, prefix) if prefix else []
    if not found:
        raise typer.BadParameter(f"no run begins with {prefix!r}; `asset-ledger runs list` lists them")
    if len(found) > 1 and prefix not in found:
        raise typer.BadParameter(f"several runs begin with {prefix!r}: {', '.join(found)}")
    return prefix if prefix in found else found[0]
