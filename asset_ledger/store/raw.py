"""Raw readings: committed as they come in, before anything is derived from them, and read back for replay."""

# ruff: noqa: S608 - statements are put together from constants of the store; values are always parameters
from __future__ import annotations

import gzip
import hashlib
import json
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg

from asset_ledger.domain.errors import (
    RAW_DAMAGED,
    RAW_NOT_STORED,
    IncompleteError,
    LedgerError,
    PermanentError,
    RetryableError,
)
from asset_ledger.domain.raw import RawRecord
from asset_ledger.store.database import Connection
from asset_ledger.store.partitions import ensure_months
from asset_ledger.store.scopes import overlaps, spanned
from asset_ledger.store.sessions import living
from asset_ledger.store.sources import SourceRow

_BATCH = 200
_BATCH_BYTES = 8 << 20
"""Records are written and read in batches of at most so many, and so many bytes as received: a record may be megabytes."""
_BATCH_S = 5.0
"""What comes in slowly is written after so many seconds: what was read before a kill is not read again."""


@dataclass(frozen=True, slots=True)
class InventoryRow:
    """One reading of one scope. The fields are the table's columns."""

    id: int
    scope: str
    covers: list[str]
    collected_date: date
    collected_at: datetime
    run_id: str | None
    mode: str
    complete: bool
    status: str
    absences: str | None = None
    parser_version: int | None = None
    derived_at: datetime | None = None
    error_code: str | None = None


_COLUMNS = """id, scope, covers, collected_date, collected_at, run_id, mode, complete, status, absences,
    parser_version, derived_at, error_code"""


def save_inventory(
    connection: Connection,
    source: SourceRow,
    records: Iterable[RawRecord],
    *,
    scope: str,
    collected_date: date,
    collected_at: datetime,
    run_id: str | None,
    mode: str,
    complete: bool,
    covers: Sequence[str] = (),
) -> InventoryRow:
    """Write a reading record by record and return its row, then of status 'raw'.

    `complete` and `covers` are as in the table; where completeness is to be proven, deriving sets it.

    Records are committed in batches as `records` yields them; until the last one the inventory is of status
    'reading', and it stays so if the process dies. What `records` raises is raised once what came until then is
    committed, as evidence of status 'interrupted'. Raises RetryableError(RAW_NOT_STORED) if PostgreSQL refuses.
    """
    try:
        ensure_months(connection, [collected_date])
        opened = connection.execute(
            """
            INSERT INTO ledger.inventories
                (source_id, scope, covers, collected_date, collected_at, run_id, mode, complete, status)
            VALUES (%s, %s, %s, %s, %s, %s, %s, false, 'reading') RETURNING id
            """,
            [source.id, scope, list(covers), collected_date, collected_at, run_id, mode],
        ).fetchone()
        assert opened is not None
        batch: list[RawRecord] = []
        size = 0
        written = time.monotonic()
        try:
            for record in records:
                batch.append(record)
                size += len(record.body)
                if len(batch) == _BATCH or size >= _BATCH_BYTES or time.monotonic() - written >= _BATCH_S:
                    _insert(connection, source, opened[0], collected_date, batch)
                    batch.clear()
                    size = 0
                    written = time.monotonic()
        except LedgerError as error:
            _break_off(connection, source, opened[0], collected_date, batch, error)
            raise
        with connection.transaction():
            _insert(connection, source, opened[0], collected_date, batch)
            connection.execute(
                "UPDATE ledger.inventories SET status = 'raw', complete = %s WHERE id = %s", [complete, opened[0]]
            )
    except psycopg.Error as error:
        raise RetryableError(RAW_NOT_STORED, str(error).strip().splitlines()[0], target=source.name) from error
    return InventoryRow(opened[0], scope, list(covers), collected_date, collected_at, run_id, mode, complete, "raw")


def inventory_columns() -> str:
    """Return the columns of `ledger.inventories` that make an InventoryRow, in its order."""
    return _COLUMNS


def inventories(
    connection: Connection, source: SourceRow, collected_date: date, covers: Sequence[str] = ()
) -> list[InventoryRow]:
    """Return a day's whole readings of a source in the order in which they count, derived or not.

    With `covers` those that speak of one of these external kinds, or of a kind of such a reading: what a day says of
    the kinds can only be derived from all of them together.
    """
    found = connection.execute(
        f"""
        SELECT {_COLUMNS}
        FROM ledger.inventories
        WHERE source_id = %s AND collected_date = %s AND status IN ('raw', 'derived', 'failed')
        ORDER BY collected_at, id
        """,
        [source.id, collected_date],
    )
    every = [InventoryRow(*row) for row in found]
    reached = frozenset(covers)
    mine = [one for one in every if overlaps(one.covers, reached)]
    while (further := spanned([reached, *(one.covers for one in mine)])) != reached:
        reached = further
        mine = [one for one in every if overlaps(one.covers, reached)]
    return mine


