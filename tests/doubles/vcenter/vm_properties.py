"""The properties of virtual machines as vSphere has them, made of what a test says of them. Called by inventory.py.

Devices stand in the order and the shape in which the simulator has them: a copy of one of its machines reads the same.
"""

from __future__ import annotations

from tests.doubles.vcenter.specs import DiskSpec, NicSpec, VmSpec
from tests.doubles.vcenter.values import Array, Data, Enum, Long, Ref, Stamp, Value


def _description(label: str, summary: str) -> Data:
    return Data("Description", {"label": label, "summary": summary}, typed=True)


def _device(kind: str, key: int, label: str, summary: str, **fields: Value | None) -> Data:
    return Data(kind, {"key": key, "deviceInfo": _description(label, summary), **fields}, typed=True)


def _connectable(connected: bool, status: str | None = None) -> Data:
    fields: dict[str, Value | None] = {"startConnected": True, "allowGuestControl": True, "connected": connected}
    return Data("VirtualDeviceConnectInfo", {**fields, "status": status})


_VMCI = "Device on the virtual machine PCI bus that provides support for the virtual machine communication interface"
_CONTROLLERS = (
    _device("VirtualIDEController", 200, "IDE 0", "IDE 0", busNumber=0),
    _device("VirtualIDEController", 201, "IDE 1", "IDE 1", busNumber=1),
    _device(
        "VirtualPS2Controller",
        300,
        "PS2 controller 0",
        "PS2 controller 0",
        busNumber=0,
        device=Array("int", [600, 700]),
    ),
    _device(
        "VirtualPCIController",
        100,
        "PCI controller 0",
        "PCI controller 0",
        busNumber=0,
        device=Array("int", [500, 12000]),
    ),
    _device("VirtualSIOController", 400, "SIO controller 0", "SIO controller 0", busNumber=0),
    _device("VirtualKeyboard", 600, "Keyboard ", "Keyboard", controllerKey=300, unitNumber=0),
    _device(
        "VirtualPointingDevice",
        700,
        "Pointing device",
        "Pointing device; Device",
        backing=Data(
            "VirtualPointingDeviceDeviceBackingInfo",
            {"deviceName": "", "useAutoDetect": False, "hostPointingDevice": "autodetect"},
            typed=True,
        ),
        controllerKey=300,
        unitNumber=1,
    ),
    _device(
        "VirtualMachineVideoCard",
        500,
        "Video card ",
        "Video card",
        controllerKey=100,
        unitNumber=0,
        videoRamSizeInKB=Long(4096),
        numDisplays=1,
        useAutoDetect=False,
        enable3DSupport=False,
        use3dRenderer="automatic",
        graphicsMemorySizeInKB=Long(262144),
    ),
    _device(
        "VirtualMachineVMCIDevice",
        12000,
        "VMCI device",
        _VMCI,
        controllerKey=100,
        unitNumber=17,
        id=Long(-1),
        allowUnrestrictedCommunication=False,
        filterEnable=True,
    ),
    _device(
        "ParaVirtualSCSIController",
        202,
        "pvscsi-202",
        "pvscsi-202",
        busNumber=0,
        sharedBus=Enum("VirtualSCSISharing", "noSharing"),
        scsiCtlrUnitNumber=7,
    ),
    _device(
        "VirtualCdrom",
        3000,
        "cdrom-3000",
        "cdrom-3000",
        backing=Data("VirtualCdromAtapiBackingInfo", {"deviceName": "cdrom--201", "useAutoDetect": False}, typed=True),
        connectable=_connectable(True),
        controllerKey=202,
        unitNumber=0,
    ),
)


