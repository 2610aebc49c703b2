"""Retention once a day, at an hour when nobody works and no source is read."""

import dagster as dg

from asset_ledger.pipeline.retention import RETENTION_JOB
from asset_ledger.schedules.by_clock import by_clock

DAILY = "40 3 * * *"


def build_retention_schedule() -> dg.ScheduleDefinition:
    """Return the schedule. It runs by default: what is to go after 180 days is to go without anybody's asking."""
    return by_clock(
        "retention_daily", RETENTION_JOB, DAILY, "Lets go of agent history and audit rows that are past their time."
    )
