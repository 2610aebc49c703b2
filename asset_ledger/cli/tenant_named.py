"""Which tenant a command is about, and the keys that its things are encrypted with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import note

if TYPE_CHECKING:
    from asset_ledger.domain.sealing import KeyRing
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.store.access.people import TenantRow
    from asset_ledger.store.database import Connection

Tenant = Annotated[
    str | None, typer.Option("--tenant", metavar="TENANT", help="Which tenant; may be left out where there is one.")
]


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
