"""Answers of the script as Windows prints them, and what a reading makes of them: for tests of the pure half.

`python -m tests.sources.hyperv.kept` writes the kept readings of tests/fixtures/hyperv/contract anew; afterwards
`pytest tests/contract --update-golden` writes what parsing gives: read both before you keep them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.hyperv.answers import Answer, read_answer
from asset_ledger.sources.hyperv.errors import TIMEOUT
from asset_ledger.sources.hyperv.evidence import Evidence, Sight, no_sight, sight_of
from asset_ledger.sources.hyperv.raw import node_record, survey_record

FOLDER = Path(__file__).parents[2] / "fixtures" / "hyperv" / "contract"
AT = datetime(2026, 11, 1, 18, 30, tzinfo=UTC)
ADMINISTRATORS = "S-1-5-32-578"
NAMES = {2: "Running", 3: "Off", 4: "Stopping", 6: "Saved", 9: "Paused", 32777: "Resuming", 32779: "FastSaved"}
ERROR = {
    "where": "vm",
    "id": "Unspecified,Microsoft.HyperV.PowerShell.Commands.GetVM",
    "category": "NotSpecified",
    "type": "Microsoft.HyperV.PowerShell.VirtualizationException",
    "message": "Ein unerwarteter Fehler ist aufgetreten.",
    "numbers": [-2146233088],
}
DENIED = {
    "where": "vms",
    "id": "AccessDenied,Microsoft.HyperV.PowerShell.Commands.GetVM",
    "category": "PermissionDenied",
    "type": "Microsoft.HyperV.PowerShell.VirtualizationException",
    "message": "您没有完成此任务所需的权限。",
    "numbers": [-2146233088],
}


def vm_id(number: int) -> str:
    return f"0f5e3b1a-4c2d-4e6f-8a9b-{number:012x}"


def bios(number: int) -> str:
    return f"{{A1B2C3D4-E5F6-4789-ABCD-{number:012X}}}"


def serial(number: int) -> str:
    return f"6093-1857-4416-2029-{number:04}-5312-72"


def vm(number: int, **changed: Any) -> dict[str, Any]:
    """Return one item as the script prints it: a running generation 2 machine with one adapter and one disk."""
    state = changed.get("state", 2)
    return {
        "id": vm_id(number),
        "name": f"app{number:02}",
        "state": 2,
        "state_name": NAMES.get(state) if isinstance(state, int) else None,
        "created": "2025-03-04T08:15:30Z",
        "version": "9.0",
        "generation": 2,
        "clustered": True,
        "replication_mode": 0,
        "replication_state": 0,
        "vcpu": 4,
        "mem_startup": 4294967296,
        "mem_assigned": 4294967296,
        "mem_max": 1099511627776,
        "dynamic": False,
        "bios_guid": bios(number),
        "serial": serial(number),
        "nics": [
            {
                "name": "Network Adapter",
                "mac": f"00155D{number:06X}",
                "switch": "Tenant",
                "vlan": 120,
                "ips": [f"192.0.2.{number % 250 + 1}", f"fe80::215:5dff:fe00:{number:x}"],
            }
        ],
        "disks": [
            {
                "path": f"C:\\ClusterStorage\\Volume1\\app{number:02}.vhdx",
                "size": 136365211648,
                "type": 3,
                "shared": False,
                "number": None,
                "error": None,
            }
        ],
        "guest": {
            "fqdn": f"app{number:02}.example.com",
            "os_name": "Windows Server 2019 Standard",
            "os_version": "10.0.17763",
            "os_major": "10",
            "os_build": "17763",
            "os_platform": "2",
        },
        "errors": [],
    } | changed


def host(name: str, **changed: Any) -> dict[str, Any]:
    last = sum(name.encode()) % 200 + 10
    return {
        "name": name.upper(),
        "fqdn": f"{name.upper()}.example.com",
        "groups": ["S-1-5-32-545", ADMINISTRATORS],
        "is_admin": False,
        "ps_version": "5.1.17763.1971",
        "module_version": "2.0.0.0",
        "uuid": f"4C4C4544-0042-3510-8054-{last:012X}",
        "serial": f"5QB{last:03}X",
        "manufacturer": "Dell Inc.",
        "model": "PowerEdge R740",
        "os_version": "10.0.17763",
        "os_build": "17763",
        "os_caption": "Microsoft Windows Server 2019 Datacenter",
        "cpu_model": "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz",
        "logical_processors": 64,
        "cores": 32,
        "sockets": 2,
        "memory_bytes": 412316860416,
        "ips": [f"198.51.100.{last}", f"fe80::1c2:{last:x}"],
        "macs": [f"24:6E:96:00:00:{last:02X}"],
    } | changed


def cluster(
    nodes: Mapping[str, int] | None = None, vms: Mapping[int, str] | None = None, **changed: Any
) -> dict[str, Any]:
    """Return what a node tells of its cluster: names of nodes with states, numbers of machines with owners."""
    return {
        "name": "HVCLU",
        "id": "c5a1f8b2-0000-4000-8000-000000000001",
        "nodes": None if nodes is None else [{"name": name.upper(), "state": state} for name, state in nodes.items()],
        "vms": None
        if vms is None
        else [
            {"vm_id": vm_id(number), "name": f"app{number:02}", "owner": owner.upper(), "state": 2}
            for number, owner in vms.items()
        ],
        "error": None,
    } | changed


def printed(name: str, items: Sequence[Mapping[str, Any]], ask: str = "own", /, **changed: Any) -> bytes:
    """Return the JSON of an answer that listed its machines."""
    told: dict[str, Any] = {
        "v": 1,
        "ask": ask,
        "at": "2026-11-01T18:30:02Z",
        "ok": True,
        "count": len(items),
        "items": list(items),
        "host": host(name),
        "second": {"ids": [item["id"].upper() for item in items], "error": None},
        "cluster": None,
        "errors": [],
    }
    return json.dumps(told | changed, ensure_ascii=False, separators=(",", ":")).encode()


def answer(name: str, items: Sequence[Mapping[str, Any]], ask: str = "own", /, **changed: Any) -> Answer:
    return read_answer(printed(name, items, ask, **changed), name)


def refused(name: str, error: Mapping[str, Any] = DENIED, **changed: Any) -> Answer:
    """Return the answer of a host that did not list its machines."""
    return answer(name, [], ok=False, count=None, errors=[dict(error)], **changed)


def sight(told: Answer, sweep: int = 1, address: str = "") -> Sight:
    return sight_of(told, address=address or f"{told.name}.example.com:5986", sweep=sweep, at=AT)


def node(*answers: Answer, elsewhere: Mapping[str, str] | None = None, **changed: Any) -> RawRecord:
    """Return the raw record of one node."""
    name = answers[-1].name
    return node_record(
        name,
        answers,
        elsewhere=elsewhere or {},
        address=f"{name}.example.com:5986",
        document={"https": True} | changed,
        observed_at=AT,
    )


def survey(evidence: Evidence, **document: Any) -> RawRecord:
    """Return the raw record of a reading's evidence."""
    return survey_record("survey", evidence, document={"nodes": 1, "sweeps": 1, "visits": 1} | document, observed_at=AT)


