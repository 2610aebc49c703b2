"""What becomes of a guest, a node and a cluster: fields by their sources, reasons for what is absent, digests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from asset_ledger.domain import normalized
from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.inventory import AssetRecord, Caution, Item, Proof, TargetFailure, UnchangedRecord
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.pve.parse import parse
from asset_ledger.sources.pve.raw import Response, line, record
from tests.doubles.pve import VERSIONS, PveDouble, load
from tests.patience import calls_of
from tests.sources.live import complete
from tests.sources.pve.live import WITHOUT_TOKENS, Reading, read

GIB = 1 << 30
AT = datetime(2026, 11, 1, 18, 30, tzinfo=UTC)
NIC = "virtio=BC:24:11:00:00:64,bridge=vmbr0"
UUID = "0d2a1f5e-1c2b-4d3e-8f40-000000000100"


def answer_of_agent(*interfaces: tuple[str, str | None, list[str]]) -> dict[str, Any]:
    """Return an agent's answer; an address is `a.b.c.d/prefix`."""
    result = []
    for name, mac, addresses in interfaces:
        entry: dict[str, Any] = {"name": name} | ({"hardware-address": mac} if mac else {})
        parts = [address.rpartition("/") for address in addresses]
        entry["ip-addresses"] = [{"ip-address": a, "prefix": int(p), "ip-address-type": "ipv4"} for a, _, p in parts]
        result.append(entry)
    return {"result": result}


def node(*responses: Response, rows: list[dict[str, Any]], online: bool = True, **document: Any) -> RawRecord:
    own = {"node": "n1", "status": "online" if online else "offline", "maxcpu": 16, "maxmem": 64 * GIB}
    lines = [Response("/nodes", data=[own]), Response("/cluster/resources", data=rows), *responses]
    told = {"part": "node", "node": "n1", "online": online, **document}
    return record("node n1", told, [line(one) for one in lines], AT)


def items(
    config: Any = None,
    addresses: Any = None,
    *,
    kind: str = "qemu",
    row: Mapping[str, Any] | None = None,
    listed: Mapping[str, Any] | None = None,
    online: bool = True,
    **document: Any,
) -> list[Item]:
    """Parse one guest, 100; a config or answer may be data or a whole response."""
    told = {"id": f"{kind}/100", "type": kind, "vmid": 100, "node": "n1", "status": "running", "name": "web1"}
    path = f"/nodes/n1/{kind}/100"
    asked = f"{path}/interfaces" if kind == "lxc" else f"{path}/agent/network-get-interfaces"
    responses = [
        one if isinstance(one, Response) else Response(where, data=one)
        for where, one in ((f"{path}/config", config), (asked, addresses))
        if one is not None
    ]
    if listed is not None:
        responses.append(Response("/nodes/n1/qemu", {"full": "1"}, data=[{"vmid": "100", **listed}]))
    return list(parse(node(*responses, rows=[told | dict(row or {})], online=online, **document), {}))


def guest(*given: Any, **said: Any) -> dict[str, Any]:
    found = [item for item in items(*given, **said) if isinstance(item, AssetRecord) and item.external_kind == "vm"]
    normalized.validate(found[0].document, target="guest")
    return found[0].document


