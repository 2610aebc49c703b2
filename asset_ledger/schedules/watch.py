"""The look at every source by the clock: what was not read fails no run, and nobody would be told."""

from collections.abc import Iterator

import dagster as dg

from asset_ledger.assets.policies import UNFINISHED
from asset_ledger.assets.processes import end_the_dead
from asset_ledger.domain.calendar import LEDGER_TIMEZONE
from asset_ledger.pipeline.watch import WATCH_JOB

HOURLY = "20 * * * *"


def build_watch_schedule() -> dg.ScheduleDefinition:
    """Return the schedule. It runs by default: a day that nobody read is to be told although nothing runs."""

    @dg.schedule(
        name="ledger_watch_hourly",
        job_name=WATCH_JOB,
        cron_schedule=HOURLY,
        execution_timezone=LEDGER_TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Looks every hour whether the sources are fresh and have their usual size.",
    )
    def watch(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        end_the_dead(context.instance)
        busy = context.instance.get_runs(dg.RunsFilter(job_name=WATCH_JOB, statuses=UNFINISHED), limit=1)
        if busy:
            yield dg.SkipReason(f"run {busy[0].run_id[:8]} is at it")
            return
        yield dg.RunRequest(run_key=f"{WATCH_JOB}:{context.scheduled_execution_time.isoformat()}")

    return watch
