"""The folder people drop files into: which files are ready, which day they are of, and where they go afterwards.

inbox/hosts_2026-11-01.csv                      dropped
inbox/archive/2026-11-01/hosts_2026-11-01.csv   taken; reports lie beside it
inbox/rejected/hosts.csv                        could not be read at all; hosts.csv.why.txt says why
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from asset_ledger.domain.calendar import FIRST_DAY, collected_date, day_in_name
from asset_ledger.domain.errors import IMPORT_DAY_INVALID, IMPORT_NAME_INVALID, PermanentError
from asset_ledger.sources.platform import SourceConfig

_TEMPORARY = (".tmp", ".part", ".crdownload")
SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".xls")
SETTLE_S = 2.0
"""A file that was written to less than this many seconds ago may not be whole yet."""
LONGEST_NAME = 200
"""Bytes of UTF-8. A file system takes 255, and `.1a2b3c4d`, `.duplicate.txt` and `.part` may come on top."""


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """A file that waits in an inbox. `size` and `mtime_ns` tell whether it is still being written."""

    path: Path
    size: int
    mtime_ns: int

    @property
    def fingerprint(self) -> str:
        return f"{self.size}-{self.mtime_ns}"

    @property
    def shown(self) -> str:
        """The name as it may be printed and stored, whatever bytes the file system has."""
        return readable(self.path.name)


def inbox_of(source: SourceConfig) -> Path | None:
    """Return the folder a source takes files from, or None where it has none."""
    inbox = getattr(source, "inbox", None)
    return inbox if isinstance(inbox, Path) else None


def waiting(inbox: Path) -> list[DroppedFile]:
    """Return the files in an inbox that an import would take, oldest first.

    Temporary names of editors, browsers and copying programs are passed over; so are folders, and links, whose
    content may change after it was taken.
    """
    found: list[DroppedFile] = []
    if inbox.is_dir():
        for path in inbox.iterdir():
            if path.name.startswith((".", "~")) or path.suffix.lower() not in SUFFIXES:
                continue
            try:
                status = path.lstat()
            except OSError:  # gone since the listing
                continue
            if stat.S_ISREG(status.st_mode):
                found.append(DroppedFile(path, status.st_size, status.st_mtime_ns))
    return sorted(found, key=lambda file: (file.mtime_ns, file.path.name))


def strangers(inbox: Path) -> list[str]:
    """Return the names in an inbox that no import takes, so that somebody can be told: other formats, and links."""
    if not inbox.is_dir():
        return []
    return sorted(
        readable(path.name)
        for path in inbox.iterdir()
        if not path.name.startswith((".", "~"))
        and (path.is_symlink() or (path.is_file() and path.suffix.lower() not in (*SUFFIXES, *_TEMPORARY)))
    )


def readable(name: str) -> str:
    """Return a file's name as text that can be printed and stored: what is no UTF-8, or a control, is replaced."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def is_settled(file: DroppedFile, *, now: float | None = None) -> bool:
    """Say whether nobody has written to the file for SETTLE_S seconds."""
    return (time.time() if now is None else now) - file.mtime_ns / 1e9 >= SETTLE_S


def day_of(name: str, came_at: datetime) -> date:
    """Return the day a file describes: the one in its name, or the day it came.

    Raises PermanentError(IMPORT_NAME_INVALID or IMPORT_DAY_INVALID).
    """
    check_name(name)
    today = collected_date(came_at)
    try:
        day = day_in_name(name)
    except ValueError as error:
        raise PermanentError(IMPORT_DAY_INVALID, f"the day in its name is wrong: {error}", target=name) from None
    return check_day(today if day is None else day, today=today, name=name)


def check_name(name: str) -> None:
    """Raise PermanentError(IMPORT_NAME_INVALID) for a name that cannot be stored, or leaves no room for reports."""
    if readable(name) != name:
        raise PermanentError(
            IMPORT_NAME_INVALID, "its name is not UTF-8 or holds control characters", target=readable(name)
        )
    if len(name.encode()) > LONGEST_NAME:
        raise PermanentError(
            IMPORT_NAME_INVALID, f"its name has {len(name.encode())} bytes, at most {LONGEST_NAME}", target=name
        )


def check_day(day: date, *, today: date, name: str) -> date:
    """Return the day, or raise PermanentError(IMPORT_DAY_INVALID) if the ledger has no such day."""
    if not FIRST_DAY <= day <= today:
        raise PermanentError(
            IMPORT_DAY_INVALID, f"{day} is not between {FIRST_DAY} and today ({today} in Asia/Shanghai)", target=name
        )
    return day


def archive_place(inbox: Path, day: date, name: str, sha256: bytes) -> Path:
    """Return where a file of this name and content goes; another content under the same name is told apart."""
    folder = inbox / "archive" / day.isoformat()
    place = folder / name
    if place.exists():
        place = folder / f"{Path(name).stem}.{sha256.hex()[:8]}{Path(name).suffix}"
    return place


def archive(file: DroppedFile, inbox: Path, place: Path, body: bytes) -> None:
    """Put what was taken of a file in its place, and take the file out of the inbox if it came from there.

    `body` is what the raw holds, so the archive never says anything else. A file that was written to since it was
    read stays in the inbox: what it holds now is another reading.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    _write(place, body)
    if file.path.parent.resolve() == inbox.resolve() and look_at(file.path) == file:
        file.path.unlink()


def look_at(path: Path) -> DroppedFile:
    """Return a file as it is now. Raises OSError where there is none."""
    status = path.stat()
    return DroppedFile(path, status.st_size, status.st_mtime_ns)


def reject(file: Path, inbox: Path, why: str) -> Path:
    """Put a file that cannot be read at all aside, with a note that says why. Returns the note's path.

    A file of this name that was put aside before is kept beside it.
    """
    folder = inbox / "rejected"
    folder.mkdir(parents=True, exist_ok=True)
    place = _free_place(folder, readable(file.name))
    if file.parent.resolve() == inbox.resolve() and file.exists():
        file.replace(place)
    note = place.with_name(f"{place.name}.why.txt")
    _write(note, f"{why}\n".encode())
    return note


def _free_place(folder: Path, name: str) -> Path:
    suffix = Path(name).suffix
    stem = name.removesuffix(suffix)
    while len(stem.encode()) > LONGEST_NAME - len(suffix.encode()):
        stem = stem[:-1]
    place, number = folder / f"{stem}{suffix}", 1
    while place.exists() or place.with_name(f"{place.name}.why.txt").exists():
        number += 1
        place = folder / f"{stem}.{number}{suffix}"
    return place


def write_beside(place: Path, suffix: str, body: bytes) -> Path:
    """Write a report next to an archived file and return its path."""
    report = place.with_name(f"{place.name}{suffix}")
    report.parent.mkdir(parents=True, exist_ok=True)
    _write(report, body)
    return report


def _write(path: Path, body: bytes) -> None:
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(body)
    partial.replace(path)


def by_day(files: list[DroppedFile], came_at: datetime) -> Iterator[tuple[DroppedFile, date | PermanentError]]:
    """Yield each file with its day, or with the error of a name that has none."""
    for file in files:
        try:
            yield file, day_of(file.path.name, came_at)
        except PermanentError as error:
            yield file, error
