"""The schema itself, what a wrong document's error says, and the one text and digest of a document."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.normalized import SHOWN_PROBLEMS, canonical_json, digest, schema, validate

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


def machine(**parts: Any) -> dict[str, Any]:
    return {"schema": "normalized-v1", "kind": "machine", "identity": {}, "unknown": {}, **parts}


def test_the_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_no_object_of_the_schema_takes_unknown_fields_but_those_people_fill() -> None:
    open_objects: list[str] = []

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object" and node.get("additionalProperties") is not False:
                open_objects.append(path)
            for key, inner in node.items():
                walk(inner, f"{path}/{key}")

    walk(schema(), "")
    assert open_objects == [
        "/properties/identity/properties/generation",
        "/properties/custom_fields",
        "/properties/unknown",
    ]


def test_the_least_document_is_valid() -> None:
    validate(machine(), target="a")


def test_an_error_names_every_field_that_is_wrong_and_the_record() -> None:
    wrong = machine(
        kind="router",
        identity={"hostname": ""},
        hardware={"cpu_count": 0, "memory_bytes": "16 GB"},
        network={"ip_addresses": ["192.0.2.1", "not one"]},
        color="red",
    )
    with pytest.raises(PermanentError) as caught:
        validate(wrong, target="row 7")
    said = str(caught.value)
    assert said.startswith("SCHEMA_VALIDATION_FAILED: row 7: ")
    for field in (
        "kind",
        "identity.hostname",
        "hardware.cpu_count",
        "hardware.memory_bytes",
        "network.ip_addresses.1",
        "color",
    ):
        assert field in said


def test_an_error_never_quotes_the_value_that_is_wrong() -> None:
    wrong = machine(identity={"hostname": ["hunter2"]}, access={"credential_ref": "hunter2"}, asset_type="hunter2")
    with pytest.raises(PermanentError) as caught:
        validate(wrong, target="row 7")
    assert "hunter2" not in str(caught.value)
    assert "access.credential_ref" in str(caught.value)


def test_problems_past_ten_are_counted() -> None:
    wrong = machine(unknown={f"field{n}": 1 for n in range(SHOWN_PROBLEMS + 5)})
    with pytest.raises(PermanentError, match="; and 5 more"):
        validate(wrong, target="row 7")


@pytest.mark.parametrize(
    "reference", ["hunter2", "env:", "env:A B", "file:a\nb", "http://vault/secret", "", "env:A\n", "ENV:A"]
)
def test_what_is_no_reference_to_a_credential_is_refused(reference: str) -> None:
    with pytest.raises(PermanentError):
        validate(machine(access={"credential_ref": reference}), target="a")


@pytest.mark.parametrize("field", ["cpu_count", "memory_bytes", "disk_total_bytes"])
def test_unknown_is_absent_and_never_zero_or_null(field: str) -> None:
    for nothing in (0, None, -1, True):
        with pytest.raises(PermanentError):
            validate(machine(hardware={field: nothing}), target="a")


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), json_values, max_size=5), st.randoms())
def test_the_order_of_keys_makes_no_difference(document: dict[str, Any], random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(inner) for inner in value] if isinstance(value, list) else value

    text = canonical_json(document)
    assert canonical_json(shuffled(document)) == text
    assert json.loads(text) == document
    assert canonical_json(json.loads(text)) == text
    assert len(digest(text)) == 16


def test_a_text_stays_readable_and_has_no_spaces() -> None:
    assert canonical_json({"名": "平台", "a": [1, 2]}) == '{"a":[1,2],"名":"平台"}'


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})
