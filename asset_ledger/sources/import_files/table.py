"""A dropped file as a table of texts: what all formats have in common. `formats.read_table` makes one.

What a column means, `columns.py` knows; whether a cell is valid, `rows.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from asset_ledger.domain.errors import ErrorCode
from asset_ledger.domain.inventory import Caution
from asset_ledger.sources.import_files.columns import Columns

COMMENT = "#"


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
