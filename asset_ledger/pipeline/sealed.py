"""Does what is encrypted open with the keys at hand? Keys are in no backup of the database: a restore has to ask."""

from __future__ import annotations

import os

from asset_ledger.credentials import key_ring
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.store.access.people import demand_ring, tenants
from asset_ledger.store.iac.states import opened, states, stored
from asset_ledger.store.tenancy import as_tenant


def open_sealed(ledger: Ledger) -> str:
    """Open each tenant's own key and the newest version of each state; return what was opened, in words.

    Raises PermanentError(STATE_KEY_UNREADABLE) at the first that does not open, or where there is no ring at all.
    """
    with ledger.connect() as connection:
        found = tenants(connection)
        if not found:
            return "nothing in it is encrypted: there is no tenant yet"
        ring = key_ring.load(ledger.settings.home, os.environ)
        demand_ring(connection, ring)
        count = 0
        for tenant in found:
            with as_tenant(connection, tenant.id):
                for state in states(connection, tenant.id):
                    if state.head_version:
                        opened(ring, tenant.id, stored(connection, tenant.id, state.state_id, state.head_version))
                        count += 1
    return f"the ring of keys opens it: {len(found)} tenants, the newest version of {count} states"
