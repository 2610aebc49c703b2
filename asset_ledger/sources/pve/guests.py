"""One guest, QEMU or LXC: its row, its config and the answer about its addresses to a normalized-v1 document. Pure.

Absent keys of a config are Proxmox VE's defaults. What is not of its kind makes the field unknown, with the code
PVE_PARSE_ERROR and a caution; nothing here raises. Called by `parse`.
"""

from __future__ import annotations

import hashlib
import marshal
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.addresses import normal_uuid
from asset_ledger.domain.errors import ErrorCode
from asset_ledger.domain.inventory import AssetRecord, Caution
from asset_ledger.domain.normalized import NOT_REPORTED, SCHEMA_NAME, Document
from asset_ledger.sources.pve import addresses
from asset_ledger.sources.pve.errors import GUEST_AGENT_UNAVAILABLE, NODE_OFFLINE, PARSE_ERROR, code_of
from asset_ledger.sources.pve.hardware import hardware
from asset_ledger.sources.pve.properties import clean, fault, flag, properties, put, reason, whole
from asset_ledger.sources.pve.raw import Response

PARSER_VERSION = 1
GUEST = "vm"
HOST = "host"

_TAG = re.compile(r"[^\s,;]{1,64}\Z")
_SEPARATORS = re.compile(r"[\s,;]+")
_POWER = {"paused": "paused", "prelaunch": "paused", "suspended": "suspended"}
# of containers in the words of a distribution's own family, of virtual machines by kernel: PVE knows no more
_FAMILIES = {
    "debian": "debian",
    "devuan": "debian",
    "ubuntu": "debian",
    "centos": "rhel",
    "fedora": "rhel",
    "opensuse": "suse",
    "archlinux": "arch",
    "alpine": "alpine",
    "gentoo": "gentoo",
    "nixos": "nixos",
    "l24": "linux",
    "l26": "linux",
    "solaris": "solaris",
}
_NOT_OF_GUESTS = f"{NOT_REPORTED}: Proxmox VE does not tell it of a guest"
_NEVER_TOLD = {
    "identity.serial_number": _NOT_OF_GUESTS,
    "hardware.vendor": _NOT_OF_GUESTS,
    "hardware.model": _NOT_OF_GUESTS,
    "os.name": _NOT_OF_GUESTS,
    "os.version": _NOT_OF_GUESTS,
    "os.kernel": _NOT_OF_GUESTS,
}
_NOT_ENABLED = reason(GUEST_AGENT_UNAVAILABLE, "the agent is not enabled in the guest's options")
_OF_CONFIG = (
    "identity.machine_uuid",
    "hardware.cpu_count",
    "hardware.memory_bytes",
    "hardware.disk_total_bytes",
    "network.mac_addresses",
    "os.family",
)


@dataclass(slots=True)
class Details:
    """What was asked about one guest beyond its row, and answered: None where it was not asked."""

    config: Response | None = None
    addresses: Response | None = None
    listed: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Described:
    """A guest's record, what is odd about it, and why its config could not be read: code and words, or None."""

    record: AssetRecord
    cautions: list[Caution]
    unread: tuple[ErrorCode, str] | None


@dataclass(slots=True)
class _Guest:
    """What is gathered of one guest while its document grows."""

    kind: str
    vmid: int
    row: Mapping[str, Any]
    details: Details
    config: Mapping[str, Any] | None
    why: str
    unasked: str
    unknown: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def describe(
    vmid: int, row: Mapping[str, Any], details: Details, *, online: bool, unasked: str, reached: bool = True
) -> Described:
    """Return one guest. `unasked` is why it was not asked for its addresses, should it be one that could have been.

    `online` is of its node, and `reached` whether that answered; a config that was read, or a row of the node's own
    list, proves as much of where the guest is now. Else its row of the cluster's list may be an old one.
    """
    kind: str = row["type"]
    config, why, unread, faults = _config(details.config, online=online)
    guest = _Guest(kind, vmid, row, details, config, why, unasked, dict(_NEVER_TOLD), faults)
    power = _power(guest, fresh=(online and reached) or config is not None or details.listed is not None)
    name = _name(guest)
    identity: dict[str, Any] = {"cloud_native_id": str(vmid)}
    nameless = why if config is None else f"{NOT_REPORTED}: it has no name of its own"
    put(identity, guest.unknown, "identity.hostname", name, nameless)
    document: Document = {"schema": SCHEMA_NAME, "kind": GUEST, "asset_type": "vm", "identity": identity}
    document["relations"] = [{"kind": "runs_on", "external_kind": HOST, "external_id": row["node"]}]
    runtime = {"power_state": power, "virtualization": "lxc" if kind == "lxc" else "kvm"}
    document["runtime"] = runtime
    identifiers: list[dict[str, str]] = []
    nics = _networks(guest)
    macs = list(dict.fromkeys(nic["mac"] for nic in nics or () if "mac" in nic))
    network: dict[str, Any] = {}
    if config is None:
        guest.unknown.update(dict.fromkeys(_OF_CONFIG, why))
    else:
        if kind == "qemu" and config.get("kvm") is not None and not flag(config["kvm"]):
            runtime["virtualization"] = "qemu"
        _identify(guest, identity, identifiers, macs, name)
        document["hardware"] = hardware(config, kind, guest.unknown, guest.faults)
        if family := _family(config.get("ostype")):
            document["os"] = {"family": family}
        else:
            guest.unknown["os.family"] = f"{NOT_REPORTED}: its configured system is of no family"
        if nics is not None:
            network["mac_addresses"] = macs
        identifiers += [{"kind": "mac", "value": mac} for mac in macs]
    caution = _addresses(guest, identity, network, identifiers, nics, macs, power)
    if network:
        document["network"] = network
    if identifiers:
        document["identifiers"] = identifiers
    _labels(guest, document)
    document["unknown"] = guest.unknown
    who = f"{kind}/{vmid} {name}".strip()
    cautions = [] if caution is None else [Caution(GUEST_AGENT_UNAVAILABLE, caution, who)]
    if guest.faults:
        cautions.append(Caution(PARSE_ERROR, "; ".join(guest.faults)[:1024], who))
    return Described(recorded(GUEST, f"{kind}/{vmid}", who, document), cautions, unread)


