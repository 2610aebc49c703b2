"""The shape of raw of vCenter: objects as the server sent them, and what proves that there are no more. Pure.

One reading has these records, `document["part"]` says which:

    hosts, clusters, vms   one a piece, target `vms 3`: the body is the bytes of its `<objects>` elements as they came,
                           one after the other, at most 500 of them; the document has what they hang on: the namespaces
                           in force, `about`, `places` (folders, datacenters, pools, clusters) and on hosts `datastores`
    vcenter                last: the body is the evidence of the proof as JSON; see `Evidence`

`bulk` and `collector` write, `objects`, `parse` and `proof` read. What looks like a secret is replaced before a record
is made, and the URIs of devices wholly: a serial port's may have a password anywhere in it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.secrecy import REDACTED, holds_secret
from asset_ledger.sources.vcenter.errors import PARSE_ERROR
from asset_ledger.sources.vcenter.paths import PARTS

OBJECTS_TYPE = "application/x-vim25-objects+xml"
EVIDENCE_TYPE = "application/json"
EVIDENCE = "vcenter"
"""The target, and the part, of the record with the evidence."""
MOST_OBJECTS = 500
MOST_BYTES = 8 << 20
"""A piece ends at the first object that would make it larger; one object alone may be."""

# `domain.secrecy` over bytes, by what each kind cannot be without. No text may hold `<`, so none of these reaches over
# the end of an element
_SECRETS = tuple(
    (mark, re.compile(pattern))
    for mark, pattern in (
        (b"PRIVATE KEY-----", rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
        (b"eyJ", rb"\beyJ[\w-]{8,2048}\.[\w-]{8,4096}\.[\w-]{4}"),
        *((mark, rb"\b" + mark + rb"[\w.-]{12}") for mark in (b"hvs", b"ghp", b"glpat", b"AKIA", b"LTAI")),
    )
)
_LONGEST_LOGIN = 256
_LOGIN = re.compile(rb"://[^\s/:@<>]{0,%d}:[^\s/@<>]{1,%d}@" % (_LONGEST_LOGIN, _LONGEST_LOGIN))
# looking for one mark takes longer than throwing away all bytes but these; in what is left, a fifth, every mark must be
# found without them. `<` keeps two texts apart, a space two words, `P` the mark `hvs` from every `thinProvisioned`
_KEPT = b"hvsgplAKILTJPUR< "
_THROWN = bytes(sorted(set(range(256)) - set(_KEPT)))
_TRACES = tuple(mark.translate(None, _THROWN) for mark, _ in _SECRETS)
# serviceURI, proxyURI: where a port or another device of a machine is connected to, and with which password may stand
# anywhere in it
_URI = b"URI"
_URI_TEXT = re.compile(rb"URI((?:\s[^<>]*)?>)[^<]+")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, datacenter, pool, vApp or compute resource: what a path through the inventory is made of."""

    type: str
    name: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class Datastore:
    """One datastore as its summary tells it; `capacity_bytes` is None where it does not."""

    name: str
    capacity_bytes: int | None
    accessible: bool
    shared: bool | None = None
    type: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the objects of a reading hang on; the same for all pieces of a part.

    `about` are the fields of ServiceContent.about that the ledger wants: fullName, version, build, apiVersion,
    apiType, instanceUuid.
    """

    about: Mapping[str, str]
    places: Mapping[str, Place]
    datastores: Mapping[str, Datastore] | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Some objects of one part, as bytes. `namespaces` maps prefixes ("" for the default) to URIs."""

    part: str
    number: int
    objects: int
    namespaces: Mapping[str, str]
    around: Surroundings
    body: bytes
    target: str


