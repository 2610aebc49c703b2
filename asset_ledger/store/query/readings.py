"""Sources and runs as they are listed: what each source last did, which run a person means, what a run did.

Reports and target records themselves are `store.records`. Called by the command line.
"""

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


def runs_beginning_with(connection: Connection, prefix: str, *, limit: int = 10) -> list[str]:
    """Return the ids of runs that begin with `prefix`, newest first. A run whose every file was refused counts too."""
    found = connection.execute(
        """
        SELECT run_id FROM (
            SELECT run_id, recorded_at AS at FROM ledger.inventories WHERE starts_with(run_id, %(prefix)s)
            UNION ALL
            SELECT run_id, started_at FROM ledger.sync_target_records WHERE run_id = %(prefix)s
            UNION ALL
            SELECT run_id, started_at FROM ledger.sync_target_records
            WHERE inventory_id IS NULL AND starts_with(run_id, %(prefix)s)
        ) found
        GROUP BY run_id ORDER BY max(at) DESC LIMIT %(limit)s
        """,
        {"prefix": prefix, "limit": limit},
    )
    return [row[0] for row in found]


def run_days(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """Return a run's targets counted by source and day."""
    return rows(
        connection,
        """
        SELECT s.name AS source, r.collected_date, r.mode,
               count(*) FILTER (WHERE r.status = 'ok') AS ok,
               count(*) FILTER (WHERE r.status = 'partial') AS partial,
               count(*) FILTER (WHERE r.status = 'failed') AS failed,
               count(*) FILTER (WHERE r.status = 'skipped') AS skipped
        FROM ledger.sync_target_records r JOIN ledger.sources s ON s.id = r.source_id
        WHERE r.run_id = %s
        GROUP BY s.name, r.collected_date, r.mode ORDER BY s.name, r.collected_date
        """,
        [run_id],
    )
