"""When a report counts: its agent's clock against the server's, and the day that it is of. Pure.

An agent's clock is taken at its word as long as it can be. A report that waited on its machine says so (`spooled`):
only of such a one is an old instant a true one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from asset_ledger.domain.agents.payload import Report
from asset_ledger.domain.calendar import collected_date

SKEW = timedelta(minutes=10)
"""How far an agent's clock may be from the server's without anybody saying so."""
SPOOLED = timedelta(days=31)
"""How old a report may be that the ledger takes for the day it was collected on."""
OLDEST = timedelta(days=700)
"""How old a report may be at all: history has months for two years."""


class TooOldError(ValueError):
    """A report that is too old to have a place in history."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a report counts, and of which day it is. `notes` say what was not taken as it was told."""

    collected_at: datetime
    collected_date: date
    for_ledger: bool = True
    notes: tuple[str, ...] = ()


def arrival(report: Report, received_at: datetime) -> Arrival:
    """Return when a report counts that came at `received_at`. Raises TooOldError."""
    told, now = report.collected_at, Arrival(received_at, collected_date(received_at))
    if told is None:
        return replace(now, notes=("it does not say when it was collected: taken as now",))
    age = received_at - told
    if age < -SKEW:
        return replace(now, notes=(f"collected_at is {_rough(-age)} ahead: taken as now",))
    if age <= SKEW:
        return Arrival(told, collected_date(told))
    if not report.spooled:
        what, at = ("taken as now", received_at) if age > OLDEST else ("it counts for today", told)
        return replace(now, collected_at=at, notes=(f"collected_at is {_rough(age)} behind, and not spooled: {what}",))
    if age > OLDEST:
        raise TooOldError(f"it was collected {_rough(age)} ago; history goes back {OLDEST.days} days")
    own = Arrival(told, collected_date(told))
    if age <= SPOOLED:
        return own
    note = f"it was collected {_rough(age)} ago: it goes into history, and no more into the ledger"
    return replace(own, for_ledger=False, notes=(note,))


def _rough(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    return (
        f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"
    )
