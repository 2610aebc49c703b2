"""Aliyun asked over its API: signed, in time, tried again where that may help, and what each answer means.

The connections are `sources.https_session`'s, one session a server. Which answer is which error, `errors` says.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from asset_ledger.domain.errors import LedgerError, error_of
from asset_ledger.domain.secrecy import REDACTED
from asset_ledger.sources.aliyun import errors, log
from asset_ledger.sources.aliyun.account import Identity, Keys, account_of, identity_of
from asset_ledger.sources.aliyun.config import AliyunConfig
from asset_ledger.sources.aliyun.keys import KeyRing
from asset_ledger.sources.aliyun.raw import Answer, decoded
from asset_ledger.sources.aliyun.signer import sign
from asset_ledger.sources.https_session import AbandonedError, Codes, HttpsSession, Reply, quotable

ECS_VERSION = "2014-05-26"
STS_VERSION = "2015-04-01"
RETRY_AFTER = "x-acs-retry-after"
"""Milliseconds until a throttled call may be made again."""
BACKOFF_S = (0.5, 1.0, 2.0)
"""How long is waited before an answer that did not come is asked for again."""
THROTTLED_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""The same where Aliyun throttles: what is throttled opens in the next minute."""
LONGEST_WAIT_S = 90.0
_NONCES = 3
_GIVE_WAY_S = 0.0005
"""How long a thread waits before it works on an answer, so that the next call is sent first.

Python lets a thread that computes go on for 5 ms while others wait.
"""
_EXPIRED = ("InvalidSecurityToken", "SecurityToken", "InvalidAccessKeyId")
_CODES = Codes(errors.CONFIG_INVALID, errors.NETWORK_ERROR, errors.TLS_ERROR)


@dataclass(frozen=True, slots=True)
class Told:
    """An answer, and the JSON of its data where there is any."""

    answer: Answer
    body: bytes | None = None
    wait_s: float | None = None


