"""The facts of a day: what each record said of its ledger asset. Everything else is derived from these rows.

A source's word of a day is its last. A row that was published is never lost: when it changes, it goes on standing in
`asset_daily_corrections` with the time until which it was the answer. Works on the temporary tables of
`store.derive.staging`.
"""

# ruff: noqa: S608 - statements are put together from constants of the store; values are always parameters
from __future__ import annotations

from typing import Any

from psycopg import sql

from asset_ledger.store.database import Connection, run_script
from asset_ledger.store.partitions import partition
from asset_ledger.store.scopes import OVERLAPPING

# What the day has of the records that are seen again, and what their links said before.
_BEFORE = """
UPDATE seen s SET in_day = true, day_id = d.normalized_id, day_first_at = d.first_at, day_last_at = d.collected_at,
    before_id = coalesce(d.normalized_id, s.before_id),
    status = CASE WHEN s.begins OR d.normalized_id IS NULL THEN s.status
                  WHEN d.normalized_id = s.normalized_id THEN 'unchanged' ELSE 'updated' END
FROM ledger.asset_daily_specs d
WHERE d.collected_date = %(date)s AND d.source_id = %(source)s AND d.asset_id = s.asset_id AND d.link_id = s.link_id;
"""
# A day that comes late is compared with the word in force before it, not with what was said since. Of which nothing was
# said before, that is a machine the day recognises.
_LATE = "s.link_id IS NOT NULL AND s.link_until > %(date)s AND s.day_id IS NULL"
_BEFORE_LATE = f"""
UPDATE seen s SET before_id = (
    SELECT w.normalized_id FROM ledger.asset_words w
    WHERE w.link_id = s.link_id AND w.first_date < %(date)s ORDER BY w.first_date DESC LIMIT 1)
WHERE {_LATE};

UPDATE seen s SET status = CASE WHEN s.before_id IS NULL THEN 'attached' WHEN s.before_id = s.normalized_id THEN 'unchanged'
                                ELSE 'updated' END
WHERE {_LATE};
"""
# Of a day that is derived anew what counts is what it said until now.
_BEFORE_ANEW = """
UPDATE seen s
SET before_id = w.normalized_id, status = CASE WHEN w.normalized_id = s.normalized_id THEN 'unchanged' ELSE 'updated' END
FROM was_day w
WHERE w.link_id = s.link_id AND w.asset_id = s.asset_id AND w.normalized_id IS NOT NULL AND NOT s.in_day AND NOT s.begins
"""
_FACTS = """
-- known by its resolution alone: it failed until now, or is derived again into a ledger that lost it
UPDATE seen SET status = 'attached' WHERE status IS NULL;

INSERT INTO fact (link_id, asset_id, normalized_id, unknown)
SELECT link_id, asset_id, normalized_id, NULL FROM seen
WHERE link_id IS NOT NULL AND (NOT in_day OR day_id IS DISTINCT FROM normalized_id);
"""
_TOLD = """
-- days are rebuilt one after the other, of all sources
DELETE FROM told WHERE collected_date < %(date)s;

INSERT INTO told (collected_date, link_id, asset_id, normalized_id, derived_at)
SELECT %(date)s, link_id, asset_id, normalized_id,
       CASE WHEN %(rebuild)s THEN %(first_derived_at)s ELSE %(derived_at)s END::timestamptz
FROM seen WHERE link_id IS NOT NULL;
"""

_SEVERAL = f"""
SELECT EXISTS (
    SELECT FROM ledger.inventories
    WHERE source_id = %(source)s AND collected_date = %(date)s AND id <> %(inventory)s AND status = 'derived'
      AND {OVERLAPPING})
"""

