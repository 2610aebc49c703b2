"""`asset-ledger sources`: the sources of sources.yaml and of the ledger; check, detect and collect are Dagster runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.days import checked_day
from asset_ledger.cli.opening import connected, open_ledger
from asset_ledger.cli.probing import print_targets
from asset_ledger.cli.reports import counted, print_report
from asset_ledger.cli.screen import age, machine_today, note, print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from asset_ledger.cli.dagster_run import RunRequest
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.settings import Settings
    from asset_ledger.sources.platform import SourceConfig
    from asset_ledger.store.database import Connection

app = typer.Typer(help="Where machines come from: list, check, detect, collect, show a reading.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The source's name in sources.yaml.")]
SHOWN = 500


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List every source of sources.yaml, and those the ledger has history of although they are no longer in it."""
    from asset_ledger.settings import Settings
    from asset_ledger.store.query.sources import list_sources, read_twice

    settings = Settings.load()
    file = settings.sources_file
    configured = _configured(settings)  # before a server is started: what is wrong in the file is said at once
    with connected() as connection:
        known = list_sources(connection)
        twice = read_twice(connection)
    found = [entry for source in configured for entry in _entries(source, known)]
    names = {source.name for source in configured}
    found += [
        {"state": "removed", "contract": None, "schedule": None, "description": "", **row}
        for row in known
        if row["name"] not in names
    ]
    if as_json:
        print_json(found)
        return
    if not file.exists():
        note(f"There is no {file}: copy sources.example.yaml to it, or run `asset-ledger up` once.")
    if not found:
        return
    today = machine_today()
    several = any(each.get("scope") not in (None, "all") for each in found)
    columns = [
        "name!",
        *(["scope!"] if several else []),
        "state",
        "platform",
        "contract",
        "zone",
        "schedule!",
        "last reading!",
        "machines>",
        "inst.>",
        "it did…",
    ]
    rows = [
        [
            each["name"],
            *([each.get("scope")] if several else []),
            each["state"],
            each["platform"],
            each["contract"],
            each["zone"],
            each["schedule"],
            _last(each, today),
            each.get("assets"),
            each.get("instances"),
            each.get("last_error_code") or counted(each.get("last_counts")),
        ]
        for each in found
    ]
    print_table(columns, rows)
    enabled = {each["name"] for each in found if each["state"] == "enabled"}
    for pair in twice:
        if {pair["source"], pair["other"]} <= enabled:  # nothing else can be done about it here
            note(
                f"{pair['source']} and {pair['other']} seem to read the same cluster {pair['cluster']}: "
                "its machines are in the ledger twice; disable one"
            )


def _configured(settings: Settings) -> tuple[SourceConfig, ...]:
    """Return the sources of the file, disabled ones too; none where there is no file."""
    from asset_ledger.sources.config import load_sources

    file = settings.sources_file
    return load_sources(file, settings.home) if file.exists() else ()


def _entries(source: SourceConfig, known: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield an entry for each scope in which a source is read, or was read once."""
    from asset_ledger.pipeline.chains import chains, timed
    from asset_ledger.pipeline.ledger import platform_of

    platform = platform_of(source)
    read = {row["scope"]: row for row in known if row["name"] == source.name}
    crons = {each.mode: each.cron for each in timed(source)}
    modes = {chain.scope: chain.mode for chain in chains(source)}
    whole = read.get(None, {})
    for scope in dict.fromkeys([*modes, *(scope for scope in read if scope is not None)]):
        yield {
            **read.get(scope, whole),
            "name": source.name,
            "scope": scope,
            "state": "enabled" if source.enabled else "disabled",
            "platform": platform.name,
            "contract": platform.contract,
            "zone": source.zone,
            "schedule": crons.get(modes.get(scope, ""), crons.get("collect")) if scope in modes else None,
            "description": source.description,
        }


def _last(entry: Mapping[str, Any], today: date) -> str:
    day = entry.get("last_date")
    status = entry.get("last_status")
    return age(day, today) + (f", {status}" if status not in (None, "derived") else "")


@app.command()
def check(name: Name) -> None:
    """Prove that a reading would succeed, without making one."""
    _look(name, "healthcheck")


@app.command()
def detect(name: Name) -> None:
    """Say what is there: version, driver, capabilities."""
    _look(name, "detect")


def _look(name: str, mode: str) -> None:
    from asset_ledger.cli.dagster_run import RunRequest, run
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.pipeline.ledger import platform_of

    ledger = open_ledger(reads_sources=True)
    source = ledger.source(name)
    if platform_of(source).open is None:
        raise PermanentError(CONFIG_INVALID, "files are brought to it, there is nothing to ask", target=name)
    (result,) = run(ledger, [RunRequest(f"{name}_{mode}")])
    say(f"{name}: {'OK' if result.success else 'not OK'}")
    print_facts(_facts({key: value for key, value in result.metadata.items() if key != "ok"}), indent=2)
    if not result.success:
        _fail(result.error)


def _facts(told: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return what was found as facts, one a line: of a dictionary each entry has its own, `node_fingerprints.n1`."""
    facts: dict[str, Any] = {}
    for key, value in told.items():
        facts |= _facts(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return facts


@app.command()
def collect(
    name: Name,
    day: Annotated[str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="Another day than today.")] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="The first of several days.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="The last of them.")] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="collect: all of it, which is what happens without; collect_SCOPE: one of its scopes alone."),
    ] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Read nothing; derive again from kept raw.")] = False,
) -> None:
    """Read a source for today, or derive past days from the raw that was kept.

    A live source can only be read today; an import source takes what waits in its inbox for the days. A source with
    several scopes (hosts and VMs of a vCenter) has a mode for each: collect_hosts, collect_vms.
    """
    from asset_ledger.cli.dagster_run import run
    from asset_ledger.store.query.runs import run_days, run_records, run_reports

    days = _days(day, first, last)
    ledger = open_ledger(reads_sources=True)
    source = ledger.source(name)
    _demand_free(ledger, source, mode)
    (result,) = run(ledger, [_request(source, mode, days, replay=replay)])
    say(f"{name}, {' to '.join(dict.fromkeys(days))}, run {result.run_id}: {'done' if result.success else 'failed'}")
    with connected(ledger) as connection:
        for reading in run_reports(connection, result.run_id):
            say(f"{reading['target'] or 'reading'} for {reading['collected_date']}: {reading['status']}")
            if reading["report"]:
                print_report(reading["report"], reading["source"])
        found = run_days(connection, result.run_id)
        if found:
            print_targets(run_records(connection, result.run_id, limit=SHOWN), found)
        _note_waiting(connection, source)
    if not result.success:
        _fail(result.error)


