"""What a WinRM probe costs the machine that runs it, against a bare pywinrm that sends the same requests.

The hosts are the double of the tests, a process of its own; every client is one, too. Client CPU is compared, not hosts
per second: on one machine the double's own work decides the rate. All traffic stays on 127.0.0.0/8.
Run: `python -m benchmarks winrm_probe`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from asset_ledger.sources.winrm.errors import TIMEOUT
from asset_ledger.sources.winrm.queries import QUERIES
from benchmarks.measuring import Measured, run_client
from benchmarks.ssh_probe import dead_hosts
from benchmarks.table import Row

HOSTS, ROUNDS, ROUNDS_HTTPS = 200, 7, 5
MANY, DEAD = 1000, 50
THREADS = 32
"""What `parallel` is where a source does not say."""
CONNECT_TIMEOUT_S = 5.0
BARE_LIMIT = 1.5
MEMORY_LIMIT_MB = 256
CLIENTS = "benchmarks.winrm_clients"

Authentication = Literal["ntlm", "basic"]
Place = tuple[str, int]
"""Address and port of a host."""


@dataclass(frozen=True)
class Lab:
    """The hosts that a double serves, and who may ask them."""

    folder: Path
    https: bool
    said: Mapping[str, Any]

    @property
    def places(self) -> list[Place]:
        return [(address, self.said["port"]) for address in self.said["addresses"]]

    def run(self, client: str, places: Sequence[Place], authentication: Authentication = "ntlm") -> Measured:
        """Run a client over hosts and return what it cost."""
        file = self.folder / "told.json"
        told = {
            "https": self.https,
            "authentication": authentication,
            "ca_file": self.said["ca_file"],
            "username": self.said["username"],
            "password": self.said["password"],
            "parallel": THREADS,
            "connect_timeout_s": CONNECT_TIMEOUT_S,
            "places": places,
        }
        file.write_text(json.dumps(told))
        return run_client(CLIENTS, client, file)


@contextmanager
def lab(hosts: int, *, https: bool) -> Iterator[Lab]:
    """Serve Windows hosts whose rows and certificates are made before anybody measures."""
    command = [sys.executable, "-m", "tests.doubles.wsman", "--hosts", str(hosts), *(() if https else ("--plain",))]
    for query in QUERIES:
        command += ["--prepare", query.wql]
    with (
        tempfile.TemporaryDirectory(prefix="asset-ledger-bench-") as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            yield Lab(Path(folder), https, json.loads(process.stdout.readline()))
        finally:
            process.terminate()


def against_bare(served: Lab, rounds: int, *, authentication: Authentication = "ntlm", limit: float | None) -> Row:
    """Compare the client CPU of a host with that of a bare client which sends as many requests."""
    places = served.places
    ours: list[Measured] = []
    bare: list[Measured] = []
    for _ in range(rounds):  # in turns, so that a busy moment falls on both
        for client, found in (("ours", ours), ("bare", bare)):
            found.append(served.run(client, places, authentication))
            if found[-1]["read"] != len(places):
                raise RuntimeError(f"{client} read {found[-1]['read']} of {len(places)} hosts: {found[-1]['failed']}")
    ratios = [one["cpu_s"] / other["cpu_s"] for one, other in zip(ours, bare, strict=True)]
    mine, theirs = (median(one["cpu_s"] for one in found) / len(places) * 1000 for found in (ours, bare))
    sent, asked = (_requests(found, len(places)) for found in (ours, bare))
    over = "HTTPS" if served.https else "HTTP, every message encrypted"
    return Row(
        f"client CPU of a probe, {authentication.upper() if authentication == 'ntlm' else 'Basic'} over {over}; "
        f"{len(places)} hosts, {THREADS} at once, every record consumed",
        f"{mine:.1f} ms ({median(ratios):.2f}x, {min(ratios):.2f} to {max(ratios):.2f} in {rounds} pairs), "
        f"{sent:g} requests a host",
        f"bare pywinrm, the same queries: {theirs:.1f} ms, {asked:g} requests a host",
        f"at most {limit}x, no more requests" if limit else "stated",
        limit is None or (median(ratios) <= limit and sent <= asked),
    )


def _requests(found: Sequence[Measured], hosts: int) -> float:
    """Return how many requests a host took. Raises RuntimeError where that was not always the same."""
    each = {one["requests"] / hosts for one in found}
    if len(each) != 1:
        raise RuntimeError(f"not every round sent the same requests: {each} a host")
    return each.pop()


def with_dead_hosts() -> list[Row]:
    """Compare many hosts, some of which never answer, with the live ones alone; and look at the memory of both."""
    with lab(MANY - DEAD, https=False) as served, dead_hosts(DEAD) as graves:
        live = served.places
        alone = served.run("many", live)
        mixed = list(live)
        for number, grave in enumerate(graves):
            mixed.insert(1 + number * (MANY // DEAD), grave)
        both = served.run("many", mixed)
    for found, failed in ((alone, {}), (both, {TIMEOUT.code: DEAD})):
        if (found["read"], found["failed"]) != (MANY - DEAD, failed):
            raise RuntimeError(f"read {found['read']} of {MANY - DEAD} live hosts: {found['failed']}")
    limit = alone["wall_s"] + 2 * CONNECT_TIMEOUT_S
    return [
        Row(
            f"{MANY:,} hosts, {DEAD} of them dead, {THREADS} at once, NTLM over HTTP",
            f"{both['wall_s']:.1f} s, {both['cpu_s']:.1f} s of CPU",
            f"the {len(live)} live ones alone {alone['wall_s']:.1f} s, {alone['cpu_s']:.1f} s of CPU",
            f"plus two connect timeouts of {CONNECT_TIMEOUT_S:g} s: {limit:.1f} s",
            both["wall_s"] <= limit,
        ),
        Row(
            "memory of that, each of the records let go of at once",
            f"{both['peak_mb']:.0f} MB at the most; {both['bytes'] / 1e6:.1f} MB of raw went by",
            f"without the dead ones: {alone['peak_mb']:.0f} MB",
            f"under {MEMORY_LIMIT_MB} MB",
            both["peak_mb"] < MEMORY_LIMIT_MB,
        ),
    ]


def measure() -> list[Row]:
    """Return a row a comparison. Raises RuntimeError where a client did not read every live host."""
    with lab(HOSTS, https=False) as served:
        rows = [against_bare(served, ROUNDS, limit=BARE_LIMIT)]
    with lab(HOSTS, https=True) as served:
        for authentication in ("ntlm", "basic"):
            rows.append(against_bare(served, ROUNDS_HTTPS, authentication=authentication, limit=None))
    return [*rows, *with_dead_hosts()]
