"""Hosts that say anything at all where WinRM should be: a record each, in time, and never an error of the run."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from asset_ledger.sources.winrm import errors
from tests.patience import soon
from tests.sources.winrm.live import probe

STATUS_LINES = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 401 Unauthorized", b"HTTP/1.1 500 Error", b"HTTP/1.1 407 Proxy", b"HTTP/1.1 204 No",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/9.9 200 OK", b"HTTP/1.1 -5 x",
    b"HTTP/1.1 999 \xe4\xe4", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/", b"SSH-2.0-OpenSSH_9.2", b"\x00\xff",
]  # fmt: skip
CHALLENGE = b"TlRMTVNTUAACAAAADAAMADgAAAA1goriZt7rI6Uq/ccAAAAAAAAAAP////9EAAAABQEoCgAAAA9MAEEAQgA="
SEALED = b'multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"'
HEADERS = [
    b"Content-Length: 5", b"Content-Length: -5", b"Content-Length: abc", b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked", b"Content-Encoding: gzip", b"Connection: close", b"Set-Cookie: a=b",
    b"WWW-Authenticate: Negotiate", b"WWW-Authenticate: Negotiate !!!!", b"WWW-Authenticate: NTLM",
    b"WWW-Authenticate: Negotiate TlRMTVNTUAACAAAA", b"WWW-Authenticate: Negotiate " + CHALLENGE,
    b"WWW-Authenticate: \xff\xfe", b'WWW-Authenticate: Basic realm="x"', b"Content-Type: " + SEALED,
    b"Content-Type: application/soap+xml;charset=UTF-8", b"Content-Type: text/html", b"X: " + b"y" * 70000, b"no colon",
]  # fmt: skip
BODIES = [
    b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"\x00" * 2000, b"<a/>",
    b"--Encrypted Boundary\r\n\tContent-Type: x\r\n\tOriginalContent: Length=5\r\n--Encrypted Boundary\r\n"
    b"\tContent-Type: application/octet-stream\r\n\x10\x00\x00\x00" + b"a" * 30,
]  # fmt: skip


class Anything:
    """A listener on every loopback address that answers each request with something drawn by its seed."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._listener = socket.create_server(("0.0.0.0", 0), backlog=100)
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []

    def serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(peer)
            threading.Thread(target=self._talk, args=[peer], daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        try:
            with peer:
                for _ in range(4):
                    asked = b""
                    while b"\r\n\r\n" not in asked:
                        if not (more := peer.recv(65536)):
                            return
                        asked += more
                    peer.sendall(self._answer())
        except OSError:
            return

    def _answer(self) -> bytes:
        draw = self._draw
        body = draw.choice(BODIES)
        lines = [draw.choice(STATUS_LINES), *(draw.choice(HEADERS) for _ in range(draw.randint(0, 4)))]
        if draw.random() < 0.6:
            lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def close(self) -> None:
        self._listener.close()
        for peer in self._open:
            peer.close()


@pytest.fixture(params=[1, 2])
def anything(request: pytest.FixtureRequest) -> Iterator[Any]:
    found = Anything(request.param)
    threading.Thread(target=found.serve, daemon=True).start()
    yield SimpleNamespace(port=found.port, tls=None)
    found.close()


def test_whatever_answers_is_a_failed_target_with_a_code_and_the_password_stays_here(anything: Any) -> None:
    addresses = [f"127.0.39.{number}" for number in range(1, 81)]
    # local in so many words, so that no host waits for what others say to it
    fields = {"username": ".\\probe", "password": "canary-shown-to-nobody"}
    with soon():
        found = probe(anything, *addresses, fields=fields, deadline_s=1, parallel=32)
    assert found.error is None
    assert set(found.codes) == set(addresses)
    known = {code.code for code in errors.ERROR_CODES}
    assert set(found.codes.values()) <= known
    assert len(found.failures) == len(addresses)
    assert b"canary-shown" not in found.bytes
