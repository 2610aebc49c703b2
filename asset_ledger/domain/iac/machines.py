"""What a state says of a machine in the ledger's units: cores, bytes, on or off. Pure; saved by `pipeline.states`.

Only what it says for sure. None is "it does not say", and is never compared: disks of clouds are attached by resources
of their own, a clone's disks are not all in the state, and what is secret is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from asset_ledger.domain.iac.attributes import (
    GIB,
    MIB,
    Attributes,
    Power,
    addresses,
    block,
    blocks,
    cores,
    cores_of_sockets,
    identity,
    in_bytes,
    numbered,
    of,
    power,
    size,
    text,
    total,
)
from asset_ledger.domain.iac.snapshot import Resource
from asset_ledger.domain.iac.uids import Named

ATTRIBUTES = ("cpu_cores", "memory_bytes", "disk_total_bytes", "power_state", "host", "ip_addresses")
"""What is compared with what is observed."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as its state has it. `kind` and `external_id` are the ledger's for it; `uuid` is the BIOS's.

    `host` is as the provider names it: a node's name, or a host's managed object id. `region` is the part of the cloud
    that it is in, where its source may read other parts alone. Addresses are sorted, without
    loopback and link-local ones.
    """

    kind: str | None = None
    external_id: str | None = None
    uuid: UUID | None = None
    name: str | None = None
    cpu_cores: int | None = None
    memory_bytes: int | None = None
    disk_total_bytes: int | None = None
    power_state: Power | None = None
    host: str | None = None
    ip_addresses: tuple[str, ...] = ()
    region: str | None = None


def is_machine(resource: Resource) -> bool:
    """Say whether a resource is of a type that is a machine."""
    return resource.type in _READERS


def declared(resource: Resource, attrs: Attributes, named: Named) -> Machine | None:
    """Return what its redacted attributes say of a machine; None of what is none, or cannot be told from others."""
    reader = _READERS.get(resource.type)
    if reader is None:
        return None
    found = reader(attrs)
    if named.machine is not None:
        # an alicloud name is unique in its region
        region = text(named.scope) if resource.type in _OF_REGIONS else None
        found = replace(found, kind=named.machine[0], external_id=named.machine[1], region=region)
    # what an apply left behind that failed: nothing in the inventory could ever be it
    if found.external_id is None and found.uuid is None and not found.ip_addresses:
        return None
    if resource.deposed:  # it is on its way out; that it is somebody's is all that counts
        return Machine(found.kind, found.external_id, found.uuid, found.name, region=found.region)
    return found


def _vsphere(attrs: Attributes) -> Machine:
    return Machine(
        uuid=identity(of(attrs, "uuid") or of(attrs, "id")),
        name=text(of(attrs, "name")),
        cpu_cores=cores(of(attrs, "num_cpus")),
        memory_bytes=in_bytes(of(attrs, "memory"), MIB),
        # the size of a disk that is only attached is not the provider's
        disk_total_bytes=total(
            None if of(disk, "attach") in (True, "true") else in_bytes(of(disk, "size"), GIB)
            for disk in blocks(attrs, "disk", "disks")
        ),
        power_state=power(of(attrs, "power_state")),
        host=text(of(attrs, "host_system_id")),
        ip_addresses=addresses(of(attrs, "guest_ip_addresses"), of(attrs, "default_ip_address")),
    )


def _bpg_vm(attrs: Attributes) -> Machine:
    memory = block(attrs, "memory")
    return Machine(
        uuid=identity(of(block(attrs, "smbios"), "uuid")),
        name=text(of(attrs, "name")),
        cpu_cores=cores_of_sockets(block(attrs, "cpu")),
        memory_bytes=in_bytes(of(memory, "dedicated"), MIB),
        disk_total_bytes=_bpg_disks(attrs),
        # of a template it is what was written, not what is
        power_state=None if of(attrs, "template") is True else power(of(attrs, "started")),
        host=text(of(attrs, "node_name")),
        ip_addresses=addresses(of(attrs, "ipv4_addresses"), of(attrs, "ipv6_addresses")),
    )


def _bpg_container(attrs: Attributes) -> Machine:
    start = block(attrs, "initialization")
    static = [
        of(block(config, family), "address")
        for config in blocks(start, "ip_config", "ipConfigs")
        for family in ("ipv4", "ipv6")
    ]
    return Machine(
        name=text(of(start, "hostname")),
        cpu_cores=cores(of(block(attrs, "cpu"), "cores")),
        memory_bytes=in_bytes(of(block(attrs, "memory"), "dedicated"), MIB),
        disk_total_bytes=_bpg_disks(attrs),
        power_state=None if of(attrs, "template") is True else power(of(attrs, "started")),
        host=text(of(attrs, "node_name")),
        ip_addresses=addresses(static),
    )


def _bpg_disks(attrs: Attributes) -> int | None:
    """Return the bytes of all disks. A clone has those of its template too, of which the state knows nothing."""
    if blocks(attrs, "clone"):
        return None
    mounted = [
        size(of(mount, "size"))
        for mount in blocks(attrs, "mount_point", "mountPoints")
        if not str(of(mount, "volume") or "").startswith("/")  # a folder of the node
    ]
    return total([*(in_bytes(of(disk, "size"), GIB) for disk in blocks(attrs, "disk", "disks")), *mounted])


def _telmate_vm(attrs: Attributes) -> Machine:
    # since 3.0.2 a block; before, `cpu` was the model's name
    cpu = block(attrs, "cpu")
    return Machine(
        uuid=identity(of(block(attrs, "smbios"), "uuid")),
        name=text(of(attrs, "name")),
        cpu_cores=cores_of_sockets(cpu if of(cpu, "cores") is not None else attrs),
        memory_bytes=in_bytes(of(attrs, "memory"), MIB),
        disk_total_bytes=total(_telmate_disks(attrs)),
        power_state=power(of(attrs, "vm_state")),
        host=text(of(attrs, "target_node")),
        ip_addresses=addresses(of(attrs, "default_ipv4_address"), of(attrs, "default_ipv6_address")),
    )


def _telmate_disks(attrs: Attributes) -> Iterator[int | None]:
    """Yield the size of each disk, in either of the two ways to write them; of one that is ignored None."""
    for disk in blocks(attrs, "disk"):
        if of(disk, "type") not in ("cdrom", "cloudinit") and of(disk, "media") != "cdrom":
            yield None if of(disk, "type") == "ignore" else size(of(disk, "size"))
    for bus in numbered(attrs, "disks"):
        for slot in (held for name in bus for held in blocks(bus, name)):
            if slot.get("ignore") is True:
                yield None
            yield from (size(of(disk, "size")) for disk in blocks(slot, "disk", "passthrough"))


def _telmate_lxc(attrs: Attributes) -> Machine:
    mounts = [mount for mount in blocks(attrs, "mountpoint") if not str(mount.get("volume") or "").startswith("/")]
    return Machine(
        name=text(of(attrs, "hostname")),
        cpu_cores=cores(of(attrs, "cores")),
        memory_bytes=in_bytes(of(attrs, "memory"), MIB),
        disk_total_bytes=None
        if of(attrs, "clone")
        else total(size(disk.get("size")) for disk in (*blocks(attrs, "rootfs"), *mounts)),
        host=text(of(attrs, "target_node")),
        ip_addresses=addresses([card.get(each) for card in blocks(attrs, "network") for each in ("ip", "ip6")]),
    )


def _telmate_guest(attrs: Attributes) -> Machine:
    cards = blocks(attrs, "network") + numbered(attrs, "networks")
    mounts = [mount for mount in blocks(attrs, "mount") if mount.get("type") != "bind"]
    mounts += [mount for slot in numbered(attrs, "mounts") for mount in blocks(slot, "data")]
    return Machine(
        name=text(of(attrs, "name")),
        cpu_cores=cores(of(block(attrs, "cpu"), "cores")),
        memory_bytes=in_bytes(of(attrs, "memory"), MIB),
        disk_total_bytes=total(size(disk.get("size")) for disk in (*blocks(attrs, "root_mount"), *mounts)),
        power_state=power(of(attrs, "power_state")),
        host=text(of(attrs, "target_node")),
        ip_addresses=addresses([card.get(each) for card in cards for each in ("ipv4_address", "ipv6_address")]),
    )


def _alicloud(attrs: Attributes) -> Machine:
    return Machine(
        name=text(of(attrs, "instance_name")),
        cpu_cores=cores(of(attrs, "cpu")),
        memory_bytes=in_bytes(of(attrs, "memory"), MIB),
        power_state=power(of(attrs, "status")),
        ip_addresses=addresses(*(of(attrs, each) for each in ("private_ip", "primary_ip_address"))),
    )


def _aws(attrs: Attributes) -> Machine:
    # its own options; the older names for the same were taken away with version 6 of the provider
    options = block(attrs, "cpu_options")
    count = cores(of(options, "core_count") or of(attrs, "cpu_core_count"))
    threads = cores(of(options, "threads_per_core") or of(attrs, "cpu_threads_per_core"))
    tags = of(attrs, "tags")
    return Machine(
        name=text(tags.get("Name")) if isinstance(tags, Mapping) else None,
        cpu_cores=count * threads if count and threads else None,
        power_state=power(of(attrs, "instance_state")),
        ip_addresses=addresses(
            *(of(attrs, each) for each in ("private_ip", "secondary_private_ips", "ipv6_addresses"))
        ),
    )


def _azure(attrs: Attributes) -> Machine:
    return Machine(
        uuid=identity(of(attrs, "virtual_machine_id")),
        name=text(of(attrs, "name")),
        ip_addresses=addresses(of(attrs, "private_ip_address"), of(attrs, "private_ip_addresses")),
    )


def _google(attrs: Attributes) -> Machine:
    cards, status = blocks(attrs, "network_interface", "networkInterfaces"), of(attrs, "current_status")
    return Machine(
        name=text(of(attrs, "name")),
        # what is stopped is TERMINATED there
        power_state="off" if status == "TERMINATED" else power(status),
        ip_addresses=addresses([of(card, each) for card in cards for each in ("network_ip", "ipv6_address")]),
    )


_OF_REGIONS = ("alicloud_instance", "alicloud:ecs/instance:Instance")

_READERS: Mapping[str, Callable[[Attributes], Machine]] = {
    "vsphere_virtual_machine": _vsphere,
    "vsphere:index/virtualMachine:VirtualMachine": _vsphere,
    "proxmox_vm_qemu": _telmate_vm,
    "proxmox_lxc": _telmate_lxc,
    "proxmox_lxc_guest": _telmate_guest,
    "proxmox_virtual_environment_vm": _bpg_vm,
    "proxmox_virtual_environment_vm2": _bpg_vm,
    "proxmox_virtual_environment_container": _bpg_container,
    "proxmoxve:VM/virtualMachine:VirtualMachine": _bpg_vm,
    "proxmoxve:CT/container:Container": _bpg_container,
    "alicloud_instance": _alicloud,
    "alicloud:ecs/instance:Instance": _alicloud,
    "aws_instance": _aws,
    "aws:ec2/instance:Instance": _aws,
    "azurerm_linux_virtual_machine": _azure,
    "azurerm_virtual_machine": _azure,
    "azurerm_windows_virtual_machine": _azure,
    "azure:compute/linuxVirtualMachine:LinuxVirtualMachine": _azure,
    "azure:compute/windowsVirtualMachine:WindowsVirtualMachine": _azure,
    "google_compute_instance": _google,
    "gcp:compute/instance:Instance": _google,
}