def failed(status: int, reason: str, path: str = "/nodes/n1/qemu/100/config", code: str = "") -> Response:
    return Response(path, status=status, reason=reason, code=code)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_release_gives_the_same_cluster(version: str) -> None:
    account = "agent@pve" if version in WITHOUT_TOKENS else "agent@pve!asset"
    with PveDouble(load("cluster"), version=version) as pve:
        found = complete(read(pve, account))
    assert found.kind("cluster").keys() == {"lab"}
    assert {name: host["relations"][0]["external_id"] for name, host in found.kind("host").items()} == dict.fromkeys(
        ("n1", "n2", "n3"), "lab"
    )
    guests = found.kind("vm")
    assert {name: one["runtime"]["power_state"] for name, one in guests.items()} == {
        **dict.fromkeys(("qemu/100", "qemu/101", "qemu/102", "qemu/103", "qemu/110", "lxc/200", "lxc/201"), "running"),
        "qemu/104": "paused",
        "qemu/105": "suspended",
        "qemu/9000": "stopped",
        "lxc/202": "stopped",
    }
    web = guests["qemu/100"]
    assert web["hardware"] == {"cpu_count": 8, "memory_bytes": 8 * GIB, "disk_total_bytes": 32 * GIB + (512 << 20)}
    assert web["identity"]["mgmt_ip"] == "192.0.2.100"
    assert web["network"]["mac_addresses"] == ["bc:24:11:00:00:64", "bc:24:11:00:01:64"]
    assert guests["qemu/101"]["hardware"]["cpu_count"] == 12, "what is configured, not what the host has or vcpus says"
    assert guests["qemu/9000"]["custom_fields"]["template"] is True
    assert guests["lxc/200"]["identity"]["mgmt_ip"] == "192.0.2.200"
    assert "hostname" not in guests["lxc/202"]["identity"]
    told = {code for code, _ in found.cautions}
    assert told == {"PVE_GUEST_AGENT_UNAVAILABLE"}
    assert sorted(str(where) for _, where in found.cautions) == ["qemu/101 db1", "qemu/102 win1", "qemu/103 rhel1"]


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        ({}, "cpu_count", 1),
        ({"sockets": 2, "cores": 4, "vcpus": 3}, "cpu_count", 8),
        ({"sockets": "2", "cores": "4"}, "cpu_count", 8),
        ({}, "memory_bytes", 512 << 20),
        ({"memory": 2048}, "memory_bytes", 2 * GIB),
        ({"memory": "2048"}, "memory_bytes", 2 * GIB),
        ({"memory": "current=2048"}, "memory_bytes", 2 * GIB),
        ({"scsi0": "a:b,size=32G", "virtio1": "a:c,size=512M"}, "disk_total_bytes", 32 * GIB + (512 << 20)),
        ({"ide0": "a:b,size=17179869184"}, "disk_total_bytes", 16 * GIB),
        ({"sata0": "a:b,size=1.5T"}, "disk_total_bytes", 1536 * GIB),
        ({"scsi0": "a:b,size=1G", "ide2": "iso:x,media=cdrom,size=4G", "ide3": "none"}, "disk_total_bytes", GIB),
        ({"scsi0": "a:b,size=1G", "ide2": "a:vm-100-cloudinit,size=4M"}, "disk_total_bytes", GIB),
        ({"scsi0": "file=a:b,size=1G", "efidisk0": "a:c,size=528K", "unused0": "a:d"}, "disk_total_bytes", GIB),
        ({"scsi0": "/dev/disk/by-id/x,size=1G", "scsihw": "virtio-scsi-pci"}, "disk_total_bytes", GIB),
        ({"scsi0": "cloudinit-pool:vm-100-disk-0,size=8G"}, "disk_total_bytes", 8 * GIB),
        ({"scsi0": "a:b,size=1G", "ide2": "l:100/vm-100-cloudinit.qcow2,size=4M"}, "disk_total_bytes", GIB),
    ],
)
def test_hardware_is_what_is_configured(config: dict[str, Any], field: str, value: int) -> None:
    assert guest(config)["hardware"][field] == value


@pytest.mark.parametrize(
    ("config", "path", "reason"),
    [
        ({}, "hardware.disk_total_bytes", "NOT_REPORTED: it has no disk"),
        ({"scsi0": "/dev/sdb"}, "hardware.disk_total_bytes", "NOT_REPORTED: its config has no size for scsi0"),
        ({"scsi0": "a:b,size=huge"}, "hardware.disk_total_bytes", "PVE_PARSE_ERROR: the size of scsi0 cannot be read"),
        ({"scsi0": 7}, "hardware.disk_total_bytes", "PVE_PARSE_ERROR: scsi0 cannot be read"),
        ({"memory": "much"}, "hardware.memory_bytes", "PVE_PARSE_ERROR: its memory cannot be read"),
        ({"cores": 0}, "hardware.cpu_count", "PVE_PARSE_ERROR: the number of its processors cannot be read"),
        ({"cores": 10**30}, "hardware.cpu_count", "PVE_PARSE_ERROR: the number of its processors cannot be read"),
        ({"net0": ["x"]}, "network.mac_addresses", "PVE_PARSE_ERROR: net0 cannot be read"),
        ({"tags": "x" * 65}, "tags", "PVE_PARSE_ERROR: one of its tags is longer than 64 characters"),
        ({"ostype": "other"}, "os.family", "NOT_REPORTED: its configured system is of no family"),
    ],
)
def test_what_cannot_be_read_is_unknown_and_warned_of(config: dict[str, Any], path: str, reason: str) -> None:
    assert guest(config)["unknown"][path] == reason
    told = [item for item in items(config) if isinstance(item, Caution) and item.code.code == "PVE_PARSE_ERROR"]
    assert len(told) == reason.startswith("PVE_PARSE_ERROR")


