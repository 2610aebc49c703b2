"""Which day a reading is of, whatever a clock says: the platform's, the server's, or one that was set back."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from tests.faults.site import Site
from tests.faults.world import Faults


@pytest.mark.parametrize(
    ("at", "day"), [("23:59:59", date(2026, 10, 1)), ("00:00:00", date(2026, 10, 2))], ids=["15:59 UTC", "16:00 UTC"]
)
def test_the_day_ends_at_midnight_in_shanghai(site: Site, at: str, day: date) -> None:
    calendar = day.isoformat()
    site.reading(site.estate())
    site.collect(calendar, at=at)

    assert site.now == datetime(2026, 10, 1, 15, 59, 59, tzinfo=UTC) if at[0] == "2" else site.now.hour == 16
    assert site.now.date() == date(2026, 10, 1), "one and the same day in UTC"
    assert site.rows("SELECT DISTINCT collected_date FROM ledger.asset_daily_specs") == [{"collected_date": day}]
    assert site.last_reading()["collected_date"] == day
    assert site.one("SELECT DISTINCT last_seen_date FROM ledger.asset_source_links") == day


def test_readings_on_both_sides_of_midnight_are_two_days(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect("2026-10-01", at="23:59:59")
    world.change("vm-1", cpus=8)
    dropped = world.drop("vm-2")
    site.reading(world)
    site.collect("2026-10-02", at="00:00:00")

    cores = site.rows(
        "SELECT collected_date, cpu_cores FROM ledger.asset_daily_specs WHERE asset_id = %s ORDER BY 1",
        site.asset("vm-1")["id"],
    )
    assert [(row["collected_date"].day, row["cpu_cores"]) for row in cores] == [(1, 2), (2, 8)]
    assert site.missing() == {dropped[0].name}


MINUTES, DAYS = 600, 86_400 * 3


@pytest.mark.parametrize("skew", [-DAYS, -MINUTES, MINUTES, DAYS])
def test_the_platforms_clock_decides_nothing(site: Site, skew: int) -> None:
    if abs(skew) == DAYS and "clock_skew_s" in site.double.refusals:
        pytest.skip("this platform refuses whoever has another day; the next test has that")
    site.reading(site.estate(), Faults(clock_skew_s=skew))
    site.collect("2026-10-01")

    assert site.rows("SELECT DISTINCT collected_date, collected_at FROM ledger.asset_daily_specs") == [
        {"collected_date": date(2026, 10, 1), "collected_at": site.now}
    ]


@pytest.mark.parametrize("skew", [-DAYS, DAYS])
def test_a_platform_that_refuses_whoever_has_another_day_loses_nothing(site: Site, skew: int) -> None:
    if "clock_skew_s" not in site.double.refusals:
        pytest.skip("this platform asks nobody for the time; the test before has that")
    code, said = site.double.refusals["clock_skew_s"]
    world = site.estate()
    site.reading(world)
    site.collect("2026-10-01")
    site.reading(world, Faults(clock_skew_s=skew))
    error = site.fails("2026-10-02")

    assert error.code.code == code
    assert said in str(error)
    assert site.missing() == set()
    site.reading(world)
    site.collect("2026-10-03")
    assert site.days_of("vm-1") == ["2026-10-01", "2026-10-03"]


def test_a_server_clock_that_was_set_back_loses_nothing(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect("2026-10-02", at="12:00")
    world.change("vm-1", cpus=8)
    world.drop("vm-2")
    site.reading(world)
    site.collect("2026-10-02", at="11:00")

    assert site.asset("vm-1")["cpu_cores"] == 2, "what was read at noon is newer than what was read at eleven"
    assert site.missing() == set()
    site.collect("2026-10-03")
    assert site.asset("vm-1")["cpu_cores"] == 8
    assert site.missing() == {"vm-2"}
    assert site.days_of("vm-1") == ["2026-10-02", "2026-10-03"]


def test_a_server_clock_that_lost_a_day_adds_that_day_and_keeps_what_is_current(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect("2026-10-05")
    world.change("vm-1", cpus=8)
    world.drop("vm-2")
    site.reading(world)
    site.collect("2026-10-03")

    assert site.asset("vm-1")["cpu_cores"] == 2
    assert site.missing() == set()
    assert site.days_of("vm-1") == ["2026-10-03", "2026-10-05"]
