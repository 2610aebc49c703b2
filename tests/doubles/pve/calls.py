"""One call of the API while it is answered, and how it is refused. Shared by the endpoints; no endpoint lives here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.pve.releases import Release
from tests.doubles.pve.shapes import Row
from tests.doubles.pve.state import Cluster, Guest
from tests.doubles.pve.tickets import Gate


class RefusalError(Exception):
    """An answer from 400 up: the reason goes to the status line."""

    def __init__(
        self,
        status: int,
        reason: str,
        errors: Mapping[str, str] | None = None,
        *,
        empty: bool = False,
        delay: float = 0.0,
    ) -> None:
        super().__init__(status, reason)
        self.status, self.reason, self.errors = status, reason, errors
        self.empty, self.delay = empty, delay


def bad_parameters(**errors: str) -> RefusalError:
    return RefusalError(400, "Parameter verification failed.", errors)


def forbidden(what: str) -> RefusalError:
    return RefusalError(403, f"Permission check failed ({what})")


@dataclass
class Call:
    """A call that has passed authentication; `subject` is None only for what is open to the world."""

    cluster: Cluster
    gate: Gate
    subject: str | None
    place: dict[str, str]  # from the path: node, vmid
    parameters: dict[str, Any]
    agent_delay: float = 0.0
    delay: float = 0.0  # seconds that the answer takes longer; endpoints add to it

    @property
    def release(self) -> Release:
        return self.cluster.release

    @property
    def who(self) -> str:
        assert self.subject is not None
        return self.subject

    def holds(self, path: str, *privileges: str) -> bool:
        return self.cluster.access.holds(self.who, path, *privileges)

    def guest(self) -> Guest:
        """Return the guest of the path, if its configuration lies on that node."""
        node, vmid, kind = self.place["node"], int(self.place["vmid"]), self.place["kind"]
        guest = self.cluster.guests.get(vmid)
        if guest is None or guest.node != node or guest.spec.type != kind:
            folder = "qemu-server" if kind == "qemu" else "lxc"
            raise RefusalError(500, f"Configuration file 'nodes/{node}/{folder}/{vmid}.conf' does not exist")
        return guest


@dataclass(frozen=True)
class Parameter:
    """What a parameter may be; `type` boolean, integer, string or vmid."""

    type: str = "string"
    optional: bool = True
    enum: tuple[str, ...] = ()
    longest: int | None = None
    privileges: bool = False

    def read(self, said: str, known: frozenset[str]) -> Any:
        """Return the value, or raise ValueError with Proxmox VE's text."""
        if self.type == "boolean":
            if re.fullmatch(r"(?i)1|on|yes|true", said):
                return True
            if re.fullmatch(r"(?i)0|off|no|false", said):
                return False
            raise ValueError(f"type check ('boolean') failed - got '{said}'")
        if self.type == "vmid" and not re.fullmatch(r"[1-9][0-9]{2,8}", said):
            raise ValueError("invalid format - value does not look like a valid VM ID\n")
        if self.enum and said not in self.enum:
            raise ValueError(f"value '{said}' does not have a value in the enumeration '{', '.join(self.enum)}'")
        if self.longest is not None and len(said) > self.longest:
            raise ValueError(f"value may only be {self.longest} characters long")
        if self.privileges:
            for name in re.split(r"[\s,;]+", said):
                if name and name not in known:
                    raise ValueError(f"invalid format - invalid privilege '{name}'\n")
        return said


@dataclass(frozen=True)
class Route:
    """One method on one path. `right` names a path template and privileges, any of which is enough."""

    method: str
    path: str
    answer: Callable[[Call], Row | list[Row] | Any]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    right: tuple[str, tuple[str, ...]] | None = None
    in_release: Callable[[Release], bool] = lambda release: True
    world: bool = False
    token_may: bool = True

    def __post_init__(self) -> None:
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path)
        object.__setattr__(self, "_pattern", re.compile(pattern))

    def place(self, method: str, path: str) -> dict[str, str] | None:
        """Return what the path names, or None where it is another route's."""
        pattern: re.Pattern[str] = self._pattern  # type: ignore[attr-defined]
        match = pattern.fullmatch(path) if method == self.method else None
        return match.groupdict() if match else None