def test_a_container_is_measured_by_its_own_limits() -> None:
    limited = guest({"cpulimit": "1.5", "rootfs": "a:b,size=8G", "mp0": "a:c,mp=/s,size=16G"}, kind="lxc")
    assert limited["hardware"] == {"cpu_count": 2, "memory_bytes": 512 << 20, "disk_total_bytes": 24 * GIB}
    free = guest({"rootfs": "a:b,size=8G", "mp1": "/mnt/shared,mp=/s", "cpulimit": 0}, kind="lxc")
    assert free["hardware"]["disk_total_bytes"] == 8 * GIB
    on_device = guest({"rootfs": "/dev/zvol/tank/ct,size=8G", "mp0": "/dev/bus/usb,mp=/u"}, kind="lxc")
    assert on_device["hardware"]["disk_total_bytes"] == 8 * GIB
    assert guest({"rootfs": "/dev/sdb"}, kind="lxc")["unknown"]["hardware.disk_total_bytes"].endswith("for rootfs")
    assert free["unknown"]["hardware.cpu_count"].startswith("NOT_REPORTED: it has no limit")
    assert free["runtime"]["virtualization"] == "lxc"


@pytest.mark.parametrize(
    ("kind", "config", "generation"),
    [
        ("qemu", {"smbios1": f"uuid={UUID}", "meta": "creation-qemu=8.1.5,ctime=17"}, {"uuid": UUID, "created": "17"}),
        ("qemu", {"smbios1": f"uuid={UUID},serial=WA==,base64=1"}, {"uuid": UUID}),
        ("qemu", {"smbios1": "uuid=00000000-0000-0000-0000-000000000000", "meta": "ctime=17"}, {"created": "17"}),
        ("qemu", {"net0": NIC, "name": "web1"}, {"mac": "bc:24:11:00:00:64", "hostname": "web1"}),
        (
            "lxc",
            {"net0": "name=eth0,hwaddr=BC:24:11:00:00:64", "hostname": "c"},
            {"mac": "bc:24:11:00:00:64", "hostname": "c"},
        ),
        ("lxc", {"net0": "name=eth0,hwaddr=BC:24:11:00:00:64"}, {"mac": "bc:24:11:00:00:64"}),
        ("lxc", {"hostname": "c"}, None),
        ("qemu", {"vmgenid": UUID, "name": "web1"}, None),
    ],
)
def test_what_tells_a_reused_id_from_its_former_machine(
    kind: str, config: dict[str, Any], generation: dict[str, str] | None
) -> None:
    assert guest(config, kind=kind)["identity"].get("generation") == generation
    assert "generation" not in guest(None, kind=kind)["identity"], "not read is not another machine"


@pytest.mark.parametrize(
    ("row", "listed", "online", "power"),
    [
        ({}, None, True, "running"),
        ({}, {"status": "running", "qmpstatus": "paused"}, True, "paused"),
        ({}, {"status": "running", "qmpstatus": "io-error"}, True, "running"),
        ({"status": "stopped"}, None, True, "stopped"),
        ({"status": "stopped", "lock": "suspended"}, None, True, "suspended"),
        ({"status": "unknown"}, {"status": "stopped"}, True, "stopped"),
        ({"status": "unknown"}, None, True, "unknown"),
        ({"status": None}, {"status": 5, "qmpstatus": []}, True, "unknown"),
        ({}, None, False, "unknown"),
        ({"status": "unknown"}, {"status": "running"}, True, "running"),
        ({"status": "unknown"}, {"status": "running", "qmpstatus": "paused"}, True, "paused"),
    ],
)
def test_power_is_what_the_node_says_last(row: Any, listed: Any, online: bool, power: str) -> None:
    assert guest(None, row=row, listed=listed, online=online)["runtime"]["power_state"] == power


