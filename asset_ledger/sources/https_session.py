"""HTTPS to one endpoint: checked certificates, whole-request deadlines, no redirects, answers whole or as they come.

SDKs stand on it in place of sessions of their own, whose timeouts are for one read of a socket, which follow
redirects, cannot pin a certificate, and leave out the check where it is easily forgotten. Used by the clients of
platforms.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from asset_ledger.domain.errors import ErrorCode, LedgerError, PermanentError, error_of
from asset_ledger.domain.secrecy import REDACTED, holds_secret
from asset_ledger.sources import deadlines
from asset_ledger.sources.https_endpoint import HttpsConfig

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, HTTPSConnectionPool

_CONNECTIONS = 64
_MAX_BODY_BYTES = 256 << 20
_READ_BYTES = 1 << 16
_SHORTEST_SECRET = 4


class AbandonedError(Exception):
    """The run was stopped."""


@dataclass(frozen=True, slots=True)
class Codes:
    """What a platform calls the ways in which a request can fail."""

    config: ErrorCode
    network: ErrorCode
    tls: ErrorCode


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


def quotable(text: str, secrets: Iterable[str], most: int = 500) -> str:
    """Return a server's words fit to be stored and shown: one line, not too long, no secret."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            plain = plain.replace(secret, REDACTED)
    return REDACTED if holds_secret(plain) else plain[:most]


@cache
def _pool_type() -> type[HTTPSConnectionPool]:
    """Return urllib3's pool with connections that look for a server within the time of the request.

    urllib3 gives each address of a name the whole of it.
    """
    from urllib3 import HTTPSConnectionPool
    from urllib3.connection import HTTPSConnection
    from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError

    class Connection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            try:
                return deadlines.connected(self._dns_host.strip("[]"), self.port, deadlines.PlainSocket)
            except UnicodeError:
                raise LocationParseError(f"{self.host}: a part of the name is empty or too long") from None
            except socket.gaierror as error:
                raise NameResolutionError(self.host, self, error) from error
            except TimeoutError as error:
                raise ConnectTimeoutError(self, str(error)) from error
            except OSError as error:
                raise NewConnectionError(self, str(error)) from error

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    return Pool