class AliyunClient:
    """One account, for one run. Safe to share between threads, of which `parallel` call at a time.

    Nothing is opened before the first call.
    """

    def __init__(self, config: AliyunConfig, fields: Mapping[str, str]) -> None:
        self.account = account_of(config, fields)
        self._config = config
        self._limit = time.monotonic() + config.reading_timeout_s
        self._ring = KeyRing(config, self.account, self._assume)
        self._lock = threading.Lock()
        self._sessions: dict[str, HttpsSession] = {}
        self._stopped = threading.Event()
        # as many calls under way as the source says, however many regions are open
        self._calls = threading.BoundedSemaphore(config.parallel)
        self.requests = 0
        self.rate_limited = 0
        # a ca_file that cannot be used is said before anything is asked
        self._session(config.server)

    def __repr__(self) -> str:
        return f"AliyunClient({self.account.kind} at {self.target})"

    @property
    def target(self) -> str:
        """The server that is asked first, for messages."""
        return self._config.server

    def ask(self, host: str, action: str, query: Mapping[str, str]) -> Told:
        """Return the answer of ECS to a call, also one that is an error or none at all. Tries again what may pass.

        Raises ALIYUN_AUTH_FAILED, ALIYUN_CLOCK_SKEW, ALIYUN_TLS_ERROR and ALIYUN_CONFIG_INVALID (a redirect): every
        other call would fail as well; and what keeps keys from being fetched.
        """
        told = self._persisted(host, action, ECS_VERSION, query)
        if told.answer.error in (errors.AUTH_FAILED, errors.CLOCK_SKEW):
            raise self.failure(told.answer, host)
        return told

    def identity(self) -> Identity:
        """Return whose keys sign; no right is needed for that. Raises the error that the answer is.

        Tries again what may pass where the source names an account, else once: nothing depends on it then.
        """
        host = self._config.sts_endpoint.removeprefix("https://")
        action = "GetCallerIdentity"
        if self._config.account_id:
            told = self._persisted(host, action, STS_VERSION, {})
        else:
            told = self._once(host, action, STS_VERSION, {}, self._ring.current())
        if told.answer.error is not None:
            raise self.failure(told.answer, host)
        found = identity_of(told.answer.data)
        if found is None:
            raise error_of(errors.PARSE_ERROR, "GetCallerIdentity names no account", host)
        return found

    def failure(self, answer: Answer, host: str) -> LedgerError:
        """Return an answer without data as the error that it is."""
        where = f"{answer.action} {answer.region}".rstrip()
        return error_of(answer.error or errors.PARSE_ERROR, f"{where}: {answer.said}", host)

    def stop(self) -> None:
        """End every running request and pause; those that come later raise AbandonedError."""
        self._stopped.set()
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            session.stop()

    def _assume(self, keys: Keys, said: Mapping[str, str]) -> Any:
        host = self._config.sts_endpoint.removeprefix("https://")
        told = self._persisted(host, "AssumeRole", STS_VERSION, said, keys)
        if told.answer.error is not None:
            raise self.failure(told.answer, host)
        return told.answer.data

    def _persisted(
        self, host: str, action: str, version: str, query: Mapping[str, str], with_keys: Keys | None = None
    ) -> Told:
        """Return the answer to a call, or to the last of several attempts at it."""
        failed = throttled = nonces = 0
        keys, renewed = with_keys or self._ring.current(), False
        while True:
            told = self._once(host, action, version, query, keys)
            error, name = told.answer.error, told.answer.code
            wait: float | None = None
            if error is errors.RATE_LIMIT:
                wait = _throttled(throttled, told.wait_s)
                throttled += 1
                wait = self._affordable(wait)
                with self._lock:
                    self.rate_limited += 1
                log.rate_limited(self._config.name, told.answer.region, action, wait)
            elif name == errors.NONCE_USED and nonces < _NONCES:
                nonces, wait = nonces + 1, 0.0
            elif error is errors.NETWORK_ERROR and failed < len(BACKOFF_S):
                wait = self._affordable(BACKOFF_S[failed])
                failed += 1
            elif with_keys is None and not renewed and self.account.renewable and name.startswith(_EXPIRED):
                keys, renewed, wait = self._ring.current(instead_of=keys), True, 0.0
            if wait is None:
                return told
            if wait and self._stopped.wait(wait):
                raise AbandonedError
            if with_keys is None and not renewed:
                keys = self._ring.current()

    def _once(self, host: str, action: str, version: str, query: Mapping[str, str], keys: Keys) -> Told:
        try:
            with self._calls:
                reply = self._exchange(host, action, version, query, keys)
        except LedgerError as error:
            if error.code is not errors.NETWORK_ERROR:
                raise
            return _unheard(action, query, error.code.code, self._quotable(error.message))
        time.sleep(_GIVE_WAY_S)
        return self._told(action, query, reply)

    def _exchange(self, host: str, action: str, version: str, query: Mapping[str, str], keys: Keys) -> Reply:
        left = self._limit - time.monotonic()
        if left <= 0:
            said = f"the reading took longer than reading_timeout_s, {self._config.reading_timeout_s} s"
            raise error_of(errors.NETWORK_ERROR, said, host)
        with self._lock:
            self.requests += 1
        signed = sign(
            host.removesuffix(":443"), keys, action, version, query, at=datetime.now(UTC), nonce=uuid.uuid4().hex
        )
        headers = {**signed.headers, "accept": "application/json"}
        session = self._session(host)
        with session.stream("POST", f"/?{signed.query}", b"", headers, within_s=left, what=action) as answer:
            return answer.whole()

    def _told(self, action: str, query: Mapping[str, str], reply: Reply) -> Told:
        body, data = reply.body, _object(reply.body)
        if data is None:
            kind = self._quotable(reply.headers.get("Content-Type", "no content type"))
            said = f"{reply.status_code} with {len(body)} bytes of {kind}, which are no answer of the API"
            passing = reply.status_code in (408, 429) or reply.status_code >= 500
            code = errors.NETWORK_ERROR if passing else errors.PARSE_ERROR
            return Told(Answer(action, query, reply.status_code, None, code.code, said))
        if 200 <= reply.status_code <= 299 and "Code" not in data:
            for secret in self._ring.secrets:
                if (said_it := secret.encode()) in body:
                    body = body.replace(said_it, REDACTED.encode())
                    data = _object(body)
            return Told(Answer(action, query, reply.status_code, data), body)
        words = (data.get("Code"), data.get("Message"), data.get("RequestId"))
        name, message, request_id = (self._quotable(word) if isinstance(word, str) else "" for word in words)
        if not name or name == REDACTED:
            name = "" if reply.status_code >= 300 else errors.PARSE_ERROR.code
        answer = Answer(action, query, reply.status_code, None, name, message, request_id)
        return Told(answer, None, _milliseconds(reply.headers.get(RETRY_AFTER, "")))

    def _session(self, host: str) -> HttpsSession:
        with self._lock:
            if self._stopped.is_set():
                raise AbandonedError
            if host not in self._sessions:
                self._sessions[host] = HttpsSession(self._config.at(host), _CODES)
            return self._sessions[host]

    def _affordable(self, wait: float | None) -> float | None:
        """Return a pause, or None where the reading's time would be over before it."""
        return wait if wait is not None and time.monotonic() + wait < self._limit else None

    def _quotable(self, text: str) -> str:
        return quotable(text, self._ring.secrets)


def _object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a body is, or None."""
    try:
        found = decoded(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _unheard(action: str, query: Mapping[str, str], code: str, said: str) -> Told:
    return Told(Answer(action, query, 0, None, code, said))


def _throttled(attempt: int, told_s: float | None) -> float | None:
    """Return how long to wait after being throttled so often, or None to give up."""
    if attempt >= len(THROTTLED_S):
        return None
    if told_s is not None:
        return told_s if told_s <= LONGEST_WAIT_S else None
    # several regions that were throttled together do not come back together
    return THROTTLED_S[attempt] * random.uniform(0.8, 1.0)  # noqa: S311 - no secret


def _milliseconds(text: str) -> float | None:
    text = text.strip()
    return int(text) / 1000 if text.isascii() and text.isdecimal() and len(text) <= 9 else None
