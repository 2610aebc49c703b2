"""The connections of the HTTP service: a few, lent for one transaction each, as a role that owns nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from asset_ledger.domain.errors import DATABASE_UNAVAILABLE, RetryableError
from asset_ledger.store.database import Connection, public
from asset_ledger.store.tenancy import SERVICE_ROLE

_SETTINGS = {
    "TimeZone": "UTC",
    # from the first moment on, so that no statement is ever made as the owner
    "role": SERVICE_ROLE,
    # who waits longer for a state is better told so: it asks again by itself
    "lock_timeout": "20s",
    "idle_in_transaction_session_timeout": "60s",
}


class Pool:
    """Connections to one database. Nothing is opened before `start`, and nothing waits for the database there."""

    def __init__(self, url: str, *, most: int, wait_s: float) -> None:
        self._url = url
        self._pool = ConnectionPool(
            url,
            min_size=1,
            max_size=most,
            timeout=wait_s,
            open=False,
            kwargs={
                "autocommit": True,
                "connect_timeout": 5,
                "application_name": "asset_ledger api",
                "options": " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items()),
            },
        )

    def start(self) -> None:
        """Begin to open connections."""
        self._pool.open()

    def stop(self) -> None:
        """Close every connection."""
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection, in autocommit mode. Raises RetryableError(DATABASE_UNAVAILABLE)."""
        try:
            with self._pool.connection() as connection:
                yield connection
        except psycopg.OperationalError as error:
            if not isinstance(error, PoolTimeout):
                # the server was restarted: the others of its connections are dead too, and nobody knows yet
                with suppress(psycopg.Error):
                    self._pool.check()
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RetryableError(DATABASE_UNAVAILABLE, why, target=public(self._url)) from error
