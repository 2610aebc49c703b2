"""Tenants, users and their memberships: made by the command line, asked by the service."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.domain.roles import Principal, Role
from asset_ledger.domain.sealing import KeyRing, Sealed
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant, knowing


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant, as listings show it."""

    id: UUID
    name: str
    is_active: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user in a tenant, as listings show them."""

    id: UUID
    username: str
    email: str | None
    role: Role
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class Account:
    """What a login is checked against. `password_hash` never leaves the process."""

    user_id: UUID
    username: str
    password_hash: str | None


def add_tenant(connection: Connection, name: str, ring: KeyRing) -> UUID:
    """Make a tenant with a hash key of its own. Raises PermanentError where the name is taken or none."""
    with connection.transaction():
        row = connection.execute("SELECT gen_random_uuid()").fetchone()
        assert row is not None
        tenant_id: UUID = row[0]
        sealed = ring.seal(os.urandom(32), f"tenant {tenant_id}")
        try:
            connection.execute(
                "INSERT INTO agent.tenants (id, name, hash_key, key_id) VALUES (%s, %s, %s, %s)",
                [tenant_id, name, sealed.data, sealed.key_id],
            )
        except psycopg.errors.UniqueViolation:
            raise PermanentError(CONFIG_INVALID, "there is a tenant of this name already", target=name) from None
        except psycopg.errors.CheckViolation:
            raise PermanentError(
                CONFIG_INVALID, "a tenant's name is a-z, 0-9, - and _, and begins with a letter", target=name
            ) from None
    return tenant_id


def tenants(connection: Connection) -> list[TenantRow]:
    """Return every tenant by name; for the owner of the installation."""
    with connection.cursor(row_factory=class_row(TenantRow)) as cursor:
        return cursor.execute("SELECT id, name, is_active, created_at FROM agent.tenants ORDER BY name").fetchall()


def tenant_named(connection: Connection, name: str) -> TenantRow | None:
    """Return the tenant of a name."""
    with knowing(connection, tenant_name=name), connection.cursor(row_factory=class_row(TenantRow)) as cursor:
        return cursor.execute(
            "SELECT id, name, is_active, created_at FROM agent.tenants WHERE name = %s", [name]
        ).fetchone()


def hash_key(connection: Connection, tenant_id: UUID, ring: KeyRing) -> bytes:
    """Return the key of a tenant's hashes, inside `as_tenant`."""
    row = connection.execute("SELECT key_id, hash_key FROM agent.tenants WHERE id = %s", [tenant_id]).fetchone()
    if row is None:
        raise PermanentError(CONFIG_INVALID, "there is no such tenant", target=str(tenant_id))
    return ring.open(Sealed(row[0], row[1]), f"tenant {tenant_id}")


def demand_ring(connection: Connection, ring: KeyRing) -> None:
    """Raise PermanentError(STATE_KEY_UNREADABLE) where a tenant's key cannot be opened with the ring.

    One tenant is tried for each key that tenants' are under. A key that none is under yet stays untried. For the owner
    and the service alike.
    """
    for tenant_id, key_id, data in connection.execute(
        "SELECT tenant_id, key_id, hash_key FROM agent.key_samples()"
    ).fetchall():
        try:
            ring.open(Sealed(key_id, data), f"tenant {tenant_id}")
        except PermanentError as error:
            raise PermanentError(
                error.code,
                f"this is not the ring that the ledger is encrypted with: {error.message}",
                target=error.target,
            ) from None


def rekey_tenant(connection: Connection, tenant_id: UUID, ring: KeyRing) -> None:
    """Encrypt a tenant's hash key anew, with the first key of the ring."""
    with as_tenant(connection, tenant_id):
        sealed = ring.seal(hash_key(connection, tenant_id, ring), f"tenant {tenant_id}")
        connection.execute(
            "UPDATE agent.tenants SET hash_key = %s, key_id = %s WHERE id = %s", [sealed.data, sealed.key_id, tenant_id]
        )


def set_tenant(connection: Connection, name: str, *, active: bool) -> UUID:
    """Keep a tenant's users out, or let them in again; return its id. For the installation's owner."""
    row = connection.execute(
        "UPDATE agent.tenants SET is_active = %s WHERE name = %s RETURNING id", [active, name]
    ).fetchone()
    if row is None:
        raise PermanentError(CONFIG_INVALID, "there is no tenant of this name", target=name)
    found: UUID = row[0]
    return found


