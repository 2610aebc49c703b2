"""What `postmaster.pid` says and whether it is true: the server's process, alive, dead, or a number reused.

PostgreSQL takes any living process of that number for its own and then refuses to start: a zombie that nobody
reaps after kill -9, or a stranger after a reboot. Here that is told apart. Called by `store.embedded.server` only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from asset_ledger.domain.errors import DATABASE_UNAVAILABLE, RetryableError

_PROC = Path("/proc")
_ORPHAN_SECONDS = 60
_REAP_SECONDS = 1


def alive(data: Path) -> int | None:
    """Return the process id of the postmaster that serves `data`, None where none does."""
    pid = _recorded(data)
    if pid is None or not _exists(pid):
        return None
    if not (_PROC / "self").exists():
        return pid  # no /proc (macOS): the number has to do
    return pid if _state(pid) != "Z" and _works_in(pid, data) else None


def status(data: Path) -> str:
    """Return the postmaster's own word on itself: `starting`, `ready`, `stopping`, or empty."""
    lines = _lines(data)
    return lines[7].strip() if len(lines) > 7 else ""


def clear_remains(data: Path, log_tail: Callable[[], str]) -> None:
    """Wait for the children of a killed postmaster to end, then remove a `postmaster.pid` that lies.

    Call it with the start lock held and `alive(data)` None. Raises RetryableError where the children stay.
    """
    if not (_PROC / "self").exists():
        return
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while children := [pid for pid in _processes() if _works_in(pid, data) and _state(pid) != "Z"]:
        if time.monotonic() > deadline:
            raise RetryableError(
                DATABASE_UNAVAILABLE,
                f"processes {children} of a killed server still use the data folder, so it is not safe to start "
                f"another. Let them end, or end them. Log: {log_tail()}",
                target=str(data),
            )
        time.sleep(0.05)
    pid = _recorded(data)
    reaped = time.monotonic() + _REAP_SECONDS
    while pid is not None and _exists(pid) and _state(pid) == "Z" and time.monotonic() < reaped:
        time.sleep(0.05)
    if pid is not None and _exists(pid):
        # A zombie that nobody reaps, or another program with the number: neither can be serving this folder.
        (data / "postmaster.pid").unlink(missing_ok=True)


def _lines(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _recorded(data: Path) -> int | None:
    lines = _lines(data)
    if not lines or not lines[0].strip().lstrip("-").isdigit():
        return None
    return abs(int(lines[0])) or None  # a negative number is a single-user backend's


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _state(pid: int) -> str:
    """Return the one-letter state of a process, `Z` also for one that is gone."""
    try:
        # the program's name stands in brackets and may hold anything, so count from the last bracket
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return "Z"


def _works_in(pid: int, data: Path) -> bool:
    """Say whether a process is a PostgreSQL one in `data`: the postmaster and its children all work there."""
    process = _PROC / str(pid)
    try:
        return (process / "comm").read_text().startswith("postgres") and (process / "cwd").samefile(data)
    except OSError:
        return False  # gone, a zombie, or another user's


def _processes() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
