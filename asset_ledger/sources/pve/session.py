"""HTTPS to one endpoint as Proxmox VE needs it: checked certificates, whole-request deadlines, no redirects.

`Session` stands below proxmoxer's ProxmoxResource in place of proxmoxer's own, whose timeout is for one read of a
socket, which follows redirects, cannot pin a certificate, and writes passwords to a debug log. Used by `client` alone.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit
from weakref import WeakSet

from asset_ledger.domain.errors import LedgerError, PermanentError
from asset_ledger.sources.pve import errors
from asset_ledger.sources.pve.config import PveConfig

_CONNECTIONS = 64
_MAX_BODY_BYTES = 256 << 20
_READ_BYTES = 1 << 16
_now = threading.local()


class AbandonedError(Exception):
    """The run was stopped."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. The names are those that proxmoxer looks for."""

    status_code: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> str:
        """What proxmoxer writes to its debug log: not the body, which may hold secrets."""
        return f"{len(self.body)} bytes"


class _DeadlineSocket(ssl.SSLSocket):
    """A TLS socket whose every step ends when the request of the calling thread must: a trickle cannot outlast it."""

    def do_handshake(self, block: bool = False) -> None:
        _now.session.opened(self)
        _bound(self)
        super().do_handshake(block)

    def read(self, len: int = 1024, buffer: bytearray | None = None) -> Any:  # noqa: A002
        _bound(self)
        return super().read(len, buffer)

    def send(self, data: Any, flags: int = 0) -> int:
        _bound(self)
        return super().send(data, flags)


def _bound(sock: ssl.SSLSocket) -> None:
    left = _now.limit - time.monotonic()
    if left <= 0:
        raise TimeoutError("the request's time is over")
    sock.settimeout(left)


