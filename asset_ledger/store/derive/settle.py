"""What a ledger asset is, derived from the words of its records and the decisions of people: the one definition.

Identifiers, names, tags, relations and the current row are a function of `asset_words` and `decisions`. Whoever changes
either (a reading, a replay, a decision, a rebuild) settles the assets concerned in the same transaction. Set-based.
"""

# ruff: noqa: S608 - statements are put together from constants of the store; values are always parameters
from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from asset_ledger.domain.history import CARRY_DAYS
from asset_ledger.store.database import Connection, run_script
from asset_ledger.store.derive.missing import MISSING_SINCE
from asset_ledger.store.derive.roots import repoint
from asset_ledger.store.derive.staging import working_tables

# The assets concerned, and with each the canonical one whose row its words make too. A canonical asset has the words of
# every member of its merge, any other asset its own.
_CONCERNED = """
CREATE TEMPORARY TABLE IF NOT EXISTS concerned (asset_id uuid PRIMARY KEY) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS member (asset_id uuid, link_asset_id uuid) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS heard (
    asset_id uuid, link_id bigint, source_id integer, normalized_id bigint, first_date date, first_at timestamptz,
    last_date date, last_at timestamptz, latest boolean, closed_at timestamptz, missing_since timestamptz
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS word (
    asset_id uuid, link_id bigint, source_id integer, naming_rank smallint, specs_rank smallint, os_rank smallint, normalized_id bigint,
    last_date date, since_at timestamptz, fresh boolean) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS plain (asset_id uuid, link_id bigint, normalized_id bigint, source_id integer,
    first_date date, first_at timestamptz, closed_at timestamptz, missing_since timestamptz) ON COMMIT DELETE ROWS;
"""
_FILL = """
INSERT INTO concerned
SELECT DISTINCT asset_id FROM touched
UNION
SELECT a.merged_into_asset_id FROM touched t JOIN ledger.assets a ON a.id = t.asset_id
WHERE a.merged_into_asset_id IS NOT NULL;

INSERT INTO member (asset_id, link_asset_id)
SELECT asset_id, asset_id FROM concerned
UNION ALL
SELECT c.asset_id, a.id FROM concerned c JOIN ledger.assets a ON a.merged_into_asset_id = c.asset_id;

ANALYZE concerned, member;

INSERT INTO heard (asset_id, link_id, source_id, normalized_id, first_date, first_at, last_date, last_at, latest, closed_at,
    missing_since)
SELECT l.asset_id, l.id, l.source_id, l.normalized_id, l.since_date, l.since_at, l.last_seen_date, l.last_seen_at, true,
       l.closed_at, l.missing_since
FROM (SELECT DISTINCT link_asset_id FROM member) m JOIN ledger.asset_source_links l ON l.asset_id = m.link_asset_id;

INSERT INTO heard (asset_id, link_id, source_id, normalized_id, first_date, first_at, last_date, last_at, latest, closed_at,
    missing_since)
SELECT h.asset_id, h.link_id, h.source_id, p.normalized_id, p.first_date, p.first_at, p.last_date, p.last_at, false,
       h.closed_at, h.missing_since
FROM heard h JOIN ledger.asset_past_words p ON p.link_id = h.link_id;

ANALYZE heard;
"""

# Most assets have one record that never said anything else, and nobody decided anything about them: there is nothing to
# choose, and a first reading of 100,000 machines is all of this kind.
_PLAIN = """
INSERT INTO plain (asset_id, link_id, normalized_id, source_id, first_date, first_at, closed_at, missing_since)
SELECT h.asset_id, h.link_id, h.normalized_id, h.source_id, h.first_date, h.first_at, h.closed_at,
       coalesce(h.closed_at, h.missing_since)
FROM (
    SELECT m.asset_id, min(h.link_id) AS link_id
    FROM member m JOIN heard h ON h.asset_id = m.link_asset_id
    GROUP BY m.asset_id HAVING count(*) = 1
) one
JOIN heard h USING (link_id)
WHERE h.asset_id = one.asset_id AND NOT EXISTS (
    SELECT FROM ledger.decisions d WHERE d.asset_id = one.asset_id AND d.kind IN ('override', 'retired', 'tag'));

ANALYZE plain;
"""

