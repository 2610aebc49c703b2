"""The server, asked over HTTPS: certificates checked, no redirect followed, no proxy asked, everything in its time.

What an answer means for the agent is `run`'s to say; here it is read, up to a limit, and no further.
"""

from __future__ import annotations

import gzip
import json
import random
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from asset_ledger.domain.errors import AGENT_SERVER_UNAVAILABLE, CONFIG_INVALID, PermanentError, RetryableError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

CONNECT_S, READ_S, WHOLE_S = 10.0, 30.0, 60.0
_MOST_ANSWER = 1 << 20
_PACK_FROM = 1024
_LONGEST_WAIT_S = 3600.0
_SAID = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said. `retry_after_s` is None where it named no time."""

    status: int
    body: bytes
    retry_after_s: float | None = None

    @property
    def document(self) -> dict[str, Any] | None:
        """The JSON object that was answered; None where it is none: who answered is not the ledger."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    @property
    def words(self) -> str:
        """What the server says of it, for a log: one line, without signs that a terminal would obey."""
        said = (self.document or {}).get("message")
        text = " ".join(str(said).split()) if isinstance(said, str) else ""
        plain = "".join(sign if sign.isprintable() else "?" for sign in text)[:_SAID]
        return f"answered {self.status}" + (f": {plain}" if plain else "")


class BackOff:
    """How long to wait after each failure: twice as long as before, up to five minutes, never two agents alike."""

    def __init__(self, *, first_s: float = 1.0, most_s: float = 300.0) -> None:
        self._first, self._most, self._failed = first_s, most_s, 0

    def succeeded(self) -> None:
        """Begin anew."""
        self._failed = 0

    def failed(self, retry_after_s: float | None = None) -> float:
        """Count a failure and return the seconds until the next try; never less than the server asked for."""
        longest = min(self._first * 2.0 ** min(self._failed, 30), self._most)
        self._failed += 1
        wait = longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret, only no herd
        if retry_after_s:
            # all who were told the same second come in the time after it
            wait = max(wait, retry_after_s + random.uniform(0, max(retry_after_s / 4, 1.0)))  # noqa: S311
        return wait


