"""What happened to every target of every run: when, how long, which code, and what it meant for published data.

Written here, inside the transactions of `pipeline`; how it is listed is `store.query.runs`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal

from asset_ledger.domain.errors import ErrorCode, IncompleteError, LedgerError
from asset_ledger.store.database import Connection
from asset_ledger.store.partitions import ensure_months
from asset_ledger.store.raw import InventoryRow
from asset_ledger.store.sources import SourceRow

Status = Literal["ok", "partial", "failed", "skipped"]

UNDERIVED = "nothing was derived from it"
"""How the effect of a target begins whose reading is kept and could not be derived."""


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """One target of one run. `external_id` joins it to its ledger asset, where it has one."""

    target: str
    external_id: str | None
    started_at: datetime
    duration_ms: int
    status: Status
    code: ErrorCode | None
    message: str | None
    effect: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReusedId:
    """An external id under which a source now has another machine. `former_id` is the ledger asset it was before."""

    external_kind: str
    external_id: str
    asset_id: str
    former_id: str | None


def save_records(
    connection: Connection,
    source: SourceRow,
    inventory: InventoryRow,
    records: Iterable[TargetRecord],
    *,
    run_id: str | None,
    mode: str,
) -> int:
    """Write the records of a reading and return how many, inside the caller's transaction."""
    return _save(
        connection,
        source,
        inventory.collected_date,
        inventory.id,
        records,
        run_id=run_id,
        mode=mode,
        scope=inventory.scope,
    )


def save_rejected_file(
    connection: Connection, source: SourceRow, day: date, name: str, error: LedgerError, *, run_id: str | None
) -> None:
    """Write the record of a file that could not be read at all, and so has no reading."""
    record = TargetRecord(
        name,
        None,
        datetime.now(UTC),
        0,
        "failed",
        error.code,
        error.message,
        "nothing of it was taken; the ledger keeps what it had",
    )
    with connection.transaction():
        _save(connection, source, day, None, [record], run_id=run_id, mode="collect")


def save_underived(
    connection: Connection,
    source: SourceRow,
    inventory: InventoryRow,
    target: str,
    error: Exception,
    *,
    run_id: str | None,
    mode: str,
) -> None:
    """Write the record of a reading that is kept and could not be derived, in a transaction of its own.

    Without a connection nothing is written: that the server went is not what happened to the target.
    """
    if connection.closed or connection.broken:
        return
    stands = "what the day said before" if inventory.status == "derived" else "yesterday's values, with their age,"
    record = _failed(target, error, f"{UNDERIVED}; {stands} stands", inventory.collected_at)
    with connection.transaction():
        save_records(connection, source, inventory, [record], run_id=run_id, mode=mode)


def save_unread(
    connection: Connection,
    source: SourceRow,
    day: date,
    error: Exception,
    *,
    run_id: str | None,
    mode: str,
    scope: str = "all",
) -> None:
    """Write the record of a live source that could not be read in `scope`, and mark what came in of it as interrupted.

    A transaction of its own. Whatever the reason, nothing is derived from a reading that did not come to its end.
    """
    if connection.closed or connection.broken:
        return
    code = error.code.code if isinstance(error, LedgerError) else type(error).__name__
    with connection.transaction():
        half = connection.execute(
            """
            UPDATE ledger.inventories SET status = 'interrupted', error_code = %s
            WHERE source_id = %s AND status = 'reading' AND run_id = %s AND scope = %s RETURNING id
            """,
            [code, source.id, run_id, scope],
        ).fetchone()
        record = _failed(
            whole_of(source.name, scope),
            error,
            "it was not read; nothing is missing by that, and yesterday's values, with their age, stand",
            datetime.now(UTC),
        )
        inventory = None if half is None else half[0]
        _save(connection, source, day, inventory, [record], run_id=run_id, mode=mode, scope=scope)


def add_effect(
    connection: Connection, inventory: InventoryRow, told: str, counts: Mapping[str, int], *, run_id: str | None
) -> None:
    """Add to what a run's record of a reading as a whole says that it meant, and to its counts."""
    connection.execute(
        """
        UPDATE ledger.sync_target_records
        SET effect = concat_ws('; ', effect, %(told)s::text),
            details = jsonb_set(details, '{counts}', details -> 'counts' || %(counts)s::jsonb)
        WHERE collected_date = %(date)s AND inventory_id = %(inventory)s AND run_id IS NOT DISTINCT FROM %(run_id)s
          AND details ? 'counts'
        """,
        {
            "told": told,
            "counts": json.dumps(dict(counts)),
            "date": inventory.collected_date,
            "inventory": inventory.id,
            "run_id": run_id,
        },
    )


def add_to_report(connection: Connection, inventory: InventoryRow, counts: Mapping[str, int]) -> None:
    """Add counts to the report of a reading, which otherwise stays as it was written first."""
    connection.execute(
        """
        UPDATE ledger.inventories SET report = jsonb_set(report, '{counts}', report -> 'counts' || %s::jsonb)
        WHERE id = %s AND report ? 'counts'
        """,
        [json.dumps(dict(counts)), inventory.id],
    )