def recorded(kind: str, external_id: str, locator: str, document: Document) -> AssetRecord:
    """Return the record of a document. Its digest is of what it tells, not of counters and loads beside it in raw."""
    # a third of what JSON would cost; the second form knows no references, so equal documents have equal bytes
    told = marshal.dumps((PARSER_VERSION, kind, external_id, document), 2)
    return AssetRecord(kind, external_id, locator, document, hashlib.blake2b(told, digest_size=16).digest())


def _config(
    response: Response | None, *, online: bool
) -> tuple[Mapping[str, Any] | None, str, tuple[ErrorCode, str] | None, list[str]]:
    if response is not None and response.ok:
        if isinstance(response.data, dict):
            return response.data, "", None, []
        told = "its config is no object"
        return None, reason(PARSE_ERROR, told), None, [told]
    if not online:
        return None, reason(NODE_OFFLINE, "its node is offline"), None, []
    if response is None:
        return None, f"{NOT_REPORTED}: its config was not read", None, []
    code = code_of(response.status, response.reason, response.code) or PARSE_ERROR
    told = clean(response.said) or code.meaning
    return None, reason(code, told), (code, told), []


def _power(guest: _Guest, *, fresh: bool) -> str:
    if not fresh:
        return "unknown"
    listed = guest.details.listed or {}
    told = (listed.get("status"), guest.row.get("status"))
    status = next((one for one in told if one in ("running", "stopped")), "unknown")
    if status == "running":
        paused = listed.get("qmpstatus")
        return _POWER.get(paused, "running") if isinstance(paused, str) else "running"
    locks = (guest.row.get("lock"), listed.get("lock"), (guest.config or {}).get("lock"))
    return "suspended" if status == "stopped" and "suspended" in locks else status


def _name(guest: _Guest) -> str:
    """Return the guest's name. The lists call one without a name `VM 100` or `CT101`: that is none."""
    if guest.config is not None:
        key = "name" if guest.kind == "qemu" else "hostname"
        if key in guest.config and not isinstance(guest.config[key], str):
            guest.faults.append(f"{key} is no text")
        name = clean(guest.config.get(key))
    else:
        name = clean(guest.row.get("name"))
    return "" if name in (f"VM {guest.vmid}", f"CT{guest.vmid}") else name[:255].strip()


def _networks(guest: _Guest) -> list[dict[str, str]] | None:
    if guest.config is None:
        return None
    try:
        return addresses.networks(guest.config)
    except addresses.UnreadableError as odd:
        fault(guest.unknown, guest.faults, "network.mac_addresses", str(odd))
        return None


def _identify(
    guest: _Guest, identity: dict[str, Any], identifiers: list[dict[str, str]], macs: list[str], name: str
) -> None:
    config = guest.config or {}
    generation: dict[str, str] = {}
    if guest.kind == "qemu":
        uuid = normal_uuid(properties(config.get("smbios1")).get("uuid", ""))
        created = whole(properties(config.get("meta")).get("ctime"))
        if uuid:
            identity["machine_uuid"] = generation["uuid"] = uuid
            identifiers.append({"kind": "smbios_uuid", "value": uuid})
        else:
            guest.unknown["identity.machine_uuid"] = f"{NOT_REPORTED}: its config has no SMBIOS uuid"
        if created:
            generation["created"] = str(created)
    else:
        guest.unknown["identity.machine_uuid"] = f"{NOT_REPORTED}: a container has none"
    # a name alone would make another machine of one that is renamed
    if not generation and macs:
        generation = {"mac": macs[0], "hostname": name} if name else {"mac": macs[0]}
    if generation:
        identity["generation"] = generation


