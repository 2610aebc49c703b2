"""One report of an agent to one normalized-v1 document, or to the reason why there is none. Pure.

An agent sees its machine from within: the memory that its operating system was given, and file systems, not disks. So
the sum of those is no `disk_total_bytes`, and the memory is not what a platform calls so; both are told apart in
`custom_fields.agent`. Called for today's reports and for the replay of kept ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from asset_ledger.domain.addresses import normal_uuid, parse_address
from asset_ledger.domain.agents.interfaces import own_addresses
from asset_ledger.domain.agents.inventory import Inventory, inventory
from asset_ledger.domain.agents.payload import PayloadError, Report, loads, read
from asset_ledger.domain.inventory import MACHINE, AssetRecord, Caution, Item, TargetFailure
from asset_ledger.domain.normalized import NOT_REPORTED, SCHEMA_NAME, Document
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.agent import errors
from asset_ledger.sources.probed import LINUX_FAMILIES, clean, put, string

PARSER_VERSION = 1
_CONTAINERS = frozenset({"docker", "lxc", "lxc-libvirt", "podman", "rkt", "systemd-nspawn", "openvz", "wsl", "oci"})
_NO_NAMES = frozenset({"localhost", "(none)", "none"})


def parse(raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:  # noqa: ARG001  a report is one record
    """Yield an AssetRecord, with a Caution where nothing says which machine of the ledger it is, or a TargetFailure."""
    try:
        report = read(loads(raw.body))
    except PayloadError as problem:
        why = clean(str(problem))
        yield TargetFailure(MACHINE, raw.target, None, errors.PAYLOAD_INVALID, why or errors.PAYLOAD_INVALID.meaning)
        return
    found = inventory(report)
    peer = string(raw.document.get("peer"))
    mgmt_ip, why_none = _management_address(report, found, peer)
    document = _document(report, found, mgmt_ip, why_none)
    said = f"{PARSER_VERSION} {raw.target} {peer}\n".encode() + raw.body
    yield AssetRecord(MACHINE, raw.target, raw.target, document, hashlib.blake2b(said, digest_size=16).digest())
    if mgmt_ip is None:
        yield Caution(errors.NO_MANAGEMENT_ADDRESS, why_none, locator=raw.target)


def _management_address(report: Report, found: Inventory, peer: str) -> tuple[str | None, str]:
    """Return by which address the machine is managed, or None and why: an address it does not have is none of it.

    That is the one its agent names, else the one it spoke from, else the only one it has; of IPv4 where it has one.
    """
    own = own_addresses(report.nics)
    for told in (report.management_ip or "", peer):
        address = parse_address(told)
        if address is not None and str(address) in own:
            return str(address), ""
    only = [ip for ip in found.ip_addresses if ":" not in ip] or found.ip_addresses
    if len(only) == 1:
        return only[0], ""
    if not found.ip_addresses:
        return None, "it tells of no address of a real interface"
    return None, f"it has {len(found.ip_addresses)} addresses, and neither names nor spoke from one of them"


def _document(report: Report, found: Inventory, mgmt_ip: str | None, why_none: str) -> Document:
    unknown: dict[str, str] = {}
    identity: dict[str, str] = {}
    container = (report.virtualization_system or "").lower() in _CONTAINERS and report.virtualization_role != "host"
    document: Document = {"schema": SCHEMA_NAME, "kind": "machine", "identity": identity, "unknown": unknown}
    name = clean(found.hostname or "")
    nameless = not name or name.lower().split(".", 1)[0] in _NO_NAMES
    put(
        identity,
        unknown,
        "identity.hostname",
        "" if nameless else name,
        f"{NOT_REPORTED}: the machine calls itself {name or 'nothing'}",
    )
    put(identity, unknown, "identity.mgmt_ip", mgmt_ip, f"{NOT_REPORTED}: {why_none}")
    document["identifiers"] = _identifiers(found, container)
    document["hardware"] = _hardware(found, unknown)
    document["os"] = _system(report, found, unknown)
    if report.nics:
        document["network"] = _network(report, found)
    else:
        unknown["network.ip_addresses"] = f"{NOT_REPORTED}: the report tells of no interface"
    document["runtime"] = {"power_state": "running"}
    _nature(report, document, unknown, container=container)
    document["custom_fields"] = {"agent": _from_within(report, found)}
    return document


def _identifiers(found: Inventory, container: bool) -> list[dict[str, str]]:
    """Return what may match another reading.

    A host id counts as a UUID of the firmware, which it may be: where it is the operating system's own it matches
    nobody's. In a container it would be that of the host.
    """
    uuid = None if container else normal_uuid(found.host_id or "")
    pairs = [("ip", ip) for ip in found.ip_addresses] + [("mac", mac) for mac in found.mac_addresses]
    if uuid is not None:
        pairs += [("smbios_uuid", uuid), ("smbios_uuid", _swapped(uuid))]
    return [{"kind": kind, "value": value} for kind, value in dict.fromkeys(pairs)]


def _swapped(uuid: str) -> str:
    """Return a UUID with the bytes of its first three parts turned round: firmware and tools disagree on them."""
    parts = uuid.split("-")
    turned = [bytes.fromhex(part)[::-1].hex() for part in parts[:3]]
    return "-".join([*turned, *parts[3:]])


def _hardware(found: Inventory, unknown: dict[str, str]) -> dict[str, Any]:
    hardware: dict[str, Any] = {}
    logical = found.cpu_count if found.cpu_count_is == "logical" else None
    put(
        hardware,
        unknown,
        "hardware.cpu_count",
        logical if logical and logical <= 100_000 else None,
        f"{NOT_REPORTED}: it tells of {found.cpu_count} physical cores alone"
        if found.cpu_count and not logical
        else f"{NOT_REPORTED}: the report has no cores",
    )
    memory = found.memory_total
    put(
        hardware,
        unknown,
        "hardware.memory_bytes",
        memory if memory and memory < 1 << 63 else None,
        f"{NOT_REPORTED}: the report has no memory",
    )
    unknown["hardware.disk_total_bytes"] = f"{NOT_REPORTED}: an agent sees file systems, not disks"
    return hardware


def _system(report: Report, found: Inventory, unknown: dict[str, str]) -> dict[str, str]:
    system: dict[str, str] = {}
    family = (found.os or "").lower()
    if family == "linux":
        named = (found.platform or "", report.platform_family or "")
        family = next(
            (LINUX_FAMILIES[word] for one in named if (word := one.lower().split("-")[0]) in LINUX_FAMILIES), family
        )
    for key, value in (
        ("family", family),
        ("name", found.platform),
        ("version", found.platform_version),
        ("kernel", found.kernel_version),
    ):
        put(system, unknown, f"os.{key}", clean(value or ""), f"{NOT_REPORTED}: the report does not say")
    return system


def _network(report: Report, found: Inventory) -> dict[str, Any]:
    """Return the interfaces and addresses that stay: bridges of containers and passing addresses come and go."""
    addresses, macs = frozenset(found.ip_addresses), frozenset(found.mac_addresses)
    listed = []
    for nic in report.nics:
        told = (str(ip) for text in nic.addresses if (ip := parse_address(text)))
        own = [ip for ip in dict.fromkeys(told) if ip in addresses]
        mac = nic.mac if nic.mac in macs else None
        if own or mac:
            entry: dict[str, Any] = {"name": clean(nic.name) or "unnamed", "ip_addresses": own}
            listed.append(entry | ({"mac_address": mac} if mac else {}))
    return {
        "ip_addresses": list(dict.fromkeys(found.ip_addresses)),
        "mac_addresses": list(dict.fromkeys(found.mac_addresses)),
        "interfaces": listed,
    }


def _nature(report: Report, document: Document, unknown: dict[str, str], *, container: bool) -> None:
    """Say whether it is a virtual machine, where the report does: to see no hypervisor proves no hardware."""
    system = clean(report.virtualization_system or "").lower()
    if system and (container or report.virtualization_role == "guest"):
        document["asset_type"] = "vm"
        document["runtime"]["virtualization"] = system
        return
    why = "virtual machines run on it" if report.virtualization_role == "host" else "the report names no hypervisor"
    unknown["asset_type"] = unknown["runtime.virtualization"] = f"{NOT_REPORTED}: {why}"


def _from_within(report: Report, found: Inventory) -> dict[str, Any]:
    """Return what is true within the machine alone, under names that nobody takes for the hardware's."""
    sizes = [size for _, size in found.devices]
    # where a size changes with what is in use, the sum is no size
    lasting = sum(size for size in sizes if size is not None) if None not in sizes else None
    told = {
        "filesystem_total_bytes": lasting,
        "memory_seen_by_os_bytes": found.memory_total,
        "physical_cores": found.cpu_count if found.cpu_count_is == "physical" else None,
        "cpu_model": clean(found.cpu_model or ""),
        "arch": clean(found.arch or ""),
        "version": clean(report.agent_version or ""),
    }
    return {name: value for name, value in told.items() if value}
