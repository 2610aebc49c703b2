"""Where a library writes a file that is given away as it grows."""

from __future__ import annotations


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
