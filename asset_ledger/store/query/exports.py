"""Tables that are taken out whole: what there is, and their rows in batches from one moment's truth.

Marts are found in the catalogue and read as they are; machines as of a day are made by `store.query.as_of`. With a tenant
the service's role reads, and what it is shown is decided by the database: row-level security on the marts, the views of
`tenant_ledger` in place of the ledger. Called by `pipeline.exports`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.rows import TupleRow

from asset_ledger.domain.errors import (
    EXPORT_NOT_BUILT,
    EXPORT_TOO_SLOW,
    EXPORT_UNKNOWN,
    EXPORT_VALUE_UNFIT,
    PermanentError,
    RetryableError,
)
from asset_ledger.domain.exports import (
    ASSETS,
    ASSETS_ABOUT,
    DAY_COLUMN,
    DAY_MARTS,
    MARTS,
    Column,
    Exportable,
    Kind,
    Reading,
    Row,
    Table,
)
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.marts import SCHEMA, row_counts
from asset_ledger.store.query.exported_assets import read_assets
from asset_ledger.store.tenancy import say_tenant

BATCH = 2_000
"""How many rows are held at once, at most."""
BATCH_BYTES = 4 << 20
"""How many bytes of texts a batch is to have: after one of more the next ones have fewer rows."""
_FIRST_BATCH = 100
_GROWTH = 4

# what may be seen of them, whoever asks; what row-level security does not watch over is not shown to tenants
_TABLES = """
SELECT c.relname AS name, obj_description(c.oid, 'pg_class') AS description, c.oid,
       CASE WHEN c.reltuples < 0 THEN NULL ELSE c.reltuples::bigint END AS rows, EXISTS (
           SELECT FROM pg_attribute AS a
           WHERE a.attrelid = c.oid AND a.attname = %(day)s AND a.atttypid = 'date'::regtype AND NOT a.attisdropped) AS has_days
FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace('marts') AND c.relkind IN ('r', 'p') AND c.relname NOT LIKE '%%\\_\\_dbt\\_%%'
  AND has_schema_privilege(c.relnamespace, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
  AND (c.relrowsecurity OR has_schema_privilege('ledger', 'USAGE'))
ORDER BY c.relname"""
_COLUMNS = """
SELECT a.attname AS name, coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text AS type, t.typtype,
       col_description(a.attrelid, a.attnum) AS description,
       CASE WHEN a.atttypmod >= 4 THEN (a.atttypmod - 4) >> 16 & 65535 END AS precision,
       CASE WHEN a.atttypmod >= 4 THEN (((a.atttypmod - 4) & 2047) # 1024) - 1024 END AS scale
FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = %(table)s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
_SMALL = 38
"""How many digits a decimal of 128 bits has."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What of which table: as of a day (of `assets`; None: today's), of which days, and where columns have which texts."""

    name: str
    as_of: date | None = None
    since: date | None = None
    until: date | None = None
    filters: Mapping[str, Sequence[str]] | None = None


@contextmanager
def snapshot(
    connection: Connection, tenant_id: UUID | None = None, *, statement_s: int = 0, name: str = ASSETS
) -> Iterator[None]:
    """Open a transaction that reads one moment's truth and writes nothing; as a tenant where one is named.

    `statement_s` bounds each statement; 0 does not. The mart `name` is held before the moment is fixed: a moment from
    before it was put in place would see none of its rows. Raises as `read` does where there is no such mart.
    """
    before = connection.isolation_level, connection.read_only
    connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with _named(statement_s), connection.transaction():
            # neither SET nor LOCK fixes the moment; the first SELECT does
            connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(f"{statement_s}s")))
            if statement_s:  # whoever takes slowly may: what is bounded is the whole, by who called
                idle = sql.SQL("SET LOCAL idle_in_transaction_session_timeout = {}")
                connection.execute(idle.format(sql.Literal(f"{statement_s}s")))
            if name != ASSETS:
                _hold(connection, name)
            if tenant_id is not None:
                say_tenant(connection, tenant_id)
            yield
    finally:
        if not connection.closed:
            connection.isolation_level, connection.read_only = before


