"""Encrypting what is kept anew, with the first key of the ring. A body at a time: it may be stopped and run again."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from asset_ledger.domain.sealing import KeyRing, Sealed
from asset_ledger.store.access.people import rekey_tenant
from asset_ledger.store.database import Connection
from asset_ledger.store.iac import plans
from asset_ledger.store.iac.states import bound, stored
from asset_ledger.store.tenancy import as_tenant


def rekey(connection: Connection, tenant_id: UUID, ring: KeyRing) -> Iterator[tuple[UUID, int | None]]:
    """Encrypt a tenant's versions and plans anew that are under another key; yield each as it is done.

    A version as (state, version), a plan as (plan, None). Raises PermanentError where a key that something is under is
    not in the ring; what was done before stays done.
    """
    rekey_tenant(connection, tenant_id, ring)
    with as_tenant(connection, tenant_id):
        versions = connection.execute(
            "SELECT state_id, version FROM iac.states WHERE tenant_id = %s AND key_id <> %s ORDER BY state_id, version",
            [tenant_id, ring.current],
        ).fetchall()
        kept_plans = connection.execute(
            "SELECT id FROM iac.plans WHERE tenant_id = %s AND key_id <> %s ORDER BY created_at, id",
            [tenant_id, ring.current],
        ).fetchall()
    for state_id, version in versions:
        with as_tenant(connection, tenant_id):
            kept = stored(connection, tenant_id, state_id, version)
            anew = _anew(ring, Sealed(kept.key_id, kept.body), bound(tenant_id, state_id, version))
            connection.execute(
                "UPDATE iac.states SET body = %b, key_id = %s WHERE tenant_id = %s AND state_id = %s AND version = %s",
                [anew.data, anew.key_id, tenant_id, state_id, version],
            )
        yield state_id, version
    for (plan_id,) in kept_plans:
        with as_tenant(connection, tenant_id):
            sealed = plans.sealed_plan(connection, tenant_id, plan_id)
            anew = _anew(ring, sealed, plans.bound(tenant_id, plan_id))
            connection.execute(
                "UPDATE iac.plans SET body = %b, key_id = %s WHERE tenant_id = %s AND id = %s",
                [anew.data, anew.key_id, tenant_id, plan_id],
            )
        yield plan_id, None


def _anew(ring: KeyRing, sealed: Sealed, place: str) -> Sealed:
    """Return something under the first key; the bytes inside stay compressed as they are."""
    return ring.seal(ring.open(sealed, place), place)
