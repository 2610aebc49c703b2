"""Whole readings of the double and of the simulator: what is read, in which pieces, and what is refused as not whole."""

from __future__ import annotations

import gc
import logging
import threading
import time
from typing import Any

import pytest

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, IncompleteError, PermanentError
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.vcenter import errors
from asset_ledger.sources.vcenter import survey as survey_module
from asset_ledger.sources.vcenter.bulk import Retrieval, over
from asset_ledger.sources.vcenter.raw import MOST_OBJECTS, read_objects
from asset_ledger.sources.vcenter.slices import cut, moid_of
from tests.doubles.vcenter import RELEASES, Permission, VcenterDouble, VcSim
from tests.doubles.vcenter.fixtures import StartVcSim
from tests.doubles.vcenter.specs import DatastoreSpec, HostSpec, VmSpec
from tests.patience import until
from tests.sources.live import complete
from tests.sources.vcenter.live import Reading, client, collector, read, world

READ = "RetrievePropertiesEx"
NEXT = "ContinueRetrievePropertiesEx"
VMS = {"kinds": frozenset({"VirtualMachine"})}


def moids(found: Reading, part: str) -> list[str]:
    """Return the ids in the bodies of a part's records, in their order."""
    bodies = [raw for raw in found.records if raw.target.startswith(f"{part} ")]
    return [str(moid_of(one)) for raw in bodies for one in cut(raw.body, raw.target)]


def denied(found: Reading) -> IncompleteError:
    assert isinstance(found.error, IncompleteError)
    assert found.error.code is errors.PERMISSION_DENIED
    assert found.targets[-1] == "vcenter"
    assert not found.proof.complete
    return found.error


def incomplete(found: Reading) -> IncompleteError:
    assert isinstance(found.error, IncompleteError)
    assert found.error.code is INVENTORY_INCOMPLETE
    assert found.targets[-1] == "vcenter"
    return found.error


# -- whole readings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", [None, *RELEASES])
def test_every_release_is_read_whole_in_two_readings_or_in_one(vcsim: VcSim, release: str | None) -> None:
    with VcenterDouble(vcsim, release=release) as vc:
        hosts, vms, both = (complete(read(vc, scope, page_size=4)) for scope in ("hosts", "vms", "all"))
        assert hosts.targets == ["hosts 1", "clusters 1", "vcenter"]
        assert vms.targets == ["vms 1", "vcenter"]
        assert both.targets == ["hosts 1", "clusters 1", "vms 1", "vcenter"]
        assert {kind for kind, _ in hosts.assets} == {"host", "cluster"}
        assert {kind for kind, _ in vms.assets} == {"vm"}
        assert both.assets == hosts.assets | vms.assets
        assert (len(both.kind("host")), len(both.kind("cluster")), len(both.kind("vm"))) == (5, 2, 9)
        assert {document["relations"][0]["external_id"] for document in vms.kind("vm").values()} <= set(
            hosts.kind("host")
        )
        for found in (hosts, vms, both):
            assert found.last["error"] is None
            assert found.last["logins"] == 1
            assert all(len(raw.document["places"]) > 5 for raw in found.records[:-1])
        assert vc.live_sessions() == 0


def test_a_check_proves_the_lists_and_reads_no_details(vc: VcenterDouble) -> None:
    health = collector(vc).healthcheck(ReadOrder())
    assert health.ok, health.problems
    assert health.checks == {
        "endpoint": f"127.0.0.1:{vc.port} answers",
        "account": health.checks["account"],
        "tls": "ca_file",
        "version": "VMware vCenter Server 8.0.3 build-24022515",
        "hosts": "3",
        "clusters": "1",
        "vms": "7",
        "complete": "proven",
        **({"rights": health.checks["rights"]} if "rights" in health.checks else {}),
    }
    assert not any("config.hardware.device" in request.paths for request in vc.requests)
    assert vc.live_sessions() == 0


def test_what_is_there_is_told_without_reading_it(vc: VcenterDouble) -> None:
    found = collector(vc).detect(ReadOrder())
    assert (found.target_version, found.driver, found.advice) == ("8.0.3", "vim25 8.0.3.0", "")
    told = found.capabilities
    assert (told["build"], told["api_type"], told["is_vcenter"]) == ("24022515", "VirtualCenter", True)
    assert (told["hosts"], told["clusters"], told["vms"]) == (3, 1, 7)
    assert len(told["instance_uuid"]) == 36
    assert told["client"].startswith("pyvmomi 9")
    assert not any(request.paths not in ((), ("view",)) for request in vc.requests.all(READ))
    unsure = collector(vc, tls_verify=False, scope="standalone").detect(ReadOrder())
    assert "tls_verify: true" in unsure.advice
    assert "set scope: vcenter" in unsure.advice


