"""One host asked over WS-Management: WQL enumerated, PowerShell run, everything given back, all within one deadline.

Used by the platforms `winrm` and `hyperv`, which give it their own error codes. What is sent and read stands in
`messages`, `enumeration`, `shell` and `faults`, the connection in `http_client`.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from asset_ledger.domain.errors import ErrorCode, LedgerError, TargetError
from asset_ledger.sources.https_session import AbandonedError, quotable
from asset_ledger.sources.wsman import enumeration, faults, shell, soap
from asset_ledger.sources.wsman.config import WsmanConfig
from asset_ledger.sources.wsman.dial import Host, context_of
from asset_ledger.sources.wsman.http_client import HostConnection, Reply, kerberos_installed
from asset_ledger.sources.wsman.lockout import Trials, is_domain_account
from asset_ledger.sources.wsman.messages import IDENTIFY, MOST_SCRIPT_BYTES, Messages
from asset_ledger.sources.wsman.terms import (
    Codes,
    FaultError,
    Identity,
    Login,
    Output,
    Trace,
    WmiRefusedError,
    login_of,
)

__all__ = [
    "Codes",
    "FaultError",
    "Identity",
    "Login",
    "Output",
    "Trace",
    "Trials",
    "WmiRefusedError",
    "WsmanClient",
    "context_of",
    "is_domain_account",
    "kerberos_installed",
    "login_of",
]

T = TypeVar("T")
Make = Callable[[str, float], bytes]
"""Makes a message of an id and of how many seconds the host may take."""

MOST_ROUNDS = 1000
MOST_ROWS = 100_000
MOST_BYTES = 64 << 20
"""Bounds of one enumeration, and of what one command prints."""
EXTRA_S = 5.0
"""How long giving back may take once the deadline is over."""
_LONGEST_S = 60.0
_LONGEST_RECEIVE_S = 20.0
_SHORTEST_S = 0.5
_CLASS = re.compile(r"\bFROM\s+(\w{1,80})", re.IGNORECASE | re.ASCII)
_SHELL_OF_NO_NAME = "a shell that may have been made: the answer to Create did not come whole"


class WsmanClient:
    """One host, read by one thread at a time. Nothing is opened before the first request; then `deadline_s` runs."""

    def __init__(
        self,
        config: WsmanConfig,
        codes: Codes,
        login: Login,
        *,
        address: str,
        port: int,
        names: tuple[str, ...],
        stop: threading.Event,
        trace: Trace | None = None,
        context: ssl.SSLContext | None = None,
        trials: Trials | None = None,
    ) -> None:
        """Take whom to ask: the address dialled, and the names that its certificate may show instead.

        `context` is the source's, from `context_of`; without it one is made, which costs more than reading the host.
        `trials` is what the source's hosts say to this account, where all of them together can lock it.
        """
        self.trace = Trace() if trace is None else trace
        self._config, self._codes, self._login, self._stop = config, codes, login, stop
        self._host = Host(address, port, tuple(dict.fromkeys(name for name in names if name and name != address)))
        self._context, self._trials = context, trials
        self._messages = Messages(self._host.url("https" if config.https else "http"))
        self._connection: HostConnection | None = None
        self._failed: TargetError | None = None
        self._limit: float | None = None

    def __enter__(self) -> WsmanClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def identify(self) -> Identity:
        """Return what the host says that it is. Raises TargetError, AbandonedError."""
        root = self._ask("Identify", lambda _, __: IDENTIFY, related=False)[0]
        answer = soap.body(root).find("{*}IdentifyResponse")
        if answer is None:
            raise self._error(self._codes.protocol, "the answer to Identify is none")
        fields = ("ProductVendor", "ProductVersion", "ProtocolVersion")
        vendor, version, protocol = (quotable(soap.text_of(answer, name) or "", (), 200) for name in fields)
        self.trace.product = f"{vendor} {version}".strip() or None
        return Identity(vendor, version, protocol)

    def enumerate(self, query: str, namespace: str = "root/cimv2", *, cap_bytes: int = MOST_BYTES) -> list[bytes]:
        """Return the answers to a WQL query as received, one an Enumerate or Pull, for `enumeration.rows`.

        More than `cap_bytes` in all, or an enumeration that does not end, is an answer that is not what it must be.
        Raises WmiRefusedError where WMI itself refuses, FaultError for other faults, TargetError, AbandonedError.
        """
        found = _CLASS.search(query)
        rows_of = found[1] if found else "rows"
        what = f"Enumerate {rows_of} in {namespace}"
        with self.trace.step(f"enumerate {rows_of}"):
            root, answer = self._ask(what, lambda at, s: self._messages.enumerate(query, namespace, at, s))
            answers, rows, size = [answer], 0, len(answer)
            page = self._read(what, enumeration.page, root)
            try:
                while True:
                    rows += page.rows
                    held, page = page.context, enumeration.Page(page.context, 0)
                    if size > cap_bytes or (held is not None and (len(answers) >= MOST_ROUNDS or rows > MOST_ROWS)):
                        told = f"{len(answers)} answers, {rows} rows, {size} bytes"
                        raise self._error(self._codes.protocol, f"{what} brings too much or does not end: {told}")
                    if held is None:
                        return answers
                    root, answer = self._ask(
                        f"Pull {rows_of} in {namespace}",
                        lambda at, s, held=held: self._messages.pull(held, namespace, at, s),  # type: ignore[misc]
                    )
                    answers.append(answer)
                    size += len(answer)
                    page = self._read(what, lambda found, held=held: enumeration.page(found, held), root)  # type: ignore[misc]
            finally:
                if (left := page.context) is not None:
                    self._give_back("enumeration", [lambda at, s: self._messages.release(left, namespace, at, s)])

    def powershell(self, script: str) -> Output:
        """Run a script in powershell.exe and return what it printed. Its shell is closed again whatever happens.

        No profile, code page 65001. Raises ValueError for a script that is too long for one message, FaultError,
        TargetError, AbandonedError. Giving back may take 5 s longer than the deadline; what could not be given back
        is told in `trace.leaks`.
        """
        if (size := len(script.encode())) > MOST_SCRIPT_BYTES:
            raise ValueError(f"the script of {size} bytes is too long: at most {MOST_SCRIPT_BYTES} go in one message")
        with self.trace.step("shell"):
            before = self.trace.requests
            try:
                root, _ = self._ask("Create", self._messages.create)
                shell_id = self._read("Create", shell.shell_id, root)
            except FaultError:
                raise
            except (TargetError, AbandonedError):
                if self.trace.requests > before and self._connection is not None and self._connection.logged_in:
                    self.trace.leaks.append(_SHELL_OF_NO_NAME)
                raise
        close: list[Make] = [lambda at, s: self._messages.delete(shell_id, at, s)]
        try:
            with self.trace.step("command"):
                root, _ = self._ask("Command", lambda at, s: self._messages.powershell(shell_id, at, s))
                command_id = self._read("Command", shell.command_id, root)
                close.insert(0, lambda at, s: self._messages.terminate(shell_id, command_id, at, s))
                self._ask("Send", lambda at, s: self._messages.script(shell_id, command_id, script, at, s))
            with self.trace.step("receive"):
                return self._output(shell_id, command_id)
        finally:
            with self.trace.step("close"):
                self._give_back(f"shell {shell_id}", close)

    def _output(self, shell_id: str, command_id: str) -> Output:
        stdout, stderr, size = [], [], 0
        while True:
            try:
                root, _ = self._ask(
                    "Receive",
                    lambda at, s: self._messages.receive(shell_id, command_id, at, s),
                    longest_s=_LONGEST_RECEIVE_S,
                )
            except FaultError as error:
                if error.fault.code != faults.TIMED_OUT:
                    raise
                continue
            piece = self._read("Receive", shell.piece, root)
            stdout.append(piece.stdout)
            stderr.append(piece.stderr)
            size += len(piece.stdout) + len(piece.stderr)
            if size > MOST_BYTES:
                raise self._error(self._codes.protocol, f"the command printed more than {MOST_BYTES >> 20} MiB")
            if piece.exit_status is not None:
                return Output(b"".join(stdout), b"".join(stderr), piece.exit_status)

    def _ask(self, what: str, make: Make, *, longest_s: float = _LONGEST_S, related: bool = True) -> tuple[Any, bytes]:
        """Return the envelope that a message is answered with, as a tree and as received. Raises what went wrong."""
        if self._limit is None:
            self._limit = time.monotonic() + self._config.deadline_s
        if self._stop.is_set():
            raise AbandonedError
        if self._failed is not None:  # a login that was refused is not tried again, nor a host that is gone
            raise self._error(self._failed.code, self._failed.message)
        # what was waited for other hosts to take the account is no time of this one
        limit = self._limit + (self._connection.waited_s if self._connection else 0)
        left = limit - time.monotonic()
        if left <= 0:
            raise self._error(self._codes.deadline, f"{what}: nothing left of {self._config.deadline_s:g} s in all")
        if self._connection is None:
            self._connection = self._new_connection(self._stop)
        # answered a little before the deadline the connection is still good to give back what is open
        within_s = max(min(longest_s, left - _SHORTEST_S), _SHORTEST_S)
        try:
            return self._exchange(self._connection, what, make, within_s, limit, related=related)
        except TargetError as error:
            if not self._connection.usable:
                self._failed = error
            raise

    def _exchange(
        self, connection: HostConnection, what: str, make: Make, within_s: float, limit: float, *, related: bool = True
    ) -> tuple[Any, bytes]:
        message_id = str(uuid.uuid4()).upper()
        reply = connection.exchange(make(message_id, within_s), what, limit)
        root = self._envelope(reply, what)
        if (fault := faults.fault_of(root)) is not None:
            code: ErrorCode = getattr(self._codes, fault.field)
            kind = FaultError if fault.wmi_status is None else WmiRefusedError
            raise kind(code, f"{what}: the host answers {fault}", fault, target=self._host.address)
        if reply.status != 200:
            raise self._error(self._codes.protocol, f"{what}: HTTP {reply.status} with an answer that is no fault")
        if related and (soap.text_of(root, "RelatesTo") or "").upper() != f"UUID:{message_id}":
            raise self._error(self._codes.protocol, f"the answer to {what} is one to another message")
        return root, reply.content

    def _envelope(self, reply: Reply, what: str) -> Any:
        status, kind = reply.status, reply.media_type.partition(";")[0].strip()
        if not reply.content and status == 500:
            message = f"{what}: the host takes no unencrypted message (HTTP 500 without a word)"
            raise self._error(self._codes.unencrypted, message)
        if status not in (200, 500) or (reply.content and "xml" not in kind):
            said = f"HTTP {status} with {len(reply.content)} bytes of {quotable(kind, (), 60) or 'no media type'}"
            lead = "a redirect, which is not followed: " if 300 <= status <= 399 else ""
            raise self._error(self._codes.no_listener, f"{what} was answered with {lead}{said}: no WS-Management there")
        return self._read(what, soap.envelope, reply.content)

    def _read(self, what: str, reader: Callable[[Any], T], answer: Any) -> T:
        try:
            return reader(answer)
        except ValueError as error:
            message = f"the answer to {what} is not what it must be: {quotable(str(error), (), 200)}"
        raise self._error(self._codes.protocol, message)

    def _give_back(self, what: str, makes: list[Make]) -> None:
        """Close what is open on the host, by another connection where this one is of no use. Never raises."""
        limit = time.monotonic() + EXTRA_S
        if self._stop.is_set() and self._connection is not None:
            self._connection.outlast_stop()
        extra: HostConnection | None = None
        wrong = ""
        try:
            if self._failed is not None and self._failed.code is self._codes.auth:
                raise self._failed  # another login with what was refused could lock the account
            for make in makes:
                connection = extra or self._connection
                if connection is None or (extra is None and not connection.usable):
                    connection = extra = self._new_connection(None)
                try:
                    self._exchange(connection, f"closing the {what}", make, 2.0, limit)
                    wrong = ""
                except FaultError as error:  # closing a shell ends its command too; what the host has no more is closed
                    wrong = "" if error.fault.code in faults.GONE else error.message
                except TargetError as error:
                    wrong = error.message
                    if extra is not None:
                        break
        except LedgerError as error:  # a connection that cannot even be tried
            wrong = error.message
        finally:
            if extra is not None:
                extra.close()
            if wrong:
                self.trace.leaks.append(f"{what}: {wrong}")

    def _new_connection(self, stop: threading.Event | None) -> HostConnection:
        if self._context is None:
            self._context = context_of(self._config, self._codes)
        return HostConnection(
            self._config, self._codes, self._login, self._host, self._context, self.trace, stop, self._trials
        )

    def _error(self, code: ErrorCode, message: str) -> TargetError:
        return TargetError(code, message, target=self._host.address)
