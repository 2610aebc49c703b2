"""State documents for the tests of this folder, as Terraform and Pulumi write them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from asset_ledger.domain.iac import terraform_state
from asset_ledger.domain.iac.documents import recognised
from asset_ledger.domain.iac.events import Known, Outcome, Seen, compared, digest
from asset_ledger.domain.iac.redaction import redacted
from asset_ledger.domain.iac.snapshot import Resource, Snapshot
from asset_ledger.domain.iac.uids import Identity, Kept, Naming, identities

KEY = b"the tenant's key, 32 bytes long."
AWS = 'provider["registry.terraform.io/hashicorp/aws"]'
NAMING = Naming("tenant", "state", key=KEY)


def instance(attributes: Any, **more: Any) -> dict[str, Any]:
    """One instance of a resource block."""
    return {"schema_version": 0, "attributes": attributes, "sensitive_attributes": [], "private": "e30=", **more}


def block(type_: str, name: str, *instances: Any, **more: Any) -> dict[str, Any]:
    """One resource block of format 4."""
    return {
        "mode": "managed",
        "type": type_,
        "name": name,
        "provider": AWS,
        "instances": list(instances),
        **more,
    }


def state(*blocks: Any, **more: Any) -> dict[str, Any]:
    """A state of format 4."""
    return {
        "version": 4,
        "terraform_version": "1.9.8",
        "serial": 1,
        "lineage": "l",
        "outputs": {},
        "resources": list(blocks),
        "check_results": None,
        **more,
    }


def read(*blocks: Any, **more: Any) -> Snapshot:
    """The snapshot of a state, by way of its bytes."""
    return terraform_state.read(recognised(json.dumps(state(*blocks, **more)).encode()).document)


def only(*blocks: Any) -> Resource:
    """The one resource of a state that has one."""
    snapshot = read(*blocks)
    assert snapshot.skipped == ()
    (found,) = snapshot.resources
    return found


class History:
    """A state through its versions, as the ledger keeps it: who stands where, and the redacted attributes."""

    def __init__(self, naming: Naming = NAMING) -> None:
        self.naming = naming
        self.standing: dict[tuple[str, str], tuple[Identity, bytes, Resource]] = {}
        self.attributes: dict[uuid.UUID, Mapping[str, Any]] = {}

    def then(self, *blocks: Any, operation: str | None = None) -> Outcome:
        """Read the next version and return what it did."""
        return self.seen(read(*blocks).resources, operation=operation)

    def seen(self, resources: Iterable[Resource], *, operation: str | None = None, complete: bool = True) -> Outcome:
        """Take the resources of the next version and return what it did."""
        managed = [each for each in resources if each.managed]
        kept = {place: Kept(one.stable_uid, one.name_digest) for place, (one, _, _) in self.standing.items()}
        found = identities(managed, self.naming, kept)
        known = [
            Known(
                one.stable_uid,
                place,
                was.type,
                was.provider,
                seal,
                one.named.incarnation,
                was.tainted,
                lambda uid=one.stable_uid: self.attributes[uid],
            )
            for place, (one, seal, was) in self.standing.items()
        ]
        now = {each.place: (found[each.place], digest(each, KEY), each) for each in managed}
        outcome = compared(
            known,
            [Seen(each, found[each.place], now[each.place][1]) for each in managed],
            operation=operation,
            key=KEY,
            complete=complete,
        )
        stay = {uid: told for uid, told in self.attributes.items() if uid not in outcome.ended}
        self.attributes = {**stay, **outcome.attributes}
        left = {} if complete else {place: one for place, one in self.standing.items() if place not in now}
        self.standing = {**left, **now}
        return outcome

    def uid(self, address: str, deposed: str = "") -> uuid.UUID:
        """Who stands at a place."""
        return self.standing[(address, deposed)][0].stable_uid

    def redacted(self) -> dict[uuid.UUID, Mapping[str, Any]]:
        """The attributes of the last version, redacted afresh."""
        return {one.stable_uid: redacted(each, KEY) for one, _, each in self.standing.values()}


def actions(outcome: Outcome) -> list[tuple[str, str]]:
    """What happened, and where."""
    return [(event.action, event.place[0]) for event in outcome.events]
