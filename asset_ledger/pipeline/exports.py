"""Tables out of the ledger into files: whole or not at all. What is in them `store.query.exports` reads.

Called by the command line, and by the HTTP service, which streams instead.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import UUID

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import EXPORT_FILE_EXISTS, EXPORT_FILE_UNWRITABLE, PermanentError
from asset_ledger.domain.exports import Exportable, Reading, Row
from asset_ledger.exports.formats import Format
from asset_ledger.store.database import Connection
from asset_ledger.store.query import exports
from asset_ledger.store.query.exports import Asked
from asset_ledger.store.query.importable import LeftOut, read_importable


@dataclass
class Counted:
    """How many rows were taken of a reading so far."""

    rows: int = 0

    def counting(self, reading: Reading, *, then: Callable[[], None] | None = None) -> Reading:
        """Return the reading, whose rows are counted as they are taken; `then` is called behind the last."""

        def batches() -> Iterator[Sequence[Row]]:
            for batch in reading.batches:
                self.rows += len(batch)
                yield batch
            if then is not None:
                then()

        return replace(reading, batches=batches())


@contextmanager
def opened(
    connection: Connection, asked: Asked, *, tenant_id: UUID | None = None, statement_s: int = 0
) -> Iterator[Reading]:
    """Open a table for as long as it is read; a tenant's where one is named.

    Raises PermanentError or RetryableError with an EXPORT_* code, then or while it is read.
    """
    today = collected_date(datetime.now(UTC))
    with (
        exports.opened(connection, asked, today=today, tenant_id=tenant_id, statement_s=statement_s) as reading,
        _let_go(reading),
    ):
        yield reading


@contextmanager
def opened_for_import(connection: Connection, zone: str | None) -> Iterator[tuple[Reading, LeftOut]]:
    """Open the machines as a file that can be imported again, and say how many no file can say.

    Raises PermanentError(EXPORT_ZONE_NEEDED).
    """
    with exports.snapshot(connection):
        reading, left_out = read_importable(connection, zone)
        with _let_go(reading):
            yield reading, left_out


@contextmanager
def _let_go(reading: Reading) -> Iterator[None]:
    """End a reading where it stands, now: left to be collected, it would close its cursor while another reads."""
    try:
        yield
    finally:
        if isinstance(reading.batches, Generator):
            reading.batches.close()


def listed(connection: Connection, tenant_id: UUID | None = None) -> list[Exportable]:
    """Return what can be exported, with its rows; to a tenant, what it may see of it."""
    with exports.snapshot(connection, tenant_id):
        return exports.exportables(connection, counted=True)


def file_name(asked: Asked, form: Format) -> str:
    """Return what a file of this is called: `assets_2026-11-03.csv`, `daily_specs_2026-11-01_2026-11-30.xlsx`."""
    days = [day.isoformat() for day in (asked.as_of, asked.since, asked.until) if day is not None]
    return "_".join([asked.name, *days]) + f".{form}"


class _Out(Protocol):
    def write(self, data: bytes, /) -> object: ...


@contextmanager
def whole_file(path: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """Write a file that appears when all of it is on the disk, or never.

    Raises PermanentError(EXPORT_FILE_EXISTS) before anything is written, and never replaces what came meanwhile but by
    `force`; PermanentError(EXPORT_FILE_UNWRITABLE).
    """
    if not force and os.path.lexists(path):
        raise _exists(path)
    if path.is_dir():
        raise PermanentError(EXPORT_FILE_UNWRITABLE, "it is a folder", target=str(path))
    # the same folder: what is renamed stays on its disk
    coming = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with coming.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _place(coming, path, force=force)
        _keep(path.parent)
    except OSError as error:
        raise PermanentError(
            EXPORT_FILE_UNWRITABLE, error.strerror or type(error).__name__, target=str(path)
        ) from error
    finally:
        with suppress(OSError):
            coming.unlink()


def _place(coming: Path, path: Path, *, force: bool) -> None:
    if force:
        coming.replace(path)
        return
    try:
        os.link(coming, path)  # fails where there is one, in the same instant
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a disk without links
        if os.path.lexists(path):
            raise _exists(path) from None
        coming.rename(path)


def _keep(folder: Path) -> None:
    with suppress(OSError):  # a folder that cannot be opened, or a system that syncs none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _exists(path: Path) -> PermanentError:
    return PermanentError(EXPORT_FILE_EXISTS, "it is there already", target=str(path))


def pour(pieces: Iterator[bytes], out: _Out, told: Callable[[int], None] | None = None) -> int:
    """Write pieces to a file and return how many bytes they were."""
    written = 0
    for piece in pieces:
        out.write(piece)
        written += len(piece)
        if told is not None:
            told(written)
    return written
