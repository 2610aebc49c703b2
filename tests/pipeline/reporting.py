"""Agents of a tenant that report, and the source that takes in what they said, driven as a run drives it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from asset_ledger.domain.agents.payload import loads, read
from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.pipeline.chains import chains
from asset_ledger.pipeline.days import Day, Request, SourceRun
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.sources.agent.config import AgentConfig
from asset_ledger.store.access.people import add_tenant, tenant_named
from asset_ledger.store.agents import clients, reports
from asset_ledger.store.agents.clients import Enrolment, hashed
from asset_ledger.store.agents.reports import Accepted
from asset_ledger.store.database import Connection, connect, rows
from asset_ledger.store.sources import SourceRow, exclusive
from asset_ledger.store.tenancy import as_tenant
from tests.agents.payloads import payload

RING = KeyRing({"k1": b"k" * 32})
LOG = logging.getLogger("tests.reporting")


@dataclass
class Reporting:
    """One tenant's agents, by name, and their source."""

    connection: Connection
    tenant_id: UUID
    source: AgentConfig
    row: SourceRow
    tokens: dict[str, str] = field(default_factory=dict)
    ids: dict[str, UUID] = field(default_factory=dict)

    def client(self, name: str) -> UUID:
        """Return the client of a machine, enrolled where it is not yet."""
        if name not in self.ids:
            with as_tenant(self.connection, self.tenant_id):
                made = clients.enroll(
                    self.connection, self.tenant_id, Enrolment(hostname=name), user_id=None, who="ann"
                )
            self.ids[name], self.tokens[name] = made.client_id, made.token
        return self.ids[name]

    def report(
        self,
        name: str,
        at: str | datetime,
        *,
        received: str | datetime | None = None,
        peer: str | None = None,
        os: str = "linux",
        **said: Any,
    ) -> Accepted:
        """Send a report as the service takes it; `received` is when, where that is not at once."""
        self.client(name)
        collected = _instant(at)
        told = {"hostname": name, **said}
        body = json.dumps({**payload(os, **told), "collected_at": collected.isoformat()}).encode()
        holder = clients.holder(self.connection, hashed(self.tokens[name]))
        assert holder is not None
        return reports.accept(
            self.connection,
            holder,
            body,
            read(loads(body)),
            received_at=collected if received is None else _instant(received),
            peer=peer,
        )

    def run(self, day: str | date, **asked: Any) -> Day:
        """Do a day as a run of the source does it."""
        on = date.fromisoformat(day) if isinstance(day, str) else day
        (chain,) = chains(self.source)
        request = Request((on,), "run", **asked)
        with exclusive(self.connection, self.row):
            done = SourceRun(cast("Ledger", SimpleNamespace()), self.connection, chain, self.row, request, LOG).do()
        (found,) = done.days
        return found

    def waits(self) -> int:
        with as_tenant(self.connection, self.tenant_id):
            return len(rows(self.connection, "SELECT id FROM agent.reports WHERE tenant_id = %s", [self.tenant_id]))

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        return rows(self.connection, query, list(parameters) or None)

    def one(self, query: str, *parameters: Any) -> Any:
        (row,) = self.connection.execute(query, list(parameters) or None).fetchall()
        return row[0] if len(row) == 1 else row


def today() -> date:
    return collected_date(datetime.now(UTC))


def _instant(told: str | datetime) -> datetime:
    return told if isinstance(told, datetime) else datetime.fromisoformat(told).replace(tzinfo=UTC)


def source_of(tenant: str = "acme", **settings: Any) -> AgentConfig:
    return AgentConfig(name=f"agents_{tenant}", platform="agent", tenant=tenant, **settings)


def reporting_on(connection: Connection, tenant: str = "acme", **settings: Any) -> Reporting:
    """Return the agents of a tenant on a connection that is open; the tenant is made where there is none."""
    found = tenant_named(connection, tenant)
    tenant_id = add_tenant(connection, tenant, RING) if found is None else found.id
    source = source_of(tenant, **settings)
    return Reporting(connection, tenant_id, source, source_row(connection, source))


@contextmanager
def reporting(url: str, tenant: str = "acme") -> Iterator[Reporting]:
    """Open the agents of a tenant over a database."""
    with connect(url) as connection:
        yield reporting_on(connection, tenant)
