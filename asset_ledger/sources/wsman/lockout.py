"""One account at many hosts: a wrong password is shown to a few of them, never to all, or it would be locked.

Each host that refuses a domain account counts at its domain, which locks it after some five or ten. Until one host has
taken it, no more than `MOST_REFUSALS` are tried at a time, and it is shown to `MOST_SHOWN` at most. Pure but for
waiting; `http_client` asks before it dials and again before it proves the account.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable

from asset_ledger.domain.errors import ErrorCode, TargetError
from asset_ledger.sources.https_session import AbandonedError
from asset_ledger.sources.wsman.terms import Login

MOST_REFUSALS = 3
MOST_SHOWN = 5
"""To how many hosts an account is shown that none has taken: those that never answer may have counted too. Runs that
share a day's hosts share both numbers, but each tries one host."""
PATIENCE_S = 10.0
"""How long a host that is being tried keeps its place: some never say a word."""
_LOOK_S = 0.2
_LAST_OF_NTLM = base64.b64encode(b"NTLMSSP\0\3\0\0\0")


def names_domain(username: str) -> bool:
    r"""Say whether an account is of a domain by its name: `DOMAIN\user`, `user@domain`."""
    domain, backslash, _ = username.partition("\\")
    return domain not in ("", ".") if backslash else "@" in username


def is_domain_account(username: str) -> bool:
    r"""Say whether hosts may ask one authority about it: all but `.\user`, for they hand a bare `user` on as well."""
    return not username.startswith(".\\")


def proves_account(authorization: str | bytes | None) -> bool:
    """Say whether a request's Authorization holds NTLM's last message, which is checked against the password."""
    told = authorization or b""
    token = (told.encode() if isinstance(told, str) else told).rpartition(b" ")[2]
    return token.startswith(_LAST_OF_NTLM)


class Trials:
    """What the hosts of one run say to one account, whichever credentials name it. Threads share it."""

    def __init__(self, code: ErrorCode, *, runs: int = 1) -> None:
        """Take the platform's code for a host that the account is kept from, and how many runs share the hosts."""
        self._code = code
        self._most_shown = max(1, MOST_SHOWN // runs)
        self._most_refusals = min(MOST_REFUSALS, self._most_shown)
        self._taken: set[Login] = set()
        self._refused = 0
        self._shown = 0
        self._open: set[Trial] = set()
        self._changed = threading.Condition()

    def admit(self, login: Login, stop: threading.Event, target: str) -> Trial:
        """Wait until one more host may be tried; the trial must be ended.

        Raises TargetError where some hosts refused it and none took it, AbandonedError once stopped.
        """
        trial = Trial(self, login, target)
        with self._changed:
            self._wait(login, stop, target, self._has_place)
            trial.since = time.monotonic()
            self._open.add(trial)
        return trial

    def show(self, trial: Trial, stop: threading.Event) -> None:
        with self._changed:
            self._wait(trial.login, stop, trial.target, lambda: self._shown < self._most_shown)
            if trial.login not in self._taken:  # a password that is right adds to nothing
                trial.shown = True
                self._shown += 1

    def end(self, trial: Trial, *, taken: bool, refused: bool) -> None:
        with self._changed:
            self._open.discard(trial)
            if taken:
                self._taken.add(trial.login)
            if trial.login in self._taken:
                self._shown -= trial.shown
            else:
                self._refused += refused
            self._changed.notify_all()

    def _has_place(self) -> bool:
        now = time.monotonic()
        trying = sum(now - each.since < PATIENCE_S for each in self._open)
        return trying + self._refused < self._most_refusals

    def _wait(self, login: Login, stop: threading.Event, target: str, ready: Callable[[], bool]) -> None:
        while login not in self._taken:
            if stop.is_set():
                raise AbandonedError
            if self._refused >= self._most_refusals:
                raise self._kept(f"{self._refused} hosts of this run refused the account and none took it", target)
            if self._shown >= self._most_shown and not any(each.shown for each in self._open):
                raise self._kept(f"{self._shown} hosts of this run were shown the account and none took it", target)
            if ready():
                return
            self._changed.wait(_LOOK_S)

    def _kept(self, why: str, target: str) -> TargetError:
        return TargetError(self._code, f"{why}, so it was not tried here: its domain might lock it", target=target)


class Trial:
    """One host that an account is tried on. `shown` once it was told what proves the account."""

    def __init__(self, trials: Trials, login: Login, target: str) -> None:
        self._trials = trials
        self.login, self.target = login, target
        self.since = 0.0
        self.shown = False

    def show(self, stop: threading.Event) -> None:
        """Wait until the host may be told what proves the account. Raises as `Trials.admit` does."""
        self._trials.show(self, stop)

    def ended(self, *, taken: bool, refused: bool) -> None:
        """Say how the login ended; neither where the connection did."""
        self._trials.end(self, taken=taken, refused=refused)
