"""What happened to the resources of a state from one version to the next.

Two sides are compared by who the resources are (`uids`), not by where they stand. What a version of the state shows
is told, and nothing more: a resource that is not in it any more left the state; only a plan or an inventory knows
whether the thing itself was destroyed.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from asset_ledger.domain.iac.exact_json import canonical
from asset_ledger.domain.iac.patches import Patch, made, value_hash, without_noise
from asset_ledger.domain.iac.redaction import redacted, token
from asset_ledger.domain.iac.snapshot import Place, Resource
from asset_ledger.domain.iac.uids import Identity

Action = Literal["create", "update", "delete", "replace", "moved", "forget", "taint", "untaint", "deposed"]

_NOTHING = value_hash({})


@dataclass(frozen=True, slots=True)
class Known:
    """A resource as the version before left it. `attributes` is asked for only where something changed."""

    stable_uid: uuid.UUID
    place: Place
    type: str
    provider: str
    digest: bytes
    incarnation: str | None
    tainted: bool
    attributes: Callable[[], Mapping[str, Any]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Seen:
    """A resource of the new version: who it is, and its digest."""

    resource: Resource
    identity: Identity
    digest: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one resource. `patch` leads from the redacted attributes before to those after.

    `previous` is the place it stood at before, where that was another one.
    """

    stable_uid: uuid.UUID
    action: Action
    place: Place
    type: str
    provider: str
    patch: Patch
    before_hash: str
    after_hash: str
    previous: Place | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one version did: its events, in order, the attributes that stand from now on, who stands no more.

    `attributes` has those alone that changed.
    """

    events: tuple[Event, ...]
    attributes: Mapping[uuid.UUID, Mapping[str, Any]]
    ended: frozenset[uuid.UUID] = frozenset()


def digest(resource: Resource, key: bytes) -> bytes:
    """Return 16 bytes that change when anything of a resource does that is told, or its edges. `key` is the tenant's.

    Keyed, because it is made of secrets too. Not in it: the order of marks, what identifies the client's release.
    """
    told = [
        resource.attributes,
        resource.sensitive,
        resource.type,
        resource.provider,
        resource.alias,
        resource.dependencies,
    ]
    return hashlib.blake2b(canonical(told), digest_size=16, key=key).digest()


def compared(
    before: Iterable[Known], after: Iterable[Seen], *, operation: str | None, key: bytes, complete: bool = True
) -> Outcome:
    """Return what happened. `operation` is the one the version's lock names; `key` the tenant's.

    Where the version could not be read whole it is not `complete`: who is not seen is not gone.
    """
    left = {known.stable_uid: known for known in before}
    fresh: list[Seen] = []
    events: list[Event] = []
    attributes: dict[uuid.UUID, Mapping[str, Any]] = {}
    for seen in after:
        known = left.pop(seen.identity.stable_uid, None)
        if known is None:
            fresh.append(seen)
        else:
            events.extend(_same(known, seen, key, attributes))
    # at one address another object stands: it was replaced, not lost and found
    by_place = {known.place: known for known in left.values()}
    ended: set[uuid.UUID] = set()
    for seen in fresh:
        known = by_place.get(seen.resource.place)
        now = redacted(seen.resource, key)
        attributes[seen.identity.stable_uid] = now
        if known is not None:
            ended.add(known.stable_uid)
            del left[known.stable_uid]
            events.append(_ended(known, "replace"))
            events.append(_event(seen, "replace", {}, now))
        else:
            events.append(_event(seen, "create", {}, now))
    # `state rm` says that it only forgets; of an apply the state alone does not tell
    gone: Action = "forget" if operation == "state-rm" else "delete"
    if complete:
        events.extend(_ended(known, gone) for known in left.values())
        ended.update(left)
    return Outcome(tuple(sorted(events, key=_order)), attributes, frozenset(ended))


def event_id(state: str, version: int, sequence: int) -> uuid.UUID:
    """Return the id of an event: the same whenever the version is parsed again."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"asset-ledger:{state}:{version}:{sequence}")


def _same(known: Known, seen: Seen, key: bytes, attributes: dict[uuid.UUID, Mapping[str, Any]]) -> Iterator[Event]:
    """Yield what happened to a resource that is in both versions."""
    resource = seen.resource
    moved = known.place if known.place != resource.place else None
    if moved and moved[0] == resource.address:  # it stands aside for the one that replaces it, or came back
        action: Action = "deposed" if resource.deposed else "moved"
        yield _unchanged(known, seen, action, moved)
    elif moved:
        yield _unchanged(known, seen, "moved", moved)
    if known.tainted != resource.tainted:
        yield _unchanged(known, seen, "taint" if resource.tainted else "untaint", None)
    if known.digest == seen.digest and known.incarnation == seen.identity.named.incarnation:
        return
    before = known.attributes()
    now = without_noise(before, redacted(resource, key))
    again = _another(known.incarnation, seen.identity.named.incarnation, key)
    patch = made(before, now)
    if patch or again:
        attributes[known.stable_uid] = now
        yield _event(seen, "replace" if again else "update", before, now, patch)


def _another(before: str | None, now: str | None, key: bytes) -> bool:
    """Say whether these are two incarnations; one that is secret since, or no longer, is the same."""
    if before is None or now is None:
        return before != now
    return before != now and token(before, key) != now and before != token(now, key)


def _unchanged(known: Known, seen: Seen, action: Action, previous: Place | None) -> Event:
    return Event(
        known.stable_uid, action, seen.resource.place, known.type, seen.resource.provider, [], "", "", previous
    )


def _event(
    seen: Seen, action: Action, before: Mapping[str, Any], now: Mapping[str, Any], patch: Patch | None = None
) -> Event:
    return Event(
        seen.identity.stable_uid,
        action,
        seen.resource.place,
        seen.resource.type,
        seen.resource.provider,
        made(before, now) if patch is None else patch,
        value_hash(before) if before else _NOTHING,
        value_hash(now),
    )


def _ended(known: Known, action: Action) -> Event:
    before = known.attributes()
    return Event(
        known.stable_uid,
        action,
        known.place,
        known.type,
        known.provider,
        made(before, {}),
        value_hash(before),
        _NOTHING,
    )


_ORDER: tuple[Action, ...] = (
    "forget",
    "delete",
    "deposed",
    "moved",
    "replace",
    "create",
    "update",
    "taint",
    "untaint",
)


def _order(event: Event) -> tuple[int, Place, bool, str]:
    # what makes room comes before what takes it, and so does the end of what was replaced
    return (_ORDER.index(event.action), event.place, event.after_hash != _NOTHING, str(event.stable_uid))
