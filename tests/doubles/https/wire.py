"""Sockets: TLS, HTTP/1.1 with keep-alive, gzip, and faults on the wire. One thread a connection.

What is answered comes from the double's own Connection, which says `exchange`; nothing here knows a platform.
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
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from tests.doubles.https.faults import Fault
from tests.doubles.https.log import Request

if TYPE_CHECKING:
    from tests.doubles.https.double import HttpsDouble

PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><p>Please sign in.<br></body></html>"
_LINE = 65_536  # the most bytes of a line of a head
_CHUNK = 1 << 18
_WORTH_PACKING = 1024
_REASONS = {
    200: "OK",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


@dataclass(frozen=True)
class Asked:
    """A request as it came: the target is not decoded, the headers' names are in lower case."""

    method: str
    target: str
    protocol: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Answer:
    """What goes on the wire. A reason of None is the status's usual one, and an empty one is none."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)  # several values: a line each
    reason: str | None = None
    delay: float = 0.0  # how many seconds later than usual
    last: bool = False  # the connection closes after it


class CutError(Exception):
    """The connection ends here, as a fault wants it."""


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(
        self, double: HttpsDouble, port: int, connection: type[Connection], tls: ssl.SSLContext | None
    ) -> None:
        self.double, self.tls = double, tls
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self.numbers = itertools.count(1)
        super().__init__((double.bind, port), connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are nothing to tell of, nor is being stopped; anything else is a flaw of the double."""
        if not isinstance(sys.exception(), OSError) and not self.double.stopping.is_set():
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


