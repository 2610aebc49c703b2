"""One virtual machine of an answer to a normalized-v1 document. Pure; called by `parse`.

Its id is its VMId, which it keeps wherever it moves. What could not be read of it makes its fields unknown, with the
reason; nothing here raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asset_ledger.domain.addresses import normal_mac, normal_serial, normal_uuid
from asset_ledger.domain.normalized import NOT_REPORTED, Document
from asset_ledger.sources.hyperv.answers import trouble
from asset_ledger.sources.hyperv.errors import DISK_UNKNOWN, INTEGRATION_SERVICES_UNAVAILABLE, PARSE_ERROR
from asset_ledger.sources.hyperv.facts import MOST_PROCESSORS, Facts, described, uuids
from asset_ledger.sources.hyperv.interfaces import Interface, preferred
from asset_ledger.sources.hyperv.states import AMBIGUOUS, power_of, state_label
from asset_ledger.sources.hyperv.values import MOST, clean, flag, guid, moment, reason, rows, whole

VM = "vm"
HOST = "host"

_NOT_OF_GUESTS = f"{NOT_REPORTED}: Hyper-V does not tell it of a virtual machine"
_NEVER_TOLD = {
    "hardware.vendor": _NOT_OF_GUESTS,
    "hardware.model": _NOT_OF_GUESTS,
}
_WIN32 = 2
"""VER_PLATFORM_WIN32_NT, which Windows guests tell as OSPlatformId; others tell none."""
_LINUX = (
    *("alma", "alpine", "amazon", "arch", "centos", "debian", "fedora", "gentoo", "kali", "kylin", "linux", "mint"),
    *("openeuler", "opensuse", "oracle", "photon", "red hat", "rhel", "rocky", "scientific", "sles", "suse", "ubuntu"),
    *("uos", "anolis", "mariner", "microsoft azure linux", "azure linux", "flatcar", "sangoma", "virtuozzo"),
)
_VOLATILE = ("mem_assigned",)
_TOO_LARGE = "its disks are larger than can be"


def lasting(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item without what changes from hour to hour and stands in no document."""
    return {name: value for name, value in item.items() if name not in _VOLATILE}


def describe_vm(item: Mapping[str, Any], node: str, cluster: str) -> tuple[Document, list[str]]:
    """Return a virtual machine's document, and what of it cannot be read. `cluster` is "" for a host in none."""
    facts = Facts.of(item, _NEVER_TOLD)
    vm_id = guid(item.get("id")) or ""
    state, state_name = whole(item.get("state")), clean(item.get("state_name"))[:64]
    power = power_of(state, state_name)
    identity: dict[str, Any] = {"cloud_native_id": vm_id}
    facts.put(identity, "identity.hostname", facts.text("name")[:255].strip(), "name", "vm")
    if power == "unknown":
        facts.unknown["runtime.power_state"] = _stateless(facts, state, state_name)
    identifiers = [{"kind": "hyperv_guid", "value": vm_id}, *_identify(facts, identity)]
    network = _network(facts, identity, identifiers, power)
    custom = _labels(facts, state_label(state, state_name), cluster)
    parts: dict[str, Any] = {
        "identity": identity,
        "identifiers": identifiers,
        "hardware": _hardware(facts),
        "os": _system(facts, custom, power),
        "network": network,
        "runtime": {"power_state": power, "virtualization": "hyperv"},
        "custom_fields": custom,
        "relations": [{"kind": "runs_on", "external_kind": HOST, "external_id": node}],
    }
    return described(VM, VM, parts, facts), facts.faults


def _stateless(facts: Facts, state: int | None, name: str) -> str:
    if name and not name.isdigit():
        return f"{NOT_REPORTED}: whether it runs in state {name} is documented nowhere"
    if state is not None and state >= AMBIGUOUS:
        return f"{NOT_REPORTED}: state {state} is not the same in every release, and its name is not told"
    return facts.absent("state", "vm")


def _identify(facts: Facts, identity: dict[str, Any]) -> list[dict[str, str]]:
    told = facts.text("bios_guid")
    bios = normal_uuid(told.strip("{}")) if told else None
    if told and bios is None:
        facts.fault("bios_guid is no UUID of a machine")
    facts.put(identity, "identity.machine_uuid", bios, "bios_guid", "bios")
    told = facts.text("serial")
    serial = normal_serial(told)
    if told and not serial:
        facts.unknown["identity.serial_number"] = f"{NOT_REPORTED}: its firmware has a placeholder for it"
    else:
        facts.put(identity, "identity.serial_number", serial, "serial", "bios")
    created = moment(facts.told.get("created"))
    if bios and created:
        # one of them alone may change with the same machine: another one differs in both
        identity["generation"] = {"created": created, "uuid": bios}
    return uuids(bios) + ([{"kind": "serial", "value": serial}] if serial else [])


