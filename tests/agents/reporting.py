"""A client that reports straight to the store, as the service's role does it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from asset_ledger.domain.agents.payload import loads, read
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.store.access.people import add_tenant
from asset_ledger.store.agents.clients import Enrolled, Enrolment, Holder, enroll, hashed, holder
from asset_ledger.store.agents.reports import Accepted, accept
from asset_ledger.store.database import connect, rows
from asset_ledger.store.pool import Pool
from asset_ledger.store.tenancy import as_tenant
from tests.agents.payloads import payload

RING = KeyRing({"k1": b"1" * 32})


def body(os: str = "linux", **changes: Any) -> bytes:
    """Return a report's bytes; instants among the changes as RFC 3339."""
    told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in changes.items()}
    return json.dumps(payload(os, **told)).encode()


@dataclass
class Office:
    """A tenant and the service's connections."""

    database_url: str
    pool: Pool
    tenant_id: UUID

    def enrolled(self, hostname: str = "web-01", machine: str | None = None) -> Enrolled:
        with self.pool.connection() as connection, as_tenant(connection, self.tenant_id):
            asked = Enrolment(hostname=hostname, machine_key=machine)
            return enroll(connection, self.tenant_id, asked, user_id=None, who="acme/ann")

    def client(self) -> Holder:
        found = self.holder(self.enrolled().token)
        assert found is not None
        return found

    def holder(self, token: str) -> Holder | None:
        with self.pool.connection() as connection:
            return holder(connection, hashed(token))

    def send(self, client: Holder, sent: bytes, received_at: datetime | None = None) -> Accepted:
        with self.pool.connection() as connection, as_tenant(connection, self.tenant_id):
            return accept(
                connection,
                client,
                sent,
                read(loads(sent)),
                received_at=received_at or datetime.now(UTC),
                peer="192.0.2.10",
            )

    def rows(self, query: str, parameters: Any = None) -> list[dict[str, Any]]:
        with connect(self.database_url) as connection:
            return rows(connection, query, parameters)

    def history(self, client: Holder) -> list[dict[str, Any]]:
        return self.rows(
            "SELECT * FROM agent.inventory_history WHERE client_id = %s ORDER BY collected_at", [client.client_id]
        )

    def latest(self, client: Holder) -> Mapping[str, Any] | None:
        found = self.rows("SELECT * FROM agent.inventory_latest WHERE client_id = %s", [client.client_id])
        return found[0] if found else None


@contextmanager
def office(database_url: str) -> Iterator[Office]:
    pool = Pool(database_url, most=4, wait_s=20)
    pool.start()
    with connect(database_url) as connection:
        tenant_id = add_tenant(connection, f"t{uuid4().hex[:12]}", RING)
    yield Office(database_url, pool, tenant_id)
    pool.stop()
