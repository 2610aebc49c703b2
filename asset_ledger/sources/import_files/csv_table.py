"""Reading CSV: encoding and separator are decided by rule and never guessed from statistics; rows are streamed.

Called by `formats.read_table` only.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.import_files import errors
from asset_ledger.sources.import_files.columns import count_known, understand
from asset_ledger.sources.import_files.config import Limits
from asset_ledger.sources.import_files.table import Table, is_header

_CHUNK = 1 << 20
_DELIMITERS = (",", ";", "\t")
_BLANK_CELLS = ' \t\r\n"' + "".join(_DELIMITERS)
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_csv(body: bytes, name: str, kind: str, limits: Limits) -> Table:
    """Return the table of a CSV. Lines above the header that begin with `#` or are blank are passed over."""
    encoding = decide_encoding(body, name)
    delimiter = _decide_delimiter(body, encoding, kind)
    records = _records(body, encoding, delimiter, name)
    preamble: list[str] = []
    for number, cells in records:
        if is_header(cells):
            columns = understand(cells, kind, target=name)
            rows = _limited(records, number, limits, name)
            return Table("csv", number, columns, rows, encoding=encoding, delimiter=delimiter, preamble=tuple(preamble))
        preamble += cells
    raise PermanentError(errors.EMPTY, "no row but comments and blank ones", target=name)


def decide_encoding(body: bytes, name: str) -> str:
    """Return `utf-8-sig` where there is a mark, else `utf-8`, else `gb18030`: the first that fits strictly."""
    if body.startswith(_UTF16_MARKS):
        raise PermanentError(errors.ENCODING, "this is UTF-16 (Excel's 'Unicode text')", target=name)
    tries = ["utf-8-sig"] if body.startswith(codecs.BOM_UTF8) else ["utf-8", "gb18030"]
    failures = []
    for encoding in tries:
        if _decodes(body, encoding):
            return encoding
        offset = _first_bad_byte(body, encoding)
        row = body.count(b"\n", 0, offset) + 1
        failures.append(f"not {'UTF-8' if 'utf' in encoding else 'GB18030'} at byte {offset + 1} (row {row})")
    raise PermanentError(errors.ENCODING, ", ".join(failures), target=name)


def _decodes(body: bytes, encoding: str) -> bool:
    """Say whether all of it decodes, a piece at a time so that no second copy of the text is made."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    view = memoryview(body)
    try:
        for start in range(0, len(view), _CHUNK):
            decoder.decode(bytes(view[start : start + _CHUNK]))
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _first_bad_byte(body: bytes, encoding: str) -> int:
    try:
        body.decode(encoding)
    except UnicodeDecodeError as error:
        return error.start + (3 if encoding == "utf-8-sig" else 0)
    return 0


def _lines(body: bytes, encoding: str) -> Iterator[str]:
    # newline="" keeps line ends inside quoted cells as they are; the csv module finds those between rows
    return io.TextIOWrapper(io.BytesIO(body), encoding=encoding, errors="strict", newline="")


def _decide_delimiter(body: bytes, encoding: str, kind: str) -> str:
    """Return the separator with which the header line shows most known columns; the comma where none does."""
    header = next((line for line in _lines(body, encoding) if is_header([line.strip(_BLANK_CELLS)])), "")
    header = header[:_CHUNK]
    return max(_DELIMITERS, key=lambda delimiter: count_known(_split(header, delimiter), kind))


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _records(body: bytes, encoding: str, delimiter: str, name: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(_lines(body, encoding), delimiter=delimiter, strict=True)
    number = 0
    line = 0
    try:
        for number, cells in enumerate(reader, 1):
            line = reader.line_num
            yield number, cells
    except csv.Error as error:
        if "field limit" in str(error) and reader.line_num == line + 1:
            # within one line; a cell that long over many lines is a quote that is never closed
            raise PermanentError(
                errors.TEXT_INVALID,
                f"row {number + 1}: a cell has more than {csv.field_size_limit():,} characters",
                target=name,
            ) from error
        raise PermanentError(
            errors.CSV_MALFORMED,
            f"row {number + 1} (it begins before or on line {reader.line_num}): {error}",
            target=name,
        ) from error


def _limited(
    records: Iterator[tuple[int, list[str]]], header_row: int, limits: Limits, name: str
) -> Iterator[tuple[int, list[str]]]:
    last = header_row + limits.max_rows
    for record in records:
        if record[0] > last:
            raise PermanentError(errors.TOO_MANY_ROWS, f"more than {limits.max_rows:,} rows", target=name)
        yield record
