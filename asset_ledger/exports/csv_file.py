"""CSV: RFC 4180, UTF-8, a header, lines that end in CRLF.

What is not known is nothing between two commas; a text that is known and empty is `""`. Values are what they are: for
people who open the file in Excel there is `for_excel`, which marks it as UTF-8 and keeps texts from being formulas.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from asset_ledger.domain.exports import Column, Reading, words_of
from asset_ledger.exports.pieces import PIECE_BYTES

_QUOTED = re.compile('[",\r\n]')
_ALWAYS_PLAIN = frozenset({"integer", "decimal", "real", "boolean", "day", "instant", "local_time"})
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARK = b"\xef\xbb\xbf"


def csv_pieces(reading: Reading, *, for_excel: bool = False) -> Iterator[bytes]:
    """Yield the bytes of a CSV, a batch or less at once; of more than a piece the rows of a piece, and one long row."""
    columns = reading.table.columns
    alone = len(columns) == 1
    cells = [_cell(column, for_excel=for_excel, alone=alone) for column in columns]
    # with the first rows: what goes wrong over them is known before anything is given away
    head = (_MARK if for_excel else b"") + _lines([",".join(_quoted(column.name) for column in columns)])
    for rows in reading.batches:
        text: list[str] = []
        size = 0
        for row in rows:
            line = ",".join([cell(value) for cell, value in zip(cells, row, strict=True)])
            if text and size + len(line) > PIECE_BYTES:
                yield head + _lines(text)
                head, text, size = b"", [], 0
            text.append(line)
            size += len(line) + 2
        if text:
            yield head + _lines(text)
            head = b""
    if head:
        yield head


def _lines(text: list[str]) -> bytes:
    return ("\r\n".join(text) + "\r\n").encode()


def _cell(column: Column, *, for_excel: bool, alone: bool) -> Callable[[Any], str]:
    words = words_of(column.kind)
    # a line of nothing would be no row
    nothing = '""' if alone else ""
    if column.kind in _ALWAYS_PLAIN:
        return lambda value: nothing if value is None else words(value)
    if for_excel:
        return lambda value: nothing if value is None else _quoted(_harmless(words(value)))
    return lambda value: nothing if value is None else _quoted(words(value))


def _quoted(text: str) -> str:
    if not text or _QUOTED.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def _harmless(text: str) -> str:
    """Return a text that a spreadsheet takes for one: with an apostrophe where it would begin a formula."""
    return "'" + text if text.startswith(_FORMULA) else text
