"""Which day of a source has to be there by now: by its schedule, or by what sources.yaml says of it.

Pure, and of days: a reading of an old day, however late it was made or derived again, is of that old day. Read by
`pipeline.watch`, for the asset checks and for the metrics alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from asset_ledger.domain.calendar import clock_of, collected_date, instant_of
from asset_ledger.domain.ticks import first_tick

GRACE = timedelta(hours=3)
"""How long after its schedule a reading may take where nothing else is said: retries, and a large estate's probes."""
_LOOK_BACK = 366 * 4 + 1
"""In so many days every expression that fires at all has fired: the 29th of February comes each fourth year."""
_MIDNIGHT = time(0)


@dataclass(frozen=True, slots=True)
class Expectation:
    """When a source is expected to be read: by cron expressions (any of them), or every so many days.

    `every_days` counts before `crons`; `by` is the hour at which the day has to be there, in Asia/Shanghai. With none
    of the three nothing is expected: the source speaks when somebody brings something.
    """

    crons: tuple[str, ...] = ()
    every_days: int | None = None
    by: time | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """What has to be there: a reading of `day` or a newer one, since `at`."""

    day: date
    at: datetime


def due(expected: Expectation, now: datetime) -> Due | None:
    """Return what has to be there at an aware instant, or None where nothing is expected (yet)."""
    every = expected.every_days
    if every is None and not expected.crons and expected.by is not None:
        every = 1
    if every is not None:
        return _by_age(every, expected.by, now)
    found = [one for one in (_by_cron(cron, expected.by, now) for cron in expected.crons) if one is not None]
    return max(found, key=lambda one: one.day, default=None)


def _by_age(every: int, by: time | None, now: datetime) -> Due:
    """A reading holds until the hour `by` of the day on which the next is due, or to the end of that day."""
    today = collected_date(now)
    if by is not None and clock_of(now) >= by:
        return Due(today - timedelta(days=every - 1), instant_of(today, by))
    # before that hour it was yesterday's that passed; without one, yesterday's end
    at = instant_of(today, _MIDNIGHT) if by is None else instant_of(today - timedelta(days=1), by)
    return Due(today - timedelta(days=every), at)


def _by_cron(cron: str, by: time | None, now: datetime) -> Due | None:
    today = collected_date(now)
    for back in range(_LOOK_BACK):
        day = today - timedelta(days=back)
        tick = first_tick(cron, day)
        if tick is not None and (at := _deadline(day, tick, by)) <= now:
            return Due(day, at)
    return None


def _deadline(day: date, tick: time, by: time | None) -> datetime:
    """The hour `by` that comes next after the tick, which may be of the next day, or GRACE after the tick."""
    if by is None:
        return instant_of(day, tick) + GRACE
    return instant_of(day if by > tick else day + timedelta(days=1), by)
