"""Days that differ: what the verbs of a cloud change in what is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.aliyun import AliyunDouble, Cloud, DiskSpec, InstanceSpec, NicSpec, estate, generated
from tests.doubles.aliyun.scenarios import EIP, SHARED_CIDR_IP
from tests.doubles.aliyun.talking import Talk

REGION = "cn-hangzhou"
WEB_1, WEB_2, DB_1, DB_2 = (
    "i-bp1web000000000000001",
    "i-bp1web000000000000002",
    "i-bp1db0000000000000001",
    "i-bp1db0000000000000002",
)


@pytest.fixture
def double() -> Iterator[AliyunDouble]:
    with AliyunDouble(estate()) as aliyun:
        yield aliyun


@pytest.fixture
def cloud(double: AliyunDouble) -> Cloud:
    return double.cloud


class Reader:
    def __init__(self, double: AliyunDouble) -> None:
        self.talk = Talk(double)

    def __call__(self, instance_id: str, region: str = REGION) -> dict[str, Any]:
        rows = self.talk("DescribeInstances", region, MaxResults=100).json["Instances"]["Instance"]
        return next(row for row in rows if row["InstanceId"] == instance_id)

    def disk(self, disk_id: str) -> dict[str, Any]:
        rows = self.talk("DescribeDisks", REGION, MaxResults=500).json["Disks"]["Disk"]
        return next(row for row in rows if row["DiskId"] == disk_id)


@pytest.fixture
def read(double: AliyunDouble) -> Reader:
    return Reader(double)


def test_the_estate_has_what_real_accounts_have(double: AliyunDouble, read: Reader) -> None:
    assert len(read.talk.rows("DescribeInstances", REGION)[0]) == 10 < len(read.talk.chain("DescribeInstances", REGION))
    assert read.talk.chain("DescribeInstances", "ap-southeast-1") == []
    one, two = read(WEB_1), read(WEB_2)
    for row in (one, two):
        assert row["VpcAttributes"]["PrivateIpAddress"] == {"IpAddress": [SHARED_CIDR_IP]}
    assert one["VpcAttributes"]["VpcId"] != two["VpcAttributes"]["VpcId"]
    assert one["Tags"] == {"Tag": [{"TagKey": "env", "TagValue": "prod"}, {"TagKey": "team", "TagValue": "网站"}]}
    assert "KeyPairName" in one
    assert "KeyPairName" not in two
    assert "Tags" not in read(DB_1)
    nics = read(DB_1)["NetworkInterfaces"]["NetworkInterface"]
    assert [nic["Type"] for nic in nics] == ["Primary", "Secondary", "Secondary"]
    assert len({nic["MacAddress"] for nic in nics}) == 3
    assert nics[0]["Ipv6Sets"] == {"Ipv6Set": [{"Ipv6Address": "2001:db8:1::10", "Primary": False}]}
    assert len(read(DB_1)["VpcAttributes"]["PrivateIpAddress"]["IpAddress"]) == 1
    assert read(DB_1)["InstanceName"] == "数据库-主（生产）"
    classic = read("i-23classic0001")
    assert classic["InnerIpAddress"] == {"IpAddress": ["10.169.1.23"]}
    assert classic["NetworkInterfaces"] == {"NetworkInterface": []}
    assert (classic["SerialNumber"], classic["VpcAttributes"]["VpcId"]) == ("", "")
    assert read("i-bp1spot00000000000001")["SpotStrategy"] == "SpotAsPriceGo"
    assert read("i-bp1local0000000000001")["LocalStorageCapacity"] == 5500
    assert one["CreationTime"] == "2025-04-14T22:32Z"
    assert two["ExpiredTime"] == "2099-12-31T15:59Z"


def test_an_elastic_address_moves(cloud: Cloud, read: Reader) -> None:
    assert read(WEB_1)["EipAddress"]["IpAddress"] == EIP
    allocation = read(WEB_1)["EipAddress"]["AllocationId"]
    cloud.move_eip(EIP, WEB_2)
    assert read(WEB_1)["EipAddress"]["IpAddress"] == ""
    assert (read(WEB_2)["EipAddress"]["IpAddress"], read(WEB_2)["EipAddress"]["AllocationId"]) == (EIP, allocation)
    cloud.move_eip(EIP, None)
    assert read(WEB_2)["EipAddress"]["IpAddress"] == ""


def test_stopping_without_charges_gives_the_public_address_up(cloud: Cloud, read: Reader) -> None:
    spot = "i-bp1spot00000000000001"
    assert read(spot)["PublicIpAddress"] == {"IpAddress": ["198.51.100.40"]}
    cloud.stop(spot, charging=False)
    stopped = read(spot)
    assert (stopped["Status"], stopped["StoppedMode"]) == ("Stopped", "StopCharging")
    assert stopped["PublicIpAddress"] == {"IpAddress": []}
    cloud.start(spot, public_ips=("198.51.100.41",))
    assert read(spot)["PublicIpAddress"] == {"IpAddress": ["198.51.100.41"]}
    assert read(spot)["StoppedMode"] == "Not-applicable"
    cloud.stop(WEB_1)
    assert read(WEB_1)["StoppedMode"] == "KeepCharging"
    assert read(WEB_1)["EipAddress"]["IpAddress"] == EIP


def test_interfaces_come_and_go(cloud: Cloud, read: Reader) -> None:
    first = read(WEB_1)["NetworkInterfaces"]["NetworkInterface"][0]["MacAddress"]
    cloud.add_nic(WEB_1, NicSpec(("172.16.9.9",), mac="00:16:3e:aa:bb:cc"))
    nics = read(WEB_1)["NetworkInterfaces"]["NetworkInterface"]
    assert [nic["MacAddress"] for nic in nics] == [first, "00:16:3e:aa:bb:cc"]
    cloud.remove_nic(WEB_1)
    assert len(read(WEB_1)["NetworkInterfaces"]["NetworkInterface"]) == 1


def test_a_disk_can_be_held_by_several_instances(cloud: Cloud, read: Reader) -> None:
    shared = read.disk("d-bp1shared000000000001")
    assert [one["InstanceId"] for one in shared["Attachments"]["Attachment"]] == [DB_1, DB_2]
    assert (shared["MultiAttach"], shared["InstanceId"], shared["Status"]) == ("Enabled", "", "In_use")
    cloud.detach("d-bp1shared000000000001", DB_2)
    assert len(read.disk("d-bp1shared000000000001")["Attachments"]["Attachment"]) == 1
    with pytest.raises(ValueError, match="not multi-attach"):
        cloud.attach("d-bp1data00000000000001", DB_2)
    loose = read.disk("d-bp1loose00000000000001")
    assert (loose["Status"], loose["Attachments"]["Attachment"]) == ("Available", [])
    cloud.attach("d-bp1loose00000000000001", WEB_1)
    assert read.disk("d-bp1loose00000000000001")["InstanceId"] == WEB_1


def test_an_instance_that_is_released_takes_its_system_disk_with_it(cloud: Cloud, read: Reader) -> None:
    cloud.delete(DB_1)
    assert DB_1 not in read.talk.chain("DescribeInstances", REGION)
    disks = read.talk.chain("DescribeDisks", REGION)
    assert "d-bp1db0000000000000001" not in disks
    assert read.disk("d-bp1data00000000000001")["Status"] == "Available"


def test_a_change_is_told_from_the_next_answer_on(cloud: Cloud, read: Reader) -> None:
    assert read(WEB_1)["InstanceName"] == "web-1"
    cloud.change(
        WEB_1, name="网站一号", cpu=8, memory_mib=16384, extra={"NewField": {"A": 1}}, absent=frozenset({"HostName"})
    )
    row = read(WEB_1)
    assert (row["InstanceName"], row["Cpu"], row["Memory"], row["NewField"]) == ("网站一号", 8, 16384, {"A": 1})
    assert row["CpuOptions"]["CoreCount"] == 4
    assert "HostName" not in row


def test_a_whole_day_can_be_shown_at_once(cloud: Cloud, read: Reader) -> None:
    one = InstanceSpec("i-only", region="eu-central-1", status="Pending")
    cloud.show([one], [DiskSpec("d-only", region="eu-central-1", instances=("i-only",))], regions=["eu-central-1"])
    assert [row["RegionId"] for row in read.talk("DescribeRegions").json["Regions"]["Region"]] == ["eu-central-1"]
    assert read("i-only", "eu-central-1")["Status"] == "Pending"
    assert read.talk.chain("DescribeDisks", "eu-central-1") == ["d-only"]


def test_rows_that_were_told_are_told_again_as_they_are_now(cloud: Cloud, read: Reader) -> None:
    cloud.delete(WEB_1)
    cloud.create(WEB_1, name="another machine with that id", created="2026-11-22T01:00Z")
    assert read(WEB_1)["InstanceName"] == "another machine with that id"


def test_a_generated_cloud_has_what_was_asked_for() -> None:
    cloud = generated(12, 20, disks=3)
    assert (len(cloud.regions), len(cloud.instances), len(cloud.disks)) == (12, 240, 720)
    ips = {spec.nics[0].ips[0] for spec in cloud.instances.values()}
    assert len(ips) == 240


def test_the_double_serves_in_a_process_of_its_own_until_its_input_closes() -> None:
    command = [sys.executable, "-m", "tests.doubles.aliyun", "--regions", "2", "--instances", "12", "--latency", "0.01"]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert (line["regions"], line["instances"], line["disks"]) == (2, 24, 48)
        with AliyunDouble() as here:  # whose key is the same
            talk = Talk(here)
            talk.endpoint = line["endpoint"]
            talk.tls.load_verify_locations(line["ca_file"])
            assert len(talk.chain("DescribeInstances", "cn-beijing")) == 12
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
