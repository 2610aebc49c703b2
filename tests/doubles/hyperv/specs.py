"""What there is: hosts, virtual machines with their disks and cards, and the cluster the hosts are nodes of.

Pure values. How a host tells of them is `printed`; who asks and what goes wrong meanwhile is `double`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

GIB = 1 << 30
RUNNING, OFF, SAVED, PAUSED = 2, 3, 6, 9
STATE_NAMES = {2: "Running", 3: "Off", 6: "Saved", 9: "Paused"}
PRIMARY, REPLICA, TEST_REPLICA, EXTENDED_REPLICA = 1, 2, 3, 4
REPLICATING, FAILED_OVER_WAITING = 4, 6
_NAMESPACE = uuid.UUID("3f2b9f6e-5b0c-4d93-9f59-64b6a1a2c001")


def guid_of(text: str) -> str:
    """Return the GUID that follows from a text."""
    return str(uuid.uuid5(_NAMESPACE, text))


def swapped(guid: str) -> str:
    """Return a GUID with the bytes of its first three groups turned round, as a generation-1 guest shows it."""
    return str(uuid.UUID(bytes_le=uuid.UUID(guid).bytes))


@dataclass(frozen=True)
class DiskSpec:
    """A drive: a file with a virtual size, or a disk of the host that is passed through.

    `error` is what Get-VHD says where it cannot tell the size: in use on another node, on a share, the file gone.
    """

    size: int | None = 40 * GIB
    kind: int | None = 3  # 2 fixed, 3 dynamic, 4 differencing
    path: str = "C:\\ClusterStorage\\Volume1\\disk.vhdx"
    passthrough: bool = False
    shared: bool = False
    error: str | None = None


@dataclass(frozen=True)
class NicSpec:
    """A network card. A MAC of zeros is one that was never given: dynamic, never started."""

    mac: str = "00155D000001"
    switch: str | None = "vSwitch"
    vlan: int | None = None
    ips: tuple[str, ...] = ()


@dataclass(frozen=True)
class GuestSpec:
    """What a guest tells through its integration services."""

    fqdn: str | None = None
    os_name: str | None = "Windows Server 2019 Standard"
    os_version: str | None = "10.0.17763"
    os_platform: str | None = "2"


@dataclass(frozen=True)
class VmSpec:
    """A virtual machine. `id`, `bios_guid` and `serial` follow from the name unless they are said.

    `state_name` is VMState's name for `state`: from 32783 on the number alone says nothing, so it has to be said there.
    """

    name: str
    id: str = ""
    state: int = RUNNING
    state_name: str = ""
    cpus: int = 2
    memory: int = 4 * GIB
    assigned: int | None = None
    maximum: int | None = None
    dynamic: bool = False
    generation: int = 2
    bios_guid: str = ""
    serial: str | None = ""
    clustered: bool = False
    replication: int = 0
    replication_state: int | None = None
    created: str = "2025-01-01T00:00:00Z"
    disks: tuple[DiskSpec, ...] = (DiskSpec(),)
    nics: tuple[NicSpec, ...] = (NicSpec(),)
    guest: GuestSpec | None = GuestSpec()
    errors: tuple[dict[str, Any], ...] = ()

    @property
    def vm_id(self) -> str:
        """Its VMId."""
        return (self.id or guid_of(f"vm {self.name}")).lower()

    @property
    def bios(self) -> str:
        """Its BIOSGUID, which the guest shows as it is in generation 2, byte-swapped in generation 1."""
        return (self.bios_guid or guid_of(f"bios {self.vm_id}")).lower()

    @property
    def bios_serial(self) -> str | None:
        """Its firmware's serial number: 26 digits in groups, made at random with the machine."""
        if self.serial != "":
            return self.serial
        digits = f"{uuid.UUID(guid_of(f'serial {self.vm_id}')).int:039}"[-26:]
        return "-".join(digits[at : at + 4] for at in range(0, 26, 4))

    @property
    def replicating(self) -> int:
        """Its VMReplicationState: Disabled without replication, else Replicating unless another is said."""
        if self.replication_state is not None:
            return self.replication_state
        return REPLICATING if self.replication else 0

    @property
    def running(self) -> bool:
        return self.state == RUNNING


@dataclass
class HostSpec:
    """A host, and how it is on this day.

    `rights`: what the account is here. `admin` and `hyperv` (Hyper-V Administrators) see every machine, `none` sees
    none of them, and is told so in an error that ends nothing; `unseeing` is not even told so. `module`: whether the Hyper-V PowerShell is there.
    `wmi_denied`: Get-VM is answered, and WMI's root\\virtualization\\v2 is not. `cluster_denied`: the account may read the
    host and not the cluster, which is told in the category of the error, or with `inside` only in an exception in it. `vmms_error`: what the Virtual Machine Management
    service says where it answers nobody.
    """

    name: str
    address: str = ""
    domain: str = "example.test"
    release: str = "2019"
    vms: list[VmSpec] = field(default_factory=list)
    ips: tuple[str, ...] = ()
    macs: tuple[str, ...] = ("00:15:5D:AA:00:01",)
    cpus: int = 32
    memory: int = 256 * GIB
    serial: str = ""
    uuid: str = ""
    rights: str = "hyperv"
    module: bool = True
    wmi_denied: bool = False
    cluster_denied: bool | Literal["inside"] = False
    cluster_module: bool = True
    vmms_error: str = ""
    hidden_second: tuple[str, ...] = ()
    """VMIds that only the second path (WMI) tells of: what Get-VM lost."""

    @property
    def fqdn(self) -> str:
        return f"{self.name}.{self.domain}" if self.domain else self.name

    @property
    def machine_uuid(self) -> str:
        return (self.uuid or guid_of(f"host {self.name}")).upper()


@dataclass
class ClusterSpec:
    """A failover cluster. `down` are nodes that it says are down.

    `owners` says of a machine, by name, that the cluster still has it on another node than it is on; `unlisted` are
    machines that it does not list; `id` follows from the name unless it is said: two clusters may have one name. `extra` has, by VMId, name and owner of machines that it lists and no node has.
    """

    name: str
    nodes: list[str]
    id: str = ""
    down: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    owners: dict[str, str] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    extra: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def cluster_id(self) -> str:
        return self.id or guid_of(f"cluster {self.name}")
