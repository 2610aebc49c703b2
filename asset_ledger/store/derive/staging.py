"""The way of an inventory's items into temporary tables: streamed by COPY, in batches of bounded memory.

The tables belong to the connection and are empty after every commit. What works in them: `store.derive.apply`.
"""

# ruff: noqa: S608 - table names are those of this file
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from asset_ledger.domain.addresses import parse_address
from asset_ledger.domain.inventory import (
    AssetRecord,
    Caution,
    InstanceRecord,
    Item,
    Proof,
    RejectedRow,
    TargetFailure,
    UnchangedRecord,
)
from asset_ledger.domain.normalized import canonical_json, digest, validate
from asset_ledger.store.database import Connection

BATCH = 5000

# made once a connection: 365 days in one run would otherwise make and drop thousands of tables
_TABLES = """
CREATE TEMPORARY TABLE IF NOT EXISTS stage_record (
    ordinal integer, observation_id bigint, external_kind text, external_id text, locator text,
    record_digest bytea, digest bytea, document jsonb) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS stage_unchanged (ordinal integer, record_digest bytea) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS stage_instance (
    ordinal integer, instance_key text, name text, host text, host_ip inet, port integer, db_type text,
    custom_fields jsonb) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS stage_failure (
    ordinal integer, external_kind text, external_id text, mgmt_ip inet, code text) ON COMMIT DELETE ROWS;

-- A row for every record of the reading: which document it is, which link and ledger asset it belongs to; what that link
-- said last (`link_doc`, NULL where it is new) since and until when; and what the day had of it before (`day_id`; `in_day`
-- is whether it had anything).
CREATE TEMPORARY TABLE IF NOT EXISTS seen (
    ordinal integer, external_kind text, external_id text, locator text, record_digest bytea, normalized_id bigint,
    link_id bigint, asset_id uuid, status text, begins boolean DEFAULT false, other_generation boolean DEFAULT false,
    link_doc bigint, link_since date, link_until date, link_missing boolean,
    in_day boolean DEFAULT false, day_id bigint, day_first_at timestamptz, day_last_at timestamptz, before_id bigint
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS hit (
    ordinal integer PRIMARY KEY, mgmt_ip inet, asset_ids uuid[], owner_ids uuid[]) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS fact (
    link_id bigint, asset_id uuid, normalized_id bigint, unknown jsonb) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS told (
    collected_date date, link_id bigint, asset_id uuid, normalized_id bigint, derived_at timestamptz)
    ON COMMIT DELETE ROWS;

-- What the day said until now, while it is derived anew (`store.derive.anew`).
CREATE TEMPORARY TABLE IF NOT EXISTS was_day (
    link_id bigint, asset_id uuid, normalized_id bigint, inventory_id bigint, first_at timestamptz,
    collected_at timestamptz, unknown jsonb, recorded_at timestamptz) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS told_instance (instance_key text, first_before timestamptz) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS slow_link (link_id bigint, asset_id uuid) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS run (
    link_id bigint, normalized_id bigint, inventory_id bigint, first_date date, first_at timestamptz, last_date date,
    last_at timestamptz, latest boolean) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS mended_document (id bigint) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS touched (asset_id uuid) ON COMMIT DELETE ROWS;
"""
_OF_A_READING = "stage_record, stage_unchanged, stage_instance, stage_failure, seen, hit, fact, slow_link, run, touched"
_COPY = {
    "stage_record": "ordinal, observation_id, external_kind, external_id, locator, record_digest, digest, document",
    "stage_unchanged": "ordinal, record_digest",
    "stage_instance": "ordinal, instance_key, name, host, host_ip, port, db_type, custom_fields",
    "stage_failure": "ordinal, external_kind, external_id, mgmt_ip, code",
}
# what the planner needs to know of: sampling the documents too would cost more than it tells
_JOINED = {
    "stage_record": "external_kind, external_id, digest",
    "stage_unchanged": "record_digest",
    "stage_instance": "instance_key",
    "stage_failure": "external_kind, external_id",
}


