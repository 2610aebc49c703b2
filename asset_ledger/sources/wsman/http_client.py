"""One HTTP connection to one host under one account: dialling, TLS, logging in, sealed messages. No WS-Management.

NTLM, Kerberos and the encryption of messages are pywinrm's own (`winrm.encryption`, requests_ntlm, its copy of
requests_kerberos) over a session of ours; its `Transport` is left out, for it changes the process's warnings, reads the
environment, loads the CAs for every connection, and takes a plain answer where an encrypted one must come. Used by
`client`.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from asset_ledger.domain.errors import TargetError
from asset_ledger.sources import deadlines
from asset_ledger.sources.https_session import AbandonedError, quotable
from asset_ledger.sources.wsman.adapter import adapter_type
from asset_ledger.sources.wsman.causes import MOST_ANSWER_BYTES, TooMuchError, WrongAnswerError, failure_of
from asset_ledger.sources.wsman.config import WsmanConfig
from asset_ledger.sources.wsman.dial import Dial, Host, Meter
from asset_ledger.sources.wsman.lockout import Trial, Trials, proves_account
from asset_ledger.sources.wsman.terms import Codes, Login, Trace

if TYPE_CHECKING:
    import requests

T = TypeVar("T")
_IMPORTING = threading.Lock()
"""An import that fails while another thread waits for it may succeed there, with half a module."""

_SEALED = 'protocol="application/HTTP-SPNEGO-session-encrypted"'
"""Letter by letter what pywinrm looks for: of any other spelling it takes the body as it is."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, media type, and what it holds, unsealed."""

    status: int
    media_type: str
    content: bytes


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add no authentication: the connection is logged in."""
    return request


def kerberos_installed() -> bool:
    """Say whether the library that authentication: kerberos needs is there."""
    return _kerberos() is not None


def _kerberos() -> Any:
    """Return pywinrm's copy of requests_kerberos, or None."""
    with _IMPORTING:
        try:
            return import_module("winrm.vendor.requests_kerberos")
        except ImportError:
            return None


