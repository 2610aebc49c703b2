"""Database instances and their links as they are asked for: pages of lists, and which instance a person means.

Everything about one instance is `store.decide.link_decisions.instance_page`. Called by the command line.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from asset_ledger.domain.errors import INSTANCE_AMBIGUOUS, INSTANCE_NOT_FOUND, PermanentError
from asset_ledger.domain.outcome import document_changes
from asset_ledger.store.database import Connection, rows

_ID = re.compile(r"^[0-9a-f]{6,32}$")
_AT = re.compile(r"^(?P<host>.+):(?P<port>\d{1,5})$")
_SHOWN = 10

# The page is chosen first; machines and candidates are then looked up for its rows alone.
_LIST = """
WITH page AS MATERIALIZED (
    SELECT i.* FROM ledger.database_instances i
    WHERE {wanted} ORDER BY i.name, i.id LIMIT %(limit)s OFFSET %(offset)s
)
SELECT i.id, i.name, i.db_type, i.host, i.port, i.zone, s.name AS source, i.custom_fields, i.first_seen_at, i.last_seen_at,
       a.id AS asset_id, a.hostname AS asset, a.missing_since, l.matched_by_rule, l.confidence,
       (SELECT count(*) FROM ledger.instance_asset_links c
        WHERE c.instance_id = i.id AND c.match_status = 'candidate') AS candidates
FROM page i
JOIN ledger.sources s ON s.id = i.source_id
LEFT JOIN LATERAL (
    SELECT * FROM ledger.instance_asset_links l
    WHERE l.instance_id = i.id AND l.match_status = 'confirmed'
    ORDER BY l.confidence DESC, l.updated_at DESC, l.asset_id LIMIT 1
) l ON true
LEFT JOIN ledger.assets a ON a.id = l.asset_id
ORDER BY i.name, i.id
"""
_SEARCH = """
(strpos(lower(i.name), lower(%(search)s)) > 0 OR strpos(lower(i.host), lower(%(search)s)) > 0
 OR strpos(host(i.host_ip), lower(%(search)s)) > 0)"""
_UNLINKED = """
NOT EXISTS (SELECT FROM ledger.instance_asset_links l WHERE l.instance_id = i.id AND l.match_status = 'confirmed')"""

# A candidate waits for a person where its instance has no confirmed machine.
_LINKS = """
SELECT l.instance_id, i.name AS instance, i.db_type, i.host, i.port, l.asset_id, a.hostname, host(a.mgmt_ip) AS mgmt_ip,
       a.missing_since, l.match_status, l.confidence, l.matched_by_rule, l.link_type, l.evidence, l.created_at, l.updated_at,
       l.match_status = 'candidate' AND c.instance_id IS NULL AS waits
