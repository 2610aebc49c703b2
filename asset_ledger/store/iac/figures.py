"""Findings and coverage in numbers, for monitoring. Reads only. Called by the service's metrics and `pipeline.metrics`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asset_ledger.store.access.people import tenants
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.tenancy import as_tenant


@dataclass(frozen=True, slots=True)
class OpenFindings:
    """How many findings of a kind are open, of how many it is not sure whether they still hold, and the oldest's age."""

    kind: str
    open: int
    unsure: int
    oldest: datetime


def open_findings(connection: Connection) -> list[OpenFindings]:
    """Return what is open over all tenants, by kind; it names no tenant. For the service's role too."""
    found = connection.execute(
        "SELECT kind, sum(open)::bigint, sum(unsure)::bigint, min(oldest) FROM iac.open_findings() GROUP BY kind ORDER BY kind"
    )
    return [OpenFindings(*row) for row in found.fetchall()]


def source_findings(connection: Connection) -> list[dict[str, Any]]:
    """Return open findings by tenant, source and kind: tenant, source, kind, open, unsure, oldest. For the owner."""
    return _of_everyone(
        connection,
        """
        SELECT %(name)s::text AS tenant, source, kind, count(*) AS open, count(unsure_since) AS unsure,
               min(opened_at) AS oldest
        FROM iac.findings WHERE tenant_id = %(tenant)s AND closed_at IS NULL GROUP BY source, kind ORDER BY source, kind
        """,
    )


def source_coverage(connection: Connection) -> list[dict[str, Any]]:
    """Return the newest row of coverage of every source that is mapped now, by tenant and source. For the owner."""
    return _of_everyone(
        connection,
        """
        SELECT %(name)s::text AS tenant, c.* FROM iac.tenant_sources AS t
        CROSS JOIN LATERAL (SELECT source, evaluated_at, reading_at, complete, observed, managed, declared, ignored,
                                   drifting, missing, doubles, orphans
                            FROM iac.coverage AS c WHERE c.tenant_id = t.tenant_id AND c.source_id = t.source_id
                            ORDER BY day DESC LIMIT 1) AS c
        WHERE t.tenant_id = %(tenant)s ORDER BY c.source
        """,
    )


def _of_everyone(connection: Connection, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for tenant in tenants(connection):
        with as_tenant(connection, tenant.id):
            found += rows(connection, query, {"tenant": tenant.id, "name": tenant.name})
    return found
