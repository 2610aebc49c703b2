"""Looks at every run that ended and at everything that ticks, for what people are to be told; and has it sent.

Not Dagster's own run status sensor: that goes on to the next run where one could not be noted, and a notice would be
lost with a database that was away for a minute. Here the cursor moves when what was seen is written down.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus

from asset_ledger.assets.notices import ENDED, NOTICES_JOB, run_facts
from asset_ledger.assets.policies import DEFAULT_OWNERS, UNFINISHED
from asset_ledger.domain.errors import LedgerError, RetryableError
from asset_ledger.domain.notices.receivers import Notices
from asset_ledger.domain.notices.run import RunFacts
from asset_ledger.domain.notices.ticking import FAILURES, Ticker, silent
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.pipeline.notices import due, look_at_dagster, look_at_run, not_looked_at, note_defect, welcome
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.store.database import Connection, is_away

NAME = "notices"
INTERVAL_S = 30
AGAIN_S = 15 * 60
"""After how long what a run left as it was is asked for once more: it died before it could note anything."""
OVERLAP = timedelta(minutes=10)
"""How far runs are looked for before the last that was seen: the clocks of several machines differ."""
MOST_RUNS = 200
"""Of one tick: what is left over is the next tick's."""
_FINISHED = (TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE)
BEAT = timedelta(minutes=5)
"""How often everything that ticks is looked at."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Up to when runs were seen, when everything that ticks was looked at, when this sensor ticked, and since when it
    does so without a pause. `receivers` are those that were there then, None where that is not known."""

    until: datetime
    beat_at: datetime
    ticked_at: datetime
    awake_since: datetime
    receivers: tuple[str, ...] | None = None

    @staticmethod
    def read(told: str | None, now: datetime) -> "Cursor":
        """Return the cursor that was kept. Without one everything begins now: the past is not told."""
        if not told:
            return Cursor(now, now, now, now)
        document = json.loads(told)
        # a release before this one kept none
        names = document.pop("receivers", None)
        at = {name: datetime.fromisoformat(value) for name, value in document.items()}
        awake = at["awake_since"] if now - at["ticked_at"] < BEAT else now
        return Cursor(at["until"], at["beat_at"], now, awake, None if names is None else tuple(names))

    def text(self) -> str:
        """Return it as it is kept."""
        return json.dumps(asdict(self), default=datetime.isoformat)

    def added(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return which of the receivers that there are now were not there before."""
        return () if self.receivers is None else tuple(name for name in names if name not in self.receivers)


def build_notices_sensor() -> dg.SensorDefinition:
    """Return the sensor. It runs by default, and does nothing where notices.yaml names no receiver."""

    @dg.sensor(
        name=NAME,
        job_name=NOTICES_JOB,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the receivers of notices.yaml what runs failed at, found, and held for a person.",
    )
    def notices_sensor(context: dg.SensorEvaluationContext, ledger: LedgerResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        cursor = Cursor.read(context.cursor, now)
        try:
            opened = ledger.open()
            if not opened.notices.receivers:
                # who names one tomorrow is not told of today, nor of what was open once: nobody looked whether it is
                idle = Cursor(now, now, now, cursor.awake_since)
                return dg.SensorResult(skip_reason=dg.SkipReason("notices.yaml names no receiver"), cursor=idle.text())
            names = tuple(one.name for one in opened.notices.receivers)
            with opened.connect() as connection:
                # before the runs of this tick, whose news is for all of them
                welcome(connection, opened.notices, cursor.added(names), since=cursor.until, now=now)
                until = _look_at_runs(context.instance, connection, opened, cursor, now)
                beat_at = _beat(context, connection, opened, cursor, now)
                waiting = due(connection, opened.notices, now=now)
        # what is written wrong does not pass by itself: that tick fails, so that it is seen
        except RetryableError as error:
            return dg.SensorResult(skip_reason=dg.SkipReason(str(error)))
        seen = Cursor(until, beat_at, now, cursor.awake_since, names).text()
        if not waiting:
            return dg.SensorResult(skip_reason=dg.SkipReason("nothing is due"), cursor=seen)
        working = context.instance.get_runs(dg.RunsFilter(job_name=NOTICES_JOB, statuses=UNFINISHED), limit=1)
        if working:
            return dg.SensorResult(skip_reason=dg.SkipReason(f"run {working[0].run_id[:8]} is sending"), cursor=seen)
        return dg.SensorResult(run_requests=[_request(waiting, now)], cursor=seen)

    return notices_sensor


def _request(waiting: Sequence[str], now: datetime) -> dg.RunRequest:
    """Return one run for all that is due: another for every other set of it, and for one that was left as it was."""
    which = sha256("\n".join(sorted(waiting)).encode()).hexdigest()[:16]
    return dg.RunRequest(run_key=f"notices {which} {int(now.timestamp() // AGAIN_S)}", tags={"mode": "deliver"})


def _look_at_runs(
    instance: dg.DagsterInstance, connection: Connection, ledger: Ledger, cursor: Cursor, now: datetime
) -> datetime:
    """Look at the runs that ended since, in the order in which they did; return up to when that is done."""
    records = instance.get_run_records(
        dg.RunsFilter(statuses=list(ENDED), updated_after=cursor.until - OVERLAP),
        order_by="update_timestamp",
        ascending=True,
    )
    fresh = not_looked_at(connection, [record.dagster_run.run_id for record in records])
    owners = {source.name: source.owners for source in ledger.sources}
    done = 0
    for record in records:
        if record.dagster_run.run_id not in fresh:
            continue
        if done == MOST_RUNS:
            return _utc(record.update_timestamp)
        _look_at(instance, connection, ledger.notices, record, owners, now)
        done += 1
    return max([cursor.until, *(_utc(record.update_timestamp) for record in records)])


def _look_at(
    instance: dg.DagsterInstance,
    connection: Connection,
    notices: Notices,
    record: dg.RunRecord,
    owners: Mapping[str, tuple[str, ...]],
    now: datetime,
) -> None:
    """Look at one run. One that cannot be looked at because of a defect is noted so, and holds up none after it."""
    try:
        look_at_run(connection, notices, run_facts(instance, record, owners), now=now)
    except Exception as defect:
        if isinstance(defect, LedgerError) or is_away(defect):  # for a minute: a tick after this looks at the run
            raise
        ended_at = datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC)
        run = record.dagster_run
        facts = RunFacts(
            run_id=run.run_id,
            job=run.job_name,
            status=ENDED[run.status],
            mode="",
            source="",
            scope="",
            day="",
            owner=", ".join(DEFAULT_OWNERS),
            started_at=ended_at,
            ended_at=ended_at,
        )
        note_defect(connection, notices, facts, defect, now=now)


def _beat(
    context: dg.SensorEvaluationContext, connection: Connection, ledger: Ledger, cursor: Cursor, now: datetime
) -> datetime:
    """Look at everything that ticks, from time to time; return when that was done last."""
    if now - cursor.beat_at < BEAT or context.repository_def is None:
        return cursor.beat_at
    for _, words in ledger.notices.warnings:
        context.log.warning(f"notices.yaml: {words}")
    sources = {source.name for source in ledger.sources}
    tickers = [*tickers_of(context.instance, context.repository_def, sources), *_threads(context.instance)]
    wrong, looked = silent(tickers, now=now, awake_since=cursor.awake_since, owner=", ".join(DEFAULT_OWNERS))
    look_at_dagster(connection, ledger.notices, wrong, looked, now=now)
    return now


def tickers_of(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, sources: set[str]
) -> Iterator[Ticker]:
    """Yield the sensors and schedules that are defined now, as far as they ever ticked or were stopped."""
    intervals: Mapping[str, int | None] = {one.name: one.minimum_interval_seconds for one in repository.sensor_defs}
    schedules = {one.name for one in repository.schedule_defs}
    for state in instance.all_instigator_state():
        name = state.instigator_name
        if name not in intervals and name not in schedules:
            continue
        is_schedule = name in schedules
        # one that is at work now says neither that it is well nor that it fails
        ticks = instance.get_ticks(
            state.instigator_origin_id, state.selector_id, limit=FAILURES, statuses=list(_FINISHED)
        )
        enough = 1 if is_schedule else FAILURES
        failing = len(ticks) >= enough and all(tick.status.value == "FAILURE" for tick in ticks[:enough])
        error = ticks[0].error if failing else None
        interval = intervals.get(name)
        yield Ticker(
            kind="schedule" if is_schedule else "sensor",
            name=name,
            source=next((one for one in sorted(sources, key=len, reverse=True) if name.startswith(f"{one}_")), ""),
            stopped=state.status.value == "STOPPED",
            failed=(error.cls_name if error is not None and error.cls_name else "no words") if failing else None,
            last_at=datetime.fromtimestamp(ticks[0].timestamp, UTC) if ticks else None,
            every=None if is_schedule or interval is None else timedelta(seconds=interval),
        )


def _threads(instance: dg.DagsterInstance) -> Iterator[Ticker]:
    """Yield the daemon's threads that are to run. All may be well while that of the schedules has ended."""
    for kind, status in instance.get_daemon_statuses().items():
        # one that has not begun yet has no heartbeat; that of the sensors is this one
        if status.required and status.last_heartbeat is not None:
            errors = status.last_heartbeat.errors or []
            failed = (errors[0].cls_name or "no words") if errors else "no heartbeat"
            yield Ticker("daemon", kind, failed=None if status.healthy else failed)


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
