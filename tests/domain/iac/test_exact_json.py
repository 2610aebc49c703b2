"""JSON without a digit lost, and the one text that hashes are made of."""

from __future__ import annotations

import json
import tracemalloc
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.iac.exact_json import (
    DEEPEST,
    MOST_HELD,
    TooLargeError,
    canonical,
    is_deep,
    loads,
    storable,
    storable_number,
)
from tests.domain.iac.json_values import values


@settings(deadline=None)
@given(values)
def test_the_one_text_of_a_value_is_json_that_reads_as_the_value(value: Any) -> None:
    def stored(each: Any) -> Any:
        if isinstance(each, str):
            return storable(each)
        if isinstance(each, dict):
            return {storable(name): stored(inner) for name, inner in each.items()}
        return [stored(inner) for inner in each] if isinstance(each, list) else each

    text = canonical(value)
    assert loads(text) == stored(value)
    assert canonical(loads(text)) == text


@pytest.mark.parametrize(
    "number",
    [
        "123456789012345678901234567890",
        "1e400",
        "-1e400",
        "1E-400",
        "0.1000000000000000000000000000001",
        "9" * 6000,
        "18446744073709551616",
        "1.10",
        "5e-324",
    ],
)
def test_no_digit_of_a_number_is_lost(number: str) -> None:
    value = loads(f'{{"n": {number}}}'.encode())["n"]
    assert Decimal(value if not isinstance(value, float) else repr(value)) == Decimal(number)
    again = loads(canonical({"n": value}))["n"]
    assert Decimal(again if not isinstance(again, float) else repr(again)) == Decimal(number)


@pytest.mark.parametrize(
    "piece", ["[]", "{}", '"ab"', "300", "1.5", '{"":0}', "[0]", "[[0]]", '{"a":{}}', '{"a":1,"b":2}']
)
def test_of_a_document_that_would_take_a_gigabyte_nothing_is_made(piece: str) -> None:
    many = 20_000
    tracemalloc.start()
    try:
        held = loads(f"[{','.join([piece] * many)}]".encode())
        each = tracemalloc.get_traced_memory()[0] / len(held)
        large = f"[{','.join([piece] * int(MOST_HELD / each))}]".encode()
        tracemalloc.reset_peak()
        with pytest.raises(TooLargeError):
            loads(large)
        assert tracemalloc.get_traced_memory()[1] < 1.1 * len(large) + many * each
    finally:
        tracemalloc.stop()


def test_an_exponent_that_nothing_holds_is_refused_and_no_surprise() -> None:
    with pytest.raises(ValueError, match="exponent"):
        loads(b"[1e99999999999999999999]")


@pytest.mark.parametrize(
    "body", [b"[NaN]", b"[Infinity]", b"[-Infinity]", b"", b"{", b"[1,]", b"{} x", b"\xef\xbb\xbf{}"]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        loads(body)


@pytest.mark.parametrize("body", ['{"a": 1}'.encode("utf-16"), b'{"a": "\xff"}', b'{"a": "\xed\xa0\x80"}'])
def test_only_utf_8_is_json(body: bytes) -> None:
    with pytest.raises(ValueError):
        loads(body)


def test_of_a_name_told_twice_the_last_counts() -> None:
    assert loads(b'{"a": 1, "a": 2}') == {"a": 2}


def test_what_postgresql_cannot_hold_becomes_the_replacement_character() -> None:
    value = loads(rb'{"a\u0000": "x\u0000y", "half": "\ud800z", "whole": "\ud83d\ude00"}')
    assert json.loads(canonical(value)) == {"a\ufffd": "x\ufffdy", "half": "\ufffdz", "whole": "\U0001f600"}
    assert storable("\udfff\0é") == "\ufffd\ufffdé"


def test_a_backslash_before_u0000_is_no_zero_character() -> None:
    assert json.loads(canonical({"a": "\\u0000"})) == {"a": "\\u0000"}


def test_names_are_sorted_and_lists_are_not() -> None:
    assert canonical({"b": [2, 1], "a": {"d": 1, "c": 2}}) == b'{"a":{"c":2,"d":1},"b":[2,1]}'


@settings(deadline=None)
@given(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**320), 10**320)
    | st.decimals(allow_nan=False, allow_infinity=False, places=40)
)
def test_a_stored_number_has_the_text_that_the_database_gives_back(number: Any) -> None:
    number = loads(str(number).encode())
    told = storable_number(number)
    # JSONB keeps a number as its digits, without a power of ten
    database = format(Decimal(repr(told) if isinstance(told, float) else told), "f")
    assert canonical(loads(database.encode())) == canonical(told)
    assert told == number


@pytest.mark.parametrize("text", ["1e200000", "1e-20000", "9" * 3000])
def test_a_number_too_long_for_the_database_is_kept_as_text(text: str) -> None:
    assert storable_number(loads(text.encode())) == str(Decimal(text))


@pytest.mark.parametrize("core", [1, 2**70, "\ud800"])
def test_depth_is_measured_exactly_whatever_the_document_holds(core: Any) -> None:
    value = core
    for step in range(DEEPEST):
        value = [value, "]]]"] if step % 2 else {"a": value}
    assert not is_deep(value)
    assert is_deep([value])
