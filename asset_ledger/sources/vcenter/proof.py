"""Whether a reading is the whole of its scope, and how that is known. Pure: a function of the evidence alone.

vCenter leaves out what an account may not see, without a word and everywhere at once: from views, from lists, from
references, from the permissions. No count proves that nothing is hidden. What the ledger knows and a reading did not
show counts as gone only where the server, asked for it by its id, said that there is no such object; and the counts
prove that what may be seen was received, page by page, to the end. docs/platforms/vcenter.md explains the steps.

`collector` judges by `prove` what it has; `parse` yields its proof at every derivation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from asset_ledger.domain.inventory import Proof
from asset_ledger.sources.vcenter.paths import CLUSTERS, HOSTS, VMS
from asset_ledger.sources.vcenter.permissions import (
    GRANT,
    NO_PERMISSION,
    READ,
    Judge,
    judge_permissions,
    judge_right,
)
from asset_ledger.sources.vcenter.places import clean
from asset_ledger.sources.vcenter.raw import Evidence, Sight

HOST_AGENT = "HostAgent"
"""What `about.apiType` says of an ESXi host; a vCenter says VirtualCenter."""
SHOWN = 10

_SECOND = {HOSTS: "ComputeResource.host", CLUSTERS: "HostSystem.parent", VMS: "HostSystem.vm"}
_NEEDED = {"hosts": (HOSTS, CLUSTERS), "vms": (VMS,), "all": (HOSTS, CLUSTERS, VMS)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The proof, and why it does not hold: `denied` for lack of rights, `incomplete` for anything else.

    `doubts` do not stand against it: entries that may or may not be about this account.
    """

    proof: Proof
    denied: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def prove(evidence: Evidence) -> Verdict:
    """Return whether this evidence proves a reading whole. What is missing stands against it; nothing raises."""
    judge = Judge()
    judge_right(evidence, judge)
    judge_permissions(evidence, judge)
    _judge_sights(evidence, judge)
    _judge_references(evidence, judge)
    denied, incomplete = tuple(dict.fromkeys(judge.denied)), tuple(dict.fromkeys(judge.incomplete))
    return Verdict(Proof(judge.counts, (*denied, *incomplete)), denied, incomplete, tuple(dict.fromkeys(judge.doubts)))


def _judge_sights(e: Evidence, judge: Judge) -> None:
    counts: dict[str, Any] = {}
    judge.counts["objects"] = counts
    needed = _NEEDED.get(e.scope)
    if needed is None:
        judge.incomplete.append("the evidence does not say which scope was read")
        return
    if e.about.get("apiType") == HOST_AGENT:
        needed = tuple(part for part in needed if part != CLUSTERS)  # a single host is in none
    for part in needed:
        sights = [sight for sight in e.sights if sight.part == part]
        if len(sights) != 1:
            judge.incomplete.append(f"the {part} were not read" if not sights else f"the {part} were read twice")
            continue
        counts[part] = _judge_sight(sights[0], judge)


def _judge_sight(sight: Sight, judge: Judge) -> dict[str, Any]:
    part, received = sight.part, set(sight.received)
    before, after = set(sight.before or ()), set(sight.after or ())
    counts: dict[str, Any] = {
        "in_view_before": None if sight.before is None else len(before),
        "in_view_after": None if sight.after is None else len(after),
        "received": len(received),
        "pages": sight.pages,
        _SECOND[part]: None if sight.second is None else len(set(sight.second)),
    }
    if sight.dropped:
        counts["properties_not_known_here"] = [clean(path) for path in sight.dropped]
    for when, view in (("before", sight.before), ("after", sight.after)):
        if view is None:
            judge.incomplete.append(f"the view of the {part} was not read {when} the reading")
    if not sight.ended:
        judge.incomplete.append(f"the {part} were not read to the last page")
    if sight.before is None or sight.after is None:
        return counts
    stayed = before & after
    if lost := stayed - received:
        judge.incomplete.append(f"{len(lost)} of the {part} are in the view and were not received: {_shown(lost)}")
    _judge_lacking(sight, stayed, judge)
    _judge_asked(sight, stayed, counts, judge)
    if sight.second is None:
        told = clean(sight.second_fault) or "it was not asked for"
        words = f"the second list of the {part} ({_SECOND[part]}) was not read: {told}"
        if NO_PERMISSION in sight.second_fault:
            judge.denied.append(f"{words}; {GRANT}")
        elif part != CLUSTERS:
            judge.incomplete.append(words)
    elif outside := set(sight.second) - before - after:
        judge.incomplete.append(
            f"{len(outside)} of the {part} are in {_SECOND[part]} and in no view: {_shown(outside)}; "
            "they came and went while reading, or the account sees a part of them only"
        )
    return counts