@pytest.mark.parametrize("release", ["6.5", "8.0.3"])
def test_a_host_without_a_vcenter_is_one_reading(release: str) -> None:
    with VcenterDouble(release=release, esxi=True) as vc:
        vc.show(hosts=[HostSpec("ha-host", "esx9.example.com")], vms=[VmSpec("1", "alone", "ha-host")])
        found = complete(alone(vc))
        assert found.targets == ["hosts 1", "vms 1", "vcenter"]
        assert set(found.assets) == {("host", "ha-host"), ("vm", "1")}
        assert found.evidence.about["apiType"] == "HostAgent"
        health = collector(vc, scope="standalone").healthcheck(ReadOrder())
        assert health.ok, health.problems
        assert collector(vc, scope="standalone").detect(ReadOrder()).capabilities["is_vcenter"] is False


def test_the_simulators_host_without_a_vcenter_is_read_whole(start_vcsim: StartVcSim) -> None:
    with VcenterDouble(start_vcsim(esx=True, vms=2), release=None) as vc:
        found = complete(alone(vc))
        assert (len(found.kind("host")), len(found.kind("vm"))) == (1, 2)
        assert "instanceUuid" not in found.evidence.about


def alone(vc: VcenterDouble) -> Reading:
    found = Reading()
    found.records += collector(vc, scope="standalone").collect(ReadOrder())
    return found


def test_an_endpoint_that_is_not_what_the_source_says_is_not_read(vc: VcenterDouble) -> None:
    with pytest.raises(PermanentError, match="set scope: vcenter") as caught:
        list(collector(vc, scope="standalone").collect(ReadOrder()))
    assert caught.value.code is errors.CONFIG_INVALID
    health = collector(vc, scope="standalone").healthcheck(ReadOrder())
    assert [problem.partition(":")[0] for problem in health.problems] == ["VCENTER_CONFIG_INVALID"]
    with VcenterDouble(esxi=True) as host:
        host.show(hosts=[HostSpec("ha-host", "esx9.example.com")])
        found = read(host, "vms")
        assert found.error is not None
        assert "set scope: standalone" in found.error.message
        assert host.requests.count("CreateContainerView") == 0


def test_an_empty_vcenter_is_read_whole() -> None:
    with VcenterDouble() as vc:
        vc.show()
        assert complete(read(vc)).targets == ["vcenter"]
        assert complete(read(vc, "vms")).assets == {}


