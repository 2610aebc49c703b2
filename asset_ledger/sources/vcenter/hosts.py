"""One host, or one cluster, to a normalized-v1 document. Pure; called by `parse`.

A host that vCenter has no connection to keeps its identity; what vCenter still says of it is told, but not whether it
runs. One that stands by was put to sleep on purpose, and is no failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from asset_ledger.domain.addresses import normal_mac, normal_serial
from asset_ledger.domain.normalized import NOT_REPORTED, Document
from asset_ledger.sources.vcenter.errors import HOST_DISCONNECTED, PARSE_ERROR
from asset_ledger.sources.vcenter.fields import (
    MOST,
    MOST_PROCESSORS,
    Facts,
    Interface,
    described,
    preferred,
    put_place,
    reason,
    uuid_of,
    uuids,
)
from asset_ledger.sources.vcenter.ids import external_id
from asset_ledger.sources.vcenter.objects import Found
from asset_ledger.sources.vcenter.places import CLUSTER as CLUSTER_TYPE
from asset_ledger.sources.vcenter.places import Places, clean, decoded
from asset_ledger.sources.vcenter.properties import Pnic, Product, Ref, SystemInfo, Vnic
from asset_ledger.sources.vcenter.raw import Datastore, Surroundings

HOST = "host"
CLUSTER = "cluster"
CONNECTED = "connected"
STANDBY = "standBy"
MANAGEMENT_NETWORK = "Management Network"

_POWER = {"poweredOn": "running", "poweredOff": "stopped", STANDBY: "suspended"}
_SHARED = f"{NOT_REPORTED}: several hosts tell the same one, so it is that of what they are built into"
_MANAGEMENT = "config.virtualNicManagerInfo.netConfig"
_NOT_TOLD = f"{NOT_REPORTED}: vCenter does not tell it"
_NO_MACHINE = f"{NOT_REPORTED}: a cluster is no machine"
_OF_MACHINES = (
    *("hardware.cpu_count", "hardware.memory_bytes", "hardware.disk_total_bytes", "os.family", "os.version"),
    *("runtime.power_state", "network.ip_addresses", "identity.mgmt_ip"),
)
_CPU = {"cpu_sockets": "numCpuPkgs", "cpu_cores": "numCpuCores", "cpu_threads": "numCpuThreads"}


def unreached(found: Found) -> str:
    """Return the state of a host that vCenter does not reach and that should be up, else ""."""
    state = found.values.get("runtime.connectionState")
    asleep = found.values.get("runtime.powerState") == STANDBY
    return clean(state) if isinstance(state, str) and state != CONNECTED and not asleep else ""


def describe_cluster(moid: str, found: Found, places: Places, around: Surroundings) -> tuple[Document, list[str]]:
    """Return a cluster's document, and what of it cannot be read."""
    facts = Facts(found, _NOT_TOLD, dict.fromkeys(_OF_MACHINES, _NO_MACHINE))
    identity: dict[str, Any] = {"cloud_native_id": moid}
    name = _name(facts)
    facts.put(identity, "identity.hostname", name, "name")
    if name:
        identity["caption"] = name
    if vcenter := clean(around.about.get("instanceUuid", "")):
        identity["generation"] = {"vcenter": vcenter}
    custom: dict[str, Any] = {}
    _put_places(facts, custom, places)
    parent = found.values.get("parent")
    if isinstance(parent, Ref):
        put_place(facts, custom, "folder", places.folder(parent.moid))
    else:
        facts.unknown["custom_fields.folder"] = facts.absent("parent")
    parts = {"identity": identity, "relations": [], "custom_fields": custom}
    return described(CLUSTER, CLUSTER, parts, facts), facts.every_fault()


def describe_host(
    moid: str, found: Found, places: Places, around: Surroundings, *, shared: bool = False
) -> tuple[Document, list[str]]:
    """Return a host's document, and what of it cannot be read. `shared`: its serial number is another host's, too."""
    state = unreached(found)
    asleep = found.values.get("runtime.powerState") == STANDBY
    why = _NOT_TOLD
    if state:
        why = reason(HOST_DISCONNECTED, f"vCenter says that the host is {state}")
    elif asleep:
        why = f"{NOT_REPORTED}: the host stands by"
    facts = Facts(found, why)
    identity: dict[str, Any] = {"cloud_native_id": moid}
    facts.put(identity, "identity.hostname", _name(facts), "name")
    info = found.values.get("hardware.systemInfo")
    identifiers = _identify(facts, identity, info, shared=shared)
    network, management = _network(facts, identity, identifiers)
    power = _POWER.get(found.values.get("runtime.powerState", ""), "unknown")
    parts: dict[str, Any] = {
        "identity": identity,
        "identifiers": identifiers,
        "hardware": _hardware(facts, info, around),
        "os": _system(facts),
        "network": network,
        "runtime": {"power_state": "unknown" if state else power},
        "custom_fields": _labels(facts, places, around, management),
    }
    parent = found.values.get("parent")
    if isinstance(parent, Ref):
        belongs = {"kind": "member_of", "external_kind": CLUSTER, "external_id": external_id(around.about, parent.moid)}
        parts["relations"] = [belongs] if CLUSTER_TYPE in (parent.type, places.type_of(parent.moid)) else []
    else:
        facts.unknown["relations"] = facts.absent("parent")
    return described(HOST, "physical", parts, facts), facts.every_fault()