def whole_of(source: str, scope: str) -> str:
    """Return what a source, or a scope of it, is called as a target: a record is of the one or the other."""
    return source if scope == "all" else f"{source} {scope}"


def _failed(target: str, error: Exception, effect: str, started_at: datetime) -> TargetRecord:
    return TargetRecord(
        target,
        None,
        started_at,
        0,
        "failed",
        error.code if isinstance(error, LedgerError) else None,
        error.message
        if isinstance(error, LedgerError)
        # what else it says may quote the raw
        else f"a defect of its parser: {type(error).__name__}; the run's log says where",
        effect,
        {"proof": dict(error.proof)} if isinstance(error, IncompleteError) else {},
    )


def raw_target(connection: Connection, inventory: InventoryRow) -> str | None:
    """Return the name of the only raw record of a reading, or None where there are several."""
    row = connection.execute(
        """
        SELECT min(target) FROM ledger.asset_observations WHERE inventory_id = %s AND collected_date = %s
        HAVING count(*) = 1
        """,
        [inventory.id, inventory.collected_date],
    ).fetchone()
    return None if row is None else row[0]


def reused_ids(connection: Connection) -> list[ReusedId]:
    """Return the records of the reading that is being applied whose external id was another machine's before.

    Inside the transaction that applies it: the working table `seen` is looked at.
    """
    found = connection.execute(
        """
        SELECT s.external_kind, s.external_id, s.asset_id::text, (
            SELECT l.asset_id::text FROM ledger.asset_source_links l
            WHERE l.source_id = n.source_id AND l.external_kind = s.external_kind AND l.external_id = s.external_id
              AND l.id <> s.link_id
            ORDER BY l.closed_at DESC NULLS LAST LIMIT 1)
        FROM seen s JOIN ledger.normalized_assets n ON n.id = s.normalized_id
        WHERE s.begins AND s.other_generation ORDER BY s.ordinal
        """
    )
    return [ReusedId(*row) for row in found]


_STAGE = """
CREATE TEMPORARY TABLE IF NOT EXISTS stage_target (
    ordinal integer, target text, external_id text, started_at timestamptz, duration_ms integer, status text, code text,
    retryable boolean, message text, advice text, effect text, details jsonb) ON COMMIT DELETE ROWS
"""
_COPY = """
COPY stage_target (ordinal, target, external_id, started_at, duration_ms, status, code, retryable, message, advice,
    effect, details) FROM STDIN
"""
# the ids in the order of the records: a page goes by them
_INSERT = """
INSERT INTO ledger.sync_target_records (collected_date, run_id, source_id, inventory_id, scope, mode, target, asset_id,
    started_at, duration_ms, status, error_code, retryable, message, advice, effect, details)
SELECT %(date)s, %(run_id)s, %(source)s, %(inventory)s, %(scope)s, %(mode)s, t.target, l.asset_id, t.started_at,
       t.duration_ms, t.status, t.code, t.retryable, t.message, t.advice, t.effect, t.details
FROM stage_target t
LEFT JOIN (
    SELECT DISTINCT ON (external_id) external_id, asset_id FROM ledger.asset_source_links
    WHERE source_id = %(source)s AND closed_at IS NULL AND %(joined)s
    ORDER BY external_id, external_kind
) l ON l.external_id = t.external_id
ORDER BY t.ordinal
"""


def _save(
    connection: Connection,
    source: SourceRow,
    day: date,
    inventory_id: int | None,
    records: Iterable[TargetRecord],
    *,
    run_id: str | None,
    mode: str,
    scope: str = "all",
) -> int:
    ensure_months(connection, [day])
    # looked up first: the notice of a table that is there already goes to the server's log every time
    if connection.execute("SELECT to_regclass('pg_temp.stage_target')").fetchone() == (None,):
        connection.execute(_STAGE)
    connection.execute("TRUNCATE stage_target")
    count, joined = 0, False
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for count, record in enumerate(records, 1):
            joined = joined or record.external_id is not None
            copy.write_row(
                (
                    count,
                    record.target,
                    record.external_id,
                    record.started_at,
                    record.duration_ms,
                    record.status,
                    record.code.code if record.code else None,
                    record.code.retryable if record.code else None,
                    None if record.message is None else record.message.replace("\x00", "\ufffd"),
                    record.code.advice if record.code else None,
                    record.effect,
                    json.dumps(dict(record.details), ensure_ascii=False, default=str).replace("\\u0000", "\ufffd"),
                )
            )
    connection.execute(
        _INSERT,
        {
            "date": day,
            "run_id": run_id,
            "source": source.id,
            "inventory": inventory_id,
            "scope": scope,
            "mode": mode,
            "joined": joined,
        },
    )
    return count
