"""A parser that was wrong, mended, and its days replayed: what would change is shown first, what was answered stays known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import pytest

from asset_ledger.domain.as_of import AsOf
from asset_ledger.pipeline.derive import plan_day
from asset_ledger.sources.registry import platform
from asset_ledger.store.query.as_of import list_as_of
from asset_ledger.store.query.assets import AssetQuery
from tests.faults import scripted
from tests.faults.ledgers import assert_same, canonical, derived
from tests.faults.site import Site
from tests.faults.world import new_vm

pytestmark = pytest.mark.usefixtures("scripted_only")

MONTH = [f"2026-09-{day:02}" for day in range(1, 31)]
WEEK = MONTH[:9]
WRONG, RIGHT = 4096 * 1_000_000, 4096 * 1024 * 1024


def parser(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """Let the platform have the parser of a version from now on."""
    monkeypatch.setattr(scripted, "PLATFORM", scripted.platform_of_version(version))
    platform.cache_clear()


def misread(site: Site, monkeypatch: pytest.MonkeyPatch, days: list[str], version: int = scripted.MISREAD) -> None:
    """Live some days with a parser that misreads memory; machines move, come and go meanwhile."""
    parser(monkeypatch, version)
    world = site.estate(6)
    for number, day in enumerate(days):
        if number == 2:
            world.change("vm-1", host="esx3", memory_mib=8192)
        if number == 4:
            dropped = world.drop("vm-2")
        if number == 6:
            world.add(dropped[0])
        site.reading(world)
        site.collect(day)


def test_thirty_days_replayed_with_a_mended_parser_are_right_and_the_old_answers_stay_known(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    misread(site, monkeypatch, MONTH)
    assert site.asset("vm-3")["memory_bytes"] == WRONG
    asset_ids = {row["id"] for row in site.rows("SELECT id FROM ledger.assets")}
    before = site.rows("SELECT collected_date, asset_id, memory_bytes FROM ledger.asset_daily_specs ORDER BY 1, 2")

    parser(monkeypatch, scripted.RIGHT)
    for day in MONTH:
        site.replay(day, now="2026-10-01")

    assert site.asset("vm-3")["memory_bytes"] == RIGHT
    assert {row["id"] for row in site.rows("SELECT id FROM ledger.assets")} == asset_ids
    wrong = site.one("SELECT count(*) FROM ledger.asset_daily_specs WHERE mod(memory_bytes, 1000000) = 0")
    assert wrong == 0
    corrected = site.rows(
        """
        SELECT c.collected_date, c.asset_id, n.memory_bytes FROM ledger.asset_daily_corrections c
        JOIN ledger.normalized_assets n ON n.id = c.normalized_id ORDER BY 1, 2
        """
    )
    assert corrected == [row for row in before if row["memory_bytes"] is not None], "each old answer is kept, once"
    events = site.rows(
        "SELECT count(*) AS words FROM ledger.asset_words w JOIN ledger.assets a ON a.id = w.asset_id WHERE a.hostname = 'vm-3'"
    )
    assert events == [{"words": 1}], "a defect that was mended is no change of the machine"


def as_of(site: Site, day: str, known_at: datetime | None = None) -> list[dict[str, Any]]:
    """Return what was known of a day, as known at a moment."""
    listed, _ = list_as_of(site.connection, AssetQuery(limit=100), AsOf(date.fromisoformat(day), known_at))
    return listed


def test_an_answer_given_before_a_correction_is_given_again_when_asked_as_of_then(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    misread(site, monkeypatch, WEEK)
    days = (WEEK[0], WEEK[3], WEEK[6], WEEK[8])
    answered = {day: as_of(site, day) for day in days}
    then = site.one("SELECT clock_timestamp()")
    parser(monkeypatch, scripted.RIGHT)
    for day in WEEK:
        site.replay(day, now="2026-10-01")

    for day in days:
        assert as_of(site, day, then) == answered[day]
        (vm,) = (asset for asset in as_of(site, day) if asset["hostname"] == "vm-3")
        assert vm["memory_bytes"] == RIGHT


def test_a_plan_says_what_replaying_would_change_and_changes_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    misread(site, monkeypatch, WEEK)
    parser(monkeypatch, scripted.RIGHT)
    before = derived(site.connection)
    planned = [
        plan_day(site.connection, site.double.source, site.row, date.fromisoformat(day)).corrections for day in WEEK
    ]

    assert_same(before, derived(site.connection))
    assert {correction.what for day in planned for correction in day} == {"changed"}
    (vm,) = (correction for correction in planned[0] if correction.hostname == "vm-3")
    assert vm.fields == (("hardware.memory_bytes", WRONG, RIGHT),)
    applied = []
    for day in WEEK:
        site.replay(day, now="2026-10-01")
        applied.append(site.corrections)
    assert applied == planned


def test_replaying_again_with_the_same_parser_corrects_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    misread(site, monkeypatch, WEEK)
    parser(monkeypatch, scripted.RIGHT)
    for day in WEEK[:5]:
        site.replay(day, now="2026-10-01")
    before = derived(site.connection)
    for day in WEEK[:5]:
        site.replay(day, now="2026-10-02")

    assert_same(before, derived(site.connection))
    for day in WEEK[5:]:
        site.replay(day, now="2026-10-03")


def test_a_mended_ledger_is_the_one_that_never_misread(
    site: Site, new_site: Callable[[], Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    misread(site, monkeypatch, WEEK)
    parser(monkeypatch, scripted.RIGHT)
    for day in reversed(WEEK):
        site.replay(day, now="2026-10-01")
    other = new_site()
    misread(other, monkeypatch, WEEK, scripted.RIGHT)

    left_out = ("asset_daily_corrections", "normalized_assets", "inventories")
    assert_same(canonical(site.connection, without=left_out), canonical(other.connection, without=left_out))


def test_half_the_days_replayed_leaves_the_other_half_and_today_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    misread(site, monkeypatch, WEEK)
    columns = "id, hostname, mgmt_ip, cpu_cores, memory_bytes, carried, missing_since, created_at"
    current = site.rows(f"SELECT {columns} FROM ledger.assets ORDER BY id")
    parser(monkeypatch, scripted.RIGHT)
    for day in WEEK[:5]:
        site.replay(day, now="2026-10-01")

    assert site.rows(f"SELECT {columns} FROM ledger.assets ORDER BY id") == current, (
        "older days never overwrite what is current"
    )
    halves = site.rows(
        "SELECT memory_bytes, min(collected_date), max(collected_date) FROM ledger.asset_daily_specs WHERE asset_id = %s "
        "GROUP BY 1 ORDER BY 2",
        site.asset("vm-3")["id"],
    )
    assert [tuple(half.values()) for half in halves] == [
        (RIGHT, date(2026, 9, 1), date(2026, 9, 5)),
        (WRONG, date(2026, 9, 6), date(2026, 9, 9)),
    ]
    # what is left as it was cannot be rebuilt from today's parser, so the rest follows
    for day in WEEK[5:]:
        site.replay(day, now="2026-10-02")


def test_a_day_that_changed_from_hour_to_hour_is_replayed_without_a_correction(site: Site) -> None:
    world = site.estate()
    for at, cores, there in (("09:00", 2, True), ("12:00", 4, False), ("15:00", 8, True), ("18:00", 2, True)):
        world.change("vm-1", cpus=cores)
        world.vms.pop("102", None)
        if there:
            world.add(new_vm(2, "esx2", cpus=cores))
        site.reading(world)
        site.collect(WEEK[0], at=at)
    before = derived(site.connection)
    site.replay(WEEK[0])

    assert site.corrections == ()
    assert_same(before, derived(site.connection))