@contextmanager
def _named(statement_s: int) -> Iterator[None]:
    """Name what the database says of a query that took too long, and of a value that is none to us."""
    try:
        yield
    except psycopg.errors.QueryCanceled as error:
        raise RetryableError(EXPORT_TOO_SLOW, f"it was ended after {statement_s} seconds") from error
    except psycopg.DataError as error:
        raise PermanentError(EXPORT_VALUE_UNFIT, str(error).splitlines()[0]) from error


def _hold(connection: Connection, name: str) -> None:
    """Keep a mart from being replaced until the transaction ends; wait for whoever replaces it now."""
    try:
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.Identifier("marts", name)))
    except (
        psycopg.errors.UndefinedTable,
        psycopg.errors.InvalidSchemaName,
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.WrongObjectType,
    ):
        raise _not_there(name) from None


def exportables(connection: Connection, *, counted: bool = False) -> list[Exportable]:
    """Return what can be exported, built or not: the machines, then the marts by name; `counted`: with their rows.

    Inside `snapshot`, or as a tenant.
    """
    built = {row["name"]: row for row in rows(connection, _TABLES, {"day": DAY_COLUMN})}
    found = [Exportable(ASSETS, ASSETS_ABOUT, built=True, has_days=False)]
    for name in sorted(built.keys() | MARTS.keys()):
        row = built.get(name)
        if row is None:
            found.append(Exportable(name, MARTS[name], built=False, has_days=name in DAY_MARTS))
            continue
        first, last = _days(connection, name) if row["has_days"] else (None, None)
        found.append(
            Exportable(
                name,
                row["description"] or MARTS.get(name, ""),
                built=True,
                has_days=row["has_days"],
                rows=_row_count(connection, row) if counted else None,
                first_day=first,
                last_day=last,
            )
        )
    return found


def has_sources(connection: Connection, tenant_id: UUID) -> bool:
    """Return whether a source is mapped to a tenant, inside `as_tenant`: no source's machines are shown to it before."""
    found = connection.execute(
        "SELECT EXISTS (SELECT FROM iac.tenant_sources WHERE tenant_id = %s)", [tenant_id]
    ).fetchone()
    return found == (True,)


def _row_count(connection: Connection, row: Mapping[str, Any]) -> int:
    """Return how many rows a mart has: of one by days, which may be long, the estimate where there is one."""
    if row["has_days"] and row["rows"] is not None:
        return int(row["rows"])
    return row_counts(connection, SCHEMA, row["name"], None)[None]


def _days(connection: Connection, name: str) -> tuple[date | None, date | None]:
    day, table = sql.Identifier(DAY_COLUMN), sql.Identifier("marts", name)
    found = connection.execute(sql.SQL("SELECT min({0}), max({0}) FROM {1}").format(day, table)).fetchone()
    assert found is not None
    return found[0], found[1]


@contextmanager
def opened(
    connection: Connection, asked: Asked, *, today: date, tenant_id: UUID | None = None, statement_s: int = 0
) -> Iterator[Reading]:
    """Open a table and its rows, which are read as they are taken; a tenant's where one is named.

    A mart of now is replaced whenever it is made anew, which waits for everybody who reads it, and makes everybody wait
    who reads it next. So its rows are put aside by the database at once, and it is let go before the first is taken. What
    is made by days is not replaced, and is read from one transaction. Raises PermanentError(EXPORT_UNKNOWN),
    PermanentError(EXPORT_NOT_BUILT), and as `snapshot` does, then or while rows are taken.
    """
    with _named(statement_s):
        with snapshot(connection, tenant_id, statement_s=statement_s, name=asked.name), ExitStack() as reading:
            if asked.name == ASSETS:
                _refuse(asked, _OF_A_DAY, since=asked.since, until=asked.until)
                _refuse(asked, "its rows are not filtered: `asset-ledger assets list` does that", filter=asked.filters)
                yield read_assets(connection, asked.as_of or today, as_tenant=tenant_id is not None, batch=BATCH)
                return
            table, statement, parameters = _wanted(connection, asked)
            of_now = table.column(DAY_COLUMN) is None
            cursor = reading.enter_context(connection.cursor(name="export", withhold=of_now))
            cursor.execute(statement, parameters, binary=True)
            if not of_now:
                yield Reading(table, _batches(cursor))
                return
            # a commit, by which the rest is put aside, knows no statement_timeout: what sorts the rows, which takes the
            # longest, is within it here; the service ends the rest by its own clock
            first = cursor.fetchmany(min(BATCH, _FIRST_BATCH))
            kept = reading.pop_all()
        with kept:
            yield Reading(table, _batches(cursor, first))


