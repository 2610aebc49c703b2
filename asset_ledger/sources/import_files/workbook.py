"""Reading Excel workbooks: the first visible sheet that has cells, every cell as the text a person sees.

Formulas are never evaluated and their remembered results never taken. Called by `formats.read_table` only.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.parsers import expat

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.inventory import Caution
from asset_ledger.sources.import_files import biff, errors, zip_guard
from asset_ledger.sources.import_files.columns import Columns, group, shown, understand
from asset_ledger.sources.import_files.config import Limits
from asset_ledger.sources.import_files.rows import CUSTOM
from asset_ledger.sources.import_files.table import Flaw, Table, is_header

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

Marks = dict[tuple[int, int], str]
"""(row from 1, position from 0) of a cell to what is wrong with it: `formula` or `error`."""

_EXACT_TEXT = 10**15  # a spreadsheet keeps 15 digits of a number that was typed
_EXACT_NUMBER = 2**53
_RELATIONSHIP = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_STRICT_RELATIONSHIP = "{http://purl.oclc.org/ooxml/officeDocument/relationships}id"


def read_xlsx(body: bytes, name: str, kind: str, limits: Limits) -> Table:
    """Return the table of an .xlsx or .xlsm. The archive is looked through before the workbook is opened."""
    archive = zip_guard.inspect(body, name, limits)
    if not any(part.lower() == "xl/workbook.xml" for part in archive.parts):
        raise PermanentError(errors.UNREADABLE, "the archive holds no Excel workbook", target=name)

    def marks(sheet: str) -> Marks:
        if not archive.sheets_with_formulas:
            return {}
        part = _part_of(body, sheet, name)
        return _marks_of(body, part, name) if part in archive.sheets_with_formulas else {}

    file_format = "xlsm" if any(part.lower().endswith("vbaproject.bin") for part in archive.parts) else "xlsx"
    return _read(body, name, kind, limits, file_format=file_format, marks_of=marks)


def read_xls(body: bytes, name: str, kind: str, limits: Limits) -> Table:
    """Return the table of an .xls. An encrypted .xlsx has the same outer form and is refused."""
    sheets = biff.inspect(body, name)
    return _read(body, name, kind, limits, file_format="xls", marks_of=lambda sheet: sheets.get(sheet, {}))


def _read(
    body: bytes, name: str, kind: str, limits: Limits, *, file_format: str, marks_of: Callable[[str], Marks]
) -> Table:
    chosen, others = _choose(_open(body, name), name)
    rows = _true_rows(chosen)
    preamble: list[str] = []
    header_row, texts = 0, list[str]()
    for number, values in rows:
        texts = list(map(_text, values))
        if is_header(texts):
            header_row = number
            break
        preamble += filter(None, texts)
    if not header_row:
        raise PermanentError(errors.EMPTY, f"sheet {chosen.name!r} has no row but comments and blank ones", target=name)
    while texts and not texts[-1].strip():
        texts.pop()
    if _last_row(chosen) - header_row > limits.max_rows:
        raise PermanentError(errors.TOO_MANY_ROWS, f"more than {limits.max_rows:,} rows", target=name)
    columns = understand(texts, kind, target=name)
    table = Table(file_format, header_row, columns, iter(()), sheet=chosen.name, cautions=_other_sheets(chosen, others))
    table.flaws = _static_flaws(marks_of(chosen.name), chosen, columns, header_row)
    table.rows = _text_rows(rows, columns, kind, table.flaws)
    table.preamble = tuple(preamble)
    table.other_cells = (text for sheet in others for row in sheet.iter_rows() for text in map(_text, row) if text)
    return table


def _open(body: bytes, name: str) -> CalamineWorkbook:
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    try:
        return CalamineWorkbook.from_object(io.BytesIO(body))
    except PasswordError as error:
        raise PermanentError(errors.ENCRYPTED, "it asks for a password", target=name) from error
    except CalamineError as error:
        raise PermanentError(errors.UNREADABLE, f"the workbook is damaged: {error}", target=name) from error
    except BaseException as error:
        _raise_unless_panic(error)
        raise PermanentError(errors.UNREADABLE, "the workbook is damaged", target=name) from error


def _raise_unless_panic(error: BaseException) -> None:
    """Raise anything but a panic of the reader's Rust code, which has no importable class of its own."""
    if type(error).__name__ != "PanicException":
        raise error


