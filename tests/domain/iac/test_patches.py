"""RFC 6902 between values: as an implementation of others applies it, and without differences that mean nothing."""

from __future__ import annotations

import copy
import random
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings

from asset_ledger.domain.iac.patches import applied, made, same, value_hash, without_noise
from tests.domain.iac.json_values import objects, values


@settings(deadline=None)
@given(values, values)
def test_a_patch_leads_from_the_one_value_to_the_other(before: Any, after: Any) -> None:
    kept = copy.deepcopy(before)
    assert same(applied(before, made(before, after)), after)
    assert same(before, kept)


@settings(deadline=None)
@given(objects, objects)
def test_another_implementation_applies_a_patch_to_the_same_value(before: Any, after: Any) -> None:
    assert same(jsonpatch.apply_patch(before, made(before, after)), after)


@settings(deadline=None)
@given(objects, objects)
def test_a_patch_of_another_implementation_is_applied_to_the_same_value(before: Any, after: Any) -> None:
    told = [each for each in jsonpatch.make_patch(before, after).patch if each["op"] in ("add", "remove", "replace")]
    if len(told) == len(jsonpatch.make_patch(before, after).patch):
        assert bool(applied(before, told) == after)


@settings(deadline=None)
@given(values)
def test_nothing_leads_from_a_value_to_itself(value: Any) -> None:
    assert made(value, copy.deepcopy(value)) == []


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1}, {"a": 2}, [{"op": "replace", "path": "/a", "value": 2}]),
        ({"a": 1}, {}, [{"op": "remove", "path": "/a"}]),
        ({}, {"a/b~c": None}, [{"op": "add", "path": "/a~1b~0c", "value": None}]),
        ({"a": 1}, {"a": True}, [{"op": "replace", "path": "/a", "value": True}]),
        ({"a": 0}, {"a": False}, [{"op": "replace", "path": "/a", "value": False}]),
        ({"a": {}}, {"a": []}, [{"op": "replace", "path": "/a", "value": []}]),
        ([1, 2, 3], [1], [{"op": "remove", "path": "/2"}, {"op": "remove", "path": "/1"}]),
        ([1], [1, 2, 3], [{"op": "add", "path": "/1", "value": 2}, {"op": "add", "path": "/2", "value": 3}]),
        ({"": 1}, {"": 2}, [{"op": "replace", "path": "/", "value": 2}]),
        (1, 2, [{"op": "replace", "path": "", "value": 2}]),
    ],
)
def test_patches_say_what_changed_and_no_more(before: Any, after: Any, patch: Any) -> None:
    assert made(before, after) == patch
    assert same(applied(before, patch), after)


@pytest.mark.parametrize(
    ("value", "operation"),
    [
        ({}, {"op": "remove", "path": "/a"}),
        ({}, {"op": "replace", "path": "/a", "value": 1}),
        ({}, {"op": "add", "path": "/a/b", "value": 1}),
        ([], {"op": "remove", "path": "/0"}),
        ([], {"op": "add", "path": "/1", "value": 1}),
        ([], {"op": "add", "path": "/x", "value": 1}),
        ([], {"op": "add", "path": "/²", "value": 1}),
        (1, {"op": "add", "path": "/a", "value": 1}),
        ({}, {"op": "add", "path": "a", "value": 1}),
        ({}, {"op": "remove", "path": ""}),
    ],
)
def test_a_patch_that_is_none_for_the_value_is_refused(value: Any, operation: Any) -> None:
    with pytest.raises(ValueError):
        applied(value, [operation])


