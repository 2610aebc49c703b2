"""The connections of the double: from a request to a SOAP call. What is answered comes from server.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.doubles.https import wire
from tests.doubles.https.faults import Fault
from tests.doubles.https.wire import Answer, Asked
from tests.doubles.vcenter.log import Request
from tests.doubles.vcenter.soap import parse

if TYPE_CHECKING:
    from tests.doubles.vcenter.server import VcenterDouble


class Connection(wire.Connection):
    double: VcenterDouble
    media_type = "text/xml; charset=utf-8"
    garbled = b"\x00\x01 not XML at all <<<<"
    entry = "/ui/"

    def exchange(self, asked: Asked) -> tuple[Request, Answer, Fault | None]:
        try:
            call = parse(asked.method, asked.target, asked.headers, asked.body)
        except ValueError:
            unreadable = Request(name="unreadable", this="", session="", connection=self.number)
            return unreadable, Answer(400, last=True), None
        request = Request(
            name=call.name,
            this=call.this[1],
            session=call.cookie[:8],
            connection=self.number,
            received=len(asked.body),
        )
        self.double.requests.append(request)
        return request, *self.double.exchange(call, request)

    def headers_for(self, request: wire.Request, *, alive: bool) -> Mapping[str, str]:
        return {"Content-Type": self.media_type}