FROM ledger.instance_asset_links l
JOIN ledger.database_instances i ON i.id = l.instance_id
JOIN ledger.assets a ON a.id = l.asset_id
LEFT JOIN (
    SELECT DISTINCT instance_id FROM ledger.instance_asset_links WHERE match_status = 'confirmed'
) c ON c.instance_id = l.instance_id
WHERE {wanted}
ORDER BY waits DESC, i.name, l.instance_id, l.match_status <> 'confirmed', l.confidence DESC, l.asset_id
LIMIT %(limit)s OFFSET %(offset)s
"""


def list_instances(
    connection: Connection, *, search: str | None = None, unlinked: bool = False, limit: int = 200, offset: int = 0
) -> list[dict[str, Any]]:
    """Return a page of instances by name, each with the asset it is confirmed to run on.

    `search` is a part of a name, host or address; `unlinked` leaves those without a confirmed asset.
    """
    wanted = " AND ".join([_SEARCH] * bool(search) + [_UNLINKED] * unlinked) or "true"
    return rows(connection, _LIST.replace("{wanted}", wanted), {"search": search, "limit": limit, "offset": offset})


def list_links(
    connection: Connection,
    *,
    status: str | None = None,
    instance: UUID | None = None,
    asset: UUID | None = None,
    limit: int = 200,
    offset: int = 0,
) -> list[dict[str, Any]]:
    """Return a page of links, those first that wait for a person (`waits`)."""
    chosen = [
        (status, "l.match_status = %(status)s"),
        (instance, "l.instance_id = %(instance)s"),
        (asset, "l.asset_id = %(asset)s"),
    ]
    wanted = " AND ".join(condition for value, condition in chosen if value is not None) or "true"
    parameters = {"status": status, "instance": instance, "asset": asset, "limit": limit, "offset": offset}
    return rows(connection, _LINKS.replace("{wanted}", wanted), parameters)


# Days whose word is not that of the day before of which the source told the instance.
_CHANGES = """
SELECT collected_date, was, facts FROM (
    SELECT d.collected_date, f.facts, lag(f.facts) OVER (ORDER BY d.collected_date) AS was
    FROM ledger.database_instances i
    JOIN ledger.instance_daily_specs d ON d.source_id = i.source_id AND d.instance_key = i.instance_key
    CROSS JOIN LATERAL (
        SELECT jsonb_strip_nulls(jsonb_build_object('name', d.name, 'host', d.host, 'port', d.port, 'db_type', d.db_type,
                                                    'custom_fields', d.custom_fields)) AS facts) f
    WHERE i.id = %(instance)s
) days
WHERE was <> facts ORDER BY collected_date DESC
"""


def instance_changes(connection: Connection, instance_id: UUID) -> list[dict[str, Any]]:
    """Return what changed of an instance from day to day, the latest first: `collected_date`, `field`, `before`, `after`."""
    return [
        {"collected_date": day["collected_date"], "field": field, "before": before, "after": after}
        for day in rows(connection, _CHANGES, {"instance": instance_id})
        for field, before, after in document_changes(day["was"], day["facts"])
    ]


def find_instance(connection: Connection, text: str) -> UUID:
    """Return the instance that a person means by an id or its first six characters, a name, host:port, or a host.

    The first of these that any instance answers to counts. Raises PermanentError(INSTANCE_NOT_FOUND), or
    PermanentError(INSTANCE_AMBIGUOUS) whose note lists those that answer.
    """
    wanted = text.strip()
    for found in (_by_id(connection, wanted), _by_name(connection, wanted), _by_place(connection, wanted)):
        if len(found) == 1:
            only: UUID = found[0]["id"]
            return only
        if found:
            error = PermanentError(INSTANCE_AMBIGUOUS, f"{len(found)} database instances answer to it", target=text)
            error.add_note("\n".join(_line(each) for each in found[:_SHOWN]))
            if len(found) > _SHOWN:
                error.add_note(f"  and {len(found) - _SHOWN} more")
            raise error
    raise PermanentError(INSTANCE_NOT_FOUND, "no database instance answers to it", target=text)


_FIND = """
SELECT i.id, i.name, i.host, i.port, i.db_type, i.zone, s.name AS source
FROM ledger.database_instances i JOIN ledger.sources s ON s.id = i.source_id
WHERE {wanted} ORDER BY i.name, i.host, i.port, i.id
"""


def _find(connection: Connection, wanted: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    return rows(connection, _FIND.replace("{wanted}", wanted), parameters)


def _by_id(connection: Connection, text: str) -> list[dict[str, Any]]:
    digits = text.lower().replace("-", "")
    if len(digits) != 32 or not _ID.match(digits):
        return []
    return _find(connection, "i.id = %(id)s", {"id": UUID(digits)})


def _by_name(connection: Connection, text: str) -> list[dict[str, Any]]:
    named = _find(connection, "lower(i.name) = lower(%(text)s)", {"text": text})
    digits = text.lower().replace("-", "")
    if named or not _ID.match(digits):
        return named
    first_last = {"first": UUID(digits.ljust(32, "0")), "last": UUID(digits.ljust(32, "f"))}
    return _find(connection, "i.id BETWEEN %(first)s AND %(last)s", first_last)


def _by_place(connection: Connection, text: str) -> list[dict[str, Any]]:
    """Find by `host:port`, `[address]:port`, or a host alone; a host may be written as it was told or as an address."""
    here = "(lower(i.host) = lower(%(host)s) OR host(i.host_ip) = lower(%(host)s))"
    if at := _AT.match(text):
        p = {"host": at["host"].removeprefix("[").removesuffix("]"), "port": int(at["port"])}
        if found := _find(connection, f"{here} AND i.port = %(port)s", p):
            return found
    return _find(connection, here, {"host": text})


def _line(each: dict[str, Any]) -> str:
    place = f"{each['host']}:{each['port']}" if each["port"] else each["host"]
    return f"  {each['id']}  {each['name']}  {place}  {each['db_type'] or 'no type'}  {each['source']}  zone {each['zone']}"
