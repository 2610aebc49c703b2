"""Inventories that have everything there is to read, for the tests of the pure half and the kept readings."""

from __future__ import annotations

from typing import Any

from tests.doubles.vcenter import (
    ClusterSpec,
    DatastoreSpec,
    DiskSpec,
    FolderSpec,
    HostSpec,
    NicSpec,
    PoolSpec,
    VcenterDouble,
    VmSpec,
    VnicSpec,
)

GIB = 1 << 30
CLUSTERS = (ClusterSpec("domain-c8", "prod"), ClusterSpec("domain-c9", "test%2flab"))
DATASTORES = (
    DatastoreSpec("datastore-11", "san-1", capacity=8192 * GIB),
    DatastoreSpec("datastore-12", "nfs%2f2", capacity=2048 * GIB, type="NFS"),
    DatastoreSpec("datastore-13", "gone", accessible=False),
)
HOSTS = (
    HostSpec(
        "host-21",
        "esx1.example.com",
        cluster="domain-c8",
        uuid="4c4c4544-0051-3510-8052-b9c04f4e5a21",
        serial="7Q5RN51",
        vnics=(
            VnicSpec("vmk0", "00:50:56:60:21:01", "10.8.0.21", portgroup="vMotion"),
            VnicSpec("vmk1", "00:50:56:60:21:02", "10.9.0.21", v6=("2001:db8::21", "fe80::250:56ff:fe60:2102")),
        ),
        management=("vmk0", "vmk1"),
        pnics=("3c:ec:ef:00:21:01", "3c:ec:ef:00:21:02"),
        datastores=("datastore-11", "datastore-12"),
    ),
    HostSpec(
        "host-22",
        "esx2.example.com",
        cluster="domain-c8",
        uuid="4c4c4544-0051-3510-8052-b9c04f4e5a22",
        serial=None,
        tags=(("AssetTag", "unknown"), ("ServiceTag", "ENC0001"), ("ServiceTag", "7Q5RN53")),
        pnics=("3c:ec:ef:00:22:01",),
        vnics=(VnicSpec(mac="00:50:56:60:22:01", ip="10.9.0.22"),),
        management=(),
        maintenance=True,
        datastores=("datastore-11", "datastore-13"),
    ),
    HostSpec(
        "host-23",
        "10.9.0.23",
        cluster="domain-c9",
        uuid="4c4c4544-0051-3510-8052-b9c04f4e5a23",
        serial=None,
        tags=(("EnclosureSerialNumberTag", "ENC0001"),),
        connection="notResponding",
        power="unknown",
        vnics=(VnicSpec(mac="00:50:56:60:23:01", ip="10.9.0.23"),),
        pnics=("3c:ec:ef:00:23:01",),
        datastores=("datastore-11",),
    ),
    HostSpec("host-24", "esx4.example.com", cluster="domain-c9", connection="disconnected", told=False),
    HostSpec(
        "host-25",
        "esx5.example.com",
        uuid="4c4c4544-0051-3510-8052-b9c04f4e5a25",
        serial="7Q5RN55",
        power="standBy",
        connection="notResponding",
        vnics=(VnicSpec(mac="00:50:56:60:25:01", ip="10.9.0.25"),),
        pnics=("3c:ec:ef:00:25:01",),
    ),
)
FOLDERS = (FolderSpec("group-v31", "prod"), FolderSpec("group-v32", "web%2ffront", parent="group-v31"))
POOLS = (
    PoolSpec("resgroup-41", "gold", "domain-c8"),
    PoolSpec("resgroup-42", "databases", "resgroup-41"),
    PoolSpec("resgroup-v43", "shop", "domain-c8", vapp=True),
)
VMS = (
    VmSpec(
        "vm-101",
        "web%2f01",
        host="host-21",
        uuid="42010000-0000-4000-8000-000000000101",
        instance_uuid="50010000-0000-4000-8000-000000000101",
        cpus=4,
        memory_mb=8192,
        disks=(DiskSpec(40 * GIB), DiskSpec(100 * GIB)),
        nics=(
            NicSpec("00:50:56:00:01:01", ("10.1.0.11", "fe80::250:56ff:fe00:101", "2001:db8:1::11")),
            NicSpec("00:50:56:00:01:02", ("192.168.50.11",), type="VirtualE1000e", network="backup"),
        ),
        guest_hostname="web01.example.com",
        guest_full_name="Ubuntu Linux (64-bit)",
        guest_family="linuxGuest",
        folder="group-v32",
        pool="resgroup-42",
        created="2023-04-05T06:07:08Z",
    ),
    VmSpec(
        "vm-102",
        "win-dc",
        host="host-22",
        uuid="42010000-0000-4000-8000-000000000102",
        instance_uuid="50010000-0000-4000-8000-000000000102",
        nics=(NicSpec("00:50:56:00:02:01", ("10.1.0.12",)),),
        guest_hostname="DC1",
        guest_full_name="Microsoft Windows Server 2022 (64-bit)",
        guest_family="windowsGuest",
        guest_id="windows2019srvNext_64Guest",
        configured_guest="Microsoft Windows Server 2022 (64-bit)",
        vapp="resgroup-v43",
        disks=(DiskSpec(80 * GIB, in_bytes=False),),
    ),
    VmSpec(
        "vm-103",
        "off",
        host="host-22",
        uuid="42010000-0000-4000-8000-000000000103",
        instance_uuid="50010000-0000-4000-8000-000000000103",
        nics=(NicSpec("00:50:56:00:03:01", ()),),
        tools="guestToolsNotRunning",
        power="poweredOff",
        folder="group-v31",
    ),
    VmSpec(
        "vm-104",
        "no-tools",
        host="host-21",
        uuid="42010000-0000-4000-8000-000000000104",
        instance_uuid="50010000-0000-4000-8000-000000000104",
        nics=(NicSpec("00:50:56:00:04:01", ()),),
        tools="guestToolsNotRunning",
        guest_id="freebsd13_64Guest",
        configured_guest="FreeBSD 13 or later versions (64-bit)",
    ),
    VmSpec(
        "vm-105",
        "base-image",
        host="host-21",
        uuid="42010000-0000-4000-8000-000000000105",
        instance_uuid="50010000-0000-4000-8000-000000000105",
        tools="guestToolsNotRunning",
        power="poweredOff",
        template=True,
    ),
    VmSpec(
        "vm-106",
        "vCLS-1",
        host="host-22",
        uuid="42010000-0000-4000-8000-000000000106",
        instance_uuid="50010000-0000-4000-8000-000000000106",
        managed_by=("com.vmware.vim.eam", "cluster-agent"),
        guest_id="crxPod1Guest",
        configured_guest="CRX Pod 1 (64-bit)",
    ),
    VmSpec(
        "vm-107",
        "asleep",
        host="host-21",
        uuid="42010000-0000-4000-8000-000000000107",
        instance_uuid="50010000-0000-4000-8000-000000000107",
        power="suspended",
        tools="guestToolsNotRunning",
        disks=(),
    ),
    VmSpec("vm-108", "inaccessible", host="host-21", connection="inaccessible"),
    VmSpec("vm-109", "orphan", connection="orphaned"),
    VmSpec("vm-110", "on-a-lost-host", host="host-23", connection="disconnected"),
    VmSpec("vm-111", "damaged", host="host-21", connection="invalid"),
)


def show_everything(vc: VcenterDouble, *, esxi: bool = False) -> None:
    """Show a vCenter, or an ESXi host, that has everything."""
    everything: dict[str, Any] = {
        "clusters": CLUSTERS,
        "datastores": DATASTORES,
        "hosts": HOSTS,
        "folders": FOLDERS,
        "pools": POOLS,
        "vms": VMS,
    }
    if esxi:
        host = HostSpec(
            "ha-host",
            "esx9.example.com",
            uuid="4c4c4544-0051-3510-8052-b9c04f4e5a29",
            datastores=("datastore-11",),
            vnics=(VnicSpec(mac="00:50:56:60:29:01", ip="10.9.0.29"),),
        )
        nic = NicSpec("00:50:56:00:91:01", ("10.1.0.91",))
        uuids = {
            "uuid": "42010000-0000-4000-8000-000000000901",
            "instance_uuid": "50010000-0000-4000-8000-000000000901",
        }
        vms = (VmSpec("1", "nvr", host="ha-host", nics=(nic,), **uuids),)
        everything = {"datastores": DATASTORES[:1], "hosts": (host,), "vms": vms}
    vc.show(**everything)
