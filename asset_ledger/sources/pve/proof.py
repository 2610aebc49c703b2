"""Whether the list of guests is whole, and how that is known. Pure: a function of the answers alone.

Proxmox VE leaves out what an account may not see, with status 200 and without a word. So the list proves nothing; what
does is that the rights hold on every path a guest can have, and where the entries that could take them away cannot be
judged, that every id which is not shown is asked for: /cluster/nextid reads the real list and needs no right.

`collector` asks what `ids_to_probe` names, and judges early by `prove`; `parse` yields its proof at every derivation.
docs/platforms/pve.md explains the steps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from asset_ledger.domain.inventory import Proof
from asset_ledger.sources.pve.evidence import AUDIT, NEW_GUEST, Evidence
from asset_ledger.sources.pve.properties import clean, whole
from asset_ledger.sources.pve.raw import Response
from asset_ledger.sources.pve.rows import HIGHEST_ID, LOWEST_ID, guest_id

__all__ = ["AUDIT", "NEW_GUEST", "ProbePlan", "Verdict", "ids_to_probe", "prove"]

MOST_GUESSES = 1000
"""How many ids are asked for on suspicion. Ids that the ledger knows are asked for however many they are."""
BEYOND = 100
"""How far past the highest id that is shown the search for hidden ones goes."""
SHOWN_IDS = 10
GRANT = "grant role PVEAuditor on / with propagate, to the user and, with privilege separation, to the token too"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The proof, and why it does not hold: `denied` for lack of rights, `incomplete` for anything else."""

    proof: Proof
    denied: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """The ids that must still be asked for, ascending. `refusal` says why a search is not made, or is empty."""

    ids: tuple[int, ...]
    refusal: str = ""


def prove(responses: Sequence[Response], identity: str = "") -> Verdict:
    """Return whether these answers prove the list of guests whole.

    `identity` is user@realm or user@realm!token: entries of the access control list for other users are then passed
    over; without it every entry counts. Answers that are missing stand against it like wrong ones; nothing raises.
    """
    evidence = Evidence(responses, identity)
    denied: list[str] = []
    incomplete: list[str] = []
    counts: dict[str, Any] = {}
    _judge_rights(evidence, counts, denied, incomplete)
    _judge_lists(evidence, counts, denied, incomplete)
    _judge_cluster(evidence, counts, denied, incomplete)
    return Verdict(Proof(counts, (*denied, *incomplete)), tuple(denied), tuple(incomplete))


def ids_to_probe(responses: Sequence[Response], known: Collection[int] = (), identity: str = "") -> ProbePlan:
    """Return which vmids to ask /cluster/nextid for, given what was read until now; `known` are those of the ledger.

    Called again after each reading of the list: ids that have their answer are not named again.
    """
    return _plan(Evidence(responses, identity), known)


def _plan(evidence: Evidence, known: Collection[int]) -> ProbePlan:
    if evidence.first is None:
        return ProbePlan(())
    needed = {vmid for vmid in known if LOWEST_ID <= vmid <= HIGHEST_ID} - evidence.seen
    if evidence.second is not None:
        needed |= evidence.first.rows.keys() ^ evidence.second.rows.keys()
        needed |= evidence.unlisted
    guesses, refusal = _guesses(evidence)
    return ProbePlan(tuple(sorted((needed | guesses) - evidence.probes.keys())), refusal)


def _guesses(evidence: Evidence) -> tuple[set[int], str]:
    """Return the ids that hidden guests may have, or why they are too many to ask for."""
    below = range(LOWEST_ID, evidence.lowest_free or LOWEST_ID)
    if not evidence.against_acl:
        gap = _unseen(below, evidence.seen)
        return gap if len(gap) <= MOST_GUESSES else set(), ""
    highest = _searched_to(evidence)
    found = _unseen(range(LOWEST_ID, highest + 1), evidence.seen)
    # an entry on a guest's own path names it; the list may be a part, and what it has of them is worth asking
    paths = (guest_id(path.removeprefix("/vms/")) for path, *_ in evidence.entries or ())
    named = {vmid for vmid in paths if vmid is not None} - evidence.seen
    found |= named
    if len(found) > MOST_GUESSES:
        # the likeliest are asked for all the same: a hidden guest that is found says what to grant
        likely = named | _unseen(below, evidence.seen)
        return likely if len(likely) <= MOST_GUESSES else set(), (
            f"{_many(found)} ids up to {highest} are not shown, too many to ask for one by one, and without that "
            f"nothing proves that no guest has one: {evidence.against_acl}; {GRANT} (that shows the list), "
            f"and give every role on /vms/… and /pool/… {AUDIT}"
        )
    return found, ""


