"""Who is asked next, and who has which virtual machine in the end. Pure: functions of the evidence alone.

A node lists only what it has at that moment, and virtual machines move while nodes are asked one after another: one may
be seen on two nodes, or on none. Therefore every node is looked at twice. What the closing look shows and nobody has
described is described then; what the cluster or the ledger knows and no look showed is no virtual machine of the nodes
any more, or the proof says that it was not found. `collector` asks, `proof` judges.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from asset_ledger.sources.hyperv.evidence import Evidence, Sight, by_node
from asset_ledger.sources.hyperv.script import DETAILED, Ask

DOWN = 1
"""State of a node that is down, by the cluster's own word."""
MOST_SWEEPS = 4
RUNNING = 2


@dataclass(frozen=True, slots=True)
class Round:
    """What is asked next: names of nodes, and what each is asked. `sweep` is the number of these looks."""

    sweep: int
    asks: tuple[tuple[str, Ask], ...]


def misfit(evidence: Evidence) -> str:
    """Return what is wrong with `hosts` or `scope` of the source, "" where they fit what answered."""
    answered = [sight for sight in evidence.sights if _told(sight)]
    alone = sorted({sight.node for sight in answered if not sight.clustered})
    members = sorted({sight.node for sight in answered if sight.clustered})
    names = sorted({sight.cluster.name for sight in answered if sight.cluster is not None and sight.cluster.name})
    if len(names) > 1:
        return f"the hosts are of several clusters: {', '.join(names)}; make a source of each"
    if alone and members:
        return f"{', '.join(alone)} is in no cluster, {', '.join(members)} is in one; make a source of each"
    if len(alone) > 1:
        return f"{', '.join(alone)} are in no cluster; make a source of each"
    if alone and evidence.scope == "cluster":
        return f"{alone[0]} is in no cluster, and the source says scope: cluster"
    if members and evidence.scope == "standalone":
        return f"{members[0]} is in a cluster, and the source says scope: standalone"
    return ""


def cluster_nodes(evidence: Evidence) -> dict[str, int | None] | None:
    """Return the cluster's nodes and their states by its last word, None where no node told."""
    for sight in reversed(evidence.sights):
        if sight.cluster is not None and sight.cluster.nodes is not None:
            return dict(sight.cluster.nodes)
    return None


def listed(evidence: Evidence) -> dict[str, str] | None:
    """Return the cluster's virtual machines and the nodes that own them by its last word, None where no node told."""
    for sight in reversed(evidence.sights):
        if sight.cluster is not None and sight.cluster.vms is not None:
            return {vm.id: vm.owner for vm in sight.cluster.vms}
    return None


def described(evidence: Evidence) -> set[str]:
    """Return the ids of all that a node has shown with its details."""
    return {vm.id for sight in evidence.sights if sight.detailed for vm in sight.vms or ()}


def undescribed(evidence: Evidence) -> set[str]:
    """Return the ids that the cluster's last list, a closing look or a second list has, and no details."""
    found = set(listed(evidence) or ())
    for sight in evidence.sights:
        if sight.vms is not None and not sight.detailed:
            found |= {vm.id for vm in sight.vms}
    for sights in _looks(evidence).values():
        found |= set(sights[-1].second or ())
    return found - described(evidence)


def clustered(evidence: Evidence) -> bool:
    """Say whether a node that answered is in a cluster."""
    return any(sight.clustered for sight in evidence.sights)


def plan(evidence: Evidence) -> Round | None:
    """Return what is to be asked next, None where nothing is: all is known, or asking would not help."""
    looks = _looks(evidence)
    if not looks or misfit(evidence):
        return None
    last = max(sight.sweep for sight in evidence.sights)
    if not clustered(evidence):
        node, sights = next(iter(looks.items()))
        torn = _torn(sights[-1]) or undescribed(evidence)
        return Round(last + 1, ((node, "own"),)) if torn and last < MOST_SWEEPS else None
    nodes = cluster_nodes(evidence)
    if nodes is None:
        return _ask_for_lists(evidence, looks)
    tried = {sight.node for sight in evidence.sights if sight.ask in DETAILED}
    if unread := [name for name, state in nodes.items() if name not in tried and state != DOWN]:
        return Round(1, tuple((name, "own") for name in sorted(unread)))
    if closing := _closing(evidence, looks):
        return Round(last + 1, closing)
    return _once_more(evidence, looks, last)


def _ask_for_lists(evidence: Evidence, looks: dict[str, list[Sight]]) -> Round | None:
    """Ask the next node for the cluster's lists, as long as none has told them."""
    asked = {sight.node for sight in evidence.sights if sight.ask in ("whole", "lists")}
    fresh = [node for node in looks if node not in asked]
    return Round(1, ((fresh[0], "lists"),)) if fresh else None


