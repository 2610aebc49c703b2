"""Who may ask: access keys, RAM roles and the sessions made from them, and what each of them may see.

Signatures are read in signatures.py; here is what a key may do once it is known. Called by api.py and metadata.py.
"""

from __future__ import annotations

import fnmatch
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

ACCOUNT_ID = "1234567890123456"


@dataclass(frozen=True)
class Denial:
    action: str
    region: str
    loudly: bool


@dataclass
class Principal:
    """A RAM user or role. It may read everything until something is denied."""

    name: str
    kind: str = "user"  # user or role
    denials: list[Denial] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)  # instances and disks that its policy does not reach

    def deny(self, action: str = "*", region: str = "*", *, loudly: bool = False) -> None:
        """Take a permission away (globs). Listing then answers 200 and nothing, `loudly` 403; DryRun is always 403.

        DescribeRegions has no silent way: it is 403 too, and is denied only where it is named in full.
        """
        self.denials.append(Denial(action, region, loudly))

    def allow_all(self) -> None:
        self.denials.clear()
        self.hidden.clear()

    def hide(self, ids: Iterable[str]) -> None:
        """Leave single instances or disks out of every list, as a policy on resources does; DryRun still passes."""
        self.hidden.update(ids)

    def denial(self, action: str, region: str) -> Denial | None:
        """Return what denies an action in a region, or None."""
        for one in self.denials:
            if action == "DescribeRegions" and one.action != action:
                continue
            if fnmatch.fnmatchcase(action, one.action) and fnmatch.fnmatchcase(region, one.region):
                return one
        return None

    @property
    def arn(self) -> str:
        return f"acs:ram::{ACCOUNT_ID}:{self.kind}/{self.name}"


@dataclass
class Role(Principal):
    """A RAM role: who may take it, and for how long."""

    kind: str = "role"
    trusted: set[str] = field(default_factory=lambda: {"*"})  # names of users
    external_id: str | None = None
    longest_s: int = 3600


@dataclass
class Key:
    """An access key, of a user for good or of a session for a while."""

    id: str
    secret: str = field(repr=False)
    principal: Principal
    security_token: str = field(default="", repr=False)
    expires: float | None = None  # seconds since 1970, by the double's clock
    disabled: bool = False


class Keyring:
    """The keys of one account."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.keys: dict[str, Key] = {}
        self.roles: dict[str, Role] = {}

    def add_user(self, name: str, key_id: str, secret: str) -> Principal:
        """Add a user with an access key."""
        user = Principal(name)
        self.keys[key_id] = Key(key_id, secret, user)
        return user

    def add_role(self, name: str, **said: Any) -> Role:
        """Add a role: trusted= (names of users), external_id=, longest_s=."""
        self.roles[name] = Role(name, **said)
        return self.roles[name]

    def session(self, role: Role, seconds: float) -> Key:
        """Make a key of a role that lasts so long."""
        with self._lock:
            key = Key(
                f"STS.NUdouble{next(self._numbers):08d}",
                secrets.token_hex(22),
                role,
                "CAIS" + secrets.token_hex(120),
                self._clock() + seconds,
            )
            self.keys[key.id] = key
            return key

    def expire_sessions(self) -> int:
        """End every session now; return how many there were."""
        ended = [key for key in self.keys.values() if key.expires is not None and key.expires > self._clock()]
        for key in ended:
            key.expires = self._clock() - 1
        return len(ended)

    def is_over(self, key: Key) -> bool:
        return key.expires is not None and key.expires <= self._clock()


def stamp(seconds: float) -> str:
    """Return a time as the service writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
