"""What the last days of a chain came to, a day at a time, for the picture in a run's metadata. Reads only.

Counted from reports of readings and records of targets, a few rows a day, however many machines there are; machines
themselves are counted only on days that several partial readings told of.
"""

# ruff: noqa: S608 - put together from constants; values are always parameters
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from asset_ledger.store.database import Connection
from asset_ledger.store.scopes import OVERLAPPING


@dataclass(frozen=True, slots=True)
class ChainDay:
    """A day: how many machines its readings told of (None: none was derived), and how many targets failed.

    Of complete readings the last one of the day counts; of several partial ones, which add up, each machine once.
    """

    seen: int | None = None
    failed: int = 0


_DAYS = f"""
WITH reading AS (
    SELECT collected_date AS day, complete, (report -> 'counts' ->> 'records')::bigint AS records,
           row_number() OVER (PARTITION BY collected_date, complete ORDER BY collected_at DESC, id DESC) AS place
    FROM ledger.inventories
    WHERE source_id = %(source)s AND collected_date BETWEEN %(first)s AND %(last)s AND status = 'derived'
      AND {OVERLAPPING}
), seen AS (
    SELECT r.day, CASE
        WHEN bool_or(r.complete) THEN max(r.records) FILTER (WHERE r.complete AND r.place = 1)
        WHEN count(*) = 1 THEN max(r.records)
        ELSE (SELECT count(DISTINCT d.asset_id)
              FROM ledger.asset_daily_specs d JOIN ledger.asset_source_links l ON l.id = d.link_id
              WHERE d.collected_date = r.day AND d.source_id = %(source)s AND d.normalized_id IS NOT NULL
                AND (%(covers)s::text[] = '{{}}' OR l.external_kind = ANY(%(covers)s))) END AS seen
    FROM reading r GROUP BY r.day
), failed AS (
    SELECT collected_date AS day, count(DISTINCT target) AS failed FROM ledger.sync_target_records
    WHERE source_id = %(source)s AND collected_date BETWEEN %(first)s AND %(last)s AND status = 'failed'
      AND (%(scope)s::text = 'all' OR scope IN ('all', %(scope)s))
    GROUP BY collected_date
)
SELECT coalesce(s.day, f.day), s.seen, coalesce(f.failed, 0) FROM seen s FULL JOIN failed f ON f.day = s.day
"""


def chain_days(
    connection: Connection, source_id: int, *, scope: str, covers: Sequence[str], first: date, last: date
) -> dict[date, ChainDay]:
    """Return the days from `first` to `last` of which there is anything, for one scope of a source."""
    found = connection.execute(
        _DAYS, {"source": source_id, "scope": scope, "covers": list(covers), "first": first, "last": last}
    )
    return {day: ChainDay(seen, failed) for day, seen, failed in found.fetchall()}
