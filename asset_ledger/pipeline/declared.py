"""Which of the resources that a version changed are machines, as rows to be saved. Called by `pipeline.states`."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from asset_ledger.domain.iac.events import Outcome, Seen
from asset_ledger.domain.iac.machines import declared, is_machine
from asset_ledger.domain.iac.redaction import redacted
from asset_ledger.store.iac.machines import MachineRow


def machines_of(changed: Iterable[Seen], outcome: Outcome, key: bytes) -> tuple[list[MachineRow], set[UUID]]:
    """Return the machines among what changed, and who is none, or none any more. `key` is the tenant's."""
    found: list[MachineRow] = []
    gone = set(outcome.ended)
    for seen in changed:
        resource, identity = seen.resource, seen.identity
        if not is_machine(resource):
            continue
        # what only moved or was marked has its attributes still, which the outcome does not repeat
        attrs = outcome.attributes.get(identity.stable_uid)
        machine = declared(resource, redacted(resource, key) if attrs is None else attrs, identity.named)
        if machine is None:
            gone.add(identity.stable_uid)
        else:
            place = (resource.address, resource.provider, resource.alias, resource.type)
            found.append(MachineRow(identity.stable_uid, *place, machine))
    return found, gone
