"""Asks for the marts of days that lack something: of a first start, of a day that nobody could read, of decisions.

What follows a reading by itself is said by the marts' conditions (`assets.marts`), which know nothing of what was
there before they began to look, nor of what failed or was decided.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG, RUN_KEY_TAG

from asset_ledger.assets.policies import UNFINISHED
from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import RetryableError
from asset_ledger.pipeline.marts import JOB
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.store.marts import days_lacking

INTERVAL_S = 60
PATIENCE = timedelta(minutes=10)
"""How long what came of a day may be followed by the marts by themselves."""
LONGEST = 366
"""Days in one run."""
AGAIN_S = 6 * 3600
"""After how long days are asked for once more whose marts could not be made."""


def build_marts_sensor(job: Any) -> dg.SensorDefinition:
    """Return the sensor of days that lack marts, which runs by default. `job` is the one that makes them."""

    @dg.sensor(
        name="marts_lacking",
        job=job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for the marts of days that have none, or of which something came since they were made.",
    )
    def marts_lacking(context: dg.SensorEvaluationContext, ledger: LedgerResource) -> dg.RunRequest | dg.SkipReason:
        making = context.instance.get_runs(dg.RunsFilter(job_name=JOB, statuses=UNFINISHED), limit=1)
        if making:
            return dg.SkipReason(f"run {making[0].run_id[:8]} is making marts")
        now = datetime.now(UTC)
        try:
            with ledger.open().connect() as connection:
                lacking = days_lacking(connection, collected_date(now), patience=PATIENCE)
        except RetryableError as error:
            return dg.SkipReason(str(error))
        if not lacking:
            return dg.SkipReason("every day has its marts")
        for days in stretches(lacking):
            asked = request(days, now)
            # days whose marts could not be made keep no later ones waiting: they have their turn again with a new key
            tried = dg.RunsFilter(tags={RUN_KEY_TAG: asked.run_key or ""}, statuses=FINISHED_STATUSES)
            if not context.instance.get_runs(tried, limit=1):
                return asked
        return dg.SkipReason(
            f"the marts of {len(lacking)} days were asked for and still lack something, the first of {lacking[0]}: "
            f"they are asked for again every {AGAIN_S // 3600} hours"
        )

    return marts_lacking


def stretches(days: list[date]) -> Iterator[tuple[date, date]]:
    """Yield the first and the last of the days in a row that some days, in order, are made of: at most LONGEST each."""
    first = 0
    for last, day in enumerate(days):
        if days[last + 1 : last + 2] != [day + timedelta(days=1)] or last - first + 1 == LONGEST:
            yield days[first], day
            first = last + 1


def request(days: tuple[date, date], now: datetime) -> dg.RunRequest:
    """Return the run that makes the marts of some days. Its key is used once: what fails is asked for again later."""
    first, last = days
    key = f"marts {first} {last} {int(now.timestamp()) // AGAIN_S}"
    if first == last:
        return dg.RunRequest(run_key=key, partition_key=f"{first}")
    return dg.RunRequest(
        run_key=key, tags={ASSET_PARTITION_RANGE_START_TAG: f"{first}", ASSET_PARTITION_RANGE_END_TAG: f"{last}"}
    )
