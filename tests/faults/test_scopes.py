"""Hosts and virtual machines as two readings: neither waits for the other, fails with it, or touches what the other said."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from asset_ledger.domain.errors import SOURCE_BUSY, LedgerError
from asset_ledger.sources.registry import platform
from asset_ledger.store.query.checks import hosts_elsewhere
from asset_ledger.store.sources import deriving, exclusive
from tests.faults import scripted
from tests.faults.ledgers import assert_same, derived
from tests.faults.site import Site, opened
from tests.faults.world import Faults, new_vm

DAYS = [f"2026-10-{day:02}" for day in range(1, 6)]
OF_MACHINES = "SELECT * FROM ledger.asset_daily_specs WHERE link_id IN (SELECT id FROM ledger.identity_resolutions WHERE external_kind = 'vm') ORDER BY collected_date, asset_id"


@pytest.fixture(autouse=True)
def two_scopes(site: Site) -> None:
    site.demand_scopes("hosts", "vms")


@pytest.mark.parametrize(
    ("one", "other", "free"),
    [
        ("hosts", "vms", True),
        ("vms", "hosts", True),
        ("hosts", "hosts", False),
        ("all", "vms", False),
        ("hosts", "all", False),
        ("all", "all", False),
    ],
)
def test_what_overlaps_a_running_reading_waits_and_nothing_else_does(
    site: Site, tmp_path: Path, one: str, other: str, free: bool
) -> None:
    site.reading(site.estate())
    with (
        opened(site.ledger.url, tmp_path, site.double) as second,
        exclusive(second.connection, second.row, covers=site.covers(one)),
    ):
        if free:
            assert len(site.collect(DAYS[0], scope=other)) == 1
        else:
            error = site.fails(DAYS[0], scope=other)
            assert error.code is SOURCE_BUSY
            assert site.one("SELECT count(*) FROM ledger.inventories") == 0
    site.collect(DAYS[0], scope=other, at="10:00")


def test_a_reading_that_was_killed_is_marked_by_the_next_that_overlaps_it_alone(site: Site) -> None:
    site.reading(site.estate())
    site.collect(DAYS[0])
    killed = site.one(
        """
        INSERT INTO ledger.inventories (source_id, scope, covers, collected_date, collected_at, run_id, mode, complete, status)
        VALUES (%s, 'hosts', %s, %s, now(), 'killed', 'collect_hosts', false, 'reading') RETURNING id
        """,
        site.row.id,
        list(site.covers("hosts")),
        DAYS[1],
    )
    status = "SELECT status FROM ledger.inventories WHERE id = %s"

    site.collect(DAYS[1], scope="vms")
    assert site.one(status, killed) == "reading", "its run may be alive: nothing of the machines' run says otherwise"
    site.collect(DAYS[1], scope="hosts")
    assert site.one(status, killed) == "interrupted"


def test_hosts_that_cannot_be_read_leave_the_machines_current_and_nothing_missing(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0], scope="hosts")
    site.collect(DAYS[0], scope="vms")
    world.change("vm-1", cpus=16, host="esx4")
    site.reading(world, Faults(short_body=True))
    site.fails(DAYS[1], scope="hosts")
    site.reading(world)
    (outcome,) = site.collect(DAYS[1], scope="vms")

    assert (outcome.updated, outcome.missing) == (1, 0)
    assert site.missing() == set()
    assert site.asset("vm-1")["cpu_cores"] == 16
    assert site.relations("vm-1") == [("runs_on", "esx-1", False), ("runs_on", "esx-4", True)]
    assert site.days_of("esx-1") == [DAYS[0]]


def test_machines_that_cannot_be_read_leave_the_hosts_current_and_nothing_missing(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0], scope="hosts")
    site.collect(DAYS[0], scope="vms")
    site.reading(world, Faults(short_body=True))
    site.fails(DAYS[1], scope="vms")
    site.reading(world)
    (outcome,) = site.collect(DAYS[1], scope="hosts", at="10:00")

    assert outcome.missing == 0
    assert site.missing() == set()
    assert site.days_of("esx-1") == DAYS[:2]
    assert site.days_of("vm-1") == DAYS[:1]


def test_machines_name_the_run_that_told_of_their_hosts(site: Site) -> None:
    site.reading(site.estate())
    site.collect(DAYS[0], scope="hosts")
    site.collect(DAYS[0], scope="vms", at="09:10")
    (known,) = hosts_elsewhere(site.connection, [site.last_reading()["id"]])

    assert (known["run_id"], known["scope"]) == ("run-1", "hosts")
    assert known["vms"] == len(site.world.vms)
    effect = site.one("SELECT effect FROM ledger.sync_target_records ORDER BY id DESC LIMIT 1")
    assert (
        f"{known['vms']} machines on {known['hosts']} hosts known from run run-1 (hosts, 2026-10-01 01:00 UTC)"
        in effect
    )


def test_a_host_that_comes_later_closes_the_open_relation_of_its_machines(site: Site) -> None:
    site.reading(site.estate())
    site.collect(DAYS[0], scope="vms")
    (unknown,) = hosts_elsewhere(site.connection, [site.last_reading()["id"]])
    assert unknown["run_id"] is None
    assert site.relations("vm-1") == [("runs_on", None, True)], "its id is kept as evidence"
    assert site.assets("esx-1") == [], "no host is made of what a machine says of it"
    effect = site.one("SELECT effect FROM ledger.sync_target_records ORDER BY id DESC LIMIT 1")
    assert "that no reading told of yet" in effect

    site.collect(DAYS[0], scope="hosts", at="10:00")
    assert site.relations("vm-1") == [("runs_on", "esx-1", True)]


def test_hosts_derived_again_leave_the_rows_of_machines_as_they_are(
    site: Site, monkeypatch: pytest.MonkeyPatch, scripted_only: None
) -> None:
    def parser(version: int) -> None:
        monkeypatch.setattr(scripted, "PLATFORM", scripted.platform_of_version(version))
        platform.cache_clear()

    parser(scripted.MISREAD)
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0], scope="hosts")
    site.collect(DAYS[0], scope="vms", at="09:10")
    machines: list[dict[str, Any]] = site.rows(OF_MACHINES)
    ips = "SELECT * FROM ledger.asset_daily_ips ORDER BY collected_date, asset_id, ip"
    addresses = site.rows(ips)

    parser(scripted.RIGHT)
    outcomes = site.replay(DAYS[0], scope="hosts")

    assert [outcome.updated for outcome in outcomes] == [len(world.hosts)]
    assert site.rows(OF_MACHINES) == machines
    assert site.rows(ips) == addresses
    assert {correction.asset_id for correction in site.corrections} == {
        str(row["id"]) for row in site.rows("SELECT id FROM ledger.assets WHERE hostname LIKE 'esx%%'")
    }
    site.replay(DAYS[0], scope="vms")


def test_a_reading_of_everything_is_derived_again_with_what_it_overlaps(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0], scope="hosts")
    world.change("vm-1", cpus=16)
    site.reading(world)
    site.collect(DAYS[0], at="10:00")
    world.change("vm-1", cpus=32)
    site.reading(world)
    site.collect(DAYS[0], scope="vms", at="11:00")
    before = derived(site.connection)

    assert len(site.replay(DAYS[0], scope="hosts")) == 3, "the reading of everything joins hosts and machines"
    assert_same(before, derived(site.connection))


def test_two_runs_never_derive_one_source_at_the_same_time(site: Site, tmp_path: Path) -> None:
    """The machines' run is held where the hosts' run derives; then both are through."""
    site.reading(site.estate())
    done: list[int] = []
    with opened(site.ledger.url, tmp_path, site.double) as hosts, site.on(DAYS[0]):
        site.remember()

        def machines() -> None:
            with opened(site.ledger.url, tmp_path, site.double) as mine:
                mine.runs = 7
                with exclusive(mine.connection, mine.row, covers=mine.covers("vms")):
                    done.append(len(mine.collect_now("vms")))

        with deriving(hosts.connection, hosts.row, hosts.covers("hosts")):
            thread = threading.Thread(target=machines)
            thread.start()
            thread.join(1.5)
            assert thread.is_alive()
            assert done == []
        thread.join(60)
    assert done == [1]


def test_a_busy_source_says_which_kinds_are_read(site: Site, tmp_path: Path) -> None:
    with (
        opened(site.ledger.url, tmp_path, site.double) as second,
        exclusive(second.connection, second.row),
        pytest.raises(LedgerError, match=r"another run is reading or writing it \(vm\)"),
        exclusive(site.connection, site.row, covers=("vm",)),
    ):
        pass


def test_machines_that_come_later_do_not_dilute_what_a_held_reading_lost(site: Site) -> None:
    world = site.estate(20)
    site.reading(world)
    site.collect(DAYS[0], scope="vms")
    world.drop(*(f"vm-{number}" for number in range(1, 13)))
    for number in range(100, 140):
        world.add(new_vm(number, "esx1"))
    site.reading(world)
    (held,) = site.collect(DAYS[1], scope="vms")
    (again,) = site.collect(DAYS[2], scope="vms")

    assert (held.absences_held, again.absences_held) == (True, True)
    assert site.missing() == set()


def test_a_day_derived_again_says_once_what_it_made_missing(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0], scope="vms")
    world.drop("vm-1")
    site.reading(world)
    site.collect(DAYS[1], scope="vms")
    site.collect(DAYS[1], scope="vms", at="10:00")
    outcomes = site.replay(DAYS[1], scope="vms")

    assert [(outcome.missing, outcome.revived) for outcome in outcomes] == [(0, 0), (0, 0)]
    effects = site.rows("SELECT effect FROM ledger.sync_target_records WHERE mode = 'replay'")
    assert not any("missing" in row["effect"] or "seen again" in row["effect"] for row in effects)
    assert site.missing() == {"vm-1"}


def test_machines_that_came_while_a_reading_was_held_are_guarded_too(site: Site) -> None:
    world = site.estate(20)
    site.reading(world)
    site.collect(DAYS[0], scope="vms")
    lost = world.drop(*(f"vm-{number}" for number in range(1, 13)))
    site.reading(world)
    site.collect(DAYS[1], scope="vms")
    new = [world.add(new_vm(number, "esx1")) for number in range(100, 140)]
    site.reading(world)
    site.collect(DAYS[2], scope="vms")
    for vm in lost:
        world.add(vm)
    world.drop(*(vm.name for vm in new))
    site.reading(world)
    (outcome,) = site.collect(DAYS[3], scope="vms")

    assert outcome.absences_held
    assert site.missing() == set()
