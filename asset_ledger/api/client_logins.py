"""Whose a client's token is, remembered by this process: a beat must not ask the database who it is of.

What is remembered is dropped as soon as the database tells that a login may have ended. While nothing can be heard of
that, it holds for a minute; and for some ten minutes in any case. Of a token only its hash is kept.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from uuid import UUID

from asset_ledger.domain.errors import DATABASE_UNAVAILABLE, LedgerError, RetryableError
from asset_ledger.store.agents import bell
from asset_ledger.store.agents.clients import TOKEN_PREFIX, Holder, hashed, holder
from asset_ledger.store.database import Connection

HOLDS_S = 600.0
DEAF_S = 60.0
"""How long it is remembered while nothing is heard."""
_AGAIN_S = 60.0
_ANSWER_S = 5.0
"""How long the database may take to tell whose a token is."""
_AWAY_S = 2.0
_MOST = 200_000
_TENANT = "tenant:"


@dataclass(slots=True)
class _Kept:
    holder: Holder
    asked_at: float
    until: float


class ClientLogins:
    """The logins that one process remembers. It begins to listen when it is first asked."""

    def __init__(self, lend: Callable[[], AbstractContextManager[Connection]], database_url: str) -> None:
        self._lend, self._database_url = lend, database_url
        self._kept: dict[bytes, _Kept] = {}
        self._of_client: dict[UUID, set[bytes]] = {}
        self._lock = threading.Lock()
        self._dropped = 0
        self._hears = False
        self._away_until = float("-inf")
        self._stopping = threading.Event()
        self._listening: threading.Thread | None = None

    def hit(self, token: str) -> Holder | None:
        """Return whose token this is, if that is remembered. Nothing waits."""
        kept = self._kept.get(hashed(token))
        return kept.holder if kept is not None and kept.until > monotonic() else None

    def find(self, token: str) -> Holder | None:
        """Return whose token this is; None of one that holds no more. It may wait.

        Raises RetryableError where the database does not answer.
        """
        return self.hit(token) or self.find_anew(token)

    def find_anew(self, token: str) -> Holder | None:
        """Return whose token this is as the database knows it now. Otherwise as `find`."""
        if not token.startswith(TOKEN_PREFIX):
            return None
        self._listen()
        if monotonic() < self._away_until:  # everybody's waiting would take all threads
            raise RetryableError(DATABASE_UNAVAILABLE, "it did not answer a moment ago")
        digest = hashed(token)
        with self._lock:
            before = self._dropped
        try:
            with self._lend() as connection, connection.transaction():
                connection.execute("SELECT set_config('statement_timeout', %s, true)", [f"{_ANSWER_S * 1000:.0f}"])
                found = holder(connection, digest)
        except LedgerError:
            self._away_until = monotonic() + _AWAY_S
            raise
        with self._lock:
            self._drop([digest])
            # what is told while the database is asked may be about this one
            if found is not None and before == self._dropped:
                self._keep(digest, found)
        return found

    def due(self, token: str) -> bool:
        """Say whether it may be worth asking anew what a client said last: another process may have taken it."""
        kept = self._kept.get(hashed(token))
        return kept is None or monotonic() - kept.asked_at > _AGAIN_S

    def reported(self, client_id: UUID, payload_sha256: bytes) -> None:
        """Take what a client said last."""
        with self._lock:
            for digest in self._of_client.get(client_id, ()):
                self._kept[digest].holder.payload_sha256 = payload_sha256

    def forget(self, client_id: UUID) -> None:
        """Drop a client's logins."""
        with self._lock:
            self._dropped += 1
            self._drop(list(self._of_client.get(client_id, ())))

    def stop(self) -> None:
        """Listen no more."""
        self._stopping.set()
        if self._listening is not None:
            self._listening.join(10)

    def _keep(self, digest: bytes, found: Holder) -> None:
        now = monotonic()
        if len(self._kept) >= _MOST:
            self._drop([key for key, kept in self._kept.items() if kept.until <= now] or list(self._kept))
        # not all of those that came at once are asked for at once
        holds_s = (HOLDS_S if self._hears else DEAF_S) * random.uniform(0.8, 1.0)  # noqa: S311
        if found.expires_at is not None:
            holds_s = min(holds_s, (found.expires_at - datetime.now(UTC)).total_seconds())
        self._kept[digest] = _Kept(found, now, now + holds_s)
        self._of_client.setdefault(found.client_id, set()).add(digest)

    def _drop(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            if (kept := self._kept.pop(digest, None)) is not None:
                of = self._of_client[kept.holder.client_id]
                of.discard(digest)
                if not of:
                    del self._of_client[kept.holder.client_id]

    def _listen(self) -> None:
        with self._lock:
            if self._listening is None and not self._stopping.is_set():
                self._listening = threading.Thread(target=self._listened, name="client-logins", daemon=True)
                self._listening.start()

    def _listened(self) -> None:
        while not self._stopping.is_set():
            try:
                for told in bell.heard(self._database_url):
                    if self._stopping.is_set():
                        return
                    if not self._hears:  # before, anything may have been told
                        self._forget_all(hears=True)
                    if told is not None:
                        self._heard(told)
            except LedgerError as error:
                if self._hears:
                    logging.getLogger(__name__).warning("clients' logins are remembered for a minute: %s", error)
                self._forget_all(hears=False)
            self._stopping.wait(1.0)

    def _forget_all(self, *, hears: bool) -> None:
        with self._lock:
            self._dropped += 1
            self._kept.clear()
            self._of_client.clear()
            self._hears = hears

    def _heard(self, told: str) -> None:
        tenant = told.startswith(_TENANT)
        try:
            whose = UUID(told.removeprefix(_TENANT))
        except ValueError:  # of another release
            self._forget_all(hears=True)
            return
        if not tenant:
            self.forget(whose)
            return
        with self._lock:
            self._dropped += 1
            self._drop([key for key, kept in self._kept.items() if kept.holder.tenant_id == whose])
