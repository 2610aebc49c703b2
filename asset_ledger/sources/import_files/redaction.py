"""Which cells must never be stored, and the table without them.

The cells' own rules (`cells.py`) say what a credential reference or a harmless custom field is; here it is
applied to whole rows, so that raw, reports and messages all leave out the same cells.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence

from asset_ledger.domain.secrecy import REDACTED, holds_secret, names_secret
from asset_ledger.sources.import_files.cells import is_credential_ref, json_holds_secret
from asset_ledger.sources.import_files.columns import Columns

# Parts in which people and programs leave notes and connection strings; the cells themselves are read as rows.
_CELL_PARTS = ("xl/worksheets/sheet", "xl/styles.xml", "xl/theme/", "xl/media/", "[content_types].xml")


class SecretCells:
    """Says which cells of a row must not be stored."""

    def __init__(self, columns: Columns) -> None:
        self._width = len(columns.names)
        self._secret = sorted(columns.secret)
        self._credential = columns.position("credential_ref")
        self._custom = columns.position("custom_fields")
        guarded = [*self._secret, *(i for i in (self._credential, self._custom) if i is not None)]
        self._first_guarded = min(guarded, default=None)

    def positions(self, row: Sequence[str]) -> set[int]:
        """Return the positions of the cells that must be redacted."""
        width = len(row)
        found = {i for i in self._secret if i < width and row[i].strip()}
        if self._credential is not None and self._credential < width:
            text = row[self._credential].strip()
            if text and not is_credential_ref(text):
                found.add(self._credential)
        if self._custom is not None and self._custom < width and json_holds_secret(row[self._custom]):
            found.add(self._custom)
        if holds_secret("\n".join(row)):
            found.update(i for i, text in enumerate(row) if holds_secret(text))
        if width > self._width and any(map(str.strip, row[self._width :])):
            found |= self._shifted(row)
        return found

    def _shifted(self, row: Sequence[str]) -> set[int]:
        """Return all that may be a secret where a stray separator moved cells to the right."""
        starts = [] if self._first_guarded is None else [self._first_guarded]
        starts += [i for i, text in enumerate(row) if names_secret(text)]
        return {i for i in range(min(starts, default=len(row)), len(row)) if row[i].strip()}


def redacted_row(row: Sequence[str], positions: set[int]) -> list[str]:
    """Return a row with the mark in place of the cells at these positions."""
    return [REDACTED if i in positions else text for i, text in enumerate(row)]


class CanonicalCsv:
    """Writes a table as UTF-8 CSV in which every row keeps its number."""

    def __init__(self) -> None:
        self._stream = io.StringIO(newline="")
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._next = 1

    def write(self, number: int, cells: Sequence[str]) -> None:
        """Add the row of this number; numbers left out become blank rows."""
        self._stream.write("\n" * (number - self._next))
        self._writer.writerow(cells)
        self._next = number + 1

    def body(self) -> bytes:
        """Return the bytes."""
        return self._stream.getvalue().encode()


def workbook_holds_secret(body: bytes, other_cells: Iterator[str]) -> bool:
    """Say whether a workbook has, outside the table that was read, something that must not be stored.

    That is: a secret or the name of one in another sheet, a note, a property or a connection; a macro project,
    which cannot be looked into.
    """
    if any(names_secret(text) or holds_secret(text) for text in other_cells):
        return True
    if not body.startswith(b"PK"):
        # .xls: text stands as Latin-1 or UTF-16; without its NULs both read the same
        return b"_VBA_PROJECT" in (packed := body.replace(b"\x00", b"")) or holds_secret(packed.decode("latin-1"))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        for part in archive.namelist():
            lowered = part.lower()
            if lowered.endswith("vbaproject.bin"):
                return True
            if lowered.startswith(_CELL_PARTS) or not lowered.endswith((".xml", ".rels", ".vml")):
                continue
            text = archive.read(part).decode("utf-8", "replace")
            if holds_secret(text) or (lowered != "xl/sharedstrings.xml" and names_secret(text)):
                return True
    return False
