"""Ledger assets that may be one machine: found anew each time from open identifiers, current rows and decisions.

`ledger.duplicate_candidates` is a pure function of those, so it does not matter when or how often it is made. What
counts as evidence and for how much is `domain.duplicates`; merging is `store.decide.merges`. Called by Dagster and the
command line.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are always parameters
from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import ClientCursor

from asset_ledger.domain.duplicates import (
    ADDRESS,
    HIGHEST,
    LOWEST,
    MAC,
    PART_OF_CLASS,
    PARTS,
    SERIAL,
    SHARED_BY_AT_MOST,
    UUID_KINDS,
)
from asset_ledger.domain.duplicates import UUID as UUID_CLASS
from asset_ledger.store.database import Connection, ledger_lock, rows

# a number by which to look up a value. Both byte orders of a UUID end in the same eight bytes
_NUMBER = """hashtextextended(CASE WHEN octet_length(i.value) = 36 AND i.kind = ANY(%(uuid_kinds)s)
    THEN substr(i.value, 20) ELSE i.value END, 0)"""
_CLASS = f"""CASE i.kind WHEN 'mac' THEN {MAC} WHEN 'ip' THEN {ADDRESS} WHEN 'serial' THEN {SERIAL}
    ELSE {UUID_CLASS} END"""
# of a UUID and itself with the first three fields turned round the lesser: one key for both orders
_KEY = """CASE
    WHEN i.kind = 'ip' THEN a.zone || ' ' || i.value
    WHEN i.kind = ANY(%(uuid_kinds)s) AND length(i.value) = 36 THEN least(i.value COLLATE "C", (
        substr(i.value, 7, 2) || substr(i.value, 5, 2) || substr(i.value, 3, 2) || substr(i.value, 1, 2) || '-' ||
        substr(i.value, 12, 2) || substr(i.value, 10, 2) || '-' ||
        substr(i.value, 17, 2) || substr(i.value, 15, 2) || substr(i.value, 19)) COLLATE "C")
    ELSE i.value END"""

_TOLD = f"""
    SELECT i.asset_id, i.kind, i.value, i.first_seen_at, false AS managed, {_NUMBER} AS h
    FROM ledger.asset_identifiers i
    WHERE i.last_seen_at IS NULL AND i.kind = ANY(%(uuid_kinds)s || '{{serial,mac,ip}}'::text[])
    UNION ALL
    SELECT a.id, 'ip', host(a.mgmt_ip), NULL, true, hashtextextended(host(a.mgmt_ip), 0)
    FROM ledger.assets a WHERE a.mgmt_ip IS NOT NULL"""

# Almost every value is on one asset only. One pass that stops at the first other asset leaves those on several, however
# many; only they are compared letter by letter, within zones and through merges.
_FACTS = f"""
CREATE TEMPORARY TABLE dup_identifier ON COMMIT DROP AS
SELECT i.asset_id, i.kind, i.value, i.first_seen_at, i.managed FROM ({_TOLD}) i
WHERE EXISTS (SELECT FROM ({_TOLD}) o WHERE o.h = i.h AND o.asset_id <> i.asset_id);
ANALYZE dup_identifier;

CREATE TEMPORARY TABLE dup_fact ON COMMIT DROP AS
SELECT r.id AS root, {_CLASS} AS class, {_KEY} AS key, min(i.value) AS value, bool_or(i.managed) AS managed,
       coalesce(min(i.first_seen_at), min(r.created_at)) AS first_seen_at, min(r.hostname) AS hostname
FROM dup_identifier i
JOIN ledger.assets a ON a.id = i.asset_id
JOIN ledger.assets r ON r.id = coalesce(a.merged_into_asset_id, a.id) AND r.deleted_at IS NULL
GROUP BY 1, 2, 3;
ANALYZE dup_fact;

CREATE TEMPORARY TABLE dup_shared ON COMMIT DROP AS
SELECT class, key, count(*) > %(shared_by_at_most)s AS demoted FROM dup_fact
GROUP BY class, key HAVING count(*) > 1 AND (class <> {ADDRESS} OR bool_or(managed));
ANALYZE dup_shared;
"""

_EVIDENCE = f"""
CREATE TEMPORARY TABLE dup_evidence ON COMMIT DROP AS
SELECT a.root AS asset_id, b.root AS other_asset_id, s.class, bool_or(a.managed AND b.managed) AS managed,
       jsonb_agg(DISTINCT CASE WHEN a.value = b.value THEN a.value ELSE a.value || ' = ' || b.value END) AS shared,
       min(greatest(a.first_seen_at, b.first_seen_at)) AS since, min(a.hostname) AS hostname,
       min(b.hostname) AS other_hostname
