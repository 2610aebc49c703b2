"""Retention once a day, at an hour when nobody works and no source is read."""

from collections.abc import Iterator

import dagster as dg

from asset_ledger.assets.policies import UNFINISHED
from asset_ledger.assets.processes import end_the_dead
from asset_ledger.domain.calendar import LEDGER_TIMEZONE
from asset_ledger.pipeline.retention import RETENTION_JOB

DAILY = "40 3 * * *"


def build_retention_schedule() -> dg.ScheduleDefinition:
    """Return the schedule. It runs by default: what is to go after 180 days is to go without anybody's asking."""

    @dg.schedule(
        name="retention_daily",
        job_name=RETENTION_JOB,
        cron_schedule=DAILY,
        execution_timezone=LEDGER_TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Lets go of agent history and audit rows that are past their time.",
    )
    def retention(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        end_the_dead(context.instance)
        busy = context.instance.get_runs(dg.RunsFilter(job_name=RETENTION_JOB, statuses=UNFINISHED), limit=1)
        if busy:
            yield dg.SkipReason(f"run {busy[0].run_id[:8]} is at it")
            return
        yield dg.RunRequest(run_key=f"{RETENTION_JOB}:{context.scheduled_execution_time.isoformat()}")

    return retention
