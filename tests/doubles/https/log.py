"""What was asked of a double: who, what, when, what came of it. Never a body, and so never a secret. Thread-safe."""

from __future__ import annotations

import fnmatch
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar


@dataclass(kw_only=True)
class Request:
    """One request. `status` is None until it is answered, and stays so where the connection was cut."""

    name: str  # what tests match it by
    connection: int
    received: int = 0  # bytes of the body that was asked with
    sent: int = 0  # bytes of the body that was answered with
    started: float = field(default_factory=time.monotonic)
    finished: float | None = None  # just before the last byte left: whoever has the answer finds it set
    status: int | None = None

    def is_meant(self, match: str) -> bool:
        """Say whether a match is about this request: its name as a glob, unless a double has a way of its own."""
        return fnmatch.fnmatchcase(self.name, match)


R = TypeVar("R", bound=Request)


class RequestLog(Generic[R]):
    """The requests in the order in which they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: list[R] = []

    def append(self, request: R) -> None:
        with self._lock:
            self._rows.append(request)

    def clear(self) -> None:
        with self._lock:
            self._rows.clear()

    def all(self, match: str | None = None) -> list[R]:
        """Return the requests that match, as faults do; None: all."""
        with self._lock:
            rows = list(self._rows)
        return rows if match is None else [row for row in rows if row.is_meant(match)]

    def count(self, match: str | None = None) -> int:
        return len(self.all(match))

    def names(self) -> list[str]:
        return [row.name for row in self.all()]

    def connections(self, match: str | None = None) -> int:
        """Return on how many connections the matching requests came."""
        return len({row.connection for row in self.all(match)})

    def peak(self, match: str | None = None) -> int:
        """Return how many matching requests were under way at once, at most."""
        edges: list[tuple[float, int]] = []
        for row in self.all(match):
            edges += [(row.started, 1), (row.finished if row.finished is not None else float("inf"), -1)]
        most = now = 0
        for _, step in sorted(edges):
            now += step
            most = max(most, now)
        return most

    def __iter__(self) -> Iterator[R]:
        return iter(self.all())

    def __len__(self) -> int:
        return self.count()
