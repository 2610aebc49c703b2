"""Database instances joined to the machines they run on: the links as a pure function of the rest of the ledger.

`relink` makes the rows of `ledger.instance_asset_links` what instances, assets, identifiers, aliases and decisions say
now; nothing else writes them, and no earlier row is looked at. The rules are `domain.links`; what a person decides
comes in through `store.decide.link_decisions`. Called after every reading, by decisions, and by a rebuild.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from asset_ledger.domain import links
from asset_ledger.store.database import Connection, ledger_lock, rows

# What each instance says of where it is. A host that is an address is no name; the instance's own name always is one.
_WANT = """
CREATE TEMPORARY TABLE link_want ON COMMIT DROP AS
SELECT i.id AS instance_id, i.zone, i.first_seen_at, told.address, told.value, told.field
FROM ledger.database_instances i
CROSS JOIN LATERAL (
    SELECT true AS address, host(i.host_ip) AS value, 'host' AS field WHERE i.host_ip IS NOT NULL
    UNION ALL
    SELECT false, lower(i.host), 'host' WHERE i.host_ip IS NULL
    UNION ALL
    SELECT false, lower(i.name), 'name' WHERE i.host_ip IS NOT NULL OR lower(i.name) <> lower(i.host)
) told
WHERE {of_these};
ANALYZE link_want
"""

# Which machines have or had each address that is asked for, a row an address and machine. What a merged machine has
# counts for its root, in the zone it was read in. Of a machine that is missing the address is only believed as long
# as no other has it.
_ADDRESS = """
CREATE TEMPORARY TABLE link_borne ON COMMIT DROP AS
WITH asked AS MATERIALIZED (
    SELECT DISTINCT zone, value FROM link_want WHERE address
)
SELECT a.zone, w.value, a.id AS member_id, coalesce(a.merged_into_asset_id, a.id) AS root_id, true AS mgmt,
       a.carried ->> 'mgmt_ip' AS carried_from, NULL::integer AS source_id, NULL::timestamptz AS first_seen_at,
       NULL::timestamptz AS last_seen_at
FROM asked w JOIN ledger.assets a ON a.mgmt_ip = w.value::inet AND a.zone = w.zone
UNION ALL
SELECT a.zone, w.value, a.id, coalesce(a.merged_into_asset_id, a.id), false, NULL, d.source_id, d.first_seen_at,
       d.last_seen_at
FROM asked w
JOIN ledger.asset_identifiers d ON d.kind = 'ip' AND d.value = w.value
JOIN ledger.assets a ON a.id = d.asset_id AND a.zone = w.zone;
ANALYZE link_borne;
CREATE TEMPORARY TABLE link_address ON COMMIT DROP AS
WITH had AS (
    SELECT b.zone, b.value, r.id AS asset_id, r.missing_since, bool_or(b.mgmt) AS mgmt,
           min(b.carried_from) AS carried_from,
           bool_or(b.last_seen_at IS NULL) AS open,
           coalesce(min(b.first_seen_at), r.created_at) AS since,
           max(b.last_seen_at) AS until,
           array_agg(DISTINCT s.name) FILTER (WHERE b.last_seen_at IS NULL AND s.name IS NOT NULL) AS sources,
           (array_agg(s.name ORDER BY b.last_seen_at DESC, s.name) FILTER (WHERE b.last_seen_at IS NOT NULL))[1] AS source,
           array_agg(DISTINCT b.member_id) FILTER (WHERE b.member_id <> r.id) AS through
    FROM link_borne b
    JOIN ledger.assets r ON r.id = b.root_id AND r.deleted_at IS NULL
    LEFT JOIN ledger.sources s ON s.id = b.source_id
    GROUP BY b.zone, b.value, r.id
), believed AS (
    SELECT h.*, open AND (missing_since IS NULL OR NOT bool_or(open AND missing_since IS NULL)
                                                       OVER (PARTITION BY zone, value)) AS holds
    FROM had h
)
SELECT zone, value, asset_id, missing_since, mgmt, carried_from, holds, since, sources, source, through,
       CASE WHEN NOT holds THEN CASE WHEN open THEN missing_since ELSE until END END AS until,
       NOT holds AND open AS gone,
       count(*) FILTER (WHERE holds) OVER (PARTITION BY zone, value) AS holders,
       row_number() OVER (PARTITION BY zone, value, holds ORDER BY until DESC NULLS LAST, asset_id) AS place
