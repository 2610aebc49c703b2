"""One probe of one host over SSH: dial, check the host key, log in, run the script, read its output.

Raises TargetError with an SSH code; knows nothing of raw records or of other hosts (`collector` does).
The total deadline is kept at the socket, so that no wait inside paramiko can outlast it.
"""

from __future__ import annotations

import errno
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asset_ledger.domain.errors import ErrorCode, TargetError
from asset_ledger.sources.https_session import AbandonedError
from asset_ledger.sources.ssh import errors
from asset_ledger.sources.ssh.config import SshConfig
from asset_ledger.sources.ssh.hostkeys import KnownHosts, fingerprint, host_name
from asset_ledger.sources.ssh.login import Login

if TYPE_CHECKING:
    import paramiko

_PARAMIKO_LOG = "asset_ledger.sources.ssh.paramiko"
_TURN_S = 0.25
_READ_BYTES = 32768
_CIPHERS_FIRST = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""Authenticated ciphers: sound, and paramiko checks the MAC of the others byte by byte in Python."""

_PASSING = "Invalid packet blocking"
"""What paramiko 5.1 says in about one of 200 parallel probes, and not when asked again."""


class TransientError(Exception):
    """A failure that is known to pass when the host is asked again at once. `final` is what it else means."""

    def __init__(self, final: TargetError) -> None:
        super().__init__(str(final))
        self.final = final


@dataclass(frozen=True, slots=True)
class Order:
    """What to run, where, as whom."""

    address: str
    port: int
    login: Login
    command: str
    script: bytes


@dataclass(slots=True)
class Trace:
    """What a probe has come to so far; filled step by step, so that a failure shows how far it got."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    host_key_fingerprint: str | None = None
    accepted_first: bool = False
    remote_version: str | None = None
    exit_status: int | None = None
    output: bytearray = field(default_factory=bytearray)
    stderr_bytes: int = 0
    attempts: int = 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.steps.append({"step": name, "ms": round((time.monotonic() - began) * 1000)})


