"""Database instances joined to the ledger assets they run on: candidates by rule, with confidence.

A person's word (`link_type = 'manual'`, or a rejection) is never touched here.
"""

from __future__ import annotations

from typing import Any

from asset_ledger.store.database import Connection, rows

# The seed's rules, strongest first. Of several rules that hold for a pair, the strongest is kept.
_RELINK = """
WITH names AS (
    SELECT a.id, lower(a.hostname) AS name, 'hostname' AS rule, 70 AS confidence FROM ledger.assets a
    WHERE a.hostname IS NOT NULL AND a.merged_into_asset_id IS NULL AND a.deleted_at IS NULL
    UNION ALL
    SELECT al.asset_id, lower(al.value), 'alias', 60
    FROM ledger.asset_aliases al JOIN ledger.assets a ON a.id = al.asset_id
    WHERE a.merged_into_asset_id IS NULL AND a.deleted_at IS NULL
), hits AS (
    SELECT i.id AS instance_id, a.id AS asset_id, 'mgmt_ip' AS rule, 95 AS confidence, host(i.host_ip) AS matched
    FROM ledger.database_instances i
    JOIN ledger.assets a ON a.mgmt_ip = i.host_ip AND a.zone = i.zone
    WHERE a.merged_into_asset_id IS NULL AND a.deleted_at IS NULL
    UNION ALL
    SELECT i.id, a.id, 'ip_identifier', 85, host(i.host_ip)
    FROM ledger.database_instances i
    JOIN ledger.asset_identifiers d ON d.kind = 'ip' AND d.value = host(i.host_ip) AND d.last_seen_at IS NULL
    JOIN ledger.assets a ON a.id = d.asset_id AND a.zone = i.zone
    WHERE a.merged_into_asset_id IS NULL AND a.deleted_at IS NULL
    UNION ALL
    SELECT i.id, n.id, n.rule, n.confidence, n.name
    FROM ledger.database_instances i
    JOIN names n ON n.name IN (lower(i.host), lower(i.name))
    JOIN ledger.assets a ON a.id = n.id AND a.zone = i.zone
), best AS (
    SELECT DISTINCT ON (instance_id, asset_id) * FROM hits ORDER BY instance_id, asset_id, confidence DESC
), judged AS (
    SELECT b.*,
           count(*) OVER (PARTITION BY instance_id) AS candidates,
           count(*) FILTER (WHERE confidence >= 85) OVER (PARTITION BY instance_id) AS strong
    FROM best b
)
MERGE INTO ledger.instance_asset_links l
USING judged j ON l.instance_id = j.instance_id AND l.asset_id = j.asset_id
WHEN MATCHED AND l.link_type = 'auto' AND l.match_status <> 'rejected'
    AND (l.match_status, l.confidence, l.matched_by_rule) IS DISTINCT FROM
        (CASE WHEN j.confidence >= 85 AND j.strong = 1 THEN 'confirmed' ELSE 'candidate' END, j.confidence, j.rule)
THEN UPDATE SET match_status = CASE WHEN j.confidence >= 85 AND j.strong = 1 THEN 'confirmed' ELSE 'candidate' END,
    confidence = j.confidence, matched_by_rule = j.rule, updated_at = now(),
    evidence = jsonb_build_object('matched', j.matched, 'candidates', j.candidates)
WHEN NOT MATCHED THEN
    INSERT (instance_id, asset_id, link_type, match_status, confidence, matched_by_rule, evidence, created_at, updated_at)
    VALUES (j.instance_id, j.asset_id, 'auto',
            CASE WHEN j.confidence >= 85 AND j.strong = 1 THEN 'confirmed' ELSE 'candidate' END,
            j.confidence, j.rule, jsonb_build_object('matched', j.matched, 'candidates', j.candidates), now(), now())
"""