def _disk(vm: VmSpec, disk: DiskSpec, place: int) -> Data:
    label = disk.label or f"disk-202-{place}"
    return _device(
        "VirtualDisk",
        disk.key if disk.key is not None else 2000 + place,
        label,
        f"{disk.capacity // 1024:,} KB",
        backing=Data(
            "VirtualDiskFlatVer2BackingInfo",
            {
                "fileName": disk.file or f"[datastore1] {vm.name}/disk{place + 1}.vmdk",
                "diskMode": "persistent",
                "split": False,
                "writeThrough": False,
                "thinProvisioned": disk.thin,
                "eagerlyScrub": False,
                "digestEnabled": False,
            },
            typed=True,
        ),
        controllerKey=202,
        unitNumber=place,
        capacityInKB=Long(disk.capacity // 1024),
        capacityInBytes=Long(disk.capacity) if disk.in_bytes else None,
    )


def _card(nic: NicSpec, place: int) -> Data:
    backing = Data(
        "VirtualEthernetCardNetworkBackingInfo", {"deviceName": nic.network or "", "useAutoDetect": False}, typed=True
    )
    return _device(
        nic.type,
        nic.key if nic.key is not None else 4000 + place,
        f"ethernet-{place}",
        nic.network or "",
        backing=backing,
        connectable=_connectable(nic.connected, "ok" if nic.connected else "untried"),
        slotInfo=Data("VirtualDevicePciBusSlotInfo", {"pciSlotNumber": 32 * (place + 1)}, typed=True),
        controllerKey=100,
        unitNumber=7 + place,
        addressType="generated",
        macAddress=nic.mac,
        wakeOnLanEnabled=True,
    )


def devices(vm: VmSpec) -> Array:
    """Return the virtual hardware of a machine."""
    disks = [_disk(vm, disk, place) for place, disk in enumerate(vm.disks)]
    cards = [_card(nic, place) for place, nic in enumerate(vm.nics)]
    return Array("VirtualDevice", [*_CONTROLLERS, *disks, *cards])


def _config(vm: VmSpec) -> Data:
    managed = None
    if vm.managed_by:
        managed = Data("ManagedByInfo", {"extensionKey": vm.managed_by[0], "type": vm.managed_by[1]})
    return Data(
        "VirtualMachineConfigInfo",
        {
            "changeVersion": "1",
            "modified": Stamp("1970-01-01T00:00:00Z"),
            "name": vm.name,
            "guestFullName": vm.configured_guest,
            "version": "vmx-19",
            "uuid": vm.uuid,
            "createDate": Stamp(vm.created) if vm.created else None,
            "instanceUuid": vm.instance_uuid,
            "template": vm.template,
            "guestId": vm.guest_id,
            "alternateGuestName": "",
            "hardware": Data(
                "VirtualHardware",
                {"numCPU": vm.cpus, "numCoresPerSocket": 1, "memoryMB": vm.memory_mb, "device": devices(vm)},
            ),
            "managedBy": managed,
        },
    )


def _guest(vm: VmSpec) -> Data:
    running = vm.tools == "guestToolsRunning" and vm.power == "poweredOn"
    ips = [ip for nic in vm.nics for ip in nic.ips]
    net = Array(
        "GuestNicInfo",
        [
            Data(
                "GuestNicInfo",
                {
                    "network": nic.network if running else None,
                    "ipAddress": Array("string", list(nic.ips) if running else []),
                    "macAddress": nic.mac,
                    "connected": nic.connected,
                    "deviceConfigId": nic.key if nic.key is not None else 4000 + place,
                },
            )
            for place, nic in enumerate(vm.nics)
        ],
    )
    return Data(
        "GuestInfo",
        {
            "toolsStatus": Enum("VirtualMachineToolsStatus", "toolsOk" if running else "toolsNotRunning"),
            "toolsRunningStatus": vm.tools if vm.power == "poweredOn" else "guestToolsNotRunning",
            "guestFamily": vm.guest_family if running else None,
            "guestFullName": vm.guest_full_name if running else None,
            "hostName": vm.guest_hostname if running else None,
            "ipAddress": (vm.guest_ip or (ips[0] if ips else None)) if running else None,
            "net": net if vm.nics else None,
            "guestState": "running" if running else "notRunning",
        },
    )


def vm_tree(vm: VmSpec) -> Data:
    """Return what follows from the machine alone; where it stands is put to it by rendered.py."""
    runtime = Data(
        "VirtualMachineRuntimeInfo",
        {
            "host": Ref("HostSystem", vm.host) if vm.host else None,
            "connectionState": Enum("VirtualMachineConnectionState", vm.connection),
            "powerState": Enum("VirtualMachinePowerState", vm.power),
            "toolsInstallerMounted": False,
            "numMksConnections": 0,
        },
    )
    short: dict[str, Value | None] = {
        "name": vm.name,
        "template": vm.template,
        "vmPathName": f"[datastore1] {vm.name}/{vm.name}.vmx",
    }
    if vm.known:
        short |= {
            "memorySizeMB": vm.memory_mb,
            "numCpu": vm.cpus,
            "numEthernetCards": len(vm.nics),
            "numVirtualDisks": len(vm.disks),
            "uuid": vm.uuid,
            "instanceUuid": vm.instance_uuid,
            "guestId": vm.guest_id,
            "guestFullName": vm.configured_guest,
        }
    return Data(
        "VirtualMachine",
        {
            "name": vm.name,
            "config": _config(vm) if vm.known else None,
            "guest": _guest(vm) if vm.known else None,
            "runtime": runtime,
            "summary": Data(
                "VirtualMachineSummary",
                {
                    "vm": Ref("VirtualMachine", vm.moid),
                    "runtime": runtime,
                    "config": Data("VirtualMachineConfigSummary", short),
                    "overallStatus": Enum("ManagedEntityStatus", "green"),
                },
            ),
        },
    )