def _choose(workbook: CalamineWorkbook, name: str) -> tuple[CalamineSheet, list[CalamineSheet]]:
    """Return the first visible sheet that has cells, and the others that have some, hidden ones too."""
    from python_calamine import CalamineError, SheetTypeEnum, SheetVisibleEnum

    chosen = None
    others = []
    for index, about in enumerate(workbook.sheets_metadata):
        if about.typ != SheetTypeEnum.WorkSheet:
            continue
        try:
            sheet = workbook.get_sheet_by_index(index)
        except CalamineError as error:
            raise PermanentError(errors.UNREADABLE, f"sheet {about.name!r} is damaged: {error}", target=name) from error
        except BaseException as error:
            _raise_unless_panic(error)
            raise PermanentError(errors.UNREADABLE, f"sheet {about.name!r} is damaged", target=name) from error
        if sheet.end is None:
            continue
        if chosen is None and about.visible == SheetVisibleEnum.Visible:
            chosen = sheet
        else:
            others.append(sheet)
    if chosen is None:
        raise PermanentError(errors.EMPTY, "no visible sheet has a cell", target=name)
    return chosen, others


def _other_sheets(chosen: CalamineSheet, others: Sequence[CalamineSheet]) -> tuple[Caution, ...]:
    if not others:
        return ()
    names = ", ".join(repr(shown(sheet.name)) for sheet in others[:20])
    return (Caution(errors.OTHER_SHEETS, f"only sheet {shown(chosen.name)!r} was read, not {names}"),)


def _true_rows(sheet: CalamineSheet) -> Iterator[tuple[int, list[Any]]]:
    """Yield rows as a spreadsheet numbers them: the reader leaves out blank columns at the left."""
    left = [""] * (sheet.start[1] if sheet.start else 0)
    for number, values in enumerate(sheet.iter_rows(), 1):
        yield number, left + values if left else values


def _last_row(sheet: CalamineSheet) -> int:
    """Return the number of the last row with a cell; the reader's own total_height is one less."""
    return sheet.end[0] + 1 if sheet.end else 0


