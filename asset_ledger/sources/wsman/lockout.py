"""One account at many hosts: a wrong password is shown to a few of them, never to all, or it would be locked.

Each host that refuses a domain account counts at its domain, which locks it after some five or ten. Until one host has
taken it, no more than `MOST_REFUSALS` are tried. Pure but for waiting; `http_client` asks before it logs in.
"""

from __future__ import annotations

import threading
import time

from asset_ledger.domain.errors import ErrorCode, TargetError
from asset_ledger.sources.https_session import AbandonedError

MOST_REFUSALS = 3
PATIENCE_S = 10.0
"""How long a host waits for those that are logging in: some never say a word."""
_LOOK_S = 0.2


def is_domain_account(username: str) -> bool:
    r"""Say whether every host asks the same authority: `DOMAIN\user`, `user@domain`; not `user` nor `.\user`."""
    domain, backslash, _ = username.partition("\\")
    return domain not in ("", ".") if backslash else "@" in username


class Trials:
    """What the hosts of one run say to one account. Threads share it."""

    def __init__(self, code: ErrorCode) -> None:
        """Take the platform's code for a refused login."""
        self._code = code
        self._taken = False
        self._refused = 0
        self._trying = 0
        self._changed = threading.Condition()

    def admit(self, stop: threading.Event, target: str) -> None:
        """Wait until the account may be shown to one more host; `ended` is due then.

        Raises TargetError where some hosts refused it and none took it, AbandonedError once stopped.
        """
        until = time.monotonic() + PATIENCE_S
        with self._changed:
            while not self._taken:
                if stop.is_set():
                    raise AbandonedError
                if self._refused >= MOST_REFUSALS:
                    message = (
                        f"{self._refused} hosts of this run refused the account and none took it, so it was not tried "
                        "here: its domain might lock it"
                    )
                    raise TargetError(self._code, message, target=target)
                if self._trying + self._refused < MOST_REFUSALS or time.monotonic() > until:
                    break
                self._changed.wait(_LOOK_S)
            self._trying += 1

    def ended(self, *, taken: bool, refused: bool) -> None:
        """Say how a login ended; neither where the connection did."""
        with self._changed:
            self._trying -= 1
            self._taken = self._taken or taken
            self._refused += refused
            self._changed.notify_all()
