"""Sockets: TLS, HTTP/1.1 with keep-alive, gzip, and faults on the wire. One thread a connection.

What is answered comes from the double (server.py).
"""

from __future__ import annotations

import gzip
import itertools
import os
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, BinaryIO

from tests.doubles.vcenter.faults import Fault
from tests.doubles.vcenter.log import Request
from tests.doubles.vcenter.soap import Answer, Call, parse

if TYPE_CHECKING:
    from tests.doubles.vcenter.server import VcenterDouble

PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><p>Please sign in.<br></body></html>"
_REASONS = {
    200: "OK",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class CutError(Exception):
    """The connection ends here, as a fault wants it."""


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, double: VcenterDouble, port: int) -> None:
        self.double = double
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self.numbers = itertools.count(1)
        super().__init__(("127.0.0.1", port), _Connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are nothing to tell of; anything else is a flaw of the double."""
        if not isinstance(sys.exception(), OSError):
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
        if self.double.mute:  # a port that listens and says nothing
            self.double.stopping.wait()
            return
        try:
            self.wire = self.double.tls.wrap_socket(plain, server_side=True)
        except (OSError, ssl.SSLError):
            self.server.forget(plain)
            return
        self.server.forget(plain)
        self.server.remember(self.wire)
        self.wire.settimeout(self.double.idle_timeout)
        reader = self.wire.makefile("rb")
        try:
            while not self.double.stopping.is_set() and self._one(reader):
                pass
        except (CutError, OSError):
            pass  # a fault, or the client went away, or was silent for too long
        finally:
            self.server.forget(self.wire)
            reader.close()
            self.wire.close()

    def _one(self, reader: BinaryIO) -> bool:
        """Answer one request; say whether the connection lives on."""
        line = reader.readline(65_536)
        if not line.strip():
            return False
        method, target, protocol = line.decode("latin-1").split()
        headers: dict[str, str] = {}
        while (text := reader.readline(65_536).decode("latin-1").strip("\r\n")) != "":
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = reader.read(int(headers.get("content-length", "0")))
        self.wire.settimeout(60)
        alive = headers.get("connection", "" if protocol == "HTTP/1.1" else "close").lower() != "close"
        try:
            call = parse(method, target, headers, body)
        except ValueError:
            self._send(None, Request("unreadable", "", "", self.number, len(body)), Answer(400, b""), headers)
            return False
        request = Request(call.name, call.this[1], call.cookie[:8], self.number, len(body))
        self.double.requests.append(request)
        self._answer(request, call)
        self.wire.settimeout(self.double.idle_timeout)
        return alive

    def _answer(self, request: Request, call: Call) -> None:
        double = self.double
        fault, answer = double.exchange(call, request)
        if fault is not None and fault.kind in {"reset", "close"}:
            if fault.kind == "reset":
                self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.wire.detach())
            raise CutError
        if fault is not None and fault.on_the_wire:
            answer = _changed(fault, answer, double.endpoint)
        self._wait(double.latency + (fault.seconds if fault is not None and fault.kind == "stall_before" else 0))
        self._send(fault, request, answer, call.headers)

    def _send(self, fault: Fault | None, request: Request, answer: Answer, asked: Any) -> None:
        payload = answer.body
        lines = {
            "Date": formatdate(time.time() + self.double.clock_skew_s, usegmt=True),
            "Content-Type": "text/xml; charset=utf-8",
            **answer.headers,
        }
        if self.double.compression and len(payload) > 1024 and "gzip" in asked.get("accept-encoding", ""):
            payload = gzip.compress(payload, 1)
            lines["Content-Encoding"] = "gzip"
        chunked = self.double.chunked and len(payload) > 1024
        lines["Transfer-Encoding" if chunked else "Content-Length"] = "chunked" if chunked else str(len(payload))
        reason = answer.reason or _REASONS.get(answer.status, "Error")
        head = f"HTTP/1.1 {answer.status} {reason}\r\n" + "".join(f"{key}: {value}\r\n" for key, value in lines.items())
        request.status, request.sent = answer.status, len(payload)
        self.wire.sendall(head.encode("latin-1") + b"\r\n")
        kind = fault.kind if fault else None
        seconds = fault.seconds if fault else 0.0
        half = len(payload) // 2
        match kind:
            case "cut":
                self._put(payload[:half], chunked)
                raise CutError
            case "stall_inside":
                self._put(payload[:half], chunked)
                self._wait(seconds)
                self._put(payload[half:], chunked)
            case "trickle":
                size = max(1, len(payload) // 50)
                pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
                for piece in pieces:
                    self._wait(seconds / len(pieces))
                    self._put(piece, chunked)
            case _:
                for at in range(0, len(payload), 1 << 18):
                    self._put(payload[at : at + (1 << 18)], chunked)
        if chunked:
            self.wire.sendall(b"0\r\n\r\n")

    def _put(self, piece: bytes, chunked: bool) -> None:
        if piece:
            self.wire.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)

    def _wait(self, seconds: float) -> None:
        if seconds > 0 and self.double.stopping.wait(seconds):
            raise CutError


def _changed(fault: Fault, answer: Answer, endpoint: str) -> Answer:
    """Return what a fault of the wire makes of an answer."""
    body = fault.body.encode() if isinstance(fault.body, str) else fault.body
    match fault.kind:
        case "status":
            return Answer(
                fault.status, PAGE if body is None else body, {"Content-Type": "text/html"} | dict(fault.headers)
            )
        case "html":
            return Answer(200, body or PAGE, {"Content-Type": "text/html; charset=utf-8"} | dict(fault.headers))
        case "garbled":
            return Answer(200, body or b"\x00\x01 not XML at all <<<<", fault.headers)
        case "redirect":
            return Answer(302, b"", {"Location": endpoint + "/ui/"} | dict(fault.headers))
        case "truncated_xml":
            return Answer(answer.status, answer.body[: len(answer.body) // 2], answer.headers, answer.reason)
        case _:
            return answer
