"""What runs that read at the same time know of an account: whose turn it is to show it to hosts, and who refused it.

Runs that read shards of one day would each show a wrong password to a few hosts, and their domain adds them up. What is
not kept as raw yet is told by locks of PostgreSQL's, which end with the run's session. Called by `pipeline.intake`, for
`sources.wsman.lockout`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection
from contextlib import ExitStack
from datetime import date
from types import TracebackType

import psycopg
from psycopg.conninfo import make_conninfo

from asset_ledger.store.database import Connection
from asset_ledger.store.sessions import living, session_name

_MOST = 5
"""How many refusals of runs that are at work are told apart: more than any account is shown to."""


class AccountTurns:
    """What one run knows and tells. Threads share it. Nothing is connected before it is asked.

    A turn is had for a moment, and nobody who has one waits for another. What hosts said is told until the end.
    """

    def __init__(
        self, beside: Connection, run_id: str | None, collected_date: date, *, runs: Collection[str] | None
    ) -> None:
        """Take a connection to the same database, and the day of whose refusals those count that `runs` kept.

        None counts what any run kept, and what those say that are at work.
        """
        self._beside, self._date = beside, collected_date
        self._runs = None if runs is None else list(runs)
        # of the run's own name: who does it again ends its sessions, and with them its turns
        self._name = "asset_ledger" if run_id is None else session_name(run_id)
        self._mutex = threading.Lock()
        self._stack = ExitStack()
        self._connection: Connection | None = None
        self._mine: set[tuple[str, int]] = set()

    def __enter__(self) -> AccountTurns:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def take(self, account: str) -> int | None:
        """Return how many hosts of other runs have refused an account today, once it is this run's turn.

        None while it is another run's turn; 0 where a host of another has taken it today. Raises psycopg.Error.
        """
        with self._mutex:
            if not self._lock(account, "turn"):
                return None
            # first what is told by locks: a run that ends meanwhile is then counted twice, and never not at all
            live = not self._free(account, "taken")
            # slots of this run's own session are free to it
            held = 0 if self._runs is not None else sum(not self._free(account, f"{n}") for n in range(_MOST))
            kept, taken = self._kept(account)
            if live or taken:
                return 0
            return kept + held

    def give(self, account: str) -> None:
        """Let another run have its turn."""
        with self._mutex:
            self._open().execute("SELECT pg_advisory_unlock(%s)", [_key(account, "turn")])

    def tell(self, account: str, *, taken: bool) -> None:
        """Tell the runs that are at work what a host said to an account, until it is kept."""
        with self._mutex:
            if taken:
                self._open().execute("SELECT pg_advisory_lock_shared(%s)", [_key(account, "taken")])
                return
            for n in range(_MOST):
                if (account, n) not in self._mine and self._lock(account, f"{n}"):
                    self._mine.add((account, n))
                    return

    def _kept(self, account: str) -> tuple[int, int]:
        """Return how many hosts refused and took an account by what was kept. What is being read is told by locks."""
        at_work = living(self._open())
        row = (
            self._open()
            .execute(
                """
            SELECT count(*) FILTER (WHERE o.payload #>> '{trace,account,said}' = 'refused'
                                    AND NOT (i.status = 'reading' AND i.run_id = ANY(%(at_work)s))),
                   count(*) FILTER (WHERE o.payload #>> '{trace,account,said}' = 'taken')
            FROM ledger.asset_observations o JOIN ledger.inventories i ON i.id = o.inventory_id
            WHERE o.collected_date = %(date)s AND i.collected_date = %(date)s AND o.source_type = 'probe'
              AND o.payload #>> '{trace,account,name}' = %(account)s
              AND (%(runs)s::text[] IS NULL OR i.run_id = ANY(%(runs)s))
            """,
                {"date": self._date, "account": account, "runs": self._runs, "at_work": list(at_work)},
            )
            .fetchone()
        )
        return (0, 0) if row is None else (row[0], row[1])

    def _open(self) -> Connection:
        if self._connection is None:
            told = self._beside.info
            words = {**told.get_parameters(), "password": told.password, "application_name": self._name}
            made = psycopg.connect(make_conninfo(**words), autocommit=True)
            self._connection = self._stack.enter_context(made)
        return self._connection

    def _lock(self, account: str, what: str) -> bool:
        row = self._open().execute("SELECT pg_try_advisory_lock(%s)", [_key(account, what)]).fetchone()
        return row == (True,)

    def _free(self, account: str, what: str) -> bool:
        """Say whether no other session holds a lock."""
        if not self._lock(account, what):
            return False
        self._open().execute("SELECT pg_advisory_unlock(%s)", [_key(account, what)])
        return True


def _key(account: str, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"account {what} {account}".encode()).digest()[:8], "big", signed=True)
