"""What an account may see, judged from its right on the root and from the permissions below. Pure; used by `proof`.

vCenter lists only entries on objects that the account may see: of what is hidden it tells neither the object nor the
entry that hides it. So entries can speak against a reading and never for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from asset_ledger.sources.vcenter.places import clean, decoded
from asset_ledger.sources.vcenter.raw import Evidence, Permission

READ = "System.Read"
GRANT = "grant the role Read-only on the root of the inventory with 'Propagate to children'"
NO_PERMISSION = "NoPermission"

# the roles that every vCenter has, should the list of roles not be readable: Admin, ReadOnly; View, Anonymous, NoAccess
_READING = frozenset({-1, -2})
_NOT_READING = frozenset({-3, -4, -5})
_ROLE_NAMES = {-1: "Administrator", -2: "Read-only", -3: "View", -4: "Anonymous", -5: "No access"}
_CONTAINERS = ("Folder", "StoragePod", "Datacenter", "ComputeResource", "ClusterComputeResource", "HostSystem")
_READ_TYPES = frozenset({*_CONTAINERS, "ResourcePool", "VirtualApp", "VirtualMachine"})
_NEVER_READ = frozenset(
    {
        "Network",
        "OpaqueNetwork",
        "DistributedVirtualPortgroup",
        "DistributedVirtualSwitch",
        "VmwareDistributedVirtualSwitch",
    }
)


@dataclass
class Judge:
    """What is found for and against a reading."""

    counts: dict[str, Any] = field(default_factory=dict)
    denied: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def doubtful(e: Evidence) -> tuple[str, ...]:
    """Return the objects below the root whose entries may or may not take System.Read away from this account.

    Whether it holds on them can be asked, and then stands in `Evidence.held`.
    """
    own, maybe = _entries(e)
    unclear = [one for one in own if _reads(e, one) is None]
    unclear += [one for one in maybe if _reads(e, one) is not True]
    return tuple(dict.fromkeys(one.entity for one in unclear if one.entity != e.root and _hides(e, one) is not False))


def judge_right(e: Evidence, judge: Judge) -> None:
    """Weigh the right on the root."""
    judge.counts["right"] = {"privilege": READ, "on_root": e.read}
    if e.read is False:
        judge.denied.append(f"{READ} is missing on the root of the inventory: {GRANT}")
    elif e.read is None and NO_PERMISSION in e.read_fault:
        judge.denied.append(f"the account may not even ask for its rights on the root: {GRANT}")
    elif e.read is None:
        told = clean(e.read_fault) or "it was not asked for"
        judge.incomplete.append(f"whether {READ} holds on the root is not known: {told}")


def judge_permissions(e: Evidence, judge: Judge) -> None:
    """Weigh the entries that could take the right away again below the root, or never hand it down."""
    if e.permissions is None:
        told = clean(e.permissions_fault) or "they were not asked for"
        judge.counts["permissions"] = f"not read: {told}"
        judge.doubts.append(f"the permissions below the root could not be read ({told}), so they are not judged")
        return
    if e.roles is None:
        judge.doubts.append(f"the roles could not be read ({clean(e.roles_fault) or 'not asked for'})")
    own, maybe = _entries(e)
    judge.counts["permissions"] = {
        "entries": len(e.permissions),
        "of_the_account": len(own),
        "of_groups": sum(one.group for one in e.permissions),
    }
    for one in own:
        reads = _reads(e, one)
        if reads is False and _hides(e, one):
            judge.denied.append(f"{_told(e, one)} takes {READ} away there: remove it, or make it Read-only")
        elif reads is False and _hides(e, one) is None:
            judge.doubts.append(f"{_told(e, one)} takes {READ} away from an object of a type that is not known here")
        elif reads is None and _hides(e, one) is not False:
            _judge_asked(e, one, judge, "has a role that cannot be judged")
        if reads is not False and one.entity == e.root and not one.propagate:
            judge.denied.append(f"{_told(e, one)} does not propagate to what is below: {GRANT}")
    for one in maybe:
        # on the root itself the answer about System.Read has counted it
        if one.entity != e.root and _reads(e, one) is not True and _hides(e, one) is not False:
            words = "may hide objects, should the account be meant: vCenter does not tell its groups"
            _judge_asked(e, one, judge, words, below=_handed_down(e, one, (*own, *maybe)))
    _judge_root(e, own, maybe, judge)


def _judge_asked(e: Evidence, one: Permission, judge: Judge, words: str, *, below: bool = True) -> None:
    """Weigh an entry of which nobody knows whether it counts, by what the account was told of its right there.

    `below` is whether a right that holds there is one for what is below, too.
    """
    held = None if e.held is None else e.held.get(one.entity)
    if held is False:
        judge.denied.append(f"{READ} is missing where {_told(e, one)} stands: {GRANT}, and take back what is narrower")
    elif held is None or not below:
        judge.doubts.append(f"{_told(e, one)} {words}")


def _handed_down(e: Evidence, one: Permission, entries: tuple[Permission, ...]) -> bool:
    """Say whether the right that holds on an entry's object holds below it too, as far as entries there decide.

    It does not where another entry may be what grants it, and is not handed down, while this one is.
    """
    if not one.propagate:
        return True
    return not any(
        other.entity == one.entity and not other.propagate and _reads(e, other) is not False for other in entries
    )


def _entries(e: Evidence) -> tuple[list[Permission], list[Permission]]:
    """Return the account's own entries, and those that may be about it."""
    every = e.permissions or ()
    own = [one for one in every if not one.group and _same_user(e.account, one.principal)]
    # an entry of the user's own outweighs those of groups there; below, only where it is handed down
    named = {one.entity for one in own if one.propagate and _user(one.principal) == _user(e.account)}
    return own, [one for one in every if one not in own and one.entity not in named and _maybe_me(e, one)]


def _judge_root(e: Evidence, own: list[Permission], maybe: list[Permission], judge: Judge) -> None:
    """Ask for an entry on the root that hands the right down; a global permission is in no list, and would."""
    on_root = [one for one in (*own, *maybe) if one.entity == e.root and _reads(e, one) is not False]
    if not any(one.propagate for one in on_root):
        if any(one in own for one in on_root):
            return  # said already
        if on_root:
            judge.denied.append(f"no entry on the root propagates to what is below: {GRANT}")
        else:
            judge.doubts.append("no entry on the root can be the account's: its right comes from a global permission")


def _hides(e: Evidence, one: Permission) -> bool | None:
    """Say whether an object whose right is missing would hide anything that this scope reads, None if not known."""
    if not one.type or one.type in _READ_TYPES:
        return True
    if one.type == "Datastore":
        return e.scope != "vms"
    return False if one.type in _NEVER_READ else None


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
