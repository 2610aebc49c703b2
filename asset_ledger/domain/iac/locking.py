"""What a request to a state may do, given its lock and its head: the rules of the HTTP backend, and nothing of HTTP.

Terraform itself refuses lower serials and other lineages before it sends anything, unless it is told to force; what
comes in all the same is taken and flagged, because refusing it would lose it. docs/platforms/terraform.md tells all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

Flag = Literal["unlocked_write", "lock_lost", "serial_back", "serial_again", "lineage_changed", "opaque"]


Owner = UUID | str | None
"""Whose something is: a user's by the id, everybody else's by the name that they logged in with."""


def owner_of(user_id: UUID | None, actor: str | None) -> Owner:
    """Return whose a lock is that somebody takes. A pipeline's job is no user: its name alone tells it from others."""
    return actor if user_id is None else user_id


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock as it was asked for. `info` are the bytes as received: whoever loses is shown them.

    `who` is what the client says of itself; `actor` and `user_id` are who logged in, known of a lock that is held.
    """

    lock_id: str
    info: bytes
    operation: str | None
    who: str | None
    actor: str | None = None
    user_id: UUID | None = None

    def is_of(self, lock_id: str | None, owner: Owner) -> bool:
        """Say whether this is the asker's own: an id alone is read by many, a user is one, whatever its tokens."""
        return self.lock_id == lock_id and owner_of(self.user_id, self.actor) == owner


@dataclass(frozen=True, slots=True)
class Head:
    """The newest version of a state. `run_id` is the lock it was written under."""

    version: int
    sha256: bytes
    serial: int | None
    lineage: str | None
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Write:
    """A body that is to become the next version, and who brings it."""

    lock_id: str | None
    owner: Owner
    sha256: bytes
    serial: int | None
    lineage: str | None
    readable: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """It is done. `again` where it had been done before and the answer was lost: nothing new is to be kept."""

    again: bool = False
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody else has the lock."""

    lock: Lock


@dataclass(frozen=True, slots=True)
class Refused:
    """It is not done, and trying again changes nothing until a person does: why, and what to do."""

    reason: str


class NoLockError(ValueError):
    """A body that describes no lock."""


def lock_of(body: bytes) -> Lock:
    """Return the lock that a body asks for. Raises NoLockError."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise NoLockError("the body is not JSON; Terraform sends its LockInfo") from None
    if not isinstance(told, dict) or not isinstance(told.get("ID"), str) or not told["ID"]:
        raise NoLockError("the body has no `ID`; Terraform's LockInfo has one")
    return Lock(told["ID"], body, _text(told, "Operation"), _text(told, "Who"))


def lock(wanted: Lock, held: Lock | None, owner: Owner) -> Taken | Held:
    """Return what comes of asking for a lock. Asked for again by the same one and id it is the same lock."""
    if held is None or held.is_of(wanted.lock_id, owner):
        return Taken(again=held is not None)
    return Held(held)


def unlock(lock_id: str, held: Lock | None, owner: Owner) -> Taken | Held | Refused:
    """Return what comes of giving a lock back. Once given back it may be given back again.

    Held where the id is right and the lock another's: that is to force it open.
    """
    if held is None or held.is_of(lock_id, owner):
        return Taken(again=held is None)
    if held.lock_id == lock_id:
        return Held(held)
    return Refused(
        f"the state is locked by another lock, {held.lock_id}"
        f"{f' of {held.who}' if held.who else ''}; an administrator can force it open"
    )


def write(
    wanted: Write, head: Head | None, held: Lock | None, *, forced_at_head: bool = False
) -> Taken | Held | Refused:
    """Return what comes of a new version.

    `forced_at_head`: its lock was forced open, and nothing was written since.
    """
    if held is not None and not held.is_of(wanted.lock_id, wanted.owner):
        return Held(held)
    if head is not None and head.sha256 == wanted.sha256:
        return Taken(again=True)
    flags: list[Flag] = []
    if wanted.lock_id is None:
        flags.append("unlocked_write")
    if not wanted.readable:
        flags.append("opaque")
    if head is not None:
        flags += _succession(wanted, head)
    if wanted.lock_id is not None and held is None:
        # forced open under a running apply: what it did must not be lost, nor what another did since. Serials do not
        # tell, they go up with every attempt: the head is to be its own, or what it was when the lock was forced
        knows = head is None or head.run_id == wanted.lock_id or forced_at_head
        if not knows or any(flag in flags for flag in ("serial_back", "serial_again", "lineage_changed")):
            return Refused(
                f"the lock {wanted.lock_id} was given back or forced open, and the state is no successor of version "
                f"{head.version if head else 0}; look at what was written since, then `terraform state push` it"
            )
        flags.append("lock_lost")
    return Taken(flags=tuple(flags))


def _succession(wanted: Write, head: Head) -> list[Flag]:
    """Return what a person should know of the way from the head to a new version."""
    flags: list[Flag] = []
    if wanted.lineage is not None and head.lineage is not None and wanted.lineage != head.lineage:
        return ["lineage_changed"]
    if wanted.serial is not None and head.serial is not None:
        if wanted.serial < head.serial:
            flags.append("serial_back")
        elif wanted.serial == head.serial:
            flags.append("serial_again")
    return flags


def _text(told: dict[str, Any], name: str) -> str | None:
    value = told.get(name)
    return value if isinstance(value, str) and value else None