# No rule speaks for these any more; the row and its evidence stay, the confidence goes.
_FADE = """
UPDATE ledger.instance_asset_links l
SET match_status = 'candidate', confidence = 0, updated_at = now()
FROM ledger.database_instances i, ledger.assets a
WHERE l.instance_id = i.id AND l.asset_id = a.id AND l.link_type = 'auto' AND l.match_status <> 'rejected'
  AND l.confidence > 0
  AND NOT (i.host_ip IS NOT NULL AND (a.mgmt_ip = i.host_ip OR EXISTS (
        SELECT 1 FROM ledger.asset_identifiers d
        WHERE d.asset_id = a.id AND d.kind = 'ip' AND d.value = host(i.host_ip) AND d.last_seen_at IS NULL)))
  AND NOT EXISTS (
        SELECT 1 FROM ledger.asset_aliases al
        WHERE al.asset_id = a.id AND lower(al.value) IN (lower(i.host), lower(i.name)))
  AND coalesce(lower(a.hostname) NOT IN (lower(i.host), lower(i.name)), true)
"""


def relink(connection: Connection) -> dict[str, int]:
    """Match every instance with the ledger anew and return the counts of links by what they are now.

    One strong hit (an address) is confirmed; several, or names alone, stay candidates for a person.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('asset_ledger.links'))")
        connection.execute(_FADE)
        written = connection.execute(_RELINK).rowcount
        row = connection.execute(
            """
            SELECT count(*) FILTER (WHERE match_status = 'confirmed'),
                   count(*) FILTER (WHERE match_status = 'candidate' AND confidence > 0),
                   count(*) FILTER (WHERE match_status = 'rejected'),
                   (SELECT count(*) FROM ledger.database_instances),
                   (SELECT count(*) FROM ledger.database_instances i WHERE NOT EXISTS (
                        SELECT 1 FROM ledger.instance_asset_links l
                        WHERE l.instance_id = i.id AND l.match_status <> 'rejected' AND l.confidence > 0))
            FROM ledger.instance_asset_links
            """
        ).fetchone()
    assert row is not None
    keys = ("links_confirmed", "links_candidate", "links_rejected", "instances", "instances_unlinked")
    return {"links_written": written, **dict(zip(keys, row, strict=True))}


def list_links(connection: Connection, *, limit: int = 200) -> list[dict[str, Any]]:
    """Return the links, those that wait for a person first."""
    return rows(
        connection,
        """
        SELECT l.id, i.name AS instance, i.db_type, i.host, i.port, a.hostname, host(a.mgmt_ip) AS mgmt_ip, l.asset_id,
               l.match_status, l.confidence, l.matched_by_rule, l.link_type, l.evidence
        FROM ledger.instance_asset_links l
        JOIN ledger.database_instances i ON i.id = l.instance_id
        JOIN ledger.assets a ON a.id = l.asset_id
        WHERE l.confidence > 0 OR l.link_type = 'manual'
        ORDER BY l.match_status <> 'candidate', i.name, l.confidence DESC LIMIT %s
        """,
        [limit],
    )


def list_instances(connection: Connection, *, limit: int = 200) -> list[dict[str, Any]]:
    """Return the database instances, each with the ledger asset it is confirmed to run on."""
    return rows(
        connection,
        """
        SELECT i.id, i.name, i.db_type, i.host, i.port, s.name AS source, i.custom_fields,
               a.id AS asset_id, a.hostname AS asset, l.matched_by_rule, l.confidence
        FROM ledger.database_instances i
        JOIN ledger.sources s ON s.id = i.source_id
        LEFT JOIN LATERAL (
            SELECT * FROM ledger.instance_asset_links l
            WHERE l.instance_id = i.id AND l.match_status = 'confirmed' ORDER BY l.confidence DESC, l.id LIMIT 1
        ) l ON true
        LEFT JOIN ledger.assets a ON a.id = l.asset_id
        ORDER BY i.name LIMIT %s
        """,
        [limit],
    )