def test_a_name_that_proxmox_made_up_is_none() -> None:
    assert "hostname" not in guest({}, row={"name": "VM 100"})["identity"]
    assert "hostname" not in guest(None, row={"name": "CT100"}, kind="lxc")["identity"]
    assert guest(None, row={"name": "VM 101"})["identity"]["hostname"] == "VM 101"
    assert guest({"name": "real"}, row={"name": "old"})["identity"]["hostname"] == "real"


def test_texts_are_made_fit_to_be_shown() -> None:
    told = guest({"name": "we\x07b\u202e1 ", "tags": "b;a,b  c"}, row={"pool": "p" * 5000})
    assert told["identity"]["hostname"] == "we b 1"
    assert told["custom_fields"]["pool"] == "p" * 1024
    assert told["tags"] == ["a", "b", "c"]


ETH0 = ("eth0", "bc:24:11:00:00:64", ["192.0.2.5/24", "fe80::1/64", "2001:db8::5/64"])


def test_an_agent_tells_addresses_and_only_its_own_identify() -> None:
    lo = ("lo", "00:00:00:00:00:00", ["127.0.0.1/8", "::1/128"])
    docker, vip = ("docker0", None, ["172.17.0.1/16"]), ("eth1", "bc:24:11:00:00:65", ["10.0.0.7/32", "10.0.0.8/24"])
    config = {"agent": "1", "net0": "virtio=BC:24:11:00:00:65", "net1": "virtio=BC:24:11:00:00:64"}
    told = guest(config, answer_of_agent(lo, ETH0, docker, vip))
    assert told["network"]["ip_addresses"] == [
        "192.0.2.5",
        "fe80::1",
        "2001:db8::5",
        "172.17.0.1",
        "10.0.0.7",
        "10.0.0.8",
    ]
    assert [one["name"] for one in told["network"]["interfaces"]] == ["eth0", "docker0", "eth1"]
    own = [one["value"] for one in told["identifiers"] if one["kind"] == "ip"]
    assert own == ["192.0.2.5", "2001:db8::5", "10.0.0.8"]
    assert told["identity"]["mgmt_ip"] == "10.0.0.8", "net0 is the first"


@pytest.mark.parametrize(
    ("config", "answer", "reason", "warned"),
    [
        ({"agent": "1"}, failed(500, "QEMU guest agent is not running"), "PVE_GUEST_AGENT_UNAVAILABLE: QEMU", True),
        (
            {"agent": 1},
            {"result": {"error": {"class": "X", "desc": "disabled"}}},
            "PVE_GUEST_AGENT_UNAVAILABLE: dis",
            True,
        ),
        ({"agent": "1"}, {"result": {"error": "x"}}, "PVE_PARSE_ERROR", True),
        ({"agent": "1"}, answer_of_agent(("eth0", None, ["none/1"])), "PVE_PARSE_ERROR: eth0 has an address", True),
        ({"agent": "1"}, {"result": [7]}, "PVE_PARSE_ERROR: the answer is no list", True),
        ({"agent": "1"}, None, "NOT_REPORTED: its agent was not asked", False),
        ({"agent": "enabled=0,type=virtio"}, None, "PVE_GUEST_AGENT_UNAVAILABLE: the agent is not enabled", False),
        ({}, None, "PVE_GUEST_AGENT_UNAVAILABLE: the agent is not enabled", False),
    ],
)
def test_a_silent_agent_leaves_the_addresses_unknown_and_never_empty(
    config: dict[str, Any], answer: Any, reason: str, warned: bool
) -> None:
    if isinstance(answer, Response):
        answer = failed(answer.status, answer.reason, "/nodes/n1/qemu/100/agent/network-get-interfaces")
    told = guest(config, answer)
    assert told["unknown"]["network.ip_addresses"].startswith(reason)
    assert told["unknown"]["identity.mgmt_ip"].startswith(reason)
    assert "ip_addresses" not in told["network"]
    assert any(isinstance(item, Caution) for item in items(config, answer)) == warned


