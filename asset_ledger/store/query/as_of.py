"""The ledger as it was on a past day: a page of a list, and one asset.

Which assets are on a page is decided in SQL from the columns that filter and order it; what they were is then resolved,
for the page alone, by `domain.day_values`. Called by the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asset_ledger.domain.addresses import parse_address
from asset_ledger.domain.as_of import AsOf
from asset_ledger.domain.day_values import NAMING, latest_words, values_on
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.query.assets import AssetQuery
from asset_ledger.store.query.day_facts import DECIDED, RETIRED, SPECS, facts, links, merged, moment, readings
from asset_ledger.store.query.day_rows import BEFORE, ON_DAY, by_root, day_row, day_rows, decided_values, labels

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

# Every machine that a source spoke of on the day or, where it said nothing that day, before it and not too long ago.
# Where the day has a row of every record nothing is `silent`, and no other day is looked at.
_PAGE = """
WITH merged AS MATERIALIZED ({merged}
), decided AS MATERIALIZED (
    SELECT asset_id, {decisions} FROM ({decided}) o GROUP BY asset_id
), retired AS MATERIALIZED ({retired}
), day AS MATERIALIZED (
    SELECT coalesce(g.root, d.asset_id) AS root, g.root IS NULL AS own, {columns}
    FROM {facts} d LEFT JOIN merged g ON g.child = d.asset_id WHERE d.collected_date = %(day)s
), silent AS MATERIALIZED (
    SELECT l.id, l.asset_id, l.external_kind FROM {links} l
    WHERE NOT EXISTS (SELECT FROM day d WHERE d.link_id = l.id AND d.normalized_id IS NOT NULL)
), earlier AS MATERIALIZED (
    SELECT coalesce(g.root, d.asset_id) AS root, g.root IS NULL AS own, d.*, s.external_kind
    FROM silent s CROSS JOIN LATERAL (
        SELECT {columns} FROM {facts} d
        WHERE d.asset_id = s.asset_id AND d.link_id = s.id AND d.normalized_id IS NOT NULL
          AND d.collected_date >= %(from)s AND d.collected_date < %(day)s
        ORDER BY d.collected_date DESC LIMIT 1) d
    LEFT JOIN merged g ON g.child = d.asset_id
), said AS NOT MATERIALIZED (
    SELECT d.root, d.own, {columns} FROM day d WHERE d.normalized_id IS NOT NULL
    UNION ALL
    SELECT d.root, d.own, {columns} FROM earlier d
), several AS MATERIALIZED (
    SELECT root FROM said GROUP BY root HAVING count(*) > 1
), unread AS MATERIALIZED (
    SELECT DISTINCT root FROM day WHERE normalized_id IS NULL
), gone AS MATERIALIZED (
    SELECT e.root FROM (
        SELECT e.root, e.source_id, e.collected_at, (
            SELECT min(i.collected_at) FROM ({readings}) i
            WHERE i.source_id = e.source_id AND (i.collected_date, i.collected_at) > (e.collected_date, e.collected_at)
              AND (i.covers = '{{}}' OR e.external_kind = ANY(i.covers))) AS gone_at
        FROM earlier e
    ) e
    JOIN ledger.sources s ON s.id = e.source_id
    WHERE NOT EXISTS (SELECT FROM day n WHERE n.root = e.root)
    -- as in store.derive.settle
    GROUP BY e.root HAVING NOT bool_or(e.gone_at IS NULL AND s.source_type = 'platform')
        AND coalesce(max(e.collected_at) FILTER (WHERE e.gone_at IS NULL), '-infinity') < max(e.gone_at)
), known AS (
    SELECT s.root, s.collected_date AS seen_date, s.collected_at AS seen_at{one}
    FROM said s WHERE NOT EXISTS (SELECT FROM several v WHERE v.root = s.root)
    UNION ALL
    SELECT s.root, max(s.collected_date), max(s.collected_at){best}
    FROM (
        SELECT DISTINCT ON (d.root, d.source_id) d.*, src.naming_rank, src.specs_rank
        FROM several v JOIN said d ON d.root = v.root JOIN ledger.sources src ON src.id = d.source_id
        ORDER BY d.root, d.source_id, d.collected_date DESC, d.own DESC, d.collected_at DESC, d.link_id DESC
    ) s
    GROUP BY s.root
    UNION ALL
    SELECT u.root, NULL, NULL{none}
    FROM unread u WHERE NOT EXISTS (SELECT FROM said s WHERE s.root = u.root)
), asset AS (
    SELECT k.root, k.seen_date, k.seen_at{filled}
    FROM known k
    LEFT JOIN decided o ON o.asset_id = k.root
    WHERE NOT EXISTS (SELECT FROM gone WHERE gone.root = k.root)
      AND NOT EXISTS (SELECT FROM retired r WHERE r.asset_id = k.root)
)
SELECT {answer} FROM asset a WHERE {wanted}
"""
_ANSWER = """a.root AS id, a.seen_date, count(*) OVER () AS total,
       a.root IN (SELECT e.root FROM earlier e) AS looks_back"""
_KEYS = ("asset_id", "source_id", "link_id", "normalized_id", "collected_date", "collected_at")
# A value that no latest word knows, from an older one: the rows of the asset and of those merged into it.
_CARRIED = """(
    SELECT d.{field} FROM (SELECT k.root AS id UNION ALL SELECT g.child FROM merged g WHERE g.root = k.root) m
    JOIN {facts} d ON d.asset_id = m.id
    JOIN ledger.sources src ON src.id = d.source_id
    WHERE d.collected_date BETWEEN %(from)s AND %(day)s AND d.{field} IS NOT NULL
    ORDER BY src.{rank}, d.collected_date DESC, d.source_id, m.id = k.root DESC, d.collected_at DESC, d.link_id DESC
    LIMIT 1)"""


def list_as_of(connection: Connection, query: AssetQuery, asked: AsOf) -> tuple[list[dict[str, Any]], int]:
    """Return a page of what was known of a day, and how many assets there are in all pages.

    Each has the fields of a day, `seen_date` (the last day up to it on which a source spoke of the machine; None where
    that could only be tried), `sources`, and by field name `carried` (the day a value is from, where that is another),
    `unknown` (the reason for a None) and `decided` (who decided it). What was missing by then, retired by then, or not
    spoken of for longer than values are carried, is not listed. `tags` and `protocol` of the query are no matter of a
    day: they are not looked at. Raises KeyError for a `sort` or `unknown` that there is not.
    """
    statement, parameters = page_statement(query, asked)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        page = rows(connection, statement, parameters)
        if not page and query.offset:
            statement, parameters = page_statement(query, asked, count=True)
            return [], rows(connection, statement, parameters)[0]["total"]
        found = _values(connection, asked, page)
    return found, page[0]["total"] if page else 0


def page_statement(query: AssetQuery, asked: AsOf, *, count: bool = False) -> tuple[str, dict[str, Any]]:
    """Return the statement that chooses a page of a day (or counts all pages), and its parameters."""
    known = asked.known_at is not None
    needed = _needed(query)
    statement = _PAGE.format(
        merged=merged(known),
        decided=DECIDED,
        decisions=", ".join(f"max(value #>> '{{}}') FILTER (WHERE field = '{name}') AS {name}" for name in _DECIDABLE),
        retired=RETIRED,
        readings=readings(known),
        facts=facts(known),
        links=links(known),
        columns=", ".join(f"d.{name}" for name in (*_KEYS, *needed)),
        one="".join(f", s.{name}" for name in needed),
        best="".join(f", {_best(name)}" for name in needed),
        none=", NULL" * len(needed),
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
    first = f"s.{name} = 'unknown', " if name == "platform_type" else ""
    order = f"{first}s.{_rank(name)}, s.collected_date DESC, s.source_id, s.link_id DESC"
    return f"(array_agg(s.{name} ORDER BY {order}) FILTER (WHERE s.{name} IS NOT NULL))[1]"


def _filled(name: str, known: bool) -> str:
    if name == "platform_type":
        return "k.platform_type"
    carried = _CARRIED.format(field=name, facts=facts(known), rank=_rank(name))
    if name in _DECIDABLE:
        return f"coalesce(o.{name}, k.{name}, {carried})"
    return f"coalesce(k.{name}, {carried})"


def _rank(name: str) -> str:
    return "naming_rank" if name in NAMING or name == "platform_type" else "specs_rank"


_SEARCH = (
    """(strpos(lower(a.hostname), lower(%(search)s)) > 0 OR strpos(host(a.mgmt_ip), lower(%(search)s)) > 0{address})"""
)
_SEARCH_ADDRESS = """
    OR a.root IN (SELECT s.root FROM said s JOIN ledger.normalized_assets n ON n.id = s.normalized_id
                  WHERE %(address)s::inet = ANY(n.ip_addresses))"""
_SOURCE = """
a.root IN (SELECT s.root FROM said s WHERE s.source_id = (SELECT id FROM ledger.sources WHERE name = %(source)s))"""


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


def _values(connection: Connection, asked: AsOf, page: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a page with what they say; days before are read only for those of which the day is not enough."""
    ids = [asset["id"] for asset in page]
    said = by_root(day_rows(connection, asked, ids, ON_DAY))
    decided = decided_values(connection, asked, ids)
    lacking = [
        asset["id"]
        for asset in page
        if asset["looks_back"] or not _is_whole(said[asset["id"]], decided.get(asset["id"], {}))
    ]
    if lacking:
        for root, before in by_root(day_rows(connection, asked, lacking, BEFORE)).items():
            said[root] += before
    return [_asset(asset, asked, said[asset["id"]], decided.get(asset["id"], {})) for asset in page]


def _is_whole(found: Sequence[Mapping[str, Any]], decided: Mapping[str, Any]) -> bool:
    return all(field in decided or any(row[field] is not None for row in found) for field in SPECS)


def _asset(
    asset: Mapping[str, Any],
    asked: AsOf,
    found: Sequence[Mapping[str, Any]],
    decided: Mapping[str, tuple[Any, str]],
) -> dict[str, Any]:
    said = [day_row(row) for row in found]
    values = values_on(asked.day, said, decided, SPECS)
    best = sorted(found, key=lambda row: (row["platform_type"] == "unknown", row["naming_rank"], row["source_id"]))
    return {
        "id": asset["id"],
        **{field: value.value for field, value in values.items()},
        "zone": best[0]["zone"] if best else None,
        "platform_type": best[0]["platform_type"] if best else None,
        "sources": sorted({word.source for word in latest_words(said)}),
        "seen_date": asset["seen_date"],
        **labels(values),
    }
