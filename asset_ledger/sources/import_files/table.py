"""The bytes of a dropped file as a table of texts: which format it is, and what all formats have in common.

No I/O: bytes in, `Table` out. What a column means, `columns.py` knows; whether a cell is valid, `rows.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from asset_ledger.domain.errors import ErrorCode, PermanentError
from asset_ledger.domain.inventory import Caution
from asset_ledger.sources.import_files import errors
from asset_ledger.sources.import_files.columns import Columns
from asset_ledger.sources.import_files.config import Limits

COMMENT = "#"
TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
WORKBOOK_SUFFIXES = (".xlsx", ".xlsm", ".xls")
ZIP_SIGNATURE = b"PK\x03\x04"
EMPTY_ZIP_SIGNATURE = b"PK\x05\x06"
OLE_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@dataclass(frozen=True, slots=True)
class Flaw:
    """What the format itself says against a cell (a formula, a merge). `position` None means the row."""

    position: int | None
    code: ErrorCode
    reason: str
    shown: str | None


@dataclass(slots=True)
class Table:
    """One header and the rows below it.

    `rows` gives (row number as a spreadsheet shows it, texts) once, in order, blank rows included; texts may be
    fewer or more than the header. `flaws` of a row are complete when the row has been given. `preamble` are the
    cells above the header. `encoding` and `delimiter` are of CSV; `sheet` is of workbooks, and `other_cells` are
    the texts of the sheets that were not chosen.
    """

    format: str
    header_row: int
    columns: Columns
    rows: Iterator[tuple[int, Sequence[str]]]
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    flaws: dict[int, list[Flaw]] = field(default_factory=dict)
    cautions: tuple[Caution, ...] = ()
    preamble: tuple[str, ...] = ()
    other_cells: Iterator[str] = field(default_factory=lambda: iter(()))


def is_header(cells: Sequence[str]) -> bool:
    """Say whether a row can be the header: it has a cell, and does not begin with `#` as a comment does.

    A first cell that is only `#` heads a column of running numbers.
    """
    first = next((text for cell in cells if (text := cell.strip())), "")
    return first != "" and (first == COMMENT or not first.startswith(COMMENT))


def read_table(body: bytes, name: str, kind: str, *, limits: Limits | None = None) -> Table:
    """Return the table in a file's bytes. `name` is the file's; `kind` is `hosts` or `instances`.

    Raises PermanentError with a file-level IMPORT_* code and the file's name as its target; rows of a CSV that
    cannot be told apart raise it while they are read.
    """
    from asset_ledger.sources.import_files import csv_table, workbook

    limits = limits or Limits()
    suffix = PurePath(name).suffix.lower()
    if suffix not in TEXT_SUFFIXES + WORKBOOK_SUFFIXES:
        raise PermanentError(errors.UNSUPPORTED_FORMAT, f"{suffix or 'no suffix'!r} is not read", target=name)
    if not body.strip():
        raise PermanentError(errors.EMPTY, f"the file has {len(body)} bytes and no cell", target=name)
    is_zip = body.startswith((ZIP_SIGNATURE, EMPTY_ZIP_SIGNATURE))
    is_ole = body.startswith(OLE_SIGNATURE)
    if suffix in TEXT_SUFFIXES:
        if is_zip or is_ole:
            raise PermanentError(
                errors.UNSUPPORTED_FORMAT, f"the name ends in {suffix} but the content is no text", target=name
            )
        return csv_table.read_csv(body, name, kind, limits)
    if is_zip:
        return workbook.read_xlsx(body, name, kind, limits)
    if is_ole:
        return workbook.read_xls(body, name, kind, limits)
    raise PermanentError(errors.UNREADABLE, f"the name ends in {suffix} but this is no Excel workbook", target=name)