def _closing(evidence: Evidence, looks: dict[str, list[Sight]]) -> tuple[tuple[str, Ask], ...]:
    """Return the closing looks that are due: at every node after its details, and once for the cluster's lists."""
    closed = {sight.node for sight in evidence.sights if sight.sweep > 1}
    due = sorted(set(looks) - closed)
    if not due:
        return ()
    # another one than told them first, so that one node's frozen view is noticed
    told = next((s.node for s in evidence.sights if s.cluster is not None and s.cluster.vms is not None), "")
    teller = next((node for node in due if node != told), due[0])
    # last, so that its list is younger than what the others show
    rest: tuple[tuple[str, Ask], ...] = tuple((node, "names") for node in due if node != teller)
    return (*rest, (teller, "lists"))


def _once_more(evidence: Evidence, looks: dict[str, list[Sight]], last: int) -> Round | None:
    """Ask again those that show or own what nobody has described, or whose two lists differ."""
    if last >= MOST_SWEEPS:
        return None
    lost = undescribed(evidence)
    owners = {owner for vm, owner in (listed(evidence) or {}).items() if vm in lost}
    again: dict[str, Ask] = {}
    for node, sights in looks.items():
        newest = sights[-1]
        shows = lost & ({vm.id for vm in newest.vms or ()} | set(newest.second or ()))
        if shows or (node in owners and newest.sweep <= last):
            again[node] = "own"
        elif _torn(newest):
            again[node] = "names"
    if not again:
        return None
    asks: list[tuple[str, Ask]] = sorted(again.items())
    if lost:
        # what left the cluster meanwhile is not looked for any more
        teller = next((node for node in sorted(looks) if node not in again), None)
        if teller is not None:
            asks.append((teller, "lists"))
        else:
            asks = [(node, "whole" if place == len(asks) - 1 else ask) for place, (node, ask) in enumerate(asks)]
    return Round(last + 1, tuple(asks))


@dataclass(frozen=True, slots=True)
class Held:
    """Which node has a virtual machine, and all that have it to the end: one of them, or it is there twice."""

    node: str
    stays: tuple[str, ...]
    name: str
    replica: bool


def holders(evidence: Evidence) -> dict[str, Held]:
    """Return for every virtual machine that was described the node whose record tells of it.

    A node that does not show it any more does not count where another still does. Of several: no replica before one,
    running before one that is not, the cluster's owner before others, then the latest answer.
    """
    owners = listed(evidence) or {}
    looks = _looks(evidence)
    places: dict[str, dict[str, tuple[int, bool, bool, str]]] = {}
    for position, sight in enumerate(evidence.sights):
        if sight.detailed:
            for vm in sight.vms or ():
                entry = (position, vm.state == RUNNING, vm.replica, vm.name)
                places.setdefault(vm.id, {})[sight.node] = entry
    newest = {node: {vm.id for vm in sights[-1].vms or ()} for node, sights in looks.items()}
    found: dict[str, Held] = {}
    for vm_id, on in places.items():
        if len(on) == 1:
            ((node, entry),) = on.items()
            found[vm_id] = Held(node, (node,), entry[3], entry[2])
            continue
        left = {node: entry for node, entry in on.items() if vm_id in newest[node]} or on
        originals = {node: entry for node, entry in left.items() if not entry[2]} or left
        owner = owners.get(vm_id)

        def rank(
            candidate: str, among: dict[str, tuple[int, bool, bool, str]] = originals, owner: str | None = owner
        ) -> tuple[bool, bool, int]:
            position, running, _, _ = among[candidate]
            return running, candidate == owner, position

        node = max(originals, key=rank)
        stays = tuple(sorted(one for one in originals if _stays(vm_id, looks[one])))
        found[vm_id] = Held(node, stays, originals[node][3], originals[node][2])
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


def _looks(evidence: Evidence) -> dict[str, list[Sight]]:
    """Return the whole lists of each node in their order, of those that gave one with details."""
    good = by_node(sight for sight in evidence.sights if sight.vms is not None)
    return {node: sights for node, sights in good.items() if any(sight.detailed for sight in sights)}


def _told(sight: Sight) -> bool:
    """Say whether the script answered, be it that it could not list its machines."""
    return bool(sight.vms is not None or sight.groups or sight.clustered or sight.errors)


def _torn(sight: Sight) -> bool:
    """Say whether a node's two lists differ: something came or went between them, or one of them is wrong."""
    return sight.second is not None and {vm.id for vm in sight.vms or ()} != set(sight.second)