def _hardware(facts: Facts) -> dict[str, int]:
    found: dict[str, int] = {}
    facts.put(found, "hardware.cpu_count", facts.number("vcpu", MOST_PROCESSORS), "vcpu", "vm")
    facts.put(found, "hardware.memory_bytes", facts.number("mem_startup"), "mem_startup", "vm")
    total, why = _disks(facts)
    if total:
        found["disk_total_bytes"] = total
    else:
        facts.unknown["hardware.disk_total_bytes"] = why
    return found


def _disks(facts: Facts) -> tuple[int, str]:
    """Return the sum of its virtual disks' sizes, or 0 and why it is not known: never a part of the sum."""
    told = facts.told.get("disks")
    if told is None or "disks" in facts.troubles:
        return 0, facts.absent("disks", "disks")
    sizes: dict[str, int] = {}
    for number, disk in enumerate(rows(told), start=1):
        if not isinstance(disk, dict):
            facts.fault("disks is no list of disks")
            return 0, reason(PARSE_ERROR, "disks is no list of disks")
        if why := _unsized(disk):
            return 0, reason(DISK_UNKNOWN, why)
        size = whole(disk.get("size"))
        if not size:
            facts.fault(f"disks has no size for disk {number}")
            return 0, reason(PARSE_ERROR, f"disks has no size for disk {number}")
        # the same file twice is one disk
        sizes[clean(disk.get("path")).lower()] = size
    total = sum(sizes.values())
    return (total, f"{NOT_REPORTED}: it has no disk") if total <= MOST else (0, reason(PARSE_ERROR, _TOO_LARGE))


def _unsized(disk: Mapping[str, Any]) -> str:
    """Return why the size of a disk cannot be known, "" where it can be."""
    if disk.get("number") is not None:
        return "a disk of the host itself is passed through to it"
    if disk.get("error") is not None:
        return f"Get-VHD failed for one of its disks: {trouble(disk['error']).said}"
    return "" if clean(disk.get("path")) else "one of its drives has no disk that is told"


def _network(facts: Facts, identity: dict[str, Any], identifiers: list[dict[str, str]], power: str) -> dict[str, Any]:
    told = facts.told.get("nics")
    cards = rows(told)
    broken = not all(isinstance(card, dict) for card in cards)
    if broken:
        facts.fault("nics is no list of network adapters")
    if told is None or broken or "nics" in facts.troubles:
        why = facts.absent("nics", "nics")
        for path in ("network.mac_addresses", "network.ip_addresses", "identity.mgmt_ip"):
            facts.unknown[path] = why
        return {}
    interfaces: list[Interface] = []
    why = ""
    for card in cards:
        mac = clean(card.get("mac"))
        interface = Interface(clean(card.get("name")) or "unnamed", normal_mac(mac) if mac else None)
        wrong = interface.add(rows(card.get("ips")))
        why = why or wrong
        interfaces.append(interface)
    macs = list(dict.fromkeys(interface.mac for interface in interfaces if interface.mac))
    identifiers += [{"kind": "mac", "value": mac} for mac in macs]
    network: dict[str, Any] = {"mac_addresses": macs}
    every = list(dict.fromkeys(address for interface in interfaces for address in interface.addresses))
    if why:
        facts.fault(f"nics: {why}")
    if why or not every:
        unheard = reason(PARSE_ERROR, why) if why else _unheard(power, "tell no address")
        facts.unknown["network.ip_addresses"] = facts.unknown["identity.mgmt_ip"] = unheard
        return network
    network["ip_addresses"] = every
    network["interfaces"] = [interface.shown() for interface in interfaces if interface.addresses]
    own = list(dict.fromkeys(address for interface in interfaces for address in interface.own))
    identifiers += [{"kind": "ip", "value": address} for address in own]
    if management := preferred(own):
        identity["mgmt_ip"] = management
    else:
        facts.unknown["identity.mgmt_ip"] = f"{NOT_REPORTED}: none of its addresses is its own"
    return network


