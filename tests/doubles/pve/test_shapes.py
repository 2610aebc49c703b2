"""What each release shows: the reference's table of releases, row by row, asked over HTTPS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.doubles.pve import VERSIONS, PveDouble, load
from tests.doubles.pve.talking import Talk


@pytest.fixture(scope="module")
def doubles() -> Iterator[dict[str, Talk]]:
    """One double a release, asked by a user who may ask the agent too."""
    running = {version: PveDouble(load("cluster"), version=version).__enter__() for version in VERSIONS}
    yield {version: Talk(pve, user="agent@pve") for version, pve in running.items()}
    for pve in running.values():
        pve.stop()


def since(first: str, then: Any, before: Any) -> dict[str, Any]:
    return {version: then if version >= first else before for version in VERSIONS}


def kind(value: Any) -> str:
    return type(value).__name__


def config(talk: Talk, path: str) -> dict[str, Any]:
    row: dict[str, Any] = talk.data(path)
    return row


# what -> (how it is read, what each release answers)
RESOURCES, QEMU, LXC, CONFIG = (
    "/cluster/resources",
    "/nodes/n1/qemu",
    "/nodes/n1/lxc",
    "/nodes/n1/qemu/100/config?current=1",
)
TABLE: dict[str, tuple[Any, dict[str, Any]]] = {
    "datacenter options in /version": (lambda t: "http_proxy" in t.data("/version"), since("7.4", False, True)),
    "console in /version": (lambda t: t.data("/version")["console"], since("5.0", "html5", None)),
    "length of repoid": (lambda t: len(t.data("/version")["repoid"]), since("8.4", 16, 8)),
    "permissions": (lambda t: t.get("/access/permissions").status_code, since("6.4", 200, 501)),
    "status of nodes": (lambda t: t.rows("/nodes", "node")["n1"].get("status"), since("5.4", "online", None)),
    "fingerprints": (lambda t: "ssl_fingerprint" in t.rows("/nodes", "node")["n2"], since("5.4", True, False)),
    "lock in resources": (lambda t: "lock" in t.rows(f"{RESOURCES}?type=vm")[105], since("6.1", True, False)),
    "lock in the list": (lambda t: t.rows("/nodes/n2/qemu")[105].get("lock"), since("6.1", "suspended", None)),
    "tags": (lambda t: "tags" in t.rows(f"{RESOURCES}?type=vm")[100], since("7.4", True, False)),
    "cgroup-mode": (
        lambda t: "cgroup-mode" in t.rows(f"{RESOURCES}?type=node", "node")["n1"],
        since("7.4", True, False),
    ),
    "rows of sdn": (lambda t: any(row["type"] == "sdn" for row in root(t)), since("6.1", True, False)),
    "rows of networks": (lambda t: any(row["type"] == "network" for row in root(t)), since("9.1", True, False)),
    "memhost": (lambda t: "memhost" in t.rows(f"{RESOURCES}?type=vm")[100], since("9.1", True, False)),
    "vmid of machines": (
        lambda t: kind(t.data(QEMU)[0]["vmid"]),
        {"5.0": "int", "5.4": "str", "6.1": "str", "6.4": "str", "7.4": "int", "8.4": "int", "9.1": "int"},
    ),
    "vmid of containers": (lambda t: kind(t.data(LXC)[0]["vmid"]), since("8.4", "int", "str")),
    "disks of a running container": (lambda t: kind(t.data(LXC)[0]["maxdisk"]), since("8.4", "int", "str")),
    "disks of a stopped container": (
        lambda t: kind(t.rows("/nodes/n3/lxc")[202]["maxdisk"]),
        since("5.0", "int", None),
    ),
    "vmid in resources": (
        lambda t: {kind(r["vmid"]) for r in t.data(f"{RESOURCES}?type=vm")},
        since("5.0", {"int"}, None),
    ),
    "no template in resources": (lambda t: t.rows(f"{RESOURCES}?type=vm")[100]["template"], since("5.0", 0, None)),
    "template in resources": (lambda t: t.rows(f"{RESOURCES}?type=vm")[9000]["template"], since("5.0", 1, None)),
    "no template in lists": (lambda t: t.rows(QEMU)[100].get("template"), since("6.4", None, "")),
    "template in lists": (lambda t: t.rows(QEMU)[9000]["template"], since("5.0", 1, None)),
    "no lock of containers": (lambda t: t.rows(LXC)[200].get("lock"), since("6.4", None, "")),
    "lock of containers": (lambda t: t.rows("/nodes/n3/lxc")[202]["lock"], since("5.0", "backup", None)),
    "uuid": (lambda t: "uuid=0d2a1f5e" in t.data(CONFIG)["smbios1"], since("5.0", True, None)),
    "vmgenid": (lambda t: "vmgenid" in t.data(CONFIG), since("5.4", True, False)),
    "meta": (lambda t: "meta" in t.data(CONFIG), since("7.4", True, False)),
    "agent": (lambda t: t.data(CONFIG)["agent"], since("5.4", "1", 1)),
    "memory": (lambda t: t.data(CONFIG)["memory"], since("8.4", "8192", 8192)),
    "memory where none is said": (lambda t: t.rows(f"{RESOURCES}?type=vm")[102]["maxmem"], since("5.0", 4 << 30, None)),
    "agent by GET": (
        lambda t: t.get("/nodes/n1/qemu/100/agent/network-get-interfaces").status_code,
        since("5.4", 200, 501),
    ),
    "interfaces of containers": (lambda t: t.get("/nodes/n1/lxc/200/interfaces").status_code, since("8.4", 200, 501)),
    "message in the body of an error": (lambda t: "message" in t.get("/nothing").json(), since("8.4", True, False)),
    "current of containers": (
        lambda t: t.get("/nodes/n1/lxc/200/config?current=1").status_code,
        since("6.1", 200, 400),
    ),
}


def root(talk: Talk) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = Talk(talk.pve, user="root@pam").data(RESOURCES)
    return rows


@pytest.mark.parametrize("what", TABLE)
def test_each_release_shows_what_the_reference_says(doubles: dict[str, Talk], what: str) -> None:
    read, expected = TABLE[what]
    assert {version: read(talk) for version, talk in doubles.items()} == expected


@pytest.mark.parametrize(("version", "memory"), [("5.0", 0), ("5.4", 512 << 20), ("9.1", 512 << 20)])
def test_a_machine_without_memory_in_its_configuration_has_the_default(version: str, memory: int) -> None:
    with PveDouble(load("standalone"), version=version) as pve:
        assert Talk(pve, user="root@pam").rows("/cluster/resources?type=vm")[102]["maxmem"] == memory


def test_the_version_of_each_release_is_written_as_that_release_writes_it(doubles: dict[str, Talk]) -> None:
    said = {version: talk.data("/version") for version, talk in doubles.items()}
    assert {version: (row["version"], row["release"]) for version, row in said.items()} == {
        "5.0": ("5.0", "30"),
        "5.4": ("5.4", "3"),
        "6.1": ("6.1-3", "6.1"),
        "6.4": ("6.4-4", "6.4"),
        "7.4": ("7.4-16", "7.4"),
        "8.4": ("8.4.1", "8.4"),
        "9.1": ("9.1.5", "9.1"),
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_blind_user_gets_an_empty_list_with_200_and_the_nodes(doubles: dict[str, Talk], version: str) -> None:
    blind = Talk(doubles[version].pve, user="blind@pve")
    types = {row["type"] for row in blind.data("/cluster/resources")}
    assert types == ({"node", "sdn"} if version.startswith("6") else {"node"})  # 6.x does not filter them yet
    assert blind.data("/cluster/resources?type=vm") == []
    row = blind.rows("/nodes", "node")["n1"]
    assert ("maxmem" in row) == (version == "5.0")


@pytest.mark.parametrize("version", VERSIONS)
def test_each_kind_of_row_is_filtered_by_its_own_right(doubles: dict[str, Talk], version: str) -> None:
    cluster = doubles[version].pve.cluster
    auditor = Talk(doubles[version].pve, user="ledger@pve")
    types = {row["type"] for row in auditor.data("/cluster/resources")}
    assert ("pool" in types) == (version >= "7")  # before, only who may make pools sees them
    assert {"qemu", "lxc", "storage"} <= types
    cluster.grant("/storage", "NoAccess", "ledger@pve")
    cluster.grant("/pool/dev", "NoAccess", "ledger@pve")
    rows = auditor.data("/cluster/resources")
    cluster.revoke("/storage", "NoAccess", "ledger@pve")
    cluster.revoke("/pool/dev", "NoAccess", "ledger@pve")
    assert not [row for row in rows if row["type"] == "storage"]
    assert {200, 9000}.isdisjoint(row.get("vmid") for row in rows)  # its members go with the pool
    assert {row["pool"] for row in rows if row["type"] == "pool"} == ({"prod", "unused"} if version >= "7" else set())


def test_the_agents_right_is_the_auditors_only_from_9_on(doubles: dict[str, Talk]) -> None:
    path = "/nodes/n1/qemu/100/agent/network-get-interfaces"
    answers = {version: Talk(doubles[version].pve, user="ledger@pve").get(path) for version in ("5.4", "8.4", "9.1")}
    assert {version: answer.status_code for version, answer in answers.items()} == {"5.4": 403, "8.4": 403, "9.1": 200}
    assert answers["8.4"].reason == "Permission check failed (/vms/100, VM.Monitor)"
    nobody = Talk(doubles["9.1"].pve, user="blind@pve").get(path)
    assert nobody.reason == "Permission check failed (/vms/100, VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted)"


def test_5_0_asks_the_agent_by_post_and_wants_the_csrf_header(doubles: dict[str, Talk]) -> None:
    talk = Talk(doubles["5.0"].pve, user="agent@pve")
    talk.pve.auth_delay = 0.0
    path, said = "/nodes/n1/qemu/100/agent", {"command": "network-get-interfaces"}
    rows = talk.post(path, data=said).json()["data"]["result"]
    eth0 = next(row for row in rows if row["name"] == "eth0")
    assert eth0["hardware-address"] == "bc:24:11:00:00:64"
    assert eth0["ip-addresses"][0] == {"ip-address-type": "ipv4", "ip-address": "192.0.2.100", "prefix": 24}
    del talk.session.headers["CSRFPreventionToken"]
    assert talk.post(path, data=said).status_code == 401


@pytest.mark.parametrize(
    ("node", "vmid", "status", "reason"),
    [
        ("n2", 101, 500, "QEMU guest agent is not running"),
        ("n2", 102, 500, "VM 102 qmp command 'guest-network-get-interfaces' failed - got timeout"),
        ("n1", 104, 500, "No QEMU guest agent configured"),
        ("n1", 9000, 500, "VM 9000 is not running"),
        ("n1", 101, 500, "Configuration file 'nodes/n1/qemu-server/101.conf' does not exist"),
    ],
)
def test_an_agent_fails_in_the_words_of_the_reference(
    doubles: dict[str, Talk], node: str, vmid: int, status: int, reason: str
) -> None:
    answer = doubles["8.4"].get(f"/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces")
    assert (answer.status_code, answer.reason) == (status, reason)
    assert answer.json() == {"data": None, "message": reason + "\n"}


def test_a_disabled_command_is_an_error_inside_a_200(doubles: dict[str, Talk]) -> None:
    result = doubles["8.4"].data("/nodes/n3/qemu/103/agent/network-get-interfaces")["result"]
    assert result["error"]["class"] == "CommandDisabled"


def test_entries_of_an_agent_may_lack_addresses_and_macs(doubles: dict[str, Talk]) -> None:
    rows = doubles["8.4"].data("/nodes/n3/qemu/110/agent/network-get-interfaces")["result"]
    assert any("ip-addresses" not in row for row in rows)
    assert any("hardware-address" not in row for row in rows)


def test_a_config_shows_pending_values_unless_current_ones_are_asked_for(doubles: dict[str, Talk]) -> None:
    talk = doubles["8.4"]
    pending, now = talk.data("/nodes/n1/qemu/100/config"), talk.data(CONFIG)
    assert (pending["memory"], pending["cores"], "net1" in pending) == ("16384", 8, False)
    assert (now["memory"], now["cores"], "net1" in now) == ("8192", 4, True)
    assert talk.data("/nodes/n1/qemu/100/config?snapshot=before")["memory"] == "2048"


def test_a_configuration_masks_the_cloud_init_password_and_pairs_raw_lxc_keys(doubles: dict[str, Talk]) -> None:
    assert doubles["8.4"].data("/nodes/n3/qemu/103/config?current=1")["cipassword"] == "**********"
    assert ["lxc.apparmor.profile", "unconfined"] in doubles["8.4"].data("/nodes/n1/lxc/200/config?current=1")["lxc"]


def test_the_numbers_of_resources_lie_as_they_do_in_proxmox(doubles: dict[str, Talk]) -> None:
    rows = doubles["8.4"].rows("/cluster/resources?type=vm")
    assert rows[101]["maxcpu"] == 6  # vcpus, in place of 12 cores that the host has not
    assert rows[104]["status"] == "running"  # paused
    assert doubles["8.4"].data("/nodes/n1/qemu/104/status/current")["qmpstatus"] == "paused"
    assert (rows[105]["status"], rows[105]["lock"]) == ("stopped", "suspended")
    assert rows[100]["disk"] == 0
    assert rows[200]["cpu"] < 0
    assert rows[202]["name"] == "CT202"
    assert list(rows) != sorted(rows)


def test_a_containers_inet_has_the_last_address_only_and_older_eights_nothing_else() -> None:
    with PveDouble(load("cluster"), version="8.4", features={"lxc_ip_addresses": False}) as pve:
        talk = Talk(pve, user="ledger@pve")
        eth0 = talk.data("/nodes/n1/lxc/200/interfaces")[1]
        assert eth0 == {
            "name": "eth0",
            "hwaddr": "bc:24:11:00:00:c8",
            "inet": "192.0.2.201/24",
            "inet6": "2001:db8::200/64",
        }
        assert talk.data("/nodes/n3/lxc/202/interfaces") is None


def test_late_eights_list_every_address_of_a_container(doubles: dict[str, Talk]) -> None:
    eth0 = doubles["8.4"].data("/nodes/n1/lxc/200/interfaces")[1]
    assert [row["ip-address"] for row in eth0["ip-addresses"]] == ["192.0.2.200", "192.0.2.201", "2001:db8::200"]
    assert {row["ip-address-type"] for row in eth0["ip-addresses"]} == {"inet", "inet6"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_host_writes_its_loads_and_megahertz_as_text(doubles: dict[str, Talk], version: str) -> None:
    row = doubles[version].data("/nodes/n2/status")
    assert all(isinstance(load, str) for load in row["loadavg"])
    assert isinstance(row["cpuinfo"]["mhz"], str)
    assert row["pveversion"].startswith("pve-manager/")


def test_a_standalone_node_has_id_0_and_no_cluster_row() -> None:
    with PveDouble(load("standalone")) as pve:
        assert [(row["type"], row["nodeid"]) for row in Talk(pve, user="ledger@pve").data("/cluster/status")] == [
            ("node", 0)
        ]


@pytest.mark.parametrize("name", ["standalone", "cluster", "empty_cluster", "one_guest"])
def test_every_scenario_serves_every_guest_it_describes_in_every_release(name: str) -> None:
    scenario = load(name)
    for version in VERSIONS:
        with PveDouble(scenario, version=version) as pve:
            talk = Talk(pve, user="root@pam")
            rows = talk.rows("/cluster/resources?type=vm")
            assert set(rows) == {guest.vmid for guest in scenario.guests}
            for row in rows.values():
                where = f"/nodes/{row['node']}/{row['id']}"
                assert talk.get(f"{where}/config").status_code == 200
                assert talk.get(f"{where}/status/current").status_code == 200


def test_snapshots_are_listed_with_the_present_as_the_last_row(doubles: dict[str, Talk]) -> None:
    rows = doubles["8.4"].data("/nodes/n1/qemu/100/snapshot")
    assert [row["name"] for row in rows] == ["before", "current"]
    assert rows[-1]["running"] == 1
    assert [row["name"] for row in doubles["5.0"].data("/nodes/n1/lxc/200/snapshot")] == ["current"]


def test_pools_are_listed_to_those_who_may_see_them(doubles: dict[str, Talk]) -> None:
    talk = doubles["8.4"]
    assert {row["poolid"] for row in talk.data("/pools")} == {"dev", "prod", "unused"}
    assert Talk(talk.pve, user="blind@pve").data("/pools") == []
