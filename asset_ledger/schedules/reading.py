"""The daily reading of every live source, in Asia/Shanghai."""

from collections.abc import Iterator

import dagster as dg

from asset_ledger.assets.jobs import collect_job_name
from asset_ledger.assets.policies import UNFINISHED
from asset_ledger.domain.calendar import LEDGER_TIMEZONE, collected_date
from asset_ledger.pipeline.ledger import platform_of
from asset_ledger.sources.platform import SourceConfig


def build_reading_schedule(source: SourceConfig) -> dg.ScheduleDefinition | None:
    """Return the schedule of a source, or None for one that files are brought to."""
    cron = source.schedule or platform_of(source).default_schedule
    if cron is None:
        return None
    job_name = collect_job_name(source)

    @dg.schedule(
        name=f"{source.name}_daily",
        job_name=job_name,
        cron_schedule=cron,
        execution_timezone=LEDGER_TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Reads {source.name} for the day that the tick falls on.",
    )
    def reading(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        unfinished = context.instance.get_runs(
            dg.RunsFilter(job_name=job_name, statuses=UNFINISHED),
            limit=1,
        )
        if unfinished:
            yield dg.SkipReason(f"{source.name} is being read by run {unfinished[0].run_id}")
            return
        day = collected_date(context.scheduled_execution_time).isoformat()
        yield dg.RunRequest(run_key=f"{source.name}:{context.scheduled_execution_time.isoformat()}", partition_key=day)

    return reading
