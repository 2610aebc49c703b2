"""On which days a cron expression fires, checked against the library by which Dagster's own schedules tick."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import pytest
from dagster._vendored.croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.ticks import first_tick
from asset_ledger.sources.cron import checked_cron


def field(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    span = st.tuples(value, value).map(sorted).filter(lambda ends: ends[0] < ends[1])
    part = st.one_of(
        value.map(str),
        span.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.tuples(span, st.integers(1, 9)).map(lambda found: f"{found[0][0]}-{found[0][1]}/{found[1]}"),
        st.integers(1, 9).map(lambda step: f"*/{step}"),
        st.just(f"{low}-{high}"),
        st.just("*"),
        *([st.sampled_from(names)] if names else []),
    )
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join))


crons = st.tuples(
    field(0, 59),
    field(0, 23),
    field(1, 28),
    field(1, 12, ("jan", "JUN", "dec")),
    field(0, 7, ("sun", "Mon", "sat")),
).map(" ".join)
days = st.dates(date(2024, 1, 1), date(2030, 12, 31))


@settings(max_examples=200)
@given(crons, days)
def test_a_day_fires_when_the_scheduler_would_fire_first_on_it(cron: str, day: date) -> None:
    midnight = datetime.combine(day, time())
    then = croniter(cron, midnight - timedelta(seconds=1)).get_next(datetime)
    assert first_tick(checked_cron(cron), day) == (then.time() if then.date() == day else None), cron


@pytest.mark.parametrize(
    ("cron", "day", "fires"),
    [
        ("0 2 * * *", date(2026, 11, 22), time(2)),
        ("30 */6 * * *", date(2026, 11, 22), time(0, 30)),
        ("0 3 * * 0", date(2026, 11, 22), time(3)),  # a Sunday
        ("0 3 * * 7", date(2026, 11, 22), time(3)),
        ("0 3 * * 1-5", date(2026, 11, 22), None),
        ("0 3 1 * 0", date(2026, 11, 22), time(3)),  # the first of a month, or any Sunday
        ("0 3 2 * 0-6", date(2026, 11, 23), time(3)),  # the second, or any day of the week
        ("0 3 2 * *", date(2026, 11, 23), None),
        ("0 3 29 2 *", date(2026, 3, 1), None),
        ("0 3 29 2 *", date(2028, 2, 29), time(3)),
    ],
)
def test_days_that_people_write(cron: str, day: date, fires: time | None) -> None:
    assert first_tick(cron, day) == fires
