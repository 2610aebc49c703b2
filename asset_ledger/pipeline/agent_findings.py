"""Looking for what agents and platforms do not agree on, one transaction a tenant.

`store.agents.standing` compares and keeps the journal; iac.yaml says what is no finding, and who is told. Called by the
Dagster asset of agents' findings and by `asset-ledger findings check`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.iac.rules import AGENT_KINDS, AgentKind, Rules
from asset_ledger.pipeline.agents import tenant_of
from asset_ledger.pipeline.ledger import Ledger, platform_of
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.access.people import TenantRow, tenants
from asset_ledger.store.agents import standing
from asset_ledger.store.database import Connection, clock
from asset_ledger.store.iac.findings import apart, evaluating
from asset_ledger.store.iac.outbox import enqueue
from asset_ledger.store.tenancy import as_tenant


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of looking at one tenant, in findings. `compared` are machines, one for each platform that has it.

    `alone` are agents' machines that none of them has, so that nothing was compared.
    `unsure` are open ones of which nobody can say now whether they hold; `told` are messages for hooks. `platforms`
    are the sources that the agents were compared with.
    """

    tenant: str
    platforms: tuple[str, ...]
    compared: int
    alone: int
    opened: int
    closed: int
    seen: int
    unsure: int
    told: int
    open: dict[AgentKind, int]


def look(ledger: Ledger, connection: Connection) -> list[Looked]:
    """Look at every tenant, now, and return what came of each."""
    return evaluate(connection, ledger.sources, ledger.iac_rules, now=clock(connection))


def evaluate(connection: Connection, sources: Sequence[SourceConfig], rules: Rules, *, now: datetime) -> list[Looked]:
    """Look at every tenant, on an autocommit connection of the owner, and return what came of each.

    Looking again finds the same. Raises, after the others were looked at, what stood against looking at one.
    """
    every = tenants(connection)
    found: list[Looked] = []
    failed: list[Exception] = []
    with evaluating(connection):
        for tenant in every:
            with apart(connection, tenant.name, failed):
                platforms = compared_with(tenant.name, sources, rules, alone=len(every) == 1)
                found.append(_looked(connection, tenant, sources, platforms, rules, now))
    if failed:
        raise failed[0]
    return found


def compared_with(tenant: str, sources: Sequence[SourceConfig], rules: Rules, *, alone: bool) -> tuple[str, ...]:
    """Return the platforms' sources whose word a tenant may be shown beside that of its agents.

    That are those that iac.yaml maps to it, and where it is `alone` those that are mapped to nobody. A machine is what
    its agent says it is: an agent of one tenant must not find out what another's platform says.
    """
    owners = {one.source: one.tenant for one in rules.mappings}
    return tuple(
        source.name
        for source in sources
        if platform_of(source).source_type == "platform"
        and (owners.get(source.name) == tenant or (alone and source.name not in owners))
    )


def _looked(
    connection: Connection,
    tenant: TenantRow,
    sources: Sequence[SourceConfig],
    platforms: tuple[str, ...],
    rules: Rules,
    now: datetime,
) -> Looked:
    agents = [source.name for source in sources if tenant_of(source) == tenant.name]
    with as_tenant(connection, tenant.id):
        standing.compare(connection, tenant.id, agents=agents, platforms=platforms if agents else (), now=now)
        ignored = _ignore(connection, rules, tenant.id, now)
        told = standing.write(connection, tenant.id, ignored=ignored, now=now)
        messages = enqueue(connection, tenant.name, rules.hooks, at=now)
        opened = standing.open_by_kind(connection, tenant.id)
        compared = standing.compared(connection)
        alone = standing.alone(connection, tenant.id, agents)
    return Looked(
        tenant.name,
        platforms if agents else (),
        compared,
        alone,
        told.opened,
        told.closed,
        told.seen,
        told.unsure,
        messages,
        {kind: opened.get(kind, 0) for kind in AGENT_KINDS},
    )


def _ignore(connection: Connection, rules: Rules, tenant_id: UUID, now: datetime) -> list[UUID]:
    """Note which candidates are ignored, and return which open findings are."""
    if not rules.ignore:
        return []
    today = collected_date(now)
    every = standing.candidates(connection, tenant_id)
    ignored = [(number, finding_id) for number, finding_id, one in every if rules.ignored(one, today) is not None]
    standing.ignore(connection, [number for number, _ in ignored if number is not None])
    return [finding_id for _, finding_id in ignored if finding_id is not None]
