"""What each record goes on saying: runs of days with the same document, the open one on the link, past ones beside it.

The usual day, newer than all before it, lengthens runs or begins new ones. Whatever else happens to a day (it comes
late, it says something else now, it is gone) the runs of the links concerned are told anew from the days: so they are
the same in whatever order days came. Works on the temporary tables of `store.derive.staging`; fills `touched` with the ledger
assets of which something may have changed.
"""

from __future__ import annotations

from typing import Any

from asset_ledger.store.database import Connection, run_script

_NEW = """
INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, generation, asset_id, normalized_id,
    record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at, closed_at)
SELECT s.link_id, %(source)s, s.external_kind, s.external_id, n.generation, s.asset_id, s.normalized_id, s.record_digest,
       %(inventory)s, %(at)s, %(date)s, %(at)s, %(date)s, %(at)s,
       -- one external id has one open link; who has it is told below
       CASE WHEN EXISTS (
           SELECT FROM ledger.asset_source_links o
           WHERE o.source_id = %(source)s AND o.external_kind = s.external_kind AND o.external_id = s.external_id
       ) THEN '-infinity' END::timestamptz
FROM seen s JOIN ledger.normalized_assets n ON n.id = s.normalized_id
WHERE s.link_id IS NOT NULL AND s.link_doc IS NULL
ORDER BY s.link_id;
"""
_CONCERNED = """
INSERT INTO slow_link (link_id, asset_id)
SELECT link_id, asset_id
FROM seen
WHERE link_id IS NOT NULL AND link_doc IS NOT NULL AND CASE
    WHEN day_id IS NULL THEN NOT (
        %(date)s > link_until
        OR (link_doc = normalized_id AND %(date)s > link_since AND %(date)s < link_until))
    WHEN day_id <> normalized_id THEN true
    ELSE %(at)s < day_first_at OR (%(at)s > day_last_at AND %(date)s < link_until) END;

INSERT INTO touched (asset_id)
SELECT DISTINCT asset_id FROM seen
WHERE link_id IS NOT NULL
  AND (link_doc IS NULL OR link_missing OR (normalized_id <> link_doc AND %(date)s > link_until))
UNION
-- a value that was carried grows older, and in the end too old; and what is missing to one source was seen by another
SELECT a.id FROM ledger.assets a JOIN seen s ON s.asset_id = a.id
WHERE a.carried <> '{}' OR a.missing_since IS NOT NULL
UNION
SELECT m.id FROM ledger.assets a JOIN ledger.assets m ON m.merged_into_asset_id = a.id JOIN seen s ON s.asset_id = m.id
WHERE a.carried <> '{}' OR a.missing_since IS NOT NULL
UNION
-- of several words of one source, or of sources of one rank, the newest counts: also the same one once more
SELECT s.asset_id FROM seen s JOIN (
    SELECT asset_id FROM ledger.asset_source_links WHERE source_id = %(source)s GROUP BY 1 HAVING count(*) > 1
) twice USING (asset_id)
UNION
SELECT s.asset_id FROM seen s JOIN ledger.assets a ON a.id = s.asset_id WHERE a.merged_into_asset_id IS NOT NULL
UNION
SELECT s.asset_id FROM seen s WHERE s.asset_id IN (
    SELECT merged_into_asset_id FROM ledger.assets WHERE merged_into_asset_id IS NOT NULL);
"""
_RIVALS = """
SELECT array_agg(o.id) FROM ledger.sources s JOIN ledger.sources o
  ON o.id <> s.id AND (o.naming_rank = s.naming_rank OR o.specs_rank = s.specs_rank OR o.os_rank = s.os_rank)
WHERE s.id = %(source)s
"""
_TIED = """
INSERT INTO touched (asset_id)
SELECT DISTINCT s.asset_id FROM seen s JOIN ledger.asset_source_links o ON o.asset_id = s.asset_id
WHERE o.source_id = ANY(%(rivals)s);
"""
_TOUCH_NEW = """
INSERT INTO touched (asset_id) SELECT DISTINCT asset_id FROM seen WHERE link_id IS NOT NULL AND link_doc IS NULL
"""
_LENGTHEN = """
INSERT INTO ledger.asset_past_words (link_id, normalized_id, first_date, first_at, last_date, last_at)
SELECT l.id, l.normalized_id, l.since_date, l.since_at, l.last_seen_date, l.last_seen_at
FROM seen s JOIN ledger.asset_source_links l ON l.id = s.link_id
WHERE s.normalized_id <> s.link_doc AND %(date)s > s.link_until;

UPDATE ledger.asset_source_links l
SET normalized_id = n.id, record_digest = s.record_digest, inventory_id = %(inventory)s,
    generation = l.generation || n.generation, since_date = %(date)s, since_at = %(at)s,
    last_seen_date = %(date)s, last_seen_at = %(at)s
FROM seen s JOIN ledger.normalized_assets n ON n.id = s.normalized_id
WHERE s.normalized_id <> s.link_doc AND %(date)s > s.link_until AND l.id = s.link_id;

-- apart from the one before: most records say what they said, and then nothing is looked up
UPDATE ledger.asset_source_links l
SET inventory_id = %(inventory)s, last_seen_date = %(date)s, last_seen_at = %(at)s, record_digest = s.record_digest
FROM seen s
WHERE s.link_doc = s.normalized_id AND s.link_until <= %(date)s AND l.id = s.link_id
  AND (l.last_seen_date, l.last_seen_at, l.inventory_id) < (%(date)s, %(at)s, %(inventory)s);
"""
_RETELL = """
INSERT INTO run (link_id, normalized_id, inventory_id, first_date, first_at, last_date, last_at, latest)
SELECT link_id, normalized_id, (array_agg(inventory_id ORDER BY collected_date DESC))[1], min(collected_date),
       min(first_at), max(collected_date), max(collected_at), n = last_n
FROM (
    SELECT *, max(n) OVER (PARTITION BY link_id) AS last_n
    FROM (
        SELECT *, sum(begins::integer) OVER (PARTITION BY link_id ORDER BY collected_date) AS n
        FROM (
            SELECT d.link_id, d.collected_date, d.normalized_id, d.inventory_id, d.first_at, d.collected_at,
                   lag(d.normalized_id) OVER (PARTITION BY d.link_id ORDER BY d.collected_date)
                       IS DISTINCT FROM d.normalized_id AS begins
            FROM slow_link k
            JOIN ledger.asset_daily_specs d ON d.asset_id = k.asset_id AND d.link_id = k.link_id
            WHERE d.normalized_id IS NOT NULL
        ) day
    ) numbered
) counted
GROUP BY link_id, n, last_n, normalized_id;

DELETE FROM ledger.asset_past_words p USING slow_link k WHERE p.link_id = k.link_id;

INSERT INTO ledger.asset_past_words (link_id, normalized_id, first_date, first_at, last_date, last_at)
SELECT link_id, normalized_id, first_date, first_at, last_date, last_at FROM run WHERE NOT latest;

ANALYZE run;

WITH whole AS (
    SELECT o.link_id, min(o.first_at) AS first_seen_at, ledger.merge_objects(m.generation ORDER BY o.first_at) AS generation
    FROM run o JOIN ledger.normalized_assets m ON m.id = o.normalized_id GROUP BY o.link_id
)
UPDATE ledger.asset_source_links l
SET normalized_id = r.normalized_id, record_digest = n.record_digest, inventory_id = r.inventory_id,
    since_date = r.first_date, since_at = r.first_at, last_seen_date = r.last_date, last_seen_at = r.last_at,
    first_seen_at = w.first_seen_at, generation = w.generation
FROM run r JOIN ledger.normalized_assets n ON n.id = r.normalized_id JOIN whole w ON w.link_id = r.link_id
WHERE r.latest AND l.id = r.link_id;

INSERT INTO touched (asset_id) SELECT DISTINCT asset_id FROM slow_link;

-- no day speaks of them any more: their resolution and the corrections remember
DELETE FROM ledger.asset_source_links l USING slow_link k
WHERE l.id = k.link_id AND NOT EXISTS (SELECT FROM run r WHERE r.link_id = k.link_id);

DELETE FROM ledger.asset_relations r USING slow_link k
WHERE r.from_link_id = k.link_id AND NOT EXISTS (SELECT FROM run o WHERE o.link_id = k.link_id);
"""
# Machines that had one external id one after the other: open is the one the source spoke of last; each of the others is
# closed since the source first spoke of another after it.
_CLOSE = """
CREATE TEMPORARY TABLE IF NOT EXISTS turn (link_id bigint, asset_id uuid, ends timestamptz) ON COMMIT DELETE ROWS;

TRUNCATE turn;

INSERT INTO turn (link_id, asset_id, ends)
SELECT l.id, l.asset_id, (
    SELECT min(coalesce(CASE WHEN d.first_at > l.last_seen_at THEN d.first_at ELSE d.collected_at END, o.last_seen_at))
    FROM ledger.asset_source_links o
    -- while a day is derived anew, a link may speak of a day that has no row of it yet
    LEFT JOIN ledger.asset_daily_specs d
      ON d.asset_id = o.asset_id AND d.link_id = o.id AND d.normalized_id IS NOT NULL
     AND d.collected_date >= l.last_seen_date
     AND (d.collected_date, d.collected_at, d.inventory_id, d.link_id)
         > (l.last_seen_date, l.last_seen_at, l.inventory_id, l.id)
    WHERE o.source_id = l.source_id AND o.external_kind = l.external_kind AND o.external_id = l.external_id
      -- no two are the last, though one reading stand with two of them
      AND (o.last_seen_date, o.last_seen_at, o.inventory_id, o.id)
          > (l.last_seen_date, l.last_seen_at, l.inventory_id, l.id))
FROM (
    SELECT DISTINCT r.external_kind, r.external_id
    FROM (SELECT link_id FROM slow_link UNION SELECT link_id FROM seen) s
    JOIN ledger.identity_resolutions r ON r.id = s.link_id
) k
JOIN ledger.asset_source_links l
  ON l.source_id = %(source)s AND l.external_kind = k.external_kind AND l.external_id = k.external_id;

WITH closed AS (
    UPDATE ledger.asset_source_links l SET closed_at = t.ends, missing_since = NULL
    FROM turn t WHERE l.id = t.link_id AND t.ends IS NOT NULL AND l.closed_at IS DISTINCT FROM t.ends
    RETURNING l.asset_id
)
INSERT INTO touched (asset_id) SELECT asset_id FROM closed;

WITH opened AS (
    UPDATE ledger.asset_source_links l SET closed_at = NULL
    FROM turn t WHERE l.id = t.link_id AND t.ends IS NULL AND l.closed_at IS NOT NULL
    RETURNING l.asset_id
)
INSERT INTO touched (asset_id) SELECT asset_id FROM opened;
"""
# a link that was just made beside an older one, or is spoken of again: which of them is open has to be told
_UNSURE = """
SELECT EXISTS (
    SELECT FROM ledger.asset_source_links l JOIN seen s ON s.link_id = l.id WHERE l.closed_at IS NOT NULL)
"""


def lengthen(connection: Connection, p: dict[str, Any]) -> None:
    """Bring the links and words of the records in `seen` up to date."""
    run_script(connection, _NEW, p)
    if p["anew"] and p["alone"]:
        # no other reading of the day looks at them: those of which it says something else are told anew at its end
        connection.execute(_TOUCH_NEW)
        return
    run_script(connection, _CONCERNED, p)
    (rivals,) = connection.execute(_RIVALS, p).fetchone() or (None,)
    if rivals:
        run_script(connection, _TIED, p | {"rivals": rivals})
    run_script(connection, _LENGTHEN, p)
    if connection.execute("SELECT EXISTS (SELECT FROM slow_link)").fetchone() == (True,):
        retell(connection, p)
    elif connection.execute(_UNSURE, p).fetchone() == (True,):
        run_script(connection, _CLOSE, p)


def retell(connection: Connection, p: dict[str, Any]) -> None:
    """Tell the runs of the links in `slow_link` anew from their days; a link without a day goes."""
    connection.execute("ANALYZE slow_link")
    run_script(connection, _RETELL, p)
    run_script(connection, _CLOSE, p)
