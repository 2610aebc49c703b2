"""The look at every source by the clock: what was not read fails no run, and nobody would be told."""

import dagster as dg

from asset_ledger.pipeline.watch import WATCH_JOB
from asset_ledger.schedules.by_clock import by_clock

HOURLY = "20 * * * *"


def build_watch_schedule() -> dg.ScheduleDefinition:
    """Return the schedule. It runs by default: a day that nobody read is to be told although nothing runs."""
    return by_clock(
        "ledger_watch_hourly",
        WATCH_JOB,
        HOURLY,
        "Looks every hour whether the sources are fresh and have their usual size.",
    )