def test_why_agents_were_not_asked_is_told() -> None:
    config = {"agent": "1"}
    off = guest(config, guest_addresses=False)["unknown"]["network.ip_addresses"]
    forbidden = guest(config, agents_forbidden=True)["unknown"]["network.ip_addresses"]
    assert off == "NOT_REPORTED: guest_addresses is off"
    assert forbidden.startswith("PVE_GUEST_AGENT_UNAVAILABLE: the account")
    assert guest(config, row={"status": "stopped"})["unknown"]["network.ip_addresses"].endswith("does not run")


def test_zeros_are_no_address_of_anybody() -> None:
    told = guest({"agent": "1"}, answer_of_agent(("eth0", None, ["0.0.0.0/0", "::/128", "192.0.2.5/24"])))
    assert told["network"]["ip_addresses"] == ["192.0.2.5"]


OF_CONTAINER = "/nodes/n1/lxc/100/interfaces"


@pytest.mark.parametrize(
    ("answer", "row", "said", "reason"),
    [
        (None, {}, {}, "NOT_REPORTED: its node was not asked"),
        (None, {}, {"guest_addresses": False}, "NOT_REPORTED: guest_addresses is off"),
        (None, {}, {"agents_forbidden": True}, "NOT_REPORTED: its node was not asked"),
        (None, {"status": "unknown"}, {}, "NOT_REPORTED: nobody says whether"),
        (Response(OF_CONTAINER, data=None), {}, {}, "NOT_REPORTED: its node tells none"),
        (failed(500, "no", OF_CONTAINER), {}, {}, "PVE_GUEST_AGENT_UNAVAILABLE: no"),
        (failed(596, "timed out", OF_CONTAINER), {}, {}, "PVE_GUEST_AGENT_UNAVAILABLE: timed out"),
    ],
)
@pytest.mark.parametrize("nic", [{"net0": "name=eth0,hwaddr=BC:24:11:00:00:64,ip=192.0.2.7/24"}, {}])
def test_a_container_that_may_run_and_was_not_heard_has_unknown_addresses(
    nic: dict[str, str], answer: Any, row: dict[str, str], said: dict[str, bool], reason: str
) -> None:
    told = guest(nic, answer, kind="lxc", row=row, **said)
    assert told["unknown"]["network.ip_addresses"].startswith(reason)
    assert "ip_addresses" not in told.get("network", {})


@pytest.mark.parametrize(
    ("answer", "addresses"),
    [
        (failed(501, "not implemented", OF_CONTAINER), ["192.0.2.7"]),
        ([], []),
        (
            [{"name": "eth0", "hwaddr": "bc:24:11:00:00:64", "inet": "192.0.2.9/24", "inet6": "fe80::1/64"}],
            ["192.0.2.9", "fe80::1"],
        ),
        (
            [{"name": "eth0", "inet": "192.0.2.1/24", "ip-addresses": [{"ip-address": "192.0.2.8", "prefix": "24"}]}],
            ["192.0.2.8"],
        ),
    ],
)
def test_a_containers_addresses_come_from_its_node_else_from_its_config(answer: Any, addresses: list[str]) -> None:
    config = {"net0": "name=eth0,hwaddr=BC:24:11:00:00:64,ip=192.0.2.7/24,ip6=auto"}
    assert guest(config, answer, kind="lxc")["network"]["ip_addresses"] == addresses
    assert guest(config, kind="lxc", row={"status": "stopped"})["network"]["ip_addresses"] == ["192.0.2.7"]


def test_a_container_with_dhcp_and_no_answer_has_unknown_addresses_and_one_without_a_nic_none() -> None:
    cannot = failed(501, "not implemented", OF_CONTAINER)
    dhcp = guest({"net0": "name=eth0,hwaddr=BC:24:11:00:00:64,ip=dhcp"}, cannot, kind="lxc")
    assert "this release does not tell" in dhcp["unknown"]["network.ip_addresses"]
    assert guest({}, cannot, kind="lxc")["network"]["ip_addresses"] == []