def standalone(*items: Mapping[str, Any], known: tuple[str, ...] = (), **changed: Any) -> Evidence:
    """Return the evidence of one host in no cluster."""
    return Evidence("auto", ("hv1",), known, [sight(answer("hv1", items, "whole", **changed))])


def pair(first: Sequence[int] = (1,), second: Sequence[int] = (2,), **changed: Any) -> Evidence:
    """Return the evidence of a cluster of two nodes that was read as it should be: each looked at twice."""
    owners = dict.fromkeys(first, "hv1") | dict.fromkeys(second, "hv2")
    nodes = {"hv1": 0, "hv2": 0}
    told, name_only = cluster(nodes, owners), cluster()
    sights = [
        sight(answer("hv1", [vm(number) for number in first], "whole", cluster=told | changed)),
        sight(answer("hv2", [vm(number) for number in second], cluster=name_only)),
        sight(answer("hv1", [brief(number) for number in first], "names", cluster=name_only), 2),
        sight(answer("hv2", [brief(number) for number in second], "lists", cluster=told | changed), 2),
    ]
    return Evidence("auto", ("hv1",), (), sights)


def brief(number: int, **changed: Any) -> dict[str, Any]:
    """Return an item as it is told to whoever asks for names only."""
    names = ("id", "name", "state", "state_name", "replication_mode", "replication_state")
    item = {name: vm(number, **{name: changed[name] for name in names if name in changed})[name] for name in names}
    return item | {"nics": None, "disks": None, "guest": None, "errors": []} | changed


