"""What a client of WS-Management is given and gives back: a login, the platform's codes, a trace, output, refusals.

Everything here is handed out by `client`; nothing is opened.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.errors import ErrorCode, TargetError
from asset_ledger.sources.wsman.faults import Fault


@dataclass(frozen=True, slots=True)
class Login:
    r"""An account: `DOMAIN\user`, `user@domain`, or a local `user`."""

    username: str
    password: str = field(repr=False)


def login_of(fields: Mapping[str, str], reference: str, code: ErrorCode) -> Login:
    """Return the login that a credential's fields are. Raises TargetError(code), which never quotes them."""
    username, password = fields.get("username"), fields.get("password")
    if not username or not password:
        lacking = "username" if not username else "password"
        raise TargetError(code, f"it lacks {lacking}; give it `username` and `password`", target=reference)
    return Login(username, password)


@dataclass(frozen=True, slots=True)
class Codes:
    """What a platform calls the ways in which the work on a host can fail."""

    config: ErrorCode
    """ca_file cannot be used."""
    credential: ErrorCode
    """The credential is none for WinRM."""
    auth: ErrorCode
    """401: wrong password, or an authentication that the host does not offer."""
    permission: ErrorCode
    """Fault 5: the account may not use the service, or not a shell."""
    namespace: ErrorCode
    """WMI refuses the account in the namespace."""
    timeout: ErrorCode
    """No TCP connection within connect_timeout_s."""
    refused: ErrorCode
    """The TCP connection was refused, or there is no way to the address."""
    dns: ErrorCode
    """The name has no address."""
    lost: ErrorCode
    """The connection ended before an answer was whole."""
    tls: ErrorCode
    """The certificate is not accepted, or the port speaks no TLS that is."""
    deadline: ErrorCode
    """The work took longer than deadline_s."""
    quota: ErrorCode
    """The host has too many shells, operations or users."""
    no_listener: ErrorCode
    """The port speaks HTTP, but no WS-Management."""
    unencrypted: ErrorCode
    """The host refuses what it was sent as unencrypted, or answers unencrypted where it must not."""
    protocol: ErrorCode
    """The answer is not what WS-Management says it must be, or too much."""
    fault: ErrorCode
    """Any other fault; its number is in the message."""
    kerberos_missing: ErrorCode
    """authentication: kerberos without the extra, or without a ticket for the host."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a command left."""

    stdout: bytes
    stderr: bytes
    exit_status: int


@dataclass(frozen=True, slots=True)
class Identity:
    """What wsmid:Identify tells, such as `Microsoft Corporation`, `OS: 10.0.17763 SP: 0.0 Stack: 3.0`."""

    vendor: str
    version: str
    protocol: str


@dataclass(slots=True)
class Trace:
    """What the work on a host has come to so far; filled step by step, so that a failure shows how far it got."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    connections: int = 0
    authentication: str = ""
    server: str | None = None
    product: str | None = None
    certificate_sha256: str | None = None
    leaks: list[str] = field(default_factory=list)
    """Shells and enumerations that could not be given back."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note how long a step took, also one that failed."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.steps.append({"step": name, "ms": round((time.monotonic() - began) * 1000)})


class FaultError(TargetError):
    """A WS-Management fault. Its numbers are in `fault`."""

    def __init__(self, code: ErrorCode, message: str, fault: Fault, *, target: str) -> None:
        super().__init__(code, message, target=target)
        self.fault = fault


class WmiRefusedError(FaultError):
    """A fault that WMI itself gave, so that another query may fare better. `status` is its HRESULT, 0x80041010 say."""

    def __init__(self, code: ErrorCode, message: str, fault: Fault, *, target: str) -> None:
        super().__init__(code, message, fault, target=target)
        self.status = fault.wmi_status or 0
