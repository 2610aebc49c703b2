"""One virtual machine to a normalized-v1 document. Pure; called by `parse`.

The id is the managed object's own within the source. A property that is not told makes its field unknown with a reason;
what is told counts, whatever the Tools' state: vCenter forgets a guest's addresses when it stops hearing of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from asset_ledger.domain.addresses import normal_mac
from asset_ledger.domain.normalized import NOT_REPORTED, Document
from asset_ledger.sources.vcenter.errors import PARSE_ERROR, TOOLS_UNAVAILABLE, VM_INACCESSIBLE
from asset_ledger.sources.vcenter.fields import (
    MOST,
    MOST_PROCESSORS,
    Facts,
    Interface,
    address_of,
    described,
    preferred,
    put_place,
    reason,
    uuid_of,
    uuids,
)
from asset_ledger.sources.vcenter.ids import external_id
from asset_ledger.sources.vcenter.objects import Found
from asset_ledger.sources.vcenter.places import Places, clean, decoded
from asset_ledger.sources.vcenter.properties import Devices, GuestNic, ManagedBy, Ref

VM = "vm"
HOST = "host"
CONNECTED = "connected"

_MIB = 1 << 20
_POWER = {"poweredOn": "running", "poweredOff": "stopped", "suspended": "suspended"}
_TOOLS = {
    "guestToolsRunning": "running",
    "guestToolsNotRunning": "not running",
    "guestToolsExecutingScripts": "starting",
}
_FAMILIES = {
    "linuxGuest": "linux",
    "windowsGuest": "windows",
    "solarisGuest": "solaris",
    "darwinGuestFamily": "darwin",
    "netwareGuest": "netware",
}
# what a machine is configured for, where its guest has not told: the ids of vim.vm.GuestOsDescriptor by how they begin
_BY_ID = {
    "windows": ("win",),
    "linux": (
        *("almalinux", "amazonlinux", "asianux", "centos", "coreos", "crx", "debian", "fedora", "flatcar", "fusionos"),
        *("genericlinux", "kylinlinux", "mandrake", "mandriva", "miraclelinux", "nld", "oes", "opensuse"),
        *("other24xlinux", "other26xlinux", "other3xlinux", "other4xlinux", "other5xlinux", "other6xlinux"),
        *("other7xlinux", "oraclelinux", "otherlinux", "pardus", "prolinux", "redhat", "rhel", "rockylinux", "sjds"),
        *("sles", "suse", "turbolinux", "ubuntu", "vmwarephoton"),
    ),
    "solaris": ("solaris",),
    "darwin": ("darwin",),
    "netware": ("netware",),
    "freebsd": ("freebsd",),
    "esxi": ("vmkernel",),
}
_PREFIXES = tuple((prefix, family) for family, prefixes in _BY_ID.items() for prefix in prefixes)
_NOT_OF_GUESTS = f"{NOT_REPORTED}: vCenter does not tell it of a virtual machine"
_NEVER_TOLD = {
    "identity.serial_number": _NOT_OF_GUESTS,
    "hardware.vendor": _NOT_OF_GUESTS,
    "hardware.model": _NOT_OF_GUESTS,
    "os.version": _NOT_OF_GUESTS,
    "os.kernel": _NOT_OF_GUESTS,
}
_NOT_TOLD = f"{NOT_REPORTED}: vCenter does not tell it"
_VCLS = "cluster-agent"
_STAND_IN = re.compile(r"/vmfs/|\[[^\]]*\] |.*\.vmx\Z|Unknown\b", re.IGNORECASE | re.DOTALL)


def state_of(found: Found) -> str:
    """Return the connection state where it is another than connected, else ""."""
    state = found.values.get("runtime.connectionState")
    return clean(state) if isinstance(state, str) and state != CONNECTED else ""


def describe_vm(moid: str, found: Found, places: Places, about: Mapping[str, str]) -> tuple[Document, list[str]]:
    """Return a virtual machine's document, and what of it cannot be read."""
    state = state_of(found)
    why = reason(VM_INACCESSIBLE, f"vCenter says that the virtual machine is {state}") if state else _NOT_TOLD
    facts = Facts(found, why, dict(_NEVER_TOLD))
    power = "unknown" if state else _POWER.get(found.values.get("runtime.powerState", ""), "unknown")
    identity: dict[str, Any] = {"cloud_native_id": moid}
    name = clean(decoded(facts.text("name")))[:255].strip()
    if _is_stand_in(name, found, state):
        facts.unknown["identity.hostname"] = reason(VM_INACCESSIBLE, f"it is {state}, and shown as {name}")
    else:
        facts.put(identity, "identity.hostname", name, "name")
    identifiers = _identify(facts, identity)
    devices: Devices | None = found.values.get("config.hardware.device")
    network = _cards(facts, devices, identifiers)
    _addresses(facts, devices, identity, network, identifiers, power)
    parts: dict[str, Any] = {
        "identity": identity,
        "identifiers": identifiers,
        "hardware": _hardware(facts, devices),
        "os": _system(facts),
        "network": network,
        "runtime": {"power_state": power, "virtualization": "vmware"},
        "custom_fields": _labels(facts, places, state),
    }
    relations = _runs_on(facts, state, about)
    if relations is not None:
        parts["relations"] = relations
    return described(VM, VM, parts, facts), facts.every_fault()


