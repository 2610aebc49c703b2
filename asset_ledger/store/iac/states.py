"""The versions of states, their heads and their locks. Every function is called inside `tenancy.as_tenant`.

Whoever writes first takes the head's row, so that two requests for one state come one after the other. What may be
done is decided by `domain.iac.locking`; here it is looked up and written.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.domain.iac.locking import (
    Head,
    Held,
    Lock,
    Owner,
    Refused,
    Taken,
    Write,
    lock,
    owner_of,
    unlock,
    write,
)
from asset_ledger.domain.sealing import KeyRing, Sealed
from asset_ledger.store.access.people import hash_key
from asset_ledger.store.database import Connection

BELL = "iac_state_version"
"""The channel that is rung when a version was written. Only a bell: what waits stands in the table."""


WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""What a project and a stack may be called, wherever they are named: as an expression."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a state is called within its tenant; project and stack are WORDs."""

    tool: str
    project: str
    stack: str


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: the name that is shown, and the user's id where it is a user."""

    actor: str
    user_id: UUID | None

    @property
    def owner(self) -> Owner:
        """Whose the locks are that they take."""
        return owner_of(self.user_id, self.actor)


@dataclass(frozen=True, slots=True)
class NewBody:
    """A body as it came, with what is known of it. It is compressed when it is made: before its state's row is held."""

    data: bytes = field(repr=False)
    kind: str
    readable: bool
    serial: int | None
    lineage: str | None
    tool_version: str | None
    packed: bytes = field(init=False, repr=False)
    sha256: bytes = field(init=False, repr=False)
    md5: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "packed", zlib.compress(self.data, 1))
        object.__setattr__(self, "sha256", hashlib.sha256(self.data).digest())
        object.__setattr__(self, "md5", hashlib.md5(self.data, usedforsecurity=False).digest())


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A body as it is kept, with the digests that its answer carries."""

    state_id: UUID
    version: int
    size_bytes: int
    sha256: bytes
    md5: bytes
    key_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """A new version, or the head that has the same bytes already."""

    version: int
    taken: Taken


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version, as listings show it."""

    version: int
    created_at: datetime
    size_bytes: int
    sha256: bytes
    kind: str
    serial: int | None
    lineage: str | None
    tool_version: str | None
    run_id: str | None
    operation: str | None
    actor: str
    flags: list[str]
    parsed_at: datetime | None
    parse_error: str | None


@dataclass(frozen=True, slots=True)
class StateRow:
    """One state, as listings show it."""

    state_id: UUID
    tool: str
    project: str
    stack: str
    head_version: int
    written_at: datetime | None
    serial: int | None
    size_bytes: int | None
    locked_by: str | None
    locked_at: datetime | None


@dataclass(frozen=True, slots=True)
class LockRow:
    """A lock that is held, as listings show it."""

    state_id: UUID
    tool: str
    project: str
    stack: str
    lock_id: str
    actor: str
    who: str | None
    operation: str | None
    created_at: datetime


def head_body(connection: Connection, tenant_id: UUID, name: Name) -> StoredBody | None:
    """Return the newest version of a state, still encrypted; None where there is none."""
    with connection.cursor(row_factory=class_row(StoredBody)) as cursor:
        return cursor.execute(
            """
            SELECT s.state_id, s.version, s.size_bytes, s.sha256, s.md5, s.key_id, s.body
            FROM iac.state_heads AS h
            JOIN iac.states AS s ON (s.tenant_id, s.state_id, s.version) = (h.tenant_id, h.state_id, h.head_version)
            WHERE h.tenant_id = %s AND h.tool = %s AND h.project = %s AND h.stack = %s
            """,
            [tenant_id, name.tool, name.project, name.stack],
        ).fetchone()


def state_id(connection: Connection, tenant_id: UUID, name: Name) -> UUID | None:
    """Return the id of a state; None where there is none of this name."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        found: UUID | None = cursor.execute(
            "SELECT state_id FROM iac.state_heads WHERE tenant_id = %s AND tool = %s AND project = %s AND stack = %s",
            [tenant_id, name.tool, name.project, name.stack],
        ).fetchone()
    return found


def stored(connection: Connection, tenant_id: UUID, state_id: UUID, version: int) -> StoredBody:
    """Return a version, still encrypted. Raises PermanentError where there is none of this number."""
    with connection.cursor(row_factory=class_row(StoredBody)) as cursor:
        found = cursor.execute(
            "SELECT state_id, version, size_bytes, sha256, md5, key_id, body FROM iac.states"
            " WHERE tenant_id = %s AND state_id = %s AND version = %s",
            [tenant_id, state_id, version],
        ).fetchone()
    if found is None:
        raise PermanentError(CONFIG_INVALID, "the state has no version of this number", target=str(version))
    return found


def versions(
    connection: Connection, tenant_id: UUID, state_id: UUID, limit: int, *, below: int | None = None
) -> list[VersionRow]:
    """Return a state's versions, the newest first; with `below` those before that one."""
    with connection.cursor(row_factory=class_row(VersionRow)) as cursor:
        return cursor.execute(
            """
            SELECT version, created_at, size_bytes, sha256, kind, serial, lineage, tool_version, run_id, operation,
                   actor, flags, parsed_at, parse_error
            FROM iac.states
            WHERE tenant_id = %s AND state_id = %s AND (%s::bigint IS NULL OR version < %s)
            ORDER BY version DESC LIMIT %s
            """,
            [tenant_id, state_id, below, below, limit],
        ).fetchall()