def test_a_hash_is_of_the_value_and_not_of_how_it_was_written() -> None:
    assert value_hash({"a": 1, "b": 2}) == value_hash({"b": 2, "a": 1})
    assert value_hash({"a": 1}) != value_hash({"a": True})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"tags_all": None}, {"tags_all": {}}),
        ({"tags_all": {}}, {}),
        ({}, {"tags_all": None, "list": []}),
        ({"a": []}, {"a": {}}),
        ({"groups": ["x", "y", "y"]}, {"groups": ["y", "x", "y"]}),
        ({"rules": [{"p": 1, "c": ["a", "b"]}, {"p": 2}]}, {"rules": [{"p": 2}, {"c": ["a", "b"], "p": 1}]}),
        ({"b": [{"t": None}]}, {"b": [{"t": {}}]}),
        ({"n": 1}, {"n": 1.0}),
        ({"vpc_security_group_ids": ["x", "y"]}, {"vpc_security_group_ids": ["y", "x"]}),
        ({"vpcSecurityGroupIds": ["x", "y"]}, {"vpcSecurityGroupIds": ["y", "x"]}),
        ({"ipv6_cidr_blocks": ["x", "y"]}, {"ipv6_cidr_blocks": ["y", "x"]}),
    ],
)
def test_what_providers_write_one_way_or_another_is_no_change(before: Any, after: Any) -> None:
    assert made(before, without_noise(before, after)) == []


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({"tags": None, "size": 1}, {"tags": {}, "size": 2}, ["/size"]),
        ({"groups": ["x", "y"], "size": 1}, {"groups": ["y", "x"], "size": 2}, ["/size"]),
        ({"groups": ["x", "y", "z"]}, {"groups": ["z", "w", "x"]}, ["/groups/1"]),
        ({"groups": ["x", "y"]}, {"groups": ["y", "x", "z"]}, ["/groups/2"]),
        ({"groups": ["x", "y", "z"]}, {"groups": ["z", "x"]}, ["/groups/1", "/groups/2"]),
        ({"groups": ["x", "y"]}, {"groups": ["z", "x", "y"]}, ["/groups/0", "/groups/1", "/groups/2"]),
        ({"b": [{"t": None, "n": 1}]}, {"b": [{"t": {}, "n": 1}, {"t": {}, "n": 2}]}, ["/b/1"]),
        ({"b": [{"t": None, "n": 1}]}, {"b": [{"t": {}, "n": 3}]}, ["/b/0/n"]),
        ({"command": ["rm", "cp"]}, {"command": ["cp", "rm"]}, ["/command/0", "/command/1"]),
        ({"dns_servers": ["1", "8"]}, {"dns_servers": ["8", "1"]}, ["/dns_servers/0", "/dns_servers/1"]),
        ({"m": [["a", "b"], ["c"]]}, {"m": [["b", "a"], ["c"]]}, ["/m/0/0", "/m/0/1"]),
        ({"a": {"x": 1}}, {"a": {}}, ["/a/x"]),
        ({"a": None}, {"a": {"x": 1}}, ["/a"]),
        ({"a": [1]}, {"a": []}, ["/a/0"]),
        ({"a": False}, {"a": None}, ["/a"]),
        ({"a": ""}, {"a": None}, ["/a"]),
    ],
)
def test_a_change_beside_noise_is_told_alone(before: Any, after: Any, changed: list[str]) -> None:
    assert [each["path"] for each in made(before, without_noise(before, after))] == changed


def plain(value: Any) -> Any:
    """A value without what means nothing: a meaning of noise that knows nothing of the code's."""
    if isinstance(value, dict):
        return {name: told for name, inner in value.items() if (told := plain(inner)) not in (None, {}, [])}
    if isinstance(value, list):
        return sorted((plain(inner) or None for inner in value), key=repr)
    return value


@settings(deadline=None)
@given(values, values)
def test_without_noise_a_value_means_what_it_meant(before: Any, after: Any) -> None:
    assert same_number(plain(without_noise(before, after)) or None, plain(after) or None)


@settings(deadline=None)
@given(values)
def test_a_value_shuffled_is_the_same_value(value: Any) -> None:
    def shuffled(each: Any) -> Any:
        if isinstance(each, dict):
            return {name: shuffled(inner) for name, inner in reversed(each.items())}
        told = isinstance(each, list) and all(isinstance(inner, dict) for inner in each)
        return random.Random(7).sample(each, len(each)) if told else each

    assert made(value, without_noise(value, shuffled(value))) == []


def same_number(one: Any, other: Any) -> bool:
    return same(one, other) or repr(one) == repr(other)
