"""A minimal OLE container ([MS-CFB], 512-byte sectors), for workbooks that no library here writes."""

from __future__ import annotations

import struct

_END, _FAT, _FREE = 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF


def container(streams: dict[str, bytes]) -> bytes:
    """Return a container of streams, each of 4096 bytes or more."""
    sectors: list[bytes] = [b"", b""]  # the sector table and the directory
    chain = [_FAT, _END]
    entries = [_entry("Root Entry", 5, _END, 0)]
    for name, data in streams.items():
        first = len(sectors)
        pieces = [data[at : at + 512].ljust(512, b"\x00") for at in range(0, len(data), 512)]
        sectors += pieces
        chain += [*range(first + 1, first + len(pieces)), _END]
        entries.append(_entry(name, 2, first, len(data)))
    sectors[0] = struct.pack("<128I", *chain, *[_FREE] * (128 - len(chain)))
    sectors[1] = b"".join(entries).ljust(512, b"\x00")
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 16
    header += struct.pack("<HHHHH6xIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 0, 4096, _END, 0, _END, 0)
    return header + struct.pack("<109I", 0, *[_FREE] * 108) + b"".join(sectors)


def _entry(name: str, kind: int, first: int, size: int) -> bytes:
    text = name.encode("utf-16-le") + b"\x00\x00"
    links = struct.pack("<BBIII", kind, 1, _FREE, _FREE, _FREE)
    return (
        text.ljust(64, b"\x00") + struct.pack("<H", len(text)) + links + b"\x00" * 36 + struct.pack("<IQ", first, size)
    )
