"""The outline of a document: what is JSON and what is not, and what a crafted one costs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings

from asset_ledger.domain.iac.skimming import outline
from tests.domain.iac.json_values import objects


@settings(deadline=None)
@given(objects)
def test_every_document_has_an_outline_however_it_is_written(value: dict[str, Any]) -> None:
    for written in (json.dumps(value), json.dumps(value, indent=1), json.dumps({"a": [value, value]})):
        told = json.loads(written)
        assert outline(written.encode()).keys() == told.keys()


@pytest.mark.parametrize(
    "body",
    ["[0,]", "[,0]", "[01,0]", "[1.,0]", "[-,0]", "[tru,0]", '["\\x",0]', '["a\nb",0]', "[0,,0]", "[0 0,1]", "[0,NaN]",
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
def test_a_list_of_millions_of_small_things_is_passed_over(piece: str) -> None:
    times = 4_000_000 // len(piece)
    began = time.process_time()
    assert outline(f'{{"version":4,"a":[{piece * times}0]}}'.encode()) == {"version": 4, "a": []}
    assert outline(f'{{"version":4,"a":[[{piece * times}0]]}}'.encode()) == {"version": 4, "a": []}
    assert time.process_time() - began < 2
