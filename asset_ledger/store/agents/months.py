"""A month of a table exchanged for a copy that lacks what goes, while others write: `cut`.

The copy, its indexes and the exchange are one transaction, so that nothing is left of a run that is killed but a trigger
on the month that it was at; the next run finds that. Rows that are written to the month meanwhile (a late report) are noted by
that trigger and taken over as they are. Others wait for the exchange alone, at most LOCK_TIMEOUT_S.
What stays says `store.agents.retention`. Called by `pipeline.retention`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from asset_ledger.store.agents.retention import HISTORY, LOOKING, Counts, Month, TableName, ladder, size
from asset_ledger.store.database import Connection

LOCK_TIMEOUT_S = 1.0
"""The longest that anybody else waits for an exchange: half of it for the lock, the rest for the work under it.
PostgreSQL looks for deadlocks after a second: who waits for a lock must have given up before that, or the other is ended."""
BACK_OFF_S = (0.25, 0.5, 1.0, 2.0, 4.0)
"""How long is waited before the lock is asked for again; after the last the month is left to the next run."""
SETTLED_BYTES = 8 * 2**20
SETTLED_WITHIN_S = 10.0
"""The server writes its log by itself several times a second; on one that others write to without end nobody waits."""
_TRIGGER = sql.Identifier("retention_watch")
_GIVEN_UP = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected)


class MonthBusyError(Exception):
    """Others were at the month, or its table, each time that the lock was asked for. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What became of a month. `late` rows came while it was copied, and are all there. `gone`: the month was dropped."""

    counts: Counts
    late: int = 0
    gone: bool = False


def cut(
    connection: Connection,
    month: Month,
    now: datetime,
    told: Mapping[str, Any],
    *,
    back_off_s: Sequence[float] = BACK_OFF_S,
) -> Cut:
    """Take away what goes of a month as of `now`; `told` is written to the audit with the counts.

    For an autocommit connection of the owner, inside `retention.alone`. Raises MonthBusyError.
    """
    _watch(connection, month, back_off_s)
    connection.execute("BEGIN")
    try:
        connection.execute(LOOKING)
        # first of all: whatever is noted by now is in what is read next
        connection.execute("DELETE FROM audit.late_rows WHERE part = %s::regclass", [_text(connection, month)])
        fresh, counts = _copy(connection, month, now)
        if not counts.changes:
            connection.execute("ROLLBACK")
            return Cut(counts)
        late = _exchange(connection, month, fresh, {**told, **_details(month, counts)}, back_off_s)
    except BaseException:
        if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
            with suppress(psycopg.OperationalError):
                connection.execute("ROLLBACK")
        raise
    return Cut(counts, late, gone=fresh is None)


def unwatch(connection: Connection, table: TableName) -> None:
    """Take away what runs left behind that were killed, or gave a month up. What is in use stays for the next time."""
    left = connection.execute(
        """
        SELECT t.tgrelid::regclass::text
        FROM pg_trigger AS t JOIN pg_inherits AS i ON i.inhrelid = t.tgrelid
        WHERE t.tgname = 'retention_watch' AND i.inhparent = %s::regclass
        """,
        [table],
    ).fetchall()
    for (name,) in left:
        statement = sql.SQL("DROP TRIGGER {} ON {}").format(_TRIGGER, sql.SQL(name))
        with suppress(*_GIVEN_UP), connection.transaction():
            _hurry(connection)
            connection.execute(statement)
    connection.execute(
        "DELETE FROM audit.late_rows AS l WHERE NOT EXISTS"
        " (SELECT FROM pg_trigger AS t WHERE t.tgrelid = l.part AND t.tgname = 'retention_watch')"
    )


def _watch(connection: Connection, month: Month, back_off_s: Sequence[float]) -> None:
    """Let what is written to a month from now on be noted."""
    statement = sql.SQL(
        "CREATE OR REPLACE TRIGGER {} AFTER INSERT OR UPDATE OR DELETE ON {}"
        " FOR EACH ROW EXECUTE FUNCTION audit.note_late_row({})"
    ).format(_TRIGGER, month.identifier, sql.Literal(month.moment))
    for wait_s in (*back_off_s, None):
        try:
            with connection.transaction():
                _hurry(connection)
                connection.execute(statement)
            return
        except _GIVEN_UP:
            if wait_s is None:
                raise MonthBusyError(f"somebody writes to {month.partition}") from None
            time.sleep(wait_s)


def _copy(connection: Connection, month: Month, now: datetime) -> tuple[sql.Identifier | None, Counts]:
    """Make a table of what stays, which is like the month in everything; return its name, or None where nothing stays."""
    fresh = sql.Identifier(month.table.partition(".")[0], f"{month.partition}_staying")
    # a vacuum of its own must not be in the way when it takes its place
    connection.execute(
        sql.SQL(
            "CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE"
            " INCLUDING COMPRESSION) WITH (autovacuum_enabled = false)"
        ).format(fresh, sql.SQL(month.table))
    )
    columns = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' ORDER BY attnum",
        [month.table],
    ).fetchall()
    names = [name for (name,) in columns]
    before = size(connection, month)
    found = ladder(month, now)
    values = {"raw_data": sql.SQL("CASE WHEN {} THEN m.raw_data END").format(found.whole)}
    stayed = connection.execute(
        sql.SQL("INSERT INTO {fresh} ({names}) {edges} SELECT {values} FROM ONLY {month} AS m WHERE {stays}").format(
            fresh=fresh,
            names=sql.SQL(", ").join(map(sql.Identifier, names)),
            edges=found.edges,
            values=sql.SQL(", ").join(values.get(name, sql.Identifier("m", name)) for name in names),
            month=month.identifier,
            stays=found.stays,
        )
    ).rowcount
    if not stayed:
        connection.execute(sql.SQL("DROP TABLE {}").format(fresh))
        return None, Counts(before, dropped=before)
    _make_alike(connection, month, fresh)
    thinned = _thinned(connection, month, fresh) if month.table == HISTORY else 0
    return fresh, Counts(before, stayed - thinned, thinned, before - stayed)


def _thinned(connection: Connection, month: Month, fresh: sql.Identifier) -> int:
    """Return how many rows of the copy had raw_data in the month and have it no more."""
    row = connection.execute(
        sql.SQL(
            "SELECT count(*) FROM {} AS f JOIN ONLY {} AS m USING (collected_at, id)"
            " WHERE f.raw_data IS NULL AND m.raw_data IS NOT NULL"
        ).format(fresh, month.identifier)
    ).fetchone()
    assert row is not None
    return int(row[0])


def _make_alike(connection: Connection, month: Month, fresh: sql.Identifier) -> None:
    """Give the copy the owner, rights, policies' switches and indexes of the month, and a proof that it is that month."""
    old, new = _text(connection, month), fresh.as_string(connection)
    # each row is a statement
    made = connection.execute(
        """
        WITH it AS (SELECT c.*, %(new)s::text AS new, c.oid::regclass AS old FROM pg_class AS c WHERE c.oid = %(old)s::regclass)
        SELECT format('ALTER TABLE %%s OWNER TO %%I', new, pg_get_userbyid(relowner)) FROM it
        WHERE pg_get_userbyid(relowner) <> current_user
        UNION ALL
        SELECT format('ALTER TABLE %%s ENABLE ROW LEVEL SECURITY', new) FROM it WHERE relrowsecurity
        UNION ALL
        SELECT format('ALTER TABLE %%s FORCE ROW LEVEL SECURITY', new) FROM it WHERE relforcerowsecurity
        UNION ALL
        SELECT format('GRANT %%s ON %%s TO %%s', a.privilege_type, new,
                      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
               || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
        FROM it CROSS JOIN aclexplode(relacl) AS a WHERE a.grantee <> relowner
        UNION ALL
        SELECT CASE WHEN i.constraint_is IS NOT NULL THEN format('ALTER TABLE %%s ADD %%s', new, i.constraint_is)
                    ELSE format('CREATE %%sINDEX ON %%s', CASE WHEN i.is_unique THEN 'UNIQUE ' END, new)
                         || substring(i.does FROM ' USING .*$') END
        FROM it CROSS JOIN audit.indexes_of(old) AS i
        UNION ALL
        SELECT format('ALTER TABLE %%s ADD CONSTRAINT in_its_month CHECK (%%I IS NOT NULL AND %%I >= %%L AND %%I < %%L)',
                      new, %(moment)s::text, %(moment)s::text, %(lower)s::timestamptz, %(moment)s::text, %(upper)s::timestamptz)
        FROM it
        """,
        {"old": old, "new": new, "moment": month.moment, "lower": month.lower, "upper": month.upper},
    ).fetchall()
    for (statement,) in made:
        connection.execute(statement)
    connection.execute(sql.SQL("ANALYZE {}").format(fresh))


