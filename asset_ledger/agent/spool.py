"""Reports that wait on disk while the server is away: bounded, in the order they were made, whole or not there.

A file is `NUMBER.c.json` (something changed) or `NUMBER.s.json` (a snapshot of the same again). The number says the
order, not a clock: clocks jump. Where there is no room, snapshots go before changes and the oldest first; the newest
stays.
"""

from __future__ import annotations

import errno
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from asset_ledger.agent import durable
from asset_ledger.agent.identity import make_private

MOST_BYTES = 32 << 20
MOST_REPORTS = 1000
_NAME = re.compile(r"^(\d{16})\.([cs])\.json$", re.ASCII)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Waiting:
    """A report that waits. `size` in bytes."""

    number: int
    snapshot: bool
    path: Path
    size: int


class Spool:
    """The waiting reports in one folder, which one process alone writes to."""

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES, most_reports: int = MOST_REPORTS) -> None:
        self._folder, self._most_bytes, self._most = folder, most_bytes, max(most_reports, 1)
        make_private(folder)
        for left in folder.glob(f".*{durable.BESIDE}"):
            left.unlink(missing_ok=True)
        self._next = max((each.number for each in self.waiting()), default=0) + 1

    def __len__(self) -> int:
        return len(self.waiting())

    def waiting(self) -> list[Waiting]:
        """Return what waits, the oldest first."""
        found: list[Waiting] = []
        for path in self._folder.iterdir():
            if named := _NAME.match(path.name):
                with suppress(FileNotFoundError):
                    found.append(Waiting(int(named[1]), named[2] == "s", path, path.stat().st_size))
        return sorted(found, key=lambda each: each.number)

    def add(self, body: bytes, *, snapshot: bool) -> list[Waiting]:
        """Keep a report, and return those that had to go for it. Raises OSError where there is no room even so."""
        gone: list[Waiting] = []
        path = self._folder / f"{self._next:016d}.{'s' if snapshot else 'c'}.json"
        while True:
            try:
                durable.write(path, body)
                break
            except OSError as error:
                # whoever else filled the disk: the newest is worth more than what is older
                left = self.waiting()
                if error.errno not in _FULL or not left:
                    raise
                gone.append(self._drop(_first_to_go(left)))
        # after it: who is killed in between has one more than there may be, and not one less than he was told of
        gone += self._make_room(len(body))
        self._next += 1
        return gone

    def read(self, report: Waiting) -> bytes:
        """Return what a report says. Raises OSError."""
        return report.path.read_bytes()

    def done(self, report: Waiting) -> None:
        """Forget a report: the server has it, or wants it never."""
        self._drop(report)

    def _make_room(self, size: int) -> list[Waiting]:
        """Drop what is too much beside the newest, which has this size."""
        gone: list[Waiting] = []
        left = self.waiting()[:-1]
        while left and (len(left) >= self._most or sum(each.size for each in left) + size > self._most_bytes):
            gone.append(self._drop(_first_to_go(left)))
            left.remove(gone[-1])
        return gone

    def _drop(self, report: Waiting) -> Waiting:
        report.path.unlink(missing_ok=True)
        with suppress(OSError):  # a report that comes back is sent twice, and the server knows it again
            durable.sync_folder(self._folder)
        return report


def _first_to_go(left: list[Waiting]) -> Waiting:
    return next((each for each in left if each.snapshot), left[0])
