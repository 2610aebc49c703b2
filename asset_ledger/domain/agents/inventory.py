"""A report as the columns of the agents' tables, and what of it is stable: the machine, not what it is busy with.

Sums follow what operating systems really tell: see the rules at each. `digest` is how two reports of an unchanged
machine are known; the store, the pipeline and the reference agent compute it with this.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from asset_ledger.domain.agents.interfaces import lasting_addresses, own_macs
from asset_ledger.domain.agents.payload import Disk, Report
from asset_ledger.domain.iac.exact_json import canonical

MEMORY_STEP = 32 << 20
"""Bytes that memory is rounded to before it is compared by digest: what a kernel keeps for itself varies by boot."""

_LARGEST = (1 << 63) - 1
_NO_DISK = re.compile(
    # read-only media and images
    r"iso9660|udf|cdfs|cd9660|squashfs|erofs|cramfs|romfs|"
    # of memory, of another file system, or of nothing
    r"overlay|overlayfs|aufs|unionfs|nullfs|tmpfs|devtmpfs|ramfs|rootfs|devfs|fdescfs|autofs|swap|none|proc|procfs|"
    r"linprocfs|sysfs|linsysfs|cgroup|cgroup2|cgroup2fs|devpts|mqueue|hugetlbfs|debugfs|tracefs|securityfs|pstore|bpf|"
    r"configfs|fusectl|efivarfs|binfmt_misc|selinuxfs|rpc_pipefs|nsfs|"
    # of another machine
    r"nfs.*|cifs|smb|smb2|smb3|smbfs|afpfs|webdav|ncpfs|9p|v9fs|virtiofs|vboxsf|vmhgfs|drvfs|ceph|glusterfs|lustre|"
    r"beegfs|afs|gpfs|"
    # of a program; but what `fuseblk` mounts is on a disk
    r"fuse|fuse\..*|macfuse|osxfuse",
    re.DOTALL,
)
_IN_MEMORY_OR_IN_A_FILE = re.compile(r"^/dev/(loop|ram|zram)\d")
# what a container runtime mounts into its containers: single files, on a disk of the host
_FILES = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log"})
_APFS_CONTAINER = re.compile(r"^(/dev/disk\d+)s\d")


@dataclass(frozen=True, slots=True)
class Inventory:
    """One report in columns. Bytes and percent; None is unknown.

    `disk_*` are of file systems, not of hardware. `ip_addresses` are those that last. `devices` are
    (name, bytes), sorted; bytes is None where they change with use (ZFS) or could not be read.
    """

    hostname: str | None
    os: str | None
    platform: str | None
    platform_version: str | None
    kernel_version: str | None
    arch: str | None
    cpu_count: int | None
    cpu_count_is: Literal["logical", "physical"]
    cpu_model: str | None
    cpu_usage_percent: float | None
    memory_total: int | None
    memory_used: int | None
    memory_free: int | None
    memory_usage_percent: float | None
    disk_total: int | None
    disk_used: int | None
    disk_free: int | None
    disk_usage_percent: float | None
    ip_addresses: tuple[str, ...]
    mac_addresses: tuple[str, ...]
    devices: tuple[tuple[str, int | None], ...]
    host_id: str | None


@dataclass(frozen=True, slots=True)
class _Device:
    name: str
    total: int | None
    used: int | None
    free: int | None
    size_lasts: bool = True


def inventory(report: Report) -> Inventory:
    """Return what a report says of its machine. CPUs are the sum of `cores`, which macOS counts physically."""
    devices = _devices(report.disks)
    disk_total = _sum(device.total for device in devices)
    disk_used = _sum(device.used for device in devices)
    disk_free = _sum(device.free for device in devices)
    os = report.os.lower() if report.os else None
    model = next((cpu.model for cpu in report.cpus if cpu.model), None)
    return Inventory(
        hostname=report.hostname,
        os=os,
        platform=report.platform,
        platform_version=report.platform_version,
        kernel_version=report.kernel_version,
        arch=report.arch,
        cpu_count=_sum(cpu.cores for cpu in report.cpus) or None,
        cpu_count_is="physical" if os == "darwin" else "logical",
        cpu_model=" ".join(model.split()) if model else None,
        cpu_usage_percent=report.cpu_usage_percent,
        memory_total=report.memory_total,
        memory_used=report.memory_used,
        memory_free=report.memory_free,
        memory_usage_percent=report.memory_used_percent
        if report.memory_used_percent is not None
        else _share(report.memory_used, report.memory_total),
        disk_total=disk_total,
        disk_used=disk_used,
        disk_free=disk_free,
        # as `df` does: what only root may fill counts neither as used nor as free
        disk_usage_percent=None if disk_used is None or disk_free is None else _share(disk_used, disk_used + disk_free),
        ip_addresses=lasting_addresses(report.nics),
        mac_addresses=own_macs(report.nics),
        # two of one name can only be told apart by their kind, which says nothing to people
        devices=tuple(sorted({each.name: each.total if each.size_lasts else None for each in devices}.items())),
        host_id=report.host_id,
    )


def stable(inventory: Inventory) -> Mapping[str, Any]:
    """Return what of an inventory stays while the machine stays the same, as JSON values.

    `host_id` is not among it: without root it is a number that every boot draws anew.
    """
    memory = inventory.memory_total
    return {
        "arch": inventory.arch,
        "cpu_count": inventory.cpu_count,
        "cpu_model": inventory.cpu_model,
        "devices": [list(device) for device in inventory.devices],
        "hostname": inventory.hostname,
        "ip_addresses": list(inventory.ip_addresses),
        "kernel_version": inventory.kernel_version,
        "mac_addresses": list(inventory.mac_addresses),
        "memory_steps": None if memory is None else (memory + MEMORY_STEP // 2) // MEMORY_STEP,
        "os": inventory.os,
        "platform": inventory.platform,
        "platform_version": inventory.platform_version,
    }


def digest(inventory: Inventory) -> bytes:
    """Return the SHA-256 of the canonical JSON of what is stable."""
    return hashlib.sha256(canonical(stable(inventory))).digest()


def _devices(disks: Iterable[Disk]) -> list[_Device]:
    """Return what holds the file systems, each once: btrfs subvolumes and bind mounts repeat their device."""
    groups: dict[tuple[str, str], list[Disk]] = {}
    for disk in disks:
        if _counts(disk):
            groups.setdefault(_holder(disk), []).append(disk)
    return [_device(kind, name, mounts) for (kind, name), mounts in groups.items()]


def _counts(disk: Disk) -> bool:
    fstype = disk.fstype.lower()
    if disk.read_only or _NO_DISK.fullmatch(fstype):
        return False
    if not disk.total and (disk.total == 0 or not fstype):  # of no size, or a drive without a medium
        return False
    if disk.mountpoint in _FILES or disk.device.startswith("//"):
        return False
    return not _IN_MEMORY_OR_IN_A_FILE.match(disk.device) or disk.mountpoint == "/"


def _holder(disk: Disk) -> tuple[str, str]:
    """Return what a file system takes its space from, with its kind: volumes of APFS and ZFS share one."""
    fstype = disk.fstype.lower()
    if fstype == "apfs" and (container := _APFS_CONTAINER.match(disk.device)):
        return fstype, container[1]
    if fstype == "zfs":
        return fstype, disk.device.split("/", 1)[0]
    return "", disk.device or disk.mountpoint


def _device(kind: str, name: str, mounts: list[Disk]) -> _Device:
    free = min((disk.free for disk in mounts if disk.free is not None), default=None)
    if kind == "zfs":
        # each dataset's total is what itself uses and what the pool has left, so it changes with every write
        used = _sum({disk.device: disk.used for disk in mounts}.values())
        return _Device(name, None if used is None or free is None else used + free, used, free, size_lasts=False)
    total = max((disk.total for disk in mounts if disk.total is not None), default=None)
    used = max((disk.used for disk in mounts if disk.used is not None), default=None)
    if kind == "apfs" and total is not None and free is not None:
        used = max(total - free, 0)
    return _Device(name, total, used, free)


def _sum(numbers: Iterable[int | None]) -> int | None:
    """Return the sum, or None where there is nothing, something unknown, or more than a column holds."""
    found = list(numbers)
    known = [number for number in found if number is not None]
    if not known or len(known) < len(found):
        return None
    return total if (total := sum(known)) <= _LARGEST else None


def _share(part: int | None, whole: int | None) -> float | None:
    if part is None or not whole or part > whole:
        return None
    return round(100 * part / whole, 2)
