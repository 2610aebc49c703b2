"""What replays and late files changed in days that were published before. Reads only. Called when a day was derived
again, and by the command line for a whole run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from asset_ledger.domain.outcome import Correction, document_changes
from asset_ledger.store.database import Connection


def corrections_since(
    connection: Connection, source_id: int, first: date, last: date, since: datetime
) -> dict[date, list[Correction]]:
    """Return by day what the days from `first` to `last` say otherwise now than they did at `since`."""
    found = connection.execute(
        """
        SELECT c.collected_date, c.asset_id::text, r.external_id, coalesce(now_.hostname, was.hostname), was.document,
               now_.document, c.inventory_id IS NOT NULL, d.asset_id IS NOT NULL, c.unknown, d.unknown
        FROM (
            SELECT DISTINCT ON (collected_date, asset_id, source_id, link_id) * FROM ledger.asset_daily_corrections
            WHERE collected_date BETWEEN %(first)s AND %(last)s AND source_id = %(source)s AND superseded_at >= %(since)s
            ORDER BY collected_date, asset_id, source_id, link_id, superseded_at
        ) c
        LEFT JOIN ledger.asset_daily_specs d USING (collected_date, asset_id, source_id, link_id)
        LEFT JOIN ledger.normalized_assets was ON was.id = c.normalized_id
        LEFT JOIN ledger.normalized_assets now_ ON now_.id = d.normalized_id
        LEFT JOIN ledger.identity_resolutions r ON r.id = c.link_id
        ORDER BY 1, 4, 3, 2
        """,
        {"first": first, "last": last, "source": source_id, "since": since},
    )
    days: dict[date, list[Correction]] = {}
    for day, asset_id, external_id, hostname, was, now, there, stays, gone, left in found:
        what = "changed" if there and stays else "added" if stays else "removed"
        fields = document_changes(was or {"unknown": gone}, now or {"unknown": left}, strict=True)
        days.setdefault(day, []).append(
            Correction(asset_id, external_id, hostname, what, tuple(fields) if what == "changed" else ())
        )
    return days


def days_with_raw(connection: Connection, source_id: int, first: date, last: date) -> list[date]:
    """Return the days from `first` to `last` of which whole raw readings of a source are kept."""
    found = connection.execute(
        """
        SELECT DISTINCT collected_date FROM ledger.inventories
        WHERE source_id = %s AND collected_date BETWEEN %s AND %s AND status IN ('raw', 'derived', 'failed') ORDER BY 1
        """,
        [source_id, first, last],
    )
    return [row[0] for row in found]


def underived(connection: Connection, source_id: int, first: date, last: date) -> list[int]:
    """Return the whole readings of the days from `first` to `last` that nothing was derived from yet."""
    found = connection.execute(
        """
        SELECT id FROM ledger.inventories
        WHERE source_id = %s AND collected_date BETWEEN %s AND %s AND status IN ('raw', 'failed') ORDER BY id
        """,
        [source_id, first, last],
    )
    return [row[0] for row in found]


def report_counts(connection: Connection, inventory_ids: Sequence[int]) -> list[tuple[date, dict[str, int]]]:
    """Return the days and counts of those of these readings that are derived, in the order they came in."""
    found = connection.execute(
        """
        SELECT collected_date, report -> 'counts' FROM ledger.inventories
        WHERE id = ANY(%s) AND status = 'derived' ORDER BY id
        """,
        [list(inventory_ids)],
    )
    return found.fetchall()