def _text(value: Any) -> str:
    """Return a cell as text, exactly: 8080.0 is `8080`, a date is ISO 8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else format(value, ".15g")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)


def _text_rows(
    rows: Iterable[tuple[int, list[Any]]], columns: Columns, kind: str, flaws: dict[int, list[Flaw]]
) -> Iterator[tuple[int, list[str]]]:
    """Yield rows as texts, adding to `flaws` what the spreadsheet program changed before we saw it."""
    numeric = {i for i, name in enumerate(columns.names) if name and group(kind, name) in ("memory", "disk")}
    for number, values in rows:
        texts = []
        for i, value in enumerate(values):
            if type(value) is str:
                texts.append(value)
                continue
            if type(value) is float and -_EXACT_TEXT < value < _EXACT_TEXT:
                texts.append(str(int(value)) if value.is_integer() else format(value, ".15g"))
                continue
            text = _text(value)
            texts.append(text)
            name = columns.names[i] if i < len(columns.names) else None
            if name is None:
                continue
            reason = _changed(value, name, numeric=i in numeric)
            if reason:
                flaws.setdefault(number, []).append(Flaw(i, errors.EXCEL_VALUE, reason, text))
        yield number, texts


def _changed(value: Any, name: str, *, numeric: bool) -> str | None:
    if isinstance(value, date | time | timedelta) and not name.startswith(CUSTOM):
        return f"the spreadsheet holds the date or time {_text(value)} here: format the column as text"
    if isinstance(value, float) and abs(value) >= (_EXACT_NUMBER if numeric else _EXACT_TEXT):
        return "the spreadsheet keeps 15 digits of a number, so digits may be lost: format the column as text"
    return None


def _static_flaws(marks: Marks, sheet: CalamineSheet, columns: Columns, header_row: int) -> dict[int, list[Flaw]]:
    """Return what formulas, error values and merged cells say against rows below the header."""
    flaws: dict[int, list[Flaw]] = {}
    for (row, position), mark in sorted(marks.items()):
        if row <= header_row or position >= len(columns.names) or columns.names[position] is None:
            continue
        if mark == "formula":
            flaw = Flaw(position, errors.FORMULA, "this is a formula: paste it as a value", None)
        else:
            flaw = Flaw(position, errors.EXCEL_VALUE, "this is an error value of the spreadsheet", None)
        flaws.setdefault(row, []).append(flaw)
    covered = header_row
    for (top, left), (bottom, right) in sorted(sheet.merged_cell_ranges or ()):
        known = [i for i in range(left, min(right + 1, len(columns.names))) if columns.names[i] is not None]
        if not known:
            continue
        reason = f"cells {_cell_name(top, left)}:{_cell_name(bottom, right)} are merged"
        for row in range(max(top + 1, covered + 1), min(bottom + 1, _last_row(sheet)) + 1):
            flaws.setdefault(row, []).append(Flaw(known[0], errors.MERGED_CELLS, reason, None))
        covered = max(covered, bottom + 1)
    return flaws


def _cell_name(row: int, position: int) -> str:
    return f"{column_letters(position)}{row + 1}"


def column_letters(position: int) -> str:
    """Return what a spreadsheet calls the column at a position from 0."""
    letters = ""
    position += 1
    while position:
        position, rest = divmod(position - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _part_of(body: bytes, sheet: str, name: str) -> str:
    """Return the archive part that holds a sheet of this name."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            book = ElementTree.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314 - no declarations: see zip_guard
            links = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    except (KeyError, ElementTree.ParseError, zipfile.BadZipFile) as error:
        raise PermanentError(
            errors.UNREADABLE, f"the workbook's list of sheets is damaged: {error}", target=name
        ) from error
    for element in book.iter():
        if element.tag.endswith("}sheet") and element.get("name") == sheet:
            wanted = element.get(_RELATIONSHIP) or element.get(_STRICT_RELATIONSHIP)
            for link in links:
                if link.get("Id") == wanted:
                    target = link.get("Target", "")
                    return target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    raise PermanentError(errors.UNREADABLE, f"sheet {sheet!r} has no part in the archive", target=name)


def _marks_of(body: bytes, part: str, name: str) -> Marks:
    """Return the cells of a sheet's XML that have a formula or an error value."""
    marks: Marks = {}
    row = 0
    position = -1

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal row, position
        local = tag.rpartition(":")[2]
        if local == "row":
            row = int(attributes.get("r", row + 1))
            position = -1
        elif local == "c":
            position += 1
            reference = attributes.get("r")
            if reference:
                row, position = _place(reference)
            if attributes.get("t") == "e":
                marks[row, position] = "error"
        elif local == "f":
            marks[row, position] = "formula"

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive, archive.open(part) as stream:
            parser.ParseFile(stream)
    except (expat.ExpatError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise PermanentError(errors.UNREADABLE, f"part {part!r} is damaged: {error}", target=name) from error
    return marks


def _place(reference: str) -> tuple[int, int]:
    """Return (row from 1, position from 0) of a reference such as `B5`."""
    letters = reference.rstrip("0123456789")
    position = 0
    for letter in letters.upper():
        position = position * 26 + ord(letter) - 64
    return int(reference[len(letters) :]), position - 1
