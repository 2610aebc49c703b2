"""API tokens: 256 random bits, shown once, of which only the SHA-256 is kept.

A token is a user's; or a login's of an identity provider, which was exchanged for it: that ends with its trust too.
"""

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
    """A token, as listings show it. `username` is the actor's name where a provider's login was exchanged for it."""

    id: UUID
    name: str
    username: str
    shown: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    trust_id: UUID | None


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


def exchange(
    connection: Connection, tenant_id: UUID, trust_id: UUID, actor: str, role: Role, *, expires_at: datetime
) -> str:
    """Make a token for whom a trust lets in, and return it; drop those of the tenant that are over for a day."""
    text = PREFIX + secrets.token_urlsafe(32)
    with as_tenant(connection, tenant_id):
        connection.execute(
            """
            DELETE FROM agent.api_tokens WHERE tenant_id = %(tenant)s AND id IN (
                SELECT id FROM agent.api_tokens
                WHERE tenant_id = %(tenant)s AND trust_id IS NOT NULL AND expires_at < now() - interval '1 day'
                FOR UPDATE SKIP LOCKED)  -- many jobs begin at once, and none waits for another
            """,
            {"tenant": tenant_id},
        )
        connection.execute(
            "INSERT INTO agent.api_tokens (tenant_id, trust_id, actor, name, token_hash, shown, role, expires_at)"
            " VALUES (%s, %s, %s, 'login', %s, %s, %s, %s)",
            [tenant_id, trust_id, actor, _hash(text), text[:_SHOWN], role, expires_at],
        )
    return text


def tokens(connection: Connection, tenant_id: UUID) -> list[TokenRow]:
    """Return a tenant's tokens, newest first; not those of users that the tenant has no more."""
    with as_tenant(connection, tenant_id), connection.cursor(row_factory=class_row(TokenRow)) as cursor:
        return cursor.execute(
            """
            SELECT t.id, t.name, coalesce(u.username, t.actor) AS username, t.shown, t.role, t.created_at, t.expires_at,
                   t.last_used_at, t.revoked_at, t.trust_id
            FROM agent.api_tokens AS t LEFT JOIN agent.users AS u ON u.id = t.user_id
            WHERE t.tenant_id = %s AND (u.id IS NOT NULL OR t.trust_id IS NOT NULL) ORDER BY t.created_at DESC
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
            "SELECT tenant_id, user_id, trust_id, actor, role, last_used_at, now() FROM agent.api_tokens"
            " WHERE token_hash = %s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())",
            [hashed],
        ).fetchone()
    if row is None:
        return None
    tenant_id, user_id, trust_id, actor, role, used_at, now = row
    with as_tenant(connection, tenant_id):
        found = (
            _member(connection, tenant_id, user_id)
            if trust_id is None
            else _trusted(connection, tenant_id, trust_id, actor)
        )
        if found is None:
            return None
        if used_at is None or now - used_at > _USED_EVERY:  # a row update a request would hurt
            connection.execute(
                "UPDATE agent.api_tokens SET last_used_at = now() WHERE tenant_id = %s AND token_hash = %s",
                [tenant_id, hashed],
            )
    tenant, username, most = found
    return Principal(tenant_id, tenant, user_id, username, lower(role, most))


def _member(connection: Connection, tenant_id: UUID, user_id: UUID) -> tuple[str, str, Role] | None:
    """Return (tenant, username, role) of a user; None for one who is kept out."""
    return connection.execute(
        """
        SELECT t.name, u.username, m.role
        FROM agent.tenants AS t
        JOIN agent.memberships AS m ON m.tenant_id = t.id AND m.user_id = %s
        JOIN agent.users AS u ON u.id = m.user_id
        WHERE t.id = %s AND t.is_active AND u.is_active
        """,
        [user_id, tenant_id],
    ).fetchone()


def _trusted(connection: Connection, tenant_id: UUID, trust_id: UUID, actor: str) -> tuple[str, str, Role] | None:
    """Return (tenant, actor, role) of whom a trust lets in; None where it ended or the tenant is kept out."""
    return connection.execute(
        """
        SELECT t.name, %s::text, r.role
        FROM agent.tenants AS t JOIN agent.trusts AS r ON r.tenant_id = t.id AND r.id = %s
        WHERE t.id = %s AND t.is_active AND r.ended_at IS NULL
        """,
        [actor, trust_id, tenant_id],
    ).fetchone()


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
