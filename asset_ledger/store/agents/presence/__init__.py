"""Who is there: what a beat is, how long it holds, and what the two places have in common where beats are kept.

`keeping` is what the service runs. Beats are gathered and written in batches (`gathering`) to Redis (`redis`), or to a
table of PostgreSQL (`table`) where there is no Redis or it does not answer; what clients and audit tell of it is written
by `transitions` alone. Nothing here knows of inventories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID


class Beat(NamedTuple):
    """A sign of life. `at` is by this process's monotonic clock, in seconds: no two machines' clocks are compared."""

    tenant_id: UUID
    client_id: UUID
    user_id: UUID | None
    at: float
    ip: str | None


class Silent(NamedTuple):
    """A client of which nothing was heard for too long. `at` is the instant of its last beat, in seconds since 1970."""

    tenant_id: UUID
    client_id: UUID
    at: float


@dataclass(frozen=True, slots=True)
class Timing:
    """How often what is done, in seconds.

    A client is online for `ttl_s` after its last beat. `flush_s` and `table_s`: how long beats are gathered before
    they are written to Redis or to the table. `note_s`: how old `last_seen` of a client may be that is online.
    """

    ttl_s: float = 120.0
    flush_s: float = 0.5
    table_s: float = 5.0
    sweep_s: float = 5.0
    note_s: float = 600.0
    retry_s: float = 2.0

    @property
    def fresh_s(self) -> float:
        """How old a beat may be that surely no sweep took for the last one while the next is on its way."""
        return self.ttl_s * 0.75

    @property
    def gap_s(self) -> float:
        """How long nobody may have swept before it counts as a time in which nobody was heard."""
        return max(self.ttl_s / 4, 3 * self.sweep_s)


USUAL = Timing()


class BackendAwayError(Exception):
    """Redis does not answer, or not as it must. Its words name no password."""