def _judge_asked(sight: Sight, stayed: set[str], counts: dict[str, Any], judge: Judge) -> None:
    """Weigh what the ledger knows and this reading did not receive: only what does not exist any more is gone."""
    part = sight.part
    if sight.asked is None:
        judge.incomplete.append(f"nobody asked for the {part} that the ledger knows and that were not received")
        return
    asked = set(sight.asked)
    if asked:
        counts["known_and_not_received"] = {"asked_by_id": len(asked), "gone": len(asked & set(sight.gone))}
    # of those that were in the view all the time it is said already
    left = asked - set(sight.gone) - stayed
    if denied := left & set(sight.denied):
        judge.denied.append(
            f"{len(denied)} of the {part} that the ledger knows are hidden from the account: {_shown(denied)}; "
            f"{READ} is missing on them: {GRANT}, and remove what is narrower below"
        )
    by_cause: dict[str, set[str]] = {}
    for moid in left - denied:
        by_cause.setdefault(sight.unclear.get(moid, "no answer"), set()).add(moid)
    for cause, moids in sorted(by_cause.items()):
        judge.incomplete.append(
            f"{len(moids)} of the {part} that the ledger knows were not received, and are not known to be gone "
            f"({clean(cause)}): {_shown(moids)}"
        )


def _judge_references(e: Evidence, judge: Judge) -> None:
    """Weigh what objects name that the account is not shown: they say more than the views do."""
    if e.scope not in _NEEDED:
        return
    shown = set(e.hosts or ())
    if e.runs_on is None or e.hosts is None:
        words = f"the hosts that virtual machines name were not read: {clean(e.runs_on_fault) or 'not asked for'}"
        if NO_PERMISSION in e.runs_on_fault:
            judge.denied.append(f"{words}; {GRANT}")
        else:
            judge.incomplete.append(words)
    elif outside := {moid: count for moid, count in e.runs_on.items() if moid not in shown}:
        count = sum(outside.values())
        judge.incomplete.append(
            f"{count} virtual machine{'s run' if count > 1 else ' runs'} on hosts that are not shown: "
            f"{_shown(outside)}; they came and went while reading, or the account lacks {READ} on hosts and clusters: "
            f"{GRANT}"
        )
    if e.unplaced:
        judge.doubts.append(
            f"{sum(e.unplaced.values())} objects stand in folders or pools that were not shown: {_shown(e.unplaced)}; "
            "others in them may be hidden"
        )


def _judge_lacking(sight: Sight, stayed: set[str], judge: Judge) -> None:
    """Weigh what objects lack that were there all the time; one that came or went may be half gone."""
    by_cause: dict[tuple[str, str], set[str]] = {}
    for moid, faults in sight.lacking.items():
        for path, fault in faults.items():
            if moid in stayed:
                by_cause.setdefault((path, fault), set()).add(moid)
    for (path, fault), moids in sorted(by_cause.items()):
        words = f"{len(moids)} of the {sight.part} came without {clean(path)}: {_shown(moids)}"
        if fault == NO_PERMISSION:
            judge.denied.append(f"{words}; {READ} is missing on them: {GRANT}, and remove what is narrower below")
        else:
            judge.incomplete.append(f"{words}; in its place: {clean(fault) or 'nothing'}")


def _shown(moids: Iterable[str]) -> str:
    """Return the first few of many, and how many more there are."""
    every = sorted(clean(moid) for moid in moids)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more