def _searched_to(evidence: Evidence) -> int:
    """Return the highest id that the search for hidden guests comes to, where there is one."""
    beyond = max(evidence.seen, default=LOWEST_ID - 1) + BEYOND
    return min(max(beyond, (evidence.lowest_free or LOWEST_ID) - 1), HIGHEST_ID)


def _unseen(ids: range, seen: set[int]) -> set[int]:
    """Return the ids of a range that are not seen; of a range too long to matter no more than are needed to tell."""
    found: set[int] = set()
    for vmid in ids:
        if vmid not in seen:
            found.add(vmid)
            if len(found) > MOST_GUESSES * 100:
                break
    return found


def _many(ids: set[int]) -> str:
    return f"more than {MOST_GUESSES * 100}" if len(ids) > MOST_GUESSES * 100 else str(len(ids))


def _judge_rights(e: Evidence, counts: dict[str, Any], denied: list[str], incomplete: list[str]) -> None:
    rights = e.rights
    counts["rights"] = {
        "privilege": AUDIT,
        "by": rights.by,
        "on_vms": rights.on_path,
        "on_a_new_guest": rights.on_new_guest,
        "guests_without": [clean(path) for path in rights.without[:SHOWN_IDS]],
    }
    counts["access_control_list"] = e.against_acl or "no role on a guest or pool is without it"
    if rights.problem:
        incomplete.append(f"the rights could not be read: {rights.problem}")
        return
    if rights.by == "/access/ticket":
        if rights.on_new_guest is None:
            denied.append(f"{AUDIT} is missing on /vms, or does not propagate to every guest: {GRANT}")
        return
    if rights.on_path is None:
        at_fault = e.withheld({"/vms", "/"})
        denied.append(f"{AUDIT} is missing on /vms: {GRANT}" + (f"; {at_fault[0]} is in the way" if at_fault else ""))
    elif rights.on_path == 0:
        denied.append(f"{AUDIT} holds on /vms alone and does not propagate to the guests: {GRANT}")
    elif rights.on_new_guest is None:
        denied.append(f"{AUDIT} is missing on {NEW_GUEST}, where a new guest would be: {GRANT}")
    if rights.without:
        denied.append(
            f"{AUDIT} is missing on {_shown(clean(path) for path in rights.without)}: give PVEAuditor there too, or "
            f"{_removing(e, rights.without, 'that path')}"
        )


def _removing(e: Evidence, paths: Iterable[str], where: str) -> str:
    """Say what to remove: the entries at fault, as far as they are shown."""
    if at_fault := e.withheld(set(paths)):
        return f"remove what takes it away: {_shown(at_fault)}"
    on_pools = e.withheld({"/pool"}, "/pool/")
    or_known = f": perhaps {_shown(on_pools)}" if on_pools else ""
    return f"remove the entry on {where}, or on a pool, that takes it away{or_known}"


def _judge_lists(e: Evidence, counts: dict[str, Any], denied: list[str], incomplete: list[str]) -> None:
    first, second = e.first, e.second
    counts["guests"] = {
        "/cluster/resources": None if first is None else len(first.rows),
        "/cluster/resources?type=vm": None if second is None else len(second.rows),
    }
    counts["listed_by_nodes"] = {"nodes": len(e.on_nodes), "guests": sum(map(len, e.on_nodes.values()))}
    exist = {vmid for vmid, exists in e.probes.items() if exists}
    hidden = exist - e.seen
    counts["ids"] = {
        "lowest_free": e.lowest_free,
        "asked": len(e.probes),
        "free": len(e.probes) - len(exist),
        "taken": len(exist),
        "hidden": sorted(hidden)[:SHOWN_IDS],
    }
    if first is None:
        incomplete.append("/cluster/resources was not read")
    if second is None:
        incomplete.append("/cluster/resources was not read a second time")
    for which, found in (("first", first), ("second", second)):
        if found is not None and found.problems:
            incomplete.append(f"the {which} list cannot be read: {'; '.join(found.problems[:SHOWN_IDS])}")
    if first is None:
        return
    if hidden and second is None:
        incomplete.append(f"{_shown(hidden)} exist and are not in the first list: made meanwhile, or hidden")
    elif hidden:
        denied.append(
            f"guests exist and are not shown, with the ids {_shown(hidden)}: {AUDIT} is missing on their paths: "
            f"{GRANT}; {_removing(e, [f'/vms/{vmid}' for vmid in hidden], 'them')}"
        )
    if second is not None:
        gone = {vmid for vmid in first.rows.keys() - second.rows.keys() if vmid in exist}
        if gone:
            incomplete.append(f"{_shown(gone)} left the list and exist: made anew, or the rights changed while reading")
        changed = {v for v in first.rows.keys() & second.rows.keys() if first.rows[v]["type"] != second.rows[v]["type"]}
        if changed:
            incomplete.append(f"{_shown(changed)} became guests of another kind while reading")
    _judge_search(e, counts, incomplete)


