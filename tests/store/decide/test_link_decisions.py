"""What people decide of links and how they find what to decide: a word stays, and taking it back undoes it exactly."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from asset_ledger.domain.errors import DECISION_INVALID, INSTANCE_AMBIGUOUS, INSTANCE_NOT_FOUND, PermanentError
from asset_ledger.store.database import connect
from asset_ledger.store.decide.link_decisions import clear_link, confirm_link, instance_page, reject_link
from asset_ledger.store.derive.links import relink
from asset_ledger.store.query.instances import find_instance, list_instances, list_links
from tests.store.linking import World, day, linking, made, relinked


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with linking(database_url) as opened:
        yield opened


def test_a_confirmation_outlives_its_evidence_and_keeps_others_candidates(world: World) -> None:
    world.machine("db-1", "10.0.0.1")
    world.machine("db-2")
    world.instance("orders", "10.0.0.1")
    assert confirm_link(world.connection, made("orders"), made("db-2"), actor="li.lei", at=day(6), note="moved by hand")
    assert world.links("orders") == {"db-1": ("candidate", "mgmt_ip", 95), "db-2": ("confirmed", "person", 100)}
    assert world.evidence("orders", "db-1")["confirmed_on"] == str(made("db-2"))
    world.moves("db-1", None, last=10, heard=12)
    world.run("UPDATE ledger.database_instances SET host = '10.0.0.77', host_ip = '10.0.0.77'")
    assert relinked(world, "orders") == {"db-2": ("confirmed", "person", 100)}
    told = world.evidence("orders", "db-2")
    assert (told["decision"]["actor"], told["decision"]["note"]) == ("li.lei", "moved by hand")
    assert (told["created_at"], told["updated_at"]) == (day(6), day(6))


def test_a_rejection_leaves_the_one_other_strong_machine_confirmed(world: World) -> None:
    world.machine("db-1", "10.0.0.1")
    world.machine("db-2", "10.0.0.1")
    world.instance("orders", "10.0.0.1")
    relink(world.connection)
    assert reject_link(world.connection, made("orders"), made("db-1"), actor="li.lei", at=day(6))
    assert world.links("orders") == {"db-1": ("rejected", "person", 0), "db-2": ("confirmed", "mgmt_ip", 95)}
    assert world.evidence("orders", "db-2")["updated_at"] == day(6)
    for number in range(20, 30):
        world.heard("db-1", number)
        assert relinked(world, "orders")["db-1"] == ("rejected", "person", 0)
    assert not reject_link(world.connection, made("orders"), made("db-1"), actor="li.lei", at=day(7))
    assert clear_link(world.connection, made("orders"), made("db-1"), actor="li.lei", at=day(8)) == "rejected"
    assert {status for status, _, _ in world.links("orders").values()} == {"candidate"}
    assert clear_link(world.connection, made("orders"), made("db-1"), actor="li.lei", at=day(8)) is None


def test_taking_a_decision_back_gives_the_rows_of_before(world: World) -> None:
    world.machine("db-1", "10.0.0.1")
    world.machine("db-2", "10.0.0.1")
    world.instance("orders", "10.0.0.1")
    relink(world.connection)
    before = world.everything()
    for decide in (confirm_link, reject_link):
        decide(world.connection, made("orders"), made("db-1"), actor="li.lei", at=day(6))
        assert world.everything() != before
        clear_link(world.connection, made("orders"), made("db-1"), actor="li.lei", at=day(7))
        assert world.everything() == before


def test_a_second_confirmation_of_an_instance_is_refused_with_the_first(world: World) -> None:
    world.machine("db-1", "10.0.0.1")
    world.machine("db-2", "10.0.0.1")
    world.instance("orders", "10.0.0.1")
    confirm_link(world.connection, made("orders"), made("db-1"), actor="li.lei", at=day(6))
    with pytest.raises(PermanentError) as refused:
        confirm_link(world.connection, made("orders"), made("db-2"), actor="han.mei", at=day(7))
    assert refused.value.code is DECISION_INVALID
    assert (
        f"li.lei confirmed db-1 on 2026-01-07; take that back first: `asset-ledger links clear {made('orders')}"
        in str(refused.value)
    )
    assert not confirm_link(world.connection, made("orders"), made("db-1"), actor="han.mei", at=day(7))


def test_a_retired_machine_cannot_be_confirmed(world: World) -> None:
    world.machine("db", "10.0.0.1", deleted_at=day(2))
    world.instance("orders", "10.0.0.1")
    with pytest.raises(PermanentError) as refused:
        confirm_link(world.connection, made("orders"), made("db"), actor="li.lei", at=day(6))
    assert refused.value.code is DECISION_INVALID
    assert f"assets restore {made('db')}" in str(refused.value)


def test_what_was_decided_of_a_machine_retired_since_stands_until_it_is_taken_back(world: World) -> None:
    world.machine("db-1", "10.0.0.1")
    world.machine("db-2", "10.0.0.2")
    world.instance("orders", "10.0.0.1")
    confirm_link(world.connection, made("orders"), made("db-1"), actor="li.lei", at=day(6))
    world.set("db-1", "deleted_at", day(7))
    with pytest.raises(PermanentError):
        confirm_link(world.connection, made("orders"), made("db-2"), actor="li.lei", at=day(8))
    assert clear_link(world.connection, made("orders"), made("db-1"), actor="li.lei", at=day(8)) == "confirmed"
    assert confirm_link(world.connection, made("orders"), made("db-2"), actor="li.lei", at=day(8))
    world.set("db-1", "deleted_at", None)
    assert relinked(world, "orders") == {"db-1": ("candidate", "mgmt_ip", 95), "db-2": ("confirmed", "person", 100)}


def test_a_decision_on_a_merged_machine_is_one_on_its_root_and_the_latest_counts(world: World) -> None:
    world.machine("root", "10.0.0.1")
    world.machine("child", "10.0.0.2")
    world.instance("orders", "10.0.0.2")
    world.decide("orders", "root", "confirmed", at=3)
    world.decide("orders", "child", "rejected", at=4)
    world.set("child", "merged_into_asset_id", made("root"))
    assert relinked(world, "orders") == {"root": ("rejected", "person", 0)}
    assert confirm_link(world.connection, made("orders"), made("root"), actor="li.lei", at=day(5))
    assert world.links("orders") == {"root": ("confirmed", "person", 100)}
    assert clear_link(world.connection, made("orders"), made("root"), actor="li.lei", at=day(6)) == "confirmed"
    assert world.links("orders") == {"root": ("confirmed", "mgmt_ip", 95)}


def test_two_people_who_decide_at_once_follow_one_another(world: World, database_url: str) -> None:
    for name in ("db-1", "db-2"):
        world.machine(name, "10.0.0.1")
    world.instance("orders", "10.0.0.1")
    answers: list[object] = []

    def work(name: str) -> None:
        with connect(database_url) as own:
            try:
                answers.append(confirm_link(own, made("orders"), made(name), actor=name, at=day(6)))
            except PermanentError as error:
                answers.append(error.code)

    threads = [threading.Thread(target=work, args=[name]) for name in ("db-1", "db-2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers, key=str) == sorted([True, DECISION_INVALID], key=str)
    assert sorted(status for status, _, _ in world.links("orders").values()) == ["candidate", "confirmed"]


def test_an_instance_is_found_by_name_place_or_id_and_never_guessed(world: World) -> None:
    world.instance("orders", "10.0.0.1", port=5432)
    world.instance("orders-2", "10.0.0.1", port=5433)
    world.instance("Stock", "db.example.com", port=3306)
    world.instance("v6", "2001:db8::1", port=3306)
    found = {
        text: find_instance(world.connection, text)
        for text in ("ORDERS", "10.0.0.1:5433", "stock", "db.example.com:3306", "DB.example.com", "[2001:db8::1]:3306",
                     "2001:db8::1", str(made("orders")), made("orders").hex[:9])
    }  # fmt: skip
    assert found == dict(
        zip(
            found,
            map(made, ("orders", "orders-2", "Stock", "Stock", "Stock", "v6", "v6", "orders", "orders")),
            strict=True,
        )
    )
    with pytest.raises(PermanentError) as several:
        find_instance(world.connection, "10.0.0.1")
    assert several.value.code is INSTANCE_AMBIGUOUS
    assert "orders-2  10.0.0.1:5433  mysql  office" in several.value.__notes__[0]
    for text in ("nosuch", "10.0.0.1:1", "", ":", "10.0.0.1:99999"):
        with pytest.raises(PermanentError) as none:
            find_instance(world.connection, text)
        assert none.value.code is INSTANCE_NOT_FOUND


def test_lists_are_filtered_paged_and_begin_with_what_waits(world: World) -> None:
    world.machine("db-1", "10.0.0.1")
    world.machine("zz-2")
    world.instance("aa", "10.0.0.1")
    world.instance("zz", "zz-2")
    world.instance("nowhere", "10.0.0.99")
    relink(world.connection)
    c = world.connection
    assert [(each["instance"], each["waits"]) for each in list_links(c)] == [("zz", True), ("aa", False)]
    assert [each["instance"] for each in list_links(c, status="confirmed")] == ["aa"]
    assert [each["instance"] for each in list_links(c, instance=made("aa"))] == ["aa"]
    assert [each["instance"] for each in list_links(c, asset=made("zz-2"))] == ["zz"]
    assert [each["instance"] for each in list_links(c, limit=1, offset=1)] == ["aa"]
    assert [(each["name"], each["asset"], each["candidates"]) for each in list_instances(c)] == [
        ("aa", "db-1", 0), ("nowhere", None, 0), ("zz", None, 1),
    ]  # fmt: skip
    assert [each["name"] for each in list_instances(c, unlinked=True)] == ["nowhere", "zz"]
    assert [each["name"] for each in list_instances(c, search="10.0.0.9")] == ["nowhere"]
    assert [each["name"] for each in list_instances(c, search="ZZ", unlinked=True, limit=5)] == ["zz"]


def test_the_page_of_an_instance_has_every_decision_there_was(world: World) -> None:
    world.machine("db-1", "10.0.0.1")
    world.instance("orders", "10.0.0.1")
    confirm_link(world.connection, made("orders"), made("db-1"), actor="li.lei", at=day(1), note="seen")
    clear_link(world.connection, made("orders"), made("db-1"), actor="han.mei", at=day(2))
    reject_link(world.connection, made("orders"), made("db-1"), actor="han.mei", at=day(3))
    page = instance_page(world.connection, made("orders"))
    told = [(each["value"], each["actor"], each["in_force"], each["note"]) for each in page["decisions"]]
    assert told == [
        ("rejected", "han.mei", True, None),
        (None, "han.mei", False, None),
        ("confirmed", "li.lei", False, "seen"),
    ]
    assert [link["match_status"] for link in page["links"]] == ["rejected"]
