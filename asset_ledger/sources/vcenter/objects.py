"""From a kept record's body to objects with their properties, as the API types them. Pure; called by `parse`.

A property that is not of its type is in `odd` with the reason, never an error: one object's broken detail is its own.
What `known` has is not even parsed. What is of the shape that objects usually have is read by `usual`; all else, and
whatever is odd, by `read`, which alone says what an object means: the two never differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.vcenter.errors import PARSE_ERROR
from asset_ledger.sources.vcenter.ids import external_id
from asset_ledger.sources.vcenter.paths import HOSTS
from asset_ledger.sources.vcenter.places import clean
from asset_ledger.sources.vcenter.properties import READERS, OddError, Reader
from asset_ledger.sources.vcenter.raw import Piece
from asset_ledger.sources.vcenter.slices import cut, elements, missing, moid_of, name_of, unsafe
from asset_ledger.sources.vcenter.usual import Usual

PARSER_VERSION = 1


@dataclass(slots=True)
class Found:
    """One object: `values` by path, `faults` of those in missingSet by path, `odd` those that cannot be read.

    `broken` says why none of them can, "" where the object is well-formed.
    """

    values: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    broken: str = ""


@dataclass(slots=True)
class Object:
    """One slice of a piece; `id` is the ledger's. `found` is None where its digest is known: it says what it said.

    `shared` is set by who sees the others, on a host whose serial number another one tells, too.
    """

    id: str
    moid: str
    name: str
    digest: bytes
    found: Found | None = None
    shared: bool = False


def objects(piece: Piece, known: Mapping[bytes, str]) -> Iterator[Object]:
    """Yield a piece's objects in order. Raises PermanentError(VCENTER_PARSE_ERROR) for a damaged body."""
    parts = cut(piece.body, piece.target)
    if len(parts) != piece.objects:
        raise PermanentError(
            PARSE_ERROR, f"it has {len(parts)} objects and was written with {piece.objects}", target=piece.target
        )
    context = _context(piece)
    every: list[Object] = []
    unknown: list[tuple[Object, bytes]] = []
    ids: set[str] = set()
    for one in parts:
        moid = moid_of(one)
        if moid is None or moid in ids:
            why = "an object has no id" if moid is None else f"it has {moid} twice"
            raise PermanentError(PARSE_ERROR, why, target=piece.target)
        ids.add(moid)
        digest = hashlib.blake2b(one, digest_size=16, key=context).digest()
        entry = Object(external_id(piece.around.about, moid), moid, name_of(one), digest)
        every.append(entry)
        if known.get(digest) != entry.id:
            unknown.append((entry, one))
    for (entry, _), found in zip(unknown, _all_found([one for _, one in unknown], piece), strict=True):
        entry.found = found
    yield from every


def _all_found(parts: Sequence[bytes], piece: Piece) -> list[Found]:
    """Return what each slice says. Raises PermanentError(VCENTER_PARSE_ERROR) where a cut between them is doubtful."""
    readers = READERS[piece.part]
    usual = Usual(readers, piece.namespaces, piece.target).values(parts)
    unusual = [one for one, values in zip(parts, usual, strict=True) if values is None]
    rest = iter(_read_all(unusual, piece, readers) if unusual else ())
    return [next(rest) if values is None else Found(values) for values in usual]


def _read_all(parts: Sequence[bytes], piece: Piece, readers: Mapping[str, Reader]) -> list[Found]:
    """Read slices all at once, or each by itself where one of them is no XML: that one is broken then."""
    try:
        return [read(element, readers) for element in elements(parts, piece.namespaces, piece.target)]
    except PermanentError:
        elements((), piece.namespaces, piece.target)  # what stands around them is as wrong for each
        if any(unsafe(one) for one in parts):
            raise
    return [_read_alone(one, piece, readers) for one in parts]


def _read_alone(part: bytes, piece: Piece, readers: Mapping[str, Reader]) -> Found:
    try:
        [element] = elements((part,), piece.namespaces, piece.target)
    except PermanentError as error:
        why = clean(error.message)
        return Found(odd=dict.fromkeys(readers, why), broken=why)
    return read(element, readers)


def digest_of_fault(digest: bytes) -> bytes:
    """Return the digest for a record that came with warnings: no later one knows its slice, so they come again."""
    return hashlib.blake2b(digest, digest_size=16, person=b"warned").digest()


def digest_of_shared(digest: bytes) -> bytes:
    """Return the digest for a host whose serial number another host of the record tells, too."""
    return hashlib.blake2b(digest, digest_size=16, person=b"shared").digest()


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


def read(element: Any, readers: Mapping[str, Reader]) -> Found:
    """Return what an `<objects>` element says. Paths that nobody asked for are passed over."""
    found = Found()
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
            values[path] = reader.read(value)
        except OddError as said:
            odd[path] = str(said)
    for path in odd:
        values.pop(path, None)
    return found
