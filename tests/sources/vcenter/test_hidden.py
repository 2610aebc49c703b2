"""What an account may not see: it is never taken for gone, and whatever else tells of it is heard."""

from __future__ import annotations

from typing import Any

import pytest

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, IncompleteError
from asset_ledger.domain.inventory import Caution
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.vcenter import errors
from asset_ledger.sources.vcenter.proof import prove
from tests.doubles.vcenter import FolderSpec, HostSpec, Permission, PoolSpec, VcenterDouble, VcSim, VmSpec
from tests.sources.live import complete
from tests.sources.vcenter.live import Reading, collector, read, world

READ = "RetrievePropertiesEx"
SCOPES = ["hosts", "vms", "all"]
HIDDEN = {"hosts": ("host-3", "domain-c1"), "vms": ("vm-1", "vm-4"), "all": ("vm-1", "vm-4")}
ROOT = Permission(("Folder", "group-d1"), "VSPHERE.LOCAL\\ledger", -2)
GROUP = "VSPHERE.LOCAL\\contractors"


def refused(found: Reading, code: object) -> str:
    """Return the words of a reading that is not whole, and says so in its last record too."""
    assert isinstance(found.error, IncompleteError), found.error
    assert found.error.code is code, found.error
    assert found.targets[-1] == "vcenter"
    assert not found.proof.complete
    return found.error.message


def asked_by_id(vc: VcenterDouble) -> int:
    """Return how many times names alone were asked for, which only questions for single objects do."""
    return sum(request.paths == ("name",) for request in vc.requests.all(READ))


# -- what the ledger knows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", SCOPES)
def test_what_is_hidden_and_known_ends_the_reading_though_its_entry_is_told_to_nobody(
    vc: VcenterDouble, scope: str
) -> None:
    known = complete(read(vc)).known
    hidden = HIDDEN[scope]
    vc.permissions = [ROOT, *(Permission(("VirtualMachine", moid), ROOT.principal, -5) for moid in hidden)]
    vc.hide(*hidden)
    if scope == "hosts":  # that machines run there would be told otherwise
        for number in (2, 5):
            vc.hide(f"vm-{number}")
    found = read(vc, scope, known=known)
    words = refused(found, errors.PERMISSION_DENIED)
    assert found.evidence.permissions is not None
    assert len(found.evidence.permissions) == 1
    for moid in hidden:
        assert moid in words
    health = collector(vc).healthcheck(ReadOrder(scope=scope, known=known))
    assert any(hidden[0] in problem and "Read-only" in problem for problem in health.problems), health.problems
    vc.forget()
    complete(read(vc, scope, known=known))


@pytest.mark.parametrize("scope", SCOPES)
def test_what_was_removed_is_gone_by_the_servers_own_word(vc: VcenterDouble, scope: str) -> None:
    known = complete(read(vc)).known
    vc.show(hosts=[HostSpec("host-1", "esx1.example.com")], vms=[VmSpec("vm-1", "app1", "host-1")])
    found = complete(read(vc, scope, known=known))
    gone = {moid for seen in found.evidence.sights for moid in seen.gone}
    expected = {"hosts": {"host-2", "host-3", "domain-c1"}, "vms": {f"vm-{n}" for n in (0, 2, 3, 4, 5, 6)}}
    assert gone == expected.get(scope, expected["hosts"] | expected["vms"])
    assert collector(vc).healthcheck(ReadOrder(scope=scope, known=known)).ok


def test_a_server_that_leaves_out_what_is_gone_is_asked_for_each(vcsim: VcSim) -> None:
    with VcenterDouble(vcsim, release=None) as vc:
        first = complete(read(vc, "vms"))
        instance = first.evidence.about["instanceUuid"]
        known = first.known | {("vm", f"vm-9000{number}@{instance}") for number in range(3)}
        found = complete(read(vc, "vms", known=known))
        assert set(found.evidence.sights[0].gone) == {"vm-90000", "vm-90001", "vm-90002"}
        assert [request.name for request in vc.requests].count("Fetch") >= 3


