"""The tables that dbt makes, as seen from outside of it: who makes them now, what is there, how many rows they have.

What is in them is `dbt_models/`; who calls dbt is `pipeline.marts`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from asset_ledger.domain.calendar import LEDGER_TIMEZONE
from asset_ledger.domain.errors import MARTS_BUSY, RetryableError
from asset_ledger.domain.exports import DAY_MARTS
from asset_ledger.store.database import Connection, rows

SCHEMA = "marts"
STAGING = "marts_staging"
_LOCK = "asset_ledger.marts"


@dataclass(frozen=True, slots=True)
class Mart:
    """A mart as the database has it. `first_day` and `last_day` are None where it is not made by days, or is empty.

    `row_count` is the planner's estimate for one that is made by days, which may be long; exact otherwise.
    """

    name: str
    description: str | None
    by_days: bool
    row_count: int
    first_day: date | None
    last_day: date | None
    size_bytes: int


@contextmanager
def building(connection: Connection, *, wait_s: float = 0.0) -> Iterator[None]:
    """Be the only one who makes marts of this ledger, on whatever machine. A killed run gives it back.

    Raises RetryableError(MARTS_BUSY) if another does for longer than `wait_s` seconds.
    """
    deadline = time.monotonic() + wait_s
    while not _try_lock(connection):
        if time.monotonic() >= deadline:
            raise RetryableError(MARTS_BUSY, f"it did not end within {wait_s:.0f} s", target="marts")
        time.sleep(0.2)
    try:
        yield
    finally:
        if not connection.closed and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(hashtext(%s), 0)", [_LOCK])


def built_marts(connection: Connection) -> list[Mart]:
    """Return the marts that there are, by name."""
    found = rows(
        connection,
        """
        SELECT c.relname AS name, obj_description(c.oid, 'pg_class') AS description, c.reltuples::bigint AS estimate,
               pg_total_relation_size(c.oid) AS size_bytes,
               EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'collected_date'
                                                       AND NOT a.attisdropped) AS by_days
        FROM pg_class AS c
        WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind IN ('r', 'p', 'v', 'm') AND c.relname NOT LIKE '%%\\_\\_dbt\\_%%'
        ORDER BY c.relname
        """,
        [SCHEMA],
    )
    return [_mart(connection, **one) for one in found]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a mart, as the database has it."""

    name: str
    type: str
    description: str | None


def columns_of(connection: Connection, name: str) -> list[Column]:
    """Return the columns of a mart, in their order; none where there is no such mart."""
    found = rows(
        connection,
        """
        SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
               col_description(a.attrelid, a.attnum) AS description
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
        WHERE c.relnamespace = to_regnamespace(%s) AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum
        """,
        [SCHEMA, name],
    )
    return [Column(**one) for one in found]


def days_lacking(connection: Connection, today: date, *, patience: timedelta) -> list[date]:
    """Return the days from the first reading's to today whose marts lack something, in order.

    They were not made, or a mart is no more, or something came of the day since: a reading, one that failed, a
    decision. What came less than `patience` ago does not count, but where nothing was made yet: what follows a reading
    by itself is about to.
    """
    found = connection.execute(
        """
        WITH made AS (
            SELECT collected_date, built_at FROM marts_staging.built_days
            WHERE NOT EXISTS (SELECT FROM unnest(%(marts)s::text[]) AS m WHERE to_regclass(m) IS NULL)),
        came AS (
            SELECT i.collected_date, greatest(i.recorded_at, i.derived_at) AS at FROM ledger.inventories AS i
            UNION ALL
            SELECT r.collected_date, r.started_at + make_interval(secs => r.duration_ms / 1000.0)
            FROM ledger.sync_target_records AS r
            WHERE r.inventory_id IS NULL AND r.collected_date >= %(today)s - 3 AND r.mode LIKE 'collect%%'
            UNION ALL
            SELECT (d.decided_at AT TIME ZONE %(zone)s)::date, d.decided_at FROM ledger.decisions AS d),
        newest AS (
            SELECT collected_date, max(at) AS at FROM came
            WHERE at < clock_timestamp() - CASE WHEN EXISTS (SELECT FROM made) THEN %(patience)s ELSE interval '0' END
            GROUP BY collected_date)
        SELECT d.day::date
        FROM generate_series(
            (SELECT min(collected_date) FROM ledger.inventories WHERE status = 'derived')::timestamp, %(today)s::timestamp,
            interval '1 day') AS d (day)
        LEFT JOIN made AS m ON m.collected_date = d.day::date
        LEFT JOIN newest AS n ON n.collected_date = d.day::date
        WHERE m.collected_date IS NULL OR n.at > m.built_at
        ORDER BY 1
        """,
        {
            "today": today,
            "patience": patience,
            "zone": LEDGER_TIMEZONE,
            "marts": [f"{SCHEMA}.{mart}" for mart in sorted(DAY_MARTS)],
        },
    ).fetchall()
    return [day for (day,) in found]


