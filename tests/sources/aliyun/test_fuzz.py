"""Answers with anything in them: never an error nobody knows, never a wrong document, and one meaning for one thing."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.inventory import AssetRecord, Caution, Item, TargetFailure
from asset_ledger.sources.aliyun.errors import ERROR_CODES, PARSE_ERROR
from asset_ledger.sources.aliyun.parse import parse
from asset_ledger.sources.aliyun.proof import digest_of
from asset_ledger.sources.aliyun.raw import line, record
from tests.doubles.aliyun import DiskSpec, EipSpec, InstanceSpec, NicSpec, shapes
from tests.sources.aliyun.live import valid
from tests.sources.aliyun.made import AT, disks_answer, document, instances_answer

QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "\ud800",
    "\u202e\u0007",
    "名前" * 600,
    "x" * 5000,
    "-1",
    "9" * 30,
    "１２",
    "2099-12-31T15:59Z",
    "::1",
    "0.0.0.0",
    "255.255.255.255/99",
    "fe80::1%eth0",
    "[redacted]",
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from((0, 1, -1, 2**31, 2**63, 10**30, 0.5, 1e300)),
    st.sampled_from(ODD_TEXTS),
    st.text(max_size=20),
)
ODD = st.recursive(
    SCALARS,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=8), some, max_size=3),
    max_leaves=5,
)
FULL = InstanceSpec(
    "i-1",
    name="网站-1",
    nics=(NicSpec(("10.0.0.5", "10.0.0.6"), ipv6=("2001:db8::5",)), NicSpec(("10.0.1.5",))),
    public_ips=("198.51.100.1",),
    inner_ips=("10.9.9.9",),
    eip=EipSpec("203.0.113.7"),
    tags={"env": "prod", "团队": "网站"},
    local_storage=(2, 5500),
)
DISK = shapes.disk(DiskSpec("d-1", size_gib=40, instances=("i-1", "i-2"), multi_attach=True))


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything inside a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield (*here, key)
        yield from places(one, (*here, key))


def altered(data: st.DataObject, value: Any) -> Any:
    """Return a value with one thing in it replaced, taken out or doubled."""
    way = data.draw(st.sampled_from(list(places(value))))
    new = copy.deepcopy(value)
    parent = new
    for key in way[:-1]:
        parent = parent[key]
    match data.draw(st.sampled_from(("replace", "replace", "drop", "double"))), parent:
        case "drop", _:
            del parent[way[-1]]
        case "double", list():
            parent.append(parent[way[-1]])
        case _:
            parent[way[-1]] = data.draw(ODD)
    return new


def parsed(rows: list[Any], disks: list[Any]) -> list[Item] | None:
    """Parse a region's record as it would be kept, and check whatever comes; None where it is refused."""
    ids = [str(one.get("InstanceId")) if isinstance(one, dict) else "" for one in rows]
    document = {"part": "region", "region": "cn-x", "instances": len(ids), "digest": digest_of(ids)}
    raw = record("cn-x", document, [line(instances_answer(rows)), line(disks_answer(disks))], AT)
    json.dumps(raw.document, ensure_ascii=False).encode()
    try:
        found = list(parse(raw, {}))
    except LedgerError as refused:
        code, found = refused.code, None
    else:
        code = PARSE_ERROR
    assert code is PARSE_ERROR
    if found is None:
        return None
    for item in found:
        if isinstance(item, AssetRecord):
            valid(item.document, item.locator)
            item.locator.encode()
        elif isinstance(item, Caution | TargetFailure):
            assert item.code in ERROR_CODES
            item.message.encode()
    return found


@QUICK
@given(st.data())
def test_an_instance_with_anything_in_it_is_a_document_or_refused(data: st.DataObject) -> None:
    one = shapes.instance(FULL)
    for _ in range(data.draw(st.integers(1, 4))):
        one = altered(data, one)
    found = parsed([one, shapes.instance(InstanceSpec("i-2"))], [DISK])
    if found is not None:
        # never a shorter list: one odd instance takes no other with it, and is told itself
        told = [item.external_id for item in found if isinstance(item, AssetRecord | TargetFailure)]
        assert sorted(set(told)) == sorted({str(one["InstanceId"]), "i-2"})


