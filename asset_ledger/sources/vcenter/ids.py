"""The ids under which the ledger knows a vCenter's objects: the managed object's own, within this one vCenter. Pure.

A vCenter counts its objects from small numbers, and so does the one that is built in its place: `host-9` there is
another host. An ESXi host has no uuid of its instance: what it numbers anew, `identity.generation` tells apart. `parse`
makes documents with these ids, `survey` asks with them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_MOST = 255
_WITHIN_ANOTHER = re.compile(r"@[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z")


def external_id(about: Mapping[str, str], moid: str) -> str:
    """Return an object's id in the ledger: `moid@instanceUuid`, or the moid alone where there is no instanceUuid."""
    return moid + _within(about)


def moid_here(about: Mapping[str, str], external_id: str) -> str | None:
    """Return the object's id at this server, None for one of another vCenter."""
    within = _within(about)
    if not within and _WITHIN_ANOTHER.search(external_id):
        return None
    moid = external_id.removesuffix(within)
    return moid if moid and external_id == moid + within else None


def _within(about: Mapping[str, str]) -> str:
    told = about.get("instanceUuid", "")[:_MOST]
    if not told.isprintable():
        told = "".join(c for c in told if c.isprintable())
    told = told.strip()
    return f"@{told}" if told else ""
