"""What goes back to the person who dropped a file: every rejected cell as CSV, and their own workbook, marked.

Pure: bytes in, bytes out. Who calls it decides where the files lie. Nothing that `redaction.py` removes stands in them.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from asset_ledger.domain.inventory import Caution, RejectedCell, RejectedRow
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.secrecy import REDACTED
from asset_ledger.sources.import_files import errors
from asset_ledger.sources.import_files.formats import TEXT_SUFFIXES, read_table
from asset_ledger.sources.import_files.parse import ACCEPTED, kept_name
from asset_ledger.sources.import_files.redaction import SecretCells, redacted_row, workbook_holds_secret
from asset_ledger.sources.import_files.rows import kind_of
from asset_ledger.sources.import_files.table import Table

REPORT_HEADER = ("row", "column", "code", "reason", "value")
_BYTE_ORDER_MARK = "\ufeff"  # without it Excel takes UTF-8 for the machine's old code page
_RUNS = ("=", "+", "-", "@", "\t", "\r")
_MARKED_CELLS = 200_000  # the library that keeps a workbook's own look needs some 50 times the memory
_RED = "FFC7CE"
_OWN_LOOK_FAILS = (KeyError, ValueError, TypeError, AttributeError, IndexError, zipfile.BadZipFile)


def report_csv(rejected: Iterable[RejectedRow], cautions: Iterable[Caution] = ()) -> bytes:
    """Return every rejected cell, one a line, then the cautions; UTF-8 with a mark so that Excel reads it."""
    stream = io.StringIO(newline="")
    stream.write(_BYTE_ORDER_MARK)
    writer = csv.writer(stream)
    writer.writerow(REPORT_HEADER)
    for row in rejected:
        for cell in row.cells:
            texts = (cell.column or "", cell.code.code, cell.reason, cell.value or "")
            writer.writerow((cell.row, *map(harmless, texts)))
    for caution in cautions:
        writer.writerow(("", harmless(caution.locator or ""), caution.code.code, harmless(caution.message), ""))
    return stream.getvalue().encode("utf-8", "replace")


def harmless(text: str) -> str:
    """Return a text that no spreadsheet program runs as a formula."""
    return f"'{text}" if text.startswith(_RUNS) else text


def reports(raw: RawRecord, rejected: Sequence[RejectedRow]) -> Iterator[tuple[str, bytes]]:
    """Yield what lies beside the archived file, as (what is added to its name, bytes): nothing where all was well."""
    cautions = [
        Caution(errors.BY_NAME[caution["code"]], caution["message"]) for caution in raw.document.get("cautions", ())
    ]
    if rejected or cautions:
        yield ".report.csv", report_csv(rejected, cautions)
    name = str(raw.document["file"])
    if raw.redacted and rejected and not name.lower().endswith(TEXT_SUFFIXES):
        kind = str(raw.document["kind"])
        table = read_table(raw.body, kept_name(raw), kind, limits=ACCEPTED)
        yield ".marked.xlsx", _bad_rows(table, {row.row: row for row in rejected})
    else:
        marked = marked_workbook(raw.body, name, rejected)
        if marked is not None:
            yield ".marked.xlsx", marked


def marked_workbook(body: bytes, name: str, rejected: Sequence[RejectedRow]) -> bytes | None:
    """Return an .xlsx that shows the bad cells in red, or None where `body` is CSV or nothing was rejected.

    Up to 200,000 cells it is the workbook that was dropped, each bad cell with a note of the reason. Larger ones,
    .xls and workbooks with secrets beside the table give the bad rows alone, the row's number first, reasons last.
    Raises PermanentError as `formats.read_table` does.
    """
    if not rejected or name.lower().endswith(TEXT_SUFFIXES):
        return None
    kind = kind_of(name)
    if _may_keep_its_look(body, read_table(body, name, kind, limits=ACCEPTED)):
        try:
            return _own_workbook(body, read_table(body, name, kind, limits=ACCEPTED), rejected)
        except _OWN_LOOK_FAILS:  # openpyxl knows fewer kinds of workbook than what reads the cells
            pass
    return _bad_rows(read_table(body, name, kind, limits=ACCEPTED), {row.row: row for row in rejected})


def _may_keep_its_look(body: bytes, table: Table) -> bool:
    if table.format not in ("xlsx", "xlsm"):
        return False
    cells = 0
    for _number, row in table.rows:
        cells += len(row)
        if cells > _MARKED_CELLS:
            return False
    others = []
    for text in table.other_cells:
        others.append(text)
        if cells + len(others) > _MARKED_CELLS:
            return False
    return not workbook_holds_secret(body, iter(others))


def _own_workbook(body: bytes, table: Table, rejected: Sequence[RejectedRow]) -> bytes:
    from openpyxl import load_workbook
    from openpyxl.cell.cell import MergedCell
    from openpyxl.comments import Comment
    from openpyxl.styles import PatternFill

    workbook = load_workbook(io.BytesIO(body))
    sheet = workbook[table.sheet]
    secret_cells = SecretCells(table.columns)
    for number, row in table.rows:
        for position in secret_cells.positions(row):
            cell = sheet.cell(number, position + 1)
            if not isinstance(cell, MergedCell):
                cell.value = REDACTED
                cell.comment = None
    red = PatternFill("solid", start_color=_RED, end_color=_RED)
    for bad in rejected:
        for position, reasons in _by_position(bad.cells, table).items():
            cell = sheet.cell(bad.row, position + 1)
            cell.fill = red
            if not isinstance(cell, MergedCell):
                cell.comment = Comment("\n".join(reasons), "asset-ledger", width=360, height=120)
    out = io.BytesIO()
    workbook.save(out)
    return out.getvalue()


def _by_position(cells: Iterable[RejectedCell], table: Table) -> dict[int, list[str]]:
    """Return the reasons by position; what is against the whole row stands at its first cell."""
    header = table.columns.header
    reasons: dict[int, list[str]] = {}
    for cell in cells:
        position = header.index(cell.column) if cell.column in header else 0
        reasons.setdefault(position, []).append(f"{cell.code.code}: {cell.reason}")
    return reasons


def _bad_rows(table: Table, rejected: Mapping[int, RejectedRow]) -> bytes:
    import xlsxwriter

    out = io.BytesIO()
    options: dict[str, Any] = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    workbook = xlsxwriter.Workbook(out, options)
    sheet = workbook.add_worksheet("rejected rows")
    bold = workbook.add_format({"bold": True})
    red = workbook.add_format({"bg_color": f"#{_RED}"})
    header = table.columns.header
    sheet.write_row(0, 0, ["row", *header, "reason"], bold)
    sheet.freeze_panes(1, 1)
    secret_cells = SecretCells(table.columns)
    at = 0
    for number, row in table.rows:
        bad = rejected.get(number)
        if bad is None:
            continue
        at += 1
        sheet.write_number(at, 0, number)
        reasons = _by_position(bad.cells, table)
        for position, text in enumerate(redacted_row(row[: len(header)], secret_cells.positions(row))):
            sheet.write_string(at, position + 1, text[:32_000], red if position in reasons else None)
        sheet.write_string(at, len(header) + 1, "; ".join(chain.from_iterable(reasons.values()))[:32_000])
    workbook.close()
    return out.getvalue()
