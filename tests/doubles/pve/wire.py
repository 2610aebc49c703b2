"""The connections of the double: Proxmox VE's headers, what its proxy says, and faults that only it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.doubles.https import wire
from tests.doubles.https.faults import Fault
from tests.doubles.https.wire import Answer, Asked, CutError
from tests.doubles.pve.log import Request
from tests.doubles.pve.routes import JSON_TYPE, PREFIX

if TYPE_CHECKING:
    from tests.doubles.pve.server import PveDouble

_AGENT_ERROR = {"class": "CommandDisabled", "desc": "The command has been disabled for this instance"}
_PROXY_REASONS = {595: "Connection refused", 596: "Connection timed out", 597: "Connection reset by peer"}


class Connection(wire.Connection):
    double: PveDouble
    media_type = JSON_TYPE
    garbled = b'{"data": oops \x00\xff'
    errors_close = True
    gzip_level = 6

    def exchange(self, asked: Asked) -> tuple[Request, Answer, Fault | None]:
        double, where = self.double, urlsplit(asked.target)
        path = unquote(where.path)
        place = path.removeprefix(PREFIX) or "/"
        request = Request(
            name=f"{asked.method} {place}",
            method=asked.method,
            path=place,
            query=where.query,
            connection=self.number,
            received=len(asked.body),
        )
        double.requests.append(request)
        parameters = _parameters(where.query, asked)
        fault = double.faults.fault_for(request)
        answer, request.user = double.answer(asked.method, path, parameters, asked.headers)
        double.faults.move(request, double.cluster, double.cluster.lock)
        return request, answer, fault

    def headers_for(self, request: wire.Request, *, alive: bool) -> Mapping[str, str]:
        return {
            "Cache-Control": "max-age=0",
            "Connection": "Keep-Alive" if alive else "close",
            "Expires": formatdate(usegmt=True),
            "Pragma": "no-cache",
            "Server": "pve-api-daemon/3.0",
        }

    def changed(self, fault: Fault, answer: Answer) -> Answer:
        match fault.kind:
            case "status":
                status = fault.status or 500
                body, kind = _body(fault, b"" if status in range(595, 600) else b'{"data":null}')
                reason = _PROXY_REASONS.get(status) if fault.reason is None else fault.reason
                return Answer(status, body, {"Content-Type": kind, **fault.headers}, reason)
            case "json":
                return _json(fault.body)
            case "error_in_200":
                return _json({"data": fault.body if fault.body is not None else {"result": {"error": _AGENT_ERROR}}})
            case "no_reason":
                return replace(answer, reason="")
            case _:
                return super().changed(fault, answer)


def _json(data: Any) -> Answer:
    return Answer(200, json.dumps(data).encode(), {"Content-Type": JSON_TYPE})


def _body(fault: Fault, usual: bytes) -> tuple[bytes, str]:
    """Return a fault's body and its type: bytes and text as they are, anything else as JSON."""
    match fault.body:
        case None:
            return usual, JSON_TYPE
        case bytes() as raw:
            return raw, "text/plain"
        case str() as text:
            return text.encode(), "text/html; charset=utf-8" if text.lstrip().startswith("<") else "text/plain"
        case other:
            return json.dumps(other).encode(), JSON_TYPE


def _parameters(query: str, asked: Asked) -> dict[str, str]:
    """Return what is said in the query and the body. Where the body cannot be read, the connection ends."""
    said: dict[str, str] = {}
    try:
        if asked.body and asked.headers.get("content-type", "").startswith("application/json"):
            said = {str(key): str(value) for key, value in json.loads(asked.body).items()}
        elif asked.body:
            said = dict(parse_qsl(asked.body.decode(), keep_blank_values=True))
        return said | dict(parse_qsl(query, keep_blank_values=True))
    except ValueError as unreadable:
        raise CutError from unreadable
