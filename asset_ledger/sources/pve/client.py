"""One Proxmox VE asked over its API: logging in, renewing, trying again, and what each answer means.

Requests go through proxmoxer's ProxmoxResource over a `session` of ours. Logging in does not: proxmoxer turns every
failure of it into a refused password, and answers a demand for a second factor with a wrong one.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asset_ledger.domain.errors import ErrorCode, LedgerError, PermanentError, error_of
from asset_ledger.domain.secrecy import REDACTED
from asset_ledger.sources.https_session import AbandonedError, Reply, quotable
from asset_ledger.sources.pve import errors, log
from asset_ledger.sources.pve.account import Account
from asset_ledger.sources.pve.config import PveConfig
from asset_ledger.sources.pve.raw import Response
from asset_ledger.sources.pve.session import Refusal, Serializer, Session

RENEW_AFTER_S = 3600.0
"""Tickets live two hours."""
BACKOFF_S = 0.5
_LONGEST_WAIT_S = 30.0
_AGAIN = (errors.NETWORK_ERROR, errors.RATE_LIMIT)
_OF_A_NODE = re.compile(r"/nodes/([^/]+)/")
_OPENING = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"data"[ \t\r\n]*:[ \t\r\n]*')


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, and the JSON text of its data where that came as it should."""

    response: Response
    text: str | None = None

    @property
    def error(self) -> ErrorCode | None:
        """The error that it is, None where it holds data."""
        return errors.code_of(self.response.status, self.response.reason, self.response.code)


@dataclass(frozen=True, slots=True)
class _Ticket:
    ticket: str
    csrf: str
    born: float
    cap: Mapping[str, Any]


