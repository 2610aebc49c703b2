"""Small counts for monitoring, over all tenants: clients, notices, what retention left. Reads only, for the owner.

Called by `pipeline.metrics`; how readings went is `store.query.metrics`, how sources stand `store.query.watch`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from asset_ledger.domain.agents.retention import AUDIT_DAYS
from asset_ledger.store.access.people import tenants
from asset_ledger.store.agents.retention import looking
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.tenancy import as_tenant


def clients(connection: Connection) -> list[dict[str, Any]]:
    """Return how many clients of each tenant are online and offline, by tenant: tenant, online, offline.

    Those that are retired, or were never heard, are neither. A tenant without clients has no row.
    """
    found: list[dict[str, Any]] = []
    for tenant in tenants(connection):
        with as_tenant(connection, tenant.id):
            found += rows(
                connection,
                """
                SELECT %(name)s::text AS tenant, count(*) FILTER (WHERE status = 'online') AS online,
                       count(*) FILTER (WHERE status = 'offline') AS offline
                FROM agent.clients
                WHERE tenant_id = %(tenant)s AND retired_at IS NULL AND first_connected_at IS NOT NULL
                HAVING count(*) > 0
                """,
                {"tenant": tenant.id, "name": tenant.name},
            )
    return found


def notices(connection: Connection) -> list[dict[str, Any]]:
    """Return how many notices wait for each receiver, and how many were given up: receiver, waiting, given_up."""
    return rows(
        connection,
        """
        SELECT receiver, count(*) FILTER (WHERE delivered_at IS NULL AND given_up_at IS NULL) AS waiting,
               count(given_up_at) AS given_up
        FROM audit.notices GROUP BY receiver ORDER BY receiver
        """,
    )


def retention_late(connection: Connection, *, now: datetime) -> timedelta:
    """Return how long the oldest audit row has been past its time; zero where retention is not late.

    One job lets go of the audit and of agents' history, and its own day is enough for it: a day late is in time.
    """
    past = now - timedelta(days=AUDIT_DAYS)
    with looking(connection):
        found = rows(
            connection,
            """
            SELECT min(created_at) AS oldest FROM audit.audit_logs
            WHERE created_at < %(past)s AND NOT starts_with(event_type, 'security.')
            """,
            {"past": past},
        )
    oldest = found[0]["oldest"]
    return timedelta() if oldest is None else past - oldest
