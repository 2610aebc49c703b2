"""The public keys of identity providers: read from the address that a trust names, kept for a while, read again.

Nothing that a token says leads anywhere: neither an address nor a key is taken from it. Keys are read over HTTPS that
is checked with the system's certificates (SSL_CERT_FILE), in bounded time and size, and no redirect is followed.
"""

from __future__ import annotations

import http.client
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from asset_ledger.domain.trusts import ALGORITHMS
from asset_ledger.sources import deadlines

_BYTES = 256 << 10
_KEYS = 100
_RSA_BITS = range(2048, 8193)
_WAITING = 16
"""How many requests may be held up by one provider; the threads that the others are answered in are forty."""
NO_KEY = "it publishes no key that can be used here; signing keys of RSA (2048 bits or more), EC, Ed25519 can"
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_READ: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}


class ProviderAwayError(Exception):
    """No keys of a provider are known, or none that are not too old. The message is for who runs the service."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long keys are used as they are, how soon they are asked for again, and how long they outlive the provider.

    `fresh_s`: until they are read anew. `again_s`: between two readings, whatever kinds of keys tokens name.
    `retry_s`: the same where none are known at all. `away_s`: how long keys hold while they cannot be read anew.
    `within_s`: the most that one reading takes.
    """

    fresh_s: float = 600.0
    again_s: float = 60.0
    retry_s: float = 10.0
    away_s: float = 24 * 3600.0
    within_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, and which tokens it may have signed."""

    kid: str | None
    kind: str
    curve: str | None
    algorithm: str | None
    public: Any

    def fits(self, kid: str | None, algorithm: str) -> bool:
        """Say whether a token that names this key and algorithm may be its own."""
        kind, curves = ALGORITHMS[algorithm]
        return (
            kid in (None, self.kid)
            and self.kind == kind
            and (not curves or self.curve in curves)
            and self.algorithm in (None, algorithm)
        )


class _Provider:
    """What is known of one address."""

    def __init__(self) -> None:
        self.keys: tuple[Key, ...] = ()
        self.read_at = self.tried_at = float("-inf")
        self.said = ""
        self.reading = threading.Lock()
        self.places = threading.BoundedSemaphore(_WAITING)


class ProviderKeys:
    """The keys of every provider that was asked for. Threads share it; nothing is read before the first token."""

    def __init__(self, pace: Pace | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace, self._clock = pace or Pace(), clock
        self._providers: dict[str, _Provider] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End what is being read, in whichever thread."""
        self._stopped.set()

    def find(self, url: str, kid: str | None, algorithm: str) -> Any | None:
        """Return the one key that a token may be signed with; None where there is none, or which one is not said.

        Raises ProviderAwayError where that cannot be known.
        """
        with self._lock:
            provider = self._providers.setdefault(url, _Provider())
        found = self._known(provider, kid, algorithm)
        if not found or self._clock() - provider.read_at > self._pace.fresh_s:
            self._renew(provider, url, lambda: bool(self._known(provider, kid, algorithm)))
            found = self._known(provider, kid, algorithm)
        if self._clock() - provider.read_at > self._pace.away_s:
            raise ProviderAwayError(provider.said)
        return found[0].public if len(found) == 1 else None

    def _known(self, provider: _Provider, kid: str | None, algorithm: str) -> list[Key]:
        if self._clock() - provider.read_at > self._pace.away_s:
            return []
        return [key for key in provider.keys if key.fits(kid, algorithm)]

    def _renew(self, provider: _Provider, url: str, known: Callable[[], bool]) -> None:
        """Read the keys anew, unless that was tried just now; who has a key meanwhile does not wait for another."""
        if not self._due(provider):
            return
        if known():
            if provider.reading.acquire(blocking=False):
                self._read(provider, url)
            return
        if not provider.places.acquire(blocking=False):
            raise ProviderAwayError(f"too many requests wait for the keys of {url}")
        try:
            # whoever reads is done within the time of one reading
            if not provider.reading.acquire(timeout=2 * self._pace.within_s):
                raise ProviderAwayError(f"{url} is being read for too long")
            if self._due(provider) and not known():
                self._read(provider, url)
            else:
                provider.reading.release()
        finally:
            provider.places.release()

    def _due(self, provider: _Provider) -> bool:
        kept = self._clock() - provider.read_at <= self._pace.away_s
        pause = self._pace.again_s if kept else min(self._pace.retry_s, self._pace.again_s)
        return self._clock() - provider.tried_at >= pause

    def _read(self, provider: _Provider, url: str) -> None:
        """Read the keys; the caller holds `reading`, which is let go of. What cannot be read changes nothing."""
        try:
            keys = keys_at(url, self._pace.within_s, self._stopped)
        except ProviderAwayError as error:
            provider.said = str(error)
            logging.getLogger(__name__).warning("%s", error)
        else:
            provider.keys, provider.read_at = keys, self._clock()
            if not keys:
                logging.getLogger(__name__).warning("%s: %s; none of its tokens is taken", url, NO_KEY)
        finally:
            provider.tried_at = self._clock()
            provider.reading.release()


