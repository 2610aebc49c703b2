"""What was asked of the double: method, session, sizes. Never a body, and so never a secret. Thread-safe."""

from __future__ import annotations

import fnmatch
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Request:
    """One request. `status` is None until it is answered, and stays so where the connection was cut."""

    name: str  # the SOAP method, or "GET /path"
    this: str
    session: str  # the first characters of the session's key
    connection: int
    received: int  # bytes
    started: float = field(default_factory=time.monotonic)
    status: int | None = None
    sent: int = 0  # bytes of the body
    paths: tuple[str, ...] = ()
    max_objects: int | None = None


class RequestLog:
    """The requests in the order in which they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: list[Request] = []

    def append(self, request: Request) -> None:
        with self._lock:
            self._rows.append(request)

    def clear(self) -> None:
        with self._lock:
            self._rows.clear()

    def all(self, match: str = "*") -> list[Request]:
        """Return the requests whose name matches ("RetrieveProp*", "GET *")."""
        with self._lock:
            return [row for row in self._rows if fnmatch.fnmatchcase(row.name, match)]

    def count(self, match: str = "*") -> int:
        return len(self.all(match))

    def names(self) -> list[str]:
        return [row.name for row in self.all()]

    def sessions(self) -> int:
        """Return how many sessions asked."""
        return len({row.session for row in self.all() if row.session})

    def __iter__(self) -> Iterator[Request]:
        return iter(self.all())

    def __len__(self) -> int:
        return self.count()
