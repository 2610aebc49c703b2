"""Whole readings against the double: what is in them, when they count as whole, and what happens meanwhile."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, IncompleteError, PermanentError
from asset_ledger.sources.hyperv import errors
from asset_ledger.sources.hyperv import script as sent
from asset_ledger.sources.platform import ReadOrder
from tests.doubles.hyperv import (
    GIB,
    PASSWORD,
    USER,
    ClusterSpec,
    DiskSpec,
    GuestSpec,
    HostSpec,
    HypervDouble,
    NicSpec,
    VmSpec,
    swapped,
)
from tests.doubles.hyperv.specs import FAILED_OVER_WAITING, OFF, PAUSED, PRIMARY, REPLICA, SAVED
from tests.patience import FOREVER_S, soon
from tests.sources.hyperv.conftest import Named
from tests.sources.hyperv.live import Reading, cluster, collector, read, standalone, vm
from tests.sources.live import complete

RELEASES = ["2012", "2012r2", "2016", "2019", "2022", "2025"]


def asked(hyperv: HypervDouble) -> list[tuple[str, str]]:
    return [(run.host, run.ask) for run in hyperv.runs]


def refused(found: Reading, *words: str) -> str:
    assert isinstance(found.error, IncompleteError), found.error
    assert not found.proof.complete
    for word in words:
        assert word in found.error.message, found.error.message
    assert found.targets[0] == "survey"
    return found.error.message


# -- what is read ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
def test_a_host_that_is_in_no_cluster_is_read_by_one_run_of_the_script(release: str) -> None:
    with standalone(release=release) as hyperv:
        found = complete(read(hyperv, scope="standalone"))
        assert found.targets == ["hv9", "survey"]
        assert list(found.kind("host")) == ["hv9"]
        assert found.kind("host")["hv9"]["relations"] == []
        assert found.kind("cluster") == {}
        assert found.names == ["vm-1", "vm-2", "vm-3"]
        assert {found.on(name) for name in found.names} == {"hv9"}
        assert asked(hyperv) == [("HV9", "whole")]
        assert hyperv.shells() == []
        assert found.cautions == []


@pytest.mark.parametrize(("authentication", "user"), [("ntlm", USER), ("ntlm", "ledger"), ("basic", "ledger")])
def test_a_cluster_is_every_node_and_what_they_have(authentication: str, user: str) -> None:
    with cluster(accounts={user: PASSWORD}) as hyperv:
        found = complete(read(hyperv, scope="cluster", authentication=authentication, user=user))
        assert sorted(found.targets[:-1]) == ["hv1", "hv2", "hv3"]
        assert list(found.kind("cluster")) == ["hvc"]
        member = [{"kind": "member_of", "external_kind": "cluster", "external_id": "hvc"}]
        assert all(document["relations"] == member for document in found.kind("host").values())
        assert [found.on(name) for name in found.names] == ["hv1", "hv2", "hv3", "hv1", "hv2", "hv3"]
        assert sum(ask == "whole" for _, ask in asked(hyperv)) == 1, "one node tells the cluster's lists"
        assert asked(hyperv)[0] == ("HV1", "whole")
        assert asked(hyperv)[-1][1] == "lists", "they are read again behind everything else"
        assert hyperv.shells() == []


def test_over_http_every_message_is_sealed_and_every_reading_warns() -> None:
    with cluster(2, tls=False) as hyperv:
        found = complete(read(hyperv, https=False))
        assert found.names == [f"vm-{n}" for n in range(1, 7)]
        assert found.survey["cautions"][0]["code"] == errors.TLS_UNVERIFIED.code
        assert all(request.sealed for request in hyperv.wsman.requests.all("Command"))


def test_the_other_nodes_are_found_by_the_names_that_the_cluster_has_for_them(named: Named) -> None:
    with cluster() as hyperv:
        named(hyperv)
        found = complete(read(hyperv, "HV2"))
        assert sorted(found.kind("host")) == ["hv1", "hv2", "hv3"]
        assert found.records[0].document["address"] == hyperv.hosts["HV2"].address
        assert {raw.document["address"] for raw in found.records[1:-1]} == {"hv1.example.test", "hv3.example.test"}
        assert collector(hyperv, "HV2").healthcheck(ReadOrder()).ok


def test_dns_suffix_stands_behind_the_names_of_nodes(named: Named) -> None:
    with cluster(2) as hyperv:
        named(hyperv)
        for host in hyperv.hosts.values():
            host.domain = "elsewhere.invalid"
        found = read(hyperv, "HV1")
        refused(found, "hv2.elsewhere.invalid")
        assert found.error is not None
        assert found.error.code is errors.DNS, "its advice names dns_suffix"
        complete(read(hyperv, "HV1", dns_suffix="example.test"))


def test_a_certificate_may_show_the_name_that_the_cluster_has_for_the_node(named: Named) -> None:
    with cluster(2) as hyperv:
        for host in hyperv.hosts.values():
            host.domain = "corp.test"  # which no certificate of the double shows
        named(hyperv)
        complete(read(hyperv, "HV1"))


def test_a_machine_is_described_as_it_is() -> None:
    machines = [
        vm(1, cpus=8, memory=16 * GIB, dynamic=True, assigned=3 * GIB, maximum=32 * GIB, guest=GuestSpec("网站.lab", "Windows Server 2022", "10.0.20348")),
        vm(2, name="财务系统", state=OFF, generation=1),
        vm(3, state=SAVED),
        vm(4, state=PAUSED, guest=None),
        vm(5, nics=(NicSpec("000000000000"),), state=OFF),
        vm(6, disks=(DiskSpec(10 * GIB), DiskSpec(20 * GIB, kind=4, path="D:\\a_0A1B.avhdx"))),
        vm(7, disks=(DiskSpec(10 * GIB), DiskSpec(passthrough=True))),
        vm(8, disks=(DiskSpec(error="VHD is in use on another node", path="\\\\files\\x.vhdx"),)),
        vm(9, disks=(DiskSpec(10 * GIB), DiskSpec(5 * GIB, path="C:\\shared.vhds", shared=True))),
        vm(10, guest=None),
    ]  # fmt: skip
    with HypervDouble(HostSpec("HV9", vms=machines)) as hyperv:
        found = complete(read(hyperv))
    told = {document["identity"]["hostname"]: document for document in found.kind("vm").values()}
    assert len(told) == 10
    first = told["vm-1"]
    assert first["hardware"] | {"cpu_count": 8, "memory_bytes": 16 * GIB} == first["hardware"]
    assert first["custom_fields"]["guest_hostname"] == "网站.lab"
    assert first["os"]["version"] == "10.0.20348"
    assert told["财务系统"]["runtime"]["power_state"] == "stopped"
    assert [told[name]["runtime"]["power_state"] for name in ("vm-3", "vm-4")] == ["suspended", "paused"]
    assert "network.ip_addresses" in told["财务系统"]["unknown"]
    assert "mac_addresses" not in told["vm-5"].get("network", {}) or told["vm-5"]["network"]["mac_addresses"] == []
    assert told["vm-6"]["hardware"]["disk_total_bytes"] == 30 * GIB
    for name in ("vm-7", "vm-8"):
        assert "disk_total_bytes" not in told[name]["hardware"], "no partial sum"
        assert told[name]["unknown"]["hardware.disk_total_bytes"].startswith(errors.DISK_UNKNOWN.code)
    silent = told["vm-10"]["unknown"]["network.ip_addresses"]
    assert silent.startswith(errors.INTEGRATION_SERVICES_UNAVAILABLE.code)
    assert errors.DISK_UNKNOWN.code in {code for code, _ in found.cautions}


def test_many_machines_with_names_in_chinese_come_whole_in_pieces() -> None:
    with standalone(0) as hyperv:
        hyperv.hosts["HV9"].vms = [vm(n, name=f"业务系统-{n:03}-数据库") for n in range(1, 341)]
        hyperv.chunk = 7_001
        found = complete(read(hyperv))
        assert found.names == [f"业务系统-{n:03}-数据库" for n in range(1, 341)]
        assert len(hyperv.wsman.requests.all("Receive")) > 30


@pytest.mark.parametrize("machines", [0, 1])
def test_lists_of_one_and_of_none_are_lists_however_powershell_unwraps_them(machines: int) -> None:
    with cluster(1, machines) as hyperv:
        hyperv.unwrapped = True
        found = complete(read(hyperv))
        assert found.names == [f"vm-{n}" for n in range(1, machines + 1)]
        assert found.kind("host")["hv1"]["identity"]["mgmt_ip"]


def test_a_replica_is_no_machine_and_its_primary_is() -> None:
    with cluster(2, 2) as hyperv:
        original = hyperv.vm("vm-1")
        hyperv.hosts["HV2"].vms.append(
            VmSpec("vm-1", id=original.vm_id, state=OFF, replication=REPLICA, nics=original.nics)
        )
        found = complete(read(hyperv))
        assert found.names == ["vm-1", "vm-2"]
        assert found.on("vm-1") == "hv1"
        assert found.proof.counts["replicas"] == 1 or found.proof.counts["hosts"]["hv2"]["replicas"] == 1


@pytest.mark.parametrize(
    ("state", "name", "power"), [(32783, "RunningCritical", "running"), (32783, "Hibernated", "suspended")]
)
def test_a_state_is_known_by_its_name_whatever_its_number_means_in_this_release(
    state: int, name: str, power: str
) -> None:
    with standalone(1) as hyperv:
        hyperv.change("vm-1", state=state, state_name=name)
        [document] = complete(read(hyperv)).kind("vm").values()
        assert document["runtime"]["power_state"] == power


def test_a_replica_that_was_failed_over_and_runs_is_a_machine_and_is_named() -> None:
    with cluster(2, 2) as hyperv:
        hyperv.change("vm-1", replication=REPLICA, replication_state=FAILED_OVER_WAITING)
        found = complete(read(hyperv))
        assert found.names == ["vm-1", "vm-2"]
        [caution] = [each for each in found.items if getattr(each, "code", None) is errors.FAILED_OVER]
        assert "vm-1" in caution.message  # type: ignore[union-attr]
        assert "hv1" in caution.message  # type: ignore[union-attr]


def test_of_a_machine_that_is_off_and_its_replica_that_was_failed_over_one_asset_is_told() -> None:
    with cluster(2, 2) as hyperv:
        away = replace(hyperv.vm("vm-1"), replication=REPLICA, replication_state=FAILED_OVER_WAITING, clustered=False)
        hyperv.change("vm-1", state=OFF, replication=PRIMARY)
        hyperv.hosts["HV2"].vms.append(away)
        found = complete(read(hyperv))
        assert found.names == ["vm-1", "vm-2"]
        assert found.on("vm-1") == "hv2"
        assert [code for code, _ in found.cautions] == [errors.FAILED_OVER.code], "and no duplicate id"


def test_the_serial_number_is_the_one_that_the_guest_shows() -> None:
    with standalone(1) as hyperv:
        [document] = complete(read(hyperv)).kind("vm").values()
        assert {"kind": "serial", "value": hyperv.vm("vm-1").bios_serial} in document["identifiers"]


@pytest.mark.parametrize("generation", [1, 2])
def test_the_bios_guid_is_kept_as_it_is_told(generation: int) -> None:
    with standalone(0) as hyperv:
        hyperv.hosts["HV9"].vms = [vm(1, generation=generation)]
        [document] = complete(read(hyperv)).kind("vm").values()
        values = {one["value"] for one in document["identifiers"] if one["kind"] == "smbios_uuid"}
        bios = hyperv.vm("vm-1").bios
        assert values & {bios, swapped(bios)}
        assert {"kind": "hyperv_guid", "value": hyperv.vm("vm-1").vm_id} in document["identifiers"]


# -- motion ---------------------------------------------------------------------------------------------------------


def test_a_machine_that_moves_ahead_of_the_reading_is_seen_once() -> None:
    with cluster(2) as hyperv:
        hyperv.after("HV1", lambda: hyperv.move("vm-1", "HV2"))
        found = complete(read(hyperv))
        assert found.names == [f"vm-{n}" for n in range(1, 7)]
        assert found.on("vm-1") == "hv2"


def test_a_machine_that_moves_behind_the_reading_is_found_by_the_second_look() -> None:
    with cluster(2) as hyperv:
        hyperv.after("HV1", lambda: hyperv.move("vm-2", "HV1"))  # HV1 is read, HV2 has it no more
        found = complete(read(hyperv))
        assert found.names == [f"vm-{n}" for n in range(1, 7)]
        assert found.on("vm-2") == "hv1"
        assert asked(hyperv).count(("HV1", "own")) == 1


def test_a_machine_that_is_in_no_role_of_the_cluster_and_moves_is_found_too() -> None:
    with cluster(2) as hyperv:
        hyperv.hosts["HV2"].vms.append(vm(7))
        hyperv.after("HV1", lambda: hyperv.move("vm-7", "HV1"))
        assert complete(read(hyperv)).on("vm-7") == "hv1"


def test_what_the_ledger_knows_is_looked_for_once_more_before_it_counts_as_gone() -> None:
    with cluster(2) as hyperv:
        hyperv.hosts["HV2"].vms.append(vm(7))
        known = frozenset(("vm", each.vm_id) for _, each in hyperv.machines())
        moves = ["HV1", "HV2", "HV1"]  # always away from the node that is asked next: HV1, HV2, HV1, HV2
        for node in ("HV1", "HV2"):
            hyperv.after(node, lambda: hyperv.move("vm-7", moves.pop()) if moves else None, times=20)
        found = complete(read(hyperv, known=known))
        assert found.on("vm-7") == "hv1"
        hyperv.drop("vm-7")
        hyperv.runs.clear()
        assert "vm-7" not in complete(read(hyperv, known=known)).names
        looks = len(hyperv.runs)
        hyperv.runs.clear()
        gone = frozenset(each for each in known if each not in {("vm", one.vm_id) for _, one in hyperv.machines()})
        complete(read(hyperv, known=known, gone=gone))
        assert len(hyperv.runs) == looks - 4, "what is missing already is not looked for every day"


def test_a_machine_that_is_made_meanwhile_is_read_or_was_not_yet_there() -> None:
    with cluster(2) as hyperv:
        hyperv.after("HV1", lambda: hyperv.hosts["HV1"].vms.append(vm(8, clustered=True)))
        assert "vm-8" in complete(read(hyperv)).names


def test_a_machine_that_is_deleted_meanwhile_does_not_fail_the_reading() -> None:
    with cluster(2) as hyperv:
        hyperv.after("HV1", lambda: hyperv.drop("vm-2"))
        assert "vm-2" not in complete(read(hyperv)).names
        hyperv.after("HV1", lambda: hyperv.drop("vm-1"))
        complete(read(hyperv))


def test_a_machine_that_is_never_still_is_told_by_one_node_or_the_reading_fails() -> None:
    with cluster(2) as hyperv:
        for _ in range(6):
            hyperv.after("HV1", lambda: hyperv.move("vm-1", "HV2"))
            hyperv.after("HV2", lambda: hyperv.move("vm-1", "HV1"))
        found = read(hyperv)
        if found.error is None:
            assert found.names == [f"vm-{n}" for n in range(1, 7)]
        assert len(hyperv.runs) < 20


def test_two_machines_with_one_id_that_stay_are_a_caution_and_the_clusters_own_counts() -> None:
    with cluster(2, 2) as hyperv:
        twin = VmSpec("vm-1-copy", id=hyperv.vm("vm-1").vm_id, nics=(NicSpec("00155DFFFF01"),))
        hyperv.hosts["HV2"].vms.append(twin)
        found = complete(read(hyperv))
        assert found.on("vm-1") == "hv1"
        assert "vm-1-copy" not in found.names
        [caution] = [each for each in found.items if getattr(each, "code", None) is errors.DUPLICATE_ID]
        assert "hv1" in caution.message and "hv2" in caution.message  # type: ignore[union-attr]  # noqa: PT018


def test_what_a_migration_left_behind_does_not_count_before_what_runs() -> None:
    with cluster(2, 2) as hyperv:
        hyperv.hosts["HV1"].vms.append(VmSpec("vm-2", id=hyperv.vm("vm-2").vm_id, state=OFF))
        found = complete(read(hyperv))
        assert found.on("vm-2") == "hv2"
        assert found.names == ["vm-1", "vm-2"]


# -- what is not whole ----------------------------------------------------------------------------------------------


def test_a_node_that_does_not_answer_is_named_and_nothing_is_derived() -> None:
    with cluster() as hyperv:
        hyperv.wsman.faults.add("connect", "reset", address=hyperv.hosts["HV3"].address, times=None)
        found = read(hyperv)
        said = refused(found, "hv3", hyperv.at("HV3"))
        assert found.error is not None
        assert found.error.code is errors.NODE_UNREACHABLE, said
        assert set(found.targets) == {"survey", "hv1", "hv2"}, "what was seen is kept"
        assert found.survey_first["error"]["code"] == errors.NODE_UNREACHABLE.code


def test_a_node_that_is_away_at_the_second_look_is_named() -> None:
    with cluster(2) as hyperv:
        address = hyperv.hosts["HV2"].address
        hyperv.after("HV2", lambda: hyperv.wsman.faults.add("connect", "reset", address=address, times=None))
        found = read(hyperv)
        refused(found, "hv2", hyperv.at("HV2"), "second time")
        assert found.error is not None
        assert found.error.code is errors.NODE_UNREACHABLE


def test_a_node_that_the_cluster_names_and_nobody_can_find_is_named(named: Named) -> None:
    with cluster() as hyperv:
        named(hyperv)
        hyperv.clusters[0].nodes.append("HV4")
        hyperv.hosts["HV4"] = HostSpec("HV4")
        found = read(hyperv, "HV1")
        refused(found, "hv4", "hv4.example.test")
        assert found.error is not None
        assert found.error.code is errors.DNS


def test_a_name_that_leads_to_another_node_is_not_taken_for_the_node(named: Named) -> None:
    with cluster() as hyperv:
        hyperv.hosts["HV3"].address, right = hyperv.hosts["HV2"].address, hyperv.hosts["HV3"].address
        named(hyperv)
        hyperv.hosts["HV3"].address = right
        refused(read(hyperv, "HV1", tls_verify=False), "hv3", "what answers there is hv2")


def test_a_node_that_is_down_by_the_clusters_word_is_not_dialled(named: Named) -> None:
    with cluster() as hyperv:
        named(hyperv)
        hyperv.clusters[0].down.add("HV3")
        found = read(hyperv, "HV1")
        refused(found, "hv3 is down", "evict")
        assert found.error is not None
        assert found.error.code is errors.NODE_UNREACHABLE
        assert not [run for run in hyperv.runs if run.host == "HV3"]


def test_a_paused_node_is_read_like_any() -> None:
    with cluster() as hyperv:
        hyperv.clusters[0].paused.add("HV3")
        complete(read(hyperv))


@pytest.mark.parametrize("where", ["HV1", "HV2"])
def test_who_may_not_see_the_machines_of_a_node_sees_no_empty_node(where: str) -> None:
    with cluster(2) as hyperv:
        hyperv.hosts[where].rights = "none"
        found = read(hyperv)
        refused(found, where.lower())
        assert found.error is not None
        assert found.error.code is errors.PERMISSION_DENIED


def test_an_empty_list_counts_only_for_who_sees_everything() -> None:
    with standalone(0) as hyperv:
        assert complete(read(hyperv)).names == []
        hyperv.hosts["HV9"].rights = "none"
        assert read(hyperv).error is not None
        hyperv.hosts["HV9"].rights = "unseeing"  # an empty list and no error at all
        found = read(hyperv)
        refused(found, "S-1-5-32-578", "hv9")
        assert found.error is not None
        assert found.error.code is errors.PERMISSION_DENIED


@pytest.mark.parametrize("told", [True, "inside"])
def test_without_access_to_the_cluster_no_reading_is_whole_and_the_grant_is_named(
    told: bool | Literal["inside"],
) -> None:
    with cluster() as hyperv:
        for host in hyperv.hosts.values():
            host.cluster_denied = told
        found = read(hyperv)
        refused(found, "Grant-ClusterAccess")
        assert found.error is not None
        assert found.error.code is errors.PERMISSION_DENIED
        health = collector(hyperv).healthcheck(ReadOrder())
        assert not health.ok
        assert any("Grant-ClusterAccess" in problem for problem in health.problems)


@pytest.mark.parametrize("where", ["HV1", "HV2", "HV3"])
@pytest.mark.parametrize("kind", ["cluster_denied", "cluster_module"])
def test_whichever_single_node_cannot_tell_of_the_cluster_the_others_do(where: str, kind: str) -> None:
    with cluster(3, 3) as hyperv:
        setattr(hyperv.hosts[where], kind, kind == "cluster_denied")
        assert complete(read(hyperv, max_parallel_nodes=1)).names == ["vm-1", "vm-2", "vm-3"]


def test_where_no_node_tells_the_list_a_second_time_each_and_its_cause_are_named() -> None:
    with cluster(3) as hyperv:

        def deny() -> None:
            for host in hyperv.hosts.values():
                host.cluster_denied = True

        hyperv.after("HV3", deny)
        found = read(hyperv, max_parallel_nodes=1)
        refused(
            found, "not read again after its nodes at hv1", "at hv2", "at hv3", "Get-Cluster", "Grant-ClusterAccess"
        )
        assert found.error is not None
        assert found.error.code is errors.PERMISSION_DENIED


def test_wmi_that_is_denied_is_a_right_that_is_missing() -> None:
    with standalone() as hyperv:
        hyperv.hosts["HV9"].wmi_denied = True
        found = read(hyperv)
        refused(found, "root\\virtualization\\v2", "Hyper-V Administrators")
        assert found.error is not None
        assert found.error.code is errors.PERMISSION_DENIED


def test_a_node_whose_answer_cannot_be_made_out_any_more_is_on_its_way_down() -> None:
    with cluster(3) as hyperv:
        hyperv.after("HV2", lambda: hyperv.fail("HV2", "exit"))
        found = read(hyperv, max_parallel_nodes=1)
        refused(found, hyperv.at("HV2"), "ended with status 1", "second time at hv2")
        assert found.error is not None
        assert found.error.code is errors.NODE_UNREACHABLE
        assert found.error.code.retryable


def test_what_the_cluster_lists_and_no_node_shows_fails_the_reading() -> None:
    with cluster() as hyperv:
        hyperv.clusters[0].extra["6f2e1f6e-0000-4000-8000-000000000001"] = ("orphan", "HV2")
        found = read(hyperv)
        refused(found, "orphan", "bring their configuration resources online")
        assert found.error is not None
        assert found.error.code is INVENTORY_INCOMPLETE


def test_what_wmi_lists_and_get_vm_does_not_fails_the_reading() -> None:
    with standalone() as hyperv:
        hyperv.hosts["HV9"].hidden_second = ("6f2e1f6e-0000-4000-8000-000000000001",)
        found = read(hyperv)
        assert "resources online" not in refused(found), "which is advice for clusters"
        assert found.error is not None
        assert found.error.code is INVENTORY_INCOMPLETE


def test_a_list_that_stops_before_its_count_is_refused() -> None:
    with cluster(2) as hyperv:
        hyperv.fail("HV2", "half", times=None)
        found = read(hyperv)
        assert found.error is not None
        assert found.error.code is errors.PARSE_ERROR
        assert "cut short" in found.error.message


# -- what a source must be ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("made", "scope"), [(standalone, "cluster"), (cluster, "standalone")])
def test_a_scope_that_is_not_met_is_a_wrong_source(made: Callable[[], HypervDouble], scope: str) -> None:
    with made() as hyperv:
        found = read(hyperv, scope=scope)
        assert found.error is not None
        assert found.error.code is errors.CONFIG_INVALID
        assert f"scope: {scope}" in found.error.message
        assert len(hyperv.runs) == 1, "nobody else is told the password"


def two_clusters() -> HypervDouble:
    hosts = [HostSpec("HV1", vms=[vm(1)]), HostSpec("HV2", vms=[vm(2)])]
    return HypervDouble(*hosts, clusters=[ClusterSpec("ONE", ["HV1"]), ClusterSpec("TWO", ["HV2"])])


def test_hosts_of_two_clusters_are_two_sources() -> None:
    with two_clusters() as hyperv:
        found = read(hyperv)
        assert found.error is not None
        assert found.error.code is errors.CONFIG_INVALID
        assert "one, two" in found.error.message


@pytest.mark.parametrize("named", [("A1", "B1"), ("B1", "A1", "A2"), ("A1", "A2", "B1"), ("A1", "A2", "B1", "B2")])
def test_two_clusters_of_one_name_are_two_sources(named: tuple[str, ...]) -> None:
    hosts = [HostSpec(name, vms=[vm(number, clustered=True)]) for number, name in enumerate(("A1", "A2", "B1", "B2"))]
    clusters = [
        ClusterSpec("HVC", ["A1", "A2"]),
        ClusterSpec("HVC", ["B1", "B2"], id="11111111-2222-4333-8444-555555555555"),
    ]
    with HypervDouble(*hosts, clusters=clusters) as hyperv:
        found = read(hyperv, *named)
        assert found.error is not None
        assert found.error.code is errors.CONFIG_INVALID
        assert "several clusters of one name, hvc" in found.error.message


def test_a_node_that_is_on_no_list_of_the_cluster_is_not_read_with_it() -> None:
    with cluster(3) as hyperv:
        hyperv.clusters.append(ClusterSpec("HVC", ["HV3"], id=hyperv.clusters[0].cluster_id))
        hyperv.clusters[0].nodes.remove("HV3")
        found = read(hyperv)
        assert found.error is not None
        assert found.error.code is errors.CONFIG_INVALID
        assert "hv3 is in a cluster, and not on the list of nodes" in found.error.message


def test_hosts_that_are_in_no_cluster_are_a_source_each() -> None:
    with HypervDouble(HostSpec("HV1", vms=[vm(1)]), HostSpec("HV2", vms=[vm(2)])) as hyperv:
        found = read(hyperv)
        assert found.error is not None
        assert found.error.code is errors.CONFIG_INVALID
        assert "hv1, hv2" in found.error.message


def test_one_node_under_two_names_is_refused(named: Named) -> None:
    with cluster(2) as hyperv:
        named(hyperv)
        twice = [hyperv.at("HV1"), hyperv.at("HV2"), f"hv2.example.test:{hyperv.port}"]
        found = read(hyperv, hosts=twice)
        assert found.error is not None
        assert found.error.code is errors.CONFIG_INVALID
        assert "are one node, hv2" in found.error.message


# -- care -----------------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_tried_once_on_one_node() -> None:
    with cluster() as hyperv:
        found = read(hyperv, password="wrong-password")
        assert found.error is not None
        assert found.error.code is errors.AUTH_FAILED
        assert "wrong-password" not in str(found.error)
        assert "wrong-password" not in repr(found.records)
        assert {request.address for request in hyperv.wsman.requests.all()} == {hyperv.hosts["HV1"].address}
        assert len(hyperv.wsman.requests.all("authenticate")) == 1


def test_once_a_node_refused_the_account_no_other_is_asked() -> None:
    with cluster(5) as hyperv:
        for name in list(hyperv.hosts)[1:]:
            spec = hyperv.wsman.hosts[hyperv.hosts[name].address].spec
            hyperv.wsman.add(replace(spec, accounts={USER: "another password"}))
        found = read(hyperv, max_parallel_nodes=1)
        assert found.error is not None
        assert found.error.code is errors.AUTH_FAILED
        assert "not asked" in found.error.message
        assert len(hyperv.wsman.requests.all("authenticate")) == 1, "a domain locks an account after a few"


def test_where_the_first_host_is_away_the_next_one_leads() -> None:
    with cluster() as hyperv:
        hyperv.wsman.faults.add("connect", "reset", address=hyperv.hosts["HV1"].address, times=None)
        found = read(hyperv)
        assert found.error is not None
        assert found.error.code is errors.NODE_UNREACHABLE
        assert asked(hyperv)[0] == ("HV2", "whole")


def test_nodes_are_read_at_once_and_never_more_than_the_source_says() -> None:
    with cluster(6, 6) as hyperv:
        hyperv.thinking = 0.15
        complete(read(hyperv, max_parallel_nodes=3))
        assert 2 <= hyperv.most_at_once <= 3


def test_a_script_that_hangs_ends_with_the_deadline_and_its_shell_is_given_back() -> None:
    with cluster(2) as hyperv:
        hyperv.fail("HV2", "hang", times=None)
        with soon():
            found = read(hyperv, deadline_s=4)
        assert found.error is not None
        assert found.error.code is errors.DEADLINE
        assert "hv2" in found.error.message or hyperv.at("HV2") in found.error.message
        assert hyperv.shells() == []


def test_who_is_interrupted_leaves_no_thread_and_no_shell() -> None:
    with cluster(3) as hyperv:
        for name in ("HV2", "HV3"):
            hyperv.fail(name, "hang", times=None)
        before = threading.active_count()
        timer = threading.Timer(0.5, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
        reading = collector(hyperv, deadline_s=FOREVER_S).collect(ReadOrder())
        timer.start()
        with soon(), pytest.raises(KeyboardInterrupt):
            list(reading)
        timer.join()
        assert hyperv.shells() == []
        assert not [one for one in threading.enumerate() if one.name.startswith("hyperv-")]
        assert threading.active_count() <= before + 8  # the double's own


def test_closing_early_ends_it() -> None:
    with cluster(2) as hyperv:
        reading = collector(hyperv).collect(ReadOrder())
        next(reading)
        reading.close()  # type: ignore[attr-defined]
        assert hyperv.shells() == []
        assert list(reading) == []


def test_the_double_answers_the_projects_own_script_and_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with standalone() as hyperv:
        real = sent.body()
        monkeypatch.setattr(
            "asset_ledger.sources.hyperv.nodes.script", lambda nonce, ask: f"$nonce = '{nonce}'\n{real}"
        )
        found = read(hyperv)
        assert found.error is not None
        assert found.error.code is errors.PARSE_ERROR
        assert hyperv.runs == []


# -- healthcheck and detect -----------------------------------------------------------------------------------------


def test_a_check_logs_in_at_every_node_and_reads_no_machine() -> None:
    with cluster() as hyperv:
        hyperv.hosts["HV3"].rights = "admin"
        health = collector(hyperv).healthcheck(ReadOrder())
        assert health.ok, health.problems
        assert {ask for _, ask in asked(hyperv)} <= {"lists", "names"}
        assert {"hv1", "hv2", "hv3", "cluster", "tls", "complete"} <= set(health.checks)
        assert "2 virtual machines; the account is in Hyper-V Administrators" in health.checks["hv1"]
        assert "Administrators" in health.checks["hv3"]
        assert (health.checks["complete"], health.checks["tls"]) == ("proven", "ca_file")


def test_a_check_says_of_each_node_what_is_missing_and_how_to_grant_it() -> None:
    with cluster() as hyperv:
        hyperv.hosts["HV2"].rights = "none"
        hyperv.wsman.faults.add("Create", "wsman", code=5, address=hyperv.hosts["HV3"].address, times=None)
        health = collector(hyperv).healthcheck(ReadOrder())
        assert not health.ok
        assert health.checks["complete"] == "not proven"
        assert "lists no virtual machines" in health.checks["hv2"]
        assert errors.PERMISSION_DENIED.code in health.checks[hyperv.at("HV3")]
        assert all(problem.startswith(("HYPERV_", "INVENTORY_")) for problem in health.problems)


def test_a_check_that_reaches_nobody_raises_why() -> None:
    with cluster() as hyperv:
        with pytest.raises(PermanentError) as caught:
            collector(hyperv, password="wrong-password").healthcheck(ReadOrder())
        assert caught.value.code is errors.AUTH_FAILED


def test_what_answers_is_detected() -> None:
    with cluster() as hyperv:
        hyperv.hosts["HV2"].release = "2022"
        found = collector(hyperv).detect(ReadOrder())
        assert found.target_version.startswith("10.0.17763")
        assert found.driver.startswith("powershell over pywinrm ")
        assert found.capabilities["is_cluster"] is True
        assert found.capabilities["cluster"] == "hvc"
        assert found.capabilities["nodes"] == ["hv1", "hv2", "hv3"]
        assert found.capabilities["powershell"]["hv2"].startswith("5.1.20348")
        assert found.capabilities["hyperv_module"]["hv1"] == "2.0.0.0"
        assert "set scope: cluster" in found.advice
        assert collector(hyperv, scope="cluster").detect(ReadOrder()).advice == ""


def test_a_single_host_is_detected_as_standalone() -> None:
    with standalone(release="2016") as hyperv:
        found = collector(hyperv).detect(ReadOrder())
        assert (found.capabilities["scope"], found.capabilities["cluster"]) == ("standalone", None)
        assert found.target_version == "10.0.14393"
