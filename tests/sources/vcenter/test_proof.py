"""The proof that a reading is whole: it is never wrong about "whole", and says in words what stands against it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from asset_ledger.sources.vcenter.permissions import GRANT, doubtful
from asset_ledger.sources.vcenter.proof import Verdict, prove
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


def on(
    entity: str,
    principal: str = ME,
    role: int = -5,
    *,
    group: bool = False,
    propagate: bool = True,
    kind: str = "Folder",
) -> Permission:
    return Permission(entity, principal, group, role, propagate, f"the %2f {entity}", kind)


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


def test_whether_the_right_holds_settles_an_entry_that_may_be_the_accounts() -> None:
    entry = on("group-v3", "CORP\\Contractors", -5, group=True)
    entries = (ON_ROOT, entry)
    assert doubtful(evidence(permissions=entries)) == ("group-v3",)
    assert whole(evidence(permissions=entries, held={"group-v3": True})).doubts == ()
    assert "the / group-v3 (group-v3)" in denied(evidence(permissions=entries, held={"group-v3": False}))
    for not_told in (None, {}, {"group-v4": True}):
        assert len(whole(evidence(permissions=entries, held=not_told)).doubts) == 1


def test_a_right_that_another_entry_may_grant_there_alone_says_nothing_of_what_is_below() -> None:
    hiding = on("group-v3", "CORP\\Contractors", -5, group=True)
    for granting in (
        on("group-v3", "CORP\\Readers", -2, group=True, propagate=False),
        on("group-v3", ME, -2, propagate=False),
    ):
        told = evidence(permissions=(ON_ROOT, hiding, granting), held={"group-v3": True})
        assert len(whole(told).doubts) == 1
        below = replace(hiding, propagate=False)
        assert whole(replace(told, permissions=(ON_ROOT, below, granting))).doubts == ()
        assert whole(replace(told, permissions=(ON_ROOT, hiding, replace(granting, propagate=True)))).doubts == ()


def test_an_own_entry_of_a_role_that_cannot_be_read_is_settled_by_asking() -> None:
    entries = (ON_ROOT, on("group-v3", ME, 99))
    assert doubtful(evidence(permissions=entries)) == ("group-v3",)
    assert whole(evidence(permissions=entries, held={"group-v3": True})).doubts == ()
    denied(evidence(permissions=entries, held={"group-v3": False}))


@pytest.mark.parametrize("kind", ["Network", "DistributedVirtualPortgroup", "VmwareDistributedVirtualSwitch"])
def test_an_entry_on_what_no_scope_reads_hides_nothing(kind: str) -> None:
    for entry in (
        on("net-1", kind=kind),
        on("net-1", "CORP\\x", group=True, kind=kind),
        on("net-1", role=99, kind=kind),
    ):
        told = evidence(permissions=(ON_ROOT, entry))
        assert whole(told).doubts == ()
        assert doubtful(told) == ()


def test_an_entry_on_a_datastore_hides_something_where_datastores_are_read() -> None:
    entry = on("datastore-1", kind="Datastore")
    whole(evidence(permissions=(ON_ROOT, entry)))
    sights = (sight("hosts", "host-1"), sight("clusters"))
    assert "datastore-1" in denied(evidence(*sights, scope="hosts", permissions=(ON_ROOT, entry)))


def test_an_entry_on_an_object_of_an_unknown_type_is_a_doubt() -> None:
    assert whole(evidence(permissions=(ON_ROOT, on("new-1", kind="NewThing")))).doubts
    assert denied(evidence(permissions=(ON_ROOT, on("new-1", kind=""))))


# -- what the ledger knows -------------------------------------------------------------------------------------------


def asked(*moids: str, **changed: Any) -> Evidence:
    return evidence(sight("vms", "vm-1", asked=moids, **changed))


def test_what_does_not_exist_any_more_is_gone_and_the_reading_whole() -> None:
    counts = whole(asked("vm-8", "vm-9", gone=("vm-9", "vm-8"))).proof.counts
    assert counts["objects"]["vms"]["known_and_not_received"] == {"asked_by_id": 2, "gone": 2}


def test_what_the_ledger_knows_and_the_account_may_not_see_is_a_lack_of_rights() -> None:
    words = denied(asked("vm-7", "vm-8", "vm-9", gone=("vm-9",), denied=("vm-8", "vm-7")))
    assert "2 of the vms that the ledger knows are hidden from the account: vm-7, vm-8;" in words
    assert GRANT in words


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "1 of the vms that the ledger knows were not received, and are not known to be gone (no answer): vm-9"),
        ({"vm-9": "it is there"}, "(it is there): vm-9"),
        ({"vm-9": "SystemError"}, "(SystemError): vm-9"),
    ],
)
def test_what_is_neither_gone_nor_denied_proves_nothing(said: dict[str, str], words: str) -> None:
    assert words in incomplete(asked("vm-8", "vm-9", gone=("vm-8",), unclear=said))


def test_a_reading_that_asked_for_nothing_is_not_whole_and_one_that_had_nothing_to_ask_for_is() -> None:
    assert "nobody asked" in incomplete(evidence(sight("vms", "vm-1", asked=None)))
    whole(asked())


def test_what_stands_in_the_view_all_the_time_is_told_of_once() -> None:
    told = asked("vm-1", received=(), unclear={"vm-1": "it is there"})
    assert "were not received: vm-1" in incomplete(told)
    assert "that the ledger knows" not in incomplete(told)


# -- what others name ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["hosts", "vms", "all"])
def test_machines_on_hosts_that_are_not_shown_speak_against_any_scope(scope: str) -> None:
    sights = tuple(sight(part, f"{part}-1") for part in ("hosts", "clusters", "vms") if scope in ("all", part, "hosts"))
    whole(evidence(*sights, scope=scope, runs_on={"host-1": 40, "host-2": 0}, hosts=("host-2", "host-1")))
    words = incomplete(evidence(*sights, scope=scope, runs_on={"host-1": 40, "host-8": 1, "host-9": 2}))
    assert "3 virtual machines run on hosts that are not shown: host-8, host-9;" in words
    assert "on hosts and clusters" in words
    for unread in ({"runs_on": None}, {"hosts": None}):
        assert "were not read" in incomplete(evidence(*sights, scope=scope, **unread))
    assert GRANT in denied(evidence(*sights, scope=scope, runs_on=None, runs_on_fault="NoPermission on vm-1"))


def test_a_folder_that_objects_stand_in_and_nobody_is_shown_is_a_doubt() -> None:
    [doubt] = whole(evidence(unplaced={"group-v9": 2, "resgroup-3": 1})).doubts
    assert doubt.startswith("3 objects stand in folders or pools that were not shown: group-v9, resgroup-3")


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

    def evidence(self, *, known: bool = False, held: bool = False, listed: bool = True) -> Evidence:
        """Return what a reading sees. `known`: the ledger has had every machine; `listed`: every entry is told of."""
        shown = tuple(vm for vm in self.machines if self.reads(vm))
        hidden = tuple(set(self.machines) - set(shown)) if known else ()
        seen: Sight = sight("vms", *shown, asked=hidden, denied=hidden)
        entries = tuple(one for one in self.entries if listed or self.reads(one.entity))
        told = evidence(seen, read=self.reads("group-d1"), permissions=entries)
        return replace(told, held={moid: self.reads(moid) for moid in doubtful(told)}) if held else told


def test_nothing_that_the_ledger_knows_is_missing_while_it_is_hidden_whatever_entries_are_told_of() -> None:
    counted = {"whole": 0, "hiding": 0}
    for seed in range(1500):
        chance = random.Random(seed)
        site = Site(chance).make()
        verdict = prove(site.evidence(known=True, held=chance.random() < 0.5, listed=chance.random() < 0.5))
        hiding = any(not site.reads(vm) for vm in site.machines)
        assert not (hiding and verdict.proof.complete), (seed, site)
        counted["hiding"] += hiding
        counted["whole"] += verdict.proof.complete
    assert all(number > 150 for number in counted.values()), counted


def test_nothing_is_called_whole_without_a_doubt_while_a_machine_is_hidden() -> None:
    counted = {"whole": 0, "doubtful": 0, "denied": 0, "hiding": 0}
    for seed in range(1500):
        site = Site(random.Random(seed)).make()
        verdict = prove(site.evidence(held=seed % 2 == 0))
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
