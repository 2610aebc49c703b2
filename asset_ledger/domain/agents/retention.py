"""Which rows of one client's history stay, and how much of each: the ladder, written to be read.

The store thins by SQL over all clients; a test holds that SQL against this. Nothing but `agent.inventory_history` is
thinned: what the ledger derived of the same reports stays for ever. Days and months are of UTC, as the partitions are
cut: a calendar of another zone would leave rows in two partitions for every one that stays.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

HISTORY_DAYS = 90
"""Rows of the last so many days stay whole."""
MONTHLY_DAYS = 365
"""Of older ones the first of each month stays, and of those older than so many days the first of each quarter."""
AUDIT_DAYS = 180
"""Audit rows stay so long; those of security for ever."""

Keeping = Literal["whole", "thin"]
"""`whole` is every column. `thin` is every column but `raw_data`: what changed, when, to what, and its digest."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a client's history. `kinds` are its change types."""

    id: int
    collected_at: datetime
    kinds: tuple[str, ...]

    @property
    def day(self) -> date:
        """The day in UTC."""
        return self.collected_at.astimezone(UTC).date()

    @property
    def is_change(self) -> bool:
        """True for a row that is more than a snapshot."""
        return any(kind != "periodic_snapshot" for kind in self.kinds)


def kept(rows: Sequence[Entry], now: datetime) -> dict[int, Keeping]:
    """Return by id how much of each row stays; a row that is missing goes. `rows` are all that one client has.

    Whole stay the client's first and last row, every row of the last HISTORY_DAYS days, of older ones the first of
    their month, of those older than MONTHLY_DAYS the first of their quarter. Every other row that is a change stays
    thin. First and last are by (collected_at, id). Thinning again, or in steps as time goes, gives the same rows.
    """
    in_order = sorted(rows, key=lambda row: (row.collected_at, row.id))
    if not in_order:
        return {}
    ends = {in_order[0].id, in_order[-1].id}
    of_months = _firsts((row.id, (row.day.year, row.day.month)) for row in in_order)
    of_quarters = _firsts((row.id, (row.day.year, (row.day.month - 1) // 3)) for row in in_order)
    today = now.astimezone(UTC).date()
    found: dict[int, Keeping] = {}
    for row in in_order:
        if row.day >= today - timedelta(days=HISTORY_DAYS):
            stays = True
        elif row.day >= today - timedelta(days=MONTHLY_DAYS):
            stays = row.id in of_months
        else:
            stays = row.id in of_quarters
        if stays or row.id in ends:
            found[row.id] = "whole"
        elif row.is_change:
            found[row.id] = "thin"
    return found


def _firsts(spans: Iterable[tuple[int, Hashable]]) -> set[int]:
    """Return the first id of each span of time, of (id, span) in order."""
    found: dict[Hashable, int] = {}
    for row, span in spans:
        found.setdefault(span, row)
    return set(found.values())
