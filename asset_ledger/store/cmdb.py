"""A CMDB's table beside the ledger: the view `ledger.cmdb_assets`, made over a table that is already there.

The table is a foreign one, or any other; how it came there is its administrator's business (docs/cmdb.md), and so is
the password. The view is the whole of it: what it was made of stands in its comment. Called by the command line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import psycopg
from psycopg import sql

from asset_ledger.domain.errors import (
    CMDB_NOT_LINKED,
    CONFIG_INVALID,
    DATABASE_UNAVAILABLE,
    PermanentError,
    RetryableError,
)
from asset_ledger.store.cmdb_query import Rule, query
from asset_ledger.store.database import Connection, rows

Side = Literal["both", "only_ledger", "only_cmdb"]
SIDES: tuple[Side, ...] = get_args(Side)


_VIEW = """
-- An address in the one way that PostgreSQL writes it; what is none stays as it is.
CREATE OR REPLACE FUNCTION ledger.cmdb_address(word text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF strpos(word, ':') > 0 OR word ~ '^[0-9]+(\\.[0-9]+){{3}}$' THEN
        RETURN host(word::inet);
    END IF;
    RETURN word;
EXCEPTION WHEN invalid_text_representation THEN
    RETURN word;
END
$$;
REVOKE ALL ON FUNCTION ledger.cmdb_address FROM PUBLIC;
-- A function, for a view has no settings: nobody can tell beforehand how many machines meet how many CIs, and where
-- few are expected they are looked through one by one. It works as its owner, whose user mapping the CMDB knows.
CREATE OR REPLACE FUNCTION ledger.cmdb_joined() RETURNS TABLE (
    side text, rule text, asset_id uuid, hostname text, mgmt_ip inet, asset_type text, platform_type text,
    power_state text, missing_since timestamptz, ci_key text, ci jsonb, others text[]
) LANGUAGE sql STABLE SECURITY DEFINER SET enable_nestloop = off SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
{};
END;
REVOKE ALL ON FUNCTION ledger.cmdb_joined FROM PUBLIC;
CREATE OR REPLACE VIEW ledger.cmdb_assets AS SELECT * FROM ledger.cmdb_joined();
"""


@dataclass(frozen=True, slots=True)
class Link:
    """Which table is the CMDB, which column names a CI there, and by which columns machines are found, the surest
    first. `show` are more columns that people want to see."""

    table: str
    key: str
    match: tuple[tuple[Rule, str], ...]
    show: tuple[str, ...] = ()


def link(connection: Connection, wanted: Link) -> None:
    """Make the view, in place of the one before. Raises PermanentError for a table or column that is not there, and
    for a key that does not name each CI once."""
    table = _table(wanted.table)
    with connection.transaction(), _telling(wanted.table):
        _demand_columns(connection, wanted)
        _demand_key(connection, wanted, table)
        # its columns are always the same: whatever stands on it stays
        connection.execute(sql.SQL(_VIEW).format(query(wanted.key, wanted.match, wanted.show, table)))
        connection.execute(
            sql.SQL("COMMENT ON VIEW ledger.cmdb_assets IS {}").format(sql.Literal(json.dumps(asdict(wanted))))
        )


def linked(connection: Connection) -> Link | None:
    """Return what the view was made of; None where there is none."""
    row = connection.execute("SELECT obj_description(to_regclass('ledger.cmdb_assets'), 'pg_class')").fetchone()
    if row is None or row[0] is None:
        return None
    said: dict[str, Any] = json.loads(row[0])
    match = tuple((rule, column) for rule, column in said["match"])
    return Link(said["table"], said["key"], match, tuple(said["show"]))


def unlink(connection: Connection) -> bool:
    """Drop the view; return False where there was none. Raises PermanentError where somebody's view stands on it."""
    with _telling("ledger.cmdb_assets"):
        there = connection.execute("SELECT to_regclass('ledger.cmdb_assets') IS NOT NULL").fetchone() == (True,)
        connection.execute(
            "DROP VIEW IF EXISTS ledger.cmdb_assets; DROP FUNCTION IF EXISTS ledger.cmdb_joined;"
            " DROP FUNCTION IF EXISTS ledger.cmdb_address"
        )
    return there


def counts(connection: Connection) -> dict[str, int]:
    """Return how many machines and CIs are on each side, and how many of all are `unsure`: they met several."""
    with _telling(_named(connection).table):
        found = connection.execute(
            "SELECT side, count(*), count(*) FILTER (WHERE rule IS NULL AND others <> '{}') FROM ledger.cmdb_assets GROUP BY side"
        ).fetchall()
    by_side = {side: number for side, number, _ in found}
    return {**{side: by_side.get(side, 0) for side in SIDES}, "unsure": sum(unsure for _, _, unsure in found)}


def listed(connection: Connection, *, side: str | None = None, limit: int) -> list[dict[str, Any]]:
    """Return rows of the view by hostname and key: of one side, or with `unsure` those that met several and were not
    joined."""
    with _telling(_named(connection).table):
        return rows(
            connection,
            """
            SELECT * FROM ledger.cmdb_assets
            WHERE CASE %(side)s::text WHEN 'unsure' THEN rule IS NULL AND others <> '{}' ELSE side = %(side)s END
                  IS NOT FALSE
            ORDER BY hostname NULLS LAST, ci_key, asset_id LIMIT %(limit)s
            """,
            {"side": side, "limit": limit},
        )


def _named(connection: Connection) -> Link:
    found = linked(connection)
    if found is None:
        raise PermanentError(
            CMDB_NOT_LINKED, "the view that would show both sides is made by linking", target="ledger.cmdb_assets"
        )
    return found


@contextmanager
def _telling(table: str) -> Iterator[None]:
    """Turn what PostgreSQL says of a foreign table into errors that name it."""
    try:
        yield
    except (psycopg.errors.SqlclientUnableToEstablishSqlconnection, psycopg.errors.FdwError) as error:
        # not its details, which quote how it connects
        raise RetryableError(
            DATABASE_UNAVAILABLE, f"the CMDB's server: {error.diag.message_primary}", target=table
        ) from None
    except (
        psycopg.errors.SyntaxErrorOrAccessRuleViolation,
        psycopg.errors.DependentObjectsStillExist,
        psycopg.errors.DataException,
        psycopg.errors.SqlRoutineException,  # a user mapping without a password
    ) as error:
        raise PermanentError(CONFIG_INVALID, f"PostgreSQL says: {error.diag.message_primary}", target=table) from None


def _table(name: str) -> sql.Identifier:
    schema, dot, table = name.partition(".")
    if not dot or not schema or not table:
        raise PermanentError(
            CONFIG_INVALID, "name the table as SCHEMA.TABLE, as it is written in pg_class", target=name
        )
    return sql.Identifier(schema, table)


def _demand_columns(connection: Connection, wanted: Link) -> None:
    schema, _, table = wanted.table.partition(".")
    found = connection.execute(
        """
        SELECT a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE n.nspname = %s AND c.relname = %s AND c.relkind = ANY ('{r,p,f,v,m}') ORDER BY a.attnum
        """,
        [schema, table],
    ).fetchall()
    columns = [name for (name,) in found]
    if not columns:
        raise PermanentError(
            CONFIG_INVALID,
            "there is no such table in the ledger's database; IMPORT FOREIGN SCHEMA brings it there (docs/cmdb.md)",
            target=wanted.table,
        )
    asked = [wanted.key, *(column for _, column in wanted.match), *wanted.show]
    missing = [column for column in asked if column not in columns]
    if missing:
        raise PermanentError(
            CONFIG_INVALID,
            f"it has no column {', '.join(missing)}; there are: {', '.join(columns)}",
            target=wanted.table,
        )


def _demand_key(connection: Connection, wanted: Link, table: sql.Identifier) -> None:
    row = connection.execute(
        sql.SQL("SELECT count(*), count({key}), count(DISTINCT {key}::text) FROM {table}").format(
            key=sql.Identifier(wanted.key), table=table
        )
    ).fetchone()
    assert row is not None
    every, known, distinct = row
    if distinct < every:
        raise PermanentError(
            CONFIG_INVALID,
            f"the column {wanted.key} does not name each CI once: {every} rows have {distinct} values, and "
            f"{every - known} have none; choose another --key",
            target=wanted.table,
        )
