"""The simulator behind the double, read by pyvmomi itself: releases, pages, and what a right or a state takes away."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl

from tests.doubles.vcenter import RELEASES, Permission, VcenterDouble, VcSim
from tests.doubles.vcenter.client import connected, first_page, read, trusting, values, view_of
from tests.doubles.vcenter.vcsim import PACKAGES, missing

VM = vim.VirtualMachine
SOME = ["name", "config.uuid", "runtime.host", "guest.net", "runtime.connectionState"]


@pytest.fixture
def vc(vcsim: VcSim) -> Iterator[VcenterDouble]:
    with VcenterDouble(vcsim) as double:
        yield double


@pytest.mark.parametrize(("release", "api"), [("6.5", "6.5"), ("6.7", "6.7.3"), ("8.0", "8.0.0.1"), ("9.0", "9.0.0.0")])
def test_each_release_is_spoken_to_in_the_newest_version_it_offers(vcsim: VcSim, release: str, api: str) -> None:
    with VcenterDouble(vcsim, release=release) as vc, connected(vc) as service:
        assert service._stub.versionId == f'"urn:vim25/{api}"'
        about = service.content.about
        assert (about.version, about.apiVersion) == (RELEASES[release].version, api)
        assert about.fullName == f"VMware vCenter Server {about.version} build-{about.build}"
        (host, *_) = values(read(service.content, vim.HostSystem, ["hardware.systemInfo", "config.product"])).values()
        assert (host["hardware.systemInfo"].serialNumber is not None) == (release != "6.5")
        assert host["config.product"].version == about.version


def test_the_simulator_as_it_is_reads_the_same_as_through_the_double(vcsim: VcSim) -> None:
    paths = [*SOME, "config.hardware.device", "summary"]
    with VcenterDouble(vcsim, release=None) as plain, VcenterDouble(vcsim) as newest:
        plain.capacity_in_bytes = newest.capacity_in_bytes = False
        told = []
        for vc in (plain, newest):
            with connected(vc) as service:
                told.append(repr(values(read(service.content, VM, paths))))
    assert told[0] == told[1]


def test_disks_tell_their_bytes_where_they_are_to(vc: VcenterDouble) -> None:
    def sizes() -> set[tuple[int, int | None]]:
        with connected(vc) as service:
            found = values(read(service.content, VM, ["config.hardware.device"]))
        disks = [
            d
            for one in found.values()
            for d in one["config.hardware.device"]
            if isinstance(d, vim.vm.device.VirtualDisk)
        ]
        return {(disk.capacityInKB, disk.capacityInBytes) for disk in disks}

    assert sizes() == {(1024, 1024 * 1024)}
    vc.capacity_in_bytes = False
    assert sizes() == {(1024, None)}


def test_pages_hold_what_was_asked_for_and_all_of_them_hold_everything(vc: VcenterDouble) -> None:
    with connected(vc) as service:
        seen = {one._moId for one in view_of(service.content, VM).view}
        assert len(seen) == 9
        first = first_page(service.content, VM, SOME, size=4)
        assert len(first.objects) == 4
        assert first.token
        found = read(service.content, VM, SOME, size=4)
    assert {one.obj._moId for one in found} == seen
    assert [row.max_objects for row in vc.requests.all("RetrievePropertiesEx")] == [4, 4]
    assert vc.requests.count("ContinueRetrievePropertiesEx") == 2
    vc.page_limit = 2
    vc.requests.clear()
    with connected(vc) as service:
        assert len(read(service.content, VM, SOME, size=500)) == 9
    assert vc.requests.count("ContinueRetrievePropertiesEx") == 4


def test_a_token_is_good_once_and_dies_with_its_session(vc: VcenterDouble) -> None:
    with connected(vc) as service, connected(vc) as other:
        collector = service.content.propertyCollector
        token = first_page(service.content, VM, SOME, size=4).token
        with pytest.raises(vmodl.fault.InvalidArgument):
            other.content.propertyCollector.ContinueRetrievePropertiesEx(token)
        second = collector.ContinueRetrievePropertiesEx(token).token
        with pytest.raises(vmodl.fault.InvalidArgument):
            collector.ContinueRetrievePropertiesEx(token)
        vc.expire_sessions()
        with pytest.raises(vim.fault.NotAuthenticated):
            collector.ContinueRetrievePropertiesEx(second)


def test_what_is_hidden_is_gone_from_views_lists_and_pages_and_nothing_says_so(vc: VcenterDouble) -> None:
    with connected(vc) as service:
        moid = view_of(service.content, VM).view[2]._moId
        vc.hide(moid)
        assert len(view_of(service.content, VM).view) == 8
        assert len(read(service.content, VM, SOME)) == 8
        hosts = values(read(service.content, vim.HostSystem, ["vm"]))
        assert moid not in {vm._moId for host in hosts.values() for vm in host["vm"]}
        vc.unhide(moid)
        vc.hide(moid, references=False)
        assert len(read(service.content, VM, SOME)) == 8
        hosts = values(read(service.content, vim.HostSystem, ["vm"]))
        assert moid in {vm._moId for host in hosts.values() for vm in host["vm"]}
        vc.unhide(moid)
        vc.swallow(moid)
        assert len(view_of(service.content, VM).view) == 9
        assert len(read(service.content, VM, SOME)) == 8


def test_a_machine_that_vanishes_between_pages_is_left_out_or_fails_the_page(vc: VcenterDouble) -> None:
    with connected(vc) as service:
        last = view_of(service.content, VM).view[-1]._moId
        vc.on("RetrievePropertiesEx", lambda shown: shown.delete(last))
        assert len(read(service.content, VM, SOME)) == 8
        vc.unhide(last)
        vc.on("RetrievePropertiesEx", lambda shown: shown.delete(last))
        with pytest.raises(vmodl.fault.ManagedObjectNotFound) as caught:
            read(service.content, VM, SOME, tolerant=False)
    assert caught.value.obj._moId == last


def test_a_view_shrinks_and_grows_between_two_looks(vc: VcenterDouble) -> None:
    with connected(vc) as service:
        view = view_of(service.content, VM)
        moid = view.view[0]._moId
        vc.on("Fetch", lambda shown: shown.hide(moid), kinds=frozenset({"ContainerView"}))
        assert [len(view.view), len(view.view)] == [9, 8]
        vc.on("Fetch", lambda shown: shown.unhide(moid), kinds=frozenset({"ContainerView"}))
        assert [len(view.view), len(view.view)] == [8, 9]


def test_machines_lose_their_configuration_change_state_and_are_denied(vc: VcenterDouble) -> None:
    with connected(vc) as service:
        one, two, three, four = (vm._moId for vm in view_of(service.content, VM).view[:4])
        vc.connection(one, "inaccessible")
        vc.deny(two, "config.uuid")
        vc.agent_machine(three)
        vc.put(four, "name", "xsd:string", "prod%2fweb")
        found = read(service.content, VM, [*SOME, "config.managedBy"])
        named = read(service.content, VM, ["name"])
    told = values(found)
    assert sorted(told[one]) == ["name", "runtime.connectionState", "runtime.host"]
    assert told[one]["runtime.connectionState"] == "inaccessible"
    (missing,) = next(row for row in found if row.obj._moId == two).missingSet
    assert (missing.path, type(missing.fault)) == ("config.uuid", vim.fault.NoPermission)
    assert missing.fault.privilegeId == "System.Read"
    assert not any(one.missingSet for one in named), "nobody asked for it there"
    assert told[three]["config.managedBy"].extensionKey == "VirtualCenter"
    assert told[four]["name"] == "prod%2fweb"
    assert "config.managedBy" not in told[four]


def test_rights_are_what_the_test_says(vc: VcenterDouble) -> None:
    vc.refused_privileges.add("System.Read")
    vc.permissions = [Permission(("Folder", "group-v3"), "VSPHERE.LOCAL\\ledger", -5, propagate=False)]
    with connected(vc) as service:
        content = service.content
        rights = content.authorizationManager
        key = content.sessionManager.currentSession.key
        (row,) = rights.HasPrivilegeOnEntities([content.rootFolder], key, ["System.Read", "System.View"])
        assert [one.isGranted for one in row.privAvailability] == [False, True]
        (permission,) = rights.RetrieveAllPermissions()
        assert (permission.roleId, permission.principal, permission.propagate) == (-5, "VSPHERE.LOCAL\\ledger", False)
        assert rights.RetrieveEntityPermissions(content.rootFolder, False) == []


def test_a_path_that_the_release_does_not_know_fails_the_filter_or_is_missing(vcsim: VcSim) -> None:
    with VcenterDouble(vcsim, release="6.5") as vc, connected(vc) as service:
        with pytest.raises(vmodl.query.InvalidProperty) as caught:
            read(service.content, VM, ["name", "config.createDate"])
        assert caught.value.name == "config.createDate"
        vc.unknown_paths.add("guest.net")
        vc.invalid_property = "missing"
        (missing,) = read(service.content, VM, ["name", "guest.net"])[0].missingSet
        assert (missing.path, type(missing.fault)) == ("guest.net", vmodl.query.InvalidProperty)
    with VcenterDouble(vcsim, release="6.7") as vc, connected(vc) as service:
        assert len(read(service.content, VM, ["name", "config.createDate"])) == 9


def test_the_simulator_answers_over_tls_by_itself(vcsim: VcSim) -> None:
    with VcSim(tls=True, esx=True, vms=2) as sim:
        context = trusting(sim.ca_file)
        service = SmartConnect(host="127.0.0.1", port=sim.port, user=sim.username, pwd=sim.password, sslContext=context)
        assert service.content.about.apiType == "HostAgent"
        Disconnect(service)


def test_a_wrong_password_is_refused_and_never_written_down(vc: VcenterDouble) -> None:
    with pytest.raises(vim.fault.InvalidLogin), connected(vc, pwd="not-the-secret"):
        pass
    assert "not-the-secret" not in repr(list(vc.requests))
    assert vc.live_sessions() == 0


def test_the_simulator_ends_with_whoever_started_it(vcsim: VcSim) -> None:
    script = "import os; from tests.doubles.vcenter import VcSim; print(VcSim(vms=1).pid, flush=True); os._exit(9)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    running = Path(f"/proc/{int(said.stdout)}/stat")
    until = time.monotonic() + 60
    while running.exists() and running.read_text().rpartition(")")[2].split()[0] != "Z" and time.monotonic() < until:
        time.sleep(0.05)
    assert not running.exists() or running.read_text().rpartition(")")[2].split()[0] == "Z"


def test_where_go_is_missing_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert missing() == f"needs the Debian packages {PACKAGES}"
    with pytest.raises(RuntimeError, match="golang-github-vmware-govmomi-dev"):
        VcSim(vms=1)


@pytest.mark.parametrize("option", [[], ["--proxy", "--release", "7.0"], ["--rendered"]])
def test_a_process_of_its_own_serves_until_its_input_ends(vcsim: VcSim, option: list[str]) -> None:
    command = [sys.executable, "-m", "tests.doubles.vcenter", "--clusters", "1", "--hosts", "1", "--vms", "3", *option]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        context = trusting(Path(line["ca_file"]))
        port = int(line["endpoint"].rpartition(":")[2])
        service = SmartConnect(
            host="127.0.0.1", port=port, user=line["username"], pwd=line["password"], sslContext=context
        )
        assert len(read(service.content, VM, ["name"], size=100)) == 3
        Disconnect(service)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
