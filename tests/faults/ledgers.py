"""Whole ledgers compared: two that were told the same story, or one with what a rebuild makes of its evidence.

`canonical` gives every row without what numbers it by chance: ids are replaced by what they stand for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asset_ledger.pipeline.rebuild import rebuild
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.derive.duplicates import find_duplicates
from asset_ledger.store.derive.links import relink
from tests.pipeline.importing import everything

EVIDENCE = ("asset_observations", "sync_target_records")
"""Not compared between two ledgers: they say how often something was read and run."""
SHOWN = 20
_CHANCE = {
    "sources.created_at",
    "asset_source_links.record_digest",
    "decisions.id",
    "superseded_at",
    "run_id",
    "report",
    "observation_id",
    "recorded_at",
    "derived_at",
    "held_at",
    "resolved_at",
    "inventories.resolved_to",
    "settled_at",
}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Ledger = dict[str, list[str]]


def canonical(connection: Connection, *, without: Sequence[str] = ()) -> Ledger:
    """Return every row of a ledger as text, by table, but for the tables of EVIDENCE and those in `without`."""
    links = _links(connection)
    assets = _assets(connection)
    inventories = _inventories(connection)
    documents = {
        str(key): value.hex() for key, value in connection.execute("SELECT id, digest FROM ledger.normalized_assets")
    }
    by_column = {
        "inventory_id": inventories,
        "link_id": links,
        "from_link_id": links,
        "normalized_id": documents,
        "asset_source_links.id": links,
        "identity_resolutions.id": links,
        "inventories.id": inventories,
        "normalized_assets.id": documents,
    }

    def plain(table: str, column: str, value: Any) -> str:
        names = by_column.get(f"{table}.{column}", by_column.get(column))
        if names is not None and value is not None:
            return names.get(str(value), "")
        text = json.dumps(value, sort_keys=True, default=str) if isinstance(value, (dict, list)) else str(value)
        return _UUID.sub(lambda found: assets.get(found[0], found[0]), text)

    def told(table: str, row: dict[str, Any]) -> str:
        shown = {
            column: plain(table, column, value)
            for column, value in row.items()
            if not {column, f"{table}.{column}"} & _CHANCE
        }
        if table == "duplicate_candidates":  # which of the two is the first, chance has decided
            shown["asset_id"], shown["other_asset_id"] = sorted((shown["asset_id"], shown["other_asset_id"]))
        return ", ".join(f"{column}={value}" for column, value in shown.items())

    ledger: Ledger = {}
    for table in _tables(connection):
        if table in EVIDENCE or table in without:
            continue
        where = " WHERE status <> 'interrupted'" if table == "inventories" else ""
        ledger[table] = sorted({told(table, row) for row in rows(connection, f"SELECT * FROM ledger.{table}{where}")})
    return ledger


def differences(one: Mapping[str, Iterable[Any]], other: Mapping[str, Iterable[Any]]) -> list[str]:
    """Return the rows that only one of two ledgers has, `-` those of the first and `+` those of the second."""
    return [
        f"{sign} {table}: {row}"
        for table in sorted({*one, *other})
        for sign, mine, theirs in (("-", one, other), ("+", other, one))
        for row in sorted({*map(str, mine.get(table, ()))} - {*map(str, theirs.get(table, ()))})
    ]


def assert_same(one: Mapping[str, Iterable[Any]], other: Mapping[str, Iterable[Any]], note: str = "") -> None:
    """Fail with the first rows in which two ledgers differ."""
    found = differences(one, other)
    assert not found, "\n".join([f"{len(found)} rows differ {note}", *found[:SHOWN]])


def derived(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row but those that say how often something was run: what no replay may change.

    The digest of its raw record, which a link has only to save parsing, is left out.
    """
    every = everything(connection)
    del every["sync_target_records"]
    links = every["asset_source_links"]
    every["asset_source_links"] = [tuple(value for value in link if not isinstance(value, bytes)) for link in links]
    return every


def follow(connection: Connection) -> None:
    """Bring what follows the ledger up to date: the links of instances and the candidates of duplicates."""
    relink(connection)
    find_duplicates(connection)


def rebuilt_differences(connection: Connection, *sources: SourceConfig) -> list[str]:
    """Rebuild a ledger from its evidence for good; return what the rebuild says differs, and what does."""
    follow(connection)
    before = derived(connection)
    report = rebuild(connection, sources, verify=False)
    after = derived(connection)
    for ledger in (before, after):
        del ledger["inventories"]  # a rebuild finds out which readings were interrupted
    return [*map(str, report.differences), *differences(before, after)]


def _tables(connection: Connection) -> list[str]:
    found = connection.execute(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'ledger'::regnamespace "
        "AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1"
    )
    return [row[0] for row in found]


def _inventories(connection: Connection) -> dict[str, str]:
    found = connection.execute("SELECT id, source_id, scope, collected_date, collected_at FROM ledger.inventories")
    return {str(row[0]): "/".join(map(str, row[1:])) for row in found}


def _assets(connection: Connection) -> dict[str, str]:
    found = connection.execute(
        "SELECT asset_id, source_id, external_kind, external_id, generation FROM ledger.identity_resolutions "
        "WHERE outcome = 'created'"
    )
    return {str(row[0]): "asset " + "/".join(map(str, row[1:])) for row in found}


def _links(connection: Connection) -> dict[str, str]:
    found = connection.execute(
        "SELECT id, source_id, external_kind, external_id, generation FROM ledger.identity_resolutions"
    )
    return {"0": "0"} | {str(row[0]): "link " + "/".join(map(str, row[1:])) for row in found}
