"""The metadata service that every instance can ask, over plain HTTP: a token, then what role it has and that one's keys.

With `tokens_only` (the hardened mode) nothing is told without a token. Called by wire.py.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

from tests.doubles.aliyun.answers import Answer, of_json
from tests.doubles.aliyun.principals import stamp
from tests.doubles.aliyun.signatures import Received

if TYPE_CHECKING:
    from tests.doubles.aliyun.server import AliyunDouble

_KEYS = "/latest/meta-data/ram/security-credentials/"
_LONGEST_S = 21_600


def _text(status: int, text: str) -> Answer:
    kind = "text/plain" if status == 200 else "text/html"
    return Answer(status, text.encode(), {"Content-Type": kind})


class Metadata:
    """What one instance can learn of itself."""

    def __init__(self, double: AliyunDouble) -> None:
        self._double = double
        self._lock = threading.Lock()
        self.tokens: dict[str, float] = {}  # until when
        self.tokens_only = True
        self.role: str | None = None  # the role that the instance has
        self.instance_id = "i-bp1double00000000self"
        self.region = "cn-hangzhou"
        self.lifetime = 6 * 3600.0  # of the keys

    def answer(self, received: Received) -> Answer:
        """Answer one request."""
        path = received.path
        if path == "/latest/api/token":
            return self._token(received)
        if refused := self._refusal(received):
            return refused
        if received.method != "GET":
            return _text(405, "<h1>405 - Method Not Allowed</h1>")
        match path:
            case "/latest/meta-data/instance-id":
                return _text(200, self.instance_id)
            case "/latest/meta-data/region-id":
                return _text(200, self.region)
        if path.rstrip("/") + "/" == _KEYS and self.role is not None:
            return _text(200, self.role)
        role = self._double.keyring.roles.get(path.removeprefix(_KEYS))
        if role is None or role.name != self.role:
            return _text(404, "<h1>404 - Not Found</h1>")
        key = self._double.keyring.session(role, self.lifetime)
        return of_json({
            "AccessKeyId": key.id, "AccessKeySecret": key.secret, "SecurityToken": key.security_token,
            "Expiration": stamp(key.expires or 0), "LastUpdated": stamp(self._double.now()), "Code": "Success",
        })  # fmt: skip

    def _token(self, received: Received) -> Answer:
        if received.method != "PUT":
            return _text(405, "<h1>405 - Method Not Allowed</h1>")
        asked = received.headers.get("x-aliyun-ecs-metadata-token-ttl-seconds", "")
        if not asked.isdecimal() or not 1 <= int(asked) <= _LONGEST_S:
            return _text(400, "<h1>400 - Bad Request</h1>")
        token = secrets.token_urlsafe(40)
        with self._lock:
            self.tokens[token] = self._double.now() + int(asked)
        return _text(200, token)

    def _refusal(self, received: Received) -> Answer | None:
        token = received.headers.get("x-aliyun-ecs-metadata-token")
        if token is None:
            return _text(403, "<h1>403 - Forbidden</h1>") if self.tokens_only else None
        if self.tokens.get(token, 0) <= self._double.now():
            return _text(401, "<h1>401 - Unauthorized</h1>")
        return None
