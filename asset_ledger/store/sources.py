"""The sources as the ledger knows them, and the lock that keeps two runs of one source apart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from asset_ledger.domain.errors import SOURCE_BUSY, RetryableError
from asset_ledger.store.database import Connection, ledger_lock
from asset_ledger.store.derive.instances import move_instances
from asset_ledger.store.derive.settle import settle_assets


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source's row: its id, and what every statement about it needs.

    `proves` and `relations` are `Platform.complete_by_nature` and `Platform.relations`; the removals are the
    configured threshold above which absences wait for a person.
    """

    id: int
    name: str
    platform: str
    platform_type: str
    source_type: str
    zone: str
    proves: bool = False
    relations: bool = False
    removal_share: float = 0.3
    removal_at_least: int = 5


def ensure_source(
    connection: Connection,
    *,
    name: str,
    platform: str,
    platform_type: str,
    source_type: str,
    zone: str,
    naming_rank: int,
    specs_rank: int,
    proves: bool = False,
    relations: bool = False,
    removal_share: float = 0.3,
    removal_at_least: int = 5,
) -> SourceRow:
    """Write a configured source to the ledger, or bring its row up to date, and return it."""
    said = connection.execute(
        "SELECT id, (zone, naming_rank, specs_rank, platform_type) <> (%s, %s::smallint, %s::smallint, %s) "
        "FROM ledger.sources WHERE name = %s",
        [zone, naming_rank, specs_rank, platform_type, name],
    ).fetchone()
    with connection.transaction():
        moved = said is not None and said[1]
        if moved:
            ledger_lock(connection)
        source_id = _upsert(connection, name, platform, platform_type, source_type, zone, naming_rank, specs_rank)
        if moved:
            # what its assets are hangs on it: they are to be found where the source is now
            links = connection.execute(
                "SELECT DISTINCT asset_id FROM ledger.asset_source_links WHERE source_id = %s", [source_id]
            )
            settle_assets(connection, [asset_id for (asset_id,) in links.fetchall()])
            move_instances(connection, source_id, zone)
    return SourceRow(
        source_id,
        name,
        platform,
        platform_type,
        source_type,
        zone,
        proves,
        relations,
        removal_share,
        removal_at_least,
    )


def _upsert(connection: Connection, *columns: str | int) -> int:
    row = connection.execute(
        """
        INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (name) DO UPDATE SET zone = excluded.zone, naming_rank = excluded.naming_rank,
            specs_rank = excluded.specs_rank, platform_type = excluded.platform_type
        RETURNING id
        """,
        columns,
    ).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def exclusive(connection: Connection, source: SourceRow, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the source for one run. A killed run gives it back: the lock belongs to the connection.

    Raises RetryableError(SOURCE_BUSY) if another run holds it for longer than `wait_s` seconds. What a
    killed run left half read is marked so: the lock proves that nobody reads it any more.
    """
    deadline = time.monotonic() + wait_s
    while not _try_lock(connection, source):
        if time.monotonic() >= deadline:
            raise RetryableError(SOURCE_BUSY, "another run is reading or writing it", target=source.name)
        time.sleep(0.2)
    try:
        connection.execute(
            "UPDATE ledger.inventories SET status = 'interrupted' WHERE source_id = %s AND status = 'reading'",
            [source.id],
        )
        yield
    finally:
        if not connection.closed and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(hashtext('asset_ledger.source'), %s)", [source.id])


def _try_lock(connection: Connection, source: SourceRow) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(hashtext('asset_ledger.source'), %s)", [source.id]).fetchone()
    return row is not None and bool(row[0])
