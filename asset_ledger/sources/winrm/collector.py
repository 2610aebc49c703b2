"""What is asked of each Windows host, over which listener, and the one raw record of each.

The live half of platform `winrm`. `probing` has what it shares with other probes: the pool, one connection a host at a
time, the logins; `wsman` has the connection.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from time import monotonic

from asset_ledger.domain.errors import ErrorCode, LedgerError, PermanentError, TargetError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.sources.platform import Detection, Health, ReadOrder, Secrets
from asset_ledger.sources.probing import Logins, failure_of, no_target, quotable, read_all
from asset_ledger.sources.winrm import errors, raw
from asset_ledger.sources.winrm.config import HTTP_PORT, HTTPS_PORT, MOST_PORT, WinrmConfig
from asset_ledger.sources.winrm.queries import QUERIES, Query
from asset_ledger.sources.winrm.raw import Answered, QueryError
from asset_ledger.sources.wsman.client import (
    Codes,
    FaultError,
    Login,
    Trace,
    Trials,
    WsmanClient,
    context_of,
    is_domain_account,
    kerberos_installed,
    login_of,
)
from asset_ledger.sources.wsman.lockout import MOST_REFUSALS, names_domain

CODES = Codes(
    config=errors.CONFIG_INVALID,
    credential=errors.CREDENTIAL_INVALID,
    auth=errors.AUTH_FAILED,
    permission=errors.PERMISSION_DENIED,
    namespace=errors.NAMESPACE_DENIED,
    timeout=errors.TIMEOUT,
    refused=errors.REFUSED,
    dns=errors.DNS,
    lost=errors.CONNECTION_LOST,
    tls=errors.TLS_ERROR,
    deadline=errors.DEADLINE,
    quota=errors.QUOTA,
    no_listener=errors.NO_LISTENER,
    unencrypted=errors.UNENCRYPTED,
    protocol=errors.PROTOCOL_ERROR,
    fault=errors.FAULT,
    kerberos_missing=errors.KERBEROS_MISSING,
)
"""What this platform calls the ways in which the work on a host can fail."""

_NULL_CLASS = frozenset(
    {
        errors.FAULT,
        errors.PERMISSION_DENIED,
        errors.NAMESPACE_DENIED,
        errors.QUOTA,
        errors.PROTOCOL_ERROR,
        errors.DEADLINE,
        errors.CONNECTION_LOST,
    }
)
"""With what a class that is not required may fail without failing the host: anything else says that the wrong one
answers. Where the connection or the time is gone, the classes after it fail with the same at once."""


class WinrmCollector:
    """Reads hosts over WinRM. Nothing is opened before a method is called."""

    def __init__(self, config: WinrmConfig, credentials: Secrets) -> None:
        self._config = config
        self._over_https = config.model_copy(update={"https": True})
        self._trials: dict[str, Trials] = {}
        self._runs = 1
        self._logins = Logins(
            credentials,
            config.default_credential_ref,
            errors.CREDENTIAL_INVALID,
            self._login,
        )

    def healthcheck(self, order: ReadOrder) -> Health:
        """Prove that the CA file, the library and every credential in use can be used. No host is dialled."""
        checks: dict[str, str] = {"targets": str(len(order.targets)), "authentication": self._config.authentication}
        problems: list[str] = []
        try:
            checks["tls"] = self._trust(order.targets)
        except LedgerError as error:
            checks["tls"] = error.code.code
            problems.append(str(error))
        usable: dict[str, str] = {}
        unusable: list[str] = []
        if self._config.authentication != "kerberos":
            usable, unusable = self._logins.checked(order.targets)
        elif kerberos_installed():
            checks["kerberos"] = "installed; the ticket is that of the account the ledger runs as"
        else:
            checks["kerberos"] = errors.KERBEROS_MISSING.code
            problems.append(str(PermanentError(errors.KERBEROS_MISSING, "its library is not installed")))
        wrong = [target for target in order.targets if self._wrong_port(target)]
        if wrong:
            checks["ports"] = f"{len(wrong)} of {len(order.targets)} cannot be used"
            problems.append(f"{self._wrong_port(wrong[0])} (first of {len(wrong)}: {_place(wrong[0])})")
        if not order.targets:
            problems.append(no_target("winrm"))
        problems += unusable
        return Health(ok=not problems, checks=checks | usable, problems=tuple(problems))

    def detect(self, order: ReadOrder) -> Detection:
        """Say which client reads, and how many hosts over which listener."""
        https = sum(self._https(target) for target in order.targets)
        advice = [code.advice for code in self._doubts(bool(https), len(order.targets) > https)]
        return Detection(
            target_version="",
            driver=f"pywinrm {version('pywinrm')}",
            capabilities={
                "https_targets": https,
                "http_targets": len(order.targets) - https,
                "authentication": self._config.authentication,
                "kerberos_installed": kerberos_installed(),
                "ntlm": f"requests_ntlm {version('requests_ntlm')}, pyspnego {version('pyspnego')}",
            },
            advice="; ".join(advice),
        )

    def collect(self, order: ReadOrder) -> Iterator[RawRecord]:
        """Yield one raw record a target, as each is done; a failed target's record holds its error.

        At most `parallel` records exist at a time. Closing the iterator ends the running probes.
        Raises PermanentError if ca_file cannot be used.
        """
        self._trials, self._runs = {}, order.shard.of if order.shard else 1
        https = any(self._https(target) for target in order.targets)
        context = context_of(self._over_https, CODES) if https else None
        yield from read_all(
            _spread(order.targets),
            partial(self._probe, context),
            default_port=self._config.port,
            parallel=self._config.parallel,
            name=self._config.name,
        )

    def _https(self, target: ProbeTarget) -> bool:
        return self._config.https or (target.port or self._config.port) == HTTPS_PORT

    def _probe(self, context: ssl.SSLContext | None, target: ProbeTarget, stop: threading.Event) -> RawRecord:
        trace, answered = Trace(), list[Answered]()
        started_at, began = datetime.now(UTC), monotonic()
        work = partial(self._read, context, target, answered, trace, stop)
        error = failure_of(work, errors.CONNECTION_LOST)
        return raw.record(
            replace(target, credential_ref=self._logins.reference(target)),
            answered,
            transport="https" if self._https(target) else "http",
            started_at=started_at,
            duration_ms=round((monotonic() - began) * 1000),
            trace=asdict(trace),
            error=error,
            cautions=self._cautions(target, trace),
        )

    def _read(
        self,
        context: ssl.SSLContext | None,
        target: ProbeTarget,
        answered: list[Answered],
        trace: Trace,
        stop: threading.Event,
    ) -> None:
        address = target.mgmt_ip or target.hostname
        if not address:
            raise TargetError(errors.DNS, "the target has neither a management address nor a name")
        if wrong := self._wrong_port(target):
            raise TargetError(errors.CONFIG_INVALID, wrong, target=address)
        https = self._https(target)
        # a ticket is nobody's password: no credential is asked for
        ticket = self._config.authentication == "kerberos"
        login = Login("", "") if ticket else self._logins.of(self._logins.reference(target))
        client = WsmanClient(
            self._over_https if https else self._config,
            CODES,
            login,
            address=address,
            port=target.port or self._config.port,
            names=(target.hostname,) if target.hostname else (),
            stop=stop,
            trace=trace,
            context=context if https else None,
            trials=self._trials_of(login),
        )
        with client:
            _ask_all(client, answered, self._config.output_cap_bytes)

    def _login(self, fields: Mapping[str, str], reference: str) -> Login:
        login = login_of(fields, reference, errors.CREDENTIAL_INVALID)
        if self._config.authentication == "basic" and names_domain(login.username):
            said = (
                "its username names a domain, and Basic knows local accounts only: such a password would be sent to "
                "every host and taken by none; give the bare name of a local account, or set authentication: ntlm"
            )
            raise TargetError(errors.CREDENTIAL_INVALID, said, target=reference)
        return login

    def _trials_of(self, login: Login) -> Trials | None:
        """Return what the hosts say to an account, None where wrong passwords do not add up.

        Basic knows local accounts only, and a ticket locks none. Several credentials may name one account.
        """
        if self._config.authentication != "ntlm" or not is_domain_account(login.username):
            return None
        return self._trials.setdefault(login.username.casefold(), Trials(errors.NOT_TRIED, runs=self._runs))

    def _wrong_port(self, target: ProbeTarget) -> str | None:
        """Say what is wrong with a target's port. What a row of an import says must not switch TLS off."""
        if target.port is not None and not 1 <= target.port <= MOST_PORT:
            return f"{target.port} is no port: give the ledger asset one from 1 to {MOST_PORT}, or none"
        if not self._config.https or target.port != HTTP_PORT:
            return None
        return (
            f"port {HTTP_PORT} is the listener without TLS, and this source says https: true; give the ledger asset "
            f"port {HTTPS_PORT}, or none, or set https: false"
        )

    def _trust(self, targets: Sequence[ProbeTarget]) -> str:
        """Return in words how the hosts are known to be the right ones. Raises PermanentError for the CA file."""
        https = sum(self._https(target) for target in targets)
        said = []
        if https or not targets:
            context_of(self._over_https, CODES)
            said.append(f"{https} over HTTPS, {self._over_https.trust}")
        if https < len(targets):
            said.append(f"{len(targets) - https} over HTTP, encrypted by {self._config.authentication}")
        return "; ".join(said)

    def _doubts(self, https: bool, http: bool) -> Iterator[ErrorCode]:
        """Yield what is not proven, by the source's own settings, of hosts that are read over these listeners."""
        if https and not self._config.tls_verify:
            yield errors.TLS_UNVERIFIED
        if http and self._config.authentication == "ntlm":
            yield errors.SERVER_UNPROVEN
        if https and self._config.authentication == "basic":
            yield errors.BASIC

    def _cautions(self, target: ProbeTarget, trace: Trace) -> list[dict[str, str]]:
        if not trace.connections:
            return []
        https = self._https(target)
        return [
            {"code": code.code, "message": f"{_place(target)}: {code.meaning}"}
            for code in self._doubts(https, not https)
        ]


