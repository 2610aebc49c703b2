"""Deriving a day from kept raw: parse, apply, record. The same for a reading made a second ago and for a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from time import monotonic

from asset_ledger.domain.inventory import AssetRecord, Item, TargetFailure
from asset_ledger.domain.outcome import Correction, Outcome
from asset_ledger.domain.raw import RawRecord
from asset_ledger.pipeline.inbox import write_beside
from asset_ledger.pipeline.ledger import platform_of
from asset_ledger.pipeline.target_records import Target, record_absences, record_reading, recording, whole_name
from asset_ledger.sources.platform import Platform, SourceConfig
from asset_ledger.store.database import Connection
from asset_ledger.store.derive.apply import Writing, apply_inventory, begin_day, end_of_day, known_records
from asset_ledger.store.partitions import ensure_months
from asset_ledger.store.raw import (
    InventoryRow,
    blaming,
    earliest_in_progress,
    inventories,
    observations,
    save_inventory,
)
from asset_ledger.store.records import save_underived
from asset_ledger.store.sources import SourceRow, deriving


@dataclass(frozen=True, slots=True)
class Derived:
    """One reading and what it did."""

    inventory: InventoryRow
    outcome: Outcome
    reports: tuple[Path, ...]
    unreported: str | None = None


@dataclass(frozen=True, slots=True)
class DerivedDay:
    """A day's readings and what each did; where the day was derived again, also what it published before."""

    readings: tuple[Derived, ...]
    corrections: tuple[Correction, ...] = ()


@dataclass(frozen=True, slots=True)
class _Applied:
    """A reading that is written. `file` is its raw where there is something to report beside it."""

    inventory: InventoryRow
    outcome: Outcome
    file: RawRecord | None


def derive_day(
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    day: date,
    *,
    covers: Sequence[str] = (),
    run_id: str | None,
    mode: str,
    inbox: Path | None = None,
    part: bool = False,
    shared: bool = False,
) -> DerivedDay:
    """Derive a day of a source and return what each reading did.

    With `covers` only what readings say that speak of one of these external kinds, and all that such readings say.

    Readings that were not derived yet are added to the day in the order they came, a transaction each. If there are
    none, the whole day is derived again in one transaction, from kept raw with today's parser: the rows are the same
    unless the code is not. What a reading raises is raised here, after the others were derived. A day without readings
    is one of which no raw is kept.

    With `part` other runs are at work on the source too. With `shared` they read the same day: what one of them derived
    is done, and what counts as later than a reading that goes on is left to the run that is at it, unless some of it is
    derived already. So the readings are added in their order, each once, whichever ends first. Each target's record is
    then that of the run that read it.
    """
    with deriving(connection, row, covers, part=part):
        every = inventories(connection, row, day, covers)
        if shared:
            earliest = earliest_in_progress(connection, row, day)
            before = [one for one in every if earliest is None or (one.collected_at, one.id) < earliest]
            # what is in the day already would be taken out of it with a part of the readings, and not be put back
            if all(one.status != "derived" for one in every[len(before) :]):
                every = before
        pending = [inventory for inventory in every if inventory.status == "raw"]
        if shared and not pending:
            return DerivedDay(())
        # what came late but counts as earlier would be applied over what came after it; and who asks for a replay means
        # the whole day, also where a reading of it still waits
        adds_up = bool(pending) and pending == every[-len(pending) :] and (mode != "replay" or pending == every)
        if adds_up:
            derived = _add(connection, source, row, pending, run_id=run_id, mode=mode, shared=shared)
            corrections: tuple[Correction, ...] = ()
        else:
            derived, corrections = _again(connection, source, row, every, run_id=run_id, mode=mode, shared=shared)
    return DerivedDay(tuple(_with_reports(source, one, inbox) for one in derived), corrections)


def plan_day(
    connection: Connection, source: SourceConfig, row: SourceRow, day: date, *, covers: Sequence[str] = ()
) -> DerivedDay:
    """Return what deriving a day again would change, by doing it and rolling back."""
    with deriving(connection, row, covers), connection.transaction(force_rollback=True):
        every = inventories(connection, row, day, covers)
        derived, corrections = _again(connection, source, row, every, run_id=None, mode="replay")
    return DerivedDay(tuple(Derived(one.inventory, one.outcome, ()) for one in derived), corrections)


def derive_again(
    connection: Connection, source: SourceConfig, row: SourceRow, inventory: InventoryRow, writing: Writing
) -> Outcome:
    """Derive one reading into a ledger that is being rebuilt, from its raw alone: nothing is known beforehand."""
    platform = platform_of(source)
    return apply_inventory(
        connection,
        row,
        inventory,
        _items(connection, platform, inventory, {}, [], []),
        parser_version=platform.parser_version,
        writing=writing,
    )


def _add(
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    pending: Sequence[InventoryRow],
    *,
    run_id: str | None,
    mode: str,
    shared: bool,
) -> list[_Applied]:
    """Derive readings one by one, each in a transaction. One that fails is marked and holds up none after it."""
    applied: list[_Applied] = []
    first: Exception | None = None
    for inventory in pending:
        by = inventory.run_id if shared else run_id
        try:
            with (
                recording(connection, source, row, [inventory], run_id=by, mode=mode),
                blaming(connection, [inventory]),
                connection.transaction(),
            ):
                applied.append(_derive(connection, source, row, inventory, None, run_id=by, mode=mode))
        except Exception as error:  # noqa: BLE001 - raised below, once the others are derived
            first = first or error
    if first is not None:
        raise first
    return applied


