"""What is evidence and what is derived from it: dropping the latter, and comparing it with what comes out again.

Called by `pipeline.rebuild` inside one transaction.
"""

# ruff: noqa: S608 - table and column names are those of this file and of the schema
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from asset_ledger.store.database import Connection
from asset_ledger.store.raw import InventoryRow, inventory_columns

DERIVED = (
    "asset_daily_specs",
    "asset_daily_ips",
    "asset_source_links",
    "asset_past_words",
    "asset_identifiers",
    "asset_aliases",
    "asset_tags",
    "asset_relations",
    "assets",
    "instance_daily_specs",
    "database_instances",
    "instance_asset_links",
    "duplicate_candidates",
)
"""The tables that a rebuild makes again. Every other one is evidence."""

# what only helps to recognise a record before it is parsed
_CACHES = {"asset_source_links": ("record_digest",)}
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """A table that came out otherwise: rows that are only in the ledger, and rows that are only in the rebuilt one."""

    table: str
    only_before: int
    only_after: int
    examples: tuple[Mapping[str, Any], ...]


def derived_readings(connection: Connection) -> list[tuple[int, InventoryRow]]:
    """Return every reading that was derived, with its source, in the order in which readings count."""
    found = connection.execute(
        f"""
        SELECT source_id, {inventory_columns()} FROM ledger.inventories WHERE status = 'derived'
        ORDER BY collected_date, collected_at, id
        """
    )
    return [(row[0], InventoryRow(*row[1:])) for row in found]


def stale_readings(connection: Connection, parser_versions: Mapping[int, int]) -> dict[str, int]:
    """Return by source how many of its readings another version of its parser derived."""
    stale: dict[str, int] = {}
    for source_id, version in parser_versions.items():
        row = connection.execute(
            """
            SELECT s.name, count(*) FROM ledger.inventories i JOIN ledger.sources s ON s.id = i.source_id
            WHERE i.source_id = %s AND i.status = 'derived' AND i.parser_version <> %s GROUP BY s.name
            """,
            [source_id, version],
        ).fetchone()
        if row is not None:
            stale[row[0]] = row[1]
    return stale


def source_names(connection: Connection, ids: Iterable[int]) -> list[str]:
    """Return the names of sources by their ids, sorted."""
    found = connection.execute("SELECT name FROM ledger.sources WHERE id = ANY(%s) ORDER BY name", [list(ids)])
    return [row[0] for row in found]


def keep(connection: Connection) -> dict[str, str]:
    """Set the derived rows aside, for the rest of the transaction, and return the digest of every table."""
    for table in DERIVED:
        connection.execute(f"CREATE TEMPORARY TABLE kept_{table} ON COMMIT DROP AS SELECT * FROM ledger.{table}")
    return digests(connection)


def mended_documents(connection: Connection) -> Iterator[Difference]:
    """Yield a difference where documents said something else than the raw they were made from."""
    found = connection.execute(
        "SELECT DISTINCT n.id, n.external_kind, n.external_id FROM mended_document m JOIN ledger.normalized_assets n USING (id)"
    ).fetchall()
    if found:
        shown = [{"in": "rebuilt", "id": row[0], "kind": row[1], "external_id": row[2]} for row in found[:_SHOWN]]
        yield Difference("normalized_assets", len(found), len(found), tuple(shown))


def drop_derived(connection: Connection) -> None:
    """Delete every derived row. Readers go on seeing the ledger as it was until the transaction commits."""
    for table in DERIVED:
        connection.execute(f"DELETE FROM ledger.{table}")


def digests(connection: Connection) -> dict[str, str]:
    """Return a digest of the rows of every derived table, whatever their order."""
    return {table: _digest(connection, table) for table in DERIVED}


def differences(connection: Connection, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    """Yield what differs between the rows that were kept and those there are now, by table."""
    for table in DERIVED:
        if before[table] == after[table]:
            continue
        columns = ", ".join(_columns(connection, table))
        was, now = f"SELECT {columns} FROM kept_{table}", f"SELECT {columns} FROM ledger.{table}"
        counts = connection.execute(
            f"SELECT (SELECT count(*) FROM ({was} EXCEPT ALL {now}) a), (SELECT count(*) FROM ({now} EXCEPT ALL {was}) b)"
        ).fetchone()
        assert counts is not None
        examples = connection.execute(
            f"""
            (SELECT 'ledger', to_jsonb(a) FROM ({was} EXCEPT ALL {now}) a ORDER BY 2 LIMIT {_SHOWN})
            UNION ALL
            (SELECT 'rebuilt', to_jsonb(b) FROM ({now} EXCEPT ALL {was}) b ORDER BY 2 LIMIT {_SHOWN})
            """
        ).fetchall()
        yield Difference(table, counts[0], counts[1], tuple({"in": where, **row} for where, row in examples))


def _digest(connection: Connection, table: str) -> str:
    columns = ", ".join(f"t.{column}" for column in _columns(connection, table))
    # a sum does not hang on the order of rows, and counts equal ones
    row = connection.execute(
        f"""
        SELECT count(*), coalesce(sum(hashtextextended(ROW({columns})::text, 0)::numeric), 0) FROM ledger.{table} t
        """
    ).fetchone()
    assert row is not None
    return f"{row[0]} rows, {int(row[1]) & (2**64 - 1):016x}"


def _columns(connection: Connection, table: str) -> list[str]:
    found = connection.execute(
        """
        SELECT attname::text FROM pg_attribute
        WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
        """,
        [f"ledger.{table}"],
    )
    return [row[0] for row in found if row[0] not in _CACHES.get(table, ())]
