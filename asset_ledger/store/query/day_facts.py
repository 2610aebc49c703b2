"""Day rows, merges and decisions as they were known at a moment: the pieces of SQL that every as-of question is made of.

`known` says whether the question names a moment (`AsOf.known_at`): then a day row that was corrected later is seen as it
stood. The statements take the parameters of `moment`. Called by `store.query.as_of`.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are always parameters
from __future__ import annotations

from datetime import timedelta
from typing import Any

from asset_ledger.domain.as_of import AsOf, day_end
from asset_ledger.domain.history import CARRY_DAYS

SPECS = (
    "hostname", "mgmt_ip", "asset_type", "cpu_cores", "memory_bytes", "disk_total_bytes", "os_family", "os_version",
    "power_state",
)  # fmt: skip
"""The fields that a day row has."""

_KEYS = "collected_date, asset_id, source_id, link_id, normalized_id, collected_at"
_FACTS_AT = f"""(
    SELECT {_KEYS}, platform_type, unknown, {", ".join(SPECS)} FROM ledger.asset_daily_specs
    WHERE recorded_at <= %(known_at)s
    UNION ALL
    SELECT c.collected_date, c.asset_id, c.source_id, c.link_id, c.normalized_id, c.collected_at, s.platform_type, c.unknown,
           {", ".join(f"n.{name}" for name in SPECS)}
    FROM ledger.asset_daily_corrections c
    JOIN ledger.sources s ON s.id = c.source_id
    LEFT JOIN ledger.normalized_assets n ON n.id = c.normalized_id
    WHERE c.inventory_id IS NOT NULL AND c.recorded_at <= %(known_at)s AND %(known_at)s < c.superseded_at
)"""

_MERGED = "SELECT id AS child, merged_into_asset_id AS root FROM ledger.assets WHERE merged_into_asset_id IS NOT NULL"
# What was decided up to then, followed to the asset that is merged into nothing.
_MERGED_AT = """
SELECT child, root FROM (
    WITH RECURSIVE said AS (
        SELECT child, parent FROM (
            SELECT DISTINCT ON (asset_id) asset_id AS child, (value #>> '{}')::uuid AS parent
            FROM ledger.decisions WHERE kind = 'merge' AND decided_at <= %(known_at)s ORDER BY asset_id, id DESC) latest
        WHERE parent IS NOT NULL
    ), up AS (
        SELECT child, parent AS root FROM said
        UNION
        SELECT up.child, said.parent FROM up JOIN said ON said.child = up.root
    )
    SELECT child, root FROM up WHERE NOT EXISTS (SELECT FROM said WHERE said.child = up.root)
) merges"""

_LINKS = """(
    SELECT id, asset_id, source_id, external_kind, external_id FROM ledger.asset_source_links
    WHERE first_seen_at < %(day_end)s AND last_seen_date >= %(from)s
)"""
# A link that a correction took away has gone from the links, not from the evidence of how it began. When it began may
# have changed since.
_LINKS_AT = """(
    SELECT id, asset_id, source_id, external_kind, external_id FROM ledger.identity_resolutions
    WHERE outcome <> 'conflict'
)"""

DECIDED = """
SELECT asset_id, field, value, actor FROM (
    SELECT DISTINCT ON (asset_id, field) asset_id, field, value, actor FROM ledger.decisions
    WHERE kind = 'override' AND decided_at < %(decided_before)s ORDER BY asset_id, field, id DESC) latest
WHERE value IS NOT NULL"""
RETIRED = """
SELECT asset_id, decided_at FROM (
    SELECT DISTINCT ON (asset_id) asset_id, value, decided_at FROM ledger.decisions
    WHERE kind = 'retired' AND decided_at < %(decided_before)s ORDER BY asset_id, id DESC) latest
WHERE value IS NOT NULL"""

_READINGS = """
SELECT i.source_id, i.covers, i.collected_date, i.collected_at
FROM ledger.inventories i
LEFT JOIN LATERAL (
    SELECT d.value FROM ledger.decisions d
    WHERE d.kind = 'absences' AND d.inventory_id = i.id{decided} ORDER BY d.id DESC LIMIT 1) d ON true
WHERE i.complete AND i.status = 'derived' AND i.collected_date BETWEEN %(from)s AND %(day)s{known}
  AND CASE WHEN d.value IS NULL THEN i.absences = 'applied' ELSE d.value = '"approved"' END"""


def facts(known: bool) -> str:
    """Return the day rows as a table expression."""
    return _FACTS_AT if known else "ledger.asset_daily_specs"


def merged(known: bool) -> str:
    """Return a query of the merges: child and root."""
    return _MERGED_AT if known else _MERGED


def links(known: bool) -> str:
    """Return the records that may have spoken by the day, as a table expression."""
    return _LINKS_AT if known else _LINKS


def readings(known: bool) -> str:
    """Return a query of the complete readings whose absences count, from the first day that is carried on."""
    return _READINGS.format(
        known=" AND i.derived_at <= %(known_at)s" if known else "",
        decided=" AND d.decided_at <= %(known_at)s" if known else "",
    )


def moment(asked: AsOf) -> dict[str, Any]:
    """Return the parameters of a question."""
    return {
        "day": asked.day,
        "from": asked.day - timedelta(days=CARRY_DAYS),
        "day_end": day_end(asked.day),
        "decided_before": asked.decided_before,
        "known_at": asked.known_at,
    }
