"""Hears when a client's login may have ended. For `api.client_logins`, on a connection of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from asset_ledger.domain.errors import DATABASE_UNAVAILABLE, RetryableError
from asset_ledger.store.agents.clients import BELL
from asset_ledger.store.database import public

_WAIT_S = 1.0
_LOOK_EVERY = 15
"""After how many waits it is looked whether the server still answers: a line that is cut says nothing."""
# the look itself does not wait for a line that is cut
_KEPT: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def heard(database_url: str) -> Iterator[str | None]:
    """Yield what is told, and None from time to time, at first as soon as everything from then on is heard.

    Raises RetryableError when it is cut off: from then on anything may have been missed.
    """
    try:
        with psycopg.connect(
            database_url, autocommit=True, connect_timeout=5, application_name="asset_ledger logins", **_KEPT
        ) as connection:
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(BELL)))
            while True:
                yield None
                for _ in range(_LOOK_EVERY):
                    for told in connection.notifies(timeout=_WAIT_S):
                        yield told.payload
                    yield None
                connection.execute("SELECT 1")
    except psycopg.Error as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RetryableError(DATABASE_UNAVAILABLE, why, target=public(database_url)) from None
