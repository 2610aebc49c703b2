"""One Windows host: what a test says of it (HostSpec), and what it remembers (Host). Answers come from the operations."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tests.doubles.https.certificates import Kind as CertificateKind
from tests.doubles.wsman.accounts import Account, Accounts, Principal
from tests.doubles.wsman.refusals import (
    DENIED,
    QUOTA_OPERATIONS,
    QUOTA_SHELLS,
    WMI_DENIED,
    RefusalError,
    Shape,
)
from tests.doubles.wsman.signing_in import Method
from tests.doubles.wsman.wql import Row, Table, run

if TYPE_CHECKING:
    from tests.doubles.wsman.shells import Invocation, Result, Shell

Release = Literal["2003", "2008r2", "2012r2", "2016", "2019", "2022", "2025"]
Tables = Mapping[str, Table | Sequence[Row]]
# what Identify tells; WinRM 2.0 is the newest that 2003 and 2008 R2 come with
VERSIONS: Mapping[Release, str] = {
    "2003": "OS: 5.2.3790 SP: 2.0 Stack: 2.0",
    "2008r2": "OS: 6.1.7601 SP: 1.0 Stack: 2.0",
    "2012r2": "OS: 6.3.9600 SP: 0.0 Stack: 3.0",
    "2016": "OS: 10.0.14393 SP: 0.0 Stack: 3.0",
    "2019": "OS: 10.0.17763 SP: 0.0 Stack: 3.0",
    "2022": "OS: 10.0.20348 SP: 0.0 Stack: 3.0",
    "2025": "OS: 10.0.26100 SP: 0.0 Stack: 3.0",
}
_OLD = ("2003", "2008r2")


@dataclass(frozen=True)
class HostSpec:
    """What a host is. `accounts`: "LAB\\\\name" of a domain, "name" local; a password, or an Account with its rights."""

    address: str
    accounts: Mapping[str, str | Account] = field(default_factory=dict)
    wmi: Mapping[str, Tables] = field(default_factory=dict)  # {"root/cimv2": {"Win32_Processor": [row, ...]}}
    release: Release = "2019"
    shell: Callable[[Invocation], Result] | None = None  # None: every command is unknown
    name: str | None = None  # the computer's name; None: HOST and the last parts of the address
    locale: Literal["en", "zh", "de"] = "en"  # in which its faults are told
    authentication: tuple[Method, ...] | None = None  # None: as the double
    certificate: CertificateKind = "good"
    page: int | None = None  # rows an answer; None: as many as MaxEnvelopeSize and MaxElements take
    max_envelope: int = 512_000
    max_shells: int | None = None  # MaxShellsPerUser; None: 5 up to 2008 R2, then 30
    max_operations: int | None = None  # MaxConcurrentOperationsPerUser; None: 15, then 1500
    fault_shape: Shape | None = None  # how quotas and WMI's faults are told; None: as the release does


class Host:
    """One host, with its shells and its enumerations. Its lock holds for all of them."""

    def __init__(self, spec: HostSpec) -> None:
        self.lock = threading.RLock()
        self.shells: dict[str, Shell] = {}
        self.contexts: dict[str, Enumeration] = {}
        self.connections = 0  # open ones
        self.change(spec)

    def change(self, spec: HostSpec) -> None:
        """Be another host at the same address from now on; shells and enumerations live on."""
        with self.lock:
            self.spec = spec
            self.name = spec.name or "HOST" + "-".join(spec.address.split(".")[2:])
            self.accounts = Accounts(self.name, spec.accounts)
            old = spec.release in _OLD
            self.shape: Shape = spec.fault_shape or ("wsman" if old else "wmi")
            self.max_shells = spec.max_shells or (5 if old else 30)
            self.max_operations = spec.max_operations or (15 if old else 1500)
            self._rows: dict[tuple[str, str], list[str]] = {}

    @property
    def version(self) -> str:
        """What an authenticated Identify tells of the product."""
        return VERSIONS[self.spec.release]

    def rows(self, namespace: str, query: str, user: Principal) -> list[str]:
        """Return the rows of a query, written; they are written once."""
        denied = {name.replace("\\", "/").lower() for name in user.account.denied}
        if "*" in denied or namespace.lower() in denied:
            raise RefusalError(user.account.denied_code or WMI_DENIED, provider=True)
        known = next((name for name in self.spec.wmi if name.replace("\\", "/").lower() == namespace.lower()), None)
        with self.lock:
            rows = self._rows.get((namespace, query))
            if rows is None:
                rows = run(query, self.spec.wmi[known] if known is not None else {}, namespace)
                self._rows[namespace, query] = rows
            return rows

    def may(self, user: Principal, right: Literal["read", "execute"]) -> None:
        """Refuse whom RootSDDL does not give the right."""
        if not (user.account.read and (right == "read" or user.account.execute)):
            raise RefusalError(DENIED)

    def operation(self, user: Principal) -> None:
        """Refuse one operation more than MaxConcurrentOperationsPerUser: open enumerations and commands of shells."""
        with self.lock:
            running = sum(one.user == user.name for one in self.contexts.values())
            running += sum(len(shell.commands) for shell in self.shells.values() if shell.owner == user.name)
            if running >= self.max_operations:
                raise RefusalError(QUOTA_OPERATIONS, shape=self.shape)

    def room_for_a_shell(self, user: Principal) -> None:
        """Refuse one shell more than MaxShellsPerUser."""
        if sum(shell.owner == user.name for shell in self.shells.values()) >= self.max_shells:
            raise RefusalError(QUOTA_SHELLS, shape=self.shape)


@dataclass
class Enumeration:
    """What an enumeration context stands for."""

    user: str
    rows: Sequence[str]
    all_rows: Sequence[str]
    cls: str = ""


def fresh_context() -> str:
    """Return a context that nobody had before."""
    return f"uuid:{str(uuid.uuid4()).upper()}"
