"""Sources and runs as they are listed: what each source last did, which run a person means, what a run did.

Reports and target records themselves are `store.records`. Called by the command line.
"""

from __future__ import annotations

from datetime import date
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
    """Return the ids of runs that begin with `prefix`, by name. A replay, and a run that read nothing, counts too."""
    found = connection.execute(
        """
        WITH RECURSIVE walk AS (
            -- from one run to the next: a run has thousands of targets
            (SELECT run_id FROM ledger.sync_target_records
             WHERE run_id ~>=~ %(prefix)s ORDER BY run_id USING ~<~ LIMIT 1)
            UNION ALL
            SELECT (SELECT r.run_id FROM ledger.sync_target_records r
                    WHERE r.run_id ~>~ walk.run_id ORDER BY r.run_id USING ~<~ LIMIT 1)
            FROM walk WHERE starts_with(walk.run_id, %(prefix)s)
        )
        SELECT run_id FROM (
            (SELECT run_id FROM walk WHERE starts_with(run_id, %(prefix)s) LIMIT %(limit)s)
            UNION
            (SELECT DISTINCT run_id FROM ledger.inventories WHERE starts_with(run_id, %(prefix)s) LIMIT %(limit)s)
        ) found
        ORDER BY run_id COLLATE "C" LIMIT %(limit)s
        """,
        {"prefix": prefix, "limit": limit},
    )
    return [row[0] for row in found]


def days_touched(connection: Connection, run_id: str) -> dict[date, bool]:
    """Return the days of which a run has target records, each with whether all of them are failed."""
    found = connection.execute(
        """
        SELECT collected_date, bool_and(status = 'failed') FROM ledger.sync_target_records
        WHERE run_id = %s GROUP BY collected_date ORDER BY collected_date
        """,
        [run_id],
    )
    return dict(found.fetchall())


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
