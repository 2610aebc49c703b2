"""The target records of a reading: what each target, conflict and reused id came to, and what it meant for the day.

A target is what was tried: a file, an API, a host. What is told beside it has a record too, known by its details:
`cells` are of a row that was not taken, `asset_ids` of a conflict, `former_asset_id` of a reused id, and `part_of` of a
machine that could not be read of a source that was. The mart source_reliability counts each apart by them.

Written with what is derived, in its transaction; a reading that could not be derived gets its record afterwards. Called
by `pipeline.derive`. How they are kept: `store.records`; how they are found again: `store.query.runs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from asset_ledger.domain.errors import IDENTITY_CONFLICT
from asset_ledger.domain.inventory import TargetFailure
from asset_ledger.domain.outcome import Conflict, Outcome, cell_report
from asset_ledger.pipeline.ledger import platform_of
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection
from asset_ledger.store.derive.absences import unseen_count
from asset_ledger.store.query.checks import hosts_elsewhere
from asset_ledger.store.raw import InventoryRow
from asset_ledger.store.records import (
    ReusedId,
    TargetRecord,
    add_effect,
    add_to_report,
    raw_target,
    reused_ids,
    save_records,
    save_underived,
    whole_of,
)
from asset_ledger.store.sources import SourceRow


@dataclass(slots=True)
class Target:
    """What is noted of a raw record while its items stream past."""

    name: str
    started_at: datetime
    duration_ms: int
    external_id: str | None = None
    failure: TargetFailure | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)


def record_reading(
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    inventory: InventoryRow,
    outcome: Outcome,
    targets: Sequence[Target],
    duration_ms: int,
    *,
    run_id: str | None,
    mode: str,
) -> None:
    """Write the records of a reading that was applied, inside the transaction that applies it."""
    held = unseen_count(connection, inventory.id) if outcome.absences_held else 0
    split = platform_of(source).relations and bool(inventory.covers)
    hosts = hosts_elsewhere(connection, [inventory.id]) if split else []
    reused = reused_ids(connection) if outcome.reused_ids else []
    records = _records(
        source, inventory.scope, outcome, targets, reused, _effect(outcome, held, mode, hosts), duration_ms
    )
    save_records(connection, row, inventory, records, run_id=run_id, mode=mode)


def record_absences(connection: Connection, inventory: InventoryRow, outcome: Outcome, *, run_id: str | None) -> None:
    """Add to a reading's record what a whole day made missing or brought back, which is known at its end alone."""
    told = "; ".join(_absences(outcome))
    counts = {"missing": outcome.missing, "revived": outcome.revived}
    add_effect(connection, inventory, told, counts, run_id=run_id)
    if inventory.status != "derived":
        # its report was written a moment ago, for good
        add_to_report(connection, inventory, counts)


@contextmanager
def recording(
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    begun: Sequence[InventoryRow],
    *,
    run_id: str | None,
    mode: str,
) -> Iterator[None]:
    """Write the record of the reading that was begun last if deriving it raises: no target of a run is without one."""
    try:
        yield
    except Exception as error:
        if begun and not (connection.closed or connection.broken):
            target = whole_name(connection, source, begun[-1])
            save_underived(connection, row, begun[-1], target, error, run_id=run_id, mode=mode)
        raise


def whole_name(connection: Connection, source: SourceConfig, inventory: InventoryRow) -> str:
    """Return what a reading is called as a whole: the file's name, or the source's with the scope."""
    platform = platform_of(source)
    of_files = platform.contract == "push" and not platform.by_machine
    name = raw_target(connection, inventory) if of_files else None
    return name or whole_of(source.name, inventory.scope)


def _effect(outcome: Outcome, held: int, mode: str, hosts: Sequence[Mapping[str, Any]]) -> str:
    """Return what a reading meant for the published day, in words. `hosts` are those that other readings told of."""
    counts = outcome.counts
    parts = [f"{counts['conflicts']} in conflict"] if outcome.conflicts else []
    parts += _absences(outcome)
    if outcome.reused_ids:
        parts.append(
            "1 id reused by another machine"
            if outcome.reused_ids == 1
            else f"{outcome.reused_ids} ids reused by other machines"
        )
    if outcome.absences_held:
        parts.append(f"absences of {held} held: nothing is missing by it; decide with `asset-ledger absences list`")
    parts += [_hosts_known(each) for each in hosts]
    return "; ".join(["day derived again" if mode == "replay" else "day written", *parts])


