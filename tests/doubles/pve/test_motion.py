"""A cluster that does not stand still: nodes that go, guests that move, ids that are used again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.pve import VERSIONS, PveDouble, load
from tests.doubles.pve.talking import Talk

VMS = "/cluster/resources?type=vm"


@pytest.fixture
def pve() -> Iterator[PveDouble]:
    with PveDouble(load("cluster")) as double:
        yield double


@pytest.fixture
def talk(pve: PveDouble) -> Talk:
    return Talk(pve, user="agent@pve")


def test_guests_of_a_dead_node_keep_their_last_word_for_five_minutes(pve: PveDouble, talk: Talk) -> None:
    before = talk.rows(VMS)
    pve.cluster.set_offline("n2")
    assert talk.rows(VMS) == before
    assert talk.rows("/nodes", "node")["n2"]["status"] == "offline"
    pve.cluster.advance(minutes=6)
    after = talk.rows(VMS)
    assert after[101] == {
        "id": "qemu/101", "vmid": 101, "node": "n2", "type": "qemu", "status": "unknown", "pool": "prod",
    }  # fmt: skip
    assert after[105]["lock"] == "suspended"  # from the configuration, which the cluster holds
    assert after[100] == before[100]
    pve.cluster.set_online("n2")
    assert talk.rows(VMS) == before


@pytest.mark.parametrize("version", VERSIONS)
def test_a_node_long_dead_leaves_rows_of_the_guest_list_alone(version: str) -> None:
    with PveDouble(load("cluster"), version=version) as pve:
        pve.cluster.set_offline("n3", minutes=10)
        row = Talk(pve, user="root@pam").rows(VMS)[110]
        assert {"name", "maxmem", "template", "uptime"}.isdisjoint(row)
        assert row.get("status") == (None if version == "5.0" else "unknown")


def test_what_is_asked_of_a_dead_node_is_595_with_nothing_in_it(pve: PveDouble, talk: Talk) -> None:
    pve.cluster.set_offline("n2", minutes=1)
    for path in ("/nodes/n2/qemu", "/nodes/n2/qemu/101/config", "/nodes/n2/status", "/nodes/n2/network"):
        answer = talk.get(path)
        assert (answer.status_code, answer.reason, answer.content) == (595, "No route to host", b"")
        assert answer.headers["Connection"] == "close"
    pve.cluster.set_offline("n2", status=596, reason="Connection timed out", delay=0.2)
    late = talk.get("/nodes/n2/qemu")
    assert (late.status_code, late.reason) == (596, "Connection timed out")
    assert late.elapsed.total_seconds() > 0.19
    blind = Talk(pve, user="blind@pve")
    assert blind.get("/nodes/n2/qemu/101/config").status_code == 403  # permission comes before the way there


def test_a_node_that_is_not_there_has_no_address(talk: Talk) -> None:
    answer = talk.get("/nodes/n9/qemu")
    assert answer.status_code == 500
    assert answer.reason.startswith("hostname lookup 'n9' failed - ")


def test_a_hanging_pvestatd_degrades_rows_of_an_online_node(pve: PveDouble, talk: Talk) -> None:
    pve.cluster.hang_pvestatd("n1")
    row = talk.rows(VMS)[100]
    assert row["status"] == "unknown"
    assert "name" not in row
    assert talk.data("/nodes/n1/qemu/100/status/current")["status"] == "running"
    assert talk.rows("/nodes", "node")["n1"]["status"] == "unknown"
    pve.cluster.resume_pvestatd("n1")
    assert talk.rows(VMS)[100]["name"] == "web1"


def test_a_partition_without_quorum_says_so(pve: PveDouble, talk: Talk) -> None:
    assert talk.data("/cluster/status")[0]["quorate"] == 1
    pve.cluster.quorate = False
    assert talk.data("/cluster/status")[0]["quorate"] == 0


def test_a_guest_migrates_between_the_list_and_its_details(pve: PveDouble, talk: Talk) -> None:
    pve.on("GET /cluster/resources", lambda cluster: cluster.migrate(100, "n3"))
    assert talk.rows(VMS)[100]["node"] == "n1"
    answer = talk.get("/nodes/n1/qemu/100/config?current=1")
    assert (answer.status_code, answer.reason) == (
        500,
        "Configuration file 'nodes/n1/qemu-server/100.conf' does not exist",
    )
    assert talk.rows(VMS)[100]["node"] == "n3"
    assert talk.data("/nodes/n3/qemu/100/config?current=1")["name"] == "web1"


def test_a_deleted_guest_loses_its_rights_and_its_pool(pve: PveDouble, talk: Talk) -> None:
    pve.cluster.grant("/vms/200", "NoAccess", "blind@pve")
    pve.on("GET /cluster/resources", lambda cluster: cluster.delete(200))
    assert 200 in talk.rows(VMS)
    answer = talk.get("/nodes/n1/lxc/200/config")
    assert answer.reason == "Configuration file 'nodes/n1/lxc/200.conf' does not exist"
    assert not [entry for entry in pve.cluster.acl if entry.path == "/vms/200"]
    assert pve.cluster.pool_of(200) is None


def test_an_id_is_used_again_by_another_machine(pve: PveDouble, talk: Talk) -> None:
    before = talk.data("/nodes/n1/qemu/100/config?current=1")
    pve.cluster.replace(100, status="running")
    after = talk.data("/nodes/n1/qemu/100/config?current=1")
    for key in ("smbios1", "meta", "net0"):
        assert before[key] != after[key]
    pve.cluster.replace(100, type="lxc", node="n2")
    assert talk.rows(VMS)[100]["id"] == "lxc/100"
    assert talk.data("/nodes/n2/lxc/100/config?current=1")["hostname"] == "successor-of-100"


def test_a_new_guest_gets_the_lowest_free_id_within_the_bounds_of_the_datacenter(pve: PveDouble, talk: Talk) -> None:
    made = pve.cluster.add_guest(config={"name": "fresh"})
    assert made.vmid == 106
    assert talk.data("/cluster/nextid") == "107"
    pve.cluster.options["next-id"] = "lower=500,upper=600"
    assert talk.data("/cluster/nextid") == "500"


def test_the_scenario_itself_does_not_move(pve: PveDouble) -> None:
    scenario = load("cluster")
    with PveDouble(scenario) as other:
        other.cluster.delete(100)
    assert 100 in {guest.vmid for guest in scenario.guests}
