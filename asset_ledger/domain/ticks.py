"""On which days a cron expression fires, and when first: what freshness expects of a source is made of that.

Pure. Whether a text is a cron expression is `sources.cron`'s business, and starting something at a tick is the
scheduler's; both days are by the same calendar, the ledger's.
"""

from __future__ import annotations

from datetime import date, time
from functools import cache

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def first_tick(cron: str, day: date) -> time | None:
    """Return when an expression of five fields first fires on a day, or None where it does not.

    Where both the day of the month and the day of the week are restricted, either is enough. What counts as restricted
    is as Dagster's schedules have it.
    """
    minutes, hours, days, months, weekdays, either = _fields(cron)
    if day.month not in months:
        return None
    of_month, of_week = day.day in days, day.isoweekday() % 7 in weekdays
    if not (of_month or of_week if either else of_month and of_week):
        return None
    return time(min(hours), min(minutes))


@cache
def _fields(cron: str) -> tuple[frozenset[int], frozenset[int], frozenset[int], frozenset[int], frozenset[int], bool]:
    minute, hour, day, month, weekday = cron.lower().split()
    days = _values(day, 1, 31)
    # 7 is Sunday too
    weekdays = frozenset(value % 7 for value in _values(weekday, 0, 6, _WEEKDAYS))
    either = not _is_any(day, len(days) == 31, weekday) and not _is_any(weekday, len(weekdays) == 7, day)
    return _values(minute, 0, 59), _values(hour, 0, 23), days, _values(month, 1, 12, _MONTHS), weekdays, either


def _is_any(field: str, whole: bool, other: str) -> bool:
    """Say whether a field does not restrict the day: `0-6` is every day, and a restriction beside `2`."""
    return "*" in field.split(",") or (whole and "*" in other)


def _values(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        begin, _, end = span.partition("-")
        if span == "*":
            first, last = low, high
        else:
            first = _number(begin, names, low)
            # `5/10` counts on from 5; `5` alone is 5
            last = _number(end, names, low) if end else high if step else first
        found.update(range(first, last + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, names: tuple[str, ...], low: int) -> int:
    return names.index(text) + low if text in names else int(text)
