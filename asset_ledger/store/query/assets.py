"""Ledger assets as they are asked for: pages of a list, and which asset a person means by a name.

Only canonical assets are listed, and a name that an asset merged into another had finds the other.
Everything about one asset is `store.query.asset_page`. Called by the command line.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are always parameters
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from asset_ledger.domain.addresses import parse_address
from asset_ledger.domain.as_of import AsOf
from asset_ledger.domain.errors import ASSET_AMBIGUOUS, ASSET_NOT_FOUND, PermanentError
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.query.day_facts import merged, moment

_UNKNOWN = {
    "cpu": "a.cpu_cores IS NULL",
    "memory": "a.memory_bytes IS NULL",
    "disk": "a.disk_total_bytes IS NULL",
    "os": "a.os_family IS NULL",
    "ip": "a.mgmt_ip IS NULL",
}
# {t} is first the table, then the page chosen from it
_SORTS = {
    "hostname": "lower({t}.hostname)",
    "mgmt_ip": "{t}.mgmt_ip",
    "cpu": "{t}.cpu_cores DESC NULLS LAST",
    "memory": "{t}.memory_bytes DESC NULLS LAST",
    "last_seen": "{t}.seen_at DESC NULLS LAST",
}
_STATES = {
    "ledger": "a.deleted_at IS NULL",
    "missing": "a.deleted_at IS NULL AND a.missing_since IS NOT NULL",
    "retired": "a.deleted_at IS NOT NULL",
    "all": "true",
}
UNKNOWN = tuple(_UNKNOWN)
"""What `AssetQuery.unknown` may ask for."""
SORTS = tuple(_SORTS)
"""What `AssetQuery.sort` may be."""
STATES = tuple(_STATES)
"""What `AssetQuery.state` may be: not retired (missing ones among them), missing, retired, or all."""

_ID_PREFIX = re.compile(r"^[0-9a-f]{6,32}$")
_SHOWN_CANDIDATES = 10


@dataclass(frozen=True, slots=True)
class AssetQuery:
    """Which assets to list. What is None or empty asks for nothing; several `tags` are all wanted.

    `search` is a part of a hostname, an alias or the management address, or a whole identifier (address, MAC, serial).
    """

    search: str | None = None
    state: str = "ledger"
    cpu_cores: int | None = None
    tags: tuple[str, ...] = ()
    asset_type: str | None = None
    platform_type: str | None = None
    source: str | None = None
    protocol: str | None = None
    unknown: str | None = None
    sort: str = "hostname"
    limit: int = 50
    offset: int = 0


# Every condition is a join of its own to the planner: an OR of two lookups would be made row by row.
# What was found of an asset that is merged into another is the other's.
_OF_CANONICAL = """a.id IN (
    SELECT coalesce(m.merged_into_asset_id, f.id) FROM ({found}) f(id)
    LEFT JOIN ledger.assets m ON m.id = f.id AND m.merged_into_asset_id IS NOT NULL)"""
_SEARCH_NAME = """
    SELECT named.id FROM ledger.assets named WHERE strpos(lower(named.hostname), lower(%(search)s)) > 0
    UNION ALL
    SELECT al.asset_id FROM ledger.asset_aliases al WHERE strpos(lower(al.value), lower(%(search)s)) > 0
    UNION ALL
    SELECT i.asset_id FROM ledger.asset_identifiers i
    WHERE i.last_seen_at IS NULL AND i.value IN (%(search)s, lower(%(search)s))"""
_SEARCH_ADDRESS = """
    UNION ALL
    SELECT at.id FROM ledger.assets at WHERE strpos(host(at.mgmt_ip), lower(%(search)s)) > 0"""
_TAG = "SELECT t.asset_id FROM ledger.asset_tags t WHERE t.tag = %({name})s AND t.removed_at IS NULL"
# what a person took off the canonical asset, another's tag does not put on again
_TAG_KEPT = """a.id NOT IN (
    SELECT d.asset_id FROM ledger.decisions_in_force d WHERE d.kind = 'tag' AND d.field = %({name})s AND d.value = 'false')"""
_SOURCE = """
    SELECT l.asset_id FROM ledger.asset_source_links l
    WHERE l.closed_at IS NULL AND l.source_id = (SELECT s.id FROM ledger.sources s WHERE s.name = %(source)s)"""
_PART_OF_ADDRESS = re.compile(r"[0-9a-fA-F.:]+")

# The page is chosen first, from as few columns as that needs; the rest is then looked up for its rows alone.
# A value is as old as the last word that has it; where that is older than the asset's last word of all it is stale.
_PAGE = """
WITH page AS MATERIALIZED (
    SELECT a.id, a.hostname, a.mgmt_ip, a.cpu_cores, a.memory_bytes{seen_at}
    FROM ledger.assets a{seen}
    WHERE a.merged_into_asset_id IS NULL AND {wanted}
    ORDER BY {sort_a}, a.id LIMIT %(limit)s OFFSET %(offset)s
), member AS MATERIALIZED (
    SELECT id AS root, id FROM page
    UNION ALL
    SELECT p.id, m.id FROM page p JOIN ledger.assets m ON m.merged_into_asset_id = p.id
), said AS (
    SELECT m.root, array_agg(DISTINCT s.name) AS sources, max(l.last_seen_date) AS last_seen_date,
           max(l.last_seen_at) AS last_seen_at, jsonb_build_object({told}) AS told
    FROM member m
    JOIN ledger.assets a ON a.id = m.root
    JOIN ledger.asset_source_links l ON l.asset_id = m.id AND l.closed_at IS NULL
    JOIN ledger.normalized_assets n ON n.id = l.normalized_id
    JOIN ledger.sources s ON s.id = l.source_id
    GROUP BY m.root
), tagged AS (
    SELECT m.root, array_agg(DISTINCT t.tag ORDER BY t.tag) AS tags
    FROM member m
    JOIN ledger.asset_tags t ON t.asset_id = m.id AND t.removed_at IS NULL
    LEFT JOIN ledger.decisions_in_force d
      ON d.kind = 'tag' AND d.asset_id = m.root AND d.field = t.tag AND d.value = 'false'
    WHERE d.id IS NULL
    GROUP BY m.root
)
SELECT p.id, p.hostname, host(p.mgmt_ip) AS mgmt_ip, a.zone, a.asset_type, a.platform_type, p.cpu_cores,
       p.memory_bytes, a.disk_total_bytes, a.os_family, a.os_version, a.power_state, a.protocol, a.port,
       coalesce(tagged.tags, '{{}}') AS tags, coalesce(said.sources, '{{}}') AS sources,
       said.last_seen_date, said.last_seen_at, a.missing_since, a.deleted_at, a.carried, said.told