FROM dup_shared s
JOIN dup_fact a ON a.class = s.class AND a.key = s.key
JOIN dup_fact b ON b.class = s.class AND b.key = s.key AND a.root < b.root
WHERE NOT s.demoted AND (s.class <> {ADDRESS} OR a.managed OR b.managed)
GROUP BY a.root, b.root, s.class;

CREATE TEMPORARY TABLE dup_dismissed ON COMMIT DROP AS
SELECT DISTINCT least(d.one, d.two) AS asset_id, greatest(d.one, d.two) AS other_asset_id
FROM (
    SELECT coalesce(a.merged_into_asset_id, a.id) AS one, coalesce(b.merged_into_asset_id, b.id) AS two
    FROM ledger.decisions_in_force d
    JOIN ledger.assets a ON a.id = d.asset_id
    JOIN ledger.assets b ON b.id = d.other_id
    WHERE d.kind = 'not_duplicate'
) d;

CREATE TEMPORARY TABLE dup_pair ON COMMIT DROP AS
SELECT DISTINCT e.asset_id, e.other_asset_id, e.hostname, e.other_hostname, d.asset_id IS NOT NULL AS dismissed
FROM dup_evidence e
LEFT JOIN dup_dismissed d ON d.asset_id = e.asset_id AND d.other_asset_id = e.other_asset_id;
ANALYZE dup_evidence;
ANALYZE dup_pair;
"""

# What speaks for or against a pair beside what it shares: looked up for the assets of pairs alone.
_CONTEXT = f"""
CREATE TEMPORARY TABLE dup_member ON COMMIT DROP AS
WITH root AS (
    SELECT asset_id AS id FROM dup_pair WHERE NOT dismissed
    UNION
    SELECT other_asset_id FROM dup_pair WHERE NOT dismissed
)
SELECT id AS root, id FROM root
UNION ALL
SELECT r.id, a.id FROM root r JOIN ledger.assets a ON a.merged_into_asset_id = r.id;
ANALYZE dup_member;

CREATE TEMPORARY TABLE dup_told ON COMMIT DROP AS
SELECT DISTINCT m.root, i.kind
FROM dup_member m
JOIN ledger.assets a ON a.id = m.id
CROSS JOIN LATERAL (
    SELECT kind, value FROM ledger.asset_identifiers
    WHERE asset_id = m.id AND last_seen_at IS NULL AND kind IN ('smbios_uuid', 'mac') OFFSET 0
) i
LEFT JOIN dup_shared s ON s.demoted AND s.class = {_CLASS} AND s.key = {_KEY}
WHERE s.class IS NULL;

