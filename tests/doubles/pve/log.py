"""What was asked: every request with who asked and what was answered. Never a secret."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.doubles.pve.faults import matches


@dataclass
class Request:
    """One request. `status` is None until it is answered, and stays so where the connection was cut."""

    method: str
    path: str  # without the prefix
    query: str
    connection: int
    started: float = field(default_factory=time.monotonic)
    finished: float | None = None
    user: str | None = None  # user@realm or user@realm!token
    status: int | None = None


class RequestLog:
    """The requests in the order in which they came; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: list[Request] = []

    def append(self, request: Request) -> None:
        with self._lock:
            self._rows.append(request)

    def clear(self) -> None:
        with self._lock:
            self._rows.clear()

    def all(self, match: str = "* *") -> list[Request]:
        """Return the requests that match ("GET /nodes/*/qemu")."""
        with self._lock:
            rows = list(self._rows)
        return [row for row in rows if matches(match, row.method, row.path, row.query)]

    def count(self, match: str = "* *") -> int:
        return len(self.all(match))

    def connections(self, match: str = "* *") -> int:
        """Return on how many connections the matching requests came."""
        return len({row.connection for row in self.all(match)})

    def peak(self, match: str = "* *") -> int:
        """Return how many matching requests were under way at once, at most."""
        edges: list[tuple[float, int]] = []
        for row in self.all(match):
            edges += [(row.started, 1), (row.finished if row.finished is not None else float("inf"), -1)]
        most = now = 0
        for _, step in sorted(edges):
            now += step
            most = max(most, now)
        return most

    def __iter__(self) -> Iterator[Request]:
        return iter(self.all())

    def __len__(self) -> int:
        return self.count()
