"""API tokens: 256 random bits, shown once, of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row

from asset_ledger.domain.roles import Principal, Role, lower
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant, knowing

PREFIX = "al_"
"""How every token begins, so that one that leaked is found by searching for it."""
_SHOWN = len(PREFIX) + 6
_USED_EVERY = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token, as listings show it."""

    id: UUID
    name: str
    username: str
    shown: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


def add_token(
    connection: Connection, tenant_id: UUID, user_id: UUID, name: str, role: Role, *, expires_at: datetime | None
) -> str:
    """Make a token and return it: nobody can be shown it again."""
    text = PREFIX + secrets.token_urlsafe(32)
    with as_tenant(connection, tenant_id):
        connection.execute(
            "INSERT INTO agent.api_tokens (tenant_id, user_id, name, token_hash, shown, role, expires_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [tenant_id, user_id, name, _hash(text), text[:_SHOWN], role, expires_at],
        )
    return text


def tokens(connection: Connection, tenant_id: UUID) -> list[TokenRow]:
    """Return a tenant's tokens, newest first."""
    with as_tenant(connection, tenant_id), connection.cursor(row_factory=class_row(TokenRow)) as cursor:
        return cursor.execute(
            """
            SELECT t.id, t.name, u.username, t.shown, t.role, t.created_at, t.expires_at, t.last_used_at, t.revoked_at
            FROM agent.api_tokens AS t JOIN agent.users AS u ON u.id = t.user_id
            WHERE t.tenant_id = %s ORDER BY t.created_at DESC
            """,
            [tenant_id],
        ).fetchall()


def revoke(connection: Connection, tenant_id: UUID, token_id: UUID) -> bool:
    """End a token; False where there is no such one that holds."""
    with as_tenant(connection, tenant_id):
        return (
            connection.execute(
                "UPDATE agent.api_tokens SET revoked_at = now() WHERE tenant_id = %s AND id = %s AND revoked_at IS NULL",
                [tenant_id, token_id],
            ).rowcount
            == 1
        )


def holder(connection: Connection, text: str) -> Principal | None:
    """Return whose token this is and what it may; None for one that is none, or holds no more."""
    hashed = _hash(text)
    with knowing(connection, token_hash=hashed.hex()):
        row = connection.execute(
            "SELECT tenant_id, user_id, role, last_used_at FROM agent.api_tokens"
            " WHERE token_hash = %s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())",
            [hashed],
        ).fetchone()
    if row is None:
        return None
    tenant_id, user_id, role, used_at = row
    with as_tenant(connection, tenant_id):
        found = connection.execute(
            """
            SELECT t.name, u.username, m.role, now()
            FROM agent.tenants AS t
            JOIN agent.memberships AS m ON m.tenant_id = t.id AND m.user_id = %s
            JOIN agent.users AS u ON u.id = m.user_id
            WHERE t.id = %s AND t.is_active AND u.is_active
            """,
            [user_id, tenant_id],
        ).fetchone()
        if found is None:
            return None
        if used_at is None or found[3] - used_at > _USED_EVERY:  # a row update a request would hurt
            connection.execute(
                "UPDATE agent.api_tokens SET last_used_at = now() WHERE tenant_id = %s AND token_hash = %s",
                [tenant_id, hashed],
            )
    return Principal(tenant_id, found[0], user_id, found[1], lower(role, found[2]))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
