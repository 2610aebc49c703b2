"""A server that agents report to, over real TLS: it keeps what it is told, and goes wrong when it is told to.

It speaks what docs/agent.md says, and checks more than the service does. Faults are those of `tests.doubles.https`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import threading
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

from tests.doubles.https import faults
from tests.doubles.https.double import HttpsDouble
from tests.doubles.https.faults import Fault, Motion, WireKind
from tests.doubles.https.log import Request, RequestLog
from tests.doubles.https.wire import Answer, Asked, Connection

TOKEN = "ac_" + "t" * 43
USER_TOKEN = "al_" + "u" * 43


class Registry(faults.Registry[Fault, Motion, Request]):
    kinds = frozenset(get_args(WireKind))


class Wire(Connection):
    media_type = "application/json"
    garbled = b"{"
    entry = "/elsewhere"
    double: Reported

    def exchange(self, asked: Asked) -> tuple[Request, Answer, Fault | None]:
        request = Request(name=f"{asked.method} {asked.target}", connection=self.number, received=len(asked.body))
        self.double.requests.append(request)
        fault = self.double.faults.fault_for(request)
        # what is lost on the way back was taken all the same; what is refused was not
        refused = fault is not None and fault.kind in ("status", "redirect", "html", "reset", "close")
        answer = Answer(503) if refused else self.double.answer(asked)
        self.double.faults.move(request, self.double, self.double.lock)
        return request, answer, fault


@dataclass(frozen=True)
class Published:
    """A binary as it is offered, and as it is sent."""

    version: str
    content: bytes
    size: int
    sha256: str


class Reported(HttpsDouble):
    """One server. `reports` are the documents it took, in their order; `beats` what heartbeats said."""

    def __init__(self, *, tls: bool = True, **said: Any) -> None:
        super().__init__("reported", Wire, host="ledger", authority="Ledger's Authority", tls=tls, **said)
        self.requests = RequestLog()
        self.faults = Registry()
        self.lock = threading.RLock()
        self.token = TOKEN
        self.reports: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.beats: list[dict[str, Any]] = []
        self.enrolled: list[dict[str, Any]] = []
        self.wrong: list[str] = []
        self.ranges: list[str] = []
        self.asks = False
        self.result = "changed"
        self.heartbeat_s: float | None = None
        self.latest_agent: str | None = None
        self.published: Published | None = None

    @property
    def spooled(self) -> list[bool]:
        """Of each report whether it says that it waited."""
        return [each.get("spooled") is True for each in self.reports]

    def publish(self, version: str, content: bytes, *, size: int | None = None, sha256: str | None = None) -> None:
        """Offer a binary, or with a size or digest of something else than what is sent."""
        self.published = Published(
            version, content, size or len(content), sha256 or hashlib.sha256(content).hexdigest()
        )
        self.latest_agent = version

    def answer(self, asked: Asked) -> Answer:
        with self.lock:
            path = urlsplit(asked.target).path
            wanted = USER_TOKEN if path.endswith("/enroll") else self.token
            if asked.headers.get("authorization") != f"Bearer {wanted}":
                return self._json(401, {"code": "LOGIN_REFUSED", "message": "the token holds no more"})
            match asked.method, path.removeprefix("/api/v1"):
                case "POST", "/agents/heartbeat":
                    return self._beat(json.loads(asked.body))
                case "POST", "/agents/report":
                    return self._report(asked)
                case "POST", "/agents/enroll":
                    self.enrolled.append(json.loads(asked.body))
                    return self._json(201, {"client_id": "c-1", "token": self.token, "again": len(self.enrolled) > 1})
                case "POST", "/agents/token":
                    self.token = "ac_" + hashlib.sha256(self.token.encode()).hexdigest()[:43]
                    return self._json(201, {"token": self.token, "old_holds_until": "2027-01-01T00:00:00Z"})
                case "GET", "/agent-versions/latest":
                    return self._latest(parse_qs(urlsplit(asked.target).query)["platform"][0])
                case "GET", rest if rest.startswith("/agent-versions/"):
                    return self._binary(asked)
            return self._json(404, {"code": "NO_SUCH_PATH", "message": "there is none"})

    def _beat(self, said: dict[str, Any]) -> Answer:
        self.beats.append(said)
        answer = {"send_inventory": self.asks, "heartbeat_s": self.heartbeat_s, "latest_agent": self.latest_agent}
        return self._json(200, answer)

    def _report(self, asked: Asked) -> Answer:
        body = gzip.decompress(asked.body) if asked.headers.get("content-encoding") == "gzip" else asked.body
        if len(body) > 1024 and body is asked.body:
            self.wrong.append("a large report came unpacked")
        self.bodies.append(body)
        self.reports.append(json.loads(body))
        return self._json(200, {"result": self.result, "changes": [], "summary": "something"})

    def _latest(self, platform: str) -> Answer:
        found = self.published
        if found is None:
            return self._json(404, {"code": "NO_VERSION", "message": "there is none"})
        told = {"version": found.version, "platform": platform, "size": found.size, "sha256": found.sha256}
        return self._json(200, {**told, "filename": "../../etc/passwd"})

    def _binary(self, asked: Asked) -> Answer:
        assert self.published is not None
        content, tag = self.published.content, f'"{self.published.sha256}"'
        said = asked.headers.get("range")
        if said is None or asked.headers.get("if-range") not in (None, tag):
            return Answer(200, content, {"ETag": tag})
        self.ranges.append(said)
        begin = int(re.fullmatch(r"bytes=(\d+)-", said)[1])  # type: ignore[index]
        told = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        return Answer(206, content[begin:], {"ETag": tag, "Content-Range": told})

    def _json(self, status: int, document: dict[str, Any]) -> Answer:
        return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/json"})