class _GuardedSocket:
    """A socket that raises TimeoutError past its limit, and AbandonedError when the run was stopped.

    Without NODELAY and a QUICKACK before every read (Linux clears the flag itself) each probe pays
    several stalls of 40 ms; paramiko sets neither.
    """

    def __init__(self, sock: socket.socket, stop: threading.Event) -> None:
        self._sock = sock
        self._stop = stop
        self.limit = float("inf")
        self.expired = False
        self.bytes_in = 0
        self._ahead = b""  # paramiko reads a packet in three pieces; one system call is enough for many packets
        with suppress(OSError):  # a peer that has already gone: the first read says so
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._quickack = getattr(socket, "TCP_QUICKACK", None)

    def _guard(self) -> None:
        if self._stop.is_set() or time.monotonic() > self.limit:
            self.expired = True
            # not a TimeoutError: paramiko takes that for "nothing yet" and asks again
            raise ConnectionAbortedError(errno.ECONNABORTED, "the probe's time is over")

    def recv(self, size: int) -> bytes:
        self._guard()
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        if self._quickack is not None:
            self._sock.setsockopt(socket.IPPROTO_TCP, self._quickack, 1)
        data = self._sock.recv(max(size, _READ_BYTES))
        self.bytes_in += len(data)
        self._ahead = data[size:]
        return data[:size]

    def send(self, data: bytes) -> int:
        self._guard()
        return self._sock.send(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Session:
    """One connection to one host. `run` may be called once."""

    def __init__(self, config: SshConfig, known: KnownHosts, stop: threading.Event) -> None:
        self._config = config
        self._known = known
        self._stop = stop

    def run(self, order: Order, trace: Trace) -> None:
        """Probe the host; its output is in `trace`. Tries once more after a failure that is known to pass.

        Raises TargetError, or AbandonedError when the run was stopped.
        """
        end = time.monotonic() + self._config.deadline_s
        while True:
            trace.attempts += 1
            try:
                return self._attempt(order, trace, end)
            except TransientError as passing:
                wait = (
                    0.2 + 0.3 * (hash((order.address, order.port)) % 8) / 8
                )  # spread out: MaxStartups drops whole herds
                if trace.attempts > 1 or time.monotonic() + wait >= end:
                    raise passing.final from None
                if self._stop.wait(wait):
                    raise AbandonedError from None

    def _attempt(self, order: Order, trace: Trace, end: float) -> None:
        import paramiko

        trace.output.clear()
        with trace.step("tcp"):
            guarded = _GuardedSocket(self._dial(order.address, order.port, end), self._stop)
        try:
            transport = paramiko.Transport(guarded)  # type: ignore[arg-type]
        except BaseException:
            guarded.close()
            raise
        try:
            logging.getLogger(_PARAMIKO_LOG).setLevel(logging.CRITICAL + 1)  # what matters is raised
            transport.set_log_channel(_PARAMIKO_LOG)
            with trace.step("handshake"):
                guarded.limit = min(end, time.monotonic() + self._config.handshake_timeout_s)
                with self._named(guarded, transport, end=end, step="handshake", address=order.address):
                    self._handshake(transport, guarded, host_name(order.address, order.port), trace)
            with trace.step("auth"):
                guarded.limit = min(end, time.monotonic() + self._config.handshake_timeout_s)
                with self._named(guarded, transport, end=end, step="auth", address=order.address):
                    self._log_in(transport, order)
            with trace.step("exec"):
                guarded.limit = end
                with self._named(guarded, transport, end=end, step="exec", address=order.address):
                    self._execute(transport, guarded, order, trace)
        finally:
            transport.close()
            guarded.close()  # Transport.close does nothing once its thread has ended

    def _dial(self, address: str, port: int, end: float) -> socket.socket:
        """Connect in short turns, so that a stopped run does not wait for dead hosts."""
        try:
            family, kind, protocol, _, sockaddr = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            raise TargetError(errors.DNS, f"{address} does not resolve: {error.strerror}", target=address) from error
        limit = min(end, time.monotonic() + self._config.connect_timeout_s)
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            status = sock.connect_ex(sockaddr)
            poll = select.poll()
            poll.register(sock, select.POLLOUT)
            while status == errno.EINPROGRESS:
                left = limit - time.monotonic()
                if self._stop.is_set():
                    raise AbandonedError
                if left <= 0:
                    status = errno.ETIMEDOUT
                elif poll.poll(min(_TURN_S, left) * 1000):
                    status = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    break
            if status not in (0, errno.ECONNRESET):  # accepted and dropped at once: the handshake names that
                code = errors.TIMEOUT if status == errno.ETIMEDOUT else errors.REFUSED
                raise TargetError(
                    code, f"port {port}: {errno.errorcode.get(status, str(status))} while connecting", target=address
                )
        except BaseException:
            sock.close()
            raise
        return sock

    def _handshake(self, transport: paramiko.Transport, guarded: _GuardedSocket, name: str, trace: Trace) -> None:
        options = transport.get_security_options()
        options.key_types = self._known.preferred_algorithms(name, tuple(options.key_types))
        options.ciphers = tuple(dict.fromkeys((*_CIPHERS_FIRST, *options.ciphers)))
        transport.banner_timeout = self._config.handshake_timeout_s + 1  # the guarded socket's limit comes first
        negotiated = threading.Event()
        transport.start_client(event=negotiated)
        negotiated.wait(max(0.0, guarded.limit - time.monotonic()) + 1)
        trace.remote_version = transport.remote_version or None
        if not negotiated.is_set() or not transport.is_active():
            raise transport.get_exception() or EOFError()
        key = transport.get_remote_server_key()
        blob = key.asbytes()
        trace.host_key_fingerprint = fingerprint(blob)
        trace.accepted_first = self._known.verify(name, key.get_name(), blob)

    def _log_in(self, transport: paramiko.Transport, order: Order) -> None:
        login = order.login
        transport.auth_timeout = self._config.handshake_timeout_s + 1
        if login.key is not None:
            further = transport.auth_publickey(login.username, login.key)
        else:
            further = transport.auth_password(login.username, login.password or "")
        if further:
            raise TargetError(
                errors.AUTH_FAILED, f"the host wants a further login step: {', '.join(further)}", target=order.address
            )

    def _execute(self, transport: paramiko.Transport, guarded: _GuardedSocket, order: Order, trace: Trace) -> None:
        import paramiko

        left = max(0.1, guarded.limit - time.monotonic())
        try:
            channel = transport.open_session(timeout=left)
            channel.settimeout(left)
            arrived = threading.Event()
            channel.in_buffer.set_event(arrived)
            channel.in_stderr_buffer.set_event(arrived)
            channel.exec_command(order.command)
        except (paramiko.ChannelException, paramiko.SSHException) as error:
            if transport.is_active():
                raise TargetError(
                    errors.SHELL_DENIED, f"the host refuses to run a command: {error}", target=order.address
                ) from error
            raise
        with suppress(OSError):  # a forced command may not read its input; its output tells
            channel.sendall(order.script)
            channel.shutdown_write()
        self._drain(channel, arrived, guarded, trace)
        if channel.status_event.wait(min(2.0, max(0.0, guarded.limit - time.monotonic()))) and channel.exit_status >= 0:
            trace.exit_status = channel.exit_status
        elif not transport.is_active() or guarded.expired:
            raise transport.get_exception() or EOFError()

    def _drain(
        self,
        channel: paramiko.Channel,
        arrived: threading.Event,
        guarded: _GuardedSocket,
        trace: Trace,
    ) -> None:
        """Read both streams until the host closes them: one left unread fills its window and stalls the other."""
        cap = self._config.output_cap_bytes
        while True:
            arrived.clear()
            over = channel.eof_received or channel.closed
            while channel.recv_ready() or channel.recv_stderr_ready():
                if channel.recv_ready():
                    trace.output += channel.recv(65536)
                if channel.recv_stderr_ready():
                    trace.stderr_bytes += len(channel.recv_stderr(65536))
                if len(trace.output) + trace.stderr_bytes > cap:
                    del trace.output[cap:]
                    raise TargetError(errors.OUTPUT_CAP, f"more than {cap} bytes on stdout and stderr together")
            if over:
                return
            arrived.wait(max(0.0, guarded.limit - time.monotonic()) + 1)

    @contextmanager
    def _named(
        self, guarded: _GuardedSocket, transport: paramiko.Transport, *, end: float, step: str, address: str
    ) -> Iterator[None]:
        """Turn what paramiko and the socket raise in one step into a TargetError with a stable code."""
        import paramiko

        def failure(code: ErrorCode, message: str) -> TargetError:
            return TargetError(code, message, target=address)

        try:
            yield
        except TargetError:
            raise
        except (paramiko.SSHException, EOFError, OSError) as error:
            if self._stop.is_set():
                raise AbandonedError from error
            if guarded.expired or time.monotonic() > guarded.limit:
                raise self._too_late(transport, end, step, failure) from error
            raise _named_error(error, transport, step, guarded.bytes_in, failure) from error

    def _too_late(
        self, transport: paramiko.Transport, end: float, step: str, failure: Callable[[ErrorCode, str], TargetError]
    ) -> TargetError:
        if time.monotonic() > end:
            return failure(errors.DEADLINE, f"not done after {self._config.deadline_s:g} s, while in step {step}")
        wait = self._config.handshake_timeout_s
        if not transport.remote_version:
            return failure(errors.BANNER_TIMEOUT, f"no SSH greeting within {wait:g} s of the connection")
        return failure(errors.HANDSHAKE_TIMEOUT, f"step {step} was not done within {wait:g} s")


def _named_error(
    error: Exception,
    transport: paramiko.Transport,
    step: str,
    bytes_in: int,
    failure: Callable[[ErrorCode, str], TargetError],
) -> TargetError | TransientError:
    import paramiko

    text = str(error) or type(error).__name__
    lost = failure(errors.CONNECTION_LOST, f"in step {step}: {text}")
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer) or "agree on a pubkey algorithm" in text:
        return failure(errors.LEGACY, f"{transport.remote_version or 'the host'}: {text}")
    if isinstance(error, paramiko.BadAuthenticationType):
        return failure(errors.AUTH_FAILED, f"the host takes only: {', '.join(error.allowed_types)}")
    if isinstance(error, paramiko.AuthenticationException):
        # paramiko raises the same class for a lost connection as for a refusal
        return lost if "EOF" in text else failure(errors.AUTH_FAILED, "the host refused the login")
    if "protocol version" in text:
        return failure(errors.UNEXPECTED_OUTPUT, f"the port does not speak SSH (it sent {bytes_in} bytes)")
    # closed before any greeting: sshd drops connections at random above MaxStartups
    ungreeted = step == "handshake" and not transport.remote_version
    return TransientError(lost) if ungreeted or _PASSING in text else lost
