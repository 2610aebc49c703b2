"""The properties that are read: their values as plain types, and what reads each of them. Pure.

What these readers give equals what pyvmomi gives for the same answer: a test holds them to it over whole inventories.
Called by `objects` with elements, and by `usual` with the texts and the list items that it found by their bytes: each
property is defined once, for both. A value that is not of its type raises OddError, which is its own affair.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from asset_ledger.sources.vcenter.paths import KINDS
from asset_ledger.sources.vcenter.slices import XSI_TYPE

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}\Z")
_MOST = (1 << 63) - 1
_LONGEST_ID = 255
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


@dataclass(frozen=True, slots=True)
class Scalar:
    """A property that is one text. `of` makes its value of the attribute `type` and the text, None: it is no text."""

    of: Callable[[str | None, str | None], Any]

    def read(self, value: Any) -> Any:
        """Return the value of a `<val>`. Raises OddError."""
        return self.of(value.get("type"), _content(value))


@dataclass(frozen=True, slots=True)
class Many:
    """A property that is a list: `item` reads an element of it, None for nothing; `of` puts together what it read.

    `tag` is what the API calls such an element; another one is read all the same.
    """

    tag: str
    item: Callable[[Any], Any]
    of: Callable[[Sequence[Any]], Any]

    def read(self, value: Any) -> Any:
        """Return the value of a `<val>`. Raises OddError."""
        return self.of([told for one in value if (told := self.item(one)) is not None])


@dataclass(frozen=True, slots=True)
class Element:
    """A property of any other shape. Raises OddError where it is not of its type."""

    read: Callable[[Any], Any]


Reader = Scalar | Many | Element


def _content(value: Any) -> str | None:
    return None if len(value) else value.text or ""


def _text(value: Any) -> str:
    return _plain(None, _content(value))


def _whole(value: Any) -> int:
    return _number(None, _content(value))


def _plain(_: str | None, text: str | None) -> str:
    if text is None:
        raise OddError("it is no text")
    return text


def _number(_: str | None, text: str | None) -> int:
    if text is None or not _WHOLE.match(text):
        raise OddError("it is no number")
    number = int(text)
    if abs(number) > _MOST:
        raise OddError("it is larger than any number of the API")
    return number


def _flag(_: str | None, text: str | None) -> bool:
    if text in ("true", "1"):
        return True
    if text in ("false", "0"):
        return False
    raise OddError("it is neither true nor false")


def _ref(kind: str | None, moid: str | None) -> Ref:
    if not kind or not moid or len(moid) > _LONGEST_ID or not moid.isprintable() or moid != moid.strip():
        raise OddError("it is no reference to an object")
    return Ref(kind, moid)


def _inside(value: Any, tag: str) -> str:
    """Return the text of a part of a value, "" where it has none."""
    found = value.find(tag)
    return "" if found is None else _text(found)


class _Disk(NamedTuple):
    size: int | None


def _device(device: Any) -> _Disk | Card | None:
    kind = (device.get(XSI_TYPE) or "").rpartition(":")[2]
    if kind == "VirtualDisk":
        return _Disk(_capacity(device))
    if kind in _WITHOUT_MAC or kind.endswith("Controller"):
        return None
    told = {one.tag: one for one in device}
    # every kind of network card has one, and nothing else
    if (mac := told.get("macAddress")) is None:
        return None
    return Card(_key(told.get("key")), _inside(device, "deviceInfo/label"), _text(mac))


def _devices(found: Sequence[_Disk | Card]) -> Devices:
    disks = tuple(one.size for one in found if isinstance(one, _Disk))
    return Devices(disks, tuple(one for one in found if isinstance(one, Card)))


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


def _guest_nic(nic: Any) -> GuestNic:
    told, addresses = {}, []
    for one in nic:
        tag = one.tag
        if tag == "ipAddress":
            addresses.append(_text(one))
        else:
            told[tag] = one
    mac, network = ("" if one is None else _text(one) for one in (told.get("macAddress"), told.get("network")))
    return GuestNic(_key(told.get("deviceConfigId")), mac, network, tuple(addresses))


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


def _vnic(one: Any) -> Vnic:
    return Vnic(
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


def _pnic(one: Any) -> Pnic:
    return Pnic(_inside(one, "device"), _inside(one, "mac"))


def _management(value: Any) -> tuple[str, ...]:
    """Return the devices that are selected for management traffic, in the order of the candidates."""
    for one in value:
        if _inside(one, "nicType") == MANAGEMENT:
            selected = {_text(key) for key in one.iterfind("selectedVnic")}
            candidates = ((_inside(nic, "key"), _inside(nic, "device")) for nic in one.iterfind("candidateVnic"))
            return tuple(device for key, device in candidates if key in selected)
    return ()


_REFERENCE, _WHOLE_NUMBER, _EITHER, _TEXT = Scalar(_ref), Scalar(_number), Scalar(_flag), Scalar(_plain)
_OTHERS: Mapping[str, Reader] = {
    **dict.fromkeys(("parent", "parentVApp", "resourcePool", "runtime.host"), _REFERENCE),
    "datastore": Many("ManagedObjectReference", _REFERENCE.read, tuple),
    "runtime.inMaintenanceMode": _EITHER,
    "config.template": _EITHER,
    "config.managedBy": Element(_managed_by),
    "config.hardware.numCPU": _WHOLE_NUMBER,
    "config.hardware.memoryMB": _WHOLE_NUMBER,
    "config.hardware.device": Many("VirtualDevice", _device, _devices),
    "guest.net": Many("GuestNicInfo", _guest_nic, tuple),
    "hardware.systemInfo": Element(_system_info),
    "summary.hardware.numCpuPkgs": _WHOLE_NUMBER,
    "summary.hardware.numCpuCores": _WHOLE_NUMBER,
    "summary.hardware.numCpuThreads": _WHOLE_NUMBER,
    "summary.hardware.memorySize": _WHOLE_NUMBER,
    "summary.config.product": Element(_product),
    "config.network.vnic": Many("HostVirtualNic", _vnic, tuple),
    "config.network.pnic": Many("PhysicalNic", _pnic, tuple),
    "config.virtualNicManagerInfo.netConfig": Element(_management),
}
READERS: Mapping[str, Mapping[str, Reader]] = {
    part: {path: _OTHERS.get(path, _TEXT) for path in kind.every} for part, kind in KINDS.items()
}
"""By part and path what reads a value; a path without a reader of its own holds a text."""
