"""Marks on values of any type: a state has such a value beside its type, and the mark's way goes through the value."""

from __future__ import annotations

from typing import Any

import pytest

from asset_ledger.domain.iac.redaction import redacted, redacted_attributes
from tests.domain.iac.states import KEY, block, instance, only

PLANTED = "nothing that shows by itself"


def typed(value: Any) -> dict[str, Any]:
    return {"value": value, "type": ["object", {"p": "string", "n": "number"}]}


def marks(*path: str) -> list[list[dict[str, Any]]]:
    return [[{"type": "get_attr", "value": step} for step in path]]


@pytest.mark.parametrize("path", [("input",), ("input", "p")])
def test_a_mark_hides_what_it_leads_to_though_a_state_has_its_type_beside_it(path: tuple[str, ...]) -> None:
    attributes = {"id": "1", "input": typed({"p": PLANTED, "n": 1}), "output": typed({"p": PLANTED, "n": 1})}
    resource = only(block("terraform_data", "a", instance(attributes, sensitive_attributes=marks(*path))))
    hidden = redacted(resource, KEY)
    assert PLANTED not in repr(hidden), "in what was put in, nor in what is given back"
    assert "redacted:" in repr(hidden["output"])
    if len(path) > 1:
        assert hidden["input"]["value"]["n"] == hidden["output"]["value"]["n"] == 1


def test_an_object_that_only_looks_so_is_hidden_by_its_own_marks() -> None:
    attributes = {"input": {"value": PLANTED, "type": "harmless"}}
    hidden = redacted_attributes(attributes, "other_thing", [("input", "value")], KEY)
    assert hidden["input"]["type"] == "harmless"
    assert PLANTED not in repr(hidden)


def test_in_a_plan_the_same_marks_hide_the_same() -> None:
    attributes = {"input": {"p": PLANTED, "n": 1}, "output": {"p": PLANTED, "n": 1}}
    hidden = redacted_attributes(attributes, "terraform_data", [("input", "p")], KEY)
    assert PLANTED not in repr(hidden)
    assert hidden["output"]["n"] == 1
