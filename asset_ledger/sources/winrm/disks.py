"""The disk of a Windows machine: what its formatted local volumes hold, and beside it what its drives do. Pure.

Called by `parse`. The sum of the volumes is the machine's disk. Drives are evidence: WMI rounds them down to whole
cylinders, shows one drive for every path to it, and shows the volumes of a cluster's other nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

from asset_ledger.domain.normalized import NOT_REPORTED
from asset_ledger.sources.winrm.errors import FIELD_INVALID
from asset_ledger.sources.winrm.values import MOST_BYTES, null, text, whole
from asset_ledger.sources.wsman.enumeration import Row


def volumes(rows: Sequence[Row]) -> tuple[int | None, str]:
    """Return (bytes, "") of all formatted local volumes or (None, reason). One volume that has no size ends the sum.

    A volume without a file system (never formatted, locked by BitLocker) has no size in Windows and is not counted.
    """
    sizes: dict[str, int] = {}
    for row in rows:
        name = text(row, "DeviceID")
        if null(row, "Size") and not text(row, "FileSystem"):
            continue
        size, why = whole(row, "Size")
        if size is None:
            return None, f"{why} on volume {name or 'without a name'}"
        if not name or sizes.setdefault(name, size) != size:
            return None, f"{FIELD_INVALID.code}: DeviceID {name!r} stands for two volumes or for none"
    return _sum(sizes, f"no formatted one among {len(rows)} local volumes")


def drives(rows: Sequence[Row]) -> tuple[int | None, str]:
    """Return (bytes, "") of all drives but those on USB, or (None, reason). A drive without medium has no size."""
    sizes: dict[str, int] = {}
    for row in rows:
        if text(row, "InterfaceType").upper() == "USB" or null(row, "Size"):
            continue
        size, why = whole(row, "Size")
        name = text(row, "DeviceID")
        if size is None:
            return None, f"{why} on drive {name or 'without a name'}"
        if not name or sizes.setdefault(name, size) != size:
            return None, f"{FIELD_INVALID.code}: DeviceID {name!r} stands for two drives or for none"
    return _sum(sizes, f"no drive with a size among {len(rows)}")


def _sum(sizes: dict[str, int], nothing: str) -> tuple[int | None, str]:
    size = sum(sizes.values())
    if not size:
        return None, f"{NOT_REPORTED}: {nothing}"
    return (size, "") if size <= MOST_BYTES else (None, f"{FIELD_INVALID.code}: the sizes add up to {size}")
