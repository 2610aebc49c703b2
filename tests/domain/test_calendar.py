"""Days in Asia/Shanghai: where they begin, which one a file's name gives, and when a late reading counts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.calendar import collected_date, day_in_name, moment_on

instants = st.integers(1_577_920_000, 2_080_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        (datetime(2026, 11, 1, 15, 59, 59, 999_999, UTC), date(2026, 11, 1)),
        (datetime(2026, 11, 1, 16, 0, 0, 0, UTC), date(2026, 11, 2)),
        (datetime(2026, 12, 31, 16, 0, tzinfo=UTC), date(2027, 1, 1)),
        (datetime(2028, 2, 28, 16, 0, tzinfo=UTC), date(2028, 2, 29)),
        (datetime(2026, 11, 2, 0, 0, tzinfo=timezone(timedelta(hours=8))), date(2026, 11, 2)),
        (datetime(2026, 11, 1, 11, 0, tzinfo=timezone(timedelta(hours=-5))), date(2026, 11, 2)),
    ],
)
def test_a_day_begins_at_16_00_utc(instant: datetime, day: date) -> None:
    assert collected_date(instant) == day


def test_an_instant_without_a_zone_has_no_day() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        collected_date(datetime(2026, 11, 1, 12, 0))  # noqa: DTZ001


@given(instants, st.integers(-14 * 60, 14 * 60))
def test_the_zone_in_which_an_instant_is_written_makes_no_difference(instant: datetime, minutes: int) -> None:
    assert collected_date(instant.astimezone(timezone(timedelta(minutes=minutes)))) == collected_date(instant)


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("hosts_2026-11-01.csv", date(2026, 11, 1)),
        ("2026-11-01.csv", date(2026, 11, 1)),
        ("from 2026-10-01 to 2026-11-01.csv", date(2026, 11, 1)),
        ("hosts.csv", None),
        ("hosts_20261101.csv", None),
        ("12026-11-01.csv", None),
        ("2026-11-011.csv", None),
        ("", None),
    ],
)
def test_the_last_day_in_a_name_counts(name: str, day: date | None) -> None:
    assert day_in_name(name) == day


@pytest.mark.parametrize("name", ["hosts_2026-02-30.csv", "hosts_2026-13-01.csv", "hosts_0000-01-01.csv"])
def test_a_day_that_is_none_is_an_error_and_not_today(name: str) -> None:
    with pytest.raises(ValueError, match=r"day|month|year"):
        day_in_name(name)


def test_a_reading_of_its_own_day_counts_when_it_came() -> None:
    came = datetime(2026, 11, 1, 15, 59, 59, 500_000, UTC)
    assert moment_on(date(2026, 11, 1), came) == came


def test_a_late_reading_counts_at_the_last_second_of_its_day() -> None:
    came = datetime(2026, 11, 5, 3, 0, tzinfo=UTC)
    assert moment_on(date(2026, 11, 1), came) == datetime(2026, 11, 1, 15, 59, 59, tzinfo=UTC)


@given(instants, st.integers(0, 2000))
def test_instants_and_days_never_disagree_about_which_is_newer(came: datetime, days_ago: int) -> None:
    today = collected_date(came)
    day = max(date(2020, 1, 1), today - timedelta(days=days_ago))
    moment = moment_on(day, came)
    assert collected_date(moment) == day
    assert moment.utcoffset() == timedelta(0)
    if day < today:
        assert moment < came
