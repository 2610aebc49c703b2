"""What objects name: the hosts that machines run on, the folders and pools they stand in. Pure; `survey` notes it.

What is named and shown nowhere is hidden, or was gone meanwhile: `proof` weighs it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from asset_ledger.sources.vcenter.paths import CLUSTERS, HOSTS, VMS

RUNS_ON = "runtime.host"
PLACED = {HOSTS: ("parent",), CLUSTERS: ("parent",), VMS: ("parent", "resourcePool", "parentVApp")}
"""The paths by which objects of each part name the places they are in."""
_VALUE = re.compile(rb"\s*<val(?:\s[^<>]*)?>([^<>]{1,255})</val>")


@dataclass
class References:
    """How many objects name each host and each place, by moid."""

    hosts: dict[str, int] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)

    def note(self, one: bytes, part: str) -> None:
        """Take in an object as it came."""
        if part == VMS and (host := _named(one, RUNS_ON)):
            self.hosts[host] = self.hosts.get(host, 0) + 1
        for path in PLACED[part]:
            if place := _named(one, path):
                self.places[place] = self.places.get(place, 0) + 1

    def unplaced(self, places: Mapping[str, object]) -> dict[str, int]:
        """Return the places that are not among these."""
        return {moid: count for moid, count in self.places.items() if moid not in places}


def _named(one: bytes, path: str) -> str:
    """Return the id that an object's property refers to, "" where it has none."""
    mark = b"<name>" + path.encode() + b"</name>"
    at = one.find(mark)
    while at >= 0:
        # a part of another property may have this name, and then no `val` follows
        if found := _VALUE.match(one, at + len(mark)):
            return found[1].decode("ascii", "replace")
        at = one.find(mark, at + 1)
    return ""