def _wanted(connection: Connection, asked: Asked) -> tuple[Table, sql.Composed, dict[str, Any]]:
    """Return a mart, and the statement that reads what is asked for of it, with its parameters."""
    table, types = _mart(connection, asked.name)
    if table.column(DAY_COLUMN) is None:
        _refuse(asked, _OF_NOW, as_of=asked.as_of, since=asked.since, until=asked.until)
    _refuse(asked, "it has no state of a day: its days are chosen by since and until", as_of=asked.as_of)
    return table, *_statement(table, types, asked)


_OF_NOW = (
    f"it is of now, and has no days to choose from: {ASSETS} is the machines as of a day (as_of), and daily_specs what they"
    " were on each (since, until)"
)
_OF_A_DAY = "it is of one day (as_of), and has no days to choose from: daily_specs has each machine on each day"


def _refuse(asked: Asked, why: str, **given: object) -> None:
    """Raise PermanentError(EXPORT_UNKNOWN) where something was asked for that the table has not."""
    for name, value in given.items():
        if value:
            raise PermanentError(EXPORT_UNKNOWN, f"{name}: {why}", target=asked.name)


def _mart(connection: Connection, name: str) -> tuple[Table, Sequence[str]]:
    """Return a mart as it is built, and its columns' types."""
    found = next((row for row in rows(connection, _TABLES, {"day": DAY_COLUMN}) if row["name"] == name), None)
    if found is None:
        raise _not_there(name)
    columns = rows(connection, _COLUMNS, {"table": found["oid"]})
    described = found["description"] or MARTS.get(name, "")
    return Table(name, described, tuple(map(_column, columns))), [row["type"] for row in columns]


def _not_there(name: str) -> PermanentError:
    if name in MARTS:
        return PermanentError(EXPORT_NOT_BUILT, "there is no such table in schema marts yet", target=name)
    names = ", ".join([ASSETS, *MARTS])
    return PermanentError(EXPORT_UNKNOWN, f"there is no mart of this name; there are: {names}", target=name[:100])


_KINDS: dict[str, Kind] = {
    "smallint": "integer", "integer": "integer", "bigint": "integer", "oid": "integer",
    "real": "real", "double precision": "real", "boolean": "boolean", "date": "day",
    "timestamp with time zone": "instant", "timestamp without time zone": "local_time",
    "json": "json", "jsonb": "json",
    "smallint[]": "integers", "integer[]": "integers", "bigint[]": "integers",
}  # fmt: skip


def _column(row: Mapping[str, Any]) -> Column:
    type_, described = row["type"], row["description"] or ""
    if type_ == "numeric":
        precision, scale = row["precision"], row["scale"]
        if precision is not None and (precision > _SMALL or not 0 <= scale <= precision):
            return Column(row["name"], "text", described)  # more digits than any format's number has
        return (
            Column(row["name"], "decimal", described)
            if precision is None
            else Column(row["name"], "decimal", described, precision, scale)
        )
    kind: Kind = _KINDS.get(type_) or ("texts" if type_.endswith("[]") else "text")
    return Column(row["name"], kind, described)


