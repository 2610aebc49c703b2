"""Which rows of a month stay, said in SQL: the ladder of `domain.agents.retention` over all clients, and the audit's.

A month of which a row goes, or becomes thinner, is copied without it and exchanged by `store.agents.months`; one whose
rows all stay is only looked at. Reads partitions by themselves, as their owner. Called by `pipeline.retention`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal

from psycopg import sql

from asset_ledger.domain.agents.retention import AUDIT_DAYS, HISTORY_DAYS, MONTHLY_DAYS
from asset_ledger.domain.errors import SOURCE_BUSY, RetryableError
from asset_ledger.store.database import Connection

TableName = Literal["agent.inventory_history", "audit.audit_logs"]
HISTORY: TableName = "agent.inventory_history"
AUDIT: TableName = "audit.audit_logs"
TABLES: tuple[TableName, ...] = (HISTORY, AUDIT)
MOMENTS = {HISTORY: "collected_at", AUDIT: "created_at"}
"""By which column a table is cut into months."""


@dataclass(frozen=True, slots=True)
class Month:
    """A monthly partition, from `lower` to before `upper`."""

    table: TableName
    partition: str
    lower: datetime
    upper: datetime

    @property
    def name(self) -> str:
        """The month as people write it: `2026-01`."""
        return f"{self.lower.astimezone(UTC):%Y-%m}"

    @property
    def moment(self) -> str:
        """The column that says when a row was."""
        return MOMENTS[self.table]

    @property
    def identifier(self) -> sql.Identifier:
        """The partition, for a statement."""
        return sql.Identifier(self.table.partition(".")[0], self.partition)


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of a month: `before` = `kept` + `thinned` + `dropped`. Thinned are those that lose `raw_data` now."""

    before: int = 0
    kept: int = 0
    thinned: int = 0
    dropped: int = 0

    @property
    def changes(self) -> bool:
        """Whether anything is to be done about the month."""
        return self.thinned > 0 or self.dropped > 0


_BOUNDS = re.compile(r"FOR VALUES FROM \('([^']+)'\) TO \('([^']+)'\)")


def months(connection: Connection, table: TableName) -> list[Month]:
    """Return the monthly partitions of a table that stand, the oldest first."""
    found = connection.execute(
        """
        SELECT c.relname, pg_get_expr(c.relpartbound, c.oid)
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = %s::regclass
        """,
        [table],
    ).fetchall()
    every = []
    for name, bounds in found:
        if (match := _BOUNDS.fullmatch(bounds)) is not None:
            lower, upper = (datetime.fromisoformat(text) for text in match.groups())
            every.append(Month(table, name, lower, upper))
    return sorted(every, key=lambda month: month.lower)


def stays_whole(month: Month, now: datetime) -> bool:
    """Say whether every row of a month stays by its age alone."""
    return month.lower >= _days_before(now, HISTORY_DAYS if month.table == HISTORY else AUDIT_DAYS)


def count(connection: Connection, month: Month, now: datetime) -> Counts:
    """Return what retention as of `now` would make of a month, without doing it; inside `looking`."""
    if stays_whole(month, now):
        before = size(connection, month)
        return Counts(before, before)
    found = ladder(month, now)
    query = sql.SQL(
        "{edges} SELECT count(*), count(*) FILTER (WHERE {whole} OR ({stays} AND NOT {heavy})),"
        " count(*) FILTER (WHERE {stays} AND {heavy} AND NOT {whole}), count(*) FILTER (WHERE NOT {stays}) FROM ONLY {month} AS m"
    ).format(
        edges=found.edges,
        whole=found.whole,
        stays=found.stays,
        heavy=sql.SQL("m.raw_data IS NOT NULL" if month.table == HISTORY else "false"),
        month=month.identifier,
    )
    return Counts(*_one(connection, query))


def size(connection: Connection, month: Month) -> int:
    """Return how many rows a month has."""
    return _one(connection, sql.SQL("SELECT count(*) FROM ONLY {}").format(month.identifier))[0]


def is_due(connection: Connection, month: Month, now: datetime) -> bool:
    """Say whether any row of a month goes or becomes thinner; inside `looking`."""
    if stays_whole(month, now):
        return False
    if month.table == HISTORY and _is_plainly_due(connection, month, now):
        return True
    return count(connection, month, now).changes


def _is_plainly_due(connection: Connection, month: Month, now: datetime) -> bool:
    """Say whether an old snapshot stands between two rows of its client: it is no edge, and mostly found at once."""
    query = sql.SQL(
        """
        SELECT FROM ONLY {month} AS m
        WHERE m.collected_at < {since} AND m.change_type <@ ARRAY['periodic_snapshot']
          AND EXISTS (SELECT FROM ONLY {month} AS o WHERE o.tenant_id = m.tenant_id AND o.client_id = m.client_id
                      AND o.collected_at < m.collected_at OFFSET 0)
          AND EXISTS (SELECT FROM ONLY {month} AS o WHERE o.tenant_id = m.tenant_id AND o.client_id = m.client_id
                      AND o.collected_at > m.collected_at OFFSET 0)
        LIMIT 1
        """
    ).format(month=month.identifier, since=sql.Literal(_days_before(now, HISTORY_DAYS)))
    return connection.execute(query).fetchone() is not None


