"""The proof that no guest is missing, against the double's own evaluation of permissions: it is never wrong about "whole"."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from asset_ledger.sources.pve.evidence import AUDIT, NEW_GUEST
from asset_ledger.sources.pve.proof import MOST_GUESSES, Verdict, ids_to_probe, prove
from asset_ledger.sources.pve.raw import Response
from tests.doubles.pve.acl import ROOT, Access, Entry, Pool

ROLES = {
    "Administrator": frozenset({"VM.Audit", "VM.Config.Options", "Sys.Audit", "Datastore.Audit", "Permissions.Modify"}),
    "PVEAuditor": frozenset({"VM.Audit", "Sys.Audit", "Datastore.Audit", "Pool.Audit"}),
    "PVEVMUser": frozenset({"VM.Audit", "VM.Console", "VM.PowerMgmt"}),
    "PVEDatastoreUser": frozenset({"Datastore.Audit"}),
    "Console": frozenset({"VM.Console"}),
    "NoAccess": frozenset(),
}
TOKEN = "ledger@pve!asset"


@dataclass
class Site:
    """A cluster as far as the proof sees it: who may see what, which guests there are, and how they change."""

    access: Access
    guests: set[int]
    subject: str = TOKEN
    old: bool = False
    """Before 6.2: no /access/permissions, a login's check in its place."""
    later: set[int] | None = None
    """The guests at the second reading, where they changed."""
    known: set[int] = field(default_factory=set)
    nodes: tuple[str, ...] = ("n1", "n2")
    quorate: int = 1
    extra: list[Response] = field(default_factory=list)

    def visible(self, guests: Collection[int] | None = None) -> list[int]:
        every = self.guests if guests is None else guests
        return [vmid for vmid in sorted(every) if self.access.holds(self.subject, f"/vms/{vmid}", AUDIT)]

    def rights(self) -> list[Response]:
        if self.old:
            return [
                Response("/access/permissions", status=501, reason="not implemented"),
                *(self._checked(path, right) for path, right in ((NEW_GUEST, AUDIT), ("/access", "Sys.Audit"))),
            ]
        held = self.access.privileges
        dump = self.access.dump(self.subject)
        return [
            Response("/access/permissions", data=dump),
            *(
                Response("/access/permissions", {"path": path}, data={path: held(self.subject, path)})
                for path in ("/vms", NEW_GUEST)
            ),
        ]

    def _checked(self, path: str, right: str) -> Response:
        holds = self.access.holds(self.subject, path, right)
        asked = {"path": path, "privs": right}
        return Response("/access/ticket", asked, 200 if holds else 401, {"username": self.subject} if holds else None)

    def first(self) -> list[Response]:
        audits = self.access.holds_any(self.subject, "/access", "Sys.Audit")
        entries = [
            {"path": e.path, "type": e.kind, "ugid": e.ugid, "roleid": e.role, "propagate": int(e.propagate)}
            for e in self.access.entries
            if audits or self.access.may_change(self.subject, e.path)
        ]
        roles = [{"roleid": name, "privs": ",".join(sorted(held))} for name, held in ROLES.items()]
        free = next(number for number in range(100, 10**9) if number not in self.guests)
        status = [{"type": "node", "name": name, "online": 1} for name in self.nodes]
        if len(self.nodes) > 1:
            count = {"nodes": len(self.nodes), "quorate": self.quorate}
            status.insert(0, {"type": "cluster", "name": "lab", **count})
        return [
            Response("/cluster/status", data=status),
            Response("/nodes", data=[{"node": name, "status": "online"} for name in self.nodes]),
            Response("/cluster/resources", data=[_row(vmid) for vmid in self.visible()]),
            *self.rights(),
            Response("/access/acl", data=entries),
            Response("/access/roles", data=roles),
            Response("/cluster/nextid", data=str(free)),
        ]

    def read(self) -> list[Response]:
        """Return the answers of a whole reading, every id asked for that the plan names."""
        found = self.first()
        found += self._probed(found, self.guests)
        now = self.guests if self.later is None else self.later
        found.append(Response("/cluster/resources", {"type": "vm"}, data=[_row(vmid) for vmid in self.visible(now)]))
        found += self._probed(found, now)
        return found + self.extra

    def _probed(self, until_now: list[Response], guests: Collection[int]) -> list[Response]:
        plan = ids_to_probe(until_now, self.known, self.subject)
        return [probe(vmid, exists=vmid in guests) for vmid in plan.ids]

    def verdict(self) -> Verdict:
        return prove(self.read(), self.subject)


def _row(vmid: int) -> dict[str, Any]:
    return {"id": f"qemu/{vmid}", "type": "qemu", "vmid": vmid, "node": "n1", "status": "running"}


