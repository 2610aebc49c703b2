"""The daily reading of every live source, in Asia/Shanghai: a schedule for each scope that is read by itself."""

from collections.abc import Iterator

import dagster as dg

from asset_ledger.assets.nodes import keys, shard_tags
from asset_ledger.assets.policies import UNFINISHED
from asset_ledger.assets.processes import end_the_dead
from asset_ledger.domain.calendar import LEDGER_TIMEZONE, collected_date
from asset_ledger.pipeline.chains import ALL, Timed, chains, reading_config, shards, timed
from asset_ledger.sources.platform import SourceConfig


def build_reading_schedules(source: SourceConfig) -> list[dg.ScheduleDefinition]:
    """Return the schedules of a source, in the order of reading; none for one that files are brought to."""
    return [_build(source, each) for each in timed(source)]


def _build(source: SourceConfig, each: Timed) -> dg.ScheduleDefinition:
    what = source.name if each.scope == ALL else f"{each.scope} of {source.name}"

    @dg.schedule(
        name=each.name,
        job_name=each.job,
        cron_schedule=each.cron,
        execution_timezone=LEDGER_TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Reads {what} for the day that the tick falls on.",
    )
    def reading(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        # a run whose process is gone would hold up its source for hours
        end_the_dead(context.instance)
        unfinished = context.instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
        in_the_way = next((run for run in unfinished if _reads(run, each)), None)
        if in_the_way is not None:
            busy = f"{source.name} is being read by run {in_the_way.run_id} ({in_the_way.job_name})"
            yield dg.SkipReason(f"{busy}; queued by mode: {each.mode} 0")
            return
        at = context.scheduled_execution_time
        context.log.info(f"queued by mode: {each.mode} 1")
        day = collected_date(at).isoformat()
        parts = shards(source)
        if not parts:
            yield dg.RunRequest(run_key=f"{each.job}:{at.isoformat()}", partition_key=day)
        for shard in parts:
            yield dg.RunRequest(
                run_key=f"{each.job}:{at.isoformat()}:{shard}",
                partition_key=day,
                run_config=reading_config(chains(source), shard=shard),
                tags=shard_tags(shard),
            )

    return reading


def _reads(run: dg.DagsterRun, each: Timed) -> bool:
    """Say whether a run reads something of what a tick would: by its job, or by the assets it was started for."""
    if run.job_name in each.blocked_by:
        return True
    selected = run.asset_selection or frozenset()
    return any(asset in selected for chain in each.overlaps for asset in keys(chain))
