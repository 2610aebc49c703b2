"""What changed across the ledger from day to day: events between the words of each record, and machines gone and back.

Words are few where days are many: of a record only the documents it ever gave are compared. Called by the command line
and, for one asset, by `store.query.asset_page`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby, islice
from typing import Any
from uuid import UUID

from asset_ledger.domain.calendar import FIRST_DAY, LEDGER_TIMEZONE
from asset_ledger.domain.history import Word, events, field_name
from asset_ledger.domain.normalized import schema
from asset_ledger.store.database import Connection, rows

RECORD = "record"
"""The field of what happens to a record as a whole: it appeared, is missing, is seen again."""
CHUNK = 500
"""How many words are compared at a time, so that a page of a long window needs little memory."""


@dataclass(frozen=True, slots=True)
class ChangeQuery:
    """Which changes: of days from `since` to `until`, of these assets with all that are merged into them, of a source.

    `field` is one of `known_fields`, `custom_fields.NAME`, or a document's path: see `is_field`.
    """

    since: date
    until: date
    asset_ids: tuple[UUID, ...] | None = None
    source: str | None = None
    field: str | None = None
    limit: int = 100
    offset: int = 0


def list_changes(connection: Connection, query: ChangeQuery) -> tuple[list[dict[str, Any]], bool]:
    """Return a page of changes, newest day first, and whether there are more.

    Each has day, since (the last day on which it was known otherwise), change, field, before, after, source,
    external_kind, external_id, asset_id and hostname (of the canonical asset). Ends of relations have a `name`.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        streams = [_word_events(connection, query)]
        if query.field in (None, RECORD):
            streams.append(iter(_absence_events(connection, query)))
        every = heapq.merge(*streams, key=_place)
        found = list(islice(every, query.offset, query.offset + query.limit + 1))
        page = found[: query.limit]
        _name_ends(connection, page)
    for event in page:
        del event["link_id"], event["source_id"]
    return page, len(found) > query.limit


def known_fields() -> tuple[str, ...]:
    """Return every name that a change may have as its field, but those of custom fields."""
    fields = map(field_name, _paths(schema()["properties"]))
    return tuple(sorted({*fields, *_kinds_of_relations(), RECORD}))


def is_field(name: str) -> bool:
    """Return whether a change may be of this field, by the name or by the document's path."""
    own = any(name.startswith(prefix) and name != prefix for prefix in _OF_THEIR_OWN)
    return own or field_name(name) in known_fields()


_OF_THEIR_OWN = ("custom_fields.", "identity.generation.")
_NOT_FIELDS = ("schema", "unknown", "identifiers", "relations", "custom_fields", "generation")


