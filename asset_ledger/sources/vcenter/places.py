"""Where an object stands: its datacenter, its folder, its resource pool, from the places beside the objects. Pure.

vCenter writes `%`, `/` and `\\` in names as `%25`, `%2f` and `%5c`; `decoded` takes that back. A chain of parents may
be cut, where a right is missing, or damaged: then what is above is not known, and nothing is made up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from asset_ledger.sources.vcenter.raw import Place

DATACENTER = "Datacenter"
CLUSTER = "ClusterComputeResource"
VAPP = "VirtualApp"
_FOLDER = "Folder"
_POOLS = ("ResourcePool", VAPP)
_ESCAPED = re.compile(r"%(25|2[fF]|5[cC])")
_CHARACTERS = {"25": "%", "2f": "/", "5c": "\\"}
TEXT_MOST = 1024


def decoded(name: str) -> str:
    """Return a name of the inventory as people see it."""
    if "%" not in name:
        return name
    return _ESCAPED.sub(lambda found: _CHARACTERS[found.group(1).lower()], name)


def clean(text: str) -> str:
    """Return a text as a document may hold it: printable, stripped, at most 1024 long."""
    if len(text) <= TEXT_MOST and text.isprintable():
        return text.strip()
    return "".join(c if c.isprintable() else " " for c in text).strip()[:TEXT_MOST].strip()


class Places:
    """The places of one reading by moid."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = places
        self._chains: dict[str, list[Place]] = {}
        # most objects stand where others stand
        self._paths: dict[tuple[str, tuple[str, ...]], str | None] = {}
        self._datacenters: dict[str, str | None] = {}

    def type_of(self, moid: str) -> str:
        """Return a place's type, "" where it is not known."""
        found = self._places.get(moid)
        return "" if found is None else found.type

    def datacenter(self, *moids: str | None) -> str | None:
        """Return the datacenter above the first of some places that has one, None where none is known."""
        for moid in moids:
            if moid is None:
                continue
            if moid not in self._datacenters:
                above = (clean(decoded(place.name)) for place in self._chain(moid) if place.type == DATACENTER)
                self._datacenters[moid] = next(above, None)
            if (found := self._datacenters[moid]) is not None:
                return found
        return None

    def folder(self, moid: str) -> str | None:
        """Return a folder's path below its datacenter's own folder, such as `prod/web`; "" for that one itself.

        Folders above a datacenter are no part of it. A name with a slash in it keeps it. None: a part is not known.
        """
        return self._path(moid, (_FOLDER,))

    def pool(self, moid: str) -> str | None:
        """Return a resource pool's path below its cluster's or host's own pool; "" for that one itself."""
        return self._path(moid, _POOLS)

    def name(self, moid: str) -> str:
        """Return a place's name, or ""."""
        found = self._places.get(moid)
        return "" if found is None else clean(decoded(found.name))

    def _path(self, moid: str, types: tuple[str, ...]) -> str | None:
        key = moid, types
        if key not in self._paths:
            self._paths[key] = self._joined(moid, types)
        return self._paths[key]

    def _joined(self, moid: str, types: tuple[str, ...]) -> str | None:
        names: list[str] = []
        for place in self._chain(moid):
            if place.type not in types:
                # the topmost of its kind is the one that every datacenter, cluster or host has by itself
                return clean("/".join(reversed(names[:-1])))
            names.append(decoded(place.name))
        return None

    def _chain(self, moid: str) -> list[Place]:
        """Return a place and what is above it, as far as it is known."""
        found = self._chains.get(moid)
        if found is None:
            found, seen = [], set[str]()
            here: str | None = moid
            while here is not None and here not in seen and (place := self._places.get(here)) is not None:
                seen.add(here)
                found.append(place)
                here = place.parent
            self._chains[moid] = found
        return found
