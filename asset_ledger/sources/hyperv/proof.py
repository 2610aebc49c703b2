"""Whether a reading is the whole of its scope, and how that is known. Pure: a function of the evidence alone.

Hyper-V shows nothing to whoever may see nothing, without an error. So an empty list counts only where the account is in
a group that sees everything, on every node; and a list counts only where WMI tells the same ids. In a cluster every
node must have answered twice, and everything on the cluster's own list must have been seen. `collector` judges by
`prove` what it has; `parse` yields its proof at every derivation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.inventory import Proof
from asset_ledger.sources.hyperv.answers import Trouble
from asset_ledger.sources.hyperv.errors import MODULE_MISSING, PERMISSION_DENIED, by_name
from asset_ledger.sources.hyperv.evidence import Evidence, Sight, by_node
from asset_ledger.sources.hyperv.holding import holders
from asset_ledger.sources.hyperv.sweep import (
    DOWN,
    cluster_nodes,
    clustered,
    described,
    listed,
    misfit,
    undescribed,
    unseen,
)
from asset_ledger.sources.hyperv.values import shown

ADMINISTRATORS = "S-1-5-32-544"
HYPERV_ADMINISTRATORS = "S-1-5-32-578"
_JOIN = (
    "add it there: `Get-LocalGroup -SID S-1-5-32-578 | Add-LocalGroupMember -Member DOMAIN\\user`, or "
    '`net localgroup "Hyper-V Administrators" DOMAIN\\user /add`'
)
_ROLES = "; bring their configuration resources online, or remove the roles of those that are gone"
_CLUSTER_ACCESS = "run `Grant-ClusterAccess -User DOMAIN\\user -ReadOnly` once on any node"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The proof, and why it does not hold: `denied` for lack of rights, `incomplete` for anything else."""

    proof: Proof
    denied: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()


@dataclass
class _Judge:
    counts: dict[str, Any] = field(default_factory=dict)
    denied: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)


def prove(evidence: Evidence) -> Verdict:
    """Return whether this evidence proves a reading whole. What is missing stands against it; nothing raises."""
    judge = _Judge()
    if wrong := misfit(evidence):
        judge.incomplete.append(wrong)
    _judge_nodes(evidence, judge)
    _judge_cluster(evidence, judge)
    _judge_machines(evidence, judge)
    denied, incomplete = tuple(dict.fromkeys(judge.denied)), tuple(dict.fromkeys(judge.incomplete))
    return Verdict(Proof(judge.counts, (*denied, *incomplete)), denied, incomplete)


def failures(evidence: Evidence) -> dict[str, Sight]:
    """Return the hosts that were asked and never listed their machines, each with its last attempt.

    One that answered under its name is not held to have failed under its address.
    """
    answered = {sight.address for sight in evidence.sights if sight.vms is not None}
    found: dict[str, Sight] = {}
    for node, sights in by_node(evidence.sights).items():
        if all(sight.vms is None for sight in sights) and not {sight.address for sight in sights} & answered:
            found[node] = sights[-1]
    if nodes := cluster_nodes(evidence):
        # an entry of `hosts` by another name or address than its node's: the node itself is judged
        return {node: sight for node, sight in found.items() if node in nodes}
    return found


def _judge_nodes(e: Evidence, judge: _Judge) -> None:
    counts: dict[str, Any] = {}
    judge.counts["hosts"] = counts
    good = by_node(sight for sight in e.sights if sight.vms is not None)
    for node, sights in sorted(good.items()):
        first = next((sight for sight in reversed(sights) if sight.detailed), None)
        last = sights[-1]
        counts[node] = {
            "listed": None if first is None else first.count,
            "replicas": None if first is None else sum(vm.replica for vm in first.vms or ()),
            "looks": len(sights),
            "last_listed": len(last.vms or ()),
            "Msvm_ComputerSystem": None if last.second is None else len(last.second),
        }
        if first is None:
            judge.incomplete.append(f"{node} listed its virtual machines without their details")
        _judge_rights(node, sights, judge)
        _judge_lists(node, last, judge)
    failed = failures(e)
    for node, sight in sorted(failed.items()):
        code = by_name(sight.code)
        words = f"{node} ({sight.address}) was not read: {sight.code}: {sight.message}"
        if code is PERMISSION_DENIED:
            judge.denied.append(words)
        else:
            judge.incomplete.append(words if code is not MODULE_MISSING else f"{words}; {MODULE_MISSING.advice}")
    if not good and not failed:
        judge.incomplete.append("no host was asked")


def _judge_rights(node: str, sights: list[Sight], judge: _Judge) -> None:
    for sight in sights:
        sees_all = sight.is_admin or {ADMINISTRATORS, HYPERV_ADMINISTRATORS} & set(sight.groups)
        if not sees_all:
            judge.denied.append(
                f"the account is not in Hyper-V Administrators ({HYPERV_ADMINISTRATORS}) on {node}, so an empty list "
                f"there says nothing: {_JOIN}"
            )
            return


