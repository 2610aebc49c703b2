"""One raw record of a reading to its items: hosts, clusters or virtual machines, or the proof. Pure.

Called for today's readings and for the replay of kept ones. What cannot be read of a record refuses it; what cannot be
read of one object makes that object's fields unknown and gives a caution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.inventory import AssetRecord, Caution, Item, Proof, TargetFailure, UnchangedRecord
from asset_ledger.domain.normalized import Document
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.vcenter import hosts, vms
from asset_ledger.sources.vcenter.errors import (
    HOST_DISCONNECTED,
    HOST_MANAGED,
    PARSE_ERROR,
    RIGHTS_UNCLEAR,
    TLS_UNVERIFIED,
    VM_INACCESSIBLE,
)
from asset_ledger.sources.vcenter.objects import (
    PARSER_VERSION,
    Found,
    Object,
    digest_of_fault,
    digest_of_shared,
    objects,
)
from asset_ledger.sources.vcenter.paths import CLUSTERS, HOSTS, PARTS, VMS
from asset_ledger.sources.vcenter.places import Places, clean, decoded
from asset_ledger.sources.vcenter.proof import prove
from asset_ledger.sources.vcenter.raw import EVIDENCE, Piece, read_evidence, read_objects
from asset_ledger.sources.vcenter.slices import GONE

__all__ = ["PARSER_VERSION", "parse"]

COUNTED = ("requests", "bytes")
"""What a reading counts of itself, for monitoring."""
SHOWN = 10
_KINDS = {HOSTS: hosts.HOST, CLUSTERS: hosts.CLUSTER, VMS: vms.VM}


def parse(raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:
    """Yield what a record says. Raises PermanentError(VCENTER_PARSE_ERROR) for one that is damaged."""
    part = raw.document.get("part")
    if part == EVIDENCE:
        return _evidence(raw)
    if part in PARTS:
        return _objects(read_objects(raw), known)
    raise PermanentError(PARSE_ERROR, "it does not say what part of a reading it is", target=raw.target)


def _evidence(raw: RawRecord) -> Iterator[Item]:
    if raw.document.get("tls_verify") is False:
        yield Caution(TLS_UNVERIFIED, "it was read over a connection whose other end nobody checked")
    evidence = read_evidence(raw)
    if evidence.managed_by:
        yield Caution(HOST_MANAGED, f"the vCenter at {clean(evidence.managed_by)} manages this host")
    verdict = prove(evidence)
    for doubt in verdict.doubts:
        yield Caution(RIGHTS_UNCLEAR, doubt)
    counted = {name: count if type(count := raw.document.get(name)) is int else None for name in COUNTED}
    yield Proof({**verdict.proof.counts, **counted}, verdict.proof.missing)


def _objects(piece: Piece, known: Mapping[bytes, str]) -> Iterator[Item]:
    kind = _KINDS[piece.part]
    places = Places(piece.around.places)
    inaccessible: dict[str, list[str]] = {}
    for one in _read(piece, known):
        locator = f"{one.moid} {clean(decoded(one.name))[:255]}".strip()
        if one.found is None:
            yield UnchangedRecord(one.id, locator, one.digest)
            continue
        if one.found.faults.get("name") == GONE:
            continue  # it went while it was read; the proof knows whether that may be
        document, faults = _document(piece, one, one.found, places)
        state = _state(piece.part, one.found)
        digest = digest_of_fault(one.digest) if faults or state else one.digest
        if known.get(digest) == one.id:
            yield UnchangedRecord(one.id, locator, digest)
        else:
            yield AssetRecord(kind, one.id, locator, document, digest)
        if faults:
            yield Caution(PARSE_ERROR, "; ".join(faults)[:1024], locator)
        if state and piece.part == VMS:
            inaccessible.setdefault(state, []).append(locator)
        elif state:
            address = document["identity"].get("mgmt_ip")
            yield TargetFailure(kind, one.id, address, HOST_DISCONNECTED, f"host {locator} is {state}")
    for state, names in inaccessible.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        are = "1 virtual machine is" if len(names) == 1 else f"{len(names)} virtual machines are"
        told = f"{are} {state}: {', '.join(names[:SHOWN])}{more}"
        yield Caution(VM_INACCESSIBLE, told[:1024], piece.target)


def _read(piece: Piece, known: Mapping[bytes, str]) -> Iterator[Object]:
    """Yield a piece's objects. What a host says of itself hangs on the others: all hosts are read, known or not."""
    if piece.part != HOSTS:
        yield from objects(piece, known)
        return
    every = list(objects(piece, {}))
    shared = hosts.shared_serials(one.found for one in every)
    for one in every:
        one.shared = one.found is not None and hosts.serial_of(one.found) in shared
        if one.shared:
            one.digest = digest_of_shared(one.digest)
        if known.get(one.digest) == one.id:
            one.found = None
        yield one


def _document(piece: Piece, one: Object, found: Found, places: Places) -> tuple[Document, list[str]]:
    if piece.part == VMS:
        document, faults = vms.describe_vm(one.moid, found, places, piece.around.about)
    elif piece.part == HOSTS:
        document, faults = hosts.describe_host(one.moid, found, places, piece.around, shared=one.shared)
    else:
        document, faults = hosts.describe_cluster(one.moid, found, places, piece.around)
    return document, [found.broken] if found.broken else faults


def _state(part: str, found: Found) -> str:
    """Return the state that keeps an object from being read, or ""."""
    if part == VMS:
        return vms.state_of(found)
    return hosts.unreached(found) if part == HOSTS else ""
