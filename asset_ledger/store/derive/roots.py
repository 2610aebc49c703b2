"""The root of every merge: which canonical asset each merged one points to, by the decisions in force.

Called wherever decisions or asset rows come and go: `store.decide.merges`, `store.derive.settle`, `pipeline.rebuild`.
"""

from __future__ import annotations

from uuid import UUID

from asset_ledger.store.database import Connection

_REPOINT = """
WITH RECURSIVE merged AS MATERIALIZED (
    SELECT asset_id AS child, (value #>> '{}')::uuid AS into_id FROM ledger.decisions_in_force WHERE kind = 'merge'
), climb AS (
    SELECT child, into_id AS at FROM merged
    UNION
    SELECT c.child, m.into_id FROM climb c JOIN merged m ON m.child = c.at
), rooted AS (
    SELECT c.child, c.at AS root FROM climb c JOIN ledger.assets r ON r.id = c.at
    WHERE NOT EXISTS (SELECT FROM merged m WHERE m.child = c.at)
), wrong AS (
    SELECT a.id, a.merged_into_asset_id AS was, r.root FROM ledger.assets a LEFT JOIN rooted r ON r.child = a.id
    WHERE a.id IN (SELECT child FROM rooted UNION ALL
                   SELECT id FROM ledger.assets WHERE merged_into_asset_id IS NOT NULL)
      AND a.merged_into_asset_id IS DISTINCT FROM r.root
)
UPDATE ledger.assets a SET merged_into_asset_id = w.root FROM wrong w WHERE a.id = w.id
RETURNING a.id, w.was, w.root
"""


def repoint(connection: Connection) -> list[UUID]:
    """Make every `merged_into_asset_id` the root that the decisions in force say; return the assets to settle.

    Those are the assets that changed with the roots they left and came to. The caller holds `ledger_lock`.
    """
    found = connection.execute(_REPOINT).fetchall()
    return sorted({asset_id for row in found for asset_id in row if asset_id})
