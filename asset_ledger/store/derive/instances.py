"""Database instances as sources tell them: a row a day, and from the days what each instance is now.

A source's word of a day is its last reading that tells the instance; what the instance is now is the word of its latest
day. Which machine it runs on is `store.derive.links`. Called by `store.derive.apply`, on the temporary tables of
`store.derive.staging`.
"""

# ruff: noqa: S608 - statements are put together from constants of the store; values are always parameters
from __future__ import annotations

from typing import Any

from asset_ledger.store.database import Connection

_FACTS = ("name", "host", "host_ip", "port", "db_type", "custom_fields")
_COLUMNS = ", ".join(_FACTS)


def _of(alias: str) -> str:
    return ", ".join(f"{alias}.{fact}" for fact in _FACTS)


# Compared with the word before: that of the day, else of the latest day before it. An instance that is known from later
# days alone is neither new nor changed. In a day that is derived again, what stands there of an instance that none of
# its readings told yet is of the time before, and does not count.
_WRITE = f"""
WITH said AS MATERIALIZED (
    SELECT DISTINCT ON (instance_key) instance_key, {_COLUMNS} FROM stage_instance ORDER BY instance_key, ordinal DESC
), judged AS MATERIALIZED (
    SELECT s.*, t.instance_key IS NOT NULL AS told, d.first_at AS first_before,
           CASE WHEN %(whole_day)s AND t.instance_key IS NULL THEN %(at)s ELSE least(d.first_at, %(at)s) END AS first_at,
           coalesce(i.last_seen_date > %(date)s, false) AS late, i.id IS NULL AS new,
           CASE WHEN d.instance_key IS NOT NULL THEN ROW({_of("s")}) IS DISTINCT FROM ROW({_of("d")})
                WHEN i.last_seen_date <= %(date)s THEN ROW({_of("s")}) IS DISTINCT FROM ROW({_of("i")})
                WHEN b.instance_key IS NOT NULL THEN ROW({_of("s")}) IS DISTINCT FROM ROW({_of("b")})
                ELSE false END AS changed
    FROM said s
    LEFT JOIN told_instance t ON t.instance_key = s.instance_key
    LEFT JOIN ledger.database_instances i ON i.source_id = %(source)s AND i.instance_key = s.instance_key
    LEFT JOIN ledger.instance_daily_specs d
      ON d.collected_date = %(date)s AND d.source_id = %(source)s AND d.instance_key = s.instance_key
    LEFT JOIN LATERAL (
        SELECT * FROM ledger.instance_daily_specs e
        WHERE i.last_seen_date > %(date)s AND d.instance_key IS NULL AND e.source_id = %(source)s
          AND e.instance_key = s.instance_key AND e.collected_date < %(date)s
        ORDER BY e.collected_date DESC LIMIT 1) b ON true
), of_day AS (
    INSERT INTO ledger.instance_daily_specs AS d (collected_date, source_id, instance_key, inventory_id, first_at,
        collected_at, {_COLUMNS})
    SELECT %(date)s, %(source)s, instance_key, %(inventory)s, first_at, %(at)s, {_COLUMNS} FROM judged
    ON CONFLICT (collected_date, source_id, instance_key) DO UPDATE
    SET (inventory_id, first_at, collected_at, {_COLUMNS})
      = (excluded.inventory_id, excluded.first_at, excluded.collected_at, {_of("excluded")})
    WHERE (d.inventory_id, d.first_at, d.collected_at, {_of("d")})
      IS DISTINCT FROM (excluded.inventory_id, excluded.first_at, excluded.collected_at, {_of("excluded")})
), now_ AS (
    INSERT INTO ledger.database_instances AS i (id, source_id, instance_key, zone, {_COLUMNS}, first_seen_at,
        last_seen_date, last_seen_at, inventory_id)
    SELECT md5(%(source_name)s || E'\\n' || instance_key)::uuid, %(source)s, instance_key, %(zone)s, {_COLUMNS}, first_at,
           %(date)s, %(at)s, %(inventory)s
    FROM judged WHERE NOT late
    ON CONFLICT (source_id, instance_key) DO UPDATE
    SET ({_COLUMNS}, last_seen_date, last_seen_at, inventory_id)
      = ({_of("excluded")}, excluded.last_seen_date, excluded.last_seen_at, excluded.inventory_id),
        first_seen_at = least(i.first_seen_at, excluded.first_seen_at)
), since AS (
    UPDATE ledger.database_instances i SET first_seen_at = j.first_at
    FROM judged j
    WHERE j.late AND i.source_id = %(source)s AND i.instance_key = j.instance_key AND j.first_at < i.first_seen_at
), remembered AS (
    INSERT INTO told_instance (instance_key, first_before)
    SELECT instance_key, first_before FROM judged WHERE %(whole_day)s AND NOT told
)
SELECT count(*) FILTER (WHERE new), count(*) FILTER (WHERE NOT new AND changed),
       count(*) FILTER (WHERE NOT new AND NOT changed)
FROM judged
"""

