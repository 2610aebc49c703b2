"""Applying one inventory to the ledger: identity, links, identifiers, names, tags, daily rows. Set-based throughout.

The caller holds the source's lock and the transaction: what is written here is written whole or not at all, and
a dry run is the same statements followed by a rollback. The rules: see docs/architecture.md, "How a record finds
its ledger asset".
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from typing import Any

from asset_ledger.domain.inventory import Item
from asset_ledger.domain.outcome import SHOWN_CHANGES, Change, Conflict, Outcome, document_changes
from asset_ledger.store.database import Connection
from asset_ledger.store.partitions import ensure_months
from asset_ledger.store.raw import InventoryRow
from asset_ledger.store.sources import SourceRow
from asset_ledger.store.staging import stage

# `seen` has a row for every record: which document it is, which link and ledger asset it belongs to, and what
# that means: 'created', 'attached', 'updated', 'unchanged' or 'conflict' ('unmatched' until identity is resolved).
# `newest` is False for a record of a day before the one the link last spoke of: it adds history and changes nothing
# that is current.
_SEEN = """
CREATE TEMPORARY TABLE seen (
    ordinal integer, external_kind text, external_id text, locator text, record_digest bytea, normalized_id bigint,
    link_id bigint, asset_id uuid, newest boolean, before_id bigint, before_seen_at timestamptz, status text
) ON COMMIT DROP;

INSERT INTO ledger.normalized_assets
    (source_id, external_kind, external_id, digest, parser_version, inventory_id, observation_id, locator, document)
SELECT %(source)s, external_kind, external_id, digest, %(parser_version)s, %(inventory)s, observation_id, locator, document
FROM stage_record
ON CONFLICT (source_id, digest) DO NOTHING;

INSERT INTO seen
SELECT s.ordinal, l.external_kind, l.external_id, NULL, l.record_digest, l.normalized_id, l.id, l.asset_id,
       (l.last_seen_date, l.last_seen_at) <= (%(date)s, %(at)s), l.normalized_id, l.last_seen_at, 'unchanged'
FROM stage_unchanged s
JOIN ledger.asset_source_links l
  ON l.source_id = %(source)s AND l.closed_at IS NULL AND l.record_digest = s.record_digest;

INSERT INTO seen
SELECT r.ordinal, r.external_kind, r.external_id, r.locator, r.record_digest, n.id, l.id, l.asset_id,
       l.id IS NULL OR (l.last_seen_date, l.last_seen_at) <= (%(date)s, %(at)s), l.normalized_id, l.last_seen_at,
       CASE WHEN l.id IS NULL THEN 'unmatched' WHEN l.normalized_id = n.id THEN 'unchanged' ELSE 'updated' END
FROM stage_record r
JOIN ledger.normalized_assets n ON n.source_id = %(source)s AND n.digest = r.digest
LEFT JOIN ledger.asset_source_links l
  ON l.source_id = %(source)s AND l.external_kind = r.external_kind AND l.external_id = r.external_id
 AND l.closed_at IS NULL;

ANALYZE seen;
"""

# Law 6: import, probe and agent records attach by management address within their zone, everything else only by
# its source link. One hit attaches, none creates, several is a conflict and nothing is written.
_IDENTITY = """
CREATE TEMPORARY TABLE unmatched ON COMMIT DROP AS
SELECT s.ordinal, f.mgmt_ip, CASE WHEN s.external_kind = 'machine' THEN f.mgmt_ip END AS attach_ip
FROM seen s JOIN ledger.normalized_facts f ON f.id = s.normalized_id
WHERE s.status = 'unmatched';
ANALYZE unmatched;

CREATE TEMPORARY TABLE hit ON COMMIT DROP AS
SELECT ordinal, mgmt_ip, array_agg(asset_id ORDER BY asset_id) FILTER (WHERE asset_id IS NOT NULL) AS asset_ids
FROM (
    SELECT u.ordinal, u.mgmt_ip, coalesce(a.merged_into_asset_id, a.id) AS asset_id
    FROM unmatched u
    LEFT JOIN ledger.assets a ON a.mgmt_ip = u.attach_ip AND a.zone = %(zone)s
    UNION
    SELECT u.ordinal, u.mgmt_ip, coalesce(a.merged_into_asset_id, a.id)
    FROM unmatched u
    JOIN ledger.asset_identifiers i ON i.kind = 'ip' AND i.value = host(u.attach_ip) AND i.last_seen_at IS NULL
    JOIN ledger.assets a ON a.id = i.asset_id AND a.zone = %(zone)s
) found
GROUP BY ordinal, mgmt_ip;

