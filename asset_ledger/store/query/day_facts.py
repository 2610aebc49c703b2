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
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.derive.missing import COUNTS, MISSING_SINCE

SPECS = (
    "hostname", "mgmt_ip", "asset_type", "cpu_cores", "memory_bytes", "disk_total_bytes", "os_family", "os_version",
    "power_state",
)  # fmt: skip
"""The fields that a day row has."""

_KEYS = "collected_date, asset_id, source_id, link_id, normalized_id, inventory_id, first_at, collected_at"
_ROWS_AT = f"""
    SELECT {_KEYS}, platform_type, unknown, {", ".join(SPECS)} FROM ledger.asset_daily_specs
    WHERE recorded_at <= %(known_at)s"""
_CORRECTED_AT = f"""
    SELECT c.collected_date, c.asset_id, c.source_id, c.link_id, c.normalized_id, c.inventory_id, c.first_at,
           c.collected_at, s.platform_type, c.unknown, {", ".join(f"n.{name}" for name in SPECS)}
    FROM ledger.asset_daily_corrections c
    JOIN ledger.sources s ON s.id = c.source_id
    LEFT JOIN ledger.normalized_assets n ON n.id = c.normalized_id
    WHERE c.inventory_id IS NOT NULL AND c.recorded_at <= %(known_at)s AND %(known_at)s < c.superseded_at"""
_FACTS_AT = f"({_ROWS_AT} UNION ALL {_CORRECTED_AT})"

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
    SELECT id, asset_id, source_id, external_kind, external_id, normalized_id, inventory_id, since_date, last_seen_date,
           last_seen_at
    FROM ledger.asset_source_links WHERE first_seen_at < %(day_end)s
)"""
# A link that a correction took away has gone from the links, not from the evidence of how it began. When it began may
# have changed since.
_LINKS_AT = """(
    SELECT r.id, r.asset_id, r.source_id, r.external_kind, r.external_id, l.last_seen_date
    FROM ledger.identity_resolutions r LEFT JOIN ledger.asset_source_links l ON l.id = r.id
    WHERE r.outcome <> 'conflict'
)"""
# The last word of a record `l` by the day. Mostly that is its last of all, which the link has. Where it spoke later, its
# runs tell between which days to look, so that the first row that is looked at is the one.
_LAST_WORD = f"""
CROSS JOIN LATERAL (
    SELECT {{columns}} FROM (
        SELECT l.asset_id, l.source_id, l.id AS link_id, n.id AS normalized_id, l.inventory_id,
               l.last_seen_date AS collected_date, l.last_seen_at AS collected_at,
               (SELECT s.platform_type FROM ledger.sources s WHERE s.id = l.source_id) AS platform_type,
               {", ".join(f"n.{name}" for name in SPECS)}
        FROM ledger.normalized_assets n WHERE n.id = l.normalized_id AND l.last_seen_date <= %(day)s
    ) d
    UNION ALL
    SELECT {{columns}} FROM (
        SELECT l.since_date AS began, %(day)s AS ended WHERE l.since_date <= %(day)s AND l.last_seen_date > %(day)s
        UNION ALL
        (SELECT p.first_date, least(p.last_date, %(day)s) FROM ledger.asset_past_words p
         WHERE l.since_date > %(day)s AND p.link_id = l.id AND p.first_date <= %(day)s
         ORDER BY p.first_date DESC LIMIT 1)
    ) run
    CROSS JOIN LATERAL (
        SELECT * FROM ledger.asset_daily_specs d
        WHERE d.asset_id = l.asset_id AND d.link_id = l.id AND d.normalized_id IS NOT NULL
          AND d.collected_date BETWEEN run.began AND run.ended
        ORDER BY d.collected_date DESC LIMIT 1
    ) d
) d"""
# The links and runs of today are of days that were not all known then: of them only where they end is of use.
_LAST_WORD_AT = f"""
CROSS JOIN LATERAL (
    SELECT {{columns}} FROM (
        (SELECT * FROM ({_ROWS_AT}) d
         WHERE d.asset_id = l.asset_id AND d.link_id = l.id AND d.normalized_id IS NOT NULL
           AND d.collected_date <= least(l.last_seen_date, %(day)s) ORDER BY d.collected_date DESC LIMIT 1)
        UNION ALL
        (SELECT * FROM ({_CORRECTED_AT}) d
         WHERE d.asset_id = l.asset_id AND d.link_id = l.id AND d.normalized_id IS NOT NULL
           AND d.collected_date <= %(day)s ORDER BY d.collected_date DESC LIMIT 1)
    ) d
    ORDER BY d.collected_date DESC LIMIT 1
) d"""

# Records of which another has the external id: those of today, or all that ever began.
_REUSED = """
SELECT DISTINCT l.id, l.asset_id, source_id, external_kind, external_id, l.normalized_id, l.inventory_id, l.since_date,
       l.last_seen_date, l.last_seen_at
FROM ledger.asset_source_links c
JOIN ledger.asset_source_links l USING (source_id, external_kind, external_id) WHERE c.closed_at IS NOT NULL"""
_REUSED_AT = f"""
SELECT l.* FROM {_LINKS_AT} l JOIN (
    SELECT source_id, external_kind, external_id FROM ledger.identity_resolutions WHERE outcome <> 'conflict'
    GROUP BY 1, 2, 3 HAVING count(*) > 1
) c USING (source_id, external_kind, external_id)"""
# as in store.derive.words: closed since the source first spoke of another machine under the id, after its last word of it
_CLOSED = """
WITH reused AS MATERIALIZED ({reused})
SELECT l.id, min(CASE WHEN t.first_at > d.collected_at THEN t.first_at ELSE t.collected_at END) AS closed_at
FROM reused l{last_word}
JOIN reused o ON o.source_id = l.source_id AND o.external_kind = l.external_kind AND o.external_id = l.external_id
    AND o.id <> l.id
