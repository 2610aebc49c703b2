"""The machines as of a day, all of them: what a page of `store.query.as_of` says, page after page from one moment's truth.

A tenant is shown what its own sources said: the statements are the same, and `tenant_ledger` stands in the place of
`ledger`. Called by `store.query.exports`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from asset_ledger.domain.as_of import AsOf
from asset_ledger.domain.exports import ASSETS, ASSETS_ABOUT, Column, Reading, Row, Table, json_text
from asset_ledger.store.database import Connection
from asset_ledger.store.query.as_of import page_statement, values_of
from asset_ledger.store.query.assets import AssetQuery
from asset_ledger.store.query.day_facts import closed

_COLUMNS = (
    Column("as_of", "day", "The day that the row is of."),
    Column("id", "text", "The ledger asset's id; of merged machines that of the one they are merged into."),
    Column("hostname", "text", "Its name."),
    Column("mgmt_ip", "text", "The address by which it is managed."),
    Column("zone", "text", "The zone within which that address is one machine's."),
    Column("asset_type", "text", "vm, physical or cluster."),
    Column("platform_type", "text", "The kind of platform that it is on."),
    Column("cpu_cores", "integer", "Logical processors."),
    Column("memory_bytes", "integer", "Memory."),
    Column("disk_total_bytes", "integer", "All disks together."),
    Column("os_family", "text", "The operating system's family."),
    Column("os_version", "text", "The operating system's version."),
    Column("power_state", "text", "Whether it ran when it was last seen."),
    Column("sources", "texts", "Who spoke of it."),
    Column("seen_date", "day", "The last day up to then on which a source spoke of it."),
    Column("missing_since", "instant", "Since when it was missing at the day's end; nothing where it was there."),
    Column("carried", "json", "By field the day that a value is from, where that is an earlier one."),
    Column("unknown", "json", "By field why a value is not known."),
    Column("decided", "json", "By field who decided a value."),
)
_LEDGER = re.compile(r"\bledger\.(?=[a-z_]+)")
_JSON = frozenset({"carried", "unknown", "decided"})


def read_assets(connection: Connection, day: date, *, as_tenant: bool, batch: int) -> Reading:
    """Return the machines as of a day, in the order of their names; without those that were retired by then."""
    return Reading(
        Table(ASSETS, ASSETS_ABOUT, _COLUMNS, day), _batches(connection, AsOf(day), as_tenant=as_tenant, batch=batch)
    )


def _batches(connection: Connection, asked: AsOf, *, as_tenant: bool, batch: int) -> Iterator[Sequence[Row]]:
    with _as_seen(connection, as_tenant=as_tenant):
        ended = closed(connection, asked)
        statement, parameters = page_statement(AssetQuery(limit=0), asked)
        with connection.cursor(name="export_assets", row_factory=dict_row) as cursor:
            # no limit: all of them
            cursor.execute(statement, {**parameters, **ended, "limit": None})
            while page := cursor.fetchmany(batch):
                found = values_of(connection, asked, ended, page)
                yield [[_value(asset, column, asked.day) for column in _COLUMNS] for asset in found]


def _value(asset: Mapping[str, Any], column: Column, day: date) -> Any:
    if column.name == "as_of":
        return day
    value = asset[column.name]
    if column.name in _JSON:
        return json_text(value)
    return str(value) if column.name == "id" else value


class _Cursor(psycopg.Cursor[Any]):
    """Reads the ledger as a tenant sees it."""

    def execute(self, query: Any, *arguments: Any, **named: Any) -> Self:
        return super().execute(_seen(query), *arguments, **named)


class _ServerCursor(psycopg.ServerCursor[Any]):
    """Reads the ledger as a tenant sees it, row by row."""

    def execute(self, query: Any, *arguments: Any, **named: Any) -> Self:
        return super().execute(_seen(query), *arguments, **named)


def _seen(query: Any) -> Any:
    return _LEDGER.sub("tenant_ledger.", query) if isinstance(query, str) else query


@contextmanager
def _as_seen(connection: Connection, *, as_tenant: bool) -> Iterator[None]:
    """Let statements about `ledger` be about `tenant_ledger` on this connection.

    A statement that were not changed would be refused: the service's role has no right to the ledger itself.
    """
    if not as_tenant:
        yield
        return
    before = connection.cursor_factory, connection.server_cursor_factory
    connection.cursor_factory, connection.server_cursor_factory = _Cursor, _ServerCursor
    try:
        yield
    finally:
        connection.cursor_factory, connection.server_cursor_factory = before
