"""Lists in pages: by token and by number, and what happens to them while rows come and go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.aliyun import AliyunDouble, Cloud, generated
from tests.doubles.aliyun.talking import Talk

REGION = "cn-hangzhou"


@pytest.fixture
def double() -> Iterator[AliyunDouble]:
    with AliyunDouble(generated(1, 35)) as aliyun:
        yield aliyun


@pytest.fixture
def talk(double: AliyunDouble) -> Talk:
    return Talk(double)


@pytest.mark.parametrize(
    ("asked", "given"),
    [({}, 10), ({"MaxResults": 1}, 10), ({"MaxResults": 30}, 30), ({"PageSize": 7}, 7), ({"PageSize": 500}, 35)],
)
def test_a_page_of_instances_has_ten_rows_unless_more_are_asked_for(
    talk: Talk, asked: dict[str, int], given: int
) -> None:
    assert len(talk.rows("DescribeInstances", REGION, **asked)[0]) == given


def test_no_page_of_instances_has_more_than_a_hundred_and_none_of_disks_more_than_five_hundred() -> None:
    with AliyunDouble(generated(1, 300)) as aliyun:
        talk = Talk(aliyun)
        assert len(talk.rows("DescribeInstances", REGION, MaxResults=1000)[0]) == 100
        assert len(talk.rows("DescribeDisks", REGION, MaxResults=1000)[0]) == 500
        assert len(talk.rows("DescribeDisks", REGION)[0]) == 10


def test_a_page_may_be_shorter_than_was_asked_for_and_the_tokens_lead_to_every_row_all_the_same(
    double: AliyunDouble, talk: Talk
) -> None:
    double.longest_page = 3
    assert len(talk.rows("DescribeInstances", REGION, MaxResults=100)[0]) == 3
    found = talk.chain("DescribeInstances", REGION)
    assert len(found) == len(set(found)) == 35


@pytest.mark.parametrize("size", [10, 11, 34, 35, 36, 100])
def test_the_tokens_lead_to_every_row_once_and_end_with_an_empty_one(
    double: AliyunDouble, talk: Talk, size: int
) -> None:
    ids = talk.chain("DescribeInstances", REGION, size)
    assert sorted(ids) == sorted(double.cloud.instances)


def test_the_count_in_pages_by_token_means_nothing(double: AliyunDouble, talk: Talk) -> None:
    assert talk("DescribeInstances", REGION, MaxResults=10).json["TotalCount"] == 0
    assert talk("DescribeInstances", REGION, PageSize=10).json["TotalCount"] == 35
    double.token_total = 7
    assert talk("DescribeInstances", REGION, MaxResults=10).json["TotalCount"] == 7


def test_pages_by_number_have_no_token(talk: Talk) -> None:
    found = [talk("DescribeInstances", REGION, PageSize=20, PageNumber=number).json for number in (1, 2, 3)]
    assert [len(page["Instances"]["Instance"]) for page in found] == [20, 15, 0]
    assert {page["NextToken"] for page in found} == {""}


def test_an_instance_that_is_deleted_between_pages_hides_another_one_from_pages_by_number(
    double: AliyunDouble, talk: Talk
) -> None:
    newest = talk.rows("DescribeInstances", REGION, PageSize=10)[0][0]
    double.on("DescribeInstances", lambda cloud: cloud.delete(newest))
    told = [
        row
        for number in (1, 2, 3, 4)
        for row in talk.rows("DescribeInstances", REGION, PageSize=10, PageNumber=number)[0]
    ]
    assert len(set(double.cloud.instances) - set(told)) == 1


def test_an_instance_that_is_deleted_between_pages_hides_none_from_pages_by_token(
    double: AliyunDouble, talk: Talk
) -> None:
    newest = talk.rows("DescribeInstances", REGION, PageSize=10)[0][0]
    double.on("DescribeInstances", lambda cloud: cloud.delete(newest))
    assert set(talk.chain("DescribeInstances", REGION, 10)) == {*double.cloud.instances, newest}


def test_an_instance_that_comes_between_pages_repeats_another_one_by_number_and_none_by_token(
    double: AliyunDouble, talk: Talk
) -> None:
    double.on("DescribeInstances", lambda cloud: cloud.create("i-new1"))
    numbered = [
        row
        for number in (1, 2, 3, 4)
        for row in talk.rows("DescribeInstances", REGION, PageSize=10, PageNumber=number)[0]
    ]
    assert len(numbered) == len(set(numbered)) + 1
    double.on("DescribeInstances", lambda cloud: cloud.create("i-new2"))
    chained = talk.chain("DescribeInstances", REGION, 10)
    assert len(chained) == len(set(chained)) == 36


def test_a_token_belongs_to_its_query(double: AliyunDouble, talk: Talk) -> None:
    double.cloud.add_region("cn-beijing")
    token = talk.rows("DescribeInstances", REGION, MaxResults=10)[1]
    for said in (
        talk("DescribeInstances", "cn-beijing", MaxResults=10, NextToken=token),
        talk("DescribeDisks", REGION, MaxResults=10, NextToken=token),
        talk("DescribeInstances", REGION, MaxResults=10, NextToken=token, Status="Running"),
        talk("DescribeInstances", REGION, MaxResults=10, NextToken=token[:-4]),
        talk("DescribeInstances", REGION, MaxResults=10, NextToken="nonsense"),
    ):
        assert (said.status, said.code) == (400, "InvalidParameter.NextToken")
    assert talk("DescribeInstances", REGION, MaxResults=20, NextToken=token).status == 200


def test_a_token_can_grow_old(double: AliyunDouble, talk: Talk) -> None:
    token = talk.rows("DescribeInstances", REGION, MaxResults=10)[1]
    double.token_lifetime = 60
    assert talk("DescribeInstances", REGION, MaxResults=10, NextToken=token).status == 200
    double.clock_skew_s = 61
    assert talk("DescribeInstances", REGION, MaxResults=10, NextToken=token).code == "InvalidParameter.NextToken"


def test_lists_can_be_narrowed(double: AliyunDouble, talk: Talk) -> None:
    cloud: Cloud = double.cloud
    one, *_ = cloud.instances
    cloud.stop(one)
    assert talk.rows("DescribeInstances", REGION, Status="Stopped")[0] == [one]
    assert talk.rows("DescribeInstances", REGION, InstanceIds=f'["{one}"]')[0] == [one]
    assert len(talk.rows("DescribeDisks", REGION, InstanceId=one)[0]) == 2


def test_what_the_double_does_not_heed_it_refuses(talk: Talk) -> None:
    said = talk("DescribeInstances", REGION, InstanceName="web-*")
    assert (said.status, said.code) == (400, "Double.NotHeeded")


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5"])
def test_a_size_that_is_no_number_is_refused(talk: Talk, size: str) -> None:
    assert talk("DescribeInstances", REGION, MaxResults=size).code == "InvalidParameter"
