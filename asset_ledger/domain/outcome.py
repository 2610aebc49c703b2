"""What applying one inventory did to the ledger: counts and the changes by field. Pure values and a pure diff.

A dry run and an apply give the same outcome; the command line, Dagster's metadata and the report all read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from asset_ledger.domain.inventory import Caution, RejectedCell, RejectedRow, TargetFailure
from asset_ledger.domain.normalized import Document

SHOWN_CHANGES = 1000
"""How many changed assets are spelled out; all are counted."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one ledger asset that this reading changed. `before` or `after` is None where absent."""

    external_id: str
    hostname: str | None
    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Conflict:
    """A record that several ledger assets answer to. Nothing was written for it."""

    external_id: str
    locator: str
    asset_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Correction:
    """One ledger asset's day that a replay makes say something else. `what` is changed, added or removed.

    `fields` are `(path, before, after)` of what changed, also where a value became known or unknown.
    """

    asset_id: str
    external_id: str | None
    hostname: str | None
    what: str
    fields: tuple[tuple[str, Any, Any], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The effect of one inventory. Counts are of records; `specs_rows` and `ip_rows` of daily rows written.

    `created` records became new ledger assets, `attached` ones were recognised by management address,
    `updated` ones changed at least one field, `unchanged` ones none. `reused_ids` counts created ones whose external
    id another machine had before; `missing` and `revived` those a complete reading did not see any more, or saw again,
    unless its absences are held for a person.
    """

    created: int
    attached: int
    updated: int
    unchanged: int
    conflicts: tuple[Conflict, ...]
    changes: tuple[Change, ...]
    rejected: tuple[RejectedRow, ...]
    failures: tuple[TargetFailure, ...]
    cautions: tuple[Caution, ...]
    instances_new: int
    instances_changed: int
    instances_unchanged: int
    specs_rows: int
    ip_rows: int
    reused_ids: int = 0
    missing: int = 0
    revived: int = 0
    absences_held: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """The same numeric keys every day, for metadata plots, reports and `ledger.inventories.counts`."""
        return {
            "records": self.created + self.attached + self.updated + self.unchanged + len(self.conflicts),
            "created": self.created,
            "attached": self.attached,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "conflicts": len(self.conflicts),
            "rejected_rows": len(self.rejected),
            "rejected_cells": sum(len(row.cells) for row in self.rejected),
            "failed_targets": len(self.failures),
            "warnings": len(self.cautions),
            "instances_new": self.instances_new,
            "instances_changed": self.instances_changed,
            "instances_unchanged": self.instances_unchanged,
            "specs_rows": self.specs_rows,
            "ip_rows": self.ip_rows,
            "reused_ids": self.reused_ids,
            "missing": self.missing,
            "revived": self.revived,
            "absences_held": int(self.absences_held),
        }

    def report(self) -> dict[str, Any]:
        """Return all of it as JSON data, as `ledger.inventories.report` keeps it and as people are shown it.

        Lists are cut at SHOWN_CHANGES entries; the counts are whole.
        """
        cells = [cell for row in self.rejected for cell in row.cells]
        return {
            "counts": self.counts,
            "changes": [asdict(change) for change in self.changes[:SHOWN_CHANGES]],
            "conflicts": [asdict(conflict) for conflict in self.conflicts[:SHOWN_CHANGES]],
            "rejected": [cell_report(cell) for cell in cells[:SHOWN_CHANGES]],
            "failed": [
                {"target": failure.external_id, "code": failure.code.code, "message": failure.message}
                for failure in self.failures[:SHOWN_CHANGES]
            ],
            "warnings": [
                {"code": caution.code.code, "message": caution.message, "locator": caution.locator}
                for caution in self.cautions[:SHOWN_CHANGES]
            ],
        }


def cell_report(cell: RejectedCell) -> dict[str, Any]:
    """Return a rejected cell as JSON data: row, column, code, reason, value."""
    return {
        "row": cell.row,
        "column": cell.column,
        "code": cell.code.code,
        "reason": cell.reason,
        "value": cell.value,
    }


def document_changes(before: Document, after: Document, *, strict: bool = False) -> Iterator[tuple[str, Any, Any]]:
    """Yield `(path, before, after)` for every field that differs.

    What is absent is unknown, whether `unknown` says why or not: nobody saw it go; so is a power state that the source
    itself calls unknown. Only of custom fields a source that tells any tells all. `identifiers` repeat what other
    fields say. With `strict` becoming unknown counts too: two answers about one day are compared, not two days.
    """
    was, now = dict(_leaves(before)), dict(_leaves(after))
    if not strict:
        for leaves in (was, now):
            if leaves.get(_POWER) == "unknown":
                del leaves[_POWER]
    unknown = after.get("unknown", {})
    tells_custom = "custom_fields" in after
    for path in sorted({*was, *now}):
        if was.get(path) == now.get(path):
            continue
        if not strict and path not in now:
            gone = tells_custom and path.startswith("custom_fields.") and path not in unknown
            if not gone:
                continue
        yield path, was.get(path), now.get(path)


_POWER = "runtime.power_state"
# what repeats other fields, or tells machines apart that are not compared with one another
_NOT_A_FACT = frozenset({"schema", "unknown", "identifiers", "identity.generation"})


def _leaves(document: Document, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if f"{prefix}{key}" in _NOT_A_FACT:
            continue
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
