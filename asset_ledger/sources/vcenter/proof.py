"""Whether a reading is the whole of its scope, and how that is known. Pure: a function of the evidence alone.

vCenter leaves out what an account may not see, without a word and everywhere at once: from views, from lists, from
references. No count proves that nothing is hidden; the rights do, as far as they can be read. The counts prove the
other half: that what may be seen was received, page by page, to the end. docs/platforms/vcenter.md explains the steps.

`collector` judges by `prove` what it has; `parse` yields its proof at every derivation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from asset_ledger.domain.inventory import Proof
from asset_ledger.sources.vcenter.paths import CLUSTERS, HOSTS, VMS
from asset_ledger.sources.vcenter.places import clean, decoded
from asset_ledger.sources.vcenter.raw import Evidence, Permission, Sight

READ = "System.Read"
GRANT = "grant the role Read-only on the root of the inventory with 'Propagate to children'"
HOST_AGENT = "HostAgent"
"""What `about.apiType` says of an ESXi host; a vCenter says VirtualCenter."""
SHOWN = 10

_NO_PERMISSION = "NoPermission"
# the roles that every vCenter has, should the list of roles not be readable: Admin, ReadOnly; View, Anonymous, NoAccess
_READING = frozenset({-1, -2})
_NOT_READING = frozenset({-3, -4, -5})
_ROLE_NAMES = {-1: "Administrator", -2: "Read-only", -3: "View", -4: "Anonymous", -5: "No access"}
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
    judge = _Judge()
    _judge_right(evidence, judge)
    _judge_permissions(evidence, judge)
    _judge_sights(evidence, judge)
    denied, incomplete = tuple(dict.fromkeys(judge.denied)), tuple(dict.fromkeys(judge.incomplete))
    return Verdict(Proof(judge.counts, (*denied, *incomplete)), denied, incomplete, tuple(dict.fromkeys(judge.doubts)))


class _Judge:
    """What is found for and against."""

    def __init__(self) -> None:
        self.counts: dict[str, Any] = {}
        self.denied: list[str] = []
        self.incomplete: list[str] = []
        self.doubts: list[str] = []


def _judge_right(e: Evidence, judge: _Judge) -> None:
    judge.counts["right"] = {"privilege": READ, "on_root": e.read}
    if e.read is False:
        judge.denied.append(f"{READ} is missing on the root of the inventory: {GRANT}")
    elif e.read is None and _NO_PERMISSION in e.read_fault:
        judge.denied.append(f"the account may not even ask for its rights on the root: {GRANT}")
    elif e.read is None:
        told = clean(e.read_fault) or "it was not asked for"
        judge.incomplete.append(f"whether {READ} holds on the root is not known: {told}")


def _judge_permissions(e: Evidence, judge: _Judge) -> None:
    """Weigh the entries that could take the right away again below the root, or never hand it down."""
    if e.permissions is None:
        told = clean(e.permissions_fault) or "they were not asked for"
        judge.counts["permissions"] = f"not read: {told}"
        judge.doubts.append(f"the permissions below the root could not be read ({told}), so they are not judged")
        return
    if e.roles is None:
        judge.doubts.append(f"the roles could not be read ({clean(e.roles_fault) or 'not asked for'})")
    own = [one for one in e.permissions if not one.group and _same_user(e.account, one.principal)]
    # an entry of the user's own outweighs those of groups there; below, only where it is handed down
    named = {one.entity for one in own if one.propagate and _user(one.principal) == _user(e.account)}
    maybe = [one for one in e.permissions if one not in own and one.entity not in named and _maybe_me(e, one)]
    judge.counts["permissions"] = {
        "entries": len(e.permissions),
        "of_the_account": len(own),
        "of_groups": sum(one.group for one in e.permissions),
    }
    for one in own:
        reads = _reads(e, one)
        if reads is False:
            judge.denied.append(f"{_told(e, one)} takes {READ} away there: remove it, or make it Read-only")
        elif reads is None:
            judge.doubts.append(f"{_told(e, one)} has a role that cannot be judged")
        if reads is not False and one.entity == e.root and not one.propagate:
            judge.denied.append(f"{_told(e, one)} does not propagate to what is below: {GRANT}")
    for one in maybe:
        # on the root itself the answer about System.Read has counted it
        if one.entity != e.root and _reads(e, one) is not True:
            judge.doubts.append(
                f"{_told(e, one)} may hide objects, should the account be meant: vCenter does not tell its groups"
            )
    _judge_root(e, own, maybe, judge)


def _judge_root(e: Evidence, own: list[Permission], maybe: list[Permission], judge: _Judge) -> None:
    """Ask for an entry on the root that hands the right down; a global permission is in no list, and would."""
    on_root = [one for one in (*own, *maybe) if one.entity == e.root and _reads(e, one) is not False]
    if not any(one.propagate for one in on_root):
        if any(one in own for one in on_root):
            return  # said already
        if on_root:
            judge.denied.append(f"no entry on the root propagates to what is below: {GRANT}")
        else:
            judge.doubts.append("no entry on the root can be the account's: its right comes from a global permission")


def _maybe_me(e: Evidence, one: Permission) -> bool:
    """Say whether an entry may be about the account: a group's always may, a user's where only the domain differs."""
    return one.group or _user(one.principal)[0] == _user(e.account)[0]


def _reads(e: Evidence, one: Permission) -> bool | None:
    """Say whether an entry's role has System.Read, None where that is not known."""
    role = None if e.roles is None else e.roles.get(one.role)
    if role is not None:
        return READ in role.privileges
    return True if one.role in _READING else False if one.role in _NOT_READING else None


