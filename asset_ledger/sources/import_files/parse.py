"""One accepted file to items: rows that the ledger already has are recognised by digest, the others validated.

Pure: everything is in the raw record. Reading bytes as a table is `table.py`'s, the rules of cells are `rows.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from operator import itemgetter
from pathlib import PurePath
from typing import Any

from pydantic_core import PydanticCustomError

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.inventory import (
    MACHINE,
    AssetRecord,
    Caution,
    InstanceRecord,
    Item,
    RejectedRow,
    UnchangedRecord,
)
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.import_files import cells, errors
from asset_ledger.sources.import_files.columns import Columns
from asset_ledger.sources.import_files.config import Limits
from asset_ledger.sources.import_files.documents import host_document, instance_record
from asset_ledger.sources.import_files.formats import read_table
from asset_ledger.sources.import_files.row_reader import RowReader
from asset_ledger.sources.import_files.rows import HostRow, InstanceRow
from asset_ledger.sources.import_files.table import Flaw, Table

PARSER_VERSION = 1
CSV_MEDIA_TYPE = "text/csv"
ACCEPTED = Limits(max_rows=10_000_000)  # what was accepted under a source's own limit is read whole
_MARK = "\x1f"  # stands around every column name in the text a digest is of; a cell that has one is rejected


def parse(raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:
    """Yield cautions about the header, then an item a row.

    A row whose digest is in `known` gives an UnchangedRecord without being validated; database instances are few
    and always validated. Raises PermanentError where the kept body has fewer rows than came.
    """
    document = raw.document
    kind = str(document["kind"])
    table = read_table(raw.body, kept_name(raw), kind, limits=ACCEPTED)
    yield from table.columns.cautions
    yield from table.cautions
    if raw.redacted:
        yield from _kept_cautions(document)
        _keep_flaws(document, table)
    nameless = _Nameless(table.columns)
    told = 0
    for item in _instances(table, nameless) if kind == "instances" else _hosts(table, known, nameless):
        told += 1
        yield item
    if told < document["rows"]:
        raise PermanentError(
            errors.UNREADABLE,
            f"what was kept of it has {told} rows, but {document['rows']} came: the raw record is damaged",
            target=raw.target,
        )
    yield from nameless.cautions()


def kept_name(raw: RawRecord) -> str:
    """Return the file's name, with the suffix of what was kept: a redacted workbook is kept as CSV."""
    name = str(raw.document["file"])
    if raw.media_type == CSV_MEDIA_TYPE and raw.redacted:
        return PurePath(name).stem + ".csv"
    return name


def _kept_cautions(document: Mapping[str, Any]) -> Iterator[Caution]:
    """Yield what only the file as received could tell."""
    for entry in document["cautions"]:
        if entry["code"] == errors.OTHER_SHEETS.code:
            yield Caution(errors.OTHER_SHEETS, entry["message"])


def _keep_flaws(document: Mapping[str, Any], table: Table) -> None:
    for row, position, code, reason, shown in document.get("flaws", ()):
        flaw = Flaw(position, errors.BY_NAME[code], reason, shown)
        table.flaws.setdefault(row, []).append(flaw)


class _Nameless:
    """Notices cells under no header: they are not taken, and a person should know."""

    def __init__(self, columns: Columns) -> None:
        self._positions = sorted(columns.nameless)
        self._first: tuple[int, int] | None = None

    def see(self, number: int, row: Sequence[str]) -> None:
        if self._positions and self._first is None:
            for i in self._positions:
                if i < len(row) and row[i].strip():
                    self._first = (number, i)
                    return

    def cautions(self) -> Iterator[Caution]:
        if self._first:
            number, position = self._first
            message = f"column {position + 1} has cells but no header, so they were not taken"
            yield Caution(errors.UNKNOWN_COLUMN, message, f"row {number}")


