"""What waits in the HTTP service for a source: the days it waits for, and the taking in of it as raw.

Called by a run (`pipeline.days`), by the sensor that starts such runs, and by `asset-ledger up`. What agents and
platforms do not agree on is `pipeline.agent_findings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.pipeline.ledger import platform_of
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.access.people import tenant_named
from asset_ledger.store.agents import waiting
from asset_ledger.store.agents.waiting import Taken, WaitingDay
from asset_ledger.store.database import Connection
from asset_ledger.store.sources import SourceRow


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for a source, a day each, the oldest first. `problem` says why nothing can wait for it."""

    source: SourceConfig
    days: tuple[WaitingDay, ...]
    problem: str | None = None


def queued(sources: Sequence[SourceConfig]) -> list[SourceConfig]:
    """Return the sources whose raw waits in the HTTP service."""
    return [source for source in sources if platform_of(source).queue is not None]


def tenant_of(source: SourceConfig) -> str | None:
    """Return the tenant whose reports a source takes in; None of a source that takes in none."""
    queue = platform_of(source).queue
    return None if queue is None else queue.tenant(source)


def backlogs(connection: Connection, sources: Sequence[SourceConfig]) -> list[Backlog]:
    """Return what waits for each of these sources that something may wait for."""
    found: list[Backlog] = []
    for source in queued(sources):
        try:
            tenant_id = _tenant_id(connection, source)
        except PermanentError as error:
            found.append(Backlog(source, (), str(error)))
        else:
            found.append(Backlog(source, tuple(waiting.waiting_days(connection, tenant_id))))
    return found


def take_waiting(
    connection: Connection, source: SourceConfig, row: SourceRow, day: date, *, run_id: str | None, mode: str
) -> Taken:
    """Take in what waits for a day of a source that is held. Raises PermanentError(CONFIG_INVALID) without a tenant."""
    queue = platform_of(source).queue
    if queue is None:
        raise TypeError(f"nothing waits for sources of platform {source.platform}")
    tenant_id = _tenant_id(connection, source)
    return waiting.take(connection, tenant_id, row, day, queue.record, run_id=run_id, mode=mode)


def _tenant_id(connection: Connection, source: SourceConfig) -> UUID:
    name = tenant_of(source)
    tenant = None if name is None else tenant_named(connection, name)
    if tenant is None:
        raise PermanentError(
            CONFIG_INVALID,
            f"there is no tenant {name}. Make it with `asset-ledger tenants add {name}`, or mend sources.yaml",
            target=source.name,
        )
    return tenant.id
