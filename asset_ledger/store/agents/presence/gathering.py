"""Beats from the moment they are heard until they are written: to Redis, or to the table where there is none.

`hear` costs its caller a list's `append`; `flush` writes what came since, in one batch. What is told to one place while
the other is away is told to that one too, whole, when it is back. Who came is left for `keeping` to write down.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from uuid import UUID

import psycopg

from asset_ledger.domain.errors import LedgerError
from asset_ledger.store.agents.presence import BackendAwayError, Beat, Timing
from asset_ledger.store.agents.presence.redis import SESSION_S, RedisPlace
from asset_ledger.store.agents.presence.table import TablePlace
from asset_ledger.store.database import Connection

_MOST_ENDED = 100_000


@dataclass(slots=True)
class Known:
    """A client that this process heard. `noted_at`: when it last wrote that down, by its monotonic clock."""

    beat: Beat
    noted_at: float


class Gathering:
    """The beats of one process. `flush` is for one thread; `known` is changed by that one alone."""

    def __init__(
        self,
        lend: Callable[[], AbstractContextManager[Connection]],
        redis: RedisPlace | None,
        pod_id: str,
        timing: Timing,
        failed: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.redis, self._timing, self._failed, self._clock = redis, timing, failed, clock
        self._table = TablePlace(lend, pod_id, timing, clock)
        self.redis_up, self.table_up = redis is not None, True
        self.known: dict[UUID, Known] = {}
        self.came: deque[Beat] = deque()
        self._heard: deque[Beat] = deque()
        self._pending: dict[UUID, Beat] = {}
        self._arrived: dict[UUID, Beat] = {}
        # whether a place missed something, and when it was last written to
        self._behind = {"redis": False, "table": False}
        self._wrote_at = {"redis": float("-inf"), "table": float("-inf")}
        self._beats_at = self._pruned_at = self._look_again_at = clock()
        self.sessions: dict[UUID, tuple[UUID | None, float]] = {}
        self._begun: deque[UUID] = deque(maxlen=_MOST_ENDED)
        self._ended: deque[tuple[UUID, float]] = deque(maxlen=_MOST_ENDED)
        self._sessions_at = clock()

    def hear(self, tenant_id: UUID, client_id: UUID, user_id: UUID | None, ip: str | None) -> None:
        """Take a sign of life. It never waits; from any thread."""
        self._heard.append(Beat(tenant_id, client_id, user_id, self._clock(), ip))

    def opened(self, client_id: UUID, user_id: UUID | None) -> float:
        """Take that a client is connected; return what `closed` is told. From one thread."""
        at = round(time.time(), 3)
        self.sessions[client_id] = (user_id, at)
        self._begun.append(client_id)
        return at

    def closed(self, client_id: UUID, at: float) -> None:
        """Take that a connection ended. Its client is not gone by that: it may be about to connect elsewhere."""
        if self.sessions.get(client_id, (None, 0.0))[1] == at:
            del self.sessions[client_id]
        self._ended.append((client_id, at))

    def flush(self, *, last: bool = False) -> None:
        """Write what was heard since the last time, where that is due; in any case where it is the `last` time."""
        now = self._clock()
        self._gather(now)
        self._prune(now)
        if self.redis is not None and (self.redis_up or now >= self._look_again_at):
            # also without beats: that this process is here, and whether Redis still knows what it was told
            quiet = not self._pending and not self._begun and not self._ended
            if quiet and self.redis_up and now - self._wrote_at["redis"] < self._timing.table_s:
                return
            if self._write_redis(self.redis, now):
                return
        if self._pending and (last or now - self._wrote_at["table"] >= self._timing.table_s):
            self._write_table(now)

    def _gather(self, now: float) -> None:
        while self._heard:
            beat = self._heard.popleft()
            known = self.known.get(beat.client_id)
            if known is None or beat.at - known.beat.at > self._timing.fresh_s:
                self._arrived[beat.client_id] = beat
            if known is None:
                # when another process noted it is not known here: it is noted at some time of the next round
                noted_at = now - random.uniform(0, self._timing.note_s)  # noqa: S311
                self.known[beat.client_id] = Known(beat, noted_at)
            else:
                known.beat = beat
            self._pending[beat.client_id] = beat

    def _prune(self, now: float) -> None:
        """Forget who is silent. The sweep, or another process that hears them, knows more."""
        if now - self._pruned_at < self._timing.ttl_s / 8:
            return
        self._pruned_at = now
        over = [key for key, known in self.known.items() if now - known.beat.at > self._timing.ttl_s]
        for client_id in over:
            del self.known[client_id]
            self._pending.pop(client_id, None)
            self._arrived.pop(client_id, None)
        if self.redis is not None and self.redis_up:
            try:
                self.redis.forget(over)
            except BackendAwayError as error:
                self._is_away(error)

    def _write_redis(self, redis: RedisPlace, now: float) -> bool:
        try:
            self._flush_to("redis", redis.flush, now)
            if redis.lost():
                self._behind["redis"] = True
                self._sessions_at = float("-inf")
                self._flush_to("redis", redis.flush, now)
            self._write_sessions(redis, now)
        except BackendAwayError as error:
            self._is_away(error)
            return False
        if not self.redis_up:
            logging.getLogger(__name__).warning("Redis answers again: presence is kept there")
            self.redis_up = True
        return True

    def _is_away(self, error: BackendAwayError) -> None:
        self._failed("redis")
        self._behind["redis"] = True
        self._look_again_at = self._clock() + self._timing.retry_s
        self._sessions_at = float("-inf")
        if self.redis_up:
            self.redis_up = False
            logging.getLogger(__name__).warning("presence is kept in the database: Redis is away: %s", error)
            # at once and whole: who sweeps the table must not miss whom Redis knew
            self._behind["table"] = True
            self._wrote_at["table"] = float("-inf")
            self._pending = self._everybody()

    def _write_table(self, now: float) -> None:
        try:
            self._flush_to("table", self._table.flush, now)
            self.table_up = True
        except (LedgerError, psycopg.Error) as error:
            if self.table_up:
                logging.getLogger(__name__).warning("beats wait until the database takes them: %s", error)
            self.table_up = False
            self._wrote_at["table"] = now
            self._failed("table")

    def _flush_to(
        self, place: str, write: Callable[[Collection[Beat], Collection[Beat]], set[UUID]], now: float
    ) -> None:
        beats = self._everybody() if self._behind[place] else self._pending
        # after a time in which nothing was written, somebody may have taken any of them for gone
        arrived = beats if now - self._beats_at > self._timing.fresh_s else self._arrived
        unheard = write(beats.values(), arrived.values())
        self.came.extend(arrived[client_id] for client_id in unheard)
        if beats:
            self._beats_at = now
        self._pending, self._arrived = {}, {}
        self._behind = {"redis": place != "redis", "table": place != "table"}
        self._wrote_at[place] = now

    def _everybody(self) -> dict[UUID, Beat]:
        return {client_id: known.beat for client_id, known in self.known.items()}

    def _write_sessions(self, redis: RedisPlace, now: float) -> None:
        begun = {self._begun.popleft() for _ in range(len(self._begun))}
        every = self.sessions.copy()
        if now - self._sessions_at > SESSION_S / 4:
            begun, self._sessions_at = set(every), now
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        try:
            redis.begin_sessions({client_id: every[client_id] for client_id in begun if client_id in every})
            redis.end_sessions(ended)
        except BackendAwayError:
            self._ended.extendleft(ended)
            raise