def records() -> Iterator[tuple[str, RawRecord]]:
    """Yield name and record of every kept reading."""
    machines = _of_one_host()
    yield "standalone_node", node(answer("hv1", machines, "whole"))
    yield "standalone_survey", survey(standalone(*machines))
    yield "empty_node", node(answer("hv1", [], "whole"))
    yield "empty_survey", survey(standalone())
    evidence = pair((1, 3, 4), (2, 3, 4))
    moved = evidence.sights[2]
    evidence.sights[2] = replace(
        moved,
        vms=tuple(one for one in moved.vms or () if one.id != vm_id(4)),
        count=2,
        second=tuple(one for one in moved.second or () if one != vm_id(4)),
    )
    first = answer("hv1", [vm(1, vcpu=2), vm(3), vm(4)], cluster=cluster())
    again = answer("hv1", [vm(1), vm(3)], cluster=cluster())
    yield "cluster_node", node(first, again, elsewhere={vm_id(3): "hv2", vm_id(4): "hv2"})
    cautions = [{"code": "HYPERV_TLS_UNVERIFIED", "message": "hv1, hv2: whose certificate it is was not checked"}]
    yield "cluster_survey", survey(evidence, nodes=2, sweeps=2, visits=4, cautions=cautions)
    yield "refused_survey", survey(_refused(), nodes=1, visits=2)


def _of_one_host() -> list[dict[str, Any]]:
    """Return what a host may have: guests of all kinds, and what of them cannot be read."""
    plain = vm(1)
    nic, disk, untold = plain["nics"][0], plain["disks"][0], dict.fromkeys(plain["guest"])
    linux = {"os_name": "Ubuntu", "os_version": "5.15.0", "os_major": "22", "os_build": "5.15.0-91-generic"}
    loose = {"clustered": False}
    passed = disk | {"path": "Disk 3 40.00 GB Bus 0 Lun 1 Target 0", "number": 3, "size": None, "type": None}
    failed = {"where": "vhd", "id": "OperationFailed,Microsoft.Vhd.PowerShell.Cmdlets.GetVhd", "numbers": [-2147024864]}
    return [
        plain | loose,
        vm(2, **loose, name="财务-数据库", generation=1, guest=untold | linux | {"fqdn": "db02"}, dynamic=True),
        vm(3, **loose, state=3, mem_assigned=0, nics=[nic | {"mac": "000000000000", "ips": []}], guest=untold),
        vm(4, **loose, state=6, nics=[], disks=[], guest=untold),
        vm(5, **loose, state=32786, state_name="OffCritical", nics=nic | {"ips": "192.0.2.77"}, guest=untold),
        vm(6, **loose, disks=[disk, passed], guest=untold),
        vm(7, **loose, disks=[disk | {"size": None, "error": ERROR | failed}]),
        vm(8, **loose, nics=None, guest=None, errors=[ERROR | {"where": "nics"}, DENIED | {"where": "guest"}]),
        vm(9, **loose, replication_mode=2, replication_state=4, state=3),
        vm(10, **loose, vcpu="many", bios_guid="{00000000-0000-0000-0000-000000000000}"),
        vm(11, **loose, replication_mode=2, replication_state=6, serial="None"),
        vm(12, **loose, state=32784, state_name=None, serial=None),
        vm(13, **loose, state=32783, state_name="Hibernated", mem_assigned=0, guest=untold),
    ]


def _refused() -> Evidence:
    """Return the evidence of a cluster where one node is down, one out of reach, and the account in no group."""
    told = cluster({"hv1": 0, "hv2": 0, "hv3": 1}, {1: "hv1", 2: "hv2"})
    groups = host("hv1", groups=["S-1-5-32-545"])
    out = no_sight(
        "hv2",
        address="hv2.example.com:5986",
        sweep=1,
        ask="own",
        at=AT,
        code=TIMEOUT,
        message="no connection within 5 s",
    )
    return Evidence(
        "cluster", ("hv1",), (vm_id(1),), [sight(answer("hv1", [], "whole", cluster=told, host=groups)), out]
    )


def main() -> None:
    """Write the kept readings."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, raw in records():
        told = {
            "target": raw.target,
            "media_type": raw.media_type,
            "observed_at": raw.observed_at.isoformat(),
            "document": raw.document,
            "body_text": raw.body.decode(),
        }
        path = FOLDER / f"{name}.raw.json"
        path.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
