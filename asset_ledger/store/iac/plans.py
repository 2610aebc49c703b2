"""Plans that were sent to be kept with a state: sealed as states are, listed with what came of them.

Every function is called inside `tenancy.as_tenant`. What is read out of them, and which run followed: `following`.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import class_row

from asset_ledger.domain.sealing import KeyRing, Sealed
from asset_ledger.store.access.people import hash_key
from asset_ledger.store.database import Connection
from asset_ledger.store.iac.resources import ToldEvent
from asset_ledger.store.iac.states import BELL, Name, Who, made_head


@dataclass(frozen=True, slots=True)
class NewPlan:
    """A plan as it came. It is compressed when it is made: before its state's row is held."""

    data: bytes = field(repr=False)
    packed: bytes = field(init=False, repr=False)
    sha256: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "packed", zlib.compress(self.data, 1))
        object.__setattr__(self, "sha256", hashlib.sha256(self.data).digest())


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """A plan that is kept; `again` where the same bytes had been sent for this state before."""

    id: UUID
    base_version: int
    again: bool


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan, as listings show it.

    `followed_by` is the last version of the run that followed it, `run_is_open` while that run has its lock still. The
    counts are of what it predicted; drift that it found is none of it.
    """

    id: UUID
    tool: str
    project: str
    stack: str
    base_version: int
    created_at: datetime
    actor: str
    size_bytes: int
    sha256: bytes
    tool_version: str | None
    errored: bool | None
    parsed_at: datetime | None
    parse_error: str | None
    followed_by: int | None
    followed_run: str | None
    run_is_open: bool
    predicted: int
    drift: int
    as_predicted: int
    otherwise: int
    not_done: int


@dataclass(frozen=True, slots=True)
class PlanEventRow:
    """One thing that a plan predicted or found, and what came of it."""

    sequence: int
    action: str
    addr: str
    previous_addr: str | None
    deposed: str
    provider: str
    resource_type: str
    reason: str | None
    stable_uid: UUID | None
    patch: list[dict[str, Any]]
    outcome: str | None
    event_version: int | None
    event_sequence: int | None


class NoSuchBaseError(ValueError):
    """A plan that says it was made over a version which its state does not have yet."""


def add_plan(
    connection: Connection, tenant_id: UUID, name: Name, new: NewPlan, *, base: int | None, who: Who, ring: KeyRing
) -> KeptPlan:
    """Keep a plan with its state, which need not be there yet; `base` is the version it was made over, or the newest.

    Raises NoSuchBaseError, and PermanentError(STATE_KEY_UNREADABLE) for a ring that is not the tenant's.
    """
    state_id, head = made_head(connection, tenant_id, name)
    if base is not None and base > head:
        raise NoSuchBaseError(f"the plan is said to be made over version {base}; the newest of the state is {head}")
    row = connection.execute(
        "SELECT id, base_version FROM iac.plans WHERE tenant_id = %s AND state_id = %s AND sha256 = %s",
        [tenant_id, state_id, new.sha256],
    ).fetchone()
    if row is not None:
        return KeptPlan(row[0], row[1], again=True)
    hash_key(connection, tenant_id, ring)  # with a ring that does not open it nothing is written
    kept = KeptPlan(uuid4(), head if base is None else base, again=False)
    sealed = ring.seal(new.packed, bound(tenant_id, kept.id))
    connection.execute(
        "INSERT INTO iac.plans (tenant_id, state_id, id, body, key_id, size_bytes, sha256, base_version, actor, user_id)"
        " VALUES (%s, %s, %s, %b, %s, %s, %s, %s, %s, %s)",
        [
            tenant_id,
            state_id,
            kept.id,
            sealed.data,
            sealed.key_id,
            len(new.data),
            new.sha256,
            kept.base_version,
            who.actor,
            who.user_id,
        ],
    )
    # ids alone: the payload is read by whoever listens
    connection.execute("SELECT pg_notify(%s, %s)", [BELL, f"{tenant_id} {state_id} plan {kept.id}"])
    return kept


def bound(tenant_id: UUID, plan_id: UUID) -> str:
    """Return the place that a plan's body is encrypted for: in another it cannot be read."""
    return f"{tenant_id}|plan|{plan_id}"


def sealed_plan(connection: Connection, tenant_id: UUID, plan_id: UUID) -> Sealed:
    """Return the body of a plan that is there, still encrypted."""
    row = connection.execute(
        "SELECT key_id, body FROM iac.plans WHERE tenant_id = %s AND id = %s", [tenant_id, plan_id]
    ).fetchone()
    assert row is not None
    return Sealed(row[0], row[1])


