"""`asset-ledger probe`: every probe source reads its machines for today, and each machine gets its line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.opening import choose_source, connected, open_ledger
from asset_ledger.cli.screen import coloured, note, print_json, print_table, say

if TYPE_CHECKING:
    from asset_ledger.sources.platform import SourceConfig

SHOWN = 500
"""How many machines of a run are listed; those that failed come first, and the counts are whole."""
COLUMNS = ["target!", "status", "code!", "message…", "what to do…", "effect…", "ms>"]


def probe(
    source: Annotated[str | None, typer.Option(help="Only this probe source.")] = None,
    shards: Annotated[
        int | None,
        typer.Option(min=1, max=48, help="Cut each probing into so many runs, which the workers share, and wait."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read the machines that the ledger knows, each over its protocol, for today."""
    from asset_ledger.cli.dagster_run import RunRequest, run
    from asset_ledger.domain.calendar import collected_date
    from asset_ledger.pipeline.chains import chains, collect_job, reading_config
    from asset_ledger.pipeline.chains import shards as cut
    from asset_ledger.pipeline.ledger import platform_of
    from asset_ledger.store.query.runs import run_days, run_records
    from asset_ledger.store.targets import assets_by_protocol

    ledger = open_ledger(reads_sources=True)
    probes = [each for each in ledger.sources if platform_of(each).source_type == "probe"]
    if source is not None or not probes:
        probes = [choose_source(ledger, source, source_type="probe")]
    today = collected_date(datetime.now(UTC)).isoformat()
    parts = [
        (each, shard) for each in probes for shard in ((cut(each, shards) if shards is not None else ()) or (None,))
    ]
    requests = [
        RunRequest(
            collect_job(each),
            partition=today,
            config=reading_config(chains(each), shard=shard),
            tags={} if shard is None else {"shard": str(shard)},
        )
        for each, shard in parts
    ]
    results = run(ledger, requests, queued=shards is not None)
    done: list[dict[str, Any]] = []
    with connected(ledger) as connection:
        for (each, shard), result in zip(parts, results, strict=True):
            done.append(
                {
                    "source": each.name,
                    "shard": None if shard is None else str(shard),
                    "run_id": result.run_id,
                    "error": result.error,
                    "days": run_days(connection, result.run_id),
                    "targets": run_records(connection, result.run_id, limit=SHOWN),
                }
            )
        waiting = assets_by_protocol(connection)
    if as_json:
        print_json(done)
    else:
        for entry in done:
            _print(entry)
        for line in unread(waiting, ledger.sources):
            note(line)
    if any(entry["error"] for entry in done):
        raise typer.Exit(1)


def _print(done: dict[str, Any]) -> None:
    part = f", shard {done['shard']}" if done["shard"] else ""
    say(f"{done['source']}{part}, run {done['run_id']}")
    if done["error"]:
        typer.secho(f"  {done['error']}", fg=typer.colors.RED, err=True)
    print_targets(done["targets"], done["days"])
    if not done["targets"] and not done["error"] and not part:
        note("  No machine has a protocol, an address and a credential that it could use; an import gives them.")


def unread(waiting: Iterable[tuple[str, str, int]], sources: Iterable[SourceConfig]) -> Iterator[str]:
    """Yield a line for each protocol whose assets a probe could be sent to and no source of their zone reads.

    `waiting` is zone, protocol and number of assets. The protocol `local` is this machine's, which needs no source.
    """
    from asset_ledger.pipeline.ledger import platform_of

    read = {
        (source.zone, protocol)
        for source in sources
        if (select := platform_of(source).select) is not None
        for protocol in select(source).protocols
    }
    for zone, protocol, count in waiting:
        if (zone, protocol) not in read and protocol != "local":
            those = "1 ledger asset has" if count == 1 else f"{count} ledger assets have"
            yield (
                f"{those} protocol {protocol} in zone {zone}, where no source reads it: give sources.yaml one of "
                f"platform {protocol}"
            )


def print_targets(
    targets: list[dict[str, Any]], days: list[dict[str, Any]], *, offset: int = 0, failed: bool = False
) -> None:
    """Print a page of a run's targets, failed ones first, and how many there are of each status.

    With `failed` the page is of those alone that failed or are partial.
    """
    counts = {status: sum(day[status] for day in days) for status in ("failed", "partial", "skipped", "ok")}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    total = counts["failed"] + counts["partial"] if failed else sum(counts.values())
    print_target_table(targets)
    say(f"  {told or 'no targets'}")
    if (last := offset + len(targets)) < total:
        note(f"  {offset + 1} to {last} of {total}; `asset-ledger runs show RUN --offset {last}` goes on")


def print_target_table(targets: list[dict[str, Any]]) -> None:
    """Print targets as a table, or nothing where there are none, and where to read on about fields that are NULL."""
    names = ("target", "status", "error_code", "message", "advice", "effect", "duration_ms")
    rows = [[coloured(each[name]) if name == "status" else each[name] for name in names] for each in targets]
    if rows:
        print_table(COLUMNS, rows, indent=2)
    if codes := _codes_of_fields(targets):
        note(f"  `asset-ledger errors CODE` says what to do about {', '.join(codes)}")


def _codes_of_fields(targets: list[dict[str, Any]]) -> list[str]:
    """Return the codes by which fields of targets are NULL that were read all the same."""
    reasons = [(each.get("details") or {}).get("unknown") or {} for each in targets if not each["error_code"]]
    told = {str(why).partition(":")[0] for unknown in reasons for why in unknown.values()}
    if not told:
        return []
    from asset_ledger.sources.registry import error_codes

    return sorted(told & {code.code for code in error_codes()})