# An identifier is open while the last word that tells of its kind has it; then it closes with the last time it was seen.
_IDENTIFIERS = """
WITH said AS MATERIALIZED (
    SELECT w.*, i.kind, i.value
    FROM concerned c
    JOIN heard w ON w.asset_id = c.asset_id
    JOIN ledger.normalized_assets n ON n.id = w.normalized_id,
         jsonb_to_recordset(n.document -> 'identifiers') AS i(kind text, value text)
    WHERE NOT EXISTS (SELECT FROM plain p WHERE p.asset_id = w.asset_id)
), telling AS MATERIALIZED (
    SELECT k.link_id, k.kind, max(h.first_date) AS first_date
    FROM (SELECT DISTINCT link_id, kind FROM said) k
    JOIN heard h ON h.link_id = k.link_id
    JOIN ledger.normalized_assets n ON n.id = h.normalized_id
    WHERE ledger.tells(n.unknown, k.kind)
    GROUP BY k.link_id, k.kind
), told AS MATERIALIZED (
    SELECT p.asset_id, p.source_id, i.kind, i.value, p.first_at AS first_seen_at,
           CASE WHEN p.closed_at IS NOT NULL THEN h.last_at END AS last_seen_at
    FROM plain p
    JOIN ledger.normalized_assets n ON n.id = p.normalized_id
    LEFT JOIN heard h ON p.closed_at IS NOT NULL AND h.link_id = p.link_id,
         jsonb_to_recordset(n.document -> 'identifiers') AS i(kind text, value text)
    UNION ALL
    SELECT w.asset_id, w.source_id, w.kind, w.value, min(w.first_at) AS first_seen_at,
           CASE WHEN bool_or(w.closed_at IS NULL AND (w.latest OR w.first_date >= coalesce(t.first_date, w.first_date)))
                THEN NULL ELSE max(w.last_at) END AS last_seen_at
    FROM said w LEFT JOIN telling t ON t.link_id = w.link_id AND t.kind = w.kind
    GROUP BY w.asset_id, w.source_id, w.kind, w.value
), gone AS (
    DELETE FROM ledger.asset_identifiers i USING concerned c
    WHERE i.asset_id = c.asset_id AND NOT EXISTS (
        SELECT FROM told t
        WHERE t.asset_id = i.asset_id AND t.source_id = i.source_id AND t.kind = i.kind AND t.value = i.value)
)
INSERT INTO ledger.asset_identifiers AS i (asset_id, source_id, kind, value, first_seen_at, last_seen_at)
SELECT asset_id, source_id, kind, value, first_seen_at, last_seen_at FROM told
ORDER BY asset_id, source_id, kind, value
ON CONFLICT (asset_id, source_id, kind, value) DO UPDATE
SET first_seen_at = excluded.first_seen_at, last_seen_at = excluded.last_seen_at
WHERE (i.first_seen_at, i.last_seen_at) IS DISTINCT FROM (excluded.first_seen_at, excluded.last_seen_at);
"""

# Every name that a source or a person ever gave, with who gave it first. Names of people stay when they are withdrawn.
_ALIASES = """
WITH given AS (
    SELECT w.asset_id, n.hostname AS value, s.name AS source, w.first_at AS at
    FROM concerned c
    JOIN heard w ON w.asset_id = c.asset_id
    JOIN ledger.normalized_assets n ON n.id = w.normalized_id
    JOIN ledger.sources s ON s.id = w.source_id
    WHERE n.hostname IS NOT NULL
    UNION ALL
    SELECT d.asset_id, d.value #>> '{}', 'user', d.decided_at
    FROM concerned c JOIN ledger.decisions d USING (asset_id)
    WHERE d.kind = 'override' AND d.field = 'hostname' AND d.value IS NOT NULL
), told AS MATERIALIZED (
    SELECT DISTINCT ON (asset_id, kind, value) *
    FROM (SELECT *, CASE WHEN value LIKE '%%.%%' THEN 'fqdn' ELSE 'hostname' END AS kind FROM given) named
    ORDER BY asset_id, kind, value, at, source
), gone AS (
    DELETE FROM ledger.asset_aliases a USING concerned c
    WHERE a.asset_id = c.asset_id AND NOT EXISTS (
        SELECT FROM told t WHERE t.asset_id = a.asset_id AND t.kind = a.kind AND t.value = a.value)
)
INSERT INTO ledger.asset_aliases AS a (asset_id, kind, value, source, created_at)
SELECT asset_id, kind, value, source, at FROM told
ON CONFLICT (asset_id, kind, value) DO UPDATE SET source = excluded.source, created_at = excluded.created_at
WHERE (a.source, a.created_at) IS DISTINCT FROM (excluded.source, excluded.created_at);
"""

