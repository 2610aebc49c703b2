"""`asset-ledger replay`: days derived again from kept raw with today's code, or what that would change.

A plan is the replay itself, rolled back day by day; both print the same lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.days import checked_day
from asset_ledger.cli.opening import connected, open_ledger
from asset_ledger.cli.reports import counted
from asset_ledger.cli.screen import machine_today, note, print_json, print_table, say, short
from asset_ledger.cli.wording import difference_in_words
from asset_ledger.domain.calendar import each_day

if TYPE_CHECKING:
    from asset_ledger.domain.outcome import Correction
    from asset_ledger.pipeline.derive import Derived
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.sources.platform import SourceConfig

SHOWN = 100
"""How many changed fields of a day are printed; `--json` has them all."""


@dataclass(frozen=True, slots=True)
class _Day:
    """What a replay changed, or would change, in one day. `fresh` are readings that had never been derived.

    `reached` says whether the run, or the plan, came to it at all.
    """

    day: date
    corrections: Sequence[Correction] = ()
    fresh: Sequence[str] = ()
    error: str | None = None
    reached: bool = True


def replay(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The source's name in sources.yaml.")],
    first: Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="The first day.")],
    last: Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="The last day; today.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would change; write nothing.")] = False,
    by_month: Annotated[
        bool, typer.Option("--by-month", help="A run for each month instead of one, which the workers share; wait.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Derive past days again from kept raw with today's parser, as one run.

    Nothing is read. What newer days say is current stays so; what a day said before is kept as a correction.
    """
    begin = checked_day("--from", first)
    end = machine_today() if last is None else checked_day("--to", last)
    if begin > end:
        raise typer.BadParameter(f"{begin} is after {end}")
    if plan and by_month:
        raise typer.BadParameter("a plan is made here, not by workers: leave one of --plan and --by-month out")
    ledger = open_ledger(reads_sources=True)
    chosen = ledger.source(source)
    with_raw = _with_raw(ledger, chosen, begin, end)
    run_ids: list[str] = []
    error = None
    if not with_raw:
        days: list[_Day] = []
    elif plan:
        days = _planned(ledger, chosen, with_raw)
    else:
        spans = _months(begin, end, with_raw) if by_month else [(begin, end)]
        run_ids, error, days = _replayed(ledger, chosen, spans, with_raw, queued=by_month)
    run_id = ", ".join(run_ids) or None
    without = [day for day in each_day(begin, end) if day not in set(with_raw)]
    if as_json:
        print_json(_document(chosen, begin, end, days, without, plan=plan, run_id=run_id, error=error))
    else:
        _print(chosen, begin, end, days, without, plan=plan, run_id=run_id)
    # the error of a run names its days itself
    failed = [error] if error else [f"{each.day}: {each.error}" for each in days if each.error]
    if not with_raw:
        failed.append(f"RAW_MISSING: {source}: no raw is kept for any day from {begin} to {end}. Choose other days")
    for each in failed:
        typer.secho(each, fg=typer.colors.RED, err=True)
    if failed:
        raise typer.Exit(1)


def _with_raw(ledger: Ledger, source: SourceConfig, begin: date, end: date) -> list[date]:
    from asset_ledger.pipeline.ledger import source_row
    from asset_ledger.store.derive.corrections import days_with_raw

    with connected(ledger) as connection:
        return days_with_raw(connection, source_row(connection, source).id, begin, end)


