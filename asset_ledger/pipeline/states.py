"""From a version of a state to events, current resources and edges. One transaction a version, in the versions' order.

What waits stands in the table: a version that was written while nobody listened is found all the same.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from uuid import UUID

from asset_ledger.domain.errors import REBUILD_DIFFERS, STATE_KEY_UNREADABLE, LedgerError, PermanentError
from asset_ledger.domain.iac import pulumi_state, terraform_state
from asset_ledger.domain.iac.documents import RefusedError, recognised
from asset_ledger.domain.iac.edges import Edges, terraform_edges
from asset_ledger.domain.iac.events import Known, Outcome, Seen, compared, digest, event_id
from asset_ledger.domain.iac.exact_json import storable
from asset_ledger.domain.iac.patches import value_hash
from asset_ledger.domain.iac.redaction import shown
from asset_ledger.domain.iac.snapshot import Place, Resource, Snapshot
from asset_ledger.domain.iac.uids import Identity, Naming, identities
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.pipeline.declared import machines_of
from asset_ledger.store.access.people import hash_key, tenants
from asset_ledger.store.database import Connection
from asset_ledger.store.iac import machines, resources
from asset_ledger.store.iac.resources import CurrentRow, EventRow, UnstorableError, VersionFacts, Waiting
from asset_ledger.store.iac.states import opened, stored
from asset_ledger.store.tenancy import as_tenant

_KEPT_UNREAD = {
    "opentofu-encrypted": "encrypted by its client: kept, and not read",
    "terraform-old": "of Terraform before 0.9: kept, and not read",
    "pulumi-unread": "names features that are not known here: kept, and not read",
}

_LONGEST_BYTES = 1024
"""Of a name in an index: PostgreSQL refuses a row whose entry is longer than about 2700 bytes."""

# what pure code may raise over a document that nobody foresaw: one such version must not hold up the others
_UNFORESEEN = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What came of one version. One that still `waits` could not be opened, for want of its key.

    One that is `unread` is kept as it is, and waits no more; of one that was read `partly` some was left out.
    """

    version: Waiting
    events: int
    resources: int
    edges: int
    said: str | None
    waits: bool = False
    unread: bool = False
    partly: bool = False


def parse_waiting(connection: Connection, ring: KeyRing) -> list[Parsed]:
    """Read every version that waits, tenant by tenant, until none is left, and return what came of each.

    What an older release read is read anew first, where it knew less.
    """
    found: list[Parsed] = []
    stuck: set[UUID] = set()
    every = [tenant.id for tenant in tenants(connection)]
    for tenant_id in every:
        found += _brought_up(connection, tenant_id, ring)
    while every:
        # once more over the tenants of whom something was read: meanwhile more may have come
        every = [tenant_id for tenant_id in every if _pass(connection, tenant_id, ring, found, stuck)]
    return found


def _pass(connection: Connection, tenant_id: UUID, ring: KeyRing, found: list[Parsed], stuck: set[UUID]) -> bool:
    """Read what waits of a tenant, but of states that are stuck, and say whether anything was read."""
    with as_tenant(connection, tenant_id):
        queue = resources.waiting(connection)
    progress = False
    for one in queue:
        if one.state_id in stuck:
            continue
        with as_tenant(connection, tenant_id):
            parsed = parse_version(connection, one, ring)
        if parsed is not None:
            found.append(parsed)
            progress = progress or not parsed.waits
            if parsed.waits:  # so do those that come after it
                stuck.add(one.state_id)
    return progress


def _brought_up(connection: Connection, tenant_id: UUID, ring: KeyRing) -> list[Parsed]:
    """Rebuild a tenant whose machines an older release did not keep; where that cannot be, its states go on waiting."""
    with as_tenant(connection, tenant_id):
        before = resources.without_machines(connection)
    if not before:
        return []
    try:
        return rebuild(connection, tenant_id, ring)
    except PermanentError as error:
        return [Parsed(one, 0, 0, 0, str(error), waits=True) for one in before]


