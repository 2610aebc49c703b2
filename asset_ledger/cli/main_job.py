"""The main job of `asset-ledger up`: which runs there are to start, and starting them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rich.markup import escape

from asset_ledger.cli.dagster_run import RunRequest, RunResult, run
from asset_ledger.domain.calendar import collected_date
from asset_ledger.pipeline.agents import backlogs
from asset_ledger.pipeline.chains import collect_job
from asset_ledger.pipeline.inbox import by_day, is_settled, waiting
from asset_ledger.pipeline.ledger import Ledger, platform_of
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.query.overview import unfinished_days

Say = Callable[[str], None]


def run_main_job(ledger: Ledger, say: Say) -> list[RunResult]:
    """Take in what waits in the inboxes, read every live source for today, join the two, and look for duplicates."""
    now = datetime.now(UTC)
    with ledger.connect() as connection:
        unfinished = unfinished_days(connection)
        queued = {one.source.name: {each.day for each in one.days} for one in backlogs(connection, ledger.sources)}
    requests: list[RunRequest] = []
    for source in ledger.sources:
        # a run that was killed left raw behind; whoever comes next derives it
        days = set(unfinished.get(source.name, ()))
        if platform_of(source).accept is not None:
            days |= _days_of_files(source, now)
        elif source.name in queued:
            days |= queued[source.name]
        elif platform_of(source).open is not None:
            days.add(collected_date(now))
        requests += _runs(source, sorted(days))
    requests.append(RunRequest("ledger_follow"))
    say("running the main job: " + ", ".join(_name(request) for request in requests))
    results = run(ledger, requests)
    for request, result in zip(requests, results, strict=True):
        if not result.success:
            say(f"[red]{_name(request)} failed[/red]: {escape(result.error or '')}")
    say(f"{sum(result.success for result in results)} of {len(results)} runs succeeded")
    return results


def _days_of_files(source: SourceConfig, now: datetime) -> set[date]:
    """Return the days of the files that wait in the inbox and are whole."""
    inbox = getattr(source, "inbox", None)
    if not isinstance(inbox, Path):
        return set()
    return {day for file, day in by_day(waiting(inbox), now) if isinstance(day, date) and is_settled(file)}


def _runs(source: SourceConfig, days: Sequence[date]) -> list[RunRequest]:
    """Return a run for each stretch of days."""
    requests: list[RunRequest] = []
    stretch: list[date] = []
    for day in days:
        if stretch and day != stretch[-1] + timedelta(days=1):
            requests.append(_stretch(source, stretch))
            stretch = []
        stretch.append(day)
    return [*requests, _stretch(source, stretch)] if stretch else requests


def _stretch(source: SourceConfig, days: list[date]) -> RunRequest:
    job = collect_job(source)
    if len(days) == 1:
        return RunRequest(job, partition=days[0].isoformat())
    return RunRequest(job, partition_range=(days[0].isoformat(), days[-1].isoformat()))


def _name(request: RunRequest) -> str:
    days = request.partition or (" to ".join(request.partition_range) if request.partition_range else "")
    return f"{request.job} {days}".strip()