@QUICK
@given(st.data())
def test_a_disk_with_anything_in_it_is_added_up_or_makes_the_sum_unknown(data: st.DataObject) -> None:
    one = altered(data, DISK)
    found = parsed([shapes.instance(FULL)], [one, DISK | {"DiskId": "d-2"}])
    assert found is not None
    [item] = [item for item in found if isinstance(item, AssetRecord)]
    total = item.document["hardware"].get("disk_total_bytes")
    assert (total is None) == ("hardware.disk_total_bytes" in item.document["unknown"])
    assert total is None or total >= 40 << 30


@QUICK
@given(ODD, ODD)
def test_rows_of_any_kind_are_refused_or_read(one: Any, other: Any) -> None:
    parsed([one], [other])


LISTS = (
    ("NetworkInterfaces", "NetworkInterface"),
    ("Tags", "Tag"),
    ("PublicIpAddress", "IpAddress"),
    ("InnerIpAddress", "IpAddress"),
)


@pytest.mark.parametrize(("outer", "inner"), LISTS)
def test_one_thing_in_place_of_a_list_means_the_list_with_it(outer: str, inner: str) -> None:
    one = shapes.instance(FULL)
    first = one[outer][inner][0]
    listed = document({**one, outer: {inner: [first]}})
    assert document({**one, outer: {inner: first}}) == listed
    assert document({**one, outer: [first]}) == listed, "not wrapped at all"


@pytest.mark.parametrize(("outer", "inner"), LISTS)
def test_every_way_to_say_none_means_none(outer: str, inner: str) -> None:
    one = shapes.instance(FULL)
    none = document({**one, outer: {inner: []}})
    for empty in (None, "", {}, [], {inner: None}, {inner: ""}):
        assert document({**one, outer: empty}) == none, empty
    del one[outer]
    assert document(one) == none


def test_the_language_of_the_answer_changes_nothing_that_counts() -> None:
    chinese = document({**shapes.instance(FULL), "OSName": "Alibaba Cloud Linux 3 64位"})
    english = document({**shapes.instance(FULL), "OSName": "Alibaba Cloud Linux 3 64 bit"})
    assert chinese == english
    del (bare := shapes.instance(FULL))["OSNameEn"]
    assert document(bare)["os"]["name"].endswith("64位")


@QUICK
@given(st.permutations(range(4)), st.permutations(range(3)))
def test_the_order_of_what_has_none_changes_no_document(cards: list[int], tags: list[int]) -> None:
    spec = InstanceSpec(
        "i-1",
        nics=tuple(NicSpec((f"10.0.0.{at}",), mac=f"00:16:3e:00:00:{at:02x}", id=f"eni-{at}") for at in range(1, 5)),
        tags={"a": "1", "b": "2", "c": "3"},
    )
    one = shapes.instance(spec)
    other = copy.deepcopy(one)
    other["NetworkInterfaces"]["NetworkInterface"] = [one["NetworkInterfaces"]["NetworkInterface"][at] for at in cards]
    other["Tags"]["Tag"] = [one["Tags"]["Tag"][at] for at in tags]
    assert document(other) == document(one)


@QUICK
@given(st.data())
def test_no_value_that_a_secret_name_or_shape_tells_is_kept(data: st.DataObject) -> None:
    secret = "canary" + data.draw(st.text("abcdef0123456789", min_size=8, max_size=20))
    one = shapes.instance(FULL)
    match data.draw(st.sampled_from(["tag", "description", "name", "field", "deep"])):
        case "tag":
            key = data.draw(st.sampled_from(["password", "DB_PASSWD", "api-key", "root密码", "access_token"]))
            one["Tags"] = {"Tag": [{"TagKey": key, "TagValue": secret}]}
        case "description":
            one["Description"] = secret
        case "name":
            one["InstanceName"] = f"https://root:{secret}@example.com"
        case "field":
            one[data.draw(st.sampled_from(["UserData", "Password", "VncPasswd", "SecretKey"]))] = secret
        case _:
            one["MetadataOptions"] = {"HttpTokens": "optional", "AccessKeySecret": secret}
    raw = record("cn-x", {"part": "region"}, [line(instances_answer([one]))], AT)
    assert secret.encode() not in raw.body
    assert raw.redacted
    text = json.dumps(instances_answer([one]).data, ensure_ascii=False, separators=(",", ":"))
    assert secret.encode() not in line(instances_answer([one]), text.encode()).kept