FROM page p
JOIN ledger.assets a ON a.id = p.id
LEFT JOIN said ON said.root = p.id
LEFT JOIN tagged ON tagged.root = p.id
ORDER BY {sort_p}, p.id
"""
# By field the last day on which a word of a link `l` with a document `n` had the value of the asset `a`.
TOLD = ", ".join(
    f"'{name}', max(l.last_seen_date) FILTER (WHERE n.{name} = a.{name})"
    for name in (
        "hostname", "mgmt_ip", "asset_type", "cpu_cores", "memory_bytes", "disk_total_bytes", "os_family", "os_version",
        "power_state",
    )
)  # fmt: skip
_SEEN = """
    LEFT JOIN (
        SELECT coalesce(m.merged_into_asset_id, l.asset_id) AS asset_id, max(l.last_seen_at) AS seen_at
        FROM ledger.asset_source_links l
        LEFT JOIN ledger.assets m ON m.id = l.asset_id AND m.merged_into_asset_id IS NOT NULL
        WHERE l.closed_at IS NULL GROUP BY 1
    ) seen ON seen.asset_id = a.id"""


def list_assets(connection: Connection, query: AssetQuery) -> tuple[list[dict[str, Any]], int]:
    """Return a page of canonical assets and how many there are in all pages.

    `carried` has the fields whose value is older than `last_seen_date`, each with the day on which it was last told.
    Raises KeyError for a `sort`, `unknown` or `state` that is not among SORTS, UNKNOWN and STATES.
    """
    wanted = " AND ".join(_conditions(query)) or "true"
    parameters: dict[str, Any] = {
        "search": query.search,
        "asset_type": query.asset_type,
        "platform_type": query.platform_type,
        "source": query.source,
        "protocol": query.protocol,
        "cpu_cores": query.cpu_cores,
        "limit": query.limit,
        "offset": query.offset,
        **{f"tag{number}": tag for number, tag in enumerate(query.tags)},
    }
    by_age = query.sort == "last_seen"
    page = _PAGE.format(
        sort_a=_SORTS[query.sort].format(t="seen" if by_age else "a"),
        sort_p=_SORTS[query.sort].format(t="p"),
        seen_at=", seen.seen_at" if by_age else "",
        seen=_SEEN if by_age else "",
        wanted=wanted,
        told=TOLD,
    )
    found = [with_ages(asset) for asset in rows(connection, page, parameters)]
    if len(found) < query.limit and (found or not query.offset):
        return found, query.offset + len(found)
    total = connection.execute(
        f"""SELECT count(*) FROM ledger.assets a
        WHERE a.merged_into_asset_id IS NULL AND {wanted}""",
        parameters,
    ).fetchone()
    assert total is not None
    return found, total[0]


def with_ages(asset: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose `carried` names every value that is older than the asset's last word."""
    told = {name: day for name, day in (asset.pop("told") or {}).items() if day}
    last = asset["last_seen_date"]
    older = {name: day for name, day in told.items() if last is not None and day < last.isoformat()}
    carried = older | {name: day for name, day in asset["carried"].items() if told.get(name, "") < day}
    return {**asset, "carried": {name: date.fromisoformat(day) for name, day in sorted(carried.items())}}


