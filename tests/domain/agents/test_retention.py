"""The ladder of an agent's history: what stays whole, what stays thin, what goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.agents.retention import HISTORY_DAYS, MONTHLY_DAYS, Entry, kept

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
SNAPSHOT = ("periodic_snapshot",)
CHANGE = ("hardware_change", "os_change")

instants = st.datetimes(datetime(2023, 1, 1), datetime(2026, 6, 15), timezones=st.just(UTC))  # noqa: DTZ001
histories = st.lists(st.tuples(instants, st.sampled_from([SNAPSHOT, CHANGE])), max_size=60).map(
    lambda rows: [Entry(n, at, kinds) for n, (at, kinds) in enumerate(rows)]
)


def daily(days: int, kinds: tuple[str, ...] = SNAPSHOT) -> list[Entry]:
    """Return a row a day up to NOW; a row's id is its age in days."""
    return [Entry(age, NOW - timedelta(days=age), kinds) for age in range(days)]


def test_a_year_and_a_half_of_snapshots_becomes_days_months_and_quarters() -> None:
    stays = kept(daily(550), NOW)
    assert set(stays.values()) == {"whole"}
    detailed = {age for age in stays if age <= HISTORY_DAYS}
    assert detailed == set(range(91))
    older = sorted((NOW - timedelta(days=age)).strftime("%Y-%m-%d") for age in stays if age > HISTORY_DAYS)
    assert older == [
        "2024-12-13",  # the very first
        "2025-01-01", "2025-04-01",  # quarters; of the second the month that is a year old began it
        "2025-07-01", "2025-08-01", "2025-09-01", "2025-10-01", "2025-11-01", "2025-12-01",
        "2026-01-01", "2026-02-01", "2026-03-01",
    ]  # fmt: skip


def test_changes_stay_without_their_raw_data_unless_they_are_the_first_of_their_time() -> None:
    stays = kept(daily(550, CHANGE), NOW)
    assert set(stays) == set(range(550))
    whole = kept(daily(550), NOW)
    assert {row for row, how in stays.items() if how == "whole"} == set(whole)


def test_the_last_row_of_a_silent_client_stays_whole_however_old() -> None:
    rows = [
        Entry(1, NOW - timedelta(days=900), SNAPSHOT),
        Entry(2, NOW - timedelta(days=899), SNAPSHOT),
        Entry(3, NOW - timedelta(days=898), SNAPSHOT),
    ]
    assert kept(rows, NOW) == {1: "whole", 3: "whole"}


@pytest.mark.parametrize(("age", "stays"), [(HISTORY_DAYS, True), (HISTORY_DAYS + 1, False)])
def test_the_ninetieth_day_is_the_last_that_stays_whole(age: int, stays: bool) -> None:
    rows = [
        Entry(0, NOW - timedelta(days=age, hours=1), SNAPSHOT),
        Entry(1, NOW - timedelta(days=age), SNAPSHOT),
        *daily(1),
    ]
    first = [
        Entry(8, (NOW - timedelta(days=age)).replace(day=1), SNAPSHOT),
        Entry(9, NOW - timedelta(days=800), SNAPSHOT),
    ]
    rows[-1] = Entry(7, NOW, SNAPSHOT)
    assert (1 in kept([*rows, *first], NOW)) is stays


@pytest.mark.parametrize(("day", "stays"), [(15, True), (14, False)])
def test_after_a_year_only_the_first_of_the_quarter_stays(day: int, stays: bool) -> None:
    """Of a June with its only row at the border, in a quarter that began before, and rows beyond both."""
    assert timedelta(days=MONTHLY_DAYS) == NOW - NOW.replace(year=2025)
    rows = [
        Entry(0, datetime(2024, 1, 1, tzinfo=UTC), SNAPSHOT),
        Entry(1, datetime(2025, 4, 3, tzinfo=UTC), SNAPSHOT),
        Entry(2, datetime(2025, 6, day, tzinfo=UTC), SNAPSHOT),
        Entry(3, NOW, SNAPSHOT),
    ]
    assert set(kept(rows, NOW)) == {0, 1, 3} | ({2} if stays else set())


def test_months_are_of_utc_however_an_instant_is_spelled() -> None:
    shanghai = timezone(timedelta(hours=8))
    rows = [
        Entry(0, datetime(2024, 1, 1, tzinfo=UTC), SNAPSHOT),
        Entry(1, datetime(2025, 11, 30, 12, tzinfo=UTC), SNAPSHOT),
        Entry(2, datetime(2025, 12, 1, 1, tzinfo=shanghai), SNAPSHOT),  # still November in UTC
        Entry(3, datetime(2025, 12, 1, 9, tzinfo=shanghai), SNAPSHOT),
        Entry(4, NOW, SNAPSHOT),
    ]
    assert set(kept(rows, NOW)) == {0, 1, 3, 4}


def test_rows_of_one_instant_are_ordered_by_id() -> None:
    at = NOW - timedelta(days=1000)
    assert kept([Entry(2, at, SNAPSHOT), Entry(1, at, SNAPSHOT), Entry(3, at, SNAPSHOT)], NOW) == {
        1: "whole",
        3: "whole",
    }


def test_no_rows_keep_none() -> None:
    assert kept([], NOW) == {}


@given(histories)
def test_nothing_that_matters_goes(rows: list[Entry]) -> None:
    stays = kept(rows, NOW)
    in_order = sorted(rows, key=lambda row: (row.collected_at, row.id))
    for row in rows:
        if row.kinds != SNAPSHOT:
            assert row.id in stays
        if NOW - row.collected_at <= timedelta(days=90):
            assert stays[row.id] == "whole"
    if rows:
        assert stays[in_order[0].id] == stays[in_order[-1].id] == "whole"
        for row in rows:  # every quarter that had a row has a whole one still
            quarter = (row.collected_at.year, (row.collected_at.month - 1) // 3)
            assert any(
                how == "whole" and (rows[n].collected_at.year, (rows[n].collected_at.month - 1) // 3) == quarter
                for n, how in stays.items()
            )


@given(histories, st.integers(0, 1000))
def test_thinning_in_steps_gives_what_thinning_once_gives(rows: list[Entry], days_before: int) -> None:
    earlier = NOW - timedelta(days=days_before)
    there = [row for row in rows if row.collected_at <= earlier]
    first = kept(there, earlier)
    left = [row for row in rows if row.collected_at > earlier or row.id in first]
    second = kept(left, NOW)
    assert second == kept(rows, NOW)
    assert not [row for row, how in second.items() if how == "whole" and first.get(row) == "thin"], "raw data is gone"
