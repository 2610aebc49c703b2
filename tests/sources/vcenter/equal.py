"""What pyvmomi makes of an answer, put into our types by attribute access alone: the second opinion on `properties`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asset_ledger.sources.vcenter.objects import Found
from asset_ledger.sources.vcenter.properties import (
    Card,
    Devices,
    GuestNic,
    ManagedBy,
    Pnic,
    Product,
    Ref,
    SystemInfo,
    Vnic,
)


def _ref(value: Any) -> Ref:
    return Ref(type(value).__name__.rpartition(".")[2], value._moId)


def _devices(value: Any) -> Devices:
    from pyVmomi import vim

    disks = [one for one in value if isinstance(one, vim.vm.device.VirtualDisk)]
    cards = [one for one in value if isinstance(one, vim.vm.device.VirtualEthernetCard) and one.macAddress is not None]
    return Devices(
        tuple(one.capacityInKB * 1024 if one.capacityInBytes is None else one.capacityInBytes for one in disks),
        tuple(Card(one.key, one.deviceInfo.label if one.deviceInfo else "", one.macAddress) for one in cards),
    )


def _nics(value: Any) -> tuple[GuestNic, ...]:
    return tuple(
        GuestNic(one.deviceConfigId, one.macAddress or "", one.network or "", tuple(one.ipAddress)) for one in value
    )


def _system(value: Any) -> SystemInfo:
    told = tuple((one.identifierType.key, one.identifierValue) for one in value.otherIdentifyingInfo)
    return SystemInfo(value.vendor, value.model, value.uuid, value.serialNumber or "", told)


def _vnic(one: Any) -> Vnic:
    spec = one.spec
    v6 = spec.ip.ipV6Config.ipV6Address if spec.ip and spec.ip.ipV6Config else []
    addresses = ([spec.ip.ipAddress] if spec.ip and spec.ip.ipAddress else []) + [each.ipAddress for each in v6]
    return Vnic(one.device, one.key, one.portgroup or "", spec.mac or "", tuple(addresses))


def _management(value: Any) -> tuple[str, ...]:
    return tuple(
        nic.device
        for config in value
        if config.nicType == "management"
        for nic in config.candidateVnic
        if nic.key in set(config.selectedVnic)
    )


_MADE: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("parent", "parentVApp", "resourcePool", "runtime.host"), _ref),
    "datastore": lambda value: tuple(_ref(one) for one in value),
    "config.managedBy": lambda value: ManagedBy(value.extensionKey, value.type),
    "config.hardware.device": _devices,
    "guest.net": _nics,
    "hardware.systemInfo": _system,
    "summary.config.product": lambda value: Product(value.name, value.version, value.build),
    "config.network.vnic": lambda value: tuple(map(_vnic, value)),
    "config.network.pnic": lambda value: tuple(Pnic(one.device, one.mac) for one in value),
    "config.virtualNicManagerInfo.netConfig": _management,
}


def by_pyvmomi(content: Any) -> Found:
    """Return one ObjectContent as `objects` would have it."""
    found = Found()
    for prop in content.propSet:
        plain = prop.val if isinstance(prop.val, bool | int) else str(prop.val)
        found.values[prop.name] = _MADE[prop.name](prop.val) if prop.name in _MADE else plain
    for one in content.missingSet:
        found.faults[one.path] = type(
            one.fault.fault if hasattr(one.fault, "fault") else one.fault
        ).__name__.rpartition(".")[2]
    return found
