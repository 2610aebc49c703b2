"""Lists that are short enough to be read as a whole: what a view shows, a few properties of everything in it.

Used by `survey`: for what objects hang on, and for the second lists that the proof compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, IncompleteError
from asset_ledger.sources.vcenter import errors
from asset_ledger.sources.vcenter.bulk import Retrieval, fault_at, of, over, references, texts
from asset_ledger.sources.vcenter.client import VcenterClient
from asset_ledger.sources.vcenter.raw import Datastore, Place, Surroundings
from asset_ledger.sources.vcenter.slices import GONE

_PLACES = ("Folder", "Datacenter", "ResourcePool", "ComputeResource")
_STORES = ("summary.name", "summary.capacity", "summary.accessible", "summary.multipleHostAccess", "summary.type")


class Lister:
    """Reads lists in one session."""

    def __init__(self, client: VcenterClient) -> None:
        self.client = client

    def listed(self, view: Any) -> tuple[str, ...]:
        """Return the ids that a view shows now. Raises RetryableError(VCENTER_SESSION_EXPIRED) where it is gone."""
        for found in Retrieval(self.client, of(view), "ContainerView", ("view",)).parsed():
            fault = fault_at(found, "view")
            if not fault:
                return references(found, "view") or ()
            if fault != GONE:
                raise self.client.failure(errors.PARSE_ERROR, f"the list of a view was refused: {fault}")
        raise self.client.failure(errors.SESSION_EXPIRED, "a view is there no more: its session has ended")

    def everything(self, view: Any, kind: str, paths: Sequence[str], objects: Sequence[Any] = ()) -> list[Any]:
        """Return everything in a view as elements, and `objects` beside it. Raises IncompleteError where some lack."""
        listed = self.listed(view)
        found = list(Retrieval(self.client, [*objects, *over(view)], kind, paths).parsed())
        lost = set(listed) - {one.findtext("obj") for one in found}
        if lost and (lost := lost & set(self.listed(view))):
            said = f"{len(lost)} objects of type {kind} are in their view and were not received"
            proof = {"complete": False, "counts": [], "missing": [said]}
            raise IncompleteError(INVENTORY_INCOMPLETE, said, target=self.client.who, proof=proof)
        return found


def surroundings_of(lister: Lister, *, with_datastores: bool) -> Surroundings:
    """Read what objects hang on: folders, datacenters, pools and compute resources; where wanted, datastores."""
    client, places = lister.client, {}
    root = of(client.content.rootFolder)
    for found in lister.everything(client.view(*_PLACES), "ManagedEntity", ("name", "parent"), root):
        told, entity = texts(found), found.find("obj")
        if "name" in told:
            places[entity.text] = Place(entity.get("type", ""), told["name"], told.get("parent"))
    datastores = None
    if with_datastores:
        datastores = {
            found.findtext("obj"): store
            for found in lister.everything(client.view("Datastore"), "Datastore", _STORES)
            if (store := _datastore(texts(found))) is not None
        }
    return Surroundings(client.about, places, datastores)


def _datastore(told: Mapping[str, str]) -> Datastore | None:
    if "summary.name" not in told:
        return None
    capacity, shared = told.get("summary.capacity", ""), told.get("summary.multipleHostAccess")
    return Datastore(
        name=told["summary.name"],
        capacity_bytes=int(capacity) if capacity.isascii() and capacity.isdecimal() else None,
        accessible=told.get("summary.accessible") == "true",
        shared=None if shared is None else shared == "true",
        type=told.get("summary.type", ""),
    )
