"""Documents of virtual machines, hosts and clusters: what each field is made of, and what is unknown and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.inventory import AssetRecord, Caution, Proof, TargetFailure, UnchangedRecord
from asset_ledger.domain.normalized import validate
from asset_ledger.sources.vcenter.parse import parse
from asset_ledger.sources.vcenter.raw import Datastore, evidence_record
from tests.patience import calls_of
from tests.sources.vcenter.made import (
    AROUND,
    AT,
    CARD,
    HOST,
    disks,
    document,
    evidence,
    here,
    items,
    many,
    nic,
    one,
    raw,
    ref,
    refused,
    sight,
    text,
)

INACCESSIBLE = "VCENTER_VM_INACCESSIBLE: vCenter says that the virtual machine is inaccessible"
OF_CONFIG = [
    *("config.instanceUuid", "config.uuid", "config.template", "config.hardware.numCPU", "config.hardware.memoryMB"),
    *("config.hardware.device", "guest.hostName", "guest.ipAddress", "guest.net", "guest.toolsRunningStatus"),
    *("guest.guestFullName", "guest.guestFamily", "summary.config.guestFullName", "summary.config.guestId"),
]


def identifiers(told: dict[str, Any], kind: str) -> list[str]:
    return [each["value"] for each in told["identifiers"] if each["kind"] == kind]


def test_a_virtual_machine_says_everything_it_can() -> None:
    told = document()
    assert told["identity"] == {
        "cloud_native_id": "vm-1",
        "hostname": "web01",
        "machine_uuid": "42010203-0405-4607-8809-0a0b0c0d0e0f",
        "generation": {
            "instance_uuid": "50010000-0000-4000-8000-000000000001",
            "uuid": "42010203-0405-4607-8809-0a0b0c0d0e0f",
        },
        "mgmt_ip": "10.0.0.5",
    }
    assert identifiers(told, "vmware_uuid") == ["50010000-0000-4000-8000-000000000001"]
    # as told: the ledger compares UUIDs in either byte order
    assert identifiers(told, "smbios_uuid") == ["42010203-0405-4607-8809-0a0b0c0d0e0f"]
    assert identifiers(told, "mac") == ["00:50:56:aa:00:01", "00:50:56:aa:00:02"] == told["network"]["mac_addresses"]
    assert identifiers(told, "ip") == ["10.0.0.5", "2001:db8::5"]
    assert told["network"]["ip_addresses"] == ["10.0.0.5", "fe80::1", "2001:db8::5", "172.17.0.1"]
    assert [each["name"] for each in told["network"]["interfaces"]] == ["Network adapter 1", "unnamed"]
    assert told["hardware"] == {"cpu_count": 4, "memory_bytes": 8 << 30, "disk_total_bytes": 2048 + 3072}
    assert told["os"] == {"family": "linux", "name": "Debian GNU/Linux 12 (64-bit)"}
    assert told["relations"] == [{"kind": "runs_on", "external_kind": "host", "external_id": here("host-21")}]
    assert told["custom_fields"] == {
        "guest_hostname": "web01.example.com",
        "datacenter": "DC/0",
        "folder": "prod/100%",
        "resource_pool": "gold",
        "tools_state": "running",
    }
    assert set(told["unknown"]) == {
        *("identity.serial_number", "hardware.vendor", "hardware.model", "os.version", "os.kernel")
    }


@pytest.mark.parametrize(
    ("spelled", "seen"),
    [
        ("a%2fb%5cc%25d", "a/b\\c%d"),
        ("100%", "100%"),
        ("%252f", "%2f"),
        (" x\ty ", "x y"),
        ("名" * 400, "名" * 255),
    ],
)
def test_the_names_of_the_inventory_are_shown_as_people_see_them(spelled: str, seen: str) -> None:
    assert document(name=text(spelled))["identity"]["hostname"] == seen


@pytest.mark.parametrize("state", ["inaccessible", "orphaned", "disconnected", "invalid"])
def test_a_machine_whose_configuration_is_not_known_keeps_its_identity_and_says_why(state: str) -> None:
    slice_ = one(without=OF_CONFIG, runtime__connectionState=text(state))
    record, caution = items(slice_)
    assert isinstance(record, AssetRecord)
    assert isinstance(caution, Caution)
    told = record.document
    validate(told, target="x")
    assert told["identity"] == {"cloud_native_id": "vm-1", "hostname": "web01"}
    assert told["runtime"]["power_state"] == "unknown"
    assert told["custom_fields"]["connection_state"] == state
    why = INACCESSIBLE.replace("inaccessible", state)
    facts = {
        *("identity.machine_uuid", "identity.mgmt_ip", "hardware.cpu_count", "hardware.memory_bytes"),
        *("hardware.disk_total_bytes", "os.family", "os.name", "network.ip_addresses", "network.mac_addresses"),
        # one that were only left out would be one that is gone
        *("custom_fields.template", "custom_fields.guest_hostname", "custom_fields.tools_state"),
        *("custom_fields.managed_by", "custom_fields.agent_vm"),
    }
    assert {path for path, reason in told["unknown"].items() if reason == why} == facts
    assert caution.code.code == "VCENTER_VM_INACCESSIBLE"
    assert "vm-1 web01" in caution.message
    assert told["relations"] == [{"kind": "runs_on", "external_kind": "host", "external_id": here("host-21")}]


@pytest.mark.parametrize("state", ["inaccessible", "orphaned", "disconnected", "invalid"])
@pytest.mark.parametrize(
    "name",
    [
        "%2fvmfs%2fvolumes%2f5f3a-01%2fweb01%2fweb01.vmx",
        "/vmfs/volumes/5f3a-01/web01/web01.vmx",
        "[san-1] web01/web01.vmx",
        "web01%2fweb01.vmx",
        "Unknown",
        "Unknown 3 (inaccessible)",
    ],
)
def test_what_vcenter_shows_in_place_of_a_name_it_cannot_read_is_no_name(state: str, name: str) -> None:
    told = document(without=OF_CONFIG, runtime__connectionState=text(state), name=text(name))
    validate(told, target="x")
    assert "hostname" not in told["identity"]
    assert told["unknown"]["identity.hostname"].startswith(f"VCENTER_VM_INACCESSIBLE: it is {state}, and shown as ")
    # one whose configuration is known is called so, and a name may be anything else
    assert "hostname" in document(name=text(name))["identity"]
    assert "hostname" in document(runtime__connectionState=text(state), name=text(name))["identity"]
    other = document(without=OF_CONFIG, runtime__connectionState=text(state), name=text("[web]01 of the unknown"))
    assert other["identity"]["hostname"] == "[web]01 of the unknown"


def test_a_machine_that_nobody_knows_the_host_of_says_nothing_of_it_rather_than_none() -> None:
    state = {"runtime__connectionState": text("orphaned"), "runtime__powerState": text("poweredOff")}
    orphan = document(without=["runtime.host"], **state)
    assert "relations" not in orphan
    assert "relations" in orphan["unknown"]
    assert "relations" not in document(without=["runtime.host"], extra=refused("runtime.host"))
    assert "relations" not in document(without=["runtime.host"])
    assert document(without=["runtime.host"], runtime__powerState=text("poweredOff"))["relations"] == []


@pytest.mark.parametrize(
    ("told", "state"),
    [("poweredOn", "running"), ("poweredOff", "stopped"), ("suspended", "suspended"), ("new", "unknown")],
)
def test_power_states_are_the_ledgers(told: str, state: str) -> None:
    assert document(runtime__powerState=text(told))["runtime"]["power_state"] == state


@pytest.mark.parametrize(
    ("tools", "power", "why"),
    [
        ("guestToolsNotRunning", "poweredOn", "VCENTER_TOOLS_UNAVAILABLE: its Tools are not running"),
        ("guestToolsExecutingScripts", "poweredOn", "VCENTER_TOOLS_UNAVAILABLE: its Tools are starting"),
        ("guestToolsRunning", "poweredOn", "VCENTER_TOOLS_UNAVAILABLE: its Tools run and tell no address"),
        ("guestToolsNotRunning", "poweredOff", "VCENTER_TOOLS_UNAVAILABLE: the virtual machine does not run"),
    ],
)
@pytest.mark.parametrize("net", [None, many("GuestNicInfo"), many("GuestNicInfo", nic("00:50:56:aa:00:01", (), 4000))])
def test_without_an_address_told_addresses_are_unknown_and_never_none(
    tools: str, power: str, why: str, net: str | None
) -> None:
    changed = {"guest__toolsRunningStatus": text(tools), "runtime__powerState": text(power)}
    gone = ["guest.ipAddress"] if net else ["guest.ipAddress", "guest.net"]
    told = document(without=gone, **changed, **({"guest__net": net} if net else {}))
    assert told["unknown"]["network.ip_addresses"] == told["unknown"]["identity.mgmt_ip"] == why
    assert "ip_addresses" not in told["network"]


def test_an_empty_address_of_a_guest_is_none_and_nothing_odd() -> None:
    nets = many("GuestNicInfo", nic("00:50:56:aa:00:01", ("", "10.0.0.5"), 4000), nic("", ("",), -1))
    [found] = items(one(guest__net=nets))
    assert isinstance(found, AssetRecord)
    assert found.document["network"]["ip_addresses"] == ["10.0.0.5"]


def test_the_first_address_counts_where_the_list_is_not_told() -> None:
    told = document(without=["guest.net"])
    assert told["network"]["ip_addresses"] == ["10.0.0.5"]
    assert told["identity"]["mgmt_ip"] == "10.0.0.5"


@pytest.mark.parametrize(
    ("first", "nets", "management"),
    [
        # the address that vCenter shows may be one of a bridge inside of the guest
        ("172.17.0.1", [(("172.17.0.1",), -1), (("10.0.0.9",), 4000)], "10.0.0.9"),
        ("fe80::1", [(("fe80::1", "2001:db8::9", "10.0.0.9"), 4000)], "10.0.0.9"),
        ("2001:db8::9", [(("10.0.0.9", "2001:db8::9"), 4000)], "2001:db8::9"),
        ("127.0.0.1", [(("fe80::1", "2001:db8::9"), 4000)], "2001:db8::9"),
        ("169.254.1.1", [(("169.254.1.1",), 4000)], None),
    ],
)
def test_a_machine_is_managed_by_an_address_of_its_own(first: str, nets: list[Any], management: str | None) -> None:
    net = many("GuestNicInfo", *(nic("00:50:56:aa:00:01", addresses, device) for addresses, device in nets))
    told = document(guest__net=net, guest__ipAddress=text(first))
    assert told["identity"].get("mgmt_ip") == management
    assert ("identity.mgmt_ip" in told["unknown"]) is (management is None)


def test_a_broken_detail_makes_fields_unknown_and_the_other_machines_nothing() -> None:
    broken = one(
        config__hardware__numCPU=text("-3", "xsd:int"),
        guest__net=many("GuestNicInfo", nic("", ("10.0.0.999",), 4000)),
        config__hardware__device=many("VirtualDevice", disks("<capacityInBytes>x</capacityInBytes>")),
    )
    first, caution, second = items(broken, one(moid="vm-2"))
    assert isinstance(first, AssetRecord)
    assert isinstance(second, AssetRecord)
    assert isinstance(caution, Caution)
    for path in ("hardware.cpu_count", "network.ip_addresses", "hardware.disk_total_bytes"):
        assert first.document["unknown"][path].startswith("VCENTER_PARSE_ERROR: ")
    assert first.document["hardware"] == {"memory_bytes": 8 << 30}
    assert (caution.code.code, caution.locator) == ("VCENTER_PARSE_ERROR", "vm-1 web01")
    assert second.document["identity"]["cloud_native_id"] == "vm-2"
    assert second.document["hardware"]["cpu_count"] == 4


def test_a_record_with_a_warning_is_parsed_again_every_day_and_warns_again() -> None:
    record = raw(
        [
            one(config__template=text("?", "xsd:boolean")),
            one(moid="vm-2", runtime__connectionState=text("invalid")),
            one(moid="vm-3"),
        ]
    )
    plain = list(parse(record, {}))
    known = {item.record_digest: item.external_id for item in plain if isinstance(item, AssetRecord)}
    again = list(parse(record, known))
    assert [item.code.code for item in again if isinstance(item, Caution)] == [
        "VCENTER_PARSE_ERROR",
        "VCENTER_VM_INACCESSIBLE",
    ]
    unchanged = [item for item in again if isinstance(item, UnchangedRecord)]
    assert [(item.external_id, item.locator) for item in unchanged] == [
        (item.external_id, item.locator) for item in plain if isinstance(item, AssetRecord)
    ]


def test_a_detail_that_is_refused_names_the_right() -> None:
    told = document(without=["config.hardware.device"], extra=refused("config.hardware.device"))
    why = "VCENTER_PERMISSION_DENIED: the account may not read config.hardware.device"
    assert told["unknown"]["hardware.disk_total_bytes"] == told["unknown"]["network.mac_addresses"] == why
    other = document(without=["config.uuid"], extra=refused("config.uuid", "InvalidProperty"))
    assert other["unknown"]["identity.machine_uuid"] == "NOT_REPORTED: vCenter answers InvalidProperty for config.uuid"


def test_a_machine_that_went_while_it_was_read_is_none() -> None:
    gone = refused("name", "ManagedObjectNotFound")
    assert items(one(without=["name", *OF_CONFIG], extra=gone)) == []


def test_a_machine_without_disks_and_cards_has_none_and_says_so() -> None:
    told = document(config__hardware__device=many("VirtualDevice"), without=["guest.net", "guest.ipAddress"])
    assert told["network"]["mac_addresses"] == []
    assert told["unknown"]["hardware.disk_total_bytes"] == "NOT_REPORTED: it has no disk"


def test_disks_that_are_larger_than_a_column_are_unknown() -> None:
    size = f"<capacityInBytes>{(1 << 63) - 1}</capacityInBytes>"
    told = document(config__hardware__device=many("VirtualDevice", disks(size, size)))
    assert "disk_total_bytes" not in told["hardware"]
    assert told["unknown"]["hardware.disk_total_bytes"].startswith("NOT_REPORTED")


@pytest.mark.parametrize(
    ("family", "guest_id", "ours"),
    [
        ("windowsGuest", "otherGuest", "windows"),
        (None, "windows2019srv_64Guest", "windows"),
        (None, "win2000ServGuest", "windows"),
        (None, "rhel9_64Guest", "linux"),
        (None, "other5xLinux64Guest", "linux"),
        ("otherGuestFamily", "freebsd13_64Guest", "freebsd"),
        (None, "vmkernel8Guest", "esxi"),
        (None, "darwin19_64Guest", "darwin"),
        (None, "otherGuest64", None),
        (None, "dosGuest", None),
    ],
)
def test_the_family_of_a_system_is_the_guests_own_word_or_what_it_is_made_for(
    family: str | None, guest_id: str, ours: str | None
) -> None:
    changed = {"guest__guestFamily": text(family)} if family else {}
    told = document(without=[] if family else ["guest.guestFamily"], summary__config__guestId=text(guest_id), **changed)
    assert told["os"].get("family") == ours
    assert ("os.family" in told["unknown"]) is (ours is None)


def test_templates_agents_and_vapps_are_flagged_and_not_hidden() -> None:
    told = document(
        without=["parent", "resourcePool"],
        config__template=text("true", "xsd:boolean"),
        config__managedBy='<val xsi:type="ManagedByInfo"><extensionKey>com.vmware.vim.eam</extensionKey><type>cluster-agent</type></val>',
        parentVApp=ref("VirtualApp", "resgroup-v10"),
    )
    custom = told["custom_fields"]
    assert custom["template"] is True
    assert (custom["managed_by"], custom["agent_vm"]) == ("com.vmware.vim.eam", "vcls")
    assert (custom["vapp"], custom["datacenter"]) == ("shop", "DC/0")
    assert "folder" not in custom
    assert not [path for path in told["unknown"] if path.startswith("custom_fields.")]


def test_a_place_that_is_not_shown_is_unknown_and_not_a_shorter_path() -> None:
    around = replace(AROUND, places={moid: place for moid, place in AROUND.places.items() if moid != "group-v4"})
    told = document(around=around)
    assert told["unknown"].keys() >= {"custom_fields.folder"}
    assert "folder" not in told["custom_fields"]
    # the pool's way up is whole
    assert told["custom_fields"]["datacenter"] == "DC/0"


def test_places_that_go_round_in_a_circle_end() -> None:
    places = {**AROUND.places, "group-v4": replace(AROUND.places["group-v4"], parent="group-v5")}
    assert "custom_fields.folder" in document(around=replace(AROUND, places=places))["unknown"]


def test_a_host_says_everything_it_can() -> None:
    told = document("hosts")
    assert told["identity"] == {
        "cloud_native_id": "vm-1",
        "hostname": "esx1.example.com",
        "machine_uuid": "4c4c4544-0051-3510-8052-b9c04f4e5a32",
        "serial_number": "7Q5RN52",
        "generation": {"uuid": "4c4c4544-0051-3510-8052-b9c04f4e5a32", "serial": "7Q5RN52"},
        "mgmt_ip": "10.9.0.21",
    }
    assert told["asset_type"] == "physical"
    assert told["hardware"] == {
        "cpu_count": 64,
        "memory_bytes": 549755813888,
        "vendor": "Dell Inc.",
        "model": "R650",
        "disk_total_bytes": 1500,
    }
    assert told["os"] == {"family": "esxi", "name": "VMware ESXi", "version": "8.0.3", "kernel": "build-24022510"}
    assert told["relations"] == [{"kind": "member_of", "external_kind": "cluster", "external_id": here("domain-c8")}]
    assert told["network"]["mac_addresses"] == ["3c:ec:ef:00:00:01"]
    assert told["custom_fields"] == {
        "cpu_sockets": 2,
        "cpu_cores": 32,
        "cpu_threads": 64,
        "cpu_model": "Xeon",
        "connection_state": "connected",
        "datacenter": "DC/0",
        "datastores": ["one", "two"],
    }
    assert told["unknown"] == {}


def test_a_host_on_its_own_is_a_member_of_nothing() -> None:
    assert document("hosts", parent=ref("ComputeResource", "domain-s9"))["relations"] == []
    assert "relations" not in document("hosts", without=["parent"])


@pytest.mark.parametrize(
    ("own", "tags", "serial"),
    [
        ("7Q5RN52", (("ServiceTag", "OTHER"), ("SerialNumberTag", "S3")), "7Q5RN52"),
        (
            "",
            (("AssetTag", "A1"), ("ServiceTag", "T1"), ("EnclosureSerialNumberTag", "E2"), ("SerialNumberTag", "S3")),
            "S3",
        ),
        # of a blade: the enclosure's first, its own last
        ("", (("ServiceTag", "CHASSIS"), ("EnclosureSerialNumberTag", "CHASSIS"), ("ServiceTag", "BLADE")), "BLADE"),
        ("", (("ServiceTag", "CHASSIS"), ("ServiceTag", "To Be Filled By O.E.M.")), None),
        ("None", (("ServiceTag", "To Be Filled By O.E.M."), ("EnclosureSerialNumberTag", "E2")), None),
        ("", (("AssetTag", "A1"),), None),
    ],
)
def test_a_serial_number_is_the_hosts_own_or_one_of_its_tags(own: str, tags: Any, serial: str | None) -> None:
    other = "".join(
        f"<otherIdentifyingInfo><identifierValue>{value}</identifierValue><identifierType><label>l</label><summary>s"
        f"</summary><key>{key}</key></identifierType></otherIdentifyingInfo>"
        for key, value in tags
    )
    info = f'<val xsi:type="HostSystemInfo"><vendor>v</vendor><model>m</model><uuid/>{other}<serialNumber>{own}</serialNumber></val>'
    told = document("hosts", hardware__systemInfo=info)
    assert told["identity"].get("serial_number") == serial
    assert ("identity.serial_number" in told["unknown"]) is (serial is None)
    assert "machine_uuid" not in told["identity"]


def blade(moid: str, *tags: str, own: str = "") -> bytes:
    """Return a host with these service tags."""
    other = "".join(
        f"<otherIdentifyingInfo><identifierValue>{tag}</identifierValue><identifierType><label>l</label><summary>s"
        "</summary><key>ServiceTag</key></identifierType></otherIdentifyingInfo>"
        for tag in tags
    )
    uuid = f"4c4c4544-0051-3510-8052-{moid[-1] * 12}"
    info = f"<vendor>v</vendor><model>m</model><uuid>{uuid}</uuid>{other}<serialNumber>{own}</serialNumber>"
    return one("hosts", moid, hardware__systemInfo=f'<val xsi:type="HostSystemInfo">{info}</val>')


def test_the_blades_of_one_enclosure_are_told_apart_by_their_own_tags() -> None:
    found = items(blade("host-1", "ENC", "B1"), blade("host-2", "ENC", "B2"), part="hosts")
    told = [item.document for item in found if isinstance(item, AssetRecord)]
    assert [each["identity"]["serial_number"] for each in told] == ["B1", "B2"]
    assert [each["identity"]["generation"]["serial"] for each in told] == ["B1", "B2"]


def test_a_serial_number_that_several_hosts_tell_is_none_of_theirs() -> None:
    found = items(
        blade("host-1", "ENC"), blade("host-2", own="ENC"), blade("host-3", "ENC", "B3"), blade("host-4"), part="hosts"
    )
    one_, two, three, four = (item.document for item in found if isinstance(item, AssetRecord))
    for each in (one_, two):
        assert "serial_number" not in each["identity"]
        assert each["identity"]["generation"].keys() == {"uuid"}
        assert identifiers(each, "serial") == []
        assert each["unknown"]["identity.serial_number"].startswith("NOT_REPORTED: several hosts tell the same one")
    assert three["identity"]["serial_number"] == "B3"
    assert four["unknown"]["identity.serial_number"] == "NOT_REPORTED: what vCenter tells of it says nothing"


def test_a_host_is_told_anew_when_another_one_comes_to_share_its_serial_number() -> None:
    alone, both = raw([blade("host-1", "ENC")], "hosts"), raw([blade("host-1", "ENC"), blade("host-2", "ENC")], "hosts")
    [first] = parse(alone, {})
    assert isinstance(first, AssetRecord)
    known = {first.record_digest: first.external_id}
    anew, other = parse(both, known)
    assert isinstance(anew, AssetRecord)
    assert isinstance(other, AssetRecord)
    assert "serial_number" not in anew.document["identity"]
    known |= {item.record_digest: item.external_id for item in (anew, other)}
    assert [type(item) for item in parse(both, known)] == [UnchangedRecord, UnchangedRecord]
    assert isinstance(next(parse(alone, known)), UnchangedRecord)
    # the other one is unchanged, and counts all the same
    changed = raw([blade("host-1", "ENC", own="ENC"), blade("host-2", "ENC")], "hosts")
    again, still = parse(changed, known)
    assert isinstance(again, AssetRecord)
    assert "serial_number" not in again.document["identity"]
    assert isinstance(still, UnchangedRecord)


VNIC = "<HostVirtualNic><device>{0}</device><key>key-{0}</key><portgroup>{1}</portgroup><spec><ip><ipAddress>{2}</ipAddress></ip></spec></HostVirtualNic>"


@pytest.mark.parametrize(
    ("selected", "name", "management"),
    [
        (("vmk2",), "esx1", "10.0.2.1"),
        ((), "10.0.1.1", "10.0.1.1"),
        ((), "esx1", "10.0.3.1"),
        (("vmk2",), "10.0.1.1", "10.0.2.1"),
        (("vmk1", "vmk2"), "esx1", "10.0.1.1"),
    ],
)
def test_the_address_a_host_is_managed_by_is_the_one_that_is_selected_for_it(
    selected: tuple[str, ...], name: str, management: str
) -> None:
    nics = (
        ("vmk0", "a", "10.0.0.1"),
        ("vmk1", "b", "10.0.1.1"),
        ("vmk2", "c", "10.0.2.1"),
        ("vmk3", "Management Network", "10.0.3.1"),
    )
    chosen = "".join(f"<selectedVnic>management.key-{device}</selectedVnic>" for device in selected)
    candidates = "".join(
        f"<candidateVnic><device>{device}</device><key>management.key-{device}</key></candidateVnic>"
        for device, *_ in nics
    )
    config = many(
        "VirtualNicManagerNetConfig",
        "<VirtualNicManagerNetConfig><nicType>vmotion</nicType><candidateVnic><device>vmk0</device><key>v</key></candidateVnic><selectedVnic>v</selectedVnic></VirtualNicManagerNetConfig>",
        f"<VirtualNicManagerNetConfig><nicType>management</nicType>{candidates}{chosen}</VirtualNicManagerNetConfig>",
    )
    told = document(
        "hosts",
        name=text(name),
        config__network__vnic=many("HostVirtualNic", *(VNIC.format(*each) for each in nics)),
        config__virtualNicManagerInfo__netConfig=config,
    )
    assert told["identity"]["mgmt_ip"] == management
    assert len(told["network"]["ip_addresses"]) == 4
    several = ["10.0.1.1", "10.0.2.1"]
    assert told["custom_fields"].get("management_ips") == (several if selected == ("vmk1", "vmk2") else None)
    assert "custom_fields.management_ips" not in told["unknown"]


@pytest.mark.parametrize("state", ["disconnected", "notResponding"])
def test_a_host_without_a_connection_keeps_what_is_told_and_is_a_failed_target(state: str) -> None:
    slice_ = one(
        "hosts", "host-1", runtime__connectionState=text(state), without=["hardware.systemInfo", "config.network.vnic"]
    )
    record, failure = items(slice_, part="hosts")
    assert isinstance(record, AssetRecord)
    assert isinstance(failure, TargetFailure)
    assert (failure.external_kind, failure.external_id) == ("host", here("host-1"))
    assert failure.code.code == "VCENTER_HOST_DISCONNECTED"
    told = record.document
    assert told["runtime"]["power_state"] == "unknown"
    assert told["hardware"]["cpu_count"] == 64
    why = f"VCENTER_HOST_DISCONNECTED: vCenter says that the host is {state}"
    assert told["unknown"]["identity.serial_number"] == told["unknown"]["network.ip_addresses"] == why
    assert told["unknown"]["custom_fields.management_ips"] == why


def test_a_host_that_stands_by_is_suspended_and_no_failure() -> None:
    standby = {"runtime__powerState": text("standBy"), "runtime__connectionState": text("notResponding")}
    [record] = items(one("hosts", "host-1", **standby), part="hosts")
    assert isinstance(record, AssetRecord)
    assert record.document["runtime"]["power_state"] == "suspended"


@pytest.mark.parametrize(
    ("stores", "total", "why"),
    [
        (["datastore-1", "datastore-2", "datastore-1"], 1500, ""),
        (
            ["datastore-1", "datastore-4"],
            None,
            "NOT_REPORTED: vCenter does not tell the capacity of its datastore silent",
        ),
        (["datastore-1", "datastore-5"], None, "NOT_REPORTED: vCenter does not tell the capacity of its datastore a/b"),
        (["datastore-1", "datastore-9"], None, "NOT_REPORTED: its datastore datastore-9 is not shown"),
        (["datastore-1", "datastore-3"], None, "NOT_REPORTED: its datastore lost is not accessible"),
        ([], None, "NOT_REPORTED: it has no datastore"),
    ],
)
def test_a_hosts_disks_are_its_datastores_or_no_sum_at_all(stores: list[str], total: int | None, why: str) -> None:
    refs = (f'<ManagedObjectReference type="Datastore">{moid}</ManagedObjectReference>' for moid in stores)
    told = document("hosts", datastore=many("ManagedObjectReference", *refs))
    assert told["hardware"].get("disk_total_bytes") == total
    assert told["unknown"].get("hardware.disk_total_bytes", "") == why


def test_a_datastore_that_is_larger_than_a_column_makes_no_sum() -> None:
    for size in ((1 << 63) - 1, 1 << 70, 0, -5):
        around = replace(AROUND, datastores={f"datastore-{n}": Datastore("x", size, True) for n in (1, 2, 3)})
        told = document("hosts", around=around)
        assert "disk_total_bytes" not in told["hardware"]


def test_a_cluster_has_a_name_and_belongs_to_its_vcenter() -> None:
    told = document("clusters", moid="domain-c8")
    assert told["identity"] == {
        "cloud_native_id": "domain-c8",
        "hostname": "c8",
        "caption": "c8",
        "generation": {"vcenter": "3c0b8f0e-6a57-4c3e-9a44-2f1f0b7ad001"},
    }
    assert told["relations"] == []
    assert told["custom_fields"] == {"datacenter": "DC/0"}


def test_the_last_record_gives_the_proof_and_its_warnings() -> None:
    raw_ = evidence_record(evidence(), {"tls_verify": False, "requests": 17, "bytes": 12345}, AT)
    caution, proof = parse(raw_, {})
    assert isinstance(caution, Caution)
    assert caution.code.code == "VCENTER_TLS_UNVERIFIED"
    assert isinstance(proof, Proof)
    assert proof.complete
    assert (proof.counts["requests"], proof.counts["bytes"]) == (17, 12345)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"scope":"vms"}', b"\xff", b"[" * 100_000])
def test_evidence_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(PermanentError) as caught:
        list(parse(replace(evidence_record(evidence(), {}, AT), body=body), {}))
    assert caught.value.code.code == "VCENTER_PARSE_ERROR"


def test_evidence_of_another_scope_than_its_record_says_is_refused() -> None:
    raw_ = evidence_record(evidence(), {}, AT)
    with pytest.raises(PermanentError):
        list(parse(replace(raw_, document={**raw_.document, "scope": "hosts"}), {}))


def test_a_record_of_no_part_is_refused() -> None:
    for part in (None, "networks", 5, ["vms"]):
        with pytest.raises(PermanentError):
            list(parse(raw([one()], part=part), {}))


def test_evidence_comes_back_as_it_was_written() -> None:
    from asset_ledger.sources.vcenter.raw import read_evidence

    told = evidence(
        sight(
            "vms", "vm-1", lacking={"vm-1": {"name": "NoPermission"}}, dropped=("a.b",), second=None, second_fault="x"
        ),
        permissions=None,
        permissions_fault="NoPermission",
        read=None,
    )
    assert read_evidence(evidence_record(told, {}, AT)) == told
    assert read_evidence(evidence_record(evidence(), {}, AT)) == evidence()


def test_of_a_machine_like_those_before_it_is_parsed_what_is_new() -> None:
    devices = many(
        "VirtualDevice",
        *(CARD.format(4000 + n, f"n{n}", f"00:50:56:00:00:0{n}") for n in range(4)),
        disks(*["<capacityInKB>1</capacityInKB>"] * 8),
    )
    work = {}
    for size in (50, 500):
        record = raw([one(moid=f"vm-{number}", config__hardware__device=devices) for number in range(size)])
        assert len(list(parse(record, {}))) == size
        work[size] = calls_of(lambda record=record: list(parse(record, {})))  # type: ignore[misc]
    assert (work[500] - work[50]) / 450 < 800
    assert HOST
