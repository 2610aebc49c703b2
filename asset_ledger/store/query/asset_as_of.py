"""One asset as it was on a past day: its values with where each is from, and what every source said.

Lists of a day are `store.query.as_of`; the asset as it is now is `store.query.asset_page`. Called by the command line.
"""

# ruff: noqa: S608 - statements are put together from constants; values are always parameters
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from asset_ledger.domain.as_of import AsOf
from asset_ledger.domain.day_values import latest_words, values_on
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.query.changes import end_names
from asset_ledger.store.query.day_facts import RETIRED, closed, facts, merged, moment
from asset_ledger.store.query.day_rows import (
    day_row,
    decided_values,
    labels,
    missing,
    place,
    rows_up_to_day,
    spoken,
)

_CUSTOM = "custom_fields."


def asset_as_of(connection: Connection, asset_id: UUID, asked: AsOf) -> dict[str, Any]:
    """Return what was known of an asset on a day, as JSON-like data.

    Keys: id (the canonical asset of then), as_of, known_at, the fields of a day with `ip_addresses`, zone, platform_type
    and custom_fields; `carried`, `unknown` and `decided` as in `list_as_of`; seen_date (the last day up to then on which
    a source spoke of it), read (whether that is the day itself), missing_since, retired_at; members (merged into it),
    relations and sources (the latest word of every record, however old, with its document; where `counts` is False
    another record of the source goes before it); first_day and last_day of all days known up to then, None where there is none.
    """
    known = asked.known_at is not None
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        p = moment(asked) | closed(connection, asked)
        merges = rows(connection, _MERGES.format(merged=merged(known)), {**p, "asset": asset_id})
        root = next((merge["root"] for merge in merges if merge["child"] == asset_id), asset_id)
        ids = [root, *(merge["child"] for merge in merges)]
        found = rows_up_to_day(connection, p, [root], documents=True)
        gone = missing(connection, p, [root])
        decided = decided_values(connection, p, [root]).get(root, {})
        (days,) = rows(connection, _DAYS.format(facts=facts(known)), {**p, "ids": ids})
        retired = rows(connection, f"SELECT * FROM ({RETIRED}) r WHERE asset_id = %(root)s", {**p, "root": root})
        words = _latest_rows(found)
        relations = _relations(connection, words)
    for row in found:
        row["ip_addresses"] = ((row["document"] or {}).get("network") or {}).get("ip_addresses")
    said = [day_row(row) for row in found]
    values = values_on(asked.day, said, decided)
    spoke = spoken(said)
    counting = {word.link_id for word in latest_words(said)}
    return {
        "id": root,
        "as_of": asked.day,
        "known_at": asked.known_at,
        "read": spoke["seen_date"] == asked.day,
        "seen_date": spoke["seen_date"],
        "tried": any(row.day == asked.day for row in said),
        "missing_since": gone.get(root),
        "retired_at": retired[0]["decided_at"] if retired else None,
        **{field: value.value for field, value in values.items()},
        **place(found, said),
        "custom_fields": _custom_fields([word for word in words if word["link_id"] in counting], decided),
        **labels(values),
        "members": [merge["child"] for merge in merges],
        "relations": relations,
        "sources": [_word(row, counting) for row in words],
        **days,
    }


_MERGES = """
WITH merged AS MATERIALIZED ({merged})
SELECT child, root FROM merged
WHERE root = coalesce((SELECT root FROM merged WHERE child = %(asset)s), %(asset)s) ORDER BY child
"""
_DAYS = """
SELECT min(d.collected_date) AS first_day, max(d.collected_date) AS last_day
FROM {facts} d WHERE d.asset_id = ANY(%(ids)s) AND d.collected_date <= %(day)s
"""


def _latest_rows(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return of every record the newest row, of those that said something where there are any; by source and age."""
    newest: dict[tuple[UUID, int], dict[str, Any]] = {}
    for row in found:
        key = (row["asset_id"], row["link_id"])
        if key not in newest or _age(newest[key]) < _age(row):
            newest[key] = row
    return sorted(newest.values(), key=lambda row: (row["source"], -row["collected_date"].toordinal(), row["link_id"]))


def _age(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["normalized_id"] is not None, row["collected_date"], row["collected_at"])


def _custom_fields(words: Sequence[Mapping[str, Any]], decided: Mapping[str, tuple[Any, str]]) -> dict[str, Any]:
    """Return the custom fields of the sources' latest words, the better-ranked over the others, and the decided ones over all."""
    custom: dict[str, Any] = {}
    for word in sorted(words, key=lambda row: (row["naming_rank"], row["source_id"]), reverse=True):
        custom |= (word["document"] or {}).get("custom_fields") or {}
    return custom | {
        field.removeprefix(_CUSTOM): value for field, (value, _) in decided.items() if field.startswith(_CUSTOM)
    }


def _relations(connection: Connection, words: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    told = [
        (word, relation) for word in words if word["document"] for relation in word["document"].get("relations") or ()
    ]
    names = end_names(connection, {(w["source_id"], r["external_kind"], r["external_id"]) for w, r in told})
    return [
        {
            "kind": relation["kind"],
            "external_kind": relation["external_kind"],
            "external_id": relation["external_id"],
            "name": names.get((word["source_id"], relation["external_kind"], relation["external_id"])),
            "source": word["source"],
            "day": word["collected_date"],
        }
        for word, relation in told
    ]


def _word(row: Mapping[str, Any], counting: set[int]) -> dict[str, Any]:
    kept = (
        "source",
        "asset_id",
        "external_kind",
        "external_id",
        "collected_date",
        "collected_at",
        "unknown",
        "document",
    )
    return {**{name: row[name] for name in kept}, "counts": row["link_id"] in counting}
