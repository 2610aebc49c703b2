"""A day that is derived anew: it is made of nothing, as a rebuild makes it, and then compared with what it said.

That is a day on which something may be other than it was (a parser of another version, a reading that comes late or
failed until now, a conflict that may have its answer), or of which several readings have to be told one after the
other. What the day said is set aside before its first reading, so that nothing of it is taken for what a reading says
now; at the end what differs is kept as corrections. Any other replay finds its own rows. Called by `store.derive.apply`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asset_ledger.store.database import Connection, run_script
from asset_ledger.store.derive.staging import clear_reading
from asset_ledger.store.raw import InventoryRow

_ASIDE = """
WITH gone AS (
    DELETE FROM ledger.asset_daily_specs WHERE collected_date = %(date)s AND source_id = %(source)s RETURNING *
)
INSERT INTO was_day (link_id, asset_id, normalized_id, inventory_id, first_at, collected_at, unknown, recorded_at)
SELECT link_id, asset_id, normalized_id, inventory_id, first_at, collected_at, unknown, recorded_at FROM gone;

DELETE FROM ledger.asset_daily_ips WHERE collected_date = %(date)s AND source_id = %(source)s;

ANALYZE was_day (link_id, asset_id);
"""
# The same of some kinds alone: what readings of other kinds said of the day stands.
_ASIDE_SOME = """
WITH gone AS (
    DELETE FROM ledger.asset_daily_specs d USING ledger.identity_resolutions r
    WHERE d.collected_date = %(date)s AND d.source_id = %(source)s AND r.id = d.link_id
      AND r.external_kind = ANY(%(covers)s)
    RETURNING d.*
)
INSERT INTO was_day (link_id, asset_id, normalized_id, inventory_id, first_at, collected_at, unknown, recorded_at)
SELECT link_id, asset_id, normalized_id, inventory_id, first_at, collected_at, unknown, recorded_at FROM gone;

ANALYZE was_day (link_id, asset_id);

DELETE FROM ledger.asset_daily_ips i
WHERE i.collected_date = %(date)s AND i.source_id = %(source)s AND i.asset_id IN (SELECT asset_id FROM was_day);
"""
# An answer that did not change is as old as it was. Where a reading that was derived before it was published has it only
# now, that is noted, so that a rebuild does not take it for the first that had it.
_SAME = """
WITH same AS (
    UPDATE ledger.asset_daily_specs d SET recorded_at = w.recorded_at
    FROM was_day w
    WHERE d.collected_date = %(date)s AND d.source_id = %(source)s AND d.asset_id = w.asset_id AND d.link_id = w.link_id
      AND d.normalized_id IS NOT DISTINCT FROM w.normalized_id AND d.unknown = w.unknown
    RETURNING d.asset_id, d.link_id, d.normalized_id, d.recorded_at
)
INSERT INTO ledger.asset_daily_corrections (collected_date, asset_id, source_id, link_id, recorded_at, superseded_at)
SELECT %(date)s, s.asset_id, %(source)s, s.link_id, min(t.derived_at), s.recorded_at
FROM same s
JOIN told t ON t.link_id = s.link_id AND t.asset_id = s.asset_id AND t.normalized_id IS NOT DISTINCT FROM s.normalized_id
WHERE t.derived_at < s.recorded_at AND NOT EXISTS (
    SELECT FROM ledger.asset_daily_corrections c
    WHERE c.collected_date = %(date)s AND c.asset_id = s.asset_id AND c.source_id = %(source)s AND c.link_id = s.link_id)
GROUP BY s.asset_id, s.link_id, s.recorded_at;
"""
_CORRECTED = """
INSERT INTO ledger.asset_daily_corrections (collected_date, asset_id, source_id, link_id, normalized_id, inventory_id,
    first_at, collected_at, unknown, recorded_at, superseded_at)
SELECT %(date)s, w.asset_id, %(source)s, w.link_id, w.normalized_id, w.inventory_id, w.first_at, w.collected_at,
       w.unknown, w.recorded_at, %(now)s
FROM was_day w
WHERE NOT EXISTS (
    SELECT FROM ledger.asset_daily_specs d
    WHERE d.collected_date = %(date)s AND d.source_id = %(source)s AND d.asset_id = w.asset_id AND d.link_id = w.link_id
      AND d.normalized_id IS NOT DISTINCT FROM w.normalized_id AND d.unknown = w.unknown)
UNION ALL
-- until now the answer was that there is none
SELECT %(date)s, t.asset_id, %(source)s, t.link_id, NULL, NULL, NULL, NULL, '{}', min(t.derived_at), %(now)s
FROM told t
JOIN ledger.asset_daily_specs d
  ON d.collected_date = %(date)s AND d.source_id = %(source)s AND d.asset_id = t.asset_id AND d.link_id = t.link_id
WHERE t.derived_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM was_day w WHERE w.link_id = t.link_id AND w.asset_id = t.asset_id)
GROUP BY t.asset_id, t.link_id
ON CONFLICT DO NOTHING;
"""
_DIFFERING = """
INSERT INTO slow_link (link_id, asset_id)
SELECT w.link_id, w.asset_id
FROM was_day w
LEFT JOIN ledger.asset_daily_specs d
  ON d.collected_date = %(date)s AND d.source_id = %(source)s AND d.asset_id = w.asset_id AND d.link_id = w.link_id
WHERE (d.normalized_id, d.inventory_id, d.first_at, d.collected_at)
      IS DISTINCT FROM (w.normalized_id, w.inventory_id, w.first_at, w.collected_at)
UNION
SELECT t.link_id, t.asset_id FROM told t
WHERE NOT EXISTS (SELECT FROM was_day w WHERE w.link_id = t.link_id AND w.asset_id = t.asset_id)
"""


_OPEN_CONFLICTS = """
SELECT EXISTS (
    SELECT FROM ledger.identity_resolutions
    WHERE inventory_id = ANY(%s) AND outcome = 'conflict' AND settled_at IS NULL)
"""


def may_differ(connection: Connection, readings: Sequence[InventoryRow], parser_version: int) -> bool:
    """Say whether a day that is derived again may come to say something else than it says."""
    if not readings:
        return False
    alone = len(readings) == 1 and readings[0].status == "derived" and readings[0].parser_version == parser_version
    return not alone or connection.execute(_OPEN_CONFLICTS, [[one.id for one in readings]]).fetchone() == (True,)


def set_aside(connection: Connection, p: dict[str, Any]) -> None:
    """Take what the day said of the kinds `p["covers"]`, or of all where there are none, out of it into `was_day`."""
    run_script(connection, _ASIDE_SOME if p["covers"] else _ASIDE, p)


def compare(connection: Connection, p: dict[str, Any]) -> bool:
    """Keep as corrections what the day says otherwise now.

    Returns whether anything differs; `slow_link` then has the links whose words have to be told anew.
    """
    clear_reading(connection)
    run_script(connection, _SAME, p)
    run_script(connection, _CORRECTED, p)
    return bool(connection.execute(_DIFFERING, p).rowcount)