def _conditions(query: AssetQuery) -> list[str]:
    search = _SEARCH_NAME
    if query.search and _PART_OF_ADDRESS.fullmatch(query.search):
        search += _SEARCH_ADDRESS
    chosen = [
        (query.state, _STATES[query.state]),
        (query.search, _OF_CANONICAL.format(found=search)),
        (query.cpu_cores, "a.cpu_cores = %(cpu_cores)s"),
        (query.asset_type, "a.asset_type = %(asset_type)s"),
        (query.platform_type, "a.platform_type = %(platform_type)s"),
        (query.source, _OF_CANONICAL.format(found=_SOURCE)),
        (query.protocol, "a.protocol = %(protocol)s"),
        (query.unknown, _UNKNOWN[query.unknown] if query.unknown else ""),
    ]
    tags = [
        f"{_OF_CANONICAL.format(found=_TAG)} AND {_TAG_KEPT}".format(name=f"tag{number}")
        for number in range(len(query.tags))
    ]
    return [condition for asked, condition in chosen if asked] + tags


def find_asset(connection: Connection, text: str, *, retired_first: bool = False) -> UUID:
    """Return the canonical asset that a person means by an id, its beginning, a name, or an address.

    The first of these that anything answers to counts: the whole id; management address, hostname or alias; six or
    more characters an id begins with; a current identifier (another address, a MAC, a serial number). To a name or an
    address a missing asset answers only where none that is there does, and a retired one only where no other does: an
    address that was given to a new machine means that one. With `retired_first` it means a retired one where there is.
    Raises PermanentError(ASSET_NOT_FOUND), or PermanentError(ASSET_AMBIGUOUS) whose note names the candidates.
    """
    wanted = text.strip()
    if exact := _by_id(connection, wanted, _ROOT):
        return _only(connection, exact, text)
    named = _by_name(connection, wanted, _ROOT)
    if not named and (beginning := _by_beginning(connection, wanted, _ROOT)):
        return _only(connection, beginning, text)
    known = _by_identifier(connection, wanted, _ROOT)
    standings = ("present", "missing", "retired")
    for standing in reversed(standings) if retired_first else standings:
        for stage in (named, known):
            if chosen := {asset: each for asset, each in stage.items() if each == standing}:
                return _only(connection, chosen, text)
    return _only(connection, {}, text)


def find_asset_then(connection: Connection, text: str, asked: AsOf) -> UUID:
    """Return the asset that a question about the past is about: `find_asset`, but with the merges known at that moment.

    What was merged later was a machine of its own then, so an id, a name or an address means whoever itself has it.
    Without a moment (`known_at`) the merges are those of today. Raises what `find_asset` raises.
    """
    if asked.known_at is None:
        return find_asset(connection, text)
    answers = next(filter(None, bearers(connection, text)), [])
    roots = {row["child"]: row["root"] for row in rows(connection, merged(True), moment(asked))}
    return _only(connection, {roots.get(asset, asset): "" for asset in answers}, text)


