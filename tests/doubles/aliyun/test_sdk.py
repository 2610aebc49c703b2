"""The double against the vendor's own SDKs, which were written by others: what they accept, the double speaks.

Skipped, and the package named, where an SDK is not installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doubles.aliyun import AliyunDouble, estate
from tests.doubles.aliyun.scenarios import EIP

REGION = "cn-hangzhou"


def _needs(module: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"needs the Python package {package}")


SDK = _needs("alibabacloud_ecs20140526", "alibabacloud-ecs20140526")
STS_SDK = _needs("alibabacloud_sts20150401", "alibabacloud-sts20150401")
OLD_SDK = _needs("aliyunsdkcore", "aliyun-python-sdk-core")
CREDENTIALS = _needs("alibabacloud_credentials", "alibabacloud-credentials")


@pytest.fixture
def double() -> Iterator[AliyunDouble]:
    with AliyunDouble(estate()) as aliyun:
        yield aliyun


def _config(double: AliyunDouble, host: str, **said: Any) -> Any:
    from alibabacloud_tea_openapi.utils_models import Config

    keys = {"access_key_id": double.access_key_id, "access_key_secret": double.access_key_secret}
    return Config(endpoint=host, protocol="https", ca=str(double.ca_file), **(keys | said))


def _client(double: AliyunDouble, **said: Any) -> Any:
    from alibabacloud_ecs20140526.client import Client

    return Client(_config(double, said.pop("host", double.host), **said))


def _instances(client: Any, region: str, size: int = 10) -> list[Any]:
    from alibabacloud_ecs20140526.models import DescribeInstancesRequest

    rows: list[Any] = []
    token = None
    while token != "":
        request = DescribeInstancesRequest(region_id=region, max_results=size, next_token=token)
        body = client.describe_instances(request).body
        rows += body.instances.instance
        token = body.next_token
    return rows


@SDK
def test_the_sdk_reads_every_instance_and_disk(double: AliyunDouble) -> None:
    from alibabacloud_ecs20140526.models import DescribeDisksRequest, DescribeRegionsRequest

    client = _client(double)
    regions = client.describe_regions(DescribeRegionsRequest(accept_language="en-US")).body.regions.region
    assert (regions[0].region_id, regions[0].local_name) == (REGION, "China (Hangzhou)")
    rows = {row.instance_id: row for one in regions for row in _instances(client, one.region_id)}
    assert set(rows) == set(double.cloud.instances)
    database = rows["i-bp1db0000000000000001"]
    assert (database.instance_name, database.cpu, database.memory) == ("数据库-主（生产）", 8, 65536)
    assert [nic.type for nic in database.network_interfaces.network_interface] == ["Primary", "Secondary", "Secondary"]
    assert database.network_interfaces.network_interface[1].ipv_6sets.ipv_6set[1].ipv_6address == "2001:db8:2::11"
    assert rows["i-bp1web000000000000001"].eip_address.ip_address == EIP
    assert rows["i-23classic0001"].inner_ip_address.ip_address == ["10.169.1.23"]
    disks = client.describe_disks(DescribeDisksRequest(region_id=REGION, max_results=500)).body.disks.disk
    shared = next(one for one in disks if one.multi_attach == "Enabled")
    assert len(shared.attachments.attachment) == 2
    assert {row.style for row in double.requests} == {"acs3"}


@SDK
def test_the_sdk_knows_no_field_that_the_double_made_up(double: AliyunDouble) -> None:
    """Every field that is told is one of the SDK's models, so that its own writing of them loses nothing."""
    from alibabacloud_ecs20140526.models import (
        DescribeDisksResponseBody,
        DescribeInstancesResponseBody,
        DescribeRegionsResponseBody,
    )

    from tests.doubles.aliyun.talking import Talk

    talk = Talk(double)
    for model, told in (
        (DescribeInstancesResponseBody, talk("DescribeInstances", REGION, MaxResults=100).json),
        (DescribeDisksResponseBody, talk("DescribeDisks", REGION, MaxResults=500).json),
        (DescribeRegionsResponseBody, talk("DescribeRegions").json),
    ):
        assert model().from_map(told).to_map() == told


