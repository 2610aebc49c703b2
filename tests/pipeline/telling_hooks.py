"""Findings as rows, for tests of what is told of them: written as the finding of findings writes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from asset_ledger.domain.iac.rules import KINDS, Hook
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.store.access.people import add_tenant
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant

RING = KeyRing({"k1": b"1" * 32})


def hook(name: str, url: str, **said: Any) -> Hook:
    told = {"credential_ref": f"env:{name.upper()}", "tenant": None, "kinds": KINDS, "ca_file": None, **said}
    return Hook(name=name, url=url, **told)


def tenant(connection: Connection, name: str = "acme") -> UUID:
    row = connection.execute("SELECT id FROM agent.tenants WHERE name = %s", [name]).fetchone()
    return row[0] if row else add_tenant(connection, name, RING)


def opened(
    connection: Connection,
    at: datetime,
    *kinds: str,
    of: str = "acme",
    name: str = "web-01",
    declared: Any = None,
    observed: Any = None,
    asset_id: UUID | None = None,
) -> list[UUID]:
    """Open a finding of each kind at an instant; return their ids. Inside of a transaction of the tenant or not."""
    tenant_id = tenant(connection, of)
    ids = [uuid4() for _ in kinds]
    with as_tenant(connection, tenant_id):
        row = connection.execute(
            "INSERT INTO iac.state_heads (tenant_id, tool, project, stack) VALUES (%s, 'terraform', 'shop', 'prod')"
            " ON CONFLICT (tenant_id, tool, project, stack) DO UPDATE SET head_version = 0 RETURNING state_id",
            [tenant_id],
        ).fetchone()
        assert row is not None
        for finding, kind in zip(ids, kinds, strict=True):
            if kind == "orphan":
                connection.execute(
                    "INSERT INTO iac.cloud_orphans (tenant_id, id, source_id, source, external_kind, external_id, link_id,"
                    " asset_id, name, observed_at, opened_at, seen_at)"
                    " VALUES (%s, %s, 1, 'pve_lab', 'vm', %s, 1, %s, %s, %s, %s, %s)",
                    [tenant_id, finding, f"qemu/{finding}", asset_id or uuid4(), name, at, at, at],
                )
            else:
                connection.execute(
                    "INSERT INTO iac.drift_findings (tenant_id, id, kind, state_id, stable_uid, addr, attribute, source_id,"
                    " source, name, declared, observed, rule, score, asset_id, observed_at, opened_at, seen_at)"
                    " VALUES (%s, %s, %s, %s, %s, 'proxmox_vm.web[0]', %s, 1, 'pve_lab', %s, %s, %s, 'id', 100, %s, %s,"
                    " %s, %s)",
                    [
                        tenant_id,
                        finding,
                        kind,
                        row[0],
                        uuid4(),
                        "cpu_cores" if kind == "drift" else "",
                        name,
                        Jsonb(declared),
                        Jsonb(observed),
                        asset_id,
                        at,
                        at,
                        at,
                    ],
                )
    return ids


def closed(connection: Connection, at: datetime, ids: Sequence[UUID], because: str, *, of: str = "acme") -> None:
    """Close findings at an instant."""
    tenant_id = tenant(connection, of)
    with as_tenant(connection, tenant_id):
        for table in ("drift_findings", "cloud_orphans"):
            connection.execute(
                f"UPDATE iac.{table} SET closed_at = %s, closed_because = %s WHERE id = ANY (%s)",
                [at, because, list(ids)],
            )
