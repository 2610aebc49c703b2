"""Which format a file's bytes are in, and the reader for it: bytes in, `Table` out. No I/O."""

from __future__ import annotations

from pathlib import PurePath

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.import_files import csv_table, errors, workbook
from asset_ledger.sources.import_files.config import Limits
from asset_ledger.sources.import_files.table import Table

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
WORKBOOK_SUFFIXES = (".xlsx", ".xlsm", ".xls")
ZIP_SIGNATURE = b"PK\x03\x04"
EMPTY_ZIP_SIGNATURE = b"PK\x05\x06"
OLE_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def read_table(body: bytes, name: str, kind: str, *, limits: Limits | None = None) -> Table:
    """Return the table in a file's bytes. `name` is the file's; `kind` is `hosts` or `instances`.

    Raises PermanentError with a file-level IMPORT_* code and the file's name as its target; rows of a CSV that
    cannot be told apart raise it while they are read.
    """
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
