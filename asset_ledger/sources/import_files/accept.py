"""Taking in a dropped file: read once, hashed as received, freed of secrets, ready to be stored before it is parsed.

The only part of the platform that opens a file. Called by the inbox sensor's run and by `asset-ledger import`.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.secrecy import holds_secret
from asset_ledger.sources.import_files import errors
from asset_ledger.sources.import_files.config import ImportConfig, Limits
from asset_ledger.sources.import_files.formats import read_table
from asset_ledger.sources.import_files.parse import CSV_MEDIA_TYPE
from asset_ledger.sources.import_files.redaction import (
    CanonicalCsv,
    SecretCells,
    redacted_row,
    workbook_holds_secret,
)
from asset_ledger.sources.import_files.rows import kind_of
from asset_ledger.sources.import_files.table import Table

MEDIA_TYPES = {
    "csv": CSV_MEDIA_TYPE,
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xlsm": "application/vnd.ms-excel.sheet.macroEnabled.12",
    "xls": "application/vnd.ms-excel",
}


def accept(path: Path, came_at: datetime, config: ImportConfig | None = None) -> RawRecord:
    """Return the raw record of a dropped file.

    The body is the file's bytes or, where something had to be removed, UTF-8 CSV of its table with the same row
    numbers (`redacted` is True then). Raises PermanentError with a file-level IMPORT_* code.
    """
    limits = config.limits() if config else Limits()
    body = _read(path, limits)
    return accept_bytes(body, path.name, came_at, limits=limits)


def accept_bytes(body: bytes, name: str, came_at: datetime, *, limits: Limits | None = None) -> RawRecord:
    """Return the raw record of a file's bytes; see `accept`."""
    limits = limits or Limits()
    kind = kind_of(name)
    table = read_table(body, name, kind, limits=limits)
    rows, redacted, has_secrets = _look_through(table, None)
    has_secrets = has_secrets or any(map(holds_secret, table.preamble))
    if table.format != "csv" and not has_secrets:
        has_secrets = workbook_holds_secret(body, table.other_cells)
    document: dict[str, Any] = {
        "file": name,
        "format": table.format,
        "encoding": table.encoding,
        "sheet": table.sheet,
        "header": list(table.columns.header),
        "rows": rows,
        "kind": kind,
        "cautions": [
            {"code": caution.code.code, "message": caution.message}
            for caution in (*table.columns.cautions, *table.cautions)
        ],
    }
    kept = body
    media_type = MEDIA_TYPES[table.format]
    if has_secrets:
        again = read_table(body, name, kind, limits=limits)
        canonical = CanonicalCsv()
        canonical.write(again.header_row, again.columns.header)
        _rows, redacted, _has = _look_through(again, canonical)
        kept = canonical.body()
        media_type = CSV_MEDIA_TYPE
        document["redacted_cells"] = redacted
        document["flaws"] = [
            [number, flaw.position, flaw.code.code, flaw.reason, flaw.shown]
            for number, flaws in sorted(again.flaws.items())
            for flaw in flaws
        ]
    return RawRecord(
        target=name,
        media_type=media_type,
        body=kept,
        sha256=hashlib.sha256(body).digest(),
        document=document,
        observed_at=came_at,
        redacted=has_secrets,
    )


def _read(path: Path, limits: Limits) -> bytes:
    """Return a file's bytes. What is no regular file is not opened: a pipe would never end."""
    try:
        if not path.is_file():
            raise PermanentError(errors.UNREADABLE, "there is no such file", target=path.name)
        with path.open("rb") as stream:
            body = stream.read(limits.max_file_bytes + 1)
    except OSError as error:
        raise PermanentError(errors.UNREADABLE, f"it cannot be opened: {error.strerror}", target=path.name) from error
    if len(body) > limits.max_file_bytes:
        raise PermanentError(errors.TOO_LARGE, f"it has more than {limits.max_file_bytes:,} bytes", target=path.name)
    return body


def _look_through(table: Table, into: CanonicalCsv | None) -> tuple[int, int, bool]:
    """Return (rows that are not blank, cells to redact, whether there are any), writing redacted rows to `into`."""
    secret_cells = SecretCells(table.columns)
    rows = 0
    redacted = 0
    for number, row in table.rows:
        if not any(map(str.strip, row)):
            continue
        rows += 1
        positions = secret_cells.positions(row)
        redacted += len(positions)
        if into:
            into.write(number, redacted_row(row, positions) if positions else row)
    return rows, redacted, redacted > 0
