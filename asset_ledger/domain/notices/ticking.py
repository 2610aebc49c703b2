"""Whether what starts everything by itself still ticks: sensors, schedules, and the daemon's own threads.

A sensor that fails makes no run, and so nothing that looks at runs would tell of it. What Dagster knows of them is read
by `sensors.notices`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from asset_ledger.domain.notices.troubles import STOPPED, Looked, Severity, Trouble

FAILURES = 2
"""Ticks of a sensor that fail one after the other until it is told. A schedule's one tick may be the day's reading."""
_LATE_AT_LEAST = timedelta(minutes=10)
_LATE_INTERVALS = 10


@dataclass(frozen=True, slots=True)
class Ticker:
    """One sensor, schedule or thread of the daemon. `failed` is the class of the error of its last ticks where they
    failed; `every` how often it is to tick, None where that is not known."""

    kind: Literal["sensor", "schedule", "daemon"]
    name: str
    source: str = ""
    stopped: bool = False
    failed: str | None = None
    last_at: datetime | None = None
    every: timedelta | None = None


def silent(
    tickers: Iterable[Ticker], *, now: datetime, awake_since: datetime, owner: str = ""
) -> tuple[list[Trouble], list[Looked]]:
    """Return what does not tick as it should, and what was looked at. `awake_since` is since when the daemon is known
    to run: what it could not do before that is not late."""
    wrong: list[Trouble] = []
    looked: list[Looked] = []
    for one in tickers:
        place = f"{one.kind} {one.name}"
        looked.append(Looked("silent", place))
        told = _wrong(one, now, awake_since)
        if told is not None:
            code, severity, message = told
            wrong.append(
                Trouble("silent", one.source, place, code, severity, (place,), message, "", "", owner),
            )
    return wrong, looked


def _wrong(one: Ticker, now: datetime, awake_since: datetime) -> tuple[str, Severity, str] | None:
    if one.stopped:
        return STOPPED, "warning", "somebody stopped it; it starts nothing until it is started again"
    if one.failed is not None:
        return "TICK_FAILED", "error", f"its last tick failed ({one.failed}); its page in Dagster says why"
    if one.every is not None and one.last_at is not None:
        late = now - max(one.last_at, awake_since)
        if late > max(_LATE_AT_LEAST, one.every * _LATE_INTERVALS):
            minutes = int(late / timedelta(minutes=1))
            return "LATE", "critical", f"it has not ticked for {minutes} minutes; look whether Dagster's daemon is well"
    return None
