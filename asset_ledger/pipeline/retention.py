"""Retention of the agents' history and of the audit: month by month, the oldest first, or only what it would do.

Nothing else is ever deleted: observations, daily tables and raw stay for ever. `store.agents.retention` says in SQL
what stays, `store.agents.months` exchanges a month. Called by the Dagster assets of retention, and by `asset-ledger
retention` for a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from asset_ledger.store.access import audit
from asset_ledger.store.agents import retention as what_stays
from asset_ledger.store.agents.months import BACK_OFF_S, MonthBusyError, cut, unwatch
from asset_ledger.store.agents.retention import Counts, Month, TableName
from asset_ledger.store.database import Connection, clock
from asset_ledger.store.partitions import ensure_month

State = Literal["untouched", "cut", "dropped", "left"]
RETENTION_JOB = "retention"


def step(table: TableName) -> str:
    """Return the name of the step that does a table, under which a run's configuration says `plan`."""
    return f"retention_{table.partition('.')[2]}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a month, or would: `dropped` as a whole, `cut`, or `left` because others were at it (`why`).

    Of a month that was left the counts are those of its rows as they are. `late` rows came while it was copied.
    """

    table: TableName
    month: str
    state: State
    counts: Counts
    late: int = 0
    why: str | None = None


def plan(connection: Connection, table: TableName, *, now: datetime | None = None) -> list[Outcome]:
    """Return what a run would do to each month of a table. Changes nothing, and nobody waits for it."""
    as_of = now or clock(connection)
    found = []
    for month in what_stays.months(connection, table):
        with what_stays.looking(connection):
            counts = what_stays.count(connection, month, as_of)
        state: State = "untouched" if not counts.changes else "cut" if counts.kept + counts.thinned else "dropped"
        found.append(Outcome(table, month.name, state, counts))
    return found


def apply(
    connection: Connection,
    table: TableName,
    *,
    now: datetime | None = None,
    run_id: str | None = None,
    back_off_s: Sequence[float] = BACK_OFF_S,
    say: Callable[[str], object] = lambda _: None,
) -> list[Outcome]:
    """Take away what the ladder lets go of a table, on an autocommit connection of its owner.

    Each month is done by itself: one that others are at is left to the next run, and the audit says so. Raises
    RetryableError(SOURCE_BUSY) where another run is at the table.
    """
    at = clock(connection)
    as_of = now or at
    # what is done is told in the audit, in the same transaction
    for when in (at, at.replace(day=1) + timedelta(days=32)):
        ensure_month(connection, "audit.audit_logs", when)
    found = []
    with what_stays.alone(connection, table):
        for month in what_stays.months(connection, table):
            outcome = _done(connection, month, as_of, run_id, back_off_s)
            if outcome.state != "untouched":
                say(in_words(outcome))
            found.append(outcome)
        unwatch(connection, table)
    return found


def _done(
    connection: Connection, month: Month, as_of: datetime, run_id: str | None, back_off_s: Sequence[float]
) -> Outcome:
    with what_stays.looking(connection):
        due = what_stays.is_due(connection, month, as_of)
    told = {} if run_id is None else {"run": run_id}
    if due:
        try:
            done = cut(connection, month, as_of, told, back_off_s=back_off_s)
        except MonthBusyError as busy:
            counts = _as_it_is(connection, month)
            details = {**told, "table": month.table, "month": month.name, "why": str(busy)}
            with connection.transaction():
                audit.record(
                    connection, None, audit.Entry("retention.apply", "left", "failed", "retention", details=details)
                )
            return Outcome(month.table, month.name, "left", counts, why=str(busy))
        if done.counts.changes:
            return Outcome(month.table, month.name, "dropped" if done.gone else "cut", done.counts, done.late)
    return Outcome(month.table, month.name, "untouched", _as_it_is(connection, month))


def _as_it_is(connection: Connection, month: Month) -> Counts:
    rows = what_stays.size(connection, month)
    return Counts(rows, rows)


def in_words(outcome: Outcome) -> str:
    """Return a line about one month."""
    counts = outcome.counts
    said = {
        "untouched": "stays as it is",
        "cut": f"{counts.kept} rows kept, {counts.thinned} without raw data, {counts.dropped} dropped",
        "dropped": f"dropped with its {counts.dropped} rows",
        "left": f"left to the next run: {outcome.why}",
    }
    late = f"; {outcome.late} rows came meanwhile and are there" if outcome.late else ""
    return f"{outcome.table} {outcome.month}: {said[outcome.state]}{late}"


def totals(found: Iterable[Outcome]) -> dict[str, int]:
    """Return counts under the same names every time."""
    every: Sequence[Outcome] = list(found)
    return {
        "months": len(every),
        "months_cut": sum(one.state == "cut" for one in every),
        "months_dropped": sum(one.state == "dropped" for one in every),
        "months_left": sum(one.state == "left" for one in every),
        "rows_before": sum(one.counts.before for one in every),
        "rows_kept": sum(one.counts.kept for one in every),
        "rows_thinned": sum(one.counts.thinned for one in every),
        "rows_dropped": sum(one.counts.dropped for one in every),
        "rows_late": sum(one.late for one in every),
    }


def document(found: Sequence[Outcome]) -> dict[str, Any]:
    """Return totals and months, for JSON."""
    return {
        "totals": totals(found),
        "months": [
            {"month": one.month, "state": one.state, **asdict(one.counts), "late": one.late, "why": one.why}
            for one in found
        ],
    }
