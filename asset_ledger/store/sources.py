"""The sources as the ledger knows them, and the locks that keep apart two runs of one source that would read the same."""

# ruff: noqa: S608 - statements are put together from constants of this file; values are always parameters
from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from asset_ledger.domain.errors import SOURCE_BUSY, RetryableError
from asset_ledger.domain.shards import Shard
from asset_ledger.store.database import Connection, ledger_lock
from asset_ledger.store.derive.instances import move_instances
from asset_ledger.store.derive.settle import settle_assets
from asset_ledger.store.scopes import OVERLAPPING
from asset_ledger.store.sessions import living


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


@dataclass(frozen=True, slots=True)
class Part:
    """What of a source a run holds alone where others may be at work on the rest: slots of machines, or months.

    `alone` are names of which no other run holds one, `shared` names that no other run holds alone.
    """

    alone: tuple[str, ...]
    shared: tuple[str, ...] = ()


def part_of_shard(shard: Shard, day: date) -> Part:
    """Return what a shard of a day's probing holds: its machines; nobody derives the month again meanwhile."""
    return Part(tuple(f"slot {slot}" for slot in shard.slots), (_month(day, ""),))


def part_of_days(days: Sequence[date], covers: Sequence[str]) -> Part:
    """Return what deriving days again holds: their months, of these kinds. Runs for other months go on meanwhile."""
    kinds = [f"{kind} " for kind in sorted(covers)] or [""]
    return Part(tuple(sorted({_month(day, kind) for day in days for kind in kinds})))


def _month(day: date, kind: str) -> str:
    return f"{kind}month {day:%Y-%m}"


@contextmanager
def exclusive(
    connection: Connection,
    source: SourceRow,
    *,
    covers: Sequence[str] = (),
    part: Part | None = None,
    wait_s: float = 0.0,
) -> Iterator[None]:
    """Hold the external kinds `covers` of the source for one run, or all of it where none is named.

    With a `part` that alone is held of them, and other parts are free. Who holds a part derives inside `deriving`.

    Runs that have no kind in common do not wait for one another. A killed run gives the kinds back: the locks belong to
    the connection.

    Raises RetryableError(SOURCE_BUSY) if another run holds any of them for longer than `wait_s` seconds. What a
    killed run left half read is marked so: the locks prove that nobody reads it any more.
    """
    deadline = time.monotonic() + wait_s
    while (held := _try_locks(connection, source, covers, part)) is None:
        if time.monotonic() >= deadline:
            what = f" ({', '.join(covers)})" if covers else ""
            raise RetryableError(SOURCE_BUSY, f"another run is reading or writing it{what}", target=source.name)
        time.sleep(0.2)
    with held:
        # a part proves nothing of the others: there it is the session of a run that says whether it still reads
        alive = list(living(connection)) if part is not None else []
        connection.execute(
            f"""
            UPDATE ledger.inventories SET status = 'interrupted'
            WHERE source_id = %(source)s AND status = 'reading' AND {OVERLAPPING}
              AND NOT coalesce(run_id = ANY(%(alive)s::text[]), false)
            """,
            {"source": source.id, "covers": list(covers), "alive": alive},
        )
        yield


@contextmanager
def deriving(connection: Connection, source: SourceRow, covers: Sequence[str], *, part: bool = False) -> Iterator[None]:
    """Let no other run of the source derive meanwhile: readings that overlap both would be derived by both.

    Waits for the other run. Called inside `exclusive`, which is enough where all of the source is held, and not a part.
    """
    if not covers and not part:
        yield
        return
    lock = _Lock("asset_ledger.deriving", source.id)
    connection.execute(f"SELECT pg_advisory_lock({lock.key})", lock.parameters)
    try:
        yield
    finally:
        lock.release(connection)


@dataclass(frozen=True, slots=True)
class _Lock:
    """An advisory lock of the session on something of a source."""

    name: str
    source_id: int
    shared: bool = False

    key: ClassVar[str] = "hashtext(%(name)s), %(source)s"

    @property
    def parameters(self) -> dict[str, str | int]:
        return {"name": self.name, "source": self.source_id}

    def try_(self, connection: Connection) -> bool:
        suffix = "_shared" if self.shared else ""
        row = connection.execute(f"SELECT pg_try_advisory_lock{suffix}({self.key})", self.parameters).fetchone()
        return row is not None and bool(row[0])

    def release(self, connection: Connection) -> None:
        if not connection.closed and not connection.broken:
            suffix = "_shared" if self.shared else ""
            connection.execute(f"SELECT pg_advisory_unlock{suffix}({self.key})", self.parameters)


def _try_locks(connection: Connection, source: SourceRow, covers: Sequence[str], part: Part | None) -> ExitStack | None:
    """Return the locks of these kinds, to be released on exit, or None where another run has one of them.

    Who holds some kinds shares the source as a whole, so that nobody holds all of it meanwhile; who holds a part
    shares the kinds, too.
    """
    locks = [_Lock("asset_ledger.source", source.id, shared=bool(covers) or part is not None)]
    locks += [_Lock(f"asset_ledger.source {kind}", source.id, shared=part is not None) for kind in sorted(covers)]
    if part is not None:
        locks += [_Lock(f"asset_ledger.source {name}", source.id, shared=True) for name in part.shared]
        locks += [_Lock(f"asset_ledger.source {name}", source.id) for name in part.alone]
    with ExitStack() as held:
        for lock in locks:
            if not lock.try_(connection):
                return None
            held.callback(lock.release, connection)
        return held.pop_all()