def _statement(table: Table, types: Sequence[str], asked: Asked) -> tuple[sql.Composed, dict[str, Any]]:
    """Return the statement that reads a mart. Its order is that of the columns, so that the same rows make the same file."""
    parameters: dict[str, Any] = {}
    wanted: list[sql.Composable] = []
    day = sql.Identifier(DAY_COLUMN)
    for name, sign, value in (("since", ">=", asked.since), ("until", "<=", asked.until)):
        if value is not None:
            wanted.append(sql.SQL("{} {} {}").format(day, sql.SQL(sign), sql.Placeholder(name)))
            parameters[name] = value
    for number, (name, texts) in enumerate((asked.filters or {}).items()):
        column = table.column(name)
        if column is None:
            names = ", ".join(each.name for each in table.columns)
            raise PermanentError(EXPORT_UNKNOWN, f"it has no column {name[:100]!r}; it has {names}", target=table.name)
        wanted.append(_filter(column, types[table.columns.index(column)], f"filter{number}"))
        parameters[f"filter{number}"] = list(texts)
    shown = sql.SQL(", ").join(map(_shown, table.columns, types))
    statement = sql.SQL("SELECT {} FROM {}").format(shown, sql.Identifier("marts", table.name))
    if wanted:
        statement += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(wanted)
    ordered = sorted(range(len(table.columns)), key=lambda at: table.columns[at].name != DAY_COLUMN)
    order = sql.SQL(", ").join(_ordered(table.columns[at]) for at in ordered)
    return sql.SQL("{} ORDER BY {}").format(statement, order), parameters


def _shown(column: Column, type_: str) -> sql.Composed:
    name = sql.Identifier(column.name)
    match column.kind:
        case "text" if type_ == "inet":
            # as people write it: without the length of a prefix that says nothing
            form = "abbrev({})"
        case "text" | "json":
            form = "{}::text"
        case "texts" if type_ == "inet[]":
            form = (
                "CASE WHEN {0} IS NOT NULL THEN"
                " ARRAY(SELECT abbrev(e) FROM unnest({0}) WITH ORDINALITY AS u (e, n) ORDER BY n) END"
            )
        case "texts":
            form = "{}::text[]"
        case "decimal":
            # so that every format has the same digits
            return sql.SQL("trim_scale(round({}, {}))").format(name, sql.Literal(column.scale))
        case _:
            form = "{}"
    return sql.SQL(form).format(name)


def _ordered(column: Column) -> sql.Composed:
    if column.kind in ("text", "json"):
        return sql.SQL('{}::text COLLATE "C"').format(sql.Identifier(column.name))
    if column.kind == "texts":
        return sql.SQL('{}::text[] COLLATE "C"').format(sql.Identifier(column.name))
    return sql.SQL("{}").format(sql.Identifier(column.name))


def _filter(column: Column, type_: str, parameter: str) -> sql.Composed:
    shown, given = _shown(column, type_), sql.Placeholder(parameter)
    if column.kind in ("texts", "integers"):
        return sql.SQL("({})::text[] && {}::text[]").format(shown, given)
    return sql.SQL("({})::text = ANY ({}::text[])").format(shown, given)


def _batches(cursor: psycopg.ServerCursor[TupleRow], first: Sequence[Row] | None = None) -> Iterator[Sequence[Row]]:
    """Yield the rows of a cursor, of which the server keeps those that were not taken yet; `first` were taken before."""
    size = min(BATCH, _FIRST_BATCH)
    found: Sequence[Row] = cursor.fetchmany(size) if first is None else first
    while found:
        yield found
        told = sum(map(_length, found))
        size = max(1, min(BATCH, size * _GROWTH, size * BATCH_BYTES // max(told, 1)))
        found = cursor.fetchmany(size)


def _length(row: Row) -> int:
    """Return how long the texts of a row are; what else there is in it is short."""
    return sum(
        len(value) if isinstance(value, str) else sum(len(each) for each in value if isinstance(each, str))
        for value in row
        if isinstance(value, (str, list))
    )