def note_days_built(connection: Connection, days: tuple[date, date], models: str, began_at: datetime) -> None:
    """Note that every mart of these days was made, of what there was at an instant."""
    connection.execute(
        """
        INSERT INTO marts_staging.built_days AS b (collected_date, built_at, models)
        SELECT d.day::date, %s, %s FROM generate_series(%s::timestamp, %s::timestamp, interval '1 day') AS d (day)
        ON CONFLICT (collected_date) DO UPDATE SET built_at = excluded.built_at, models = excluded.models
        """,
        [began_at, models, *days],
    )


def days_made_of(connection: Connection) -> str | None:
    """Return the digest of the models that marts of days were last made of, all of them; None before that."""
    row = connection.execute(
        "SELECT models FROM marts_staging.built_days ORDER BY built_at DESC, collected_date DESC LIMIT 1"
    ).fetchone()
    return None if row is None else row[0]


def built_range(connection: Connection) -> tuple[date, date] | None:
    """Return the first and the last day that any mart has; None where none has one."""
    found = [(one.first_day, one.last_day) for one in built_marts(connection) if one.first_day and one.last_day]
    return (min(first for first, _ in found), max(last for _, last in found)) if found else None


def settled_before(connection: Connection) -> str:
    """Return the oldest transaction that is still at work, or the next: what came before it is there for good."""
    row = connection.execute("SELECT (pg_snapshot_xmin(pg_current_snapshot())::text::bigint & 4294967295)").fetchone()
    assert row is not None
    return f"{row[0]}"


def note_broken_days(connection: Connection, test: str, days: tuple[date, date], broken: Iterable[date]) -> None:
    """Note of which of some days, all of which a test has looked at, it found rows that should not be."""
    with connection.transaction():
        connection.execute(
            "DELETE FROM marts_staging.broken_days WHERE test = %s AND collected_date BETWEEN %s AND %s", [test, *days]
        )
        connection.execute(
            "INSERT INTO marts_staging.broken_days (test, collected_date) SELECT %s, d FROM unnest(%s::date[]) AS d",
            [test, sorted(broken)],
        )


def broken_days(connection: Connection, test: str) -> list[date]:
    """Return the days of which a test found rows that should not be, when it last looked at them; in order."""
    found = connection.execute(
        "SELECT collected_date FROM marts_staging.broken_days WHERE test = %s ORDER BY 1", [test]
    ).fetchall()
    return [day for (day,) in found]


