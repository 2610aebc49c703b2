"""What can go wrong on the wire, told once and met by the requests it matches. Also motion between two requests.

A match is "METHOD /path", the path as a glob without the prefix ("GET /nodes/*/qemu/*/config"); "*" as the method
matches any, and "?type=vm" at the end asks for that text in the query.
"""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tests.doubles.pve.state import Cluster

Kind = Literal[
    "status",  # this status, reason, headers and body in place of the answer
    "truncated_json",  # half of the JSON, with a Content-Length that fits the half
    "short_body",  # half of the body, then the connection closes
    "html",  # 200 with a page
    "json",  # 200 with `body` as JSON, whatever its shape
    "stall_before",  # the answer comes `seconds` late
    "stall_inside",  # half of the body, `seconds` of silence, the rest
    "trickle",  # the body byte by byte over `seconds`: no single read times out
    "redirect",  # 302 to headers["Location"], or back to the entry page
    "reset",  # the connection is reset
    "close",  # the connection closes without an answer
    "no_reason",  # the true answer, the text in the status line left out, as HTTP/2 in front does
    "error_in_200",  # 200 whose result is an agent's error
]


def matches(match: str, method: str, path: str, query: str = "") -> bool:
    """Say whether a request is meant."""
    wanted_method, _, wanted = match.partition(" ")
    wanted_path, _, wanted_query = wanted.partition("?")
    return wanted_method in {"*", method} and fnmatch.fnmatchcase(path, wanted_path) and wanted_query in query


@dataclass
class Fault:
    """One fault. `times` None is for ever; the first `after` matching requests are spared."""

    match: str
    kind: Kind
    times: int | None = 1
    after: int = 0
    status: int = 500
    reason: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    seconds: float = 30.0
    seen: int = 0
    hits: int = 0


@dataclass
class Motion:
    """Something that happens to the cluster once a request has been answered."""

    match: str
    action: Callable[[Cluster], object]
    times: int | None = 1
    after: int = 0
    seen: int = 0
    hits: int = 0


class Registry:
    """The faults and motions of one double."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.faults: list[Fault] = []
        self.motions: list[Motion] = []

    def add(self, match: str, kind: Kind, **said: Any) -> Fault:
        """Add a fault: times=1, after=0, status=, reason=, headers=, body=, seconds=."""
        if kind not in get_args(Kind):
            raise ValueError(f"no such fault: {kind}")
        fault = Fault(match, kind, **said)
        with self._lock:
            self.faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget every fault and motion."""
        with self._lock:
            self.faults.clear()
            self.motions.clear()

    def on(self, match: str, action: Callable[[Cluster], object], *, times: int | None = 1, after: int = 0) -> Motion:
        motion = Motion(match, action, times, after)
        with self._lock:
            self.motions.append(motion)
        return motion

    def _due(self, said: Fault | Motion, method: str, path: str, query: str) -> bool:
        if (said.times is not None and said.hits >= said.times) or not matches(said.match, method, path, query):
            return False
        said.seen += 1
        if said.seen <= said.after:
            return False
        said.hits += 1
        return True

    def fault_for(self, method: str, path: str, query: str) -> Fault | None:
        """Return the first fault that is due for this request, and count it."""
        with self._lock:
            return next((fault for fault in self.faults if self._due(fault, method, path, query)), None)

    def motions_for(self, method: str, path: str, query: str) -> list[Motion]:
        with self._lock:
            return [motion for motion in self.motions if self._due(motion, method, path, query)]
