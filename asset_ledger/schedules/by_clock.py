"""A schedule that starts a job of the ledger's own by the clock, whether or not anything was read."""

from collections.abc import Iterator

import dagster as dg

from asset_ledger.assets.policies import UNFINISHED
from asset_ledger.assets.processes import end_the_dead
from asset_ledger.domain.calendar import LEDGER_TIMEZONE


def by_clock(name: str, job: str, cron: str, description: str) -> dg.ScheduleDefinition:
    """Return the schedule, which runs by default. While a run of the job is at it, no second one is started."""

    @dg.schedule(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone=LEDGER_TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )
    def due(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        end_the_dead(context.instance)
        busy = context.instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNFINISHED), limit=1)
        if busy:
            yield dg.SkipReason(f"run {busy[0].run_id[:8]} is at it")
            return
        yield dg.RunRequest(run_key=f"{job}:{context.scheduled_execution_time.isoformat()}")

    return due
