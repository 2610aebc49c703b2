"""Everything the ledger knows about one asset: a fixed number of statements, however long its history is.

What is said of the assets merged into it is said of it. Which asset a person means is found by `store.assets.find_asset`;
what it was on a past day is told by `store.query.as_of`. Called by the command line.
"""

# ruff: noqa: S608 - statements are put together from constants; values are always parameters
from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from asset_ledger.store.database import Connection, rows
from asset_ledger.store.query.assets import TOLD, with_ages
from asset_ledger.store.query.changes import asset_events
from asset_ledger.store.query.timeline import timeline


def asset_page(connection: Connection, asset_id: UUID, *, today: date, days: int, events: int = 50) -> dict[str, Any]:
    """Return a canonical asset as JSON-like data.

    Keys: the columns of the asset (`carried` has every value older than its last word, by field, with its day), then
    members (merged into it), decisions in force, sources, aliases, identifiers, tags, instances, relations, candidates
    for duplicates, resolutions, corrections (how many), history (the last `days` days up to `today` on which any source
    spoke; where `counts` is False another row of that source and day goes before it), changes (the last `events` of all
    time) and timeline (the last `events` of everything that happened; `timeline_more`: there are older ones), all newest
    first. The transaction gives one moment's truth.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        members = rows(connection, _MEMBERS, {"asset": asset_id})
        ids = [asset_id, *(member["id"] for member in members)]
        p: dict[str, Any] = {"asset": asset_id, "ids": ids, "to": today, "days": days}
        changes = asset_events(connection, ids, today=today, last=events + 1)
        told, more = timeline(connection, asset_id, ids, changes, last=events)
        p["from"] = rows(connection, _FIRST_SHOWN, p)[0]["day"] or today
        return {
            **with_ages(rows(connection, _ASSET, p)[0]),
            "members": members,
            "decisions": rows(connection, _DECISIONS, p),
            "sources": rows(connection, _SOURCES, p),
            "aliases": rows(connection, _ALIASES, p),
            "identifiers": rows(connection, _IDENTIFIERS, p),
            "tags": rows(connection, _TAGS, p),
            "instances": rows(connection, _INSTANCES, p),
            "relations": rows(connection, _RELATIONS, p),
            "candidates": rows(connection, _CANDIDATES, p),
            "resolutions": rows(connection, _RESOLUTIONS, p),
            "corrections": rows(connection, _CORRECTIONS, p)[0]["corrections"],
            "history": rows(connection, _HISTORY, p),
            "changes": changes[:events],
            "timeline": told,
            "timeline_more": more,
        }


_MEMBERS = """
SELECT a.id, a.hostname, host(a.mgmt_ip) AS mgmt_ip, d.actor AS merged_by, d.decided_at AS merged_at, d.note
FROM ledger.assets a
LEFT JOIN ledger.decisions_in_force d ON d.kind = 'merge' AND d.asset_id = a.id
WHERE a.merged_into_asset_id = %(asset)s ORDER BY d.decided_at, a.id
"""

_FIRST_SHOWN = """
SELECT min(day) AS day FROM (
    SELECT DISTINCT d.day FROM unnest(%(ids)s::uuid[]) AS m(id) CROSS JOIN LATERAL (
        SELECT DISTINCT collected_date AS day FROM ledger.asset_daily_specs
        WHERE asset_id = m.id AND collected_date <= %(to)s ORDER BY collected_date DESC LIMIT %(days)s) d
    ORDER BY d.day DESC LIMIT %(days)s) shown
"""

_ASSET = f"""
SELECT a.id, a.hostname, host(a.mgmt_ip) AS mgmt_ip, a.zone, a.asset_type, a.platform_type, a.cpu_cores, a.memory_bytes,
       a.disk_total_bytes, a.os_family, a.os_version, a.power_state, a.protocol, a.port, a.credential_ref,
       a.custom_fields, a.carried, a.missing_since, a.merged_into_asset_id, a.created_at, a.updated_at, a.deleted_at,
       t.last_seen_date, t.told
