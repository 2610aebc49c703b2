"""The proof that a reading is whole: it is never wrong about "whole", and says in words what stands against it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from asset_ledger.sources.vcenter.proof import GRANT, Verdict, prove
from asset_ledger.sources.vcenter.raw import Evidence, Permission, Sight
from tests.sources.vcenter.made import ME, ON_ROOT, ROLES, evidence, sight


def denied(told: Evidence) -> str:
    verdict = prove(told)
    assert not verdict.proof.complete
    assert verdict.denied
    return "; ".join(verdict.denied)


def incomplete(told: Evidence) -> str:
    verdict = prove(told)
    assert not verdict.proof.complete
    assert not verdict.denied
    return "; ".join(verdict.incomplete)


def whole(told: Evidence) -> Verdict:
    verdict = prove(told)
    assert verdict.proof.complete, verdict.proof.missing
    return verdict


def on(entity: str, principal: str = ME, role: int = -5, *, group: bool = False, propagate: bool = True) -> Permission:
    return Permission(entity, principal, group, role, propagate, f"the %2f {entity}")


def test_a_reading_in_which_everything_agrees_is_whole() -> None:
    verdict = whole(evidence())
    assert verdict.doubts == ()
    assert verdict.proof.counts["objects"] == {
        "vms": {"in_view_before": 3, "in_view_after": 3, "received": 3, "pages": 1, "HostSystem.vm": 3}
    }
    assert verdict.proof.counts["right"] == {"privilege": "System.Read", "on_root": True}


def test_no_machine_at_all_is_whole_where_the_rights_hold() -> None:
    whole(evidence(sight("vms")))


@pytest.mark.parametrize("scope", ["hosts", "vms", "all"])
def test_every_kind_of_a_scope_must_have_been_read(scope: str) -> None:
    every = {part: sight(part, f"{part}-1") for part in ("hosts", "clusters", "vms")}
    needed = {"hosts": ("hosts", "clusters"), "vms": ("vms",), "all": ("hosts", "clusters", "vms")}[scope]
    whole(evidence(*(every[part] for part in needed), scope=scope))
    for left_out in needed:
        others = [every[part] for part in needed if part != left_out]
        told = replace(evidence(scope=scope), sights=tuple(others))
        assert f"the {left_out} were not read" in incomplete(told)
    assert "read twice" in incomplete(evidence(*every.values(), every["vms"], every["hosts"], scope=scope))


def test_an_esxi_host_has_no_clusters_to_read() -> None:
    sights = (sight("hosts", "ha-host"), sight("vms", "1"))
    whole(evidence(*sights, scope="all", about={"apiType": "HostAgent"}))
    assert "clusters" in incomplete(evidence(*sights, scope="all"))


def test_an_unknown_scope_proves_nothing() -> None:
    incomplete(evidence(scope="networks"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"received": ("vm-1", "vm-2")}, "1 of the vms are in the view and were not received: vm-3"),
        ({"received": ()}, "3 of the vms are in the view"),
        ({"ended": False}, "not read to the last page"),
        ({"before": None}, "not read before"),
        ({"after": None}, "not read after"),
        ({"second": None, "second_fault": "MethodNotFound"}, "HostSystem.vm) was not read: MethodNotFound"),
        ({"second": ("vm-1", "vm-9")}, "1 of the vms are in HostSystem.vm and in no view: vm-9"),
        (
            {"lacking": {"vm-1": {"runtime.host": ""}}},
            "1 of the vms came without runtime.host: vm-1; in its place: nothing",
        ),
        ({"lacking": {"vm-2": {"name": "ManagedObjectNotFound"}}}, "came without name"),
    ],
)
def test_what_was_not_received_or_does_not_agree_makes_it_incomplete(changed: dict[str, Any], words: str) -> None:
    assert words in incomplete(evidence(sight("vms", "vm-1", "vm-2", "vm-3", **changed)))


@pytest.mark.parametrize(
    "changed",
    [
        # came or went while it was read: neither is a machine that should have been received
        {"before": ("vm-1", "vm-2", "vm-3", "vm-4")},
        {"after": ("vm-1", "vm-2", "vm-3", "vm-4")},
        {"before": ("vm-1", "vm-2", "vm-3", "vm-4"), "second": ("vm-4", "vm-1")},
        {"after": ("vm-1", "vm-2"), "lacking": {"vm-3": {"name": "ManagedObjectNotFound"}}},
        # told twice is told
        {"received": ("vm-1", "vm-2", "vm-3", "vm-3")},
        # a machine without a host is in no host's list
        {"second": ("vm-1",)},
        {"received": ("vm-1", "vm-2", "vm-3", "vm-5")},
    ],
)
def test_what_came_or_went_while_it_was_read_does_not_stand_against_it(changed: dict[str, Any]) -> None:
    whole(evidence(sight("vms", "vm-1", "vm-2", "vm-3", **changed)))


def test_properties_that_this_release_does_not_know_are_told_and_do_not_stand_against_it() -> None:
    counts = whole(evidence(sight("vms", "vm-1", dropped=("config.x",)))).proof.counts
    assert counts["objects"]["vms"]["properties_not_known_here"] == ["config.x"]


def test_a_mandatory_property_that_is_refused_is_a_lack_of_rights() -> None:
    words = denied(evidence(sight("vms", "vm-1", "vm-2", lacking={"vm-1": {"name": "NoPermission"}})))
    assert "vm-1" in words
    assert GRANT in words


def test_a_second_list_that_is_refused_is_a_lack_of_rights() -> None:
    assert GRANT in denied(evidence(sight("vms", "vm-1", second=None, second_fault="NoPermission on host-3")))


def test_without_read_on_the_root_nothing_is_whole() -> None:
    assert GRANT in denied(evidence(read=False))
    assert GRANT in denied(evidence(read=None, read_fault="NoPermission"))
    assert "MethodNotFound" in incomplete(evidence(read=None, read_fault="MethodNotFound"))
    assert "not asked for" in incomplete(evidence(read=None))


@pytest.mark.parametrize("role", [-5, -4, -3, 8])
@pytest.mark.parametrize("principal", [ME, "corp.example.com\\LEDGER", "ledger@corp.example.com", "CORP\\ledger"])
def test_an_entry_of_the_account_without_read_stands_against_it(role: int, principal: str) -> None:
    words = denied(evidence(permissions=(ON_ROOT, on("group-v3", principal, role))))
    assert "the / group-v3 (group-v3)" in words
    assert "Read-only" in words


@pytest.mark.parametrize("role", [-1, -2, 7])
def test_an_entry_of_the_account_with_read_does_not(role: int) -> None:
    verdict = whole(
        evidence(permissions=(ON_ROOT, on("group-v3", role=role), on("group-v4", role=role, propagate=False)))
    )
    assert verdict.doubts == ()


def test_an_entry_on_the_root_that_is_not_handed_down_stands_against_it() -> None:
    assert "propagate" in denied(evidence(permissions=(replace(ON_ROOT, propagate=False),)))
    groups = on("group-d1", "CORP\\Readers", -2, group=True, propagate=False)
    assert "propagates" in denied(evidence(permissions=(groups,)))
    whole(evidence(permissions=(groups, on("group-d1", "VSPHERE.LOCAL\\Administrators", -1, group=True))))


@pytest.mark.parametrize(
    "entry",
    [
        on("group-v3", "CORP\\Contractors", -5, group=True),
        on("group-v3", "CORP\\Contractors", 8, group=True),
        on("group-v3", "CORP\\Contractors", 99, group=True),
        # the same name in a domain that may be the same one under another name
        on("group-v3", "LOCALOS\\ledger", -5),
        on("group-v3", ME, 99),
    ],
)
def test_an_entry_that_may_be_the_accounts_is_a_doubt_and_no_proof_against_it(entry: Permission) -> None:
    verdict = whole(evidence(permissions=(ON_ROOT, entry)))
    assert len(verdict.doubts) == 1
    assert "the / group-v3 (group-v3)" in verdict.doubts[0]


@pytest.mark.parametrize(
    "entries",
    [
        (on("group-v3", "CORP\\Readers", -2, group=True),),
        (on("group-v3", "CORP\\somebody", -5),),
        # the account's own entry outweighs those of its groups on the same object
        (on("group-v3", "CORP\\Contractors", -5, group=True), on("group-v3", role=-2)),
        # on the root the answer about System.Read has counted it
        (on("group-d1", "CORP\\Contractors", -5, group=True),),
    ],
)
def test_entries_that_hide_nothing_from_the_account_are_no_doubt(entries: tuple[Permission, ...]) -> None:
    assert whole(evidence(permissions=(ON_ROOT, *entries))).doubts == ()


def test_what_the_account_has_itself_outweighs_its_groups_below_only_where_it_is_handed_down() -> None:
    entries = (ON_ROOT, on("group-v3", role=-2, propagate=False), on("group-v3", "CORP\\Contractors", -5, group=True))
    assert whole(evidence(permissions=entries)).doubts


def test_permissions_that_cannot_be_read_are_a_doubt() -> None:
    verdict = whole(evidence(permissions=None, permissions_fault="NoPermission"))
    assert "NoPermission" in verdict.doubts[0]
    assert verdict.proof.counts["permissions"] == "not read: NoPermission"
    assert "global permission" in whole(evidence(permissions=())).doubts[0]


def test_without_the_list_of_roles_the_roles_that_every_vcenter_has_are_known() -> None:
    bare = {"roles": None, "roles_fault": "NoPermission"}
    assert "No access" in denied(evidence(permissions=(ON_ROOT, on("group-v3")), **bare))
    verdict = whole(evidence(permissions=(ON_ROOT, on("group-v3", role=7)), **bare))
    assert any("cannot be judged" in doubt for doubt in verdict.doubts)
    assert any("roles could not be read" in doubt for doubt in verdict.doubts)


def test_words_name_a_few_of_many_and_how_many_more() -> None:
    moids = tuple(f"vm-{number:03}" for number in range(40))
    words = incomplete(evidence(sight("vms", *moids, received=())))
    assert "vm-009 and 30 more" in words
    assert "vm-010" not in words


@dataclass
class Site:
    """A vCenter as the account sees it: folders in a tree with machines in them, entries that say who sees what.

    What an object shows is decided by the nearest entry above it: on one object those of the user himself, else those
    of his groups together.
    """

    chance: random.Random
    parents: dict[str, str | None] = field(default_factory=dict)
    machines: dict[str, str] = field(default_factory=dict)
    entries: list[Permission] = field(default_factory=list)
    groups: set[str] = field(default_factory=set)

    def make(self) -> Site:
        chance = self.chance
        self.parents["group-d1"] = None
        for number in range(chance.randint(1, 7)):
            self.parents[f"group-v{number}"] = chance.choice(list(self.parents))
        folders = list(self.parents)
        self.machines = {f"vm-{number}": chance.choice(folders[1:]) for number in range(chance.randint(0, 9))}
        self.groups = {f"CORP\\g{number}" for number in range(3) if chance.random() < 0.5}
        for _ in range(chance.randint(0, 4)):
            group = chance.random() < 0.5
            who = f"CORP\\g{chance.randint(0, 2)}" if group else chance.choice((ME, "CORP\\other"))
            entity = chance.choice([*folders, *self.machines] or folders)
            role = chance.choice((-1, -2, -2, 7, 8, -3, -5))
            self.entries.append(Permission(entity, who, group, role, chance.random() < 0.8, entity))
        if chance.random() < 0.7:
            self.entries.append(ON_ROOT)
        # one entry for one principal on one object
        self.entries = list({(one.entity, one.principal): one for one in self.entries}.values())
        return self

    def reads(self, entity: str) -> bool:
        here: str | None = entity
        while here is not None:
            found = [one for one in self.entries if one.entity == here and (one.propagate or here == entity)]
            own = [one for one in found if one.principal == ME]
            mine = own or [one for one in found if one.group and one.principal in self.groups]
            if mine:
                return any("System.Read" in ROLES[one.role].privileges for one in mine)
            here = self.parents[here] if here in self.parents else self.machines[here]
        return False

    def evidence(self, *, hosts: list[str] | None = None) -> Evidence:
        shown = tuple(vm for vm in self.machines if self.reads(vm))
        seen: Sight = sight("vms", *shown)
        return evidence(seen, read=self.reads("group-d1"), permissions=tuple(self.entries))


def test_nothing_is_called_whole_without_a_doubt_while_a_machine_is_hidden() -> None:
    counted = {"whole": 0, "doubtful": 0, "denied": 0, "hiding": 0}
    for seed in range(1500):
        site = Site(random.Random(seed)).make()
        verdict = prove(site.evidence())
        hidden = [vm for vm in site.machines if not site.reads(vm)]
        counted["hiding"] += bool(hidden)
        if hidden:
            assert verdict.denied or verdict.doubts, (seed, site)
        else:
            counted["whole"] += verdict.proof.complete
        counted["doubtful"] += bool(verdict.doubts)
        counted["denied"] += bool(verdict.denied)
        # what the account's own entries take away is never a mere doubt
        own = [one for one in site.entries if one.principal == ME and "System.Read" not in ROLES[one.role].privileges]
        if own:
            assert not verdict.proof.complete, (seed, site)
    # the seeds are such that each of them is there often enough to mean something
    assert all(number > 150 for number in counted.values()), counted
