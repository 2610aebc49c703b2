"""Clients: machines that report by themselves. Enrolled by a user, known by a token of their own from then on.

Of a token only the SHA-256 is kept. Whatever ends one is told on the channel BELL by triggers of the tables, for the
processes that remember whose it is.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row

from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant, knowing

TOKEN_PREFIX = "ac_"  # noqa: S105 - how one begins, and none
"""How every client's token begins, so that one that leaked is found by searching for it."""
BELL = "agent_tokens"
"""Tells a client's id, or `tenant:` and a tenant's, when a login of theirs may have ended."""
GRACE = timedelta(hours=1)
"""How long a token holds that its client has replaced: the answer with the new one may have been lost."""
_SHOWN = len(TOKEN_PREFIX) + 6
_BYTES = 32


@dataclass(slots=True)
class Holder:
    """Whose a client's token is, and what its client said last. Remembered for as long as the token holds."""

    tenant_id: UUID
    tenant: str
    client_id: UUID
    user_id: UUID | None
    hostname: str | None
    agent_version: str | None
    payload_sha256: bytes | None
    expires_at: datetime | None

    @property
    def actor(self) -> str:
        """Return what records show of who acts."""
        return f"client {self.client_id}"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a machine says of itself when it is enrolled. `machine_key` is a hash, in hexadecimal."""

    hostname: str | None = None
    machine_key: str | None = None
    os: str | None = None
    platform: str | None = None
    arch: str | None = None
    agent_version: str | None = None
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A client and its token, which nobody can be shown again. `again`: the machine was a client already."""

    client_id: UUID
    token: str
    again: bool