CREATE TEMPORARY TABLE dup_listed ON COMMIT DROP AS
SELECT DISTINCT m.root, l.inventory_id, s.name
FROM dup_member m
JOIN ledger.asset_source_links l ON l.asset_id = m.id AND l.closed_at IS NULL
JOIN ledger.inventories v ON v.id = l.inventory_id AND v.complete
JOIN ledger.sources s ON s.id = l.source_id;
ANALYZE dup_told;
ANALYZE dup_listed;
"""

_CANDIDATES = """
CREATE TEMPORARY TABLE dup_candidate ON COMMIT DROP AS
WITH pair AS (
    SELECT asset_id, other_asset_id, hostname, other_hostname FROM dup_pair WHERE NOT dismissed
), part AS (
    SELECT e.asset_id, e.other_asset_id, c.part, e.shared AS said, e.since
    FROM pair JOIN dup_evidence e USING (asset_id, other_asset_id)
    JOIN unnest(%(classes)s::int[], %(class_parts)s::text[]) AS c(class, part) ON c.class = e.class
    WHERE e.class <> %(address)s
    UNION ALL
    SELECT e.asset_id, e.other_asset_id, CASE WHEN e.managed THEN 'mgmt_ip' ELSE 'address' END, e.shared, e.since
    FROM pair JOIN dup_evidence e USING (asset_id, other_asset_id)
    WHERE e.class = %(address)s
    UNION ALL
    SELECT p.asset_id, p.other_asset_id, 'same_hostname',
           jsonb_build_array(CASE WHEN lower(p.hostname) = lower(p.other_hostname) THEN p.hostname
                                  ELSE p.hostname || ' = ' || p.other_hostname END), NULL
    FROM pair p
    -- a name and its full form are the same name
    WHERE split_part(lower(p.hostname), '.', 1) = split_part(lower(p.other_hostname), '.', 1)
      AND (lower(p.hostname) = lower(p.other_hostname)
           OR strpos(p.hostname, '.') = 0 OR strpos(p.other_hostname, '.') = 0)
    UNION ALL
    SELECT p.asset_id, p.other_asset_id, CASE a.kind WHEN 'mac' THEN 'other_mac' ELSE 'other_uuid' END, '[]', NULL
    FROM pair p
    JOIN dup_told a ON a.root = p.asset_id
    JOIN dup_told b ON b.root = p.other_asset_id AND b.kind = a.kind
    LEFT JOIN dup_evidence e ON e.asset_id = p.asset_id AND e.other_asset_id = p.other_asset_id
        AND e.class = CASE a.kind WHEN 'mac' THEN %(mac)s ELSE %(uuid)s END
    WHERE e.asset_id IS NULL
    UNION ALL
    SELECT p.asset_id, p.other_asset_id, 'side_by_side', jsonb_agg(DISTINCT a.name), NULL
    FROM pair p
    JOIN dup_listed a ON a.root = p.asset_id
    JOIN dup_listed b ON b.root = p.other_asset_id AND b.inventory_id = a.inventory_id
    GROUP BY p.asset_id, p.other_asset_id
)
SELECT p.asset_id, p.other_asset_id, greatest(%(lowest)s, least(%(highest)s, sum(w.points)))::smallint AS score,
       jsonb_agg(jsonb_build_object('part', p.part, 'points', w.points, 'values', p.said)
                 ORDER BY w.points DESC, p.part) AS parts,
       (array_agg(p.since ORDER BY w.points DESC, p.since) FILTER (WHERE p.since IS NOT NULL))[1] AS found_at
FROM part p JOIN unnest(%(parts)s::text[], %(points)s::int[]) AS w(part, points) ON w.part = p.part
GROUP BY p.asset_id, p.other_asset_id;
ANALYZE dup_candidate;
"""

_GONE = """
DELETE FROM ledger.duplicate_candidates c WHERE NOT EXISTS (
    SELECT FROM dup_candidate n WHERE n.asset_id = c.asset_id AND n.other_asset_id = c.other_asset_id)
"""
_CHANGED = """
UPDATE ledger.duplicate_candidates c SET score = n.score, parts = n.parts, found_at = n.found_at
FROM dup_candidate n
WHERE n.asset_id = c.asset_id AND n.other_asset_id = c.other_asset_id
  AND (n.score, n.parts, n.found_at) IS DISTINCT FROM (c.score, c.parts, c.found_at)
"""
_NEW = """
INSERT INTO ledger.duplicate_candidates (asset_id, other_asset_id, score, parts, found_at)
SELECT n.asset_id, n.other_asset_id, n.score, n.parts, n.found_at FROM dup_candidate n
ORDER BY n.asset_id, n.other_asset_id
ON CONFLICT DO NOTHING
"""
_COUNTS = """
SELECT (SELECT count(*) FROM dup_candidate), (SELECT count(*) FROM dup_pair WHERE dismissed),
       (SELECT count(*) FROM dup_shared WHERE demoted)