def test_a_server_that_says_nothing_of_an_object_does_not_say_that_it_is_gone(vc: VcenterDouble) -> None:
    known = complete(read(vc, "vms")).known
    vc.hide("vm-3")
    vc.silent_about = {"vm-3"}
    found = read(vc, "vms", known=known)
    assert "(no answer): vm-3" in refused(found, INVENTORY_INCOMPLETE)
    assert found.evidence.sights[0].unclear == {"vm-3": "no answer"}


def test_an_object_that_is_there_when_asked_for_and_was_not_received_proves_nothing(vc: VcenterDouble) -> None:
    known = complete(read(vc, "vms")).known
    vc.hide("vm-3")
    vc.on(READ, lambda double: double.unhide("vm-3"), kinds=frozenset({"HostSystem"}))
    assert "vm-3" in refused(read(vc, "vms", known=known), INVENTORY_INCOMPLETE)


@pytest.mark.parametrize("fault", ["NoPermission", "ManagedObjectNotFound", "InvalidArgument"])
def test_a_question_for_many_that_one_of_them_fails_is_asked_for_each(vc: VcenterDouble, fault: str) -> None:
    known = complete(read(vc, "vms")).known
    vc.delete("vm-2", "vm-5")
    vc.hide("vm-3")
    vc.faults.add(READ, "soap", fault=fault, kinds=frozenset({"VirtualMachine"}), after=1)
    found = read(vc, "vms", known=known)
    [seen] = found.evidence.sights
    assert (set(seen.gone), set(seen.denied)) == ({"vm-2", "vm-5"}, {"vm-3"})
    assert "vm-3" in refused(found, errors.PERMISSION_DENIED)


def test_a_session_that_ends_while_single_objects_are_asked_for_proves_none_of_them_gone(vc: VcenterDouble) -> None:
    known = complete(read(vc, "vms")).known
    vc.delete("vm-2")
    for kind in ("expire", "end_silently"):
        fault = vc.faults.add(READ, kind, kinds=frozenset({"VirtualMachine"}), after=1)
        found = read(vc, "vms", known=known)
        assert found.error is not None
        assert found.error.code is errors.SESSION_EXPIRED, (kind, fault)


def test_of_another_vcenter_nothing_is_asked_for_nor_of_another_kind(vc: VcenterDouble) -> None:
    strangers = {("vm", "vm-77"), ("vm", "vm-78@another"), ("host", "host-77@another"), ("rack", "vm-79")}
    found = complete(read(vc, known=frozenset(strangers)))
    assert all(seen.asked == () for seen in found.evidence.sights)
    assert asked_by_id(vc) == 0


def test_a_host_of_its_own_is_asked_for_its_machines_by_their_ids_alone() -> None:
    with VcenterDouble(esxi=True) as vc:
        vms = [VmSpec(str(number), f"app{number}", "ha-host") for number in range(3)]
        vc.show(hosts=[HostSpec("ha-host", "esx9.example.com")], vms=vms)
        known = complete(read(vc, scope_of_source="standalone")).known
        vc.show(hosts=[HostSpec("ha-host", "esx9.example.com")], vms=vms[:1])
        found = complete(read(vc, known=known, scope_of_source="standalone"))
        assert {moid for seen in found.evidence.sights for moid in seen.gone} == {"1", "2"}


def test_what_many_of_are_gone_is_asked_for_in_few_questions(vc: VcenterDouble) -> None:
    instance = complete(read(vc, "vms")).evidence.about["instanceUuid"]
    known = frozenset(("vm", f"vm-{number}@{instance}") for number in range(1203))
    before = asked_by_id(vc)
    complete(read(vc, "vms", known=known))
    assert asked_by_id(vc) - before == 3
    assert vc.requests.count("Fetch") < 20