# A target that failed has a day too: NULL with the code as the reason, unless the source had read it well that day, be it
# under another of its addresses.
_FAILURES = """
WITH failed AS MATERIALIZED (
    SELECT DISTINCT ON (r.id) r.asset_id, r.id AS link_id, jsonb_build_object('*', f.code) AS unknown
    FROM stage_failure f
    JOIN LATERAL (
        SELECT r.id, r.asset_id FROM ledger.identity_resolutions r
        WHERE r.source_id = %(source)s AND r.external_kind = f.external_kind AND r.external_id = f.external_id
          AND r.outcome <> 'conflict' AND r.resolved_at <= %(at)s
          -- derived again: no later knowledge moves it
          AND r.id <= (SELECT i.resolved_to FROM ledger.inventories i WHERE i.id = %(inventory)s)
        ORDER BY r.id DESC LIMIT 1) r ON true
    WHERE NOT EXISTS (SELECT FROM seen s WHERE s.asset_id = r.asset_id AND s.link_id IS NOT NULL)
      -- what a later reading of the day says does not count: it may be there already
      AND NOT EXISTS (
        SELECT FROM ledger.asset_daily_specs d
        WHERE d.collected_date = %(date)s AND d.source_id = %(source)s AND d.asset_id = r.asset_id AND d.link_id <> r.id
          AND d.normalized_id IS NOT NULL AND d.first_at <= %(at)s)
    ORDER BY r.id, f.ordinal DESC
), spoken AS (
    INSERT INTO told (collected_date, link_id, asset_id, derived_at)
    SELECT %(date)s, link_id, asset_id, %(derived_at)s::timestamptz FROM failed WHERE %(anew)s
), same AS (
    UPDATE ledger.asset_daily_specs d
    SET inventory_id = CASE WHEN (d.collected_at, d.inventory_id) < (%(at)s, %(inventory)s) THEN %(inventory)s
                            ELSE d.inventory_id END,
        collected_at = greatest(d.collected_at, %(at)s), first_at = least(d.first_at, %(at)s),
        recorded_at = CASE WHEN %(rebuild)s AND NOT EXISTS (
            SELECT FROM ledger.asset_daily_corrections c
            WHERE c.collected_date = %(date)s AND c.asset_id = d.asset_id AND c.source_id = %(source)s
              AND c.link_id = d.link_id) THEN least(d.recorded_at, %(first_derived_at)s) ELSE d.recorded_at END
    FROM failed f
    WHERE d.collected_date = %(date)s AND d.source_id = %(source)s AND d.asset_id = f.asset_id AND d.link_id = f.link_id
      AND d.normalized_id IS NULL AND d.unknown = f.unknown
)
INSERT INTO fact (link_id, asset_id, unknown)
SELECT f.link_id, f.asset_id, f.unknown
FROM failed f
WHERE NOT EXISTS (
    SELECT FROM ledger.asset_daily_specs d
    WHERE d.collected_date = %(date)s AND d.source_id = %(source)s AND d.asset_id = f.asset_id AND d.link_id = f.link_id
      AND (d.normalized_id IS NOT NULL OR d.unknown = f.unknown));
"""