class _Digests:
    """The digest of a row: of its known, non-blank cells, whatever their order, the file's format or encoding."""

    def __init__(self, columns: Columns, kind: str) -> None:
        picks = sorted((name, i) for i, name in enumerate(columns.names) if name is not None)
        self._prefixes = [f"{_MARK}{name}{_MARK}" for name, _ in picks]
        self._pick = itemgetter(*(i for _, i in picks))  # at least two: two columns are required
        self._start = f"{PARSER_VERSION} {kind}"

    def of(self, row: Sequence[str]) -> bytes | None:
        """Return the digest of a full row, or None for one that has no cell in a known column or a forged mark."""
        parts = [
            prefix + text for prefix, text in zip(self._prefixes, map(str.strip, self._pick(row)), strict=True) if text
        ]
        text = "".join(parts)
        if not parts or text.count(_MARK) != 2 * len(parts):
            return None
        return blake2b((self._start + text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _full_rows(table: Table, nameless: _Nameless) -> Iterator[tuple[int, Sequence[str], list[Flaw]]]:
    """Yield the rows that are not blank, at least as wide as the header, each with its flaws."""
    width = len(table.columns.names)
    flaws = table.flaws
    nothing: list[Flaw] = []
    see = nameless.see if table.columns.nameless else None
    for number, row in table.rows:
        found = flaws.pop(number, nothing) if flaws else nothing
        if len(row) != width:
            if not any(map(str.strip, row)) and not found:
                continue
            surplus = len(row) - width
            if surplus > 0 and any(map(str.strip, row[width:])):
                reason = f"the row has {len(row)} cells, the header has {width}"
                found = [*found, Flaw(None, errors.RAGGED_ROW, reason, None)]
            elif surplus < 0:
                row = [*row, *[""] * -surplus]  # noqa: PLW2901 - the cells a spreadsheet leaves out at the end
        if see:
            see(number, row)
        yield number, row, found
    for number in sorted(flaws):  # below the last cell with a value: formulas without a remembered result
        yield number, [""] * width, flaws[number]


def _hosts(table: Table, known: Mapping[bytes, str], nameless: _Nameless) -> Iterator[Item]:
    digest_of = _Digests(table.columns, "hosts").of
    read = RowReader(table.columns, HostRow)
    taken: dict[str, int] = {}
    for number, row, flaws in _full_rows(table, nameless):
        digest = None if flaws else digest_of(row)
        locator = f"row {number}"
        if digest is not None:
            external_id = known.get(digest)
            if external_id is not None and external_id not in taken:
                taken[external_id] = number
                yield UnchangedRecord(external_id, locator, digest)
                continue
        elif not any(map(str.strip, row)) and not flaws:
            continue
        model, custom, rejected = read(number, row, flaws)
        mgmt_ip = model.mgmt_ip if isinstance(model, HostRow) else _address(read.text(row, "mgmt_ip"))
        if mgmt_ip is not None and mgmt_ip in taken:
            reason = f"{mgmt_ip} was taken from row {taken[mgmt_ip]} already"
            rejected.append(read.rejected(number, "mgmt_ip", errors.DUPLICATE_ROW, reason, row))
        if rejected or not isinstance(model, HostRow) or digest is None:
            yield RejectedRow(number, tuple(rejected))
            continue
        taken[model.mgmt_ip] = number
        yield AssetRecord(MACHINE, model.mgmt_ip, locator, host_document(model, custom), digest)


def _address(text: str) -> str | None:
    """Return the management address of a row that has other faults, or None where that is one of them."""
    try:
        return cells.address(text)
    except PydanticCustomError:
        return None


def _instances(table: Table, nameless: _Nameless) -> Iterator[InstanceRecord | RejectedRow]:
    read = RowReader(table.columns, InstanceRow)
    taken: dict[str, int] = {}
    for number, row, flaws in _full_rows(table, nameless):
        if not flaws and not any(map(str.strip, row)):
            continue
        model, custom, rejected = read(number, row, flaws)
        if rejected or not isinstance(model, InstanceRow):
            yield RejectedRow(number, tuple(rejected))
            continue
        record = instance_record(model, custom, f"row {number}")
        earlier = taken.setdefault(record.instance_key, number)
        if earlier != number:
            reason = f"{record.instance_key} was taken from row {earlier} already"
            yield RejectedRow(number, (read.rejected(number, "name", errors.DUPLICATE_ROW, reason, row),))
            continue
        yield record
