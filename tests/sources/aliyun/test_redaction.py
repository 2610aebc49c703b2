"""What is never kept: the quick look at a page's bytes finds whatever looking at every value finds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asset_ledger.domain import secrecy
from asset_ledger.domain.secrecy import REDACTED, holds_secret, names_secret
from asset_ledger.sources.aliyun import redaction
from asset_ledger.sources.aliyun.redaction import without_secrets
from tests.doubles.aliyun import DiskSpec, InstanceSpec, NicSpec, shapes

QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = (
    *("Description", "UserData", "NextToken", "HttpTokens", "nexttoken", "Next_Token", "Next Token", "HttpToken"),
    *("TagKey", "TagValue", "Key", "Value", "InstanceName", "credential_ref", "PASSWORD", "pass", "compass", "Pa s"),
    *("pa\u017f\u017fword", "to\u212aen", "pr\u0131vate key", "pr\u0130vate-key", "密码", "root口令", "密", "码"),
)
PLAIN = st.sampled_from(("", " ", ",", "a,b", "@", "://", "token", '"NextToken":', "密 码", "\\", "\ud800", "x\ny"))
names = st.one_of(
    st.sampled_from(NAMES), st.from_regex(secrecy._SECRET_NAME), st.text(max_size=6), st.sampled_from(("a", "b", "c"))
)
texts = st.one_of(PLAIN, names, st.from_regex(secrecy._SECRET_VALUE), st.text(max_size=12))
values = st.recursive(
    st.one_of(texts, st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    lambda some: st.one_of(
        st.lists(some, max_size=4),
        st.dictionaries(names, some, max_size=4),
        st.fixed_dictionaries({"TagKey": texts, "TagValue": some}),
    ),
    max_leaves=12,
)


@QUICK
@given(values, st.booleans(), st.sampled_from(((",", ":"), (", ", ": "), (" ,\r\n", " : "))))
@example({"a": {"NextToken": {"b": {"password": "x"}}}}, False, (",", ":"))
@example([{"Description": " "}, {"Description": ""}], False, (",", ":"))
@example({"x": "，eyJhbGciOiJI.eyJzdWIiOiIx.abcd"}, False, (",", ":"))
def test_the_quick_look_finds_what_looking_at_every_value_finds(
    value: Any, escaped: bool, separators: tuple[str, str]
) -> None:
    text = json.dumps(value, ensure_ascii=escaped, separators=separators)
    value = json.loads(text)
    cleaned, every = without_secrets(value, text.encode("utf-8", "backslashreplace")), without_secrets(value)
    assert cleaned == every
    assert (cleaned is value) == (every is value)


@QUICK
@given(st.from_regex(secrecy._SECRET_NAME), st.text(st.characters(codec="utf-8"), max_size=3))
def test_no_name_of_a_secret_is_overlooked(name: str, more: str) -> None:
    one = {"Instances": [{"Cpu": 4, more + name: "canary", "Status": "Running"}]}
    assert not names_secret(more + name) or "canary" not in json.dumps(without_secrets(one, _compact(one)))


@QUICK
@given(st.from_regex(secrecy._SECRET_VALUE), st.text(st.characters(codec="utf-8"), max_size=3))
def test_no_value_of_the_shape_of_a_secret_is_overlooked(value: str, before: str) -> None:
    one = {"Instances": [{"Cpu": 4, "InstanceName": before + value}]}
    expected = REDACTED if holds_secret(before + value) else before + value
    assert without_secrets(one, _compact(one))["Instances"][0]["InstanceName"] == expected


@pytest.mark.parametrize(
    "name",
    [
        *("dbPassword", "PASS", "pwd", "Secret", "token", "nexttoken", "Next_Token", "private key", "private-key"),
        *("API_KEY", "accesskey", "SNMP community", "root密码", "口令", "密钥", "私钥", "令牌"),
        # letters that count as the s, k and i of a name
        *("pa\u017f\u017fword", "to\u212aen", "pr\u0131vate key", "ap\u0130_key"),
    ],
)
def test_every_name_of_a_secret_hides_its_value(name: str) -> None:
    assert names_secret(name)
    for one in ({name: "canary"}, {"Tag": [{"TagKey": name, "TagValue": "canary"}]}):
        assert "canary" not in json.dumps(without_secrets(one, _compact(one)))


@pytest.mark.parametrize(
    "secret",
    [
        *(f"{begins}canary-canary" for begins in ("hvs.", "ghp_", "glpat-", "AKIA", "LTAI")),
        *("eyJhbGciOiJI.eyJzdWIiOiIx.canary", "https://root:canary@example.com", "-----BEGIN PRIVATE KEY-----canary"),
    ],
)
def test_every_value_of_the_shape_of_a_secret_is_hidden(secret: str) -> None:
    for value in (secret, f"x {secret}", f"a,{secret}", f"：{secret}"):
        assert holds_secret(value)
        one = {"InstanceName": value, "Status": "Running"}
        assert without_secrets(one, _compact(one)) == {"InstanceName": REDACTED, "Status": "Running"}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_an_ordinary_page_is_told_from_others_by_its_bytes_alone(separators: tuple[str, str]) -> None:
    instances = [
        shapes.instance(
            InstanceSpec(f"i-{at}", name=f"网站-{at}", nics=(NicSpec((f"10.0.0.{at}",)),), tags={"env": "a"})
        )
        for at in range(1, 9)
    ]
    disks = [shapes.disk(DiskSpec(f"d-{at}", size_gib=40, instances=(f"i-{at}",))) for at in range(1, 9)]
    for rows in (instances, disks):
        page = {"Rows": {"Row": rows}, "NextToken": "eNqrVkrOzytJzStRslIyAAAZAAPd", "RequestId": "473469C7"}
        told = json.dumps(page, ensure_ascii=False, separators=separators).encode()
        assert redaction._hints(told) == (False, False)
        assert without_secrets(page, told) is page


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
