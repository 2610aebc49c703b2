"""Objects as bytes, records and evidence made by hand, for the tests of the pure half."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from asset_ledger.domain.inventory import AssetRecord, Item
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.vcenter.parse import parse
from asset_ledger.sources.vcenter.raw import (
    Datastore,
    Evidence,
    Permission,
    Place,
    Role,
    Sight,
    Surroundings,
    objects_record,
)

AT = datetime(2026, 11, 1, 18, 30, tzinfo=UTC)
SPACES = {
    "": "urn:vim25",
    "xsd": "http://www.w3.org/2001/XMLSchema",
    "xsi": "http://www.w3.org/2001/XMLSchema-instance",
}
PLACES = {
    "group-d1": Place("Folder", "Datacenters", None),
    "datacenter-2": Place("Datacenter", "DC%2f0", "group-d1"),
    "group-v3": Place("Folder", "vm", "datacenter-2"),
    "group-v4": Place("Folder", "prod", "group-v3"),
    "group-v5": Place("Folder", "100%25", "group-v4"),
    "group-h3": Place("Folder", "host", "datacenter-2"),
    "domain-c8": Place("ClusterComputeResource", "c8", "group-h3"),
    "domain-s9": Place("ComputeResource", "esx9", "group-h3"),
    "resgroup-8": Place("ResourcePool", "Resources", "domain-c8"),
    "resgroup-9": Place("ResourcePool", "gold", "resgroup-8"),
    "resgroup-v10": Place("VirtualApp", "shop", "resgroup-9"),
}
DATASTORES = {
    "datastore-1": Datastore("one", 1000, True),
    "datastore-2": Datastore("two", 500, True),
    "datastore-3": Datastore("lost", 9000, False),
    "datastore-4": Datastore("silent", None, True),
    "datastore-5": Datastore("a%2fb", 0, True),
}
INSTANCE = "3c0b8f0e-6a57-4c3e-9a44-2f1f0b7ad001"
AROUND = Surroundings({"instanceUuid": INSTANCE}, PLACES, DATASTORES)
DISK = '<VirtualDevice xsi:type="VirtualDisk"><key>2000</key>{}</VirtualDevice>'
CARD = (
    '<VirtualDevice xsi:type="VirtualVmxnet3"><key>{}</key><deviceInfo xsi:type="Description"><label>{}</label>'
    "<summary>s</summary></deviceInfo><macAddress>{}</macAddress></VirtualDevice>"
)
NIC = "<GuestNicInfo><macAddress>{}</macAddress>{}<deviceConfigId>{}</deviceConfigId></GuestNicInfo>"


def here(moid: str) -> str:
    """Return the ledger's id of an object of AROUND's vCenter."""
    return f"{moid}@{INSTANCE}"


def text(value: str, kind: str = "xsd:string") -> str:
    """Return a `<val>` with plain text in it."""
    return f'<val xsi:type="{kind}">{escape(value)}</val>'


def many(kind: str, *inside: str) -> str:
    return f'<val xsi:type="ArrayOf{kind}">{"".join(inside)}</val>'


def ref(kind: str, moid: str) -> str:
    return f'<val type="{kind}" xsi:type="ManagedObjectReference">{moid}</val>'


def disks(*sizes: str) -> str:
    return "".join(DISK.format(size) for size in sizes)


def nic(mac: str, addresses: Iterable[str], device: int) -> str:
    return NIC.format(mac, "".join(f"<ipAddress>{one}</ipAddress>" for one in addresses), device)


VM: Mapping[str, str] = {
    "name": text("web01"),
    "runtime.host": ref("HostSystem", "host-21"),
    "parent": ref("Folder", "group-v5"),
    "resourcePool": ref("ResourcePool", "resgroup-9"),
    "runtime.connectionState": text("connected", "VirtualMachineConnectionState"),
    "runtime.powerState": text("poweredOn", "VirtualMachinePowerState"),
    "config.instanceUuid": text("50010000-0000-4000-8000-000000000001"),
    "config.uuid": text("42010203-0405-4607-8809-0a0b0c0d0e0f"),
    "config.template": text("false", "xsd:boolean"),
    "config.hardware.numCPU": text("4", "xsd:int"),
    "config.hardware.memoryMB": text("8192", "xsd:int"),
    "config.hardware.device": many(
        "VirtualDevice",
        disks(
            "<capacityInKB>1</capacityInKB><capacityInBytes>2048</capacityInBytes>", "<capacityInKB>3</capacityInKB>"
        ),
        CARD.format(4000, "Network adapter 1", "00:50:56:AA:00:01"),
        CARD.format(4001, "Network adapter 2", "00:50:56:aa:00:02"),
    ),
    "guest.hostName": text("web01.example.com"),
    "guest.ipAddress": text("10.0.0.5"),
    "guest.net": many(
        "GuestNicInfo",
        nic("00:50:56:aa:00:01", ("10.0.0.5", "fe80::1", "2001:db8::5"), 4000),
        nic("02:42:00:00:00:01", ("172.17.0.1",), -1),
    ),
    "guest.toolsRunningStatus": text("guestToolsRunning"),
    "guest.guestFullName": text("Debian GNU/Linux 12 (64-bit)"),
    "guest.guestFamily": text("linuxGuest"),
    "summary.config.guestFullName": text("Other Linux (64-bit)"),
    "summary.config.guestId": text("otherLinux64Guest"),
}
HOST: Mapping[str, str] = {
    "name": text("esx1.example.com"),
    "parent": ref("ClusterComputeResource", "domain-c8"),
    "hardware.systemInfo": '<val xsi:type="HostSystemInfo"><vendor>Dell Inc.</vendor><model>R650</model>'
    "<uuid>4c4c4544-0051-3510-8052-b9c04f4e5a32</uuid><serialNumber>7Q5RN52</serialNumber></val>",
    "summary.hardware.cpuModel": text("Xeon"),
    "summary.hardware.numCpuPkgs": text("2", "xsd:short"),
    "summary.hardware.numCpuCores": text("32", "xsd:short"),
    "summary.hardware.numCpuThreads": text("64", "xsd:short"),
    "summary.hardware.memorySize": text("549755813888", "xsd:long"),
    "summary.config.product": '<val xsi:type="AboutInfo"><name>VMware ESXi</name><version>8.0.3</version>'
    "<build>24022510</build></val>",
    "runtime.connectionState": text("connected", "HostSystemConnectionState"),
    "runtime.powerState": text("poweredOn", "HostSystemPowerState"),
    "runtime.inMaintenanceMode": text("false", "xsd:boolean"),
    "config.network.pnic": many(
        "PhysicalNic", "<PhysicalNic><device>vmnic0</device><mac>3c:ec:ef:00:00:01</mac></PhysicalNic>"
    ),
    "config.network.vnic": many(
        "HostVirtualNic",
        "<HostVirtualNic><device>vmk0</device><key>k0</key><spec><ip><ipAddress>10.9.0.21</ipAddress></ip></spec>"
        "</HostVirtualNic>",
    ),
    "datastore": many(
        "ManagedObjectReference",
        *(
            f'<ManagedObjectReference type="Datastore">{moid}</ManagedObjectReference>'
            for moid in ("datastore-1", "datastore-2")
        ),
    ),
}
CLUSTER: Mapping[str, str] = {"name": text("c8"), "parent": ref("Folder", "group-h3")}
KINDS = {"vms": ("VirtualMachine", VM), "hosts": ("HostSystem", HOST), "clusters": ("ClusterComputeResource", CLUSTER)}


def refused(path: str, fault: str = "NoPermission") -> str:
    return (
        f'<missingSet><path>{path}</path><fault><fault xsi:type="{fault}"></fault>'
        "<localizedMessage></localizedMessage></fault></missingSet>"
    )


def one(
    part: str = "vms", moid: str = "vm-1", *, extra: str = "", without: Iterable[str] = (), **changed: str
) -> bytes:
    """Return an object's bytes; `changed` are `<val>`s by path with `__` for dots."""
    kind, usual = KINDS[part]
    told = {**usual, **{path.replace("__", "."): value for path, value in changed.items()}}
    sets = "".join(
        f"<propSet><name>{path}</name>{value}</propSet>" for path, value in told.items() if path not in set(without)
    )
    return f'<objects><obj type="{kind}">{moid}</obj>{sets}{extra}</objects>'.encode()


