"""What a process of the service does for presence: it takes beats, has them written, and writes who came and who went.

Two threads, so that a slow database holds up no beats: one flushes, the other keeps clients' status. What cannot be
written now is written later. Who is silent is found by whichever process sweeps first; what a sweep says is written by
one alone (`transitions`).
"""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import psycopg

from asset_ledger.domain.errors import LedgerError
from asset_ledger.store.agents.presence import USUAL, BackendAwayError, Beat, Timing, table, transitions
from asset_ledger.store.agents.presence.gathering import Gathering
from asset_ledger.store.agents.presence.redis import RedisPlace
from asset_ledger.store.database import Connection

_UNSEEN = 500
_ROUNDS = 100
"""How many full batches of silent clients one sweep takes before it lets others have a turn."""
_LOOKED_AT = 10_000
"""Of how many clients that are heard one sweep asks whether they count as offline; the others' turn is next."""
_STOP_S = 15.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with presence in this process. `redis` is None where none is configured."""

    heard: int
    sessions: int
    redis: bool | None
    table: bool


class Presence:
    """Presence, for one process. Nothing is opened before `start`."""

    def __init__(
        self,
        lend: Callable[[], AbstractContextManager[Connection]],
        redis_url: str | None = None,
        timing: Timing = USUAL,
        failed: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timing = timing
        # not the host's name alone: several processes may share it, and one that died has a list of its own
        self.pod_id = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._lend, self._clock = lend, clock
        redis = None if redis_url is None else RedisPlace(redis_url, self.pod_id, timing, clock)
        self._gathering = Gathering(lend, redis, self.pod_id, timing, failed, clock)
        # what is heard goes straight there
        self.beat, self.opened, self.closed = self._gathering.hear, self._gathering.opened, self._gathering.closed
        self._swept_at = self._unseen_at = float("-inf")
        self._to_look_at: list[UUID] = []
        self._trouble = ""
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def standing(self) -> Standing:
        """Return how it stands, for metrics."""
        at = self._gathering
        return Standing(
            len(at.known), len(at.sessions), None if at.redis is None else at.redis_up, at.redis_up or at.table_up
        )

    def start(self) -> None:
        """Begin to write and to sweep."""
        flush = self._gathering.flush
        for name, work, end, every_s in (
            ("presence-flush", flush, partial(flush, last=True), self.timing.flush_s),
            ("presence-keep", self.keep, self.note_arrivals, min(1.0, self.timing.sweep_s)),
        ):
            thread = threading.Thread(target=self._run, args=(work, end, every_s), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Write what there is, and end. Whom this process heard is heard by another, or offline after a while."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_STOP_S)
        if self._gathering.redis is not None:
            self._gathering.redis.close()

    def _run(self, work: Callable[[], None], end: Callable[[], None], every_s: float) -> None:
        while not self._stopping.wait(every_s):
            work()
        end()

    def keep(self) -> None:
        """Write who came and, where it is due, who went and when who is there was last seen. For one thread."""
        self.note_arrivals()
        now = self._clock()
        if now - self._swept_at >= self.timing.sweep_s:
            self._swept_at = now
            self._try("the sweep", self.sweep)
            self._try("who is offline and heard", self._note_mistaken)
            known = list(self._gathering.known.values())
            self._note([one.beat for one in known if now - one.noted_at > self.timing.note_s])

    def note_arrivals(self) -> None:
        """Write who came: a client that no process heard of late."""
        came = self._gathering.came
        self._note([came.popleft() for _ in range(len(came))])

    def _note(self, beats: Collection[Beat]) -> None:
        """Write that clients are there; those that cannot be written come again."""
        now, known = self._clock(), self._gathering.known
        latest = {beat.client_id: known[beat.client_id].beat for beat in beats if beat.client_id in known}
        # who was silent since is the sweep's
        left = {key: beat for key, beat in latest.items() if now - beat.at < self.timing.fresh_s}

        def write() -> None:
            with self._lend() as connection:
                for tenant_id, some in list(transitions.chunks(left.values())):
                    transitions.seen(connection, tenant_id, some, self._clock(), self.pod_id)
                    for beat in some:
                        del left[beat.client_id]
                        if beat.client_id in known:
                            known[beat.client_id].noted_at = now

        if left and not self._try("who came", write):
            self._gathering.came.extend(left.values())

    def _note_mistaken(self) -> None:
        """Write that clients are there which are heard here and count as offline.

        Another process took them for gone: by a Redis that forgot, or while this one could not reach the database.
        """
        known, now = self._gathering.known, self._clock()
        if not self._to_look_at:
            self._to_look_at = list(known)
        turn, self._to_look_at = self._to_look_at[:_LOOKED_AT], self._to_look_at[_LOOKED_AT:]
        beats = [one.beat for one in map(known.get, turn) if one is not None]
        # one that is about to be taken for gone rightly is left alone
        heard = {beat.client_id: beat for beat in beats if now - beat.at < self.timing.fresh_s}
        if not heard:
            return
        with self._lend() as connection:
            mistaken = transitions.offline(connection, [(beat.tenant_id, beat.client_id) for beat in heard.values()])
        self._note([heard[client_id] for client_id in mistaken])

    def sweep(self) -> None:
        """Write who went, if it is this process's turn. Raises what the database or Redis raises.

        Nobody is taken for gone by a silence in which nobody was listening.
        """
        redis = self._gathering.redis
        if redis is not None and self._gathering.redis_up:
            self._sweep_redis(redis)
            return
        with self._lend() as connection:
            # others still have Redis: they know whom they hear, and look into the table too
            if redis is not None and table.swept_ago(connection, "redis") < self.timing.gap_s:
                return
            if table.swept(connection, "table", self.timing) < self.timing.ttl_s:
                return
            for _ in range(_ROUNDS):
                if table.sweep(connection, self.timing) < table.MOST:
                    break
            self._write_unseen(connection, None)

    def _sweep_redis(self, redis: RedisPlace) -> None:
        if not redis.lead():
            return
        with self._lend() as connection:
            if table.swept(connection, "redis", self.timing) < self.timing.ttl_s:
                return
            if not redis.steady():
                return
            for _ in range(_ROUNDS):
                written = 0
                for tenant_id, some in transitions.chunks(redis.silent()):
                    offline = transitions.gone(connection, tenant_id, some, self.timing.ttl_s)
                    redis.settled(offline, some)
                    written += len(offline)
                if not written:
                    break
            # of a process that does without Redis, or did
            table.sweep(connection, self.timing, redis.fresh)
            redis.bury()
            self._write_unseen(connection, redis)

    def _write_unseen(self, connection: Connection, redis: RedisPlace | None) -> None:
        """Write who went and whom no place knows any more: it was lost together with the process that heard them."""
        now = self._clock()
        if now - self._unseen_at < self.timing.note_s / 10:
            return
        self._unseen_at = now
        silent = transitions.unseen(connection, self.timing.note_s + 2 * self.timing.ttl_s, _UNSEEN)
        heard: set[UUID] = set()
        if redis is not None:
            heard = redis.fresh((one.tenant_id, one.client_id) for one in silent)
        for tenant_id, some in transitions.chunks(one for one in silent if one.client_id not in heard):
            transitions.gone(connection, tenant_id, some, self.timing.ttl_s)

    def _try(self, what: str, work: Callable[[], None]) -> bool:
        """Do what the database or Redis may refuse now; say so once, and return whether it was done."""
        try:
            work()
        except (LedgerError, psycopg.Error, BackendAwayError) as error:
            if self._trouble != type(error).__name__:
                self._trouble = type(error).__name__
                logging.getLogger(__name__).warning("presence: %s is written later: %s", what, error)
            return False
        self._trouble = ""
        return True
