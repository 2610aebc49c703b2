"""What happened to every target of every run: when, how long, which code, and what it meant for published data."""

# ruff: noqa: S608 - statements are put together from constants of this file; values are always parameters
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

_UNDERIVED = "nothing was derived from it"


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
    record = _failed(target, error, f"{_UNDERIVED}; {stands} stands", inventory.collected_at)
    with connection.transaction():
        save_records(connection, source, inventory, [record], run_id=run_id, mode=mode)


def save_unread(
    connection: Connection, source: SourceRow, day: date, error: Exception, *, run_id: str | None, mode: str
) -> None:
    """Write the record of a live source that could not be read, and mark what came in of it as interrupted.

    A transaction of its own. Whatever the reason, nothing is derived from a reading that did not come to its end.
    """
    if connection.closed or connection.broken:
        return
    code = error.code.code if isinstance(error, LedgerError) else type(error).__name__
    with connection.transaction():
        half = connection.execute(
            """
            UPDATE ledger.inventories SET status = 'interrupted', error_code = %s
            WHERE source_id = %s AND status = 'reading' AND run_id = %s RETURNING id
            """,
            [code, source.id, run_id],
        ).fetchone()
        record = _failed(
            source.name,
            error,
            "it was not read; nothing is missing by that, and yesterday's values, with their age, stand",
            datetime.now(UTC),
        )
        _save(connection, source, day, None if half is None else half[0], [record], run_id=run_id, mode=mode)


def _failed(target: str, error: Exception, effect: str, started_at: datetime) -> TargetRecord:
    told = isinstance(error, LedgerError)
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
        {"proof": error.proof} if told and hasattr(error, "proof") else {},
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


# One row is what one run did of one source for one day. A run has its own readings, what it could not read at all, and,
# if it is a replay, readings of other runs: those and their counts stay as that run left them.
_DONE = """
SELECT i.run_id, i.source_id, i.collected_date, i.mode, max(i.recorded_at) AS recorded_at,
       (array_agg(i.status ORDER BY array_position(ARRAY['interrupted', 'failed', 'reading', 'raw', 'derived'], i.status)))[1]
           AS status,
       min(i.error_code) AS error_code, max(i.id) AS place
FROM ledger.inventories i
WHERE (%(source)s::integer IS NULL OR i.source_id = %(source)s) AND (%(mode)s::text IS NULL OR i.mode = %(mode)s)
  AND (NOT %(failed)s OR i.status IN ('failed', 'interrupted') OR EXISTS (
    SELECT FROM ledger.sync_target_records r
    WHERE r.run_id = i.run_id AND r.status = 'failed' AND r.source_id = i.source_id
      AND r.collected_date = i.collected_date))
GROUP BY i.run_id, i.source_id, i.collected_date, i.mode
UNION ALL
SELECT r.run_id, r.source_id, r.collected_date, 'replay', max(r.recorded_at), NULL, NULL, NULL
FROM ledger.sync_target_records r
WHERE r.mode = 'replay' AND (%(source)s::integer IS NULL OR r.source_id = %(source)s)
  AND (%(mode)s::text IS NULL OR %(mode)s = 'replay')
GROUP BY r.run_id, r.source_id, r.collected_date
HAVING NOT %(failed)s OR bool_or(r.status = 'failed')
UNION ALL
SELECT r.run_id, r.source_id, r.collected_date, r.mode, max(r.recorded_at), 'refused', min(r.error_code), NULL
FROM ledger.sync_target_records r
WHERE r.inventory_id IS NULL AND r.mode <> 'replay' AND (%(source)s::integer IS NULL OR r.source_id = %(source)s)
  AND (%(mode)s::text IS NULL OR r.mode = %(mode)s)
  AND NOT EXISTS (
    SELECT FROM ledger.inventories i
    WHERE i.run_id = r.run_id AND i.source_id = r.source_id AND i.collected_date = r.collected_date)
GROUP BY r.run_id, r.source_id, r.collected_date, r.mode
"""


def list_runs(
    connection: Connection,
    *,
    source: str | None = None,
    mode: str | None = None,
    failed: bool = False,
    limit: int = 50,
    offset: int = 0,
) -> list[dict[str, Any]]:
    """Return what the latest runs did, a row for each source and day of a run, newest first, with its own targets.

    A run that got no reading (a file that could not be read, a source that did not answer) is listed as `refused`.
    """
    known = connection.execute("SELECT id FROM ledger.sources WHERE name = %s", [source]).fetchone()
    if source is not None and known is None:
        return []
    return rows(
        connection,
        f"""
        WITH done AS MATERIALIZED (
            -- the targets are counted for the page alone
            SELECT * FROM ({_DONE}) every
            ORDER BY recorded_at DESC, place DESC, run_id, source_id, collected_date DESC
            LIMIT %(limit)s OFFSET %(offset)s
        )
        SELECT d.run_id, s.name AS source, d.mode, d.collected_date, d.recorded_at,
               coalesce(d.status, CASE WHEN c.underived THEN 'failed' ELSE 'derived' END) AS status,
               coalesce(t.counts, i.counts) AS counts, coalesce(d.error_code, c.error_code) AS error_code,
               coalesce(c.ok, 0) AS ok, coalesce(c.partial, 0) AS partial, coalesce(c.failed, 0) AS failed
        FROM done d JOIN ledger.sources s ON s.id = d.source_id
        LEFT JOIN LATERAL (
            SELECT count(*) FILTER (WHERE r.status = 'ok') AS ok,
                   count(*) FILTER (WHERE r.status = 'partial') AS partial,
                   count(*) FILTER (WHERE r.status = 'failed') AS failed,
                   bool_or(starts_with(r.effect, %(underived)s)) AS underived,
                   min(r.error_code) FILTER (WHERE starts_with(r.effect, %(underived)s)) AS error_code
            FROM ledger.sync_target_records r
            WHERE r.run_id = d.run_id AND r.source_id = d.source_id AND r.collected_date = d.collected_date
        ) c ON true
        LEFT JOIN LATERAL (
            SELECT jsonb_object_agg(key, total) AS counts FROM (
                SELECT each.key, sum(each.value::bigint) AS total
                FROM ledger.sync_target_records r, jsonb_each_text(r.details -> 'counts') each
                WHERE r.run_id = d.run_id AND r.source_id = d.source_id AND r.collected_date = d.collected_date
                GROUP BY each.key) sums
        ) t ON true
        LEFT JOIN LATERAL (
            -- a probe's targets have no counts each: its report has, until a replay writes it anew
            SELECT i.report -> 'counts' AS counts FROM ledger.inventories i WHERE i.id = d.place AND t.counts IS NULL
        ) i ON true
        ORDER BY d.recorded_at DESC, d.place DESC, d.run_id, d.source_id, d.collected_date DESC
        """,
        {
            "source": None if known is None else known[0],
            "mode": mode,
            "failed": failed,
            "limit": limit,
            "offset": offset,
            "underived": _UNDERIVED,
        },
    )


