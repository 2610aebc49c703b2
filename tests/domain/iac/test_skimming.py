"""The outline of a document: what is JSON and what is not, and what a crafted one costs."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Collection
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.iac.exact_json import DEEPEST, TooDeepError, is_deep, loads
from asset_ledger.domain.iac.skimming import MOST_NAMES, MOST_STEPS, WINDOW, member
from asset_ledger.domain.iac.skimming import outline as outline_of
from tests.domain.iac.json_values import names, objects, scalars
from tests.patience import calls_of


def outline(body: bytes, kept: Collection[tuple[str, ...]] = ()) -> Any:
    """Return the outline of a document, after having made sure that a small one is given as a large one is."""
    if len(body) <= WINDOW:
        at_length = body + b" " * WINDOW
        try:
            walked = outline_of(at_length, kept)
        except ValueError as error:
            with pytest.raises(TooDeepError if isinstance(error, TooDeepError) else ValueError):
                outline_of(body, kept)
            raise
        assert outline_of(body, kept) == walked
        return walked
    return outline_of(body, kept)


@settings(deadline=None)
@given(objects)
def test_every_document_has_an_outline_however_it_is_written(value: dict[str, Any]) -> None:
    for written in (json.dumps(value), json.dumps(value, indent=1), json.dumps({"a": [value, value]})):
        told = json.loads(written)
        assert outline(written.encode()).keys() == told.keys()


@pytest.mark.parametrize(
    "body",
    ["[0,]", "[,0]", "[01,0]", "[1.,0]", "[-,0]", "[tru,0]", '["\\x",0]', '["a\nb",0]', "[0,,0]", "[0 0,1]", "[0,NaN]",
     "[[[[[[[0,]]]]]]]", "[[[[[[[0 0]]]]]]]", '[[[[[[{"a":0,}]]]]]]', '[[[[[[{"a":[0],}]]]]]]', "[[[[[[[0}]]]]]]", "[[[[[[[[]],]]]]]]",
     '{"a":{"b":0,}}', '{"a":{"b":0,"c"}}', '{"a":{0:0,"c":1}}', '{"a":{"b" 0,"c":1}}', "[{},]", "[[],", "[.5,1]"],
)  # fmt: skip
def test_what_is_no_json_is_refused_in_a_run_too(body: str) -> None:
    with pytest.raises(ValueError):
        json.loads(body, parse_constant=_refused)
    with pytest.raises(ValueError):
        outline(body.encode())


def _refused(text: str) -> Any:
    raise ValueError(text)


@pytest.mark.parametrize("piece", ["0,", '"a",', "1e5 ,\n", "null,", "[],", "{},", '"\\u0041",'])
def test_a_list_of_very_many_small_things_is_passed_over(piece: str) -> None:
    times = 400_000 // len(piece)
    for written in (f'{{"version":4,"a":[{piece * times}0]}}', f'{{"version":4,"a":[[{piece * times}0]]}}'):
        body = written.encode()
        assert outline(body) == {"version": 4, "a": []}
        assert calls_of(partial(outline_of, body)) < times / 20  # one by one they would be several calls each


@pytest.mark.parametrize(
    "piece",
    [
        "[],", '[[],{"a":[{}]}],', '{"a":{"b":[{"c":0}]}},', "[" * 100 + "]" * 100 + ",", "[0," * 50 + "0" + "]" * 50 + ",",
        '{"a":' * 50 + "0" + "}" * 50 + ",", "[" * 40 + "0," * 2000 + '{"a":[[[[0]]]]}' + "]" * 40 + ",", f'"{"x" * 2000}",',
    ],
)  # fmt: skip
def test_what_lies_deep_is_held_as_little_as_what_does_not(piece: str) -> None:
    body = f'{{"version":4,"a":[[[[{piece * (200_000 // len(piece))}0]]]]}}'.encode()
    tracemalloc.start()
    try:
        assert outline_of(body) == {"version": 4, "a": []}
        assert tracemalloc.get_traced_memory()[1] < 3 * len(body), "its text, and hardly more"
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("levels", [DEEPEST - 1, DEEPEST, DEEPEST + 1, 300, 5000])
@pytest.mark.parametrize("inner", ["0", "[]", '{"a":0}', "0,0", '"x"', "[0],[0],[[0]]"])
@pytest.mark.parametrize("around", ["%s", '{"version":4,"a":[0,%s,0]}', '[{"a":{"b":%s}}]'])
def test_how_deep_a_document_is_is_told_alike_by_its_outline_and_by_all_of_it(
    levels: int, inner: str, around: str
) -> None:
    nest = min(levels, 900) - around.count("[") - around.count("{") - inner.startswith(("[", "{"))
    body = (around % ("[" * nest + inner + "]" * nest)).encode()
    try:
        outline(body)
        deep = False
    except TooDeepError:
        deep = True
    assert deep == is_deep(loads(body))


def test_a_number_of_levels_that_nothing_could_read_is_refused() -> None:
    for piece in ("[", '{"a":', '[{"a":'):
        with pytest.raises(TooDeepError):
            outline(f'{{"version":4,"a":{piece * 1_000_000}'.encode())


values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=40
)


@settings(deadline=None, max_examples=300)
@given(values, st.data())
def test_wherever_the_pieces_end_a_document_is_passed_over_as_json_reads_it(value: Any, data: st.DataObject) -> None:
    text = json.dumps([value, {"a": value}], indent=data.draw(st.sampled_from([None, 1])), ensure_ascii=False)
    at, cut = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 2))
    damage = data.draw(st.sampled_from(["", ",", "]", "}", '"', ":", " ", "1", "-", "[", "{", "\\", "\n", "e"]))
    before = data.draw(st.integers(0, len(text) + 2))  # how much of it is in the first piece
    depth = data.draw(st.integers(1, 7))
    pad = data.draw(st.sampled_from([f'"{"x" * (WINDOW - before - 3)}",', f"0,{' ' * (WINDOW - before - 2)}"]))
    for each in (text, text[:at] + damage + text[at + cut :]):
        body = ("[" * depth + pad + each + "]" * depth).encode()
        try:
            loads(body)
        except ValueError:
            with pytest.raises(ValueError):
                outline(body)
        else:
            assert outline(body) == []


def test_more_names_than_can_be_held_are_refused_and_so_is_a_large_thing_where_a_small_one_is_kept() -> None:
    many = ",".join(f'"{number}":0' for number in range(MOST_NAMES + 1))
    with pytest.raises(ValueError, match="names in one object"):
        outline(f"{{{many}}}".encode())
    assert outline(f'{{"a":{{{many}}}}}'.encode()) == {"a": {}}
    with pytest.raises(ValueError, match="which is not held"):
        outline(b'{"features":[' + b"[]," * WINDOW + b"0]}", KEPT)


def test_what_would_have_to_be_looked_at_one_by_one_for_long_is_refused() -> None:
    with pytest.raises(ValueError, match="with many others in them"):
        outline(b"[" + b"[[[[[[[0]]]]]]]," * MOST_STEPS + b"0]")


@pytest.mark.parametrize(
    "number", ["1e99999999999999999999", "9" * 5000, "-" + "9" * 5000, "1.5e-99999999999999999999"]
)
@pytest.mark.parametrize("around", ['{"a":%s}', '{"a":[[[[[%s,0]]]]]}', "[0,%s]"])
def test_a_number_that_nothing_holds_is_refused_wherever_it_stands(number: str, around: str) -> None:
    with pytest.raises(ValueError):
        outline((around % number).encode())


KEPT = (("features",), ("deployment", "manifest"), ("a", "b", "c"))


@settings(deadline=None)
@given(objects.filter(bool), objects)
def test_what_is_to_be_kept_stays_as_it_is(value: dict[str, Any], other: dict[str, Any]) -> None:
    document = {"deployment": {**other, "manifest": value}, "features": [value], "a": {"b": {"c": value, "d": value}}}
    for indent in (None, 1):
        told = outline(json.dumps(document, indent=indent).encode(), KEPT)
        assert told == {"deployment": {"manifest": value}, "features": [value], "a": {"b": {"c": value}}}


@pytest.mark.parametrize("value", [None, 5, "x", [], {}, [{"manifest": {"x": 1}}], {"manifest": [1]}])
def test_where_nothing_leads_to_what_is_kept_the_outline_is_the_usual_one(value: Any) -> None:
    told = outline(json.dumps({"deployment": value}).encode(), KEPT)
    if isinstance(value, dict) and value:
        assert told == {"deployment": value}
    else:
        assert told == {"deployment": type(value)() if isinstance(value, list | dict) else value}


def test_members_beside_what_is_kept_are_passed_over_all_the_same() -> None:
    times = 100_000
    body = f'{{"deployment":{{{times * """"a":1,"""}"manifest":{{"x":1}},{times * """"b":[],"""}"c":0}}}}'.encode()
    assert outline(body, KEPT) == {"deployment": {"manifest": {"x": 1}}}
    assert calls_of(partial(outline_of, body, KEPT)) < times / 20


@settings(deadline=None)
@given(objects, objects)
def test_a_member_is_given_as_it_is_written(value: dict[str, Any], other: dict[str, Any]) -> None:
    for indent in (None, 2):
        text = json.dumps(value, indent=indent, ensure_ascii=False)
        body = f' {{ "é" : {json.dumps(other)}, "x": {{"y": {text} , "z":0}} }}'.encode()
        assert member(body, "x", "y") == text.encode()
        assert member(body, "x", "none") is None
        assert member(body, "x", "z", "deeper") is None


@pytest.mark.parametrize("body", ['{"a":1', '{"a" 1}', '{"a":1 "b":2}', '{"a":tru}', '{"a":1,5}'])
def test_a_member_of_what_is_no_json_is_not_looked_for(body: str) -> None:
    with pytest.raises(ValueError):
        member(body.encode(), "b")
