"""What the Excel reader does not say of an .xls: which cells are formulas or errors, and whether it is encrypted.

An .xls is an OLE container ([MS-CFB]) with one stream of records ([MS-XLS] BIFF8, or BIFF5 before 1997).
Called by `workbook.read_xls` only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.import_files import errors

_FREE = 0xFFFFFFFA  # this and above are marks, not sectors
_FORMULA, _FILEPASS, _BOUNDSHEET, _BOOLERR, _BOF, _EOF = 0x06, 0x2F, 0x85, 0x205, 0x809, 0x0A


def inspect(body: bytes, name: str) -> dict[str, dict[tuple[int, int], str]]:
    """Return for each sheet by name its formula and error cells: (row from 1, position from 0) → mark.

    Raises PermanentError IMPORT_ENCRYPTED or IMPORT_UNREADABLE.
    """
    try:
        streams = _directory(body)
        if "EncryptedPackage" in streams:
            raise PermanentError(errors.ENCRYPTED, "it asks for a password", target=name)
        found = next((streams[each] for each in ("Workbook", "Book") if each in streams), None)
        if found is None:
            raise PermanentError(errors.UNREADABLE, "the container holds no Excel workbook", target=name)
        return _sheets(_stream(body, *found), name)
    except (struct.error, IndexError, ValueError) as error:
        raise PermanentError(errors.UNREADABLE, f"the workbook is damaged: {error}", target=name) from error


def _header(body: bytes) -> tuple[int, int, list[int]]:
    """Return sector size, size below which a stream is in the mini stream, and the sector table."""
    sector_shift = struct.unpack_from("<H", body, 30)[0]
    if sector_shift not in (9, 12):
        raise ValueError("unknown sector size")
    size = 1 << sector_shift
    mini_cutoff = struct.unpack_from("<I", body, 56)[0]
    table_sectors = [each for each in struct.unpack_from("<109I", body, 76) if each < _FREE]
    next_extra, extras = struct.unpack_from("<II", body, 68)
    for _ in range(min(extras, len(body) // size + 1)):
        if next_extra >= _FREE:
            break
        entries = struct.unpack_from(f"<{size // 4}I", body, (next_extra + 1) * size)
        table_sectors += [each for each in entries[:-1] if each < _FREE]
        next_extra = entries[-1]
    if len(table_sectors) > len(body) // size + 1:
        raise ValueError("its sector table is larger than the file")
    table: list[int] = []
    for sector in table_sectors:
        table += struct.unpack_from(f"<{size // 4}I", body, (sector + 1) * size)
    return size, mini_cutoff, table


def _chain(first: int, table: list[int]) -> Iterator[int]:
    """Yield the sectors of a chain. Raises ValueError for one that goes in a circle."""
    sector = first
    for _ in range(len(table) + 1):
        if sector >= _FREE:
            return
        yield sector
        sector = table[sector]
    raise ValueError("a chain of sectors goes in a circle")


def _read_chain(body: bytes, first: int, size: int, table: list[int]) -> bytes:
    return b"".join(body[(sector + 1) * size : (sector + 2) * size] for sector in _chain(first, table))


def _directory(body: bytes) -> dict[str, tuple[int, int]]:
    """Return the streams of the container: name → (first sector, size)."""
    size, _cutoff, table = _header(body)
    entries = _read_chain(body, struct.unpack_from("<I", body, 48)[0], size, table)
    found = {}
    for at in range(0, len(entries) - 127, 128):
        length = struct.unpack_from("<H", entries, at + 64)[0]
        kind = entries[at + 66]
        if kind in (2, 5) and 2 <= length <= 64:
            name = entries[at : at + length - 2].decode("utf-16-le", "replace")
            first, stream_size = struct.unpack_from("<II", entries, at + 116)
            found["\x00root" if kind == 5 else name] = (first, stream_size)
    return found


def _stream(body: bytes, first: int, stream_size: int) -> bytes:
    size, cutoff, table = _header(body)
    if stream_size >= cutoff:
        return _read_chain(body, first, size, table)[:stream_size]
    root, root_size = _directory(body)["\x00root"]
    small = _read_chain(body, root, size, table)[:root_size]
    mini: list[int] = []
    mini_first = struct.unpack_from("<I", body, 60)[0]
    packed = _read_chain(body, mini_first, size, table)
    mini += struct.unpack(f"<{len(packed) // 4}I", packed)
    return b"".join(small[sector * 64 : sector * 64 + 64] for sector in _chain(first, mini))[:stream_size]


def _records(stream: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield (type, offset of its data, length) of the records from an offset."""
    end = len(stream) - 4
    while at <= end:
        kind, length = struct.unpack_from("<HH", stream, at)
        yield kind, at + 4, length
        at += 4 + length


def _sheets(stream: bytes, name: str) -> dict[str, dict[tuple[int, int], str]]:
    sheets = {}
    for kind, at, length in _records(stream, 0):
        if kind == _FILEPASS:
            raise PermanentError(errors.ENCRYPTED, "it asks for a password", target=name)
        if kind == _BOUNDSHEET:
            start = struct.unpack_from("<I", stream, at)[0]
            sheets[_sheet_name(stream[at + 6 : at + length])] = _marks(stream, start)
        elif kind == _EOF:
            break
    return sheets


def _sheet_name(data: bytes) -> str:
    length, wide = data[0], data[1] & 1
    return data[2 : 2 + length * 2].decode("utf-16-le") if wide else data[2 : 2 + length].decode("latin-1")


def _marks(stream: bytes, start: int) -> dict[tuple[int, int], str]:
    marks: dict[tuple[int, int], str] = {}
    depth = 0
    for kind, at, _length in _records(stream, start):
        if kind == _FORMULA:
            row, position = struct.unpack_from("<HH", stream, at)
            marks[row + 1, position] = "formula"
        elif kind == _BOOLERR and stream[at + 7]:
            row, position = struct.unpack_from("<HH", stream, at)
            marks[row + 1, position] = "error"
        elif kind == _BOF:
            depth += 1
        elif kind == _EOF:
            depth -= 1
            if depth <= 0:
                break
    return marks
