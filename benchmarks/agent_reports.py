"""What taking in agents' reports costs, against the same statements without HTTP, and one that says nothing new.

Some hundred clients report over a few kept connections, each report another size of memory; and the same reports are
placed by the same functions in this process, through a pool of the same kind, from as many threads. In turn, on one
embedded server with production's settings. Then one client reports over one connection what changed and what did not.
Run: `python -m benchmarks agent_reports`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from asset_ledger.api.service import Service as OurService
from asset_ledger.domain.agents.payload import loads, read
from asset_ledger.store.access import audit
from asset_ledger.store.access.audit import Entry, Origin
from asset_ledger.store.agents import clients, reports
from asset_ledger.store.agents.clients import Enrolment, Holder, hashed
from asset_ledger.store.database import connect
from asset_ledger.store.tenancy import as_tenant
from benchmarks.measuring import bench_server, fresh_ledger
from benchmarks.state_service import RING, Client, Service, service
from benchmarks.table import Row

CLIENTS = 200
AT_ONCE = 4
ROUNDS = 9
SINGLE = 200
RATE_LIMIT, UNCHANGED_LIMIT = 0.6, 1 / 3
GIB = 1 << 30


def measure(rounds: int = ROUNDS) -> list[Row]:
    """Return a row a comparison."""
    with bench_server() as (server, folder), service(fresh_ledger(server, "bench"), folder) as running:
        machines = _enrolled(running)
        bare = OurService(running.database_url, RING)
        bare.start()
        try:
            return [_rate(running, bare, machines, rounds), *_single(running, machines)]
        finally:
            bare.stop()


class _Machine:
    """One client: its token, whom it is known as, and what it says next."""

    def __init__(self, number: int, token: str, holder: Holder) -> None:
        self.login, self.holder = f"Bearer {token}", holder
        self._number, self._said, self._at = number, 0, datetime.now(UTC) - timedelta(hours=1)

    def report(self, *, changed: bool) -> bytes:
        self._said += changed
        self._at += timedelta(seconds=1)
        return json.dumps(_payload(self._number, (8 + self._said) * GIB, self._at)).encode()


def _enrolled(running: Service) -> list[_Machine]:
    made: list[_Machine] = []
    with connect(running.database_url) as connection:
        for number in range(CLIENTS):
            with as_tenant(connection, running.tenant_id):
                asked = Enrolment(f"host-{number}", f"{number:064x}", "linux", "debian", "x86_64", "1.0.0", "127.0.0.1")
                one = clients.enroll(connection, running.tenant_id, asked, user_id=running.user_id, who="ann")
            holder = clients.holder(connection, hashed(one.token))
            assert holder is not None
            made.append(_Machine(number, one.token, holder))
    return made


def _rate(running: Service, bare: OurService, machines: list[_Machine], rounds: int) -> Row:
    half = len(machines) // 2
    asked, done = machines[:half], machines[half:]
    connections = [Client(running.port, "") for _ in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as threads:

        def over_http(lane: int) -> None:
            for machine, body in zip(asked[lane::AT_ONCE], sent[lane::AT_ONCE], strict=True):
                connections[lane].login = machine.login
                connections[lane].ask("POST", "/api/v1/agents/report", body)

        def without(lane: int) -> None:
            for machine, body in zip(done[lane::AT_ONCE], sent[lane::AT_ONCE], strict=True):
                _place(bare, machine.holder, body)

        with_http, alone = [], []
        for number in range(rounds + 1):
            sent = [machine.report(changed=True) for machine in asked]
            one = _seconds(lambda: list(threads.map(over_http, range(AT_ONCE))))
            sent = [machine.report(changed=True) for machine in done]
            other = _seconds(lambda: list(threads.map(without, range(AT_ONCE))))
            if number:  # the first is for what is opened once
                with_http.append(one)
                alone.append(other)
    share = median(other / one for one, other in zip(with_http, alone, strict=True))
    return Row(
        f"reports that say something new, {AT_ONCE} at once: {len(sent[0]) / 1000:.1f} KB each",
        f"{half / median(with_http):,.0f} a second ({share:.0%})",
        f"the same statements without HTTP, from {AT_ONCE} threads: {half / median(alone):,.0f} a second",
        f"at least {RATE_LIMIT:.0%}",
        share >= RATE_LIMIT,
    )


def _place(bare: OurService, holder: Holder, body: bytes) -> None:
    """Do what the service does of a report, and write its row of the audit."""

    def recorded(found: reports.Accepted) -> None:
        if found.result != "changed" or found.change is None:
            raise RuntimeError(f"a report that says something new was {found.result}")
        details = {"result": found.result, "changes": list(found.change.types), "summary": found.change.summary}
        entry = Entry(
            "inventory.update",
            "POST /api/v1/agents/report",
            "success",
            "acme/bench",
            None,
            Origin("127.0.0.1"),
            details,
        )
        audit.record(connection, holder.tenant_id, entry)

    with bare.connection() as connection:
        reports.accept(
            connection,
            holder,
            body,
            read(loads(body)),
            received_at=datetime.now(UTC),
            peer="127.0.0.1",
            then=recorded,
        )


def _single(running: Service, machines: list[_Machine]) -> list[Row]:
    machine = machines[0]
    client = Client(running.port, machine.login)
    _ask(client, machine.report(changed=True), "changed")
    changed, unchanged = [], []
    for _ in range(SINGLE):
        body = machine.report(changed=True)
        changed.append(_seconds(lambda: _ask(client, body, "changed")))  # noqa: B023 - called at once
        again = machine.report(changed=False)
        unchanged.append(_seconds(lambda: _ask(client, again, "unchanged")))  # noqa: B023 - called at once
    share = median(unchanged) / median(changed)
    return [
        Row(
            "a report that says nothing new, over one connection",
            f"{1000 * median(unchanged):.2f} ms ({share:.2f}x)",
            f"one that does: {1000 * median(changed):.2f} ms",
            "at most 0.33x",
            share <= UNCHANGED_LIMIT,
        )
    ]


def _ask(client: Client, body: bytes, result: str) -> None:
    said = json.loads(client.ask("POST", "/api/v1/agents/report", body))
    if said["result"] != result:
        raise RuntimeError(f"{result} was expected: {said}")


def _payload(number: int, memory: int, at: datetime) -> dict[str, Any]:
    """Return a report of a small virtual machine, in the shape of the seed."""
    return {
        "collected_at": at.isoformat(),
        "agent_version": "1.0.0",
        "host": {
            "hostname": f"host-{number}", "uptime": int(at.timestamp()) % 10**6, "boot_time": 1_760_000_000,
            "procs": 150, "os": "linux", "platform": "debian", "platform_family": "debian", "platform_version": "12.8",
            "kernel_version": "6.1.0-28-amd64", "kernel_arch": "x86_64", "virtualization_system": "kvm",
            "virtualization_role": "guest", "host_id": f"4c4c4544-0042-3510-8054-{number:012x}",
        },
        "cpu": [{"cpu": n, "vendor_id": "AuthenticAMD", "model_name": "AMD EPYC", "cores": 1, "mhz": 2400.0}
                for n in range(4)],
        "memory": {"total": memory, "available": memory // 2, "used": memory // 2, "used_percent": 50.0,
                   "free": memory // 4},
        "disks": [
            {"device": f"/dev/sd{letter}1", "mountpoint": f"/{letter}", "fstype": "ext4", "total": 100 * GIB,
             "used": 40 * GIB, "free": 60 * GIB, "used_percent": 40.0} for letter in "ab"
        ],
        "network": [
            {"name": "eth0", "mtu": 1500, "hardwareaddr": f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}",
             "flags": ["up", "broadcast", "multicast"], "addrs": [{"addr": f"10.1.{number >> 8}.{number & 255}/16"}]},
            {"name": "lo", "mtu": 65536, "hardwareaddr": "", "flags": ["up", "loopback"],
             "addrs": [{"addr": "127.0.0.1/8"}]},
        ],
    }  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