@dataclass(frozen=True, slots=True)
class Ladder:
    """Which rows `m` of a month stay, as conditions: `whole` as they are, `stays` at least without raw_data.

    `edges` is what a statement begins with that has them.
    """

    edges: sql.Composable
    whole: sql.Composable
    stays: sql.Composable


def ladder(month: Month, now: datetime) -> Ladder:
    """Return the conditions for a month as of `now`; for statements inside `looking`."""
    if month.table == AUDIT:
        stays = sql.SQL("(m.created_at >= {} OR starts_with(m.event_type, 'security.'))").format(
            sql.Literal(_days_before(now, AUDIT_DAYS))
        )
        return Ladder(sql.SQL(""), stays, stays)
    # not a join: the planner takes the edges for many, and would put the month, wide as it is, into the hash
    whole = sql.SQL("(m.collected_at >= {} OR (m.collected_at, m.id) IN (SELECT e.at, e.id FROM edges AS e))").format(
        sql.Literal(_days_before(now, HISTORY_DAYS))
    )
    stays = sql.SQL("({} OR NOT m.change_type <@ ARRAY['periodic_snapshot'])").format(whole)
    return Ladder(sql.SQL("WITH edges AS MATERIALIZED ({})").format(_edges(month, now)), whole, stays)


def _edges(month: Month, now: datetime) -> sql.Composed:
    """Return a query of the rows that stay whole for being a client's first of a month or quarter, or its last of all.

    The first of all is the first of its quarter. All that is asked for is in the index by client. Whether a client has
    rows in other months is looked up for its first and last row in this one; OFFSET keeps that a look into an index,
    where the planner might read those months whole.
    """
    quarter = month.lower.astimezone(UTC)
    quarter = quarter.replace(month=(quarter.month - 1) // 3 * 3 + 1)
    return sql.SQL(
        """
        WITH ends AS MATERIALIZED (
            SELECT tenant_id, client_id, min(collected_at) AS first_at, max(collected_at) AS last_at
            FROM ONLY {month} GROUP BY tenant_id, client_id)
        SELECT first_at AS at, (SELECT min(o.id) FROM ONLY {month} AS o
                                WHERE o.tenant_id = n.tenant_id AND o.client_id = n.client_id AND o.collected_at = first_at) AS id
        FROM ends AS n
        WHERE first_at >= {monthly} OR NOT EXISTS (
            SELECT FROM agent.inventory_history AS o
            WHERE o.tenant_id = n.tenant_id AND o.client_id = n.client_id
              AND o.collected_at >= {quarter} AND o.collected_at < {lower} OFFSET 0)
        UNION ALL
        SELECT last_at, (SELECT max(o.id) FROM ONLY {month} AS o
                         WHERE o.tenant_id = n.tenant_id AND o.client_id = n.client_id AND o.collected_at = last_at)
        FROM ends AS n
        WHERE NOT EXISTS (
            SELECT FROM agent.inventory_history AS o
            WHERE o.tenant_id = n.tenant_id AND o.client_id = n.client_id AND o.collected_at >= {upper} OFFSET 0)
        """
    ).format(
        month=month.identifier,
        monthly=sql.Literal(_days_before(now, MONTHLY_DAYS)),
        quarter=sql.Literal(quarter),
        lower=sql.Literal(month.lower),
        upper=sql.Literal(month.upper),
    )


@contextmanager
def looking(connection: Connection) -> Iterator[None]:
    """Open a transaction of the owner that sees whether a client of any tenant has rows in another month."""
    with connection.transaction():
        connection.execute(LOOKING)
        yield


LOOKING = "SELECT set_config('app.retention', 'on', true), set_config('jit', 'off', true), set_config('work_mem', '64MB', true)"


@contextmanager
def alone(connection: Connection, table: TableName) -> Iterator[None]:
    """Hold the retention of a table; a killed run gives it back, for the lock belongs to the connection.

    Raises RetryableError(SOURCE_BUSY) where another run has it.
    """
    key = "hashtext('asset_ledger.retention'), hashtext(%s)"
    if connection.execute(f"SELECT pg_try_advisory_lock({key})", [table]).fetchone() != (True,):
        raise RetryableError(SOURCE_BUSY, "another run is at its retention", target=table)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute(f"SELECT pg_advisory_unlock({key})", [table])


def _days_before(now: datetime, days: int) -> datetime:
    """Return the beginning of the day in UTC that was so many days ago: within a day nothing ages."""
    return datetime.combine(now.astimezone(UTC), time(), UTC) - timedelta(days=days)


def _one(connection: Connection, query: sql.Composed) -> tuple[int, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row
