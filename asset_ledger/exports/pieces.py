"""How a file is given away as it grows: where a library writes it, and in which pieces it goes out.

Used by the formats; whoever sends or writes pieces holds one at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

PIECE_BYTES = 1 << 16
"""More than this is never given away at once, however long a row or a group of rows is."""


def cut(made: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces of at most PIECE_BYTES.

    None ends within a character of UTF-8 or between CR and LF: a terminal is shown each by itself.
    """
    for piece in made:
        begin = 0
        while len(piece) - begin > PIECE_BYTES:
            end = _before(piece, begin + PIECE_BYTES)
            yield piece[begin:end]
            begin = end
        if begin < len(piece):
            yield piece[begin:] if begin else piece


def _before(piece: bytes, end: int) -> int:
    """Return where a text may be cut, at `end` or a few bytes before it; what is no text is cut as well."""
    if piece[end] == 0x0A and piece[end - 1] == 0x0D:
        return end - 1
    # of a character of several bytes all but the first, at most three, begin with the bits 10
    return next((at for at in range(end, end - 4, -1) if piece[at] & 0xC0 != 0x80), end)


class Outlet:
    """A file to libraries, of which what was written is taken away. It cannot be read and knows no way back."""

    closed = False

    def __init__(self) -> None:
        self._held = bytearray()
        self._told = 0

    def write(self, data: bytes | memoryview) -> int:
        """Take bytes in."""
        self._held += data
        self._told += len(data)
        return len(data)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._told

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        """Do nothing: what was written is still to be taken."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def taken(self) -> bytes:
        """Return what was written since it was asked last."""
        found = bytes(self._held)
        self._held.clear()
        return found