def _told(e: Evidence, one: Permission) -> str:
    role = e.roles.get(one.role) if e.roles is not None else None
    name = clean(role.name) if role is not None else _ROLE_NAMES.get(one.role, str(one.role))
    entity, called = clean(one.entity), clean(decoded(one.entity_name))
    where = "the root" if one.entity == e.root else f"{called} ({entity})" if called else entity
    return f"the role {name} of {'group ' if one.group else ''}{clean(one.principal)} on {where}"


def _user(principal: str) -> tuple[str, str]:
    """Return user and domain, whichever way they are spelled: DOMAIN\\user or user@domain."""
    domain, mark, user = principal.casefold().partition("\\")
    if mark:
        return user, domain
    user, _, domain = principal.casefold().partition("@")
    return user, domain


def _same_user(account: str, principal: str) -> bool:
    """Say whether two spellings are one user: CORP and corp.example.com are taken for one domain."""
    (one, here), (other, there) = _user(account), _user(principal)
    return one == other != "" and (here == there or here.partition(".")[0] == there.partition(".")[0])


def _judge_sights(e: Evidence, judge: _Judge) -> None:
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


def _judge_sight(sight: Sight, judge: _Judge) -> dict[str, Any]:
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
    if sight.second is None:
        told = clean(sight.second_fault) or "it was not asked for"
        words = f"the second list of the {part} ({_SECOND[part]}) was not read: {told}"
        if _NO_PERMISSION in sight.second_fault:
            judge.denied.append(f"{words}; {GRANT}")
        elif part != CLUSTERS:
            judge.incomplete.append(words)
    elif outside := set(sight.second) - before - after:
        judge.incomplete.append(
            f"{len(outside)} of the {part} are in {_SECOND[part]} and in no view: {_shown(outside)}; "
            "they came and went while reading, or the account sees a part of them only"
        )
    return counts


def _judge_lacking(sight: Sight, stayed: set[str], judge: _Judge) -> None:
    """Weigh what objects lack that were there all the time; one that came or went may be half gone."""
    by_cause: dict[tuple[str, str], set[str]] = {}
    for moid, faults in sight.lacking.items():
        for path, fault in faults.items():
            if moid in stayed:
                by_cause.setdefault((path, fault), set()).add(moid)
    for (path, fault), moids in sorted(by_cause.items()):
        words = f"{len(moids)} of the {sight.part} came without {clean(path)}: {_shown(moids)}"
        if fault == _NO_PERMISSION:
            judge.denied.append(f"{words}; {READ} is missing on them: {GRANT}, and remove what is narrower below")
        else:
            judge.incomplete.append(f"{words}; in its place: {clean(fault) or 'nothing'}")


def _shown(moids: Iterable[str]) -> str:
    """Return the first few of many, and how many more there are."""
    every = sorted(clean(moid) for moid in moids)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more
