"""What the requests of one service process share. Nothing is opened before `start`."""

from __future__ import annotations

import os
from asyncio import get_running_loop
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network, ip_address
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import TypeVar

from asset_ledger.api.client_logins import ClientLogins
from asset_ledger.api.export_places import ExportPlaces
from asset_ledger.api.figures import Figures
from asset_ledger.api.provider_keys import ProviderKeys
from asset_ledger.domain.errors import DATABASE_UNAVAILABLE, RetryableError
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.store.agents.presence import USUAL, Timing
from asset_ledger.store.agents.presence.keeping import Presence
from asset_ledger.store.database import Connection
from asset_ledger.store.pool import Pool

_T = TypeVar("_T")
_NAMES = 5
"""How many times the limit of one name an address may fail, over all names."""
_BUCKETS = 10_000
"""From how many on it is looked which are over."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one may ask for. Sizes in bytes, times in seconds. `failed_logins` of one name from one address.

    `exports` run at once in a process, of one tenant `exports_of_one`; one takes up to `export_s`, and its client takes
    something of it every `export_stall_s`.
    """

    body_bytes: int = 64 << 20
    connections: int = 10
    wait_s: float = 10.0
    failed_logins: int = 10
    failed_within_s: float = 300.0
    binary_bytes: int = 512 << 20
    exports: int = 4
    exports_of_one: int = 2
    export_s: int = 600
    export_stall_s: float = 60.0


class FailedLogins:
    """Who failed to log in with a password too often, by address and name. One process counts for itself.

    A try is counted before it is checked, so that many at once are no more than as many one by one, and forgiven when
    it was right. What counts is never dropped early: how many there are is bounded by how many can be checked.
    """

    def __init__(self, most: int, within_s: float) -> None:
        self._most, self._within_s = most, within_s
        self._tries: dict[tuple[str, str], deque[float]] = {}
        self._look_at = _BUCKETS
        self._lock = Lock()

    def begin(self, address: str | None, name: str) -> float:
        """Count a try and return 0; or count none and return the seconds until one is allowed."""
        now = monotonic()
        with self._lock:
            asked = self._asked(address, name)
            if wait := max(self._left(key, most, now) for key, most in asked):
                return wait
            for key, _ in asked:
                self._tries.setdefault(key, deque()).append(now)
            if len(self._tries) > self._look_at:
                self._tries = {key: times for key, times in self._tries.items() if now - times[-1] <= self._within_s}
                self._look_at = max(_BUCKETS, 2 * len(self._tries))
        return 0.0

    def forgive(self, address: str | None, name: str) -> None:
        """Take back the newest try: it was right, or it was not checked."""
        with self._lock:
            for key, _ in self._asked(address, name):
                times = self._tries.get(key)
                if times:
                    times.pop()
                if not times:
                    self._tries.pop(key, None)

    def _asked(self, address: str | None, name: str) -> tuple[tuple[tuple[str, str], int], ...]:
        place = network_of(address)
        return ((place, name), self._most), ((place, ""), self._most * _NAMES)

    def _left(self, key: tuple[str, str], most: int, now: float) -> float:
        times = self._tries.get(key)
        if times is None:
            return 0.0
        while times and now - times[0] > self._within_s:
            times.popleft()
        return 0.0 if len(times) < most else times[0] + self._within_s - now + 0.001


def network_of(address: str | None) -> str:
    """Return what one client can choose its address from: an IPv4 address, or an IPv6 network of 64 bits."""
    if address is None:
        return ""
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is None:
            return str(IPv6Network((int(found) >> 64 << 64, 64)))
        found = found.ipv4_mapped
    return str(found)


class PasswordChecks:
    """Where passwords are checked: threads of their own, few, and few who wait.

    A check costs 64 MiB and a tenth of a second of several cores. A crowd of guesses waits for itself alone, never in
    the threads and connections that everybody else is served by.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._most = at_once + waiting
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="password")
        self._inside = 0

    async def run(self, check: Callable[[], _T]) -> _T | None:
        """Return what a check returns; None, at once, where too many wait already. Called in the event loop alone."""
        if self._inside >= self._most:
            return None
        self._inside += 1
        try:
            return await get_running_loop().run_in_executor(self._threads, check)
        finally:
            self._inside -= 1

    def stop(self) -> None:
        """End the threads when they are done."""
        self._threads.shutdown(cancel_futures=True)


@dataclass
class Service:
    """The service over one ledger database."""

    database_url: str = field(repr=False)
    ring: KeyRing = field(repr=False)
    limits: Limits = Limits()
    agent_binaries: Path | None = None
    redis_url: str | None = field(default=None, repr=False)
    timing: Timing = USUAL

    def __post_init__(self) -> None:
        self.failed_logins = FailedLogins(self.limits.failed_logins, self.limits.failed_within_s)
        self.figures = Figures()
        self.provider_keys = ProviderKeys()
        self.export_places = ExportPlaces(self.limits.exports, self.limits.exports_of_one)
        self.passwords = PasswordChecks(max(1, min(4, (os.cpu_count() or 1) // 2)), waiting=8)
        self._pool = Pool(self.database_url, most=self.limits.connections, wait_s=self.limits.wait_s)
        self.client_logins = ClientLogins(self.connection, self.database_url)
        self.presence = Presence(self.connection, self.redis_url, self.timing, self.figures.flush_failed)
        self.figures.watch(self.presence.standing)

    def start(self) -> None:
        """Begin to open connections. Neither the database nor Redis need answer yet."""
        self._pool.start()
        self.presence.start()

    def stop(self) -> None:
        """Close every connection."""
        self.passwords.stop()
        self.provider_keys.stop()
        self.presence.stop()
        self.client_logins.stop()
        self._pool.stop()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection, in autocommit mode and as the service's role. It raises RetryableError."""
        try:
            with self._pool.connection() as connection:
                yield connection
        except RetryableError as error:
            if error.code is DATABASE_UNAVAILABLE:
                self.figures.database_failed()
            raise