def test_where_nothing_is_answered_for_very_many_they_are_not_all_asked_for_singly(vc: VcenterDouble) -> None:
    instance = complete(read(vc, "vms")).evidence.about["instanceUuid"]
    known = frozenset(("vm", f"vm-{number}@{instance}") for number in range(1000, 1400))
    vc.silent_about = {f"vm-{number}" for number in range(1000, 1400)}
    before = vc.requests.count("Fetch")
    assert "not known to be gone" in refused(read(vc, "vms", known=known), INVENTORY_INCOMPLETE)
    assert vc.requests.count("Fetch") - before < 150


# -- what others name ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", SCOPES)
def test_a_host_that_machines_name_and_nothing_shows_is_missed_in_every_scope(vc: VcenterDouble, scope: str) -> None:
    vc.hide("host-3")
    words = refused(read(vc, scope), INVENTORY_INCOMPLETE)
    assert "2 virtual machines run on hosts that are not shown: host-3" in words
    health = collector(vc).healthcheck(ReadOrder(scope=scope))
    assert any("host-3" in problem for problem in health.problems)


def test_a_machine_that_moves_to_a_host_that_came_meanwhile_keeps_nothing_from_being_whole(vc: VcenterDouble) -> None:
    vc.hide("host-3")
    vc.on(READ, lambda double: double.unhide("host-3"), kinds=frozenset({"VirtualMachine"}))
    complete(read(vc, "vms"))


def test_hosts_of_machines_that_may_not_be_read_are_a_lack_of_rights(vc: VcenterDouble) -> None:
    vc.deny("vm-2", "runtime.host")
    assert "NoPermission on vm-2" in refused(read(vc, "hosts"), errors.PERMISSION_DENIED)


@pytest.mark.parametrize("path", ["parent", "resourcePool", "parentVApp"])
def test_a_place_that_is_named_and_not_shown_is_a_doubt(vc: VcenterDouble, path: str) -> None:
    vc.show(
        folders=[FolderSpec("group-v9", "secret")],
        hosts=[HostSpec("host-1", "esx1")],
        pools=[PoolSpec("resgroup-9", "gold", "domain-s1"), PoolSpec("resgroup-v9", "shop", "domain-s1", vapp=True)],
        vms=[
            VmSpec("vm-1", "one", "host-1", folder="group-v9", pool="resgroup-9"),
            VmSpec("vm-2", "two", "host-1", vapp="resgroup-v9"),
        ],
    )
    assert complete(read(vc, "vms")).cautions == []
    hidden = {"parent": "group-v9", "resourcePool": "resgroup-9", "parentVApp": "resgroup-v9"}[path]
    vc.hide(hidden)
    found = complete(read(vc, "vms"))
    assert ("VCENTER_RIGHTS_UNCLEAR", None) in found.cautions
    assert hidden in prove(found.evidence).doubts[0]
    assert hidden in collector(vc).healthcheck(ReadOrder(scope="vms")).checks["rights"]


# -- entries that may be the account's -------------------------------------------------------------------------------


@pytest.fixture
def grouped(vc: VcenterDouble) -> VcenterDouble:
    """A vCenter with an entry of a group that has no access to two objects."""
    vc.permissions = [
        ROOT,
        Permission(("ClusterComputeResource", "domain-c1"), GROUP, -5, group=True),
        Permission(("HostSystem", "host-3"), GROUP, -5, group=True),
    ]
    return vc


def test_an_entry_of_a_group_is_no_doubt_where_the_right_holds_and_one_question_asks_for_all(
    grouped: VcenterDouble,
) -> None:
    found = complete(read(grouped, "vms"))
    assert found.evidence.held == {"domain-c1": True, "host-3": True}
    assert found.cautions == []
    assert grouped.requests.count("HasPrivilegeOnEntities") == 2


def test_an_entry_of_a_group_that_takes_the_right_away_ends_the_reading(grouped: VcenterDouble) -> None:
    grouped.refused_on = {"host-3"}
    words = refused(read(grouped, "vms"), errors.PERMISSION_DENIED)
    assert "host-3" in words
    assert GROUP in words
    assert "domain-c1" not in words
    assert grouped.requests.count("CreateContainerView") == 0
    assert "host-3" in collector(grouped).detect(ReadOrder()).advice


