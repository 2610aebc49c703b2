"""The sum of a machine's disks from what lsblk and /sys/block say. Pure; called by `parse`.

A disk is counted once, whatever the number of paths to it, and what is no disk of the machine
(CD, loop, zram, network and mapped devices) is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from asset_ledger.domain.normalized import NOT_REPORTED
from asset_ledger.sources.ssh.errors import SECTION_FAILED
from asset_ledger.sources.ssh.sections import Section

_NO_DISK = re.compile(r"^(zram|ram|loop|sr|fd|nbd|drbd|rbd|zd|md|dm-)|^mmcblk\d+(boot\d+|rpmb)$|^nvme\d+c\d+n\d+$")
_REMOVABLE_ROOT = re.compile(r"^(mmcblk|xvd|vd)")
_EMPTY_WWID = re.compile(r"^-?$|^(\w+\.)?0+$")


@dataclass(frozen=True, slots=True)
class _Disk:
    name: str
    size_bytes: int
    removable: bool


@dataclass(frozen=True, slots=True)
class _Block:
    """One entry of /sys/block. `size_bytes` is None where it is not a number."""

    size_bytes: int | None
    removable: bool
    has_device: bool
    has_slaves: bool
    wwid: str


def total(sections: Mapping[str, Section]) -> tuple[int | None, str]:
    """Return (bytes, "") or (None, reason). A reading that broke off half-way gives no sum."""
    lsblk = sections.get("lsblk", Section("", 127))
    blocks = _blocks(sections.get("sysblock", Section("", 127)))
    if lsblk.rc == 0:
        disks = _lsblk(lsblk.text)
        if disks is None:
            return None, f"{SECTION_FAILED.code}: lsblk printed a line that is not NAME TYPE SIZE RM RO"
    elif lsblk.text.strip() or not blocks:
        return None, f"{SECTION_FAILED.code}: lsblk rc {lsblk.rc}"
    else:
        # no lsblk (busybox), or one too old for these columns: the kernel's own list
        disks = []
        for name, block in blocks.items():
            if block.has_device and not block.has_slaves:
                if block.size_bytes is None:
                    return None, f"{SECTION_FAILED.code}: lsblk rc {lsblk.rc}, and no size of {name} in /sys/block"
                disks.append(_Disk(name, block.size_bytes, block.removable))
    counted: dict[tuple[str, int], int] = {}
    for disk in disks:
        if disk.size_bytes <= 0 or _NO_DISK.match(disk.name):
            continue
        if disk.removable and not _REMOVABLE_ROOT.match(disk.name):
            continue
        wwid = blocks[disk.name].wwid if disk.name in blocks else ""
        unit = disk.name if _EMPTY_WWID.match(wwid) else f"wwid {wwid}"
        counted[unit, disk.size_bytes] = disk.size_bytes
    size = sum(counted.values())
    if size:
        return size, ""
    return None, f"{NOT_REPORTED}: no disk among {len(disks)} block devices"


def _lsblk(text: str) -> list[_Disk] | None:
    disks = []
    for line in text.splitlines():
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 5 or not fields[2].isdecimal():
            return None
        if fields[1] == "disk":
            disks.append(_Disk(fields[0], int(fields[2][:18]), fields[3] == "1"))
    return disks


def _blocks(section: Section) -> dict[str, _Block]:
    found: dict[str, _Block] = {}
    for line in section.text.splitlines():
        fields = line.split("|", 5)
        if len(fields) == 6:
            name, sectors, removable, device, slaves, wwid = fields
            # 512 whatever the disk's own sector size: the unit of the kernel's block layer
            size = int(sectors[:16]) * 512 if sectors.isdecimal() else None
            found[name] = _Block(size, removable == "1", device == "d", slaves == "s", " ".join(wwid.split()))
    return found
