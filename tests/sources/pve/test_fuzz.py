"""Answers with anything in them: never a part called the whole, never an error nobody knows, never a wrong document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asset_ledger.domain import normalized
from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.inventory import AssetRecord, Caution, Item, Proof, TargetFailure
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.pve import rows
from asset_ledger.sources.pve.parse import parse
from asset_ledger.sources.pve.proof import prove
from asset_ledger.sources.pve.raw import Response, line, read, record
from asset_ledger.sources.registry import error_codes
from tests.contract.readings import readings
from tests.doubles.pve.acl import Entry
from tests.sources.pve.test_proof import TOKEN, site

CODES = {code.code for code in error_codes()}
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "\ud800",
    "\u202e\u0007",
    "名前" * 600,
    "x" * 5000,
    "qemu/100",
    "-1",
    "1e9",
    "9" * 30,
    "size=9999999999999999999T",
    "a=b=c,,=,",
    "../../etc",
    "::1",
    "0.0.0.0",
    "255.255.255.255/99",
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from((0, 1, -1, 2**31, 2**63, 10**30, 0.5, -7.6e-05, 1e300)),
    st.sampled_from(ODD_TEXTS),
    st.text(max_size=20),
)
ODD = st.recursive(
    SCALARS,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=8), some, max_size=3),
    max_leaves=5,
)


@cache
def kept() -> tuple[RawRecord, ...]:
    """Return the kept readings that are of a part of a reading."""
    return tuple(reading.raw() for reading in readings() if reading.platform.name == "pve")


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything inside a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield (*here, key)
        yield from places(one, (*here, key))


def altered(data: st.DataObject, value: Any) -> Any:
    """Return a value with one thing in it replaced, taken out or doubled."""
    every = list(places(value))
    how = data.draw(st.sampled_from(("replace", "replace", "drop", "double"))) if every else "replace"
    way = data.draw(st.sampled_from(every)) if every else ()
    if not way or (how == "replace" and data.draw(st.integers(0, 9)) == 0):
        return data.draw(ODD)
    new = json.loads(json.dumps(value))
    parent = new
    for key in way[:-1]:
        parent = parent[key]
    match how, parent:
        case "drop", _:
            del parent[way[-1]]
        case "double", list():
            parent.append(parent[way[-1]])
        case _:
            parent[way[-1]] = data.draw(ODD)
    return new


def rewritten(raw: RawRecord, responses: list[Response]) -> RawRecord:
    return record(raw.target, raw.document, [line(one) for one in responses], raw.observed_at)


def parsed(raw: RawRecord) -> list[Item] | None:
    """Parse and check whatever comes; None for a record that is refused with a code of ours."""
    try:
        items = list(parse(raw, {}))
    except LedgerError as refused:
        code = refused.code.code
    else:
        code = ""
    assert code == "" or code in CODES
    if code:
        return None
    for item in items:
        match item:
            case AssetRecord():
                normalized.validate(item.document, target=item.locator)
                normalized.canonical_json(item.document).encode()
                item.locator.encode()
            case Caution() | TargetFailure():
                assert item.code.code in CODES
                item.message.encode()
            case Proof():
                json.dumps(dict(item.counts), allow_nan=False).encode()
                "".join(item.missing).encode()
    return items


def documents(items: list[Item] | None) -> Mapping[str, Any]:
    return {item.external_id: item.document for item in items or () if isinstance(item, AssetRecord)}


@QUICK
@given(st.data())
def test_nothing_in_an_answer_breaks_out_and_one_guests_details_are_only_its_own(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from(kept()))
    responses = read(raw)
    place = data.draw(st.integers(0, len(responses) - 1))
    one = responses[place]
    responses[place] = replace(one, data=altered(data, one.data))
    items = parsed(rewritten(raw, responses))
    # the lists of a record say which machines there are; whatever else is odd takes none away
    if one.path in ("/cluster/resources", "/nodes", "/cluster/status"):
        return
    before, now = documents(parsed(raw)), documents(items)
    assert items is not None
    assert now.keys() == before.keys()
    parts = one.path.split("/")
    if len(parts) > 4 and parts[3] in ("qemu", "lxc"):
        assert {name for name in now if now[name] != before[name]} <= {f"{parts[3]}/{parts[4]}"}


WRONG = (
    None,
    True,
    0,
    -1,
    10**30,
    0.5,
    "",
    "x",
    "\x00名",
    "1" * 2000,
    "size=9999999999999999999T,ip=0/0",
    [],
    [[]],
    {},
    {"a": None},
)


@pytest.mark.parametrize("name", ["node pve", "node n1"])
def test_every_single_value_may_be_wrong(name: str) -> None:
    raw = next(one for one in kept() if one.target == name)
    responses = read(raw)
    before = documents(parsed(raw)).keys()
    for number, one in enumerate(responses):
        for way in places(one.data):
            for wrong in WRONG:
                data = json.loads(json.dumps(one.data))
                parent = data
                for key in way[:-1]:
                    parent = parent[key]
                parent[way[-1]] = wrong
                told = parsed(replace_line(raw, number, replace(one, data=data)))
                if one.path != "/cluster/resources" and told is not None:
                    assert documents(told).keys() >= before - {raw.document["node"]}


def replace_line(raw: RawRecord, number: int, response: Response) -> RawRecord:
    lines = raw.body.split(b"\n")
    lines[number] = line(response).kept
    return replace(raw, body=b"\n".join(lines))


@QUICK
@given(st.data())
def test_a_list_that_was_altered_is_never_called_whole(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from([one for one in kept() if one.target == "cluster"]))
    responses = read(raw)
    lists = [n for n, one in enumerate(responses) if one.path == "/cluster/resources" and one.ok]
    truth = {
        name: rows.guests(responses[n].data).rows.keys() for n, name in zip(lists, ("first", "second"), strict=False)
    }
    place = data.draw(st.sampled_from(lists))
    responses[place] = replace(responses[place], data=altered(data, responses[place].data))
    verdict = prove(read(rewritten(raw, responses)))
    if verdict.proof.complete:
        now = [rows.guests(responses[n].data).rows.keys() for n in lists]
        assert now == list(truth.values())


@QUICK
@given(st.data())
def test_with_a_hidden_guest_no_odd_answer_makes_it_whole(data: st.DataObject) -> None:
    role = data.draw(st.sampled_from(("NoAccess", "Console", "PVEDatastoreUser")))
    responses = site(Entry("/vms/105", "token", TOKEN, role)).read()
    assert not prove(responses, TOKEN).proof.complete
    for _ in range(data.draw(st.integers(1, 3))):
        # an id that was asked for is one fact; taking it back would be another world
        place = data.draw(st.sampled_from([n for n, one in enumerate(responses) if "vmid" not in one.query]))
        responses[place] = replace(responses[place], data=altered(data, responses[place].data))
    seen = {vmid for one in responses if one.path == "/cluster/resources" for vmid in rows.guests(one.data).rows}
    assert 105 in seen or not prove(responses, TOKEN).proof.complete


@pytest.mark.parametrize(
    "text",
    [
        b"1e999",
        b"-1e999",
        b"NaN",
        b"Infinity",
        b"9" * 6000,
        b"[" * 100_000,
        b'"\\ud800"',
        b'"\\u0000"',
        b"{",
        b"\xff",
        b"",
    ],
    ids=[
        "huge",
        "huge-negative",
        "nan",
        "infinite",
        "digits",
        "nested",
        "half-pair",
        "nul",
        "open",
        "not-utf-8",
        "nothing",
    ],
)
def test_json_at_its_limits_is_a_refusal_or_an_odd_value(text: bytes) -> None:
    for raw in kept():
        lines = raw.body.split(b"\n")[:-1]
        for place, one in enumerate(lines):
            if b'"data":' not in one:
                continue
            head = one.partition(b'"data":')[0]
            body = b"".join(
                line + b"\n" for line in [*lines[:place], head + b'"data":' + text + b"}", *lines[place + 1 :]]
            )
            items = parsed(replace(raw, body=body))
            proofs = [item for item in items or () if isinstance(item, Proof)]
            path = json.loads(one)["path"]
            if path in ("/cluster/resources", "/nodes", "/cluster/status", "/access/permissions"):
                assert not any(proof.complete for proof in proofs), path


def test_what_altering_does_would_be_noticed() -> None:
    raw = next(one for one in kept() if one.target == "cluster" and prove(read(one)).proof.complete)
    responses = read(raw)
    place = next(n for n, one in enumerate(responses) if one.path == "/cluster/resources")
    guest = next(n for n, row in enumerate(responses[place].data) if row["type"] == "qemu")
    fewer = responses[place].data[:guest] + responses[place].data[guest + 1 :]
    responses[place] = replace(responses[place], data=fewer)
    assert not prove(responses).proof.complete
