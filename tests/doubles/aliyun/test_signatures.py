"""Who is let in: both styles of signature, nonces, clocks, sessions."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.doubles.aliyun import AliyunDouble, estate
from tests.doubles.aliyun.signatures import Received, read
from tests.doubles.aliyun.talking import Talk

STYLES = pytest.mark.parametrize("style", ["acs3", "rpc"])


@pytest.fixture(scope="module")
def double() -> Iterator[AliyunDouble]:
    with AliyunDouble(estate()) as aliyun:
        yield aliyun


def _vector() -> Received:
    names = "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"
    signature = "99a789a56ee9af1a335f7366d441fc1da8e6914bbac20b3dd1f10d237e5eb7aa"
    headers = {
        "host": "ecs.cn-hangzhou.aliyuncs.com",
        "x-acs-action": "DescribeInstances",
        "x-acs-version": "2014-05-26",
        "x-acs-date": "2026-01-02T03:04:05Z",
        "x-acs-signature-nonce": "0123456789abcdef0123456789abcdef",
        "x-acs-content-sha256": hashlib.sha256(b"").hexdigest(),
        "authorization": f"ACS3-HMAC-SHA256 Credential=LTAIdouble,SignedHeaders={names},Signature={signature}",
    }
    return Received("POST", "/", "MaxResults=100&RegionId=cn-hangzhou", headers, b"")


def test_the_known_signature_is_accepted_and_no_other_request_has_it() -> None:
    right = _vector()
    assert read(right, ["/"]).verify("secret0")
    assert not read(right, ["/"]).verify("secret1")
    assert not read(replace(right, query="MaxResults=100&RegionId=cn-beijing"), ["/"]).verify("secret0")
    assert not read(replace(right, method="GET"), ["/"]).verify("secret0")
    later = {**right.headers, "x-acs-date": "2026-01-02T03:04:06Z"}
    assert not read(replace(right, headers=later), ["/"]).verify("secret0")


def test_the_order_of_parameters_on_the_wire_does_not_matter() -> None:
    assert read(replace(_vector(), query="RegionId=cn-hangzhou&MaxResults=100"), ["/"]).verify("secret0")


@STYLES
def test_a_signed_request_is_answered(double: AliyunDouble, style: str) -> None:
    said = Talk(double, style=style)("DescribeRegions")  # type: ignore[arg-type]
    assert [row["RegionId"] for row in said.json["Regions"]["Region"]] == [
        "cn-hangzhou",
        "cn-beijing",
        "ap-southeast-1",
    ]
    assert said.headers["x-acs-request-id"] == said.json["RequestId"]
    assert list(double.requests)[-1].style == style


@STYLES
def test_a_wrong_secret_and_an_unknown_key_are_told_apart(double: AliyunDouble, style: str) -> None:
    wrong = Talk(double, secret="no", style=style)("DescribeRegions")  # type: ignore[arg-type]
    assert (wrong.status, wrong.code) == (400, "SignatureDoesNotMatch")
    unknown = Talk(double, key_id="LTAInobody", style=style)("DescribeRegions")  # type: ignore[arg-type]
    assert (unknown.status, unknown.code) == (404, "InvalidAccessKeyId.NotFound")


@STYLES
def test_a_nonce_is_taken_once(double: AliyunDouble, style: str) -> None:
    talk = Talk(double, style=style)  # type: ignore[arg-type]
    talk.nonce = lambda: f"the same again, {style}"
    assert talk("DescribeRegions").status == 200
    assert talk("DescribeRegions").code == "SignatureNonceUsed"


@STYLES
@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_clock_that_is_off_by_more_than_a_quarter_of_an_hour_is_refused(
    double: AliyunDouble, style: str, minutes: int
) -> None:
    talk = Talk(double, style=style)  # type: ignore[arg-type]
    talk.when = lambda: time.time() + minutes * 60
    said = talk("DescribeRegions")
    assert (said.status, said.code) == (400, "InvalidTimeStamp.Expired")


def test_the_service_can_be_the_one_whose_clock_is_off() -> None:
    with AliyunDouble() as aliyun:
        aliyun.clock_skew_s = 3600
        assert Talk(aliyun)("DescribeRegions").code == "InvalidTimeStamp.Expired"


def test_headers_that_count_must_be_signed(double: AliyunDouble) -> None:
    talk = Talk(double)
    talk.more = {"x-acs-something": "unsigned"}
    assert talk("DescribeRegions").code == "IncompleteSignature"
    talk.more = {"Authorization": "ACS3-HMAC-SHA256 nonsense"}
    assert talk("DescribeRegions").status == 400


def test_a_disabled_key_is_refused(double: AliyunDouble) -> None:
    double.keyring.add_user("gone", "LTAIgone", "secret")
    double.keyring.keys["LTAIgone"].disabled = True
    assert Talk(double, "LTAIgone", "secret")("DescribeRegions").code == "InvalidAccessKeyId.Inactive"


def test_texts_of_any_kind_can_be_signed(double: AliyunDouble) -> None:
    for style in ("acs3", "rpc"):
        said = Talk(double, style=style)("DescribeInstances", "cn-hangzhou", ZoneId="杭州 h+*~/?&=", MaxResults=10)
        assert said.status == 200, said.body
        assert said.json["Instances"]["Instance"] == []


def test_nothing_of_a_request_that_is_secret_is_logged(double: AliyunDouble) -> None:
    role = double.keyring.add_role("logged")
    key = double.keyring.session(role, 3600)
    for style in ("acs3", "rpc"):
        assert Talk(double, key.id, key.secret, key.security_token, style=style)("DescribeRegions").status == 200
    told = repr(list(double.requests)) + repr(key)
    assert key.security_token not in told
    assert key.secret not in told


def test_the_refusal_of_a_signature_quotes_the_callers_token(double: AliyunDouble) -> None:
    key = double.keyring.session(double.keyring.add_role("quoted"), 3600)
    said = Talk(double, key.id, "wrong", key.security_token)("DescribeRegions")
    assert said.code == "SignatureDoesNotMatch"
    assert key.security_token.encode() in said.body
