"""What versions of states became: events, current resources, edges. Every function is called inside `as_tenant`.

Rows come in by COPY into temporary tables: into a table with row-level security PostgreSQL copies nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from asset_ledger.domain.iac.exact_json import canonical
from asset_ledger.domain.iac.snapshot import Place
from asset_ledger.store.database import Connection
from asset_ledger.store.partitions import ensure_month


class UnstorableError(ValueError):
    """What was read of a version is nothing that the database takes. It does not say what: that may be a secret."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A version that was not read yet."""

    tenant_id: UUID
    state_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What a version's events say of where they come from."""

    kind: str
    run_id: str
    operation: str | None
    created_at: datetime


class ResourceRow(NamedTuple):
    """A resource as the version before left it. A tuple, for a state has ten thousand of them at a time."""

    stable_uid: UUID
    addr: str
    deposed: str
    resource_type: str
    provider: str
    name_digest: UUID
    incarnation: str | None
    tainted: bool
    digest: bytes

    @property
    def place(self) -> Place:
        """Where it stands."""
        return (self.addr, self.deposed)


@dataclass(frozen=True, slots=True)
class CurrentRow:
    """A resource as this version leaves it. `attrs` is None where they stay as they are."""

    stable_uid: UUID
    addr: str
    deposed: str
    provider: str
    alias: str
    resource_type: str
    scope: str
    name_digest: UUID
    native_key: str | None
    incarnation: str | None
    machine: tuple[str, str] | None
    tainted: bool
    digest: bytes
    attrs: Mapping[str, Any] | None
    attrs_hash: str | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event, ready to be written."""

    sequence: int
    id: UUID
    stable_uid: UUID
    provider: str
    resource_type: str
    addr: str
    deposed: str
    previous_addr: str | None
    action: str
    patch: list[dict[str, Any]]
    before_hash: str
    after_hash: str


def waiting(connection: Connection) -> list[Waiting]:
    """Return the tenant's versions that were not read yet: the state that waits longest first, each by its versions.

    Not by their time alone: clocks are set back, and a version may not be read before those under it.
    """
    with connection.cursor(row_factory=class_row(Waiting)) as cursor:
        return cursor.execute(
            "SELECT tenant_id, state_id, version FROM iac.states WHERE parsed_at IS NULL AND tenant_id ="
            " NULLIF(current_setting('app.tenant', true), '')::uuid"
            " ORDER BY min(created_at) OVER (PARTITION BY state_id), state_id, version"
        ).fetchall()


def without_machines(connection: Connection) -> list[Waiting]:
    """Return the tenant's versions whose machines were not kept, since an older release read them."""
    with connection.cursor(row_factory=class_row(Waiting)) as cursor:
        return cursor.execute(
            "SELECT tenant_id, state_id, version FROM iac.states WHERE unread = 'machines' AND tenant_id ="
            " NULLIF(current_setting('app.tenant', true), '')::uuid ORDER BY state_id, version"
        ).fetchall()


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """An event, as listings show it."""

    id: UUID
    version: int
    sequence: int
    run_id: str
    at: datetime
    action: str
    addr: str
    previous_addr: str | None
    deposed: str
    provider: str
    resource_type: str
    stable_uid: UUID
    patch: list[dict[str, Any]]


def events(
    connection: Connection, tenant_id: UUID, state_id: UUID, *, above: int, upto: int | None, limit: int
) -> list[ToldEvent]:
    """Return what the versions of a state did that are above one and up to another, in their order."""
    with connection.cursor(row_factory=class_row(ToldEvent)) as cursor:
        return cursor.execute(
            """
            SELECT id, version, sequence, run_id, at, action, addr, previous_addr, deposed, provider, resource_type,
                   stable_uid, patch_json AS patch
            FROM iac.resource_events
            WHERE tenant_id = %s AND state_id = %s AND version > %s AND (%s::bigint IS NULL OR version <= %s)
            ORDER BY version, sequence LIMIT %s
            """,
            [tenant_id, state_id, above, upto, upto, limit],
        ).fetchall()


def count_waiting(connection: Connection) -> tuple[int, datetime | None]:
    """Return how many versions of all tenants wait to be read, and since when the oldest does."""
    row = connection.execute("SELECT versions, oldest FROM iac.waiting()").fetchone()
    assert row is not None
    return row[0], row[1]


