"""The record of what was asked of the service, what came of it, and by whom. Written in the transaction it is about."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from asset_ledger.store.database import Connection
from asset_ledger.store.partitions import Months
from asset_ledger.store.tenancy import as_tenant

Result = Literal["success", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from."""

    ip_address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done or refused. `type` is a word of the audit's own (`state.write`, `security.login`)."""

    type: str
    action: str
    result: Result
    actor: str
    user_id: UUID | None = None
    origin: Origin = Origin()
    details: Mapping[str, Any] = field(default_factory=dict)
    client_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class EntryRow:
    """An entry, as listings show it."""

    created_at: datetime
    actor: str
    type: str
    action: str
    result: Result
    ip_address: str | None
    details: Mapping[str, Any]


def record(connection: Connection, tenant_id: UUID | None, entry: Entry) -> None:
    """Write an entry; inside `tenancy.as_tenant` for a tenant's, in any transaction for nobody's."""
    _months.demand_now(connection)
    connection.execute(
        """
        INSERT INTO audit.audit_logs (tenant_id, user_id, client_id, actor, event_type, event_action, event_result,
                                      ip_address, user_agent, request_id, details)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            tenant_id,
            entry.user_id,
            entry.client_id,
            entry.actor,
            entry.type,
            entry.action,
            entry.result,
            entry.origin.ip_address,
            (entry.origin.user_agent or "")[:300] or None,
            entry.origin.request_id,
            Jsonb(dict(entry.details)),
        ],
    )


def prepare(connection: Connection) -> None:
    """Make the partition that `record` will need, in a transaction that is to lock more before that."""
    _months.demand_now(connection)


_months = Months("audit.audit_logs")


def entries(connection: Connection, tenant_id: UUID | None, *, kind: str | None, limit: int) -> list[EntryRow]:
    """Return a tenant's newest entries, or without a tenant those of nobody, for the installation's owner."""
    query = """
        SELECT created_at, actor, event_type AS type, event_action AS action, event_result AS result,
               host(ip_address) AS ip_address, details
        FROM audit.audit_logs
        WHERE tenant_id IS NOT DISTINCT FROM %s
          AND (%s::text IS NULL OR event_type = %s OR (right(%s, 1) = '.' AND starts_with(event_type, %s)))
        ORDER BY created_at DESC, id DESC LIMIT %s
        """
    with _seen(connection, tenant_id), connection.cursor(row_factory=class_row(EntryRow)) as cursor:
        return cursor.execute(query, [tenant_id, kind, kind, kind, kind, limit]).fetchall()


def _seen(connection: Connection, tenant_id: UUID | None) -> AbstractContextManager[object]:
    return connection.transaction() if tenant_id is None else as_tenant(connection, tenant_id)