# -- pieces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 100, 499, 500, 501, 5000])
def test_pages_of_any_size_give_the_same_pieces(size: int) -> None:
    with VcenterDouble() as vc:
        count = 1203 if size > 50 else 63
        world(vc, vms=count)
        found = complete(read(vc, "vms", page_size=size))
        pieces = [read_objects(raw) for raw in found.records[:-1]]
        assert [piece.number for piece in pieces] == list(range(1, len(pieces) + 1))
        assert sum(piece.objects for piece in pieces) == count
        assert all(piece.objects == MOST_OBJECTS for piece in pieces[:-1])
        assert sorted(moids(found, "vms")) == sorted(f"vm-{number}" for number in range(count))
        assert found.evidence.sights[0].pages == -(-count // size)
        assert set(vc.requests.all(READ)[-1].paths) == {"view"}


def test_a_piece_is_bounded_in_bytes_too(vc: VcenterDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "MOST_BYTES", 20_000)
    found = complete(read(vc, "vms"))
    assert len(found.records) > 2
    assert all(len(raw.body) <= 20_000 for raw in found.records[:-1])
    assert sorted(moids(found, "vms")) == [f"vm-{number}" for number in range(7)]


def test_two_readings_of_the_same_things_are_the_same_bytes(vc: VcenterDouble) -> None:
    one, other = complete(read(vc)), complete(read(vc))
    assert [raw.body for raw in one.records] == [raw.body for raw in other.records]
    assert [raw.sha256 for raw in one.records] == [raw.sha256 for raw in other.records]


# -- what moves while it is read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [0, 1])
def test_a_machine_that_vanishes_meanwhile_is_gone_and_the_reading_is_whole(vc: VcenterDouble, page: int) -> None:
    vc.on(READ if page == 0 else NEXT, lambda double: double.delete("vm-4", "vm-6"), **VMS)
    found = complete(read(vc, "vms", page_size=2))
    assert "vm-6" not in found.moids("vm")
    assert {"vm-0", "vm-1", "vm-2", "vm-3", "vm-5"} <= found.moids("vm")


def test_a_machine_that_comes_meanwhile_keeps_nothing_from_being_whole(vc: VcenterDouble) -> None:
    vc.hide("vm-5")
    vc.on(NEXT, lambda double: double.unhide("vm-5"), **VMS)
    found = complete(read(vc, "vms", page_size=3))
    assert len(found.kind("vm")) in (6, 7)


def test_an_object_that_is_told_twice_is_taken_once(vc: VcenterDouble) -> None:
    vc.faults.add(READ, "repeat", **VMS)
    vc.faults.add(NEXT, "repeat", times=None, **VMS)
    found = complete(read(vc, "vms", page_size=3))
    assert sorted(moids(found, "vms")) == [f"vm-{number}" for number in range(7)]
    assert len(found.evidence.sights[0].received) == 10


def test_pages_that_never_end_are_given_up(vc: VcenterDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "_MOST_REPEATED", 10)
    same = client(vc)
    same.connect()
    with same.stream(same.content.propertyCollector, READ, question(same, page_size=2)) as chunks:
        body = b"".join(chunks).replace(READ.encode(), NEXT.encode())
    same.close()
    vc.faults.add(NEXT, "replace", status=200, body=body, times=None)
    found = read(vc, "vms", page_size=2)
    assert found.error is not None
    assert found.error.code is errors.PARSE_ERROR
    assert "without end" in found.error.message


def question(asking: Any, page_size: int) -> Any:
    view = over(asking.view("VirtualMachine"))
    return Retrieval(asking, view, "VirtualMachine", ("name", "runtime.host"), page_size=page_size)._question()


# -- what is not whole -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "match"), [(None, READ), (None, NEXT), (1, READ)])
def test_a_page_that_pretends_to_be_the_last_is_found_out(vc: VcenterDouble, keep: int | None, match: str) -> None:
    vc.faults.add(match, "drop_token", times=None, keep=keep, **VMS)
    error = incomplete(read(vc, "vms", page_size=2))
    assert "were not received" in error.message


@pytest.mark.parametrize("kind", ["ManagedEntity", "HostSystem", "ComputeResource", "Datastore"])
def test_what_is_read_beside_the_objects_is_read_to_the_end_too(vc: VcenterDouble, kind: str) -> None:
    vc.show(
        hosts=[HostSpec(f"host-{number}", f"esx{number}") for number in range(5)],
        vms=[VmSpec("vm-1", "one", "host-1")],
        datastores=[DatastoreSpec(f"datastore-{number}", f"ds{number}") for number in range(5)],
    )
    vc.page_limit = 2
    vc.faults.add(READ, "drop_token", times=None, kinds=frozenset({kind}))
    error = incomplete(read(vc))
    assert "were not received" in error.message


def test_a_machine_left_out_of_the_pages_is_missed(vc: VcenterDouble) -> None:
    vc.swallow("vm-3")
    assert "vm-3" in incomplete(read(vc, "vms")).message


def test_a_machine_that_its_host_tells_of_and_no_view_has_is_missed(vc: VcenterDouble) -> None:
    vc.hide("vm-3", references=False)
    error = incomplete(read(vc, "vms"))
    assert "vm-3" in error.message
    assert "HostSystem.vm" in error.message


def test_a_host_and_a_cluster_that_others_refer_to_and_no_view_has_are_missed(vc: VcenterDouble) -> None:
    vc.hide("host-1", references=False)
    assert "host-1" in incomplete(read(vc, "hosts")).message


def test_an_account_without_the_right_on_the_root_reads_nothing(vc: VcenterDouble) -> None:
    vc.refused_privileges = {"System.Read"}
    for scope in ("hosts", "vms", "all"):
        found = read(vc, scope)
        assert "System.Read" in denied(found).message
        assert found.targets == ["vcenter"]
    assert vc.requests.count("CreateContainerView") == 0
    health = collector(vc).healthcheck(ReadOrder())
    assert not health.ok
    assert health.problems[0].startswith("VCENTER_PERMISSION_DENIED: ")
    assert "Read-only" in health.problems[0]
    assert "System.Read" in collector(vc).detect(ReadOrder()).advice


def test_an_entry_that_takes_the_right_away_below_is_named(vc: VcenterDouble) -> None:
    vc.permissions = [
        Permission(("Folder", "group-d1"), vc.username, -2),
        Permission(("ClusterComputeResource", "domain-c1"), vc.username, -5),
    ]
    error = denied(read(vc, "hosts"))
    assert "domain-c1" in error.message


@pytest.mark.parametrize("path", ["name", "runtime.host"])
def test_a_property_that_is_refused_is_a_right_that_is_missing(vc: VcenterDouble, path: str) -> None:
    vc.deny("vm-2", path)
    error = denied(read(vc, "vms"))
    assert "vm-2" in error.message
    assert path in error.message


def test_a_machine_without_a_name_keeps_a_reading_from_being_whole_unless_it_is_not_connected(
    vc: VcenterDouble,
) -> None:
    vc.leave_out("vm-2", "name")
    assert "vm-2" in incomplete(read(vc, "vms")).message
    vc.connection("vm-2", "inaccessible")
    vc.leave_out("vm-2", "name")
    found = complete(read(vc, "vms"))
    assert len(found.kind("vm")) == 7
    vc.deny("vm-2", "name")
    assert "vm-2" in denied(read(vc, "vms")).message


def test_details_that_are_refused_keep_nothing_from_being_whole(vc: VcenterDouble) -> None:
    vc.deny("vm-2", "config.hardware.device")
    assert len(complete(read(vc, "vms")).kind("vm")) == 7


def test_an_optional_path_that_this_server_does_not_know_is_said_in_the_evidence(vc: VcenterDouble) -> None:
    vc.unknown_paths = {"config.virtualNicManagerInfo.netConfig"}
    found = complete(read(vc, "hosts"))
    assert len(found.kind("host")) == 3
    assert found.evidence.sights[0].dropped == ("config.virtualNicManagerInfo.netConfig",)


def test_rights_that_may_not_be_asked_for_are_said_in_the_evidence(vc: VcenterDouble) -> None:
    vc.faults.add("RetrieveAllPermissions", "soap", fault="NoPermission", times=None)
    found = read(vc, "vms")
    assert found.evidence.permissions is None
    assert found.evidence.permissions_fault == "NoPermission"


# -- what is left behind ---------------------------------------------------------------------------------------------


def test_unverified_tls_warns_with_every_reading(vc: VcenterDouble) -> None:
    for scope in ("hosts", "vms"):
        found = complete(read(vc, scope, tls_verify=False))
        assert "VCENTER_TLS_UNVERIFIED" in [code for code, _ in found.cautions]
        assert found.last["tls"] == "unverified"


@pytest.mark.parametrize("release", ["6.5", "8.0.3"])
def test_no_secret_reaches_raw_or_a_log(release: str, caplog: pytest.LogCaptureFixture) -> None:
    with VcenterDouble(release=release, password="canary-5e0f1c") as vc, caplog.at_level(logging.DEBUG):
        world(vc)
        reading = collector(vc)
        records = list(reading.collect(ReadOrder()))
        keys = {request.session for request in vc.requests if request.session}
        kept = b"".join(raw.body + repr(raw).encode() for raw in records) + repr(reading).encode()
        logged = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
        assert keys
        for secret in ("canary-5e0f1c", *keys):
            assert secret.encode() not in kept, secret
            assert secret not in logged, secret


def test_a_reading_that_is_given_up_ends_its_session_and_its_connections(vc: VcenterDouble) -> None:
    before = threading.active_count()
    reading = collector(vc, page_size=2).collect(ReadOrder())
    assert next(reading).target == "hosts 1"
    reading.close()
    assert vc.live_sessions() == 0
    assert vc.requests.names()[-1] == "Logout"
    gc.collect()
    until(lambda: threading.active_count() <= before)


def test_a_connection_that_the_server_closed_meanwhile_is_made_anew(vc: VcenterDouble) -> None:
    vc.idle_timeout = 0.2
    found = Reading()
    for raw in collector(vc).collect(ReadOrder()):
        found.records.append(raw)
        time.sleep(0.6)  # what the store may take
    assert len(complete(found).kind("vm")) == 7
    assert len({request.connection for request in vc.requests}) > 1


def test_views_and_sessions_are_given_back_whatever_happens(vc: VcenterDouble) -> None:
    vc.faults.add(READ, "soap", fault="SystemError", times=1, **VMS)
    assert read(vc).error is not None
    made = vc.requests.count("CreateContainerView")
    assert made > 0
    assert vc.requests.count("DestroyView") == made
    assert vc.live_sessions() == 0


def test_one_reading_is_a_handful_of_calls_however_many_machines_there_are() -> None:
    counts = []
    for vms in (3, 400):
        with VcenterDouble() as vc:
            world(vc, vms=vms)
            complete(read(vc))
            counts.append(len(vc.requests))
    assert counts[0] == counts[1] < 50