def take(connection: Connection, one: Waiting) -> VersionFacts | None:
    """Return a waiting version's facts, its state kept from other readers; None where it waits no more.

    None too while an older version waits: versions are read in their order.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('asset_ledger.iac'), hashtext(%s))", [str(one.state_id)])
    with connection.cursor(row_factory=class_row(VersionFacts)) as cursor:
        return cursor.execute(
            """
            SELECT kind, coalesce(run_id, 'version ' || version) AS run_id, operation, created_at
            FROM iac.states AS s
            WHERE tenant_id = %s AND state_id = %s AND version = %s AND parsed_at IS NULL
              AND NOT EXISTS (SELECT FROM iac.states AS o WHERE o.tenant_id = s.tenant_id
                              AND o.state_id = s.state_id AND o.version < s.version AND o.parsed_at IS NULL)
            """,
            [one.tenant_id, one.state_id, one.version],
        ).fetchone()


@contextmanager
def attempt(connection: Connection) -> Iterator[None]:
    """Open a transaction within the one there is, so that a version that cannot be stored can be marked as such.

    Raises UnstorableError.
    """
    try:
        with connection.transaction():
            yield
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded) as error:
        raise UnstorableError(f"the database does not take it: {type(error).__name__}") from None


def forget_derived(connection: Connection, tenant_id: UUID) -> int:
    """Drop everything that was derived of a tenant's states, and let every version wait; return how many do."""
    # whoever reads one of them now is waited for: what it writes meanwhile would stand beside what is made again
    connection.execute(
        "SELECT pg_advisory_xact_lock(hashtext('asset_ledger.iac'), hashtext(state_id::text))"
        " FROM iac.state_heads WHERE tenant_id = %s",
        [tenant_id],
    )
    connection.execute("DELETE FROM iac.resource_events WHERE tenant_id = %s", [tenant_id])
    connection.execute("DELETE FROM iac.resources_current WHERE tenant_id = %s", [tenant_id])
    connection.execute("DELETE FROM iac.declared_machines WHERE tenant_id = %s", [tenant_id])
    connection.execute("DELETE FROM iac.dependency_edges WHERE tenant_id = %s", [tenant_id])
    return connection.execute(
        "UPDATE iac.states SET parsed_at = NULL, parse_error = NULL, unread = NULL WHERE tenant_id = %s", [tenant_id]
    ).rowcount


def done(connection: Connection, one: Waiting, error: str | None, *, unread: Literal["all", "part"] | None) -> None:
    """Mark a version as read, or with why it cannot be. `unread` is how much of it: who is not seen is not gone."""
    connection.execute(
        "UPDATE iac.states SET parsed_at = now(), parse_error = %s, unread = %s"
        " WHERE tenant_id = %s AND state_id = %s AND version = %s",
        [error, unread, one.tenant_id, one.state_id, one.version],
    )


def current(connection: Connection, tenant_id: UUID, state_id: UUID) -> list[ResourceRow]:
    """Return a state's resources as they stand, without their attributes."""
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(
            "SELECT stable_uid, addr, deposed, resource_type, provider, name_digest, incarnation, tainted, digest"
            " FROM iac.resources_current WHERE tenant_id = %s AND state_id = %s",
            [tenant_id, state_id],
        )
        return list(map(ResourceRow._make, rows.fetchall()))


def attributes(connection: Connection, tenant_id: UUID, state_id: UUID, uids: Iterable[UUID]) -> dict[UUID, Any]:
    """Return the attributes of some resources, numbers as they are written."""
    from asset_ledger.domain.iac.exact_json import loads

    rows = connection.execute(
        "SELECT stable_uid, attrs::text FROM iac.resources_current"
        " WHERE tenant_id = %s AND state_id = %s AND stable_uid = ANY(%s)",
        [tenant_id, state_id, list(uids)],
    )
    return {uid: loads(text.encode()) for uid, text in rows}


