"""The properties that are read: their values as plain types, and what reads each of them out of its element. Pure.

What these readers give equals what pyvmomi gives for the same answer: a test holds them to it over whole inventories.
Called by `objects`; a value that is not of its type raises OddError, which is that property's own affair.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from asset_ledger.sources.vcenter.paths import KINDS
from asset_ledger.sources.vcenter.slices import XSI_TYPE

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}\Z")
_MOST = (1 << 63) - 1
_LONGEST_ID = 1024
MANAGEMENT = "management"
# looking into these would take longer than all the rest
_WITHOUT_MAC = frozenset(
    {"VirtualCdrom", "VirtualFloppy", "VirtualKeyboard", "VirtualPointingDevice", "VirtualMachineVideoCard"}
    | {"VirtualMachineVMCIDevice", "VirtualTPM", "VirtualSerialPort", "VirtualParallelPort", "VirtualUSB"}
)


class OddError(ValueError):
    """A property's value is not of its type. The message says how, and holds nothing of the value."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to another object: its type and its id."""

    type: str
    moid: str


@dataclass(frozen=True, slots=True)
class Card:
    """A network card of a virtual machine; `mac` is "" where it has none."""

    key: int
    label: str
    mac: str


@dataclass(frozen=True, slots=True)
class Devices:
    """What is read of the devices: the sizes of the disks in bytes (None: it cannot be read), the network cards."""

    disks: tuple[int | None, ...]
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class GuestNic:
    """A network interface as the guest's Tools tell it; `device` is its card's key, -1 for one of the guest's own."""

    device: int
    mac: str
    network: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ManagedBy:
    """The extension that a virtual machine belongs to."""

    extension: str
    type: str


@dataclass(frozen=True, slots=True)
class SystemInfo:
    """A host's own identity; `identifying` are (key, value) of otherIdentifyingInfo, in order."""

    vendor: str
    model: str
    uuid: str
    serial: str
    identifying: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Product:
    """The hypervisor's name, version and build."""

    name: str
    version: str
    build: str


@dataclass(frozen=True, slots=True)
class Vnic:
    """A VMkernel interface of a host."""

    device: str
    key: str
    portgroup: str
    mac: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pnic:
    """A physical network card of a host."""

    device: str
    mac: str


def _text(value: Any) -> str:
    if len(value):
        raise OddError("it is no text")
    return value.text or ""


def _whole(value: Any) -> int:
    text: str = value.text or ""
    if not _WHOLE.match(text) or len(value):
        raise OddError("it is no number")
    number = int(text)
    if abs(number) > _MOST:
        raise OddError("it is larger than any number of the API")
    return number


def _flag(value: Any) -> bool:
    text = value.text
    if text in ("true", "1") and not len(value):
        return True
    if text in ("false", "0") and not len(value):
        return False
    raise OddError("it is neither true nor false")


def _ref(value: Any) -> Ref:
    kind, moid = value.get("type"), value.text
    if not kind or not moid or len(value) or len(moid) > _LONGEST_ID or not moid.isprintable() or moid != moid.strip():
        raise OddError("it is no reference to an object")
    return Ref(kind, moid)


def _refs(value: Any) -> tuple[Ref, ...]:
    return tuple(_ref(one) for one in value)


def _inside(value: Any, tag: str) -> str:
    """Return the text of a part of a value, "" where it has none."""
    found = value.find(tag)
    return "" if found is None else _text(found)


def _devices(value: Any) -> Devices:
    disks: list[int | None] = []
    cards: list[Card] = []
    for device in value:
        kind = (device.get(XSI_TYPE) or "").rpartition(":")[2]
        if kind == "VirtualDisk":
            disks.append(_capacity(device))
        elif kind not in _WITHOUT_MAC and not kind.endswith("Controller"):
            told = {one.tag: one for one in device}
            # every kind of network card has one, and nothing else
            if (mac := told.get("macAddress")) is not None:
                cards.append(Card(_key(told.get("key")), _inside(device, "deviceInfo/label"), _text(mac)))
    return Devices(tuple(disks), tuple(cards))


