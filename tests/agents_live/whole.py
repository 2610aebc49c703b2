"""A whole installation in processes of their own: database, HTTP service over TLS, the command line, an agent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asset_ledger.store.database import connect, rows
from tests.api.site import bare_environment, free_port
from tests.doubles.https.certificates import make_certificates
from tests.patience import until

PROJECT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "asset_ledger.cli.main")
# run by Python before anything else: a machine that can be given another name, which is a change as any other
RENAMED = """
import os, socket
from pathlib import Path
if "HOSTNAME_FILE" in os.environ:
    socket.gethostname = lambda: Path(os.environ["HOSTNAME_FILE"]).read_text()
"""


@dataclass
class Installation:
    """One ledger with its service, and one machine with its agent."""

    folder: Path
    database_url: str
    port: int = field(default_factory=free_port)
    service: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.home = self.folder / "agent"
        made = make_certificates(self.folder, "ledger", authority="Ledger's Authority")
        self.ca_file, self.chain_file = made.ca_file, made.chain_file
        (self.folder / "sitecustomize.py").write_text(RENAMED)
        self.rename("h0")
        self.environment = {
            **bare_environment(),
            "ASSET_LEDGER_HOME": str(self.folder / "home"),
            "ASSET_LEDGER_SOURCES": str(self.folder / "sources.yaml"),
            "ASSET_LEDGER_DATABASE_URL": self.database_url,
            "ASSET_LEDGER_AGENT_HOME": str(self.home),
            "PYTHONPATH": str(self.folder),
            "HOSTNAME_FILE": str(self.folder / "hostname"),
        }

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def rename(self, name: str) -> None:
        """Give the machine another name, at once for whoever reads it."""
        beside = self.folder / "hostname.new"
        beside.write_text(name)
        beside.replace(self.folder / "hostname")

    def call(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command and return what came of it."""
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=PROJECT,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            check=False,
        )

    def done(self, *arguments: str, **more: str) -> str:
        """Run the command, which must succeed, and return what it printed."""
        done = self.call(*arguments, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def found(self) -> None:
        """Make tenant, user and token, start the service, and enrol the machine."""
        self.done("tenants", "add", "acme")
        self.done("users", "add", "ann", "--role", "admin")
        self.user_token = self.done("tokens", "add", "ann", "--name", "tests")
        self.serve()
        self.client_id = self.enroll()

    def enroll(self) -> str:
        arguments = ("agent", "enroll", "--server", self.url, "--ca-file", str(self.ca_file), "--token-env", "TOKEN")
        return self.done(*arguments, TOKEN=self.user_token)

    def serve(self) -> None:
        """Start the service and wait until it answers."""
        chain = str(self.chain_file)
        self.service = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(self.port), "--certificate", chain, "--key", chain],
            cwd=PROJECT,
            env=self.environment,
        )
        until(self._ready)

    def _ready(self) -> bool:
        import ssl

        assert self.service is not None
        assert self.service.poll() is None, "the service has ended"
        context = ssl.create_default_context(cafile=self.ca_file)
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", context=context, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def end_service(self, number: int = signal.SIGTERM) -> None:
        """End the service, or kill it in whatever it does."""
        assert self.service is not None
        self.service.send_signal(number)
        self.service.wait(60)
        self.service = None

    @contextmanager
    def agent(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the agent, quicker than usual; what it says is in the file `log`."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [*COMMAND, "agent", "run", "--interval", "0.3", *arguments],
                cwd=PROJECT,
                env=self.environment,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def spooled(self) -> int:
        """How many reports wait on the machine's disk."""
        return len(list((self.home / "spool").glob("*.json")))

    def rows(self, query: str) -> list[dict[str, Any]]:
        with connect(self.database_url) as connection:
            return rows(connection, query)

    def names(self) -> list[str]:
        """Return the machine's names as its history has them, in the order of their collection."""
        query = "SELECT hostname FROM agent.inventory_history ORDER BY collected_at, id"
        return [row["hostname"] for row in self.rows(query)]

    def latest(self) -> str | None:
        found = self.rows("SELECT hostname FROM agent.inventory_latest")
        return found[0]["hostname"] if found else None

    def waiting_names(self) -> list[str]:
        """Return the names in what waits on the machine's disk, in its order."""
        found = sorted((self.home / "spool").glob("*.json"))
        return [json.loads(path.read_bytes())["host"]["hostname"] for path in found]

    def close(self) -> None:
        if self.service is not None and self.service.poll() is None:
            self.service.kill()
            self.service.wait()


@contextmanager
def installed(folder: Path, database_url: str) -> Iterator[Installation]:
    """A founded installation with an enrolled machine."""
    os.umask(0o077)
    made = Installation(folder, database_url)
    try:
        made.found()
        yield made
    finally:
        made.close()