@dataclass(frozen=True, slots=True)
class Sight:
    """What one kind's reading saw, by moid.

    `before` and `after` are the view's own list then, None where it was not read. `received` has the objects in the
    order they came. `lacking` has, for objects without a mandatory property, its path and the fault that stood in its
    place (`NoPermission`, `ManagedObjectNotFound`), "" where nothing did. `ended` is whether the last page had no
    token. `second` is the list by another path (HostSystem.vm; ComputeResource.host), None where it was not read;
    `second_fault` then says why. `dropped` are the paths that this release does not know. `asked` are the objects that
    the ledger knows and that were not received: each was asked for by its id, None where nobody did. Of them `gone`
    are those of which the server said that there is no such object, `denied` those that it knows and does not show;
    `unclear` are all others that it said anything of, with what that was.
    """

    part: str
    before: tuple[str, ...] | None = None
    after: tuple[str, ...] | None = None
    received: tuple[str, ...] = ()
    lacking: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pages: int = 0
    ended: bool = False
    second: tuple[str, ...] | None = None
    second_fault: str = ""
    dropped: tuple[str, ...] = ()
    asked: tuple[str, ...] | None = None
    gone: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    unclear: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Permission:
    """One entry of the permissions: who has which role on what, and below it. `type` is the entity's, in the API."""

    entity: str
    principal: str
    group: bool
    role: int
    propagate: bool
    entity_name: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class Role:
    """A role with what it allows."""

    name: str
    privileges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the proof of one reading is made of.

    `scope` is what was read: `hosts`, `vms` or `all`. `account` is the user's name as the session says it. `read` is
    whether HasPrivilegeOnEntities found System.Read on the root folder, None where it did not answer; `read_fault`
    says why. `permissions` and `roles` are None where the account may not read them, with the fault. `held` is whether
    System.Read holds on the objects of entries that may be about the account, by moid; None where that was not told.
    `runs_on` counts virtual machines by the host that they name, `hosts` is what the view of hosts showed, before and
    after; both None where they were not read. `unplaced` counts objects by a place that they name and that was not
    among the places. `managed_by` is the address of the vCenter that manages an ESXi host.
    """

    scope: str
    about: Mapping[str, str]
    account: str = ""
    root: str = ""
    read: bool | None = None
    read_fault: str = ""
    permissions: tuple[Permission, ...] | None = None
    permissions_fault: str = ""
    roles: Mapping[int, Role] | None = None
    roles_fault: str = ""
    held: Mapping[str, bool] | None = None
    held_fault: str = ""
    hosts: tuple[str, ...] | None = None
    runs_on: Mapping[str, int] | None = None
    runs_on_fault: str = ""
    unplaced: Mapping[str, int] = field(default_factory=dict)
    managed_by: str = ""
    sights: tuple[Sight, ...] = ()


def objects_record(
    part: str,
    number: int,
    slices: Sequence[bytes],
    namespaces: Mapping[str, str],
    around: Surroundings,
    document: Mapping[str, Any],
    observed_at: datetime,
) -> RawRecord:
    """Return the record of one piece; `number` counts a part's from 1, `document` adds timings."""
    body = b"".join(slices)
    kept = without_secrets(body)
    told: dict[str, Any] = {
        "part": part,
        "piece": number,
        "objects": len(slices),
        "namespaces": dict(namespaces),
        "about": dict(around.about),
        "places": {moid: [place.type, redacted(place.name), place.parent] for moid, place in around.places.items()},
    }
    if around.datastores is not None:
        told["datastores"] = {
            moid: {**asdict(one), "name": redacted(one.name)} for moid, one in around.datastores.items()
        }
    return RawRecord(
        target=f"{part} {number}",
        media_type=OBJECTS_TYPE,
        body=kept,
        sha256=hashlib.sha256(body).digest(),
        document={**document, **told},
        observed_at=observed_at,
        redacted=kept is not body,
    )


def evidence_record(evidence: Evidence, document: Mapping[str, Any], observed_at: datetime) -> RawRecord:
    """Return the reading's last record; `document` adds tls_verify, timings, requests, bytes, and a failure."""
    body = json.dumps(evidence, ensure_ascii=False, separators=(",", ":"), default=_fields).encode("utf-8")
    return RawRecord(
        target=EVIDENCE,
        media_type=EVIDENCE_TYPE,
        body=body,
        sha256=hashlib.sha256(body).digest(),
        document={**document, "part": EVIDENCE, "scope": evidence.scope},
        observed_at=observed_at,
    )


def _fields(one: Any) -> dict[str, Any]:
    """Return a dataclass as JSON's: `asdict` copies every list before it is written."""
    return {each.name: getattr(one, each.name) for each in fields(one)}


def without_secrets(body: bytes) -> bytes:
    """Return the bytes with what looks like a secret replaced, the very same where nothing does."""
    left = body.translate(None, _THROWN)
    if _URI in left and _URI in body:
        body = _without_uris(body)
    suspected = [secret for trace, secret in zip(_TRACES, _SECRETS, strict=True) if trace in left]
    if _may_hold_login(body):
        body = _replaced(_LOGIN, body)
    for mark, pattern in suspected:
        if mark in body:
            body = _replaced(pattern, body)
    return body


def _replaced(pattern: re.Pattern[bytes], body: bytes) -> bytes:
    return body if pattern.search(body) is None else pattern.sub(REDACTED.encode(), body)


_BEFORE_URI = re.compile(rb"(?:[A-Za-z_][\w.-]*:)?[A-Za-z]*")


def _without_uris(body: bytes) -> bytes:
    """Return the bytes with the text of each element whose name ends with URI replaced."""

    def blank(found: re.Match[bytes]) -> bytes:
        begun = body.rfind(b"<", 0, found.start())
        if begun < 0 or _BEFORE_URI.fullmatch(body, begun + 1, found.start()) is None:
            return found[0]  # an end, or no tag
        return _URI + found[1] + REDACTED.encode()

    blanked = _URI_TEXT.sub(blank, body)
    return body if blanked == body else blanked


def _may_hold_login(body: bytes) -> bool:
    """Say whether a URL stands before an `@` in one text, as near as one with a password would."""
    at = body.find(b"@")
    while at >= 0:
        begun = max(0, at - 2 * _LONGEST_LOGIN - len(b"://:"))
        if body.find(b"://", max(begun, body.rfind(b"<", begun, at)), at) >= 0:
            return True
        at = body.find(b"@", at + 1)
    return False


