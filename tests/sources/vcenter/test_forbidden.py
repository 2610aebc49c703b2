"""Characters that XML forbids, and objects that are no XML at all: what becomes of them, and of those beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.inventory import AssetRecord, Caution, Item, Proof, UnchangedRecord
from asset_ledger.domain.normalized import validate
from asset_ledger.sources.vcenter.parse import parse
from asset_ledger.sources.vcenter.paths import KINDS
from asset_ledger.sources.vcenter.slices import elements, lacking
from tests.doubles.vcenter import VcenterDouble
from tests.sources.vcenter.live import read, world
from tests.sources.vcenter.made import SPACES, here, items, one, raw

FORBIDDEN = (
    *(b"&#x1;", b"&#1;", b"&#x0;", b"&#xFFFF;", b"&#xfffe;", b"&#xD800;", b"&#x110000;", b"&#99999999999999999999;"),
    *(b"\x01", b"\x00", b"\x1f", b"\xef\xbf\xbf", b"\xef\xbf\xbe", b"\xff", b"\xed\xa0\x80", b"\xc3"),
)


def marked(mark: bytes, part: str = "vms", moid: str = "vm-1") -> bytes:
    """Return an object with these bytes in its name and, where it has such, in a text of its guest."""
    body = one(part, moid)
    for text in (b"web01<", b"web01.example.com", b"Xeon<", b"<label>Network adapter 1", b"c8<"):
        body = body.replace(text, text.rstrip(b"<") + mark + (b"<" if text.endswith(b"<") else b""))
    return body


def documents(found: list[Item]) -> dict[str, Any]:
    return {item.external_id: item.document for item in found if isinstance(item, AssetRecord)}


@pytest.mark.parametrize("mark", FORBIDDEN)
@pytest.mark.parametrize("part", ["vms", "hosts", "clusters"])
def test_a_character_that_xml_forbids_is_shown_as_one_that_is_not_known(part: str, mark: bytes) -> None:
    beside = [one(part, f"other-{n}") for n in range(3)]
    found = items(beside[0], marked(mark, part), *beside[1:], part=part)
    told = documents(found)
    assert len(found) == len(told) == 4
    for document in told.values():
        validate(document, target="x")
    plain = documents(items(*beside, part=part))
    assert {moid: told[moid] for moid in plain} == plain
    assert "�" in str(told[here("vm-1")])
    if part == "vms":
        mended = told[here("vm-1")]
        assert mended["identity"]["hostname"].startswith("web01�")
        assert mended["custom_fields"]["guest_hostname"].startswith("web01.example.com�")
        assert mended["network"]["mac_addresses"] == ["00:50:56:aa:00:01", "00:50:56:aa:00:02"]
        assert mended["unknown"].keys() == plain[here("other-0")]["unknown"].keys()


@pytest.mark.parametrize("reference", [b"&#x9;", b"&#10;", b"&#x20;", b"&#xe9;", b"&#x1F600;", b"&#x0000000000041;"])
def test_a_reference_to_a_character_that_may_be_is_left_as_it_is(reference: bytes) -> None:
    [found] = items(marked(b"&#1;" + reference))
    assert isinstance(found, AssetRecord)
    character = {b"&#xe9;": "é", b"&#x1F600;": "\U0001f600", b"&#x0000000000041;": "A"}.get(reference, "")
    assert found.document["custom_fields"]["guest_hostname"] == f"web01.example.com�{character}"


@pytest.mark.parametrize("part", ["vms", "hosts", "clusters"])
@pytest.mark.parametrize(
    "damage",
    [
        (b"</name>", b"</nam>"),
        (b"<name>name</name>", b"<name>&nbsp;</name>"),
        (b"<propSet>", b"<prop<Set>"),
        (b"xsi:type", b"xyz:type"),
        (b"<val ", b"<val a='1' a='2' "),
        (b"</propSet>", b"</propSet></o><o>"),
    ],
)
def test_an_object_that_is_no_xml_is_unknown_by_itself_and_says_so(part: str, damage: tuple[bytes, bytes]) -> None:
    broken = one(part, "vm-1").replace(*damage, 1)
    beside = one(part, "other-1")
    found = items(broken, beside, part=part)
    told = documents(found)
    [caution] = [item for item in found if isinstance(item, Caution)]
    assert caution.code.code == "VCENTER_PARSE_ERROR"
    assert caution.locator is not None
    assert caution.locator.startswith("vm-1")
    assert "no XML" in caution.message or "between its objects" in caution.message
    assert told[here("other-1")] == documents(items(beside, part=part))[here("other-1")]
    document = told[here("vm-1")]
    validate(document, target="x")
    assert document["identity"] == {"cloud_native_id": "vm-1"} | (
        {"generation": document["identity"]["generation"]} if part == "clusters" else {}
    )
    assert document["unknown"]["identity.hostname"].startswith("VCENTER_PARSE_ERROR: ")
    if part != "clusters":
        for path in ("hardware.cpu_count", "hardware.disk_total_bytes", "network.ip_addresses", "relations"):
            assert document["unknown"][path].startswith("VCENTER_PARSE_ERROR: "), path
        assert "relations" not in document


def test_the_warning_names_the_machine_and_comes_again_every_day() -> None:
    record = raw([one().replace(b"</guest", b"</", 1).replace(b"<val", b"<va&l", 4), one(moid="vm-2")])
    plain = list(parse(record, {}))
    known = {item.record_digest: item.external_id for item in plain if isinstance(item, AssetRecord)}
    again = list(parse(record, known))
    [caution] = [item for item in again if isinstance(item, Caution)]
    assert caution.locator is not None
    assert caution.locator.split()[0] == "vm-1"
    assert len([item for item in again if isinstance(item, UnchangedRecord)]) == 2


def test_a_name_that_can_be_found_is_in_the_warning() -> None:
    [_, caution] = items(one().replace(b"guest.net</name>", b"guest.net</nam>", 1))
    assert isinstance(caution, Caution)
    assert caution.locator == "vm-1 web01"


@pytest.mark.parametrize("markup", [b"<!--x-->", b"<![CDATA[x]]>", b"<?x?>"])
def test_markup_that_makes_the_cut_doubtful_refuses_all_even_beside_what_is_no_xml(markup: bytes) -> None:
    body = one().replace(b"</name>", b"</nam>", 1) + one(moid="vm-2").replace(b"web01", markup, 1)
    with pytest.raises(PermanentError) as caught:
        list(parse(replace(raw([one(), one(moid="vm-2")]), body=body), {}))
    assert caught.value.code.code == "VCENTER_PARSE_ERROR"


def test_namespaces_that_cannot_be_read_refuse_all() -> None:
    for namespaces in ({"": "urn:else"}, {**SPACES, "a b": "urn:x"}):
        with pytest.raises(PermanentError):
            list(parse(raw([one(), one(moid="vm-2")], namespaces=namespaces), {}))


def test_a_reading_goes_on_over_what_lacks_a_host_and_has_such_a_character() -> None:
    """What is mandatory is looked for while the answer streams in: a character must not end the reading there."""
    for mark in FORBIDDEN:
        off = marked(mark).replace(b"poweredOn", b"poweredOff").replace(b"<name>runtime.host<", b"<name>else<")
        assert lacking(off, "vms", SPACES) == {}
        assert lacking(marked(mark).replace(b"<name>runtime.host<", b"<name>else<"), "vms", SPACES) == {
            "runtime.host": ""
        }
    [found] = elements([b"<objects><obj>group-v1</obj>a\x01b"], SPACES, "x")
    assert found[0].tail == "a�b"
    assert KINDS["vms"].mandatory == ("name", "runtime.host")


def test_a_guest_that_tells_such_a_character_is_read_with_all_the_others_over_the_wire() -> None:
    with VcenterDouble() as vc:
        world(vc, vms=7)
        vc.put("vm-3", "guest.hostName", "xsd:string", "app3&#x1;.example.com")
        vc.put("vm-4", "name", "xsd:string", "app\x02four")
        vc.put("group-v3", "name", "xsd:string", "v&#x1;m")
        reading = read(vc, "vms")
        assert reading.error is None
        found = [item for raw in reading.records for item in parse(raw, {})]
    told = {document["identity"]["cloud_native_id"]: document for document in documents(found).values()}
    assert len(told) == 7
    assert told["vm-3"]["custom_fields"]["guest_hostname"] == "app3�.example.com"
    assert told["vm-4"]["identity"]["hostname"] == "app�four"
    assert [item.complete for item in found if isinstance(item, Proof)] == [True]
    assert [item for item in found if isinstance(item, Caution)] == []
