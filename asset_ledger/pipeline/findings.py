"""Looking for findings: what the states declare against what the ledger observed, one transaction a tenant.

iac.yaml says by which source a state's machines are read, and what is no finding; `store.iac.standing`, `joins`,
`claims`, `comparing` and `findings` do the work, in this order. Called by the Dagster assets of findings and by
`asset-ledger findings check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.domain.iac.rules import KINDS, FindingKind, Rules, matches
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.store.access.people import TenantRow, tenants
from asset_ledger.store.database import Connection, clock
from asset_ledger.store.iac import claims, comparing, findings, joins, standing
from asset_ledger.store.iac.found import CoverageRow, coverage
from asset_ledger.store.iac.outbox import enqueue
from asset_ledger.store.iac.standing import Place, StateFacts
from asset_ledger.store.tenancy import as_tenant


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What came of looking at one tenant, in findings.

    `unsure` are open ones of which nobody can say now whether they hold. `unread` are mapped sources that the ledger
    does not know yet, `unmapped` states with machines that no mapping speaks of. `told` are messages for hooks.
    """

    tenant: str
    opened: int
    closed: int
    seen: int
    unsure: int
    told: int
    open: dict[FindingKind, int]
    coverage: tuple[CoverageRow, ...]
    unread: tuple[str, ...]
    unmapped: tuple[str, ...]


def look(ledger: Ledger, connection: Connection) -> list[Evaluated]:
    """Look at every tenant by iac.yaml, now. Raises PermanentError(CONFIG_INVALID) where it is wrong or gone: nothing
    is looked at then, for a file that went or a name that slipped would close what is open and open it anew."""
    rules = ledger.iac_rules
    if not ledger.iac_file_is_there and _compared_so_far(connection):
        raise PermanentError(
            CONFIG_INVALID,
            "the file is gone, and findings were looked for by it. Put it back; an empty file says that nothing is"
            " mapped any more (docs/iac-yaml.md)",
            target=str(ledger.settings.iac_file),
        )
    return evaluate(connection, rules, now=clock(connection))


def evaluate(connection: Connection, rules: Rules, *, now: datetime) -> list[Evaluated]:
    """Look at every tenant, on an autocommit connection of the owner, and return what came of each.

    Looking again finds the same and changes only when it was looked. Raises PermanentError(CONFIG_INVALID), before
    anything is looked at, where the rules name a tenant that there is not; and where one tenant cannot be looked at
    what stood against it, after the others were.
    """
    every = tenants(connection)
    _demand_tenants(every, rules)
    found: list[Evaluated] = []
    failed: list[Exception] = []
    with findings.evaluating(connection):
        for tenant in every:
            # first of all: a source that goes from one tenant to another is nobody's for a moment
            with as_tenant(connection, tenant.id):
                standing.give_up_sources(connection, tenant.id, list(_mapped(rules, tenant)))
        for tenant in every:
            with findings.apart(connection, tenant.name, failed):
                found.append(_evaluated(connection, rules, tenant, now))
    if failed:
        raise failed[0]
    return found


def _compared_so_far(connection: Connection) -> bool:
    """Return whether a tenant has sources that were mapped to it, or findings that are open."""
    for tenant in tenants(connection):
        with as_tenant(connection, tenant.id):
            if standing.is_compared(connection, tenant.id):
                return True
    return False


def _demand_tenants(every: Sequence[TenantRow], rules: Rules) -> None:
    there = {tenant.name for tenant in every}
    named = {one.tenant for one in rules.mappings} | {one.tenant for one in rules.hooks if one.tenant is not None}
    if unknown := sorted(named - there):
        raise PermanentError(
            CONFIG_INVALID,
            f"there is no tenant {', '.join(unknown)}; there are: {', '.join(sorted(there)) or 'none'}."
            " Make it with `asset-ledger tenants add`, or mend the name",
            target="iac.yaml",
        )


def _evaluated(connection: Connection, rules: Rules, tenant: TenantRow, now: datetime) -> Evaluated:
    mapped = _mapped(rules, tenant)
    here: dict[str, object] = {"tenant": tenant.id, "now": now}
    with as_tenant(connection, tenant.id):
        states = standing.states(connection, here)
        concerns = {(state.state_id, name) for state in states if state.why for name in _concerns(rules, tenant, state)}
        known = standing.sources(connection, list(mapped.items()), concerns, now=now)
        by_source, unmapped = _placed(rules, tenant, standing.places(connection, tenant.id))
        joins.join(connection, tenant.id, by_source)
        joins.save(connection, here)
        claims.claim(connection, here)
        comparing.compare(connection, here)
        _ignore(connection, rules, now)
        told = findings.write(connection, tenant.id, now=now, day=collected_date(now))
        messages = enqueue(connection, tenant.name, rules.hooks, at=now)
        opened = findings.open_by_kind(connection, tenant.id)
        rows = coverage(connection, tenant.id)
    return Evaluated(
        tenant.name,
        told.opened,
        told.closed,
        told.seen,
        told.unsure,
        messages,
        {kind: opened.get(kind, 0) for kind in KINDS},
        tuple(row for row in rows if row.source in mapped),
        tuple(sorted(mapped.keys() - known)),
        unmapped,
    )


def _mapped(rules: Rules, tenant: TenantRow) -> dict[str, bool]:
    """Return the tenant's sources, and whether a machine of each that nobody declares is an orphan."""
    return {one.source: one.orphans for one in rules.mappings if one.tenant == tenant.name}


def _placed(
    rules: Rules, tenant: TenantRow, places: Iterable[Place]
) -> tuple[Sequence[tuple[Place, str]], tuple[str, ...]]:
    by_source: list[tuple[Place, str]] = []
    unmapped: set[str] = set()
    for place in places:
        found = rules.mapping(tenant.name, place.tool, place.state, place.provider, place.alias)
        if found is None:
            unmapped.add(place.state)
        else:
            by_source.append((place, found.source))
    return by_source, tuple(sorted(unmapped))


def _concerns(rules: Rules, tenant: TenantRow, state: StateFacts) -> set[str]:
    """Return the sources whose machines a state may declare, of which it is not known what it declares."""
    found: set[str] = set()
    for one in rules.mappings:
        if one.tenant != tenant.name or one.tool not in (None, state.tool):
            continue
        if any(matches(glob, state.state) for glob in one.states):
            found.add(one.source)
            if one.provider is None and not one.families and one.alias is None:
                break  # it takes whatever the state makes
    return found


def _ignore(connection: Connection, rules: Rules, now: datetime) -> None:
    """Note which candidates are no findings."""
    if not rules.ignore:
        return
    today = collected_date(now)
    every = findings.candidates(connection)
    findings.ignore(connection, [number for number, one in every if rules.ignored(one, today) is not None])
