"""Making small files in memory and taking them through accept and parse, as a dropped file goes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import xlsxwriter

from asset_ledger.domain import normalized
from asset_ledger.domain.inventory import AssetRecord, Caution, InstanceRecord, Item, RejectedRow, UnchangedRecord
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.import_files import PLATFORM
from asset_ledger.sources.import_files.accept import accept_bytes

CAME_AT = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Outcome:
    raw: RawRecord
    items: list[Item]

    def of(self, kind: type) -> list[Any]:
        return [item for item in self.items if isinstance(item, kind)]

    @property
    def records(self) -> list[AssetRecord]:
        return self.of(AssetRecord)

    @property
    def instances(self) -> list[InstanceRecord]:
        return self.of(InstanceRecord)

    @property
    def unchanged(self) -> list[UnchangedRecord]:
        return self.of(UnchangedRecord)

    @property
    def rejected(self) -> list[RejectedRow]:
        return self.of(RejectedRow)

    @property
    def cautions(self) -> list[Caution]:
        return self.of(Caution)

    @property
    def faults(self) -> list[tuple[int, str | None, str]]:
        """(row, column, code) of every rejected cell."""
        return [(cell.row, cell.column, cell.code.code) for row in self.rejected for cell in row.cells]

    @property
    def digests(self) -> dict[bytes, str]:
        return {record.record_digest: record.external_id for record in self.records}


def drop_bytes(body: bytes, name: str = "hosts_2026-11-01.csv", known: Mapping[bytes, str] | None = None) -> Outcome:
    raw = accept_bytes(body, name, CAME_AT)
    outcome = Outcome(raw, list(PLATFORM.parse(raw, known or {})))
    for record in outcome.records:
        normalized.validate(record.document, target=record.locator)
    return outcome


def csv_bytes(rows: Sequence[Sequence[str]], encoding: str = "utf-8", delimiter: str = ",") -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter).writerows(rows)
    return stream.getvalue().encode(encoding)


def xlsx_bytes(build: Callable[[Any, Any], None]) -> bytes:
    """Return a workbook; `build(workbook, first sheet)` fills it."""
    out = io.BytesIO()
    workbook = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False})
    build(workbook, workbook.add_worksheet("台账"))
    workbook.close()
    return out.getvalue()


def xlsx_of(rows: Sequence[Sequence[Any]]) -> bytes:
    def build(_workbook: Any, sheet: Any) -> None:
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)

    return xlsx_bytes(build)


@pytest.fixture
def drop() -> Callable[..., Outcome]:
    """Take bytes through accept and parse."""
    return drop_bytes


@pytest.fixture
def drop_rows() -> Callable[..., Outcome]:
    """Take rows, header first, through CSV, accept and parse."""
    return lambda rows, name="hosts_2026-11-01.csv", known=None: drop_bytes(csv_bytes(rows), name, known)


@pytest.fixture
def drop_row() -> Callable[..., Outcome]:
    """Take one machine through; mgmt_ip and hostname are given unless said."""

    def one(**cells: str) -> Outcome:
        cells = {"mgmt_ip": "192.0.2.1", "hostname": "db-01", **cells}
        header = [name.replace("custom__", "custom.") for name in cells]
        return drop_bytes(csv_bytes([header, list(cells.values())]))

    return one


@pytest.fixture
def make_xlsx() -> Callable[[Callable[[Any, Any], None]], bytes]:
    return xlsx_bytes


@pytest.fixture
def xlsx_rows() -> Callable[[Sequence[Sequence[Any]]], bytes]:
    return xlsx_of


@pytest.fixture
def to_csv() -> Callable[..., bytes]:
    return csv_bytes
