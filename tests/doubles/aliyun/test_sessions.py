"""Keys for a while: roles that are assumed, and the metadata service of an instance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.doubles.aliyun import AliyunDouble, estate
from tests.doubles.aliyun.principals import Role
from tests.doubles.aliyun.talking import Said, Talk

TTL = "X-aliyun-ecs-metadata-token-ttl-seconds"
TOKEN = "X-aliyun-ecs-metadata-token"
KEYS = "/latest/meta-data/ram/security-credentials/"


@pytest.fixture
def double() -> Iterator[AliyunDouble]:
    with AliyunDouble(estate()) as aliyun:
        yield aliyun


@pytest.fixture
def role(double: AliyunDouble) -> Role:
    return double.keyring.add_role("ledger-reader", external_id="the-ledger")


@pytest.fixture
def sts(double: AliyunDouble) -> Talk:
    talk = Talk(double)
    talk.endpoint, talk.version = double.sts_endpoint, "2015-04-01"
    return talk


def _assume(sts: Talk, role: Role, **said: object) -> Said:
    asked: dict[str, Any] = {"RoleArn": role.arn, "RoleSessionName": "ledger", "ExternalId": "the-ledger"}
    return sts("AssumeRole", **(asked | said))


def _with(double: AliyunDouble, said: Said) -> Talk:
    keys = said.json.get("Credentials", said.json)
    return Talk(double, keys["AccessKeyId"], keys["AccessKeySecret"], keys["SecurityToken"])


@pytest.mark.parametrize("style", ["acs3", "rpc"])
def test_a_role_that_is_assumed_reads_in_its_own_name(double: AliyunDouble, sts: Talk, role: Role, style: str) -> None:
    double.user.deny("DescribeInstances")
    talk = _with(double, _assume(sts, role))
    talk.style = style  # type: ignore[assignment]
    assert talk.chain("DescribeInstances", "cn-hangzhou")
    talk.endpoint, talk.version = double.sts_endpoint, "2015-04-01"
    assert talk("GetCallerIdentity").json["Arn"] == role.arn
    assert sts("GetCallerIdentity").json["IdentityType"] == "RAMUser"


def test_a_session_ends(double: AliyunDouble, sts: Talk, role: Role) -> None:
    talk = _with(double, _assume(sts, role, DurationSeconds=900))
    assert talk("DescribeRegions").status == 200
    double.clock_skew_s = 901
    talk.when = double.now
    assert talk("DescribeRegions").code == "InvalidSecurityToken.Expired"


def test_every_session_can_be_ended_at_once(double: AliyunDouble, sts: Talk, role: Role) -> None:
    talk = _with(double, _assume(sts, role))
    assert double.keyring.expire_sessions() == 1
    assert talk("DescribeRegions").code == "InvalidSecurityToken.Expired"
    double.session_lifetime = 0
    assert _with(double, _assume(sts, role))("DescribeRegions").code == "InvalidSecurityToken.Expired"


def test_a_temporary_key_goes_with_its_token(double: AliyunDouble, sts: Talk, role: Role) -> None:
    talk = _with(double, _assume(sts, role))
    talk.token = ""
    assert talk("DescribeRegions").code == "MissingSecurityToken"
    talk.token = "CAISsomethingelse"
    assert talk("DescribeRegions").code == "InvalidSecurityToken.Malformed"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"RoleArn": "acs:ram::1:role/none"}, "EntityNotExist.Role"),
        ({"ExternalId": "other"}, "NoPermission"),
        ({"DurationSeconds": 899}, "InvalidParameter.DurationSeconds"),
        ({"DurationSeconds": 3601}, "InvalidParameter.DurationSeconds"),
        ({"RoleSessionName": "with space"}, "InvalidParameter.RoleSessionName"),
        ({"RoleSessionName": ""}, "MissingParameter"),
    ],
)
def test_what_sts_refuses(sts: Talk, role: Role, said: dict[str, object], code: str) -> None:
    assert _assume(sts, role, **said).code == code


def test_a_role_trusts_whom_it_names(double: AliyunDouble, sts: Talk, role: Role) -> None:
    role.trusted = {"somebody-else"}
    assert _assume(sts, role).code == "NoPermission"


def test_the_metadata_service_tells_nothing_without_a_token(double: AliyunDouble, role: Role) -> None:
    talk, at = Talk(double), double.metadata_endpoint
    double.metadata.role = role.name
    assert talk.send("GET", KEYS, {}, at).status == 403
    assert talk.send("PUT", "/latest/api/token", {}, at).status == 400
    assert talk.send("PUT", "/latest/api/token", {TTL: "21601"}, at).status == 400
    assert talk.send("GET", KEYS, {TOKEN: "made up"}, at).status == 401
    token = talk.send("PUT", "/latest/api/token", {TTL: "60"}, at).body.decode()
    assert talk.send("GET", KEYS, {TOKEN: token}, at).body == b"ledger-reader"
    assert talk.send("GET", "/latest/meta-data/region-id", {TOKEN: token}, at).body == b"cn-hangzhou"
    keys = talk.send("GET", f"{KEYS}ledger-reader", {TOKEN: token}, at)
    assert keys.json["Code"] == "Success"
    assert _with(double, keys).chain("DescribeInstances", "cn-hangzhou")
    assert talk.send("GET", f"{KEYS}another", {TOKEN: token}, at).status == 404
    double.clock_skew_s = 61
    assert talk.send("GET", KEYS, {TOKEN: token}, at).status == 401
    double.metadata.tokens_only = False
    assert talk.send("GET", KEYS, {}, at).status == 200


def test_an_instance_without_a_role_has_no_keys(double: AliyunDouble) -> None:
    talk, at = Talk(double), double.metadata_endpoint
    token = talk.send("PUT", "/latest/api/token", {TTL: "60"}, at).body.decode()
    assert talk.send("GET", KEYS, {TOKEN: token}, at).status == 404


def test_the_metadata_service_can_fail_too(double: AliyunDouble) -> None:
    double.faults.add("PUT /latest/api/token", "status", status=500)
    double.faults.add("GET /latest/*", "html")
    talk, at = Talk(double), double.metadata_endpoint
    assert talk.send("PUT", "/latest/api/token", {TTL: "60"}, at).status == 500
    assert talk.send("GET", KEYS, {}, at).body.startswith(b"<!DOCTYPE")
