"""Raw first: a live source read, or dropped files taken in, and committed before anything is derived from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from asset_ledger.domain.calendar import collected_date, moment_on
from asset_ledger.domain.errors import CONFIG_INVALID, CORE_CODES, LedgerError, PermanentError
from asset_ledger.domain.shards import Shard
from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.pipeline.inbox import (
    archive,
    archive_place,
    check_name,
    look_at,
    readable,
    reject,
    write_beside,
)
from asset_ledger.pipeline.ledger import Ledger, platform_of
from asset_ledger.sources.platform import Collector, ReadOrder, SourceConfig
from asset_ledger.store.database import Connection, clock
from asset_ledger.store.raw import InventoryRow, content_taken, save_inventory, take_up
from asset_ledger.store.sources import SourceRow
from asset_ledger.store.targets import known_machines, probe_targets


@dataclass(frozen=True, slots=True)
class TakenFile:
    """What became of one file. `state` is taken, duplicate, changing or rejected; `error` says why it was rejected."""

    name: str
    state: str
    note: str
    error: LedgerError | None = None


def open_collector(
    ledger: Ledger,
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    *,
    scope: str = "all",
    shard: Shard | None = None,
) -> tuple[Collector, ReadOrder]:
    """Return a collector of a pull or probe source, and what the ledger has for it to read, or a shard of that."""
    platform = platform_of(source)
    if platform.open is None:
        raise PermanentError(
            CONFIG_INVALID,
            f"sources of platform {platform.name} are not read: files are brought to them",
            target=source.name,
        )
    targets: list[ProbeTarget] = []
    if platform.select is not None:
        selection = platform.select(source)
        targets = probe_targets(
            connection,
            row,
            selection.protocols,
            default_credential_ref=selection.default_credential_ref,
            needs_credential=selection.needs_credential,
        )
        if shard is not None:
            targets = [target for target in targets if shard.has(_called(target))]
    known, gone = known_machines(connection, row) if platform.contract == "pull" else (frozenset(), frozenset())
    return platform.open(source, ledger.credentials), ReadOrder(scope, tuple(targets), known, gone, shard)


def _called(target: ProbeTarget) -> str:
    """Return by what a probing is cut: all that is read at one address is read by one run, one after the other."""
    return "" if target.protocol == "local" else target.mgmt_ip or target.hostname or ""


def read_source(
    ledger: Ledger,
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    *,
    scope: str,
    run_id: str | None,
    mode: str,
    at: datetime | None = None,
    shard: Shard | None = None,
    attempts: Collection[str] = (),
) -> InventoryRow:
    """Read a live source now, or a shard of its machines, and keep it as raw of today. Raises the collector's
    LedgerErrors.

    `attempts` are the runs that were to read the shard before, and this one: what they had read is not read again,
    but for machines whose failure may pass.

    `at` is when it begins, by the server's clock where it is not told: the moments that readings are compared with
    (when a machine was declared) are the server's, and this host's clock may be ahead of it.
    """
    started_at = at or clock(connection)
    collector, order = open_collector(ledger, connection, source, row, scope=scope, shard=shard)
    if shard is not None:
        codes = (*CORE_CODES, *platform_of(source).error_codes)
        passing = [code.code for code in codes if code.retryable]
        read = take_up(connection, row, collected_date(started_at), attempts, again=passing)
        order = replace(order, targets=tuple(one for one in order.targets if one.asset_id not in read))
    return save_inventory(
        connection,
        row,
        collector.collect(order),
        scope=scope,
        collected_date=collected_date(started_at),
        collected_at=started_at,
        run_id=run_id,
        mode=mode,
        # where it can be, deriving proves it
        complete=False,
        covers=platform_of(source).scopes[scope],
    )


def take_files(
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    files: Sequence[Path],
    day: date,
    *,
    inbox: Path,
    run_id: str | None,
    mode: str,
    complete: bool = False,
) -> list[TakenFile]:
    """Take files in as raw of `day`, each in a transaction of its own, and put them in the archive.

    `complete` says that each file lists every machine of the source: what one does not list is missing from then on.

    When a file came is told by the server's clock, since files of one day add up in that order, whoever takes them in.

    A file that cannot be read is put aside with a note; the same content for the same day changes nothing.
    A run that was killed after the commit and before the move finds its file still waiting, and finishes the move.
    """
    taken: list[TakenFile] = []
    saved_here: set[bytes] = set()
    accept = platform_of(source).accept
    if accept is None:
        raise TypeError(f"{source.platform} takes no files")
    for path in files:
        came_at = clock(connection)
        try:
            check_name(path.name)
            file = look_at(path)
            record = accept(path, came_at, source)
        except PermanentError as error:
            note = reject(path, inbox, str(error))
            taken.append(TakenFile(readable(path.name), "rejected", str(note), error))
            continue
        if look_at(path) != file:
            taken.append(TakenFile(path.name, "changing", "it is still being written; it was left where it is"))
            continue
        earlier = content_taken(connection, row, record.sha256, day)
        unfinished = earlier is not None and earlier.pending and record.sha256 not in saved_here
        name = earlier.name if earlier is not None and unfinished else path.name
        place = archive_place(inbox, day, name, record.sha256)
        if earlier is None:
            save_inventory(
                connection,
                row,
                [record.named(place.name)],
                scope="all",
                collected_date=day,
                collected_at=moment_on(day, came_at),
                run_id=run_id,
                mode=mode,
                complete=complete,
            )
            saved_here.add(record.sha256)
        archive(file, inbox, place, record.body)
        if earlier is None:
            taken.append(TakenFile(place.name, "taken", str(place)))
        elif unfinished:
            taken.append(TakenFile(place.name, "taken", "its raw was kept by a run that did not end"))
        else:
            note = write_beside(
                place,
                ".duplicate.txt",
                f"{path.name} has the very content of {earlier.name}, imported for {day}. Nothing changed.\n".encode(),
            )
            taken.append(TakenFile(place.name, "duplicate", str(note)))
    return taken