# A tag is there once any word or a person says so; a person's word on it counts from then on. A canonical asset has the
# tags of all that were merged into it, but for those that were decided about itself.
_TAGS = """
WITH said AS (
    SELECT DISTINCT ON (m.asset_id, t.tag) m.asset_id, t.tag, s.name AS added_by, w.first_at AS added_at
    FROM member m
    JOIN heard w ON w.asset_id = m.link_asset_id
    JOIN ledger.normalized_assets n ON n.id = w.normalized_id
    JOIN ledger.sources s ON s.id = w.source_id,
         jsonb_array_elements_text(n.document -> 'tags') AS t(tag)
    ORDER BY m.asset_id, t.tag, w.first_at, s.name
), decided AS (
    SELECT DISTINCT ON (m.asset_id, d.field) m.asset_id, d.field AS tag, d.value = 'true' AS present, d.actor, d.decided_at
    FROM member m JOIN ledger.decisions_in_force d ON d.asset_id = m.link_asset_id
    WHERE d.kind = 'tag'
    ORDER BY m.asset_id, d.field, d.asset_id = m.asset_id DESC, d.id DESC
), put AS (
    SELECT DISTINCT ON (m.asset_id, d.field) m.asset_id, d.field AS tag, d.actor, d.decided_at
    FROM member m JOIN ledger.decisions d ON d.asset_id = m.link_asset_id
    WHERE d.kind = 'tag' AND d.value = 'true'
    ORDER BY m.asset_id, d.field, d.asset_id = m.asset_id DESC, d.id DESC
), told AS MATERIALIZED (
    SELECT asset_id, tag,
           CASE WHEN d.present OR s.added_by IS NULL THEN p.actor ELSE s.added_by END AS added_by,
           CASE WHEN d.present OR s.added_by IS NULL THEN p.decided_at ELSE s.added_at END AS added_at,
           CASE WHEN NOT d.present THEN d.actor END AS removed_by,
           CASE WHEN NOT d.present THEN d.decided_at END AS removed_at
    FROM said s FULL JOIN decided d USING (asset_id, tag) LEFT JOIN put p USING (asset_id, tag)
    WHERE s.added_by IS NOT NULL OR p.actor IS NOT NULL
), gone AS (
    DELETE FROM ledger.asset_tags a USING concerned c
    WHERE a.asset_id = c.asset_id AND NOT EXISTS (SELECT FROM told t WHERE t.asset_id = a.asset_id AND t.tag = a.tag)
)
INSERT INTO ledger.asset_tags AS a (asset_id, tag, added_by, added_at, removed_by, removed_at)
SELECT asset_id, tag, added_by, added_at, removed_by, removed_at FROM told
ON CONFLICT (asset_id, tag) DO UPDATE
SET added_by = excluded.added_by, added_at = excluded.added_at, removed_by = excluded.removed_by,
    removed_at = excluded.removed_at
WHERE (a.added_by, a.added_at, a.removed_by, a.removed_at)
      IS DISTINCT FROM (excluded.added_by, excluded.added_at, excluded.removed_by, excluded.removed_at);
"""

