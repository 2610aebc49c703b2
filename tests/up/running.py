"""`asset-ledger up` as people run it: a process of its own in a folder of its own. Also used by the browser tests."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from asset_ledger.store.database import connect, rows
from asset_ledger.store.embedded.server import EmbeddedServer

PROJECT = Path(__file__).parents[2]
UP = [sys.executable, "-m", "asset_ledger.cli.main", "up"]


class Place:
    """A folder with an installation: sources.yaml, inbox, home, and perhaps a database server elsewhere."""

    def __init__(self, folder: Path, database_url: str | None = None) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.inbox = folder / "inbox"
        self.server = EmbeddedServer(self.home)
        self._database_url = database_url

    @property
    def url(self) -> str:
        """The ledger's database."""
        return self._database_url or self.server.url("asset_ledger")

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASSET_LEDGER_", "DAGSTER_"))}
        mine = {
            "ASSET_LEDGER_HOME": str(self.home),
            "ASSET_LEDGER_SOURCES": str(self.folder / "sources.yaml"),
            "PYTHONPATH": str(PROJECT),
        }
        return kept | mine | ({"ASSET_LEDGER_DATABASE_URL": self._database_url} if self._database_url else {})

    def once(self) -> subprocess.CompletedProcess[str]:
        """Run `up --once` to its end."""
        return subprocess.run(
            [*UP, "--once"],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )

    def start(self, *arguments: str) -> Running:
        """Start `up` and return at once."""
        log = self.folder / "up.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [*UP, *arguments], cwd=self.folder, env=self.environment(), stdout=out, stderr=subprocess.STDOUT
            )
        return Running(process, log)

    def rows(self, query: str) -> list[dict[str, Any]]:
        with connect(self.url) as connection:
            return rows(connection, query)

    def processes(self) -> dict[int, str]:
        """Return the processes of this installation but its database's: id and command line.

        They are known by their environment, so that children of children are found too.
        """
        found: dict[int, str] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                environment = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes().split(b"\0")
                if f"ASSET_LEDGER_HOME={self.home}".encode() in environment and not command[0].endswith(b"/postgres"):
                    found[int(folder.name)] = b" ".join(command).decode()
        return found


class Running:
    """An `up` that was started."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text()

    def url(self) -> str:
        """Wait until the UI is served and return its address."""
        self.wait_for(lambda: "the Dagster UI is at" in self.said or self.process.poll() is not None, 120)
        found = re.search(r"the Dagster UI is at (http://\S+);", self.said)
        assert found, self.said
        return found[1]

    def wait_for(self, condition: Callable[[], object], seconds: float) -> None:
        wait_for(condition, seconds, lambda: self.said)

    def stop(self) -> int:
        """Press Ctrl-C and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


def wait_for(condition: Callable[[], object], seconds: float, explain: Callable[[], str] = str) -> None:
    """Wait until the condition holds; fail with the explanation if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {explain()}"
        time.sleep(0.05)


@contextmanager
def place(database_url: str | None = None, files: Mapping[str, str] | None = None) -> Iterator[Place]:
    """Make a folder for an installation; end what still runs in it, and remove it."""
    folder = Path(tempfile.mkdtemp(prefix="asset-ledger-up-"))
    folder.chmod(0o711)  # under root the database runs as another user
    for name, text in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    made = Place(folder, database_url)
    try:
        yield made
    finally:
        for pid in made.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        made.server.stop()
        shutil.rmtree(folder, ignore_errors=True)