def _again(
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    every: Sequence[InventoryRow],
    *,
    run_id: str | None,
    mode: str,
    shared: bool = False,
) -> tuple[list[_Applied], tuple[Correction, ...]]:
    """Derive a whole day anew, in one transaction: it is as it was, or as its raw says.

    A reading that failed before is tried again; if it still fails it adds nothing, as before, and the others stand.
    """
    begun: list[InventoryRow] = []
    applied: list[_Applied] = []
    # the place in `applied` of the last reading whose records this run writes
    recorded: int | None = None
    still: Exception | None = None
    corrections: tuple[Correction, ...] = ()
    with (
        recording(connection, source, row, begun, run_id=run_id, mode=mode),
        blaming(connection, begun),
        connection.transaction(),
    ):
        writing = begin_day(connection, row, every, parser_version=platform_of(source).parser_version)
        for inventory in every:
            begun.append(inventory)
            try:
                with connection.transaction():
                    by = inventory.run_id if shared else run_id
                    # what is derived has its records: a late reading changes none of them, only a replay has its own
                    silent = inventory.status == "derived" and (shared or mode != "replay")
                    applied.append(
                        _derive(connection, source, row, inventory, writing, run_id=by, mode=mode, silent=silent)
                    )
                    recorded = recorded if silent else len(applied) - 1
            except Exception as error:
                if inventory.status != "failed":
                    raise
                target = whole_name(connection, source, inventory)
                save_underived(connection, row, inventory, target, error, run_id=run_id, mode=mode)
                still = still or error
        if still is not None and not applied:
            raise still
        if applied:
            ended = end_of_day(connection, row, [one.inventory for one in applied], writing)
            corrections = ended.corrections
            # the day's last word is what made them missing, as far as one reading did; where it has its records from
            # before, it is what came since
            place = len(applied) - 1 if recorded is None else recorded
            last = applied[place]
            outcome = replace(last.outcome, missing=ended.missing, revived=ended.revived)
            applied[place] = replace(last, outcome=outcome)
            if ended.missing or ended.revived:
                record_absences(connection, last.inventory, outcome, run_id=run_id)
    return applied, corrections


def plan_file(
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    record: RawRecord,
    day: date,
    collected_at: datetime,
    *,
    complete: bool = False,
) -> Outcome:
    """Return what importing a file would do, by doing it and rolling back. Nothing is kept, not even the raw."""
    platform = platform_of(source)
    # locks of a new month, held while waiting for a writer, would stand against that writer
    ensure_months(connection, [day])
    with connection.transaction(force_rollback=True):
        # a row of its own: what is missing follows from the readings there are
        inventory = save_inventory(
            connection,
            row,
            [],
            scope="all",
            collected_date=day,
            collected_at=collected_at,
            run_id=None,
            mode="collect",
            complete=complete,
        )
        return apply_inventory(
            connection,
            row,
            inventory,
            ((0, item) for item in platform.parse(record, known_records(connection, row, day))),
            parser_version=platform.parser_version,
        )


def _derive(
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    inventory: InventoryRow,
    writing: Writing | None,
    *,
    run_id: str | None,
    mode: str,
    silent: bool = False,
) -> _Applied:
    platform = platform_of(source)
    started = monotonic()
    targets: list[Target] = []
    files: list[RawRecord] = []
    outcome = apply_inventory(
        connection,
        row,
        inventory,
        _items(
            connection, platform, inventory, known_records(connection, row, inventory.collected_date), targets, files
        ),
        parser_version=platform.parser_version,
        writing=writing,
    )
    duration_ms = int((monotonic() - started) * 1000)
    if not silent:
        record_reading(connection, source, row, inventory, outcome, targets, duration_ms, run_id=run_id, mode=mode)
    told = outcome.rejected or outcome.cautions
    return _Applied(inventory, outcome, files[0] if files and told else None)


def _items(
    connection: Connection,
    platform: Platform,
    inventory: InventoryRow,
    known: Mapping[bytes, str],
    targets: list[Target],
    files: list[RawRecord],
) -> Iterator[tuple[int, Item]]:
    for observation_id, raw in observations(connection, inventory):
        target = Target(raw.target, *_timing(raw))
        targets.append(target)
        if platform.contract == "push" and not platform.by_machine:
            files.append(raw)
        for item in platform.parse(raw, known):
            if platform.by_machine:
                match item:
                    case AssetRecord():
                        target.external_id = item.external_id
                        target.unknown = item.document["unknown"]
                    case TargetFailure():
                        target.external_id = item.external_id
                        target.failure = item
            yield observation_id, item


def _timing(raw: RawRecord) -> tuple[datetime, int]:
    started = raw.document.get("started_at")
    duration = raw.document.get("duration_ms")
    return (
        datetime.fromisoformat(started) if isinstance(started, str) else raw.observed_at,
        int(duration) if isinstance(duration, (int, float)) else 0,
    )


def _with_reports(source: SourceConfig, applied: _Applied, inbox: Path | None) -> Derived:
    """Write the reports of a file beside it, now that what they tell is committed.

    A report that cannot be written undoes nothing: the same cells are in the target records.
    """
    platform = platform_of(source)
    inventory, file = applied.inventory, applied.file
    if inbox is None or file is None or platform.reports is None:
        return Derived(inventory, applied.outcome, ())
    place = inbox / "archive" / inventory.collected_date.isoformat() / file.target
    try:
        written = tuple(
            write_beside(place, suffix, body) for suffix, body in platform.reports(file, applied.outcome.rejected)
        )
    except OSError as error:
        return Derived(inventory, applied.outcome, (), f"no report could be written beside {place}: {error.strerror}")
    return Derived(inventory, applied.outcome, written)
