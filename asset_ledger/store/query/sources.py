"""Sources as they are listed: what each one last did. Reads only. Called by the command line."""

from __future__ import annotations

from typing import Any

from asset_ledger.store.database import Connection, rows


def list_sources(connection: Connection) -> list[dict[str, Any]]:
    """Return every source the ledger knows with its last reading and the number of its machines, by name."""
    return rows(
        connection,
        """
        SELECT s.name, s.platform, s.zone,
               (SELECT count(*) FROM ledger.asset_source_links k WHERE k.source_id = s.id AND k.closed_at IS NULL)
                   AS assets,
               (SELECT count(*) FROM ledger.database_instances d WHERE d.source_id = s.id) AS instances,
               l.collected_date AS last_date, l.recorded_at AS last_at, l.status AS last_status,
               l.error_code AS last_error_code, l.run_id AS last_run_id, l.report -> 'counts' AS last_counts
        FROM ledger.sources s
        LEFT JOIN LATERAL (
            SELECT * FROM ledger.inventories i WHERE i.source_id = s.id
            ORDER BY i.collected_date DESC, i.collected_at DESC, i.id DESC LIMIT 1
        ) l ON true
        ORDER BY s.name
        """,
    )
