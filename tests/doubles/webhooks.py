"""A receiver of webhooks that trusts nobody: it checks the signature by hand, as the specification says, not by our library.

What it took, what it refused, and what came twice is there to be asked. Faults and TLS are those of `tests.doubles.https`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any, get_args

from tests.doubles.https import faults
from tests.doubles.https.double import HttpsDouble
from tests.doubles.https.faults import Fault, Motion, WireKind
from tests.doubles.https.log import Request, RequestLog
from tests.doubles.https.wire import Answer, Asked, Connection

WITHIN_S = 300


def new_secret(size: int = 32) -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(size)).decode()


@dataclass(frozen=True)
class Message:
    """One message as it came, its signature checked."""

    id: str
    timestamp: int
    text: str

    @property
    def said(self) -> Any:
        return json.loads(self.text)


class Registry(faults.Registry[Fault, Motion, Request]):
    kinds = frozenset(get_args(WireKind))


class Wire(Connection):
    media_type = "text/plain"
    garbled = b"{"
    double: Receiver

    def exchange(self, asked: Asked) -> tuple[Request, Answer, Fault | None]:
        request = Request(name=f"{asked.method} {asked.target}", connection=self.number, received=len(asked.body))
        self.double.requests.append(request)
        fault = self.double.faults.fault_for(request)
        answer = Answer(fault.status or 503, b"some words") if fault is not None else self.double.take(asked)
        self.double.faults.move(request, self.double, self.double.lock)
        return request, answer, fault


class Receiver(HttpsDouble):
    """One receiver. `secret` is what it knows; `taken` are the messages, each once, and `again` those that came again."""

    def __init__(self, *, tls: bool = True, **said: Any) -> None:
        super().__init__("receiver", Wire, host="hooks", authority="Receiver's Authority", tls=tls, **said)
        self.requests = RequestLog()
        self.faults = Registry()
        self.lock = threading.RLock()
        self.secret = new_secret()
        self.taken: dict[str, Message] = {}
        self.again: list[Message] = []
        self.refused: list[str] = []
        self.seen_headers: list[dict[str, str]] = []
        self.url = f"{self.endpoint}/hook?from=ledger"

    def take(self, asked: Asked) -> Answer:
        """Check a message and keep it: 400 for one that is not signed with the secret, or is too old."""
        with self.lock:
            self.seen_headers.append(dict(asked.headers))
            why = self._wrong(asked)
            if why is not None:
                self.refused.append(why)
                return Answer(400, why.encode())
            headers = asked.headers
            message = Message(headers["webhook-id"], int(headers["webhook-timestamp"]), asked.body.decode())
            if message.id in self.taken:
                self.again.append(message)
            else:
                self.taken[message.id] = message
            return Answer(204)

    def _wrong(self, asked: Asked) -> str | None:
        headers = asked.headers
        if asked.method != "POST" or headers.get("content-type") != "application/json":
            return "no JSON was posted"
        try:
            of, at, told = (headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        except KeyError as missing:
            return f"the header {missing} is missing"
        if abs(time.time() - int(at)) > WITHIN_S:
            return "the message is too old"
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        signed = f"{of}.{at}.".encode() + asked.body
        wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        if not any(hmac.compare_digest(wanted, one) for one in told.split(" ")):
            return "the signature is another"
        return None
