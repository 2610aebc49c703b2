"""A digest of every table of a ledger at one instant, so that two ledgers can be told to be the same.

Made for rehearsing a restore: the instant can be given a name in the WAL, to which a copy is then recovered. Called by
`asset-ledger db digests`.
"""

# ruff: noqa: S608 - table and column names are those of the schema
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
from psycopg import sql

from asset_ledger.domain.errors import DATABASE_UNAVAILABLE, PermanentError, RetryableError
from asset_ledger.store.database import Connection, connect, public

_SCHEMAS = ["ledger", "iac", "agent", "audit"]
# what PostgreSQL's own checksums and the backup's manifest stand for, and is most of the bytes of a ledger
_BODIES = {"ledger.asset_observations": ("body", "payload")}
WAIT = "30s"


def digests(url: str, *, mark: str | None = None, bodies: bool = False) -> dict[str, str]:
    """Return rows and digest of every table, all of one instant, by name. `bodies`: of raw readings too.

    With `mark` that instant becomes a restore point of this name. Writers are waited for, and wait themselves while the
    point is made, not while digests are. Raises PermanentError for a login that row-level security hides rows from, or
    that may not make restore points; RetryableError where writers did not come to an end.
    """
    name = "asset_ledger digests"
    with connect(url, application_name=name) as one, connect(url, application_name=name) as reader, _named(url):
        with one.transaction():
            one.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if mark is not None:
                one.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(WAIT)))
                # a lock takes no snapshot: it is made when nobody writes any more
                listed = sql.SQL(", ").join(sql.Identifier(*each.split(".")) for each in _tables(reader))
                one.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(listed))
                one.execute("SELECT pg_create_restore_point(%s)", [mark])
            snapshot = one.execute("SELECT pg_export_snapshot()").fetchone()
            assert snapshot is not None
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            reader.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot[0])))
            # a table that hides rows is to be an error, not a shorter table
            reader.execute("SET LOCAL row_security = off")
        return {table: _digest(reader, table, bodies=bodies) for table in _tables(reader)}


def differing(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Return the tables that two ledgers do not have alike, sorted."""
    return sorted(table for table in here.keys() | there.keys() if here.get(table) != there.get(table))


@contextmanager
def _named(url: str) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        said = error.diag.message_primary or "it may not"
        raise PermanentError(
            DATABASE_UNAVAILABLE, f"this login does not do for it: {said}; take a superuser's", target=public(url)
        ) from None
    except (psycopg.errors.LockNotAvailable, psycopg.OperationalError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RetryableError(DATABASE_UNAVAILABLE, said, target=public(url)) from None


def _tables(connection: Connection) -> list[str]:
    found = connection.execute(
        """
        SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND c.relpersistence = 'p'  -- what is not in the WAL is in no backup
        ORDER BY 1
        """,
        [_SCHEMAS],
    )
    return [row[0] for row in found]


def _digest(connection: Connection, table: str, *, bodies: bool) -> str:
    left_out = () if bodies else _BODIES.get(table, ())
    found = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [table],
    )
    columns = ", ".join(f't."{row[0]}"' for row in found if row[0] not in left_out)
    # a sum does not hang on the order of rows, and counts equal ones
    row = connection.execute(
        f"SELECT count(*), coalesce(sum(hashtextextended(ROW({columns})::text, 0)::numeric), 0) FROM {table} t"
    ).fetchone()
    assert row is not None
    return f"{row[0]} rows, {int(row[1]) & (2**64 - 1):016x}"