def hashed(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def enroll(connection: Connection, tenant_id: UUID, asked: Enrolment, *, user_id: UUID | None, who: str) -> Enrolled:
    """Make a client, or take the one that this machine is, inside `as_tenant`; the tokens it had end.

    A machine that was retired is the same client again.
    """
    told = {
        "tenant": tenant_id,
        "user": user_id,
        "who": who,
        "key": asked.machine_key,
        "hostname": asked.hostname,
        "os": asked.os,
        "platform": asked.platform,
        "arch": asked.arch,
        "version": asked.agent_version,
        "ip": asked.ip,
    }
    if asked.machine_key is not None:
        connection.execute(
            """
            UPDATE agent.clients SET retired_at = NULL
            WHERE tenant_id = %(tenant)s AND id = (
                SELECT id FROM agent.clients WHERE tenant_id = %(tenant)s AND machine_key = %(key)s
                ORDER BY retired_at IS NULL DESC, retired_at DESC LIMIT 1)
            """,
            told,
        )
    row = connection.execute(
        """
        INSERT INTO agent.clients (tenant_id, user_id, enrolled_by, machine_key, hostname, os, platform, arch,
                                   agent_version, ip_address)
        VALUES (%(tenant)s, %(user)s, %(who)s, %(key)s, %(hostname)s, %(os)s, %(platform)s, %(arch)s, %(version)s,
                %(ip)s)
        ON CONFLICT (tenant_id, machine_key) WHERE retired_at IS NULL DO UPDATE SET
            user_id = excluded.user_id, enrolled_by = excluded.enrolled_by, ip_address = excluded.ip_address,
            hostname = coalesce(excluded.hostname, clients.hostname), os = coalesce(excluded.os, clients.os),
            platform = coalesce(excluded.platform, clients.platform), arch = coalesce(excluded.arch, clients.arch),
            agent_version = coalesce(excluded.agent_version, clients.agent_version)
        RETURNING id, xmax <> 0
        """,
        told,
    ).fetchone()
    assert row is not None
    client_id, again = row
    revoke(connection, tenant_id, client_id)
    return Enrolled(client_id, _add_token(connection, tenant_id, client_id, who), again)


def holder(connection: Connection, token_hash: bytes) -> Holder | None:
    """Return whose token has this hash; None for one that is none, or holds no more."""
    with knowing(connection, token_hash=token_hash.hex()):
        row = connection.execute(
            "SELECT tenant_id, client_id, expires_at FROM agent.client_tokens"
            " WHERE token_hash = %s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())",
            [token_hash],
        ).fetchone()
    if row is None:
        return None
    tenant_id, client_id, expires_at = row
    with as_tenant(connection, tenant_id), connection.cursor(row_factory=class_row(Holder)) as cursor:
        return cursor.execute(
            """
            SELECT c.tenant_id, t.name AS tenant, c.id AS client_id, c.user_id, c.hostname, c.agent_version,
                   l.payload_sha256, %(expires)s::timestamptz AS expires_at
            FROM agent.clients AS c
            JOIN agent.tenants AS t ON t.id = c.tenant_id AND t.is_active
            LEFT JOIN agent.inventory_latest AS l ON l.tenant_id = c.tenant_id AND l.client_id = c.id
            WHERE c.tenant_id = %(tenant)s AND c.id = %(client)s AND c.retired_at IS NULL
            """,
            {"tenant": tenant_id, "client": client_id, "expires": expires_at},
        ).fetchone()


def replace_own(connection: Connection, tenant_id: UUID, client_id: UUID, token_hash: bytes) -> str | None:
    """Return a new token for a client that came with one, inside `as_tenant`; None where that holds no more.

    The one it came with holds for GRACE; any other it had ends.
    """
    told = {"tenant": tenant_id, "client": client_id, "hash": token_hash, "grace": GRACE}
    # one after the other: of two new tokens the second would end the first
    held = connection.execute(
        "SELECT id FROM agent.clients WHERE tenant_id = %(tenant)s AND id = %(client)s AND retired_at IS NULL"
        " FOR NO KEY UPDATE",
        told,
    ).fetchone()
    kept = connection.execute(
        """
        UPDATE agent.client_tokens SET expires_at = least(coalesce(expires_at, 'infinity'), now() + %(grace)s)
        WHERE tenant_id = %(tenant)s AND client_id = %(client)s AND token_hash = %(hash)s AND revoked_at IS NULL
          AND (expires_at IS NULL OR expires_at > now())
        """,
        told,
    )
    if held is None or kept.rowcount == 0:
        return None
    connection.execute(
        "UPDATE agent.client_tokens SET revoked_at = now() WHERE tenant_id = %(tenant)s AND client_id = %(client)s"
        " AND token_hash <> %(hash)s AND revoked_at IS NULL",
        told,
    )
    return _add_token(connection, tenant_id, client_id, f"client {client_id}")


def rotate(connection: Connection, tenant_id: UUID, client_id: UUID, *, who: str) -> str | None:
    """Return a new token for a client that holds, inside `as_tenant`; the ones it had end at once. None: no such one."""
    held = connection.execute(
        "SELECT id FROM agent.clients WHERE tenant_id = %s AND id = %s AND retired_at IS NULL FOR NO KEY UPDATE",
        [tenant_id, client_id],
    ).fetchone()
    if held is None:
        return None
    revoke(connection, tenant_id, client_id)
    return _add_token(connection, tenant_id, client_id, who)


def revoke(connection: Connection, tenant_id: UUID, client_id: UUID) -> int:
    """End a client's tokens, inside `as_tenant`; return how many held. It is let in again by enrolling it anew."""
    return connection.execute(
        "UPDATE agent.client_tokens SET revoked_at = now() WHERE tenant_id = %s AND client_id = %s"
        " AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())",
        [tenant_id, client_id],
    ).rowcount


def retire(connection: Connection, tenant_id: UUID, client_id: UUID) -> bool:
    """Take a client as gone for good, inside `as_tenant`: its tokens end, its history stays. False: no such one."""
    done = connection.execute(
        "UPDATE agent.clients SET retired_at = now(), status = 'offline',"
        " status_at = CASE WHEN status = 'offline' THEN status_at ELSE now() END"
        " WHERE tenant_id = %s AND id = %s AND retired_at IS NULL",
        [tenant_id, client_id],
    )
    if done.rowcount == 0:
        return False
    revoke(connection, tenant_id, client_id)
    return True


def _add_token(connection: Connection, tenant_id: UUID, client_id: UUID, who: str) -> str:
    text = TOKEN_PREFIX + secrets.token_urlsafe(_BYTES)
    connection.execute(
        "INSERT INTO agent.client_tokens (tenant_id, client_id, token_hash, shown, created_by) VALUES (%s, %s, %s, %s, %s)",
        [tenant_id, client_id, hashed(text), text[:_SHOWN], who],
    )
    return text