def probe(vmid: int, *, exists: bool) -> Response:
    query = {"vmid": str(vmid)}
    if exists:
        errors = {"vmid": f"VM {vmid} already exists"}
        return Response("/cluster/nextid", query, 400, None, "Parameter verification failed.", errors)
    return Response("/cluster/nextid", query, data=str(vmid))


def site(*entries: Entry, guests: Collection[int] = (100, 101, 105), **said: Any) -> Site:
    """Return a site on which the token and its user are auditors of everything, and these entries."""
    auditors = (Entry("/", "user", "ledger@pve", "PVEAuditor"), Entry("/", "token", TOKEN, "PVEAuditor"))
    pools = said.pop("pools", {})
    access = Access(ROLES, {"staff": {"ledger@pve"}}, {TOKEN: True}, pools, (*auditors, *entries))
    return Site(access, set(guests), **said)


def random_site(rng: random.Random, number: int) -> Site:
    """Return users, groups, tokens, pools and entries thrown together; most show a part of the guests."""
    guests = set(rng.sample(range(100, 140), rng.randint(1, 14)))
    paths = ["/", "/vms", "/pool", "/pool/a", "/pool/b", "/access", *(f"/vms/{vmid}" for vmid in sorted(guests))]
    who = [("user", "ledger@pve"), ("token", TOKEN), ("group", "staff"), ("group", "other"), ("user", "else@pve")]
    weights = {"PVEAuditor": 4, "Administrator": 1, "PVEVMUser": 3, "NoAccess": 2, "Console": 1, "PVEDatastoreUser": 1}
    entries = [Entry("/", kind, ugid, "PVEAuditor") for kind, ugid in who[:3] if rng.random() < 0.75]
    for _ in range(rng.randint(0, 6)):
        kind, ugid = rng.choice(who)
        role = rng.choices(list(weights), list(weights.values()))[0]
        entries.append(Entry(rng.choice(paths), kind, ugid, role, rng.random() < 0.8))
    pools = {name: Pool(frozenset(rng.sample(sorted(guests), rng.randint(0, len(guests) // 2)))) for name in ("a", "b")}
    access = Access(
        ROLES,
        {"staff": {"ledger@pve"}, "other": {"else@pve"}},
        {TOKEN: rng.random() < 0.7},
        pools,
        tuple(entries),
    )
    old = number % 3 == 0
    return Site(access, guests, subject=rng.choice(("ledger@pve", TOKEN, TOKEN)) if not old else "ledger@pve", old=old)


def test_no_random_set_of_permissions_makes_it_call_a_part_the_whole() -> None:
    rng = random.Random(20261101)
    told = {"right": 0, "careful": 0, "refused": 0}
    for number in range(900):
        one = random_site(rng, number)
        whole = len(one.visible()) == len(one.guests)
        verdict = one.verdict()
        assert whole or not verdict.proof.complete, (number, one.access.entries, one.access.pools, one.guests)
        told["right" if verdict.proof.complete else "careful" if whole else "refused"] += 1
    # a proof that never held would be safe and of no use
    assert told["right"] > 250
    assert told["refused"] > 150
    assert told["careful"] < told["right"]


def test_an_auditor_of_everything_proves_it_and_nothing_needs_to_be_asked() -> None:
    verdict = site().verdict()
    assert verdict.proof.missing == ()
    assert verdict.proof.counts["guests"] == {"/cluster/resources": 3, "/cluster/resources?type=vm": 3}
    assert verdict.proof.counts["rights"]["on_vms"] == 1
    assert verdict.proof.counts["quorate"] is True
    assert ids_to_probe(site().first(), (), TOKEN).ids == ()


def test_the_administrator_of_everything_needs_no_entry() -> None:
    assert Site(Access(ROLES), {100, 107}, subject=ROOT).verdict().proof.complete


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ((Entry("/vms", "token", TOKEN, "NoAccess"),), "VM.Audit is missing on /vms"),
        ((Entry("/vms", "user", "ledger@pve", "Console"),), "VM.Audit is missing on /vms"),
        ((Entry("/vms", "token", TOKEN, "PVEAuditor", False), Entry("/", "token", TOKEN, "Console")), "propagate"),
        ((Entry("/vms/105", "token", TOKEN, "PVEDatastoreUser"),), "/vms/105:"),
        ((Entry("/vms/105", "token", TOKEN, "NoAccess"),), "105"),
        ((Entry("/vms/105", "user", "ledger@pve", "NoAccess"),), "105"),
    ],
    ids=["none", "other-role", "on-the-path-alone", "one-guest-less", "one-guest-hidden", "hidden-from-the-owner"],
)
def test_what_is_missing_is_named_with_what_to_grant(entries: tuple[Entry, ...], says: str) -> None:
    verdict = site(*entries).verdict()
    assert says in "; ".join(verdict.denied)
    assert "PVEAuditor" in "; ".join(verdict.denied)
    assert verdict.proof.missing == verdict.denied + verdict.incomplete


def test_a_guest_hidden_by_an_entry_on_every_pool_is_noticed() -> None:
    hidden = site(Entry("/pool", "token", TOKEN, "NoAccess"), pools={"a": Pool(frozenset({105}))})
    assert 105 not in hidden.visible()
    assert hidden.verdict().denied


def test_entries_for_other_users_do_not_count_and_those_for_any_group_do() -> None:
    others = Entry("/vms/105", "user", "else@pve", "NoAccess")
    assert ids_to_probe(site(others).first(), (), TOKEN).ids == ()
    assert ids_to_probe(site(others).first(), ()).ids != (), "who asks is not known: every entry counts"
    group = Entry("/vms/105", "group", "other", "NoAccess")
    assert ids_to_probe(site(group).first(), (), TOKEN).ids != ()


def test_a_cut_list_of_entries_is_not_taken_for_a_whole_one() -> None:
    blind = site(Entry("/access", "token", TOKEN, "Console"))
    assert "in part" in blind.verdict().proof.counts["access_control_list"]
    plan = ids_to_probe(blind.first(), (), TOKEN)
    assert plan.ids[0] == 102
    assert plan.ids[-1] == 205
    assert blind.verdict().proof.complete
    assert blind.verdict().proof.counts["searched_to"] == 205
    assert "searched_to" not in site().verdict().proof.counts
    assert "searched_to" not in prove(blind.first(), TOKEN).proof.counts, "before the search nothing is searched"


def test_too_many_ids_to_ask_for_are_refused_and_the_way_out_is_named() -> None:
    wide = site(Entry("/access", "token", TOKEN, "Console"), guests=(100, 100_000))
    plan = ids_to_probe(wide.first(), (), TOKEN)
    assert plan.ids == ()
    assert "Sys.Audit" in plan.refusal
    assert plan.refusal in wide.verdict().incomplete
    assert site(guests=(100, 100_000)).verdict().proof.complete, "whoever sees every entry need not ask"


def test_ids_the_ledger_knows_are_asked_for_however_many_they_are() -> None:
    known = set(range(100, 100 + 3 * MOST_GUESSES))
    assert len(ids_to_probe(site().first(), known, TOKEN).ids) == len(known) - 3
    assert site(known=known).verdict().proof.complete


def test_a_known_guest_that_exists_and_is_not_shown_is_a_lost_right() -> None:
    one = site()
    answers = [*one.read(), probe(4711, exists=True)]
    verdict = prove(answers, TOKEN)
    assert "4711" in verdict.denied[0]
    assert prove([*one.read(), probe(4711, exists=False)], TOKEN).proof.complete


def test_a_guest_that_may_just_have_been_made_is_no_lost_right_before_the_second_list() -> None:
    verdict = prove([*site().first(), probe(4711, exists=True)], TOKEN)
    assert verdict.denied == ()
    assert "4711" in "; ".join(verdict.incomplete)


@pytest.mark.parametrize("later", [{100, 101}, {100, 101, 105, 106}, {100, 101, 200}])
def test_guests_that_come_and_go_meanwhile_are_settled_by_their_ids(later: set[int]) -> None:
    assert site(later=later).verdict().proof.complete


def test_a_guest_in_one_list_only_is_not_settled_unless_its_id_was_asked_for() -> None:
    answers = [one for one in site(later={100, 101}).read() if one.path != "/cluster/nextid" or not one.query]
    assert "105" in "; ".join(prove(answers, TOKEN).incomplete)
    kept = [*answers, probe(105, exists=True)]
    assert "105" in "; ".join(prove(kept, TOKEN).incomplete), "it exists, so it did not just go"


def test_an_id_that_was_asked_for_in_vain_settles_nothing() -> None:
    answers = site(later={100, 101}).read()
    vain = [
        replace(one, status=595, data=None, reason="No route to host", errors={})
        if one.path == "/cluster/nextid" and one.query
        else one
        for one in answers
    ]
    assert not prove(vain, TOKEN).proof.complete
    other = [replace(one, data="999") if one.path == "/cluster/nextid" and one.query else one for one in answers]
    assert not prove(other, TOKEN).proof.complete


def test_a_minority_and_nodes_that_do_not_add_up_are_incomplete() -> None:
    assert "quorum" in site(quorate=0).verdict().incomplete[0]
    answers = site().read()
    fewer = [replace(one, data=one.data[:1]) if one.path == "/nodes" else one for one in answers]
    assert prove(fewer, TOKEN).incomplete
    lone = [replace(one, data=one.data[1:]) if one.path == "/cluster/status" else one for one in answers]
    assert "no cluster" in "; ".join(prove(lone, TOKEN).incomplete)
    assert site(nodes=("n1",)).verdict().proof.complete


def test_a_refused_status_is_a_lost_right() -> None:
    refused = Response("/cluster/status", status=403, reason="Permission check failed (/, Sys.Audit)")
    answers = [refused if one.path == "/cluster/status" else one for one in site().read()]
    assert "Sys.Audit is missing on /" in prove(answers, TOKEN).denied[0]


@pytest.mark.parametrize("path", sorted({one.path for one in site().read()}))
def test_without_any_one_answer_nothing_is_proven_by_the_others(path: str) -> None:
    answers = [one for one in site(Entry("/access", "token", TOKEN, "Console")).read() if one.path != path]
    assert path == "/access/roles" or path == "/access/acl" or not prove(answers, TOKEN).proof.complete


def test_no_answer_at_all_proves_nothing_and_plans_nothing() -> None:
    assert not prove([]).proof.complete
    assert ids_to_probe([], {100}).ids == ()


ODD: tuple[Any, ...] = (None, True, "1", 2, -1, 0.5, 10**400, [], {}, "VM.Audit")


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_a_privilege_with_an_odd_value_is_not_held(value: Any) -> None:
    def odd(one: Response) -> Response:
        data: Mapping[str, Any] = {"/vms": {AUDIT: value}}
        return replace(one, data=data) if one.query == {"path": "/vms"} else one

    complete = prove([odd(one) for one in site().read()], TOKEN).proof.complete
    assert complete == (value == "1" and isinstance(value, str))


def test_a_row_that_cannot_be_read_stands_against_the_list() -> None:
    rows: tuple[Any, ...] = (
        None,
        7,
        {"type": "qemu", "node": "n1"},
        {"type": "qemu", "vmid": 100, "node": "n1"},
        {"type": None, "vmid": 300},
        {"type": "tape", "id": "qemu/300"},
        {"type": "qemu", "vmid": 300, "node": ""},
    )
    for row in rows:
        answers = [
            replace(one, data=[*one.data, row]) if one.path == "/cluster/resources" and not one.query else one
            for one in site().read()
        ]
        assert "cannot be read" in "; ".join(prove(answers, TOKEN).incomplete), row
    other = {"type": "tape", "id": "tape/1", "node": "n1"}
    answers = [
        replace(one, data=[*one.data, other]) if one.path == "/cluster/resources" else one for one in site().read()
    ]
    assert prove(answers, TOKEN).proof.complete, "kinds that come later are no guests"


def test_no_access_on_everything_reaches_into_pools_past_the_rights_on_guests() -> None:
    entries = (
        Entry("/", "group", "staff", "NoAccess"),
        Entry("/vms", "user", "ledger@pve", "PVEAuditor"),
        Entry("/access", "user", "ledger@pve", "PVEAuditor"),
    )
    access = Access(ROLES, {"staff": {"ledger@pve"}}, {}, {"a": Pool(frozenset({101}))}, entries)
    one = Site(access, {100, 101, 102, 103}, subject="ledger@pve")
    assert one.visible() == [100, 102, 103], "the pool takes the guest away"

    assert not one.verdict().proof.complete


def test_a_guest_that_only_its_node_lists_is_asked_for() -> None:
    """A list that was cut short on its way looks like a shorter list; what the nodes say of themselves is another path."""
    one = site(guests=(101, 102, 103), nodes=("n1",))
    cut = [Response("/cluster/resources", data=[_row(101)])]
    lists = [
        Response("/nodes/n1/qemu", {"full": "1"}, data=[{"vmid": 101}, {"vmid": "103"}]),
        Response("/nodes/n1/lxc", data=[{"vmid": "102"}]),
    ]
    read = [each for each in one.first() if each.path != "/cluster/resources"] + cut + lists
    read.append(Response("/cluster/resources", {"type": "vm"}, data=[_row(101)]))

    plan = ids_to_probe(read, (), TOKEN)
    assert set(plan.ids) == {102, 103}

    verdict = prove([*read, probe(102, exists=True), probe(103, exists=False)], TOKEN)
    assert verdict.denied
    assert "102" in verdict.denied[0]
    assert verdict.proof.counts["listed_by_nodes"] == {"nodes": 1, "guests": 3}
    assert prove([*read, probe(102, exists=False), probe(103, exists=False)], TOKEN).proof.complete, "they are gone"