# What was published before this transaction and says something else now.
_KEEP = """
INSERT INTO ledger.asset_daily_corrections (collected_date, asset_id, source_id, link_id, normalized_id, inventory_id,
    first_at, collected_at, unknown, recorded_at, superseded_at)
SELECT d.collected_date, d.asset_id, d.source_id, d.link_id, d.normalized_id, d.inventory_id, d.first_at, d.collected_at,
       d.unknown, d.recorded_at, %(now)s
FROM fact f
JOIN ledger.asset_daily_specs d
  ON d.collected_date = %(date)s AND d.asset_id = f.asset_id AND d.source_id = %(source)s AND d.link_id = f.link_id
WHERE d.recorded_at < %(now)s
ON CONFLICT DO NOTHING;
"""
_WRITE_NEW = """
INSERT INTO ledger.asset_daily_specs AS d (collected_date, asset_id, source_id, link_id, normalized_id, inventory_id,
    first_at, collected_at, recorded_at, hostname, mgmt_ip, asset_type, cpu_cores, memory_bytes, disk_total_bytes,
    os_family, os_version, power_state, platform_type, unknown)
SELECT %(date)s, f.asset_id, %(source)s, f.link_id, f.normalized_id, %(inventory)s, %(at)s, %(at)s,
       CASE WHEN %(rebuild)s THEN coalesce((
           SELECT max(c.superseded_at) FROM ledger.asset_daily_corrections c
           WHERE c.collected_date = %(date)s AND c.asset_id = f.asset_id AND c.source_id = %(source)s
             AND c.link_id = f.link_id), %(first_derived_at)s) ELSE %(now)s END,
       n.hostname, n.mgmt_ip, n.asset_type, n.cpu_cores, n.memory_bytes, n.disk_total_bytes, n.os_family, n.os_version,
       n.power_state, %(platform_type)s, coalesce(f.unknown, n.unknown)
FROM fact f LEFT JOIN ledger.normalized_assets n ON n.id = f.normalized_id
-- in the order of the indexes: 100,000 places next to one another are found sooner than as many anywhere
ORDER BY f.asset_id
"""
# checking for a conflict costs as much again as writing: only where the day has something of the source already
_WRITE = f"""{_WRITE_NEW}
ON CONFLICT (collected_date, asset_id, source_id, link_id) DO UPDATE
SET normalized_id = excluded.normalized_id, inventory_id = excluded.inventory_id, first_at = excluded.first_at,
    collected_at = excluded.collected_at, recorded_at = excluded.recorded_at, hostname = excluded.hostname,
    mgmt_ip = excluded.mgmt_ip, asset_type = excluded.asset_type, cpu_cores = excluded.cpu_cores,
    memory_bytes = excluded.memory_bytes, disk_total_bytes = excluded.disk_total_bytes, os_family = excluded.os_family,
    os_version = excluded.os_version, power_state = excluded.power_state, unknown = excluded.unknown
"""
# The same word again after a reading of the day that did not have it: for a while the answer was that it is missing, or
# that its id is another machine's, and that is kept.
_SKIPPED = f"""
SELECT max(collected_at) AS skipped_at, max(collected_at) FILTER (WHERE complete) AS missed_at
FROM ledger.inventories
WHERE source_id = %(source)s AND collected_date = %(date)s AND id <> %(inventory)s AND status = 'derived'
  AND collected_at < %(at)s AND {OVERLAPPING}
"""
_KEEP_SKIPPED = """
WITH again AS (
    UPDATE ledger.asset_daily_specs d SET recorded_at = %(now)s
    FROM seen s, ledger.asset_daily_specs was
    WHERE s.in_day AND s.day_id = s.normalized_id AND s.day_last_at < %(skipped_at)s
      AND (s.day_last_at < %(missed_at)s OR EXISTS (
        SELECT FROM ledger.asset_source_links o
        WHERE o.source_id = %(source)s AND o.external_kind = s.external_kind AND o.external_id = s.external_id
          AND o.id <> s.link_id))
      AND d.collected_date = %(date)s AND d.asset_id = s.asset_id AND d.source_id = %(source)s AND d.link_id = s.link_id
      AND d.recorded_at < %(now)s AND was.collected_date = %(date)s AND was.asset_id = d.asset_id
      AND was.source_id = %(source)s AND was.link_id = d.link_id
    RETURNING was.*
)
INSERT INTO ledger.asset_daily_corrections (collected_date, asset_id, source_id, link_id, normalized_id, inventory_id,
    first_at, collected_at, unknown, recorded_at, superseded_at)
SELECT collected_date, asset_id, source_id, link_id, normalized_id, inventory_id, first_at, collected_at, unknown,
       recorded_at, %(now)s
FROM again
ON CONFLICT DO NOTHING
"""
# The same word again on the same day: the row is as old as the first reading that said so, and as new as the last.
_AGAIN = """
UPDATE ledger.asset_daily_specs d
SET inventory_id = CASE WHEN (d.collected_at, d.inventory_id) < (%(at)s, %(inventory)s) THEN %(inventory)s ELSE d.inventory_id END,
    collected_at = greatest(d.collected_at, %(at)s), first_at = least(d.first_at, %(at)s)
FROM seen s
WHERE s.in_day AND s.day_id = s.normalized_id AND d.collected_date = %(date)s AND d.asset_id = s.asset_id
  AND d.source_id = %(source)s AND d.link_id = s.link_id
  AND (%(at)s NOT BETWEEN d.first_at AND d.collected_at
       OR (d.collected_at = %(at)s AND d.inventory_id < %(inventory)s));

-- a reading whose clock was set back: the addresses are as old as the word that has them
UPDATE ledger.asset_daily_ips d SET collected_at = %(at)s
FROM seen s
WHERE s.in_day AND s.day_id = s.normalized_id AND %(at)s < s.day_first_at AND d.collected_date = %(date)s
  AND d.asset_id = s.asset_id AND d.source_id = %(source)s AND d.collected_at > %(at)s
  AND d.ip = ANY((SELECT n.ip_addresses FROM ledger.normalized_assets n WHERE n.id = s.normalized_id)::inet[]);
"""

# Readings that are derived in the order in which they count were not always published in it: an answer that was never
# corrected is as old as the first reading that gave it.
_FIRST_PUBLISHED = """
UPDATE ledger.asset_daily_specs d SET recorded_at = t.derived_at
FROM (
    SELECT link_id, asset_id, normalized_id, min(derived_at) AS derived_at FROM told
    WHERE collected_date = %(date)s GROUP BY link_id, asset_id, normalized_id
) t
WHERE d.collected_date = %(date)s AND d.asset_id = t.asset_id AND d.source_id = %(source)s AND d.link_id = t.link_id
  AND d.normalized_id = t.normalized_id AND d.recorded_at > t.derived_at
  AND NOT EXISTS (
    SELECT FROM ledger.asset_daily_corrections c
    WHERE c.collected_date = %(date)s AND c.asset_id = d.asset_id AND c.source_id = %(source)s AND c.link_id = d.link_id);
"""

