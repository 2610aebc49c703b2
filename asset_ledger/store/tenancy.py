"""Whose rows a transaction sees. Row-level security asks the session; here is where it is told.

Every transaction over a tenant's tables begins with `as_tenant`, the service's and the command line's alike. The
setting ends with the transaction, so that nothing of it stays on a connection that the next caller is lent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from asset_ledger.store.database import Connection

SERVICE_ROLE = "asset_ledger_service"


@contextmanager
def as_tenant(connection: Connection, tenant_id: UUID) -> Iterator[None]:
    """Open a transaction that sees and writes the rows of one tenant."""
    with connection.transaction():
        say_tenant(connection, tenant_id)
        yield


def say_tenant(connection: Connection, tenant_id: UUID) -> None:
    """Tell a transaction that is open already whose rows it sees; for whoever had to begin it in a way of their own."""
    _say(connection, "app.tenant", str(tenant_id))


@contextmanager
def knowing(connection: Connection, **named: str) -> Iterator[None]:
    """Open a transaction that sees, before a tenant is known, what it can name.

    Names: `username`, `token_hash` (hexadecimal), `tenant_name`, `issuer`.
    """
    with connection.transaction():
        for name, value in named.items():
            _say(connection, f"app.{name}", value)
        yield


def _say(connection: Connection, setting: str, value: str) -> None:
    connection.execute("SELECT set_config(%s, %s, true)", [setting, value])