UPDATE seen s
SET status = CASE coalesce(cardinality(h.asset_ids), 0) WHEN 0 THEN 'created' WHEN 1 THEN 'attached' ELSE 'conflict' END,
    asset_id = CASE coalesce(cardinality(h.asset_ids), 0) WHEN 0 THEN gen_random_uuid() WHEN 1 THEN h.asset_ids[1] END
FROM hit h
WHERE h.ordinal = s.ordinal;

INSERT INTO ledger.identity_resolutions
    (inventory_id, source_id, external_kind, external_id, rule, outcome, asset_id, inputs, resolved_at)
SELECT %(inventory)s, %(source)s, s.external_kind, s.external_id,
       CASE WHEN s.external_kind = 'machine' THEN 'mgmt_ip' ELSE 'source_link' END, s.status, s.asset_id,
       jsonb_build_object('zone', %(zone)s::text, 'mgmt_ip', host(h.mgmt_ip),
                          'asset_ids', coalesce(to_jsonb(h.asset_ids), '[]')), %(at)s
FROM seen s JOIN hit h ON h.ordinal = s.ordinal
ORDER BY s.ordinal;
"""

_LINKS = """
INSERT INTO ledger.asset_source_links (source_id, external_kind, external_id, asset_id, normalized_id, record_digest,
    inventory_id, first_seen_at, last_seen_date, last_seen_at)
SELECT %(source)s, external_kind, external_id, asset_id, normalized_id, record_digest,
       %(inventory)s, %(at)s, %(date)s, %(at)s
FROM seen WHERE status IN ('created', 'attached')
ORDER BY ordinal;

UPDATE ledger.asset_source_links l
SET normalized_id = s.normalized_id, record_digest = s.record_digest, inventory_id = %(inventory)s,
    last_seen_date = %(date)s, last_seen_at = %(at)s
FROM seen s
WHERE l.id = s.link_id AND s.newest;

UPDATE ledger.asset_source_links l
SET first_seen_at = %(at)s
FROM seen s
WHERE l.id = s.link_id AND NOT s.newest AND l.first_seen_at > %(at)s;
"""

# An identifier stays open while its source's latest word has it; it is closed with the last time that was seen.
_NAMES = """
CREATE TEMPORARY TABLE spoken ON COMMIT DROP AS
SELECT s.asset_id, s.newest, s.before_seen_at, f.hostname, f.identifiers, f.tags
FROM seen s JOIN ledger.normalized_facts f ON f.id = s.normalized_id
WHERE s.status IN ('created', 'attached', 'updated');
ANALYZE spoken (asset_id, newest, before_seen_at, hostname);

INSERT INTO ledger.asset_identifiers (asset_id, source_id, kind, value, first_seen_at, last_seen_at)
SELECT DISTINCT ON (p.asset_id, i.kind, i.value)
       p.asset_id, %(source)s, i.kind, i.value, %(at)s, CASE WHEN p.newest THEN NULL ELSE %(at)s END::timestamptz
FROM spoken p, jsonb_to_recordset(p.identifiers) AS i(kind text, value text)
ORDER BY p.asset_id, i.kind, i.value, p.newest DESC
ON CONFLICT (asset_id, source_id, kind, value) DO UPDATE
SET first_seen_at = least(asset_identifiers.first_seen_at, excluded.first_seen_at),
    last_seen_at = CASE WHEN excluded.last_seen_at IS NULL THEN NULL
                        ELSE greatest(asset_identifiers.last_seen_at, excluded.last_seen_at) END
    -- an older day must not close what is open
    WHERE NOT (asset_identifiers.last_seen_at IS NULL AND excluded.last_seen_at IS NOT NULL
               AND asset_identifiers.first_seen_at <= excluded.first_seen_at);

UPDATE ledger.asset_identifiers i
SET last_seen_at = p.before_seen_at
FROM spoken p
WHERE p.newest AND p.before_seen_at IS NOT NULL
  AND i.asset_id = p.asset_id AND i.source_id = %(source)s AND i.last_seen_at IS NULL
  AND NOT p.identifiers @> jsonb_build_array(jsonb_build_object('kind', i.kind, 'value', i.value));