def _planned(ledger: Ledger, source: SourceConfig, days: Sequence[date]) -> list[_Day]:
    from asset_ledger.pipeline.chains import chains
    from asset_ledger.pipeline.derive import plan_day
    from asset_ledger.pipeline.ledger import source_row
    from asset_ledger.store.raw import inventories
    from asset_ledger.store.sources import exclusive

    planned: list[_Day] = []
    with connected(ledger) as connection:
        row = source_row(connection, source)
        with exclusive(connection, row):
            for day in days:
                made: dict[int, Derived] = {}
                corrections: list[Correction] = []
                failed: list[str] = []
                for chain in chains(source):
                    # readings that join two chains are of the day of both, and derived with the first
                    if made and all(one.id in made for one in inventories(connection, row, day, chain.covers)):
                        continue
                    try:
                        part = plan_day(connection, source, row, day, covers=chain.covers)
                    except Exception as error:
                        # raw that cannot be unpacked, or a defect: what else there is is planned nevertheless
                        if connection.closed or connection.broken:
                            raise
                        failed.append(_told(error))
                        continue
                    made |= {one.inventory.id: one for one in part.readings}
                    corrections += part.corrections
                fresh = [counted(one.outcome.counts) for one in made.values() if one.inventory.status != "derived"]
                planned.append(_Day(day, corrections, fresh, "; ".join(dict.fromkeys(failed)) or None))
    return planned


