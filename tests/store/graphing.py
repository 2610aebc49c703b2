"""Rows of a graph, put there as parsing, settling and looking for findings would, by the names of what they are of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from asset_ledger.store.database import Connection, connect
from asset_ledger.store.iac.graph import Graph
from asset_ledger.store.tenancy import SERVICE_ROLE, as_tenant

SPACE = UUID("00000000-0000-4000-8000-000000000002")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
TABLES = (
    "agent.tenants, iac.state_heads, iac.dependency_edges, ledger.sources, ledger.assets, ledger.asset_relations,"
    " ledger.asset_source_links, ledger.normalized_assets, ledger.database_instances"
)


def made(name: str) -> UUID:
    return uuid5(SPACE, name)


class World:
    """A ledger with sources 1 (of tenant acme), 2 (of rival) and 3 (of nobody), and a state of each tenant."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.links: dict[str, int] = {}

    def begin(self) -> None:
        """Forget everything and begin again."""
        self.links.clear()
        self.run(f"TRUNCATE {TABLES} RESTART IDENTITY CASCADE")
        for name in ("one", "two", "three"):
            self.run(
                "INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank)"
                " VALUES (%s, 'pve', 'pve', 'platform', 'default', 1, 1)",
                name,
            )
        for number, tenant in enumerate(("acme", "rival"), 1):
            self.run(
                "INSERT INTO agent.tenants (id, name, hash_key, key_id) VALUES (%s, %s, '', 'k')", made(tenant), tenant
            )
            with as_tenant(self.connection, made(tenant)):
                self.run("INSERT INTO iac.tenant_sources VALUES (%s, %s)", made(tenant), number)
            self.state(tenant, "app")

    def run(self, query: str, *parameters: Any) -> None:
        self.connection.execute(query, parameters or None)

    def state(self, tenant: str, stack: str) -> None:
        with as_tenant(self.connection, made(tenant)):
            self.run(
                "INSERT INTO iac.state_heads (tenant_id, state_id, tool, project, stack)"
                " VALUES (%s, %s, 'terraform', 'shop', %s)",
                made(tenant), made(tenant + stack), stack,
            )  # fmt: skip

    def resource(self, name: str, tenant: str = "acme", stack: str = "app") -> UUID:
        with as_tenant(self.connection, made(tenant)):
            self.run(
                "INSERT INTO iac.resources_current (tenant_id, state_id, stable_uid, addr, provider, alias,"
                " resource_type, scope, name_digest, tainted, attrs, attrs_hash, digest, first_version, last_version,"
                " last_run_id, updated_at) VALUES (%s, %s, %s, %s, 'p', '', 'some_type', '', %s, false, '{}', '', '', 1,"
                " 1, 'r', %s)",
                made(tenant), made(tenant + stack), made(name), name, made(name), NOW,
            )  # fmt: skip
        return made(name)

    def needs(self, one: str, other: str, kind: str = "config", tenant: str = "acme", stack: str = "app") -> None:
        """One resource needs another."""
        with as_tenant(self.connection, made(tenant)):
            self.run(
                "INSERT INTO iac.dependency_edges VALUES (%s, %s, %s, %s, %s)",
                made(tenant), made(tenant + stack), made(one), made(other), kind,
            )  # fmt: skip

    def machine(self, name: str, source: int | None = 1, *, merged_into: str | None = None, **columns: Any) -> UUID:
        self.run(
            "INSERT INTO ledger.assets (id, zone, platform_type, hostname, created_at, updated_at, merged_into_asset_id)"
            " VALUES (%s, 'default', 'pve', %s, %s, %s, %s)",
            made(name), name, NOW, NOW, made(merged_into) if merged_into else None,
        )  # fmt: skip
        if source is not None:
            self.link(name, source, **columns)
        return made(name)

    def link(self, name: str, source: int, **columns: Any) -> None:
        """A source tells of a machine, under its name."""
        number = self.links[name] = len(self.links) + 1
        called = columns.get("called", name)
        self.run(
            "INSERT INTO ledger.normalized_assets (id, source_id, external_kind, external_id, digest, record_digest,"
            " parser_version, inventory_id, observation_id, locator, document) OVERRIDING SYSTEM VALUE"
            " VALUES (%s, %s, 'vm', %s, %s, '', 1, 1, 1, '', jsonb_build_object('identity', jsonb_build_object("
            " 'hostname', %s::text, 'mgmt_ip', %s::text)))",
            number, source, name, str(number).encode(), called, columns.get("address"),
        )  # fmt: skip
        self.run(
            "INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, asset_id, normalized_id,"
            " record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at,"
            " missing_since, closed_at) VALUES (%s, %s, 'vm', %s, %s, %s, '', 1, %s, %s, %s, %s, %s, %s, %s)",
            number, source, name, made(name), number, NOW, NOW, NOW, NOW, NOW, columns.get("missing_since"), columns.get("closed_at"),
        )  # fmt: skip

    def on(self, one: str, other: str, kind: str = "runs_on", *, ended: bool = False) -> None:
        """One machine needs another, of the same source."""
        self.run(
            "INSERT INTO ledger.asset_relations VALUES (%s, %s, 'vm', %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            self.links[one], kind, other, NOW, NOW, NOW if ended else None,
        )  # fmt: skip

    def join(
        self,
        resource: str,
        machine: str,
        *,
        tenant: str = "acme",
        source: int = 1,
        rule: str = "id",
        left: bool = False,
    ) -> None:
        with as_tenant(self.connection, made(tenant)):
            self.run(
                "INSERT INTO iac.resource_joins VALUES (%s, %s, %s, %s, %s, 1, %s, 100, %s, %s)",
                made(tenant), made(tenant + "app"), made(resource), source, made(machine), rule, NOW, NOW if left else None,
            )  # fmt: skip

    def instance(self, name: str, machine: str, status: str = "confirmed") -> UUID:
        self.run(
            "INSERT INTO ledger.database_instances (id, source_id, instance_key, zone, name, host, port, db_type,"
            " first_seen_at, last_seen_date, last_seen_at, inventory_id)"
            " VALUES (%s, 3, %s, 'default', %s, %s, 5432, 'postgresql', %s, %s, %s, 1)",
            made(name), name, name, machine, NOW, NOW, NOW,
        )  # fmt: skip
        self.run(
            "INSERT INTO ledger.instance_asset_links VALUES (%s, %s, 'auto', %s, 90, 'address', '{}', %s, %s)",
            made(name), made(machine), status, NOW, NOW,
        )  # fmt: skip
        return made(name)

    def names(self, ids: Any) -> set[str]:
        """Return the names that this world gave some ids."""
        found = self.connection.execute(
            "SELECT id, hostname FROM ledger.assets UNION ALL SELECT id, name FROM ledger.database_instances"
        )
        known = {row[0]: row[1] for row in found}
        for tenant in ("acme", "rival"):
            with as_tenant(self.connection, made(tenant)):
                known |= dict(self.connection.execute("SELECT stable_uid, addr FROM iac.resources_current").fetchall())
        return {known[each] for each in ids}


@contextmanager
def world(url: str) -> Iterator[World]:
    with connect(url) as connection:
        one = World(connection)
        one.begin()
        yield one


@contextmanager
def serving_graph(url: str, tenant: str = "acme") -> Iterator[Graph]:
    """The graph as the HTTP service sees it for a tenant."""
    with connect(url) as connection:
        connection.execute(f"SET ROLE {SERVICE_ROLE}")
        yield Graph(connection, (made(tenant),))


def owner(one: World, *tenants: str) -> Graph:
    """The graph as the owner of the ledger sees it, with the resources of some tenants."""
    return Graph(one.connection, tuple(made(each) for each in tenants))