def take_up(
    connection: Connection,
    source: SourceRow,
    collected_date: date,
    run_ids: Collection[str],
    *,
    again: Collection[str] = (),
) -> frozenset[str | None]:
    """Make what runs that were killed had read of a probing raw to be derived; return the ledger assets it tells of.

    Each record of a probe is the whole word of its machine, so that what a reading lacks takes nothing from the rest.
    What these runs read to the end counts too. An asset of which all that is told is a failure with one of the error
    codes `again` is not returned. The caller holds what they read, and none of them is at work any more.
    """
    taken = {"source": source.id, "date": collected_date, "runs": list(run_ids), "again": list(again)}
    with connection.transaction():
        connection.execute(
            """
            UPDATE ledger.inventories i
            SET error_code = NULL,
                status = CASE WHEN EXISTS (SELECT FROM ledger.asset_observations o
                                           WHERE o.collected_date = i.collected_date AND o.inventory_id = i.id)
                              THEN 'raw' ELSE 'interrupted' END
            WHERE source_id = %(source)s AND collected_date = %(date)s AND run_id = ANY(%(runs)s)
              AND status IN ('reading', 'interrupted')
            """,
            taken,
        )
        found = connection.execute(
            """
            SELECT DISTINCT o.payload #>> '{target,asset_id}'
            FROM ledger.asset_observations o JOIN ledger.inventories i ON i.id = o.inventory_id
            WHERE o.collected_date = %(date)s AND i.source_id = %(source)s AND i.collected_date = %(date)s
              AND i.run_id = ANY(%(runs)s) AND i.status IN ('raw', 'derived')
              AND (o.payload #>> '{error,code}' = ANY(%(again)s)) IS NOT TRUE
            """,
            taken,
        ).fetchall()
    return frozenset(asset_id for (asset_id,) in found)


def broken_off(connection: Connection, since: date) -> Mapping[str, Mapping[date, list[str]]]:
    """Return, by source and day from `since` on, the runs that kept some raw of a reading and came to no end with it.

    Runs that have a session are at it still, and are not among them.
    """
    found = connection.execute(
        """
        SELECT s.name, i.collected_date, array_agg(DISTINCT i.run_id)
        FROM ledger.inventories i JOIN ledger.sources s ON s.id = i.source_id
        WHERE i.status IN ('reading', 'interrupted') AND i.collected_date >= %s AND i.run_id <> ALL(%s)
          AND EXISTS (SELECT FROM ledger.asset_observations o
                      WHERE o.collected_date = i.collected_date AND o.inventory_id = i.id)
        GROUP BY s.name, i.collected_date
        """,
        [since, list(living(connection))],
    )
    by_source: dict[str, dict[date, list[str]]] = {}
    for name, day, run_ids in found:
        by_source.setdefault(name, {})[day] = run_ids
    return by_source


def earliest_in_progress(
    connection: Connection, source: SourceRow, collected_date: date
) -> tuple[datetime, int] | None:
    """Return when the earliest reading of a day began that a run is still at, with its id; None where none is."""
    row = connection.execute(
        """
        SELECT collected_at, id FROM ledger.inventories
        WHERE source_id = %s AND collected_date = %s AND status = 'reading' AND run_id = ANY(%s)
        ORDER BY collected_at, id LIMIT 1
        """,
        [source.id, collected_date, list(living(connection))],
    ).fetchone()
    return None if row is None else (row[0], row[1])


def latest_reading(
    connection: Connection, source: SourceRow, collected_date: date | None = None, *, scope: str | None = None
) -> InventoryRow | None:
    """Return the newest reading of a source, of one of its days or scopes, also one that broke off or failed."""
    found = connection.execute(
        f"""
        SELECT {_COLUMNS} FROM ledger.inventories
        WHERE source_id = %(source)s AND (%(date)s::date IS NULL OR collected_date = %(date)s)
          AND (%(scope)s::text IS NULL OR scope = %(scope)s)
        ORDER BY collected_date DESC, collected_at DESC, id DESC LIMIT 1
        """,
        {"source": source.id, "date": collected_date, "scope": scope},
    ).fetchone()
    return None if found is None else InventoryRow(*found)


def observations(connection: Connection, inventory: InventoryRow) -> Iterator[tuple[int, RawRecord]]:
    """Yield the raw records of a reading with their observation ids, in the order they came in."""
    kept = connection.execute(
        "SELECT id, body_bytes FROM ledger.asset_observations WHERE collected_date = %s AND inventory_id = %s ORDER BY id",
        [inventory.collected_date, inventory.id],
    ).fetchall()
    for ids in _batches(kept):
        batch = connection.execute(
            """
            SELECT id, target, media_type, body, sha256, payload, observed_at, redacted
            FROM ledger.asset_observations
            WHERE collected_date = %s AND inventory_id = %s AND id = ANY(%s) ORDER BY id
            """,
            [inventory.collected_date, inventory.id, ids],
            binary=True,
        ).fetchall()
        for observation_id, target, media_type, body, sha256, payload, observed_at, redacted in batch:
            whole = _whole(body, None if redacted else sha256, inventory, target)
            yield observation_id, RawRecord(target, media_type, whole, sha256, payload, observed_at, redacted)