def holders_of(connection: Connection, names: Sequence[str]) -> list[str]:
    """Return who holds these tables of the marts now, in words: the process, its program, what it is at and since when.

    What another role is at is told to those alone whom PostgreSQL tells it (`pg_read_all_stats`).
    """
    found = rows(
        connection,
        """
        SELECT DISTINCT l.pid, nullif(a.application_name, '') AS program, a.usename AS role, a.state, a.xact_start
        FROM pg_locks AS l
        JOIN pg_class AS c ON c.oid = l.relation AND c.relnamespace = to_regnamespace(%s) AND c.relname = ANY(%s)
        JOIN pg_stat_activity AS a ON a.pid = l.pid
        WHERE l.granted AND l.locktype = 'relation' AND l.pid <> pg_backend_pid()
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        ORDER BY a.xact_start NULLS LAST, l.pid
        LIMIT 5
        """,
        [SCHEMA, [each for name in names for each in (name, f"{name}__dbt_backup")]],
    )
    return [
        f"process {one['pid']} ({one['program'] or 'a program without a name'} of {one['role']}"
        + (f", {one['state']}" if one["state"] else "")
        + (f" since {one['xact_start'].astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if one["xact_start"] else "")
        + ")"
        for one in found
    ]


def row_counts(
    connection: Connection, schema: str, name: str, days: tuple[date, date] | None
) -> dict[date | None, int]:
    """Return how many rows each of the days has, those without a row too; or all rows, under None, where none is named."""
    table = sql.Identifier(schema, name)
    if days is None:
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
        assert row is not None
        return {None: int(row[0])}
    query = """
        SELECT d.day::date, count(t.collected_date)
        FROM generate_series(%s::timestamp, %s::timestamp, interval '1 day') AS d (day)
        LEFT JOIN {} AS t ON t.collected_date = d.day::date AND t.collected_date BETWEEN %s AND %s
        GROUP BY 1 ORDER BY 1
        """
    return dict(connection.execute(sql.SQL(query).format(table), [*days, *days]).fetchall())


@dataclass(frozen=True, slots=True)
class Broken:
    """What a test found: its first rows, and the days of all of them; none where its rows say no day."""

    rows: list[dict[str, Any]]
    days: list[date]


def broken_rows(connection: Connection, query: str, most: int) -> Broken:
    """Return what a test finds. Nothing where it cannot be looked at any more: it has told how many rows there are."""
    asked = query.encode()
    try:
        with connection.transaction():
            connection.execute("SET LOCAL app.marts = 'on'")
            # json and not jsonb: columns in their order
            found = connection.execute(
                b"SELECT row_to_json(found) FROM (" + asked + f"\n) AS found LIMIT {most:d}".encode()
            ).fetchall()
            days = connection.execute(
                b"SELECT DISTINCT (row_to_json(found) ->> 'collected_date')::date FROM ("
                + asked
                + b"\n) AS found ORDER BY 1"
            ).fetchall()
    except psycopg.Error:  # made anew, or held, since dbt looked
        return Broken([], [])
    return Broken([row for (row,) in found], [day for (day,) in days if day is not None])


def views_made_of(connection: Connection) -> str | None:
    """Return the digest of the models that the staging views were last made of, all of them; None before that."""
    row = connection.execute(
        "SELECT substring(obj_description(to_regnamespace(%s), 'pg_namespace') FROM 'Of models ([0-9a-f]+)')", [STAGING]
    ).fetchone()
    return None if row is None else row[0]


def note_views_made_of(connection: Connection, digest: str) -> None:
    """Note that every staging view is the one that these models say."""
    comment = f"The ledger's tables as the marts read them: views made by dbt. Of models {digest}."
    connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(STAGING), sql.Literal(comment)))


def _try_lock(connection: Connection) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(hashtext(%s), 0)", [_LOCK]).fetchone()
    return row is not None and bool(row[0])


def _mart(
    connection: Connection, *, name: str, description: str | None, estimate: int, size_bytes: int, by_days: bool
) -> Mart:
    table = sql.Identifier(SCHEMA, name)
    if not by_days:
        return Mart(name, description, False, row_counts(connection, SCHEMA, name, None)[None], None, None, size_bytes)
    row = connection.execute(
        sql.SQL("SELECT min(collected_date), max(collected_date) FROM {}").format(table)
    ).fetchone()
    assert row is not None
    if estimate < 0:  # never analysed
        estimate = row_counts(connection, SCHEMA, name, None)[None]
    return Mart(name, description, True, estimate, row[0], row[1], size_bytes)