def _name(facts: Facts) -> str:
    return clean(decoded(facts.text("name")))[:255].strip()


def shared_serials(hosts: Iterable[Found | None]) -> frozenset[str]:
    """Return the serial numbers that more than one of some hosts tells."""
    told = Counter(serial for one in hosts if one is not None and (serial := serial_of(one)))
    return frozenset(serial for serial, count in told.items() if count > 1)


def serial_of(found: Found) -> str | None:
    """Return what a host tells as its serial number, None where it tells none.

    Its own field, which older releases have not; else its tag. The enclosure's is never the host's, and of several
    service tags a blade's own is the last: those of what it is built into come first.
    """
    info = found.values.get("hardware.systemInfo")
    if not isinstance(info, SystemInfo):
        return None
    told = [info.serial, *(value for key, value in info.identifying if key == "SerialNumberTag")]
    told += [value for key, value in info.identifying if key == "ServiceTag"][-1:]
    return next((serial for one in told if (serial := normal_serial(clean(one)))), None)


def _identify(facts: Facts, identity: dict[str, Any], info: SystemInfo | None, *, shared: bool) -> list[dict[str, str]]:
    uuid = uuid_of(clean(info.uuid) if info else "") or uuid_of(facts.text("summary.hardware.uuid"))
    facts.put(identity, "identity.machine_uuid", uuid, "hardware.systemInfo")
    serial = None if shared else serial_of(facts.found)
    if shared:
        facts.unknown["identity.serial_number"] = _SHARED
    else:
        facts.put(identity, "identity.serial_number", serial, "hardware.systemInfo")
    generation = {key: value for key, value in (("uuid", uuid), ("serial", serial)) if value}
    if generation:
        identity["generation"] = generation
    return uuids("smbios_uuid", uuid) + ([{"kind": "serial", "value": serial}] if serial else [])


def _hardware(facts: Facts, info: SystemInfo | None, around: Surroundings) -> dict[str, Any]:
    found: dict[str, Any] = {}
    threads = facts.number("summary.hardware.numCpuThreads", MOST_PROCESSORS)
    facts.put(found, "hardware.cpu_count", threads, "summary.hardware.numCpuThreads")
    memory = facts.number("summary.hardware.memorySize")
    facts.put(found, "hardware.memory_bytes", memory, "summary.hardware.memorySize")
    for name, own in (("vendor", info.vendor if info else ""), ("model", info.model if info else "")):
        path = f"summary.hardware.{name}"
        facts.put(found, f"hardware.{name}", clean(own) or facts.text(path), path)
    total, why = _capacity(facts, around)
    if total:
        found["disk_total_bytes"] = total
    else:
        facts.unknown["hardware.disk_total_bytes"] = why
    return found


def _capacity(facts: Facts, around: Surroundings) -> tuple[int, str]:
    """Return the capacity of all the host's datastores together, or 0 and why it is not known."""
    refs: tuple[Ref, ...] | None = facts.found.values.get("datastore")
    if refs is None:
        return 0, facts.absent("datastore")
    if around.datastores is None:
        return 0, f"{NOT_REPORTED}: the datastores were not read"
    stores = {ref.moid: around.datastores.get(ref.moid) for ref in refs}
    for moid, store in stores.items():
        if why := _uncounted(moid, store):
            return 0, f"{NOT_REPORTED}: {why}"
    total = sum(store.capacity_bytes or 0 for store in stores.values() if store is not None)
    if total > MOST:
        return 0, reason(PARSE_ERROR, "its datastores are larger than can be")
    return total, f"{NOT_REPORTED}: it has no datastore"


def _uncounted(moid: str, store: Datastore | None) -> str:
    """Return why a datastore's capacity is not known, "" where it is: without it a sum would be a smaller one."""
    if store is None:
        return f"its datastore {clean(moid)[:255]} is not shown"
    name = clean(decoded(store.name))[:255]
    if not store.accessible:
        return f"its datastore {name} is not accessible"
    told = store.capacity_bytes is not None and 0 < store.capacity_bytes <= MOST
    return "" if told else f"vCenter does not tell the capacity of its datastore {name}"


def _system(facts: Facts) -> dict[str, str]:
    found = {"family": "esxi"}
    product = facts.found.values.get("summary.config.product")
    told = product if isinstance(product, Product) else Product("", "", "")
    build = clean(told.build)
    path = "summary.config.product"
    facts.put(found, "os.name", clean(told.name), path)
    facts.put(found, "os.version", clean(told.version), path)
    facts.put(found, "os.kernel", f"build-{build}"[:1024] if build else "", path)
    return found


