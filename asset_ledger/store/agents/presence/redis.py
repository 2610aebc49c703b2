"""Beats in Redis, where several processes of the service share it. docs/presence.md lists the keys.

Whether a client is there is asked of one sorted set, `agent:heartbeats`; the other keys are for who looks. Redis' own
clock decides, and a key that expires tells nobody anything: silence is found by sweeping.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from asset_ledger.store.agents.presence import BackendAwayError, Beat, Silent, Timing

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

HEARTBEATS = "agent:heartbeats"
"""`TENANT:CLIENT` by the instant of its last beat."""
LEAVING = "agent:leaving"
"""Whom a sweep has taken out of HEARTBEATS and not yet written down: another one does, should this one die."""
PODS = "agent:pods"
"""The processes by the instant when they were last here."""
SWEEP = "agent:sweep"
EPOCH = "agent:epoch"
"""Changes when Redis has lost what it knew."""
SESSION_S = 7200
_ANSWER_S = 2.0
_PIECE = 500
_MOST = 1_000
# one step, so that a beat comes before it or after it, and is never lost in between
_TAKE = """
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #found, 2 do
    redis.call('ZADD', KEYS[2], found[i + 1], found[i])
    redis.call('ZREM', KEYS[1], found[i])
end
return #found / 2
"""
# a command of its own for each would cost this process more than Redis takes for it
_HEARD = """
local ttl, pod = ARGV[1], ARGV[2]
for i = 3, #ARGV, 5 do
    local key = 'client:' .. ARGV[i]
    redis.call('HSET', key, 'status', 'online', 'last_heartbeat', ARGV[i + 2], 'pod_id', pod,
               'connected_at', ARGV[i + 3], 'ip_address', ARGV[i + 4])
    redis.call('EXPIRE', key, ttl)
    if ARGV[i + 1] ~= '' then redis.call('SADD', 'user:' .. ARGV[i + 1] .. ':clients', ARGV[i]) end
    redis.call('SADD', 'pod:' .. pod .. ':connections', ARGV[i])
