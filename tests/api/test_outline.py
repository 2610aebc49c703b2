"""The outline of a document: it takes and refuses what json.loads does, and has the same outermost level."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.iac.skimming import outline

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=30,
)


def emptied(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: type(value)() if isinstance(value, dict | list) else value for name, value in document.items()}
    return [] if isinstance(document, list) else document


def loaded(body: bytes) -> Any:
    def refused(text: str) -> Any:
        raise ValueError(text)

    return json.loads(body.decode(), parse_constant=refused, parse_float=str)


@given(VALUES, st.sampled_from([None, 0, 2]), st.booleans())
def test_the_outermost_level_is_what_it_is(document: Any, indent: int | None, ascii_only: bool) -> None:
    body = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace")
    assert outline(body) == emptied(loaded(body))


@given(VALUES, st.data())
def test_a_damaged_document_is_refused_where_json_refuses_it(document: Any, data: st.DataObject) -> None:
    text = json.dumps(document, indent=1)
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 2))
    body = (
        text[:at] + data.draw(st.sampled_from(["", ",", "]", "}", '"', ":", " ", "1", "\n"])) + text[at + cut :]
    ).encode()
    try:
        expected = emptied(loaded(body))
    except ValueError:
        with pytest.raises(ValueError):
            outline(body)
    else:
        assert outline(body) == expected
