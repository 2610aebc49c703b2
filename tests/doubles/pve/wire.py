"""Sockets: TLS, HTTP/1.1 with the exact status line, keep-alive, and faults on the wire. One thread a connection.

What is answered comes from the double (server.py); nothing here knows Proxmox VE but its headers.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.doubles.pve.faults import Fault
from tests.doubles.pve.log import Request
from tests.doubles.pve.routes import JSON_TYPE, PREFIX, Answer

if TYPE_CHECKING:
    from tests.doubles.pve.server import PveDouble

_AGENT_ERROR = {"class": "CommandDisabled", "desc": "The command has been disabled for this instance"}


class CutError(Exception):
    """The connection ends here, as a fault wants it."""


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, double: PveDouble, port: int) -> None:
        self.double = double
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self.numbers = itertools.count(1)
        super().__init__(("127.0.0.1", port), _Connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are nothing to tell of; anything else is a flaw of the double."""
        if not isinstance(sys.exception(), (OSError, ValueError)):
            super().handle_error(request, client_address)

    def remember(self, connection: socket.socket) -> None:
        with self._guard:
            self._open.add(connection)

    def forget(self, connection: socket.socket) -> None:
        with self._guard:
            self._open.discard(connection)

    def cut_everything(self) -> None:
        with self._guard:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue


class _Connection(socketserver.BaseRequestHandler):
    """One connection: handshake, then requests until one of the sides has enough."""

    server: Server

    def handle(self) -> None:
        self.double = self.server.double
        self.number = next(self.server.numbers)
        plain: socket.socket = self.request
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.settimeout(10)
        self.server.remember(plain)
        try:
            self.wire = self.double.tls.wrap_socket(plain, server_side=True)
        except (OSError, ssl.SSLError):
            self.server.forget(plain)
            return
        self.server.forget(plain)
        self.server.remember(self.wire)
        self.wire.settimeout(self.double.idle_timeout)
        reader = self.wire.makefile("rb")
        left = self.double.keep_alive
        try:
            while left > 0 and not self.double.stopping.is_set():
                left -= 1
                if not self._one(reader, last=left == 0):
                    break
        except CutError:
            pass
        except (OSError, ssl.SSLError, ValueError):
            pass  # the client went away, or was silent for too long
        finally:
            self.server.forget(self.wire)
            reader.close()
            self.wire.close()

    # -- one request --------------------------------------------------------------------------------------------

    def _one(self, reader: BinaryIO, *, last: bool) -> bool:
        """Answer one request; say whether the connection lives on."""
        line = reader.readline(65_536)
        if not line.strip():
            return False
        method, target, protocol = line.decode("latin-1").split()
        headers: dict[str, str] = {}
        while (text := reader.readline(65_536).decode("latin-1").strip("\r\n")) != "":
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = reader.read(int(headers.get("content-length", "0"))) if "transfer-encoding" not in headers else b""
        self.wire.settimeout(60)
        where = urlsplit(target)
        path = unquote(where.path)
        request = Request(method, path.removeprefix(PREFIX) or "/", where.query, self.number)
        self.double.requests.append(request)
        alive = headers.get("connection", "" if protocol == "HTTP/1.1" else "close").lower() != "close" and not last
        try:
            alive = self._answer(request, protocol, path, headers, _parameters(where.query, headers, body), alive)
        finally:
            request.finished = time.monotonic()
            self.wire.settimeout(self.double.idle_timeout)
        return alive

    def _answer(
        self,
        request: Request,
        protocol: str,
        path: str,
        headers: dict[str, str],
        parameters: Mapping[str, str],
        alive: bool,
    ) -> bool:
        double = self.double
        fault = double.faults.fault_for(request.method, request.path, request.query)
        answer, request.user = double.answer(request.method, path, parameters, headers)
        if fault:
            answer = self._changed(fault, answer)
        for motion in double.faults.motions_for(request.method, request.path, request.query):
            with double.cluster.lock:
                motion.action(double.cluster)
        self._wait(double.latency + answer.delay)
        alive = alive and answer.status < 400
        request.status = answer.status
        packed = double.compression and "gzip" in headers.get("accept-encoding", "") and len(answer.body) > 1024
        payload = gzip.compress(answer.body, 6) if packed else answer.body
        reason = "" if fault and fault.kind == "no_reason" else answer.reason.splitlines()[0] if answer.reason else ""
        now = formatdate(usegmt=True)
        lines = {
            "Cache-Control": "max-age=0",
            "Connection": "Keep-Alive" if alive else "close",
            "Date": now,
            "Pragma": "no-cache",
            "Server": "pve-api-daemon/3.0",
            "Content-Length": str(len(payload)),
            "Expires": now,
        }
        if packed:
            lines["Content-Encoding"] = "gzip"
        lines |= answer.headers
        head = f"{protocol} {answer.status} {reason}\r\n" + "".join(
            f"{key}: {value}\r\n" for key, value in lines.items()
        )
        self._send(fault, head.encode("utf-8") + b"\r\n", payload)
        return alive

    def _changed(self, fault: Fault, answer: Answer) -> Answer:
        """Return what a fault makes of an answer, or end the connection."""
        match fault.kind:
            case "reset":
                self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.wire.detach())
                raise CutError
            case "close":
                raise CutError
            case "status":
                body, kind = _body(fault, b"" if 595 <= fault.status < 600 else b'{"data":null}')
                reason = fault.reason if fault.reason is not None else _REASONS.get(fault.status, "Error")
                return Answer(fault.status, reason, body, {"Content-Type": kind} | dict(fault.headers))
            case "html":
                page = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please log in</body></html>"
                body, _ = _body(fault, page)
                return Answer(200, "OK", body, {"Content-Type": "text/html; charset=utf-8"} | dict(fault.headers))
            case "json":
                return Answer(200, "OK", json.dumps(fault.body).encode(), {"Content-Type": JSON_TYPE})
            case "redirect":
                where = fault.headers.get("Location", self.double.endpoint + "/")
                return Answer(302, "Found", b"", dict(fault.headers) | {"Location": where})
            case "error_in_200":
                data = fault.body if fault.body is not None else {"result": {"error": _AGENT_ERROR}}
                return Answer(200, "OK", json.dumps({"data": data}).encode(), {"Content-Type": JSON_TYPE})
            case "truncated_json":
                return replace(answer, body=answer.body[: len(answer.body) // 2])
            case "stall_before":
                return replace(answer, delay=answer.delay + fault.seconds)
            case _:
                return answer

    def _send(self, fault: Fault | None, head: bytes, payload: bytes) -> None:
        half = len(payload) // 2
        match fault.kind if fault else None:
            case "short_body":
                self.wire.sendall(head + payload[:half])
                raise CutError
            case "stall_inside":
                self.wire.sendall(head + payload[:half])
                self._wait(fault.seconds if fault else 0)
                self.wire.sendall(payload[half:])
            case "trickle":
                self.wire.sendall(head)
                size = max(1, len(payload) // 50)
                pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
                for piece in pieces:
                    self._wait((fault.seconds if fault else 0) / len(pieces))
                    self.wire.sendall(piece)
            case _:
                self.wire.sendall(head + payload)

    def _wait(self, seconds: float) -> None:
        if seconds > 0 and self.double.stopping.wait(seconds):
            raise CutError


_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    595: "Connection refused",
    596: "Connection timed out",
    597: "Connection reset by peer",
}


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


def _parameters(query: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    said: dict[str, str] = {}
    if body and headers.get("content-type", "").startswith("application/json"):
        said = {str(key): str(value) for key, value in json.loads(body).items()}
    elif body:
        said = dict(parse_qsl(body.decode(), keep_blank_values=True))
    return said | dict(parse_qsl(query, keep_blank_values=True))
