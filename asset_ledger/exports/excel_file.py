"""Excel: a workbook that is written row by row to files of its own and given away when it is whole.

Texts are texts, never formulas or links. Excel knows no zones: instants are in UTC, and the sheet `about` says so.
More rows than a sheet holds go on in the next one; a text longer than a cell holds is an error before anything is
given away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from asset_ledger.domain.errors import EXPORT_CELL_TOO_LONG, PermanentError
from asset_ledger.domain.exports import Column, Reading, Row, Table, words_of
from asset_ledger.exports.pieces import PIECE_BYTES

MOST_CHARACTERS = 32_767
MOST_ROWS = 1_048_576
"""Of a sheet, its header among them."""
EXACT = 2**53
"""Up to here a whole number is what it is in Excel."""
_DIGITS = 15
_EPOCH = date(1900, 3, 1)  # before it Excel counts a day that there was not
_NO_NAME = re.compile(r"[\[\]:*?/\\']")

_Put = Callable[[Any, int, int, Any], None]


def excel_pieces(reading: Reading, *, rows_a_sheet: int = MOST_ROWS) -> Iterator[bytes]:
    """Yield the bytes of a workbook. Raises PermanentError(EXPORT_CELL_TOO_LONG) before the first."""
    with TemporaryDirectory(prefix="asset-ledger-export-") as folder:
        path = Path(folder) / "book.xlsx"
        _write(path, folder, reading, rows_a_sheet)
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece


def _write(path: Path, folder: str, reading: Reading, rows_a_sheet: int) -> None:
    import xlsxwriter

    table = reading.table
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True, "tmpdir": folder, "use_zip64": True})
    puts = [_Cells(book, table, column).put for column in table.columns]
    bold = book.add_format({"bold": True, "bg_color": "#DDEBF7", "bottom": 1})
    written = rows_a_sheet
    sheets = 0
    sheet = None
    for row in _rows(reading):
        if written >= rows_a_sheet:
            _end(sheet, written, table.columns)
            sheets += 1
            sheet, written = _begin(book, table, sheets, bold), 1
        for position, value in enumerate(row):
            if value is not None:
                puts[position](sheet, written, position, value)
        written += 1
    if sheet is None:
        sheet, written = _begin(book, table, 1, bold), 1
    _end(sheet, written, table.columns)
    if table.description:  # a file that a program reads has the one sheet
        _about(book, table, bold)
    book.close()


def _rows(reading: Reading) -> Iterator[Row]:
    for batch in reading.batches:
        yield from batch


def _begin(book: Any, table: Table, number: int, bold: Any) -> Any:
    name = _NO_NAME.sub("_", table.name)[:25]
    sheet = book.add_worksheet(name if number == 1 else f"{name} ({number})")
    sheet.freeze_panes(1, 0)
    for position, column in enumerate(table.columns):
        sheet.set_column(position, position, min(max(len(column.name) + 4, _WIDTHS.get(column.kind, 12)), 40))
        sheet.write_string(0, position, column.name, bold)
    return sheet


_WIDTHS = {"instant": 24, "local_time": 24, "text": 18, "texts": 24, "json": 30}


def _end(sheet: Any, written: int, columns: Sequence[Column]) -> None:
    if sheet is not None:
        sheet.autofilter(0, 0, written - 1, len(columns) - 1)


def _about(book: Any, table: Table, bold: Any) -> None:
    sheet = book.add_worksheet("about")
    sheet.set_column(0, 0, 24)
    sheet.set_column(1, 1, 12)
    sheet.set_column(2, 2, 90)
    then = "" if table.as_of is None else f", as of {table.as_of.isoformat()}"
    lines = [
        (f"{table.name}{then}", "", table.description),
        ("written", "", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"),
        ("times", "", "Every time is in UTC, to the millisecond: Excel knows no zones."),
        ("numbers", "", f"Whole numbers above {EXACT:,} and decimals of more than {_DIGITS} digits are texts."),
    ]
    for at, line in enumerate(lines):
        for position, text in enumerate(line):
            sheet.write_string(at, position, text)
    at = len(lines) + 1
    for position, text in enumerate(("column", "kind", "what it is")):
        sheet.write_string(at, position, text, bold)
    for column in table.columns:
        at += 1
        for position, text in enumerate((column.name, column.kind, column.description[:MOST_CHARACTERS])):
            sheet.write_string(at, position, text)


class _Cells:
    """How the values of one column are put into cells."""

    def __init__(self, book: Any, table: Table, column: Column) -> None:
        self._table, self._column = table, column
        self._words = words_of(column.kind)
        self._plain = book.add_format()
        self._day = book.add_format({"num_format": "yyyy-mm-dd"})
        self._time = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"})
        puts: dict[str, _Put] = {
            "integer": self._integer,
            "decimal": self._decimal,
            "real": self._real,
            "boolean": self._boolean,
            "day": self._put_day,
            "instant": self._put_time,
            "local_time": self._put_time,
        }
        self.put = puts.get(column.kind, self._text)

    def _text(self, sheet: Any, row: int, position: int, value: Any) -> None:
        text = self._words(value)
        # Excel counts in UTF-16
        if len(text) > MOST_CHARACTERS // 2 and len(text.encode("utf-16-le", "surrogatepass")) // 2 > MOST_CHARACTERS:
            raise PermanentError(
                EXPORT_CELL_TOO_LONG,
                f"column {self._column.name}, row {row}: {len(text):,} characters; a cell holds {MOST_CHARACTERS:,}",
                target=self._table.name,
            )
        if text.startswith("<r>") and text.endswith("</r>"):
            # xlsxwriter 3.3 takes it for its own markup and writes it as it is; in two pieces it is text again
            sheet.write_rich_string(row, position, self._plain, text[:1], text[1:])
        else:
            sheet.write_string(row, position, text)

    def _integer(self, sheet: Any, row: int, position: int, value: int) -> None:
        if -EXACT <= value <= EXACT:
            sheet.write_number(row, position, value)
        else:
            self._text(sheet, row, position, value)

    def _decimal(self, sheet: Any, row: int, position: int, value: Decimal) -> None:
        if value.is_finite() and len(value.normalize().as_tuple().digits) <= _DIGITS:
            sheet.write_number(row, position, value)
        else:
            self._text(sheet, row, position, value)

    def _real(self, sheet: Any, row: int, position: int, value: float) -> None:
        if value - value == 0:  # neither infinite nor no number
            sheet.write_number(row, position, value)
        else:
            self._text(sheet, row, position, value)

    def _boolean(self, sheet: Any, row: int, position: int, value: bool) -> None:
        sheet.write_boolean(row, position, value)

    def _put_day(self, sheet: Any, row: int, position: int, value: date) -> None:
        if value >= _EPOCH:
            sheet.write_datetime(row, position, value, self._day)
        else:
            self._text(sheet, row, position, value)

    def _put_time(self, sheet: Any, row: int, position: int, value: datetime) -> None:
        plain = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
        if plain.date() >= _EPOCH:
            sheet.write_datetime(row, position, plain, self._time)
        else:
            self._text(sheet, row, position, value)