def locks(connection: Connection, tenant_id: UUID) -> list[LockRow]:
    """Return the locks that are held, the oldest first."""
    with connection.cursor(row_factory=class_row(LockRow)) as cursor:
        return cursor.execute(
            """
            SELECT h.state_id, h.tool, h.project, h.stack, l.lock_id, l.actor, l.who, l.operation, l.created_at
            FROM iac.state_locks AS l
            JOIN iac.state_heads AS h ON (h.tenant_id, h.state_id) = (l.tenant_id, l.state_id)
            WHERE l.tenant_id = %s ORDER BY l.created_at
            """,
            [tenant_id],
        ).fetchall()


def opened(ring: KeyRing, tenant_id: UUID, stored: StoredBody) -> bytes:
    """Return the bytes of a version as they came. Raises PermanentError where their key is not in the ring."""
    sealed = Sealed(stored.key_id, stored.body)
    return zlib.decompress(ring.open(sealed, bound(tenant_id, stored.state_id, stored.version)))


def bound(tenant_id: UUID, state_id: UUID, version: int) -> str:
    """Return the place that a version's body is encrypted for: in another it cannot be read."""
    return f"{tenant_id}|{state_id}|{version}"


def take_lock(connection: Connection, tenant_id: UUID, name: Name, wanted: Lock, who: Who) -> Taken | Held:
    """Lock a state, which need not be there yet."""
    state_id, _ = made_head(connection, tenant_id, name)
    outcome = lock(wanted, _lock(connection, tenant_id, state_id), who.owner)
    if isinstance(outcome, Taken) and not outcome.again:
        connection.execute(
            "INSERT INTO iac.state_locks (tenant_id, state_id, lock_id, info, operation, who, actor, user_id)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [tenant_id, state_id, wanted.lock_id, wanted.info, wanted.operation, wanted.who, who.actor, who.user_id],
        )
    return outcome


def give_lock(connection: Connection, tenant_id: UUID, name: Name, lock_id: str, who: Who) -> Taken | Held | Refused:
    """Give back a lock of somebody's own."""
    found = _known_head(connection, tenant_id, name)
    if found is None:
        return Taken(again=True)
    outcome = unlock(lock_id, _lock(connection, tenant_id, found[0]), who.owner)
    if isinstance(outcome, Taken) and not outcome.again:
        _delete_lock(connection, tenant_id, found[0])
    return outcome


def force_lock(connection: Connection, tenant_id: UUID, name: Name) -> tuple[Lock, int] | None:
    """Take a lock away from whoever has it, and return it with the state's newest version; None where there was none.

    To be recorded as `security.force_unlock` with its `lock_id` in the same transaction: what its holder still writes
    is taken by that.
    """
    found = _known_head(connection, tenant_id, name)
    held = None if found is None else _lock(connection, tenant_id, found[0])
    if found is None or held is None:
        return None
    _delete_lock(connection, tenant_id, found[0])
    return held, found[1]


def add_version(
    connection: Connection, tenant_id: UUID, name: Name, body: NewBody, *, lock_id: str | None, who: Who, ring: KeyRing
) -> Written | Held | Refused:
    """Keep a body as the next version of a state, as its lock and its head allow.

    Raises PermanentError(STATE_KEY_UNREADABLE) for a ring that is not the one the tenant's key was encrypted with.
    """
    state_id, version = made_head(connection, tenant_id, name)
    held = _lock(connection, tenant_id, state_id)
    head = _newest(connection, tenant_id, state_id, version)
    wanted = Write(lock_id, who.owner, body.sha256, body.serial, body.lineage, body.readable)
    lost = lock_id is not None and held is None and head is not None and head.run_id != lock_id
    forced_at_head = lost and _forced_at(connection, tenant_id, state_id, version, lock_id)
    outcome = write(wanted, head, held, forced_at_head=forced_at_head)
    if not isinstance(outcome, Taken):
        return outcome
    if outcome.again:
        return Written(version, outcome)
    hash_key(connection, tenant_id, ring)  # with a ring that does not open it nothing is written
    sealed = ring.seal(body.packed, bound(tenant_id, state_id, version + 1))
    connection.execute(
        """
        INSERT INTO iac.states (tenant_id, state_id, version, body, key_id, size_bytes, sha256, md5, kind, serial,
                                lineage, tool_version, run_id, operation, actor, user_id, flags, created_at)
        VALUES (%s, %s, %s, %b, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())
        """,
        [
            tenant_id,
            state_id,
            version + 1,
            sealed.data,
            sealed.key_id,
            len(body.data),
            body.sha256,
            body.md5,
            body.kind,
            body.serial,
            body.lineage,
            body.tool_version,
            lock_id,
            held.operation if held else None,
            who.actor,
            who.user_id,
            list(outcome.flags),
        ],
    )
    connection.execute(
        "UPDATE iac.state_heads SET head_version = %s WHERE tenant_id = %s AND state_id = %s",
        [version + 1, tenant_id, state_id],
    )
    # ids alone: the payload is read by whoever listens
    connection.execute("SELECT pg_notify(%s, %s)", [BELL, f"{tenant_id} {state_id} {version + 1}"])
    return Written(version + 1, outcome)


