"""How many exports one service process runs at once: over all, and of one tenant."""

from __future__ import annotations

from threading import Lock
from typing import Literal
from uuid import UUID

Full = Literal["tenant", "service"]


class ExportPlaces:
    """Places, held from the first moment of an export to its last."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self.most, self.most_of_one = most, most_of_one
        self._held: dict[UUID, int] = {}
        self._lock = Lock()

    def take(self, tenant_id: UUID) -> Full | None:
        """Take a place and return None; or take none and say whose places are all held."""
        with self._lock:
            held = self._held.get(tenant_id, 0)
            if held >= self.most_of_one:
                return "tenant"
            if sum(self._held.values()) >= self.most:
                return "service"
            self._held[tenant_id] = held + 1
            return None

    def leave(self, tenant_id: UUID) -> None:
        """Give a place back."""
        with self._lock:
            self._held[tenant_id] -= 1
            if not self._held[tenant_id]:
                del self._held[tenant_id]
