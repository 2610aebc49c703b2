"""Starts the runs that take in what agents reported. The table is the queue; the bell makes it quick.

One run of a source at a time, for a stretch of days in a row. After a run the next waits a while, for each takes what
has come meanwhile: agents report all day, and a run costs seconds whatever it takes in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from math import log2
from typing import Any

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from asset_ledger.assets.policies import UNFINISHED
from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.agents import Backlog, backlogs, queued
from asset_ledger.pipeline.chains import collect_job
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.agents.waiting import WaitingDay, listen, rung

INTERVAL_S = 10
LISTEN_S = 20.0
"""How long a tick that finds nothing listens for the bell, well under the minute after which Dagster ends it."""
PAUSE_S = 5 * 60
"""How long what comes after a run of the source may wait for the next one."""
AGAIN_S = 15 * 60
"""After how long what a run left waiting is asked for once more; then after twice as long each time, up to a day."""
LONGEST = 31
"""Days in one run."""
_DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Stretch:
    """Days in a row that reports wait for."""

    days: tuple[WaitingDay, ...]

    @property
    def oldest_s(self) -> float:
        """How long the oldest of its reports has waited."""
        return max(day.oldest_s for day in self.days)


def build_agents_sensors(sources: Sequence[SourceConfig], jobs: Sequence[Any]) -> list[dg.SensorDefinition]:
    """Return the sensor of the queue of reports, which runs by default; none where no source takes in reports.

    `jobs` are those of the sources.
    """
    wanted = {collect_job(source) for source in queued(sources)}
    if not wanted:
        return []

    @dg.sensor(
        name="agent_reports",
        jobs=[job for job in jobs if job.name in wanted],
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Takes in what agents reported, day by day.",
    )
    def agents_sensor(context: dg.SensorEvaluationContext, ledger: LedgerResource) -> dg.SensorResult:
        try:
            opened = ledger.open()
            with opened.connect() as connection:
                listen(connection)  # first: what comes while the table is looked at rings all the same
                found = backlogs(connection, sources)
                if not any(one.days for one in found) and rung(connection, LISTEN_S):
                    found = backlogs(connection, sources)
        except LedgerError as error:
            return dg.SensorResult(skip_reason=dg.SkipReason(str(error)))
        told = [_told(context.instance, one) for one in found]
        requests = [one for one in told if isinstance(one, dg.RunRequest)]
        reasons = [one for one in told if isinstance(one, str)]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason("; ".join(reasons) or "no report waits"),
        )

    return [agents_sensor]


def _told(instance: dg.DagsterInstance, found: Backlog) -> dg.RunRequest | str | None:
    """Return the run to start for a source, or why there is none; None where nothing waits."""
    if found.problem is not None or not found.days:
        return found.problem
    job = collect_job(found.source)
    if working := instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNFINISHED), limit=1):
        return f"{found.source.name}: run {working[0].run_id[:8]} is at work"
    last = instance.get_run_records(dg.RunsFilter(job_name=job), limit=1)
    rested_s = (datetime.now(UTC) - last[0].update_timestamp.astimezone(UTC)).total_seconds() if last else PAUSE_S
    chosen = max(stretches(found.days), key=lambda one: one.oldest_s)
    if rested_s < PAUSE_S and chosen.oldest_s < PAUSE_S:
        return f"{found.source.name}: {sum(day.reports for day in found.days)} reports wait for others to come"
    return requested(found.source, chosen)


def stretches(days: Sequence[WaitingDay]) -> list[Stretch]:
    """Return waiting days, which are in their order, as stretches of days in a row. Pure."""
    found: list[list[WaitingDay]] = [[days[0]]] if days else []
    for before, day in pairwise(days):
        if day.day - before.day == timedelta(days=1) and len(found[-1]) < LONGEST:
            found[-1].append(day)
        else:
            found.append([day])
    return [Stretch(tuple(one)) for one in found]


def requested(source: SourceConfig, stretch: Stretch) -> dg.RunRequest:
    """Return the request for a stretch: asked for once, and what a run left waiting again, ever less often. Pure."""
    first, last = stretch.days[0].day, stretch.days[-1].day
    which = ",".join(day.which for day in stretch.days)
    age_s = min(day.newest_s for day in stretch.days)
    return dg.RunRequest(
        run_key=f"{source.name} {first} {which} {_again(age_s)}",
        job_name=collect_job(source),
        partition_key=first.isoformat() if first == last else None,
        tags={"mode": "collect"} | _range(first, last),
    )


def _range(first: date, last: date) -> dict[str, str]:
    if first == last:
        return {}
    return {ASSET_PARTITION_RANGE_START_TAG: first.isoformat(), ASSET_PARTITION_RANGE_END_TAG: last.isoformat()}


def _again(age_s: float) -> int:
    """Return how often what has waited so long was due to be asked for again."""
    doublings = int(log2(max(age_s, 0.0) / AGAIN_S + 1))
    most = int(log2(_DAY_S / AGAIN_S + 1))
    return doublings if doublings < most else most + int(age_s // _DAY_S)
