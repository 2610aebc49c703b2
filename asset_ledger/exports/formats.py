"""The formats there are: how each is called, what it is on the web, and who writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Literal, get_args

from asset_ledger.domain.exports import Reading
from asset_ledger.exports.pieces import cut

Format = Literal["csv", "parquet", "xlsx"]
FORMATS: tuple[Format, ...] = get_args(Format)
MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8; header=present",
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def format_of(name: str) -> Format | None:
    """Return the format that a file's name ends with."""
    suffix = PurePath(name).suffix.lower().removeprefix(".")
    return next((each for each in FORMATS if each == suffix), None)


def pieces(reading: Reading, form: Format, *, for_excel: bool = False) -> Iterator[bytes]:
    """Yield the bytes of a table as a file, at most 64 KiB at once. `for_excel` is a matter of CSV.

    Raises PermanentError(EXPORT_CELL_TOO_LONG) before the first piece where Excel cannot hold it.
    """
    if form == "csv":
        from asset_ledger.exports.csv_file import csv_pieces

        return cut(csv_pieces(reading, for_excel=for_excel))
    if form == "parquet":
        from asset_ledger.exports.parquet_file import parquet_pieces

        return cut(parquet_pieces(reading))
    from asset_ledger.exports.excel_file import excel_pieces

    return cut(excel_pieces(reading))
