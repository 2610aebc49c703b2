"""Which day and which moment of knowledge a question about the past means.

Pure: the command line parses with it, `store.query.as_of` answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from asset_ledger.domain.calendar import FIRST_DAY, LEDGER_TIMEZONE, collected_date, moment_on

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class AsOf:
    """A question about the past: what was known of `day`, as known at `known_at` (None: as known now)."""

    day: date
    known_at: datetime | None = None

    @property
    def decided_before(self) -> datetime:
        """The instant before which a decision must have been made to count: the day's end, or just after `known_at`."""
        end = day_end(self.day)
        return end if self.known_at is None else min(end, self.known_at + timedelta(microseconds=1))


def day_end(day: date) -> datetime:
    """Return the first instant after a day of the ledger."""
    long_after = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=3)
    return moment_on(day, long_after) + timedelta(seconds=1)


def parse_day(text: str, *, now: datetime) -> date:
    """Return a `YYYY-MM-DD` of the ledger. Raises ValueError, saying why, for no day, one to come, or one too early."""
    if not _DAY.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is no day; write it as YYYY-MM-DD")
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no day of the calendar") from None
    if day < FIRST_DAY:
        raise ValueError(f"{text} is before the ledger begins, on {FIRST_DAY}")
    if day > collected_date(now):
        raise ValueError(f"{text} has not come yet: today is {collected_date(now)} in {LEDGER_TIMEZONE}")
    return day


def parse_moment(text: str, *, now: datetime) -> datetime:
    """Return the instant of an ISO text; a bare day means its end, or now for today.

    Raises ValueError, saying why, for what is no instant, has no time zone, is to come, or is before the ledger begins.
    """
    if _DAY.fullmatch(text.strip()):
        return min(now, day_end(parse_day(text, now=now)) - timedelta(microseconds=1))
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            raise ValueError(f"{text!r} has no time zone; write 2026-11-03T10:00+08:00, or ...T02:00Z")
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is no instant of the calendar") from None
    except ValueError as error:
        if "time zone" in str(error):
            raise
        raise ValueError(f"{text!r} is no instant; write a day, or an instant such as 2026-11-03T10:00Z") from None
    if moment > now:
        raise ValueError(f"{text} has not come yet: nobody knows what will be known then")
    if moment.date() < FIRST_DAY:
        raise ValueError(f"{text} is before the ledger begins, on {FIRST_DAY}")
    return moment


def parse_as_of(as_of: str | None, known_at: str | None, *, now: datetime) -> AsOf:
    """Return the question that `--as-of` and `--known-at` ask; without a day that of the instant is meant.

    Raises ValueError, saying why, for a day or an instant that makes no sense, or neither.
    """
    moment = None if known_at is None else parse_moment(known_at, now=now)
    if as_of is None:
        if moment is None:
            raise ValueError("name a day or an instant")
        return AsOf(collected_date(moment), moment)
    day = parse_day(as_of, now=now)
    if moment is not None and collected_date(moment) < day:
        raise ValueError(f"{day} had not come by {known_at}: nothing was known of it")
    return AsOf(day, moment)