def _is_stand_in(name: str, found: Found, state: str) -> bool:
    """Say whether a name is what vCenter shows where it could not read one: the path of a file, or Unknown."""
    if not state or any(path.startswith("config.") for path in found.values):
        return False
    return _STAND_IN.match(name) is not None


def _identify(facts: Facts, identity: dict[str, Any]) -> list[dict[str, str]]:
    instance, bios = uuid_of(facts.text("config.instanceUuid")), uuid_of(facts.text("config.uuid"))
    facts.put(identity, "identity.machine_uuid", bios, "config.uuid")
    generation = {key: value for key, value in (("instance_uuid", instance), ("uuid", bios)) if value}
    if generation:
        identity["generation"] = generation
    found = [{"kind": "vmware_uuid", "value": instance}] if instance else []
    return found + uuids("smbios_uuid", bios)


def _hardware(facts: Facts, devices: Devices | None) -> dict[str, int]:
    found: dict[str, int] = {}
    processors = facts.number("config.hardware.numCPU", MOST_PROCESSORS)
    facts.put(found, "hardware.cpu_count", processors, "config.hardware.numCPU")
    memory = facts.number("config.hardware.memoryMB", MOST // _MIB) * _MIB
    facts.put(found, "hardware.memory_bytes", memory, "config.hardware.memoryMB")
    path, total = "hardware.disk_total_bytes", 0
    if devices is None:
        facts.unknown[path] = facts.absent("config.hardware.device")
        return found
    for size in devices.disks:
        if size is None:
            facts.faults.append("the size of a disk cannot be read")
            facts.unknown[path] = reason(PARSE_ERROR, "the size of a disk cannot be read")
            return found
        total += size
    if 0 < total <= MOST:
        found["disk_total_bytes"] = total
    else:
        told = "its disks are larger than can be" if total else "it has no disk"
        facts.unknown[path] = f"{NOT_REPORTED}: {told}"
    return found


def _system(facts: Facts) -> dict[str, str]:
    values, found = facts.found.values, dict[str, str]()
    family = _FAMILIES.get(values.get("guest.guestFamily", ""), "") or _family(values.get("summary.config.guestId", ""))
    facts.put(found, "os.family", family, "summary.config.guestId")
    if not family and facts.text("summary.config.guestId"):
        facts.unknown["os.family"] = f"{NOT_REPORTED}: its configured system is of no family"
    name = facts.text("guest.guestFullName") or facts.text("summary.config.guestFullName")
    facts.put(found, "os.name", name, "summary.config.guestFullName")
    return found


@lru_cache(maxsize=256)
def _family(guest_id: str) -> str:
    told = guest_id.lower()
    return next((family for prefix, family in _PREFIXES if told.startswith(prefix)), "")


def _cards(facts: Facts, devices: Devices | None, identifiers: list[dict[str, str]]) -> dict[str, Any]:
    if devices is None:
        facts.unknown["network.mac_addresses"] = facts.absent("config.hardware.device")
        return {}
    macs = list(dict.fromkeys(mac for card in devices.cards if (mac := normal_mac(card.mac))))
    identifiers += [{"kind": "mac", "value": mac} for mac in macs]
    return {"mac_addresses": macs}


def _addresses(
    facts: Facts,
    devices: Devices | None,
    identity: dict[str, Any],
    network: dict[str, Any],
    identifiers: list[dict[str, str]],
    power: str,
) -> None:
    """Set the guest's addresses, or why they are not known: one that is odd makes all of them unknown."""
    nics: tuple[GuestNic, ...] | None = facts.found.values.get("guest.net")
    told = facts.text("guest.ipAddress")
    interfaces: list[Interface] = []
    # in their order, once each
    every: dict[str, None] = {}
    own: dict[str, None] = {}
    labels = {card.key: card.label for card in devices.cards} if devices is not None else None
    why = ""
    for nic in nics or ():
        real = nic.device in labels if labels is not None else nic.device >= 0
        label = clean((labels or {}).get(nic.device, "")) or clean(nic.network) or "unnamed"
        interface = Interface(label, normal_mac(nic.mac) if nic.mac else None)
        wrong = interface.add(nic.addresses, real=real)
        interfaces.append(interface)
        every.update(dict.fromkeys(interface.addresses))
        own.update(dict.fromkeys(interface.own))
        why = why or (f"guest.net: {wrong}" if wrong else "")
    first = address_of(told) if told else None
    if told and first is None:
        why = why or "guest.ipAddress: it is no address"
    spelled = ""
    if first is not None and first.shown:
        spelled = first.spelled
        if spelled not in every:
            every[spelled] = None
            if first.identifies:
                own[spelled] = None
    if why:
        facts.faults.append(why)
    # an odd list is not made up for by the one address beside it
    if why or not every or "guest.net" in facts.found.odd or "guest.ipAddress" in facts.found.odd:
        unheard = reason(PARSE_ERROR, why) if why else _unheard(facts, power)
        facts.unknown["network.ip_addresses"] = facts.unknown["identity.mgmt_ip"] = unheard
        return
    network["ip_addresses"] = list(every)
    if shown := [interface.shown() for interface in interfaces if interface.addresses]:
        network["interfaces"] = shown
    identifiers += [{"kind": "ip", "value": address} for address in own]
    management = spelled if spelled in own else preferred(own)
    if management:
        identity["mgmt_ip"] = management
    else:
        facts.unknown["identity.mgmt_ip"] = f"{NOT_REPORTED}: none of its addresses is its own"


def _unheard(facts: Facts, power: str) -> str:
    for path in ("guest.net", "guest.ipAddress"):
        if path in facts.found.odd or path in facts.found.faults:
            return facts.absent(path)
    if power == "unknown":
        return facts.why
    if power != "running":
        return reason(TOOLS_UNAVAILABLE, "the virtual machine does not run")
    tools = _TOOLS.get(facts.text("guest.toolsRunningStatus"))
    if tools == "running":
        return reason(TOOLS_UNAVAILABLE, "its Tools run and tell no address")
    return reason(TOOLS_UNAVAILABLE, f"its Tools are {tools}" if tools else "nothing says that it has Tools")


def _labels(facts: Facts, places: Places, state: str) -> dict[str, Any]:
    values, custom = facts.found.values, dict[str, Any]()
    facts.label(custom, "guest_hostname", facts.text("guest.hostName"), "guest.hostName")
    if facts.unknown.get("custom_fields.guest_hostname") == _NOT_TOLD:
        facts.unknown["custom_fields.guest_hostname"] = reason(TOOLS_UNAVAILABLE, "no Tools have told it")
    facts.label(custom, "tools_state", _TOOLS.get(facts.text("guest.toolsRunningStatus")), "guest.toolsRunningStatus")
    facts.label(custom, "template", values.get("config.template"), "config.template")
    facts.label(custom, "connection_state", state, "runtime.connectionState")
    above, vapp, pool = _moid(values.get("parent")), _moid(values.get("parentVApp")), _moid(values.get("resourcePool"))
    put_place(facts, custom, "datacenter", places.datacenter(above, vapp, pool))
    if above is not None:
        put_place(facts, custom, "folder", places.folder(above))
    if pool is not None:
        put_place(facts, custom, "resource_pool", places.pool(pool))
    facts.label(custom, "vapp", places.name(vapp) if vapp else "", "parentVApp", may_be_unset=True)
    # one in a vApp is in no folder, a template in no pool
    facts.label(custom, "folder", custom.get("folder"), "parent", may_be_unset=vapp is not None)
    facts.label(custom, "resource_pool", custom.get("resource_pool"), "resourcePool", may_be_unset=not state)
    owner = values.get("config.managedBy")
    extension, agent = (clean(owner.extension), owner.type == _VCLS) if isinstance(owner, ManagedBy) else ("", False)
    facts.label(custom, "managed_by", extension, "config.managedBy", may_be_unset=not state)
    facts.label(custom, "agent_vm", "vcls" if agent else "", "config.managedBy", may_be_unset=not state)
    return custom


def _moid(ref: Any) -> str | None:
    return ref.moid if isinstance(ref, Ref) else None


def _runs_on(facts: Facts, state: str, about: Mapping[str, str]) -> list[dict[str, str]] | None:
    """Return what it runs on: nothing where vCenter says so, None where it does not say."""
    path = "runtime.host"
    host = facts.found.values.get(path)
    if isinstance(host, Ref):
        return [{"kind": "runs_on", "external_kind": HOST, "external_id": external_id(about, host.moid)}]
    told = path not in facts.found.odd and path not in facts.found.faults and not state
    if told and facts.found.values.get("runtime.powerState") in ("poweredOff", "suspended"):
        return []
    facts.unknown["relations"] = facts.absent(path)
    return None
