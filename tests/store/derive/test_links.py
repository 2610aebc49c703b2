"""Links between instances and machines: the rules, the decay, and that nothing hangs on the past."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime

import pytest

from asset_ledger.domain.links import FORMER_CONFIDENCE, FORMER_DAYS, FORMER_KEPT, SHARED_TOO_WIDELY
from asset_ledger.store.database import connect
from asset_ledger.store.derive.links import relink
from tests.store.linking import World, day, linking, made, relinked


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with linking(database_url) as opened:
        yield opened


def test_one_machine_with_the_address_is_confirmed(world: World) -> None:
    world.machine("db-1", "10.0.0.1", at=3)
    world.machine("db-2", "10.0.0.2")
    world.address("db-2", "10.0.0.9")
    world.instance("orders", "10.0.0.1", at=1)
    world.instance("stock", "10.0.0.9")
    assert relinked(world, "orders") == {"db-1": ("confirmed", "mgmt_ip", 95)}
    assert world.links("stock") == {"db-2": ("confirmed", "ip_identifier", 85)}
    told = world.evidence("orders", "db-1")
    assert (told["matched"], told["sources"]) == ("10.0.0.1", ["office"])
    assert (told["created_at"], told["updated_at"]) == (day(3), day(3))


def test_an_address_of_two_machines_confirms_neither(world: World) -> None:
    world.machine("db-1", "10.0.0.1", at=1)
    world.machine("db-2", "10.0.0.2", at=1)
    world.instance("orders", "10.0.0.1")
    assert relinked(world, "orders")["db-1"][0] == "confirmed"
    world.address("db-2", "10.0.0.1", at=4)
    assert relinked(world, "orders") == {
        "db-1": ("candidate", "mgmt_ip", 95),
        "db-2": ("candidate", "ip_identifier", 85),
    }
    told = world.evidence("orders", "db-1")
    assert (told["also_held_by"], told["strong"]) == ([str(made("db-2"))], 2)
    assert (told["created_at"], told["updated_at"]) == (day(1), day(4))


def test_what_did_not_change_is_not_written(world: World) -> None:
    world.machine("db-1", "10.0.0.1")
    world.instance("orders", "10.0.0.1")
    first, second = relink(world.connection), relink(world.connection)
    assert (first["links_written"], second["links_written"], second["links_removed"]) == (1, 0, 0)
    assert (second["links_confirmed"], second["instances_unlinked"], second["instances_waiting"]) == (1, 0, 0)


def test_names_alone_are_candidates_and_say_which_name_it_was(world: World) -> None:
    world.machine("db-1")
    world.machine("db-2")
    world.alias("db-2", "Old.Example.com", kind="fqdn")
    world.instance("orders", "DB-1")
    world.instance("stock", "old.example.com")
    world.instance("db-2", "10.0.0.7")
    assert relinked(world, "orders") == {"db-1": ("candidate", "hostname", 70)}
    assert world.links("stock") == {"db-2": ("candidate", "alias", 60)}
    assert world.links("db-2") == {"db-2": ("candidate", "hostname", 70)}
    assert world.evidence("orders", "db-1")["field"] == "host"
    assert world.evidence("db-2", "db-2")["field"] == "name"
    assert relink(world.connection)["instances_waiting"] == 3


def test_an_address_counts_only_in_its_zone(world: World) -> None:
    world.machine("here", "10.0.0.1")
    world.machine("there", "10.0.0.1", zone="vpc")
    world.instance("orders", "10.0.0.1", zone="vpc")
    world.instance("stock", "10.0.0.1")
    world.instance("there", "192.0.2.1")
    assert relinked(world, "orders") == {"there": ("confirmed", "mgmt_ip", 95)}
    assert world.links("stock") == {"here": ("confirmed", "mgmt_ip", 95)}
    assert world.links("there") == {}


def test_an_address_that_is_only_remembered_says_since_when(world: World) -> None:
    world.machine("db", "10.0.0.1", carried='{"mgmt_ip": "2026-01-03"}')
    world.instance("orders", "10.0.0.1")
    relink(world.connection)
    assert world.evidence("orders", "db")["carried_from"] == "2026-01-03"


def test_several_rules_for_one_machine_are_one_link_by_the_strongest(world: World) -> None:
    world.machine("db-1", "10.0.0.1")
    world.alias("db-1", "orders")
    world.instance("orders", "10.0.0.1")
    assert relinked(world, "orders") == {"db-1": ("confirmed", "mgmt_ip", 95)}
    assert [also["rule"] for also in world.evidence("orders", "db-1")["also"]] == ["alias"]


def test_an_address_that_moved_leaves_its_evidence_behind_and_the_new_machine_wins(world: World) -> None:
    world.machine("old", "10.0.0.1")
    world.instance("orders", "10.0.0.1")
    relink(world.connection)
    world.moves("old", "10.0.0.8", last=10, heard=12)
    world.machine("new", "10.0.0.1", at=11)
    assert relinked(world, "orders") == {
        "new": ("confirmed", "mgmt_ip", 95),
        "old": ("candidate", "former_ip", FORMER_CONFIDENCE[0]),
    }
    told = world.evidence("orders", "old")
    assert datetime.fromisoformat(told["last_seen_at"]) == day(10)
    assert (told["matched"], told["source"], told["held_now_by"]) == ("10.0.0.1", "office", [str(made("new"))])
    assert (told["created_at"], told["updated_at"]) == (day(0), day(11))


def test_what_moved_away_fades_in_steps_and_never_to_nothing(world: World) -> None:
    world.machine("old", "10.0.0.1")
    world.instance("orders", "10.0.0.1")
    for place, after in enumerate((0, *FORMER_DAYS)):
        if after:
            world.moves("old", None, last=10, heard=10 + after - 1)
            assert relinked(world, "orders")["old"][2] == FORMER_CONFIDENCE[place - 1]
        world.moves("old", None, last=10, heard=10 + after)
        assert relinked(world, "orders")["old"] == ("candidate", "former_ip", FORMER_CONFIDENCE[place])
    world.heard("old", 9000)
    written = relink(world.connection)
    assert (written["links_written"], written["links_former"]) == (0, 1)


def test_it_fades_too_when_only_the_new_holder_is_heard_of(world: World) -> None:
    world.machine("old", "10.0.0.1")
    world.moves("old", None, last=10, heard=10)
    world.machine("new", "10.0.0.1", at=11)
    world.instance("orders", "10.0.0.1")
    assert relinked(world, "orders")["old"][2] == FORMER_CONFIDENCE[0]
    world.heard("new", 10 + FORMER_DAYS[1])
    assert relinked(world, "orders")["old"][2] == FORMER_CONFIDENCE[2]


def test_an_address_that_comes_back_is_as_if_it_never_left(world: World) -> None:
    world.machine("db", "10.0.0.1")
    world.instance("orders", "10.0.0.1")
    relink(world.connection)
    before = world.everything()
    world.moves("db", None, last=10, heard=12)
    relink(world.connection)
    assert world.everything() != before
    world.address("db", "10.0.0.1")
    world.set("db", "mgmt_ip", "10.0.0.1")
    relink(world.connection)
    assert world.everything() == before


def test_a_missing_machine_keeps_its_link_until_another_has_its_address(world: World) -> None:
    world.machine("old", "10.0.0.1", missing_since=day(8))
    world.instance("orders", "10.0.0.1")
    assert relinked(world, "orders") == {"old": ("confirmed", "mgmt_ip", 95)}
    world.machine("new", "10.0.0.1", at=20)
    assert relinked(world, "orders") == {
        "new": ("confirmed", "mgmt_ip", 95),
        "old": ("candidate", "former_ip", FORMER_CONFIDENCE[1]),
    }
    assert "missing_since" in world.evidence("orders", "old")


def test_only_the_latest_former_holders_of_a_leased_address_are_kept(world: World) -> None:
    world.instance("orders", "10.0.0.1")
    for number in range(FORMER_KEPT + 5):
        world.machine(f"lease-{number}")
        world.address(f"lease-{number}", "10.0.0.1", at=number, until=number + 1)
    kept = relinked(world, "orders")
    assert set(kept) == {f"lease-{number}" for number in range(5, FORMER_KEPT + 5)}


def test_what_everybody_bears_links_nobody(world: World) -> None:
    world.instance("orders", "localhost")
    world.instance("stock", "10.9.9.9")
    for number in range(SHARED_TOO_WIDELY + 1):
        world.machine(f"vm-{number}")
        world.alias(f"vm-{number}", "localhost")
        world.address(f"vm-{number}", "10.9.9.9")
    assert relink(world.connection)["values_shared_too_widely"] == 2
    assert (world.links("orders"), world.links("stock")) == ({}, {})
    world.run("DELETE FROM ledger.asset_aliases WHERE asset_id = %s", made("vm-0"))
    assert len(relinked(world, "orders")) == SHARED_TOO_WIDELY


def test_what_a_merged_machine_has_counts_for_its_root(world: World) -> None:
    world.machine("root", "10.0.0.1")
    world.machine("child", "10.0.0.2", merged_into_asset_id=made("root"))
    world.alias("child", "olddb")
    world.instance("orders", "10.0.0.2")
    world.instance("stock", "olddb")
    assert relinked(world, "orders") == {"root": ("confirmed", "mgmt_ip", 95)}
    assert world.links("stock") == {"root": ("candidate", "alias", 60)}
    assert world.evidence("orders", "root")["through"] == [str(made("child"))]
    merged = world.everything()
    world.set("child", "merged_into_asset_id", None)
    assert relinked(world, "orders") == {"child": ("confirmed", "mgmt_ip", 95)}
    world.set("child", "merged_into_asset_id", made("root"))
    relink(world.connection)
    assert world.everything() == merged


def test_root_and_child_with_one_address_are_one_candidate(world: World) -> None:
    world.machine("root", "10.0.0.1")
    world.machine("child", "10.0.0.1", merged_into_asset_id=made("root"))
    world.instance("orders", "10.0.0.1")
    assert relinked(world, "orders") == {"root": ("confirmed", "mgmt_ip", 95)}


def test_a_retired_machine_has_no_links_and_all_of_them_again_when_it_is_back(world: World) -> None:
    world.machine("db", "10.0.0.1")
    world.instance("orders", "10.0.0.1")
    world.decide("orders", "db", "confirmed")
    relink(world.connection)
    before = world.everything()
    world.set("db", "deleted_at", day(9))
    assert relinked(world, "orders") == {}
    world.set("db", "deleted_at", None)
    relink(world.connection)
    assert world.everything() == before


def test_linking_one_instance_leaves_the_others_alone(world: World) -> None:
    world.machine("db", "10.0.0.1")
    world.instance("orders", "10.0.0.1")
    world.instance("stock", "10.0.0.1")
    relink(world.connection, [made("stock")])
    assert (world.links("orders"), world.links("stock")) == ({}, {"db": ("confirmed", "mgmt_ip", 95)})
    world.moves("db", None, last=3, heard=4)
    relink(world.connection, [made("orders")])
    assert world.links("stock") == {"db": ("confirmed", "mgmt_ip", 95)}
    assert world.links("orders")["db"][1] == "former_ip"


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happened_only_what_is_counts(database_url: str, seed: int) -> None:
    chance = random.Random(seed)
    with connect(database_url) as connection:
        world = World(connection)
        machines = [f"m{number}" for number in range(8)]
        instances = [f"i{number}" for number in range(8)]
        addresses = [f"10.0.0.{number}" for number in range(5)]
        for name in machines:
            world.machine(name, chance.choice([None, *addresses]))
        for name in instances:
            world.instance(name, chance.choice([*addresses, *machines]))

        def step(at: int) -> None:
            machine, instance, ip = chance.choice(machines), chance.choice(instances), chance.choice(addresses)
            match chance.randrange(7):
                case 0:
                    world.moves(machine, chance.choice([None, ip]), last=at - 1, heard=at)
                case 1:
                    world.set(machine, "missing_since", chance.choice([None, day(at)]))
                case 2:
                    world.set(machine, "deleted_at", chance.choice([None, None, day(at)]))
                case 3:
                    world.set("m7", "merged_into_asset_id", chance.choice([None, made("m0")]))
                case 4:
                    world.decide(instance, machine, chance.choice(["confirmed", "rejected", None]), at=at)
                case 5:
                    world.address(machine, ip, at=at, source=2)
                case _:
                    world.heard(machine, at * 10)

        for at in range(1, 25):
            step(at)
            relink(connection)
        world.check_pure()
        whole = world.everything()
        connection.execute("DELETE FROM ledger.instance_asset_links")
        for name in instances:
            relink(connection, [made(name)])
        assert world.everything() == whole
        for name in instances:
            confirmed = [rule for status, rule, _ in world.links(name).values() if status == "confirmed"]
            assert "person" in confirmed or len(confirmed) <= 1
            assert set(confirmed) == {"person"} or "person" not in confirmed
