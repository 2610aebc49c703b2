"""A process that reads and derives as a run does, to be killed: `python -m tests.faults.runner URL FOLDER`.

It takes `DAY AT` lines, forks a child for each (so that a kill costs no start-up), says `pid N`, and `ended N` with the
child's wait status when it is no more.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from asset_ledger.sources.registry import PLATFORMS
from tests.faults.doubles import Scripted
from tests.faults.site import opened
from tests.faults.world import NONE


def main(url: str, folder: Path) -> None:
    """Serve the lines that come in until there are no more."""
    PLATFORMS["scripted"] = "tests.faults.scripted"
    for line in sys.stdin:
        day, at = line.split()
        pid = os.fork()
        if pid == 0:
            _collect(url, folder, day, at)
            os._exit(0)
        print(f"pid {pid}", flush=True)
        print(f"ended {os.waitpid(pid, 0)[1]}", flush=True)


def _collect(url: str, folder: Path, day: str, at: str) -> None:
    with opened(url, folder, Scripted(folder)) as site:
        # the answers lie in the file already; what the world was like is the parent's to judge
        site.faults = NONE
        site.collect(day, at=at, judged=False)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