@pytest.mark.parametrize("minutes", [0, 30])
def test_guests_of_an_offline_node_stay_with_their_details_unknown(minutes: int) -> None:
    with PveDouble(load("cluster"), version="8.4") as pve:
        pve.cluster.set_offline("n3", minutes=minutes)
        found = complete(read(pve, "agent@pve!asset"))
    assert ("PVE_NODE_OFFLINE", "node n3") in found.cautions
    for name in ("qemu/103", "qemu/110", "lxc/202"):
        told = found.kind("vm")[name]
        assert told["relations"] == [{"kind": "runs_on", "external_kind": "host", "external_id": "n3"}]
        assert told["runtime"]["power_state"] == "unknown"
        assert told["unknown"]["hardware.cpu_count"] == "PVE_NODE_OFFLINE: its node is offline"
        assert "hardware" not in told
    assert found.kind("vm")["lxc/202"]["unknown"].get("identity.hostname") == "PVE_NODE_OFFLINE: its node is offline"
    assert found.kind("host")["n3"]["runtime"]["power_state"] == "unknown"
    assert found.proof.counts["nodes_offline"] == ["n3"]


def test_an_unreachable_node_is_a_failure_and_takes_no_guest_away() -> None:
    with PveDouble(load("cluster"), version="8.4") as pve:
        pve.faults.add(match="GET /nodes/n2/*", kind="status", status=595, times=None)
        found: Reading = complete(read(pve, "agent@pve!asset"))
    failures = [item for item in found.items if isinstance(item, TargetFailure)]
    assert [(one.external_id, one.code.code) for one in failures] == [("n2", "PVE_NETWORK_ERROR")]
    assert found.kind("vm")["qemu/101"]["unknown"]["hardware.cpu_count"].startswith("PVE_NETWORK_ERROR")
    assert len(found.kind("vm")) == 11


def test_a_config_that_fails_alone_is_told_once_with_its_guests() -> None:
    told = items(failed(500, "cannot read"))
    [caution] = [item for item in told if isinstance(item, Caution)]
    assert caution.code.code == "PVE_API_ERROR"
    assert "qemu/100" in caution.message
    assert guest(failed(403, "no"))["unknown"]["tags"].startswith("PVE_PERMISSION_DENIED")
    nameless = guest(failed(500, "cannot read"), row={"name": None})
    assert nameless["unknown"]["identity.hostname"] == "PVE_API_ERROR: 500 cannot read"
    odd = guest(failed(200, "200 with 89 bytes of text/html", code="PVE_PARSE_ERROR"))
    assert odd["unknown"]["hardware.memory_bytes"] == "PVE_PARSE_ERROR: 200 with 89 bytes of text/html"


def test_the_system_of_a_node_and_its_release_read_as_one() -> None:
    status = Response("/nodes/n1/status", data={"pveversion": "pve-manager/8.4.1/2a5fa54a8503f96d"})
    [host] = [i for i in parse(node(status, rows=[]), {}) if isinstance(i, AssetRecord)]
    assert host.document["os"] == {"family": "proxmox-ve", "name": "Proxmox VE", "version": "8.4.1"}


def test_of_several_answers_the_one_that_holds_data_counts_wherever_it_was_read() -> None:
    moved = Response("/nodes/n2/qemu/100/config", data={"name": "moved"})
    row = {"id": "qemu/100", "type": "qemu", "vmid": 100, "node": "n2", "status": "running"}
    raw = node(moved, failed(500, "does not exist"), rows=[row])
    [told] = [i for i in parse(raw, {}) if isinstance(i, AssetRecord) and i.external_kind == "vm"]
    assert told.document["identity"]["hostname"] == "moved"
    assert told.document["relations"][0]["external_id"] == "n2"


