"""What the proof looks at: the answers of a reading by what they are for. Pure; `proof` judges what is read here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from asset_ledger.sources.pve.properties import clean, whole
from asset_ledger.sources.pve.raw import Response
from asset_ledger.sources.pve.rows import Guests, guest_id, guests

AUDIT = "VM.Audit"
NEW_GUEST = "/vms/999999999"
"""The path of an id that no guest has: the rights on it are those a new guest would come under."""


@dataclass(slots=True)
class Rights:
    """How far VM.Audit reaches: 1 propagates, 0 holds on the path alone, None is missing. `problem`: not readable."""

    by: str
    on_path: int | None = None
    on_new_guest: int | None = None
    without: list[str] = field(default_factory=list)
    problem: str = ""


class Evidence:
    """The answers by what they are for."""

    def __init__(self, responses: Sequence[Response], identity: str) -> None:
        self.identity = identity
        self.responses = responses
        self._by_path: dict[str, list[Response]] = {}
        for response in responses:
            self._by_path.setdefault(response.path, []).append(response)

    def answer(self, path: str, /, **query: str) -> Response | None:
        """Return the last answer to exactly this question that holds data, else the last one at all."""
        every = [one for one in self._by_path.get(path, ()) if dict(one.query) == query]
        return next((one for one in reversed(every) if one.ok), every[-1] if every else None)

    @cached_property
    def first(self) -> Guests | None:
        """The first list, or None where there is none."""
        whole_lists = [one for one in self._by_path.get("/cluster/resources", ()) if not one.query and one.ok]
        return guests(whole_lists[0].data) if whole_lists else None

    @cached_property
    def second(self) -> Guests | None:
        """The list as it was at the end, or None where it was not read again."""
        again = self.answer("/cluster/resources", type="vm")
        return guests(again.data) if again is not None and again.ok else None

    @cached_property
    def seen(self) -> set[int]:
        """Every id that one of the lists shows."""
        return {vmid for one in (self.first, self.second) if one is not None for vmid in one.rows}

    @cached_property
    def on_nodes(self) -> dict[str, set[int]]:
        """By node what it lists itself: the second path to the guests, in so far as its nodes answered."""
        found: dict[str, set[int]] = {}
        for path, responses in self._by_path.items():
            match path.split("/"):
                case ["", "nodes", node, "qemu" | "lxc"]:
                    rows = [row for one in responses if one.ok and isinstance(one.data, list) for row in one.data]
                    ids = (guest_id(row.get("vmid")) for row in rows if isinstance(row, dict))
                    found.setdefault(node, set()).update(vmid for vmid in ids if vmid is not None)
        return found

    @cached_property
    def unlisted(self) -> set[int]:
        """Ids that a node lists and neither list of the cluster shows."""
        return set().union(*self.on_nodes.values()) - self.seen

    @cached_property
    def probes(self) -> dict[int, bool]:
        """What was asked for and answered: id to whether a guest has it."""
        found: dict[int, bool] = {}
        for response in self._by_path.get("/cluster/nextid", ()):
            vmid = guest_id(response.query.get("vmid"))
            if vmid is None:
                continue
            if response.ok and (guest_id(response.data) == vmid):
                found[vmid] = False
            elif response.status == 400 and "already exists" in str(response.errors.get("vmid")):
                found[vmid] = True
        return found

    @cached_property
    def lowest_free(self) -> int | None:
        """The lowest id that is free: all below it have guests, unless the datacenter's settings move the bound."""
        told = self.answer("/cluster/nextid")
        return guest_id(told.data) if told is not None and told.ok else None

    @cached_property
    def rights(self) -> Rights:
        """What VM.Audit covers, by /access/permissions, or by a login's check where that is not there yet."""
        dump = self.answer("/access/permissions")
        on_vms = self.answer("/access/permissions", path="/vms")
        on_new = self.answer("/access/permissions", path=NEW_GUEST)
        checked = self.answer("/access/ticket", path=NEW_GUEST, privs=AUDIT)
        if checked is not None and not (dump and dump.ok):
            found = Rights("/access/ticket")
            if checked.ok:
                found.on_path = found.on_new_guest = 1
            elif checked.status != 401:
                found.problem = _why_not(checked)
            return found
        found = Rights("/access/permissions")
        for response in (on_vms, on_new, dump):
            if response is None or not response.ok or not isinstance(response.data, dict):
                found.problem = "they were not asked for" if response is None else _why_not(response)
                return found
        assert on_vms is not None
        assert on_new is not None
        assert dump is not None
        try:
            found.on_path = _held(on_vms.data, "/vms")
            found.on_new_guest = _held(on_new.data, NEW_GUEST)
            found.without = [p for p in dump.data if p.startswith("/vms/") and _held(dump.data, p) is None]
        except ValueError as wrong:
            found.problem = str(wrong)
        return found

    @cached_property
    def entries(self) -> list[tuple[str, str, str, str]] | None:
        """The access control list as (path, type, who, role), or None where it cannot be read. It may be a part."""
        told = self.answer("/access/acl")
        if told is None or not told.ok or not isinstance(told.data, list):
            return None
        found: list[tuple[str, str, str, str]] = []
        for row in told.data:
            match row:
                case {"path": str(path), "type": str(kind), "ugid": str(who), "roleid": str(role)}:
                    found.append((path, kind, who, role))
                case _:
                    return None
        return found

    @cached_property
    def against_acl(self) -> str:
        """Say why the access control list does not prove that nothing is taken away, or "" where it does."""
        dump = self.answer("/access/permissions")
        checked = self.answer("/access/ticket", path="/access", privs="Sys.Audit")
        shown = dump.data.get("/access") if dump is not None and dump.ok and isinstance(dump.data, dict) else None
        if not (isinstance(shown, dict) and "Sys.Audit" in shown) and not (checked is not None and checked.ok):
            return "Sys.Audit on /access is not there, so the access control list may be shown in part"
        if self.entries is None:
            return "the access control list cannot be read"
        if self._auditing is None:
            return "the roles cannot be read"
        for path, kind, who, role in self._without_audit:
            # an entry on /pool, and NoAccess on /, reach into every pool; one on /vms shows in the rights on it
            if path == "/pool" or path.startswith(("/vms/", "/pool/")) or (path, role) == ("/", "NoAccess"):
                return f"{_entry(path, kind, who, role)} is without {AUDIT}"
        return ""

    def withheld(self, paths: Collection[str], below: str | None = None) -> list[str]:
        """Return in words the entries on paths, or below one, that may take VM.Audit away, as far as they are shown."""
        return [
            _entry(path, kind, who, role)
            for path, kind, who, role in self._without_audit
            if path in paths or (below is not None and path.startswith(below))
        ]

    @cached_property
    def _auditing(self) -> set[str] | None:
        told = self.answer("/access/roles")
        if told is None or not told.ok or not isinstance(told.data, list):
            return None
        return {
            row["roleid"]
            for row in told.data
            if isinstance(row, dict)
            and isinstance(row.get("roleid"), str)
            and isinstance(row.get("privs"), str)
            and AUDIT in row["privs"].split(",")
        }

    @cached_property
    def _without_audit(self) -> list[tuple[str, str, str, str]]:
        """The entries for this account, or a group it may be in, with a role that lacks VM.Audit."""
        mine = {self.identity, self.identity.partition("!")[0]} if self.identity else set()
        auditing = self._auditing
        return [
            (path, kind, who, role)
            for path, kind, who, role in self.entries or ()
            if auditing is not None
            and role not in auditing
            and not (mine and kind in ("user", "token") and who not in mine)
        ]


def _entry(path: str, kind: str, who: str, role: str) -> str:
    return f"role {clean(role)} for {clean(kind)} {clean(who)} on {clean(path)}"


def _held(data: Mapping[str, Any], path: str) -> int | None:
    """Return the value of VM.Audit on a path. Raises ValueError for what is no value of a privilege."""
    privileges = data.get(path, {})
    value = privileges.get(AUDIT) if isinstance(privileges, dict) else "?"
    if value is None and (not isinstance(privileges, dict) or AUDIT not in privileges):
        return None
    number = whole(value, 1)
    if number is None:
        raise ValueError(f"what they are on {clean(path)} cannot be read")
    return number


def _why_not(response: Response) -> str:
    return f"{response.path} answers {clean(response.said)}".strip()