def _why(conflict: Conflict) -> str:
    if len(conflict.asset_ids) > 1:
        return f"answers to {len(conflict.asset_ids)} ledger assets"
    return "its management address is that of a machine that another id of the same source is"


def _absences(outcome: Outcome) -> list[str]:
    told = ((outcome.missing, "missing"), (outcome.revived, "seen again"))
    return [f"{count} {what}" for count, what in told if count]


def _hosts_known(each: Mapping[str, Any]) -> str:
    """Say from which run the hosts of its machines are known, or that nobody told of them."""
    running = f"{_number(each['vms'], 'machine')} on {_number(each['hosts'], 'host')}"
    if each["collected_at"] is None:
        return f"{running} that no reading told of yet: shown as soon as one does"
    by = f"run {each['run_id']}" if each["run_id"] else "a reading"
    return f"{running} known from {by} ({each['scope']}, {each['collected_at']:%Y-%m-%d %H:%M} UTC)"


def _records(
    source: SourceConfig,
    scope: str,
    outcome: Outcome,
    targets: Sequence[Target],
    reused: Sequence[ReusedId],
    effect: str,
    duration_ms: int,
) -> Iterator[TargetRecord]:
    """Yield the run's target records: each probed host, each file with its rejected rows, or the source that was read
    with what of it could not be; and each conflict and reused id."""
    platform = platform_of(source)
    name = targets[0].name if targets else source.name
    if platform.contract == "pull":
        name = whole_of(source.name, scope)
        yield _source_record(name, targets, outcome, effect, duration_ms)
        for failure in outcome.failures:
            yield _failure_record(failure, name, targets[0].started_at if targets else datetime.now(UTC))
    in_conflict = {conflict.external_id for conflict in outcome.conflicts}
    for target in targets:
        if platform.by_machine:
            yield _probe_record(target, written=target.external_id not in in_conflict)
        elif platform.contract == "push":
            yield _file_record(target, outcome, effect, duration_ms)
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
            message=f"{conflict.locator}: {_why(conflict)}",
            effect="nothing was written for it",
            details={"asset_ids": list(conflict.asset_ids)},
        )
    for again in reused:
        yield TargetRecord(
            target=f"{again.external_kind} {again.external_id}",
            external_id=again.external_id,
            started_at=now,
            duration_ms=0,
            status="ok",
            code=None,
            message="its id was another machine's before: this one was made at another time or has another UUID",
            effect="it is a ledger asset of its own; the former one keeps its history and is no longer read",
            details={"asset_id": again.asset_id, "former_asset_id": again.former_id},
        )


def _source_record(
    name: str, targets: Sequence[Target], outcome: Outcome, effect: str, duration_ms: int
) -> TargetRecord:
    flawed = bool(outcome.failures or outcome.conflicts or outcome.rejected or outcome.absences_held)
    return TargetRecord(
        name,
        None,
        min((target.started_at for target in targets), default=datetime.now(UTC)),
        sum(target.duration_ms for target in targets) or duration_ms,
        "partial" if flawed else "ok",
        None,
        f"{_number(len(outcome.failures), 'part')} of it could not be read" if outcome.failures else None,
        effect,
        {"counts": outcome.counts},
    )


def _failure_record(failure: TargetFailure, whole: str, started_at: datetime) -> TargetRecord:
    return TargetRecord(
        f"{failure.external_kind} {failure.external_id}",
        failure.external_id,
        started_at,
        0,
        "failed",
        failure.code,
        failure.message,
        f"its day is NULL, reason {failure.code.code}; current values stand with their age",
        {"part_of": whole},
    )


def _probe_record(target: Target, *, written: bool) -> TargetRecord:
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
    effect = "its day is written" + (", with fields that are NULL" if target.unknown else "")
    return TargetRecord(
        target.name,
        target.external_id,
        target.started_at,
        target.duration_ms,
        "partial" if target.unknown else "ok",
        None,
        ", ".join(f"{path}: {reason}" for path, reason in target.unknown.items()) or None,
        effect if written else "nothing was written for it: it is in conflict",
        {"unknown": dict(target.unknown)} if target.unknown else {},
    )


def _file_record(target: Target, outcome: Outcome, effect: str, duration_ms: int) -> TargetRecord:
    flawed = bool(outcome.rejected or outcome.conflicts or outcome.absences_held)
    return TargetRecord(
        target.name,
        None,
        target.started_at,
        duration_ms,
        "partial" if flawed else "ok",
        None,
        f"not taken: {_number(len(outcome.rejected), 'row')}" if outcome.rejected else None,
        effect,
        {"counts": outcome.counts},
    )


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
