"""The quick way to read an object says exactly what the parser says of it, or leaves it to the parser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.secrecy import holds_secret
from asset_ledger.sources.vcenter.objects import Found, objects, read
from asset_ledger.sources.vcenter.paths import KINDS, PARTS
from asset_ledger.sources.vcenter.properties import READERS
from asset_ledger.sources.vcenter.raw import read_objects, without_secrets
from asset_ledger.sources.vcenter.slices import END, cut, elements
from asset_ledger.sources.vcenter.usual import Usual
from tests.patience import calls_of
from tests.sources.vcenter.made import CARD, DISK, NIC, SPACES, VM, many, nic, one, raw, ref, refused, text
from tests.sources.vcenter.test_fuzz import altered, kept, slices

THOROUGH = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
XSI = SPACES["xsi"]


def by_parser(parts: list[bytes], part: str = "vms") -> list[Found] | None:
    """Return what the parser alone says of some slices, None where it refuses them."""
    try:
        return [read(element, READERS[part]) for element in elements(parts, SPACES, "vms 1")]
    except PermanentError:
        return None


def quickly(parts: list[bytes], part: str = "vms") -> list[dict[str, Any] | None]:
    return Usual(READERS[part], SPACES, "vms 1").values(parts)


def agree(parts: list[bytes], part: str = "vms") -> int:
    """Check that the quick way says what the parser says; return of how many objects it said anything."""
    said = quickly(parts, part)
    for values, slice_ in zip(said, parts, strict=True):
        if values is not None:
            assert by_parser([slice_], part) == [Found(values)], slice_
    return sum(values is not None for values in said)


def inside(slice_: bytes) -> bytes:
    """Return an object as a body is cut: without its end."""
    return slice_.removesuffix(END)


# what a val, a device or an interface may look like: as it is, odd in one way, or no XML at all
ODD_TYPES = (
    *(' xsi:type="xsd:string"', ' type="Folder" xsi:type="ManagedObjectReference"', "", ' type=""', ' type="a>b"'),
    *(" xsi:type='ManagedObjectReference' type='HostSystem'", '\n\ttype="Folder"', ' type="a&amp;b"', " type=x"),
    *(' xmlns="urn:else"', ' xmlns="urn:else" type="Folder"', f' xmlns:i="{XSI}" i:type="xsd:int"', ' a="1" a="2"'),
    *(' xyz:type="xsd:int"', ' xmlns:xsd="" type="Folder"', ' xsd:type="Folder"', " /", ' type="Folder" /', "\f"),
    *(' type="\xa0名"', ' type="a<b"', ' type="ab\x01"', "al", ' type="&bad;"', ' xml:lang="de" type="Folder"'),
)
TYPES = st.sampled_from(ODD_TYPES)
ODD_TEXTS = (
    *(
        "web01",
        "",
        " ",
        " x ",
        "a\tb",
        "a\nb",
        "a\r\nb",
        "\x7f",
        "\x85",
        "\ufeffx",
        "\ufffe",
        "\uffff",
        "\U0010ffff",
    ),
    *(
        "名前",
        "ü",
        "a&amp;b",
        "&#x41;",
        "&nope;",
        "&",
        "a>b",
        "]]>",
        "<a/>",
        "<a>b</a>",
        "<",
        "<!-- x -->",
        "<?x?>",
    ),
    *("<![CDATA[x]]>", "true", "0", "4", "-1", "+7", "9" * 30, "٤", "host-21", "x" * 600, "</val>", "<val>x</val>"),
    *("<name>name</name>", "</propSet>", "</propSet ><propSet>", "<propSet/>", "\x01", "\ud800"),
)
TEXTS = st.sampled_from(ODD_TEXTS) | st.text(max_size=8)
ODD_DEVICES = (
    *(DISK.format("<capacityInBytes>2048</capacityInBytes>"), DISK.format("<capacityInKB>x</capacityInKB>")),
    *(DISK.format(""), CARD.format(4000, "eth0", "00:50:56:aa:00:01"), CARD.format("k", "<a/>", "<b/>")),
    CARD.format(1, "a&amp;b", "名"),
    '<VirtualDevice xsi:type="VirtualCdrom"><key>1</key><macAddress>x</macAddress></VirtualDevice>',
    '<VirtualDevice xsi:type="VirtualIDEController"><key>200</key></VirtualDevice>',
    '<VirtualDevice key="1" xsi:type="vim25:VirtualDisk"><capacityInKB>7</capacityInKB></VirtualDevice>',
    '<VirtualDevice xmlns:v="urn:v" v:a="b"><macAddress>x</macAddress></VirtualDevice >',
    '<VirtualDevice xmlns="urn:else"><macAddress>x</macAddress></VirtualDevice>',
    "<VirtualDevice/>",
    "<VirtualDevice><macAddress>y</macAddress><VirtualDevice></VirtualDevice></VirtualDevice>",
    '<VirtualDevice><VirtualDevice xsi:type="VirtualDisk"></VirtualDevice>',
    "<macAddress>z</macAddress></VirtualDevice>",
    "<VirtualDeviceX><macAddress>x</macAddress></VirtualDeviceX>",
    "<VirtualDeviceX></VirtualDevice>",
    '<xsd:VirtualDevice xsi:type="VirtualDisk"></xsd:VirtualDevice>',
    '<other xsi:type="VirtualDisk"><capacityInKB>7</capacityInKB></other>',
    "<VirtualDevice><a></VirtualDevice>",
    "<VirtualDevice></a></VirtualDevice>",
    "<VirtualDevice><!-- x --></VirtualDevice>",
    "<VirtualDevice><propSet><name>name</name><val>x</val></propSet></VirtualDevice>",
    "<VirtualDevice>&bad;</VirtualDevice>",
    "<VirtualDevice>\x01</VirtualDevice>",
    f"<VirtualDevice>{'<a>' * 300}{'</a>' * 300}</VirtualDevice>",
    f"<VirtualDevice>{'<a>' * 252}{'</a>' * 252}</VirtualDevice>",
    *("text", " ", "</val><val>", "</VirtualDevice>", "<VirtualDevice>"),
)
DEVICES = st.lists(st.sampled_from(ODD_DEVICES), max_size=4).map("".join)
NICS = st.lists(
    st.sampled_from(
        (
            *(nic("00:50:56:aa:00:01", ("10.0.0.5", "fe80::1"), 4000), nic("", (), -1), NIC.format("<a/>", "", 1)),
            *(NIC.format("m", "<network>n</network>", "x"), "<GuestNicInfo/>", "<GuestNicInfo></GuestNicInfo>", "t"),
        )
    ),
    max_size=3,
).map("".join)
VALUES = st.one_of(
    st.builds("<val{}>{}</val>".format, TYPES, TEXTS),
    st.builds("<val{}>{}</val>".format, st.just(' xsi:type="xsd:string"'), TEXTS),
    st.builds(many, st.just("VirtualDevice"), DEVICES),
    st.builds("<val{}>{}</val>".format, TYPES, DEVICES),
    st.builds(many, st.just("GuestNicInfo"), NICS),
    st.sampled_from((ref("Folder", "group-v5"), ref("HostSystem", " x"), text("8192", "xsd:int"), "<val/>", "")),
    st.sampled_from(
        ("<val>x</val> ", "<val>x</val ><val/>", "<xsd:val>x</xsd:val>", "<value>x</value>", "x<val>y</val>")
    ),
)
NAMES = st.sampled_from((*KINDS["vms"].every, "config.files", "name ", "na&#109;e", "名", "", "name</name><name>x"))
SETS = st.one_of(
    st.builds("<propSet><name>{}</name>{}</propSet>".format, NAMES, VALUES),
    st.builds("<propSet><name>{}</name>{}</propSet>".format, st.sampled_from(KINDS["vms"].every), VALUES),
    st.builds("<propSet><name>{}</name>{}</propSet>".format, st.just("config.hardware.device"), VALUES),
    st.sampled_from(tuple(f"<propSet><name>{path}</name>{value}</propSet>" for path, value in VM.items())),
    st.sampled_from(
        (
            *(refused("guest.net"), "text", " ", "<other/>", "<propSet/>", "<propSet></propSet>", "</propSet>"),
            *(
                '<propSet a="b"><name>name</name><val>x</val></propSet>',
                "<propSet>x<name>name</name><val>x</val></propSet>",
            ),
            *("<propSet><val>x</val><name>name</name></propSet>", "<propSet><name>name</name><val>x</val></propSet >"),
            "<propSet><name>name</name><val>x</val><val>y</val></propSet>",
            "<propSet><name>config.files</name><val><propSet><name>a</name></propSet>",
            "</val></propSet>",
            '<propSet xmlns="urn:else"><name>name</name><val>x</val></propSet>',
        )
    ),
)
OBJECTS = st.builds(
    "<objects><obj{}>{}</obj>{}</objects>".format,
    st.sampled_from((' type="VirtualMachine"', "", ' type="a&b"', ' xyz:a="b"', ' xmlns="urn:else"', " a")),
    st.sampled_from(("vm-1", "vm-2")),
    st.lists(SETS, max_size=6).map("".join),
).map(lambda told: told.encode("utf-8", "replace"))


def object_with(moid: str, path: str, value: str) -> bytes:
    """Return a usual object with one property that may be anything."""
    rest = "".join(f"<propSet><name>{name}</name>{told}</propSet>" for name, told in VM.items() if name != path)
    mine = f"<propSet><name>{path}</name>{value}</propSet>"
    return f'<objects><obj type="VirtualMachine">{moid}</obj>{mine}{rest}'.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    "path", ["name", "parent", "config.hardware.numCPU", "config.template", "guest.net", "no.such"]
)
def test_every_odd_text_under_every_odd_tag_is_read_alike_both_ways(path: str) -> None:
    usual = object_with("vm-2", "name", VM["name"])
    for value in (f"<val{kind}>{told}</val>" for kind in ODD_TYPES for told in ODD_TEXTS):
        agree([object_with("vm-1", path, value), usual])


def test_every_odd_device_beside_and_before_every_other_is_read_alike_both_ways() -> None:
    path = "config.hardware.device"
    for first in ODD_DEVICES:
        for second in ODD_DEVICES:
            agree([object_with("vm-1", path, many("VirtualDevice", first, second))])
            apart = (many("VirtualDevice", first), many("VirtualDevice", second))
            agree([object_with(moid, path, value) for moid, value in zip(("vm-1", "vm-2"), apart, strict=True)])


@pytest.mark.parametrize("kind", ODD_TYPES)
def test_every_odd_tag_around_an_id_or_a_list_is_read_alike_both_ways(kind: str) -> None:
    usual = object_with("vm-1", "name", VM["name"])
    agree([usual.replace(b'<obj type="VirtualMachine"', f"<obj{kind}".encode())])
    for path, value in (("config.hardware.device", DISK.format("")), ("guest.net", nic("m", (), 1))):
        agree([object_with("vm-1", path, f"<val{kind}>{value}</val>"), usual])


def test_a_prefix_that_one_list_declares_is_none_of_anothers() -> None:
    device = '<VirtualDevice i:type="VirtualDisk"><capacityInKB>7</capacityInKB></VirtualDevice>'
    path, kinds = "config.hardware.device", (f' xmlns:i="{XSI}"', ' xmlns:i="urn:else"', "")
    for first in kinds:
        for second in kinds:
            agree([object_with("vm-1", path, f"<val{kind}>{device}</val>") for kind in (first, second)])


@THOROUGH
@given(st.lists(OBJECTS, min_size=1, max_size=4))
def test_whatever_an_object_looks_like_both_ways_say_the_same(told: list[bytes]) -> None:
    agree([inside(slice_) for slice_ in told])


@pytest.mark.parametrize("part", PARTS)
@settings(THOROUGH, max_examples=150)
@given(data=st.data())
def test_what_a_server_sent_with_something_changed_is_read_alike_both_ways(part: str, data: st.DataObject) -> None:
    pieces = slices(data.draw(st.sampled_from(kept(part))))
    place = data.draw(st.integers(0, len(pieces) - 1))
    changed = altered(data, pieces[place])
    agree([inside(slice_) for slice_ in (*pieces[:place], changed, *pieces[place + 1 :])], part)


@THOROUGH
@given(st.integers(0, 10_000), st.binary(min_size=0, max_size=3), st.integers(0, 3))
def test_one_damaged_place_is_never_read_by_what_is_around_it(at: int, instead: bytes, gone: int) -> None:
    whole = inside(one())
    at %= len(whole)
    agree([whole, whole[:at] + instead + whole[at + gone :]])


@pytest.mark.parametrize(
    "tag", ['<val xsi:type="xsd:string">', f'<val xmlns:XMLSchema-instance="{XSI}" XMLSchema-instance:type="x">']
)
def test_the_usual_objects_of_every_server_are_read_quickly(tag: str) -> None:
    slice_ = inside(one(name=f"{tag}名 01</val>", guest__net=many("GuestNicInfo")))
    assert agree([slice_, inside(one(moid="vm-2"))]) == 2


def test_every_kept_machine_of_a_server_is_read_quickly() -> None:
    for record in kept("vms"):
        parts = cut(record.body, record.target)
        quick = sum(b"missingSet" not in part and b"config.managedBy" not in part for part in parts)
        assert agree(parts) >= quick - sum(b"&" in part for part in parts)


@pytest.mark.parametrize(
    "change",
    [
        lambda slice_: slice_.replace(b"web01", b"R&amp;D"),
        lambda slice_: slice_.replace(b">4<", b">four<"),
        lambda slice_: slice_ + refused("parentVApp").encode(),
        lambda slice_: slice_.replace(b"<macAddress>", b"<macAddress><a/>", 1),
        lambda slice_: slice_ + f"<propSet><name>name</name>{VM['name']}</propSet>".encode(),
        lambda slice_: slice_.replace(b"web01", b"x" * (1 << 20)),
    ],
)
def test_what_is_not_usual_is_left_to_the_parser_and_nothing_else_with_it(change: Callable[[bytes], bytes]) -> None:
    usual, odd = inside(one()), change(inside(one(moid="vm-2")))
    assert odd != inside(one(moid="vm-2"))
    assert [values is None for values in quickly([usual, odd, usual])] == [False, True, False]
    record = raw([usual + END, odd + END])
    assert [each.found for each in objects(read_objects(record), {})] == by_parser([usual, odd])


def test_values_that_two_objects_share_are_not_one_object() -> None:
    first, second = quickly([inside(one()), inside(one(moid="vm-2"))])
    assert first == second
    assert first is not second


def test_so_many_kinds_of_tags_are_left_to_the_parser_that_quick_would_be_slow() -> None:
    parts = [inside(one(name=f'<val a{number}="">x</val>')) for number in range(300)]
    assert 0 < agree(parts) < 150


def test_the_quick_way_does_less_than_the_parser() -> None:
    parts = [inside(one(moid=f"vm-{number}", name=text(f"web{number}"))) for number in range(500)]
    assert None not in quickly(parts)
    assert calls_of(lambda: quickly(parts)) * 1.5 < calls_of(lambda: by_parser(parts))


SECRET_PARTS = (
    *(
        "://",
        "@",
        ":",
        "user",
        "pass",
        "hvs",
        "ghp",
        "glpat",
        "AKIA",
        "LTAI",
        "eyJ",
        ".",
        "-",
        " ",
        "x" * 12,
        "a" * 300,
    ),
    *(
        "-----BEGIN ",
        "RSA ",
        "PRIVATE KEY-----",
        "abcdefgh",
        ".abcd",
        "h v s",
        "J",
        "[",
        "名",
        "\t",
        "/",
        "hvs.abcdefghijkl",
    ),
)


@THOROUGH
@given(st.lists(st.lists(st.sampled_from(SECRET_PARTS), max_size=8).map("".join), min_size=1, max_size=4))
def test_exactly_what_looks_like_a_secret_is_taken_out_of_bytes(texts: list[str]) -> None:
    plain = [each.encode("ascii", "replace").decode() for each in texts]
    body = "".join(f"<a>{escape(each)}</a>" for each in plain).encode()
    assert (without_secrets(body) is not body) == any(holds_secret(each) for each in plain)


@pytest.mark.parametrize("room", [0, 1, 255, 256, 257])
def test_a_url_with_a_password_is_found_at_its_longest(room: int) -> None:
    for user, password in ((room, 256), (256, room), (room, 1)):
        url = f"x://{'u' * user}:{'p' * password}@h"
        body = f"<a>@</a><a>{'y' * 600}{url}</a>".encode()
        assert (without_secrets(body) is not body) == holds_secret(url)


def test_a_record_that_is_no_vspheres_is_refused_however_usual_its_objects_are() -> None:
    record: RawRecord = raw([one()], namespaces={**SPACES, "": "urn:else"})
    with pytest.raises(PermanentError):
        list(objects(read_objects(record), {}))
    with pytest.raises(PermanentError):
        list(objects(read_objects(replace(raw([one()]), body=one().replace(b"web01", b"<!--x-->"))), {}))
