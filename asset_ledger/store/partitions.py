"""Monthly partitions of the tables that grow with days. Whoever writes a day makes its month first.

The ledger's tables are cut by collected date and made by their owner; those of the HTTP service by instant, and made
by a function of the owner's, since the service owns nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from psycopg import sql

from asset_ledger.store.database import Connection, clock

PARTITIONED = (
    "asset_observations",
    "asset_daily_specs",
    "asset_daily_ips",
    "instance_daily_specs",
    "sync_target_records",
)


def partition(table: str, day: date) -> str:
    """Return the name of the partition that has a day of a table."""
    return f"{table}_y{day.year}m{day.month:02}"


def ensure_months(connection: Connection, days: Iterable[date]) -> None:
    """Make the partitions of every table for the months of `days`, if they are not there yet.

    Writers of the same new month are put in order by an advisory lock, which ends with their transaction.
    """
    for month in sorted({day.replace(day=1) for day in days}):
        wanted = [partition(table, month) for table in PARTITIONED]
        there = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'ledger'::regnamespace AND relname = ANY(%s)", [wanted]
        ).fetchone()
        if there == (len(wanted),):
            continue
        following = date(month.year + month.month // 12, month.month % 12 + 1, 1)
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('asset_ledger.partitions'))")
            for table in PARTITIONED:
                connection.execute(
                    sql.SQL(
                        "CREATE TABLE IF NOT EXISTS ledger.{} PARTITION OF ledger.{} FOR VALUES FROM ({}) TO ({})"
                    ).format(
                        sql.Identifier(partition(table, month)),
                        sql.Identifier(table),
                        sql.Literal(month),
                        sql.Literal(following),
                    )
                )


ServiceTable = Literal["audit.audit_logs", "iac.resource_events", "agent.inventory_history"]


def ensure_month(connection: Connection, table: ServiceTable, at: datetime) -> bool:
    """Make the partition for an instant's month (UTC) of a table of the service; False where it is there already."""
    row = connection.execute("SELECT audit.make_month(%s, %s)", [table, at.astimezone(UTC).date()]).fetchone()
    return row == (True,)


_RECENT = timedelta(days=60)


class Months:
    """The months of a table of which this process knows that their partition stands: a look each time would cost."""

    def __init__(self, table: ServiceTable) -> None:
        self._table: ServiceTable = table
        self._known: set[tuple[str, int, str, int, int]] = set()

    def demand(self, connection: Connection, at: datetime) -> None:
        """Make the partition for an instant's month (UTC), unless it is known to be there."""
        day = at.astimezone(UTC)
        # what was made just now goes again if this transaction comes to nothing; an old month may go by retention
        if self._knows(connection, day) or ensure_month(connection, self._table, at):
            return
        if datetime.now(UTC) - day < _RECENT:
            self._known.add(_key(connection, day))

    def demand_now(self, connection: Connection) -> None:
        """Make this month's partition and, so that a month's turn finds it standing, the next one's."""
        now = datetime.now(UTC)
        if self._knows(connection, now):
            return
        # rows are stamped by the server's clock, which may be in another month than this one's
        at = clock(connection)
        made = ensure_month(connection, self._table, at)
        made |= ensure_month(connection, self._table, at.replace(day=1) + timedelta(days=32))
        if not made:
            self._known.add(_key(connection, now))

    def _knows(self, connection: Connection, day: datetime) -> bool:
        return _key(connection, day) in self._known


def _key(connection: Connection, day: datetime) -> tuple[str, int, str, int, int]:
    info = connection.info
    return info.host, info.port, info.dbname, day.year, day.month