def _months(begin: date, end: date, with_raw: Sequence[date]) -> list[tuple[date, date]]:
    """Return first and last day of each month of a span that has raw at all: a run for a month without would fail."""
    found: list[tuple[date, date]] = []
    for month in sorted({day.replace(day=1) for day in with_raw}):
        last = (month + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        found.append((max(begin, month), min(end, last)))
    return found


def _replayed(
    ledger: Ledger,
    source: SourceConfig,
    spans: Sequence[tuple[date, date]],
    with_raw: Sequence[date],
    *,
    queued: bool,
) -> tuple[list[str], str | None, list[_Day]]:
    """Replay spans of days, a run each, and return the runs, why any failed, and what each day came to."""
    from asset_ledger.cli.dagster_run import RunRequest, run
    from asset_ledger.pipeline.chains import chains, collect_job, reading_config
    from asset_ledger.pipeline.ledger import source_row
    from asset_ledger.store.database import clock
    from asset_ledger.store.derive.corrections import corrections_since
    from asset_ledger.store.query.runs import days_touched

    # what waits to be derived for the first time is told by its report, not by what it changed
    with connected(ledger) as connection:
        row = source_row(connection, source)
        since = clock(connection)
        waiting = _underived(connection, row.id, with_raw)
    config = reading_config(chains(source), replay=True)
    job = collect_job(source)
    requests = [
        RunRequest(job, partition=begin.isoformat(), config=config)
        if begin == end
        else RunRequest(job, partition_range=(begin.isoformat(), end.isoformat()), config=config)
        for begin, end in spans
    ]
    results = run(ledger, requests, queued=queued)
    touched: dict[date, bool] = {}
    causes: dict[str, str] = {}
    errors: list[str] = []
    with connected(ledger) as connection:
        changed = corrections_since(connection, row.id, spans[0][0], spans[-1][1], since)
        fresh = _reports(connection, waiting)
        for result in results:
            days_of_run = days_touched(connection, result.run_id)
            touched |= days_of_run
            if not result.success:
                error = result.error or "the run failed; its page in the Dagster UI says why"
                errors.append(error)
                # a run of one day, or one whose process died, names none
                named = result.metadata.get("failed_days")
                causes |= named or {f"{day}": error for day, bad in days_of_run.items() if bad}
    days = [
        _Day(day, changed.get(day, ()), fresh.get(day, ()), causes.get(f"{day}"), day in touched or f"{day}" in causes)
        for day in with_raw
    ]
    return [result.run_id for result in results if result.run_id], "\n".join(errors) or None, days


def _told(error: Exception) -> str:
    from asset_ledger.domain.errors import LedgerError

    return str(error) if isinstance(error, LedgerError) else f"{type(error).__name__}: {error}"


def _underived(connection: Any, source_id: int, days: Sequence[date]) -> list[int]:
    from asset_ledger.store.derive.corrections import underived

    return underived(connection, source_id, days[0], days[-1])


def _reports(connection: Any, inventories: Sequence[int]) -> dict[date, list[str]]:
    from asset_ledger.store.derive.corrections import report_counts

    found: dict[date, list[str]] = {}
    for day, counts in report_counts(connection, inventories):
        found.setdefault(day, []).append(counted(counts))
    return found


def _print(
    source: SourceConfig,
    begin: date,
    end: date,
    days: Sequence[_Day],
    without: Sequence[date],
    *,
    plan: bool,
    run_id: str | None,
) -> None:
    span = f"{begin} to {end}" if begin != end else f"{begin}"
    if days:
        how = "a plan: nothing was written" if plan else f"run {run_id}" if run_id else "its run died"
        say(f"{source.name}, {span}, {how}")
    done = [each for each in days if each.reached and each.error is None]
    for each in days:
        if each.corrections or each.fresh:
            _print_day(each)
    told = (
        ("the same as before", [each.day for each in done if not each.corrections and not each.fresh]),
        (
            "failed, so that what was said before stands",
            [each.day for each in days if each.error and not _partly(each)],
        ),
        (
            "failed in part, so that what was said before of the rest stands",
            [each.day for each in days if _partly(each)],
        ),
        ("not reached", [each.day for each in days if not each.reached]),
    )
    for what, those in told:
        if those:
            say(f"{what}: {_ranges(those)}")
    if without:
        note(f"no raw is kept of {_ranges(without)}: {'it was' if len(without) == 1 else 'they were'} passed over")


def _partly(each: _Day) -> bool:
    """Say whether only a part of a day failed: one of the scopes in which its source is read."""
    return each.error is not None and bool(each.corrections or each.fresh)


def _print_day(each: _Day) -> None:
    counts = _counts(each.corrections)
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    say(f"{each.day}: {told or 'nothing of it was published before'}")
    for fresh in each.fresh:
        say(f"  a reading that was never derived: {fresh}")
    lines = [
        [correction.hostname or correction.external_id, short(correction.asset_id), correction.what, *field]
        for correction in each.corrections
        for field in _fields(correction)
    ]
    if lines:
        print_table(["machine!", "id!", "what!", "field!", "before…", "after…"], lines[:SHOWN], indent=2)
    if len(lines) > SHOWN:
        say(f"  and {len(lines) - SHOWN} more; --json has them all")


def _fields(correction: Correction) -> list[tuple[Any, ...]]:
    if correction.fields:
        return [line for field in correction.fields for line in difference_in_words(*field)]
    # of one that came or went there is nothing to compare
    return [("its identifiers or generation" if correction.what == "changed" else None, None, None)]


def _counts(corrections: Sequence[Correction]) -> dict[str, int]:
    return {what: sum(each.what == what for each in corrections) for what in ("changed", "added", "removed")}


def _ranges(days: Sequence[date]) -> str:
    """Return days as people write them: single ones, and stretches as `first to last`."""
    stretches: list[list[date]] = []
    for day in days:
        if stretches and day == stretches[-1][-1] + timedelta(days=1):
            stretches[-1].append(day)
        else:
            stretches.append([day])
    return ", ".join(f"{each[0]}" if len(each) == 1 else f"{each[0]} to {each[-1]}" for each in stretches)


def _document(
    source: SourceConfig,
    begin: date,
    end: date,
    days: Sequence[_Day],
    without: Sequence[date],
    *,
    plan: bool,
    run_id: str | None,
    error: str | None,
) -> dict[str, Any]:
    return {
        "source": source.name,
        "from": begin,
        "to": end,
        "plan": plan,
        "run_id": run_id,
        "error": error,
        "days": [
            {
                "day": each.day,
                **_counts(each.corrections),
                "never_derived": list(each.fresh),
                "error": each.error,
                "reached": each.reached,
                "corrections": [
                    asdict(correction)
                    | {
                        "fields": [
                            {"field": path, "before": before, "after": after}
                            for path, before, after in correction.fields
                        ]
                    }
                    for correction in each.corrections
                ],
            }
            for each in days
        ],
        "without_raw": list(without),
    }
