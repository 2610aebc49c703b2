"""Which document a body is, and which bodies are refused: those that would break the client that gets them back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.iac.documents import DECIDING, Body, RefusedError, known, recognised
from asset_ledger.domain.iac.exact_json import DEEPEST
from asset_ledger.domain.iac.skimming import outline
from tests.domain.iac.json_values import names, values
from tests.domain.iac.states import state


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("document", "kind", "parsed"),
    [
        (state(), "terraform", True),
        ({"version": 3, "modules": []}, "terraform", True),
        ({"version": 2, "modules": []}, "terraform-old", False),
        ({"version": 1}, "terraform-old", False),
        ({"meta": {}, "encrypted_data": "x", "encryption_version": "v0"}, "opentofu-encrypted", False),
        ({"serial": 4, "lineage": "l", "encrypted_data": "x", "encryption_version": "v0"}, "opentofu-encrypted", False),
        ({"version": 3, "deployment": {"manifest": {"version": "v3.1"}, "resources": []}}, "pulumi", True),
        ({"version": 3, "deployment": None}, "pulumi", True),
        ({"version": 3, "checkpoint": {"stack": "a", "latest": {"resources": []}}}, "pulumi", True),
        ({"version": 3, "checkpoint": {"stack": "a"}}, "pulumi", True),
        ({"version": 4, "features": [], "deployment": {}}, "pulumi", True),
        ({"version": 4, "features": ["refreshBeforeUpdate"], "deployment": {}}, "pulumi-unread", False),
        ({"version": 5, "deployment": {}}, "pulumi-unread", False),
        ({"version": 2, "deployment": {}}, "pulumi", True),
        ({"version": 1, "deployment": {"resources": []}}, "pulumi", True),
        ({"version": 1, "checkpoint": {"stack": "a", "latest": {}}}, "pulumi", True),
        ({"stack": "a", "config": {}, "latest": {"resources": []}}, "pulumi", True),
        ({"stack": "a", "latest": None}, "pulumi", True),
        ({"version": 4, "features": ["of tomorrow"], "checkpoint": {"latest": {}}}, "pulumi-unread", False),
    ],
)
def test_every_kind_of_document_is_known_by_what_it_holds(document: Any, kind: str, parsed: bool) -> None:
    found = recognised(body(document))
    assert (found.kind, found.parsed) == (kind, parsed)
    assert found.tool == ("pulumi" if kind.startswith("pulumi") else "terraform")


def test_a_state_tells_its_serial_its_lineage_and_its_tool() -> None:
    found = recognised(body(state(serial=7, lineage="abc")))
    assert (found.serial, found.lineage, found.tool_version) == (7, "abc", "1.9.8")


@pytest.mark.parametrize("serial", [None, "7", True, 7.5, 2**64, [7]])
def test_a_serial_that_is_none_is_unknown(serial: Any) -> None:
    assert recognised(body(state(serial=serial, lineage=7))).serial is None


def test_a_lineage_can_be_stored_whatever_it_holds() -> None:
    assert recognised(rb'{"version": 4, "lineage": "a\u0000\ud800"}').lineage == "a\ufffd\ufffd"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not JSON"),
        (b'{"version": NaN}', "not JSON"),
        (b"null", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'"state"', "not a JSON object"),
        (b"{}", "`version` is None"),
        (b'{"version": 5}', "`version` is 5"),
        (b'{"version": 0}', "`version` is 0"),
        (b'{"version": "4"}', "no such number"),
        (b'{"version": true}', "True"),
        (b'{"version": 4.0}', "no such number"),
        (b'{"version": {"password": "hunter2"}}', "no such number"),
        (b'{"version": "x", "deployment": {}}', "no such number"),
        (b'{"version": 3, "deployment": []}', "object"),
        (b'{"version": 0, "deployment": {}}', "`version` is 0"),
        (b'{"stack": "a", "latest": []}', "object"),
        (b'{"version": 0, "stack": "a", "latest": {}}', "`version` is 0"),
        (b'{"latest": {}}', "`version` is None"),
        (b'{"format_version": "1.0", "values": {"root_module": {}}}', "terraform state pull"),
        (b'{"format_version": "1.2", "planned_values": {}, "resource_changes": []}', "terraform state pull"),
        (b'{"version": 4, "a": ' + b"[" * DEEPEST + b"]" * DEEPEST + b"}", "nested deeper"),
        (b"[" * 100_000, "nested deeper"),
    ],
)
def test_what_is_no_state_is_refused_and_told_why(told: bytes, why: str) -> None:
    with pytest.raises(RefusedError, match=why) as caught:
        recognised(told)
    assert "hunter2" not in str(caught.value)


def test_odd_numbers_and_texts_are_no_reason_to_refuse() -> None:
    odd = rb'{"version": 4, "n": 123456789012345678901234567890, "i": 1e400, "z": "\u0000", "s": "\ud800", "s": 1}'
    assert recognised(odd).kind == "terraform"


@pytest.mark.parametrize(
    "document",
    [
        {"version": 3, "deployment": {"manifest": {"version": "v3.1"}, "resources": [{"urn": "a"}]}},
        {"version": 4, "features": ["x"], "deployment": {"resources": []}},
        {"version": 4, "features": [], "deployment": None},
        {"version": 3, "checkpoint": {"stack": "a", "latest": {"resources": [], "manifest": {"version": "v3.1"}}}},
        {"stack": "a", "latest": {"manifest": {"version": "v0.9"}, "resources": []}},
        {"version": 3, "deployment": []},
        {"version": 3, "deployment": {"manifest": [1, {"version": "v3.1"}]}},
        {"version": 3, "checkpoint": [{"latest": {}}]},
        state(serial=7),
    ],
)
def test_a_document_is_known_by_its_outline(document: Any) -> None:
    assert told_of(lambda: known(outline(body(document), DECIDING))) == told_of(lambda: recognised(body(document)))


def told_of(reading: Callable[[], Body]) -> Any:
    try:
        found = reading()
    except RefusedError as error:
        return str(error)
    return found.kind, found.serial, found.lineage, found.tool_version


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["version", "deployment", "checkpoint", "values", "serial", "stack", "latest", "features"])
        | names,
        st.integers(1, 5) | st.fixed_dictionaries({"manifest": values}) | values,
    )
)
def test_any_document_is_known_by_its_outline(document: dict[str, Any]) -> None:
    assert told_of(lambda: known(outline(body(document), DECIDING))) == told_of(lambda: recognised(body(document)))


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["version", "deployment", "checkpoint", "values", "serial", "stack", "latest", "features"])
        | names,
        values,
    )
)
def test_no_object_surprises_it(document: dict[str, Any]) -> None:
    with contextlib.suppress(RefusedError):
        recognised(body(document))
