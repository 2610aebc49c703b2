"""The machines as a file that `asset-ledger import` reads: the columns of its template, and nothing that it would refuse.

What is read back changes nothing that is shown: values are those of the canonical assets. Left out, and counted, is what
no row can say (a machine without a name or an address of its own in the zone) and what a row would change: a machine that
is missing is there again as soon as a file speaks of it. Called by `pipeline.exports`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psycopg.rows import dict_row

from asset_ledger.domain.addresses import identifies_machine, parse_address
from asset_ledger.domain.errors import EXPORT_ZONE_NEEDED, PermanentError
from asset_ledger.domain.exports import ASSETS, Column, Reading, Row, Table, json_text
from asset_ledger.store.database import Connection, rows

_BATCH = 2_000
_SEPARATORS = re.compile(r"[;,；，、\s]")
_LONGEST_NAME = 253
_COLUMNS = tuple(
    Column(name, "integer" if name in ("port", "cpu_cores", "memory_bytes", "disk_total_bytes") else "text")
    for name in (
        "mgmt_ip", "hostname", "asset_type", "protocol", "port", "credential_ref", "tags", "cpu_cores", "memory_bytes",
        "disk_total_bytes", "os_family", "os_version", "os_name", "serial_number", "vendor", "model", "ip_addresses",
        "mac_addresses", "custom_fields",
    )
)  # fmt: skip

_ZONES = """
SELECT DISTINCT zone FROM ledger.assets WHERE merged_into_asset_id IS NULL AND deleted_at IS NULL ORDER BY zone"""
_SAYABLE = """
    a.missing_since IS NULL AND a.mgmt_ip IS NOT NULL AND a.hostname IS NOT NULL
    AND coalesce(a.asset_type, 'vm') IN ('vm', 'physical')"""
_COUNT = f"""
SELECT count(*) AS n FROM ledger.assets AS a
WHERE a.merged_into_asset_id IS NULL AND a.deleted_at IS NULL AND a.zone = %(zone)s AND NOT ({_SAYABLE})"""  # noqa: S608 - of a constant
# of a document's facts that the asset itself has not, those of the source whose word on names counts
_MACHINES = f"""
SELECT a.id, host(a.mgmt_ip) AS mgmt_ip, a.hostname, a.asset_type, a.protocol, a.port, a.credential_ref, a.cpu_cores,
       a.memory_bytes, a.disk_total_bytes, a.os_family, a.os_version, a.custom_fields,
       count(*) OVER (PARTITION BY a.mgmt_ip) AS bearers, said.*, tagged.tags
FROM ledger.assets AS a
CROSS JOIN LATERAL (
    SELECT array_agg(w.os_name ORDER BY w.place) FILTER (WHERE w.os_name IS NOT NULL) AS os_names,
           array_agg(w.serial ORDER BY w.place) FILTER (WHERE w.serial IS NOT NULL) AS serials,
           array_agg(w.vendor ORDER BY w.place) FILTER (WHERE w.vendor IS NOT NULL) AS vendors,
           array_agg(w.model ORDER BY w.place) FILTER (WHERE w.model IS NOT NULL) AS models,
           jsonb_agg(w.addresses ORDER BY w.place) AS addresses, jsonb_agg(w.macs ORDER BY w.place) AS macs,
           jsonb_agg(w.said_tags ORDER BY w.place) AS said_tags
    FROM (
        SELECT n.document #>> '{{os,name}}' AS os_name, n.document #>> '{{identity,serial_number}}' AS serial,
               n.document #>> '{{hardware,vendor}}' AS vendor, n.document #>> '{{hardware,model}}' AS model,
               n.document #> '{{network,ip_addresses}}' AS addresses, n.document #> '{{network,mac_addresses}}' AS macs,
               n.document -> 'tags' AS said_tags,
               row_number() OVER (ORDER BY s.naming_rank, l.last_seen_at DESC, l.id DESC) AS place
        FROM ledger.assets AS m
        JOIN ledger.asset_source_links AS l ON l.asset_id = m.id AND l.closed_at IS NULL
        JOIN ledger.normalized_assets AS n ON n.id = l.normalized_id
        JOIN ledger.sources AS s ON s.id = l.source_id
        WHERE m.id = a.id OR m.merged_into_asset_id = a.id) AS w) AS said