"""
_TABLES = ("identifier", "fact", "shared", "evidence", "dismissed", "pair", "member", "told", "listed", "candidate")


def find_duplicates(connection: Connection) -> dict[str, int]:
    """Make `ledger.duplicate_candidates` what it is to be now; return counts. A row that stays is not written.

    Keys: `candidates` there are, of which `new` and `changed`; `gone` since the last time; `dismissed` pairs left out;
    `shared_widely`, values left out because more than SHARED_BY_AT_MOST assets have them.
    """
    parameters = {
        "uuid_kinds": list(UUID_KINDS),
        "shared_by_at_most": SHARED_BY_AT_MOST,
        "classes": list(PART_OF_CLASS),
        "class_parts": list(PART_OF_CLASS.values()),
        "address": ADDRESS,
        "mac": MAC,
        "uuid": UUID_CLASS,
        "parts": list(PARTS),
        "points": [rule.points for rule in PARTS.values()],
        "lowest": LOWEST,
        "highest": HIGHEST,
    }
    with connection.transaction():
        ledger_lock(connection)
        # a table made from a query takes no parameters of the extended protocol
        with ClientCursor(connection) as cursor:
            cursor.execute("".join(f"DROP TABLE IF EXISTS pg_temp.dup_{table};" for table in _TABLES))
            for script in (_FACTS, _EVIDENCE, _CONTEXT, _CANDIDATES):
                cursor.execute(script, parameters)
            gone, changed, new = (cursor.execute(each).rowcount for each in (_GONE, _CHANGED, _NEW))
            candidates, dismissed, shared_widely = cursor.execute(_COUNTS).fetchone() or (0, 0, 0)
    return {
        "candidates": candidates,
        "new": new,
        "changed": changed,
        "gone": gone,
        "dismissed": dismissed,
        "shared_widely": shared_widely,
    }


# What is no longer open between two canonical assets is not shown, whenever the search ran last.
_OPEN = """
FROM ledger.duplicate_candidates c
JOIN ledger.assets a ON a.id = c.asset_id AND a.merged_into_asset_id IS NULL AND a.deleted_at IS NULL
JOIN ledger.assets b ON b.id = c.other_asset_id AND b.merged_into_asset_id IS NULL AND b.deleted_at IS NULL
WHERE NOT EXISTS (
    SELECT FROM ledger.decisions_in_force d
    WHERE d.kind = 'not_duplicate' AND d.asset_id = c.asset_id AND d.other_id = c.other_asset_id)
"""
_MACHINES = """
SELECT a.id, a.hostname, host(a.mgmt_ip) AS mgmt_ip, a.zone, a.asset_type, a.platform_type, a.cpu_cores,
       a.memory_bytes, a.disk_total_bytes, a.os_family, a.os_version, a.created_at, a.deleted_at,
       a.merged_into_asset_id, said.sources, said.last_seen_date, said.last_seen_at
FROM ledger.assets a
LEFT JOIN LATERAL (
    SELECT array_agg(DISTINCT s.name) AS sources, max(l.last_seen_date) AS last_seen_date,
           max(l.last_seen_at) AS last_seen_at
    FROM ledger.assets m
    JOIN ledger.asset_source_links l ON l.asset_id = m.id AND l.closed_at IS NULL
    JOIN ledger.sources s ON s.id = l.source_id
    WHERE m.id = a.id OR m.merged_into_asset_id = a.id
) said ON true
WHERE a.id = ANY(%(ids)s)
"""


def list_candidates(connection: Connection, *, limit: int, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return a page of candidates, the highest score first, and how many there are in all.

    Each has `score`, `parts`, `found_at` and `machines`: the two assets, with the sources that speak of each.
    """
    # one moment's truth for the three statements
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        found = rows(
            connection,
            f"SELECT c.* {_OPEN} ORDER BY c.score DESC, c.found_at DESC, c.asset_id, c.other_asset_id "
            "LIMIT %(limit)s OFFSET %(offset)s",
            {"limit": limit, "offset": offset},
        )
        (total,) = connection.execute(f"SELECT count(*) {_OPEN}").fetchone() or (0,)
        machines = _machines(connection, [each[end] for each in found for end in ("asset_id", "other_asset_id")])
    return [
        {
            "score": each["score"],
            "parts": each["parts"],
            "found_at": each["found_at"],
            "machines": [machines[each["asset_id"]], machines[each["other_asset_id"]]],
        }
        for each in found
    ], total


def compare(connection: Connection, one: UUID, other: UUID) -> dict[str, Any]:
    """Return two assets beside one another, in the order asked for, with what the last search found of the pair.

    Keys: `machines`, `candidate` (`score`, `parts`, `found_at`, or None).
    """
    first, second = sorted((one, other))
    found = rows(
        connection,
        "SELECT score, parts, found_at FROM ledger.duplicate_candidates WHERE asset_id = %s AND other_asset_id = %s",
        [first, second],
    )
    machines = _machines(connection, [one, other])
    return {"machines": [machines[one], machines[other]], "candidate": found[0] if found else None}


def _machines(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    return {row["id"]: row for row in rows(connection, _MACHINES, {"ids": list(ids)})}
