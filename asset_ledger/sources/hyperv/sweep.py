"""Who is asked next: which node, for what, and when asking would help no more. Pure: functions of the evidence alone.

A node lists only what it has at that moment, and virtual machines move while nodes are asked one after another: one may
be seen on two nodes, or on none. Therefore every node is looked at twice. What the closing look shows and nobody has
described is described then; what the cluster or the ledger knows and no look showed is no virtual machine of the nodes
any more, or the proof says that it was not found. `survey` asks, `holding` says who has what, `proof` judges.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from asset_ledger.sources.hyperv.evidence import Evidence, Sight, by_node
from asset_ledger.sources.hyperv.script import DETAILED, Ask

DOWN = 1
"""State of a node that is down, by the cluster's own word."""
MOST_SWEEPS = 4


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
    if several := _several_clusters(answered):
        return several
    if alone and len(alone + members) > 1:
        others = f"is in no cluster, {', '.join(members)} is in one" if members else "are in no cluster"
        return f"{', '.join(alone)} {others}; make a source of each"
    if alone and evidence.scope == "cluster":
        return f"{alone[0]} is in no cluster, and the source says scope: cluster"
    if members and evidence.scope == "standalone":
        return f"{members[0]} is in a cluster, and the source says scope: standalone"
    return _strangers(members, cluster_nodes(evidence) or dict.fromkeys(members))


def _strangers(members: list[str], nodes: Collection[str]) -> str:
    """Return that some are in a cluster and not on its list of nodes, "" where all are on it."""
    strangers = [node for node in members if node not in nodes]
    if not strangers:
        return ""
    are = "is" if len(strangers) == 1 else "are"
    return (
        f"{', '.join(strangers)} {are} in a cluster, and not on the list of nodes of the one that the others tell of "
        f"({', '.join(sorted(nodes))}): of another cluster of that name, or evicted; make a source of each cluster"
    )


def _several_clusters(answered: Iterable[Sight]) -> str:
    """Return that there are several clusters, by their names and, as two may have one name, by their ids."""
    told = [(sight.node, sight.cluster) for sight in answered if sight.cluster is not None]
    names = sorted({cluster.name for _, cluster in told if cluster.name})
    if len(names) > 1:
        return f"the hosts are of several clusters: {', '.join(names)}; make a source of each"
    by_id: dict[str, set[str]] = {}
    for node, cluster in told:
        if cluster.id:
            by_id.setdefault(cluster.id.lower().strip("{}"), set()).add(node)
    if len(by_id) > 1:
        each = "; ".join(f"{', '.join(sorted(nodes))} ({one})" for one, nodes in sorted(by_id.items()))
        return f"the hosts are of several clusters of one name, {', '.join(names)}: {each}; make a source of each"
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
    """Return the ids that the cluster's last list, a closing look or a second list has, and no details.

    Details of a replica are none of the machine that it has become meanwhile.
    """
    found = set(listed(evidence) or ())
    machines = {vm.id for sight in evidence.sights if sight.detailed for vm in sight.vms or () if not vm.replica}
    for sight in evidence.sights:
        if sight.vms is not None and not sight.detailed:
            found |= {vm.id for vm in sight.vms}
    became: set[str] = set()
    for sights in looks_at(evidence).values():
        found |= set(sights[-1].second or ())
        became |= {vm.id for vm in sights[-1].vms or () if not vm.replica}
    return (found - described(evidence)) | (became - machines)


def unseen(evidence: Evidence) -> set[str]:
    """Return the ids that the ledger knows and no look at any node showed."""
    return set(evidence.known) - {vm.id for sight in evidence.sights for vm in sight.vms or ()}


def clustered(evidence: Evidence) -> bool:
    """Say whether a node that answered is in a cluster."""
    return any(sight.clustered for sight in evidence.sights)


def plan(evidence: Evidence) -> Round | None:
    """Return what is to be asked next, None where nothing is: all is known, or asking would not help."""
    looks = looks_at(evidence)
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
    return _tell_again(evidence, looks, last) or _once_more(evidence, looks, last) or _search(evidence, looks, last)


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
    able = _tellers(evidence, due) or due
    teller = next((node for node in able if node != told), able[0])
    # last, so that its list is younger than what the others show
    rest: tuple[tuple[str, Ask], ...] = tuple((node, "names") for node in due if node != teller)
    return (*rest, (teller, "lists"))


def _tellers(evidence: Evidence, nodes: Iterable[str]) -> list[str]:
    """Return those of some nodes that have not failed to tell of their cluster."""
    unable = {s.node for s in evidence.sights if s.cluster is not None and s.cluster.error is not None}
    return [node for node in nodes if node not in unable]


def _tell_again(evidence: Evidence, looks: dict[str, list[Sight]], last: int) -> Round | None:
    """Ask the next node for the cluster's list where those who were to tell it last did not."""
    closing = [sight for sight in evidence.sights if sight.sweep > 1]
    if any(sight.cluster is not None and sight.cluster.vms is not None for sight in closing):
        return None
    asked = {sight.node for sight in closing if sight.ask in ("whole", "lists")}
    teller = next((node for node in _tellers(evidence, sorted(looks)) if node not in asked), None)
    return Round(last, ((teller, "lists"),)) if teller is not None else None


def _search(evidence: Evidence, looks: dict[str, list[Sight]], last: int) -> Round | None:
    """Look everywhere again for what the ledger knows and nobody showed: what is in no role only its node tells of."""
    if not unseen(evidence) or last >= MOST_SWEEPS:
        return None
    return Round(last + 1, tuple((node, "names") for node in sorted(looks)))


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
        able = _tellers(evidence, sorted(looks)) or sorted(looks)
        teller = next((node for node in able if node not in again), None)
        if teller is not None:
            asks.append((teller, "lists"))
        else:
            asks.sort(key=lambda ask: ask[0] == able[-1])
            asks[-1] = (asks[-1][0], "whole")
    return Round(last + 1, tuple(asks))


def looks_at(evidence: Evidence) -> dict[str, list[Sight]]:
    """Return the whole lists of each node in their order, of those that gave one with details."""
    good = by_node(sight for sight in evidence.sights if sight.vms is not None)
    return {node: sights for node, sights in good.items() if any(sight.detailed for sight in sights)}


def _told(sight: Sight) -> bool:
    """Say whether the script answered, be it that it could not list its machines."""
    return bool(sight.vms is not None or sight.groups or sight.clustered or sight.errors)


def _torn(sight: Sight) -> bool:
    """Say whether a node's two lists differ: something came or went between them, or one of them is wrong."""
    return sight.second is not None and {vm.id for vm in sight.vms or ()} != set(sight.second)
