"""One node, and the cluster it is a member of, to normalized-v1 documents. Pure; called by `parse`.

Serial number, vendor and model of a node are in no answer of Proxmox VE's API, so they are absent, and say so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asset_ledger.domain.addresses import parse_address
from asset_ledger.domain.errors import ErrorCode
from asset_ledger.domain.inventory import AssetRecord
from asset_ledger.domain.normalized import NOT_REPORTED, SCHEMA_NAME, Document
from asset_ledger.sources.pve.addresses import Interface, UnreadableError, preferred
from asset_ledger.sources.pve.errors import NODE_OFFLINE, PARSE_ERROR, code_of
from asset_ledger.sources.pve.guests import HOST, recorded
from asset_ledger.sources.pve.hardware import MOST_PROCESSORS
from asset_ledger.sources.pve.properties import clean, flag, mapping, put, reason, whole
from asset_ledger.sources.pve.raw import Response
from asset_ledger.sources.pve.rows import node_name

CLUSTER = "cluster"
_NO_DMI = f"{NOT_REPORTED}: no answer of Proxmox VE has it"
_MANAGER = re.compile(r"pve-manager/([0-9][^/\s]{0,63})")


@dataclass(frozen=True, slots=True)
class Membership:
    """What /cluster/status says: the cluster's name (None: standalone), the node's own address. `told` is False
    where it could not be read: then nothing is known of either."""

    told: bool = False
    cluster: str | None = None
    address: str | None = None


def membership(status: Response | None, node: str) -> Membership:
    """Return what /cluster/status says of a node; `node` may be "" where only the cluster is asked for."""
    if status is None or not status.ok or not isinstance(status.data, list):
        return Membership()
    rows = [row for row in status.data if isinstance(row, dict)]
    names = [node_name(row.get("name")) for row in rows if row.get("type") == "cluster"]
    if names == [None] or len(names) > 1:
        return Membership()
    own = [row.get("ip") for row in rows if row.get("type") == "node" and row.get("name") == node]
    address = parse_address(own[0]) if own and isinstance(own[0], str) else None
    return Membership(True, names[0] if names else None, None if address is None else str(address))


def describe_cluster(name: str) -> AssetRecord:
    """Return the cluster of this name."""
    no_machine = f"{NOT_REPORTED}: a cluster is no machine"
    facts = ("hardware.cpu_count", "hardware.memory_bytes", "hardware.disk_total_bytes", "os.family", "os.version")
    unknown = dict.fromkeys((*facts, "runtime.power_state", "network.ip_addresses", "identity.mgmt_ip"), no_machine)
    document: Document = {
        "schema": SCHEMA_NAME,
        "kind": "cluster",
        "asset_type": "cluster",
        "identity": {"hostname": name, "caption": name},
        "relations": [],
        "unknown": unknown,
    }
    return recorded(CLUSTER, name, f"cluster {name}", document)


def describe_node(
    name: str,
    row: Mapping[str, Any] | None,
    status: Response | None,
    network: Response | None,
    belongs: Membership,
    *,
    online: bool,
    reached: bool = True,
) -> tuple[AssetRecord, tuple[ErrorCode, str] | None]:
    """Return a node's record, and why its status could not be read: code and words, or None.

    `reached` is whether it answered at all: what the cluster says of one that did not is no news.
    """
    unknown: dict[str, str] = {
        "identity.serial_number": _NO_DMI,
        "identity.machine_uuid": _NO_DMI,
        "hardware.vendor": _NO_DMI,
        "hardware.model": _NO_DMI,
        "hardware.disk_total_bytes": f"{NOT_REPORTED}: its disks are not read",
        "network.mac_addresses": f"{NOT_REPORTED}: Proxmox VE does not tell them of a node",
        "runtime.virtualization": f"{NOT_REPORTED}: Proxmox VE does not tell what a node runs on",
    }
    document: Document = {"schema": SCHEMA_NAME, "kind": "host", "asset_type": "physical", "unknown": unknown}
    identity: dict[str, Any] = {"hostname": name}
    document["identity"] = identity
    if belongs.told:
        cluster = belongs.cluster
        member = {"kind": "member_of", "external_kind": CLUSTER, "external_id": cluster}
        document["relations"] = [] if cluster is None else [member]
    data, why, unread = _status(status, online=online)
    told = mapping(row) or {}
    cpu = whole((mapping(data.get("cpuinfo")) or {}).get("cpus"), MOST_PROCESSORS)
    memory = whole((mapping(data.get("memory")) or {}).get("total"))
    hardware: dict[str, Any] = {}
    cpu = cpu or (whole(told.get("maxcpu"), MOST_PROCESSORS) if online else None)
    memory = memory or (whole(told.get("maxmem")) if online else None)
    put(hardware, unknown, "hardware.cpu_count", cpu, why)
    put(hardware, unknown, "hardware.memory_bytes", memory, why)
    system: dict[str, Any] = {"family": "proxmox-ve", "name": "Proxmox VE"}
    version = _MANAGER.match(clean(data.get("pveversion")))
    put(system, unknown, "os.version", version and clean(version.group(1)), why)
    put(system, unknown, "os.kernel", _kernel(data), why)
    document["hardware"] = hardware
    document["os"] = system
    document["runtime"] = {"power_state": "running" if data or (online and reached) else "unknown"}
    interfaces, why_not = _interfaces(network, online=online)
    if interfaces is None:
        unknown["network.ip_addresses"] = why_not
    else:
        shown = [interface for interface, _ in interfaces]
        document["network"] = {
            "ip_addresses": list(dict.fromkeys(a for interface in shown for a in interface.addresses)),
            "interfaces": [interface.shown() for interface in shown],
        }
    behind = next((preferred(i.own) for i, gateway in interfaces or () if gateway and i.own), None)
    put(
        identity,
        unknown,
        "identity.mgmt_ip",
        belongs.address or behind,
        why_not or why or f"{NOT_REPORTED}: no address",
    )
    own = dict.fromkeys(a for interface, _ in interfaces or () for a in interface.own)
    if belongs.address is not None:
        own[belongs.address] = None
    if own:
        document["identifiers"] = [{"kind": "ip", "value": address} for address in own]
    return recorded(HOST, name, f"node {name}", document), unread


def _status(response: Response | None, *, online: bool) -> tuple[Mapping[str, Any], str, tuple[ErrorCode, str] | None]:
    """Return what the node says of itself (empty where it does not), what its absent fields say, and the failure."""
    if response is not None and response.ok and isinstance(response.data, dict):
        return response.data, f"{NOT_REPORTED}: the node does not say", None
    if not online:
        return {}, reason(NODE_OFFLINE, "the node is offline"), None
    if response is None:
        return {}, f"{NOT_REPORTED}: its status was not read", None
    code = code_of(response.status, response.reason, response.code) or PARSE_ERROR
    told = "its status is no object" if response.ok else clean(response.said)
    return {}, reason(code, told), (code, told or code.meaning)


def _kernel(data: Mapping[str, Any]) -> str:
    release = clean((mapping(data.get("current-kernel")) or {}).get("release"))
    words = clean(data.get("kversion")).split()
    return release or (words[1] if len(words) > 1 and words[0] == "Linux" else "")


def _interfaces(response: Response | None, *, online: bool) -> tuple[list[tuple[Interface, bool]] | None, str]:
    """Return ((interface, has a gateway), …) of those with addresses, or None and why."""
    if response is None or not response.ok:
        if not online:
            return None, reason(NODE_OFFLINE, "the node is offline")
        if response is None:
            return None, f"{NOT_REPORTED}: its network was not read"
        code = code_of(response.status, response.reason, response.code) or PARSE_ERROR
        return None, reason(code, response.said)
    if not isinstance(response.data, list):
        return None, reason(PARSE_ERROR, "its network is no list")
    found = []
    try:
        for entry in response.data:
            if not isinstance(entry, dict):
                raise UnreadableError("its network holds what is no interface")
            # of interfaces that are neither up nor brought up at boot the addresses are only plans
            if not flag(entry.get("active")) and not flag(entry.get("autostart")):
                continue
            interface = Interface(clean(entry.get("iface")) or "unnamed")
            keys = (("address", "netmask"), ("address6", "netmask6"))
            interface.add([(entry[key], entry.get(mask)) for key, mask in keys if entry.get(key)])
            if interface.addresses:
                found.append((interface, bool(entry.get("gateway") or entry.get("gateway6"))))
    except UnreadableError as odd:
        return None, reason(PARSE_ERROR, str(odd))
    return found, ""
