"""The processors, memory and disks of a guest, from its config: absent keys are Proxmox VE's defaults. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from asset_ledger.domain.normalized import NOT_REPORTED
from asset_ledger.sources.pve.properties import MOST, fault, properties, put, rounded_up, size_bytes, whole

MOST_PROCESSORS = 100_000
DEFAULT_MEMORY_MIB = 512
_MIB = 1 << 20

_DISK = re.compile(r"(?:ide|sata|scsi|virtio)\d{1,3}\Z")
_MOUNT = re.compile(r"(?:rootfs|mp\d{1,3})\Z")
_NO_DISK = frozenset({"none", "cdrom"})
_CLOUD_INIT = re.compile(r"(?:.*[:/])?vm-[0-9]+-cloudinit(?:\.[a-z0-9]+)?\Z")


def hardware(config: Mapping[str, Any], kind: str, unknown: dict[str, str], faults: list[str]) -> dict[str, int]:
    """Return a guest's processors, memory and disks; what is not known goes to `unknown`, what is odd to `faults`."""
    found: dict[str, int] = {}
    if kind == "qemu":
        sockets, cores = (whole(config.get(key, 1), MOST_PROCESSORS) for key in ("sockets", "cores"))
        count = sockets * cores if sockets and cores else 0
        wrong = not 1 <= count <= MOST_PROCESSORS
    else:
        told = config.get("cores", config.get("cpulimit"))
        limit = rounded_up(told)
        count = limit or 0
        wrong = told is not None and (limit is None or count > MOST_PROCESSORS)
    if wrong:
        fault(unknown, faults, "hardware.cpu_count", "the number of its processors cannot be read")
    else:
        every = f"{NOT_REPORTED}: it has no limit and uses every processor of its host"
        put(found, unknown, "hardware.cpu_count", count, every)
    memory = config.get("memory", DEFAULT_MEMORY_MIB)
    if kind == "qemu" and isinstance(memory, str) and not memory.isdecimal():
        memory = properties(memory, "current").get("current")
    mib = whole(memory, MOST // _MIB)
    if mib:
        found["memory_bytes"] = mib * _MIB
    else:
        fault(unknown, faults, "hardware.memory_bytes", "its memory cannot be read")
    total = _disks(config, kind, unknown, faults)
    if total:
        found["disk_total_bytes"] = total
    return found


def _disks(config: Mapping[str, Any], kind: str, unknown: dict[str, str], faults: list[str]) -> int:
    """Return the sum of the sizes of its disks, or 0 with the reason noted."""
    path, total = "hardware.disk_total_bytes", 0
    of_its_kind, initials = (_DISK.match, "isv") if kind == "qemu" else (_MOUNT.match, "mr")
    # the keys come in another order every time; which of them is to blame must not
    keys = [key for key in config if key[:1] in initials and of_its_kind(key)]
    for key in sorted(keys) if len(keys) > 1 else keys:
        value = config[key]
        if not isinstance(value, str):
            fault(unknown, faults, path, f"{key} cannot be read")
            return 0
        parts = properties(value, "file" if kind == "qemu" else "volume")
        volume = parts.get("file") or parts.get("volume") or ""
        if kind == "qemu":
            if parts.get("media") == "cdrom" or volume in _NO_DISK or _CLOUD_INIT.match(volume):
                continue
        # a folder of the host, mounted into it; a device is a disk where it has a size, or is what it runs from
        elif volume.startswith("/") and not (volume.startswith("/dev/") and ("size" in parts or key == "rootfs")):
            continue
        if "size" not in parts:
            unknown[path] = f"{NOT_REPORTED}: its config has no size for {key}"
            return 0
        size = size_bytes(parts["size"])
        if size is None:
            fault(unknown, faults, path, f"the size of {key} cannot be read")
            return 0
        total += size
    if total > MOST:
        fault(unknown, faults, path, "its disks are larger than can be")
        return 0
    if not total:
        unknown[path] = f"{NOT_REPORTED}: it has no disk"
    return total
