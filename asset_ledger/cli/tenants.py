"""`asset-ledger tenants`: who shares the HTTP service without seeing each other. Kept by `store.access.people`."""

from __future__ import annotations

from typing import Annotated

import typer

from asset_ledger.cli import trusts
from asset_ledger.cli.opening import actor, connected, open_ledger
from asset_ledger.cli.screen import note, print_json, print_table, say
from asset_ledger.cli.tenant_named import key_ring

app = typer.Typer(help="Tenants of the HTTP service: each sees its own alone.", no_args_is_help=True)
app.add_typer(trusts.app, name="trust")


@app.command()
def add(name: Annotated[str, typer.Argument(metavar="NAME", help="a-z, 0-9, - and _.")]) -> None:
    """Make a tenant."""
    from asset_ledger.store.access import audit
    from asset_ledger.store.access.people import add_tenant
    from asset_ledger.store.tenancy import as_tenant

    ledger = open_ledger()
    ring = key_ring(ledger)
    with connected(ledger) as connection:
        tenant_id = add_tenant(connection, name, ring)
        with as_tenant(connection, tenant_id):
            audit.record(connection, tenant_id, audit.Entry("security.tenant", "add", "success", actor()))
    say(f"{name}: made. Give it a first user: `asset-ledger users add NAME --tenant {name} --role admin`")


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the tenants."""
    from dataclasses import asdict

    from asset_ledger.store.access.people import tenants

    with connected() as connection:
        found = tenants(connection)
    if as_json:
        print_json([asdict(each) for each in found])
    elif not found:
        note("No tenant yet. Make one: `asset-ledger tenants add NAME`.")
    else:
        print_table(["tenant!", "made!", "active"], [[each.name, each.created_at, each.is_active] for each in found])


@app.command()
def disable(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Keep all of a tenant's users out. Its states stay as they are."""
    _set(name, active=False)
    say(f"{name}: kept out")


@app.command()
def enable(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Let a tenant's users in again."""
    _set(name, active=True)
    say(f"{name}: let in again")


def _set(name: str, *, active: bool) -> None:
    from asset_ledger.store.access import audit
    from asset_ledger.store.access.people import set_tenant
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        tenant_id = set_tenant(connection, name, active=active)
        with as_tenant(connection, tenant_id):
            action = "enable" if active else "disable"
            audit.record(connection, tenant_id, audit.Entry("security.tenant", action, "success", actor()))
