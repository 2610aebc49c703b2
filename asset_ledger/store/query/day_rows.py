"""The day rows and decisions of given assets, as known at a moment, in the shape that `domain.day_values` resolves.

Called by `store.query.as_of` for the assets of a page and by `store.query.asset_as_of` for one.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are always parameters
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from asset_ledger.domain.day_values import DayRow, DayValue, latest_words
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.query.day_facts import (
    DECIDED,
    SPECS,
    facts,
    last_word,
    links,
    merged,
    newest_readings,
    standing,
)

_MEMBERS = """
WITH merged AS MATERIALIZED ({merged}), member AS MATERIALIZED (
    SELECT id AS root, id FROM unnest(%(ids)s::uuid[]) AS id
    UNION ALL
    SELECT root, child FROM merged WHERE root = ANY(%(ids)s)
)"""
# the last word of every record, however old
_WORDS = """, word AS MATERIALIZED (
    SELECT m.root, d.* FROM member m JOIN {links} l ON l.asset_id = m.id{last_word}
), newest AS MATERIALIZED ({newest}
)"""
_KEYS = "d.asset_id, d.source_id, d.link_id, d.collected_date, d.collected_at, d.inventory_id"
_ON_DAY = "SELECT * FROM {facts} d WHERE d.collected_date = %(day)s AND d.asset_id = ANY(ARRAY(SELECT id FROM member))"
# Of the days from which something may be carried only what was said anew is of interest.
_UP_TO_DAY = """
    SELECT DISTINCT ON (d.asset_id, d.link_id, d.normalized_id) d.*
    FROM (SELECT w.*, max(w.collected_date) OVER (PARTITION BY w.root, w.source_id) AS newest FROM word w) w
    JOIN {facts} d ON d.asset_id = w.asset_id AND d.link_id = w.link_id AND d.normalized_id IS NOT NULL
        AND d.collected_date BETWEEN least(w.newest - %(carry_days)s, w.collected_date) AND w.collected_date
    ORDER BY d.asset_id, d.link_id, d.normalized_id, d.collected_date DESC"""
_TRIED = """
    SELECT DISTINCT ON (d.asset_id, d.link_id) d.* FROM {facts} d
    WHERE d.asset_id = ANY(ARRAY(SELECT id FROM member)) AND d.normalized_id IS NULL
      AND d.collected_date BETWEEN %(from)s AND %(day)s
    ORDER BY d.asset_id, d.link_id, d.collected_date DESC"""
_ROWS = """
SELECT m.root, m.id = m.root AS own, d.asset_id, d.collected_date, d.collected_at, d.inventory_id, d.source_id,
       d.link_id, d.normalized_id, d.platform_type, d.unknown, s.name AS source, s.source_type, s.naming_rank,
       coalesce((SELECT z.zone FROM ledger.normalized_assets z WHERE z.id = d.normalized_id), s.zone) AS zone, s.specs_rank, s.os_rank, d.link_id = ANY(%(closed_links)s::bigint[]) AS closed, {values}{more}
