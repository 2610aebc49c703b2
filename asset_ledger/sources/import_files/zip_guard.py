"""Looking into a workbook's archive before any parser does: everything is unpacked once, counted and thrown away.

The sizes an archive states are not believed: what comes out is counted, and must be what was stated.
Called by `workbook.py` only.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from asset_ledger.domain.errors import ErrorCode, PermanentError
from asset_ledger.sources.import_files import errors
from asset_ledger.sources.import_files.config import MIB, Limits

_LARGEST_RATIO = 200
_RATIO_FROM = 8 * MIB
_PIECE = 256 * 1024
_LOCAL_HEADER = struct.Struct("<4s4xH16xHH")  # signature, method, lengths of name and extra field
_NESTED = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"BZh", b"7z\xbc\xaf\x27\x1c", b"\xfd7zXZ\x00", b"Rar!")
_UTF16 = (b"\xff\xfe", b"\xfe\xff", b"<\x00", b"\x00<")
_DECLARATION = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_REFERENCE = re.compile(rb"\sr\s*=\s*[\"']\$?([A-Za-z]{1,7})\$?(\d{1,10})[\"']")
_SUSPICIOUS = re.compile(rb"<(?:\w+:)?f[\s/>]|\st\s*=\s*[\"']e[\"']")
_CELL_TAGS = (b"<c ", b"<c>", b"<c/", b"<c\n", b"<c\r", b"<c\t", b":c ", b":c>", b":c/")
_HINTS = (b"<f", b":f", b'"e"', b"'e'")
_OVERLAP = 256
_ENCRYPTED = 0x41  # flag bits 0 and 6


@dataclass(frozen=True, slots=True)
class Archive:
    """What was found: the parts' names, and the sheets that have formulas or error values."""

    parts: frozenset[str]
    sheets_with_formulas: frozenset[str]


def inspect(body: bytes, name: str, limits: Limits) -> Archive:
    """Return what is in the archive, having unpacked all of it within the limits.

    Raises PermanentError IMPORT_ZIP_BOMB, IMPORT_ENCRYPTED, IMPORT_TOO_MANY_ROWS or IMPORT_UNREADABLE.
    """

    def refuse(code: ErrorCode, message: str) -> PermanentError:
        return PermanentError(code, message, target=name)

    try:
        entries = zipfile.ZipFile(io.BytesIO(body)).infolist()
    except (zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, ValueError, OSError, NotImplementedError) as error:
        raise refuse(errors.UNREADABLE, f"the archive is damaged: {error}") from error
    if len(entries) > limits.max_zip_entries:
        raise refuse(errors.ZIP_BOMB, f"{len(entries):,} parts, at most {limits.max_zip_entries:,} are read")
    if sum(entry.compress_size for entry in entries) > len(body):
        raise refuse(errors.ZIP_BOMB, "its parts overlap")
    names = [entry.filename for entry in entries]
    if len({each.lower() for each in names}) != len(names):
        raise refuse(errors.UNREADABLE, "two parts of the archive have the same name")
    total = 0
    formulas = set()
    for entry in entries:
        sheet = _Sheet() if entry.filename.lower().startswith("xl/worksheets/") else None
        total += _look_into(body, entry, total, sheet, limits=limits, name=name)
        if sheet:
            sheet.refuse_excess(limits, name)
            if sheet.suspicious:
                formulas.add(entry.filename)
    return Archive(frozenset(names), frozenset(formulas))


