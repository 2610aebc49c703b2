"""What an apply asks of the state service, against the same transactions without HTTP.

GET, LOCK, GET, POST, UNLOCK of a state of 54 KB over one kept connection to a service in a process of its own; and the
same transactions, logins and audit rows included, through a pool like its own in this process: what the service has
beside them is HTTP, its routes, and looking at the body. In turn, on one embedded server with production's settings,
with several services one after the other: where a process lies in memory makes one a tenth slower than another.
Run: `python -m benchmarks state_requests`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from asset_ledger.api.service import Service as OurService
from asset_ledger.domain.iac.locking import Held, Refused, lock_of
from asset_ledger.domain.roles import Principal
from asset_ledger.store.access import audit, tokens
from asset_ledger.store.access.audit import Entry, Origin
from asset_ledger.store.database import Connection
from asset_ledger.store.iac import states
from asset_ledger.store.iac.states import Name, NewBody, Who
from asset_ledger.store.tenancy import as_tenant
from benchmarks.measuring import bench_server, fresh_ledger
from benchmarks.state_service import LOCK_ID, RING, Client, Service, aws_state, lock_info, service
from benchmarks.table import Row

SERVICES = 7
ROUNDS = 100
LIMIT = 1.3
BYTES = 54_000


class Took(NamedTuple):
    """Seconds of each round: with HTTP, without, and of five requests that ask for nothing."""

    asked: list[float]
    done: list[float]
    nothing: list[float]


def measure() -> list[Row]:
    """Return the comparison."""
    bodies = _bodies(2 * (ROUNDS + 10))
    with bench_server() as (server, folder):
        took = [_of_one(fresh_ledger(server, f"bench_{number}"), folder, list(bodies)) for number in range(SERVICES)]
    times = median(median(each.asked) / median(each.done) for each in took)
    asked = [seconds for each in took for seconds in each.asked]
    done = [seconds for each in took for seconds in each.done]
    nothing = [seconds for each in took for seconds in each.nothing]
    ninety_five = sorted(asked)[int(len(asked) * 0.95)]
    return [
        Row(
            f"GET, LOCK, GET, POST, UNLOCK of a state of {len(bodies[0]) / 1000:.0f} KB",
            f"{1000 * median(asked):.1f} ms ({times:.2f}x); 95 of 100 under {1000 * ninety_five:.1f} ms",
            f"the same transactions without HTTP: {1000 * median(done):.1f} ms",
            f"at most {LIMIT:g}x",
            times <= LIMIT,
        ),
        Row("five requests that ask for nothing (/healthz)", f"{1000 * median(nothing):.1f} ms", "", "stated", True),
    ]


def _of_one(database_url: str, folder: Path, bodies: list[bytes]) -> Took:
    with service(database_url, folder) as running:
        bare = OurService(running.database_url, RING)
        bare.start()
        try:
            return _took(running, bare, bodies)
        finally:
            bare.stop()


def _took(running: Service, bare: OurService, bodies: list[bytes]) -> Took:
    client = running.client()
    took = Took([], [], [])
    for number in range(ROUNDS + 10):
        one, other = bodies.pop(), bodies.pop()
        asked = _seconds(lambda body=one: _asked(client, body))
        done = _seconds(lambda body=other: _done(bare, running, body))
        if number >= 10:  # both have opened what they open once
            took.asked.append(asked)
            took.done.append(done)
            took.nothing.append(_seconds(lambda: [client.ask("GET", "/healthz") for _ in range(5)]))
    return took


def _bodies(count: int) -> list[bytes]:
    size = 1
    while len(aws_state(size + 3, 1)) < BYTES:
        size += 1
    return [aws_state(size + 3, serial, 1) for serial in range(count, 0, -1)]


def _asked(client: Client, body: bytes) -> None:
    at = "/terraform/state/shop/asked"
    _get(client, at)
    client.ask("LOCK", at, lock_info())
    _get(client, at)
    client.ask("POST", f"{at}?ID={LOCK_ID}", body)
    client.ask("UNLOCK", at, lock_info())


def _get(client: Client, at: str) -> None:
    try:
        client.ask("GET", at)
    except RuntimeError as error:  # nothing was written yet
        if " 404 " not in str(error):
            raise


def _done(bare: OurService, running: Service, body: bytes) -> None:
    name, lock = Name("terraform", "shop", "done"), lock_of(lock_info())

    def request(kind: str, work: Callable[[Connection, Principal], object]) -> None:
        with bare.connection() as connection:
            who = tokens.holder(connection, running.token)
        assert who is not None
        with bare.connection() as connection, as_tenant(connection, who.tenant_id):
            outcome = work(connection, who)
            if isinstance(outcome, Held | Refused):
                raise RuntimeError(f"{kind}: {outcome}")  # noqa: TRY004 - no wrong type, a refusal
            origin = Origin("127.0.0.1", "bench")
            entry = Entry(kind, f"{kind} /shop/done", "success", "acme/ann", who.user_id, origin, {"lock_id": LOCK_ID})
            audit.record(connection, who.tenant_id, entry)

    def read(connection: Connection, who: Principal) -> object:
        found = states.head_body(connection, who.tenant_id, name)
        return found and states.opened(RING, who.tenant_id, found)

    def write(connection: Connection, who: Principal) -> object:
        new = NewBody(body, "terraform", True, 1, "bench", "1.15.5")
        return states.add_version(
            connection, who.tenant_id, name, new, lock_id=LOCK_ID, who=Who(who.actor, who.user_id), ring=RING
        )

    request("state.read", read)
    request("state.lock", lambda c, who: states.take_lock(c, who.tenant_id, name, lock, Who(who.actor, who.user_id)))
    request("state.read", read)
    request("state.write", write)
    request(
        "state.unlock", lambda c, who: states.give_lock(c, who.tenant_id, name, LOCK_ID, Who(who.actor, who.user_id))
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
