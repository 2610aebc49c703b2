"""Encrypting what is kept anew, with the first key of the ring. A version at a time: it may be stopped and run again."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from asset_ledger.domain.sealing import KeyRing, Sealed
from asset_ledger.store.access.people import rekey_tenant
from asset_ledger.store.database import Connection
from asset_ledger.store.iac.states import bound, stored
from asset_ledger.store.tenancy import as_tenant


def rekey(connection: Connection, tenant_id: UUID, ring: KeyRing) -> Iterator[tuple[UUID, int]]:
    """Encrypt a tenant's versions anew that are under another key; yield (state, version) of each.

    Raises PermanentError where a key that something is under is not in the ring; what was done before stays done.
    """
    rekey_tenant(connection, tenant_id, ring)
    with as_tenant(connection, tenant_id):
        found = connection.execute(
            "SELECT state_id, version FROM iac.states WHERE tenant_id = %s AND key_id <> %s ORDER BY state_id, version",
            [tenant_id, ring.current],
        ).fetchall()
    for state_id, version in found:
        with as_tenant(connection, tenant_id):
            kept = stored(connection, tenant_id, state_id, version)
            place = bound(tenant_id, state_id, version)
            # the bytes inside stay compressed as they are
            anew = ring.seal(ring.open(Sealed(kept.key_id, kept.body), place), place)
            connection.execute(
                "UPDATE iac.states SET body = %b, key_id = %s WHERE tenant_id = %s AND state_id = %s AND version = %s",
                [anew.data, anew.key_id, tenant_id, state_id, version],
            )
        yield state_id, version