FROM believed;
ANALYZE link_address
"""

# Who has a contested address now, and when anything was last heard of them: what was lost fades as their word goes on.
_HELD = """
CREATE TEMPORARY TABLE link_held ON COMMIT DROP AS
WITH contested AS MATERIALIZED (
    SELECT zone, value, bool_or(NOT holds) AS moved FROM link_address
    WHERE holders <= %(too_widely)s AND (holds OR place <= %(former_kept)s)
    GROUP BY zone, value HAVING count(*) > 1 OR bool_or(NOT holds)
), party AS MATERIALIZED (
    SELECT a.*, c.moved FROM link_address a JOIN contested c USING (zone, value) WHERE a.holds OR a.place <= %(former_kept)s
), involved AS MATERIALIZED (
    SELECT DISTINCT asset_id FROM party WHERE moved
), heard AS MATERIALIZED (
    SELECT n.asset_id, max(greatest(l.last_seen_at, l.closed_at)) AS at
    FROM involved n
    JOIN ledger.assets m ON coalesce(m.merged_into_asset_id, m.id) = n.asset_id
    JOIN ledger.asset_source_links l ON l.asset_id = m.id
    GROUP BY n.asset_id
), holding AS (
    SELECT a.zone, a.value, array_agg(a.asset_id ORDER BY a.asset_id) AS assets, max(h.at) AS heard_at, max(a.since) AS since
    FROM party a LEFT JOIN heard h ON h.asset_id = a.asset_id
    WHERE a.holds GROUP BY a.zone, a.value
)
SELECT a.zone, a.value, a.asset_id, array_remove(g.assets, a.asset_id) AS others, g.since,
       floor(extract(epoch FROM greatest(h.at, g.heard_at, a.until) - a.until) / 86400)::integer AS days
FROM party a
LEFT JOIN holding g USING (zone, value)
LEFT JOIN heard h ON h.asset_id = a.asset_id;
ANALYZE link_held
"""

_NAME = """
CREATE TEMPORARY TABLE link_name ON COMMIT DROP AS
WITH asked AS MATERIALIZED (
    SELECT DISTINCT zone, value FROM link_want WHERE NOT address
), borne AS (
    SELECT a.zone, w.value, a.id AS member_id, coalesce(a.merged_into_asset_id, a.id) AS root_id, true AS hostname,
           NULL::timestamptz AS since
    FROM asked w JOIN ledger.assets a ON lower(a.hostname) = w.value AND a.zone = w.zone
    UNION ALL
    SELECT a.zone, w.value, a.id, coalesce(a.merged_into_asset_id, a.id), false, al.created_at
    FROM asked w
    JOIN ledger.asset_aliases al ON al.kind = ANY('{hostname,fqdn,other}') AND lower(al.value) = w.value
    JOIN ledger.assets a ON a.id = al.asset_id AND a.zone = w.zone
)
SELECT b.zone, b.value, r.id AS asset_id, bool_or(b.hostname) AS hostname,
       coalesce(min(b.since), r.created_at) AS since,
       array_agg(DISTINCT b.member_id) FILTER (WHERE b.member_id <> r.id) AS through,
       count(*) OVER (PARTITION BY b.zone, b.value) AS bearers
