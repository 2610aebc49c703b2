"""Signing: a fixed vector, and what must and must not change a signature. The double's own code verifies it, too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.sources.aliyun.account import Keys
from asset_ledger.sources.aliyun.signer import sign

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NONCE = "0123456789abcdef0123456789abcdef"
KEYS = Keys("LTAIdouble", "secret0")
GIVEN: dict[str, Any] = {
    "host": "ecs.cn-hangzhou.aliyuncs.com",
    "keys": KEYS,
    "action": "DescribeInstances",
    "version": "2014-05-26",
    "parameters": {"RegionId": "cn-hangzhou", "MaxResults": "100"},
    "at": AT,
    "nonce": NONCE,
}
SIGNATURE = "99a789a56ee9af1a335f7366d441fc1da8e6914bbac20b3dd1f10d237e5eb7aa"


def signature(**said: Any) -> str:
    given = {**GIVEN, **said}
    plain = [given.pop(name) for name in ("host", "keys", "action", "version", "parameters")]
    return sign(*plain, **given).headers["authorization"].rpartition("Signature=")[2]


def test_the_vector_has_its_signature() -> None:
    signed = sign(*[GIVEN[k] for k in ("host", "keys", "action", "version", "parameters")], at=AT, nonce=NONCE)
    assert signed.query == "MaxResults=100&RegionId=cn-hangzhou"
    assert signed.headers["authorization"] == (
        "ACS3-HMAC-SHA256 Credential=LTAIdouble,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;"
        f"x-acs-signature-nonce;x-acs-version,Signature={SIGNATURE}"
    )
    assert signed.headers["x-acs-date"] == "2026-01-02T03:04:05Z"


def test_the_order_of_parameters_and_the_time_zone_of_the_clock_change_nothing() -> None:
    assert signature(parameters={"MaxResults": "100", "RegionId": "cn-hangzhou"}) == SIGNATURE
    assert signature(at=AT.astimezone(timezone(timedelta(hours=8)))) == SIGNATURE


@pytest.mark.parametrize(
    "said",
    [
        {"host": "ecs.cn-hangzhou.aliyuncs.com:8443"},
        {"action": "DescribeDisks"},
        {"version": "2015-04-01"},
        {"nonce": NONCE[::-1]},
        {"at": AT + timedelta(seconds=1)},
        {"keys": Keys("LTAIdouble", "secret1")},
        {"keys": Keys("LTAIdouble", "secret0", "a-session-token")},
        {"parameters": {"MaxResults": "100", "RegionId": "cn-beijing"}},
    ],
    ids=str,
)
def test_whatever_is_signed_changes_the_signature(said: dict[str, Any]) -> None:
    assert signature(**said) != SIGNATURE


def test_a_session_token_is_sent_and_signed() -> None:
    signed = sign("h", Keys("LTAIdouble", "secret0", "token-1"), "A", "V", {}, at=AT, nonce=NONCE)
    assert signed.headers["x-acs-security-token"] == "token-1"
    assert "x-acs-security-token" in signed.headers["authorization"]


@given(st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=9), max_size=4))
def test_a_query_holds_nothing_that_a_url_would_change(parameters: dict[str, str]) -> None:
    signed = sign("h", KEYS, "A", "V", parameters, at=AT, nonce=NONCE)
    left = signed.query.replace("%", "").replace("&", "").replace("=", "").translate(str.maketrans("", "", "-_.~"))
    assert left == "" or (left.isascii() and left.isalnum())


def test_no_secret_is_in_what_is_sent_or_shown() -> None:
    keys = Keys("LTAIdouble", "canary-secret", "canary-token")
    signed = sign("h", keys, "A", "V", {"a": "b"}, at=AT, nonce=NONCE)
    assert "canary-secret" not in repr(signed)
    assert "canary" not in repr(keys)
