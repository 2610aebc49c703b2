"""Sockets bound to the time of the calling thread: silence, trickles, a peer that does not read, a stop from outside."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from asset_ledger.sources import deadlines
from tests.patience import FOREVER_S, soon


@pytest.fixture
def ends() -> Iterator[tuple[deadlines.PlainSocket, socket.socket]]:
    """A connection: our end, and the other's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        deadlines.begin(time.monotonic() + FOREVER_S, deadlines.Sockets())
        ours = deadlines.connected("127.0.0.1", listening.getsockname()[1], deadlines.PlainSocket)
        other, _ = listening.accept()
        with ours, other:
            yield ours, other


def test_what_comes_in_time_is_read(ends: tuple[deadlines.PlainSocket, socket.socket]) -> None:
    ours, other = ends
    other.sendall(b"hello")
    buffer = bytearray(3)
    assert (ours.recv(2), ours.recv_into(buffer), bytes(buffer)) == (b"he", 3, b"llo")
    ours.sendall(memoryview(b"back"))
    assert other.recv(9) == b"back"


@pytest.mark.parametrize(
    "step",
    [
        lambda sock: sock.recv(1),
        lambda sock: sock.recv_into(bytearray(1)),
        lambda sock: sock.sendall(bytes(64 << 20)),
        lambda sock: [sock.send(bytes(1 << 20)) for _ in range(100)],
    ],
)
@pytest.mark.parametrize("watched", [False, True])
def test_no_step_outlasts_the_limit(
    ends: tuple[deadlines.PlainSocket, socket.socket], step: Callable[[socket.socket], object], watched: bool
) -> None:
    began = time.monotonic()
    deadlines.begin(began + 0.5, deadlines.Sockets(threading.Event() if watched else None))
    with soon(), pytest.raises(TimeoutError):
        step(ends[0])
    assert time.monotonic() - began > 0.4
    with pytest.raises(TimeoutError, match="time is over"):
        step(ends[0])


def test_a_trickle_cannot_outlast_the_limit(ends: tuple[deadlines.PlainSocket, socket.socket]) -> None:
    ours, other = ends
    enough = threading.Event()

    def trickle() -> None:
        for _ in range(int(FOREVER_S / 0.05)):
            if enough.wait(0.05):
                return
            other.send(b".")
        other.shutdown(socket.SHUT_RDWR)

    dripping = threading.Thread(target=trickle)
    dripping.start()
    deadlines.begin(time.monotonic() + 0.5, deadlines.Sockets())
    try:
        with soon(), pytest.raises(TimeoutError):
            all(iter(lambda: ours.recv(1), b""))
    finally:
        enough.set()
        dripping.join()


@pytest.mark.parametrize("by_event", [False, True])
def test_a_stop_from_another_thread_ends_what_waits(by_event: bool) -> None:
    event = threading.Event()
    sockets = deadlines.Sockets(event if by_event else None)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        deadlines.begin(time.monotonic() + FOREVER_S, sockets)
        ours = deadlines.connected("127.0.0.1", listening.getsockname()[1], deadlines.PlainSocket)
        other, _ = listening.accept()
        timer = threading.Timer(0.2, event.set if by_event else sockets.stop)
        timer.start()
        with soon(), ours, other:
            if by_event:
                with pytest.raises(ConnectionAbortedError):
                    ours.recv(1)
            else:
                assert ours.recv(1) == b""
        timer.join()
        with pytest.raises(ConnectionAbortedError):
            deadlines.connected("127.0.0.1", listening.getsockname()[1], deadlines.PlainSocket)


def test_an_error_of_the_system_is_told_as_it_is() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    deadlines.begin(time.monotonic() + FOREVER_S, deadlines.Sockets())
    with pytest.raises(ConnectionRefusedError):
        deadlines.connected("127.0.0.1", port, deadlines.PlainSocket)
    with pytest.raises(socket.gaierror):
        deadlines.connected("no-such-host.invalid", port, deadlines.PlainSocket)
    deadlines.begin(time.monotonic() + FOREVER_S, deadlines.Sockets(threading.Event()))
    with pytest.raises(socket.gaierror):
        deadlines.connected("no-such-host.invalid", port, deadlines.PlainSocket)
    with pytest.raises(UnicodeError):
        deadlines.connected("a" * 70 + ".test", port, deadlines.PlainSocket)