FROM borne b JOIN ledger.assets r ON r.id = b.root_id AND r.deleted_at IS NULL
GROUP BY b.zone, b.value, r.id;
ANALYZE link_name
"""

# Every rule that holds for a pair, then the strongest of them with the others beside it, then a person's word over it.
_JUDGED = """
CREATE TEMPORARY TABLE link_judged ON COMMIT DROP AS
WITH hit AS (
    SELECT w.instance_id, a.asset_id, w.field, w.value AS matched,
           CASE WHEN NOT a.holds THEN 'former_ip' WHEN a.mgmt THEN 'mgmt_ip' ELSE 'ip_identifier' END AS rule,
           CASE WHEN NOT a.holds
                THEN (%(former_confidence)s::integer[])[width_bucket(coalesce(h.days, 0), %(former_days)s::integer[]) + 1]
                WHEN a.mgmt THEN %(mgmt_ip)s ELSE %(ip_identifier)s END AS confidence,
           greatest(w.first_seen_at, a.since) AS since,
           greatest(w.first_seen_at, a.since, a.until, h.since) AS changed_at,
           jsonb_strip_nulls(jsonb_build_object(
               'field', w.field, 'matched', w.value,
               'sources', CASE WHEN a.holds THEN to_jsonb(a.sources) END,
               'carried_from', CASE WHEN a.holds AND a.mgmt THEN a.carried_from END,
               'also_held_by', CASE WHEN a.holds AND h.others <> '{}' THEN to_jsonb(h.others) END,
               'source', CASE WHEN NOT a.holds AND NOT a.gone THEN a.source END,
               'last_seen_at', CASE WHEN NOT a.holds AND NOT a.gone THEN a.until END,
               'missing_since', CASE WHEN a.gone THEN a.missing_since END,
               'held_now_by', CASE WHEN NOT a.holds AND h.others <> '{}' THEN to_jsonb(h.others) END,
               'through', to_jsonb(a.through))) AS detail
    FROM link_want w
    JOIN link_address a ON a.zone = w.zone AND a.value = w.value
    LEFT JOIN link_held h ON h.zone = a.zone AND h.value = a.value AND h.asset_id = a.asset_id
    WHERE w.address AND a.holders <= %(too_widely)s AND (a.holds OR a.place <= %(former_kept)s)
    UNION ALL
    SELECT w.instance_id, n.asset_id, w.field, w.value, CASE WHEN n.hostname THEN 'hostname' ELSE 'alias' END,
           CASE WHEN n.hostname THEN %(hostname)s ELSE %(alias)s END,
           greatest(w.first_seen_at, n.since), greatest(w.first_seen_at, n.since),
           jsonb_strip_nulls(jsonb_build_object('field', w.field, 'matched', w.value, 'through', to_jsonb(n.through)))
    FROM link_want w
    JOIN link_name n ON n.zone = w.zone AND n.value = w.value
    WHERE NOT w.address AND n.bearers <= %(too_widely)s
), placed AS (
    SELECT h.*, row_number() OVER pair AS place, min(since) OVER (PARTITION BY instance_id, asset_id) AS first_at
    FROM hit h WINDOW pair AS (PARTITION BY instance_id, asset_id ORDER BY confidence DESC, rule, h.field)
), other AS (
    SELECT instance_id, asset_id, jsonb_agg(detail || jsonb_build_object('rule', rule) ORDER BY place) AS also
    FROM placed WHERE place > 1 GROUP BY instance_id, asset_id
), decided AS (
    SELECT DISTINCT ON (d.other_id, r.id) d.other_id AS instance_id, r.id AS asset_id, d.value #>> '{}' AS word,
           d.decided_at, jsonb_strip_nulls(jsonb_build_object('value', d.value, 'actor', d.actor,
                                                              'decided_at', d.decided_at, 'note', d.note)) AS decision
    FROM ledger.decisions_in_force d
    JOIN ledger.assets m ON m.id = d.asset_id
    JOIN ledger.assets r ON r.id = coalesce(m.merged_into_asset_id, m.id) AND r.deleted_at IS NULL
    JOIN ledger.database_instances i ON i.id = d.other_id
    WHERE d.kind = 'link' AND {of_these}
    ORDER BY d.other_id, r.id, d.id DESC
), pair AS (
    SELECT coalesce(p.instance_id, d.instance_id) AS instance_id, coalesce(p.asset_id, d.asset_id) AS asset_id,
           p.rule, p.confidence, p.detail, p.first_at, p.changed_at, d.word, d.decided_at, d.decision,
           coalesce(p.confidence >= %(strong)s, false) AS strong
    FROM (SELECT * FROM placed WHERE place = 1) p
    FULL JOIN decided d ON d.instance_id = p.instance_id AND d.asset_id = p.asset_id
), compared AS (
    SELECT pair.*,
           count(*) FILTER (WHERE strong AND word IS DISTINCT FROM 'rejected') OVER instance AS strong_ones,
           max(asset_id::text) FILTER (WHERE word = 'confirmed') OVER instance AS confirmed_on,
           max(changed_at) FILTER (WHERE strong) OVER instance AS strong_at,
           max(decided_at) OVER instance AS any_decided_at
    FROM pair WINDOW instance AS (PARTITION BY instance_id)
)
SELECT c.instance_id, c.asset_id,
       CASE WHEN word IS NULL THEN 'auto' ELSE 'manual' END AS link_type,
       CASE WHEN word IS NOT NULL THEN word
            WHEN strong AND strong_ones = 1 AND confirmed_on IS NULL THEN 'confirmed' ELSE 'candidate' END AS match_status,
       (CASE word WHEN 'confirmed' THEN %(person)s WHEN 'rejected' THEN 0 ELSE confidence END)::smallint AS confidence,
       CASE WHEN word IS NULL THEN rule ELSE 'person' END AS matched_by_rule,
       coalesce(detail, '{}') || jsonb_strip_nulls(jsonb_build_object(
           'by_rule', CASE WHEN word IS NOT NULL THEN rule END,
           'also', o.also,
           'strong', CASE WHEN strong AND word IS NULL THEN strong_ones END,
           'confirmed_on', CASE WHEN word IS NULL THEN confirmed_on END,
           'decision', decision)) AS evidence,
       least(first_at, decided_at) AS created_at,
       CASE WHEN word IS NOT NULL THEN decided_at
            WHEN strong THEN greatest(changed_at, strong_at, any_decided_at) ELSE changed_at END AS updated_at