def _batches(kept: Iterable[tuple[int, int]]) -> Iterator[list[int]]:
    """Yield the ids of records in batches, `kept` being ids and sizes."""
    ids: list[int] = []
    size = 0
    for one, length in kept:
        if ids and (len(ids) == _BATCH or size + length > _BATCH_BYTES):
            yield ids
            ids, size = [], 0
        ids.append(one)
        size += length
    if ids:
        yield ids


def _whole(body: bytes, sha256: bytes | None, inventory: InventoryRow, target: str) -> bytes:
    """Return the bytes as they were received. Raises PermanentError(RAW_DAMAGED) for any other."""
    try:
        whole = gzip.decompress(body)
    except (OSError, EOFError, zlib.error) as error:
        cause = str(error) or type(error).__name__
    else:
        if sha256 is None or hashlib.sha256(whole).digest() == sha256:
            return whole
        cause = "its bytes are not those whose digest was kept"
    raise PermanentError(
        RAW_DAMAGED, f"of {inventory.collected_date}, kept as inventory {inventory.id}: {cause}", target=target
    )


@dataclass(frozen=True, slots=True)
class TakenContent:
    """Bytes that were taken before: under which name, and whether they still wait to be derived."""

    name: str
    pending: bool


def content_taken(
    connection: Connection, source: SourceRow, sha256: bytes, collected_date: date
) -> TakenContent | None:
    """Return how these very bytes were taken for this day before, or None."""
    found = connection.execute(
        """
        SELECT o.target, i.status = 'raw'
        FROM ledger.asset_observations o JOIN ledger.inventories i ON i.id = o.inventory_id
        WHERE o.source_id = %s AND o.sha256 = %s AND o.collected_date = %s AND i.status IN ('raw', 'derived', 'failed')
        ORDER BY o.id LIMIT 1
        """,
        [source.id, sha256, collected_date],
    ).fetchone()
    return None if found is None else TakenContent(*found)


@contextmanager
def blaming(connection: Connection, begun: Sequence[InventoryRow]) -> Iterator[None]:
    """Mark the last of the readings that were begun as failed if deriving it raises, so that it holds up no other.

    One that was derived before stays so: its rows stand, since what raised is rolled back.

    Trouble of the database or with the connection is not the reading's fault: it then waits for the next run.
    """
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError):
        raise
    except Exception as error:
        if begun and begun[-1].status != "derived" and not connection.closed:
            inventory = begun[-1]
            code = error.code.code if isinstance(error, LedgerError) else type(error).__name__
            mark_failed(connection, inventory, code, proof=_proof(error))
            error.add_note(f"The raw of {inventory.collected_date} is kept as inventory {inventory.id}.")
        raise


def mark_failed(connection: Connection, inventory: InventoryRow, code: str, *, proof: str | None = None) -> None:
    """Note that a reading could not be derived. Its raw is kept; deriving the whole day again tries it again.

    `proof` is what stands against its completeness, as JSON, where that was the reason.
    """
    connection.execute(
        "UPDATE ledger.inventories SET status = 'failed', error_code = %s, proof = coalesce(%s::jsonb, proof) WHERE id = %s",
        [code, proof, inventory.id],
    )


def _proof(error: Exception) -> str | None:
    return json.dumps(error.proof, ensure_ascii=False, default=str) if isinstance(error, IncompleteError) else None


def _break_off(
    connection: Connection,
    source: SourceRow,
    inventory_id: int,
    collected_date: date,
    records: list[RawRecord],
    error: LedgerError,
) -> None:
    with connection.transaction():
        _insert(connection, source, inventory_id, collected_date, records)
        connection.execute(
            """
            UPDATE ledger.inventories
            SET status = 'interrupted', error_code = %s, proof = coalesce(%s::jsonb, proof) WHERE id = %s
            """,
            [error.code.code, _proof(error), inventory_id],
        )
    error.add_note(f"What was read of {collected_date} until then is kept as inventory {inventory_id}.")


def _insert(
    connection: Connection, source: SourceRow, inventory_id: int, collected_date: date, records: list[RawRecord]
) -> None:
    if not records:
        return
    parameters: list[list[Any]] = [
        [
            collected_date,
            inventory_id,
            source.id,
            source.source_type,
            record.target,
            record.observed_at,
            record.media_type,
            # level 1: raw is written once while people wait, and text shrinks tenfold even so
            gzip.compress(record.body, compresslevel=1, mtime=0),
            len(record.body),
            record.sha256,
            record.redacted,
            json.dumps(record.document, ensure_ascii=False, default=str).replace("\\u0000", "\ufffd"),
        ]
        for record in records
    ]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO ledger.asset_observations (collected_date, inventory_id, source_id, source_type, target,
                observed_at, media_type, body, body_bytes, sha256, redacted, payload)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %b, %s, %b, %s, %s::jsonb)
            """,
            parameters,
        )