FROM ({days}) d
JOIN member m ON m.id = d.asset_id
JOIN ledger.sources s ON s.id = d.source_id{joined}
ORDER BY d.asset_id, d.link_id, d.normalized_id, d.collected_date DESC
"""
_VALUES = ", ".join("host(d.mgmt_ip) AS mgmt_ip" if name == "mgmt_ip" else f"d.{name}" for name in SPECS)
_MORE = ", n.document, r.external_kind, r.external_id, n.locator"
_JOINED = """
LEFT JOIN ledger.normalized_assets n ON n.id = d.normalized_id
LEFT JOIN ledger.identity_resolutions r ON r.id = d.link_id"""
# whether a reading whose absences count came after what a source said that day
_OVERTAKEN = """,
       (d.collected_at, d.inventory_id) < (w.collected_at, w.id) AS overtaken"""


def rows_on_day(connection: Connection, p: Mapping[str, Any], ids: Iterable[UUID]) -> list[dict[str, Any]]:
    """Return the rows that a day has of some assets and of those merged into them, for the parameters of a question.

    `overtaken` are those that a complete reading of the same day came after.
    """
    known = p["known_at"] is not None
    newest = f", newest AS MATERIALIZED ({newest_readings(known, on_day=True)})"
    members = _MEMBERS.format(merged=merged(known))
    wanted = _ROWS.format(
        values=_VALUES,
        more=_OVERTAKEN,
        days=_ON_DAY.format(facts=facts(known)),
        joined="\nLEFT JOIN newest w ON w.source_id = d.source_id",
    )
    return rows(connection, members + newest + wanted, {**p, "ids": list(ids)})


def rows_up_to_day(
    connection: Connection, p: Mapping[str, Any], ids: Iterable[UUID], *, documents: bool = False
) -> list[dict[str, Any]]:
    """Return what says what some assets were on a day: of each record of theirs and of those merged into them the last
    word, however old, the last of each other document that a value may be carried from, and the last failure.

    `documents` adds the documents, and under which id the source knows the machine.
    """
    known = p["known_at"] is not None
    days = f"({_UP_TO_DAY}) UNION ALL ({_TRIED})".format(facts=facts(known))
    wanted = _ROWS.format(
        values=_VALUES, more=_MORE if documents else "", joined=_JOINED if documents else "", days=days
    )
    return rows(connection, _words(known) + wanted, {**p, "ids": list(ids)})


def missing(connection: Connection, p: Mapping[str, Any], ids: Iterable[UUID]) -> dict[UUID, datetime]:
    """Return those of some assets that were missing at the end of a day, and since when."""
    known = p["known_at"] is not None
    statement = _words(known) + standing(known, words="word", newest="newest")
    return {row["root"]: row["missing_since"] for row in rows(connection, statement, {**p, "ids": list(ids)})}


def _words(known: bool) -> str:
    return (_MEMBERS + _WORDS).format(
        merged=merged(known), links=links(known), last_word=last_word(known, _KEYS), newest=newest_readings(known)
    )


def by_root(found: Iterable[dict[str, Any]]) -> defaultdict[UUID, list[dict[str, Any]]]:
    """Return day rows by the canonical asset they speak of."""
    grouped: defaultdict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for row in found:
        grouped[row["root"]].append(row)
    return grouped


def decided_values(
    connection: Connection, p: Mapping[str, Any], ids: Iterable[UUID]
) -> dict[UUID, dict[str, tuple[Any, str]]]:
    """Return what people had decided of some assets: by asset and field, the value and who decided it."""
    found: dict[UUID, dict[str, tuple[Any, str]]] = {}
    statement = f"SELECT * FROM ({DECIDED}) d WHERE asset_id = ANY(%(ids)s)"
    for row in rows(connection, statement, {**p, "ids": list(ids)}):
        found.setdefault(row["asset_id"], {})[row["field"]] = (row["value"], row["actor"])
    return found


def day_row(row: Mapping[str, Any]) -> DayRow:
    """Return a day row as the domain takes it."""
    return DayRow(
        day=row["collected_date"],
        source=row["source"],
        source_id=row["source_id"],
        link_id=row["link_id"],
        naming_rank=row["naming_rank"],
        specs_rank=row["specs_rank"],
        os_rank=row["os_rank"],
        own=row["own"],
        said=row["normalized_id"] is not None,
        collected_at=row["collected_at"],
        values=row,
        unknown=row["unknown"],
        closed=row["closed"],
    )


def labels(values: Mapping[str, DayValue]) -> dict[str, Any]:
    """Return what is to be said beside values: the day of carried ones, why some are None, who decided others."""
    return {
        "carried": {field: value.day for field, value in values.items() if value.state == "carried"},
        "unknown": {field: value.reason for field, value in values.items() if value.state == "unknown"},
        "decided": {field: value.source for field, value in values.items() if value.state == "decided"},
    }


def place(found: Sequence[Mapping[str, Any]], said: Sequence[DayRow]) -> dict[str, Any]:
    """Return the zone and the kind of platform of a machine: those of its sources' latest words, or of where it could
    not be read."""
    latest = {word.link_id for word in latest_words(said)}
    counting = [row for row in found if row["link_id"] in latest and row["normalized_id"]] or found
    newest = sorted(counting, key=lambda row: row["collected_date"], reverse=True)
    best = sorted(newest, key=lambda row: (row["naming_rank"], row["source_id"]))
    named = sorted(best, key=lambda row: row["platform_type"] == "unknown")
    return {"zone": best[0]["zone"] if best else None, "platform_type": named[0]["platform_type"] if named else None}


def spoken(said: Sequence[DayRow]) -> dict[str, Any]:
    """Return the sources that spoke of a machine, and the last day on which one did (`seen_date`).

    A record whose id the source gave to another machine tells of no source, and of a day only where no other does.
    """
    latest = latest_words(said)
    current = [word for word in latest if not word.closed]
    return {
        "sources": sorted({word.source for word in current}),
        "seen_date": max((word.day for word in current or latest), default=None),
    }