def _ask_all(client: WsmanClient, answered: list[Answered], most_bytes: int) -> None:
    """Ask for every class. Raises TargetError where one that is required cannot be read."""
    left = most_bytes
    for query in QUERIES:
        try:
            found = _ask(client, query, left)
        except TargetError as error:
            if query.required or error.code not in _NULL_CLASS:
                raise
            found = Answered(query.name, query.wql, error=_told(error))
        left -= sum(map(len, found.answers))
        if left < 0:
            raise TargetError(errors.PROTOCOL_ERROR, f"more than {most_bytes} bytes of answers, with {query.wmi_class}")
        answered.append(found)


def _ask(client: WsmanClient, query: Query, most_bytes: int) -> Answered:
    """Ask for one class, in shorter words where WMI cannot run the query: an older release lacks a property."""
    first: TargetError | None = None
    for wql in (query.wql, *query.fallbacks):
        try:
            return Answered(query.name, wql, tuple(client.enumerate(wql, query.namespace, cap_bytes=most_bytes)))
        except TargetError as error:
            if error.code is not errors.FAULT:
                raise
            first = first or error
    assert first is not None
    raise first


def _spread(targets: Sequence[ProbeTarget]) -> list[ProbeTarget]:
    """Return the targets so that the first ones are from all over: those who try an account are no neighbours.

    Hosts that do not know the domain stand together (a DMZ), and would speak for all others.
    """
    step = max(1, len(targets) // (MOST_REFUSALS + 1))
    return [target for first in range(step) for target in targets[first::step]]


def _told(error: TargetError) -> QueryError:
    fault = error.fault if isinstance(error, FaultError) else None
    number = (fault.wmi_status or fault.code) if fault else None
    return QueryError(error.code.code, quotable(error.message), number)


def _place(target: ProbeTarget) -> str:
    return target.mgmt_ip or target.hostname or "unnamed"
