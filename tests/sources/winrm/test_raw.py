"""The raw record of a probed host: bytes as received and back, secrets out, nothing else taken for it."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asset_ledger.domain.secrecy import REDACTED, holds_secret
from asset_ledger.sources.winrm.queries import BIOS
from asset_ledger.sources.winrm.raw import MEDIA_TYPE, Answered, QueryError, read
from tests.sources.winrm.made import AT, TARGET, answered, document_of, envelopes, machine, raw_of, record_of

ENTRIES = st.builds(
    Answered,
    st.text(max_size=9),
    st.text(max_size=9),
    st.lists(st.binary(max_size=60), min_size=1, max_size=3).map(tuple),
) | st.builds(
    Answered,
    st.text(max_size=9),
    st.text(max_size=9),
    error=st.builds(QueryError, st.text(max_size=9), st.text(max_size=9), st.none() | st.integers(0, 1 << 33)),
)


@given(st.lists(ENTRIES, unique_by=lambda one: one.query, max_size=5))
def test_answers_come_back_byte_by_byte_also_where_they_are_no_utf_8(found: list[Answered]) -> None:
    record = record_of(found)
    assume(not record.redacted)  # bytes of the shape of a token do not come back
    assert list(read(record.body).values()) == found


def test_the_record_says_what_was_asked_and_how_it_went() -> None:
    record = raw_of(
        machine(), error={"code": "WINRM_DEADLINE", "message": "60 s"}, cautions=[{"code": "C", "message": "m"}]
    )
    assert (record.target, record.media_type, record.observed_at) == ("192.0.2.10", MEDIA_TYPE, AT)
    assert record.document["target"]["credential_ref"] == TARGET.credential_ref
    assert record.document["error"] == {"code": "WINRM_DEADLINE", "message": "60 s"}
    assert record.document["started_at"] == AT.isoformat()
    assert not record.redacted
    assert record.sha256 == sha256(record.body).digest()
    json.dumps(dict(record.document))


def test_a_key_in_an_answer_is_not_kept_and_the_rest_of_it_is() -> None:
    found = answered(machine())
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"
    bios = envelopes(BIOS, [{"SerialNumber": key}])
    record = record_of([one if one.query != "bios" else Answered("bios", one.wql, bios) for one in found])
    assert record.redacted
    assert record.sha256 != sha256(record.body).digest()
    assert not holds_secret(record.body.decode())
    assert "MIIE" not in record.body.decode()
    assert REDACTED in record.body.decode()
    found_here = document_of(record)
    assert found_here["hardware"]["cpu_count"] == 8
    assert "serial_number" not in found_here["identity"]  # else all that were redacted were one machine's


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1]",
        b'[{"query": "bios", "wql": "x"}]',
        b'[{"query": "bios", "wql": "x", "answers": []}]',
        b'[{"query": "bios", "wql": "x", "answers": [1]}]',
        b'[{"query": "bios", "wql": "x", "answers": ["a"], "error": null}]',
        b'[{"query": "bios", "wql": "x", "error": {"code": "A", "message": "b"}}]',
        b'[{"query": "bios", "wql": "x", "error": {"code": "A", "message": "b", "fault": "5"}}]',
        b'[{"query": "b", "wql": "x", "answers": ["a"]}, {"query": "b", "wql": "x", "answers": ["a"]}]',
    ],
)
def test_a_body_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(body)
