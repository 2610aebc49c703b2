"""The ledger as it was on a past day: a page of a list, and one asset.

Which assets are on a page is decided in SQL from the columns that filter and order it; what they were is then resolved,
for the page alone, by `domain.day_values`. Called by the command line, and page by page by `store.query.exported_assets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from asset_ledger.domain.addresses import parse_address
from asset_ledger.domain.as_of import AsOf
from asset_ledger.domain.day_values import RANKS, values_on
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.query.assets import AssetQuery
from asset_ledger.store.query.day_facts import (
    CLOSED,
    DECIDED,
    RETIRED,
    SPECS,
    closed,
    facts,
    last_word,
    links,
    merged,
    moment,
    newest_readings,
    standing,
)
from asset_ledger.store.query.day_rows import (
    by_root,
    day_row,
    decided_values,
    labels,
    missing,
    place,
    rows_on_day,
    rows_up_to_day,
    spoken,
)

_SORTS = {
    "hostname": "lower(hostname)",
    "mgmt_ip": "mgmt_ip",
    "cpu": "cpu_cores DESC NULLS LAST",
    "memory": "memory_bytes DESC NULLS LAST",
    "last_seen": "seen_date DESC NULLS LAST, seen_at DESC NULLS LAST",
}
_SORTED_BY = {"hostname": "hostname", "mgmt_ip": "mgmt_ip", "cpu": "cpu_cores", "memory": "memory_bytes"}
_UNKNOWN = {
    "cpu": "cpu_cores", "memory": "memory_bytes", "disk": "disk_total_bytes", "os": "os_family", "ip": "mgmt_ip",
}  # fmt: skip
_DECIDABLE = ("hostname", "asset_type", "os_family", "os_version")

_STATES = {
    "ledger": "{here}",
    "missing": "{here} AND m.missing_since IS NOT NULL",
    "retired": "NOT {here}",
    "all": "true",
}

# Every machine that any source had spoken of by the day, each source by its latest word: one of the day or, where it said
# nothing that day, the last before it. Where the day has a row of every record nothing is `silent`, and no other day is
# looked at.
_PAGE = """
WITH merged AS MATERIALIZED ({merged}
), decided AS MATERIALIZED (
    SELECT asset_id, {decisions} FROM ({decided}) o GROUP BY asset_id
), retired AS MATERIALIZED ({retired}
), closed AS MATERIALIZED (SELECT link_id FROM {closed}
), day AS MATERIALIZED (
    SELECT coalesce(g.root, d.asset_id) AS root, g.root IS NULL AS own, {columns}
    FROM {facts} d LEFT JOIN merged g ON g.child = d.asset_id WHERE d.collected_date = %(day)s
), silent AS MATERIALIZED (
    SELECT l.* FROM {links} l
    WHERE NOT EXISTS (SELECT FROM day d WHERE d.link_id = l.id AND d.normalized_id IS NOT NULL)
), earlier AS MATERIALIZED (
    SELECT coalesce(g.root, l.asset_id) AS root, g.root IS NULL AS own, d.*
    FROM silent l LEFT JOIN merged g ON g.child = l.asset_id{last_word}
), said AS NOT MATERIALIZED (
    SELECT d.root, d.own, {columns} FROM day d WHERE d.normalized_id IS NOT NULL
    UNION ALL
    SELECT d.root, d.own, {columns} FROM earlier d
), several AS MATERIALIZED (
    SELECT root FROM said GROUP BY root HAVING count(*) > 1
), unread AS MATERIALIZED (
    SELECT DISTINCT root FROM day WHERE normalized_id IS NULL
){standing}, known AS (
    SELECT s.root, s.collected_date AS seen_date, s.collected_at AS seen_at{one}
    FROM said s WHERE NOT EXISTS (SELECT FROM several v WHERE v.root = s.root)
    UNION ALL
    SELECT s.root, coalesce(max(s.collected_date) FILTER (WHERE s.open), max(s.collected_date)),
           coalesce(max(s.collected_at) FILTER (WHERE s.open), max(s.collected_at)){best}
    FROM (
        SELECT DISTINCT ON (d.root, d.source_id) d.*, src.naming_rank, src.specs_rank, src.os_rank,
               c.link_id IS NULL AS open,
               max(d.collected_date) OVER (PARTITION BY d.root, d.source_id) AS newest
        FROM several v JOIN said d ON d.root = v.root JOIN ledger.sources src ON src.id = d.source_id
        LEFT JOIN closed c ON c.link_id = d.link_id
        ORDER BY d.root, d.source_id, c.link_id IS NULL DESC, d.collected_date DESC, d.own DESC, d.collected_at DESC,
                 d.link_id DESC
    ) s
    GROUP BY s.root
    UNION ALL
    SELECT u.root, NULL, NULL{none}
    FROM unread u WHERE NOT EXISTS (SELECT FROM said s WHERE s.root = u.root)
), asset AS (
    SELECT k.root, k.seen_date, k.seen_at{filled}
    FROM known k
    LEFT JOIN decided o ON o.asset_id = k.root{missing}
    WHERE {state}
)
SELECT {answer} FROM asset a WHERE {wanted}
"""
_HERE = "NOT EXISTS (SELECT FROM retired r WHERE r.asset_id = k.root)"
_STANDING = """, newest AS MATERIALIZED ({newest}
), missing AS MATERIALIZED ({standing}
)"""
_ANSWER = """a.root AS id, count(*) OVER () AS total,
       a.root IN (SELECT e.root FROM earlier e) AS looks_back"""
_KEYS = ("asset_id", "source_id", "link_id", "normalized_id", "inventory_id", "collected_date", "collected_at")
_NEWEST = ("ARRAY[s.source_id] AS source_ids, ARRAY[s.collected_date] AS newest",
           "array_agg(s.source_id), array_agg(s.newest)", "NULL, NULL")  # fmt: skip
# A value that no latest word knows, from an older one: the rows of the asset and of those merged into it.
_CARRIED = """(
    SELECT d.{field} FROM (SELECT k.root AS id UNION ALL SELECT g.child FROM merged g WHERE g.root = k.root) m
    CROSS JOIN unnest(k.source_ids, k.newest) AS n(source_id, day)
    JOIN {facts} d ON d.asset_id = m.id AND d.source_id = n.source_id
        AND d.collected_date BETWEEN n.day - %(carry_days)s AND n.day
    JOIN ledger.sources src ON src.id = d.source_id
    WHERE d.{field} IS NOT NULL
    ORDER BY src.{rank}, d.collected_date DESC, d.source_id, d.link_id DESC
    LIMIT 1)"""


def list_as_of(connection: Connection, query: AssetQuery, asked: AsOf) -> tuple[list[dict[str, Any]], int]:
    """Return a page of what was known of a day, and how many assets there are in all pages.

    Each has the fields of a day, `seen_date` (the last day up to it on which a source spoke of the machine; None where
    that could only be tried), `sources`, `missing_since` and `retired_at` as they were at the day's end, and by field
    name `carried` (the day a value is from, where that is another), `unknown` (the reason for a None) and `decided` (who
    decided it). The page of the last day there is says what `list_assets` says. `tags` and `protocol` of the query are
    no matter of a day: they are not looked at. Raises KeyError for a `sort`, `unknown` or `state` that there is not.
    """
    statement, parameters = page_statement(query, asked)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        ended = closed(connection, asked)
        page = rows(connection, statement, parameters | ended)
        if not page and query.offset:
            statement, parameters = page_statement(query, asked, count=True)
            return [], rows(connection, statement, parameters | ended)[0]["total"]
        found = values_of(connection, asked, ended, page)
    return found, page[0]["total"] if page else 0


def page_statement(query: AssetQuery, asked: AsOf, *, count: bool = False) -> tuple[str, dict[str, Any]]:
    """Return the statement that chooses a page of a day (or counts all pages), and its parameters.

    Where an id of a source went from one machine to another, the parameters that `day_facts.closed` finds are to be put
    over them.
    """
    known = asked.known_at is not None
    needed = _needed(query)
    one, best, none = _NEWEST if needed else ("", "", "")
    columns = ", ".join(f"d.{name}" for name in (*_KEYS, *needed))
    statement = _PAGE.format(
        merged=merged(known),
        decided=DECIDED,
        decisions=", ".join(f"max(value #>> '{{}}') FILTER (WHERE field = '{name}') AS {name}" for name in _DECIDABLE),
        retired=RETIRED,
        closed=CLOSED,
        facts=facts(known),
        links=links(known),
        last_word=last_word(known, columns),
        columns=columns,
        standing=_STANDING.format(
            newest=newest_readings(known), standing=standing(known, words="said", newest="newest")
        )
        if query.state == "missing"
        else "",
        missing=" LEFT JOIN missing m ON m.root = k.root" if query.state == "missing" else "",
        state=_STATES[query.state].format(here=_HERE),
        one="".join(f", {name}" for name in (*(f"s.{name}" for name in needed), one) if name),
        best="".join(f", {name}" for name in (*map(_best, needed), best) if name),
        none="".join(f", {name}" for name in ("NULL",) * len(needed) + (none,) if name),
        filled="".join(f", {_filled(name, known)} AS {name}" for name in needed),
        answer="count(*) AS total" if count else _ANSWER,
        wanted=" AND ".join(_conditions(query)) or "true",
    )
    if not count:
        statement += f"ORDER BY {_SORTS[query.sort]}, a.root LIMIT %(limit)s OFFSET %(offset)s"
    address = parse_address(query.search) if query.search else None
    return statement, {
        **moment(asked),
        "search": query.search,
        "address": None if address is None else str(address),
        "asset_type": query.asset_type,
        "platform_type": query.platform_type,
        "source": query.source,
        "cpu_cores": query.cpu_cores,
        "limit": query.limit,
        "offset": query.offset,
    }


def _needed(query: AssetQuery) -> list[str]:
    """Return the columns by which a page is chosen."""
    chosen = {
        _SORTED_BY.get(query.sort): True,
        "asset_type": query.asset_type is not None,
        "platform_type": query.platform_type is not None,
        "cpu_cores": query.cpu_cores is not None,
        "hostname": bool(query.search),
        "mgmt_ip": bool(query.search),
    }
    wanted = {name for name, asked in chosen.items() if asked and name}
    wanted |= {name for name in (_SORTED_BY.get(query.sort), _UNKNOWN.get(query.unknown or "")) if name}
    return sorted(wanted)


def _best(name: str) -> str:
    order = f"s.{_rank(name)}, s.collected_date DESC, s.source_id, s.link_id DESC"
    if name == "platform_type":
        order = "s.platform_type = 'unknown', s.naming_rank, s.source_id"
    return f"(array_agg(s.{name} ORDER BY {order}) FILTER (WHERE s.{name} IS NOT NULL))[1]"


def _filled(name: str, known: bool) -> str:
    if name == "platform_type":
        return "k.platform_type"
    carried = _CARRIED.format(field=name, facts=facts(known), rank=_rank(name))
    if name in _DECIDABLE:
        return f"coalesce(o.{name}, k.{name}, {carried})"
    return f"coalesce(k.{name}, {carried})"


def _rank(name: str) -> str:
    return "naming_rank" if name == "platform_type" else RANKS[name]


_SEARCH = (
    """(strpos(lower(a.hostname), lower(%(search)s)) > 0 OR strpos(host(a.mgmt_ip), lower(%(search)s)) > 0{address})"""
)
_SEARCH_ADDRESS = """
    OR a.root IN (SELECT s.root FROM said s JOIN ledger.normalized_assets n ON n.id = s.normalized_id
                  WHERE %(address)s::inet = ANY(n.ip_addresses))"""
_SOURCE = """
a.root IN (
    SELECT s.root FROM said s WHERE s.source_id = (SELECT id FROM ledger.sources WHERE name = %(source)s)
        AND NOT EXISTS (SELECT FROM closed c WHERE c.link_id = s.link_id))"""


def _conditions(query: AssetQuery) -> list[str]:
    address = _SEARCH_ADDRESS if query.search and parse_address(query.search) else ""
    chosen = [
        (query.search, _SEARCH.format(address=address)),
        (query.asset_type, "a.asset_type = %(asset_type)s"),
        (query.platform_type, "a.platform_type = %(platform_type)s"),
        (query.cpu_cores, "a.cpu_cores = %(cpu_cores)s"),
        (query.source, _SOURCE),
        (query.unknown, f"a.{_UNKNOWN[query.unknown]} IS NULL" if query.unknown else ""),
    ]
    return [condition for asked, condition in chosen if asked]


# --- what they were ----------------------------------------------------------------------------------------------


def values_of(
    connection: Connection, asked: AsOf, ended: Mapping[str, Any], page: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the rows of a page with what they say; days before are read only for those of which the day is not enough.

    `page` are rows of `page_statement`, `ended` what `day_facts.closed` found; all in one transaction.
    """
    p = {**moment(asked), **ended}
    ids = [asset["id"] for asset in page]
    said = by_root(rows_on_day(connection, p, ids))
    decided = decided_values(connection, p, ids)
    doubtful = {
        asset["id"]
        for asset in page
        if asset["looks_back"] or any(row["overtaken"] or row["closed"] for row in said[asset["id"]])
    }
    gone = missing(connection, p, doubtful) if doubtful else {}
    lacking = doubtful | {root for root in ids if not _is_whole(said[root], decided.get(root, {}))}
    if lacking:
        said |= by_root(rows_up_to_day(connection, p, lacking))
    retired = {row["asset_id"]: row["decided_at"] for row in rows(connection, RETIRED, p)}
    return [
        _asset(asset["id"], asked, said[asset["id"]], decided.get(asset["id"], {}))
        | {"missing_since": gone.get(asset["id"]), "retired_at": retired.get(asset["id"])}
        for asset in page
    ]


def _is_whole(found: Sequence[Mapping[str, Any]], decided: Mapping[str, Any]) -> bool:
    return all(field in decided or any(row[field] is not None for row in found) for field in SPECS)


def _asset(
    root: UUID, asked: AsOf, found: Sequence[Mapping[str, Any]], decided: Mapping[str, tuple[Any, str]]
) -> dict[str, Any]:
    said = [day_row(row) for row in found]
    values = values_on(asked.day, said, decided, SPECS)
    return {
        "id": root,
        **{field: value.value for field, value in values.items()},
        **place(found, said),
        **spoken(said),
        **labels(values),
    }