class Connection(socketserver.BaseRequestHandler):
    """One connection: handshake, then requests until one of the sides has enough. Each double has its own kind."""

    server: Server
    double: HttpsDouble
    media_type: ClassVar[str]  # what the double's answers usually are
    garbled: ClassVar[bytes]  # what that is not
    entry: ClassVar[str] = "/"  # the page that a proxy leads to
    errors_close: ClassVar[bool] = False  # answers from 400 up are the last of their connection
    gzip_level: ClassVar[int] = 1

    # -- what a double says -----------------------------------------------------------------------------------------

    def exchange(self, asked: Asked) -> tuple[Request, Answer, Fault | None]:
        """Put a request into the log; return it, the answer, and the fault that is due; motions have happened then."""
        raise NotImplementedError

    def headers_for(self, request: Request, *, alive: bool) -> Mapping[str, str]:
        """Return the headers that every answer has; the answer's own replace them."""
        return {}

    def changed(self, fault: Fault, answer: Answer) -> Answer:
        """Return what a fault makes of an answer."""
        body = fault.body.encode() if isinstance(fault.body, str) else fault.body
        match fault.kind:
            case "status":
                headers = {"Content-Type": "text/html", **fault.headers}
                return Answer(fault.status or 503, PAGE if body is None else body, headers, fault.reason)
            case "html":
                return Answer(200, body or PAGE, {"Content-Type": "text/html; charset=utf-8", **fault.headers})
            case "garbled":
                return Answer(200, body or self.garbled, {"Content-Type": self.media_type, **fault.headers})
            case "redirect":
                return Answer(302, b"", {"Location": self.double.endpoint + self.entry, **fault.headers})
            case "truncated_json" | "truncated_xml":
                return replace(answer, body=answer.body[: len(answer.body) // 2])
            case "stall_before":
                return replace(answer, delay=answer.delay + fault.seconds)
            case _:
                return answer

    def welcome(self) -> bool:
        """Say whether a new connection is served; for one that is not, do before what is done in its place."""
        if self.double.mute:  # a port that listens and says nothing
            self.double.stopping.wait()
        return not self.double.mute

    def tls(self) -> ssl.SSLContext | None:
        """Return with which certificate the connection is served; None is plain HTTP."""
        return self.server.tls

    # -- the connection ---------------------------------------------------------------------------------------------

    def handle(self) -> None:
        self.double = self.server.double
        self.number = next(self.server.numbers)
        self.wire: socket.socket = self.request
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire.settimeout(10)
        self.server.remember(self.wire)
        try:
            if not self.welcome():
                return
            if (tls := self.tls()) is not None:
                self._shake_hands(tls)
            self._serve()
        except (CutError, OSError):
            pass  # a fault, or the client went away, or was silent for too long
        finally:
            self.server.forget(self.wire)
            self.wire.close()

    def _shake_hands(self, tls: ssl.SSLContext) -> None:
        plain = self.wire
        try:
            self.wire = tls.wrap_socket(plain, server_side=True)
        finally:
            self.server.forget(plain)
        self.server.remember(self.wire)

    def _serve(self) -> None:
        self.wire.settimeout(self.double.idle_timeout)
        most = self.double.keep_alive
        with self.wire.makefile("rb") as reader:
            for number in itertools.count(1):
                if self.double.stopping.is_set() or not self._one(reader, last=number == most):
                    return

    def _one(self, reader: BinaryIO, *, last: bool) -> bool:
        """Answer one request; say whether the connection lives on."""
        asked = _read(reader)
        if asked is None:
            return False
        self.wire.settimeout(60)
        wanted = asked.headers.get("connection", "" if asked.protocol == "HTTP/1.1" else "close").lower()
        request, answer, fault = self.exchange(asked)
        try:
            if fault is not None:
                self._end(fault)
                answer = self.changed(fault, answer)
            alive = not (last or answer.last or wanted == "close" or (self.errors_close and answer.status >= 400))
            self._wait(self.double.latency + answer.delay)
            self._send(asked, request, answer, fault, alive=alive)
        finally:
            if request.finished is None:
                request.finished = time.monotonic()
        self.wire.settimeout(self.double.idle_timeout)
        return alive

    def _end(self, fault: Fault) -> None:
        """End the connection where a fault wants it without an answer."""
        if fault.kind == "reset":
            self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.wire.detach())
        if fault.kind in {"reset", "close"}:
            raise CutError

    def _send(self, asked: Asked, request: Request, answer: Answer, fault: Fault | None, *, alive: bool) -> None:
        payload, large = answer.body, len(answer.body) > _WORTH_PACKING
        lines: dict[str, str | tuple[str, ...]] = {
            "Date": formatdate(time.time() + self.double.clock_skew_s, usegmt=True)
        }
        lines |= self.headers_for(request, alive=alive)
        if large and self.double.compression and "gzip" in asked.headers.get("accept-encoding", ""):
            payload = gzip.compress(payload, self.gzip_level)
            lines["Content-Encoding"] = "gzip"
        chunked = large and self.double.chunked
        lines["Transfer-Encoding" if chunked else "Content-Length"] = "chunked" if chunked else str(len(payload))
        lines |= answer.headers
        reason = _REASONS.get(answer.status, "Error") if answer.reason is None else answer.reason
        head = f"{asked.protocol} {answer.status} {next(iter(reason.splitlines()), '')}\r\n"
        for key, value in lines.items():
            head += "".join(f"{key}: {one}\r\n" for one in ((value,) if isinstance(value, str) else value))
        head += "\r\n"
        request.status, request.sent = answer.status, len(payload)
        pieces = _pieces(fault, head.encode(), payload, chunked=chunked)
        for number, (pause, piece) in enumerate(pieces, 1):
            self._wait(pause)
            if number == len(pieces):
                request.finished = time.monotonic()
            self.wire.sendall(piece)
        if fault is not None and fault.kind == "cut":
            raise CutError

    def _wait(self, seconds: float) -> None:
        if seconds > 0 and self.double.stopping.wait(seconds):
            raise CutError


def _read(reader: BinaryIO) -> Asked | None:
    """Read a head and its body; None where there is no more, or where it is no HTTP."""
    line = reader.readline(_LINE)
    if not line.strip():
        return None
    try:
        method, target, protocol = line.decode("latin-1").split()
        headers: dict[str, str] = {}
        while (text := reader.readline(_LINE).decode("latin-1").strip("\r\n")) != "":
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = 0 if "transfer-encoding" in headers else int(headers.get("content-length", "0"))
    except ValueError:
        return None
    return Asked(method, target, protocol, headers, reader.read(length))


def _pieces(fault: Fault | None, head: bytes, payload: bytes, *, chunked: bool) -> list[tuple[float, bytes]]:
    """Return the pieces in which an answer is sent, each with the seconds of silence before it."""
    kind, half = fault.kind if fault else None, len(payload) // 2
    seconds = fault.seconds if fault else 0.0
    match kind:
        case "cut":
            pieces = [(0.0, payload[:half])]
        case "stall_inside":
            pieces = [(0.0, payload[:half]), (seconds, payload[half:])]
        case "trickle":
            size = max(1, len(payload) // 50)
            starts = range(0, len(payload), size)
            pieces = [(0.0, b""), *((seconds / len(starts), payload[at : at + size]) for at in starts)]
        case _:
            pieces = [(0.0, payload)]
    if chunked:
        pieces = [(pause, _framed(piece)) for pause, piece in pieces]
        if kind != "cut":
            pieces.append((0.0, b"0\r\n\r\n"))
    return [(0.0, head + pieces[0][1]), *pieces[1:]]


def _framed(piece: bytes) -> bytes:
    parts = (piece[at : at + _CHUNK] for at in range(0, len(piece), _CHUNK))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