def read_objects(raw: RawRecord) -> Piece:
    """Return a piece. Raises PermanentError(VCENTER_PARSE_ERROR) for a document of another shape."""
    document = raw.document
    try:
        part, number, count = document["part"], document["piece"], document["objects"]
        namespaces, about = _mapping(document["namespaces"]), _mapping(document["about"])
        if part not in PARTS or not _whole(number) or not _whole(count):
            raise _ShapeError
        known = {_text(moid): _place(*told) for moid, told in document["places"].items()}
        stores = document.get("datastores")
        datastores = None if stores is None else {_text(moid): _datastore(told) for moid, told in stores.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        raise _damaged(raw, "what stands beside its objects has another shape") from None
    return Piece(part, number, count, namespaces, Surroundings(about, known, datastores), raw.body, raw.target)


def read_evidence(raw: RawRecord) -> Evidence:
    """Return the evidence of a reading. Raises PermanentError(VCENTER_PARSE_ERROR) for one that cannot be read."""
    try:
        told = json.loads(raw.body.decode("utf-8"))
        if told["scope"] != raw.document.get("scope"):
            raise _ShapeError
        permissions, roles, held = told["permissions"], told["roles"], told["held"]
        hosts, runs_on = told["hosts"], told["runs_on"]
        return Evidence(
            scope=_text(told["scope"]),
            about=_mapping(told["about"]),
            account=_text(told["account"]),
            root=_text(told["root"]),
            read=None if told["read"] is None else _flag(told["read"]),
            read_fault=_text(told["read_fault"]),
            permissions=None if permissions is None else tuple(_permission(one) for one in permissions),
            permissions_fault=_text(told["permissions_fault"]),
            roles=None if roles is None else {int(key): _role(one) for key, one in roles.items()},
            roles_fault=_text(told["roles_fault"]),
            held=None if held is None else {_text(moid): _flag(one) for moid, one in held.items()},
            held_fault=_text(told["held_fault"]),
            hosts=None if hosts is None else _moids(hosts),
            runs_on=None if runs_on is None else _counts(runs_on),
            runs_on_fault=_text(told["runs_on_fault"]),
            unplaced=_counts(told["unplaced"]),
            managed_by=_text(told["managed_by"]),
            sights=tuple(_sight(one) for one in told["sights"]),
        )
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise _damaged(raw, "the evidence of its proof cannot be read") from None


def _damaged(raw: RawRecord, why: str) -> PermanentError:
    return PermanentError(PARSE_ERROR, why, target=raw.target)


def redacted(name: str) -> str:
    """Return a name as it may be kept: not at all where it looks like a secret."""
    return REDACTED if holds_secret(name) else name


class _ShapeError(ValueError):
    """What was kept is not of the shape in which it is written."""


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _ShapeError
    value.encode()  # half of a surrogate pair is no text: UnicodeEncodeError is a ValueError
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _ShapeError
    return value


def _number(value: Any) -> int:
    if type(value) is not int:
        raise _ShapeError
    return value


def _mapping(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise _ShapeError
    return {_text(key): _text(one) for key, one in value.items()}


def _moids(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _ShapeError
    return tuple(_text(one) for one in value)


def _counts(value: Any) -> Mapping[str, int]:
    if not isinstance(value, dict) or not all(_whole(one) for one in value.values()):
        raise _ShapeError
    return {_text(key): one for key, one in value.items()}


def _place(kind: Any, name: Any, parent: Any) -> Place:
    return Place(_text(kind), _text(name), None if parent is None else _text(parent))


def _datastore(told: Any) -> Datastore:
    capacity, shared = told["capacity_bytes"], told["shared"]
    return Datastore(
        _text(told["name"]),
        None if capacity is None else _number(capacity),
        _flag(told["accessible"]),
        None if shared is None else _flag(shared),
        _text(told["type"]),
    )


def _permission(told: Any) -> Permission:
    entity, principal, name, kind = (_text(told[key]) for key in ("entity", "principal", "entity_name", "type"))
    group, role, propagate = _flag(told["group"]), _number(told["role"]), _flag(told["propagate"])
    return Permission(entity, principal, group, role, propagate, name, kind)


def _role(told: Any) -> Role:
    return Role(_text(told["name"]), _moids(told["privileges"]))


def _sight(told: Any) -> Sight:
    if told["part"] not in PARTS:
        raise _ShapeError
    return Sight(
        part=told["part"],
        before=None if told["before"] is None else _moids(told["before"]),
        after=None if told["after"] is None else _moids(told["after"]),
        received=_moids(told["received"]),
        lacking={_text(moid): _mapping(faults) for moid, faults in told["lacking"].items()},
        pages=_number(told["pages"]),
        ended=_flag(told["ended"]),
        second=None if told["second"] is None else _moids(told["second"]),
        second_fault=_text(told["second_fault"]),
        dropped=_moids(told["dropped"]),
        asked=None if told["asked"] is None else _moids(told["asked"]),
        gone=_moids(told["gone"]),
        denied=_moids(told["denied"]),
        unclear=_mapping(told["unclear"]),
    )
