"""What goes wrong with an answer, told once and met by the requests it matches. Also motion between two requests.

What a match looks like is said by the double's Request (log.py). The kinds that are named here are done by wire.py,
and so is truncated_json or truncated_xml, as a double calls it; the others that a double adds are its own to do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

from tests.doubles.https.log import Request

WireKind = Literal[
    "status",  # this status, reason, headers and body (a page of a proxy unless said) in place of the answer
    "html",  # 200 with a page of a proxy
    "garbled",  # 200 that says what every answer says it is, and is not
    "cut",  # half of the body, then the connection closes; Content-Length says the whole
    "stall_before",  # the answer comes `seconds` late
    "stall_inside",  # half of the body, `seconds` of silence, the rest
    "trickle",  # the body piece by piece over `seconds`: no single read times out
    "redirect",  # 302 to headers["Location"], or to the entry page
    "reset",  # the connection is reset
    "close",  # the connection closes without an answer
]


@dataclass
class Due:
    """How often something happens: `times` None is for ever; the first `after` matching requests are spared."""

    match: str
    times: int | None = field(default=1, kw_only=True)
    after: int = field(default=0, kw_only=True)
    seen: int = field(default=0, kw_only=True)
    hits: int = field(default=0, kw_only=True)


@dataclass
class Fault(Due):
    """One fault."""

    kind: str
    status: int | None = field(default=None, kw_only=True)
    reason: str | None = field(default=None, kw_only=True)
    headers: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    body: Any = field(default=None, kw_only=True)
    seconds: float = field(default=30.0, kw_only=True)


@dataclass
class Motion(Due):
    """Something that happens to what a double shows once a request has been answered."""

    action: Callable[[Any], object]


F = TypeVar("F", bound=Fault)
M = TypeVar("M", bound=Motion)
R = TypeVar("R", bound=Request)


class Registry(Generic[F, M, R]):
    """The faults and motions of one double."""

    fault: ClassVar[type[Any]] = Fault
    motion: ClassVar[type[Any]] = Motion
    kinds: ClassVar[frozenset[str]]

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.faults: list[F] = []
        self.motions: list[M] = []

    def add(self, match: str, kind: str, **said: Any) -> F:
        """Add a fault: times=1, after=0, status=, reason=, headers=, body=, seconds=, and what is the double's own."""
        if kind not in self.kinds:
            raise ValueError(f"no such fault: {kind}")
        fault: F = self.fault(match, kind, **said)
        with self._lock:
            self.faults.append(fault)
        return fault

    def on(self, match: str, action: Callable[[Any], object], **said: Any) -> M:
        """Do something once a matching request is answered, before its client can read the answer."""
        motion: M = self.motion(match, action, **said)
        with self._lock:
            self.motions.append(motion)
        return motion

    def clear(self) -> None:
        """Forget every fault and motion."""
        with self._lock:
            self.faults.clear()
            self.motions.clear()

    def concerns(self, said: F | M, request: R) -> bool:
        """Say whether one that matches means this request. A double may ask for more than the match."""
        return True

    def fault_for(self, request: R) -> F | None:
        """Return the first fault that is due for this request, and count it."""
        with self._lock:
            return next((fault for fault in self.faults if self._is_due(fault, request)), None)

    def move(self, request: R, shown: Any, lock: AbstractContextManager[Any]) -> None:
        """Let the motions that are due for this request happen to what is shown, under its lock."""
        with self._lock:
            due = [motion for motion in self.motions if self._is_due(motion, request)]
        for motion in due:
            with lock:
                motion.action(shown)

    def _is_due(self, said: F | M, request: R) -> bool:
        if said.times is not None and said.hits >= said.times:
            return False
        if not (request.is_meant(said.match) and self.concerns(said, request)):
            return False
        said.seen += 1
        if said.seen <= said.after:
            return False
        said.hits += 1
        return True
