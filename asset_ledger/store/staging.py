"""The way of an inventory's items into temporary tables: streamed by COPY, in batches of bounded memory.

Only `store.apply` uses this. The tables end with the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from asset_ledger.domain.addresses import parse_address
from asset_ledger.domain.inventory import (
    AssetRecord,
    Caution,
    InstanceRecord,
    Item,
    RejectedRow,
    TargetFailure,
    UnchangedRecord,
)
from asset_ledger.domain.normalized import canonical_json, digest, validate
from asset_ledger.store.database import Connection

BATCH = 5000

_TABLES = """
CREATE TEMPORARY TABLE stage_record (
    ordinal integer, observation_id bigint, external_kind text, external_id text, locator text,
    record_digest bytea, digest bytea, document jsonb) ON COMMIT DROP;
CREATE TEMPORARY TABLE stage_unchanged (ordinal integer, record_digest bytea) ON COMMIT DROP;
CREATE TEMPORARY TABLE stage_instance (
    ordinal integer, instance_key text, name text, host text, host_ip inet, port integer, db_type text,
    custom_fields jsonb) ON COMMIT DROP;
CREATE TEMPORARY TABLE stage_failure (
    ordinal integer, external_kind text, external_id text, mgmt_ip inet, code text) ON COMMIT DROP;
"""
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


def stage(connection: Connection, items: Iterable[tuple[int, Item]]) -> Staged:
    """Fill the staging tables from `(observation id, item)` pairs, inside the caller's transaction.

    Every document is validated. Raises PermanentError(SCHEMA_VALIDATION_FAILED) for one that is not normalized-v1.
    """
    connection.execute(_TABLES)
    staged = Staged()
    lines: dict[str, list[str]] = {table: [] for table in _COPY}
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
        batch = lines[table]
        batch.append(line)
        if len(batch) >= BATCH:
            _copy(connection, table, batch)
    for table, batch in lines.items():
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
