"""How a connection to one host is opened: within the time there is, and to a host that its certificate names.

No HTTP lives here. Used by `http_client`; `context_of` is for the platforms, which share one context a source.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any

from asset_ledger.domain.errors import PermanentError, TargetError
from asset_ledger.sources import deadlines
from asset_ledger.sources.https_session import AbandonedError, quotable
from asset_ledger.sources.wsman.causes import TooMuchError, failure_of
from asset_ledger.sources.wsman.config import WsmanConfig
from asset_ledger.sources.wsman.terms import Codes, Trace

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")


@dataclass(frozen=True, slots=True)
class Host:
    """Whom to speak with: the address dialled, and the names a certificate may hold instead of it."""

    address: str
    port: int
    names: tuple[str, ...]

    def url(self, scheme: str) -> str:
        """The URL of its WS-Management."""
        return f"{scheme}://{f'[{self.address}]' if ':' in self.address else self.address}:{self.port}/wsman"


class Meter:
    """Counts what goes over a connection, and ends it where one exchange brings too much."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.left = 0

    def took(self, size: int) -> int:
        self._trace.bytes_in += size
        self.left -= size
        if self.left < 0:
            raise TooMuchError
        return size

    def sent(self, size: int) -> int:
        self._trace.bytes_out += size
        return size


class _PlainSocket(deadlines.PlainSocket):
    meter: Meter

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        return self.meter.took(super().recv_into(buffer, nbytes, flags))

    def send(self, data: Any, flags: int = 0) -> int:
        return self.meter.sent(super().send(data, flags))


class _TlsSocket(deadlines.TlsSocket):
    meter: Meter

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        return self.meter.took(super().recv_into(buffer, nbytes, flags))

    def send(self, data: Any, flags: int = 0) -> int:
        return self.meter.sent(super().send(data, flags))


def context_of(config: WsmanConfig, codes: Codes) -> ssl.SSLContext | None:
    """Return what all connections of a source share: loading the CAs costs more than reading a host. None for HTTP.

    Raises PermanentError where ca_file cannot be used.
    """
    if not config.https:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _TlsSocket
    context.check_hostname = False  # `_matched` looks for the address and every known name
    if not config.tls_verify:
        context.verify_mode = ssl.CERT_NONE
    elif config.ca_file is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(config.ca_file)
        except (OSError, ssl.SSLError) as error:
            cause = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            message = f"ca_file {config.ca_file} cannot be used: {cause}"
            raise PermanentError(codes.config, message, target=config.name) from None
    return context


@dataclass(frozen=True, slots=True)
class Dial:
    """Opens connections to one host for the calling thread."""

    config: WsmanConfig
    codes: Codes
    host: Host
    context: ssl.SSLContext | None
    trace: Trace
    meter: Meter

    def open(self, limit: float, sockets: deadlines.Sockets) -> socket.socket:
        """Return a connection, over TLS where the source says so. Raises TargetError, AbandonedError."""
        with self.trace.step("connect"):
            sock = self._dialled(limit, sockets)
        self.trace.connections += 1
        sock.meter = self.meter
        if self.context is None:
            return sock
        with self.trace.step("tls"):
            return self._with_tls(sock, self.context, sockets)

    def _dialled(self, limit: float, sockets: deadlines.Sockets) -> _PlainSocket:
        codes, address, port = self.codes, self.host.address, self.host.port
        failure: Exception
        limit_s = min(self.config.connect_timeout_s, deadlines.left_s())
        deadlines.begin(time.monotonic() + limit_s, sockets)
        try:
            found = deadlines.connected(address, port, _PlainSocket)
            deadlines.begin(limit, sockets)
            return found
        except (socket.gaierror, UnicodeError) as error:
            said = getattr(error, "strerror", None) or "a part of the name is empty or too long"
            failure = TargetError(codes.dns, f"{address} does not resolve: {said}", target=address)
        except TimeoutError:
            message = f"no TCP connection to port {port} within {limit_s:g} s"
            late = limit_s < self.config.connect_timeout_s
            failure = TargetError(codes.deadline if late else codes.timeout, message, target=address)
        except ConnectionResetError:
            failure = TargetError(codes.lost, f"port {port}: the connection was closed at once", target=address)
        except OSError as error:
            said = "the connection was refused" if isinstance(error, ConnectionRefusedError) else error.strerror
            failure = TargetError(codes.refused, f"port {port}: {said or error}", target=address)
        raise AbandonedError if sockets.stopped.is_set() else failure

    def _with_tls(self, sock: _PlainSocket, context: ssl.SSLContext, sockets: deadlines.Sockets) -> socket.socket:
        wanted = next((name for name in self.host.names if _NAME.fullmatch(name)), self.host.address)
        failure: Exception
        wrapped: _TlsSocket | None = None
        try:
            wrapped = context.wrap_socket(sock, server_hostname=wanted)  # type: ignore[assignment]
            assert isinstance(wrapped, _TlsSocket)
            wrapped.meter = self.meter
            self._matched(wrapped, context)
            return wrapped
        except (OSError, ValueError) as error:
            failure = AbandonedError() if sockets.stopped.is_set() else self._failed(error)
        except TargetError as error:
            failure = error
        (wrapped or sock).close()
        raise failure.with_traceback(None)

    def _matched(self, sock: _TlsSocket, context: ssl.SSLContext) -> None:
        """Check that the certificate is the host's own. Raises TargetError."""
        from urllib3.util.ssl_match_hostname import CertificateError, match_hostname

        shown = sock.getpeercert(binary_form=True)
        self.trace.certificate_sha256 = hashlib.sha256(shown).hexdigest() if shown else None
        if context.verify_mode == ssl.CERT_NONE:
            return
        certificate = sock.getpeercert()
        for name in dict.fromkeys((self.host.address, *self.host.names)):
            try:
                match_hostname(certificate, name)  # type: ignore[arg-type]
            except (CertificateError, ValueError):
                continue
            return
        held = [str(value) for _, value in (certificate or {}).get("subjectAltName", ())]  # type: ignore[misc]
        wanted = " or ".join(dict.fromkeys((self.host.address, *self.host.names)))
        said = quotable(", ".join(held), (), 200) or "no name at all"
        raise TargetError(self.codes.tls, f"the certificate is for {said}, not for {wanted}", target=self.host.address)

    def _failed(self, error: BaseException) -> TargetError:
        what, codes, address = "the TLS handshake", self.codes, self.host.address
        deadline_s = self.config.deadline_s
        failure = failure_of(error, what, codes, target=address, deadline_s=deadline_s, logged_in=False)
        if failure.code is codes.lost:
            message = f"{failure.message}; a port without TLS, or a host that knows none newer than TLS 1.1, does that"
            return TargetError(codes.lost, message, target=address)
        return failure
