"""Trusts: the identity providers whose tokens a tenant takes. Made and ended by the owner, asked by the service.

A trust is never changed: what it let in under is to be read in it afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from asset_ledger.domain.roles import Principal, Role
from asset_ledger.domain.trusts import Terms, demand_sound
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant, knowing


@dataclass(frozen=True, slots=True)
class Trust:
    """A trust that is in force."""

    tenant_id: UUID
    id: UUID
    terms: Terms


@dataclass(frozen=True, slots=True)
class TrustRow:
    """A trust, as listings show it."""

    id: UUID
    issuer: str
    audience: str
    jwks_url: str
    claims: dict[str, Any]
    role: Role
    actor_claim: str
    hours: int
    created_at: datetime
    created_by: str
    ended_at: datetime | None


def add_trust(connection: Connection, tenant_id: UUID, terms: Terms, *, actor: str) -> UUID:
    """Make a trust, inside `as_tenant`. Raises PermanentError(CONFIG_INVALID) naming the field that cannot be."""
    demand_sound(terms)
    row = connection.execute(
        "INSERT INTO agent.trusts (tenant_id, issuer, audience, jwks_url, claims, role, actor_claim, hours, created_by)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
        [
            tenant_id,
            terms.issuer,
            terms.audience,
            terms.jwks_url,
            Jsonb(dict(terms.claims)),
            terms.role,
            terms.actor_claim,
            terms.hours,
            actor,
        ],
    ).fetchone()
    assert row is not None
    made: UUID = row[0]
    return made


def trusts(connection: Connection, tenant_id: UUID) -> list[TrustRow]:
    """Return a tenant's trusts, the newest first, those that ended too; inside `as_tenant`."""
    with connection.cursor(row_factory=class_row(TrustRow)) as cursor:
        return cursor.execute(
            """
            SELECT id, issuer, audience, jwks_url, claims, role, actor_claim, hours, created_at, created_by, ended_at
            FROM agent.trusts WHERE tenant_id = %s ORDER BY created_at DESC, id
            """,
            [tenant_id],
        ).fetchall()


def end_trust(connection: Connection, tenant_id: UUID, trust_id: UUID) -> bool:
    """End a trust, inside `as_tenant`; False where there is no such one in force."""
    return (
        connection.execute(
            "UPDATE agent.trusts SET ended_at = now() WHERE tenant_id = %s AND id = %s AND ended_at IS NULL",
            [tenant_id, trust_id],
        ).rowcount
        == 1
    )


def in_issuer(connection: Connection, issuer: str, tenant: str | None) -> list[Trust]:
    """Return the trusts in force in an issuer: those of the tenant of a name, or of all tenants."""
    named = {} if tenant is None else {"tenant_name": tenant}
    with knowing(connection, issuer=issuer, **named), connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            """
            SELECT r.tenant_id, r.id, r.issuer, r.audience, r.jwks_url, r.claims, r.role, r.actor_claim, r.hours
            FROM agent.trusts AS r
            WHERE r.issuer = %(issuer)s AND r.ended_at IS NULL
              AND (%(tenant)s::text IS NULL OR r.tenant_id = (SELECT id FROM agent.tenants WHERE name = %(tenant)s))
            ORDER BY r.created_at, r.id
            """,
            {"issuer": issuer, "tenant": tenant},
        ).fetchall()
    return [Trust(row.pop("tenant_id"), row.pop("id"), Terms(**row)) for row in found]


def principal(connection: Connection, trust: Trust, actor: str) -> Principal | None:
    """Return what somebody may whom a trust lets in; None where it ended meanwhile or the tenant is kept out."""
    with as_tenant(connection, trust.tenant_id):
        row = connection.execute(
            """
            SELECT t.name, r.role FROM agent.trusts AS r JOIN agent.tenants AS t ON t.id = r.tenant_id
            WHERE r.tenant_id = %s AND r.id = %s AND r.ended_at IS NULL AND t.is_active
            """,
            [trust.tenant_id, trust.id],
        ).fetchone()
    return None if row is None else Principal(trust.tenant_id, row[0], None, actor, row[1])
