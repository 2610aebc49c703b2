"""How Proxmox VE evaluates permissions: pure, over one immutable set of users, groups, pools and entries.

The rules are those of the reference (same in every release, tokens apart). Knows nothing of HTTP or of guests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

ROOT = "root@pam"
TOP_LEVEL = ("/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms")
_CAP_PATHS = ("/", "/nodes", "/access/groups", "/vms", "/storage", "/sdn", "/mapping")
_CAP_PRIVILEGES = {
    "vms": re.compile(r"VM\.|Permissions\.Modify"),
    "access": re.compile(r"(User|Group)\.|Permissions\.Modify"),
    "storage": re.compile(r"Datastore\.|Permissions\.Modify"),
    "nodes": re.compile(r"Sys\.|Permissions\.Modify"),
    "sdn": re.compile(r"SDN\.|Permissions\.Modify"),
    "dc": re.compile(r"Sys\.Audit|Sys\.Modify|SDN\."),
    "mapping": re.compile(r"Mapping\.|Permissions\.Modify"),
}


@dataclass(frozen=True)
class Entry:
    """One line of the access control list. `ugid` is user@realm, a group's name, or user@realm!token."""

    path: str
    kind: str  # user, group, token
    ugid: str
    role: str
    propagate: bool = True


@dataclass(frozen=True)
class Pool:
    """What a resource pool holds."""

    vms: AbstractSet[int] = frozenset()
    storages: AbstractSet[str] = frozenset()

    def paths(self) -> Iterable[str]:
        yield from (f"/vms/{vmid}" for vmid in self.vms)
        yield from (f"/storage/{storage}" for storage in self.storages)


@dataclass(frozen=True)
class Access:
    """Who may do what. Subjects are user@realm or user@realm!token."""

    roles: Mapping[str, AbstractSet[str]]
    groups: Mapping[str, AbstractSet[str]] = field(default_factory=dict)
    tokens: Mapping[str, bool] = field(default_factory=dict)  # token id -> privilege separation
    pools: Mapping[str, Pool] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    _tree: dict[str, dict[str, dict[str, dict[str, bool]]]] = field(default_factory=dict, repr=False)
    _known: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict, repr=False)
    _pool_roles: dict[str, dict[str, set[str]]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for entry in self.entries:
            self._tree.setdefault(entry.path, {}).setdefault(entry.kind, {}).setdefault(entry.ugid, {})[entry.role] = (
                entry.propagate
            )

    def paths(self) -> list[str]:
        """Return every node of the tree that the entries span, parents included."""
        found = {"/": None}
        for path in self._tree:
            parts = path.strip("/").split("/") if path != "/" else []
            for end in range(1, len(parts) + 1):
                found["/" + "/".join(parts[:end])] = None
        return list(found)

    def roles_on(self, subject: str, path: str) -> dict[str, bool]:
        """Return role -> propagates, from the entries alone; pools come in with the privileges."""
        owner, token, _ = subject.partition("!")
        if token and not self.tokens.get(subject, True):
            return self.roles_on(owner, path)
        here: dict[str, bool] = {}
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):
            level = self._tree.get("/" + "/".join(parts[:depth]))
            if level is None:
                continue
            final = depth == len(parts)
            groups: dict[str, bool] = {}
            for group, roles in level.get("group", {}).items():
                if subject in self.groups.get(group, ()):
                    groups.update({role: on for role, on in roles.items() if final or on})
            own = (level.get(kind, {}).get(subject, {}) for kind in ("token", "user"))
            candidates = [{role: on for role, on in roles.items() if final or on} for roles in own]
            here = next((found for found in (*candidates, groups) if found), here)
        return {"NoAccess": here["NoAccess"]} if "NoAccess" in here else here

    def _from_pools(self, subject: str) -> dict[str, set[str]]:
        if subject not in self._pool_roles:
            found: dict[str, set[str]] = {}
            for name, pool in self.pools.items():
                roles = self.roles_on(subject, f"/pool/{name}")
                for path in pool.paths() if roles else ():
                    found.setdefault(path, set()).update(roles)
            self._pool_roles[subject] = found
        return self._pool_roles[subject]

    def privileges(self, subject: str, path: str) -> dict[str, int]:
        """Return privilege -> 1 where it propagates, 0 where it holds on this very path only."""
        if subject == ROOT:
            return dict.fromkeys(self.roles["Administrator"], 1)
        key = subject, path
        if key not in self._known:
            self._known[key] = self._evaluated(subject, path)
        return self._known[key]

    def _evaluated(self, subject: str, path: str) -> dict[str, int]:
        owner, token, _ = subject.partition("!")
        if token and subject not in self.tokens:
            return {}
        if token and not self.tokens[subject]:
            return self.privileges(owner, path)
        roles = dict(self.roles_on(subject, path))
        pooled = self._from_pools(subject).get(path, set())
        if pooled and "NoAccess" not in roles:
            roles = {"NoAccess": False} if "NoAccess" in pooled else {**dict.fromkeys(pooled, False), **roles}
        held: dict[str, int] = {}
        for role, propagates in roles.items():
            for privilege in self.roles.get(role, ()):
                held[privilege] = held.get(privilege, 0) | int(propagates)
        if token and owner != ROOT:
            allowed = self.privileges(owner, path)
            held = {name: value & allowed[name] for name, value in held.items() if name in allowed}
        return held

    def holds(self, subject: str, path: str, *privileges: str) -> bool:
        """Say whether the subject has all of these privileges on the path; with 0 it still has them there."""
        held = self.privileges(subject, path)
        return all(name in held for name in privileges)

    def holds_any(self, subject: str, path: str, *privileges: str) -> bool:
        held = self.privileges(subject, path)
        return any(name in held for name in privileges)

    def may_change(self, subject: str, path: str) -> bool:
        """Say whether the subject may change the permissions on the path."""
        own = {"storage": "Datastore.Allocate", "vms": "VM.Allocate", "pool": "Pool.Allocate"}
        parts = path.strip("/").split("/")
        extra = (own[parts[0]],) if len(parts) > 1 and parts[0] in own else ()
        return self.holds_any(subject, path, "Permissions.Modify", *extra)

    def dump(self, subject: str) -> dict[str, dict[str, int]]:
        """Return what GET /access/permissions says: paths without a privilege are dropped, NoAccess with them."""
        paths = dict.fromkeys(
            (*TOP_LEVEL, *self.paths(), *(path for pool in self.pools.values() for path in pool.paths()))
        )
        found = {path: self.privileges(subject, path) for path in paths}
        return {path: dict(held) for path, held in found.items() if held}

    def cap(self, subject: str) -> dict[str, dict[str, int]]:
        """Return the `cap` of a login: all paths of a kind thrown together, so it proves nothing."""
        found: dict[str, dict[str, int]] = {name: {} for name in _CAP_PRIVILEGES}
        for path in dict.fromkeys((*_CAP_PATHS, *self.paths())):
            top = path.strip("/").split("/")[0] or "dc"
            for name in self.privileges(subject, path):
                if top == "pool":
                    if name.startswith("VM."):
                        found["vms"][name] = 1
                    elif name.startswith("Datastore."):
                        found["storage"][name] = 1
                    elif name == "Permissions.Modify":
                        found["vms"][name] = found["storage"][name] = 1
                elif top in _CAP_PRIVILEGES and _CAP_PRIVILEGES[top].match(name):
                    found[top][name] = 1
        return found