def bearers(connection: Connection, text: str) -> Iterator[list[UUID]]:
    """Yield the assets that themselves have this id, name, beginning of an id, or identifier: merged ones are not
    taken for their roots, and none goes before another."""
    for stage in (_by_id, _by_name, _by_beginning, _by_identifier):
        yield list(stage(connection, text.strip(), _ITSELF))


def described(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, str]:
    """Return what to tell people of some assets, in the order of their names: id, hostname, address, zone."""
    found = connection.execute(
        "SELECT id, hostname, host(mgmt_ip), zone FROM ledger.assets WHERE id = ANY(%s) ORDER BY hostname, id",
        [list(ids)],
    )
    return {
        row[0]: "  ".join([str(row[0]), row[1] or "no hostname", row[2] or "no address", f"zone {row[3]}"])
        for row in found
    }


_Answers = dict[UUID, str]
"""Assets that answer to something, each with its standing: present, missing or retired."""
_ROOT, _ITSELF = "coalesce(a.merged_into_asset_id, a.id)", "a.id"


def _only(connection: Connection, found: _Answers, text: str) -> UUID:
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise PermanentError(ASSET_NOT_FOUND, "nothing in the ledger answers to it", target=text)
    error = PermanentError(ASSET_AMBIGUOUS, f"{len(found)} ledger assets answer to it", target=text)
    lines = list(described(connection, found).values())
    more = len(lines) - _SHOWN_CANDIDATES
    shown = lines[:_SHOWN_CANDIDATES] + [f"and {more} more"] * (more > 0)
    error.add_note("\n".join(f"  {line}" for line in shown))
    raise error


def _by_id(connection: Connection, text: str, meant: str) -> _Answers:
    digits = text.lower().replace("-", "")
    if len(digits) != 32 or not _ID_PREFIX.match(digits):
        return {}
    return _answers(connection, meant, "SELECT id FROM ledger.assets WHERE id = %(id)s", {"id": digits})


def _by_name(connection: Connection, text: str, meant: str) -> _Answers:
    address = parse_address(text)
    return _answers(
        connection,
        meant,
        """
        SELECT id FROM ledger.assets WHERE lower(hostname) = lower(%(text)s) OR mgmt_ip = %(address)s::inet
        UNION
        SELECT asset_id FROM ledger.asset_aliases
        WHERE kind IN ('hostname', 'fqdn', 'other') AND lower(value) = lower(%(text)s)
        """,
        {"text": text, "address": None if address is None else str(address)},
    )


def _by_beginning(connection: Connection, text: str, meant: str) -> _Answers:
    digits = text.lower().replace("-", "")
    if not _ID_PREFIX.match(digits):
        return {}
    return _answers(
        connection,
        meant,
        "SELECT id FROM ledger.assets WHERE id BETWEEN %(first)s AND %(last)s",
        {"first": UUID(digits.ljust(32, "0")), "last": UUID(digits.ljust(32, "f"))},
    )


def _by_identifier(connection: Connection, text: str, meant: str) -> _Answers:
    address = parse_address(text)
    values = [text, text.lower()] if address is None else [str(address)]
    return _answers(
        connection,
        meant,
        "SELECT asset_id AS id FROM ledger.asset_identifiers WHERE last_seen_at IS NULL AND value = ANY(%(values)s)",
        {"values": values},
    )


def _answers(connection: Connection, meant: str, ids: str, parameters: dict[str, Any]) -> _Answers:
    found = connection.execute(
        f"""
        SELECT DISTINCT m.id, CASE WHEN m.deleted_at IS NOT NULL THEN 'retired'
                                   WHEN m.missing_since IS NOT NULL THEN 'missing' ELSE 'present' END
        FROM ledger.assets a JOIN ledger.assets m ON m.id = {meant}
        WHERE a.id IN ({ids}) ORDER BY 1
        """,
        parameters,
    )
    return dict(found.fetchall())
