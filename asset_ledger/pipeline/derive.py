"""Deriving a day from kept raw: parse, apply, record. The same for a reading made a second ago and for a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic

from asset_ledger.domain.errors import IDENTITY_CONFLICT
from asset_ledger.domain.inventory import AssetRecord, Item, TargetFailure
from asset_ledger.domain.outcome import Outcome, cell_report
from asset_ledger.domain.raw import RawRecord
from asset_ledger.pipeline.inbox import write_beside
from asset_ledger.pipeline.ledger import platform_of
from asset_ledger.sources.platform import Platform, SourceConfig
from asset_ledger.store.apply import apply_inventory, forget_day, known_records
from asset_ledger.store.database import Connection
from asset_ledger.store.raw import InventoryRow, blaming, inventories, observations
from asset_ledger.store.records import TargetRecord, save_records
from asset_ledger.store.sources import SourceRow


@dataclass(frozen=True, slots=True)
class Derived:
    """One reading and what it did."""

    inventory: InventoryRow
    outcome: Outcome
    reports: tuple[Path, ...]
    unreported: str | None = None


@dataclass(frozen=True, slots=True)
class _Applied:
    """A reading that is written. `file` is its raw where there is something to report beside it."""

    inventory: InventoryRow
    outcome: Outcome
    file: RawRecord | None


@dataclass(slots=True)
class _Target:
    """What is noted of a raw record while its items stream past."""

    name: str
    started_at: datetime
    duration_ms: int
    external_id: str | None = None
    failure: TargetFailure | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)


def derive_day(
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    day: date,
    *,
    run_id: str | None,
    mode: str,
    inbox: Path | None = None,
) -> list[Derived]:
    """Derive a day of a source and return what each reading did.

    Readings that were not derived yet are added to the day in the order they came, a transaction each. If there are
    none, the whole day is derived again in one transaction, from kept raw with today's parser: the rows are the same
    unless the code is not. What a reading raises is raised here, after the others were derived. An empty list means
    that no raw is kept for the day.
    """
    every = inventories(connection, row, day)
    pending = [inventory for inventory in every if inventory.status == "raw"]
    # what came late but counts as earlier would be applied over what came after it
    adds_up = bool(pending) and pending == every[-len(pending) :]
    if adds_up:
        derived = _add(connection, source, row, pending, run_id=run_id, mode=mode)
    else:
        derived = _again(connection, source, row, day, every, run_id=run_id, mode=mode)
    return [_with_reports(source, one, inbox) for one in derived]


def _add(
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    pending: Sequence[InventoryRow],
    *,
    run_id: str | None,
    mode: str,
) -> list[_Applied]:
    """Derive readings one by one, each in a transaction. One that fails is marked and holds up none after it."""
    applied: list[_Applied] = []
    first: Exception | None = None
    for inventory in pending:
        try:
            with blaming(connection, [inventory]), connection.transaction():
                applied.append(_derive(connection, source, row, inventory, run_id=run_id, mode=mode))
        except Exception as error:  # noqa: BLE001 - raised below, once the others are derived
            first = first or error
    if first is not None:
        raise first
    return applied


def _again(
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    day: date,
    every: Sequence[InventoryRow],
    *,
    run_id: str | None,
    mode: str,
) -> list[_Applied]:
    """Derive a whole day anew, in one transaction: it is as it was, or as its raw says.

    A reading that failed before is tried again; if it still fails it adds nothing, as before, and the others stand.
    """
    begun: list[InventoryRow] = []
    applied: list[_Applied] = []
    still: Exception | None = None
    with blaming(connection, begun), connection.transaction():
        if every:
            forget_day(connection, row, day)
        for inventory in every:
            begun.append(inventory)
            try:
                with connection.transaction():
                    applied.append(_derive(connection, source, row, inventory, run_id=run_id, mode=mode))
            except Exception as error:
                if inventory.status != "failed":
                    raise
                still = still or error
        if still is not None and not applied:
            raise still
    return applied


def plan_file(
    connection: Connection, source: SourceConfig, row: SourceRow, record: RawRecord, day: date, collected_at: datetime
) -> Outcome:
    """Return what importing a file would do, by doing it and rolling back. Nothing is kept, not even the raw."""
    platform = platform_of(source)
    inventory = InventoryRow(0, "all", day, collected_at, None, "collect", complete=False, status="raw")
    with connection.transaction(force_rollback=True):
        return apply_inventory(
            connection,
            row,
            inventory,
            ((0, item) for item in platform.parse(record, known_records(connection, row))),
            parser_version=platform.parser_version,
        )


def _derive(
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    inventory: InventoryRow,
    *,
    run_id: str | None,
    mode: str,
) -> _Applied:
    platform = platform_of(source)
    started = monotonic()
    targets: list[_Target] = []
    files: list[RawRecord] = []
    outcome = apply_inventory(
        connection,
        row,
        inventory,
        _items(connection, platform, inventory, known_records(connection, row), targets, files),
        parser_version=platform.parser_version,
    )
    duration_ms = int((monotonic() - started) * 1000)
    records = list(_records(platform, outcome, targets, duration_ms))
    save_records(connection, row, inventory, records, run_id=run_id, mode=mode)
    told = outcome.rejected or outcome.cautions
    return _Applied(inventory, outcome, files[0] if files and told else None)


def _items(
    connection: Connection,
    platform: Platform,
    inventory: InventoryRow,
    known: Mapping[bytes, str],
    targets: list[_Target],
    files: list[RawRecord],
) -> Iterator[tuple[int, Item]]:
    for observation_id, raw in observations(connection, inventory):
        target = _Target(raw.target, *_timing(raw))
        targets.append(target)
        if platform.contract == "push":
            files.append(raw)
        for item in platform.parse(raw, known):
            if platform.contract == "probe":
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


def _records(platform: Platform, outcome: Outcome, targets: list[_Target], duration_ms: int) -> Iterator[TargetRecord]:
    """Yield the run's target records: each probed host, or each file with its rejected rows; and each conflict."""
    for target in targets:
        if platform.contract == "probe":
            yield _probe_record(target)
        else:
            yield _file_record(target, outcome, duration_ms)
    name = targets[0].name if targets else ""
    now = datetime.now(UTC)
    for rejected in outcome.rejected:
        first = rejected.cells[0]
        yield TargetRecord(
            target=f"{name} row {rejected.row}",
            external_id=None,
            started_at=now,
            duration_ms=0,
            status="failed",
            code=first.code,
            message="; ".join(f"{cell.column or 'row'}: {cell.reason}" for cell in rejected.cells),
            effect="the row was not taken; the ledger keeps what it had",
            details={"cells": [cell_report(cell) for cell in rejected.cells]},
        )
    for conflict in outcome.conflicts:
        yield TargetRecord(
            target=conflict.external_id,
            external_id=None,
            started_at=now,
            duration_ms=0,
            status="failed",
            code=IDENTITY_CONFLICT,
            message=f"{conflict.locator}: answers to {len(conflict.asset_ids)} ledger assets",
            effect="nothing was written for it",
            details={"asset_ids": list(conflict.asset_ids)},
        )


def _probe_record(target: _Target) -> TargetRecord:
    if target.failure is not None:
        return TargetRecord(
            target.name,
            target.external_id,
            target.started_at,
            target.duration_ms,
            "failed",
            target.failure.code,
            target.failure.message,
            f"its day is NULL, reason {target.failure.code.code}; current values stand with their age",
        )
    return TargetRecord(
        target.name,
        target.external_id,
        target.started_at,
        target.duration_ms,
        "partial" if target.unknown else "ok",
        None,
        ", ".join(f"{path}: {reason}" for path, reason in target.unknown.items()) or None,
        "its day is written" + (", with fields that are NULL" if target.unknown else ""),
        {"unknown": dict(target.unknown)} if target.unknown else {},
    )


def _file_record(target: _Target, outcome: Outcome, duration_ms: int) -> TargetRecord:
    flawed = bool(outcome.rejected or outcome.conflicts)
    return TargetRecord(
        target.name,
        None,
        target.started_at,
        duration_ms,
        "partial" if flawed else "ok",
        None,
        f"{len(outcome.rejected)} rows were not taken" if outcome.rejected else None,
        "the day's rows are written",
        {"counts": outcome.counts},
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
