"""From a kept plan to what it predicts, and to what came of it in the run that followed. One transaction a plan.

Read after the versions of states (`pipeline.states`), in the same job and by the same commands: who a plan is about is
told by the versions that it was made over, and what came of it by those after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from asset_ledger.domain.errors import STATE_KEY_UNREADABLE, LedgerError, PermanentError
from asset_ledger.domain.iac import plans, terraform_state
from asset_ledger.domain.iac.agreement import UntoldError
from asset_ledger.domain.iac.documents import recognised
from asset_ledger.domain.iac.exact_json import TooLargeError, storable
from asset_ledger.domain.iac.outcomes import Judged, Run, judged
from asset_ledger.domain.iac.redaction import redacted, shown
from asset_ledger.domain.iac.snapshot import Place
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.pipeline import states
from asset_ledger.store.access.people import hash_key, tenants
from asset_ledger.store.database import Connection
from asset_ledger.store.iac import following
from asset_ledger.store.iac.following import Following, WaitingPlan
from asset_ledger.store.iac.plans import opened_plan
from asset_ledger.store.iac.resources import UnstorableError, attempt
from asset_ledger.store.iac.states import opened, stored
from asset_ledger.store.tenancy import as_tenant

# what pure code may raise over a document that nobody foresaw: one such plan must not hold up the others
_UNFORESEEN = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What came of reading one plan. One that still `waits` could not be opened, for want of its key.

    One that is `unread` is kept as it is, and waits no more.
    """

    plan: WaitingPlan
    events: int
    said: str | None
    waits: bool = False
    unread: bool = False


@dataclass(frozen=True, slots=True)
class Followed:
    """A plan, the run that followed it, and how many of its predictions came out how; `said` where nobody can tell."""

    following: Following
    outcomes: Mapping[str, int]
    said: str | None = None


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """The plans that were read, and those of whom it is known by now what came of them."""

    read: tuple[ReadPlan, ...]
    followed: tuple[Followed, ...]


def catch_up(connection: Connection, ring: KeyRing) -> CaughtUp:
    """Read every plan that waits, tenant by tenant, and look which runs followed which; after the versions."""
    read: list[ReadPlan] = []
    followed: list[Followed] = []
    for tenant in tenants(connection):
        some = _catch_up(connection, tenant.id, ring)
        read += some.read
        followed += some.followed
    return CaughtUp(tuple(read), tuple(followed))


def rebuild(connection: Connection, tenant_id: UUID, ring: KeyRing) -> tuple[list[states.Parsed], CaughtUp]:
    """Make everything derived of a tenant's states and plans again from their bodies, in one transaction.

    The rows are the same again. Raises PermanentError, and changes nothing, where a body cannot be opened or a version
    is left out.
    """
    with as_tenant(connection, tenant_id):
        versions = states.rebuild(connection, tenant_id, ring)
        following.forget_read(connection, tenant_id)
        found = _catch_up(connection, tenant_id, ring)
        missing = next((each for each in found.read if each.waits), None)
        if missing is not None:
            raise PermanentError(
                STATE_KEY_UNREADABLE,
                f"nothing was rebuilt: the plan cannot be opened: {missing.said}",
                target=str(missing.plan.plan_id),
            )
    return versions, found


def _catch_up(connection: Connection, tenant_id: UUID, ring: KeyRing) -> CaughtUp:
    read: list[ReadPlan] = []
    followed: list[Followed] = []
    with as_tenant(connection, tenant_id):
        queue = following.waiting_plans(connection, tenant_id)
    for one in queue:
        with as_tenant(connection, tenant_id):
            if following.still_waits(connection, one):
                read.append(_read(connection, one, ring))
    with as_tenant(connection, tenant_id):
        late = following.to_follow(connection, tenant_id)
    for state_id in dict.fromkeys(each.state_id for each in late):
        with as_tenant(connection, tenant_id):
            following.hold(connection, state_id)
            # looked at again: another reader may have done it meanwhile
            for each in following.to_follow(connection, tenant_id, state_id):
                followed.append(_follow(connection, tenant_id, each, ring))
    return CaughtUp(tuple(read), tuple(followed))


def _read(connection: Connection, one: WaitingPlan, ring: KeyRing) -> ReadPlan:
    """Read one plan. A body that cannot be read is marked with why, and holds up none of those that come after it."""
    try:
        body = opened_plan(connection, one.tenant_id, one.plan_id, ring)
        key = hash_key(connection, one.tenant_id, ring)
    except LedgerError as error:
        # a key that is not in the ring now may be there tomorrow: it goes on waiting
        return ReadPlan(one, 0, str(error), waits=True)
    try:
        with attempt(connection):
            plan = plans.parsed(body, key)
            said = "; ".join(plan.skipped[:5]) or None
            following.save_plan(connection, one, plan, said)
    except _UNFORESEEN as error:
        # without its words, but where they are our own: they may quote the body
        told = isinstance(error, UnstorableError | TooLargeError | plans.NotAPlanError)
        why = storable(str(error)) if told else f"cannot be read, and is kept as it is: {type(error).__name__}"
        following.mark_unread(connection, one, why)
        return ReadPlan(one, 0, why, unread=True)
    return ReadPlan(one, len(plan.events), said)


def _follow(connection: Connection, tenant_id: UUID, one: Following, ring: KeyRing) -> Followed:
    """Write which run followed a plan, and what came of its predictions."""
    said, found = None, list[Judged]()
    if one.followed_by is not None and not one.is_read:
        said = f"what came of it cannot be told: version {one.followed_by} cannot be read"
    elif one.followed_by is not None:
        try:
            with attempt(connection):
                found = _judged(connection, tenant_id, one, one.followed_by, ring)
        except LedgerError as error:
            return Followed(one, {}, str(error))  # for want of a key: it is asked for again
        except _UNFORESEEN as error:
            why = str(error) if isinstance(error, UntoldError) else type(error).__name__
            said = f"what came of it cannot be told: {why}"
    following.save_outcomes(connection, tenant_id, one, found)
    return Followed(one, Counter(each.outcome for each in found if each.outcome is not None), said)


def _judged(connection: Connection, tenant_id: UUID, one: Following, last: int, ring: KeyRing) -> list[Judged]:
    body = opened(ring, tenant_id, stored(connection, tenant_id, one.state_id, last))
    key = hash_key(connection, tenant_id, ring)
    events = plans.parsed(opened_plan(connection, tenant_id, one.plan_id, ring), key).events
    snapshot = shown(terraform_state.read(recognised(body).document), key)
    there = {each.place: each for each in snapshot.resources if each.managed}
    addresses = {address for event in events for address in (event.address, event.origin[0])}

    def attributes(place: Place) -> Mapping[str, Any] | None:
        return None if (resource := there.get(place)) is None else redacted(resource, key)

    run = Run(
        before=following.stood(connection, tenant_id, one.state_id, one.base_version, addresses),
        after=following.stood(connection, tenant_id, one.state_id, last, addresses),
        happened=following.happened(connection, tenant_id, one.state_id, one.base_version, last),
        attributes=attributes,
        tainted=frozenset(place for place, resource in there.items() if resource.tainted),
    )
    return judged(events, run)
