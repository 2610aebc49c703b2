"""What changed between two inventories of one client: in the seed's types, and in words that a person reads.

Usage never is a change, and neither is what is not known on one side: a report that says nothing of its disks has not
lost them. The store writes history rows with this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from asset_ledger.domain.agents.inventory import Inventory

ChangeType = Literal["hardware_change", "network_change", "os_change", "periodic_snapshot"]

MOST_TOLD = 8
"""Of the devices or addresses of one kind that a summary names; the row itself has all."""
_NOISE_BYTES = 32 << 20
_NOISE_PART = 100
"""A size changed where it differs by more than _NOISE_BYTES and by more than one part in so many.

What a kernel keeps of the memory for itself differs by version and boot; file systems do so by a little.
"""
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

_TOLD_ALWAYS = ("hostname", "platform_version", "kernel_version", "cpu_count", "memory_total")
_COMPARED = (
    "hostname",
    "os",
    "platform",
    "platform_version",
    "kernel_version",
    "arch",
    "cpu_count",
    "cpu_model",
    "memory_total",
    "disk_total",
    "devices",
    "ip_addresses",
    "mac_addresses",
    "host_id",
)


@dataclass(frozen=True, slots=True)
class Change:
    """The types of a change, `periodic_snapshot` alone where nothing changed, and its summary in English."""

    types: tuple[ChangeType, ...]
    summary: str


class Difference(NamedTuple):
    """One field of two inventories that is not the same; tuples as in `Inventory`."""

    field: str
    before: Any
    after: Any


def compare(before: Inventory | None, after: Inventory) -> Change:
    """Return what changed since `before`, the client's inventory that precedes in time; None is its first."""
    if before is None:
        return Change(("periodic_snapshot",), f"first report: {_described(after)}")
    told: dict[ChangeType, list[str]] = {
        "hardware_change": [*_cpu(before, after), *_memory(before, after), *_disks(before, after)],
        "network_change": [*_addresses(before, after)],
        "os_change": [*_system(before, after)],
    }
    types = tuple(kind for kind, parts in told.items() if parts)
    if types:
        return Change(types, "; ".join(part for parts in told.values() for part in parts))
    return Change(("periodic_snapshot",), "no change")


def untold(inventory: Inventory) -> bool:
    """Say whether an inventory leaves out what a change would be seen by: an agent could not read it that time."""
    return not (
        all(getattr(inventory, name) is not None for name in _TOLD_ALWAYS)
        and inventory.devices
        and (inventory.ip_addresses or inventory.mac_addresses)
    )


def filled(inventory: Inventory, earlier: Iterable[Inventory]) -> Inventory:
    """Return an inventory with what it leaves out as it was told before: `earlier`, the newest first.

    A change that came with a report that does not tell of it, or after one, is seen against this.
    """
    for one in earlier:
        if not untold(inventory):
            break
        names = [name for name in _TOLD_ALWAYS if getattr(inventory, name) is None]
        names += ["cpu_count_is"] if "cpu_count" in names else []
        names += [] if inventory.devices else ["devices", "disk_total"]
        names += [] if inventory.ip_addresses or inventory.mac_addresses else ["ip_addresses", "mac_addresses"]
        inventory = replace(inventory, **{name: getattr(one, name) for name in names})
    return inventory


def differences(before: Inventory, after: Inventory) -> tuple[Difference, ...]:
    """Return every field that differs between any two inventories, exactly; usage is left out."""
    return tuple(
        Difference(field, old, new)
        for field in _COMPARED
        if (old := getattr(before, field)) != (new := getattr(after, field))
    )


def size(count: int) -> str:
    """Return bytes in the binary unit that people say, with at most one decimal: `16 GiB`, `1.5 TiB`."""
    return _size(count, 1)


def _described(after: Inventory) -> str:
    system = " ".join(text for text in (after.platform or after.os, after.platform_version) if text)
    parts = [
        system,
        f"{after.cpu_count} {_processors(after, after.cpu_count)}" if after.cpu_count else "",
        f"memory {size(after.memory_total)}" if after.memory_total is not None else "",
        f"file systems {size(after.disk_total)}" if after.disk_total is not None else "",
        _some(after.ip_addresses),
    ]
    return ", ".join(part for part in parts if part) or "nothing is known of the machine"


