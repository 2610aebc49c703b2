"""What a parser gives: the items of one inventory, as plain frozen values.

A parser is pure and yields items one by one, so that a reading of any size passes in bounded memory.
`store.derive.apply` writes them; Dagster and the command line only count them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.errors import ErrorCode
from asset_ledger.domain.normalized import Document

MACHINE = "machine"
"""External kind of sources that attach by management address: import, probes, agents."""


@dataclass(frozen=True, slots=True)
class AssetRecord:
    """One machine or cluster as its source describes it.

    `(external_kind, external_id)` is stable within the source. `locator` says where in the raw it stood
    (`row 17`). `record_digest` (16 bytes) is of the raw record under the parser's version: a later
    reading that finds it again need not parse the record.
    """

    external_kind: str
    external_id: str
    locator: str
    document: Document
    record_digest: bytes


@dataclass(frozen=True, slots=True)
class UnchangedRecord:
    """A raw record whose digest the ledger already has: seen again, nothing to parse."""

    external_id: str
    locator: str
    record_digest: bytes


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """A database instance. `host` is a name or an address; `instance_key` is stable within the source."""

    instance_key: str
    locator: str
    name: str
    host: str
    port: int | None
    db_type: str | None
    custom_fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RejectedCell:
    """One cell of a dropped file that could not be taken. `row` counts from 1 as a spreadsheet shows it.

    `column` is the header's text, or None where the whole row is meant. `value` is already redacted.
    """

    row: int
    column: str | None
    code: ErrorCode
    reason: str
    value: str | None


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that was not taken, with every cell that is to blame."""

    row: int
    cells: tuple[RejectedCell, ...]


@dataclass(frozen=True, slots=True)
class TargetFailure:
    """One target that could not be read: its day is NULL with `code` as the reason."""

    external_kind: str
    external_id: str
    mgmt_ip: str | None
    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class Caution:
    """Something a person should know that rejected nothing."""

    code: ErrorCode
    message: str
    locator: str | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether a reading is the whole of its scope, and how that is known.

    `counts` holds what was counted by which path; `missing` says in words what stands against completeness, and is
    empty when nothing does. A parser of a platform that can be complete yields at least one a reading; one that is
    not complete makes the reading fail before anything is derived from it.
    """

    counts: Mapping[str, Any]
    missing: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True where nothing stands against it."""
        return not self.missing


Item = AssetRecord | UnchangedRecord | InstanceRecord | RejectedRow | TargetFailure | Caution | Proof