end
"""
_END_SESSION = """
if redis.call('HGET', KEYS[1], 'auth_time') == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class RedisPlace:
    """Redis, for one process. Everything raises BackendAwayError where it does not answer."""

    def __init__(self, url: str, pod_id: str, timing: Timing, clock: Callable[[], float]) -> None:
        self._url, self._pod_id, self._timing, self._clock = url, pod_id, timing, clock
        self._opened: Redis | None = None
        self._epoch: bytes | None = None
        self._run: str | None = None
        self._began_anew_at = float("-inf")
        self._lost = False
        self._connected: dict[UUID, int] = {}

    def flush(self, beats: Collection[Beat], arrived: Collection[Beat]) -> set[UUID]:
        """Write beats, and that this process is here; return those of `arrived` that nobody heard of late."""
        with self._asking() as redis:
            run = _run_of(redis)
            if self._run not in (None, run):
                self._lost, self._began_anew_at = True, self._clock()
            self._run = run
            unheard, ahead, left = self._looked_up(redis, list(arrived))
            every = list(beats)
            for start in range(0, max(1, len(every)), _PIECE):
                writing = redis.pipeline(transaction=False)
                self._write(writing, every[start : start + _PIECE], ahead)
                writing.execute()
            if left:
                leaving = redis.pipeline(transaction=False)
                for client_id, pod_id in left:
                    leaving.srem(f"pod:{pod_id}:connections", str(client_id))
                leaving.execute()
        return unheard

    def _looked_up(self, redis: Redis, arrived: Sequence[Beat]) -> tuple[set[UUID], float, list[tuple[UUID, str]]]:
        """Return who of them was not heard of late, how far Redis' clock is ahead, and from which processes they come."""
        asking = redis.pipeline(transaction=False)
        asking.time()
        asking.set(EPOCH, secrets.token_hex(8), nx=True)
        asking.get(EPOCH)
        for start in range(0, len(arrived), _PIECE):
            asking.zmscore(HEARTBEATS, [_member(beat) for beat in arrived[start : start + _PIECE]])
        for beat in arrived:
            asking.hmget(f"client:{beat.client_id}", ["pod_id", "connected_at"])
        (seconds, micros), _, epoch, *rest = asking.execute()
        self._lost = self._lost or self._epoch not in (None, epoch)
        self._epoch = epoch
        now = seconds + micros / 1e6
        ahead = now - self._clock()
        pieces = -(-len(arrived) // _PIECE)
        scores = [score for piece in rest[:pieces] for score in piece]
        unheard: set[UUID] = set()
        left: list[tuple[UUID, str]] = []
        for beat, score, (pod_id, connected_at) in zip(arrived, scores, rest[pieces:], strict=True):
            fresh = score is not None and score > now - self._timing.fresh_s
            if not fresh:
                unheard.add(beat.client_id)
            known = connected_at is not None and connected_at.isdigit()
            self._connected[beat.client_id] = int(connected_at) if fresh and known else int(beat.at + ahead)
            if pod_id and pod_id.decode() != self._pod_id:
                left.append((beat.client_id, pod_id.decode()))
        return unheard, ahead, left

    def _write(self, writing: Pipeline, beats: Sequence[Beat], ahead: float) -> None:
        writing.zadd(PODS, {self._pod_id: self._clock() + ahead})
        if not beats:
            return
        # two processes may write beats of one client: the newer one stands
        writing.zadd(HEARTBEATS, {_member(beat): beat.at + ahead for beat in beats}, gt=True)
        told: list[str | int] = [max(1, round(self._timing.ttl_s)), self._pod_id]
        for beat in beats:
            at = int(beat.at + ahead)
            connected_at = self._connected.setdefault(beat.client_id, at)
            told += (str(beat.client_id), str(beat.user_id or ""), at, connected_at, beat.ip or "")
        writing.eval(_HEARD, 0, *told)

    def steady(self) -> bool:
        """Say whether Redis has not begun anew of late: whoever hears somebody needs a moment to tell it again."""
        with self._asking() as redis:
            same = self._run in (None, _run_of(redis))
        return same and self._clock() - self._began_anew_at >= self._timing.gap_s

    def lost(self) -> bool:
        """Say, once, whether Redis has lost what it knew since it was asked before."""
        found, self._lost = self._lost, False
        return found

    def fresh(self, clients: Iterable[tuple[UUID, UUID]]) -> set[UUID]:
        """Return which clients, given with their tenants, were heard within the time that a beat holds."""
        asked = list(clients)
        if not asked:
            return set()
        with self._asking() as redis:
            since = self._now(redis) - self._timing.ttl_s
            scores: list[float | None] = redis.zmscore(HEARTBEATS, [f"{tenant}:{client}" for tenant, client in asked])
        return {client for (_, client), score in zip(asked, scores, strict=True) if score is not None and score > since}

    def forget(self, clients: Collection[UUID]) -> None:
        """Take clients off this process's list: they are heard by another one, or no more."""
        if not clients:
            return
        for client_id in clients:
            self._connected.pop(client_id, None)
        with self._asking() as redis:
            redis.srem(f"pod:{self._pod_id}:connections", *map(str, clients))

    def begin_sessions(self, sessions: Mapping[UUID, tuple[UUID | None, float]]) -> None:
        """Write who is connected by a WebSocket: whose they are, and when they were let in (seconds since 1970)."""
        if not sessions:
            return
        with self._asking() as redis:
            writing = redis.pipeline(transaction=False)
            for client_id, (user_id, at) in sessions.items():
                told: dict[Any, Any] = {
                    "user_id": str(user_id or ""),
                    "authenticated": "true",
                    "auth_time": f"{at:.3f}",
                }
                writing.hset(f"session:{client_id}", mapping=told)
                writing.expire(f"session:{client_id}", SESSION_S)
            writing.execute()

    def end_sessions(self, sessions: Iterable[tuple[UUID, float]]) -> None:
        """Take away sessions that began then, and not those that began since, with this process or another."""
        ended = list(sessions)
        if not ended:
            return
        with self._asking() as redis:
            writing = redis.pipeline(transaction=False)
            for client_id, at in ended:
                writing.eval(_END_SESSION, 1, f"session:{client_id}", f"{at:.3f}")
            writing.execute()

    # === Sweeping ===

    def lead(self) -> bool:
        """Say whether this process is the one that sweeps now."""
        with self._asking() as redis:
            held = int(self._timing.sweep_s * 900)
            return bool(redis.set(SWEEP, self._pod_id, nx=True, px=max(1, held)))

    def silent(self) -> list[Silent]:
        """Return of whom nothing was heard for too long. They stay to be returned until they are `settled`."""
        with self._asking() as redis:
            cutoff = self._now(redis) - self._timing.ttl_s
            redis.eval(_TAKE, 2, HEARTBEATS, LEAVING, repr(cutoff), _MOST)
            found = cast("list[tuple[bytes, float]]", redis.zrange(LEAVING, 0, _MOST - 1, withscores=True))
            if not found:
                return []
            back = redis.zmscore(HEARTBEATS, cast("list[str]", [member for member, _ in found]))
            silent, dropped = [], []
            for (member, at), again in zip(found, back, strict=True):
                one = _silent(member, at)
                if one is None or again is not None:
                    dropped.append(member)
                else:
                    silent.append(one)
            if dropped:
                redis.zrem(LEAVING, *dropped)
        return silent

    def settled(self, offline: Mapping[UUID, UUID | None], silent: Iterable[Silent]) -> None:
        """Forget who is written down as offline, given with whose they are."""
        done = [one for one in silent if one.client_id in offline]
        if not done:
            return
        with self._asking() as redis:
            writing = redis.pipeline(transaction=False)
            writing.zrem(LEAVING, *(f"{one.tenant_id}:{one.client_id}" for one in done))
            for one in done:
                if user_id := offline[one.client_id]:
                    writing.srem(f"user:{user_id}:clients", str(one.client_id))
            writing.execute()

    def bury(self) -> int:
        """Take away the lists of processes that were not here for too long; return how many there were."""
        with self._asking() as redis:
            cutoff = self._now(redis) - self._timing.ttl_s
            dead = cast("list[bytes]", redis.zrangebyscore(PODS, "-inf", cutoff))
            for pod_id in dead:
                redis.delete(f"pod:{pod_id.decode()}:connections")
                redis.zrem(PODS, pod_id)
        return len(dead)

    # === The connection ===

    def close(self) -> None:
        """Take this process off the lists and close. Redis need not answer."""
        import redis

        if self._opened is None:
            return
        with suppress(BackendAwayError), self._asking() as asked:  # else somebody buries it
            asked.delete(f"pod:{self._pod_id}:connections")
            asked.zrem(PODS, self._pod_id)
        with suppress(redis.RedisError):
            self._opened.close()

    def _now(self, redis: Redis) -> float:
        seconds, micros = redis.time()
        return float(seconds + micros / 1e6)

    @contextmanager
    def _asking(self) -> Iterator[Redis]:
        from redis import RedisError

        try:
            yield self._redis()
        # a server that answers with an error (full, read-only, another password) is as good as none
        except (RedisError, OSError) as error:
            raise BackendAwayError(f"{type(error).__name__}: {error}") from None

    def _redis(self) -> Redis:
        if self._opened is None:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry

            options: dict[str, Any] = {
                "socket_timeout": _ANSWER_S,
                "socket_connect_timeout": _ANSWER_S,
                "client_name": "asset_ledger",
                # what to do meanwhile is known here: no time is lost with trying again
                "retry": Retry(NoBackoff(), 0),
                "protocol": 2,
            }
            self._opened = redis.Redis.from_url(self._url, **options)
        return self._opened


def _run_of(redis: Redis) -> str | None:
    """Return which run of Redis answers: after another one began, what it remembers may be old, its epoch too."""
    from redis.exceptions import NoPermissionError

    try:
        found: str | None = redis.info("server").get("run_id")
    except NoPermissionError:  # then the epoch alone tells
        return None
    return found


def _member(beat: Beat) -> str:
    return f"{beat.tenant_id}:{beat.client_id}"


def _silent(member: bytes, at: float) -> Silent | None:
    tenant, _, client = member.decode("ascii", "replace").partition(":")
    try:
        return Silent(UUID(tenant), UUID(client), at)
    except ValueError:  # nothing of ours
        return None