# Of each record the words that tell relations, in order: a relation holds over those in a row that have it.
_RELATIONS = """
WITH simple AS (
    SELECT p.link_id, r.kind, r.external_kind, r.external_id, p.first_date, p.first_at
    FROM plain p JOIN ledger.normalized_assets n ON n.id = p.normalized_id,
         jsonb_to_recordset(n.document -> 'relations') AS r(kind text, external_kind text, external_id text)
    WHERE n.document ? 'relations'
), telling AS (
    SELECT w.link_id, w.first_date, w.first_at, n.document -> 'relations' AS relations,
           row_number() OVER (PARTITION BY w.link_id ORDER BY w.first_date) AS number,
           lead(w.first_at) OVER (PARTITION BY w.link_id ORDER BY w.first_date) AS next_at
    FROM concerned c
    JOIN heard w ON w.asset_id = c.asset_id
    JOIN ledger.normalized_assets n ON n.id = w.normalized_id
    WHERE n.document ? 'relations' AND NOT EXISTS (SELECT FROM plain p WHERE p.asset_id = w.asset_id)
), island AS (
    SELECT t.*, r.kind, r.external_kind, r.external_id,
           t.number - row_number() OVER (
               PARTITION BY t.link_id, r.kind, r.external_kind, r.external_id ORDER BY t.number) AS island
    FROM telling t, jsonb_to_recordset(t.relations) AS r(kind text, external_kind text, external_id text)
), told AS MATERIALIZED (
    SELECT link_id, kind, external_kind, external_id, min(first_date) AS began_date, min(first_at) AS began_at,
           (array_agg(next_at ORDER BY number DESC))[1] AS ended_at
    FROM island GROUP BY link_id, kind, external_kind, external_id, island
    UNION ALL
    SELECT link_id, kind, external_kind, external_id, first_date, first_at, NULL FROM simple
), gone AS (
    DELETE FROM ledger.asset_relations r USING ledger.asset_source_links l, concerned c
    WHERE l.asset_id = c.asset_id AND r.from_link_id = l.id AND NOT EXISTS (
        SELECT FROM told t
        WHERE t.link_id = r.from_link_id AND t.kind = r.kind AND t.external_kind = r.to_kind
          AND t.external_id = r.to_external_id AND t.began_date = r.began_date)
)
INSERT INTO ledger.asset_relations AS r (from_link_id, kind, to_kind, to_external_id, began_date, began_at, ended_at)
SELECT link_id, kind, external_kind, external_id, began_date, began_at, ended_at FROM told
ON CONFLICT (from_link_id, kind, to_kind, to_external_id, began_date) DO UPDATE
SET began_at = excluded.began_at, ended_at = excluded.ended_at
WHERE (r.began_at, r.ended_at) IS DISTINCT FROM (excluded.began_at, excluded.ended_at);
"""
_PLAIN_ROWS = """
SELECT p.asset_id AS id, coalesce(n.zone, src.zone), n.asset_type, src.platform_type, n.hostname, n.mgmt_ip, n.cpu_cores, n.memory_bytes,
       n.disk_total_bytes, n.os_family, n.os_version, n.power_state, n.protocol, n.port, n.credential_ref,
       coalesce(n.document -> 'custom_fields', '{}') AS custom_fields, '{}'::jsonb AS carried,
       p.missing_since, p.first_at AS created_at, p.first_at AS updated_at, NULL::timestamptz AS deleted_at
FROM plain p
JOIN ledger.sources src ON src.id = p.source_id
JOIN ledger.normalized_assets n ON n.id = p.normalized_id
"""

