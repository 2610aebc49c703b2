"""Everything the ledger knows about one asset: a fixed number of statements, however long its history is.

Which asset a person means is found by `store.assets.find_asset`. Called by the command line.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any
from uuid import UUID

from asset_ledger.domain.outcome import document_changes
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.tags import tags_of


def asset_page(connection: Connection, asset_id: UUID, *, today: date, days: int) -> dict[str, Any]:
    """Return an asset as JSON-like data, with the last `days` days up to `today` on which any source spoke of it.

    Keys: the columns of the asset, then sources, aliases, identifiers, tags, instances, resolutions, history (newest
    day first) and changes between the days of one source (newest first). The transaction gives one moment's truth.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        p: dict[str, Any] = {"asset": asset_id, "to": today, "days": days}
        p["from"] = rows(connection, _FIRST_SHOWN, p)[0]["day"] or today
        history = _history(connection, p)
        changes = _changes(connection, history)
        return {
            **rows(connection, _ASSET, p)[0],
            "sources": rows(connection, _SOURCES, p),
            "aliases": rows(connection, _ALIASES, p),
            "identifiers": rows(connection, _IDENTIFIERS, p),
            "tags": tags_of(connection, asset_id),
            "instances": rows(connection, _INSTANCES, p),
            "resolutions": rows(connection, _RESOLUTIONS, p),
            "history": [day for day in history if day["collected_date"] >= p["from"]],
            "changes": [change for change in changes if change["collected_date"] >= p["from"]],
        }


_FIRST_SHOWN = """
SELECT min(collected_date) AS day FROM (
    SELECT DISTINCT collected_date FROM ledger.asset_daily_specs
    WHERE asset_id = %(asset)s AND collected_date <= %(to)s ORDER BY collected_date DESC LIMIT %(days)s) d
"""

_ASSET = """
SELECT id, hostname, host(mgmt_ip) AS mgmt_ip, zone, asset_type, platform_type, cpu_cores, memory_bytes,
       disk_total_bytes, os_family, os_version, power_state, protocol, port, credential_ref, custom_fields,
       created_at, updated_at, deleted_at
FROM ledger.assets WHERE id = %(asset)s
"""

_SOURCES = """
SELECT s.name AS source, s.platform, s.naming_rank, s.specs_rank, l.external_kind, l.external_id, l.first_seen_at,
       l.last_seen_date, l.last_seen_at, l.closed_at, n.locator, n.inventory_id, n.document
FROM ledger.asset_source_links l
JOIN ledger.sources s ON s.id = l.source_id
JOIN ledger.normalized_assets n ON n.id = l.normalized_id
WHERE l.asset_id = %(asset)s
ORDER BY l.closed_at IS NOT NULL, s.name, l.last_seen_at DESC, l.id
"""

_ALIASES = """
SELECT kind, value, source, created_at FROM ledger.asset_aliases WHERE asset_id = %(asset)s ORDER BY kind, value
"""

# an open identifier is as old as the last time its source spoke of the asset
_IDENTIFIERS = """
SELECT i.kind, i.value, s.name AS source, i.first_seen_at, i.last_seen_at IS NULL AS current,
       coalesce(i.last_seen_at, (SELECT max(l.last_seen_at) FROM ledger.asset_source_links l
                                 WHERE l.asset_id = i.asset_id AND l.source_id = i.source_id)) AS last_seen_at
FROM ledger.asset_identifiers i JOIN ledger.sources s ON s.id = i.source_id
WHERE i.asset_id = %(asset)s
ORDER BY i.last_seen_at IS NOT NULL, i.kind, i.value, s.name
"""

_INSTANCES = """
SELECT d.id, d.name, d.db_type, d.host, d.port, s.name AS source, l.match_status, l.confidence, l.matched_by_rule,
       l.link_type, d.first_seen_at, d.last_seen_at
FROM ledger.instance_asset_links l
JOIN ledger.database_instances d ON d.id = l.instance_id
JOIN ledger.sources s ON s.id = d.source_id
WHERE l.asset_id = %(asset)s AND (l.confidence > 0 OR l.link_type = 'manual')
ORDER BY l.match_status <> 'confirmed', d.name, d.id
"""

_RESOLUTIONS = """
SELECT r.resolved_at, s.name AS source, r.external_kind, r.external_id, r.rule, r.outcome, r.asset_id, r.inputs,
       r.inventory_id
FROM (SELECT DISTINCT source_id, external_kind, external_id FROM ledger.asset_source_links
      WHERE asset_id = %(asset)s) l
JOIN ledger.identity_resolutions r USING (source_id, external_kind, external_id)
JOIN ledger.sources s ON s.id = r.source_id
ORDER BY r.id
"""

# The days asked for and, of each source, the last day before them that has a document: changes are told against it.
_HISTORY = """
SELECT d.collected_date, s.name AS source, d.collected_at, d.cpu_cores, d.memory_bytes, d.disk_total_bytes,
       d.os_family, d.os_version, coalesce(p.ip_addresses, '{}') AS ip_addresses, d.unknown, d.inventory_id,
       d.normalized_id
FROM (
    SELECT * FROM ledger.asset_daily_specs
    WHERE asset_id = %(asset)s AND collected_date BETWEEN %(from)s AND %(to)s
    UNION ALL
    (SELECT DISTINCT ON (source_id) * FROM ledger.asset_daily_specs
     WHERE asset_id = %(asset)s AND collected_date < %(from)s AND normalized_id IS NOT NULL
     ORDER BY source_id, collected_date DESC)
) d
JOIN ledger.sources s ON s.id = d.source_id
LEFT JOIN LATERAL (
    SELECT array_agg(host(i.ip) ORDER BY i.ip) AS ip_addresses FROM ledger.asset_daily_ips i
    WHERE i.collected_date = d.collected_date AND i.asset_id = d.asset_id AND i.source_id = d.source_id
) p ON true
ORDER BY d.collected_date DESC, s.name
"""


def _history(connection: Connection, p: dict[str, Any]) -> list[dict[str, Any]]:
    return rows(connection, _HISTORY, p)


def _changes(connection: Connection, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what changed from each day to the next that the same source has a document of, newest first."""
    documents = _documents(connection, {day["normalized_id"] for day in history if day["normalized_id"]})
    earlier: dict[str, dict[str, Any]] = {}
    changes: list[dict[str, Any]] = []
    for day in reversed(history):
        if day["normalized_id"] is None:
            continue
        before = earlier.get(day["source"])
        earlier[day["source"]] = day
        if before is None or before["normalized_id"] == day["normalized_id"]:
            continue
        changes += [
            {
                "collected_date": day["collected_date"],
                "since": before["collected_date"],
                "source": day["source"],
                "field": path,
                "before": was,
                "after": now,
            }
            for path, was, now in document_changes(documents[before["normalized_id"]], documents[day["normalized_id"]])
        ]
    return sorted(changes, key=lambda change: (change["collected_date"], change["source"]), reverse=True)


def _documents(connection: Connection, ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    found = connection.execute(
        "SELECT id, document FROM ledger.normalized_assets WHERE id = ANY(%s)", [sorted(ids)]
    ).fetchall()
    return dict(found)