def _judge_lists(node: str, last: Sight, judge: _Judge) -> None:
    if last.second is None:
        told = "it was not told" if last.second_error is None else last.second_error.said
        words = f"the second list of {node} (Msvm_ComputerSystem) was not read: {told}"
        if last.second_error is not None and last.second_error.code is PERMISSION_DENIED:
            judge.denied.append(f"{words}; the account may not read WMI's root\\virtualization\\v2 there: {_JOIN}")
        else:
            judge.incomplete.append(words)
        return
    ids, second = {vm.id for vm in last.vms or ()}, set(last.second)
    if last.count != len(ids):
        judge.incomplete.append(f"{node} counts {last.count} virtual machines and lists {len(ids)}")
    if ids != second:
        judge.incomplete.append(
            f"Get-VM and WMI list other virtual machines on {node}: {len(ids - second)} only the first, "
            f"{len(second - ids)} only the second ({_shown(ids ^ second)})"
        )


def _judge_cluster(e: Evidence, judge: _Judge) -> None:
    if not clustered(e):
        return
    nodes, vms = cluster_nodes(e), listed(e)
    judge.counts["cluster"] = {
        "nodes": None if nodes is None else len(nodes),
        "down": sorted(node for node, state in (nodes or {}).items() if state == DOWN),
        "virtual_machines": None if vms is None else len(vms),
    }
    lists = [place for place, s in enumerate(e.sights) if s.cluster is not None and s.cluster.vms is not None]
    if nodes is None or vms is None:
        _judge_untold(e.sights, "the cluster's own lists were not read", judge)
        return
    first_sweep = [place for place, sight in enumerate(e.sights) if sight.detailed and sight.sweep == 1]
    if lists[-1] < max(first_sweep, default=0):
        _judge_untold(e.sights[lists[-1] + 1 :], "the cluster's list was not read again after its nodes", judge)
    failed = failures(e)
    good = {sight.node for sight in e.sights if sight.detailed}
    for node, state in sorted(nodes.items()):
        if state == DOWN:
            judge.incomplete.append(
                f"node {node} is down, the cluster says: bring it back, or evict it if it is gone for good"
            )
        elif node not in good and node not in failed:
            judge.incomplete.append(f"node {node} of the cluster was not read")
    looks: dict[str, int] = {}
    for sight in e.sights:
        if sight.vms is not None:
            looks[sight.node] = looks.get(sight.node, 0) + 1
    once = [node for node, count in looks.items() if count < 2 and node in good]
    if once and not _unread(e):
        judge.incomplete.append(f"nobody looked a second time at {_shown(once)}, so what moved meanwhile may be lost")


def _unread(e: Evidence) -> bool:
    """Say whether nodes were not read: what follows from that is not told as a fault of its own."""
    return bool(failures(e)) or DOWN in (cluster_nodes(e) or {}).values()


def _judge_untold(sights: Iterable[Sight], what: str, judge: _Judge) -> None:
    """Say which nodes did not tell the cluster's lists, and why: absent is another thing than denied."""
    told = {s.node: s.cluster.error for s in sights if s.cluster is not None and s.cluster.error is not None}
    if not told:
        judge.incomplete.append(what)
    for node, error in sorted(told.items()):
        _judge_trouble(f"{what} at {node}: {error.said}", error, judge)


def _judge_trouble(words: str, error: Trouble, judge: _Judge) -> None:
    if error.code is PERMISSION_DENIED:
        judge.denied.append(f"{words}; the account may not read the cluster: {_CLUSTER_ACCESS}")
    elif error.where == "cluster_module":
        judge.incomplete.append(f"{words}: run `Install-WindowsFeature RSAT-Clustering-PowerShell` there")
    else:
        judge.incomplete.append(f"{words}; `Get-Cluster` in a PowerShell there shows why")


def _judge_machines(e: Evidence, judge: _Judge) -> None:
    held = holders(e)
    judge.counts["virtual_machines"] = sum(not one.replica for one in held.values())
    judge.counts["replicas"] = sum(one.replica for one in held.values())
    judge.counts["twice"] = len(twice(e))
    gone = set(e.known) - described(e)
    judge.counts["known_and_not_seen"] = len(gone)
    names = {vm.id: vm.name for s in e.sights if s.cluster is not None for vm in s.cluster.vms or ()}
    names |= {vm.id: vm.name for s in e.sights for vm in s.vms or ()}
    if lost := undescribed(e):
        which = _shown(f"{names.get(one) or 'unnamed'} {one}" for one in lost)
        judge.incomplete.append(
            f"{len(lost)} of the virtual machines on the lists were shown by no node that was read: {which}"
            + (_ROLES if set(listed(e) or ()) >= lost and not (_unread(e) or judge.denied) else "")
        )
    if searched := unseen(e):
        silent = [node for node, sights in by_node(e.sights).items() if sights[-1].vms is None and _listed_once(sights)]
        if silent:
            judge.incomplete.append(
                f"{_shown(silent)} was not read again, where {len(searched)} virtual machines of the ledger may be"
            )


def _listed_once(sights: list[Sight]) -> bool:
    return any(sight.vms is not None for sight in sights)


def twice(evidence: Evidence) -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Return what two nodes have to the end, by id: its name, these nodes, and the one whose record counts."""
    found = holders(evidence).items()
    return {vm_id: (held.name, held.stays, held.node) for vm_id, held in found if len(held.stays) > 1}


def _shown(names: Iterable[str]) -> str:
    return shown(list(names))
