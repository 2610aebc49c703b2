"""Two processes of the service, Redis beside them, and clients that change from one to the other while things break."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as websocket

from asset_ledger.domain.sealing import KeyRing
from asset_ledger.store.access.people import add_tenant, set_user
from asset_ledger.store.agents.clients import Enrolment, enroll
from asset_ledger.store.database import connect, rows
from asset_ledger.store.tenancy import as_tenant
from tests.agents_live.quick_service import TTL_S
from tests.patience import until
from tests.redis_server import RedisServer
from tests.sshd import free_port

BEAT_S = TTL_S / 6


@dataclass
class Process:
    """One process of the service."""

    database_url: str
    redis_url: str
    port: int = field(default_factory=free_port)
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.agents_live.quick_service"]
        self.running = subprocess.Popen([*command, self.database_url, self.redis_url, str(self.port)])
        until(self.answers)

    def answers(self) -> bool:
        assert self.running is not None
        assert self.running.poll() is None, "the service ended"
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def kill(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait()
            self.running = None


@dataclass
class Client:
    """A machine that beats now with this process, now with that one."""

    id: UUID
    token: str
    ports: list[int]
    by_websocket: bool = False
    answers: Counter[Any] = field(default_factory=Counter)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stopping.wait(BEAT_S * random.uniform(0.8, 1.2)):
            port = random.choice(self.ports)
            try:
                if self.by_websocket:
                    self._connect(port)
                else:
                    self._beat(port)
            except (OSError, ConnectionClosed, http.client.HTTPException) as error:
                self.answers[type(error).__name__] += 1

    def _beat(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Authorization": f"Bearer {self.token}"}
        connection.request("POST", "/api/v1/agents/heartbeat", b'{"inventory": ""}', headers)
        answer = connection.getresponse()
        answer.read()
        self.answers[answer.status] += 1
        connection.close()

    def _connect(self, port: int) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"ws://127.0.0.1:{port}/api/v1/agents/connect"
        with websocket(url, additional_headers=headers, compression=None, open_timeout=60) as line:
            for _ in range(3):
                line.send('{"inventory": ""}')
                self.answers["heartbeat_s" in json.loads(line.recv(60))] += 1
                if self.stopping.wait(BEAT_S):
                    return


@dataclass
class Office:
    """A tenant with clients, each in a thread of its own."""

    database_url: str
    tenant: UUID
    user: UUID
    threads: list[threading.Thread] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    def hire(self, count: int, ports: list[int], *, by_websocket: bool = False) -> list[Client]:
        made = []
        with connect(self.database_url) as connection, as_tenant(connection, self.tenant):
            for _ in range(count):
                asked = Enrolment(hostname="web", machine_key=uuid4().hex * 2)
                found = enroll(connection, self.tenant, asked, user_id=self.user, who="ann")
                made.append(Client(found.client_id, found.token, ports, by_websocket))
        for client in made:
            thread = threading.Thread(target=client.run, daemon=True)
            thread.start()
            self.threads.append(thread)
        self.clients += made
        return made

    def stop(self) -> None:
        for client in self.clients:
            client.stopping.set()
        for thread in self.threads:
            thread.join(90)

    def statuses(self, clients: list[Client]) -> set[str]:
        with connect(self.database_url) as connection:
            found = rows(connection, "SELECT id, status FROM agent.clients")
        wanted = {client.id for client in clients}
        return {row["status"] for row in found if row["id"] in wanted}

    def told(self, client: Client) -> list[str]:
        with connect(self.database_url) as connection:
            found = rows(
                connection, "SELECT event_type FROM audit.audit_logs WHERE client_id = %s ORDER BY id", [client.id]
            )
        return [row["event_type"] for row in found]


@pytest.fixture
def office(database_url: str) -> Iterator[Office]:
    with connect(database_url) as connection:
        tenant = add_tenant(connection, "acme", KeyRing({"k1": b"1" * 32}))
        user = set_user(connection, tenant, "ann", "writer", password_hash=None, email=None)
    made = Office(database_url, tenant, user)
    yield made
    made.stop()


@pytest.fixture
def two(request: pytest.FixtureRequest, database_url: str) -> Iterator[tuple[Process, Process]]:
    url = request.getfixturevalue("redis_server").url if request.param == "redis" else ""
    made = (Process(database_url, url), Process(database_url, url))
    for process in made:
        process.start()
    yield made
    for process in made:
        process.kill()


def pass_ttls(count: float) -> None:
    """Let time go by: here it is what the processes do in it that matters."""
    time.sleep(TTL_S * count)


@pytest.mark.needs("redis-server")
@pytest.mark.parametrize("two", ["redis"], indirect=True)
def test_clients_that_move_are_never_offline_though_redis_and_a_process_die(
    office: Office, two: tuple[Process, Process], redis_server: RedisServer
) -> None:
    one, other = two
    both = [one.port, other.port]
    moving = office.hire(30, both) + office.hire(6, both, by_websocket=True)
    stays = office.hire(5, [other.port])
    until(lambda: office.statuses(moving + stays) == {"online"})
    pass_ttls(1.5)
    redis_server.kill()
    pass_ttls(1.5)
    redis_server.start()
    pass_ttls(1.5)
    with redis_server.client() as redis:
        assert redis.zcard("agent:heartbeats") == len(moving + stays)
        listed = [redis.smembers(key) for key in redis.scan_iter("pod:*:connections")]
        assert len(listed) == 2
        assert set.union(*listed) == {str(client.id) for client in moving + stays}
        assert all(redis.exists(f"client:{client.id}") for client in moving + stays)
    refused = [client.answers for client in moving + stays if set(client.answers) - {200, True}]
    assert refused == [], "nobody was refused while Redis was away"
    assert {tuple(office.told(client)) for client in moving + stays} == {("client.connect",)}

    other.kill()
    for client in moving:
        client.ports = [one.port]
    until(lambda: office.statuses(stays) == {"offline"}, TTL_S * 10)
    pass_ttls(1.0)
    assert office.statuses(moving) == {"online"}
    assert {tuple(office.told(client)) for client in moving} == {("client.connect",)}
    assert {tuple(office.told(client)) for client in stays} == {("client.connect", "client.disconnect")}
    with redis_server.client() as redis:
        until(lambda: len(list(redis.scan_iter("pod:*:connections"))) == 1, TTL_S * 10)

    other.start()  # and whoever only knew that one is back
    until(lambda: office.statuses(stays) == {"online"})
    assert {tuple(office.told(client)) for client in stays} == {
        ("client.connect", "client.disconnect", "client.connect")
    }


@pytest.mark.parametrize("two", ["table"], indirect=True)
def test_two_processes_without_redis_share_the_table(office: Office, two: tuple[Process, Process]) -> None:
    one, other = two
    moving = office.hire(20, [one.port, other.port])
    stays = office.hire(4, [other.port])
    until(lambda: office.statuses(moving + stays) == {"online"})
    pass_ttls(2)
    other.kill()
    for client in moving:
        client.ports = [one.port]
    until(lambda: office.statuses(stays) == {"offline"}, TTL_S * 10)
    pass_ttls(1)
    assert {tuple(office.told(client)) for client in moving} == {("client.connect",)}
    assert {tuple(office.told(client)) for client in stays} == {("client.connect", "client.disconnect")}
    with suppress(OSError):
        one.kill()
    one.start()  # a service that was away takes nobody for gone
    pass_ttls(1.5)
    assert {tuple(office.told(client)) for client in moving} == {("client.connect",)}
