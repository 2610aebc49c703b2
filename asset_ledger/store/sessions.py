"""Which runs are at work, told by their sessions in PostgreSQL: a session ends with the process that opened it.

A run's sessions bear its name, and one of them stays open from the run's beginning to its end (`Presence`). Who watches
over runs asks `living`; who does a run again first ends what is left of the one before (`end_sessions`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from types import TracebackType

import psycopg

from asset_ledger.domain.errors import LedgerError
from asset_ledger.store.database import Connection, connect

_PREFIX = "asset_ledger run "
_END_MS = 5000
BEAT_S = 5.0
"""How often a run makes sure that its session is there. A server that was started anew has it back after that."""

_log = logging.getLogger(__name__)


def session_name(run_id: str) -> str:
    """Return what the sessions of a run are called in `pg_stat_activity`."""
    return f"{_PREFIX}{run_id}"


def living(connection: Connection) -> frozenset[str]:
    """Return the ids of the runs that have a session in this database, on whatever machine they are worked on."""
    found = connection.execute(
        """
        SELECT DISTINCT substr(application_name, length(%(prefix)s) + 1) FROM pg_stat_activity
        WHERE datname = current_database() AND starts_with(application_name, %(prefix)s)
        """,
        {"prefix": _PREFIX},
    )
    return frozenset(run_id for (run_id,) in found)


def end_sessions(connection: Connection, run_ids: Collection[str]) -> int:
    """End the sessions of runs that are over, and return how many there were: what hangs on can write no more."""
    row = connection.execute(
        """
        SELECT count(pg_terminate_backend(pid, %(wait)s)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = ANY(%(names)s) AND pid <> pg_backend_pid()
        """,
        {"names": [session_name(run_id) for run_id in run_ids], "wait": _END_MS},
    ).fetchone()
    return 0 if row is None else int(row[0])


class Presence:
    """Keeps a session of a run open, from a thread of its own, until it is closed. It never fails: it tries again."""

    def __init__(self, url: str, run_id: str) -> None:
        self._url, self._name = url, session_name(run_id)
        self._over, self._there = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"presence-{run_id[:8]}", daemon=True)

    def __enter__(self) -> Presence:
        self._thread.start()
        self._there.wait(BEAT_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(BEAT_S)

    @property
    def there(self) -> bool:
        """Whether the session was open at least once."""
        return self._there.is_set()

    def _keep(self) -> None:
        while not self._over.is_set():
            try:
                with connect(self._url, application_name=self._name, watchful=True) as connection:
                    self._there.set()
                    while not self._over.wait(BEAT_S):
                        connection.execute("SELECT")
            except (LedgerError, psycopg.Error) as error:
                _log.debug("the session of a run is gone: %s", error)
                self._over.wait(BEAT_S)
