"""One ECS instance to a normalized-v1 document. Pure; called by `parse`.

The name is InstanceName, which people give; HostName, `iZ…` unless somebody chose it, is kept beside it. Nothing tells
on which host an instance runs: it has no relations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from asset_ledger.domain.addresses import normal_serial, normal_uuid
from asset_ledger.domain.normalized import NOT_REPORTED, SCHEMA_NAME, Document
from asset_ledger.domain.secrecy import names_secret
from asset_ledger.sources.aliyun.errors import PARSE_ERROR
from asset_ledger.sources.aliyun.fields import MOST, NOT_TOLD, Facts, clean, reason
from asset_ledger.sources.aliyun.network import described, identifying, network_of

VM = "vm"
_MIB = 1 << 20
_MOST_PROCESSORS = 100_000
_POWER = {"Running": "running", "Stopped": "stopped"}
"""The others (Pending, Starting, Stopping) are on their way: which, `custom_fields.status` says."""
_FAMILIES = {"linux": "linux", "windows": "windows"}
_NEVER_TOLD = dict.fromkeys(("hardware.vendor", "hardware.model", "os.version", "os.kernel"), NOT_TOLD)
_ZONE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_TAG = re.compile(r"[^\s,;]{1,64}")
_NEVER = "2099-12-31"
"""How the day begins on which what is paid for as it goes expires."""
_LABELS = {
    "guest_hostname": "HostName",
    "status": "Status",
    "region": "RegionId",
    "availability_zone": "ZoneId",
    "instance_type": "InstanceType",
    "network_type": "InstanceNetworkType",
    "charge_type": "InstanceChargeType",
    "image": "ImageId",
    "resource_group": "ResourceGroupId",
}


def unreadable(row: Mapping[str, Any]) -> str:
    """Say why a row tells nothing of its instance, or "": without state and time of creation there is nothing in it."""
    lacks = [name for name in ("Status", "CreationTime") if not clean(row.get(name))]
    return f"its row has neither {' nor '.join(lacks)}" if len(lacks) == 2 else ""


def describe(instance: str, row: Mapping[str, Any], disks: tuple[int, str], *, zone: str) -> tuple[Document, list[str]]:
    """Return an instance's document, and what of it cannot be read.

    `disks` are its bytes, or 0 and why they are not known; `zone` is `address_zone`.
    """
    facts = Facts(row, dict(_NEVER_TOLD))
    identity: dict[str, Any] = {"cloud_native_id": instance}
    name = facts.text("InstanceName")[:255].strip()
    facts.put(identity, "identity.hostname", name, "InstanceName")
    if name:
        identity["caption"] = name
    vpc = facts.text("VpcId", facts.mapping("VpcAttributes"))
    if zone == "vpc" and _ZONE.fullmatch(vpc):
        identity["zone"] = vpc
    scoped = zone == "source" or "zone" in identity
    identifiers = [{"kind": "aliyun_instance_id", "value": instance}]
    identifiers += _serial(facts, identity)
    found = network_of(facts)
    network = described(facts, found, identity, scoped=scoped)
    identifiers += [{"kind": "mac", "value": mac} for mac in network.get("mac_addresses", ())]
    if scoped and "ip_addresses" in network:
        identifiers += [{"kind": "ip", "value": address} for address in identifying(found.private)]
    custom, tags = _labels(facts, vpc), _tags(facts)
    if "ip_addresses" in network:
        if found.eip:
            custom["eip"] = found.eip
        if plain := [one for one in found.public if one != found.eip]:
            custom["public_ips"] = plain
    if tags.odd:
        custom["more_tags"] = tags.odd
    status = clean(row.get("Status"))
    parts: dict[str, Any] = {
        "identity": identity,
        "relations": [],
        "identifiers": identifiers,
        "hardware": _hardware(facts, disks),
        "os": _system(facts),
        "network": network,
        "runtime": {"power_state": _POWER.get(status, "unknown"), "virtualization": "aliyun"},
        "custom_fields": custom,
        "tags": tags.plain,
    }
    document: Document = {"schema": SCHEMA_NAME, "kind": VM, "asset_type": VM}
    document.update({key: part for key, part in parts.items() if part or key == "relations"})
    document["unknown"] = facts.unknown
    return document, facts.faults


def _serial(facts: Facts, identity: dict[str, Any]) -> list[dict[str, str]]:
    told = facts.text("SerialNumber")
    serial = normal_serial(told) if told else None
    uuid = normal_uuid(serial) if serial else None
    facts.put(identity, "identity.serial_number", serial, "SerialNumber")
    facts.put(identity, "identity.machine_uuid", uuid, "SerialNumber")
    created = facts.text("CreationTime")
    generation = {key: value for key, value in (("created", created), ("serial", serial)) if value}
    if generation:
        identity["generation"] = generation
    found = [{"kind": "serial", "value": serial}] if serial else []
    return found + ([{"kind": "smbios_uuid", "value": uuid}] if uuid else [])


def _hardware(facts: Facts, disks: tuple[int, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    facts.put(found, "hardware.cpu_count", facts.number("Cpu", _MOST_PROCESSORS), "Cpu")
    facts.put(found, "hardware.memory_bytes", facts.number("Memory", MOST // _MIB) * _MIB, "Memory")
    total, why = disks
    if total:
        found["disk_total_bytes"] = total
    else:
        facts.unknown["hardware.disk_total_bytes"] = why
    return found


def _system(facts: Facts) -> dict[str, str]:
    found: dict[str, str] = {}
    told = facts.text("OSType")
    facts.put(found, "os.family", _FAMILIES.get(told.lower(), ""), "OSType")
    if told and "family" not in found:
        facts.unknown["os.family"] = f"{NOT_REPORTED}: its system is of no family"
    # OSName is in the language of whoever asks
    facts.put(found, "os.name", facts.text("OSNameEn") or facts.text("OSName"), "OSNameEn")
    return found


def _labels(facts: Facts, vpc: str) -> dict[str, Any]:
    custom: dict[str, Any] = {}
    for label, name in _LABELS.items():
        facts.label(custom, label, facts.text(name), name)
    attributes = facts.mapping("VpcAttributes")
    facts.label(custom, "vpc", vpc, "VpcId")
    facts.label(custom, "vswitch", facts.text("VSwitchId", attributes), "VSwitchId")
    spot = facts.text("SpotStrategy")
    facts.label(custom, "spot_strategy", "" if spot == "NoSpot" else spot, "SpotStrategy")
    mode = facts.text("StoppedMode")
    facts.label(custom, "stopped_mode", "" if mode == "Not-applicable" else mode, "StoppedMode")
    expires = facts.text("ExpiredTime")
    facts.label(custom, "expires", "" if expires.startswith(_NEVER) else expires, "ExpiredTime")
    options = facts.mapping("CpuOptions")
    for label, name in (("cpu_cores", "CoreCount"), ("threads_per_core", "ThreadsPerCore")):
        facts.label(custom, label, facts.number(name, _MOST_PROCESSORS, options), name)
    return custom


class _Tags:
    """Tags as `key=value`, sorted; those that no tag of the ledger can be stand beside them."""

    def __init__(self) -> None:
        self.plain: list[str] = []
        self.odd: dict[str, str] = {}


def _tags(facts: Facts) -> _Tags:
    found, told = _Tags(), dict[str, str]()
    for tag in facts.many("Tags", "Tag"):
        if not isinstance(tag, dict):
            facts.fault("Tags is no list of tags")
            continue
        key, value = (clean(tag.get(f"Tag{part}", tag.get(part))) for part in ("Key", "Value"))
        if key:
            # what a tag called password says is not kept
            told[key] = "" if names_secret(key) else value
    for key, value in sorted(told.items()):
        joined = f"{key}={value}" if value else key
        if _TAG.fullmatch(joined):
            found.plain.append(joined)
        else:
            found.odd[key] = value
    if any(fault.startswith("Tags is ") for fault in facts.faults):
        facts.unknown["tags"] = reason(PARSE_ERROR, facts.absent("Tags").partition(": ")[2])
    found.plain = list(dict.fromkeys(found.plain))
    return found