def _capacity(disk: Any) -> int | None:
    unit, found = 1, disk.find("capacityInBytes")
    if found is None:  # up to 5.1
        unit, found = 1024, disk.find("capacityInKB")
    if found is None:
        return None
    try:
        size = _whole(found) * unit
    except OddError:
        return None
    return size if 0 <= size <= _MOST else None


def _key(found: Any) -> int:
    try:
        return -1 if found is None else _whole(found)
    except OddError:
        return -1


def _guest_nics(value: Any) -> tuple[GuestNic, ...]:
    found = []
    for nic in value:
        told, addresses = {}, []
        for one in nic:
            tag = one.tag
            if tag == "ipAddress":
                addresses.append(_text(one))
            else:
                told[tag] = one
        mac, network = ("" if one is None else _text(one) for one in (told.get("macAddress"), told.get("network")))
        found.append(GuestNic(_key(told.get("deviceConfigId")), mac, network, tuple(addresses)))
    return tuple(found)


def _managed_by(value: Any) -> ManagedBy:
    return ManagedBy(_inside(value, "extensionKey"), _inside(value, "type"))


def _system_info(value: Any) -> SystemInfo:
    told = (
        (_text(kind), _inside(one, "identifierValue"))
        for one in value.iterfind("otherIdentifyingInfo")
        if (kind := one.find("identifierType/key")) is not None
    )
    vendor, model, uuid, serial = (_inside(value, tag) for tag in ("vendor", "model", "uuid", "serialNumber"))
    return SystemInfo(vendor, model, uuid, serial, tuple(told))


def _product(value: Any) -> Product:
    name, version, build = (_inside(value, tag) for tag in ("name", "version", "build"))
    return Product(name, version, build)


def _vnics(value: Any) -> tuple[Vnic, ...]:
    return tuple(
        Vnic(
            _inside(one, "device"),
            _inside(one, "key"),
            _inside(one, "portgroup"),
            _inside(one, "spec/mac"),
            tuple(
                _text(address)
                for path in ("spec/ip/ipAddress", "spec/ip/ipV6Config/ipV6Address/ipAddress")
                for address in one.iterfind(path)
            ),
        )
        for one in value
    )


def _pnics(value: Any) -> tuple[Pnic, ...]:
    return tuple(Pnic(_inside(one, "device"), _inside(one, "mac")) for one in value)


def _management(value: Any) -> tuple[str, ...]:
    """Return the devices that are selected for management traffic, in the order of the candidates."""
    for one in value:
        if _inside(one, "nicType") == MANAGEMENT:
            selected = {_text(key) for key in one.iterfind("selectedVnic")}
            candidates = ((_inside(nic, "key"), _inside(nic, "device")) for nic in one.iterfind("candidateVnic"))
            return tuple(device for key, device in candidates if key in selected)
    return ()


_OTHERS: Mapping[str, Callable[[Any], Any]] = {
    "parent": _ref,
    "parentVApp": _ref,
    "resourcePool": _ref,
    "runtime.host": _ref,
    "datastore": _refs,
    "runtime.inMaintenanceMode": _flag,
    "config.template": _flag,
    "config.managedBy": _managed_by,
    "config.hardware.numCPU": _whole,
    "config.hardware.memoryMB": _whole,
    "config.hardware.device": _devices,
    "guest.net": _guest_nics,
    "hardware.systemInfo": _system_info,
    "summary.hardware.numCpuPkgs": _whole,
    "summary.hardware.numCpuCores": _whole,
    "summary.hardware.numCpuThreads": _whole,
    "summary.hardware.memorySize": _whole,
    "summary.config.product": _product,
    "config.network.vnic": _vnics,
    "config.network.pnic": _pnics,
    "config.virtualNicManagerInfo.netConfig": _management,
}
READERS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    part: {path: _OTHERS.get(path, _text) for path in kind.every} for part, kind in KINDS.items()
}
"""By part and path what reads a value; a path without a reader of its own holds a text."""
