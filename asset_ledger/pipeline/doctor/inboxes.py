"""Verdicts on the folders that files are dropped into: are they there and usable, does anybody take the files."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asset_ledger.pipeline.doctor.findings import Finding, listed, ok, problem, warning
from asset_ledger.pipeline.inbox import DroppedFile, inbox_of, waiting
from asset_ledger.sources.platform import SourceConfig

LONG = timedelta(days=1)
"""For how long a file may wait. The sensor takes it within a minute, and tries again every ten where a run failed."""


def of_inboxes(sources: Iterable[SourceConfig], now: datetime, *, fed: Collection[str] | None) -> Iterator[Finding]:
    """Judge the inbox of every source that has one.

    `fed` are the names of the sources that brought something already, None where nobody knows: the inbox of one that
    never did may not have been made yet.
    """
    for source in sources:
        inbox = inbox_of(source)
        if inbox is not None:
            yield _of_inbox(source.name, inbox, now, fed=fed is not None and source.name in fed)


def _of_inbox(source: str, inbox: Path, now: datetime, *, fed: bool) -> Finding:
    check = f"inbox of {source}"
    try:
        if not _is_there(inbox):
            return (problem if fed else warning)(
                check,
                f"{inbox} is not there, so no file can be dropped",
                "make it, bring it back from where it went, or mount it; sources.yaml says where it is",
            )
        if shut := _shut(inbox):
            return problem(
                check,
                f"{listed(shut)} cannot be read and written by the user of this process (uid {os.geteuid()}), so no "
                "file is taken",
                "give the folder to the user that everything runs as; who drops files needs to write into it alone",
            )
        late = sorted((came, file.shown) for file in waiting(inbox) if now - (came := _came(file, now)) > LONG)
    except OSError as error:
        return problem(
            check,
            f"{inbox} cannot be looked at by the user of this process (uid {os.geteuid()}): {error.strerror}",
            "open the way to it for the user that everything runs as, or see that its file system is mounted",
        )
    if late:
        since = late[0][0]
        return problem(
            check,
            f"{len(late)} files wait in {inbox} for longer than a day, the oldest since {since:%Y-%m-%d %H:%M}Z "
            f"({(now - since).days} d): {listed([name for _, name in late], 3)}",
            f"see that the daemon runs and the sensor {source}_inbox is on; `asset-ledger runs list --source {source} "
            f"--failed` has what was tried, `asset-ledger sources collect {source}` takes them now",
        )
    return ok(check, f"{inbox}, no file waits for long")


def _is_there(folder: Path) -> bool:
    """Say whether a folder is there. Raises OSError where that cannot be seen."""
    try:
        return stat.S_ISDIR(folder.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _shut(inbox: Path) -> list[str]:
    """Return the folders of an inbox in which files cannot be listed, put and taken away."""
    folders = [inbox, *(inbox / name for name in ("archive", "rejected") if os.path.lexists(inbox / name))]
    return [str(folder) for folder in folders if not os.access(folder, os.R_OK | os.W_OK | os.X_OK)]


def _came(file: DroppedFile, now: datetime) -> datetime:
    """Return since when a file is here at the latest: a copy may bring the time its original was written."""
    try:
        return datetime.fromtimestamp(file.path.lstat().st_ctime, UTC)
    except FileNotFoundError:  # taken since the listing
        return now