class PveClient:
    """One endpoint under one account. Safe to share between threads; nothing is opened before the first request."""

    def __init__(self, config: PveConfig, fields: Mapping[str, str]) -> None:
        from proxmoxer.core import ProxmoxResource

        self.account = Account(config, fields)
        self._config = config
        self._session = Session(config)
        self._base = f"{config.endpoint}/api2/json"
        self._api = ProxmoxResource(base_url=self._base, session=_SignedIn(self), serializer=Serializer())
        self._ticket: _Ticket | None = None
        self._accepted = False
        self._signing_in = threading.Lock()
        self._counting = threading.Lock()
        self.requests = 0
        self.rate_limited = 0

    @property
    def target(self) -> str:
        """The server, for messages."""
        return self._config.server

    @property
    def cap(self) -> Mapping[str, Any] | None:
        """What the login said of rights: the union over all paths. None for a token."""
        return None if self.account.by_token else self._signed_in().cap

    def ask(
        self, path: str, query: Mapping[str, str] | None = None, *, method: str = "GET", again: bool = True
    ) -> Answer:
        """Return the answer to a request, also one that is an error or none at all. Tries once more what may pass.

        `again` False: what got no answer is not tried again, only what a proxy turned away. Raises PVE_AUTH_FAILED,
        PVE_TLS_ERROR, PVE_RATE_LIMIT and PVE_CONFIG_INVALID (a redirect): the next request would fail as well.
        """
        return self._twice(lambda: self._try(path, query or {}, method), _AGAIN if again else (errors.RATE_LIMIT,))

    def need(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a request that must hold data. Raises the error that it is otherwise."""
        answer = self.ask(path, query)
        if answer.error is not None:
            raise self.failure(answer)
        return answer

    def failure(self, answer: Answer) -> LedgerError:
        """Return an answer without data as the error that it is."""
        code = answer.error or errors.PARSE_ERROR
        response = answer.response
        said = response.said or "no reason given"
        details = "".join(f"; {key}: {value.strip()}" for key, value in response.errors.items())
        return error_of(code, f"{response.path}: {said}{details}", self.target)

    def holds(self, path: str, privilege: str) -> Answer:
        """Ask whether the account has a right on a path, as releases without /access/permissions can be asked.

        Status 200 is yes, 401 is no. Only for an account with a password.
        """
        asked = {"path": path, "privs": privilege}

        def once() -> tuple[Answer, float | None]:
            ticket = self._signed_in().ticket
            reply = self._post_ticket({"username": self.account.name, "password": ticket, **asked})
            return self._answer("/access/ticket", asked, reply), None

        return self._twice(lambda: self._caught("/access/ticket", asked, once))

    def stop(self) -> None:
        """End every running request; those that come later raise AbandonedError."""
        self._session.stop()

    def send(self, method: str, url: str, data: Mapping[str, str] | None, params: Mapping[str, str] | None) -> Reply:
        """Send one request as whoever asks. For proxmoxer."""
        self._count()
        headers = {}
        if self.account.by_token:
            headers["Authorization"] = f"PVEAPIToken={self.account.name}={self.account.secret}"
        else:
            ticket = self._signed_in()
            headers["Cookie"] = f"PVEAuthCookie={ticket.ticket}"
            if method != "GET":
                headers["CSRFPreventionToken"] = ticket.csrf
        return self._session.request(method, url, data, params, headers)

    def _twice(self, attempt: Callable[[], tuple[Answer, float | None]], again: Sequence[ErrorCode] = _AGAIN) -> Answer:
        """Return the answer of an attempt, or of a second one where the first failed with what may pass."""
        answer, after = attempt()
        wait = BACKOFF_S if after is None else after
        if answer.error in again and answer.response.status != 401 and wait <= _LONGEST_WAIT_S:
            self._sleep(wait)
            answer, _ = attempt()
        if answer.error is errors.RATE_LIMIT:
            raise self.failure(answer)
        return answer

    def _try(self, path: str, query: Mapping[str, str], method: str) -> tuple[Answer, float | None]:
        """Return the answer and how long it says to wait, logging in anew once if the ticket is refused."""
        before = self._ticket
        answer, after = self._once(path, query, method)
        if answer.response.status == 401 and not self.account.by_token:
            self._signed_in(instead_of=before or self._ticket)
            answer, after = self._once(path, query, method)
        if answer.response.status == 401:
            node = _OF_A_NODE.match(path)
            if node is None or not self._accepted:
                raise self._refused(answer.response)
            return Answer(self._refused_by(node.group(1), answer.response)), None
        self._accepted = self._accepted or answer.error is None
        if answer.error is errors.RATE_LIMIT:
            with self._counting:
                self.rate_limited += 1
            log.rate_limited(self._config.name, self._config.zone, after)
        return answer, after

    def _once(self, path: str, query: Mapping[str, str], method: str) -> tuple[Answer, float | None]:
        from proxmoxer.core import ResourceException

        resource = self._api(path.strip("/"))

        def once() -> tuple[Answer, float | None]:
            try:
                reply = resource.get(**query) if method == "GET" else resource.post(**query)
            except ResourceException as error:
                refusal = error.errors
                assert isinstance(refusal, Refusal)
                response = self._said(path, query, error.status_code, error.content, refusal)
                return Answer(response), refusal.retry_after_s
            return self._answer(path, query, reply), None

        return self._caught(path, query, once)

    @staticmethod
    def _caught(
        path: str, query: Mapping[str, str], once: Callable[[], tuple[Answer, float | None]]
    ) -> tuple[Answer, float | None]:
        """Return an answer that says why none came, where that may pass; raise what will not."""
        try:
            return once()
        except LedgerError as error:
            if error.code not in _AGAIN:
                raise
            return Answer(Response(path, query, 0, reason=error.message, code=error.code.code)), None

    def _answer(
        self, path: str, query: Mapping[str, str], reply: Reply, secrets: Sequence[str] | None = None
    ) -> Answer:
        if reply.status_code >= 400:
            refusal = Serializer().loads_errors(reply)
            return Answer(self._said(path, query, reply.status_code, reply.reason, refusal))
        try:
            data, text = _data(reply.body.decode("utf-8"))
            for secret in self._secrets() if secrets is None else secrets:
                if text is not None and secret in text:
                    text = text.replace(secret, REDACTED)
                    data = json.loads(text)
        except (ValueError, KeyError, TypeError, RecursionError):
            kind = reply.headers.get("Content-Type", "no content type")
            said = f"{reply.status_code} with {len(reply.body)} bytes of {kind}, which hold no data that can be read"
            code = errors.PARSE_ERROR.code
            return Answer(Response(path, query, reply.status_code, reason=self._quotable(said), code=code))
        return Answer(Response(path, query, reply.status_code, data), text)

    def _said(self, path: str, query: Mapping[str, str], status: int, reason: str, refusal: Refusal) -> Response:
        # the words of HTTP itself say no more than the number does: what a proxy with HTTP/2 leaves
        plain = not reason.strip() or (refusal.message and len(refusal.message) > len(reason))
        said = {self._quotable(key): self._quotable(value) for key, value in refusal.errors.items()}
        words = self._quotable(refusal.message if plain else reason)
        if refusal.readable:
            return Response(path, query, status, reason=words, errors=said)
        words = f"{status} {words}, with a body that is no error of Proxmox VE's"
        return Response(path, query, status, reason=words, code=errors.PARSE_ERROR.code)

    def _signed_in(self, instead_of: _Ticket | None = None) -> _Ticket:
        """Return a ticket that is young enough, and is not the one that was refused."""
        with self._signing_in:
            held = self._ticket
            if held is None or held is instead_of:
                self._ticket = self._sign_in(self.account.secret)
            elif time.monotonic() - held.born > RENEW_AFTER_S:
                try:
                    self._ticket = self._sign_in(held.ticket)
                except PermanentError:  # it went stale while nothing was asked
                    self._ticket = self._sign_in(self.account.secret)
            assert self._ticket is not None
            return self._ticket

    def _sign_in(self, password: str) -> _Ticket:
        reply = self._post_ticket({"username": self.account.name, "password": password})
        # the one answer that is to hold secrets, of which nothing is kept
        answer = self._answer("/access/ticket", {}, reply, secrets=())
        found = answer.response
        if found.status == 401:
            raise self._refused(found)
        if found.status == 503:
            raise error_of(errors.NETWORK_ERROR, f"{found.path}: 503 {found.reason}", self.target)
        if answer.error is not None:
            raise self.failure(answer)
        data = found.data if isinstance(found.data, dict) else {}
        if data.get("NeedTFA"):
            raise PermanentError(
                errors.AUTH_FAILED,
                f"{self.account.name} has a second factor, which no program can give",
                target=self.target,
            )
        ticket, csrf, cap = data.get("ticket"), data.get("CSRFPreventionToken"), data.get("cap")
        if not isinstance(ticket, str) or not isinstance(csrf, str) or re.search(r"[\s;]", ticket + csrf):
            message = "/access/ticket: the login was answered without a ticket"
            raise PermanentError(errors.PARSE_ERROR, message, target=self.target)
        return _Ticket(ticket, csrf, time.monotonic(), cap if isinstance(cap, dict) else {})

    def _post_ticket(self, fields: Mapping[str, str]) -> Reply:
        self._count()
        return self._session.request("POST", f"{self._base}/access/ticket", fields)

    def _refused(self, response: Response) -> LedgerError:
        said = response.reason or "refused without a reason"
        hint = ""
        if self.account.by_token and said == "No ticket":
            hint = "; Proxmox VE before 6.2 has no API tokens: set auth_type: user_password"
        return PermanentError(errors.AUTH_FAILED, f"{self.account.name}: {said}{hint}", target=self.target)

    def _refused_by(self, node: str, response: Response) -> Response:
        """Return what a node refuses that others take as the node's own error: tickets are good by its clock."""
        told = f"401 {response.reason}: node {node} refuses what the endpoint takes ({response.path}); check its clock"
        return Response(response.path, response.query, 401, reason=told, code=errors.NETWORK_ERROR.code)

    def _sleep(self, seconds: float) -> None:
        if self._session.stopped.wait(seconds):
            raise AbandonedError

    def _count(self) -> None:
        with self._counting:
            self.requests += 1

    def _secrets(self) -> list[str]:
        """Return what is random enough to be replaced wherever it stands; a password may be any word."""
        if self.account.by_token:
            return [self.account.secret]
        return [self._ticket.ticket, self._ticket.csrf] if self._ticket else []

    def _quotable(self, text: str) -> str:
        return quotable(text, (self.account.secret, *self._secrets()))


class _SignedIn:
    """What proxmoxer takes for a session."""

    def __init__(self, client: PveClient) -> None:
        self._client = client

    def request(
        self, method: str, url: str, data: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
    ) -> Reply:
        return self._client.send(method, url, data, params)


def _data(text: str) -> tuple[Any, str | None]:
    """Return the data of an answer, and its JSON text where it stands there alone. Raises ValueError, KeyError…"""
    decoder = json.JSONDecoder(parse_constant=_refuse)
    if opening := _OPENING.match(text):
        found, end = decoder.raw_decode(text, opening.end())
        if text[end:].strip() == "}":
            return found, text[opening.end() : end]
    whole = decoder.decode(text)
    if not isinstance(whole, dict):
        raise TypeError("no object")
    return whole["data"], None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
