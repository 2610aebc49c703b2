"""Every fault once, as a client sees it."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.doubles.aliyun import AliyunDouble, generated
from tests.doubles.aliyun.faults import Kind
from tests.doubles.aliyun.talking import Talk

REGION = "cn-hangzhou"
LIST = "DescribeInstances"


@pytest.fixture(scope="module")
def shared() -> Iterator[AliyunDouble]:
    with AliyunDouble(generated(2, 25)) as aliyun:
        yield aliyun


@pytest.fixture
def double(shared: AliyunDouble) -> AliyunDouble:
    shared.faults.clear()
    shared.requests.clear()
    return shared


@pytest.fixture
def talk(double: AliyunDouble) -> Talk:
    return Talk(double)


def _add(double: AliyunDouble, kind: Kind, match: str = LIST, **said: Any) -> None:
    double.faults.add(match, kind, **said)


def test_an_answer_of_the_gateway_or_a_proxy_takes_the_place_of_the_true_one(double: AliyunDouble, talk: Talk) -> None:
    _add(double, "status", status=503)
    _add(double, "status", status=500, body=b'{"Code":"InternalError"}', headers={"Content-Type": "application/json"})
    _add(double, "html")
    _add(double, "garbled")
    _add(double, "redirect")
    said = [talk(LIST, REGION, MaxResults=100) for _ in range(6)]
    assert [one.status for one in said] == [503, 500, 200, 200, 302, 200]
    assert said[0].body.startswith(b"<!DOCTYPE html>")
    assert said[1].code == "InternalError"
    assert said[2].headers["Content-Type"].startswith("text/html")
    with pytest.raises(ValueError):
        said[3].json  # noqa: B018
    assert said[4].headers["Location"].endswith("/login")
    assert len(said[5].json["Instances"]["Instance"]) == 25


def test_half_an_answer(double: AliyunDouble, talk: Talk) -> None:
    _add(double, "truncated_json")
    with pytest.raises(json.JSONDecodeError):
        talk(LIST, REGION).json  # noqa: B018
    _add(double, "cut")
    with pytest.raises(http.client.IncompleteRead):
        talk(LIST, REGION)


@pytest.mark.parametrize("kind", ["reset", "close"])
def test_a_connection_that_ends(double: AliyunDouble, talk: Talk, kind: Kind) -> None:
    _add(double, kind)
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected, ssl.SSLError)):
        talk(LIST, REGION)
    assert talk(LIST, REGION).status == 200


@pytest.mark.parametrize("kind", ["stall_before", "stall_inside"])
def test_an_answer_that_is_late(double: AliyunDouble, talk: Talk, kind: Kind) -> None:
    _add(double, kind, seconds=5)
    talk.timeout = 0.3
    with pytest.raises(TimeoutError):
        talk(LIST, REGION)


def test_an_answer_that_trickles(double: AliyunDouble, talk: Talk) -> None:
    _add(double, "trickle", seconds=0.8)
    talk.timeout = 0.4
    began = time.monotonic()
    assert talk(LIST, REGION).status == 200
    assert time.monotonic() - began > 0.7


def test_errors_as_the_service_writes_them(double: AliyunDouble, talk: Talk) -> None:
    _add(double, "error", code="ServiceUnavailable")
    _add(double, "error", code="SomethingNew", status=418, message="I am new.")
    said = talk(LIST, REGION)
    assert (said.status, said.code) == (503, "ServiceUnavailable")
    assert set(said.json) == {"RequestId", "HostId", "Code", "Message", "Recommend"}
    said = talk(LIST, REGION)
    assert (said.status, said.code, said.json["Message"]) == (418, "SomethingNew", "I am new.")


def test_throttling_says_when_to_come_back_or_does_not(double: AliyunDouble, talk: Talk) -> None:
    _add(double, "throttle", retry_after_ms=1500)
    _add(double, "throttle", code="Throttling", status=400)
    first, second = talk(LIST, REGION), talk(LIST, REGION)
    assert (first.status, first.code, first.headers["x-acs-retry-after"]) == (429, "Throttling.User", "1500")
    assert (second.status, second.code, "x-acs-retry-after" in second.headers) == (400, "Throttling", False)


def test_a_token_that_is_no_longer_taken(double: AliyunDouble, talk: Talk) -> None:
    _add(double, "expire_token", after=1)
    _, token = talk.rows(LIST, REGION, MaxResults=10)
    _, token = talk.rows(LIST, REGION, MaxResults=10, NextToken=token)
    assert talk(LIST, REGION, MaxResults=10, NextToken=token).code == "InvalidParameter.NextToken"
    assert talk(LIST, REGION, MaxResults=10, NextToken=token).status == 200


def test_a_session_that_ends_while_it_reads(double: AliyunDouble) -> None:
    key = double.keyring.session(double.keyring.add_role("short"), 3600)
    talk = Talk(double, key.id, key.secret, key.security_token)
    _add(double, "expire_credentials", where={"NextToken": "?*"})
    _, token = talk.rows(LIST, REGION, MaxResults=10)
    assert [talk(LIST, REGION, MaxResults=10, NextToken=token).code for _ in range(2)] == [
        "InvalidSecurityToken.Expired"
    ] * 2


def test_lists_that_lie_with_a_good_conscience(double: AliyunDouble, talk: Talk) -> None:
    _add(double, "drop_token")
    assert len(talk.chain(LIST, REGION, 10)) == 10
    _add(double, "no_token")
    assert "NextToken" not in talk(LIST, REGION, MaxResults=10).json
    _add(double, "repeat")
    ids = talk.rows(LIST, REGION, MaxResults=10)[0]
    assert (len(ids), len(set(ids))) == (11, 10)
    _add(double, "no_rows")
    ids, token = talk.rows(LIST, REGION, MaxResults=10)
    assert not ids
    assert token
    _add(double, "repeat_token", times=2)
    first = talk.rows(LIST, REGION, MaxResults=10)[1]
    assert talk.rows(LIST, REGION, MaxResults=10, NextToken=first)[1] == first


def test_an_answer_can_be_edited_or_replaced(double: AliyunDouble, talk: Talk) -> None:
    _add(double, "edit", edit=lambda data: data["Instances"]["Instance"][0].update(Memory="many"))
    _add(double, "replace", body=["no", "object"])
    _add(double, "replace", "DryRun:DescribeInstances", body={"RequestId": "x"})
    assert talk(LIST, REGION).json["Instances"]["Instance"][0]["Memory"] == "many"
    assert talk(LIST, REGION).json == ["no", "object"]
    assert talk(LIST, REGION, DryRun="true").status == 200


def test_a_fault_meets_the_requests_it_names(double: AliyunDouble, talk: Talk) -> None:
    fault = double.faults.add(f"Describe* {REGION}", "error", times=None, after=1, code="InternalError")
    assert talk(LIST, REGION).status == 200
    assert talk(LIST, REGION).status == 500
    assert talk("DescribeDisks", REGION).status == 500
    assert talk(LIST, "cn-beijing").status == 200
    assert talk(LIST, REGION, DryRun="true").status == 400
    assert (fault.seen, fault.hits) == (3, 2)


def test_a_kind_that_does_not_exist_is_refused(double: AliyunDouble) -> None:
    with pytest.raises(ValueError, match="no such fault"):
        double.faults.add(LIST, "nonsense")  # type: ignore[arg-type]


@pytest.mark.parametrize(("certificate", "words"), [("expired", "expired"), ("other_name", "mismatch")])
def test_certificates_that_are_wrong(certificate: Any, words: str) -> None:
    with AliyunDouble(certificate=certificate) as aliyun, pytest.raises(ssl.SSLCertVerificationError, match=words):
        Talk(aliyun)("DescribeRegions")


def test_a_port_that_listens_and_says_nothing() -> None:
    with AliyunDouble() as aliyun:
        aliyun.mute = True
        talk = Talk(aliyun)
        talk.timeout = 0.3
        with pytest.raises(TimeoutError):
            talk("DescribeRegions")


def test_every_kind_of_fault_is_tried_here() -> None:
    told = Path(__file__).read_text(encoding="utf-8")
    assert [kind for kind in get_args(Kind) if f'"{kind}"' not in told] == []
