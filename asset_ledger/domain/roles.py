"""Roles of the HTTP service: what each may do. A role may all that the ones before it may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args
from uuid import UUID

Role = Literal["reader", "writer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, for which tenant, and the most they may do. `actor` is what records show."""

    tenant_id: UUID
    tenant: str
    user_id: UUID | None
    actor: str
    role: Role

    def may(self, needed: Role) -> bool:
        """Say whether they may do what needs a role."""
        return ROLES.index(self.role) >= ROLES.index(needed)


def lower(one: Role, other: Role) -> Role:
    """Return the role of the two that may less."""
    return min(one, other, key=ROLES.index)