FROM compared c
LEFT JOIN other o ON o.instance_id = c.instance_id AND o.asset_id = c.asset_id;
ANALYZE link_judged
"""

_GONE = """
DELETE FROM ledger.instance_asset_links l
WHERE {of_these} AND NOT EXISTS (
    SELECT FROM link_judged j WHERE j.instance_id = l.instance_id AND j.asset_id = l.asset_id)
"""
_WRITE = """
MERGE INTO ledger.instance_asset_links l
USING link_judged j ON l.instance_id = j.instance_id AND l.asset_id = j.asset_id
WHEN MATCHED AND (l.link_type, l.match_status, l.confidence, l.matched_by_rule, l.evidence, l.created_at, l.updated_at)
    IS DISTINCT FROM
    (j.link_type, j.match_status, j.confidence, j.matched_by_rule, j.evidence, j.created_at, j.updated_at)
THEN UPDATE SET link_type = j.link_type, match_status = j.match_status, confidence = j.confidence,
    matched_by_rule = j.matched_by_rule, evidence = j.evidence, created_at = j.created_at, updated_at = j.updated_at
WHEN NOT MATCHED THEN
    INSERT (instance_id, asset_id, link_type, match_status, confidence, matched_by_rule, evidence, created_at, updated_at)
    VALUES (j.instance_id, j.asset_id, j.link_type, j.match_status, j.confidence, j.matched_by_rule, j.evidence,
            j.created_at, j.updated_at)
"""
_COUNTS = """
WITH linked AS (
    SELECT instance_id, bool_or(match_status = 'confirmed') AS confirmed, bool_or(match_status = 'candidate') AS candidate
    FROM ledger.instance_asset_links GROUP BY instance_id
)
SELECT count(*) FILTER (WHERE match_status = 'confirmed') AS links_confirmed,
       count(*) FILTER (WHERE match_status = 'candidate') AS links_candidate,
       count(*) FILTER (WHERE match_status = 'rejected') AS links_rejected,
       count(*) FILTER (WHERE matched_by_rule = 'former_ip') AS links_former,
       (SELECT count(*) FROM ledger.database_instances) AS instances,
       (SELECT count(*) FROM ledger.database_instances)
         - (SELECT count(*) FROM linked WHERE confirmed) AS instances_unlinked,
       (SELECT count(*) FROM linked WHERE candidate AND NOT confirmed) AS instances_waiting
FROM ledger.instance_asset_links
"""
_TOO_WIDE = """
SELECT (SELECT count(DISTINCT (zone, value)) FROM link_address WHERE holders > %(too_widely)s)
     + (SELECT count(DISTINCT (zone, value)) FROM link_name WHERE bearers > %(too_widely)s)
"""


def relink(connection: Connection, instances: Sequence[UUID] | None = None) -> dict[str, int]:
    """Make the links of these instances (None: all) what the ledger says now; return counts of all links by status.

    One transaction under the ledger's lock. No clock is read and no earlier link: after dropping every row the very
    same ones come back. Rows that stay as they are are not written. Counts: `links_written` (made or changed),
    `links_removed`, `links_confirmed`, `links_candidate` (`links_former` of them by an address that moved away),
    `links_rejected`, `instances`, `instances_unlinked` (none confirmed), `instances_waiting` (of these, such as have
    candidates), `values_shared_too_widely` (addresses and names that say nothing).
    """
    p: dict[str, Any] = {
        **links.CONFIDENCE,
        "strong": links.STRONG,
        "person": links.PERSON,
        "former_days": list(links.FORMER_DAYS),
        "former_confidence": list(links.FORMER_CONFIDENCE),
        "former_kept": links.FORMER_KEPT,
        "too_widely": links.SHARED_TOO_WIDELY,
        "instances": None if instances is None else list(instances),
    }
    of_instances, of_links = (
        ("true", "true") if instances is None else ("i.id = ANY(%(instances)s)", "l.instance_id = ANY(%(instances)s)")
    )
    with connection.transaction():
        ledger_lock(connection)
        for script in (_WANT, _ADDRESS, _HELD, _NAME, _JUDGED):
            for statement in script.replace("{of_these}", of_instances).split(";\n"):
                connection.execute(statement, p if "%(" in statement else None)
        removed = connection.execute(_GONE.replace("{of_these}", of_links), p).rowcount
        written = connection.execute(_WRITE).rowcount
        (too_wide,) = connection.execute(_TOO_WIDE, p).fetchone() or (0,)
        # a caller's transaction may link again
        connection.execute("DROP TABLE link_want, link_borne, link_address, link_held, link_name, link_judged")
        (counts,) = rows(connection, _COUNTS)
    return {"links_written": written, "links_removed": removed, **counts, "values_shared_too_widely": too_wide}
