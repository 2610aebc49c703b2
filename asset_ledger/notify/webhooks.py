"""One message to one receiver, signed as Standard Webhooks say (standardwebhooks.com), and what came of it.

Certificates are checked, redirects are not followed, no proxy and no .netrc is asked, and the whole exchange ends in
its time. Of the answer its status alone is read. When and how often is `pipeline.deliveries`.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asset_ledger.domain.errors import CONFIG_INVALID, CREDENTIAL_UNREADABLE, PermanentError

TIMEOUT_S = 10.0
_FEWEST_BYTES = 24
"""Of a secret, as the specification asks."""
_PREFIX = "whsec_"
_FIELDS = ("secret", "old_secret")
_GONE = 410
_ABOUT_THE_MESSAGE = frozenset({400, 405, 406, 409, 411, 413, 414, 415, 422})
"""Answers that say something of this message, not of the receiver."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where messages go and what they are signed with: the secret of now, and while it is changed the one before."""

    name: str
    url: str
    secrets: tuple[bytes, ...]
    ca_file: Path | None = None

    def __repr__(self) -> str:
        return f"Receiver({self.name!r}, {self.url!r})"


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a message. `why` says why it did not arrive; `status` is None where nothing was answered.

    A receiver that is `gone` wants no more; one that is `away` may take the next message no better than this one.
    """

    status: int | None
    why: str | None = None
    gone: bool = False
    away: bool = False
    retry_after_s: int = 0

    @property
    def arrived(self) -> bool:
        return self.why is None


def secrets_of(fields: Mapping[str, str], reference: str) -> tuple[bytes, ...]:
    """Return the keys of a credential's `secret`, and of its `old_secret` where it has one.

    Raises PermanentError(CREDENTIAL_UNREADABLE) where one is not `whsec_` and base64 of 24 bytes or more.
    """
    if "secret" not in fields:
        raise PermanentError(CREDENTIAL_UNREADABLE, "it has no field secret, with whsec_…", target=reference)
    return tuple(_key(fields[field], field, reference) for field in _FIELDS if field in fields)


def send(to: Receiver, message_id: str, payload: str, *, now: datetime, timeout_s: float = TIMEOUT_S) -> Answered:
    """Send a message, and say what came of it. Raises PermanentError(CONFIG_INVALID) for a receiver that cannot be
    used as it is written: its URL, its ca_file."""
    import standardwebhooks

    parts = urlsplit(to.url)
    host, port = checked(to.url)
    at = now.astimezone(UTC)  # the library takes any other zone's time for UTC
    signed = " ".join(standardwebhooks.Webhook(key).sign(message_id, at, payload) for key in to.secrets)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "asset-ledger",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signed,
        "Connection": "close",
    }
    context = _context(to) if parts.scheme == "https" else None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with _connected(host, port, context, timeout_s) as connection:
            connection.request("POST", path, payload.encode(), headers)
            answer = connection.getresponse()
            return _judged(answer.status, answer.headers.get("Retry-After", ""))
    except (OSError, http.client.HTTPException) as error:
        return Answered(None, _words(error, timeout_s), away=True)


def checked(url: str) -> tuple[str, int]:
    """Return host and port of a receiver's URL: https, or http to this machine. Raises PermanentError(CONFIG_INVALID).

    The URL itself is not in the message: some keep a secret in theirs.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = (parts.hostname or "").encode("idna").decode() if parts.hostname else ""
    except (ValueError, UnicodeError):
        raise PermanentError(CONFIG_INVALID, "the url of a webhook is not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise PermanentError(CONFIG_INVALID, "a user or password does not belong into the url of a webhook")
    if not host or parts.scheme not in ("https", "http") or (parts.scheme == "http" and not _is_here(host)):
        raise PermanentError(
            CONFIG_INVALID, "the url of a webhook begins with https://, or with http:// to 127.0.0.1, ::1 or localhost"
        )
    if not (parts.path + parts.query).isascii() or not url.isprintable() or " " in url:
        raise PermanentError(CONFIG_INVALID, "percent-encode the signs of a webhook's url that are not ASCII")
    return host, port


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key(text: str, field: str, reference: str) -> bytes:
    said = text.strip().removeprefix(_PREFIX)
    try:
        key = base64.b64decode(said + "=" * (-len(said) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.strip().startswith(_PREFIX) or len(key) < _FEWEST_BYTES:
        # outside of the handler: what the decoder says may quote it
        raise PermanentError(
            CREDENTIAL_UNREADABLE,
            f"the field {field} is not {_PREFIX} and the base64 of {_FEWEST_BYTES} bytes or more",
            target=reference,
        )
    return key


def _context(to: Receiver) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=to.ca_file)
    except (OSError, ssl.SSLError) as error:
        cause = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise PermanentError(
            CONFIG_INVALID, f"ca_file {to.ca_file} cannot be used: {cause}", target=f"webhook {to.name}"
        ) from None


@contextmanager
def _connected(
    host: str, port: int, context: ssl.SSLContext | None, timeout_s: float
) -> Iterator[http.client.HTTPConnection]:
    """Open a connection that ends when the time is over, whatever comes over it: a timeout of a socket is for one
    read of it, so a receiver that trickles would outlast any. Looking up its name counts."""
    until = time.monotonic() + timeout_s
    opened = _opened(_addresses(host, port, timeout_s), until)
    over = threading.Event()

    def end() -> None:
        over.set()
        with suppress(OSError):  # below TLS, and no close: the other thread may be reading from it
            opened_below.shutdown(socket.SHUT_RDWR)

    # wrapping TLS around it takes the descriptor away from it
    opened_below = opened.dup()
    watch = threading.Timer(max(until - time.monotonic(), 0), end)
    watch.daemon = True
    watch.start()
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        wire: socket.socket = opened
        if context is not None:
            wire = context.wrap_socket(opened, server_hostname=host)
            # it says the port in Host unless it is the scheme's own, which it takes for http's
            connection.default_port = http.client.HTTPS_PORT
        connection.sock = wire
        yield connection
    except (OSError, http.client.HTTPException) as error:
        if over.is_set():
            raise TimeoutError from error
        raise
    finally:
        watch.cancel()
        connection.close()
        opened.close()
        opened_below.close()


def _addresses(host: str, port: int, timeout_s: float) -> list[Any]:
    """Look up a name, in a thread: a resolver that does not answer cannot be told to stop. Raises OSError."""
    answers: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def look() -> None:
        try:
            answers.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except OSError as error:
            answers.put(error)

    threading.Thread(target=look, name="looking up a webhook", daemon=True).start()
    try:
        found = answers.get(timeout=timeout_s)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, OSError):
        raise found
    return found


def _opened(addresses: Sequence[Any], until: float) -> socket.socket:
    """Connect to the first address that answers. Each has its share of the time, so that one that is silent leaves some
    to the others. Raises OSError."""
    refused: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        opened: socket.socket | None = None
        try:
            opened = socket.socket(family, kind, protocol)
            opened.settimeout(left_s / (len(addresses) - number))
            opened.connect(address)
            opened.settimeout(max(until - time.monotonic(), 0.001))
        except OSError as error:
            if opened is not None:
                opened.close()
            refused = error
        else:
            return opened
    raise refused


def _judged(status: int, retry_after: str) -> Answered:
    if 200 <= status <= 299:
        return Answered(status)
    if 300 <= status <= 399:
        why = f"answered with a redirect ({status}), which is not followed; name the receiver it leads to"
    elif status == _GONE:
        return Answered(status, "answered 410: it wants no such messages any more", gone=True)
    else:
        why = f"answered {status}"
    wait_s = int(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 8 else 0
    return Answered(status, why, away=status not in _ABOUT_THE_MESSAGE, retry_after_s=wait_s)


def _words(error: Exception, timeout_s: float) -> str:
    """Return why nothing was answered. Never the answer's own words: a receiver may say back what it was sent."""
    match error:
        case ssl.SSLCertVerificationError():
            said = f"its certificate is not trusted: {error.verify_message.rstrip('.')}"
        case TimeoutError():
            said = f"no answer within {timeout_s:g} s"
        case socket.gaierror():
            said = "its name has no address"
        case ConnectionRefusedError():
            said = "the connection was refused"
        case ConnectionError() | ssl.SSLEOFError():  # RemoteDisconnected is one
            said = "the connection was closed before an answer"
        case ssl.SSLError():
            said = f"TLS failed: {error.reason or type(error).__name__}"
        case OSError() if error.strerror:
            said = error.strerror
        case _:
            said = f"its answer is no HTTP ({type(error).__name__})"
    return said