CROSS JOIN LATERAL (
    SELECT array_agg(DISTINCT t.tag ORDER BY t.tag) AS tags
    FROM ledger.assets AS m
    JOIN ledger.asset_tags AS t ON t.asset_id = m.id AND t.removed_at IS NULL
    LEFT JOIN ledger.decisions_in_force AS d
      ON d.kind = 'tag' AND d.asset_id = a.id AND d.field = t.tag AND d.value = 'false'
    WHERE (m.id = a.id OR m.merged_into_asset_id = a.id) AND d.id IS NULL) AS tagged
WHERE a.merged_into_asset_id IS NULL AND a.deleted_at IS NULL AND a.zone = %(zone)s AND ({_SAYABLE})
ORDER BY a.mgmt_ip"""  # noqa: S608 - of a constant


class LeftOut:
    """How many machines are in no row; it is known when the last row was taken."""

    def __init__(self, count: int) -> None:
        self.count = count


def read_importable(connection: Connection, zone: str | None) -> tuple[Reading, LeftOut]:
    """Return the machines of a zone as rows to import. Inside `store.query.exports.snapshot`.

    Raises PermanentError(EXPORT_ZONE_NEEDED) where there are several and none is named.
    """
    zones = [row["zone"] for row in rows(connection, _ZONES)]
    if zone is None and len(zones) > 1:
        raise PermanentError(EXPORT_ZONE_NEEDED, f"the zones are {', '.join(zones)}", target=ASSETS)
    if zone is not None and zone not in zones:
        raise PermanentError(
            EXPORT_ZONE_NEEDED, f"no machine is in it; the zones are {', '.join(zones) or 'none yet'}", target=zone
        )
    chosen = {"zone": zone or (zones[0] if zones else "")}
    left_out = LeftOut(rows(connection, _COUNT, chosen)[0]["n"])
    return Reading(Table(ASSETS, "", _COLUMNS), _batches(connection, chosen, left_out)), left_out


def _batches(connection: Connection, chosen: Mapping[str, Any], left_out: LeftOut) -> Iterator[Sequence[Row]]:
    with connection.cursor(name="export_hosts", row_factory=dict_row) as cursor:
        cursor.execute(_MACHINES, chosen)
        while found := cursor.fetchmany(_BATCH):
            said = [row for row in found if _can_be_said(row)]
            left_out.count += len(found) - len(said)
            yield [_row(row) for row in said]


def _can_be_said(row: Mapping[str, Any]) -> bool:
    address, name = parse_address(row["mgmt_ip"]), row["hostname"]
    return (
        row["bearers"] == 1
        and address is not None
        and identifies_machine(address)
        and len(name) <= _LONGEST_NAME
        and name.isprintable()
        and not any(map(str.isspace, name))
        and not any(_SEPARATORS.search(tag) for tag in row["tags"] or ())
    )


def _row(row: Mapping[str, Any]) -> Row:
    of_lists = {
        "tags": ";".join(_in_order(row["tags"] or (), _all(row["said_tags"]))),
        "ip_addresses": ";".join(_all(row["addresses"])),
        "mac_addresses": ";".join(_all(row["macs"])),
        "custom_fields": json_text(row["custom_fields"]) if row["custom_fields"] else None,
    }
    first = {"os_name": "os_names", "serial_number": "serials", "vendor": "vendors", "model": "models"}
    firsts = {name: (row[several] or [None])[0] for name, several in first.items()}
    cells = {**row, **of_lists, **firsts}
    return [cells[column.name] if cells[column.name] != "" else None for column in _COLUMNS]


def _in_order(tags: Sequence[str], said: Sequence[str]) -> list[str]:
    """Return tags in the order in which they were said, what a person added behind: another order is another word."""
    places = {tag: place for place, tag in enumerate(said)}
    return sorted(tags, key=lambda tag: (places.get(tag, len(places)), tag))


def _all(lists: Sequence[Sequence[str] | None] | None) -> list[str]:
    return list(dict.fromkeys(each for one in lists or () for each in one or ()))
