"""Which day an instant belongs to. The only place that knows the ledger's time zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

LEDGER_TIMEZONE = "Asia/Shanghai"
FIRST_DAY = date(2020, 1, 1)
"""The earliest day the ledger keeps; Dagster's day partitions begin here."""

_DAY_IN_NAME = re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)")


def collected_date(instant: datetime) -> date:
    """Return the day in Asia/Shanghai of an aware instant.

    Raises ValueError for a naive datetime: guessing its zone would move machines between days.
    """
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone")
    return instant.astimezone(_zone()).date()


def each_day(first: date, last: date) -> list[date]:
    """Return the days from the first to the last, both inclusive."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def day_in_name(name: str) -> date | None:
    """Return the last `YYYY-MM-DD` in a file name, or None where there is none.

    Raises ValueError for something of that shape that is no day (`2026-02-30`).
    """
    found = _DAY_IN_NAME.findall(name)
    if not found:
        return None
    year, month, day = found[-1]
    return date(int(year), int(month), int(day))


def moment_on(day: date, came_at: datetime) -> datetime:
    """Return the instant at which a reading of `day` that came at `came_at` counts.

    That is when it came, or the last second of its day for a reading that came later, so that instants
    and days never disagree about which of two readings is the newer.
    """
    if collected_date(came_at) == day:
        return came_at
    return datetime.combine(day, time(23, 59, 59), _zone()).astimezone(UTC)


def instant_of(day: date, clock: time) -> datetime:
    """Return the instant at which clocks in Asia/Shanghai show `clock` on `day`."""
    return datetime.combine(day, clock, _zone()).astimezone(UTC)


def clock_of(instant: datetime) -> time:
    """Return what clocks in Asia/Shanghai show at an aware instant, without a zone."""
    return instant.astimezone(_zone()).time()


@cache
def _zone() -> ZoneInfo:
    return ZoneInfo(LEDGER_TIMEZONE)