INSERT INTO ledger.asset_aliases (asset_id, kind, value, source, created_at)
SELECT DISTINCT asset_id, CASE WHEN hostname LIKE '%%.%%' THEN 'fqdn' ELSE 'hostname' END, hostname, %(source_name)s, %(at)s
FROM spoken WHERE hostname IS NOT NULL
ORDER BY asset_id
ON CONFLICT (asset_id, kind, value) DO NOTHING;

INSERT INTO ledger.asset_tags (asset_id, tag, added_by, added_at)
SELECT DISTINCT p.asset_id, t.tag, %(source_name)s, %(at)s
FROM spoken p, jsonb_array_elements_text(p.tags) AS t(tag)
ORDER BY p.asset_id, t.tag
ON CONFLICT (asset_id, tag) DO NOTHING;
"""

# What an asset is now: of every source its latest word, of all words the best-ranked one that knows the field.
# Most assets have the word of one source only, where there is nothing to choose.
_CURRENT = """
CREATE TEMPORARY TABLE word ON COMMIT DROP AS
SELECT latest.*, count(*) OVER (PARTITION BY latest.asset_id) AS words
FROM (
    SELECT DISTINCT ON (l.asset_id, l.source_id) l.asset_id, l.source_id, l.normalized_id
    FROM (SELECT DISTINCT asset_id FROM spoken WHERE newest) t
    JOIN ledger.asset_source_links l ON l.asset_id = t.asset_id AND l.closed_at IS NULL
    ORDER BY l.asset_id, l.source_id, l.last_seen_date DESC, l.last_seen_at DESC, l.id DESC
) latest;
ANALYZE word;

INSERT INTO ledger.assets AS a (id, zone, asset_type, platform_type, hostname, mgmt_ip, cpu_cores, memory_bytes,
    disk_total_bytes, os_family, os_version, power_state, protocol, port, credential_ref, custom_fields,
    created_at, updated_at)
SELECT w.asset_id, src.zone, f.asset_type, src.platform_type, f.hostname, f.mgmt_ip, f.cpu_cores, f.memory_bytes,
       f.disk_total_bytes, f.os_family, f.os_version, f.power_state, f.protocol, f.port, f.credential_ref,
       coalesce(f.custom_fields, '{}'), %(at)s::timestamptz, %(at)s::timestamptz
FROM word w
JOIN ledger.sources src ON src.id = w.source_id
JOIN ledger.normalized_facts f ON f.id = w.normalized_id
WHERE w.words = 1
UNION ALL
SELECT w.asset_id, (array_agg(w.zone ORDER BY w.naming_rank, w.source_id))[1],
       (array_agg(w.asset_type ORDER BY w.naming_rank, w.source_id) FILTER (WHERE w.asset_type IS NOT NULL))[1],
       (array_agg(w.platform_type ORDER BY w.platform_type = 'unknown', w.naming_rank, w.source_id))[1],
       (array_agg(w.hostname ORDER BY w.naming_rank, w.source_id) FILTER (WHERE w.hostname IS NOT NULL))[1],
       (array_agg(w.mgmt_ip ORDER BY w.naming_rank, w.source_id) FILTER (WHERE w.mgmt_ip IS NOT NULL))[1],
       (array_agg(w.cpu_cores ORDER BY w.specs_rank, w.source_id) FILTER (WHERE w.cpu_cores IS NOT NULL))[1],
       (array_agg(w.memory_bytes ORDER BY w.specs_rank, w.source_id) FILTER (WHERE w.memory_bytes IS NOT NULL))[1],
       (array_agg(w.disk_total_bytes ORDER BY w.specs_rank, w.source_id)
            FILTER (WHERE w.disk_total_bytes IS NOT NULL))[1],
       (array_agg(w.os_family ORDER BY w.specs_rank, w.source_id) FILTER (WHERE w.os_family IS NOT NULL))[1],
       (array_agg(w.os_version ORDER BY w.specs_rank, w.source_id) FILTER (WHERE w.os_version IS NOT NULL))[1],
       (array_agg(w.power_state ORDER BY w.specs_rank, w.source_id) FILTER (WHERE w.power_state IS NOT NULL))[1],
       (array_agg(w.protocol ORDER BY w.naming_rank, w.source_id) FILTER (WHERE w.protocol IS NOT NULL))[1],
       (array_agg(w.port ORDER BY w.naming_rank, w.source_id) FILTER (WHERE w.port IS NOT NULL))[1],
       (array_agg(w.credential_ref ORDER BY w.naming_rank, w.source_id) FILTER (WHERE w.credential_ref IS NOT NULL))[1],
       coalesce(ledger.merge_objects(w.custom_fields ORDER BY w.naming_rank DESC, w.source_id DESC)
            FILTER (WHERE w.custom_fields IS NOT NULL), '{}'),
       %(at)s::timestamptz, %(at)s::timestamptz
