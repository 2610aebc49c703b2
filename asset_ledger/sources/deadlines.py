"""Sockets whose every step ends when the time of the calling thread is over, plain and TLS, and how they are opened.

A timeout of a socket is for one read of it, so a server that trickles outlasts any. Here a thread says once until when
it may take (`begin`), and every connect, handshake, read and write it makes is bounded by what is left. Stands below
`https_session` and `wsman`; no protocol lives here.
"""

from __future__ import annotations

import errno
import os
import queue
import selectors
import socket
import ssl
import threading
import time
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, TypeVar
from weakref import WeakSet

_LOOK_S = 0.2
_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY)
_now = threading.local()


class Sockets:
    """The connections of one session, which end together.

    With an event of somebody else's, whoever waits looks at it every 0.2 s: no more than setting it is needed.
    """

    def __init__(self, stopped: threading.Event | None = None) -> None:
        self.stopped = stopped or threading.Event()
        self.look_s = None if stopped is None else _LOOK_S
        self._open: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()

    def opened(self, sock: socket.socket) -> None:
        """Remember a connection, to end it on `stop`. Raises ConnectionAbortedError once stopped."""
        with self._lock:
            if self.stopped.is_set():
                raise ConnectionAbortedError("the run was stopped")
            self._open.add(sock)

    def stop(self) -> None:
        """End what waits on any of the connections, in whichever thread, and let no other begin."""
        with self._lock:
            self.stopped.set()
            for sock in self._open:
                # below TLS, and no close: another thread may be reading from it
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)


def begin(limit: float, sockets: Sockets) -> None:
    """Let the calling thread use these sockets until `limit`, a time of `time.monotonic`."""
    _now.limit, _now.sockets = limit, sockets


def left_s() -> float:
    """Return how many seconds the calling thread has left. Raises TimeoutError where that is none."""
    left: float = _now.limit - time.monotonic()
    if left <= 0:
        raise TimeoutError("the request's time is over")
    return left


def _turn_s() -> float:
    """Return how long the next wait may be. Raises TimeoutError, and ConnectionAbortedError once stopped."""
    sockets: Sockets = _now.sockets
    if sockets.look_s is None:
        return left_s()
    if sockets.stopped.is_set():
        raise ConnectionAbortedError("the run was stopped")
    return min(left_s(), sockets.look_s)


def _goes_on(error: TimeoutError) -> None:
    """Let a wait that only came to the end of its turn go on. Raises what the system itself says."""
    if error.errno is not None:
        raise error


class TlsSocket(ssl.SSLSocket):
    """A TLS socket under this law. A context makes them where its `sslsocket_class` is this one."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands within the time that is left."""
        _now.sockets.opened(self)
        while True:
            self.settimeout(_turn_s())
            try:
                return super().do_handshake(block)
            except TimeoutError as error:
                _goes_on(error)

    def read(self, len: int = 1024, buffer: bytearray | None = None) -> Any:  # noqa: A002
        """Read within the time that is left."""
        while True:
            self.settimeout(_turn_s())
            try:
                return super().read(len, buffer)
            except TimeoutError as error:
                _goes_on(error)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send within the time that is left. `sendall` is made of it."""
        while True:
            self.settimeout(_turn_s())
            try:
                return super().send(data, flags)
            except TimeoutError as error:
                _goes_on(error)


class PlainSocket(socket.socket):
    """A TCP socket under this law."""

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receive within the time that is left."""
        while True:
            self.settimeout(_turn_s())
            try:
                return super().recv(bufsize, flags)
            except TimeoutError as error:
                _goes_on(error)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive within the time that is left."""
        while True:
            self.settimeout(_turn_s())
            try:
                return super().recv_into(buffer, nbytes, flags)
            except TimeoutError as error:
                _goes_on(error)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send within the time that is left."""
        while True:
            self.settimeout(_turn_s())
            try:
                return super().send(data, flags)
            except TimeoutError as error:
                _goes_on(error)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of it within the time that is left."""
        with memoryview(data) as view, view.cast("B") as rest:
            sent = 0
            while sent < len(rest):
                sent += self.send(rest[sent:], flags)


S = TypeVar("S", bound=PlainSocket)


def connected(host: str, port: int | None, of_kind: type[S]) -> S:
    """Return a connection to the first address of a name that answers, each in its share of the time that is left.

    Raises socket.gaierror for the name, OSError of the last address. Where `Sockets` has an event of somebody else's,
    the name is bound to the time as well, in a thread of its own that lives until the system's resolver gives up;
    otherwise how long the name takes is up to that.
    """
    found = _looked_up(host, port)
    failed = OSError("the name has no address")
    for place, (family, kind, protocol, _, address) in enumerate(found):
        try:
            sock = of_kind(family, kind, protocol)
        except OSError as error:  # a family that this system has not
            failed = error
            continue
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _now.sockets.opened(sock)
            _connect(sock, address, time.monotonic() + left_s() / (len(found) - place))
        except OSError as error:
            sock.close()
            failed = error
        else:
            return sock
    raise failed


def _connect(sock: socket.socket, address: Any, until: float) -> None:
    sock.setblocking(False)
    failed = sock.connect_ex(address)
    if failed in _UNDER_WAY:
        with selectors.DefaultSelector() as waiting:
            waiting.register(sock, selectors.EVENT_WRITE)
            while not waiting.select(min(_turn_s(), max(until - time.monotonic(), 0))):
                if time.monotonic() >= until:
                    raise TimeoutError("the address does not answer")
        failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failed:
        raise OSError(failed, os.strerror(failed))
    sock.settimeout(left_s())


def _looked_up(host: str, port: int | None) -> list[Any]:
    if _now.sockets.look_s is None or _is_address(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    answers: queue.SimpleQueue[list[Any] | OSError | UnicodeError] = queue.SimpleQueue()

    def look() -> None:
        try:
            answers.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=look, name=f"looking up {host}"[:60], daemon=True).start()
    while True:
        try:
            answer = answers.get(timeout=_turn_s())
        except queue.Empty:
            continue
        except TimeoutError:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer from the resolver in time") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