class HostConnection:
    """One connection, opened and logged in by the first exchange. `usable` until one of them fails."""

    def __init__(
        self,
        config: WsmanConfig,
        codes: Codes,
        login: Login,
        host: Host,
        context: ssl.SSLContext | None,
        trace: Trace,
        stop: threading.Event | None,
        trials: Trials | None = None,
    ) -> None:
        import requests

        self._config, self._codes, self._login, self._host = config, codes, login, host
        self._trace = trace
        self._sockets = deadlines.Sockets(stop or threading.Event())
        self._meter = Meter(trace)
        self._dial = Dial(config, codes, host, context, trace, self._meter)
        self._url = host.url("https" if config.https else "http")
        self._opened = False
        self._trials, self._denied = trials, False
        self._trial: Trial | None = None
        self.logged_in = False
        self.waited_s = 0.0
        """How long it waited for other hosts to take the account: no time of this one."""
        self._sealing: Any = None
        self._of_tickets: tuple[type[Exception], ...] = ()
        self._limit = 0.0
        self.usable = True
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.clear()
        self._session.headers.update(
            {"User-Agent": "asset-ledger", "Content-Type": "application/soap+xml;charset=UTF-8"}
        )
        self._session.adapters.clear()
        self._session.mount(self._url, self._adapter())
        self._session.auth = self._authentication()

    def exchange(self, body: bytes, what: str, limit: float) -> Reply:
        """Send a message and return its answer, whatever its status. `limit` is a time of `time.monotonic`.

        Raises TargetError with the platform's codes, AbandonedError once stopped; the connection is of no use then.
        """
        if not self._config.https and self._sealing is None:
            first = self._guarded(b"", f"logging in for {what}", limit)
            if first.status >= 300 or first.content:
                return first
            limit = self._limit
            self._seal(what)
        return self._guarded(body, what, limit)

    def outlast_stop(self) -> None:
        """Let exchanges go on although the run was stopped: what is left open on the host is to be closed."""
        self._sockets = deadlines.Sockets(threading.Event())

    def close(self) -> None:
        """Close the connection."""
        self.usable = False
        self._session.close()

    def _guarded(self, body: bytes, what: str, limit: float) -> Reply:
        from spnego.exceptions import SpnegoError
        from urllib3.exceptions import HTTPError
        from winrm.exceptions import WinRMError

        wrong = (OSError, HTTPError, http.client.HTTPException, SpnegoError, WinRMError, TooMuchError, WrongAnswerError)
        odd = (ValueError, LookupError, TypeError, AttributeError, struct.error, OverflowError)  # of a damaged token
        expected: tuple[type[Exception], ...] = (*wrong, *odd, *self._of_tickets)
        usable, self.usable = self.usable, False
        assert usable
        self._limit = limit
        deadlines.begin(limit, self._sockets)
        response: requests.Response | None = None
        try:
            self._meter.left = MOST_ANSWER_BYTES
            response = self._session.send(self._prepared(body), stream=True, allow_redirects=False)
            reply = self._read(response, what)
        except expected as error:
            failure = self._failure(error, what)
        else:
            self.usable = True
            return reply
        finally:
            self._tried()
            if response is not None:
                response.close()
        # outside of the handler: the failure holds neither the library's error nor what that refers to
        raise failure

    def _prepared(self, body: bytes) -> requests.PreparedRequest:
        import requests

        self._trace.requests += 1
        if self._sealing is not None:
            prepared: requests.PreparedRequest = self._sealing.prepare_encrypted_request(self._session, self._url, body)
        else:
            auth = _as_it_is if self.logged_in and self._config.authentication != "basic" else None
            prepared = self._session.prepare_request(requests.Request("POST", self._url, data=body, auth=auth))
        if self.logged_in:
            prepared.hooks["response"] = []  # what is refused from here on is not tried again with the password
        return prepared

    def _read(self, response: requests.Response, what: str) -> Reply:
        self._trace.server = self._trace.server or quotable(response.headers.get("Server", ""), (), 100) or None
        if response.status_code == 401:
            raise self._refused(response, what)
        told = response.headers.get("Content-Type", "")
        media_type = told.lower()
        if not self.logged_in and self._proven(response.status_code, media_type):
            self.logged_in = True
            self._trace.authentication = self._config.authentication
            self._tried()  # others wait for it, and the rest of the answer may take its time
        content = response.content
        if content and (self._sealing is not None or not self._config.https):
            if _SEALED in told and self._sealing is not None:
                content = self._sealing.parse_encrypted_response(response)
                media_type = "application/soap+xml"
            elif response.status_code in (200, 500) and media_type.partition(";")[0].strip() != "text/html":
                message = f"{what} was answered unencrypted, so the answer was not taken"
                raise TargetError(self._codes.unencrypted, message, target=self._host.address)
        return Reply(response.status_code, media_type, content)

    def _proven(self, status: int, media_type: str) -> bool:
        """Say whether an answer shows that the host took the account: a page of some other server does not."""
        auth: Any = self._session.auth
        if self._config.authentication == "ntlm":
            return auth.session_security is not None
        if self._config.authentication == "kerberos":
            return bool(auth.auth_done)
        return status in (200, 500) and "soap+xml" in media_type

    def _seal(self, what: str) -> None:
        from winrm.encryption import Encryption

        auth: Any = self._session.auth
        if self._config.authentication == "ntlm" and auth.session_security is None:
            message = f"{what}: the host asked for no login, so nothing can be encrypted and nothing was sent"
            self.usable = False
            raise TargetError(self._codes.unencrypted, message, target=self._host.address)
        self._sealing = Encryption(self._session, self._config.authentication)

    def _open(self) -> socket.socket:
        if self._opened and self._config.authentication != "basic":
            message = "the host closed the connection between two messages"
            raise TargetError(self._codes.lost, message, target=self._host.address)
        self._opened = True
        sock = self._dial.open(self._limit, self._sockets)
        if self._trials is not None and not self.logged_in:
            trials = self._trials
            try:
                self._trial = self._in_turn(
                    lambda: trials.admit(self._login, self._sockets.stopped, self._host.address)
                )
            except BaseException:
                sock.close()
                raise
        return sock

    def _before_sending(self, request: requests.PreparedRequest) -> None:
        trial = self._trial
        if trial is not None and proves_account(request.headers.get("Authorization")):
            self._in_turn(lambda: trial.show(self._sockets.stopped))

    def _in_turn(self, wait: Callable[[], T]) -> T:
        """Wait for what other hosts say to the account; it is not taken off the time of this one."""
        began = time.monotonic()
        try:
            with self._trace.step("turn"):
                return wait()
        finally:
            spent = time.monotonic() - began
            self.waited_s += spent
            self._limit += spent
            deadlines.begin(self._limit, self._sockets)

    def _tried(self) -> None:
        """Tell those who wait how the login ended, once."""
        trial, self._trial = self._trial, None
        if trial is not None:
            trial.ended(taken=self.logged_in, refused=self._denied)

    def _adapter(self) -> requests.adapters.HTTPAdapter:
        from urllib3.exceptions import LocationValueError

        try:
            return adapter_type()(self._host, self._open, self._before_sending)  # type: ignore[arg-type]
        except LocationValueError as error:
            failure = self._failure(error, "the name")
        raise failure

    def _authentication(self) -> Any:
        if self._config.authentication == "basic":
            from requests.auth import HTTPBasicAuth

            return HTTPBasicAuth(self._login.username.encode(), self._login.password.encode())
        if self._config.authentication == "ntlm":
            from requests_ntlm import HttpNtlmAuth

            return HttpNtlmAuth(self._login.username, self._login.password)
        kerberos = _kerberos()
        if kerberos is None:
            message = (
                "authentication: kerberos needs a library that is not installed; pip install 'asset-ledger[kerberos]'"
            )
            raise TargetError(self._codes.kerberos_missing, message, target=self._host.address)
        self._of_tickets = (kerberos.kerberos_.kerberos.GSSError,)  # of a message that is not sealed as agreed
        return kerberos.HTTPKerberosAuth(
            mutual_authentication=kerberos.REQUIRED,
            force_preemptive=True,
            principal=None,  # whose ticket it is: the cache may hold one of another account than a credential names
            hostname_override=next(iter(self._host.names), None),
            sanitize_mutual_error_response=False,
            service="HTTP",
        )

    def _refused(self, response: requests.Response, what: str) -> TargetError:
        """Return the error of a 401. What the host offers stands in its first one."""
        asked = self._config.authentication
        first = response.history[0] if response.history else response
        told = first.headers.get("WWW-Authenticate", "")
        offered = [
            name for name in ("Negotiate", "NTLM", "Kerberos", "Basic", "CredSSP") if name.lower() in told.lower()
        ]
        wanted = {"basic": ("Basic",), "ntlm": ("Negotiate", "NTLM"), "kerberos": ("Negotiate", "Kerberos")}[asked]
        if self.logged_in:
            message = f"{what}: the host no longer takes the login that it took"
        elif not set(wanted) & set(offered):
            message = (
                f"the host offers {', '.join(offered) or 'no way to log in'}, not {asked}; enable it there "
                f'(winrm set winrm/config/service/auth @{{{wanted[0]}="true"}}, WSMan:\\localhost\\Service\\Auth) '
                "or set authentication to what it offers"
            )
        else:
            self._denied = True
            who = "the ticket of the account that the ledger runs as" if asked == "kerberos" else self._login.username
            message = f"the host refused {who} ({asked})"
        return TargetError(self._codes.auth, message, target=self._host.address)

    def _failure(self, error: Exception, what: str) -> Exception:
        if self._sockets.stopped.is_set():
            return AbandonedError()
        deadline_s, address = self._config.deadline_s, self._host.address
        return failure_of(error, what, self._codes, target=address, deadline_s=deadline_s, logged_in=self.logged_in)
