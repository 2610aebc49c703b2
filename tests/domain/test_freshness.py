"""Which day has to be there by now: by schedules, by age, at the edges of days in Asia/Shanghai."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.calendar import collected_date, instant_of
from asset_ledger.domain.freshness import GRACE, Due, Expectation, due

DAILY = Expectation(crons=("0 2 * * *",))
NINE = Expectation(crons=("0 2 * * *",), by=time(9))
SUNDAYS = Expectation(crons=("0 2 * * 0",))
LATE = Expectation(crons=("30 23 * * *",), by=time(1))
MIDNIGHT = Expectation(crons=("0 2 * * *",), by=time(0))
WEEK = Expectation(every_days=7)
WEEK_BY_NINE = Expectation(every_days=7, by=time(9))


def at(text: str) -> datetime:
    """An instant, written in UTC."""
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("expected", "now", "day"),
    [
        # 05:00 in Shanghai is 21:00 UTC of the day before
        (DAILY, "2026-11-21T20:59:59", "2026-11-21"),
        (DAILY, "2026-11-21T21:00:00", "2026-11-22"),
        (DAILY, "2026-11-21T15:59:59", "2026-11-21"),
        (DAILY, "2026-11-21T16:00:00", "2026-11-21"),  # the day began, and nothing of it is due yet
        (NINE, "2026-11-22T00:59:59", "2026-11-21"),
        (NINE, "2026-11-22T01:00:00", "2026-11-22"),
        # read on Sundays; the 22nd is one
        (SUNDAYS, "2026-11-21T12:00:00", "2026-11-15"),
        (SUNDAYS, "2026-11-22T12:00:00", "2026-11-22"),
        (SUNDAYS, "2026-11-28T12:00:00", "2026-11-22"),
        # read at 23:30 and due by 01:00: of the night that it is read in
        (LATE, "2026-11-22T16:59:59", "2026-11-21"),
        (LATE, "2026-11-22T17:00:00", "2026-11-22"),
        (MIDNIGHT, "2026-11-22T15:59:59", "2026-11-21"),
        (MIDNIGHT, "2026-11-22T16:00:00", "2026-11-22"),
        # of the 15th holds to the end of the 22nd
        (WEEK, "2026-11-22T15:59:59", "2026-11-15"),
        (WEEK, "2026-11-22T16:00:00", "2026-11-16"),
        (WEEK_BY_NINE, "2026-11-22T00:59:59", "2026-11-15"),
        (WEEK_BY_NINE, "2026-11-22T01:00:00", "2026-11-16"),
        (Expectation(by=time(9)), "2026-11-22T01:00:00", "2026-11-22"),
        (Expectation(by=time(9)), "2026-11-22T00:59:59", "2026-11-21"),
        # `every` counts before the schedule
        (Expectation(crons=("0 2 * * *",), every_days=3), "2026-11-22T12:00:00", "2026-11-19"),
        # of two schedules the one whose day is the newer
        (Expectation(crons=("0 2 * * 0", "0 4 1 * *")), "2026-11-25T12:00:00", "2026-11-22"),
    ],
)
def test_what_is_due(expected: Expectation, now: str, day: str) -> None:
    found = due(expected, at(now))
    assert found is not None
    assert found.day == date.fromisoformat(day)
    assert found.at <= at(now)


def test_nothing_is_expected_of_what_somebody_brings() -> None:
    assert due(Expectation(), at("2026-11-22T12:00:00")) is None


def test_nothing_is_expected_of_a_day_that_never_comes() -> None:
    assert due(Expectation(crons=("0 2 30 2 *",)), at("2026-11-22T12:00:00")) is None


def test_what_is_due_says_since_when() -> None:
    assert due(DAILY, at("2026-11-22T12:00:00")) == Due(date(2026, 11, 22), at("2026-11-21T21:00:00"))
    assert due(WEEK, at("2026-11-22T12:00:00")) == Due(date(2026, 11, 15), at("2026-11-21T16:00:00"))
    assert due(WEEK_BY_NINE, at("2026-11-22T00:00:00")) == Due(date(2026, 11, 15), at("2026-11-21T01:00:00"))


instants = st.integers(1_700_000_000, 1_900_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
clocks = st.none() | st.times().map(lambda clock: clock.replace(second=0, microsecond=0))
expectations = st.builds(
    Expectation,
    crons=st.lists(
        st.sampled_from(["0 2 * * *", "30 23 * * *", "0 2 * * 0", "15 4 1 * *", "0 */6 * * *", "0 9 * * 1-5"]),
        min_size=1,
        max_size=2,
    ).map(tuple),
    every_days=st.none() | st.integers(1, 30),
    by=clocks,
)


@given(expectations, instants)
def test_no_day_is_due_that_is_not_there_yet_and_never_before_its_hour(expected: Expectation, now: datetime) -> None:
    found = due(expected, now)
    assert found is not None
    assert found.day <= collected_date(now)
    assert found.at <= now


@given(expectations, instants, st.integers(0, 40 * 24 * 3600))
def test_what_is_due_never_goes_back(expected: Expectation, now: datetime, later_s: int) -> None:
    before, after = due(expected, now), due(expected, now + timedelta(seconds=later_s))
    assert before is not None
    assert after is not None
    assert before.day <= after.day


@given(clocks, instants)
def test_a_daily_source_is_asked_for_today_or_yesterday(by: time | None, now: datetime) -> None:
    found = due(Expectation(crons=("0 2 * * *",), by=by), now)
    assert found is not None
    days_ago = (collected_date(now) - found.day).days
    # an hour before the schedule's is the next day's
    assert days_ago in ((0, 1) if by is None or by > time(2) else (1, 2))


@given(st.integers(1, 60), clocks, instants)
def test_what_was_read_just_now_is_never_too_old(every: int, by: time | None, now: datetime) -> None:
    found = due(Expectation(every_days=every, by=by), now)
    assert found is not None
    assert found.day <= collected_date(now)
    # and it holds so many days
    at_last = due(Expectation(every_days=every), instant_of(collected_date(now) + timedelta(days=every), time(23, 59)))
    assert at_last is not None
    assert at_last.day == collected_date(now)


def test_the_time_that_a_reading_may_take_is_hours_and_not_a_day() -> None:
    assert timedelta(hours=1) <= GRACE < timedelta(days=1)
