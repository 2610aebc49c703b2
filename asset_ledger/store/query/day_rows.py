"""The day rows and decisions of given assets, as known at a moment, in the shape that `domain.day_values` resolves.

Called by `store.query.as_of` for the assets of a page and by `store.query.asset_as_of` for one.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are always parameters
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from asset_ledger.domain.as_of import AsOf
from asset_ledger.domain.day_values import DayRow, DayValue
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.query.day_facts import DECIDED, SPECS, facts, merged, moment

_ROWS = """
WITH merged AS MATERIALIZED ({merged}), member AS (
    SELECT id AS root, id FROM unnest(%(ids)s::uuid[]) AS id
    UNION ALL
    SELECT root, child FROM merged WHERE root = ANY(%(ids)s)
)
SELECT {distinct} m.root, m.id = m.root AS own, d.asset_id, d.collected_date, d.collected_at, d.source_id, d.link_id,
       d.normalized_id, d.platform_type, d.unknown, s.name AS source, s.source_type, s.zone, s.naming_rank, s.specs_rank,
       {values}{more}
FROM member m
JOIN {facts} d ON d.asset_id = m.id
JOIN ledger.sources s ON s.id = d.source_id{joined}
WHERE {days}
ORDER BY d.asset_id, d.link_id, d.normalized_id, d.collected_date DESC
"""
_VALUES = ", ".join("host(d.mgmt_ip) AS mgmt_ip" if name == "mgmt_ip" else f"d.{name}" for name in SPECS)
_MORE = ", n.document, r.external_kind, r.external_id, n.locator, n.inventory_id"
_JOINED = """
LEFT JOIN ledger.normalized_assets n ON n.id = d.normalized_id
LEFT JOIN ledger.identity_resolutions r ON r.id = d.link_id"""
ON_DAY = "d.collected_date = %(day)s"
BEFORE = "d.collected_date >= %(from)s AND d.collected_date < %(day)s"
UP_TO_DAY = "d.collected_date >= %(from)s AND d.collected_date <= %(day)s"
# of several days only what was said anew is of interest
_DISTINCT = "DISTINCT ON (d.asset_id, d.link_id, d.normalized_id)"


def day_rows(
    connection: Connection, asked: AsOf, ids: Iterable[UUID], days: str, *, documents: bool = False
) -> list[dict[str, Any]]:
    """Return the day rows of some assets and of those merged into them: ON_DAY, BEFORE or UP_TO_DAY.

    Of several days those are returned on which a record last said each of its documents, which `documents` adds.
    """
    known = asked.known_at is not None
    statement = _ROWS.format(
        merged=merged(known),
        facts=facts(known),
        distinct="" if days == ON_DAY else _DISTINCT,
        values=_VALUES,
        more=_MORE if documents else "",
        joined=_JOINED if documents else "",
        days=days,
    )
    return rows(connection, statement, {**moment(asked), "ids": list(ids)})


def by_root(found: Iterable[dict[str, Any]]) -> defaultdict[UUID, list[dict[str, Any]]]:
    """Return day rows by the canonical asset they speak of."""
    grouped: defaultdict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for row in found:
        grouped[row["root"]].append(row)
    return grouped


def decided_values(connection: Connection, asked: AsOf, ids: Iterable[UUID]) -> dict[UUID, dict[str, tuple[Any, str]]]:
    """Return what people had decided of some assets: by asset and field, the value and who decided it."""
    found: dict[UUID, dict[str, tuple[Any, str]]] = {}
    statement = f"SELECT * FROM ({DECIDED}) d WHERE asset_id = ANY(%(ids)s)"
    for row in rows(connection, statement, {**moment(asked), "ids": list(ids)}):
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
        own=row["own"],
        said=row["normalized_id"] is not None,
        collected_at=row["collected_at"],
        values=row,
        unknown=row["unknown"],
    )


def labels(values: Mapping[str, DayValue]) -> dict[str, Any]:
    """Return what is to be said beside values: the day of carried ones, why some are None, who decided others."""
    return {
        "carried": {field: value.day for field, value in values.items() if value.state == "carried"},
        "unknown": {field: value.reason for field, value in values.items() if value.state == "unknown"},
        "decided": {field: value.source for field, value in values.items() if value.state == "decided"},
    }