def test_where_the_right_on_an_object_may_not_be_asked_for_the_doubt_stays(grouped: VcenterDouble) -> None:
    grouped.faults.add("HasPrivilegeOnEntities", "soap", fault="ManagedObjectNotFound", after=1)
    found = complete(read(grouped, "vms"))
    assert found.evidence.held is None
    assert found.evidence.held_fault == "ManagedObjectNotFound"
    assert len(prove(found.evidence).doubts) == 2


def test_an_own_entry_on_a_network_keeps_nothing_from_being_read(vc: VcenterDouble) -> None:
    vc.permissions = [ROOT, Permission(("Network", "network-7"), ROOT.principal, -5)]
    assert complete(read(vc)).cautions == []


def test_a_server_without_a_manager_of_rights_proves_nothing(vc: VcenterDouble) -> None:
    vc.without_managers = {"authorizationManager"}
    assert "no AuthorizationManager" in refused(read(vc), INVENTORY_INCOMPLETE)
    for name in ("viewManager", "propertyCollector", "rootFolder"):
        vc.without_managers = {name}
        with pytest.raises(Exception, match="says nothing of itself") as caught:
            list(collector(vc).collect(ReadOrder()))
        assert getattr(caught.value, "code", None) is errors.PARSE_ERROR


# -- what is kept of it ----------------------------------------------------------------------------------------------

SECRET = "glpat-canary5e0f1c99ab"


def test_names_that_look_like_secrets_are_kept_nowhere_in_the_evidence(vc: VcenterDouble) -> None:
    vc.show(
        folders=[FolderSpec("group-v9", SECRET)],
        hosts=[HostSpec("host-1", "esx1")],
        vms=[VmSpec("vm-1", "one", "host-1", folder="group-v9")],
    )
    vc.permissions = [
        ROOT,
        Permission(("Folder", "group-v9"), SECRET, -5, group=True),
        Permission(("Folder", "group-v9"), GROUP, 77, group=True),
    ]
    backend: Any = vc._backend
    backend.roles.append((77, SECRET, SECRET, ()))
    vc.faults.add("HasPrivilegeOnEntities", "soap", fault="NoPermission", after=1, times=None)
    found = complete(read(vc, "vms"))
    doubts = prove(found.evidence).doubts
    assert len(doubts) == 2
    assert SECRET not in repr(doubts)
    assert SECRET.encode() not in found.bytes
    assert SECRET not in repr(found.items)
    vc.faults.clear()
    vc.refused_on = {"group-v9"}
    refusal = read(vc, "vms")
    assert SECRET not in repr(refusal.error)
    assert SECRET.encode() not in refusal.bytes


# -- a host that a vCenter manages -----------------------------------------------------------------------------------


def test_a_host_of_its_own_that_a_vcenter_manages_warns_with_every_reading() -> None:
    with VcenterDouble(esxi=True) as vc:
        for manager in ("10.9.255.1", None):
            vc.show(
                hosts=[HostSpec("ha-host", "esx9.example.com", manager=manager)], vms=[VmSpec("1", "alone", "ha-host")]
            )
            asking = collector(vc, scope="standalone")
            found = complete(read(vc, scope_of_source="standalone"))
            told = [item.message for item in found.items if isinstance(item, Caution)]
            health, detected = asking.healthcheck(ReadOrder()), asking.detect(ReadOrder())
            assert health.ok
            if manager:
                assert told == ["the vCenter at 10.9.255.1 manages this host"]
                assert ("VCENTER_HOST_MANAGED", None) in found.cautions
                assert "10.9.255.1" in health.checks["managed_by"]
                assert "10.9.255.1" in detected.advice
            else:
                assert told == []
                assert "managed_by" not in health.checks
                assert detected.advice == ""


def test_hosts_that_a_vcenter_shows_are_managed_and_nobody_is_warned() -> None:
    with VcenterDouble() as vc:
        world(vc)
        vc.show(hosts=[HostSpec("host-1", "esx1", manager="10.9.255.1")])
        assert complete(read(vc)).cautions == []