def set_user(
    connection: Connection, tenant_id: UUID, username: str, role: Role, *, password_hash: str | None, email: str | None
) -> UUID:
    """Make a user, or take the one of this name, and give them a role in a tenant. For the installation's owner.

    A hash or address that is None leaves what there is, and who is kept out stays out. Raises PermanentError for a name
    or address that cannot be.
    """
    with as_tenant(connection, tenant_id):
        try:
            row = connection.execute(
                """
                INSERT INTO agent.users (username, email, password_hash) VALUES (%s, %s, %s)
                ON CONFLICT (username) DO UPDATE SET
                    email = coalesce(excluded.email, users.email), updated_at = now(),
                    password_hash = coalesce(excluded.password_hash, users.password_hash)
                RETURNING id
                """,
                [username, email, password_hash],
            ).fetchone()
        except psycopg.errors.CheckViolation:
            raise PermanentError(
                CONFIG_INVALID, "a user's name is letters, digits and . _ @ + -, at most 127 of them", target=username
            ) from None
        except psycopg.errors.UniqueViolation:
            raise PermanentError(CONFIG_INVALID, "another user has this address", target=email) from None
        assert row is not None
        connection.execute(
            "INSERT INTO agent.memberships (tenant_id, user_id, role) VALUES (%s, %s, %s)"
            " ON CONFLICT (tenant_id, user_id) DO UPDATE SET role = excluded.role",
            [tenant_id, row[0], role],
        )
    found: UUID = row[0]
    return found


def disable_user(connection: Connection, username: str) -> None:
    """Keep a user out of every tenant. For the installation's owner. Raises PermanentError where there is none."""
    _set_active(connection, username, active=False)


def enable_user(connection: Connection, username: str) -> None:
    """Let a user in again wherever they are in. For the installation's owner. Raises as `disable_user` does."""
    _set_active(connection, username, active=True)


def remove_user(connection: Connection, tenant_id: UUID, user_id: UUID) -> int:
    """Take a user out of one tenant, inside `as_tenant`; return how many of their tokens of it ended by that.

    What they are in other tenants stays. For the installation's owner. Raises PermanentError for who is not in it.
    """
    gone = connection.execute(
        "DELETE FROM agent.memberships WHERE tenant_id = %s AND user_id = %s", [tenant_id, user_id]
    )
    if gone.rowcount == 0:
        raise PermanentError(CONFIG_INVALID, "no user of this tenant", target=str(user_id))
    return connection.execute(
        "UPDATE agent.api_tokens SET revoked_at = now() WHERE tenant_id = %s AND user_id = %s AND revoked_at IS NULL",
        [tenant_id, user_id],
    ).rowcount


def users(connection: Connection, tenant_id: UUID) -> list[UserRow]:
    """Return a tenant's users by name."""
    with as_tenant(connection, tenant_id), connection.cursor(row_factory=class_row(UserRow)) as cursor:
        return cursor.execute(
            """
            SELECT u.id, u.username, u.email, m.role, u.is_active, u.created_at, u.last_login_at
            FROM agent.memberships AS m JOIN agent.users AS u ON u.id = m.user_id
            WHERE m.tenant_id = %s ORDER BY u.username
            """,
            [tenant_id],
        ).fetchall()


def account(connection: Connection, username: str) -> Account | None:
    """Return what a login of this name is checked against; None where nobody active has it."""
    with knowing(connection, username=username), connection.cursor(row_factory=class_row(Account)) as cursor:
        return cursor.execute(
            "SELECT id AS user_id, username, password_hash FROM agent.users WHERE username = %s AND is_active",
            [username],
        ).fetchone()


def logged_in(connection: Connection, tenant_id: UUID, user_id: UUID) -> None:
    """Keep when a user last came with a password, inside `as_tenant`."""
    done = connection.execute("UPDATE agent.users SET last_login_at = now() WHERE id = %s", [user_id])
    if done.rowcount != 1:
        raise PermanentError(CONFIG_INVALID, "no user of this tenant", target=f"{tenant_id} {user_id}")


def principal(connection: Connection, tenant: TenantRow, user_id: UUID) -> Principal | None:
    """Return what a user may do in a tenant; None where that is nothing."""
    if not tenant.is_active:
        return None
    with as_tenant(connection, tenant.id):
        row = connection.execute(
            "SELECT u.username, m.role FROM agent.memberships AS m JOIN agent.users AS u ON u.id = m.user_id"
            " WHERE m.tenant_id = %s AND m.user_id = %s AND u.is_active",
            [tenant.id, user_id],
        ).fetchone()
    return None if row is None else Principal(tenant.id, tenant.name, user_id, row[0], row[1])


def _set_active(connection: Connection, username: str, *, active: bool) -> None:
    done = connection.execute(
        "UPDATE agent.users SET is_active = %s, updated_at = now() WHERE username = %s", [active, username]
    )
    if done.rowcount == 0:
        raise PermanentError(CONFIG_INVALID, "there is no user of this name", target=username)