def _exchange(
    connection: Connection,
    month: Month,
    fresh: sql.Identifier | None,
    details: Mapping[str, Any],
    back_off_s: Sequence[float],
) -> int:
    """Put the copy in the month's place and commit; return how many rows came meanwhile.

    Exchange and commit are one message: nothing of ours is waited for while others wait for the table.
    """
    name = None if fresh is None else fresh.as_string(connection)
    statement = sql.SQL("SELECT audit.exchange_month({}, {}, {}, {}, {}); COMMIT").format(
        *(
            sql.Literal(each)
            for each in (month.table, month.moment, _text(connection, month), name, Jsonb(dict(details)))
        )
    )
    _settle(connection)
    _hurry(connection)
    for wait_s in (*back_off_s, None):
        connection.execute("SAVEPOINT copied")
        try:
            row = connection.execute(statement).fetchone()
            assert row is not None
            return int(row[0])
        except psycopg.errors.ObjectInUse as came:  # to a month of which nothing was to stay
            raise MonthBusyError(came.diag.message_primary) from None
        except _GIVEN_UP:
            if connection.info.transaction_status != TransactionStatus.INERROR:
                raise
            connection.execute("ROLLBACK TO SAVEPOINT copied")
            if wait_s is None:
                raise MonthBusyError(f"{month.table} was in use each time") from None
            time.sleep(wait_s)
    raise AssertionError("the last try returns or raises")


def _settle(connection: Connection) -> None:
    """Wait until the log of the copy is on disk but for little: the commit waits for the rest with the lock in hand."""
    end = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < end:
        row = connection.execute(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn())"
        ).fetchone()
        if row is None or row[0] < SETTLED_BYTES:
            return
        time.sleep(0.05)


def _hurry(connection: Connection) -> None:
    """Bound what follows in the transaction: for a lock half the time is waited that others may wait for us."""
    connection.execute(
        "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
        [f"{LOCK_TIMEOUT_S * 500:.0f}ms", f"{LOCK_TIMEOUT_S * 1000:.0f}ms"],
    )


def _details(month: Month, counts: Counts) -> dict[str, Any]:
    return {
        "table": month.table,
        "month": month.name,
        "before": counts.before,
        "kept": counts.kept,
        "thinned": counts.thinned,
        "dropped": counts.dropped,
    }


def _text(connection: Connection, month: Month) -> str:
    return month.identifier.as_string(connection)