def opened_plan(connection: Connection, tenant_id: UUID, plan_id: UUID, ring: KeyRing) -> bytes:
    """Return a plan as it came. Raises PermanentError where its key is not in the ring."""
    return zlib.decompress(ring.open(sealed_plan(connection, tenant_id, plan_id), bound(tenant_id, plan_id)))


_ROWS = """
SELECT p.id, h.tool, h.project, h.stack, p.base_version, p.created_at, p.actor, p.size_bytes, p.sha256, p.tool_version,
       p.errored, p.parsed_at, p.parse_error, p.followed_by, p.followed_run,
       EXISTS (SELECT FROM iac.state_locks AS l WHERE (l.tenant_id, l.state_id, l.lock_id)
               = (p.tenant_id, p.state_id, p.followed_run)) AS run_is_open,
       e.predicted, e.drift, e.as_predicted, e.otherwise, e.not_done
FROM iac.plans AS p
JOIN iac.state_heads AS h USING (tenant_id, state_id)
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE action <> 'drift') AS predicted, count(*) FILTER (WHERE action = 'drift') AS drift,
           count(*) FILTER (WHERE outcome = 'as_predicted') AS as_predicted,
           count(*) FILTER (WHERE outcome = 'otherwise') AS otherwise,
           count(*) FILTER (WHERE outcome = 'not_done') AS not_done
    FROM iac.plan_events AS e WHERE (e.tenant_id, e.plan_id) = (p.tenant_id, p.id)
) AS e
"""


def plans(connection: Connection, tenant_id: UUID, state_id: UUID, limit: int) -> list[PlanRow]:
    """Return a state's plans, the newest first."""
    with connection.cursor(row_factory=class_row(PlanRow)) as cursor:
        return cursor.execute(
            _ROWS + "WHERE p.tenant_id = %s AND p.state_id = %s ORDER BY p.created_at DESC, p.id LIMIT %s",
            [tenant_id, state_id, limit],
        ).fetchall()


def plan(connection: Connection, tenant_id: UUID, plan_id: UUID) -> PlanRow | None:
    """Return one plan; None where there is none of this id."""
    with connection.cursor(row_factory=class_row(PlanRow)) as cursor:
        return cursor.execute(_ROWS + "WHERE p.tenant_id = %s AND p.id = %s", [tenant_id, plan_id]).fetchone()


def plan_events(
    connection: Connection, tenant_id: UUID, plan_id: UUID, *, above: int, limit: int
) -> list[PlanEventRow]:
    """Return what a plan predicted and found, in its order, after the one of a number."""
    with connection.cursor(row_factory=class_row(PlanEventRow)) as cursor:
        return cursor.execute(
            """
            SELECT sequence, action, addr, previous_addr, deposed, provider, resource_type, reason, stable_uid,
                   patch_json AS patch, outcome, event_version, event_sequence
            FROM iac.plan_events WHERE tenant_id = %s AND plan_id = %s AND sequence > %s ORDER BY sequence LIMIT %s
            """,
            [tenant_id, plan_id, above, limit],
        ).fetchall()


def unpredicted(
    connection: Connection, tenant_id: UUID, plan_id: UUID, limit: int, *, above: tuple[int, int] = (0, 0)
) -> list[ToldEvent]:
    """Return what the run that followed a plan did to resources of which the plan says nothing, in its order.

    Of that, what comes after the event of a version and a number.
    """
    with connection.cursor(row_factory=class_row(ToldEvent)) as cursor:
        return cursor.execute(
            """
            WITH predicted AS (
                SELECT stable_uid, addr, previous_addr FROM iac.plan_events
                WHERE tenant_id = %(tenant)s AND plan_id = %(plan)s
            ), places AS (
                SELECT addr FROM predicted UNION SELECT previous_addr FROM predicted WHERE previous_addr IS NOT NULL
            )
            SELECT e.id, e.version, e.sequence, e.run_id, e.at, e.action, e.addr, e.previous_addr, e.deposed,
                   e.provider, e.resource_type, e.stable_uid, e.patch_json AS patch
            FROM iac.plans AS p
            JOIN iac.resource_events AS e ON (e.tenant_id, e.state_id) = (p.tenant_id, p.state_id)
                 AND e.version > p.base_version AND e.version <= p.followed_by
            WHERE p.tenant_id = %(tenant)s AND p.id = %(plan)s AND (e.version, e.sequence) > (%(version)s, %(sequence)s)
              AND e.stable_uid NOT IN (SELECT stable_uid FROM predicted WHERE stable_uid IS NOT NULL)
              AND e.addr NOT IN (SELECT addr FROM places)
              AND (e.previous_addr IS NULL OR e.previous_addr NOT IN (SELECT addr FROM places))
            ORDER BY e.version, e.sequence LIMIT %(limit)s
            """,
            {"tenant": tenant_id, "plan": plan_id, "version": above[0], "sequence": above[1], "limit": limit},
        ).fetchall()