# The words that may say what an asset is: of every source its latest one, which is fresh (of two on one day the asset's
# own before that of one merged into it), and those of the days before it, from which a value that the latest does not know is carried on for a while.
_WORD = """
INSERT INTO word (asset_id, link_id, source_id, naming_rank, specs_rank, os_rank, normalized_id, last_date, since_at, fresh)
SELECT asset_id, link_id, source_id, naming_rank, specs_rank, os_rank, normalized_id, last_date, first_at, place = 1
FROM (
    SELECT m.asset_id, w.link_id, w.source_id, s.naming_rank, s.specs_rank, s.os_rank, w.normalized_id, w.last_date, w.first_at,
           row_number() OVER told AS place, max(w.last_date) OVER (PARTITION BY m.asset_id, w.source_id) AS newest
    FROM member m
    JOIN heard w ON w.asset_id = m.link_asset_id
    JOIN ledger.sources s ON s.id = w.source_id
    WHERE NOT EXISTS (SELECT FROM plain p WHERE p.asset_id = m.asset_id)
    WINDOW told AS (PARTITION BY m.asset_id, w.source_id
                    ORDER BY w.closed_at IS NULL DESC, w.last_date DESC, w.asset_id = m.asset_id DESC, w.last_at DESC,
                             w.link_id DESC)
) placed
WHERE place = 1 OR newest - last_date <= %(carry_days)s;
ANALYZE word;
"""
_RICH_ROWS = (
    """
SELECT b.asset_id AS id, b.zone, v.picked ->> 'asset_type', b.platform_type, v.picked ->> 'hostname',
       (v.picked ->> 'mgmt_ip')::inet, (v.picked ->> 'cpu_cores')::integer, (v.picked ->> 'memory_bytes')::bigint,
       (v.picked ->> 'disk_total_bytes')::bigint, v.picked ->> 'os_family', v.picked ->> 'os_version',
       v.picked ->> 'power_state', v.picked ->> 'protocol', (v.picked ->> 'port')::integer, v.picked ->> 'credential_ref',
       b.custom_fields || coalesce(o.custom_fields, '{}'), coalesce(v.carried, '{}'),
       a.missing_since, a.created_at, greatest(b.updated_at, o.decided_at), r.decided_at
FROM (
    SELECT w.asset_id, (array_agg(coalesce(n.zone, s.zone) ORDER BY w.naming_rank, w.source_id))[1] AS zone,
           (array_agg(s.platform_type ORDER BY s.platform_type = 'unknown', w.naming_rank, w.source_id))[1] AS platform_type,
           coalesce(ledger.merge_objects(n.document -> 'custom_fields' ORDER BY w.naming_rank DESC, w.source_id DESC)
               FILTER (WHERE n.document ? 'custom_fields'), '{}') AS custom_fields,
           max(w.since_at) AS updated_at
    FROM word w JOIN ledger.sources s ON s.id = w.source_id JOIN ledger.normalized_assets n ON n.id = w.normalized_id
    WHERE w.fresh GROUP BY w.asset_id
) b
JOIN (
    SELECT asset_id, min(first_seen_at) AS created_at,
           """
    + MISSING_SINCE
    + """ AS missing_since
    FROM (
        SELECT m.asset_id, l.first_seen_at, l.last_seen_at, coalesce(l.closed_at, l.missing_since) AS gone_at, s.source_type
        FROM member m JOIN ledger.asset_source_links l ON l.asset_id = m.link_asset_id
        JOIN ledger.sources s ON s.id = l.source_id
    ) told
    GROUP BY asset_id
) a USING (asset_id)
LEFT JOIN (
    SELECT asset_id, jsonb_object_agg(field, value) AS picked,
           jsonb_object_agg(field, last_date) FILTER (WHERE NOT fresh) AS carried
    FROM (
        SELECT DISTINCT ON (asset_id, field) asset_id, field, value, last_date, fresh
        FROM (
            SELECT w.asset_id, f.field, f.value, w.last_date, w.fresh, f.rank, w.source_id, w.link_id
            FROM word w JOIN ledger.normalized_assets n ON n.id = w.normalized_id,
            LATERAL (VALUES
                ('asset_type', to_jsonb(n.asset_type), w.naming_rank, true),
                ('hostname', to_jsonb(n.hostname), w.naming_rank, true),
                ('mgmt_ip', to_jsonb(host(n.mgmt_ip)), w.naming_rank, true),
                ('cpu_cores', to_jsonb(n.cpu_cores), w.specs_rank, true),
                ('memory_bytes', to_jsonb(n.memory_bytes), w.specs_rank, true),
                ('disk_total_bytes', to_jsonb(n.disk_total_bytes), w.specs_rank, true),
                ('os_family', to_jsonb(n.os_family), w.os_rank, true),
                ('os_version', to_jsonb(n.os_version), w.os_rank, true),
                -- the state of a moment, and how to reach it: nothing to carry from another day
                ('power_state', to_jsonb(n.power_state), w.specs_rank, false),
                ('protocol', to_jsonb(n.protocol), w.naming_rank, false),
                ('port', to_jsonb(n.port), w.naming_rank, false),
                ('credential_ref', to_jsonb(n.credential_ref), w.naming_rank, false)
            ) AS f(field, value, rank, carries)
            WHERE f.value IS NOT NULL AND (w.fresh OR f.carries)
            UNION ALL
            SELECT d.asset_id, d.field, d.value, NULL, true, -1, NULL, NULL
            FROM ledger.decisions_in_force d JOIN concerned c USING (asset_id)
            WHERE d.kind = 'override' AND d.field NOT LIKE 'custom\\_fields.%%'
        ) offered
        ORDER BY asset_id, field, fresh DESC, rank, last_date DESC, source_id, link_id DESC
    ) best
    GROUP BY asset_id
) v USING (asset_id)
LEFT JOIN (
    SELECT d.asset_id, max(d.decided_at) AS decided_at,
           jsonb_object_agg(substr(d.field, 15), d.value) FILTER (WHERE d.field LIKE 'custom\\_fields.%%') AS custom_fields
    FROM ledger.decisions_in_force d JOIN concerned c USING (asset_id) WHERE d.kind = 'override' GROUP BY d.asset_id
) o USING (asset_id)
LEFT JOIN (
    SELECT d.asset_id, d.decided_at FROM ledger.decisions_in_force d JOIN concerned c USING (asset_id)
    WHERE d.kind = 'retired'
) r USING (asset_id)
"""
)
_CURRENT = f"""
INSERT INTO ledger.assets AS a (id, zone, asset_type, platform_type, hostname, mgmt_ip, cpu_cores, memory_bytes,
    disk_total_bytes, os_family, os_version, power_state, protocol, port, credential_ref, custom_fields, carried,
    missing_since, created_at, updated_at, deleted_at)
{_PLAIN_ROWS}
UNION ALL
{_RICH_ROWS}
ON CONFLICT (id) DO UPDATE
SET zone = excluded.zone, asset_type = excluded.asset_type, platform_type = excluded.platform_type,
    hostname = excluded.hostname, mgmt_ip = excluded.mgmt_ip, cpu_cores = excluded.cpu_cores,
    memory_bytes = excluded.memory_bytes, disk_total_bytes = excluded.disk_total_bytes, os_family = excluded.os_family,
    os_version = excluded.os_version, power_state = excluded.power_state, protocol = excluded.protocol,
    port = excluded.port, credential_ref = excluded.credential_ref, custom_fields = excluded.custom_fields,
    carried = excluded.carried, missing_since = excluded.missing_since, created_at = excluded.created_at,
    updated_at = excluded.updated_at, deleted_at = excluded.deleted_at;

DELETE FROM ledger.assets a USING concerned c
WHERE a.id = c.asset_id AND NOT EXISTS (
    SELECT FROM member m JOIN ledger.asset_source_links l ON l.asset_id = m.link_asset_id WHERE m.asset_id = a.id);
"""
# The same of assets that are new and plain, each with one record that said one thing: all of a first reading.
_FIRST = f"""
INSERT INTO ledger.asset_identifiers (asset_id, source_id, kind, value, first_seen_at, last_seen_at)
SELECT p.asset_id, p.source_id, i.kind, i.value, p.first_at, CASE WHEN p.closed_at IS NOT NULL THEN h.last_at END
FROM plain p
JOIN ledger.normalized_assets n ON n.id = p.normalized_id
LEFT JOIN heard h ON p.closed_at IS NOT NULL AND h.link_id = p.link_id,
     jsonb_to_recordset(n.document -> 'identifiers') AS i(kind text, value text)
ORDER BY p.asset_id, p.source_id, i.kind, i.value;

INSERT INTO ledger.asset_aliases (asset_id, kind, value, source, created_at)
SELECT p.asset_id, CASE WHEN n.hostname LIKE '%%.%%' THEN 'fqdn' ELSE 'hostname' END, n.hostname, s.name, p.first_at
FROM plain p
JOIN ledger.normalized_assets n ON n.id = p.normalized_id
JOIN ledger.sources s ON s.id = p.source_id
WHERE n.hostname IS NOT NULL;

INSERT INTO ledger.asset_tags (asset_id, tag, added_by, added_at)
SELECT p.asset_id, t.tag, s.name, p.first_at
FROM plain p
JOIN ledger.normalized_assets n ON n.id = p.normalized_id
JOIN ledger.sources s ON s.id = p.source_id,
     jsonb_array_elements_text(n.document -> 'tags') AS t(tag)
WHERE n.document ? 'tags';

INSERT INTO ledger.asset_relations (from_link_id, kind, to_kind, to_external_id, began_date, began_at)
SELECT p.link_id, r.kind, r.external_kind, r.external_id, p.first_date, p.first_at
FROM plain p JOIN ledger.normalized_assets n ON n.id = p.normalized_id,
     jsonb_to_recordset(n.document -> 'relations') AS r(kind text, external_kind text, external_id text)
WHERE n.document ? 'relations';

INSERT INTO ledger.assets (id, zone, asset_type, platform_type, hostname, mgmt_ip, cpu_cores, memory_bytes,
    disk_total_bytes, os_family, os_version, power_state, protocol, port, credential_ref, custom_fields, carried,
    missing_since, created_at, updated_at, deleted_at)
{_PLAIN_ROWS}
"""
_EVERY_PLAIN = "SELECT (SELECT count(*) FROM plain) = (SELECT count(*) FROM concerned)"
_KNOWN = """
SELECT EXISTS (SELECT FROM concerned c JOIN ledger.assets a ON a.id = c.asset_id)
    OR EXISTS (SELECT FROM concerned c JOIN ledger.asset_identifiers i ON i.asset_id = c.asset_id)
"""
_UNPOINTED = """
SELECT EXISTS (
    SELECT FROM concerned c
    JOIN ledger.assets a ON a.id = c.asset_id AND a.merged_into_asset_id IS NULL
    JOIN ledger.decisions_in_force d ON d.asset_id = a.id AND d.kind = 'merge'
    JOIN ledger.assets root ON root.id = (d.value #>> '{}')::uuid)
"""