@app.command()
def response(
    name: Name,
    day: Annotated[
        str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="Of this day; without it the newest.")
    ] = None,
    scope: Annotated[
        str | None, typer.Option(help="Of this scope, where the source is read in several: hosts, vms.")
    ] = None,
) -> None:
    """Print what the source's last reading told, as JSON (collector-response-v1).

    Every machine as a normalized-v1 document, relations, warnings and errors, the proof of completeness, and the raw
    that is kept: parsed anew, before the ledger makes anything of it. A reading that failed is shown too.
    """
    from asset_ledger.pipeline.ledger import source_row
    from asset_ledger.pipeline.response import collector_response

    wanted = None if day is None else checked_day("--date", day)
    ledger = open_ledger(reads_sources=True)
    source = ledger.source(name)
    with connected(ledger) as connection:
        print_json(collector_response(connection, source, source_row(connection, source), wanted, scope=scope))


def _demand_free(ledger: Ledger, source: SourceConfig, mode: str | None) -> None:
    """Raise RetryableError(SOURCE_BUSY) where another run reads what is to be read: a run would wait, and fail."""
    from asset_ledger.pipeline.chains import chosen
    from asset_ledger.pipeline.ledger import source_row
    from asset_ledger.store.sources import exclusive

    _, reading = chosen(source, mode)
    with connected(ledger) as connection:
        row = source_row(connection, source)
        for chain in reading:
            with exclusive(connection, row, covers=chain.covers):
                pass


def _request(source: SourceConfig, mode: str | None, days: tuple[str, str], *, replay: bool) -> RunRequest:
    from asset_ledger.cli.dagster_run import RunRequest
    from asset_ledger.pipeline.chains import chosen, reading_config

    job, reading = chosen(source, mode)
    config = reading_config(reading, replay=replay)
    if days[0] == days[1]:
        return RunRequest(job, partition=days[0], config=config)
    return RunRequest(job, partition_range=days, config=config)


def _days(day: str | None, first: str | None, last: str | None) -> tuple[str, str]:
    """Return the first and last day asked for; today where nothing was."""
    if day is not None and (first is not None or last is not None):
        raise typer.BadParameter("use either --date, or --from and --to")
    if (first is None) != (last is None):
        raise typer.BadParameter("--from and --to go together")
    if day is None and (first is None or last is None):
        day = machine_today().isoformat()
    begin, end = (checked_day("--date", day),) * 2 if day else (checked_day("--from", first), checked_day("--to", last))
    if begin > end:
        raise typer.BadParameter(f"{begin} is after {end}")
    return begin.isoformat(), end.isoformat()


def _note_waiting(connection: Connection, source: SourceConfig) -> None:
    """Say what still waits in the HTTP service for a source, of other days as a rule, and how to take it in."""
    from asset_ledger.pipeline.agents import backlogs

    for one in backlogs(connection, [source]):
        if one.days:
            first, last = one.days[0].day, one.days[-1].day
            note(
                f"{sum(day.reports for day in one.days)} reports of {len(one.days)} days still wait: "
                f"`asset-ledger sources collect {source.name} --from {first} --to {last}`"
            )


def _fail(error: str | None) -> None:
    typer.secho(error or "the run failed; its page in the Dagster UI says why", fg=typer.colors.RED, err=True)
    raise typer.Exit(1)
