"""Raw records of many Windows releases to documents, and what may never come of a broken one. Pure: no host, no clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.inventory import AssetRecord, Caution, Item, TargetFailure
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.winrm import errors
from asset_ledger.sources.winrm.parse import parse
from asset_ledger.sources.winrm.queries import QUERIES
from asset_ledger.sources.winrm.raw import Answered, QueryError
from tests.sources.winrm.made import (
    GIB,
    RELEASES,
    TARGET,
    Rows,
    adapter,
    answered,
    changed,
    document,
    document_of,
    envelopes,
    machine,
    raw_of,
    record_of,
)

REQUIRED = [query.name for query in QUERIES if query.required]
OPTIONAL = [query.name for query in QUERIES if not query.required]
REFUSED = QueryError("WINRM_FAULT", "the host answered 2150858778", 2150858778)


def items_of(record: RawRecord) -> list[Item]:
    return list(parse(record, {}))


def failure(record: RawRecord) -> TargetFailure:
    [item] = items_of(record)
    assert isinstance(item, TargetFailure), item
    return item


def digest(record: RawRecord) -> bytes:
    [item] = items_of(record)
    assert isinstance(item, AssetRecord), item
    return item.record_digest


def identifiers(found: dict[str, Any], kind: str) -> list[str]:
    return [i["value"] for i in found["identifiers"] if i["kind"] == kind]


# --- what each release tells


@pytest.mark.parametrize("name", RELEASES)
def test_every_release_is_read_in_every_language_by_numbers(name: str) -> None:
    found = document(machine(name))
    release = RELEASES[name]
    assert found["hardware"]["cpu_count"] == 8
    assert found["hardware"]["memory_bytes"] == 16 * GIB - 4096
    assert found["hardware"]["disk_total_bytes"] == 53109321728 + 107371032576
    assert found["os"] == {
        "family": "windows",
        "name": release.caption.strip(),
        "version": release.version,
        "kernel": release.build,
    }
    assert found["custom_fields"]["os_release"] == release.product
    assert found["custom_fields"]["os_role"] == "server"
    assert found["network"]["ip_addresses"] == ["192.0.2.10", "fe80::10"]
    assert found["network"]["interfaces"][0]["name"] == release.adapter
    assert found["unknown"] == {}


def test_2003_counts_its_processors_as_rows_and_says_so() -> None:
    found = document(machine("2003-en"))
    assert found["custom_fields"]["cpu_counted_by"] == "rows of Win32_Processor"
    assert found["identity"]["hostname"] == "WEB-01.corp.example.com"  # no DNSHostName before 2008
    assert found["custom_fields"]["service_pack"] == "2"
    assert "cpu_counted_by" not in document(machine("2008r2-zh"))["custom_fields"]


def test_2003_with_its_update_counts_logical_processors_not_packages() -> None:
    rows = machine("2003-en")
    rows["processor"] = [{"DeviceID": f"CPU{i}", "NumberOfCores": 2, "NumberOfLogicalProcessors": 4} for i in range(2)]
    found = document(rows)
    assert found["hardware"]["cpu_count"] == 8
    assert "cpu_counted_by" not in found["custom_fields"]


@pytest.mark.parametrize(
    ("build", "role", "name"),
    [
        ("3790", 1, "Windows XP x64"),
        ("7601", 1, "Windows 7"),
        ("7601", 2, "Windows Server 2008 R2"),
        ("9200", 1, "Windows 8"),
        ("19045", 1, "Windows 10"),
        ("22631", 1, "Windows 11"),
        ("25398", 3, "Windows Server, version 23H2"),
        ("99999", 3, None),
        ("abc", 3, None),
        ("17763", 9, None),
    ],
)
def test_a_release_has_one_name_in_all_languages_or_none(build: str, role: int, name: str | None) -> None:
    found = document(changed(machine(), "operating_system", BuildNumber=build, ProductType=role))
    assert found["custom_fields"].get("os_release") == name


def test_the_releases_name_stands_in_where_windows_tells_no_caption() -> None:
    found = document(changed(machine("2022-de"), "operating_system", Caption=None))
    assert found["os"]["name"] == "Windows Server 2022"
    found = document(changed(machine(), "operating_system", Caption=None, BuildNumber="1"))
    assert found["unknown"]["os.name"].startswith("NOT_REPORTED: ")


# --- hardware


@pytest.mark.parametrize(
    ("counts", "system", "cpu"),
    [
        ([4, 4], 8, 8),
        ([32, 32, 32, 32], 64, 128),  # the system counts one processor group only: the sum is right
        ([4, None], 8, 8),
        ([4, 0], 8, 8),
        ([None, None], None, None),
        ([4, None], None, None),
        ([4, "four"], 0, None),
        ([60_000, 60_000], 200_000, None),
    ],
)
def test_processors_are_summed_and_half_a_sum_is_none(counts: list[Any], system: Any, cpu: int | None) -> None:
    rows = changed(machine(), "computer_system", NumberOfLogicalProcessors=system)
    rows["processor"] = [
        {"DeviceID": f"CPU{i}", "NumberOfCores": 1, "NumberOfLogicalProcessors": n} for i, n in enumerate(counts)
    ]
    found = document(rows)
    assert found["hardware"].get("cpu_count") == cpu
    assert ("hardware.cpu_count" in found["unknown"]) == (cpu is None)


def test_a_mounted_dvd_and_an_unformatted_volume_are_no_disk() -> None:
    # the first never comes, the query leaves it out; the second comes with neither size nor file system
    found = document(machine())
    assert found["hardware"]["disk_total_bytes"] == 53109321728 + 107371032576
    assert found["custom_fields"]["disk_drives_bytes"] == 53686402560 + 107372805120  # without the USB stick


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        ({"DeviceID": "F:", "Size": None, "FileSystem": "NTFS"}, "NOT_REPORTED: Size is null on volume F:"),
        ({"DeviceID": "F:", "Size": "much", "FileSystem": "NTFS"}, "WINRM_FIELD_INVALID: Size is 'much' on volume F:"),
        ({"DeviceID": "C:", "Size": 1, "FileSystem": "NTFS"}, "WINRM_FIELD_INVALID: DeviceID 'C:'"),
        ({"DeviceID": None, "Size": 1, "FileSystem": "NTFS"}, "WINRM_FIELD_INVALID: DeviceID ''"),
        ({"DeviceID": "F:", "Size": 1 << 63, "FileSystem": "NTFS"}, "WINRM_FIELD_INVALID: Size is"),
    ],
)
def test_one_volume_that_cannot_be_counted_leaves_no_sum(volume: dict[str, Any], reason: str) -> None:
    rows = machine()
    rows["logical_disk"] = [*rows["logical_disk"], volume]
    found = document(rows)
    assert "disk_total_bytes" not in found["hardware"]
    assert found["unknown"]["hardware.disk_total_bytes"].startswith(reason)


def test_no_volume_is_no_disk_of_zero_bytes() -> None:
    found = document(machine() | {"logical_disk": [], "disk_drive": []})
    assert found["unknown"]["hardware.disk_total_bytes"] == "NOT_REPORTED: no formatted one among 0 local volumes"
    assert found["unknown"]["custom_fields.disk_drives_bytes"] == "NOT_REPORTED: no drive with a size among 0"


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        (None, "NOT_REPORTED: TotalPhysicalMemory is null"),
        (0, "WINRM_FIELD_INVALID: TotalPhysicalMemory is '0'"),
        (1 << 63, "WINRM_FIELD_INVALID: TotalPhysicalMemory is '9223372036854775808'"),
        ("16 GB", "WINRM_FIELD_INVALID: TotalPhysicalMemory is '16 GB'"),
        ("１６", "WINRM_FIELD_INVALID: TotalPhysicalMemory is '１６'"),
        ("-5", "WINRM_FIELD_INVALID: TotalPhysicalMemory is '-5'"),
    ],
)
def test_memory_that_cannot_be_is_null_with_its_reason(memory: Any, reason: str) -> None:
    found = document(changed(machine(), "computer_system", TotalPhysicalMemory=memory))
    assert "memory_bytes" not in found["hardware"]
    assert found["unknown"]["hardware.memory_bytes"] == reason


# --- who it is


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "web-01.corp.example.com"),
        ({"PartOfDomain": False, "Domain": "WORKGROUP"}, "web-01"),
        ({"PartOfDomain": True, "Domain": "CORP"}, "web-01"),  # a NetBIOS name: no DNS knows it
        ({"DNSHostName": None}, "WEB-01.corp.example.com"),
        ({"DNSHostName": "数据库-01"}, "数据库-01.corp.example.com"),
        ({"DNSHostName": None, "Name": None}, None),
    ],
)
def test_a_machine_is_named_with_the_domain_it_is_a_member_of(fields: dict[str, Any], name: str | None) -> None:
    found = document(changed(machine(), "computer_system", **fields))
    assert found["identity"].get("hostname") == name
    assert ("identity.hostname" in found["unknown"]) == (name is None)


@pytest.mark.parametrize(
    ("uuid", "serial", "shown"),
    [
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "To be filled by O.E.M.", "NOT_REPORTED: a placeholder"),
        ("00000000-0000-0000-0000-000000000000", "None", "NOT_REPORTED: a placeholder"),
        ("03000200-0400-0500-0006-000700080009", "Default string", "NOT_REPORTED: a placeholder"),
        (None, None, "NOT_REPORTED: Win32_"),
    ],
)
def test_a_placeholder_identifies_nothing(uuid: str | None, serial: str | None, shown: str) -> None:
    rows = machine() | {"product": [{"UUID": uuid}], "bios": [{"SerialNumber": serial}]}
    found = document(rows)
    assert not identifiers(found, "smbios_uuid") + identifiers(found, "serial")
    assert found["unknown"]["identity.machine_uuid"].startswith(shown)
    assert found["unknown"]["identity.serial_number"].startswith(shown)


def test_two_serial_numbers_are_none() -> None:
    found = document(machine() | {"bios": [{"SerialNumber": "A1B2"}, {"SerialNumber": "C3D4"}]})
    assert (
        found["unknown"]["identity.serial_number"] == "WINRM_FIELD_INVALID: Win32_BIOS tells 2 values of SerialNumber"
    )


@pytest.mark.parametrize(
    ("vendor", "model", "hypervisor", "virtualization", "asset_type"),
    [
        ("VMware, Inc.", "VMware20,1", True, "vmware", "vm"),
        ("Microsoft Corporation", "Virtual Machine", True, "microsoft", "vm"),
        ("Microsoft Corporation", "Surface Pro 9", False, "none", "physical"),
        ("QEMU", "Standard PC (Q35 + ICH9, 2009)", True, "kvm", "vm"),
        ("Xen", "HVM domU", True, "xen", "vm"),
        ("Alibaba Cloud", "Alibaba Cloud ECS", True, "kvm", "vm"),
        ("innotek GmbH", "VirtualBox", False, "oracle", "vm"),
        ("Nutanix", "AHV", True, "kvm", "vm"),
        ("Nutanix", "AHV", False, "kvm", "vm"),
        ("Nutanix", "NX-3060-G7", False, "none", "physical"),
        ("Tencent Cloud", "CVM", False, "kvm", "vm"),
        ("KubeVirt", "None", False, "kvm", "vm"),
        ("Dell Inc.", "PowerEdge R740", False, "none", "physical"),
        ("Dell Inc.", "PowerEdge R740", True, None, None),  # a Hyper-V host, or a guest shown its host's name
        ("Dell Inc.", "PowerEdge R740", None, None, None),
        ("To be filled by O.E.M.", "To be filled by O.E.M.", False, None, None),
        (None, None, None, None, None),
    ],
)
def test_physical_is_said_only_where_no_hypervisor_runs_and_the_vendor_is_named(
    vendor: str | None, model: str | None, hypervisor: bool | None, virtualization: str | None, asset_type: str | None
) -> None:
    fields = {"Manufacturer": vendor, "Model": model, "HypervisorPresent": hypervisor}
    found = document(changed(machine(), "computer_system", **fields))
    assert found["runtime"].get("virtualization") == virtualization
    assert found.get("asset_type") == asset_type
    assert ("asset_type" in found["unknown"]) == (asset_type is None)


def test_2008_r2_does_not_tell_hardware_from_a_guest_it_does_not_know() -> None:
    found = document(changed(machine("2008r2-zh"), "computer_system", Manufacturer="Dell Inc.", Model="PowerEdge R710"))
    assert "asset_type" not in found


# --- addresses


def addresses(*adapters: dict[str, Any], target: str = "192.0.2.10") -> dict[str, Any]:
    return document(machine() | {"network": list(adapters)}, target=replace(TARGET, mgmt_ip=target))


def test_all_addresses_of_all_adapters_are_kept_and_only_own_ones_identify() -> None:
    found = addresses(
        adapter("192.0.2.10", "2001:db8::10", "fe80::10%12"),
        adapter("198.51.100.10", mac="00:50:56:00:00:2B"),
        adapter("169.254.1.2", "fe80::11", mac="02:A1:B2:C3:D4:E5", ServiceName="netft"),
    )
    assert found["network"]["ip_addresses"] == [
        "192.0.2.10",
        "2001:db8::10",
        "fe80::10",
        "198.51.100.10",
        "169.254.1.2",
        "fe80::11",
    ]
    assert identifiers(found, "ip") == ["192.0.2.10", "2001:db8::10", "198.51.100.10"]
    assert identifiers(found, "mac") == ["00:50:56:00:00:2a", "00:50:56:00:00:2b"]


def test_of_several_addresses_of_an_adapter_only_the_management_address_identifies() -> None:
    # 192.0.2.50 may be the cluster's, and on another node tomorrow: nothing in WMI tells
    found = addresses(
        adapter("192.0.2.10", "192.0.2.50"), adapter("198.51.100.10", "198.51.100.50", mac="0050560000AA")
    )
    assert identifiers(found, "ip") == ["192.0.2.10"]
    assert len(found["network"]["ip_addresses"]) == 4
    assert identifiers(found, "mac") == ["00:50:56:00:00:2a", "00:50:56:00:00:aa"]


def test_a_single_address_beside_a_subnets_is_virtual_and_alone_it_is_a_clouds() -> None:
    masks = {"IPSubnet": ["255.255.255.0", "255.255.255.255"]}
    assert identifiers(addresses(adapter("198.51.100.7", "198.51.100.50", **masks)), "ip") == ["198.51.100.7"]
    alone = addresses(adapter("198.51.100.7", IPSubnet=["255.255.255.255"]))
    assert identifiers(alone, "ip") == ["198.51.100.7"]


@pytest.mark.parametrize(
    "fields",
    [
        {"ServiceName": "msloop", "mac": "02:00:4C:4F:4F:50"},
        {"ServiceName": "VMnetAdapter", "mac": "00:50:56:C0:00:08"},
        {"ServiceName": "VBoxNetAdp", "mac": "0A:00:27:00:00:11"},
        {"ServiceName": "tap0901", "mac": "00:FF:12:34:56:78"},
        {"ServiceName": "tunnel", "mac": None},
        {"ServiceName": "b57nd60a", "mac": "02:BF:C0:00:02:32"},  # a node of network load balancing, unicast
        {"ServiceName": "VMSNPXYMP", "mac": "00:15:5D:00:00:01", "DefaultIPGateway": None},
    ],
)
def test_an_adapter_that_many_machines_have_alike_identifies_none(fields: dict[str, Any]) -> None:
    found = addresses(adapter("192.0.2.10"), adapter("192.168.56.1", **fields))
    assert identifiers(found, "ip") == ["192.0.2.10"]
    assert identifiers(found, "mac") == ["00:50:56:00:00:2a"]
    assert "192.168.56.1" in found["network"]["ip_addresses"]


def test_the_adapter_of_a_hyper_v_host_in_its_outer_switch_identifies_it() -> None:
    found = addresses(adapter("198.51.100.7", mac="00:15:5D:00:00:01", ServiceName="VMSMP"))
    assert identifiers(found, "ip") == ["198.51.100.7"]


def test_a_management_address_that_no_adapter_has_stays_the_management_address() -> None:
    found = addresses(adapter("10.0.0.5"), target="203.0.113.9")
    assert found["identity"]["mgmt_ip"] == "203.0.113.9"
    assert identifiers(found, "ip") == ["10.0.0.5"]


def test_a_team_with_one_mac_and_an_adapter_told_twice_count_once() -> None:
    found = addresses(adapter("192.0.2.10"), adapter("192.0.2.10"), adapter("198.51.100.1", Index=11))
    assert found["network"]["mac_addresses"] == ["00:50:56:00:00:2a"]
    assert identifiers(found, "mac") == ["00:50:56:00:00:2a"]
    assert len(found["network"]["interfaces"]) == 2


@pytest.mark.parametrize("told", [["no address"], ["192.0.2.10", "192.0.2.999"]])
def test_an_address_that_is_none_leaves_no_shorter_list(told: list[str]) -> None:
    found = document(machine() | {"network": [adapter("192.0.2.10"), adapter(*told)]})
    assert "network" not in found
    assert found["unknown"]["network.ip_addresses"].startswith("WINRM_FIELD_INVALID: IPAddress")
    assert not identifiers(found, "ip")


@pytest.mark.parametrize("told", [["0.0.0.0"], ["0.0.0.0", "127.0.0.1", "::"]])
def test_an_adapter_that_waits_for_its_address_has_none_and_says_why(told: list[str]) -> None:
    found = document(machine() | {"network": [adapter(*told)]})
    assert "ip_addresses" not in found["network"]
    why = found["unknown"]["network.ip_addresses"]
    assert why.startswith("NOT_REPORTED: the adapters have 0.0.0.0")
    assert found["network"]["mac_addresses"] == identifiers(found, "mac") == ["00:50:56:00:00:2a"]
    assert not identifiers(found, "ip")


def test_adapters_without_their_arrays_are_no_machine_without_addresses() -> None:
    found = document(machine() | {"network": [{"Index": 1, "MACAddress": "00:50:56:00:00:2A"}]})
    assert found["unknown"]["network.ip_addresses"] == "WINRM_FIELD_MISSING: IPAddress of 1 adapters"
    assert "network" not in found


# --- what fails


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_class_that_may_fail_is_null_with_its_reason_and_the_rest_stands(name: str) -> None:
    whole = document(machine())
    found = document(machine(), failed={name: REFUSED})
    lost = {path for path in found["unknown"] if path not in whole["unknown"]}
    assert len(lost) == 1
    [path] = lost
    wmi_class = next(query.wmi_class for query in QUERIES if query.name == name)
    assert found["unknown"][path] == f"WINRM_QUERY_FAILED: {wmi_class}: WINRM_FAULT 2150858778"
    group, _, key = path.partition(".")
    assert whole[group].pop(key)
    found["unknown"] = {}
    without = [i for i in whole["identifiers"] if i in found["identifiers"]]
    assert found == whole | {"identifiers": without}


@pytest.mark.parametrize("name", REQUIRED)
def test_a_class_that_may_not_fail_fails_the_machine(name: str) -> None:
    told = failure(raw_of(machine(), failed={name: QueryError("WINRM_NAMESPACE_DENIED", "refused", 2150859012)}))
    assert told.code is errors.NAMESPACE_DENIED
    assert (told.external_id, told.mgmt_ip) == ("192.0.2.10", "192.0.2.10")


@pytest.mark.parametrize("name", REQUIRED)
def test_a_class_of_which_every_windows_has_a_row_may_not_come_empty(name: str) -> None:
    assert failure(raw_of(machine() | {name: []})).code is errors.EMPTY_ANSWER


@pytest.mark.parametrize("name", ["computer_system", "operating_system"])
def test_two_rows_where_there_is_one_are_two_machines_and_neither_is_taken(name: str) -> None:
    rows = machine()
    assert failure(raw_of(rows | {name: rows[name] * 2})).code is errors.PARSE_FAILED


def test_a_probe_that_failed_gives_its_own_code_whatever_it_had_by_then() -> None:
    told = failure(raw_of(machine(), error={"code": "WINRM_DEADLINE", "message": "60 s were over"}))
    assert (told.code, told.message) == (errors.DEADLINE, "60 s were over")
    assert failure(raw_of(machine(), error={"code": "NO_SUCH", "message": ""})).code is errors.PARSE_FAILED


def test_cautions_follow_the_record_and_the_failure_alike() -> None:
    doubts = [{"code": "WINRM_TLS_UNVERIFIED", "message": "not checked"}, {"code": "NO_SUCH", "message": "x"}]
    for more in ({}, {"error": {"code": "WINRM_TIMEOUT", "message": "5 s"}}):
        _, *cautions = items_of(raw_of(machine(), cautions=doubts, **more))
        assert cautions == [Caution(errors.TLS_UNVERIFIED, "not checked", locator="192.0.2.10")]


@pytest.mark.parametrize("name", [query.name for query in QUERIES])
@pytest.mark.parametrize("damage", ["cut", "no end", "after the end", "not asked", "no answer", "other xml"])
def test_damage_anywhere_gives_a_failure_and_never_a_shorter_record(name: str, damage: str) -> None:
    found = answered(machine(), rounds=2)
    at = next(i for i, one in enumerate(found) if one.query == name)
    first, last = found[at].answers
    answers = {
        "cut": (first, last[: len(last) // 2]),
        "no end": (first,),
        "after the end": (first, last, last),
        "no answer": (b"", last),
        "other xml": (first, b"<html/>"),
    }
    if damage == "not asked":
        del found[at]
    else:
        found[at] = replace(found[at], answers=answers[damage])
    assert failure(record_of(found)).code is errors.PARSE_FAILED


def test_answers_in_another_number_of_rounds_are_the_same_machine() -> None:
    assert digest(raw_of(machine(), rounds=3)) == digest(raw_of(machine()))
    assert document_of(raw_of(machine(), rounds=3)) == document(machine())


def test_what_differs_at_every_reading_changes_no_digest() -> None:
    again = raw_of(machine())
    renumbered = replace(again, body=again.body.replace(b"uuid:00000000-0000-0001", b"uuid:12345678-0000-0001"))
    assert renumbered.body != again.body
    assert digest(renumbered) == digest(again)
    leased = changed(machine(), "network", DHCPLeaseObtained="20261101000000.000000+480")
    assert digest(raw_of(leased)) == digest(again)
    assert digest(raw_of(changed(machine(), "computer_system", TotalPhysicalMemory=GIB))) != digest(again)
    assert digest(raw_of(machine(), target=replace(TARGET, mgmt_ip="192.0.2.11"))) != digest(again)
    one, other = (raw_of(machine(), target=replace(TARGET, mgmt_ip=None, hostname=name)) for name in ("a", "b"))
    assert digest(one) != digest(other)


def test_a_target_without_an_address_is_known_by_its_name() -> None:
    record = raw_of(machine(), target=replace(TARGET, mgmt_ip=None, hostname="web-01"))
    [item] = items_of(record)
    assert isinstance(item, AssetRecord)
    assert (item.external_kind, item.external_id) == ("machine", "web-01")
    assert item.document["unknown"]["identity.mgmt_ip"] == "NOT_REPORTED: the target has none"


# --- anything at all

VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 1 << 70),
    st.text(
        alphabet=st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufffe\uffff"), max_size=30
    ),
    st.sampled_from(["192.0.2.77", "fe80::1%4", "::1", "00:50:56:00:00:77", "TRUE", "1e9", "007", " 8 ", "", "NTFS"]),
)
SHAPE = VALUE | st.lists(VALUE, max_size=3)


@st.composite
def some_rows(draw: st.DrawFn) -> Rows:
    """Draw rows of a release in which properties are missing, null, arrays, numbers as text, absurd; rows come twice."""
    rows = machine(draw(st.sampled_from(list(RELEASES))))
    for query in draw(st.lists(st.sampled_from([query.name for query in QUERIES]), max_size=4)):
        at = draw(st.integers(0, max(0, len(rows[query]) - 1)))
        if not rows[query]:
            continue
        row = dict(rows[query][at])
        for name in draw(st.lists(st.sampled_from(sorted(row) or ["Name"]), max_size=3)):
            row[name] = draw(SHAPE)
        rows[query] = [*rows[query][:at], row, *rows[query][at + 1 :]]
        if draw(st.booleans()):
            rows[query] = [*rows[query], *draw(st.lists(st.sampled_from(rows[query]), max_size=2))]
    return rows


@settings(max_examples=250, deadline=None)
@given(some_rows())
def test_whatever_the_fields_hold_there_is_one_valid_record_or_one_failure(rows: Rows) -> None:
    items = items_of(raw_of(rows))
    assert len(items) == 1
    if isinstance(items[0], TargetFailure):
        assert items[0].code in (errors.PARSE_FAILED, errors.EMPTY_ANSWER)
        return
    found = document_of(raw_of(rows))
    for path, why in found["unknown"].items():
        assert why.split(":")[0] in {"NOT_REPORTED"} | {code.code for code in errors.ERROR_CODES}
        group, _, key = path.partition(".")
        assert key not in found.get(group, {}) if key else path not in found
    for path in ("cpu_count", "memory_bytes", "disk_total_bytes", "vendor", "model"):
        assert (path in found["hardware"]) != (f"hardware.{path}" in found["unknown"])
    for path in ("hostname", "mgmt_ip", "machine_uuid", "serial_number"):
        assert (path in found["identity"]) != (f"identity.{path}" in found["unknown"])
    assert ("ip_addresses" in found.get("network", {})) != ("network.ip_addresses" in found["unknown"])
    assert set(identifiers(found, "ip")) <= set(found.get("network", {}).get("ip_addresses", []))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_body_cut_anywhere_is_a_failure(data: st.DataObject) -> None:
    record = raw_of(machine(data.draw(st.sampled_from(list(RELEASES)))))
    cut = record.body[: data.draw(st.integers(0, len(record.body) - 1))]
    assert failure(replace(record, body=cut)).code is errors.PARSE_FAILED


def test_a_row_that_is_one_value_or_an_array_reads_alike() -> None:
    query = next(query for query in QUERIES if query.name == "network")
    one = adapter("192.0.2.10") | {"IPAddress": "192.0.2.10", "IPSubnet": "255.255.255.0"}
    found = answered(machine())
    lone = [
        item if item.query != "network" else Answered("network", item.wql, envelopes(query, [one])) for item in found
    ]
    assert document_of(record_of(lone))["network"]["ip_addresses"] == ["192.0.2.10"]