@dataclass(slots=True)
class Staged:
    """What did not go into a table: it is reported, not written."""

    rejected: list[RejectedRow] = field(default_factory=list)
    failures: list[TargetFailure] = field(default_factory=list)
    cautions: list[Caution] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)


def working_tables(connection: Connection) -> None:
    """Make the temporary tables of this connection, where they are not there yet. They are empty after every commit."""
    if connection.execute("SELECT to_regclass('pg_temp.touched')").fetchone() == (None,):
        connection.execute("SET client_min_messages = warning")
        connection.execute(_TABLES)


def clear_reading(connection: Connection) -> None:
    """Empty what a reading before this one left in the same transaction. `told` and `told_instance` go on counting for
    the whole day."""
    tables = ("seen", "stage_instance", "stage_failure", "touched")
    found = connection.execute(" UNION ALL ".join(f"(SELECT true FROM {table} LIMIT 1)" for table in tables)).fetchone()
    if found is not None:
        connection.execute(f"TRUNCATE {_OF_A_READING}")


def stage(connection: Connection, items: Iterable[tuple[int, Item]]) -> Staged:
    """Fill the staging tables from `(observation id, item)` pairs, inside the caller's transaction.

    Every document is validated. Raises PermanentError(SCHEMA_VALIDATION_FAILED) for one that is not normalized-v1.
    """
    staged = Staged()
    lines: dict[str, list[str]] = {table: [] for table in _COPY}
    filled: set[str] = set()
    for ordinal, (observation_id, item) in enumerate(items):
        match item:
            case UnchangedRecord():
                table, line = "stage_unchanged", f"{ordinal}\t\\\\x{item.record_digest.hex()}\n"
            case AssetRecord():
                table, line = "stage_record", _record_line(ordinal, observation_id, item)
            case InstanceRecord():
                table, line = "stage_instance", _instance_line(ordinal, item)
            case TargetFailure():
                staged.failures.append(item)
                table = "stage_failure"
                line = _line(ordinal, item.external_kind, item.external_id, item.mgmt_ip, item.code.code)
            case RejectedRow():
                staged.rejected.append(item)
                continue
            case Caution():
                staged.cautions.append(item)
                continue
            case Proof():
                staged.proofs.append(item)
                continue
        batch = lines[table]
        batch.append(line)
        if len(batch) >= BATCH:
            _copy(connection, table, batch)
            filled.add(table)
    for table, batch in lines.items():
        if batch or table in filled:
            _copy(connection, table, batch)
            connection.execute(f"ANALYZE {table} ({_JOINED[table]})")
    return staged


def _copy(connection: Connection, table: str, batch: list[str]) -> None:
    if not batch:
        return
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({_COPY[table]}) FROM STDIN") as copy:
        copy.write("".join(batch))
    batch.clear()


def _record_line(ordinal: int, observation_id: int, record: AssetRecord) -> str:
    validate(record.document, target=f"{record.external_id} ({record.locator})")
    text = canonical_json(record.document)
    # one document may be the truth of two machines of a source; its address is that of its record
    content = digest(f"{record.external_kind}\0{record.external_id}\0{text}")
    return (
        f"{ordinal}\t{observation_id}\t{_escaped(record.external_kind)}\t{_escaped(record.external_id)}\t"
        f"{_escaped(record.locator)}\t\\\\x{record.record_digest.hex()}\t\\\\x{content.hex()}\t{_escaped(text)}\n"
    )


def _instance_line(ordinal: int, record: InstanceRecord) -> str:
    address = parse_address(record.host)
    return _line(
        ordinal,
        record.instance_key,
        record.name,
        record.host,
        None if address is None else str(address),
        record.port,
        record.db_type,
        canonical_json(record.custom_fields),
    )


def _line(*fields: str | int | None) -> str:
    return "\t".join(["\\N" if value is None else _escaped(str(value)) for value in fields]) + "\n"


def _escaped(text: str) -> str:
    """Return text as COPY's text form has it; four replacements that find nothing cost a tenth of a translation."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
