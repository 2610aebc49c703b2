"""Whatever stands in an object or in the evidence: a refusal with a code of ours or honest items, never another end.

Never a document that is not normalized-v1, never one machine's trouble in another's document, never a proof that lies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from asset_ledger.domain import normalized
from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.inventory import AssetRecord, Caution, Item, Proof, TargetFailure
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.registry import error_codes
from asset_ledger.sources.vcenter.parse import parse
from asset_ledger.sources.vcenter.paths import KINDS, PARTS
from asset_ledger.sources.vcenter.proof import prove
from asset_ledger.sources.vcenter.raw import Evidence, evidence_record, read_evidence, without_secrets
from asset_ledger.sources.vcenter.slices import END, XSI_TYPE
from tests.contract.readings import readings
from tests.sources.vcenter.made import AT, SPACES, evidence, here, one, raw, sight, text
from tests.sources.vcenter.test_proof import on

CODES = {code.code for code in error_codes()}
QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ODD_TEXTS = (
    *("", " ", "\u202e", "名前" * 600, "x" * 5000, "-1", "0", "1e9", "9" * 30, str((1 << 63) - 1), "true", "nil"),
    *("../../etc", "::1", "0.0.0.0", "255.255.255.255", "fe80::1%eth0", "10.0.0.1/24", "00:00:00:00:00:00", "ff:ff"),
    *(
        "%2f%25%5c%",
        "&<>\"'",
        "{urn:vim25}x",
        "00000000-0000-0000-0000-000000000000",
        "a\tb\nc",
        "\ufffd",
        "\U0010ffff",
    ),
)
ODD_TYPES = ("xsd:string", "VirtualDisk", "vim25:VirtualDisk", "ArrayOfNothing", "", "a:b:c", "ManagedObjectReference")
# what XML can hold at all
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=20)


@cache
def kept(part: str) -> tuple[RawRecord, ...]:
    """Return the kept records of one part of a reading."""
    every = (reading.raw() for reading in readings() if reading.platform.name == "vcenter")
    return tuple(record for record in every if record.document["part"] == part)


def parsed(record: RawRecord, known: Mapping[bytes, str] | None = None) -> list[Item] | None:
    """Parse and check whatever comes; None for a record that is refused with a code of ours."""
    found: list[Item] = []
    code = ""
    try:
        found = list(parse(record, known or {}))
    except LedgerError as refused:
        code = refused.code.code
    assert code == "" or code in CODES
    if code:
        return None
    for item in found:
        match item:
            case AssetRecord():
                normalized.validate(item.document, target=item.locator)
                normalized.canonical_json(item.document).encode()
                item.locator.encode()
                assert item.locator.isprintable()
                facts = ("hardware.cpu_count", "hardware.memory_bytes", "hardware.disk_total_bytes", "os.family")
                for fact in facts:
                    group, _, key = fact.partition(".")
                    assert (key in item.document.get(group, {})) != (fact in item.document["unknown"]), fact
            case Caution() | TargetFailure():
                assert item.code.code in CODES
                item.message.encode()
                assert len(item.message) <= 2048
            case Proof():
                json.dumps(dict(item.counts), allow_nan=False).encode()
                "".join(item.missing).encode()
    return found


def documents(found: list[Item] | None) -> dict[str, Any]:
    return {item.external_id: item.document for item in found or () if isinstance(item, AssetRecord)}


def slices(record: RawRecord) -> list[bytes]:
    return [part + END for part in record.body.split(END)[:-1]]


def altered(data: st.DataObject, slice_: bytes) -> bytes:
    """Return an object with one thing in it replaced, taken out, doubled, or turned into something else."""
    spaces = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in SPACES.items() if prefix)
    root = etree.fromstring(f"<o{spaces}>".encode() + slice_ + b"</o>")
    found = root[0]
    inside = [element for element in found.iter() if element is not found and element is not found[0]]
    if not inside:  # all of it was taken out before
        return slice_
    target = data.draw(st.sampled_from(inside))
    above = target.getparent()
    match data.draw(st.sampled_from(("text", "text", "drop", "double", "type", "empty", "nest", "rename", "swap"))):
        case "text":
            target.text = data.draw(st.sampled_from(ODD_TEXTS) | TEXTS)
        case "drop":
            above.remove(target)
        case "double":
            above.append(etree.fromstring(etree.tostring(target)))
        case "type":
            target.set(XSI_TYPE, data.draw(st.sampled_from(ODD_TYPES) | TEXTS))
        case "empty":
            for child in list(target):
                target.remove(child)
            target.text = None
        case "nest":
            target.append(
                etree.Element(data.draw(st.sampled_from(("val", "name", "propSet", "ipAddress", "macAddress"))))
            )
        case "rename":
            target.tag = data.draw(
                st.sampled_from(("val", "name", "propSet", "missingSet", "fault", "other", "{urn:x}name"))
            )
        case _:
            target.append(target[0]) if len(target) > 1 else target.set("type", "")
    # lxml declares again what the record declares for all
    whole: bytes = etree.tostring(found, encoding="utf-8", with_tail=False)
    for prefix, uri in SPACES.items():
        if prefix:
            whole = whole.replace(f' xmlns:{prefix}="{uri}"'.encode(), b"")
    return whole


def rewritten(record: RawRecord, pieces: list[bytes]) -> RawRecord:
    return replace(record, body=b"".join(pieces), document={**record.document, "objects": len(pieces)})


@pytest.mark.parametrize("part", PARTS)
@QUICK
@given(data=st.data())
def test_nothing_in_one_object_breaks_out_or_reaches_another(part: str, data: st.DataObject) -> None:
    record = data.draw(st.sampled_from(kept(part)))
    pieces = slices(record)
    place = data.draw(st.integers(0, len(pieces) - 1))
    changed = altered(data, pieces[place])
    for _ in range(data.draw(st.integers(0, 2))):
        changed = altered(data, changed)
    found = parsed(rewritten(record, [*pieces[:place], changed, *pieces[place + 1 :]]))
    before, now = documents(parsed(record)), documents(found)
    assert found is not None, "a detail of one object refused all of them"
    own = list(before)[place]
    assert {moid: told for moid, told in now.items() if moid != own} == {
        m: told for m, told in before.items() if m != own
    }


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("value", ODD_TEXTS)
def test_every_single_property_may_hold_any_text(part: str, value: str) -> None:
    for path in KINDS[part].every:
        for kind in ODD_TYPES[:3]:
            changed = one(part, **{path.replace(".", "__"): f'<val xsi:type="{kind}" type="x">{escape(value)}</val>'})
            record = raw([changed, one(part, "other-1")], part, namespaces={**SPACES, "vim25": "urn:vim25"})
            found = parsed(record)
            assert found is not None
            assert documents(found).keys() >= {here("vm-1"), here("other-1")}


@pytest.mark.parametrize("part", PARTS)
def test_every_property_may_be_absent_and_any_two_of_them(part: str) -> None:
    paths = KINDS[part].every
    for first in paths:
        for second in paths:
            assert documents(parsed(raw([one(part, without=[first, second])], part))).keys() == {here("vm-1")}
    assert documents(parsed(raw([one(part, without=paths)], part))).keys() == {here("vm-1")}


@pytest.mark.parametrize("part", PARTS)
@QUICK
@given(data=st.data())
def test_a_body_cut_or_damaged_anywhere_never_loses_a_machine_in_silence(part: str, data: st.DataObject) -> None:
    record = data.draw(st.sampled_from(kept(part)))
    body = record.body
    at = data.draw(st.integers(0, len(body) - 1))
    if data.draw(st.booleans()):
        assert parsed(replace(record, body=body[:at])) is None
        return
    with_byte = body[:at] + data.draw(st.binary(min_size=1, max_size=3)) + body[at + data.draw(st.integers(0, 3)) :]
    found = parsed(replace(record, body=with_byte))
    if found is not None:
        gone = len(documents(parsed(record))) - len(documents(found))
        assert gone == 0 or b"ManagedObjectNotFound" in with_byte


@QUICK
@given(data=st.data())
def test_what_stands_beside_the_objects_may_be_anything(data: st.DataObject) -> None:
    record = data.draw(st.sampled_from([*kept("vms"), *kept("hosts")]))
    document = json.loads(json.dumps(dict(record.document)))
    parsed(replace(record, document=changed_json(data, document)))


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything inside a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield (*here, key)
        yield from places(each, (*here, key))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from((0, 1, -1, 2**63, 10**30, 0.5, 1e300)),
    st.sampled_from((*ODD_TEXTS, "\x00", "\ud800", "NoPermission")),
)
ODD = st.recursive(
    SCALARS,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=8), some, max_size=3),
    max_leaves=5,
)


def changed_json(data: st.DataObject, value: Any, keep: frozenset[str] = frozenset()) -> Any:
    """Return a value with one thing in it replaced, taken out or doubled; what is under the keys of `keep` stays."""
    every = [way for way in places(value) if not keep & {key for key in way if isinstance(key, str)}]
    way = data.draw(st.sampled_from(every))
    new = json.loads(json.dumps(value))
    parent = new
    for key in way[:-1]:
        parent = parent[key]
    match data.draw(st.sampled_from(("replace", "replace", "drop", "double"))), parent:
        case "drop", _:
            del parent[way[-1]]
        case "double", list():
            parent.append(parent[way[-1]])
        case _:
            parent[way[-1]] = data.draw(ODD)
    return new


def as_json(told: Evidence) -> Any:
    return json.loads(evidence_record(told, {}, AT).body)


def record_of(told: Any) -> RawRecord:
    scope = told.get("scope") if isinstance(told, dict) else None
    base = evidence_record(evidence(), {}, AT)
    return replace(base, body=json.dumps(told).encode(), document={**base.document, "scope": scope})


GROUP = on("group-v9", "CORP\\Contractors", -5, group=True)
GOOD = evidence(
    sight("hosts", "host-1", "host-2"),
    sight("clusters", "domain-c1"),
    sight("vms", "vm-1", "vm-2", "vm-3", before=("vm-1", "vm-2", "vm-3", "vm-4")),
    scope="all",
    permissions=(*evidence().permissions, GROUP),  # type: ignore[misc]
)


@QUICK
@given(data=st.data())
def test_evidence_of_any_shape_is_refused_or_judged(data: st.DataObject) -> None:
    told = as_json(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        told = changed_json(data, told)
    record = record_of(told)
    found = parsed(record)
    if found is None:
        return
    [proof] = [item for item in found if isinstance(item, Proof)]
    if proof.complete:
        # whatever was changed: each part that the scope needs was read whole, by what is left of the evidence
        seen = {one_.part: one_ for one_ in read_evidence(record).sights}
        for part in {"hosts": ("hosts", "clusters"), "vms": ("vms",), "all": PARTS}[told["scope"]]:
            if part == "clusters" and told["about"].get("apiType") == "HostAgent":
                continue
            assert set(seen[part].before or ()) & set(seen[part].after or ()) <= set(seen[part].received)
            assert seen[part].ended


# each of these proves by itself that something may be missing; `keep` is where that stands
AGAINST: Mapping[str, tuple[Evidence, frozenset[str]]] = {
    "no right": (replace(GOOD, read=False), frozenset({"read"})),
    "taken away": (
        replace(GOOD, permissions=(on("group-v3"),)),
        frozenset({"permissions", "account", "roles", "root"}),
    ),
    "not received": (
        evidence(sight("vms", "vm-1", "vm-2", received=("vm-1",))),
        frozenset({"sights", "scope"}),
    ),
    "hidden": (evidence(sight("vms", "vm-1", second=("vm-1", "vm-2"))), frozenset({"sights", "scope"})),
    "no last page": (evidence(sight("vms", "vm-1", ended=False)), frozenset({"sights", "scope"})),
    "refused": (
        evidence(sight("vms", "vm-1", lacking={"vm-1": {"name": "NoPermission"}})),
        frozenset({"sights", "scope"}),
    ),
    "not looked at again": (evidence(sight("vms", "vm-1", after=None)), frozenset({"sights", "scope"})),
}


@pytest.mark.parametrize("against", AGAINST)
@settings(QUICK, max_examples=60)
@given(data=st.data())
def test_no_odd_answer_elsewhere_makes_whole_what_is_not(against: str, data: st.DataObject) -> None:
    told, keep = AGAINST[against]
    assert not prove(told).proof.complete
    changed = as_json(told)
    for _ in range(data.draw(st.integers(1, 3))):
        changed = changed_json(data, changed, keep)
    for item in parsed(record_of(changed)) or ():
        assert not isinstance(item, Proof) or not item.complete


@QUICK
@given(
    st.lists(
        st.sampled_from((b"://", b"@", b":", b"u", b"<a>", b"</a>", b"hvs", b"." * 12, b"eyJ", b"x" * 12)), max_size=30
    )
)
def test_taking_secrets_out_leaves_the_markup_as_it_was(parts: list[bytes]) -> None:
    body = b"".join(parts)
    clean = without_secrets(body)
    assert clean.count(b"<") == body.count(b"<")
    assert clean.count(b">") == body.count(b">")


def test_what_altering_does_would_be_noticed() -> None:
    record = raw([one(name=text("a")), one(moid="vm-2")])
    assert documents(parsed(record)) != documents(parsed(raw([one(name=text("b")), one(moid="vm-2")])))
    assert prove(GOOD).proof.complete