def save(
    connection: Connection,
    one: Waiting,
    facts: VersionFacts,
    *,
    events: Iterable[EventRow],
    changed: Iterable[CurrentRow],
    gone: Iterable[UUID],
) -> None:
    """Write what a version did: its events, and the resources that stand otherwise from now on."""
    key = [one.tenant_id, one.state_id]
    ensure_month(connection, "iac.resource_events", facts.created_at)
    copied(
        connection,
        "incoming_events",
        "sequence integer, id uuid, stable_uid uuid, provider text, resource_type text, addr text, deposed text,"
        " previous_addr text, action text, patch_json jsonb, before_hash text, after_hash text",
        (
            (
                e.sequence, e.id, e.stable_uid, e.provider, e.resource_type, e.addr, e.deposed, e.previous_addr,
                e.action, canonical(e.patch).decode(), e.before_hash or None, e.after_hash or None,
            )
            for e in events
        ),
    )  # fmt: skip
    connection.execute(
        "INSERT INTO iac.resource_events (tenant_id, state_id, version, run_id, at, sequence, id, stable_uid, provider,"
        " resource_type, addr, deposed, previous_addr, action, patch_json, before_hash, after_hash)"
        " SELECT %s, %s, %s, %s, %s, i.* FROM incoming_events AS i",
        [*key, one.version, facts.run_id, facts.created_at],
    )
    connection.execute(
        "DELETE FROM iac.resources_current WHERE tenant_id = %s AND state_id = %s AND stable_uid = ANY(%s)",
        [*key, list(gone)],
    )
    copied(
        connection,
        "incoming_resources",
        "stable_uid uuid, addr text, deposed text, provider text, alias text, resource_type text, scope text,"
        " name_digest uuid, native_key text, incarnation text, machine_kind text, machine_id text, tainted boolean,"
        " digest bytea, attrs jsonb, attrs_hash text",
        (
            (
                r.stable_uid, r.addr, r.deposed, r.provider, r.alias, r.resource_type, r.scope, r.name_digest,
                r.native_key, r.incarnation, *(r.machine or (None, None)), r.tainted, r.digest,
                None if r.attrs is None else canonical(r.attrs).decode(), r.attrs_hash,
            )
            for r in changed
        ),
    )  # fmt: skip
    connection.execute(
        """
        INSERT INTO iac.resources_current AS c (
            tenant_id, state_id, first_version, last_version, last_run_id, updated_at, stable_uid, addr, deposed,
            provider, alias, resource_type, scope, name_digest, native_key, incarnation, machine_kind, machine_id,
            tainted, digest, attrs, attrs_hash)
        SELECT %(tenant)s, %(state)s, %(version)s, %(version)s, %(run)s, %(at)s, i.stable_uid, i.addr, i.deposed,
               i.provider, i.alias, i.resource_type, i.scope, i.name_digest, i.native_key, i.incarnation,
               i.machine_kind, i.machine_id, i.tainted, i.digest, coalesce(i.attrs, o.attrs),
               coalesce(i.attrs_hash, o.attrs_hash)
        FROM incoming_resources AS i
        LEFT JOIN iac.resources_current AS o
               ON (o.tenant_id, o.state_id, o.stable_uid) = (%(tenant)s, %(state)s, i.stable_uid)
        ON CONFLICT (tenant_id, state_id, stable_uid) DO UPDATE SET
            last_version = excluded.last_version, last_run_id = excluded.last_run_id, updated_at = excluded.updated_at,
            addr = excluded.addr, deposed = excluded.deposed, provider = excluded.provider, alias = excluded.alias,
            resource_type = excluded.resource_type, scope = excluded.scope, name_digest = excluded.name_digest,
            native_key = excluded.native_key, incarnation = excluded.incarnation,
            machine_kind = excluded.machine_kind, machine_id = excluded.machine_id, tainted = excluded.tainted,
            digest = excluded.digest, attrs = excluded.attrs, attrs_hash = excluded.attrs_hash
        """,
        {
            "tenant": one.tenant_id,
            "state": one.state_id,
            "version": one.version,
            "run": facts.run_id,
            "at": facts.created_at,
        },
    )


def save_edges(
    connection: Connection,
    one: Waiting,
    edges: Iterable[tuple[UUID, UUID, str]],
    *,
    sources: Iterable[UUID] | None,
    gone: Iterable[UUID] = (),
) -> None:
    """Write a state's edges in place of those it had; with `sources` in place of those that began there.

    Those of resources that are `gone` go in any case.
    """
    copied(connection, "incoming_edges", "src_uid uuid, dst_uid uuid, kind text", edges)
    key = [one.tenant_id, one.state_id]
    connection.execute(
        "DELETE FROM iac.dependency_edges AS e WHERE tenant_id = %s AND state_id = %s"
        " AND (%s::uuid[] IS NULL OR src_uid = ANY(%s) OR src_uid = ANY(%s) OR dst_uid = ANY(%s))"
        " AND NOT EXISTS (SELECT FROM incoming_edges AS i"
        " WHERE (i.src_uid, i.dst_uid, i.kind) = (e.src_uid, e.dst_uid, e.kind))",
        [*key, *([None if sources is None else list(sources)] * 2), *([list(gone)] * 2)],
    )
    connection.execute(
        "INSERT INTO iac.dependency_edges (tenant_id, state_id, src_uid, dst_uid, kind)"
        " SELECT %s, %s, i.* FROM incoming_edges AS i ON CONFLICT DO NOTHING",
        key,
    )


def copied(connection: Connection, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Bring rows into a temporary table of that name and columns, which goes with the transaction."""
    connection.execute(f"DROP TABLE IF EXISTS pg_temp.{table}")
    connection.execute(f"CREATE TEMPORARY TABLE {table} ({columns}) ON COMMIT DROP")
    with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
