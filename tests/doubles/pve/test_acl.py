"""The port of the permission engine: each rule of the reference, and what each way of proving completeness misses."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from tests.doubles.pve.acl import Access, Entry, Pool
from tests.doubles.pve.releases import RELEASES
from tests.doubles.pve.roles import built_in_roles, privileges_of

ROLES = built_in_roles(RELEASES["9.1"]) | {"Blind": frozenset({"Sys.Audit"}), "Eyes": frozenset({"VM.Audit"})}
ME, TOKEN = "me@pve", "me@pve!t"


def access(*entries: tuple[str, str, str, bool], privsep: bool = True, **said: object) -> Access:
    made = [
        Entry(path, "token" if "!" in ugid else "user" if "@" in ugid else "group", ugid, role, propagate)
        for path, ugid, role, propagate in entries
    ]
    whole = {"roles": ROLES, "tokens": {TOKEN: privsep}, "groups": {"g1": {ME}, "g2": {ME}, "others": set()}}
    return Access(entries=tuple(made), **(whole | said))  # type: ignore[arg-type]


def sees(said: Access, vmid: int, who: str = ME) -> bool:
    return said.holds(who, f"/vms/{vmid}", "VM.Audit")


def test_an_entry_below_replaces_what_came_from_above() -> None:
    said = access(("/", ME, "PVEAuditor", True), ("/vms/105", ME, "Blind", True))
    assert sees(said, 100)
    assert not sees(said, 105)
    assert said.holds(ME, "/vms/105", "Sys.Audit")


def test_an_entry_that_does_not_propagate_counts_on_its_own_path_only() -> None:
    said = access(("/vms", ME, "PVEAuditor", False))
    assert said.privileges(ME, "/vms")["VM.Audit"] == 0
    assert said.holds(ME, "/vms", "VM.Audit")
    assert not sees(said, 100)


def test_an_entry_that_does_not_count_hides_nothing_from_above() -> None:
    said = access(("/", ME, "PVEAuditor", True), ("/vms", ME, "Blind", False))
    assert sees(said, 100)
    assert not said.holds(ME, "/vms", "VM.Audit")


def test_a_users_own_entry_wins_over_groups_and_groups_add_up() -> None:
    assert not sees(access(("/vms", ME, "Blind", True), ("/vms", "g1", "PVEAuditor", True)), 100)
    both = access(("/vms", "g1", "Blind", True), ("/vms", "g2", "Eyes", True), ("/vms", "others", "NoAccess", True))
    assert both.holds(ME, "/vms/100", "VM.Audit", "Sys.Audit")


def test_noaccess_beats_every_role_beside_it_and_not_what_is_below() -> None:
    said = access(("/vms", "g1", "PVEAuditor", True), ("/vms", "g2", "NoAccess", True), ("/vms/7", ME, "Eyes", False))
    assert said.roles_on(ME, "/vms/100") == {"NoAccess": True}
    assert not sees(said, 100)
    assert sees(said, 7)


def test_a_pools_roles_reach_its_members_and_never_propagate() -> None:
    said = access(("/pool/dev", ME, "PVEAuditor", True), pools={"dev": Pool(frozenset({100}), frozenset({"ceph"}))})
    assert said.privileges(ME, "/vms/100")["VM.Audit"] == 0
    assert said.holds(ME, "/storage/ceph", "Datastore.Audit")
    assert not sees(said, 101)


def test_noaccess_of_a_pool_beats_the_path_and_noaccess_of_the_path_beats_the_pool() -> None:
    pools = {"dev": Pool(frozenset({100}))}
    assert not sees(access(("/", ME, "PVEAuditor", True), ("/pool/dev", ME, "NoAccess", True), pools=pools), 100)
    assert not sees(access(("/vms/100", ME, "NoAccess", True), ("/pool/dev", ME, "PVEAuditor", True), pools=pools), 100)


def test_a_separated_token_has_what_it_and_its_owner_both_have() -> None:
    said = access(("/", ME, "PVEAuditor", True), ("/vms", TOKEN, "PVEVMUser", True), ("/vms/9", ME, "Blind", True))
    assert set(said.privileges(TOKEN, "/vms/100")) == {"VM.Audit", "VM.GuestAgent.Audit"}
    assert not said.holds(TOKEN, "/nodes", "Sys.Audit")
    assert not sees(said, 9, TOKEN)
    assert said.privileges(TOKEN, "/nodes") == {}


def test_a_tokens_value_is_one_only_where_its_owners_is_too() -> None:
    said = access(("/vms", ME, "PVEAuditor", False), ("/", TOKEN, "PVEAuditor", True))
    assert said.privileges(TOKEN, "/vms")["VM.Audit"] == 0


def test_a_token_without_separation_is_its_owner() -> None:
    said = access(("/", ME, "PVEAuditor", True), ("/", TOKEN, "NoAccess", True), privsep=False)
    assert sees(said, 100, TOKEN)


def test_a_groups_entry_does_not_reach_a_separated_token() -> None:
    assert not sees(access(("/", "g1", "PVEAuditor", True)), 100, TOKEN)


def test_root_may_do_everything_and_its_separated_token_what_it_was_given() -> None:
    said = access(("/vms", "root@pam!t", "Eyes", True), tokens={"root@pam!t": True})
    assert said.privileges("root@pam", "/vms/1") == dict.fromkeys(privileges_of(RELEASES["9.1"]), 1)
    assert said.privileges("root@pam!t", "/vms/1") == {"VM.Audit": 1}


def test_the_dump_drops_a_path_without_rights() -> None:
    said = access(("/", ME, "PVEAuditor", True), ("/vms/105", ME, "NoAccess", True), ("/vms/106", ME, "Eyes", True))
    dump = said.dump(ME)
    assert "/vms/105" not in dump
    assert dump["/vms/106"] == {"VM.Audit": 1}
    assert {"/", "/access", "/nodes", "/vms"} <= set(dump)


def test_the_dump_names_pool_members_and_parents_of_entries() -> None:
    said = access(
        ("/", ME, "PVEAuditor", True), ("/nodes/n1", ME, "Blind", True), pools={"dev": Pool(frozenset({100}))}
    )
    assert {"/vms/100", "/nodes/n1", "/nodes"} <= set(said.dump(ME))


def test_the_cap_of_a_login_throws_all_paths_together() -> None:
    assert access(("/vms/105", ME, "Eyes", True)).cap(ME)["vms"] == {"VM.Audit": 1}
    assert access(("/pool/dev", ME, "Eyes", True)).cap(ME)["vms"] == {"VM.Audit": 1}


@pytest.mark.parametrize(
    ("version", "there", "gone"),
    [("8.4", "VM.Monitor", "VM.GuestAgent.Audit"), ("9.1", "VM.GuestAgent.Audit", "VM.Monitor")],
)
def test_the_monitor_right_became_the_agents(version: str, there: str, gone: str) -> None:
    roles = built_in_roles(RELEASES[version])
    assert there in roles["PVEVMAdmin"]
    assert gone not in roles["Administrator"]
    assert ("VM.GuestAgent.Audit" in roles["PVEAuditor"]) == (version == "9.1")


# -- what each way of proving completeness misses, as in the reference's table ----------------------------------------


@dataclass(frozen=True)
class Case:
    said: Access
    who: str
    vmids: tuple[int, ...]

    def visible(self) -> list[int]:
        return [vmid for vmid in self.vmids if sees(self.said, vmid, self.who)]

    def complete(self) -> bool:
        return len(self.visible()) == len(self.vmids)

    def next_id(self) -> int:
        return next(number for number in range(100, 10_000) if number not in self.vmids)

    def hidden_among(self, numbers: range) -> bool:
        seen = self.visible()
        return any(number in self.vmids and number not in seen for number in numbers)


def random_case(chance: random.Random) -> Case:
    vmids = tuple(sorted(chance.sample(range(100, 130), chance.randint(3, 9))))
    pools = {"p1": Pool(frozenset(chance.sample(vmids, 2))), "p2": Pool()}
    who = chance.choice([ME, TOKEN])
    paths = ["/", "/vms", "/pool", "/pool/p1", *(f"/vms/{vmid}" for vmid in chance.sample(vmids, 2))]
    entries = []
    if chance.random() < 0.85:  # most of the time somebody meant it well
        role = chance.choice(["PVEAuditor", "PVEAdmin", "Eyes"])
        ugid = chance.choice([ME, "g1"])
        entries.append((chance.choice(["/", "/vms"]), ugid, role, chance.random() < 0.9))
        entries.append((chance.choice(["/", "/vms"]), TOKEN, role, chance.random() < 0.9))
    for _ in range(chance.randint(0, 3)):
        role = chance.choice(["NoAccess", "Blind", "PVEAuditor", "PVEVMUser", "PVEDatastoreUser"])
        entries.append((chance.choice(paths), chance.choice([ME, "g1", "g2", TOKEN]), role, chance.random() < 0.7))
    said = access(*entries, privsep=chance.random() < 0.8, pools=pools)
    said = replace(
        said, groups={"g1": {ME}, "g2": {ME} if chance.random() < 0.5 else set()}, _tree={}, _known={}, _pool_roles={}
    )
    return Case(said, who, vmids)


def cap(case: Case) -> bool:
    return "VM.Audit" in case.said.cap(case.who)["vms"]


def present(case: Case) -> bool:
    return "VM.Audit" in case.said.privileges(case.who, "/vms")


def propagates(case: Case) -> bool:
    return case.said.privileges(case.who, "/vms").get("VM.Audit") == 1


def dump_and_unused(case: Case) -> bool:
    dump = case.said.dump(case.who)
    named = all("VM.Audit" in held for path, held in dump.items() if path.startswith("/vms/"))
    return propagates(case) and named and case.said.holds(case.who, "/vms/999999999", "VM.Audit")


def below_next_id(case: Case) -> bool:
    return dump_and_unused(case) and not case.hidden_among(range(100, case.next_id()))


def entries_in_order(case: Case) -> bool:
    mine = {case.who, ME, "g1", "g2"}
    return dump_and_unused(case) and not any(
        entry.ugid in mine and entry.path.startswith(("/vms/", "/pool/")) and "VM.Audit" not in ROLES[entry.role]
        for entry in case.said.entries
    )


def entries_and_inherited_noaccess(case: Case) -> bool:
    """NoAccess on / or /pool reaches the pools, and from a pool it beats what /vms gives its members."""
    mine = {case.who, ME, "g1", "g2"}
    return entries_in_order(case) and not any(
        entry.ugid in mine and entry.path in {"/", "/pool"} and entry.role == "NoAccess" for entry in case.said.entries
    )


def every_id_asked(case: Case) -> bool:
    top = max([*case.visible(), 100])
    return dump_and_unused(case) and not case.hidden_among(range(100, top + 101))


def test_only_two_ways_of_proving_completeness_never_call_a_cut_list_complete() -> None:
    chance = random.Random(2)
    cases = [random_case(chance) for _ in range(600)]
    proofs = (entries_in_order, entries_and_inherited_noaccess, every_id_asked)
    rules = (cap, present, propagates, dump_and_unused, below_next_id, *proofs)
    wrong = {rule.__name__: sum(rule(case) and not case.complete() for case in cases) for rule in rules}
    right = {rule.__name__: sum(rule(case) and case.complete() for case in cases) for rule in rules}
    assert wrong["cap"] > wrong["present"] > wrong["propagates"] > wrong["dump_and_unused"] > wrong["below_next_id"] > 0
    assert wrong["present"] > 30, wrong
    assert wrong["entries_and_inherited_noaccess"] == 0
    assert wrong["every_id_asked"] == 0
    assert all(count > 60 for count in right.values()), right
    assert right["entries_in_order"] < right["every_id_asked"] == right["dump_and_unused"]
    # looking at /vms/* and /pool/* alone misses a NoAccess that a pool inherits
    assert 0 < wrong["entries_in_order"] < wrong["below_next_id"]


def test_noaccess_above_the_pools_hides_members_although_vms_is_granted() -> None:
    pools = {"dev": Pool(frozenset({100}))}
    said = access(("/vms", ME, "PVEAuditor", True), ("/", "g1", "NoAccess", True), pools=pools)
    assert said.privileges(ME, "/vms")["VM.Audit"] == 1
    assert sees(said, 101)
    assert not sees(said, 100)
    assert "/vms/100" not in said.dump(ME)
