"""What a key may see, which regions there are, how they are addressed, and how often one may ask."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.doubles.aliyun import AliyunDouble, estate
from tests.doubles.aliyun.talking import Talk

REGION = "cn-hangzhou"


@pytest.fixture
def double() -> Iterator[AliyunDouble]:
    with AliyunDouble(estate()) as aliyun:
        yield aliyun


@pytest.fixture
def talk(double: AliyunDouble) -> Talk:
    return Talk(double)


def test_a_key_without_permission_is_answered_with_an_empty_list(double: AliyunDouble, talk: Talk) -> None:
    double.user.deny()
    for action in ("DescribeInstances", "DescribeDisks"):
        said = talk(action, REGION, MaxResults=100)
        assert (said.status, talk.rows(action, REGION, MaxResults=100)) == (200, ([], ""))
    assert talk("DescribeRegions").status == 200


@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeDisks"])
def test_a_dry_run_tells_whether_emptiness_can_be_believed(double: AliyunDouble, talk: Talk, action: str) -> None:
    allowed = talk(action, REGION, DryRun="true")
    assert (allowed.status, allowed.code) == (400, "DryRunOperation")
    double.user.deny(action, REGION)
    denied = talk(action, REGION, DryRun="true")
    assert (denied.status, denied.code) == (403, "Forbidden.RAM")
    assert talk(action, "cn-beijing", DryRun="true").code == "DryRunOperation"
    assert double.requests.count(f"DryRun:{action}") == 3
    assert double.requests.count(action) == 0


def test_a_denial_can_be_said_aloud(double: AliyunDouble, talk: Talk) -> None:
    double.user.deny("DescribeDisks", loudly=True)
    assert talk("DescribeDisks", REGION).code == "Forbidden.RAM"
    assert talk("DescribeInstances", REGION).status == 200
    double.user.deny("DescribeRegions")
    assert talk("DescribeRegions").status == 403
    double.user.allow_all()
    assert talk("DescribeDisks", REGION).status == 200


def test_a_policy_on_single_resources_hides_them_and_no_dry_run_tells(double: AliyunDouble, talk: Talk) -> None:
    before = talk.chain("DescribeInstances", REGION)
    double.user.hide(before[:2])
    assert talk.chain("DescribeInstances", REGION) == before[2:]
    assert talk("DescribeInstances", REGION, DryRun="true").code == "DryRunOperation"


def test_regions_are_named_in_chinese_unless_asked_otherwise(talk: Talk) -> None:
    assert talk("DescribeRegions").json["Regions"]["Region"][0]["LocalName"] == "华东1（杭州）"
    english = talk("DescribeRegions", AcceptLanguage="en-US").json["Regions"]["Region"][0]
    assert english["LocalName"] == "China (Hangzhou)"
    assert english["RegionEndpoint"] == talk.double.host


def test_the_list_of_regions_can_grow_between_two_readings_of_it(double: AliyunDouble, talk: Talk) -> None:
    double.on("DescribeRegions", lambda cloud: cloud.add_region("edge-1"))
    first, second = ([row["RegionId"] for row in talk("DescribeRegions").json["Regions"]["Region"]] for _ in range(2))
    assert second == [*first, "edge-1"]
    assert talk.chain("DescribeInstances", "edge-1") == []


def test_a_region_that_is_listed_can_be_refused(double: AliyunDouble, talk: Talk) -> None:
    double.cloud.refuse_region("cn-beijing")
    assert "cn-beijing" in [row["RegionId"] for row in talk("DescribeRegions").json["Regions"]["Region"]]
    for said in (talk("DescribeInstances", "cn-beijing"), talk("DescribeInstances", "cn-beijing", DryRun="true")):
        assert (said.status, said.code) == (404, "InvalidRegionId.NotFound")
    double.cloud.refuse_region("cn-beijing", 403, "OperationDenied.RegionNotAuthorized")
    assert talk("DescribeInstances", "cn-beijing").status == 403
    double.cloud.accept_region("cn-beijing")
    assert talk("DescribeInstances", "cn-beijing").status == 200


def test_an_unknown_region_and_none_at_all_are_refused(talk: Talk) -> None:
    assert talk("DescribeInstances", "cn-nowhere").code == "InvalidRegionId.NotFound"
    assert talk("DescribeInstances").code == "MissingParameter"


def test_unknown_actions_and_versions_are_refused(talk: Talk) -> None:
    assert talk("DescribeEverything").code == "InvalidAction.NotFound"
    assert talk("AssumeRole").code == "InvalidAction.NotFound"  # that is asked of STS
    talk.version = "2015-04-01"
    assert talk("DescribeRegions").code == "InvalidVersion"


def test_a_region_in_the_path_answers_for_itself_only(double: AliyunDouble, talk: Talk) -> None:
    talk.path = urlsplit(double.region_path_endpoint.format(region="cn-beijing")).path
    assert talk.chain("DescribeInstances", "cn-beijing")
    assert talk("DescribeInstances", REGION).code == "InvalidRegionId.NotFound"
    assert talk("DescribeRegions").status == 200
    assert {row.addressed for row in double.requests} == {"cn-beijing"}
    talk.path = "/elsewhere"
    assert talk("DescribeRegions").status == 404


def test_a_region_in_the_host_answers_for_itself_only(double: AliyunDouble, talk: Talk) -> None:
    talk.endpoint = double.region_host_endpoint.format(region="cn-beijing")
    with double.resolving():
        assert talk.chain("DescribeInstances", "cn-beijing")
        assert talk("DescribeInstances", REGION).code == "InvalidRegionId.NotFound"
    talk.endpoint, talk.host = double.endpoint, "ecs.cn-beijing.aliyuncs.com"
    assert talk("DescribeInstances", "cn-beijing").status == 200
    assert talk("DescribeInstances", REGION).status == 404


@pytest.mark.parametrize("style", ["acs3", "rpc"])
def test_too_many_calls_are_refused_until_the_next_minute(double: AliyunDouble, style: str) -> None:
    talk = Talk(double, style=style)  # type: ignore[arg-type]
    double.limits.add("DescribeInstances", calls=2, minute=30.0)
    double.clock_skew_s = 30 - double.now() % 30  # at the beginning of such a minute
    said = [talk("DescribeInstances", REGION) for _ in range(3)]
    assert [one.status for one in said] == [200, 200, 429]
    assert said[2].code == "Throttling.User"
    assert 0 < int(said[2].headers["x-acs-retry-after"]) <= 30_001
    assert talk("DescribeInstances", "cn-beijing").status == 200  # each region has its own
    double.clock_skew_s += 30
    assert talk("DescribeInstances", REGION).status == 200