class HttpsSession:
    """Connections to one endpoint. Threads share it; nothing is opened before the first request."""

    def __init__(self, config: HttpsConfig, codes: Codes) -> None:
        """Take what the source says of its server. Raises PermanentError where ca_file cannot be used."""
        import urllib3

        self.codes = codes
        self._timeout_s = config.timeout_ms / 1000
        parts = urlsplit(config.endpoint)
        self._target = parts.netloc
        self.sockets = deadlines.Sockets()
        self.stopped = self.sockets.stopped
        if not config.tls_verify:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # every reading warns itself
        context = _context(config, codes)
        self._pool = _pool_type()(
            parts.hostname or "",
            parts.port,
            maxsize=_CONNECTIONS,
            retries=False,
            ssl_context=context,
            cert_reqs=context.verify_mode,
            assert_hostname=None if context.check_hostname else False,
            assert_fingerprint=(config.fingerprint or "").replace(":", "") or None,
        )

    def send(
        self, method: str, path: str, body: bytes | str | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send one request and return its whole answer. Raises what `stream` raises."""
        with self.stream(method, path, body, headers) as answer:
            return answer.whole()

    def stream(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        within_s: float | None = None,
        what: str = "",
    ) -> Answer:
        """Send one request and return its answer with the body still to come, to be closed by the caller.

        `within_s` is the most it may take in all where that is less than the source's `timeout_ms`; what the caller
        does between two parts of the body is not counted. `what` stands in messages, where method and path say too
        little. Raises RetryableError with the platform's network code, PermanentError with its TLS code, or with its
        config code for a redirect, AbandonedError once stopped.
        """
        if self.stopped.is_set():
            raise AbandonedError
        limit_s = self._timeout_s if within_s is None else min(self._timeout_s, max(within_s, 0.001))
        clock = _Clock(self, limit_s, what or f"{method} {path.partition('?')[0]}")
        with clock:
            found = self._begin(method, path, body, headers or {}, limit_s)
        answer = Answer(clock, found)
        if 300 <= answer.status_code <= 399:
            answer.close()
            raise PermanentError(
                self.codes.config,
                f"{clock.what} was answered with a redirect ({answer.status_code}), which is not followed; "
                "name the server it leads to",
                target=self._target,
            )
        return answer

    def stop(self) -> None:
        """End every request that runs, in whichever thread, and let no other begin."""
        self.sockets.stop()
        self._pool.close()

    def _begin(
        self, method: str, path: str, body: bytes | str | None, headers: Mapping[str, str], limit_s: float
    ) -> BaseHTTPResponse:
        from urllib3 import Timeout

        return self._pool.urlopen(
            method,
            path,
            body=body,
            headers=headers,
            redirect=False,
            assert_same_host=False,
            timeout=Timeout(connect=limit_s, read=limit_s),
            preload_content=False,
            decode_content=False,
        )

    def failure(self, error: Exception, what: str, limit_s: float) -> Exception:
        """Return the error that a failed exchange is, in the platform's own codes."""
        from urllib3.exceptions import HTTPError, SSLError

        if self.stopped.is_set():
            return AbandonedError()
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
            return error_of(self.codes.tls, f"{str(said).rstrip('.')} ({what})", self._target)
        return self.cut(f"{_network_words(cause, limit_s)} ({what})")

    def cut(self, message: str) -> LedgerError:
        """Return the error of an exchange that brought nothing usable."""
        return error_of(self.codes.network, message, self._target)


class _Clock:
    """The time one request has left. It runs while the network is waited for: inside of `with`."""

    def __init__(self, session: HttpsSession, limit_s: float, what: str) -> None:
        self.session, self.what = session, what
        self.limit_s = self._left_s = limit_s

    def __enter__(self) -> None:
        self._began = time.monotonic()
        deadlines.begin(self._began + self._left_s, self.session.sockets)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._left_s -= time.monotonic() - self._began
        if error is not None:
            from urllib3.exceptions import HTTPError

            if isinstance(error, HTTPError | OSError):
                raise self.session.failure(error, self.what, self.limit_s) from None


class Answer:
    """One answer whose body is still to come. Closing it before its end closes the connection too."""

    def __init__(self, clock: _Clock, found: BaseHTTPResponse) -> None:
        self._clock, self._found = clock, found
        self.status_code = found.status
        self.reason = found.reason or ""
        self.headers: Mapping[str, str] = found.headers
        self.size = 0
        self._ended = False

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises what `HttpsSession.stream` raises; a body cut short is an error."""
        while not self._ended:
            with self._clock:
                chunk = self._found.read1(_READ_BYTES)
            if chunk:
                self.size += len(chunk)
                yield chunk
            else:
                self._ended = True
                self._found.release_conn()

    def all_of(self, header: str) -> list[str]:
        """Return every value of a header that may stand there more than once."""
        return list(self._found.headers.getlist(header))

    def whole(self, most_bytes: int = _MAX_BODY_BYTES) -> Reply:
        """Return the answer with the rest of its body. Raises the network error where that is too much."""
        chunks: list[bytes] = []
        for chunk in self:
            chunks.append(chunk)
            if self.size > most_bytes:
                raise self._clock.session.cut(f"more than {most_bytes >> 20} MiB ({self._clock.what})")
        return Reply(self.status_code, self.reason, self.headers, b"".join(chunks))

    def close(self) -> None:
        """Let go of the connection: it is used again where the body was read to its end."""
        if not self._ended:
            self._ended = True
            self._found.close()


def _context(config: HttpsConfig, codes: Codes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = deadlines.TlsSocket
    if config.fingerprint or not config.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif config.ca_file is not None:
        try:
            context.load_verify_locations(config.ca_file)
        except (OSError, ssl.SSLError) as error:
            cause = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            message = f"ca_file {config.ca_file} cannot be used: {cause}"
            raise PermanentError(codes.config, message, target=config.name) from None
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
