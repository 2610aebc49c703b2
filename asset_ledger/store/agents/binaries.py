"""The folder of agents' binaries: files come in beside their place, are compared, synced and renamed, or leave nothing.

Which file is which version's is in `versions`. Several services that serve one ledger share the folder.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

_COMING = "incoming"
_LEFT_S = 86_400.0
"""What has come in for a whole day comes no more: its process was killed."""


class Coming:
    """A file that is coming in."""

    def __init__(self, file: int, path: Path) -> None:
        self._file, self._path, self._digest = file, path, hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """The digest of what has come so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Take a piece. Raises OSError."""
        self._digest.update(chunk)
        self.size += len(chunk)
        left = memoryview(chunk)
        while left:
            left = left[os.write(self._file, left) :]

    def place(self, final: Path) -> None:
        """Put the file in its place, to last. Raises OSError."""
        os.fsync(self._file)
        final.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(final)
        # the names of new folders are to last, too
        for folder in (final.parent, final.parent.parent):
            _sync(folder)


class Binaries:
    """The folder. It is made when the first file comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def coming(self) -> Iterator[Coming]:
        """Take a file in. What was not placed by the end is gone. Raises OSError."""
        beside = self._folder / _COMING
        beside.mkdir(mode=0o750, parents=True, exist_ok=True)
        for left in beside.iterdir():
            with suppress(OSError):  # another service may be as quick
                if time.time() - left.stat().st_mtime > _LEFT_S:
                    left.unlink()
        path = beside / uuid4().hex
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            yield Coming(file, path)
        finally:
            os.close(file)
            path.unlink(missing_ok=True)

    def at(self, place: str) -> Path:
        """Return the path of a place."""
        return self._folder / place

    def only(self, place: str) -> None:
        """Drop what else lies there for this version and platform: of an upload that came to nothing."""
        path = self.at(place)
        platform = path.name.rpartition("-")[0]
        with suppress(OSError):  # what stays for that takes some room and is never served
            for other in path.parent.glob(f"{platform}-*"):
                if other != path and other.name.rpartition("-")[0] == platform:
                    other.unlink()


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
