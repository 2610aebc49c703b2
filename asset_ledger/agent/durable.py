"""Files that are there whole or not at all, whenever the power goes: written beside, synced, renamed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

BESIDE = ".tmp"
"""How a file is called that is being written. One that is found so is of a process that ended meanwhile."""


def write(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file, in place of one that may be there. Raises OSError, and then the one before stands."""
    write_pieces(path, (content,), mode=mode)


def write_pieces(path: Path, pieces: Iterable[bytes], *, mode: int = 0o600) -> None:
    """Write a file piece by piece, as `write` does. Whatever the pieces raise leaves the one before as it was, too."""
    beside = path.with_name(f".{path.name}{BESIDE}")
    with suppress(FileNotFoundError):  # of a process that was killed while it wrote
        beside.unlink()
    try:
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            for piece in pieces:
                _write_all(file, piece)
            os.fchmod(file, mode)  # whatever the umask took away
            os.fsync(file)
        finally:
            os.close(file)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last: a rename is none yet when the power goes."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _write_all(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]
