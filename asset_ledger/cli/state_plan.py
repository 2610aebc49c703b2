"""`asset-ledger state plan`: what a saved plan would do, in words and without what is secret in it; and keeping it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli.opening import actor, connected, open_ledger
from asset_ledger.cli.screen import clean, note, print_json, say
from asset_ledger.cli.state_events import step_told
from asset_ledger.cli.state_named import given, name_of
from asset_ledger.cli.tenant_named import Tenant, chosen, key_ring

if TYPE_CHECKING:
    from uuid import UUID

    from asset_ledger.domain.iac.plans import Plan, PredictedEvent
    from asset_ledger.domain.sealing import KeyRing
    from asset_ledger.store.database import Connection
    from asset_ledger.store.iac.plans import KeptPlan, PlanEventRow


def plan(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="`terraform show -json PLAN`; - reads standard input.")],
    upload: Annotated[
        str | None, typer.Option("--upload", metavar="PROJECT/STACK", help="Keep it with this state, sealed.")
    ] = None,
    base: Annotated[
        int | None,
        typer.Option("--base", min=0, metavar="VERSION", help="The version it was made over; without it the newest."),
    ] = None,
    tenant: Tenant = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a plan would do to each resource, and what it found changed outside. Secrets show as hashes.

    With --upload it is kept as well: what came of it says `asset-ledger state plans`.
    """
    if base is not None and upload is None:
        raise typer.BadParameter("it goes with --upload", param_hint="--base")
    data = given(file, "terraform show -json PLAN")
    ledger = open_ledger()
    ring = key_ring(ledger)
    with connected(ledger) as connection:
        tenant_id = chosen(connection, tenant).id
        found = _read(connection, tenant_id, data, ring, str(file))
        kept = None if upload is None else _kept(connection, tenant_id, upload, base, data, ring)
    if as_json:
        print_json(_json_of(found) | ({} if kept is None else {"id": kept.id, "base_version": kept.base_version}))
        return
    for event in found.events:
        for line in told(event, event.address):
            say(line)
    if not found.events:
        say("nothing would change")
    if found.errored:
        note("the plan ended in an error: what it did not get to is not in it")
    for each in found.skipped:
        note(each)
    if kept is not None:
        say(f"{upload}: {'kept already' if kept.again else 'kept'}, over version {kept.base_version}, as {kept.id}")


def told(event: PredictedEvent | PlanEventRow, addr: str) -> Iterator[str]:
    """Yield lines that say what a plan predicts or found of one resource."""
    previous = getattr(event, "previous_address", None) or getattr(event, "previous_addr", None)
    where = clean(addr) + (f" (deposed {clean(event.deposed)})" if event.deposed else "")
    before = f", before {clean(previous)}" if previous else ""
    yield f"{event.action} {where}{before}{f' ({clean(event.reason)})' if event.reason else ''}"
    if event.action in ("update", "drift"):
        for step in event.patch:
            yield "    " + step_told(step)


def _read(connection: Connection, tenant_id: UUID, data: bytes, ring: KeyRing, file: str) -> Plan:
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.domain.iac import plans
    from asset_ledger.store.access.people import hash_key
    from asset_ledger.store.tenancy import as_tenant

    with as_tenant(connection, tenant_id):
        key = hash_key(connection, tenant_id, ring)
    try:
        return plans.parsed(data, key)
    except (ValueError, RecursionError) as error:  # no JSON, or no plan
        raise PermanentError(CONFIG_INVALID, f"no plan: {error}", target=file) from None


def _kept(
    connection: Connection, tenant_id: UUID, state: str, base: int | None, data: bytes, ring: KeyRing
) -> KeptPlan:
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.store.access import audit
    from asset_ledger.store.iac.plans import NewPlan, NoSuchBaseError, add_plan
    from asset_ledger.store.iac.states import Who
    from asset_ledger.store.tenancy import as_tenant

    name = name_of(state)
    if name.tool != "terraform":
        raise typer.BadParameter("plans are Terraform's", param_hint="--upload")
    with as_tenant(connection, tenant_id):
        try:
            who = Who(actor(), None)
            kept = add_plan(connection, tenant_id, name, NewPlan(data), base=base, who=who, ring=ring)
        except NoSuchBaseError as error:
            raise PermanentError(CONFIG_INVALID, str(error), target=state) from None
        details = {"state": state, "plan": str(kept.id), "base_version": kept.base_version, "again": kept.again}
        entry = audit.Entry("plan.write", "asset-ledger state plan", "success", actor(), details=details)
        audit.record(connection, tenant_id, entry)
    return kept


def _json_of(plan: Plan) -> dict[str, object]:
    shown: dict[str, object] = asdict(plan)
    # what stands after is in the patch
    shown["events"] = [{k: v for k, v in asdict(event).items() if k != "after"} for event in plan.events]
    return shown
