"""What happened to every target of every run: when, how long, which code, and what it meant for published data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal

from asset_ledger.domain.errors import ErrorCode, LedgerError
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.partitions import ensure_months
from asset_ledger.store.raw import InventoryRow
from asset_ledger.store.sources import SourceRow

Status = Literal["ok", "partial", "failed", "skipped"]


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


def save_records(
    connection: Connection,
    source: SourceRow,
    inventory: InventoryRow,
    records: Iterable[TargetRecord],
    *,
    run_id: str | None,
    mode: str,
) -> int:
    """Write the records of a reading and return how many."""
    return _save(connection, source, inventory.collected_date, inventory.id, records, run_id=run_id, mode=mode)


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
    _save(connection, source, day, None, [record], run_id=run_id, mode="collect")


def _save(
    connection: Connection,
    source: SourceRow,
    day: date,
    inventory_id: int | None,
    records: Iterable[TargetRecord],
    *,
    run_id: str | None,
    mode: str,
) -> int:
    ensure_months(connection, [day])
    parameters = [
        {
            "date": day,
            "run_id": run_id,
            "source": source.id,
            "inventory": inventory_id,
            "mode": mode,
            "target": record.target,
            "external_id": record.external_id,
            "started_at": record.started_at,
            "duration_ms": record.duration_ms,
            "status": record.status,
            "code": record.code.code if record.code else None,
            "retryable": record.code.retryable if record.code else None,
            "advice": record.code.advice if record.code else None,
            "message": record.message,
            "effect": record.effect,
            "details": json.dumps(dict(record.details), ensure_ascii=False, default=str),
        }
        for record in records
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO ledger.sync_target_records (collected_date, run_id, source_id, inventory_id, scope, mode, target,
                asset_id, started_at, duration_ms, status, error_code, retryable, message, advice, effect, details)
            SELECT %(date)s, %(run_id)s, %(source)s, %(inventory)s, 'all', %(mode)s, %(target)s,
                   (SELECT asset_id FROM ledger.asset_source_links
                    WHERE source_id = %(source)s AND external_id = %(external_id)s AND closed_at IS NULL LIMIT 1),
                   %(started_at)s, %(duration_ms)s, %(status)s, %(code)s, %(retryable)s, %(message)s, %(advice)s,
                   %(effect)s, %(details)s::jsonb
            """,
            parameters,
        )
    return len(parameters)


def list_runs(
    connection: Connection,
    *,
    source: str | None = None,
    mode: str | None = None,
    failed: bool = False,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Return the latest readings with their counts of targets, newest first.

    A run whose files could all not be read has no reading; it is listed with the status `refused`.
    """
    return rows(
        connection,
        """
        SELECT run_id, source, mode, collected_date, recorded_at, status, counts, error_code,
               coalesce(c.ok, 0) AS ok, coalesce(c.partial, 0) AS partial, coalesce(c.failed, refused) AS failed
        FROM (
            SELECT i.id, i.run_id, s.name AS source, i.mode, i.collected_date, i.recorded_at, i.status,
                   i.report -> 'counts' AS counts, i.error_code, 0 AS refused
            FROM ledger.inventories i JOIN ledger.sources s ON s.id = i.source_id
            WHERE NOT %(failed)s OR i.status IN ('failed', 'interrupted') OR EXISTS (
                SELECT 1 FROM ledger.sync_target_records r
                WHERE r.inventory_id = i.id AND r.collected_date = i.collected_date AND r.status = 'failed')
            UNION ALL
            SELECT NULL, r.run_id, s.name, r.mode, r.collected_date, min(r.started_at), 'refused', NULL,
                   min(r.error_code), count(*)
            FROM ledger.sync_target_records r JOIN ledger.sources s ON s.id = r.source_id
            WHERE r.inventory_id IS NULL
            GROUP BY r.run_id, s.name, r.mode, r.collected_date
        ) reading
        LEFT JOIN LATERAL (
            SELECT count(*) FILTER (WHERE r.status = 'ok') AS ok,
                   count(*) FILTER (WHERE r.status = 'partial') AS partial,
                   count(*) FILTER (WHERE r.status = 'failed') AS failed
            FROM ledger.sync_target_records r
            WHERE r.inventory_id = reading.id AND r.collected_date = reading.collected_date
            HAVING reading.id IS NOT NULL
        ) c ON true
        WHERE (%(source)s::text IS NULL OR source = %(source)s) AND (%(mode)s::text IS NULL OR mode = %(mode)s)
        ORDER BY recorded_at DESC, id DESC LIMIT %(limit)s
        """,
        {"source": source, "mode": mode, "failed": failed, "limit": limit},
    )


def run_reports(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """Return the readings of one run with their whole reports, in the order in which they were made."""
    return rows(
        connection,
        """
        SELECT i.id, s.name AS source, i.collected_date, i.mode, i.status, i.error_code, i.report, (
            SELECT min(o.target) FROM ledger.asset_observations o
            WHERE o.inventory_id = i.id AND o.collected_date = i.collected_date HAVING count(*) = 1) AS target
        FROM ledger.inventories i JOIN ledger.sources s ON s.id = i.source_id
        WHERE i.run_id = %s ORDER BY i.id
        """,
        [run_id],
    )


def run_records(
    connection: Connection, run_id: str, *, failed: bool = False, limit: int = 100, offset: int = 0
) -> list[dict[str, Any]]:
    """Return a page of the targets of one run, failed ones first."""
    return rows(
        connection,
        """
        SELECT s.name AS source, r.collected_date, r.target, r.asset_id, r.status, r.error_code, r.retryable, r.message,
               r.advice, r.effect, r.started_at, r.duration_ms, r.details
        FROM ledger.sync_target_records r JOIN ledger.sources s ON s.id = r.source_id
        WHERE r.run_id = %(run_id)s AND (NOT %(failed)s OR r.status IN ('failed', 'partial'))
        ORDER BY array_position(ARRAY['failed', 'partial', 'skipped', 'ok'], r.status), r.id
        LIMIT %(limit)s OFFSET %(offset)s
        """,
        {"run_id": run_id, "failed": failed, "limit": limit, "offset": offset},
    )


def failed_targets(connection: Connection, inventory_ids: list[int], limit: int) -> list[dict[str, Any]]:
    """Return the failed targets of some readings, for a table in a run's metadata."""
    return rows(
        connection,
        """
        SELECT target, error_code, message, effect FROM ledger.sync_target_records
        WHERE inventory_id = ANY(%s) AND status = 'failed' ORDER BY id LIMIT %s
        """,
        [inventory_ids, limit],
    )
