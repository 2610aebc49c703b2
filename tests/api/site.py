"""A service as it runs: uvicorn over a real database, with tenants, users and tokens; and a client that follows nothing."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import uvicorn

from asset_ledger.api.app import create_app
from asset_ledger.api.service import FailedLogins, Limits, Service
from asset_ledger.api.serving import connections
from asset_ledger.domain.passwords import hashed
from asset_ledger.domain.roles import Role
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.store.access.people import add_tenant, set_user
from asset_ledger.store.access.tokens import add_token
from asset_ledger.store.database import connect, rows
from asset_ledger.store.iac.states import head_body, opened

RING = KeyRing({"k1": b"1" * 32})
LOCK_INFO = b'{"ID":"%s","Operation":"OperationTypeApply","Info":"","Who":"li@host","Version":"1.15.5","Created":"2026-01-02T03:04:05Z","Path":""}'


def lock_info(lock_id: str) -> bytes:
    return LOCK_INFO.replace(b"%s", lock_id.encode())


def state(serial: int = 1, lineage: str = "line-1", **more: Any) -> bytes:
    """A Terraform state without resources."""
    told = {"version": 4, "terraform_version": "1.15.5", "serial": serial, "lineage": lineage, "outputs": {}}
    return json.dumps({**told, "resources": [], "check_results": None, **more}, indent=2).encode()


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """A service and what it works on."""

    database_url: str
    port: int = 0
    ring: KeyRing = RING
    service: Service | None = None
    tenants: dict[str, UUID] = field(default_factory=dict)
    made: dict[tuple[str, str, Role | None], str] = field(default_factory=dict)

    def empty(self) -> None:
        """Forget everything that tests before did."""
        self.empty_failures()
        self.tenants.clear()
        self.made.clear()
        while True:
            # what the service notes of clients by itself may come in between
            with suppress(psycopg.errors.DeadlockDetected), connect(self.database_url) as connection:
                connection.execute(
                    "TRUNCATE agent.tenants, agent.users, audit.audit_logs, iac.states, iac.resource_events,"
                    " iac.dependency_edges, agent.inventory_history CASCADE"
                )
                return

    def empty_failures(self) -> None:
        """Forget who failed to log in."""
        assert self.service is not None
        limits = self.service.limits
        self.service.failed_logins = FailedLogins(limits.failed_logins, limits.failed_within_s)

    def tenant(self, name: str) -> UUID:
        if name not in self.tenants:
            with connect(self.database_url) as connection:
                self.tenants[name] = add_tenant(connection, name, self.ring)
        return self.tenants[name]

    def token(self, user: str = "ann", role: Role = "admin", tenant: str = "acme", password: str | None = None) -> str:
        """Return a token of a user with a role in a tenant, made where they are not there yet."""
        key = (tenant, user, role)
        if key not in self.made or password:
            with connect(self.database_url) as connection:
                of = self.tenant(tenant)
                kept = hashed(password) if password else None
                user_id = set_user(connection, of, user, role, password_hash=kept, email=None)
                self.made[key] = add_token(connection, of, user_id, "tests", role, expires_at=None)
        return self.made[key]

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> Answer:
        """Ask as a client that follows no redirect. Without a token: as an administrator; with "" as nobody."""
        sent = dict(headers or {})
        if token != "" and "Authorization" not in sent:
            sent["Authorization"] = f"Bearer {token or self.token()}"
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=60)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()})
        finally:
            connection.close()

    def rows(self, query: str, parameters: Any = None) -> list[dict[str, Any]]:
        """Look into the database as one who may see everything."""
        with connect(self.database_url) as connection:
            return rows(connection, query, parameters)

    def audited(self) -> list[tuple[str, str, str, str]]:
        """Return (who, what, what came of it, request) of every row, the oldest first."""
        found = self.rows("SELECT actor, event_type, event_result, event_action FROM audit.audit_logs ORDER BY id")
        return [tuple(row.values()) for row in found]  # type: ignore[misc]

    def versions(self, stack: str = "app") -> list[dict[str, Any]]:
        return self.rows(
            "SELECT s.* FROM iac.states AS s JOIN iac.state_heads USING (tenant_id, state_id) WHERE stack = %s"
            " ORDER BY version",
            [stack],
        )

    def body(self, tenant: str, name: Any) -> bytes:
        with connect(self.database_url) as connection:
            found = head_body(connection, self.tenants[tenant], name)
            assert found is not None
            return opened(self.ring, self.tenants[tenant], found)


def basic(username: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{secret}".encode()).decode()}


def md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body).digest()).decode()


@contextmanager
def serving(
    database_url: str, *, limits: Limits | None = None, ring: KeyRing = RING, port: int = 0, **more: Any
) -> Iterator[Site]:
    """Run a service in a thread of this process; `more` is what else it is made with."""
    service = Service(database_url, ring, limits or Limits(), **more)
    config = uvicorn.Config(
        create_app(service),
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        **connections(),
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < end
        time.sleep(0.01)
    try:
        yield Site(database_url, server.servers[0].sockets[0].getsockname()[1], ring, service)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the service does not end"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def bare_environment() -> dict[str, str]:
    """Return this process's environment without what names an installation."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ASSET_LEDGER_", "TF_"))}