FROM (
    SELECT one.asset_id, src.zone, src.platform_type, src.naming_rank, src.specs_rank, f.*
    FROM word one
    JOIN ledger.sources src ON src.id = one.source_id
    JOIN ledger.normalized_facts f ON f.id = one.normalized_id
    WHERE one.words > 1
) w
GROUP BY w.asset_id
ON CONFLICT (id) DO UPDATE
SET asset_type = excluded.asset_type, platform_type = excluded.platform_type, hostname = excluded.hostname,
    mgmt_ip = excluded.mgmt_ip, cpu_cores = excluded.cpu_cores, memory_bytes = excluded.memory_bytes,
    disk_total_bytes = excluded.disk_total_bytes, os_family = excluded.os_family, os_version = excluded.os_version,
    power_state = excluded.power_state, protocol = excluded.protocol, port = excluded.port,
    credential_ref = excluded.credential_ref, custom_fields = excluded.custom_fields, updated_at = excluded.updated_at;
"""

# Two records of a source may be one ledger asset; its day is then the later record's.
_DAY = """
CREATE TEMPORARY TABLE day_word ON COMMIT DROP AS
SELECT DISTINCT ON (asset_id) asset_id, normalized_id, status FROM seen
WHERE asset_id IS NOT NULL ORDER BY asset_id, ordinal DESC;
ANALYZE day_word;
"""
_DAY_SPECS = """
INSERT INTO ledger.asset_daily_specs AS d (collected_date, asset_id, source_id, collected_at, cpu_cores, memory_bytes,
    disk_total_bytes, os_family, os_version, platform_type, inventory_id, normalized_id, unknown)
SELECT %(date)s, w.asset_id, %(source)s, %(at)s, f.cpu_cores, f.memory_bytes, f.disk_total_bytes, f.os_family,
       f.os_version, %(platform_type)s, %(inventory)s, w.normalized_id, f.unknown
FROM day_word w JOIN ledger.normalized_facts f ON f.id = w.normalized_id
-- in the order of the indexes: 100,000 places next to one another are found sooner than as many anywhere
ORDER BY w.asset_id
ON CONFLICT (collected_date, asset_id, source_id) DO UPDATE
SET collected_at = excluded.collected_at, cpu_cores = excluded.cpu_cores, memory_bytes = excluded.memory_bytes,
    disk_total_bytes = excluded.disk_total_bytes, os_family = excluded.os_family, os_version = excluded.os_version,
    inventory_id = excluded.inventory_id, normalized_id = excluded.normalized_id, unknown = excluded.unknown
"""
_DAY_IPS_GONE = """
DELETE FROM ledger.asset_daily_ips d USING day_word w
WHERE d.collected_date = %(date)s AND d.source_id = %(source)s AND d.asset_id = w.asset_id
"""
_DAY_IPS = """
INSERT INTO ledger.asset_daily_ips (collected_date, asset_id, source_id, ip, collected_at, inventory_id)
SELECT DISTINCT %(date)s::date, w.asset_id, %(source)s::integer, ip.address::inet, %(at)s::timestamptz,
       %(inventory)s::bigint
FROM day_word w JOIN ledger.normalized_facts f ON f.id = w.normalized_id,
     jsonb_array_elements_text(f.ip_addresses) AS ip(address)
"""

# A target that failed has a day too: NULL with the code as the reason, unless the source read it well that day.
_FAILED_DAY = """
INSERT INTO ledger.asset_daily_specs (collected_date, asset_id, source_id, collected_at, platform_type, inventory_id, unknown)
SELECT DISTINCT ON (asset_id) %(date)s::date, asset_id, %(source)s::integer, %(at)s::timestamptz, %(platform_type)s,
       %(inventory)s::bigint, jsonb_build_object('*', code)