FROM ledger.assets a
CROSS JOIN LATERAL (
    SELECT max(l.last_seen_date) AS last_seen_date, jsonb_build_object({TOLD}) AS told
    FROM ledger.asset_source_links l JOIN ledger.normalized_assets n ON n.id = l.normalized_id
    WHERE l.asset_id = ANY(%(ids)s) AND l.closed_at IS NULL
) t
WHERE a.id = %(asset)s
"""

_DECISIONS = """
SELECT d.kind, d.asset_id, d.field, d.value, d.actor, d.decided_at, d.note
FROM ledger.decisions_in_force d
WHERE d.asset_id = ANY(%(ids)s) AND d.kind IN ('override', 'retired', 'merge')
ORDER BY d.kind, d.field, d.id
"""

_SOURCES = """
SELECT s.name AS source, s.platform, s.naming_rank, s.specs_rank, l.asset_id, l.external_kind, l.external_id,
       l.first_seen_at, l.since_date, l.last_seen_date, l.last_seen_at, l.missing_since, l.closed_at, n.locator,
       n.inventory_id, n.document
FROM ledger.asset_source_links l
JOIN ledger.sources s ON s.id = l.source_id
JOIN ledger.normalized_assets n ON n.id = l.normalized_id
WHERE l.asset_id = ANY(%(ids)s)
ORDER BY l.closed_at IS NOT NULL, s.name, l.asset_id <> %(asset)s, l.last_seen_at DESC, l.id
"""

_ALIASES = """
SELECT kind, value, source, created_at FROM (
    SELECT DISTINCT ON (kind, value) kind, value, source, created_at FROM ledger.asset_aliases
    WHERE asset_id = ANY(%(ids)s) ORDER BY kind, value, created_at, source) first
ORDER BY kind, value
"""

# an open identifier is as old as the last time its source spoke of the asset
_IDENTIFIERS = """
SELECT i.kind, i.value, s.name AS source, min(i.first_seen_at) AS first_seen_at,
       bool_or(i.last_seen_at IS NULL) AS current,
       max(coalesce(i.last_seen_at, (SELECT max(l.last_seen_at) FROM ledger.asset_source_links l
                                     WHERE l.asset_id = i.asset_id AND l.source_id = i.source_id))) AS last_seen_at
FROM ledger.asset_identifiers i JOIN ledger.sources s ON s.id = i.source_id
WHERE i.asset_id = ANY(%(ids)s)
GROUP BY i.kind, i.value, s.name
ORDER BY NOT bool_or(i.last_seen_at IS NULL), i.kind, i.value, s.name
"""

# what a person took off the asset itself is off, whatever those merged into it have
_TAGS = """
SELECT t.tag, t.added_by, t.added_at, coalesce(t.removed_by, d.actor) AS removed_by,
       coalesce(t.removed_at, d.decided_at) AS removed_at
FROM (
    SELECT DISTINCT ON (tag) tag, added_by, added_at, removed_by, removed_at FROM ledger.asset_tags
    WHERE asset_id = ANY(%(ids)s) ORDER BY tag, asset_id <> %(asset)s, removed_at NULLS FIRST, added_at
) t
LEFT JOIN ledger.decisions_in_force d
  ON d.kind = 'tag' AND d.asset_id = %(asset)s AND d.field = t.tag AND d.value = 'false'
ORDER BY coalesce(t.removed_at, d.decided_at) IS NOT NULL, t.tag
"""

_INSTANCES = """
SELECT d.id, d.name, d.db_type, d.host, d.port, s.name AS source, l.match_status, l.confidence, l.matched_by_rule,
       l.link_type, d.first_seen_at, d.last_seen_at
FROM ledger.instance_asset_links l
JOIN ledger.database_instances d ON d.id = l.instance_id
JOIN ledger.sources s ON s.id = d.source_id
WHERE l.asset_id = ANY(%(ids)s) AND (l.confidence > 0 OR l.link_type = 'manual')
ORDER BY l.match_status <> 'confirmed', d.name, d.id
"""

# Both directions; the run is that of the reading that saw each end last. Which one told last of a relation that is over
# is not kept.
_RELATIONS = """
WITH mine AS MATERIALIZED (
    SELECT id, source_id, external_kind, external_id FROM ledger.asset_source_links WHERE asset_id = ANY(%(ids)s)
), theirs AS MATERIALIZED (
    SELECT DISTINCT f.id FROM mine m
    JOIN ledger.asset_relations r ON r.to_kind = m.external_kind AND r.to_external_id = m.external_id
    JOIN ledger.asset_source_links f ON f.id = r.from_link_id AND f.source_id = m.source_id
)
SELECT r.kind, r.direction, r.current, r.began_at, r.ended_at, s.name AS source, r.external_kind, r.external_id,
       coalesce(a.merged_into_asset_id, a.id) AS asset_id, coalesce(root.hostname, a.hostname) AS hostname,
       CASE WHEN r.ended_at IS NULL THEN told.run_id END AS told_by_run,
       CASE WHEN r.ended_at IS NULL THEN other.run_id END AS other_end_by_run, other.collected_date AS other_end_seen
