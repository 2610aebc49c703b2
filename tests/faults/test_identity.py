"""Machines that move, are renamed, cloned, or follow one another under one id: who is who stays true."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from asset_ledger.store.derive.duplicates import find_duplicates
from asset_ledger.store.derive.links import relink
from tests.faults.site import NINE, Site, instant
from tests.faults.world import Faults, new_vm
from tests.pipeline.importing import importing

DAYS = [f"2026-10-{day:02}" for day in range(1, 11)]


def test_a_machine_that_moves_keeps_its_id_and_its_relations_keep_their_intervals(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    before = site.asset("vm-1")
    for day, host in ((DAYS[1], "esx2"), (DAYS[2], "esx4"), (DAYS[3], "esx1")):
        world.change("vm-1", host=host)
        site.reading(world)
        site.collect(day)

    assert site.asset("vm-1")["id"] == before["id"]
    moves = [
        ("runs_on", "esx-1", False),
        ("runs_on", "esx-2", False),
        ("runs_on", "esx-4", False),
        ("runs_on", "esx-1", True),
    ]
    assert site.relations("vm-1") == (moves if site.double.hosts else [])
    assert site.days_of("vm-1") == DAYS[:4]
    assert site.one("SELECT count(*) FROM ledger.assets") == len(world.machines())
    assert site.missing() == set()


def test_a_host_that_changes_its_cluster_takes_its_machines_along(site: Site) -> None:
    if site.double.clusters < 2:
        pytest.skip("a source of this platform has no two clusters")
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    world.hosts["esx1"] = replace(world.hosts["esx1"], cluster="c2")
    site.reading(world)
    site.collect(DAYS[1])

    assert site.relations("esx-1") == [("member_of", "cluster-1", False), ("member_of", "cluster-2", True)]
    assert site.relations("vm-1") == [("runs_on", "esx-1", True)]


def test_names_that_two_machines_exchange_fuse_nothing(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    one, two = site.asset("vm-1")["id"], site.asset("vm-2")["id"]
    world.change("vm-1", name="other")
    world.change("vm-2", name="vm-1")
    world.change("other", name="vm-2")
    site.reading(world)
    site.collect(DAYS[1])

    assert (site.asset("vm-2")["id"], site.asset("vm-1")["id"]) == (one, two)
    aliases = site.rows("SELECT value FROM ledger.asset_aliases WHERE asset_id = %s ORDER BY value", one)
    assert [alias["value"] for alias in aliases] == ["vm-1", "vm-2"]


def test_a_clone_is_a_second_asset_and_one_candidate_and_nothing_is_merged(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    original = world.vm("vm-1")
    world.add(new_vm(50, "esx2", name=original.name, uuid=original.uuid))
    site.reading(world)
    site.collect(DAYS[1])
    find_duplicates(site.connection)

    first, second = site.assets("vm-1")
    assert first["merged_into_asset_id"] is second["merged_into_asset_id"] is None
    (candidate,) = site.rows("SELECT * FROM ledger.duplicate_candidates")
    assert {candidate["asset_id"], candidate["other_asset_id"]} == {first["id"], second["id"]}
    assert candidate["parts"], "the reasons are named"
    assert original.uuid in str(candidate["parts"])


def test_an_id_given_to_another_machine_begins_another_asset_and_closes_the_link_of_the_old(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    old = site.asset("vm-1")
    reused = world.add(new_vm(60, "esx1", id=world.vm("vm-1").id))
    site.reading(world)
    site.collect(DAYS[1])
    site.collect(DAYS[2])

    new = site.asset("vm-60")
    assert new["id"] != old["id"]
    links = site.rows(
        "SELECT asset_id, closed_at FROM ledger.asset_source_links WHERE external_kind = %s AND external_id = %s ORDER BY id",
        *site.double.name(reused),
    )
    assert links == [
        {"asset_id": old["id"], "closed_at": instant(DAYS[1])},
        {"asset_id": new["id"], "closed_at": None},
    ]
    assert (site.days_of("vm-1"), site.days_of("vm-60")) == (DAYS[:1], DAYS[1:3])
    still = site.rows(
        "SELECT value FROM ledger.asset_identifiers WHERE asset_id = %s AND last_seen_at IS NULL", old["id"]
    )
    assert still == [], "what the old machine was known by is no longer held by it"
    (resolution,) = site.rows("SELECT rule, inputs FROM ledger.identity_resolutions WHERE asset_id = %s", new["id"])
    assert resolution["rule"] == "generation"


def test_an_id_given_to_another_machine_is_noticed_while_its_node_tells_nothing(site: Site) -> None:
    if not site.double.lists_generations:
        pytest.skip("on this platform only its node tells one machine from another")
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    old = site.asset("vm-1")
    world.add(new_vm(60, "esx1", id=world.vm("vm-1").id))
    site.reading(world, Faults(down_hosts=("esx1",)))
    site.collect(DAYS[1])
    site.reading(world)
    site.collect(DAYS[2])

    assert site.asset("vm-60")["id"] != old["id"]
    assert site.one("SELECT count(*) FROM ledger.assets") == len(world.machines()) + 1
    assert site.asset("vm-60")["mgmt_ip"] is not None


def held(site: Site, asset: object) -> set[tuple[str, str]]:
    """Return what an asset is known by now: kinds and values."""
    found = site.rows(
        "SELECT kind, value FROM ledger.asset_identifiers WHERE asset_id = %s AND last_seen_at IS NULL", asset
    )
    return {(row["kind"], row["value"]) for row in found}


def test_a_machine_restored_under_the_id_it_had_is_the_asset_it_was(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    first = site.asset("vm-1")
    known_by = held(site, first["id"])
    (dropped,) = world.drop("vm-1")
    world.add(new_vm(60, "esx1", id=dropped.id))
    site.reading(world)
    site.collect(DAYS[1])
    world.vms[dropped.id] = dropped
    site.reading(world)
    site.collect(DAYS[2])
    site.collect(DAYS[3])

    assert site.asset("vm-1")["id"] == first["id"]
    assert site.one("SELECT count(*) FROM ledger.assets") == len(world.machines()) + 1
    assert site.days_of("vm-1") == [DAYS[0], DAYS[2], DAYS[3]]
    assert site.asset("vm-1")["missing_since"] is None
    assert {"ip", "mac", "smbios_uuid"} <= {kind for kind, _ in known_by}
    assert held(site, first["id"]) == known_by
    open_now = site.rows(
        "SELECT asset_id FROM ledger.asset_source_links WHERE external_kind = %s AND external_id = %s AND closed_at IS NULL",
        *site.double.name(dropped),
    )
    assert [row["asset_id"] for row in open_now] == [first["id"]]


def test_a_new_uuid_alone_is_the_same_machine(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    before = site.asset("vm-1")
    world.change("vm-1", uuid="99999999-0000-4000-8000-000000000001")
    site.reading(world)
    site.collect(DAYS[1])

    assert site.asset("vm-1")["id"] == before["id"]
    uuids = site.rows(
        "SELECT value, last_seen_at IS NULL AS held FROM ledger.asset_identifiers "
        "WHERE asset_id = %s AND kind = 'smbios_uuid' ORDER BY held",
        before["id"],
    )
    assert [row["held"] for row in uuids] == [False, True]


def test_an_address_given_to_another_machine_attaches_nothing(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    old = site.asset("vm-1")
    (dropped,) = world.drop("vm-1")
    world.add(new_vm(60, "esx1", ips=dropped.ips))
    site.reading(world)
    site.collect(DAYS[1])

    assert site.asset("vm-60")["id"] != old["id"]
    assert site.missing() == {"vm-1"}
    assert site.asset("vm-1")["missing_since"] == instant(DAYS[1], NINE)


def test_the_link_of_an_instance_goes_with_the_address_and_that_of_the_old_machine_fades(
    site: Site, tmp_path: Path
) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    with importing(site.ledger.url, tmp_path / "inbox") as office:
        site.others.append(office.source)
        address = world.vm("vm-1").ips[0]
        office.read(
            DAYS[0], f"name,host,port,db_type\norders,{address},5432,postgresql\n", name=f"instances_{DAYS[0]}.csv"
        )

        def links() -> list[tuple[str, str, int]]:
            relink(site.connection)
            found = site.rows(
                "SELECT a.hostname, l.match_status, l.confidence FROM ledger.instance_asset_links l "
                "JOIN ledger.assets a ON a.id = l.asset_id ORDER BY l.confidence DESC"
            )
            return [(row["hostname"], row["match_status"], row["confidence"]) for row in found]

        assert [link[:2] for link in links()] == [("vm-1", "confirmed")]
        world.change("vm-1", ips=("10.0.9.9",))
        world.add(new_vm(60, "esx1", ips=(address,)))
        site.reading(world)
        site.collect(DAYS[1])
        new, old = links()
        assert (new[:2], old[:2]) == (("vm-60", "confirmed"), ("vm-1", "candidate"))
        site.collect("2026-12-01")
        assert links()[1][2] < old[2] < new[2], "it fades as the source goes on speaking without it"


def test_a_machine_that_is_listed_twice_is_one_machine(site: Site) -> None:
    world = site.estate()
    site.reading(world, Faults(listed_twice=frozenset({"101", "102"})))
    site.collect(DAYS[0])
    site.collect(DAYS[1])

    assert site.one("SELECT count(*) FROM ledger.assets") == len(world.machines())
    rows_of_day = site.rows("SELECT collected_date, count(*) FROM ledger.asset_daily_specs GROUP BY 1 ORDER BY 1")
    assert rows_of_day == [{"collected_date": date(2026, 10, day), "count": len(world.machines())} for day in (1, 2)]
