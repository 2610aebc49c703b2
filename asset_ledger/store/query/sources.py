"""Sources as they are listed: what each one last did. Reads only. Called by the command line."""

from __future__ import annotations

from typing import Any

from asset_ledger.store.database import Connection, rows


def read_twice(connection: Connection) -> list[dict[str, Any]]:
    """Return pairs of sources that seem to read the same cluster: `source`, `other`, and its name as `cluster`.

    Two of one platform and zone have a cluster of the same id, and a host of the same name and management address: in
    another zone the same address is another machine.
    """
    return rows(
        connection,
        """
        WITH standing AS MATERIALIZED (
            SELECT k.source_id, s.name AS source, s.platform, s.zone, k.external_kind, k.external_id, n.hostname, n.mgmt_ip,
                   coalesce(n.caption, n.hostname, k.external_id) AS called
            FROM ledger.asset_source_links k
            JOIN ledger.sources s ON s.id = k.source_id
            JOIN ledger.normalized_assets n ON n.id = k.normalized_id
            WHERE k.external_kind IN ('cluster', 'host') AND k.closed_at IS NULL
        )
        SELECT a.source, b.source AS other, min(a.called) AS cluster
        FROM standing a
        JOIN standing b ON b.platform = a.platform AND b.zone = a.zone AND b.source > a.source
            AND b.external_id = a.external_id
        WHERE a.external_kind = 'cluster' AND b.external_kind = 'cluster' AND EXISTS (
            SELECT FROM standing h JOIN standing o ON o.hostname = h.hostname AND o.mgmt_ip = h.mgmt_ip
            WHERE h.source_id = a.source_id AND o.source_id = b.source_id
              AND h.external_kind = 'host' AND o.external_kind = 'host')
        GROUP BY a.source, b.source ORDER BY a.source, b.source
        """,
    )


def list_sources(connection: Connection) -> list[dict[str, Any]]:
    """Return every source the ledger knows with its last reading and the number of its machines, by name.

    One that was read in several scopes has a row for each, with the machines of the kinds it covers.
    """
    return rows(
        connection,
        """
        SELECT s.name, s.platform, s.zone, l.scope,
               (SELECT count(*) FROM ledger.asset_source_links k WHERE k.source_id = s.id AND k.closed_at IS NULL
                 AND (coalesce(l.covers, '{}') = '{}' OR k.external_kind = ANY(l.covers))) AS assets,
               (SELECT count(*) FROM ledger.database_instances d WHERE d.source_id = s.id) AS instances,
               l.collected_date AS last_date, l.recorded_at AS last_at, l.status AS last_status,
               l.error_code AS last_error_code, l.run_id AS last_run_id, l.report -> 'counts' AS last_counts
        FROM ledger.sources s
        LEFT JOIN LATERAL (
            SELECT DISTINCT ON (i.scope) * FROM ledger.inventories i WHERE i.source_id = s.id
            ORDER BY i.scope, i.collected_date DESC, i.collected_at DESC, i.id DESC
        ) l ON true
        ORDER BY s.name, l.scope
        """,
    )
