"""The connections of the double's endpoints: which service and region is meant, and what every answer carries.

What is answered comes from api.py and, over plain HTTP, from metadata.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from tests.doubles.aliyun.answers import JSON_TYPE
from tests.doubles.aliyun.log import Request
from tests.doubles.aliyun.signatures import Received
from tests.doubles.https import wire
from tests.doubles.https.faults import Fault
from tests.doubles.https.wire import PAGE, Answer, Asked

if TYPE_CHECKING:
    from tests.doubles.aliyun.server import AliyunDouble

Service = Literal["ecs", "sts", "metadata"]


class Connection(wire.Connection):
    """One connection to ECS."""

    double: AliyunDouble
    service: Service = "ecs"
    media_type = JSON_TYPE
    garbled = b'{"Instances": oops \x00\xff'
    entry = "/login"

    def exchange(self, asked: Asked) -> tuple[Request, Answer, Fault | None]:
        path, _, query = asked.target.partition("?")
        received = Received(asked.method, path or "/", query, asked.headers, asked.body)
        request = Request(
            name=f"{received.method} {received.path}",
            service=self.service,
            connection=self.number,
            received=len(asked.body),
            request_id=str(uuid.uuid4()).upper(),
        )
        self.double.requests.append(request)
        return request, *self._answered(received, request)

    def _answered(self, received: Received, request: Request) -> tuple[Answer, Fault | None]:
        paths, request.addressed = self._addressed(received)
        if not paths:
            return Answer(404, PAGE, {"Content-Type": "text/html"}), None
        return self.double.api.answer(received, paths, request, f"{self.service}.aliyuncs.com")

    def _addressed(self, received: Received) -> tuple[list[str], str]:
        """Return as which paths this one may have been signed (none: nothing is here), and which region it names.

        A region is the first part of the path, or a label of the Host header's name (ecs.cn-hangzhou.example.test).
        """
        with self.double.cloud.lock:
            known = {*self.double.cloud.regions, *self.double.cloud.refused}
        host = received.headers.get("host", "").rpartition(":")[0] or received.headers.get("host", "")
        named = next((label for label in host.split(".") if label in known), "")
        first, _, rest = received.path.removeprefix("/").partition("/")
        if not first:
            return ["/"], named
        if unquote(first) in known and not rest:
            return ["/", received.path], unquote(first)
        return [], ""

    def headers_for(self, request: wire.Request, *, alive: bool) -> Mapping[str, str]:
        return {"x-acs-request-id": request.request_id} if isinstance(request, Request) else {}


class StsConnection(Connection):
    service = "sts"


class MetadataConnection(Connection):
    service = "metadata"

    def _answered(self, received: Received, request: Request) -> tuple[Answer, Fault | None]:
        return self.double.metadata.answer(received), self.double.faults.fault_for(request)
