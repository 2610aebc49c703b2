"""What a test says of the objects that are to be shown. Plain data; vm_properties.py and host_properties.py make vSphere's of it."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True)
class DatacenterSpec:
    moid: str = "datacenter-2"
    name: str = "DC0"
    parent: str | None = None  # a folder under the root


@dataclass(frozen=True)
class FolderSpec:
    """A folder; without `parent` it stands in the virtual machines' folder of the first datacenter.

    `parent` "" is the root folder: for folders of datacenters.
    """

    moid: str
    name: str
    parent: str | None = None


@dataclass(frozen=True)
class ClusterSpec:
    moid: str
    name: str
    datacenter: str | None = None
    folder: str | None = None  # a folder of hosts


@dataclass(frozen=True)
class PoolSpec:
    """A resource pool, or a vApp; `parent` is a pool's moid, or a cluster's for its root pool."""

    moid: str
    name: str
    parent: str
    vapp: bool = False
    folder: str | None = None  # of a vApp


@dataclass(frozen=True)
class DatastoreSpec:
    moid: str
    name: str
    capacity: int = 1024 * GIB
    free: int = 512 * GIB
    accessible: bool = True
    shared: bool = True
    type: str = "VMFS"
    datacenter: str | None = None


@dataclass(frozen=True)
class VnicSpec:
    device: str = "vmk0"
    mac: str = "00:50:56:60:00:01"
    ip: str = "10.9.0.1"
    mask: str = "255.255.255.0"
    v6: tuple[str, ...] = ()
    portgroup: str = "Management Network"


@dataclass(frozen=True)
class HostSpec:
    """A host: member of `cluster`, or on its own. `told` False: vCenter never got to know its hardware."""

    moid: str
    name: str
    cluster: str | None = None
    datacenter: str | None = None
    uuid: str = "4c4c4544-0051-3510-8052-b9c04f4e5a32"
    vendor: str = "Dell Inc."
    model: str = "PowerEdge R650"
    serial: str | None = "7Q5RN52"
    tags: tuple[tuple[str, str], ...] = ()  # further otherIdentifyingInfo: key, value
    sockets: int = 2
    cores: int = 32
    threads: int = 64
    cpu_model: str = "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz"
    mhz: int = 1995
    memory: int = 512 * GIB
    vnics: tuple[VnicSpec, ...] = (VnicSpec(),)
    management: tuple[str, ...] = ("vmk0",)
    pnics: tuple[str, ...] = ("3c:ec:ef:00:00:01", "3c:ec:ef:00:00:02")
    connection: str = "connected"
    power: str = "poweredOn"
    maintenance: bool = False
    datastores: tuple[str, ...] = ()
    version: str | None = None  # of ESXi; None: the release's
    build: str | None = None
    told: bool = True
    manager: str | None = None  # summary.managementServerIp


@dataclass(frozen=True)
class DiskSpec:
    """A virtual disk; one whose bytes are not known (old servers) has kibibytes only."""

    capacity: int = 40 * GIB
    in_bytes: bool = True
    label: str | None = None
    file: str | None = None
    key: int | None = None
    thin: bool = True


@dataclass(frozen=True)
class NicSpec:
    """A virtual network card, and the addresses that VMware Tools tell of it."""

    mac: str
    ips: tuple[str, ...] = ()
    type: str = "VirtualVmxnet3"
    network: str | None = "VM Network"
    connected: bool = True
    key: int | None = None


@dataclass(frozen=True)
class VmSpec:
    """A virtual machine. `tools` is guest.toolsRunningStatus; without Tools nothing is told of the guest."""

    moid: str
    name: str
    host: str | None = None
    uuid: str = "42010000-0000-4000-8000-000000000001"
    instance_uuid: str | None = "50010000-0000-4000-8000-000000000001"
    cpus: int = 2
    memory_mb: int = 4096
    disks: tuple[DiskSpec, ...] = (DiskSpec(),)
    nics: tuple[NicSpec, ...] = ()
    guest_hostname: str | None = None
    guest_ip: str | None = None  # None: the first address of its cards
    guest_full_name: str | None = None  # what Tools tell
    guest_family: str | None = None
    guest_id: str = "ubuntu64Guest"
    configured_guest: str = "Ubuntu Linux (64-bit)"
    tools: str = "guestToolsRunning"
    power: str = "poweredOn"
    connection: str = "connected"
    folder: str | None = None
    pool: str | None = None
    vapp: str | None = None
    template: bool = False
    managed_by: tuple[str, str] | None = None  # extension key, type
    created: str | None = None

    @property
    def known(self) -> bool:
        """Whether vCenter has its configuration."""
        return self.connection == "connected"