class Client:
    """One server. A connection is kept for the next request."""

    def __init__(self, server: str, ca_file: str | None = None) -> None:
        import urllib3  # which asks the system for a socket when it is loaded

        self._server = server_url(server)
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise PermanentError(CONFIG_INVALID, f"the CA file cannot be used: {why}", target=ca_file) from None
        self._kept = False
        self._pools = urllib3.PoolManager(
            maxsize=1,
            ssl_context=context,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            headers={"User-Agent": "asset-ledger-agent", "Accept": "application/json"},
        )

    @property
    def server(self) -> str:
        return self._server

    def close(self) -> None:
        """Let go of the connection."""
        self._kept = False
        self._pools.clear()

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str,
        document: Mapping[str, Any] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Ask and return the answer, whatever its status. Raises RetryableError(AGENT_SERVER_UNAVAILABLE).

        A body is JSON: `document`, or the bytes of one.
        """
        headers: dict[str, str] = {}
        if document is not None:
            body = json.dumps(document).encode()
        if body is not None:
            headers["Content-Type"] = "application/json"
            if len(body) >= _PACK_FROM:
                headers["Content-Encoding"] = "gzip"
                body = gzip.compress(body, mtime=0)
        until = time.monotonic() + WHOLE_S
        with self.opened(method, path, token=token, headers=headers, body=body) as answer:
            content = bytearray()
            # what is there at once: a whole piece of a server that trickles may be awaited for ever
            while chunk := answer.read1(1 << 16):
                content += chunk
                if len(content) > _MOST_ANSWER:
                    raise self.away(f"it answered more than {_MOST_ANSWER} bytes")
                if time.monotonic() > until:
                    raise self.away(f"its answer took longer than {WHOLE_S:g} s")
            return Answer(answer.status, bytes(content), retry_after(answer.headers))

    @contextmanager
    def opened(
        self,
        method: str,
        path: str,
        *,
        token: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Iterator[BaseHTTPResponse]:
        """Ask, and yield the answer with its body unread. Raises RetryableError, for what fails within, too."""
        from urllib3.exceptions import HTTPError

        sent = {**self._pools.headers, **(headers or {}), "Authorization": f"Bearer {token}"}
        answer: BaseHTTPResponse | None = None
        try:
            answer = self._sent(method, path, sent, body)
            yield answer
        except HTTPError as error:  # which the library makes of everything that ends a reading, too
            raise self.away(_why(error)) from None
        finally:
            if answer is not None:
                # what is unread of it must not be taken for the next one
                answer.close()
                answer.release_conn()

    def _sent(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> BaseHTTPResponse:
        from urllib3.exceptions import ProtocolError

        try:
            try:
                answer = self._send(method, path, headers, body)
            except ProtocolError:
                if not self._kept:
                    raise
                # a connection that was kept and that the server has closed by now: nobody has answered on it
                self.close()
                answer = self._send(method, path, headers, body)
        except OSError as error:
            raise self.away(_why(error)) from None
        self._kept = True
        return answer

    def _send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> BaseHTTPResponse:
        return self._pools.request(
            method,
            self._server + path,
            body=body,
            headers=headers,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )

    def away(self, why: str) -> RetryableError:
        """Return the error for a server that does not answer as it should."""
        return RetryableError(AGENT_SERVER_UNAVAILABLE, why, target=self._server)


def server_url(text: str) -> str:
    """Return a server's URL in one spelling: https, or http to this machine. Raises PermanentError(CONFIG_INVALID)."""
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise PermanentError(CONFIG_INVALID, "it is no URL", target="--server") from None
    if parts.username is not None or parts.password is not None:
        raise PermanentError(CONFIG_INVALID, "a user or password does not belong into it", target="--server")
    if not host or parts.query or parts.fragment or not text.isascii() or not text.strip().isprintable():
        raise PermanentError(CONFIG_INVALID, "it must look like https://ledger.example.com", target="--server")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(host)):
        raise PermanentError(
            CONFIG_INVALID,
            "it begins with https://, or with http:// to this machine: a token would pass the network in clear",
            target="--server",
        )
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{named}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After names, as a number or a date by the server's own clock; an hour at most."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_WAIT_S)
    try:
        then = parsedate_to_datetime(text)
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return min(max((then - now).total_seconds(), 0.0), _LONGEST_WAIT_S)
    except (ValueError, TypeError):  # no date, or one without a zone beside one with
        return None


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _why(error: Exception) -> str:
    """Say why nothing was answered. Never in the library's words: they hold the URL and the object's address."""
    from urllib3 import exceptions

    match error:
        case exceptions.NameResolutionError():
            said = "its name has no address"
        case exceptions.NewConnectionError():  # a kind of the next
            cause = error.__cause__
            said = (cause.strerror if isinstance(cause, OSError) else None) or "no connection"
        case exceptions.ConnectTimeoutError():
            said = f"no connection within {CONNECT_S:g} s"
        case exceptions.ReadTimeoutError():
            said = f"no answer within {READ_S:g} s"
        case exceptions.ProtocolError():
            said = "the connection was closed before its answer, or its answer is no HTTP"
        case exceptions.SSLError():
            cause = error.args[0] if error.args else None
            if isinstance(cause, ssl.SSLCertVerificationError):
                said = f"its certificate is not trusted: {cause.verify_message.rstrip('.')}"
            else:
                said = f"TLS failed: {getattr(cause, 'reason', None) or type(cause or error).__name__}"
        case OSError() if error.strerror:
            said = error.strerror
        case _:
            said = f"its answer is no HTTP ({type(error).__name__})"
    return said