def _judge_search(e: Evidence, counts: dict[str, Any], incomplete: list[str]) -> None:
    plan = _plan(e, ())
    if plan.refusal:
        incomplete.append(plan.refusal)
    elif e.against_acl and not plan.ids:
        counts["searched_to"] = _searched_to(e)
    if plan.ids:
        incomplete.append(f"nothing says whether guests have the ids {_shown(plan.ids)}: /cluster/nextid did not tell")


def _judge_cluster(e: Evidence, counts: dict[str, Any], denied: list[str], incomplete: list[str]) -> None:
    nodes, status = e.answer("/nodes"), e.answer("/cluster/status")
    listed = _names(nodes.data, "node", None) if nodes is not None and nodes.ok else None
    if listed is None:
        incomplete.append("/nodes was not read" if nodes is None or not nodes.ok else "/nodes cannot be read")
    else:
        offline = [row["node"] for row in nodes.data if row.get("status") == "offline"] if nodes else []
        counts["nodes_offline"] = sorted(offline)
    counts["nodes"] = {"/nodes": None if listed is None else len(listed), "/cluster/status": None}
    if status is not None and status.status == 403:
        denied.append(f"Sys.Audit is missing on /, so the quorum is not known: {GRANT}")
        return
    if status is None or not status.ok:
        incomplete.append("/cluster/status was not read")
        return
    members = _names(status.data, "name", "node")
    clusters = _names(status.data, "name", "cluster")
    if members is None or clusters is None or len(clusters) > 1 or not members:
        incomplete.append("/cluster/status cannot be read")
        return
    counts["nodes"]["/cluster/status"] = len(members)
    if clusters:
        row = next(row for row in status.data if row.get("type") == "cluster")
        counts["nodes"]["members"] = whole(row.get("nodes"))
        quorate = whole(row.get("quorate"), 1)
        counts["quorate"] = None if quorate is None else bool(quorate)
        if quorate != 1:
            incomplete.append("the node that answers is in a minority of its cluster (no quorum): its list is frozen")
        if whole(row.get("nodes")) != len(members):
            incomplete.append("/cluster/status counts other nodes than it lists")
    elif len(members) != 1:
        incomplete.append(f"/cluster/status has {len(members)} nodes and no cluster")
    if listed is not None and listed != members:
        incomplete.append(f"/nodes has {len(listed)} nodes, /cluster/status {len(members)}, or others")


def _names(data: Any, key: str, kind: str | None) -> set[str] | None:
    """Return the names in a list's rows, of those of a type where one is given; None for a list that is damaged."""
    if not isinstance(data, list):
        return None
    found: set[str] = set()
    for row in data:
        if not isinstance(row, dict) or (kind is not None and not isinstance(row.get("type"), str)):
            return None
        if kind is not None and row["type"] != kind:
            continue
        name = row.get(key)
        if not isinstance(name, str) or not clean(name) or name in found:
            return None
        found.add(name)
    return found


def _shown(ids: Iterable[int] | Iterable[str]) -> str:
    """Return the first few of many, and how many there are."""
    every = [str(one) for one in sorted(ids)]
    more = f" and {len(every) - SHOWN_IDS} more" if len(every) > SHOWN_IDS else ""
    return ", ".join(every[:SHOWN_IDS]) + more
