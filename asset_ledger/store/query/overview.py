"""A few numbers and the latest machines: what a first look at the ledger wants."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from asset_ledger.store.database import Connection, rows


def counts(connection: Connection) -> dict[str, int]:
    """Return how many machines, days, instances, confirmed links, and failed targets of the last seven days."""
    return rows(
        connection,
        """
        SELECT (SELECT count(*) FROM ledger.assets WHERE merged_into_asset_id IS NULL AND deleted_at IS NULL) AS assets,
               (SELECT count(DISTINCT collected_date) FROM ledger.inventories WHERE status = 'derived') AS days,
               (SELECT count(*) FROM ledger.database_instances) AS instances,
               (SELECT count(*) FROM ledger.instance_asset_links WHERE match_status = 'confirmed') AS links,
               (SELECT count(*) FROM ledger.sync_target_records
                WHERE status = 'failed' AND started_at > now() - interval '7 days') AS failed
        """,
    )[0]


def latest_assets(connection: Connection, *, limit: int) -> list[dict[str, Any]]:
    """Return the machines whose sources spoke last, with their tags and the sources that speak of them."""
    return rows(
        connection,
        """
        SELECT a.hostname, host(a.mgmt_ip) AS mgmt_ip, a.asset_type, a.cpu_cores, a.memory_bytes, a.os_family, a.os_version,
               l.sources, l.last_seen_date, array(
                   SELECT tag FROM ledger.asset_tags t WHERE t.asset_id = a.id AND t.removed_at IS NULL ORDER BY tag) AS tags
        FROM ledger.assets a
        JOIN LATERAL (
            SELECT array_agg(DISTINCT s.name) AS sources, max(l.last_seen_date) AS last_seen_date
            FROM ledger.asset_source_links l JOIN ledger.sources s ON s.id = l.source_id WHERE l.asset_id = a.id
        ) l ON true
        WHERE a.merged_into_asset_id IS NULL AND a.deleted_at IS NULL
        ORDER BY l.last_seen_date DESC, a.hostname LIMIT %s
        """,
        [limit],
    )


def unfinished_days(connection: Connection) -> Mapping[str, list[date]]:
    """Return, by source, the days whose raw was kept by a run that ended before it derived anything from it."""
    found = connection.execute(
        """
        SELECT s.name, array_agg(DISTINCT i.collected_date ORDER BY i.collected_date)
        FROM ledger.inventories i JOIN ledger.sources s ON s.id = i.source_id
        WHERE i.status = 'raw' GROUP BY s.name
        """
    )
    return {row[0]: row[1] for row in found}