class Session:
    """Connections to one endpoint. Threads share it; nothing is opened before the first request."""

    def __init__(self, config: PveConfig) -> None:
        import urllib3

        self._config = config
        self._timeout_s = config.timeout_ms / 1000
        parts = urlsplit(config.endpoint)
        self._target = parts.netloc
        self._sockets: WeakSet[ssl.SSLSocket] = WeakSet()
        self._sockets_lock = threading.Lock()
        self.stopped = threading.Event()
        if not config.tls_verify:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # every reading warns itself
        context = _context(config)
        self._pool = urllib3.HTTPSConnectionPool(
            parts.hostname or "",
            parts.port,
            maxsize=_CONNECTIONS,
            retries=False,
            ssl_context=context,
            cert_reqs=context.verify_mode,
            assert_hostname=None if context.check_hostname else False,
            assert_fingerprint=(config.fingerprint or "").replace(":", "") or None,
        )

    def request(
        self,
        method: str,
        url: str,
        data: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request and return its whole answer.

        Raises RetryableError(PVE_NETWORK_ERROR), PermanentError with PVE_TLS_ERROR, or with PVE_CONFIG_INVALID for a
        redirect, AbandonedError once stopped.
        """
        from urllib3.exceptions import HTTPError

        parts = urlsplit(url)
        path = f"{parts.path}?{urlencode(params)}" if params else parts.path
        body = urlencode(data) if data else None
        sent = {"Accept": "application/json", **(headers or {})}
        if method != "GET":
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        if self.stopped.is_set():
            raise AbandonedError
        _now.limit, _now.session = time.monotonic() + self._timeout_s, self
        try:
            reply = self._exchange(method, path, body, sent)
        except (HTTPError, OSError) as error:
            if self.stopped.is_set():
                raise AbandonedError from None
            raise self._error(error, f"{method} {parts.path}") from None
        if 300 <= reply.status_code <= 399:
            raise PermanentError(
                errors.CONFIG_INVALID,
                f"{method} {parts.path} was answered with a redirect ({reply.status_code}), which is not followed; "
                "name the server it leads to",
                target=self._target,
            )
        return reply

    def stop(self) -> None:
        """End every request that runs, in whichever thread, and let no other begin."""
        with self._sockets_lock:
            self.stopped.set()
            for sock in self._sockets:
                # below TLS, and no close: another thread may be reading from it
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
        self._pool.close()

    def opened(self, sock: ssl.SSLSocket) -> None:
        """Remember a connection, to end it on `stop`. Raises ConnectionAbortedError once stopped."""
        with self._sockets_lock:
            if self.stopped.is_set():
                raise ConnectionAbortedError("the run was stopped")
            self._sockets.add(sock)

    def _exchange(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Reply:
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        found = self._pool.urlopen(
            method,
            path,
            body=body,
            headers=headers,
            redirect=False,
            assert_same_host=False,
            timeout=Timeout(connect=self._timeout_s, read=self._timeout_s),
            preload_content=False,
            decode_content=False,
        )
        chunks: list[bytes] = []
        size = 0
        try:
            while chunk := found.read1(_READ_BYTES):
                chunks.append(chunk)
                size += len(chunk)
                if size > _MAX_BODY_BYTES:
                    raise HTTPError(f"more than {_MAX_BODY_BYTES >> 20} MiB")
        except BaseException:
            found.close()
            raise
        found.release_conn()
        return Reply(found.status, found.reason or "", found.headers, b"".join(chunks))

    def _error(self, error: Exception, what: str) -> LedgerError:
        from urllib3.exceptions import HTTPError, SSLError

        cause: BaseException = error
        while isinstance(cause, HTTPError | OSError):
            inner = next((one for one in cause.args if isinstance(one, Exception)), cause.__cause__)
            if inner is None:
                break
            cause = inner
        # a connection that ends while TLS is spoken is no certificate that is wrong
        tls = isinstance(error, SSLError | ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | TimeoutError)
        if tls and not isinstance(cause, ConnectionError):
            said = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or str(cause)
            return errors.error_of(errors.TLS_ERROR, f"{str(said).rstrip('.')} ({what})", self._target)
        said = _network_words(cause, self._timeout_s)
        return errors.error_of(errors.NETWORK_ERROR, f"{said} ({what})", self._target)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an answer of 400 and up says beside its status line, which a front proxy with HTTP/2 loses."""

    errors: Mapping[str, str]
    message: str
    retry_after_s: float | None
    readable: bool = True


class Serializer:
    """Hands replies through proxmoxer unread: what it makes of a body that is no JSON hides that it is none."""

    def loads(self, reply: Reply) -> Reply:
        """Return the reply."""
        return reply

    def loads_errors(self, reply: Reply) -> Refusal:
        """Return what a refusal says beside its status line."""
        after = reply.headers.get("Retry-After", "").strip()
        seconds = float(after) if after.isascii() and after.isdecimal() else None
        try:
            found = json.loads(reply.body)
        except (ValueError, RecursionError):
            found = {}  # an empty body, or a proxy's page
        if not isinstance(found, dict):
            return Refusal({}, "", seconds, readable=False)
        said, message = found.get("errors"), found.get("message")
        said = {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else {}
        return Refusal(said, message.strip() if isinstance(message, str) else "", seconds)


def _context(config: PveConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _DeadlineSocket
    if config.fingerprint or not config.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif config.ca_file is not None:
        try:
            context.load_verify_locations(config.ca_file)
        except (OSError, ssl.SSLError) as error:
            cause = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            message = f"ca_file {config.ca_file} cannot be used: {cause}"
            raise PermanentError(errors.CONFIG_INVALID, message, target=config.name) from None
    else:
        context.load_default_certs()
    return context


def _network_words(cause: BaseException, timeout_s: float) -> str:
    name = type(cause).__name__
    if isinstance(cause, TimeoutError) or "Timeout" in name:
        return f"no whole answer within {timeout_s:g} s"
    if isinstance(cause, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(cause, ConnectionError | ssl.SSLEOFError) or "RemoteDisconnected" in name:
        return "the connection was closed before the answer was whole"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    if "IncompleteRead" in name:
        return "the answer is shorter than it says it is"
    return " ".join(str(cause).split())[:200]
