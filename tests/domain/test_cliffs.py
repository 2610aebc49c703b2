"""What is a cliff: against days of the same kind, in a source large enough, down and up."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.cliffs import DayCount, Usual, is_cliff, usual

MONDAY = date(2026, 11, 16)


def days(*counts: int, last: date = MONDAY, step: int = 1) -> list[DayCount]:
    """Days up to `last`, newest first."""
    return [DayCount(last - timedelta(days=place * step), count) for place, count in enumerate(counts)]


def cliff(found: list[DayCount], share: float = 0.3, at_least: int = 5) -> bool:
    of = usual(found)
    return of is not None and is_cliff(found[0].records, of, share=share, at_least=at_least)


@pytest.mark.parametrize(
    ("newest", "before", "expected"),
    [
        (70, 100, False),  # the threshold itself is not over it
        (69, 100, True),
        (0, 100, True),
        (142, 100, False),
        (143, 100, True),  # from 143 back to 100 would be a fall of more than 30 %
        (2, 6, False),  # four fewer
        (1, 6, True),
        (0, 3, False),  # a source of three machines
        (0, 0, False),
        (5, 0, True),
    ],
)
def test_a_day_is_compared_with_those_before_it(newest: int, before: int, expected: bool) -> None:
    assert cliff(days(newest, *[before] * 7)) is expected


def test_two_days_are_too_few_to_say_what_is_usual() -> None:
    assert usual(days(10, 100, 100)) is None
    assert usual([]) is None
    assert usual(days(10, 100, 100, 100)) == Usual(100, 3, None)


def test_one_bad_day_does_not_change_what_is_usual() -> None:
    assert not cliff(days(100, 100, 3, 100, 100, 100, 100))


def test_what_is_switched_off_for_the_weekend_is_no_cliff() -> None:
    saturday = date(2026, 11, 21)
    month = [
        DayCount(saturday - timedelta(days=back), 40 if (saturday - timedelta(days=back)).isoweekday() > 5 else 100)
        for back in range(28)
    ]
    assert usual(month) == Usual(40, 7, True)
    assert not cliff(month)
    assert cliff([DayCount(saturday, 20), *month[1:]])
    # what is usual on a weekend is a cliff on a Friday
    assert cliff([DayCount(saturday - timedelta(days=1), 40), *month[2:]])


def test_a_first_saturday_is_compared_with_the_week() -> None:
    assert usual(days(40, 100, 100, 100, 100, last=date(2026, 11, 21))) == Usual(100, 4, None)


def test_a_source_that_is_read_weekly_is_compared_with_its_weeks() -> None:
    assert usual(days(50, 100, 100, 100, last=date(2026, 11, 22), step=7)) == Usual(100, 3, True)


def test_a_lasting_change_is_usual_after_four_days() -> None:
    working = [MONDAY - timedelta(days=back) for back in range(30) if (MONDAY - timedelta(days=back)).isoweekday() < 6]

    def after(changed: int) -> list[DayCount]:
        return [DayCount(day, 50 if place < changed else 100) for place, day in enumerate(working)]

    assert [cliff(after(changed)) for changed in range(1, 7)] == [True, True, True, True, False, False]


counts = st.integers(0, 100_000)


@given(counts, st.lists(counts, min_size=3, max_size=20), st.floats(0, 1), st.integers(1, 50))
def test_a_wider_share_never_finds_more(newest: int, before: list[int], share: float, at_least: int) -> None:
    found = days(newest, *before)
    if not cliff(found, share, at_least):
        assert not cliff(found, min(1.0, share + 0.1), at_least)
        assert not cliff(found, share, at_least + 1)


@given(counts, st.integers(3, 20), st.floats(0, 1), st.integers(1, 50))
def test_a_day_like_all_others_is_no_cliff(count: int, several: int, share: float, at_least: int) -> None:
    assert not cliff(days(*[count] * (several + 1)), share, at_least)


@given(counts, counts, st.integers(5, 50))
def test_a_fall_is_a_cliff_where_the_rise_back_is_one(low: int, high: int, at_least: int) -> None:
    there = is_cliff(low, Usual(high, 7, False), share=0.3, at_least=at_least)
    back = is_cliff(high, Usual(low, 7, False), share=0.3, at_least=at_least)
    assert there == back
