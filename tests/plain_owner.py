"""A ledger whose owner is no superuser, as a managed server gives one: row-level security holds for it too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from asset_ledger.store.database import connect, migrate
from asset_ledger.store.tenancy import SERVICE_ROLE
from tests.postgres import create_database, database_name, drop_database, shared_server


@contextmanager
def plainly_owned() -> Iterator[tuple[str, str, str]]:
    """Make a migrated ledger; yield its URL as its owner, that owner's name, and its URL as a superuser."""
    url = create_database(shared_server().url("postgres"))
    name = f"plain_{uuid4().hex[:12]}"
    with connect(url) as db:
        found = db.execute("SELECT FROM pg_roles WHERE rolname = %s", [SERVICE_ROLE]).fetchone()
        if found is None:
            db.execute(f"CREATE ROLE {SERVICE_ROLE} NOLOGIN")
        db.execute(f"CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEROLE PASSWORD 'hunter2' IN ROLE {SERVICE_ROLE}")
        db.execute(f"ALTER DATABASE {database_name(url)} OWNER TO {name}")
        db.execute(f"ALTER SCHEMA public OWNER TO {name}")
    parts = urlsplit(url)
    mine = urlunsplit(parts._replace(netloc=f"{name}:hunter2@{parts.hostname}:{parts.port}"))
    try:
        migrate(mine)
        yield mine, name, url
    finally:
        drop_database(url)
        with connect(shared_server().url("postgres")) as db:
            db.execute(f"DROP ROLE {name}")