def _cpu(before: Inventory, after: Inventory) -> Iterable[str]:
    if _both(before.cpu_count, after.cpu_count) and before.cpu_count != after.cpu_count:
        yield f"{before.cpu_count} → {after.cpu_count} {_processors(after, after.cpu_count)}"
    if _both(before.cpu_model, after.cpu_model) and before.cpu_model != after.cpu_model:
        yield f"CPU model {before.cpu_model} → {after.cpu_model}"


def _processors(inventory: Inventory, count: int | None) -> str:
    word = "core" if inventory.cpu_count_is == "physical" else "CPU"
    return word if count == 1 else f"{word}s"


def _memory(before: Inventory, after: Inventory) -> Iterable[str]:
    if _resized(before.memory_total, after.memory_total):
        yield f"memory {_both_sizes(before.memory_total, after.memory_total)}"


def _disks(before: Inventory, after: Inventory) -> Iterable[str]:
    if not before.devices or not after.devices:  # nobody told: every machine has a file system
        return
    old, new = dict(before.devices), dict(after.devices)
    if old.keys() == new.keys() and Counter(old.values()) == Counter(new.values()):
        return  # the same disks, found in another order at a boot
    yield from _group(
        "disk",
        "",
        [f"{name} {_both_sizes(total, new[name])}" for name, total in old.items() if _resized(total, new.get(name))],
    )
    yield from _group("disk", "removed", [_device(name, total) for name, total in old.items() if name not in new])
    yield from _group("disk", "added", [_device(name, total) for name, total in new.items() if name not in old])


def _addresses(before: Inventory, after: Inventory) -> Iterable[str]:
    if not all(side.mac_addresses or side.ip_addresses for side in (before, after)):
        return  # one of the two says nothing of its network
    for word, old, new in (
        ("address", before.ip_addresses, after.ip_addresses),
        ("MAC", before.mac_addresses, after.mac_addresses),
    ):
        yield from _moved(word, old, new)


def _moved(word: str, old: Sequence[str], new: Sequence[str]) -> Iterable[str]:
    had, has = set(old), set(new)
    gone, come = [each for each in old if each not in has], [each for each in new if each not in had]
    if len(gone) == len(come) == 1:
        yield f"{word} {gone[0]} → {come[0]}"
        return
    yield from _group(word, "removed", gone)
    yield from _group(word, "added", come)


def _system(before: Inventory, after: Inventory) -> Iterable[str]:
    for word, old, new in (
        ("operating system", before.os, after.os),
        ("platform", before.platform, after.platform),
        ("version", before.platform_version, after.platform_version),
        ("kernel", before.kernel_version, after.kernel_version),
        ("architecture", before.arch, after.arch),
        ("hostname", before.hostname, after.hostname),
    ):
        if _both(old, new) and old != new:
            yield f"{word} {old} → {new}"


def _both(old: object, new: object) -> bool:
    return old is not None and new is not None


def _resized(old: int | None, new: int | None) -> bool:
    if old is None or new is None:
        return False
    difference = abs(new - old)
    return difference > _NOISE_BYTES and difference * _NOISE_PART > max(old, new)


def _device(name: str, total: int | None) -> str:
    return name if total is None else f"{name} {size(total)}"


def _both_sizes(old: int | None, new: int | None) -> str:
    """Return two sizes with as many decimals as it takes to tell them apart."""
    assert old is not None
    assert new is not None
    texts = next(
        (pair for decimals in (1, 2, 3) if (pair := (_size(old, decimals), _size(new, decimals)))[0] != pair[1]),
        (f"{old} bytes", f"{new} bytes"),
    )
    return " → ".join(texts)


def _size(count: int, decimals: int) -> str:
    if count < 1024:
        return f"{count} bytes"
    value, power = count / 1024, 0
    while value >= 1023.95 and power < len(_UNITS) - 1:  # what would be written as 1024 is one of the next
        value, power = value / 1024, power + 1
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".") + f" {_UNITS[power]}"


def _group(word: str, what: str, names: Sequence[str]) -> Iterable[str]:
    """Yield `addresses 192.0.2.1, 192.0.2.2 added`, or nothing where there are no names."""
    if names:
        plural = {"address": "addresses"}.get(word, f"{word}s")
        yield f"{word if len(names) == 1 else plural} {_some(names)} {what}".rstrip()


def _some(names: Sequence[str]) -> str:
    """Return as many names as a summary has room for, and how many more there are."""
    more = f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else ""
    return ", ".join(names[:MOST_TOLD]) + more