def raw(slices: Iterable[bytes], kind: str = "vms", around: Surroundings = AROUND, **changed: Any) -> RawRecord:
    """Return the record of some objects; `changed` goes into its document."""
    made = objects_record(kind, 1, list(slices), SPACES, around, {"started_at": AT.isoformat()}, AT)
    made.document.update(changed)  # type: ignore[attr-defined]
    return made


def items(
    *slices: bytes, part: str = "vms", around: Surroundings = AROUND, known: Mapping[bytes, str] | None = None
) -> list[Item]:
    return list(parse(raw(slices, part, around), known or {}))


def document(part: str = "vms", around: Surroundings = AROUND, **said: Any) -> dict[str, Any]:
    """Return the document of one object."""
    [found] = [item for item in items(one(part, **said), part=part, around=around) if isinstance(item, AssetRecord)]
    return found.document


READING = Role("ReadOnly", ("System.Anonymous", "System.Read", "System.View"))
ROLES = {
    -1: Role("Admin", READING.privileges),
    -2: READING,
    -3: Role("View", ("System.Anonymous", "System.View")),
    -5: Role("NoAccess", ()),
    7: Role("Auditor", READING.privileges),
    8: Role("Console", ("VirtualMachine.Interact.ConsoleInteract",)),
}
ME = "CORP.EXAMPLE.COM\\ledger"
ON_ROOT = Permission("group-d1", ME, False, -2, True, "Datacenters")


def sight(part: str, *moids: str, **changed: Any) -> Sight:
    """Return what a reading saw that went well."""
    told: dict[str, Any] = {
        "before": moids,
        "after": moids,
        "received": moids,
        "second": moids,
        "pages": 1,
        "ended": True,
        "asked": (),
    }
    return Sight(part, **(told | changed))


def evidence(*sights: Sight, **changed: Any) -> Evidence:
    """Return evidence that proves a reading of these sights whole, but for what is changed."""
    told: dict[str, Any] = {
        "scope": "vms",
        "about": {"apiType": "VirtualCenter"},
        "account": ME,
        "root": "group-d1",
        "read": True,
        "permissions": (ON_ROOT,),
        "roles": ROLES,
        "hosts": ("host-1",),
        "runs_on": {"host-1": 3},
        "sights": sights or (sight("vms", "vm-1", "vm-2", "vm-3"),),
    }
    return Evidence(**(told | changed))