def keys_at(url: str, within_s: float, stopped: threading.Event | None = None) -> tuple[Key, ...]:
    """Read the keys that an address publishes, of which none may be left: who withdraws them all is not away.

    Raises ProviderAwayError, naming address and cause.
    """
    try:
        body = _fetched(url, within_s, stopped or threading.Event())
    # a certificate that is wrong is a ValueError too, and so is a name that no resolver takes
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ProviderAwayError(f"{url}: {_words(error, within_s)}") from None
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ProviderAwayError(f"{url}: the answer is not JSON") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ProviderAwayError(f"{url}: the answer is no set of keys (JWKS): it has no list `keys`")
    return tuple(_keys(listed[:_KEYS]))


def _keys(listed: Iterable[Any]) -> Iterable[Key]:
    """Yield the keys that tokens may be signed with; what else is published is passed over."""
    for told in listed:
        kind = told.get("kty") if isinstance(told, dict) else None
        if not isinstance(kind, str) or kind not in _PUBLIC or told.get("use", "sig") != "sig":
            continue
        # nothing but what is public: some publish more than they mean to
        public = {"kty": kind} | {name: told.get(name) for name in _PUBLIC[kind]}
        kid, algorithm = told.get("kid"), told.get("alg")
        if not all(isinstance(part, str) for part in public.values()):
            continue
        if not isinstance(kid, str | None) or not isinstance(algorithm, str | None):
            continue
        try:
            key = _READ[kind](public)
        except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError):
            continue
        if kind != "RSA" or key.key_size in _RSA_BITS:
            yield Key(kid, kind, public.get("crv"), algorithm, key)


def _fetched(url: str, within_s: float, stopped: threading.Event) -> bytes:
    """Return what an address answers with. Raises OSError, ValueError, http.client.HTTPException."""
    parts = urlsplit(url)
    deadlines.begin(time.monotonic() + within_s, deadlines.Sockets(stopped))
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    connection = http.client.HTTPConnection(host, port)
    try:
        connection.sock = deadlines.connected(host, port, deadlines.PlainSocket)
        if secure:
            context = ssl.create_default_context()
            context.sslsocket_class = deadlines.TlsSocket
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(
            "GET", path, headers={"Host": parts.netloc, "Accept": "application/json", "User-Agent": "asset-ledger"}
        )
        answer = connection.getresponse()
        if answer.status != 200:
            led = ", which is not followed" if 300 <= answer.status <= 399 else ""
            raise OSError(f"answered with {answer.status}{led}")
        body = answer.read(_BYTES + 1)
    finally:
        connection.close()
    if len(body) > _BYTES:
        raise OSError(f"the answer is larger than {_BYTES >> 10} KiB")
    if answer.length:
        raise OSError("the answer is shorter than it says it is")
    return body


def _words(error: Exception, within_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no whole answer within {within_s:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    # what a server sends in the place of HTTP is not repeated
    return str(error) if isinstance(error, OSError) and str(error) else f"no answer in HTTP ({type(error).__name__})"