# An asset's addresses of the day are those of all the words that the source has of it that day.
_ADDRESSES_GONE = """
DELETE FROM ledger.asset_daily_ips d USING {assets} f
WHERE d.collected_date = %(date)s AND d.source_id = %(source)s AND d.asset_id = f.asset_id
"""
_ADDRESSES = """
INSERT INTO ledger.asset_daily_ips (collected_date, asset_id, source_id, ip, collected_at)
SELECT d.collected_date, d.asset_id, d.source_id, ip, min(d.first_at)
FROM (SELECT DISTINCT asset_id FROM {assets}) f
JOIN ledger.asset_daily_specs d
  ON d.collected_date = %(date)s AND d.asset_id = f.asset_id AND d.source_id = %(source)s
JOIN ledger.normalized_assets n ON n.id = d.normalized_id, unnest(n.ip_addresses) AS ip
GROUP BY 1, 2, 3, 4
"""
_NEW_ADDRESSES = """
INSERT INTO ledger.asset_daily_ips AS d (collected_date, asset_id, source_id, ip, collected_at)
SELECT %(date)s, f.asset_id, %(source)s, ip, %(at)s
FROM fact f
JOIN ledger.normalized_assets n ON n.id = f.normalized_id, unnest(n.ip_addresses) AS ip
ORDER BY f.asset_id
"""
_MORE_ADDRESSES = f"{_NEW_ADDRESSES} ON CONFLICT DO NOTHING"
_MET = "SELECT EXISTS (SELECT FROM seen WHERE in_day)"
_STRANGERS = """
SELECT NOT EXISTS (
    SELECT FROM fact f JOIN ledger.asset_daily_specs d ON d.asset_id = f.asset_id
    WHERE d.collected_date = %(date)s AND d.source_id = %(source)s)
"""
_ONE_RECORD_AN_ASSET = "SELECT count(*) = count(DISTINCT asset_id) FROM fact"


_MANY = 2000


def write_day(connection: Connection, p: dict[str, Any]) -> tuple[int, int]:
    """Write the facts of a reading and return how many rows of specs and of addresses the day got or changed."""
    begun = connection.execute(
        "SELECT EXISTS (SELECT FROM ledger.asset_daily_specs WHERE collected_date = %(date)s AND source_id = %(source)s)",
        p,
    ).fetchone() == (True,)
    others = begun
    if begun:
        run_script(connection, _BEFORE, p)
        _refresh_statistics(connection, p)
        # what the day has may be of other records alone: of hosts, where these are virtual machines
        begun = p["failures"] or connection.execute(_MET).fetchone() == (True,)
    if connection.execute(f"SELECT EXISTS (SELECT FROM seen s WHERE {_LATE})", p).fetchone() == (True,):
        run_script(connection, _BEFORE_LATE, p)
    if p["anew"]:
        connection.execute(_BEFORE_ANEW)
    run_script(connection, _FACTS, p)
    if p["anew"] or (p["rebuild"] and connection.execute(_SEVERAL, p).fetchone() == (True,)):
        run_script(connection, _TOLD, p)
    if p["failures"]:
        run_script(connection, _FAILURES, p)
    connection.execute("ANALYZE fact (link_id, asset_id, normalized_id)")
    if begun and not p["anew"] and not p["rebuild"]:
        run_script(connection, _KEEP, p)
    specs = connection.execute(_WRITE if begun else _WRITE_NEW, p).rowcount
    replaced = begun and connection.execute(
        "SELECT EXISTS (SELECT FROM seen WHERE in_day AND day_id IS DISTINCT FROM normalized_id)"
    ).fetchone() == (True,)
    if begun:
        if not p["anew"] and not p["rebuild"]:
            skipped_at, missed_at = connection.execute(_SKIPPED, p).fetchone() or (None, None)
            if skipped_at is not None:
                connection.execute(_KEEP_SKIPPED, p | {"skipped_at": skipped_at, "missed_at": missed_at})
        run_script(connection, _AGAIN, p)
        if p["rebuild"]:
            run_script(connection, _FIRST_PUBLISHED, p)
    if replaced:
        connection.execute(_ADDRESSES_GONE.format(assets="fact"), p)
        addresses = connection.execute(_ADDRESSES.format(assets="fact"), p).rowcount
    else:
        strangers = not others or (not begun and connection.execute(_STRANGERS, p).fetchone() == (True,))
        alone = strangers and connection.execute(_ONE_RECORD_AN_ASSET).fetchone() == (True,)
        addresses = connection.execute(_NEW_ADDRESSES if alone else _MORE_ADDRESSES, p).rowcount
    return specs, addresses


def _refresh_statistics(connection: Connection, p: dict[str, Any]) -> None:
    """Let the planner know how much the day has already: autovacuum may not have come since its first reading."""
    (known,) = connection.execute("SELECT count(*) FROM seen WHERE in_day").fetchone() or (0,)
    if known >= _MANY:
        connection.execute("ANALYZE seen (asset_id, link_id, in_day, day_id, normalized_id)")
        month = partition("asset_daily_specs", p["date"])
        connection.execute(
            sql.SQL("ANALYZE ledger.{} (collected_date, asset_id, source_id, link_id)").format(sql.Identifier(month))
        )
