"""Watches over runs: one whose worker was killed is ended, so that Dagster does it again; raw that was left is derived.

A killed worker tells nobody, and the machine it was on may be another one. What tells is the run's session in
PostgreSQL (`resources.presence`): it goes with the process. How often a run is done again is `run_retries` of
dagster.yaml.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import dagster as dg
from dagster._core.storage.tags import RUN_KEY_TAG

from asset_ledger.assets.policies import UNFINISHED
from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.chains import chains, collect_job, reading_config
from asset_ledger.pipeline.ledger import platform_of
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.resources.presence import ALIVE_TAG
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.query.overview import unfinished_days
from asset_ledger.store.raw import broken_off
from asset_ledger.store.sessions import living

INTERVAL_S = 10
LOST_AFTER = timedelta(seconds=20)
"""How long a run may be without its session: a server that was started anew has it back in a few seconds.

Time in which nobody looked does not count: after an outage the sessions may be on their way back.
"""
REST = timedelta(minutes=3)
"""How long nothing has run for a source before raw is said to be left: a retry may be on its way."""
LOOK_BACK = timedelta(days=3)
"""How old a day may be of which a shard's raw is taken up that broke off."""
_RUNS = 200
"""Among how many runs of a source the last one is looked for that read something."""


def build_lost_runs_sensor(sources: Sequence[SourceConfig], jobs: Sequence[Any]) -> dg.SensorDefinition:
    """Return the sensor, which runs by default. `jobs` are those of the sources."""
    probed = {collect_job(source): source for source in sources if platform_of(source).contract == "probe"}

    @dg.sensor(
        name="lost_runs",
        jobs=[job for job in jobs if job.name in probed] or None,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ends runs whose worker is gone, so that they are done again, and has raw derived that a run left.",
    )
    def lost_runs(context: dg.SensorEvaluationContext, ledger: LedgerResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        # before the sessions are looked at: a run that begins meanwhile is not among these
        started = context.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        try:
            with ledger.open().connect() as connection:
                alive = living(connection)
                left = unfinished_days(connection) if probed else {}
                halves = broken_off(connection, collected_date(now - LOOK_BACK)) if probed else {}
        except LedgerError as error:
            # nothing is known of any run: counting begins anew, where no cursor is returned the old one would stay
            return dg.SensorResult(skip_reason=dg.SkipReason(str(error)), cursor=_cursor({}, now))
        present = [run.run_id for run in started if run.tags.get(ALIVE_TAG) == run.run_id]
        missed, lost = absent(present, alive, _remembered(context.cursor, now), now)
        ended = [run_id for run_id in lost if _end(context.instance, run_id)]
        requests = [
            request
            for job, source in probed.items()
            if (request := _left(context.instance, job, source, left, halves, now))
        ]
        told = f"ended: {', '.join(ended)}" if ended else f"{len(present)} runs at work, {len(missed)} not heard of"
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason(told),
            cursor=_cursor(missed, now),
        )

    return lost_runs


def absent(
    runs: Sequence[str], alive: frozenset[str], before: Mapping[str, datetime], now: datetime
) -> tuple[dict[str, datetime], list[str]]:
    """Return since when each run without a session is missed, and the runs that are lost. Pure."""
    missed = {run_id: before.get(run_id, now) for run_id in runs if run_id not in alive}
    lost = [run_id for run_id, since in missed.items() if now - since >= LOST_AFTER]
    return {run_id: since for run_id, since in missed.items() if run_id not in lost}, lost


def _end(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Mark a run as failed that nobody works on any more, and give back its pool slots; False if it ended by itself."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.status != dg.DagsterRunStatus.STARTED:
        return False
    instance.report_run_failed(run, "its worker ended without a word: killed, or its machine went down")
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return True


def _left(
    instance: dg.DagsterInstance,
    job: str,
    source: SourceConfig,
    left: Mapping[str, Sequence[date]],
    halves: Mapping[str, Mapping[date, Sequence[str]]],
    now: datetime,
) -> dg.RunRequest | None:
    """Return the run that derives raw which runs left behind that will not be done again; the oldest day first.

    `left` are the days with raw that was kept to its end, `halves` the runs by day that broke off in its middle.
    """
    whole, half = left.get(source.name, ()), halves.get(source.name, {})
    if not whole and not half:
        return None
    if instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNFINISHED), limit=1):
        return None
    last = instance.get_run_records(dg.RunsFilter(job_name=job), limit=_RUNS)
    if not last or now - last[0].update_timestamp.astimezone(UTC) < REST:
        return None
    # after a replay that failed over it, it is not asked for again before a run has read something
    reader = next((one.dagster_run.run_id for one in last if one.dagster_run.tags.get("mode") != "replay"), "nobody")
    for day in sorted({*whole, *half}):
        run_key = f"{source.name} {day} left by {reader}"
        shards = _shards(instance, half.get(day, ()))
        if (day in whole or shards) and not instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: run_key}), limit=1):
            return _derive_left(job, source, day, shards, run_key)
    return None


def _shards(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> list[str]:
    """Return which of these runs read a shard: what broke off of a whole reading is made up for by the next one."""
    if not run_ids:
        return []
    runs = instance.get_runs(dg.RunsFilter(run_ids=run_ids))
    return sorted(run.run_id for run in runs if any(op.get("config", {}).get("shard") for op in _ops(run)))


def _ops(run: dg.DagsterRun) -> Iterable[Mapping[str, Any]]:
    return cast("Mapping[str, Mapping[str, Any]]", run.run_config.get("ops") or {}).values()


def _derive_left(job: str, source: SourceConfig, day: date, shards: Sequence[str], run_key: str) -> dg.RunRequest:
    run_config = reading_config(chains(source), replay=True)
    if shards:
        for op in run_config["ops"].values():
            op["config"]["left_by"] = list(shards)
    return dg.RunRequest(
        run_key=run_key,
        job_name=job,
        partition_key=day.isoformat(),
        run_config=run_config,
        tags={"mode": "replay"},
    )


def _cursor(missed: Mapping[str, datetime], now: datetime) -> str:
    return json.dumps(
        {"looked": now.isoformat(), "missed": {run_id: since.isoformat() for run_id, since in missed.items()}}
    )


def _remembered(cursor: str | None, now: datetime) -> dict[str, datetime]:
    """Return since when runs are missed; nothing where the cursor was written by hand or by an older release.

    Of a while in which nobody looked (no daemon, no database of Dagster's) only the usual time between looks counts.
    """
    try:
        told = json.loads(cursor or "{}")
        unseen = now - datetime.fromisoformat(told["looked"])
        passed_over = unseen - timedelta(seconds=INTERVAL_S) if unseen >= LOST_AFTER else timedelta()
        return {run_id: datetime.fromisoformat(since) + passed_over for run_id, since in told["missed"].items()}
    except (ValueError, TypeError, AttributeError, KeyError):
        return {}