def test_an_unchanged_machine_has_one_digest_whatever_its_counters_and_the_order_of_keys() -> None:
    config = {"name": "web1", "cores": 2, "net0": NIC, "scsi0": "a:b,size=1G", "scsi1": "a:c,size=1G", "agent": "1"}
    backwards = dict(reversed(config.items()))
    busy = {"cpu": 0.9, "uptime": 77, "mem": 123, "netin": 5}

    def digest(*given: Any, **said: Any) -> bytes:
        return next(
            i.record_digest for i in items(*given, **said) if isinstance(i, AssetRecord) and i.external_kind == "vm"
        )

    first = digest(config, answer_of_agent(ETH0))
    statistics = answer_of_agent(ETH0)
    statistics["result"][0]["statistics"] = {"rx-bytes": 99}
    assert digest(backwards | {"digest": "abc"}, statistics, row=busy) == first
    assert digest(config | {"cores": 3}, answer_of_agent(ETH0)) != first
    assert digest(config, failed(500, "silent", "/nodes/n1/qemu/100/agent/network-get-interfaces")) != first
    assert digest(config, answer_of_agent(ETH0), row={"node": "n2"}) != first
    sizeless = {"scsi0": "/dev/sdb", "scsi1": "/dev/sdc"}
    assert digest(dict(reversed(sizeless.items()))) == digest(sizeless), "which disk is to blame does not hang on order"


def test_what_is_known_is_not_told_again_and_its_warnings_are() -> None:
    silent = failed(500, "silent", "/nodes/n1/qemu/100/agent/network-get-interfaces")
    row = {"id": "qemu/100", "type": "qemu", "vmid": 100, "node": "n1", "status": "running"}
    raw = node(Response("/nodes/n1/qemu/100/config", data={"agent": "1"}), silent, rows=[row])
    known = {item.record_digest: item.external_id for item in parse(raw, {}) if isinstance(item, AssetRecord)}
    again = list(parse(raw, known))
    assert [type(item) for item in again] == [UnchangedRecord, UnchangedRecord, Caution]


@pytest.mark.parametrize(
    "rows", [None, {}, [7], [{"type": "qemu", "node": "n1"}], [{"type": "qemu", "vmid": 100, "node": None}]]
)
def test_a_list_that_cannot_be_read_refuses_its_record(rows: Any) -> None:
    with pytest.raises(LedgerError) as refused:
        list(parse(node(rows=rows), {}))
    assert refused.value.code.code == "PVE_PARSE_ERROR"


def test_a_record_that_lost_a_line_is_refused() -> None:
    raw = node(rows=[])
    short = RawRecord(raw.target, raw.media_type, raw.body[: raw.body.index(b"\n") + 1], raw.sha256, raw.document, AT)
    with pytest.raises(LedgerError, match="PVE_PARSE_ERROR"):
        list(parse(short, {}))


def test_every_field_of_a_guest_is_there_or_says_why_not() -> None:
    with PveDouble(load("cluster"), version="8.4") as pve:
        found = read(pve, "ledger@pve!asset")
    fields = (
        ("identity", ("hostname", "mgmt_ip", "serial_number", "machine_uuid")),
        ("hardware", ("cpu_count", "memory_bytes", "disk_total_bytes", "vendor", "model")),
        ("os", ("family", "name", "version", "kernel")),
        ("network", ("ip_addresses", "mac_addresses")),
        ("runtime", ("power_state", "virtualization")),
    )
    for document in (*found.kind("vm").values(), *found.kind("host").values()):
        for group, names in fields:
            for name in names:
                assert (name in document.get(group, {})) != (f"{group}.{name}" in document["unknown"]), (name, document)


def test_the_proof_of_every_derivation_is_that_of_its_record() -> None:
    with PveDouble(load("cluster"), version="8.4") as pve:
        hidden = read(pve, "ledger@pve!bare")
    [proof] = [item for item in hidden.items if isinstance(item, Proof)]
    assert any("VM.Audit" in reason and "PVEAuditor" in reason for reason in proof.missing)


def test_the_work_of_parsing_grows_as_the_cluster_does() -> None:
    work = {}
    for more in (50, 400):
        with PveDouble(load("cluster"), version="8.4") as pve:
            for number in range(more):
                pve.cluster.add_guest(1000 + number, "n1")
            records = read(pve, "agent@pve!asset").records
        assert len([item for raw in records for item in parse(raw, {})]) > more
        work[more] = calls_of(lambda records=records: [list(parse(raw, {})) for raw in records])  # type: ignore[misc]
    assert work[400] < 8.5 * work[50]  # and not 64 times