def rebuild(connection: Connection, tenant_id: UUID, ring: KeyRing) -> list[Parsed]:
    """Make everything derived of a tenant's states again from their bodies, in one transaction: the same rows.

    Raises PermanentError, and changes nothing, where a version cannot be opened or is left out.
    """
    with as_tenant(connection, tenant_id):
        resources.forget_derived(connection, tenant_id)
        found: list[Parsed] = []
        left = resources.waiting(connection)
        while left:  # more may come while these are read
            queue = left
            some = [parsed for one in queue if (parsed := parse_version(connection, one, ring)) is not None]
            missing = next((parsed for parsed in some if parsed.waits), None)
            if missing is not None:
                raise PermanentError(
                    STATE_KEY_UNREADABLE,
                    f"nothing was rebuilt: version {missing.version.version} cannot be opened: {missing.said}",
                    target=str(missing.version.state_id),
                )
            found += some
            left = resources.waiting(connection)
            if left[:1] == queue[:1]:
                raise PermanentError(
                    REBUILD_DIFFERS,
                    f"nothing was rebuilt: {len(left)} versions are still unread, the first of them {left[0].version}",
                    target=str(left[0].state_id),
                )
    return found


def parse_version(connection: Connection, one: Waiting, ring: KeyRing) -> Parsed | None:
    """Read one version inside `as_tenant`; None where another reader has done it, or an older one waits.

    A body that cannot be read is marked with why, and holds up none of those that come after it.
    """
    facts = resources.take(connection, one)
    if facts is None:
        return None
    if facts.kind in _KEPT_UNREAD:
        resources.done(connection, one, _KEPT_UNREAD[facts.kind], unread="all")
        return Parsed(one, 0, 0, 0, _KEPT_UNREAD[facts.kind], unread=True)
    try:
        body = opened(ring, one.tenant_id, stored(connection, one.tenant_id, one.state_id, one.version))
        key = hash_key(connection, one.tenant_id, ring)
    except LedgerError as error:
        # a key that is not in the ring now may be there tomorrow: it goes on waiting
        return Parsed(one, 0, 0, 0, str(error), waits=True)
    try:
        with resources.attempt(connection), _uncollected():
            parsed = _parsed(connection, one, facts, key, body)
    except _UNFORESEEN as error:
        # without its words, but where they are our own: they may quote the body
        told = isinstance(error, UnstorableError | RefusedError)
        why = f"cannot be read, and is kept as it is: {error if told else type(error).__name__}"
        parsed = Parsed(one, 0, 0, 0, str(error) if isinstance(error, UnstorableError) else why, unread=True)
    resources.done(connection, one, parsed.said, unread="all" if parsed.unread else "part" if parsed.partly else None)
    return parsed


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector of cycles from looking through a document, over and over while it grows: it has none.

    That was a quarter of the time of a large one. Another reading in this process may end it early, at no other cost.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _parsed(connection: Connection, one: Waiting, facts: VersionFacts, key: bytes, body: bytes) -> Parsed:
    document = recognised(body).document
    read = pulumi_state.read if facts.kind == "pulumi" else terraform_state.read
    snapshot = shown(read(document), key)
    reading = _Reading(connection, one, facts, key, snapshot)
    outcome = reading.compared()
    reading.save(outcome)
    edges, capped = reading.edges(pulumi_state.edges(document) if facts.kind == "pulumi" else None)
    said = "; ".join((*snapshot.skipped[:5], *capped[:5])) or None
    told = None if said is None else storable(said)
    return Parsed(one, len(outcome.events), len(reading.managed), edges, told, partly=bool(snapshot.skipped))


