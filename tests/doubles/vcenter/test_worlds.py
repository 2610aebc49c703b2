"""Objects that a test describes, read by pyvmomi: as the simulator tells its own, and standing where vCenter puts them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pyVmomi import VmomiSupport, vim

from tests.doubles.vcenter import (
    RELEASES,
    ClusterSpec,
    DatacenterSpec,
    DatastoreSpec,
    DiskSpec,
    FolderSpec,
    HostSpec,
    NicSpec,
    PoolSpec,
    VcenterDouble,
    VcSim,
    VmSpec,
    VnicSpec,
)
from tests.doubles.vcenter.client import connected, read, told_bytes, values, view_of
from tests.doubles.vcenter.estate import estate

VM_PATHS = [
    "name",
    "config.instanceUuid",
    "config.uuid",
    "config.template",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.device",
    "config.guestId",
    "guest.toolsRunningStatus",
    "guest.net",
    "guest.hostName",
    "guest.ipAddress",
    "runtime.host",
    "runtime.powerState",
    "runtime.connectionState",
    "summary.config.guestFullName",
    "resourcePool",
    "parent",
]
HOST_PATHS = [
    "name",
    "parent",
    "summary.hardware.cpuModel",
    "summary.hardware.numCpuPkgs",
    "summary.hardware.numCpuCores",
    "summary.hardware.numCpuThreads",
    "summary.hardware.memorySize",
    "summary.config.product",
    "hardware.memorySize",
    "hardware.cpuInfo",
    "runtime.connectionState",
    "runtime.powerState",
    "runtime.inMaintenanceMode",
    "config.network.vnic",
    "config.network.pnic",
    "vm",
]


def plain(value: Any, leave: frozenset[str] = frozenset()) -> Any:
    """Return a value of pyvmomi as plain Python, with its types, without some fields."""
    if isinstance(value, list):
        return [plain(one, leave) for one in value]
    if isinstance(value, VmomiSupport.ManagedObject):
        return value._wsdlName, value._moId
    if isinstance(value, VmomiSupport.DataObject):
        said = {info.name: plain(getattr(value, info.name), leave) for info in value._GetPropertyList()}
        return value._wsdlName, {name: one for name, one in said.items() if one not in (None, []) and name not in leave}
    return type(value).__name__, value


def copied(told: dict[str, Any], moid: str, **more: Any) -> VmSpec:
    """Describe a machine that the simulator told of."""
    of = [d for d in told["config.hardware.device"] if isinstance(d, vim.vm.device.VirtualDisk)]
    cards = [d for d in told["config.hardware.device"] if isinstance(d, vim.vm.device.VirtualEthernetCard)]
    return VmSpec(
        moid,
        told["name"],
        told["runtime.host"]._moId,
        uuid=told["config.uuid"],
        instance_uuid=told["config.instanceUuid"],
        cpus=told["config.hardware.numCPU"],
        memory_mb=told["config.hardware.memoryMB"],
        disks=tuple(
            DiskSpec(d.capacityInBytes, file=d.backing.fileName, label=d.deviceInfo.label, key=d.key) for d in of
        ),
        nics=tuple(NicSpec(d.macAddress, type=d._wsdlName, network=None, key=d.key) for d in cards),
        tools=told["guest.toolsRunningStatus"],
        guest_id=told["config.guestId"],
        configured_guest=told["summary.config.guestFullName"],
        power=told["runtime.powerState"],
        connection=told["runtime.connectionState"],
        **more,
    )


@pytest.mark.parametrize("release", [None, "8.0.3"])
def test_a_rendered_copy_of_the_simulators_machines_reads_the_same(vcsim: VcSim, release: str | None) -> None:
    # what the simulator makes up at random, or has on a network of its own
    leave = frozenset({"summary", "backing", "connectable", "datastore", "deviceName", "label"})
    with VcenterDouble(vcsim, release=release) as vc, connected(vc) as service:
        found = values(read(service.content, vim.VirtualMachine, VM_PATHS))
        hosts = values(read(service.content, vim.HostSystem, ["name"]))
    for of in found.values():
        for device in of["config.hardware.device"]:
            if isinstance(device, vim.vm.device.VirtualCdrom):
                device.key = 3000
    with VcenterDouble(release=release) as vc:
        folder = next(iter(found.values()))["parent"]._moId
        vc.show(
            hosts=[HostSpec(moid, told["name"]) for moid, told in hosts.items()],
            folders=[FolderSpec(folder, "vm", "")],
            vms=[copied(told, moid, folder=folder) for moid, told in found.items()],
        )
        with connected(vc) as service:
            copies = values(read(service.content, vim.VirtualMachine, VM_PATHS))
    assert copies.keys() == found.keys()
    for moid, told in found.items():
        told.pop("resourcePool")
        copies[moid].pop("resourcePool")
        assert plain(copies[moid].pop("config.hardware.device"), leave) == plain(
            told.pop("config.hardware.device"), leave
        )
        assert {path: plain(value) for path, value in copies[moid].items()} == {
            path: plain(value) for path, value in told.items()
        }


@pytest.mark.parametrize("release", [None, "7.0"])
def test_a_rendered_copy_is_byte_for_byte_what_the_simulator_sends(vcsim: VcSim, release: str | None) -> None:
    paths = ["config.template", "config.uuid", "name", "runtime.connectionState", "runtime.host", "runtime.powerState"]
    paths.insert(2, "guest.net")
    with VcenterDouble(vcsim, release=release) as vc, connected(vc) as service:
        found = values(read(service.content, vim.VirtualMachine, VM_PATHS))
        sent = told_bytes(vc, service, vim.VirtualMachine, paths)
    if release:
        # vCenter names the type of a reference first, and that of every item of an array; the simulator does neither
        sent = re.sub(rb'( xsi:type="ManagedObjectReference")( type="HostSystem")', rb"\2\1", sent)
        sent = sent.replace(b"<GuestNicInfo>", b'<GuestNicInfo xsi:type="GuestNicInfo">')
    with VcenterDouble(release=release) as vc:
        hosts = [HostSpec(moid, moid) for moid in {told["runtime.host"]._moId for told in found.values()}]
        vc.show(hosts=hosts, vms=[copied(told, moid) for moid, told in found.items()])
        with connected(vc) as service:
            rendered = told_bytes(vc, service, vim.VirtualMachine, paths)
    assert rendered.count(b"<objects>") == 9
    assert rendered == sent


def test_a_rendered_host_has_the_types_of_the_simulators(vcsim: VcSim) -> None:
    def shape(value: Any) -> Any:
        match plain(value, frozenset({"instanceUuid", "port"})):
            case [first, *_]:
                return shape_of(first)
            case other:
                return shape_of(other)

    def shape_of(told: Any) -> Any:
        match told:
            case (kind, dict(fields)):
                return kind, {name: shape_of(one) for name, one in fields.items()}
            case (kind, _):
                return kind
            case [first, *_]:
                return [shape_of(first)]
            case _:
                return told

    with VcenterDouble(vcsim) as vc, connected(vc) as service:
        real = values(read(service.content, vim.HostSystem, HOST_PATHS))["host-21"]
    with VcenterDouble() as vc:
        vc.show(hosts=[HostSpec("host-21", "a")], vms=[VmSpec("vm-1", "b", "host-21")])
        with connected(vc) as service:
            rendered = values(read(service.content, vim.HostSystem, HOST_PATHS))["host-21"]
    for card in real["config.network.pnic"]:
        card.fcoeConfiguration = None
        card.validLinkSpecification = []
    assert {path: shape(value) for path, value in rendered.items()} == {
        path: shape(value) for path, value in real.items()
    }


@pytest.mark.parametrize("release", list(RELEASES))
def test_every_release_shows_a_world_in_its_own_version(release: str) -> None:
    with VcenterDouble(release=release) as vc:
        vc.show(hosts=[HostSpec("host-1", "esx", serial="7Q5RN52")], vms=[VmSpec("vm-1", "web", "host-1")])
        with connected(vc) as service:
            about = service.content.about
            assert service._stub.versionId == f'"urn:vim25/{RELEASES[release].api}"'
            assert (about.apiType, about.version) == ("VirtualCenter", RELEASES[release].version)
            assert about.instanceUuid
            host = values(read(service.content, vim.HostSystem, ["hardware.systemInfo", "summary.config.product"]))[
                "host-1"
            ]
    system = host["hardware.systemInfo"]
    assert [one.identifierValue for one in system.otherIdentifyingInfo if one.identifierType.key == "ServiceTag"] == [
        "7Q5RN52"
    ]
    assert system.serialNumber == (None if release == "6.5" else "7Q5RN52")
    assert host["summary.config.product"].build == RELEASES[release].host_build


def estate_of_all() -> dict[str, Any]:
    """One of each thing, in two datacenters."""
    return {
        "datacenters": [
            DatacenterSpec("datacenter-2", "Shanghai"),
            DatacenterSpec("datacenter-3", "Beijing", "group-d9"),
        ],
        "folders": [
            FolderSpec("group-d9", "North", ""),
            FolderSpec("group-v20", "prod"),
            FolderSpec("group-v21", "web", "group-v20"),
        ],
        "clusters": [ClusterSpec("domain-c7", "blue"), ClusterSpec("domain-c8", "red", "datacenter-3")],
        "hosts": [
            HostSpec("host-1", "esx-1", "domain-c7", datastores=("datastore-1",)),
            HostSpec("host-2", "esx-2", "domain-c8", told=False, connection="disconnected"),
            HostSpec("host-3", "alone", vnics=(VnicSpec(v6=("2001:db8::1",)), VnicSpec("vmk1", ip="10.8.0.1"))),
        ],
        "pools": [
            PoolSpec("resgroup-50", "gold", "domain-c7"),
            PoolSpec("resgroup-v51", "shop", "resgroup-50", vapp=True),
        ],
        "datastores": [DatastoreSpec("datastore-1", "fast", 10, 5)],
        "vms": [
            VmSpec(
                "vm-1",
                "web-1",
                "host-1",
                folder="group-v21",
                pool="resgroup-50",
                nics=(NicSpec("00:50:56:00:00:01", ("10.0.0.1",)),),
            ),
            VmSpec("vm-2", "shop-1", "host-1", vapp="resgroup-v51"),
            VmSpec("vm-3", "golden", "host-3", template=True, power="poweredOff"),
            VmSpec("vm-4", "lost", None, connection="orphaned", power="poweredOff"),
            VmSpec(
                "vm-5", "vCLS-1", "host-1", managed_by=("VirtualCenter", "cluster-agent"), tools="guestToolsNotRunning"
            ),
        ],
    }


def test_everything_stands_where_it_was_put() -> None:
    with VcenterDouble() as vc:
        vc.show(**estate_of_all())
        with connected(vc) as service:
            content = service.content
            folders = values(read(content, vim.Folder, ["name", "parent"]))
            pools = read(content, vim.ResourcePool, ["name", "parent", "owner"])
            computes = values(read(content, vim.ComputeResource, ["host", "name"]))
            vms = values(read(content, vim.VirtualMachine, ["parent", "parentVApp", "resourcePool", "runtime.host"]))
            hosts = values(
                read(
                    content,
                    vim.HostSystem,
                    ["parent", "vm", "datastore", "hardware.systemInfo", "runtime.connectionState"],
                )
            )
            (store,) = values(read(content, vim.Datastore, ["summary"])).values()
            centers = {one._moId for one in view_of(content, vim.Datacenter).view}
            inside = content.viewManager.CreateContainerView(
                vim.Datacenter("datacenter-3", service._stub), [vim.HostSystem], True
            )
            assert [one._moId for one in inside.view] == ["host-2"]
            direct = content.viewManager.CreateContainerView(content.rootFolder, [], False)
            assert {one._moId for one in direct.view} == {"group-d9", "datacenter-2"}
    assert centers == {"datacenter-2", "datacenter-3"}
    assert folders["group-v21"]["parent"]._moId == "group-v20"
    assert folders["group-v20"]["parent"]._moId == "group-v2"
    assert {one.obj._moId: type(one.obj) for one in pools}["resgroup-v51"] is vim.VirtualApp
    assert [host._moId for host in computes["domain-c8"]["host"]] == ["host-2"]
    assert [host._moId for host in computes["domain-s3"]["host"]] == ["host-3"]
    assert vms["vm-1"]["resourcePool"]._moId == "resgroup-50"
    assert "parent" not in vms["vm-2"]
    assert vms["vm-2"]["parentVApp"]._moId == "resgroup-v51"
    assert "resourcePool" not in vms["vm-3"]
    assert "runtime.host" not in vms["vm-4"]
    assert [vm._moId for vm in hosts["host-1"]["vm"]] == ["vm-1", "vm-2", "vm-5"]
    assert hosts["host-2"] == {
        "parent": hosts["host-2"]["parent"],
        "runtime.connectionState": "disconnected",
        "datastore": [],
    }
    assert hosts["host-2"]["parent"]._moId == "domain-c8"
    assert (store["summary"].capacity, store["summary"].accessible) == (10, True)


def test_what_vcenter_does_not_know_of_a_machine_is_unset() -> None:
    with VcenterDouble() as vc:
        vc.show(**estate_of_all())
        with connected(vc) as service:
            found = values(read(service.content, vim.VirtualMachine, [*VM_PATHS, "config.managedBy"]))
    assert sorted(found["vm-4"]) == ["name", "parent", "runtime.connectionState", "runtime.powerState"]
    assert found["vm-1"]["guest.ipAddress"] == "10.0.0.1"
    assert "guest.hostName" not in found["vm-5"]
    assert found["vm-5"]["config.managedBy"].type == "cluster-agent"
    assert found["vm-3"]["config.template"] is True


def test_a_world_changes_between_readings_and_views_are_of_the_present() -> None:
    with VcenterDouble() as vc:
        vc.show(vms=[VmSpec("vm-1", "a"), VmSpec("vm-2", "b")])
        with connected(vc) as service:
            view = view_of(service.content, vim.VirtualMachine)
            assert len(view.view) == 2
            vc.show(vms=[VmSpec("vm-1", "renamed", cpus=8)])
            assert len(view.view) == 1
            (told,) = values(read(service.content, vim.VirtualMachine, ["name", "config.hardware.numCPU"])).values()
    assert told == {"name": "renamed", "config.hardware.numCPU": 8}


def test_a_lone_esxi_host_says_that_it_is_one() -> None:
    with VcenterDouble(esxi=True, release="7.0") as vc:
        vc.show(hosts=[HostSpec("ha-host", "esx-1")], vms=[VmSpec("1", "web", "ha-host")])
        with connected(vc, user="ledger@vsphere.local") as service:
            about = service.content.about
            assert (about.apiType, about.instanceUuid, about.productLineId) == ("HostAgent", None, "embeddedEsx")
            (host,) = view_of(service.content, vim.HostSystem).view
            assert host._moId == "ha-host"
            assert values(read(service.content, vim.ComputeResource, ["name"])).keys() == {"ha-compute-res"}


def test_only_who_logged_in_with_the_password_is_answered() -> None:
    with VcenterDouble() as vc:
        with pytest.raises(vim.fault.InvalidLogin), connected(vc, pwd="wrong"):
            pass
        with connected(vc) as service:
            assert service.content.sessionManager.currentSession.userName == "VSPHERE.LOCAL\\ledger"
            roles = {role.roleId: role for role in service.content.authorizationManager.roleList}
            assert roles[-5].privilege == []
            assert "System.Read" in roles[-2].privilege
            (permission,) = service.content.authorizationManager.RetrieveAllPermissions()
            assert (permission.entity, permission.roleId) == (service.content.rootFolder, -2)
            service.content.sessionManager.Logout()
            with pytest.raises(vim.fault.NotAuthenticated):
                view_of(service.content, vim.HostSystem)


def test_a_made_up_estate_is_as_large_as_was_asked() -> None:
    with VcenterDouble() as vc:
        vc.show(**estate(clusters=2, hosts=3, vms=50))
        with connected(vc) as service:
            found = values(read(service.content, vim.VirtualMachine, VM_PATHS, size=20))
            assert len(view_of(service.content, vim.HostSystem).view) == 6
    assert len({one["config.uuid"] for one in found.values()}) == 50