FROM (
    SELECT kind, 'to' AS direction, current, began_at, ended_at, source_id, from_inventory_id AS told_id,
           to_kind AS external_kind, to_external_id AS external_id, to_asset_id AS other_id, to_inventory_id AS other_told_id
    FROM ledger.topology WHERE from_link_id = ANY(ARRAY(SELECT id FROM mine))
    UNION ALL
    SELECT t.kind, 'from', t.current, t.began_at, t.ended_at, t.source_id, t.from_inventory_id, l.external_kind,
           l.external_id, t.from_asset_id, t.from_inventory_id
    FROM ledger.topology t JOIN ledger.asset_source_links l ON l.id = t.from_link_id
    WHERE t.from_link_id = ANY(ARRAY(SELECT id FROM theirs)) AND t.to_asset_id = ANY(%(ids)s)
) r
JOIN ledger.sources s ON s.id = r.source_id
LEFT JOIN ledger.assets a ON a.id = r.other_id
LEFT JOIN ledger.assets root ON root.id = a.merged_into_asset_id
LEFT JOIN ledger.inventories told ON told.id = r.told_id
LEFT JOIN ledger.inventories other ON other.id = r.other_told_id
ORDER BY NOT r.current, r.direction DESC, r.kind, hostname, r.external_id, r.began_at
"""

_CANDIDATES = """
SELECT o.id, o.hostname, host(o.mgmt_ip) AS mgmt_ip, c.score, c.parts, c.found_at
FROM ledger.duplicate_candidates c
JOIN ledger.assets o ON o.id = CASE WHEN c.asset_id = %(asset)s THEN c.other_asset_id ELSE c.asset_id END
WHERE c.asset_id = %(asset)s OR c.other_asset_id = %(asset)s
ORDER BY c.score DESC, o.id
"""

_RESOLUTIONS = """
SELECT r.resolved_at, s.name AS source, r.external_kind, r.external_id, r.rule, r.outcome, r.asset_id, r.inputs,
       r.inventory_id
FROM (SELECT DISTINCT source_id, external_kind, external_id FROM ledger.asset_source_links
      WHERE asset_id = ANY(%(ids)s)) l
JOIN ledger.identity_resolutions r USING (source_id, external_kind, external_id)
JOIN ledger.sources s ON s.id = r.source_id
ORDER BY r.id
"""

_CORRECTIONS = """
SELECT count(*) AS corrections FROM ledger.asset_daily_corrections WHERE asset_id = ANY(%(ids)s)
"""

_HISTORY = """
SELECT d.collected_date, s.name AS source, d.collected_at, d.hostname, d.cpu_cores, d.memory_bytes, d.disk_total_bytes,
       d.os_family, d.os_version, d.power_state,
       (SELECT coalesce(array_agg(host(ip) ORDER BY ip), '{}') FROM unnest(n.ip_addresses) AS ip) AS ip_addresses,
       d.unknown, d.inventory_id, d.normalized_id, d.recorded_at, d.asset_id,
       row_number() OVER (PARTITION BY d.collected_date, d.source_id
                          ORDER BY d.normalized_id IS NULL, d.asset_id <> %(asset)s, d.collected_at DESC, d.link_id DESC) = 1
           AS counts
FROM ledger.asset_daily_specs d
JOIN ledger.sources s ON s.id = d.source_id
LEFT JOIN ledger.normalized_assets n ON n.id = d.normalized_id
WHERE d.asset_id = ANY(%(ids)s) AND d.collected_date BETWEEN %(from)s AND %(to)s
ORDER BY d.collected_date DESC, s.name, counts DESC, d.link_id
"""