# Derived again, the day no longer has these; or has them only later than before.
_UNTOLD = """
WITH gone AS (
    DELETE FROM ledger.instance_daily_specs d
    WHERE d.collected_date = %(date)s AND d.source_id = %(source)s AND d.inventory_id = ANY(%(inventories)s)
      AND NOT EXISTS (SELECT FROM told_instance t WHERE t.instance_key = d.instance_key)
    RETURNING d.instance_key
)
SELECT instance_key FROM gone
UNION ALL
SELECT t.instance_key
FROM told_instance t
JOIN ledger.instance_daily_specs d
  ON d.collected_date = %(date)s AND d.source_id = %(source)s AND d.instance_key = t.instance_key
WHERE d.first_at > t.first_before
"""
_RETELL = f"""
WITH days AS MATERIALIZED (
    SELECT * FROM ledger.instance_daily_specs WHERE source_id = %(source)s AND instance_key = ANY(%(keys)s)
), latest AS (
    SELECT DISTINCT ON (instance_key) * FROM days ORDER BY instance_key, collected_date DESC
)
UPDATE ledger.database_instances i
SET ({_COLUMNS}, first_seen_at, last_seen_date, last_seen_at, inventory_id)
  = ({_of("l")}, (SELECT min(d.first_at) FROM days d WHERE d.instance_key = i.instance_key), l.collected_date,
     l.collected_at, l.inventory_id)
FROM latest l
WHERE i.source_id = %(source)s AND i.instance_key = l.instance_key
"""
# its links go with it; what people decided of them stays, and counts again when it is back
_NOWHERE = """
DELETE FROM ledger.database_instances i
WHERE i.source_id = %(source)s AND i.instance_key = ANY(%(keys)s) AND NOT EXISTS (
    SELECT FROM ledger.instance_daily_specs d WHERE d.source_id = i.source_id AND d.instance_key = i.instance_key)
"""


def write_instances(connection: Connection, p: dict[str, Any]) -> tuple[int, int, int]:
    """Write the instances of a reading; return how many are new, changed and unchanged."""
    if connection.execute("SELECT EXISTS (SELECT FROM stage_instance)").fetchone() == (False,):
        return 0, 0, 0
    row = connection.execute(_WRITE, p).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def forget_untold_instances(connection: Connection, p: dict[str, Any]) -> None:
    """Take out of the day what none of the readings `p["inventories"]` told when they were derived again.

    An instance that is left without any day is deleted, with its links.
    """
    keys = [key for (key,) in connection.execute(_UNTOLD, p)]
    if keys:
        connection.execute(_RETELL, p | {"keys": keys})
        connection.execute(_NOWHERE, p | {"keys": keys})


def move_instances(connection: Connection, source_id: int, zone: str) -> None:
    """Let a source's instances be in another zone, where their hosts mean other machines."""
    connection.execute(
        "UPDATE ledger.database_instances SET zone = %s WHERE source_id = %s AND zone <> %s", [zone, source_id, zone]
    )