def _unheard(power: str, told: str) -> str:
    if power == "unknown":
        return f"{NOT_REPORTED}: nobody says whether the virtual machine runs"
    if power not in ("running", "paused"):
        return reason(INTEGRATION_SERVICES_UNAVAILABLE, "the virtual machine does not run")
    return reason(INTEGRATION_SERVICES_UNAVAILABLE, f"its integration services {told}")


def _system(facts: Facts, custom: dict[str, Any], power: str) -> dict[str, str]:
    guest = facts.told.get("guest")
    paths = ("os.family", "os.name", "os.version", "os.kernel", "custom_fields.guest_hostname")
    if not isinstance(guest, dict):
        if guest is not None:
            facts.fault("guest is no object")
        facts.unknown.update(dict.fromkeys(paths, facts.absent("guest", "guest")))
        return {}
    told = {name: clean(value) for name, value in guest.items()}
    if not any(told.values()):
        facts.unknown.update(dict.fromkeys(paths, _unheard(power, "tell nothing of its system")))
        return {}
    name, version, build = (told.get(part, "") for part in ("os_name", "os_version", "os_build"))
    family = _family(name, told.get("os_platform", ""))
    # Linux tells its kernel as the version, and the distribution's own as the major one
    linux = family != "windows"
    found: dict[str, str] = {}
    values = {"family": family, "name": name, "version": (told.get("os_major") or version) if linux else version}
    values["kernel"] = (build or version) if linux else ""
    for part, value in values.items():
        if value:
            found[part] = value
        elif part == "family" and name:
            facts.unknown["os.family"] = f"{NOT_REPORTED}: its system is of no family"
        elif part == "kernel" and not linux:
            facts.unknown["os.kernel"] = f"{NOT_REPORTED}: Windows has its version for it"
        else:
            facts.unknown[f"os.{part}"] = _unheard(power, f"tell no {part}")
    if told.get("fqdn"):
        custom["guest_hostname"] = told["fqdn"]
    else:
        facts.unknown["custom_fields.guest_hostname"] = _unheard(power, "tell no name")
    return found


def _family(name: str, platform: str) -> str:
    lowered = name.lower()
    if platform:
        return "windows" if platform == str(_WIN32) or "windows" in lowered else ""
    if "windows" in lowered:
        return "windows"
    if "bsd" in lowered:
        return "freebsd"
    return "linux" if any(lowered.startswith(one) or one in lowered.split() for one in _LINUX) else ""


def _labels(facts: Facts, state: str, cluster: str) -> dict[str, Any]:
    custom: dict[str, Any] = {}
    if cluster:
        custom["cluster"] = cluster
    if state:
        custom["state"] = state
    _label(facts, custom, "generation", str(facts.number("generation", 100) or ""), "generation")
    _label(facts, custom, "configuration_version", facts.text("version"), "version")
    dynamic = flag(facts.told.get("dynamic"))
    if dynamic is None:
        facts.unknown["custom_fields.dynamic_memory"] = facts.absent("dynamic", "vm")
    else:
        custom["dynamic_memory"] = dynamic
    if dynamic:
        # of one without dynamic memory it is a limit that means nothing, 1 TiB as a rule
        _label(facts, custom, "memory_maximum_bytes", facts.number("mem_max"), "mem_max")
    if (highly := flag(facts.told.get("clustered"))) is not None:
        custom["clustered"] = highly
    _put_networks(facts, custom)
    shared = [disk for disk in rows(facts.told.get("disks")) if isinstance(disk, dict) and _is_shared(disk)]
    if shared:
        custom["shared_disks"] = len(shared)
    return custom


def _label(facts: Facts, custom: dict[str, Any], name: str, value: Any, told: str) -> None:
    if value:
        custom[name] = value
    else:
        facts.unknown[f"custom_fields.{name}"] = facts.absent(told, "vm")


def _is_shared(disk: Mapping[str, Any]) -> bool:
    return flag(disk.get("shared")) is True or clean(disk.get("path")).lower().endswith(".vhds")


def _put_networks(facts: Facts, custom: dict[str, Any]) -> None:
    cards = [card for card in rows(facts.told.get("nics")) if isinstance(card, dict)]
    if switches := sorted({name for card in cards if (name := clean(card.get("switch")))}):
        custom["switches"] = switches
    if vlans := sorted({vlan for card in cards if (vlan := whole(card.get("vlan"), 4094))}):
        custom["vlans"] = vlans
    if "network.mac_addresses" in facts.unknown:
        why = facts.unknown["network.mac_addresses"]
        facts.unknown["custom_fields.switches"] = facts.unknown["custom_fields.vlans"] = why
