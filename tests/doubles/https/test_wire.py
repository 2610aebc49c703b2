"""What every double does on the wire, shown by the smallest one: it answers everything with one line of text."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from typing import get_args

import pytest

from tests.doubles.https import faults, wire
from tests.doubles.https.double import HttpsDouble
from tests.doubles.https.faults import Fault, Motion, WireKind
from tests.doubles.https.log import Request, RequestLog
from tests.doubles.https.wire import Answer, Asked
from tests.patience import FOREVER_S, soon


class Registry(faults.Registry[Fault, Motion, Request]):
    kinds = frozenset(get_args(WireKind))


class Connection(wire.Connection):
    media_type = "text/plain"
    garbled = b"\xff"

    def exchange(self, asked: Asked) -> tuple[Request, Answer, Fault | None]:
        request = Request(name=f"{asked.method} {asked.target}", connection=self.number)
        self.double.requests.append(request)
        return request, Answer(200, b"true\n", {"Content-Type": self.media_type}), self.double.faults.fault_for(request)


class Double(HttpsDouble):
    def __init__(self, *, tls: bool = True) -> None:
        super().__init__("small", Connection, host="small", authority="Small CA", tls=tls)
        self.requests, self.faults = RequestLog(), Registry()


@pytest.fixture
def double() -> Iterator[Double]:
    with Double() as small:
        yield small


def opened(double: Double) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", double.port), timeout=5)
    return ssl.create_default_context(cafile=double.ca_file).wrap_socket(plain, server_hostname="127.0.0.1")


def ask(client: socket.socket) -> bytes:
    client.sendall(b"GET / HTTP/1.1\r\nHost: small\r\n\r\n")
    return client.recv(65_536)


def test_a_connection_is_closed_or_reset_as_a_fault_wants_it() -> None:
    with Double(tls=False) as double:  # a client's TLS tells both as the same end
        double.faults.add("GET /", "close")
        double.faults.add("GET /", "reset")
        with socket.create_connection(("127.0.0.1", double.port), timeout=5) as client:
            assert ask(client) == b""
        with (
            socket.create_connection(("127.0.0.1", double.port), timeout=5) as client,
            pytest.raises(ConnectionResetError),
        ):
            ask(client)
        assert [request.status for request in double.requests] == [None, None]


def test_what_is_garbled_says_that_it_is_what_every_answer_is(double: Double) -> None:
    double.faults.add("GET /", "garbled")
    with opened(double) as client:
        garbled, usual = ask(client), ask(client)
    assert (b"Content-Type: text/plain\r\n" in garbled, garbled.endswith(b"\r\n\r\n\xff")) == (True, True)
    assert usual.endswith(b"Content-Length: 5\r\nContent-Type: text/plain\r\n\r\ntrue\n")


def test_an_answer_that_a_client_has_is_finished_in_the_log(double: Double) -> None:
    with opened(double) as client:
        for number in range(50):
            ask(client)
            assert double.requests.all()[number].finished is not None
    assert (double.requests.peak(), double.requests.connections()) == (1, 1)


def test_what_is_no_http_ends_its_connection_and_is_not_logged(double: Double) -> None:
    with opened(double) as client:
        client.sendall(b"SSH-2.0-client\r\n")
        assert client.recv(100) == b""
    assert len(double.requests) == 0


def test_stopping_ends_silent_stalling_and_mute_connections_at_once(double: Double) -> None:
    double.faults.add("GET /", "stall_before", seconds=FOREVER_S)
    with opened(double) as silent, opened(double) as stalling:
        stalling.sendall(b"GET / HTTP/1.1\r\nHost: small\r\n\r\n")
        while not double.requests:
            time.sleep(0.01)
        double.mute = True
        mute = socket.create_connection(("127.0.0.1", double.port), timeout=5)
        time.sleep(0.1)
        with soon():
            double.stop()
            assert [client.recv(100) for client in (silent, stalling, mute)] == [b""] * 3
        mute.close()


def test_a_fault_that_nobody_knows_is_refused(double: Double) -> None:
    with pytest.raises(ValueError, match="no such fault: rest"):
        double.faults.add("GET /", "rest")