class _Reading:
    """One version against what stood before it."""

    def __init__(
        self, connection: Connection, one: Waiting, facts: VersionFacts, key: bytes, snapshot: Snapshot
    ) -> None:
        self._connection, self._one, self._facts, self._key = connection, one, facts, key
        self.managed = [each for each in snapshot.resources if each.managed]
        self._ended: Collection[UUID] = ()
        # of a document that could not be read whole, who is not seen is not gone
        self._complete = not snapshot.skipped
        self._before = {row.place: row for row in resources.current(connection, one.tenant_id, one.state_id)}
        # what stands where it stood, as it stood, is nobody new: most of every state
        fresh: list[tuple[Resource, bytes]] = []
        staying: dict[Place, UUID] = {}
        for each in self.managed:
            made = digest(each, key)
            row = self._before.get(each.place)
            if row is not None and row.digest == made and row.tainted == each.tainted:
                staying[each.place] = row.stable_uid
            else:
                fresh.append((each, made))
        named = identities(
            (each for each, _ in fresh),
            Naming(str(one.tenant_id), str(one.state_id), key=key),
            self._before,
            staying.values(),
        )
        self._same = staying.keys()
        self._named = {place: _indexable(identity) for place, identity in named.items()}
        self._seen = [Seen(each, self._named[each.place], made) for each, made in fresh]
        self.uids = staying | {place: identity.stable_uid for place, identity in self._named.items()}

    def compared(self) -> Outcome:
        """Return what the version did."""
        rows = [row for place, row in self._before.items() if place not in self._same]
        held = resources.attributes(
            self._connection, self._one.tenant_id, self._one.state_id, (row.stable_uid for row in rows)
        )
        known = [
            Known(
                row.stable_uid,
                row.place,
                row.resource_type,
                row.provider,
                row.digest,
                row.incarnation,
                row.tainted,
                partial(held.__getitem__, row.stable_uid),
            )
            for row in rows
        ]
        return compared(known, self._seen, operation=self._facts.operation, key=self._key, complete=self._complete)

    def save(self, outcome: Outcome) -> None:
        """Write events, current resources, and the machines that they are."""
        state = str(self._one.state_id)
        events = (
            EventRow(
                number,
                event_id(state, self._one.version, number),
                event.stable_uid,
                event.provider,
                event.type,
                *event.place,
                event.previous[0] if event.previous else None,
                event.action,
                event.patch,
                event.before_hash,
                event.after_hash,
            )
            for number, event in enumerate(outcome.events, 1)
        )
        changed = (_row(seen, outcome) for seen in self._seen)
        self._ended = outcome.ended
        resources.save(self._connection, self._one, self._facts, events=events, changed=changed, gone=outcome.ended)
        found, gone = machines_of(self._seen, outcome, self._key)
        machines.save(self._connection, self._one, self._facts.created_at, machines=found, gone=gone)

    def edges(self, told: Edges | None) -> tuple[int, tuple[str, ...]]:
        """Write the edges anew, or of those alone that changed where nothing came or went.

        Returns how many, and in words where one edge stands for many.
        """
        # where another stands in a place, the edges of others lead elsewhere now although these did not change
        same = {place: row.stable_uid for place, row in self._before.items()} == self.uids
        only = None if told is not None or not same else {seen.resource.place for seen in self._seen}
        if only is not None and not only:
            return 0, ()
        found = told if told is not None else terraform_edges(self.managed, only)
        rows = {
            (self.uids[edge.source], self.uids[edge.target], edge.kind)
            for edge in found.edges
            if edge.source in self.uids and edge.target in self.uids
        }
        told_of = only if only is not None or self._complete else {each.place for each in self.managed}
        sources = None if told_of is None else [self.uids[place] for place in told_of]
        if self._facts.operation == "state-mv":
            # it takes the names of what moved out of all others, until the next apply: nothing needs less for it
            sources = []
        resources.save_edges(self._connection, self._one, sorted(rows, key=str), sources=sources, gone=self._ended)
        return len(rows), found.capped


def _indexable(identity: Identity) -> Identity:
    """Return an identity whose texts fit into an index, before it is compared with what is stored."""
    named = identity.named
    kind, machine_id = named.machine or ("", "")
    texts = (named.native_key or "", named.incarnation or "", machine_id)
    if sum(map(len, texts)) * 4 <= _LONGEST_BYTES or all(len(text.encode()) <= _LONGEST_BYTES for text in texts):
        return identity
    key, incarnation, machine_id = map(_capped, texts)
    machine = (kind, machine_id) if named.machine else None
    return replace(
        identity, named=replace(named, native_key=key or None, incarnation=incarnation or None, machine=machine)
    )


def _capped(text: str) -> str:
    """Return a text that no index takes as its beginning and its digest: the same wherever it comes up."""
    whole = text.encode()
    if len(whole) <= _LONGEST_BYTES:
        return text
    return f"{text[:128]}... sha256:{sha256(whole).hexdigest()}"


def _row(seen: Seen, outcome: Outcome) -> CurrentRow:
    resource: Resource = seen.resource
    identity: Identity = seen.identity
    attrs = outcome.attributes.get(identity.stable_uid)
    return CurrentRow(
        identity.stable_uid,
        resource.address,
        resource.deposed,
        resource.provider,
        resource.alias,
        resource.type,
        identity.named.scope,
        identity.name_digest,
        identity.named.native_key,
        identity.named.incarnation,
        identity.named.machine,
        resource.tainted,
        seen.digest,
        attrs,
        None if attrs is None else value_hash(attrs),
    )