def run_reports(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """Return the readings that one run made or derived again with their whole reports, in the order they were made.

    A reading of another run has the mode `replay`; where this run could not derive it, no report, since that would be
    the report of the run that could.
    """
    return rows(
        connection,
        """
        SELECT i.id, s.name AS source, i.collected_date, (
            SELECT min(o.target) FROM ledger.asset_observations o
            WHERE o.inventory_id = i.id AND o.collected_date = i.collected_date HAVING count(*) = 1) AS target,
               CASE WHEN i.run_id = %(run_id)s THEN i.mode ELSE 'replay' END AS mode,
               CASE WHEN again.underived THEN 'failed' ELSE i.status END AS status,
               CASE WHEN again.underived THEN again.error_code ELSE i.error_code END AS error_code,
               CASE WHEN again.underived THEN '{}'::jsonb ELSE i.report END AS report
        FROM ledger.inventories i JOIN ledger.sources s ON s.id = i.source_id
        LEFT JOIN (
            SELECT r.inventory_id, bool_or(starts_with(r.effect, %(underived)s)) AS underived,
                   min(r.error_code) FILTER (WHERE starts_with(r.effect, %(underived)s)) AS error_code
            FROM ledger.sync_target_records r WHERE r.run_id = %(run_id)s GROUP BY r.inventory_id
        ) again ON again.inventory_id = i.id AND i.run_id IS DISTINCT FROM %(run_id)s
        WHERE i.run_id = %(run_id)s OR again.inventory_id IS NOT NULL
        ORDER BY i.id
        """,
        {"run_id": run_id, "underived": _UNDERIVED},
    )


# Worst first: of 10,000 targets the few that failed are looked for.
_WANTED = """
r.run_id = %(run_id)s
AND (%(status)s::text[] IS NULL OR r.status = ANY(%(status)s))
AND (%(code)s::text IS NULL OR r.error_code = %(code)s)
AND (%(text)s::text IS NULL OR strpos(lower(concat_ws(' ', r.target, r.message, r.effect)), lower(%(text)s)) > 0)
"""


def run_records(
    connection: Connection,
    run_id: str,
    *,
    failed: bool = False,
    status: str | None = None,
    code: str | None = None,
    text: str | None = None,
    limit: int = 100,
    offset: int = 0,
) -> list[dict[str, Any]]:
    """Return a page of the targets of one run, failed ones first.

    `failed` asks for those that failed or are partial, `status` for one status, `code` for an error code, `text` for a
    part of target, message or effect.
    """
    return rows(
        connection,
        f"""
        WITH page AS MATERIALIZED (
            SELECT r.id, r.collected_date,
                   array_position(ARRAY['failed', 'partial', 'skipped', 'ok'], r.status) AS place
            FROM ledger.sync_target_records r WHERE {_WANTED}
            ORDER BY place, r.id LIMIT %(limit)s OFFSET %(offset)s
        )
        SELECT s.name AS source, r.collected_date, r.target, r.asset_id, r.status, r.error_code, r.retryable, r.message,
               r.advice, r.effect, r.started_at, r.duration_ms, r.details
        FROM page p
        JOIN ledger.sync_target_records r USING (collected_date, id)
        JOIN ledger.sources s ON s.id = r.source_id
        ORDER BY p.place, p.id
        """,
        _asked(run_id, failed, status, code, text) | {"limit": limit, "offset": offset},
    )


def count_records(
    connection: Connection,
    run_id: str,
    *,
    failed: bool = False,
    status: str | None = None,
    code: str | None = None,
    text: str | None = None,
) -> int:
    """Return how many targets of one run `run_records` has for these wishes, over all pages."""
    row = connection.execute(
        f"SELECT count(*) FROM ledger.sync_target_records r WHERE {_WANTED}",
        _asked(run_id, failed, status, code, text),
    ).fetchone()
    assert row is not None
    return int(row[0])


def _asked(run_id: str, failed: bool, status: str | None, code: str | None, text: str | None) -> dict[str, Any]:
    statuses = [status] if status is not None else ["failed", "partial"] if failed else None
    return {"run_id": run_id, "status": statuses, "code": code, "text": text}


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