def states(connection: Connection, tenant_id: UUID) -> list[StateRow]:
    """Return the tenant's states by name."""
    with connection.cursor(row_factory=class_row(StateRow)) as cursor:
        return cursor.execute(
            """
            SELECT h.state_id, h.tool, h.project, h.stack, h.head_version, s.created_at AS written_at, s.serial,
                   s.size_bytes, l.actor AS locked_by, l.created_at AS locked_at
            FROM iac.state_heads AS h
            LEFT JOIN iac.states AS s ON (s.tenant_id, s.state_id, s.version) = (h.tenant_id, h.state_id, h.head_version)
            LEFT JOIN iac.state_locks AS l ON (l.tenant_id, l.state_id) = (h.tenant_id, h.state_id)
            WHERE h.tenant_id = %s
            ORDER BY h.tool, h.project, h.stack
            """,
            [tenant_id],
        ).fetchall()


def made_head(connection: Connection, tenant_id: UUID, name: Name) -> tuple[UUID, int]:
    """Return a state's id and newest version, its row held until the transaction ends; made where it is new."""
    key = [tenant_id, name.tool, name.project, name.stack]
    while True:
        row = connection.execute(
            "SELECT state_id, head_version FROM iac.state_heads"
            " WHERE tenant_id = %s AND tool = %s AND project = %s AND stack = %s FOR NO KEY UPDATE",
            key,
        ).fetchone()
        if row is not None:
            return row[0], row[1]
        connection.execute(
            "INSERT INTO iac.state_heads (tenant_id, tool, project, stack) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            key,
        )


def _known_head(connection: Connection, tenant_id: UUID, name: Name) -> tuple[UUID, int] | None:
    row = connection.execute(
        "SELECT state_id, head_version FROM iac.state_heads"
        " WHERE tenant_id = %s AND tool = %s AND project = %s AND stack = %s FOR NO KEY UPDATE",
        [tenant_id, name.tool, name.project, name.stack],
    ).fetchone()
    return None if row is None else (row[0], row[1])


def _lock(connection: Connection, tenant_id: UUID, state_id: UUID) -> Lock | None:
    row = connection.execute(
        "SELECT lock_id, info, operation, who, actor, user_id FROM iac.state_locks"
        " WHERE tenant_id = %s AND state_id = %s",
        [tenant_id, state_id],
    ).fetchone()
    return None if row is None else Lock(*row)


def _delete_lock(connection: Connection, tenant_id: UUID, state_id: UUID) -> None:
    connection.execute("DELETE FROM iac.state_locks WHERE tenant_id = %s AND state_id = %s", [tenant_id, state_id])


def _newest(connection: Connection, tenant_id: UUID, state_id: UUID, version: int) -> Head | None:
    row = connection.execute(
        "SELECT sha256, serial, lineage, run_id FROM iac.states"
        " WHERE tenant_id = %s AND state_id = %s AND version = %s",
        [tenant_id, state_id, version],
    ).fetchone()
    return None if row is None else Head(version, *row)


def _forced_at(connection: Connection, tenant_id: UUID, state_id: UUID, version: int, lock_id: str | None) -> bool:
    """Say whether a lock was forced open while this version was the head. The audit remembers it: no lock does."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        found: bool | None = cursor.execute(
            """
            SELECT EXISTS (
                SELECT FROM audit.audit_logs AS a
                JOIN iac.states AS s ON (s.tenant_id, s.state_id, s.version) = (a.tenant_id, %s, %s)
                WHERE a.tenant_id = %s AND a.event_type = 'security.force_unlock' AND a.event_result = 'success'
                  AND a.details ->> 'lock_id' = %s
                  AND coalesce((a.details ->> 'version')::bigint = s.version, s.created_at < a.created_at)
            )
            """,
            [state_id, version, tenant_id, lock_id],
        ).fetchone()
    return bool(found)