def _paths(properties: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, part in properties.items():
        if name in _NOT_FIELDS:
            continue
        if "properties" in part:
            yield from _paths(part["properties"], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _kinds_of_relations() -> tuple[str, ...]:
    return tuple(schema()["properties"]["relations"]["items"]["properties"]["kind"]["enum"])


def _place(event: dict[str, Any]) -> tuple[int, int]:
    return (-event["day"].toordinal(), event["link_id"])


_WORDS = """
SELECT w.link_id, w.first_date, l.asset_id AS member_id, coalesce(a.merged_into_asset_id, l.asset_id) AS asset_id,
       coalesce(root.hostname, a.hostname) AS hostname, s.id AS source_id, s.name AS source, l.external_kind, l.external_id
FROM (
    SELECT id AS link_id, since_date AS first_date FROM ledger.asset_source_links
    WHERE since_date BETWEEN %(since)s AND %(until)s
    UNION ALL
    SELECT link_id, first_date FROM ledger.asset_past_words WHERE first_date BETWEEN %(since)s AND %(until)s
) w
JOIN ledger.asset_source_links l ON l.id = w.link_id
JOIN ledger.sources s ON s.id = l.source_id
LEFT JOIN ledger.assets a ON a.id = l.asset_id
LEFT JOIN ledger.assets root ON root.id = a.merged_into_asset_id
WHERE {wanted}
ORDER BY w.first_date DESC, w.link_id
"""
_EARLIER = """
SELECT w.link_id, w.first_date, w.last_date, w.normalized_id
FROM ledger.asset_words w
WHERE w.link_id = ANY(%(links)s) AND w.first_date <= %(until)s
ORDER BY w.link_id, w.first_date
"""


# an array, so that the few records of an asset are found by its id
_MEMBERS = """ARRAY(
    SELECT id FROM ledger.assets WHERE id = ANY(%(assets)s) OR merged_into_asset_id = ANY(%(assets)s))"""


def _parameters(query: ChangeQuery) -> dict[str, Any]:
    return {
        "since": query.since,
        "until": query.until,
        "assets": None if query.asset_ids is None else list(query.asset_ids),
        "source": query.source,
    }


def _wanted(query: ChangeQuery) -> str:
    chosen = [
        (query.asset_ids is not None, f"l.asset_id = ANY({_MEMBERS})"),
        (query.source is not None, "s.name = %(source)s"),
    ]
    return " AND ".join(condition for asked, condition in chosen if asked) or "true"


def _word_events(connection: Connection, query: ChangeQuery) -> Iterator[dict[str, Any]]:
    """Yield what the words that began in the window tell, newest day first, then by record."""
    began = rows(connection, _WORDS.format(wanted=_wanted(query)), _parameters(query))
    field = None if query.field is None else field_name(query.field)
    for start in range(0, len(began), CHUNK):
        chunk = began[start : start + CHUNK]
        told = _told(connection, sorted({word["link_id"] for word in chunk}), until=chunk[0]["first_date"])
        for word in chunk:
            for event in told.get((word["link_id"], word["first_date"]), ()):
                if field is None or event["field"] == field:
                    yield {**event, **{name: word[name] for name in _OF_RECORD}}


_OF_RECORD = ("link_id", "source_id", "source", "external_kind", "external_id", "asset_id", "hostname")


def _told(connection: Connection, links: Sequence[int], *, until: date) -> dict[tuple[int, date], list[dict[str, Any]]]:
    """Return the events of some records up to a day, by record and day."""
    words = rows(connection, _EARLIER, {"links": links, "until": until})
    documents: dict[int, dict[str, Any]] = dict(
        connection.execute(
            "SELECT id, document FROM ledger.normalized_assets WHERE id = ANY(%s)",
            [sorted({word["normalized_id"] for word in words})],
        ).fetchall()
    )
    told: dict[tuple[int, date], list[dict[str, Any]]] = {}
    for link_id, of_link in groupby(words, key=lambda word: word["link_id"]):
        said = [Word(word["first_date"], word["last_date"], documents[word["normalized_id"]]) for word in of_link]
        for event in events(said):
            told.setdefault((link_id, event.day), []).append(
                {
                    "day": event.day,
                    "since": event.since,
                    "change": event.change,
                    "field": event.field,
                    "before": event.before,
                    "after": event.after,
                }
            )
    return told


# --- gone and back -----------------------------------------------------------------------------------------------

# A record is missing from the first complete reading after its last day that did not see it, until it has a day again.
# What is missing now stands on its link.
_ABSENCES = """
WITH counting AS MATERIALIZED (
    SELECT i.source_id, i.covers, i.collected_date
    FROM ledger.inventories i
    LEFT JOIN ledger.decisions_in_force d ON d.kind = 'absences' AND d.inventory_id = i.id
    WHERE i.complete AND i.status = 'derived'
      AND CASE WHEN d.value IS NULL THEN i.absences = 'applied' ELSE d.value = '"approved"' END
    GROUP BY 1, 2, 3
), {gap}
), told AS (
    SELECT g.id, 'missing' AS change, c.day, g.last_day AS since
    FROM gap g CROSS JOIN LATERAL (
        SELECT min(c.collected_date) AS day FROM counting c
        WHERE c.source_id = g.source_id AND c.collected_date > g.last_day
          AND (c.covers = '{{}}' OR g.external_kind = ANY(c.covers))) c
    UNION ALL
    SELECT id, 'seen again', next_day, last_day FROM gap
    UNION ALL
    SELECT l.id, 'missing', (l.missing_since AT TIME ZONE %(zone)s)::date, l.last_seen_date
    FROM ledger.asset_source_links l
    JOIN ledger.sources s ON s.id = l.source_id
    LEFT JOIN ledger.assets a ON a.id = l.asset_id
    WHERE l.missing_since IS NOT NULL AND {wanted}
)
SELECT t.day, t.since, t.change, 'record' AS field, NULL AS before, NULL AS after, l.id AS link_id, s.id AS source_id,
       s.name AS source, l.external_kind, l.external_id, coalesce(a.merged_into_asset_id, l.asset_id) AS asset_id,
       coalesce(root.hostname, a.hostname) AS hostname
FROM told t
JOIN ledger.asset_source_links l ON l.id = t.id
JOIN ledger.sources s ON s.id = l.source_id
LEFT JOIN ledger.assets a ON a.id = l.asset_id
LEFT JOIN ledger.assets root ON root.id = a.merged_into_asset_id
WHERE t.day BETWEEN %(since)s AND %(until)s
ORDER BY t.day DESC, l.id, t.change
"""
# Of records that came back the readings of the window are asked, and the one before it, whether they had a day of them.
_GAPS = """
asked AS MATERIALIZED (
    SELECT source_id, covers, collected_date FROM counting WHERE collected_date BETWEEN %(since)s AND %(until)s
    UNION
    SELECT source_id, covers, max(collected_date) FROM counting WHERE collected_date < %(since)s GROUP BY 1, 2
), unseen AS (
    SELECT l.id, l.asset_id, l.source_id, l.external_kind, c.collected_date
    FROM asked c
    JOIN ledger.asset_source_links l ON l.source_id = c.source_id AND l.last_seen_date > c.collected_date
        AND (c.covers = '{{}}' OR l.external_kind = ANY(c.covers))
    JOIN ledger.sources s ON s.id = l.source_id
    WHERE {wanted} AND NOT EXISTS (
        SELECT FROM ledger.asset_daily_specs d
        WHERE d.collected_date = c.collected_date AND d.asset_id = l.asset_id AND d.source_id = l.source_id
          AND d.link_id = l.id AND d.collected_date >= (SELECT min(collected_date) FROM asked)
          AND d.collected_date <= %(until)s)
), gap AS (
    SELECT DISTINCT u.id, u.source_id, u.external_kind, before.day AS last_day, after.day AS next_day
    FROM unseen u
    CROSS JOIN LATERAL (
        SELECT d.collected_date AS day FROM ledger.asset_daily_specs d
        WHERE d.asset_id = u.asset_id AND d.link_id = u.id AND d.collected_date < u.collected_date
          AND d.normalized_id IS NOT NULL
        ORDER BY d.collected_date DESC LIMIT 1) before
    CROSS JOIN LATERAL (
        SELECT d.collected_date AS day FROM ledger.asset_daily_specs d
        WHERE d.asset_id = u.asset_id AND d.link_id = u.id AND d.collected_date > u.collected_date
          AND d.normalized_id IS NOT NULL
        ORDER BY d.collected_date LIMIT 1) after
"""
# Of one asset it is cheaper to look at its days.
_GAPS_OF_ASSETS = """
gap AS (
    SELECT l.id, l.source_id, l.external_kind, d.last_day, d.next_day
    FROM (
        SELECT link_id, collected_date AS last_day,
               lead(collected_date) OVER (PARTITION BY link_id ORDER BY collected_date) AS next_day
        FROM ledger.asset_daily_specs
        WHERE normalized_id IS NOT NULL AND asset_id = ANY({members})
    ) d
    JOIN ledger.asset_source_links l ON l.id = d.link_id
    WHERE d.next_day > d.last_day + 1 AND EXISTS (
        SELECT FROM counting c
        WHERE c.source_id = l.source_id AND c.collected_date > d.last_day AND c.collected_date < d.next_day
          AND (c.covers = '{{}}' OR l.external_kind = ANY(c.covers)))
"""


def _absence_events(connection: Connection, query: ChangeQuery) -> list[dict[str, Any]]:
    gap = (_GAPS if query.asset_ids is None else _GAPS_OF_ASSETS).format(wanted=_wanted(query), members=_MEMBERS)
    statement = _ABSENCES.format(gap=gap, wanted=_wanted(query))
    return rows(connection, statement, {**_parameters(query), "zone": LEDGER_TIMEZONE})


# --- one asset, and names ----------------------------------------------------------------------------------------


def asset_events(connection: Connection, asset_ids: Sequence[UUID], *, today: date, last: int) -> list[dict[str, Any]]:
    """Return the `last` things that happened to an asset (its id and those merged into it), newest first."""
    query = ChangeQuery(FIRST_DAY, today, tuple(asset_ids), limit=last)
    streams = (_word_events(connection, query), _absence_events(connection, query))
    found = list(islice(heapq.merge(*streams, key=_place), last))
    _name_ends(connection, found)
    for event in found:
        del event["link_id"], event["source_id"]
    return found


_ENDS = """
SELECT DISTINCT ON (e.source_id, e.kind, e.id) e.source_id, e.kind, e.id, coalesce(a.hostname, n.caption, n.hostname) AS name
FROM unnest(%(sources)s::integer[], %(kinds)s::text[], %(ids)s::text[]) AS e(source_id, kind, id)
JOIN ledger.asset_source_links l ON l.source_id = e.source_id AND l.external_kind = e.kind AND l.external_id = e.id
JOIN ledger.normalized_assets n ON n.id = l.normalized_id
LEFT JOIN ledger.assets a ON a.id = l.asset_id
ORDER BY e.source_id, e.kind, e.id, l.closed_at IS NOT NULL, l.last_seen_at DESC
"""


End = tuple[int, str, str]
"""The far end of a relation: source id, external kind, external id."""


def end_names(connection: Connection, wanted: Iterable[End]) -> dict[End, str | None]:
    """Return the names that the far ends of relations have in the ledger."""
    ends = sorted(set(wanted))
    if not ends:
        return {}
    sources, kinds, ids = (list(column) for column in zip(*ends, strict=True))
    found = rows(connection, _ENDS, {"sources": sources, "kinds": kinds, "ids": ids})
    return {(row["source_id"], row["kind"], row["id"]): row["name"] for row in found}


def end_names_of(
    connection: Connection, source: str, wanted: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str | None]:
    """Return the names that far ends of a source's relations have in the ledger, by external kind and id."""
    found = connection.execute("SELECT id FROM ledger.sources WHERE name = %s", [source]).fetchone()
    if found is None:
        return {}
    names = end_names(connection, ((found[0], kind, external_id) for kind, external_id in wanted))
    return {(kind, external_id): name for (_, kind, external_id), name in names.items()}


def _name_ends(connection: Connection, found: Iterable[dict[str, Any]]) -> None:
    """Put names beside the ids of the far ends of relations."""
    ends = [
        ((event["source_id"], end["external_kind"], end["external_id"]), end)
        for event in found
        for end in (event["before"], event["after"])
        if isinstance(end, dict) and end.keys() == {"external_kind", "external_id"}
    ]
    names = end_names(connection, (key for key, _ in ends))
    for key, end in ends:
        end["name"] = names.get(key)
