"""What goes wrong with an answer: registered by request, counted, given to server.py (content) and wire.py (bytes)."""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from tests.doubles.vcenter.server import VcenterDouble

Kind = Literal[
    # on the wire
    "status",  # this status, headers and body in place of the answer: 503 while vpxd starts
    "html",  # 200 with a page of a proxy
    "stall_before",  # the answer comes `seconds` late
    "stall_inside",  # half of the body, `seconds` of silence, the rest
    "trickle",  # the body piece by piece over `seconds`: no single read times out
    "cut",  # half of the body, then the connection closes; Content-Length says the whole
    "truncated_xml",  # half of the body with a Content-Length that fits the half
    "garbled",  # 200 and text/xml, but no XML
    "redirect",  # 302 to headers["Location"], or to the entry page
    "reset",  # the connection is reset
    "close",  # the connection closes without an answer
    # in what vCenter says
    "soap",  # the SOAP fault `fault` with `fields` and `message`
    "expire",  # the session is over: NotAuthenticated, now and for every later call of it; views and tokens die
    "end_silently",  # the session is over, and reading answers 200 with no objects from now on
    "drop_token",  # the page is told as the last one, and what would follow is lost
    "no_objects",  # 200 with no objects
    "repeat",  # the last object of a page is told twice
    "replace",  # `body` in place of the answer, whatever it is, with 200
]
_WIRE = frozenset(get_args(Kind)[:11])


@dataclass
class Fault:
    """One fault. `times` None is for ever; the first `after` matching requests are spared."""

    match: str
    kind: Kind
    times: int | None = 1
    after: int = 0
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | None = None
    seconds: float = 30.0
    fault: str = "SystemError"
    fields: str = ""
    message: str = ""
    keep: int | None = None  # with drop_token: no more objects than these either
    kinds: frozenset[str] = frozenset()  # only where the call is about one of these types ("VirtualMachine")
    seen: int = 0
    hits: int = 0

    @property
    def on_the_wire(self) -> bool:
        return self.kind in _WIRE


@dataclass
class Motion:
    """Something that happens to what is shown once a request has been answered."""

    match: str
    action: Callable[[VcenterDouble], object]
    times: int | None = 1
    after: int = 0
    kinds: frozenset[str] = frozenset()
    seen: int = 0
    hits: int = 0


class Registry:
    """The faults and motions of one double."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.faults: list[Fault] = []
        self.motions: list[Motion] = []

    def add(self, match: str, kind: Kind, **said: Any) -> Fault:
        """Add a fault for requests whose name matches: "RetrievePropertiesEx", "Login", "GET /sdk/*", "*"."""
        if kind not in get_args(Kind):
            raise ValueError(f"no such fault: {kind}")
        fault = Fault(match, kind, **said)
        with self._lock:
            self.faults.append(fault)
        return fault

    def on(self, match: str, action: Callable[[VcenterDouble], object], **said: Any) -> Motion:
        """Do something once a matching request is answered, before its client can read the answer."""
        motion = Motion(match, action, **said)
        with self._lock:
            self.motions.append(motion)
        return motion

    def clear(self) -> None:
        """Forget every fault and motion."""
        with self._lock:
            self.faults.clear()
            self.motions.clear()

    def _due(self, said: Fault | Motion, name: str, kinds: frozenset[str]) -> bool:
        if (said.times is not None and said.hits >= said.times) or not fnmatch.fnmatchcase(name, said.match):
            return False
        if said.kinds and not said.kinds & kinds:
            return False
        said.seen += 1
        if said.seen <= said.after:
            return False
        said.hits += 1
        return True

    def fault_for(self, name: str, kinds: frozenset[str] = frozenset()) -> Fault | None:
        """Return the first fault that is due for this request, and count it."""
        with self._lock:
            return next((fault for fault in self.faults if self._due(fault, name, kinds)), None)

    def motions_for(self, name: str, kinds: frozenset[str] = frozenset()) -> list[Motion]:
        with self._lock:
            return [motion for motion in self.motions if self._due(motion, name, kinds)]
