"""Whether a day has far fewer, or far more, records than the source usually has. Pure; called by `pipeline.watch`.

Usual is the median of the last complete days of the same kind: a Saturday is compared with Saturdays and Sundays, where
there are enough of them, since what is switched off for the weekend is no cliff.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from statistics import median

OF_DAYS = 7
"""The median is of so many days: after a lasting change the fifth day of the new size is usual."""
AT_LEAST_DAYS = 3
"""Of fewer nothing is usual yet."""


@dataclass(frozen=True, slots=True)
class DayCount:
    """How many records the last complete reading of a day had."""

    day: date
    records: int


@dataclass(frozen=True, slots=True)
class Usual:
    """What a day is compared with: the median of `days` days, `weekend` or not; None says they are of both kinds."""

    records: float
    days: int
    weekend: bool | None


def usual(days: Sequence[DayCount]) -> Usual | None:
    """Return what is usual for the first of these days, newest first, by those after it; None of too few."""
    if not days:
        return None
    weekend = _is_weekend(days[0].day)
    kin = list(islice((one.records for one in days[1:] if _is_weekend(one.day) == weekend), OF_DAYS))
    if len(kin) >= AT_LEAST_DAYS:
        return Usual(float(median(kin)), len(kin), weekend)
    every = [one.records for one in days[1 : OF_DAYS + 1]]
    return Usual(float(median(every)), len(every), None) if len(every) >= AT_LEAST_DAYS else None


def is_cliff(records: int, of: Usual, *, share: float, at_least: int) -> bool:
    """Say whether so many records are fewer than usual by more than `share`, or as much more than usual.

    A rise counts where the fall back would: with 0.3 from 70 to more than 100. A difference of fewer than `at_least`
    records is none, so that a source of three machines may lose one.
    """
    if abs(records - of.records) < at_least:
        return False
    return min(records, of.records) < max(records, of.records) * (1 - share)


def _is_weekend(day: date) -> bool:
    return day.isoweekday() > 5
