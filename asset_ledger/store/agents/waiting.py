"""Reports that wait in `agent.reports`: which days they are of, and their way into the ledger as raw of a source.

The table is the queue. What is taken out of it becomes a reading of its day in the same transaction, so that no report
is lost or in the ledger twice. Asked by the sensor of agents and by `pipeline.agents`, as the owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import groupby
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.raw import Delivered, RawRecord
from asset_ledger.store.database import Connection
from asset_ledger.store.partitions import ensure_months
from asset_ledger.store.raw import save_inventory
from asset_ledger.store.sources import SourceRow
from asset_ledger.store.tenancy import as_tenant

BELL = "agent_reports"
MOST = 5000
"""Reports in one reading: deriving one is a transaction."""
_AT_ONCE = 50
_64_BITS = 2**64 - 1
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class WaitingDay:
    """What waits for a day. `which` is another for every other set of it; `oldest_s` and `newest_s` are ages."""

    day: date
    reports: int
    which: str
    oldest_s: float
    newest_s: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken in of a day: reports, in how many readings; `late` are older than what was there already."""

    reports: int = 0
    readings: int = 0
    late: int = 0


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a report stands in its day."""

    id: int
    client: str
    at: datetime


def waiting_days(connection: Connection, tenant_id: UUID) -> list[WaitingDay]:
    """Return the days that reports of a tenant wait for, the oldest first."""
    with as_tenant(connection, tenant_id), connection.cursor(row_factory=class_row(WaitingDay)) as cursor:
        return cursor.execute(
            """
            SELECT collected_date AS day, count(*) AS reports,
                   to_hex(bit_xor(hashint8extended(id, 0)) & %(bits)s::bigint) || '/' || max(id) AS which,
                   extract(epoch FROM clock_timestamp() - min(received_at))::float AS oldest_s,
                   extract(epoch FROM clock_timestamp() - max(received_at))::float AS newest_s
            FROM agent.reports WHERE tenant_id = %(tenant)s GROUP BY collected_date ORDER BY collected_date
            """,
            {"tenant": tenant_id, "bits": _64_BITS >> 1},
        ).fetchall()


def listen(connection: Connection) -> None:
    """Hear the bell from now on, on this connection: it rings when a report comes."""
    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(BELL)))


def rung(connection: Connection, within_s: float) -> bool:
    """Wait for the bell, and say whether it was rung."""
    return any(True for _ in connection.notifies(timeout=within_s, stop_after=1))


def take(
    connection: Connection,
    tenant_id: UUID,
    source: SourceRow,
    day: date,
    record: Callable[[Delivered], RawRecord],
    *,
    run_id: str | None,
    mode: str,
) -> Taken:
    """Move what waits for a day into the ledger as raw of a source that the caller holds, and return how much it was.

    Reports of one hour are a reading, which counts from its last one. What is older than what its machine said on the
    day already is a reading before all others of the day: it may not have the day's last word. Each reading is a
    transaction; whoever is killed between two leaves the others waiting. Raises RetryableError(RAW_NOT_STORED).
    """
    ensure_months(connection, [day])
    taken = Taken()
    while True:
        with as_tenant(connection, tenant_id):
            late, batch = _next(connection, tenant_id, source, day)
            if not batch:
                return taken
            first, last = _span(connection, source, day)
            at = batch[-1].at
            if late:
                at = batch[0].at if first is None else min(batch[0].at, first - _TICK)
            elif last is not None:
                at = max(at, last + _TICK)
            save_inventory(
                connection,
                source,
                _records(connection, tenant_id, batch, record),
                scope="all",
                collected_date=day,
                collected_at=at,
                run_id=run_id,
                mode=mode,
                # no machine speaks of another
                complete=False,
            )
            connection.execute(
                "DELETE FROM agent.reports WHERE tenant_id = %s AND id = ANY(%s)",
                [tenant_id, [one.id for one in batch]],
            )
        taken = replace(
            taken,
            reports=taken.reports + len(batch),
            readings=taken.readings + 1,
            late=taken.late + (len(batch) if late else 0),
        )


def _next(connection: Connection, tenant_id: UUID, source: SourceRow, day: date) -> tuple[bool, list[_Place]]:
    """Return the reports of the next reading in their order, and whether they are late ones, which come at the end."""
    waiting = [
        _Place(number, str(client), collected_at if collected_date(collected_at) == day else received_at)
        for number, client, collected_at, received_at in connection.execute(
            "SELECT id, client_id, collected_at, received_at FROM agent.reports"
            " WHERE tenant_id = %s AND collected_date = %s ORDER BY collected_at, id LIMIT %s",
            [tenant_id, day, MOST],
        )
    ]
    waiting.sort(key=lambda one: (one.at, one.id))
    said = _said_last(connection, source, day, {one.client for one in waiting})
    outdone = _outdone(connection, tenant_id, day, [one.id for one in waiting])
    late = [one for one in waiting if one.id in outdone or (one.client in said and one.at < said[one.client])]
    first_of_all = {one.id for one in late}
    in_order = [one for one in waiting if one.id not in first_of_all]
    for _, hour in groupby(in_order, key=lambda one: one.at.replace(minute=0, second=0, microsecond=0)):
        return False, list(hour)
    return True, late


def _said_last(connection: Connection, source: SourceRow, day: date, clients: set[str]) -> Mapping[str, datetime]:
    """Return when each of these clients last spoke on a day, of what the ledger has."""
    return dict(
        connection.execute(
            "SELECT target, max(observed_at) FROM ledger.asset_observations"
            " WHERE source_id = %s AND collected_date = %s AND target = ANY(%s) AND source_type = 'agent'"
            " GROUP BY target",
            [source.id, day, sorted(clients)],
        ).fetchall()
    )


def _outdone(connection: Connection, tenant_id: UUID, day: date, ids: Sequence[int]) -> set[int]:
    """Return which reports were followed, as the last word of the day, by one that said once more what was said before
    them: such a one stands in history without raw, so that it does not wait itself."""
    found = connection.execute(
        """
        SELECT r.id
        FROM agent.reports AS r
        CROSS JOIN LATERAL (
            SELECT h.collected_at, h.digest, h.raw_data IS NULL AS bare FROM agent.inventory_history AS h
            WHERE h.tenant_id = %(tenant)s AND h.client_id = r.client_id AND h.collected_date = %(day)s
              AND h.collected_at BETWEEN %(day)s::date - 2 AND %(day)s::date + 2
            ORDER BY h.collected_at DESC LIMIT 1
        ) AS newest
        LEFT JOIN agent.inventory_history AS own ON own.tenant_id = %(tenant)s AND own.client_id = r.client_id
             AND own.collected_at = r.collected_at
        WHERE r.tenant_id = %(tenant)s AND r.id = ANY(%(ids)s) AND newest.bare AND newest.collected_at > r.collected_at
          AND newest.digest IS DISTINCT FROM own.digest
        """,
        {"tenant": tenant_id, "day": day, "ids": list(ids)},
    )
    return {number for (number,) in found}


def _span(connection: Connection, source: SourceRow, day: date) -> tuple[datetime | None, datetime | None]:
    """Return when the first and the last reading of a day count from."""
    row = connection.execute(
        "SELECT min(collected_at), max(collected_at) FROM ledger.inventories"
        " WHERE source_id = %s AND collected_date = %s",
        [source.id, day],
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def _records(
    connection: Connection, tenant_id: UUID, batch: Sequence[_Place], record: Callable[[Delivered], RawRecord]
) -> Iterator[RawRecord]:
    """Yield the raw records of reports, in their order; a few of them are in memory at a time."""
    for start in range(0, len(batch), _AT_ONCE):
        some = batch[start : start + _AT_ONCE]
        found = {
            number: (payload, sha256, collected_at, received_at, peer)
            for number, payload, sha256, collected_at, received_at, peer in connection.execute(
                "SELECT id, payload, payload_sha256, collected_at, received_at, host(peer) FROM agent.reports"
                " WHERE tenant_id = %s AND id = ANY(%s)",
                [tenant_id, [one.id for one in some]],
                binary=True,
            )
        }
        for one in some:
            payload, sha256, collected_at, received_at, peer = found[one.id]
            yield record(Delivered(one.client, payload, sha256, one.at, collected_at, received_at, peer))