def _network(
    facts: Facts, identity: dict[str, Any], identifiers: list[dict[str, str]]
) -> tuple[dict[str, Any], list[str]]:
    """Return the network, and the addresses of its own of all interfaces that are selected for management."""
    values, network = facts.found.values, dict[str, Any]()
    pnics: tuple[Pnic, ...] | None = values.get("config.network.pnic")
    if pnics is None:
        facts.unknown["network.mac_addresses"] = facts.absent("config.network.pnic")
    else:
        macs = list(dict.fromkeys(mac for nic in pnics if (mac := normal_mac(nic.mac))))
        network["mac_addresses"] = macs
        identifiers += [{"kind": "mac", "value": mac} for mac in macs]
    vnics: tuple[Vnic, ...] | None = values.get("config.network.vnic")
    interfaces: list[tuple[Vnic, Interface]] = []
    why = facts.absent("config.network.vnic") if vnics is None else ""
    for nic in vnics or ():
        interface = Interface(clean(nic.device) or "unnamed", normal_mac(nic.mac))
        if wrong := interface.add(nic.addresses):
            facts.faults.append(wrong)
            why = reason(PARSE_ERROR, wrong)
        interfaces.append((nic, interface))
    if why:
        facts.unknown["network.ip_addresses"] = facts.unknown["identity.mgmt_ip"] = why
        facts.unknown["custom_fields.management_ips"] = why
        return network, []
    every = dict.fromkeys(address for _, interface in interfaces for address in interface.addresses)
    if not every:
        none = f"{NOT_REPORTED}: no VMkernel interface tells an address"
        facts.unknown["network.ip_addresses"] = facts.unknown["identity.mgmt_ip"] = none
        return network, []
    network["ip_addresses"] = list(every)
    network["interfaces"] = [interface.shown() for _, interface in interfaces if interface.addresses]
    own = dict.fromkeys(address for _, interface in interfaces for address in interface.own)
    identifiers += [{"kind": "ip", "value": address} for address in own]
    management = _management(facts, interfaces)
    if management:
        identity["mgmt_ip"] = management
    else:
        facts.unknown["identity.mgmt_ip"] = f"{NOT_REPORTED}: none of its addresses is its own"
    selected: tuple[str, ...] = values.get(_MANAGEMENT) or ()
    chosen = [interface.own for nic, interface in interfaces if nic.device in selected and interface.own]
    return network, list(dict.fromkeys(address for each in chosen for address in each)) if len(chosen) > 1 else []


def _management(facts: Facts, interfaces: list[tuple[Vnic, Interface]]) -> str | None:
    """Return the address under which the host is managed.

    The interface that is selected for management says it; where that is not told, the host's own name if it is an
    address of the host, else the interface on the network that setup makes for it, else vmk0, else any.
    """
    selected: tuple[str, ...] = facts.found.values.get(_MANAGEMENT) or ()
    name = facts.text("name")

    def rank(entry: tuple[Vnic, Interface]) -> int:
        nic, interface = entry
        signs = (
            nic.device in selected,
            name in interface.own,
            nic.portgroup == MANAGEMENT_NETWORK,
            nic.device == "vmk0",
        )
        return next((place for place, sign in enumerate(signs) if sign), len(signs))

    first = min((entry for entry in interfaces if entry[1].own), key=rank, default=None)
    if first is None:
        return None
    return name if name in first[1].own else preferred(first[1].own)


def _put_places(facts: Facts, custom: dict[str, Any], places: Places) -> None:
    parent = facts.found.values.get("parent")
    if isinstance(parent, Ref):
        put_place(facts, custom, "datacenter", places.datacenter(parent.moid))
    else:
        facts.unknown["custom_fields.datacenter"] = facts.absent("parent")


def _labels(facts: Facts, places: Places, around: Surroundings, management: list[str]) -> dict[str, Any]:
    values, custom = facts.found.values, dict[str, Any]()
    for name, leaf in _CPU.items():
        path = f"summary.hardware.{leaf}"
        facts.label(custom, name, facts.number(path, MOST_PROCESSORS), path)
    facts.label(custom, "cpu_model", facts.text("summary.hardware.cpuModel"), "summary.hardware.cpuModel")
    facts.label(custom, "connection_state", facts.text("runtime.connectionState"), "runtime.connectionState")
    resting = "runtime.inMaintenanceMode"
    facts.label(custom, "maintenance_mode", values.get(resting), resting)
    if "custom_fields.management_ips" not in facts.unknown:
        facts.label(custom, "management_ips", management, _MANAGEMENT, may_be_unset=facts.why == _NOT_TOLD)
    _put_places(facts, custom, places)
    if around.datastores is None:
        facts.unknown["custom_fields.datastores"] = f"{NOT_REPORTED}: the datastores were not read"
    else:
        facts.label(custom, "datastores", _datastores(values.get("datastore"), around), "datastore")
    return custom


def _datastores(refs: tuple[Ref, ...] | None, around: Surroundings) -> list[str]:
    """Return the names of a host's datastores, those that it cannot reach now too."""
    stores = around.datastores or {}
    return sorted({clean(decoded(stores[ref.moid].name)) for ref in refs or () if ref.moid in stores})