@SDK
def test_the_sdk_sees_the_errors_as_its_own(double: AliyunDouble) -> None:
    from alibabacloud_ecs20140526.models import DescribeInstancesRequest
    from alibabacloud_tea_openapi.exceptions import ClientException, ServerException, ThrottlingException

    client = _client(double)
    with pytest.raises(ClientException) as dry:
        client.describe_instances(DescribeInstancesRequest(region_id=REGION, dry_run=True))
    assert (dry.value.code, dry.value.status_code) == ("DryRunOperation", 400)
    assert double.requests.count("DryRun:DescribeInstances") == 1
    double.faults.add("DescribeInstances", "throttle", retry_after_ms=1500)
    with pytest.raises(ThrottlingException) as slow:
        client.describe_instances(DescribeInstancesRequest(region_id=REGION))
    assert (slow.value.code, slow.value.retry_after) == ("Throttling.User", 1500)
    double.faults.add("DescribeInstances", "error", code="InternalError")
    with pytest.raises(ServerException):
        client.describe_instances(DescribeInstancesRequest(region_id=REGION))
    with pytest.raises(ClientException) as wrong:
        _instances(_client(double, access_key_secret="wrong"), REGION)
    assert wrong.value.code == "SignatureDoesNotMatch"


@SDK
def test_the_sdk_reaches_a_region_by_its_own_host(double: AliyunDouble) -> None:
    host = double.region_host_endpoint.format(region="cn-beijing").removeprefix("https://")
    with double.resolving():
        assert len(_instances(_client(double, host=host), "cn-beijing")) == 2
    assert {row.addressed for row in double.requests} == {"cn-beijing"}


@SDK
@STS_SDK
def test_the_sdk_assumes_a_role_and_reads_as_that(double: AliyunDouble) -> None:
    from alibabacloud_sts20150401.client import Client
    from alibabacloud_sts20150401.models import AssumeRoleRequest

    role = double.keyring.add_role("ledger-reader", external_id="the-ledger")
    sts = Client(_config(double, double.sts_host))
    request = AssumeRoleRequest(role_arn=role.arn, role_session_name="ledger", external_id="the-ledger")
    keys = sts.assume_role(request).body.credentials
    client = _client(
        double,
        access_key_id=keys.access_key_id,
        access_key_secret=keys.access_key_secret,
        security_token=keys.security_token,
    )
    assert len(_instances(client, "cn-beijing")) == 2
    assert sts.get_caller_identity().body.identity_type == "RAMUser"


@OLD_SDK
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_old_sdk_with_its_signatures_of_version_one_reads_too(double: AliyunDouble, method: str) -> None:
    import json

    from aliyunsdkcore.client import AcsClient
    from aliyunsdkcore.request import CommonRequest

    client = AcsClient(double.access_key_id, double.access_key_secret, REGION, verify=str(double.ca_file))
    request = CommonRequest(domain=double.host, version="2014-05-26", action_name="DescribeInstances")
    request.set_protocol_type("https")
    request.set_method(method)
    request.add_query_param("RegionId", REGION)
    request.add_query_param("PageSize", 50)
    told = json.loads(client.do_action_with_exception(request))
    assert told["TotalCount"] == len(told["Instances"]["Instance"]) == 13
    assert {row.style for row in double.requests} == {"rpc"}


@CREDENTIALS
def test_the_vendors_own_client_gets_keys_from_the_metadata_service(double: AliyunDouble) -> None:
    from alibabacloud_credentials.provider.ecs_ram_role import EcsRamRoleCredentialsProvider

    from tests.doubles.aliyun.talking import Talk

    double.metadata.role = double.keyring.add_role("ledger-reader").name
    provider = EcsRamRoleCredentialsProvider(disable_imds_v1=True, async_update_enabled=False)
    # its address is fixed in it
    provider._EcsRamRoleCredentialsProvider__metadata_service_host = double.metadata_endpoint.removeprefix("http://")
    keys = provider.get_credentials()
    talk = Talk(double, keys.get_access_key_id(), keys.get_access_key_secret(), keys.get_security_token())
    assert talk("DescribeRegions").status == 200
