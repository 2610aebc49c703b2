"""`asset-ledger state parse`, `rebuild`, `rekey`: what is made of versions and plans, and the keys they are under."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from asset_ledger.cli.opening import actor, connected, open_ledger
from asset_ledger.cli.screen import note, say
from asset_ledger.cli.tenant_named import Tenant, chosen, key_ring

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from asset_ledger.pipeline.plans import CaughtUp
    from asset_ledger.pipeline.states import Parsed
    from asset_ledger.store.database import Connection


def parse() -> None:
    """Read the versions and plans that wait, of every tenant, into events, current resources, edges and outcomes."""
    from asset_ledger.pipeline.plans import catch_up
    from asset_ledger.pipeline.states import parse_waiting

    ledger = open_ledger()
    ring = key_ring(ledger)
    with connected(ledger) as connection:
        found = parse_waiting(connection, ring)
        plans = catch_up(connection, ring)
    _tell(found)
    _tell_plans(plans)
    if any(each.waits for each in found) or any(each.waits for each in plans.read):
        raise typer.Exit(1)


def rebuild(tenant: Tenant = None) -> None:
    """Drop what was made of a tenant's states and plans and make it again from them. The rows are the same again."""
    from asset_ledger.pipeline.plans import rebuild as again

    ledger = open_ledger()
    ring = key_ring(ledger)
    with connected(ledger) as connection:
        found, plans = again(connection, chosen(connection, tenant).id, ring)
    _tell(found)
    _tell_plans(plans)


def rekey() -> None:
    """Encrypt every version and plan anew with the first key of the ring. It may be stopped and run again."""
    from asset_ledger.store.access.people import tenants
    from asset_ledger.store.iac.rekeying import rekey as anew

    ledger = open_ledger()
    ring = key_ring(ledger)
    with connected(ledger) as connection:
        for tenant in tenants(connection):
            done = [version is None for _, version in anew(connection, tenant.id, ring)]
            plans, versions = sum(done), len(done) - sum(done)
            _recorded(connection, tenant.id, {"key": ring.current, "versions": versions, "plans": plans})
            of_plans = f" and {plans} plans" if plans else ""
            say(
                f"{tenant.name}: {versions} versions{of_plans} are encrypted with {ring.current} now, the others were "
                "already"
            )


def new_key() -> None:
    """Print a new key, to be put first into ASSET_LEDGER_STATE_KEYS or the file state_keys."""
    from asset_ledger.credentials.key_ring import new_entry

    note(
        "Put it behind the others and restart every service; then first, and restart; then `asset-ledger state rekey`."
    )
    say(new_entry())


def _tell(found: Sequence[Parsed]) -> None:
    for each in found:
        if each.said is not None:
            what = "waits" if each.waits else "was not read" if each.unread else "is read, but"
            note(f"state {each.version.state_id} version {each.version.version} {what}: {each.said}")
    read = [each for each in found if not each.waits and not each.unread]
    events = sum(each.events for each in read)
    say(f"{len(read)} versions read: {events} events")


def _tell_plans(found: CaughtUp) -> None:
    for each in found.read:
        if each.said is not None:
            what = "waits" if each.waits else "was not read" if each.unread else "is read, but"
            note(f"plan {each.plan.plan_id} {what}: {each.said}")
    for followed in found.followed:
        if followed.said is not None:
            note(f"plan {followed.following.plan_id}: {followed.said}")
    read = [each for each in found.read if not each.waits and not each.unread]
    if read:
        say(f"{len(read)} plans read: {sum(each.events for each in read)} events")


def _recorded(connection: Connection, tenant_id: UUID, details: dict[str, object]) -> None:
    from asset_ledger.store.access import audit
    from asset_ledger.store.tenancy import as_tenant

    with as_tenant(connection, tenant_id):
        entry = audit.Entry("security.rekey", "asset-ledger state rekey", "success", actor(), details=details)
        audit.record(connection, tenant_id, entry)