FROM (
    SELECT f.ordinal, f.code, coalesce(l.asset_id, (
        SELECT CASE WHEN count(DISTINCT coalesce(a.merged_into_asset_id, a.id)) = 1
                    THEN (array_agg(coalesce(a.merged_into_asset_id, a.id)))[1] END
        FROM ledger.assets a WHERE a.mgmt_ip = f.mgmt_ip AND a.zone = %(zone)s)) AS asset_id
    FROM stage_failure f
    LEFT JOIN ledger.asset_source_links l
      ON l.source_id = %(source)s AND l.external_kind = f.external_kind AND l.external_id = f.external_id
     AND l.closed_at IS NULL
) known
WHERE asset_id IS NOT NULL
ORDER BY asset_id, ordinal DESC
ON CONFLICT (collected_date, asset_id, source_id) DO UPDATE
SET unknown = excluded.unknown, collected_at = excluded.collected_at, inventory_id = excluded.inventory_id
WHERE asset_daily_specs.normalized_id IS NULL
"""

_INSTANCES = """
WITH told AS (
    SELECT DISTINCT ON (instance_key) * FROM stage_instance ORDER BY instance_key, ordinal DESC
), was AS (
    SELECT i.* FROM ledger.database_instances i JOIN told USING (instance_key) WHERE i.source_id = %(source)s
), written AS (
    INSERT INTO ledger.database_instances AS d (source_id, instance_key, zone, name, host, host_ip, port, db_type,
        custom_fields, first_seen_at, last_seen_at, inventory_id)
    SELECT %(source)s, instance_key, %(zone)s, name, host, host_ip, port, db_type, custom_fields, %(at)s, %(at)s, %(inventory)s
    FROM told
    ON CONFLICT (source_id, instance_key) DO UPDATE
    SET name = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.name ELSE d.name END,
        host = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.host ELSE d.host END,
        host_ip = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.host_ip ELSE d.host_ip END,
        port = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.port ELSE d.port END,
        db_type = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.db_type ELSE d.db_type END,
        custom_fields = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.custom_fields ELSE d.custom_fields END,
        inventory_id = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.inventory_id ELSE d.inventory_id END,
        first_seen_at = least(d.first_seen_at, excluded.first_seen_at),
        last_seen_at = greatest(d.last_seen_at, excluded.last_seen_at)
    RETURNING d.instance_key, (d.name, d.host, d.port, d.db_type, d.custom_fields) AS facts
)
SELECT count(*) FILTER (WHERE was.id IS NULL),
       count(*) FILTER (WHERE was.id IS NOT NULL
           AND written.facts IS DISTINCT FROM (was.name, was.host, was.port, was.db_type, was.custom_fields)),
       count(*) FILTER (WHERE written.facts IS NOT DISTINCT FROM (was.name, was.host, was.port, was.db_type, was.custom_fields))
FROM written LEFT JOIN was USING (instance_key)
"""


_MANY_NEW = 1000


def known_records(connection: Connection, source: SourceRow) -> dict[bytes, str]:
    """Return the digest of every record that is the latest word of its link, with its external id."""
    found = connection.execute(
        "SELECT record_digest, external_id FROM ledger.asset_source_links WHERE source_id = %s AND closed_at IS NULL",
        [source.id],
        binary=True,
    )
    return {bytes(digest): external_id for digest, external_id in found}


def forget_day(connection: Connection, source: SourceRow, day: date) -> None:
    """Remove a source's derived rows of a day, before the day is derived again from raw in the same transaction."""
    for table in ("asset_daily_specs", "asset_daily_ips"):
        connection.execute(
            f"DELETE FROM ledger.{table} WHERE collected_date = %s AND source_id = %s",  # noqa: S608
            [day, source.id],
        )


