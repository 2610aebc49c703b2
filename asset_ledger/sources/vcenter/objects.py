"""From a kept record's body to objects with their properties, as the API types them. Pure; called by `parse`.

A property that is not of its type is in `odd` with the reason, never an error: one object's broken detail is its own.
What `known` has is not even parsed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.vcenter.errors import PARSE_ERROR
from asset_ledger.sources.vcenter.paths import HOSTS
from asset_ledger.sources.vcenter.properties import READERS, OddError
from asset_ledger.sources.vcenter.raw import Piece
from asset_ledger.sources.vcenter.slices import cut, elements, missing, moid_of, name_of

PARSER_VERSION = 1


@dataclass(slots=True)
class Found:
    """One object: `values` by path, `faults` of those in missingSet by path, `odd` those that cannot be read."""

    values: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Object:
    """One slice of a piece. `found` is None where its digest is known: it says what it said before."""

    moid: str
    name: str
    digest: bytes
    found: Found | None = None


def objects(piece: Piece, known: Mapping[bytes, str]) -> Iterator[Object]:
    """Yield a piece's objects in order. Raises PermanentError(VCENTER_PARSE_ERROR) for a damaged body."""
    parts = cut(piece.body, piece.target)
    if len(parts) != piece.objects:
        raise PermanentError(
            PARSE_ERROR, f"it has {len(parts)} objects and was written with {piece.objects}", target=piece.target
        )
    context = _context(piece)
    every: list[Object] = []
    unknown: list[bytes] = []
    ids: set[str] = set()
    for one in parts:
        moid = moid_of(one)
        if moid is None or moid in ids:
            why = "an object has no id" if moid is None else f"it has {moid} twice"
            raise PermanentError(PARSE_ERROR, why, target=piece.target)
        ids.add(moid)
        digest = hashlib.blake2b(one, digest_size=16, key=context).digest()
        entry = Object(moid, name_of(one), digest)
        every.append(entry)
        if known.get(digest) != moid:
            entry.found = Found()
            unknown.append(one)
    if unknown:
        parsed = iter(elements(unknown, piece.namespaces, piece.target))
        readers = READERS[piece.part]
        for entry in every:
            if entry.found is not None:
                read(next(parsed), readers, entry.found)
    yield from every


def digest_of_fault(digest: bytes) -> bytes:
    """Return the digest for a record that came with warnings: no later one knows its slice, so they come again."""
    return hashlib.blake2b(digest, digest_size=16, person=b"warned").digest()


def _context(piece: Piece) -> bytes:
    """Return a digest of all but the slice that a document is made of."""
    around = piece.around
    places = {moid: (one.type, one.name, one.parent) for moid, one in around.places.items()}
    stores = None
    if piece.part == HOSTS and around.datastores is not None:
        stores = {moid: (one.name, one.capacity_bytes, one.accessible) for moid, one in around.datastores.items()}
    told = [PARSER_VERSION, piece.part, around.about.get("instanceUuid"), dict(piece.namespaces), places, stores]
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def read(element: Any, readers: Mapping[str, Callable[[Any], Any]], found: Found) -> None:
    """Read an `<objects>` element into `found`. Paths that nobody asked for are passed over."""
    values, odd = found.values, found.odd
    for child in element:
        if child.tag != "propSet":
            if child.tag == "missingSet":
                path, fault = missing(child)
                found.faults[path] = fault or "an unnamed fault"
            continue
        try:
            name, value = child
        except ValueError:
            odd[child.findtext("name") or ""] = "it is not a name and a value"
            continue
        path = name.text or ""
        reader = readers.get(path)
        if reader is None:
            continue
        if path in values or path in odd:
            odd[path] = "it is there twice"
            continue
        if value.tag != "val" or name.tag != "name":
            odd[path] = "it is not a name and a value"
            continue
        try:
            values[path] = reader(value)
        except OddError as said:
            odd[path] = str(said)
    for path in odd:
        values.pop(path, None)
