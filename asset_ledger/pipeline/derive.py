"""Deriving a day from kept raw: parse, apply, record. The same for a reading made a second ago and for a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic

from asset_ledger.domain.errors import IDENTITY_CONFLICT, LedgerError
from asset_ledger.domain.inventory import AssetRecord, Item, TargetFailure
from asset_ledger.domain.outcome import Outcome, cell_report
from asset_ledger.domain.raw import RawRecord
from asset_ledger.pipeline.inbox import write_beside
from asset_ledger.pipeline.ledger import platform_of
from asset_ledger.sources.platform import Platform, SourceConfig
from asset_ledger.store.apply import apply_inventory, forget_day, known_records
from asset_ledger.store.database import Connection
from asset_ledger.store.raw import InventoryRow, inventories, mark_failed, observations
from asset_ledger.store.records import TargetRecord, save_records
from asset_ledger.store.sources import SourceRow


@dataclass(frozen=True, slots=True)
class Derived:
    """One reading and what it did."""

    inventory: InventoryRow
    outcome: Outcome
    reports: tuple[Path, ...]


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
    """Derive a day of a source in one transaction and return what each reading did.

    Readings that were not derived yet are added to the day in the order they came. If there are none, the whole
    day is derived again from kept raw with today's parser: the rows are the same unless the code is not.
    An empty list means that no raw is kept for the day.
    """
    every = inventories(connection, row, day)
    pending = [inventory for inventory in every if inventory.status == "raw"]
    # what came late but counts as earlier would be applied over what came after it
    adds_up = bool(pending) and pending == every[-len(pending) :]
    derived: list[Derived] = []
    current: InventoryRow | None = None
    try:
        with connection.transaction():
            if not adds_up and every:
                forget_day(connection, row, day)
            for current in pending if adds_up else every:
                derived.append(_derive(connection, source, row, current, run_id=run_id, mode=mode, inbox=inbox))
    except LedgerError as error:
        if current is not None:
            mark_failed(connection, current, error.code.code)
            error.add_note(f"The raw of {source.name} for {day} is kept as inventory {current.id}.")
        raise
    return derived


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
    inbox: Path | None,
) -> Derived:
    platform = platform_of(source)
    started = monotonic()
    targets: list[_Target] = []
    bodies: list[RawRecord] = []
    outcome = apply_inventory(
        connection,
        row,
        inventory,
        _items(connection, platform, inventory, known_records(connection, row), targets, bodies),
        parser_version=platform.parser_version,
    )
    duration_ms = int((monotonic() - started) * 1000)
    records = list(_records(platform, outcome, targets, duration_ms))
    save_records(connection, row, inventory, records, run_id=run_id, mode=mode)
    reports: tuple[Path, ...] = ()
    if inbox is not None and bodies and outcome.rejected:
        reports = _write_reports(platform, inbox, inventory, bodies[0], outcome)
    return Derived(inventory, outcome, reports)


def _items(
    connection: Connection,
    platform: Platform,
    inventory: InventoryRow,
    known: Mapping[bytes, str],
    targets: list[_Target],
    bodies: list[RawRecord],
) -> Iterator[tuple[int, Item]]:
    for observation_id, raw in observations(connection, inventory):
        target = _Target(raw.target, *_timing(raw))
        targets.append(target)
        if platform.contract == "push":
            bodies.append(raw)
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


def _write_reports(
    platform: Platform, inbox: Path, inventory: InventoryRow, raw: RawRecord, outcome: Outcome
) -> tuple[Path, ...]:
    place = inbox / "archive" / inventory.collected_date.isoformat() / raw.target
    return tuple(
        write_beside(place, suffix, body)
        for suffix, body in (platform.reports(raw, outcome.rejected) if platform.reports else ())
    )