def _family(ostype: Any) -> str:
    if not isinstance(ostype, str):
        return ""
    return _FAMILIES.get(ostype) or ("windows" if ostype.startswith(("win", "w2k", "wxp", "wvista")) else "")


def _addresses(
    guest: _Guest,
    identity: dict[str, Any],
    network: dict[str, Any],
    identifiers: list[dict[str, str]],
    nics: list[dict[str, str]] | None,
    macs: list[str],
    power: str,
) -> str | None:
    """Set the guest's addresses, or why they are not known; return what to warn of, or None."""
    found, why, caution = _interfaces(guest, nics, power)
    if found is None:
        guest.unknown["network.ip_addresses"] = guest.unknown["identity.mgmt_ip"] = why
        return caution
    network["ip_addresses"] = list(dict.fromkeys(address for interface in found for address in interface.addresses))
    network["interfaces"] = [interface.shown() for interface in found]
    own = dict.fromkeys(address for interface in found for address in interface.own)
    identifiers += [{"kind": "ip", "value": address} for address in own]
    management = addresses.management(found, macs)
    put(identity, guest.unknown, "identity.mgmt_ip", management, f"{NOT_REPORTED}: none of its addresses is its own")
    return caution


def _interfaces(
    guest: _Guest, nics: list[dict[str, str]] | None, power: str
) -> tuple[list[addresses.Interface] | None, str, str | None]:
    """Return (interfaces, "", caution) or (None, why, caution)."""
    response = guest.details.addresses
    nobody_tells = guest.kind == "lxc" and response is not None and response.status == 501
    caution = None
    if response is None or response.status == 501:
        why = _why_unasked(guest, power)
    elif guest.kind == "lxc" and response.ok and response.data is None:
        why = f"{NOT_REPORTED}: its node tells none, as of one that has just stopped"
    elif response.ok:
        try:
            return _answered(guest.kind, response.data), "", None
        except _AgentError as said:
            caution = str(said)
            why = reason(GUEST_AGENT_UNAVAILABLE, caution)
        except addresses.UnreadableError as odd:
            why = reason(PARSE_ERROR, str(odd))
            guest.faults.append(str(odd))
    else:
        caution = clean(f"{response.reason}") or f"it answers {response.status}"
        why = reason(GUEST_AGENT_UNAVAILABLE, caution)
    # a running container may have other addresses than its config: that counts only where nobody could tell them
    if guest.kind == "lxc" and (nobody_tells or power in ("stopped", "suspended")):
        static = addresses.of_config(nics or ())
        if static or nics == []:
            return static, "", caution
    return None, why, caution


class _AgentError(Exception):
    """The agent answered with an error of its own, inside of an answer 200."""


def _answered(kind: str, data: Any) -> list[addresses.Interface]:
    if kind == "lxc":
        return addresses.of_container(data)
    result = data.get("result") if isinstance(data, dict) else None
    if isinstance(result, dict) and isinstance(result.get("error"), dict):
        error = result["error"]
        raise _AgentError(clean(error.get("desc")) or clean(error.get("class")) or "the agent answers with an error")
    return addresses.of_agent(result)


def _why_unasked(guest: _Guest, power: str) -> str:
    if guest.config is None:
        return guest.why
    if power == "unknown":
        return f"{NOT_REPORTED}: nobody says whether the guest runs"
    if power not in ("running", "paused"):
        return f"{NOT_REPORTED}: the guest does not run"
    if guest.kind == "lxc":
        no_static = f"{NOT_REPORTED}: its config has no static address, and this release does not tell those it got"
        return guest.unasked if guest.details.addresses is None else no_static
    agent = guest.config.get("agent")
    if flag(agent) or (isinstance(agent, str) and flag(properties(agent, "enabled").get("enabled"))):
        return guest.unasked
    return _NOT_ENABLED


def _labels(guest: _Guest, document: Document) -> None:
    row, config = guest.row, guest.config
    custom: dict[str, Any] = {"guest_type": guest.kind}
    if flag(row.get("template")) or (config is not None and flag(config.get("template"))):
        custom["template"] = True
    elif config is None and "template" not in row:
        guest.unknown["custom_fields.template"] = guest.why
    if pool := clean(row.get("pool")):
        custom["pool"] = pool
    document["custom_fields"] = custom
    told = config.get("tags") if config is not None else row.get("tags")
    if told is None and config is None:
        guest.unknown["tags"] = guest.why
    elif told is not None and not isinstance(told, str):
        fault(guest.unknown, guest.faults, "tags", "its tags cannot be read")
    else:
        tags = sorted({tag for tag in _SEPARATORS.split(told) if tag}) if told else []
        if all(_TAG.match(tag) and tag.isprintable() for tag in tags):
            document["tags"] = tags
        else:
            fault(guest.unknown, guest.faults, "tags", "one of its tags is longer than 64 characters")