CROSS JOIN LATERAL (
    SELECT t.first_at, t.collected_at FROM {facts} t
    WHERE t.asset_id = o.asset_id AND t.link_id = o.id AND t.normalized_id IS NOT NULL
      AND t.collected_date BETWEEN d.collected_date AND %(day)s AND t.collected_at > d.collected_at
    ORDER BY t.collected_date LIMIT 1
) t
GROUP BY l.id"""
_ANY_REUSED = """SELECT EXISTS (SELECT FROM ledger.asset_source_links WHERE closed_at IS NOT NULL) AS any"""

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

_READINGS = f"""
SELECT i.id, i.source_id, i.covers, i.collected_date, i.collected_at
FROM ledger.inventories i
LEFT JOIN LATERAL (
    SELECT d.value FROM ledger.decisions d
    WHERE d.kind = 'absences' AND d.inventory_id = i.id{{decided}} ORDER BY d.id DESC LIMIT 1) d ON true
WHERE i.collected_date <= %(day)s{{known}}
  AND {COUNTS}"""
_NEWEST = """
SELECT s.id AS source_id, s.source_type, i.collected_date, i.collected_at, i.id
FROM ledger.sources s LEFT JOIN LATERAL (
    SELECT i.* FROM ({readings}) i WHERE i.source_id = s.id{on_day}
    ORDER BY i.collected_date DESC, i.collected_at DESC, i.id DESC LIMIT 1) i ON true"""
_STANDING = """
SELECT root, missing_since FROM (
    SELECT told.root, {since} AS missing_since
    FROM (
        SELECT w.root, w.collected_at AS last_seen_at, n.source_type, coalesce(c.closed_at, CASE
            WHEN (w.collected_date, w.collected_at, w.inventory_id) < (n.collected_date, n.collected_at, n.id) THEN (
                SELECT i.collected_at FROM ({readings}) i
                WHERE i.source_id = w.source_id AND (i.covers = '{{}}' OR (
                        SELECT r.external_kind FROM ledger.identity_resolutions r WHERE r.id = w.link_id) = ANY(i.covers))
                  AND (i.collected_date, i.collected_at, i.id) > (w.collected_date, w.collected_at, w.inventory_id)
                ORDER BY i.collected_date, i.collected_at, i.id LIMIT 1) END) AS gone_at
        FROM {words} w JOIN {newest} n USING (source_id) LEFT JOIN {closed} c USING (link_id)
    ) told
    GROUP BY told.root
) standing
WHERE missing_since IS NOT NULL"""
CLOSED = "(SELECT * FROM unnest(%(closed_links)s::bigint[], %(closed_at)s::timestamptz[]) AS c(link_id, closed_at))"
"""What `closed` found, as a table expression."""


def facts(known: bool) -> str:
    """Return the day rows as a table expression."""
    return _FACTS_AT if known else "ledger.asset_daily_specs"


def merged(known: bool) -> str:
    """Return a query of the merges: child and root."""
    return _MERGED_AT if known else _MERGED


def links(known: bool) -> str:
    """Return the records that may have spoken by the day, as a table expression."""
    return _LINKS_AT if known else _LINKS


def last_word(known: bool, columns: str) -> str:
    """Return joins that add to every record `l` the day row `d` of its last word by the day, however old."""
    return (_LAST_WORD_AT if known else _LAST_WORD).format(columns=columns)


def readings(known: bool) -> str:
    """Return a query of the complete readings up to the day whose absences count."""
    # what a replay came to hold had counted until then
    absences = "CASE WHEN i.held_at > %(known_at)s THEN 'applied' ELSE i.absences END" if known else "i.absences"
    return _READINGS.format(
        absences=absences,
        known=" AND i.derived_at <= %(known_at)s" if known else "",
        decided=" AND d.decided_at <= %(known_at)s" if known else "",
    )


def newest_readings(known: bool, *, on_day: bool = False) -> str:
    """Return a query of all sources, each with its newest reading (of the day itself) whose absences count, or NULLs."""
    return _NEWEST.format(readings=readings(known), on_day=" AND i.collected_date = %(day)s" if on_day else "")


def standing(known: bool, *, words: str, newest: str) -> str:
    """Return a query of the assets that are missing at the end of the day: root and missing_since.

    `words` is a relation of the last words of all their records, `newest` that of `newest_readings`.
    """
    return _STANDING.format(since=MISSING_SINCE, readings=readings(known), words=words, newest=newest, closed=CLOSED)


def closed(connection: Connection, asked: AsOf) -> dict[str, Any]:
    """Return the parameters of CLOSED: the records whose id the source had given to another machine, and since when."""
    known = asked.known_at is not None
    found: list[dict[str, Any]] = []
    if known or rows(connection, _ANY_REUSED)[0]["any"]:
        statement = _CLOSED.format(
            reused=_REUSED_AT if known else _REUSED,
            last_word=last_word(known, "d.collected_date, d.collected_at"),
            facts=facts(known),
        )
        found = rows(connection, statement, moment(asked))
    return {"closed_links": [row["id"] for row in found], "closed_at": [row["closed_at"] for row in found]}


def moment(asked: AsOf) -> dict[str, Any]:
    """Return the parameters of a question. CLOSED has two more, which `closed` finds."""
    return {
        "day": asked.day,
        "from": asked.day - timedelta(days=CARRY_DAYS),
        "carry_days": CARRY_DAYS,
        "day_end": day_end(asked.day),
        "decided_before": asked.decided_before,
        "known_at": asked.known_at,
        "closed_links": [],
        "closed_at": [],
    }
