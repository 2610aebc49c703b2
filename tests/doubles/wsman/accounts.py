"""Who may sign in at a host, and with which rights. Also the file that the NTLM acceptor reads its accounts from.

pyspnego's acceptor is told of its accounts by one environment variable of the whole process. So it is set once, to one
private file, whose text is the accounts of that host at which somebody signs in just now (`accepting`).
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from spnego._ntlm_raw.crypto import ntowfv1

_NO_HASH = "0" * 32


@dataclass(frozen=True)
class Account:
    """One account of one host. The rights are those of WinRM's RootSDDL and of WMI's namespaces."""

    password: str
    read: bool = True  # RootSDDL: Read. Without it everything is answered with fault 5
    execute: bool = True  # RootSDDL: Execute. Without it a shell is refused with fault 5, and queries are answered
    denied: tuple[str, ...] = ()  # namespaces without Remote Enable ("root/cimv2"); "*" is every one
    denied_code: int = 2150859012  # what WMI's refusal is told as


@dataclass(frozen=True)
class Principal:
    """An account by its full name."""

    name: str  # "LAB\\ledger", or "HV01\\ledger" for a local account
    local: bool
    account: Account


class Accounts:
    """The accounts of one host, by every name that a client may give them."""

    def __init__(self, computer: str, accounts: Mapping[str, str | Account]) -> None:
        self._by_name: dict[str, Principal] = {}
        lines = []
        for given, said in accounts.items():
            account = said if isinstance(said, Account) else Account(said)
            domain, _, user = given.rpartition("\\")
            local = domain.upper() in {"", ".", computer.upper()} and "@" not in user
            principal = Principal(f"{computer}\\{user}" if local else given, local, account)
            names = [user, f".\\{user}", f"{computer}\\{user}"] if local else [given]
            for name in names:
                self._by_name[name.upper()] = principal
            digest = ntowfv1(account.password).hex().upper()
            lines += [f"{name}:1:{_NO_HASH}:{digest}:[U]:LCT-00000000" for name in names]
        self.lines = "\n".join(lines) + "\n"

    def named(self, name: str) -> Principal | None:
        """Return who is meant by a name, in any case of its letters."""
        return self._by_name.get(name.upper())

    def with_password(self, name: str, password: str) -> Principal | None:
        """Return who signs in with this password, or None."""
        found = self.named(name)
        return found if found is not None and found.account.password == password else None


class _Store:
    """The file of the process, and whose accounts are in it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.path = Path()
        self.lines = ""

    def hold(self, lines: str) -> None:
        if self.folder is None:
            self.folder = tempfile.TemporaryDirectory(prefix="wsman-double-accounts-")
            self.path = Path(self.folder.name) / "accounts"
            self.path.touch(mode=0o600)
            os.environ["NTLM_USER_FILE"] = str(self.path)
        if lines != self.lines:
            self.path.write_text(lines)
            self.lines = lines


_STORE = _Store()


@contextmanager
def accepting(accounts: Accounts) -> Iterator[None]:
    """Let acceptors of this process know the accounts of one host, one host at a time."""
    with _STORE.lock:
        _STORE.hold(accounts.lines)
        yield
