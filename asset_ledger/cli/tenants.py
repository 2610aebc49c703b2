"""`asset-ledger tenants`: who shares the HTTP service without seeing each other. Kept by `store.access.people`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli import trusts
from asset_ledger.cli.opening import actor, connected, open_ledger
from asset_ledger.cli.screen import note, print_json, print_table, say

if TYPE_CHECKING:
    from asset_ledger.domain.sealing import KeyRing
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.store.access.people import TenantRow
    from asset_ledger.store.database import Connection

app = typer.Typer(help="Tenants of the HTTP service: each sees its own alone.", no_args_is_help=True)
app.add_typer(trusts.app, name="trust")

Tenant = Annotated[
    str | None, typer.Option("--tenant", metavar="TENANT", help="Which tenant; may be left out where there is one.")
]


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


def key_ring(ledger: Ledger) -> KeyRing:
    """Return the installation's keys, made now where there are none yet and nothing was encrypted.

    Raises PermanentError(STATE_KEY_UNREADABLE) where something was, and these are not the keys it was encrypted with:
    what was written with them could not be read with the right ones.
    """
    from asset_ledger.credentials.key_ring import load, load_or_make
    from asset_ledger.store.access.people import demand_ring, tenants

    with connected(ledger) as connection:
        if tenants(connection):
            kept = load(ledger.settings.home, os.environ)
            demand_ring(connection, kept)
            return kept
    ring, made = load_or_make(ledger.settings.home, os.environ)
    if made is not None:
        note(f"made {made}, the key that states are encrypted with: keep a copy of it away from the database's")
    return ring


def chosen(connection: Connection, name: str | None) -> TenantRow:
    """Return the named tenant, or the only one. Raises PermanentError(CONFIG_INVALID) where that is not one."""
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.store.access.people import tenants

    found = tenants(connection)
    fitting = [each for each in found if name in (None, each.name)]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(each.name for each in found)
    if not found:
        raise PermanentError(CONFIG_INVALID, "there is no tenant yet; make one: `asset-ledger tenants add NAME`")
    if name is None:
        raise PermanentError(CONFIG_INVALID, f"there are several tenants; name one with --tenant: {names}")
    raise PermanentError(CONFIG_INVALID, f"there is no such tenant; there are {names}", target=name)
