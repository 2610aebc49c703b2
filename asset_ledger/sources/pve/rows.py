"""The rows of /cluster/resources: which of them are guests, and which cannot be read. Pure.

A row that could be a guest and cannot be read is told as a problem, never left out: `proof` counts it against the
list, `parse` refuses the record. Rows of other kinds (nodes, storages, pools, whatever comes later) are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.sources.pve.properties import whole

LOWEST_ID = 100
HIGHEST_ID = 999_999_999
GUEST_TYPES = ("qemu", "lxc")
NAME_MOST = 255
_IDS_OF_GUESTS = tuple(f"{kind}/" for kind in GUEST_TYPES)


@dataclass(slots=True)
class Guests:
    """The guests of one list by their vmid, in its order; `problems` are its rows that cannot be read."""

    rows: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def guests(data: Any) -> Guests:
    """Return the guests in the data of a list. Rows that cannot be read, or that name one vmid twice, are problems."""
    found = Guests()
    if not isinstance(data, list):
        found.problems.append("the list is none")
        return found
    for place, row in enumerate(data, 1):
        if not isinstance(row, dict):
            found.problems.append(f"row {place} is no object")
            continue
        kind = row.get("type")
        if kind not in GUEST_TYPES:
            # a kind that nobody knows is one thing; a guest whose kind cannot be read would be a guest the less
            if not isinstance(kind, str) or "vmid" in row or str(row.get("id")).startswith(_IDS_OF_GUESTS):
                found.problems.append(f"row {place} is of no kind that can be told")
            continue
        vmid = guest_id(row.get("vmid"))
        if vmid is None:
            found.problems.append(f"row {place} is a guest without an id")
        elif node_name(row.get("node")) is None:
            found.problems.append(f"row {place}, {kind}/{vmid}, is on no node")
        elif vmid in found.rows:
            found.problems.append(f"row {place} names the id {vmid} a second time")
        else:
            found.rows[vmid] = row
    return found


def guest_id(value: Any) -> int | None:
    """Return a vmid, or None for what is none."""
    number = whole(value, HIGHEST_ID)
    return None if number is None or number < LOWEST_ID else number


def node_name(value: Any) -> str | None:
    """Return the name of a node or cluster as it is, or None for what can be none."""
    if isinstance(value, str) and value and value.isprintable() and value.strip() == value and len(value) <= NAME_MOST:
        return value
    return None
