"""What a state declares of a machine: each provider's shape in the ledger's units, and nothing that is only guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.iac import pulumi_state
from asset_ledger.domain.iac.documents import recognised
from asset_ledger.domain.iac.machines import Machine, declared, is_machine
from asset_ledger.domain.iac.redaction import redacted
from asset_ledger.domain.iac.snapshot import Resource
from asset_ledger.domain.iac.uids import identities
from tests.domain.iac.json_values import values
from tests.domain.iac.states import KEY, NAMING, block, instance, only

MIB, GIB = 1 << 20, 1 << 30
BIOS = "4210b5f6-1d4e-7c1a-9a43-0c5f6a1b2c3d"
PROVIDERS = {"vsphere": "hashicorp/vsphere", "alicloud": "aliyun/alicloud", "aws": "hashicorp/aws",
             "azurerm": "hashicorp/azurerm", "google": "hashicorp/google"}  # fmt: skip


def resource(type_: str, attributes: dict[str, Any], **more: Any) -> Resource:
    name = "bpg/proxmox" if "environment" in type_ else "telmate/proxmox"
    told = PROVIDERS.get(type_.partition("_")[0], name)
    return only(block(type_, "a", instance(attributes, **more), provider=f'provider["registry.terraform.io/{told}"]'))


def said(told: Resource) -> Machine | None:
    """Return what a resource declares, by the way of the ledger: named, redacted, read."""
    return declared(told, redacted(told, KEY), identities([told], NAMING, {})[told.place].named)


def machine(type_: str, attributes: dict[str, Any], **more: Any) -> Machine:
    found = said(resource(type_, attributes, **more))
    assert found is not None
    return found


VSPHERE = {
    "id": BIOS,
    "uuid": BIOS,
    "moid": "vm-1042",
    "name": "shop-1",
    "num_cpus": 4,
    "num_cores_per_socket": 2,
    "memory": 8192,
    "disk": [
        {"label": "disk0", "size": 40, "attach": False, "unit_number": 0},
        {"label": "disk1", "size": 100, "attach": False, "unit_number": 1},
    ],
    "power_state": "on",
    "host_system_id": "host-12",
    "default_ip_address": "10.1.0.5",
    "guest_ip_addresses": ["10.1.0.5", "fe80::250:56ff:fe90:1", "127.0.0.1", "2001:db8::5"],
    "cdrom": [{"path": ""}],
}
BPG_VM = {
    "id": "101",
    "vm_id": 101,
    "name": "web-1",
    "node_name": "pve2",
    "started": True,
    "template": False,
    "clone": [],
    "cpu": [{"cores": 2, "sockets": 2, "type": "host", "units": 1024, "hotplugged": 0}],
    "memory": [{"dedicated": 4096, "floating": 0, "shared": 0}],
    "disk": [{"interface": "virtio0", "size": 32, "datastore_id": "ceph"}, {"interface": "scsi1", "size": 8}],
    "efi_disk": [{"type": "4m"}],
    "smbios": [{"uuid": BIOS.upper()}],
    "ipv4_addresses": [["127.0.0.1"], ["10.2.0.7", "10.2.0.8"], ["172.17.0.1"]],
    "ipv6_addresses": [["::1"], ["fe80::1", "2001:db8::7"], []],
    "network_interface_names": ["lo", "eth0", "docker0"],
}
BPG_LXC = {
    "id": "7",
    "vm_id": 7,
    "node_name": "pve1",
    "started": False,
    "cpu": [{"architecture": "amd64", "cores": 1}],
    "memory": [{"dedicated": 512, "swap": 0}],
    "disk": [{"datastore_id": "local", "size": 4}],
    "mount_point": [{"volume": "/srv/shared", "path": "/s", "size": ""}, {"volume": "local", "path": "/d", "size": "10G"}],
    "initialization": [
        {
            "hostname": "dns",
            "ip_config": [
                {"ipv4": [{"address": "10.2.0.53/24", "gateway": "10.2.0.1"}], "ipv6": []},
                {"ipv4": [{"address": "dhcp"}], "ipv6": [{"address": "2001:db8::53/64"}]},
            ],
        }
    ],
}  # fmt: skip
TELMATE = {
    "id": "pve1/qemu/100",
    "vmid": 100,
    "name": "db-1",
    "desc": "Datenbank",
    "target_node": "pve1",
    "cores": 4,
    "sockets": 2,
    "cpu": "host",
    "memory": 16384,
    "vm_state": "stopped",
    "default_ipv4_address": "10.2.0.9",
    "default_ipv6_address": "",
    "disk": [
        {"type": "scsi", "size": "32G", "media": "disk"},
        {"type": "virtio", "size": "512M", "media": "disk"},
        {"type": "ide", "size": "4M", "media": "cdrom"},
    ],
}
TELMATE_3 = {
    "id": "pve1/qemu/100",
    "name": "db-1",
    "target_node": "pve1",
    "cores": 0,
    "sockets": 0,
    "cpu": [{"cores": 4, "sockets": 2, "type": "host"}],
    "memory": 16384,
    "vm_state": "running",
    "smbios": [{"uuid": BIOS}],
    "disk": [],
    "disks": [
        {
            "scsi": [{"scsi0": [{"disk": [{"size": "32G"}], "cdrom": []}], "scsi1": []}],
            "virtio": [{"virtio0": [{"passthrough": [{"file": "/dev/sdb", "size": "1T"}]}]}],
            "ide": [{"ide2": [{"cloudinit": [{"storage": "local"}], "disk": []}], "ide0": [{"cdrom": [{"iso": "x"}]}]}],
        }
    ],
}
LXC = {
    "id": "pve1/lxc/102",
    "vmid": 102,
    "hostname": "cache",
    "target_node": "pve1",
    "cores": 2,
    "memory": 1024,
    "rootfs": [{"size": "8G", "storage": "local"}],
    "mountpoint": [{"mp": "/d", "size": "2G", "volume": "local:102/d"}, {"mp": "/h", "size": "0T", "volume": "/srv"}],
    "network": [{"name": "eth0", "ip": "10.2.0.20/24", "ip6": "auto"}, {"name": "eth1", "ip": "dhcp"}],
}
GUEST = {
    "id": "pve1/lxc/103",
    "guest_id": 103,
    "name": "queue",
    "target_node": "pve1",
    "power_state": "running",
    "cpu": [{"cores": 3, "limit": 0}],
    "memory": 2048,
    "root_mount": [{"size": "4G"}],
    "mount": [{"slot": "mp0", "type": "bind", "host_path": "/srv"}],
    "mounts": [{"mp1": [{"data": [{"size": "6G"}], "bind": []}]}],
    "networks": [{"net0": [{"ipv4_address": "10.2.0.30/24"}]}],
}
ALICLOUD = {
    "id": "i-bp1",
    "instance_name": "api-1",
    "cpu": 2,
    "memory": 8192,
    "status": "Running",
    "private_ip": "172.16.0.4",
    "primary_ip_address": "172.16.0.4",
    "public_ip": "47.1.2.3",
    "system_disk_size": 40,
    "data_disks": [{"size": 100}],
}
AWS = {
    "id": "i-1",
    "arn": "arn:aws:ec2:eu-west-1:1:instance/i-1",
    "tags": {"Name": "job-1"},
    "cpu_options": [{"core_count": 2, "threads_per_core": 2}],
    "instance_state": "stopped",
    "private_ip": "10.9.0.1",
    "secondary_private_ips": ["10.9.0.2"],
    "public_ip": "3.3.3.3",
    "ipv6_addresses": ["2001:db8:9::1"],
    "root_block_device": [{"volume_size": 8}],
}
AZURE = {
    "id": "/subscriptions/S/x",
    "virtual_machine_id": BIOS,
    "name": "vm",
    "size": "Standard_B1s",
    "private_ip_address": "10.8.0.4",
    "private_ip_addresses": ["10.8.0.4", "10.8.0.5"],
}
GOOGLE = {
    "id": "projects/p/zones/z/instances/n",
    "name": "n",
    "machine_type": "e2-small",
    "current_status": "TERMINATED",
    "network_interface": [{"network_ip": "10.7.0.2", "access_config": [{"nat_ip": "34.1.1.1"}]}],
}
U = UUID(BIOS)

SHAPES = [
    ("vsphere_virtual_machine", VSPHERE,
     Machine("vm", "vm-1042", U, "shop-1", 4, 8192 * MIB, 140 * GIB, "on", "host-12", ("10.1.0.5", "2001:db8::5"))),
    ("proxmox_virtual_environment_vm", BPG_VM,
     Machine("vm", "qemu/101", U, "web-1", 4, 4096 * MIB, 40 * GIB, "on", "pve2",
             ("10.2.0.7", "10.2.0.8", "172.17.0.1", "2001:db8::7"))),
    ("proxmox_virtual_environment_vm2", {"id": "9", "name": "v", "node_name": "pve3", "cpu": {"cores": 2, "sockets": None}},
     Machine("vm", "qemu/9", None, "v", 2, None, None, None, "pve3")),
    ("proxmox_virtual_environment_container", BPG_LXC,
     Machine("vm", "lxc/7", None, "dns", 1, 512 * MIB, 14 * GIB, "off", "pve1", ("10.2.0.53", "2001:db8::53"))),
    ("proxmox_vm_qemu", TELMATE,
     Machine("vm", "qemu/100", None, "db-1", 8, 16384 * MIB, 32 * GIB + 512 * MIB, "off", "pve1", ("10.2.0.9",))),
    ("proxmox_vm_qemu", TELMATE_3,
     Machine("vm", "qemu/100", U, "db-1", 8, 16384 * MIB, 1056 * GIB, "on", "pve1")),
    ("proxmox_lxc", LXC, Machine("vm", "lxc/102", None, "cache", 2, GIB, 10 * GIB, None, "pve1", ("10.2.0.20",))),
    ("proxmox_lxc_guest", GUEST,
     Machine("vm", "lxc/103", None, "queue", 3, 2 * GIB, 10 * GIB, "on", "pve1", ("10.2.0.30",))),
    ("alicloud_instance", ALICLOUD, Machine("vm", "i-bp1", None, "api-1", 2, 8 * GIB, None, "on", None, ("172.16.0.4",))),
    ("aws_instance", AWS,
     Machine("vm", "i-1", None, "job-1", 4, None, None, "off", None, ("10.9.0.1", "10.9.0.2", "2001:db8:9::1"))),
    ("azurerm_linux_virtual_machine", AZURE, Machine(uuid=U, name="vm", ip_addresses=("10.8.0.4", "10.8.0.5"))),
    ("google_compute_instance", GOOGLE, Machine(name="n", power_state="off", ip_addresses=("10.7.0.2",))),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "attributes", "expected"), SHAPES)
def test_every_provider_s_machine_is_told_in_the_ledger_s_units(
    type_: str, attributes: dict[str, Any], expected: Machine
) -> None:
    assert machine(type_, attributes) == expected


def test_a_machine_of_aliyun_says_its_region() -> None:
    assert machine("alicloud_instance", {**ALICLOUD, "availability_zone": "cn-hangzhou-h"}).region == "cn-hangzhou"
    assert machine("alicloud_instance", {**ALICLOUD, "availability_zone": "ap-southeast-1a"}).region == "ap-southeast-1"
    marks = [[{"type": "get_attr", "value": "availability_zone"}]]
    hidden = machine(
        "alicloud_instance", {**ALICLOUD, "availability_zone": "cn-hangzhou-h"}, sensitive_attributes=marks
    )
    assert hidden.region is None
    assert machine("aws_instance", {**AWS, "availability_zone": "eu-west-1a"}).region is None


PULUMI = [
    ("vsphere:index/virtualMachine:VirtualMachine",
     {"id": BIOS, "uuid": BIOS, "moid": "vm-7", "name": "p", "numCpus": 2, "memory": 1024,
      "disks": [{"label": "d", "size": 20, "attach": False}], "powerState": "suspended", "hostSystemId": "host-1",
      "guestIpAddresses": ["10.1.0.6"]},
     Machine("vm", "vm-7", U, "p", 2, GIB, 20 * GIB, "suspended", "host-1", ("10.1.0.6",))),
    ("proxmoxve:VM/virtualMachine:VirtualMachine",
     {"id": "104", "vmId": 104, "name": "p", "nodeName": "pve1", "started": True, "cpu": {"cores": 2, "sockets": 1},
      "memory": {"dedicated": 2048}, "disks": [{"interface": "scsi0", "size": 16}],
      "ipv4Addresses": [["127.0.0.1"], ["10.2.0.4"]]},
     Machine("vm", "qemu/104", None, "p", 2, 2 * GIB, 16 * GIB, "on", "pve1", ("10.2.0.4",))),
    ("proxmoxve:CT/container:Container",
     {"id": "105", "vmId": 105, "nodeName": "pve1", "started": True, "cpu": {"cores": 1}, "memory": {"dedicated": 512},
      "disk": {"size": 4}, "mountPoints": [{"volume": "local", "path": "/d", "size": "1G"}],
      "initialization": {"hostname": "c", "ipConfigs": [{"ipv4": {"address": "10.2.0.5/24"}}]}},
     Machine("vm", "lxc/105", None, "c", 1, 512 * MIB, 5 * GIB, "on", "pve1", ("10.2.0.5",))),
    ("alicloud:ecs/instance:Instance",
     {"id": "i-b", "instanceName": "p", "cpu": 2, "memory": 4096, "status": "Stopped", "privateIp": "172.16.0.9"},
     Machine("vm", "i-b", None, "p", 2, 4 * GIB, None, "off", None, ("172.16.0.9",))),
    ("aws:ec2/instance:Instance",
     {"id": "i-2", "tags": {"Name": "p"}, "cpuOptions": {"coreCount": 1, "threadsPerCore": 2},
      "instanceState": "running", "privateIp": "10.9.0.9", "secondaryPrivateIps": []},
     Machine("vm", "i-2", None, "p", 2, None, None, "on", None, ("10.9.0.9",))),
    ("gcp:compute/instance:Instance", {"name": "p", "currentStatus": "RUNNING", "networkInterfaces": [{"networkIp": "10.7.0.9"}]},
     Machine(name="p", power_state="on", ip_addresses=("10.7.0.9",))),
    ("azure:compute/linuxVirtualMachine:LinuxVirtualMachine",
     {"id": "/subscriptions/S/x", "virtualMachineId": BIOS, "name": "p", "privateIpAddress": "10.8.0.9"},
     Machine(uuid=U, name="p", ip_addresses=("10.8.0.9",))),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "outputs", "expected"), PULUMI)
def test_pulumi_s_machines_say_the_same_in_its_spelling(type_: str, outputs: dict[str, Any], expected: Machine) -> None:
    told = {
        "urn": f"urn:pulumi:s::p::{type_}::a",
        "type": type_,
        "custom": True,
        "id": outputs.get("id", "x"),
        "outputs": outputs,
    }
    body = json.dumps({"version": 3, "deployment": {"manifest": {}, "resources": [told]}}).encode()
    (found,) = pulumi_state.read(recognised(body).document).resources
    assert said(found) == expected


@pytest.mark.parametrize(
    ("type_", "attributes", "change", "field"),
    [
        # what only hangs on the machine has a size that is not the provider's
        ("vsphere_virtual_machine", VSPHERE, {"disk": [{"size": 40}, {"size": 0, "attach": True}]}, "disk_total_bytes"),
        ("vsphere_virtual_machine", VSPHERE, {"disk": [{"size": 40}, {"size": None}]}, "disk_total_bytes"),
        ("vsphere_virtual_machine", VSPHERE, {"disk": []}, "disk_total_bytes"),
        # a clone has its template's disks too
        ("proxmox_virtual_environment_vm", BPG_VM, {"clone": [{"vm_id": 9000}]}, "disk_total_bytes"),
        ("proxmox_virtual_environment_container", BPG_LXC, {"clone": [{"vm_id": 9000}]}, "disk_total_bytes"),
        ("proxmox_virtual_environment_container", BPG_LXC, {"disk": [{"size": 0}]}, "disk_total_bytes"),
        ("proxmox_lxc", LXC, {"clone": "9000"}, "disk_total_bytes"),
        ("proxmox_virtual_environment_vm", BPG_VM, {"template": True}, "power_state"),
        ("proxmox_vm_qemu", TELMATE, {"vm_state": "started"}, "power_state"),
        ("proxmox_vm_qemu", TELMATE, {"disk": [{"type": "disk", "size": "32G"}, {"type": "ignore"}]}, "disk_total_bytes"),
        ("proxmox_vm_qemu", TELMATE, {"disk": [{"type": "scsi", "size": "32"}]}, "disk_total_bytes"),
        ("proxmox_vm_qemu", TELMATE, {"target_node": ""}, "host"),
        # no limit: every core of the node
        ("proxmox_lxc", LXC, {"cores": 0}, "cpu_cores"),
        ("proxmox_lxc_guest", GUEST, {"cpu": [{"cores": 0}]}, "cpu_cores"),
        ("aws_instance", AWS, {"cpu_options": [], "cpu_core_count": 2}, "cpu_cores"),
        ("alicloud_instance", ALICLOUD, {"cpu": 2.5}, "cpu_cores"),
        ("alicloud_instance", ALICLOUD, {"memory": 1 << 62}, "memory_bytes"),
        ("alicloud_instance", ALICLOUD, {"status": "Stopping"}, "power_state"),
        ("vsphere_virtual_machine", VSPHERE, {"uuid": "00000000-0000-0000-0000-000000000000", "id": "x"}, "uuid"),
    ],
)  # fmt: skip
def test_what_is_not_told_for_sure_is_not_told(
    type_: str, attributes: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    before, after = machine(type_, attributes), machine(type_, attributes | change)
    assert getattr(before, field) is not None
    assert after == replace(before, **{field: None})


@pytest.mark.parametrize("field", ["name", "num_cpus", "memory", "disk", "power_state", "host_system_id"])
def test_what_is_secret_is_not_known(field: str) -> None:
    hidden = machine("vsphere_virtual_machine", VSPHERE, sensitive_attributes=[[{"type": "get_attr", "value": field}]])
    assert "redacted" not in repr(hidden)
    names = {"num_cpus": "cpu_cores", "memory": "memory_bytes", "disk": "disk_total_bytes", "host_system_id": "host"}
    assert hidden == replace(machine("vsphere_virtual_machine", VSPHERE), **{names.get(field, field): None})


def test_addresses_that_are_secret_are_not_known() -> None:
    marks = [[{"type": "get_attr", "value": name}] for name in ("guest_ip_addresses", "default_ip_address")]
    assert machine("vsphere_virtual_machine", VSPHERE, sensitive_attributes=marks).ip_addresses == ()


def test_of_an_object_that_waits_to_be_deleted_only_who_it_is_counts() -> None:
    found = machine("vsphere_virtual_machine", VSPHERE, deposed="0badf00d")
    assert found == Machine("vm", "vm-1042", U, "shop-1")


def test_what_nothing_could_be_found_by_is_no_machine() -> None:
    assert said(resource("aws_instance", {"id": None, "tags": {"Name": "never made"}})) is None
    assert said(resource("google_compute_instance", {"name": "n", "network_interface": []})) is None


def test_what_is_no_machine_is_none() -> None:
    for told in (resource("aws_subnet", {"id": "subnet-1"}), resource("vsphere_folder", {"id": "group-v1"})):
        assert said(told) is None
        assert not is_machine(told)


def test_a_state_of_an_old_client_says_the_same_in_text() -> None:
    flat = {
        "id": BIOS, "uuid": BIOS, "moid": "vm-1042", "num_cpus": "4", "memory": "8192", "disk.#": "1",
        "disk.0.size": "40", "disk.0.attach": "false", "guest_ip_addresses.#": "1", "guest_ip_addresses.0": "10.1.0.5",
    }  # fmt: skip
    told = block("vsphere_virtual_machine", "a", {"attributes_flat": flat}, provider='provider["x/hashicorp/vsphere"]')
    found = said(only(told))
    assert found == Machine("vm", "vm-1042", U, None, 4, 8 * GIB, 40 * GIB, ip_addresses=("10.1.0.5",))


def test_the_order_in_which_addresses_come_is_nothing_new() -> None:
    turned = VSPHERE | {"guest_ip_addresses": list(reversed(VSPHERE["guest_ip_addresses"]))}  # type: ignore[call-overload]
    assert machine("vsphere_virtual_machine", turned) == machine("vsphere_virtual_machine", VSPHERE)


def test_a_node_that_has_an_address_for_each_container_tells_none() -> None:
    every = {"guest_ip_addresses": [f"10.{n >> 8}.{n & 255}.1" for n in range(257)]}
    assert machine("vsphere_virtual_machine", VSPHERE | every).ip_addresses == ()


odd = st.one_of(values, st.sampled_from(["32G", "redacted:0123456789ab", -1, 0, 1.5, True, 10**30, float(2**80), "²"]))


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(SHAPES), st.data())
def test_whatever_stands_in_an_attribute_the_machine_fits_its_columns(
    shape: tuple[str, dict[str, Any], Machine], data: st.DataObject
) -> None:
    type_, attributes, _ = shape
    some = data.draw(st.lists(st.sampled_from(sorted(attributes)), unique=True))
    found = said(resource(type_, attributes | {name: data.draw(odd) for name in some}))
    if found is not None:
        assert found.cpu_cores is None or 0 < found.cpu_cores < 1 << 31
        for told in (found.memory_bytes, found.disk_total_bytes):
            assert told is None or 0 < told < 1 << 63
        assert found.power_state in (None, "on", "off", "suspended")
        assert all(text is None or (text and "\0" not in text) for text in (found.name, found.host))