def settle(connection: Connection) -> None:
    """Settle the assets in the temporary table `touched`, inside the caller's transaction."""
    if connection.execute("SELECT EXISTS (SELECT FROM touched)").fetchone() == (False,):
        return
    if connection.execute("SELECT to_regclass('pg_temp.plain')").fetchone() == (None,):
        connection.execute(_CONCERNED)
    if connection.execute("SELECT EXISTS (SELECT FROM concerned)").fetchone() == (True,):
        connection.execute("TRUNCATE concerned, member, heard, word, plain")
    p: dict[str, Any] = {"carry_days": CARRY_DAYS}
    _settle(connection, p)
    # an asset that was gone with its days and is back with them: it is still what people merged it into
    if connection.execute(_UNPOINTED).fetchone() == (True,):
        connection.execute("TRUNCATE touched, concerned, member, heard, word, plain")
        connection.execute("INSERT INTO touched (asset_id) SELECT unnest(%s::uuid[])", [repoint(connection)])
        _settle(connection, p)


def _settle(connection: Connection, p: dict[str, Any]) -> None:
    for script in (_FILL, _PLAIN):
        run_script(connection, script, p)
    known = connection.execute(_KNOWN).fetchone() == (True,)
    if not known and connection.execute(_EVERY_PLAIN).fetchone() == (True,):
        run_script(connection, _FIRST, p)
        return
    for script in (_IDENTIFIERS, _ALIASES, _TAGS, _RELATIONS, _WORD, _CURRENT):
        # of assets that nothing is known of yet nothing can be in the way, and looking costs as much as writing
        run_script(connection, script if known else script.partition("ON CONFLICT")[0], p)


def settle_assets(connection: Connection, asset_ids: Iterable[UUID] | None) -> None:
    """Settle these assets, or all there are, inside the caller's transaction, which holds `ledger_lock`."""
    working_tables(connection)
    connection.execute("TRUNCATE touched")
    if asset_ids is None:
        connection.execute(
            "INSERT INTO touched (asset_id) SELECT id FROM ledger.assets "
            "UNION SELECT asset_id FROM ledger.asset_source_links"
        )
    else:
        connection.execute("INSERT INTO touched (asset_id) SELECT unnest(%s::uuid[])", [list(asset_ids)])
    settle(connection)