def _look_into(
    body: bytes, entry: zipfile.ZipInfo, before: int, sheet: _Sheet | None, *, limits: Limits, name: str
) -> int:
    """Unpack one part, piece by piece, and return how many bytes came out; `before` came out of earlier parts."""

    def refuse(code: ErrorCode, message: str) -> PermanentError:
        return PermanentError(code, f"part {entry.filename!r} {message}", target=name)

    if entry.flag_bits & _ENCRYPTED:
        raise refuse(errors.ENCRYPTED, "is encrypted")
    if _is_dense(entry.file_size, entry):
        raise refuse(errors.ZIP_BOMB, f"would unpack to more than {_LARGEST_RATIO} times its size")
    is_xml = _is_xml(entry.filename)
    size = 0
    tail = b""
    try:
        for piece in _unpack(body, entry):
            if size == 0 and piece.startswith(_NESTED):
                raise refuse(errors.ZIP_BOMB, "is an archive itself")
            if size == 0 and is_xml and piece.startswith(_UTF16):
                raise refuse(errors.UNREADABLE, "is not UTF-8")
            size += len(piece)
            if before + size > limits.max_inflated_bytes:
                raise refuse(errors.ZIP_BOMB, f"brings it to more than {limits.max_inflated_bytes // MIB:,} MiB")
            if size > entry.file_size:
                raise refuse(errors.ZIP_BOMB, f"says {entry.file_size:,} bytes and unpacks to more")
            window = tail + piece
            if is_xml and b"<!" in window and _DECLARATION.search(window):
                raise refuse(errors.UNREADABLE, "declares a document type or an entity")
            if sheet:
                sheet.see(window, len(tail))
            tail = window[-_OVERLAP:]
    except (zlib.error, struct.error) as error:
        raise refuse(errors.UNREADABLE, f"is damaged: {error}") from error
    if size != entry.file_size:
        raise refuse(errors.UNREADABLE, f"says {entry.file_size:,} bytes and unpacks to {size:,}")
    return size


def _is_dense(size: int, entry: zipfile.ZipInfo) -> bool:
    return size > _RATIO_FROM and size > _LARGEST_RATIO * max(entry.compress_size, 1)


def _is_xml(part: str) -> bool:
    return part.lower().endswith((".xml", ".rels", ".vml"))


def _unpack(body: bytes, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a part's bytes as they come out, believing no stated size but that of the packed data."""
    signature, method, name_length, extra_length = _LOCAL_HEADER.unpack_from(body, entry.header_offset)
    if signature != b"PK\x03\x04" or method != entry.compress_type or method not in (0, 8):
        raise zlib.error("its header contradicts the archive's list")
    start = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    end = start + entry.compress_size
    if end > len(body):
        raise zlib.error("it is cut off")
    view = memoryview(body)
    if method == 0:
        for at in range(start, end, _PIECE):
            yield bytes(view[at : min(at + _PIECE, end)])
        return
    inflater = zlib.decompressobj(-15)
    for at in range(start, end, _PIECE):
        packed: bytes | memoryview = view[at : min(at + _PIECE, end)]
        while packed:
            piece = inflater.decompress(packed, _PIECE)
            if piece:
                yield piece
            packed = inflater.unconsumed_tail
            if inflater.eof:
                return
    while not inflater.eof:
        piece = inflater.decompress(b"", _PIECE)
        if not piece:
            raise zlib.error("it is cut off")
        yield piece


class _Sheet:
    """How far one sheet's cells reach.

    The workbook reader lays a sheet out as a full rectangle, so that two cells in opposite corners would
    take hundreds of gigabytes.
    """

    def __init__(self) -> None:
        self.cells = 0
        self.last_row = 0
        self.columns: set[bytes] = set()
        self.suspicious = False

    def see(self, window: bytes, seen_before: int) -> None:
        """Take in a piece of the sheet's XML; its first `seen_before` bytes were the end of the piece before."""
        found = _REFERENCE.findall(window)
        if found:
            columns, rows = zip(*found, strict=True)
            self.columns.update(columns)
            self.last_row = max(self.last_row, *map(int, set(rows)))
        self.cells += sum(window.count(tag) - window.count(tag, 0, seen_before) for tag in _CELL_TAGS)
        # plain searches first: the patterns would cost a second on a large sheet that has neither
        self.suspicious = self.suspicious or (
            any(hint in window for hint in _HINTS) and _SUSPICIOUS.search(window) is not None
        )

    def refuse_excess(self, limits: Limits, name: str) -> None:
        width = max((_column_number(letters) for letters in self.columns), default=0)
        if self.last_row > limits.max_rows + 1_000:
            raise PermanentError(
                errors.TOO_MANY_ROWS,
                f"its last cell is in row {self.last_row:,}, at most {limits.max_rows:,} rows are read",
                target=name,
            )
        if self.cells > limits.max_cells or self.last_row * width > 2 * limits.max_cells:
            raise PermanentError(
                errors.TOO_MANY_ROWS,
                f"its cells reach over {self.last_row:,} rows and {width:,} columns; delete what is outside the table",
                target=name,
            )


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - 64
    return number
