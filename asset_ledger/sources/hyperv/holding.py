"""Who has which virtual machine in the end, of all that showed it. Pure: functions of the evidence alone.

`sweep` says who is asked until that is known; `survey` writes it into the records, `proof` and `parse` use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from asset_ledger.sources.hyperv.answers import Seen
from asset_ledger.sources.hyperv.evidence import Evidence, Sight, by_node
from asset_ledger.sources.hyperv.sweep import listed, looks_at

RUNNING = 2


@dataclass(frozen=True, slots=True)
class Held:
    """Which node has a virtual machine, and all that have it to the end: one of them, or it is there twice.

    A replica that was failed over is not its machine a second time: where they are stands in `failed_over`.
    """

    node: str
    stays: tuple[str, ...]
    name: str
    replica: bool
    failed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    position: int
    vm: Seen

    @property
    def running(self) -> bool:
        return self.vm.state == RUNNING


def holders(evidence: Evidence) -> dict[str, Held]:
    """Return for every virtual machine that was described the node whose record tells of it.

    A node that does not show it any more does not count where another still does. Of several: no replica before one,
    running before one that is not, no replica that was failed over before one, the cluster's owner before others, then
    the latest answer.
    """
    owners = listed(evidence) or {}
    looks = looks_at(evidence)
    places: dict[str, dict[str, _Place]] = {}
    for position, sight in enumerate(evidence.sights):
        if sight.detailed:
            for vm in sight.vms or ():
                places.setdefault(vm.id, {})[sight.node] = _Place(position, vm)
    newest = {node: {vm.id for vm in sights[-1].vms or ()} for node, sights in looks.items()}
    found: dict[str, Held] = {}
    for vm_id, on in places.items():
        if len(on) == 1:
            ((node, only),) = on.items()
            stand_in = (node,) if only.vm.failed_over else ()
            found[vm_id] = Held(node, (node,), only.vm.name, only.vm.replica, stand_in)
            continue
        left = {node: place for node, place in on.items() if vm_id in newest[node]} or on
        originals = {node: place for node, place in left.items() if not place.vm.replica} or left
        owner = owners.get(vm_id)

        def rank(
            node: str, among: dict[str, _Place] = originals, owner: str | None = owner
        ) -> tuple[bool, bool, bool, int]:
            place = among[node]
            return place.running, not place.vm.failed_over, node == owner, place.position

        node = max(originals, key=rank)
        stand_ins = tuple(sorted(one for one, place in originals.items() if place.vm.failed_over))
        stays = tuple(sorted(one for one in originals if one not in stand_ins and _stays(vm_id, looks[one])))
        found[vm_id] = Held(node, stays, originals[node].vm.name, originals[node].vm.replica, stand_ins)
    return found


def elsewhere(evidence: Evidence) -> dict[str, dict[str, str]]:
    """Return for each node which of the virtual machines it described another node's record tells of, and whose."""
    found: dict[str, dict[str, str]] = {}
    held = holders(evidence)
    for node, sights in by_node(evidence.sights).items():
        ids = {vm.id for sight in sights if sight.detailed for vm in sight.vms or ()}
        if any(sight.detailed for sight in sights):
            found[node] = {vm_id: held[vm_id].node for vm_id in sorted(ids) if held[vm_id].node != node}
    return found


def _stays(vm_id: str, sights: Iterable[Sight]) -> bool:
    """Say whether a node showed it the last two times, so that it is not one which was just on its way."""
    last = list(sights)[-2:]
    return len(last) == 2 and all(vm_id in {vm.id for vm in sight.vms or ()} for sight in last)
