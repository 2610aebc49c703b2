"""From kept answers to documents: each field of an instance, what it is made of, and why it is not known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.inventory import AssetRecord, Caution, TargetFailure, UnchangedRecord
from asset_ledger.sources.aliyun import errors
from asset_ledger.sources.aliyun.parse import parse
from asset_ledger.sources.aliyun.raw import Answer
from tests.sources.aliyun.made import disk, disks_answer, document, items, region, row

GIB = 1 << 30


def nic(name: str, *ips: str, mac: str = "00:16:3e:00:00:01", kind: str = "Primary", v6: tuple[str, ...] = ()) -> Any:
    sets = [{"PrivateIpAddress": ip, "Primary": at == 0} for at, ip in enumerate(ips)]
    return {
        "NetworkInterfaceId": name,
        "MacAddress": mac,
        "Type": kind,
        "PrimaryIpAddress": ips[0] if ips else "",
        "PrivateIpSets": {"PrivateIpSet": sets},
        "Ipv6Sets": {"Ipv6Set": [{"Ipv6Address": ip} for ip in v6]},
    }


def nics(*every: Any) -> dict[str, Any]:
    return {"NetworkInterface": list(every)}


def test_a_document_says_what_the_api_says() -> None:
    found = document(row(InstanceName="网站-1", HostName="iZ1Z", Cpu=4, Memory=8192))
    assert found["identity"]["hostname"] == found["identity"]["caption"] == "网站-1"
    assert found["identity"]["cloud_native_id"] == "i-1"
    assert found["identity"]["generation"] == {
        "created": "2025-04-14T22:32Z",
        "serial": "00000000-0000-4000-8000-000000000001",
    }
    assert (found["kind"], found["asset_type"], found["relations"]) == ("vm", "vm", [])
    assert found["hardware"] == {"cpu_count": 4, "memory_bytes": 8 * GIB, "disk_total_bytes": 40 * GIB}
    assert found["os"] == {"family": "linux", "name": "Alibaba Cloud Linux  3.2104 LTS 64 bit"}
    custom = found["custom_fields"]
    assert custom["guest_hostname"] == "iZ1Z"
    assert custom["region"] == "cn-hangzhou"
    assert custom["availability_zone"] == "cn-hangzhou-h"
    assert custom["vpc"] == found["identity"]["zone"] == "vpc-bp1double000000000000a"
    assert custom["instance_type"] == "ecs.c7.xlarge"
    assert custom["charge_type"] == "PostPaid"
    assert "expires" not in custom, "what is paid for as it goes does not expire"
    assert "stopped_mode" not in custom
    assert {"kind": "aliyun_instance_id", "value": "i-1"} in found["identifiers"]


@pytest.mark.parametrize(
    ("status", "power"),
    [
        ("Running", "running"),
        ("Stopped", "stopped"),
        *((one, "unknown") for one in ("Pending", "Starting", "Stopping", "新")),
    ],
)
def test_a_state_on_its_way_is_unknown_and_stands_beside(status: str, power: str) -> None:
    found = document(row(Status=status))
    assert found["runtime"]["power_state"] == power
    assert found["custom_fields"]["status"] == status


def test_how_it_is_paid_for_and_stopped_stands_among_the_custom_fields() -> None:
    found = document(
        row(
            Status="Stopped",
            StoppedMode="StopCharging",
            InstanceChargeType="PrePaid",
            ExpiredTime="2027-04-14T16:00Z",
            SpotStrategy="SpotAsPriceGo",
        )
    )["custom_fields"]
    assert (found["stopped_mode"], found["charge_type"], found["expires"]) == (
        "StopCharging",
        "PrePaid",
        "2027-04-14T16:00Z",
    )
    assert found["spot_strategy"] == "SpotAsPriceGo"


@pytest.mark.parametrize(
    ("serial", "identifiers", "uuid"),
    [
        ("ec2d1ac5-0e3b-4c1f-9c1e-0123456789ab", {"serial", "smbios_uuid"}, True),
        ("CZ3-7Q5RN51", {"serial"}, False),
        ("", set(), False),
        (..., set(), False),
        (None, set(), False),
        ("00000000-0000-0000-0000-000000000000", {"serial"}, False),
    ],
)
def test_a_serial_number_is_a_uuid_where_it_is_one(serial: Any, identifiers: set[str], uuid: bool) -> None:
    found = document(row(SerialNumber=serial))
    kinds = {one["kind"] for one in found["identifiers"]} & {"serial", "smbios_uuid"}
    assert kinds == identifiers
    assert ("machine_uuid" in found["identity"]) is uuid
    assert ("identity.machine_uuid" in found["unknown"]) is not uuid
    assert ("serial" in found["identity"]["generation"]) is bool(identifiers)


def test_addresses_of_every_card_are_there_and_the_primary_one_is_the_first() -> None:
    found = document(
        row(
            NetworkInterfaces=nics(
                nic("eni-b", "10.0.1.5", mac="00:16:3e:00:00:02", kind="Secondary"),
                nic("eni-a", "10.0.0.5", "10.0.0.6", v6=("2001:DB8::5",)),
            ),
            PublicIpAddress={"IpAddress": ["198.51.100.1"]},
            EipAddress={"IpAddress": "203.0.113.7"},
            VpcAttributes={"VpcId": "vpc-1", "PrivateIpAddress": {"IpAddress": ["10.0.0.5"]}},
        )
    )
    assert found["network"]["interfaces"] == [
        {"name": "eni-a", "ip_addresses": ["10.0.0.5", "10.0.0.6", "2001:db8::5"], "mac_address": "00:16:3e:00:00:01"},
        {"name": "eni-b", "ip_addresses": ["10.0.1.5"], "mac_address": "00:16:3e:00:00:02"},
    ]
    private = ["10.0.0.5", "10.0.0.6", "2001:db8::5", "10.0.1.5"]
    assert found["network"]["ip_addresses"] == [*private, "198.51.100.1", "203.0.113.7"]
    assert [one["value"] for one in found["identifiers"] if one["kind"] == "ip"] == private
    assert [one["value"] for one in found["identifiers"] if one["kind"] == "mac"] == found["network"]["mac_addresses"]
    assert found["identity"]["mgmt_ip"] == "10.0.0.5"
    assert found["custom_fields"]["eip"] == "203.0.113.7"
    assert found["custom_fields"]["public_ips"] == ["198.51.100.1"]


def test_the_order_in_which_cards_and_tags_are_told_changes_nothing() -> None:
    cards = [nic(f"eni-{n}", f"10.0.0.{n}", mac=f"00:16:3e:00:00:0{n}", kind="Secondary") for n in (1, 2, 3)]
    tags = [{"TagKey": key, "TagValue": "v"} for key in "abc"]
    one = document(row(NetworkInterfaces=nics(*cards), Tags={"Tag": tags}))
    other = document(row(NetworkInterfaces=nics(*cards[::-1]), Tags={"Tag": tags[::-1]}))
    assert one["network"] == other["network"]
    assert one["tags"] == other["tags"]


def test_an_instance_without_cards_has_the_addresses_that_its_vpc_tells() -> None:
    vpc = {"VpcId": "vpc-1", "PrivateIpAddress": {"IpAddress": ["10.0.0.5"]}}
    found = document(row(NetworkInterfaces=..., VpcAttributes=vpc))
    assert found["network"]["ip_addresses"] == ["10.0.0.5"]
    assert found["identity"]["mgmt_ip"] == "10.0.0.5"
    assert found["unknown"]["network.mac_addresses"].startswith("NOT_REPORTED")


def test_an_address_of_the_classic_network_is_shown_and_identifies_nothing() -> None:
    classic = row(
        VpcAttributes={"VpcId": "", "PrivateIpAddress": {"IpAddress": []}},
        NetworkInterfaces=nics(),
        InnerIpAddress={"IpAddress": ["10.1.2.3"]},
    )
    found = document(classic)
    assert found["network"]["ip_addresses"] == ["10.1.2.3"]
    assert "zone" not in found["identity"]
    assert "mgmt_ip" not in found["identity"]
    assert "VPC" in found["unknown"]["identity.mgmt_ip"]
    assert not [one for one in found["identifiers"] if one["kind"] == "ip"]
    declared = document(classic, address_zone="source")
    assert declared["identity"]["mgmt_ip"] == "10.1.2.3"


@pytest.mark.parametrize(
    "said",
    [
        {"InnerIpAddress": {"IpAddress": ["no address"]}},
        {"PublicIpAddress": {"IpAddress": [7]}},
        {"PublicIpAddress": 7},
        {"EipAddress": "x"},
        {"NetworkInterfaces": nics("x")},
        {"NetworkInterfaces": 7},
        {"NetworkInterfaces": nics({"PrivateIpSets": 7})},
        {"NetworkInterfaces": nics(nic("eni-1", "10.0.0.999"))},
    ],
    ids=str,
)
def test_one_odd_address_makes_all_of_them_unknown_and_says_so(said: dict[str, Any]) -> None:
    found = items([row(**said)])
    [record] = [item for item in found if isinstance(item, AssetRecord)]
    assert "ip_addresses" not in record.document.get("network", {})
    assert record.document["unknown"]["network.ip_addresses"].startswith("ALIYUN_PARSE_ERROR")
    assert record.document["unknown"]["identity.mgmt_ip"].startswith("ALIYUN_PARSE_ERROR")
    assert "eip" not in record.document["custom_fields"]
    [caution] = [item for item in found if isinstance(item, Caution)]
    assert caution.code is errors.PARSE_ERROR
    assert "i-1" in str(caution.locator)


def test_tags_are_key_and_value_and_what_no_tag_can_be_stands_beside() -> None:
    pairs = {"env": "prod", "团队": "网站", "alone": "", "two words": "a, b", "long": "x" * 80}
    tags = {"Tag": [{"TagKey": key, "TagValue": value} for key, value in pairs.items()]}
    found = document(row(Tags=tags))
    assert found["tags"] == ["alone", "env=prod", "团队=网站"]
    assert found["custom_fields"]["more_tags"] == {"two words": "a, b", "long": "x" * 80}
    assert "tags" not in document(row(Tags=...))


def test_sizes_are_summed_over_the_disks_of_an_instance() -> None:
    disks = [
        disk("d-1", 40, "i-1"),
        disk("d-2", 100, "i-1", "i-2"),
        disk("d-2", 100, "i-1", "i-2"),  # the same again
        disk("d-3", 500),
        disk("d-4", "20", "i-1", Attachments=None),
        disk("d-5", 1, "i-1", Attachments={"Attachment": {"InstanceId": "i-1"}}),
    ]
    found = items([row(), row(InstanceId="i-2")], disks_answer(disks))
    sizes = {
        one.external_id: one.document["hardware"]["disk_total_bytes"] for one in found if isinstance(one, AssetRecord)
    }
    assert sizes == {"i-1": 161 * GIB, "i-2": 100 * GIB}


@pytest.mark.parametrize(
    ("disks", "says", "warns"),
    [
        ((disks_answer([]),), "NOT_REPORTED: no disk of it is listed", True),
        ((disks_answer([disk("d-1", 40, "i-9")]),), "NOT_REPORTED: no disk of it is listed", False),
        ((disks_answer([disk("d-1", None, "i-1")]),), "ALIYUN_PARSE_ERROR: the size of a disk", False),
        ((disks_answer([disk("d-1", 0, "i-1")]),), "ALIYUN_PARSE_ERROR: the size of a disk", False),
        ((disks_answer([disk("d-1", 40, "i-1")], named="t"),), "ALIYUN_DISKS_UNAVAILABLE: they were not read", True),
        ((disks_answer([], named="t"), disks_answer([], asked="u")), "ALIYUN_DISKS_UNAVAILABLE: a page of them", True),
        ((disks_answer([{"Size": 40}]),), "ALIYUN_DISKS_UNAVAILABLE: a disk has no DiskId", True),
        (
            (disks_answer([disk("d-1", 40, "i-1", Attachments=7)]),),
            "ALIYUN_DISKS_UNAVAILABLE: nothing says which",
            True,
        ),
        ((disks_answer([disk("d-1", 40, InstanceId=7)]),), "ALIYUN_DISKS_UNAVAILABLE: nothing says which", True),
        (
            (Answer("DescribeDisks", {}, 403, None, "Forbidden.RAM", "no"),),
            "ALIYUN_DISKS_UNAVAILABLE: 403 Forbidden",
            True,
        ),
        (
            (Answer("DescribeDisks", {}, 200, {"Disks": {}}),),
            "ALIYUN_DISKS_UNAVAILABLE: DescribeDisks: the answer",
            True,
        ),
    ],
    ids=lambda each: str(each)[-60:],
)
def test_a_sum_that_lacks_a_part_is_no_sum(disks: tuple[Answer, ...], says: str, warns: bool) -> None:
    found = items([row()], *disks)
    [record] = [item for item in found if isinstance(item, AssetRecord)]
    assert "disk_total_bytes" not in record.document["hardware"]
    assert record.document["unknown"]["hardware.disk_total_bytes"].startswith(says)
    assert [item.code for item in found if isinstance(item, Caution)] == [errors.DISKS_UNAVAILABLE] * warns


def test_a_region_without_instances_says_nothing_of_disks() -> None:
    assert items([], Answer("DescribeDisks", {}, 403, None, "Forbidden.RAM", "no")) == []


@pytest.mark.parametrize("name", ["Cpu", "Memory", "OSType", "InstanceName"])
@pytest.mark.parametrize("value", [..., None, "", [], {}, -1, "x" * 3, 10**30, True])
def test_what_is_missing_or_odd_is_unknown_with_a_reason_and_never_zero(name: str, value: Any) -> None:
    path = {
        "Cpu": "hardware.cpu_count",
        "Memory": "hardware.memory_bytes",
        "OSType": "os.family",
        "InstanceName": "identity.hostname",
    }[name]
    found = items([row(**{name: value})])
    [record] = [item for item in found if isinstance(item, AssetRecord)]
    group, _, key = path.partition(".")
    known = record.document.get(group, {}).get(key)
    assert (known is None) == (path in record.document["unknown"])
    if name == "InstanceName" and value == "xxx":
        assert known == "xxx"
    else:
        assert known is None
    odd = value not in (..., None, "") and not isinstance(value, str)
    if odd or (isinstance(value, str) and value and name in ("Cpu", "Memory")):
        assert record.document["unknown"][path].startswith("ALIYUN_PARSE_ERROR")
        assert [item.code for item in found if isinstance(item, Caution)] == [errors.PARSE_ERROR]


def test_a_row_with_nothing_in_it_is_a_machine_that_could_not_be_read() -> None:
    [failure] = items([{"InstanceId": "i-1"}])
    assert isinstance(failure, TargetFailure)
    assert (failure.external_kind, failure.external_id, failure.code) == ("vm", "i-1", errors.PARSE_ERROR)
    assert "Status nor CreationTime" in failure.message


def test_an_instance_that_is_listed_twice_is_one_record() -> None:
    found = items([row(), row()])
    assert [item.external_id for item in found if isinstance(item, AssetRecord)] == ["i-1"]


def test_what_is_known_is_not_parsed_again_and_what_was_odd_is_said_again() -> None:
    plain, odd = row(), row(InstanceId="i-2", Cpu="many")
    raw = region([plain, odd], disks_answer([disk("d-1", 40, "i-1", "i-2")]))
    first = list(parse(raw, {}))
    known = {item.record_digest: item.external_id for item in first if isinstance(item, AssetRecord)}
    assert [type(item) for item in first] == [AssetRecord, AssetRecord, Caution]
    assert [type(item) for item in parse(raw, known)] == [UnchangedRecord, UnchangedRecord, Caution]


def test_a_digest_is_of_all_that_the_document_is_made_of() -> None:
    def digest(one: dict[str, Any], size: int = 40, **said: Any) -> bytes:
        [found] = items([one], disks_answer([disk("d-1", size, "i-1")]), **said)
        assert isinstance(found, AssetRecord)
        return found.record_digest

    same = digest(row())
    assert digest(dict(reversed(row().items()))) == same
    others = {digest(row(), 41), digest(row(Cpu=8)), digest(row(), address_zone="source"), digest(row(HostName="b"))}
    assert len(others | {same}) == 5


@pytest.mark.parametrize("change", ["part", "lines", "instances", "digest", "cut", "no json", "no answer", "rows"])
def test_a_record_that_is_not_as_it_was_written_is_refused(change: str) -> None:
    raw = region([row()], disks_answer([]))
    match change:
        case "cut":
            broken = replace(raw, body=raw.body[:-9])
        case "no json":
            broken = replace(raw, body=b"\xff\n" + raw.body.partition(b"\n")[2])
        case "no answer":
            broken = replace(raw, body=b'{"action":7}\n' + raw.body.partition(b"\n")[2])
        case "rows":
            broken = replace(raw, body=raw.body.replace(b'"Instances"', b'"Instance_"'))
        case _:
            broken = replace(raw, document={**raw.document, change: "x"})
    with pytest.raises(PermanentError) as caught:
        list(parse(broken, {}))
    assert caught.value.code is errors.PARSE_ERROR
    assert caught.value.target == "cn-x"