def apply_inventory(
    connection: Connection,
    source: SourceRow,
    inventory: InventoryRow,
    items: Iterable[tuple[int, Item]],
    *,
    parser_version: int,
) -> Outcome:
    """Write what an inventory's `(observation id, item)` pairs say, inside the caller's transaction.

    Raises PermanentError(SCHEMA_VALIDATION_FAILED) for a document that is not normalized-v1.
    """
    ensure_months(connection, [inventory.collected_date])
    staged = stage(connection, items)
    p: dict[str, Any] = {
        "source": source.id,
        "source_name": source.name,
        "zone": source.zone,
        "platform_type": source.platform_type,
        "inventory": inventory.id,
        "date": inventory.collected_date,
        "at": inventory.collected_at,
        "parser_version": parser_version,
    }
    for script in (_SEEN, _IDENTITY, _LINKS, _NAMES, _CURRENT, _DAY):
        _run(connection, script, p)
    _refresh_statistics(connection)
    specs_rows = connection.execute(_DAY_SPECS, p).rowcount
    connection.execute(_DAY_IPS_GONE, p)
    ip_rows = connection.execute(_DAY_IPS, p).rowcount
    specs_rows += connection.execute(_FAILED_DAY, p).rowcount
    instances = connection.execute(_INSTANCES, p).fetchone() or (0, 0, 0)
    statuses: dict[str, int] = dict(connection.execute("SELECT status, count(*) FROM seen GROUP BY 1").fetchall())
    outcome = Outcome(
        created=statuses.get("created", 0),
        attached=statuses.get("attached", 0),
        updated=statuses.get("updated", 0),
        unchanged=statuses.get("unchanged", 0),
        conflicts=_conflicts(connection),
        changes=_changes(connection),
        rejected=tuple(staged.rejected),
        failures=tuple(staged.failures),
        cautions=tuple(staged.cautions),
        instances_new=instances[0],
        instances_changed=instances[1],
        instances_unchanged=instances[2],
        specs_rows=specs_rows,
        ip_rows=ip_rows,
    )
    connection.execute(
        """
        -- the report stays what the reading did when it came: derived again, it finds its own work done
        UPDATE ledger.inventories
        SET report = CASE WHEN status = 'derived' THEN report ELSE %(report)s::jsonb END,
            status = 'derived', error_code = NULL, derived_at = now(), parser_version = %(parser_version)s
        WHERE id = %(inventory)s
        """,
        p | {"report": json.dumps(outcome.report())},
    )
    # a transaction may apply several readings of a day
    connection.execute(
        "DROP TABLE stage_record, stage_unchanged, stage_instance, stage_failure, "
        "seen, unmatched, hit, spoken, word, day_word"
    )
    return outcome


def _run(connection: Connection, script: str, parameters: dict[str, Any]) -> None:
    """Run a script's statements one by one: the extended protocol takes a single one with its parameters."""
    for statement in script.split(";\n"):
        if statement.strip():
            connection.execute(statement, parameters if "%(" in statement else None)


def _refresh_statistics(connection: Connection) -> None:
    """Let the planner know of a first import at once: autovacuum may come minutes later, and a plan made for
    empty tables takes hours over full ones."""
    row = connection.execute("SELECT count(*) FROM seen WHERE status = 'created'").fetchone()
    if row is not None and row[0] >= _MANY_NEW:
        connection.execute(
            """
            ANALYZE ledger.assets (id, zone, hostname, mgmt_ip, merged_into_asset_id), ledger.asset_source_links,
                ledger.asset_identifiers, ledger.normalized_assets (id, source_id, external_kind, external_id, digest)
            """
        )


def _conflicts(connection: Connection) -> tuple[Conflict, ...]:
    found = connection.execute(
        """
        SELECT s.external_id, s.locator, h.asset_ids FROM seen s JOIN hit h USING (ordinal)
        WHERE s.status = 'conflict' ORDER BY s.ordinal
        """
    )
    return tuple(Conflict(row[0], row[1], tuple(str(asset) for asset in row[2])) for row in found)


def _changes(connection: Connection) -> tuple[Change, ...]:
    found = connection.execute(
        """
        SELECT s.external_id, now_.document #>> '{identity,hostname}', was.document, now_.document
        FROM seen s
        JOIN ledger.normalized_assets was ON was.id = s.before_id
        JOIN ledger.normalized_assets now_ ON now_.id = s.normalized_id
        WHERE s.status = 'updated' ORDER BY s.ordinal LIMIT %s
        """,
        [SHOWN_CHANGES],
    )
    return tuple(
        Change(external_id, hostname, path, before, after)
        for external_id, hostname, was, now in found
        for path, before, after in document_changes(was, now)
    )
