"""Monthly partitions of the tables that grow with days. Whoever writes a day makes its month first.

The ledger's tables are cut by collected date and made by their owner; the two of the HTTP service by instant, and made
by a function of the owner's, since the service owns nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Literal

from psycopg import sql

from asset_ledger.store.database import Connection

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


def ensure_month(
    connection: Connection, table: Literal["audit.audit_logs", "iac.resource_events"], at: datetime
) -> bool:
    """Make the partition for an instant's month (UTC) of a table of the service; False where it is there already."""
    row = connection.execute("SELECT audit.make_month(%s, %s)", [table, at.astimezone(UTC).date()]).fetchone()
    return row == (True,)
