"""What people decide: it stands through every sync, what collectors see stays visible beside it, and it can be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from asset_ledger.store.decide.decisions import clear_override, not_duplicate, override, restore, retire
from asset_ledger.store.decide.merges import merge, unmerge
from asset_ledger.store.decide.tags import add_tags, remove_tags
from tests.faults.ledgers import assert_same, canonical, derived, follow
from tests.faults.site import Site
from tests.faults.world import Faults, World, new_vm

DAYS = [f"2026-10-{day:02}" for day in range(1, 29)]


@contextmanager
def deciding(site: Site, day: str, at: str = "18:00") -> Iterator[datetime]:
    """Let a person decide on an evening; the bars are held after it."""
    with site.on(day, at) as now:
        yield now
    site.bars.hold()


def test_an_edit_stands_through_ten_syncs_and_what_the_source_says_is_seen_beside_it(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    vm = site.asset("vm-1")["id"]
    with deciding(site, DAYS[0]) as now:
        override(site.connection, vm, "hostname", "billing-db", actor="op", at=now)
        override(site.connection, vm, "os_version", "13", actor="op", at=now)
        override(site.connection, vm, "custom_fields.owner", "finance", actor="op", at=now)
    for number, day in enumerate(DAYS[1:11]):
        world.change("vm-1" if number == 0 else f"renamed-{number - 1}", name=f"renamed-{number}", cpus=number + 3)
        site.reading(world)
        site.collect(day)

    edited = site.asset("billing-db")
    assert (edited["id"], edited["os_version"], edited["cpu_cores"]) == (vm, "13", 12)
    assert edited["custom_fields"].items() >= {("owner", "finance"), (site.double.pool_field, "test")}
    said = site.rows("SELECT hostname FROM ledger.asset_daily_specs WHERE asset_id = %s ORDER BY collected_date", vm)
    assert [row["hostname"] for row in said] == ["vm-1", *(f"renamed-{n}" for n in range(10))]
    aliases = {row["value"] for row in site.rows("SELECT value FROM ledger.asset_aliases WHERE asset_id = %s", vm)}
    assert aliases == {"vm-1", "billing-db", *(f"renamed-{n}" for n in range(10))}

    with deciding(site, DAYS[11]) as now:
        clear_override(site.connection, vm, "hostname", actor="op", at=now)
    assert site.asset("renamed-9")["id"] == vm, "the source's word is back"
    assert site.asset("renamed-9")["os_version"] == "13"


def test_an_edit_stands_while_the_machine_is_missing_and_when_it_comes_back(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    vm = site.asset("vm-1")["id"]
    with deciding(site, DAYS[0]) as now:
        override(site.connection, vm, "hostname", "kept", actor="op", at=now)
    dropped = world.drop("vm-1")
    site.reading(world)
    site.collect(DAYS[1])
    assert site.missing() == {"kept"}
    world.add(dropped[0])
    site.reading(world, Faults(down_hosts=("esx1",)))
    site.collect(DAYS[2])

    assert (site.asset("kept")["id"], site.missing()) == (vm, set())


def test_a_retired_machine_stays_retired_until_a_person_restores_it(site: Site) -> None:
    site.reading(site.estate())
    site.collect(DAYS[0])
    vm = site.asset("vm-1")["id"]
    with deciding(site, DAYS[0]) as now:
        retire(site.connection, vm, actor="op", at=now)
    site.collect(DAYS[1])
    assert site.asset("vm-1")["deleted_at"] is not None
    assert site.days_of("vm-1") == DAYS[:2], "what is read of it is kept"
    with deciding(site, DAYS[1]) as now:
        restore(site.connection, vm, actor="op", at=now)

    assert site.asset("vm-1")["deleted_at"] is None


def twins(site: Site) -> tuple[World, list[object]]:
    """Return a world with a machine and its clone, read for three days, and the ids of the two."""
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    original = world.vm("vm-1")
    world.add(new_vm(50, "esx2", name=original.name, uuid=original.uuid))
    site.reading(world)
    for day in DAYS[1:3]:
        site.collect(day)
    follow(site.connection)
    return world, [row["id"] for row in site.assets("vm-1")]


def live_on(site: Site, world: World, days: list[str]) -> None:
    """Let three days change both machines, one after the other."""
    for number, day in enumerate(days):
        clone = world.vms["150"]
        world.vms["150"] = new_vm(50, f"esx{number + 1}", name=clone.name, uuid=clone.uuid, cpus=number + 5)
        world.vms["101"] = new_vm(1, "esx1", ips=(f"10.5.0.{number + 1}",))
        site.reading(world)
        site.collect(day)
        follow(site.connection)


def test_a_merge_undone_after_three_syncs_leaves_no_trace(site: Site, new_site: Callable[[], Site]) -> None:
    world, (first, second) = twins(site)
    history = site.rows("SELECT * FROM ledger.asset_daily_specs ORDER BY collected_date, asset_id, link_id")
    with deciding(site, DAYS[2]) as now:
        merge(site.connection, second, first, actor="op", at=now)
    assert site.rows("SELECT * FROM ledger.asset_daily_specs ORDER BY collected_date, asset_id, link_id") == history
    live_on(site, world, DAYS[3:6])
    assert site.one("SELECT merged_into_asset_id FROM ledger.assets WHERE id = %s", second) == first, (
        "syncs part nothing"
    )
    with deciding(site, DAYS[5]) as now:
        unmerge(site.connection, second, actor="op", at=now)
    follow(site.connection)

    other = new_site()
    world, _ = twins(other)
    live_on(other, world, DAYS[3:6])
    assert_same(canonical(other.connection, without=["decisions"]), canonical(site.connection, without=["decisions"]))

    for each in (site, other):
        live_on(each, world.copy(), DAYS[6:9])
    assert_same(
        canonical(other.connection, without=["decisions"]), canonical(site.connection, without=["decisions"]), "later"
    )
    assert site.one("SELECT count(*) FROM ledger.decisions WHERE kind = 'merge'") == 2


def test_a_merge_survives_the_id_and_absence_of_its_members(site: Site) -> None:
    world, (first, second) = twins(site)
    with deciding(site, DAYS[2]) as now:
        merge(site.connection, second, first, actor="op", at=now)
    del world.vms["101"]
    site.reading(world)
    site.collect(DAYS[3])
    root = site.one("SELECT missing_since FROM ledger.assets WHERE id = %s", first)
    assert root is None, "one of its members is there"
    del world.vms["150"]
    site.reading(world)
    site.collect(DAYS[4])
    assert site.one("SELECT missing_since FROM ledger.assets WHERE id = %s", first) is not None
    with deciding(site, DAYS[4]) as now:
        unmerge(site.connection, second, actor="op", at=now)
    assert site.one("SELECT count(*) FROM ledger.assets WHERE missing_since IS NOT NULL") == 2


def test_a_pair_that_was_dismissed_never_comes_back(site: Site) -> None:
    world, (first, second) = twins(site)
    assert site.one("SELECT count(*) FROM ledger.duplicate_candidates") == 1
    with deciding(site, DAYS[2]) as now:
        not_duplicate(site.connection, second, first, actor="op", at=now)
    live_on(site, world, DAYS[3:6])

    assert site.rows("SELECT * FROM ledger.duplicate_candidates") == []


def test_a_tag_removed_by_hand_is_not_brought_back_and_one_added_stays(site: Site) -> None:
    site.reading(site.estate())
    site.collect(DAYS[0])
    with deciding(site, DAYS[0]) as now:
        add_tags(site.connection, site.asset("vm-1")["id"], ["gold"], actor="op", at=now)
        add_tags(site.connection, site.asset("vm-2")["id"], ["gold"], actor="op", at=now)
        remove_tags(site.connection, site.asset("vm-2")["id"], ["gold"], actor="op", at=now)
    for day in DAYS[1:4]:
        site.collect(day)

    standing = site.rows(
        "SELECT a.hostname FROM ledger.asset_tags t JOIN ledger.assets a ON a.id = t.asset_id WHERE t.removed_at IS NULL"
    )
    assert [row["hostname"] for row in standing] == ["vm-1"]


@pytest.mark.parametrize("day", DAYS[:3])
def test_replaying_a_day_changes_no_decision(site: Site, day: str) -> None:
    _, (first, second) = twins(site)
    with deciding(site, DAYS[2]) as now:
        override(site.connection, first, "hostname", "kept", actor="op", at=now)
        merge(site.connection, second, first, actor="op", at=now)
    before = derived(site.connection)
    site.replay(day, now=DAYS[4])

    assert_same(before, derived(site.connection))
