"""Objects out of bytes: what is read of them, what is odd, what is refused, and what need not be parsed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.vcenter.objects import Found, objects
from asset_ledger.sources.vcenter.properties import Devices, GuestNic, Ref
from asset_ledger.sources.vcenter.raw import Place, Surroundings, read_objects, without_secrets
from asset_ledger.sources.vcenter.slices import lacking, moid_of, name_of
from tests.sources.vcenter.made import AROUND, SPACES, VM, disks, here, many, nic, one, raw, ref, refused, text


def found(slice_: bytes, part: str = "vms") -> Found:
    [read] = objects(read_objects(raw([slice_], part)), {})
    assert read.found is not None
    return read.found


def digests(record: RawRecord) -> list[bytes]:
    return [each.digest for each in objects(read_objects(record), {})]


def refusal(record: RawRecord) -> str:
    with pytest.raises(PermanentError) as caught:
        list(objects(read_objects(record), {}))
    assert caught.value.code.code == "VCENTER_PARSE_ERROR"
    assert caught.value.target == record.target
    return caught.value.message


def test_a_virtual_machine_is_read_with_all_its_properties() -> None:
    values = found(one()).values
    assert values["name"] == "web01"
    assert values["config.hardware.memoryMB"] == 8192
    assert values["config.template"] is False
    assert values["runtime.host"] == Ref("HostSystem", "host-21")
    devices = values["config.hardware.device"]
    assert isinstance(devices, Devices)
    assert devices.disks == (2048, 3072)
    assert [(card.key, card.mac) for card in devices.cards] == [
        (4000, "00:50:56:AA:00:01"),
        (4001, "00:50:56:aa:00:02"),
    ]
    assert values["guest.net"][1] == GuestNic(-1, "02:42:00:00:00:01", "", ("172.17.0.1",))
    assert values.keys() == VM.keys()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("config.hardware.numCPU", text("four", "xsd:int")),
        ("config.hardware.numCPU", text("9" * 40, "xsd:int")),
        ("config.hardware.numCPU", text("٤", "xsd:int")),
        ("config.hardware.memoryMB", "<val/>"),
        ("config.template", text("yes", "xsd:boolean")),
        ("name", '<val xsi:type="Description"><label>web01</label></val>'),
        ("runtime.host", text("host-21")),
        ("parent", '<val type="Folder" xsi:type="ManagedObjectReference"/>'),
        ("guest.net", many("GuestNicInfo", "<GuestNicInfo><ipAddress><a/></ipAddress></GuestNicInfo>")),
    ],
)
def test_a_value_of_another_type_is_odd_and_takes_nothing_else_with_it(path: str, value: str) -> None:
    read = found(one(**{path.replace(".", "__"): value}))
    assert read.odd.keys() == {path}
    assert read.values.keys() == VM.keys() - {path}


def test_a_property_told_twice_is_odd_even_where_both_say_the_same() -> None:
    read = found(one(extra=f"<propSet><name>name</name>{VM['name']}</propSet>"))
    assert read.odd == {"name": "it is there twice"}
    assert "name" not in read.values


def test_properties_that_nobody_asked_for_and_foreign_elements_are_passed_over() -> None:
    extra = '<propSet><name>config.files</name><val xsi:type="x:Unheard"><a/></val></propSet><other>text</other>'
    assert found(one(extra=extra)) == found(one())


def test_the_same_markup_in_a_foreign_namespace_is_no_property() -> None:
    assert (
        "name"
        not in found(
            one(without=["name"], extra=f'<propSet xmlns="urn:else"><name>name</name>{VM["name"]}</propSet>')
        ).values
    )


def test_a_disk_without_a_size_is_counted_and_its_size_is_not_known() -> None:
    read = found(
        one(config__hardware__device=many("VirtualDevice", disks("", "<capacityInBytes>-5</capacityInBytes>")))
    )
    assert read.values["config.hardware.device"].disks == (None, None)


def test_a_kind_of_card_that_did_not_exist_yet_is_a_card() -> None:
    card = '<VirtualDevice xsi:type="vim25:VirtualVmxnet9"><key>4000</key><macAddress>00:50:56:00:00:09</macAddress></VirtualDevice>'
    spaces = {**SPACES, "vim25": "urn:vim25"}
    record = raw([one(config__hardware__device=many("VirtualDevice", card))], namespaces=spaces)
    [read] = objects(read_objects(record), {})
    assert read.found is not None
    assert read.found.values["config.hardware.device"].cards[0].mac == "00:50:56:00:00:09"


def test_faults_stand_in_the_place_of_their_properties() -> None:
    assert found(one(without=["guest.net"], extra=refused("guest.net"))).faults == {"guest.net": "NoPermission"}


def test_entities_and_other_scripts_are_what_they_stand_for() -> None:
    name = "R&D <ü> 名前 \u00a0'\""
    slice_ = one(name=text(name))
    assert found(slice_).values["name"] == name == name_of(slice_)
    assert (
        name_of(one(name="<val>&#x540d;&#33;</val>"))
        == "名!"
        == found(one(name="<val>&#x540d;&#33;</val>")).values["name"]
    )


@pytest.mark.parametrize(
    "body",
    [
        one()[:-1],
        one()[:-10],
        one() + b" ",
        b" " + one(),
        one().replace(b"</obj>", b"</obj", 1),
        one().replace(b"web01", b"<!--x-->web01"),
        one().replace(b"web01", b"<![CDATA[web01]]>"),
        one().replace(b"web01", b"<?x?>web01"),
        one().replace(b"vm-1<", b" <"),
        b"<objects><objects></objects>",
        b"<other></objects>",
        b"</o><o><objects><obj>vm-1</obj></objects>",
        b"<objects></objects>",
        b"x",
        b"",
    ],
)
def test_a_damaged_body_is_refused_whole(body: bytes) -> None:
    assert refusal(replace(raw([one()]), body=body))
    assert refusal(replace(raw([one(), one(moid="vm-2")]), body=one(moid="vm-2") + body))


def test_an_object_in_an_object_and_one_that_is_there_twice_are_refused() -> None:
    inner = one(moid="vm-2")
    body = one().replace(b"</obj>", b"</obj>" + inner, 1)
    refusal(replace(raw([one(), inner]), body=body))
    assert "twice" in refusal(raw([one(), one()]))


def test_a_body_with_fewer_objects_than_were_written_is_refused() -> None:
    assert "1 objects and was written with 2" in refusal(replace(raw([one(), one(moid="vm-2")]), body=one()))


@pytest.mark.parametrize(
    "changed",
    [
        {"namespaces": {"": "urn:else"}},
        {"namespaces": {"xsi": "urn:x"}},
        {"namespaces": {**SPACES, "a b": "urn:x"}},
        {"namespaces": {**SPACES, "a": "urn:x\n"}},
        {"namespaces": {**SPACES, "a": ""}},
        {"namespaces": None},
        {"objects": "1"},
        {"objects": True},
        {"objects": -1},
        {"places": {"x": ["Folder"]}},
        {"places": {"x": ["Folder", None, None]}},
        {"places": []},
        {"about": {"instanceUuid": 5}},
        {"datastores": {"x": {"name": "y"}}},
        {"datastores": {"x": [1]}},
    ],
)
def test_a_document_of_another_shape_is_refused(changed: dict[str, Any]) -> None:
    refusal(raw([one()], **changed))


def test_namespaces_cannot_bring_in_markup() -> None:
    refusal(raw([one()], namespaces={"": "urn:vim25", "xsi": '"><objects/><o x="'}))


def test_what_is_known_is_not_even_parsed() -> None:
    record = raw([one(), one(moid="vm-2")])
    first, second = digests(record)
    read = list(objects(read_objects(record), {first: here("vm-1")}))
    assert [each.found is None for each in read] == [True, False]
    assert [each.digest for each in read] == [first, second]
    # known of another machine is not known
    assert all(each.found is not None for each in objects(read_objects(record), {first: here("vm-2")}))


def test_a_digest_is_of_the_object_and_of_what_it_hangs_on() -> None:
    plain = digests(raw([one()]))
    renamed = replace(AROUND, places={**AROUND.places, "group-v4": Place("Folder", "test", "group-v3")})
    assert digests(raw([one()], around=renamed)) != plain
    assert digests(raw([one()], around=replace(AROUND, about={"instanceUuid": "other"}))) != plain
    assert digests(raw([one(guest__ipAddress=text("10.0.0.6"))])) != plain
    assert digests(raw([one()], started_at="2026-11-02T18:30:00+00:00", duration_ms=9, piece=4)) == plain
    # an upgrade of vCenter, or another datastore, is nothing to a virtual machine
    newer = Surroundings({**AROUND.about, "version": "9.0.0"}, AROUND.places, {})
    assert digests(raw([one()], around=newer)) == plain
    host = one("hosts", "host-1")
    assert digests(raw([host], "hosts", newer)) != digests(raw([host], "hosts"))


def test_mandatory_properties_that_lack_are_found_by_bytes() -> None:
    assert lacking(one(), "vms", SPACES) == {}
    assert lacking(one(without=["name"]), "vms", SPACES) == {"name": ""}
    gone = one(without=["name", "runtime.host"], extra=refused("name") + refused("runtime.host", "vim25:NoPermission"))
    assert lacking(gone, "vms", SPACES) == {"name": "NoPermission", "runtime.host": "NoPermission"}
    assert lacking(one("hosts", "host-1", without=["parent"]), "hosts", SPACES) == {"parent": ""}


@pytest.mark.parametrize(
    ("connection", "power", "lacks"),
    [
        ("connected", "poweredOn", True),
        ("connected", "poweredOff", False),
        ("connected", "suspended", False),
        ("orphaned", "poweredOn", False),
        ("inaccessible", "poweredOff", False),
    ],
)
def test_a_machine_that_is_on_no_host_lacks_none_where_vcenter_says_so(
    connection: str, power: str, *, lacks: bool
) -> None:
    state = {"runtime__connectionState": text(connection), "runtime__powerState": text(power)}
    assert bool(lacking(one(without=["runtime.host"], **state), "vms", SPACES)) is lacks
    # a fault in its place is never none
    assert lacking(one(without=["runtime.host"], extra=refused("runtime.host"), **state), "vms", SPACES)


def test_an_object_begins_with_its_id() -> None:
    assert moid_of(one(moid="/tmp/x@folder-5")) == "/tmp/x@folder-5"
    assert moid_of(b'<objects><obj type="VirtualMachine" xsi:type="ManagedObjectReference">7</obj></objects>') == "7"
    for odd in (b"<objects><obj>a b</obj>", b"<objects><obj></obj>", b"<objects><propSet/>", b"<obj>x</obj>", b""):
        assert moid_of(odd) is None


def test_a_password_in_the_uri_of_a_serial_port_does_not_reach_raw() -> None:
    port = '<VirtualDevice xsi:type="VirtualSerialPort"><backing><serviceURI>telnet://admin:canary@10.0.0.1:7000</serviceURI></backing></VirtualDevice>'
    record = raw([one(config__hardware__device=many("VirtualDevice", port))])
    assert b"canary" not in record.body
    assert record.redacted
    assert record.sha256 != raw([one()]).sha256
    [read] = objects(read_objects(record), {})
    assert read.found is not None
    assert read.found.odd == {}


@pytest.mark.parametrize(
    "uri",
    [
        "telnet://concentrator.example.com:7000?password=canary",
        "ssh://10.0.0.1/canary",
        "canary",
        "x &amp; canary",
        " canary\n",
    ],
)
@pytest.mark.parametrize("tag", ["serviceURI", "proxyURI"])
def test_the_uri_of_a_device_does_not_reach_raw_at_all(tag: str, uri: str) -> None:
    for attribute in ("", ' xsi:type="xsd:string"'):
        backing = f"<backing><{tag}{attribute}>{uri}</{tag}><direction>server</direction></backing>"
        device = f'<VirtualDevice xsi:type="VirtualSerialPort">{backing}</VirtualDevice>'
        record = raw(
            [one(config__hardware__device=many("VirtualDevice", device, disks("<capacityInKB>1</capacityInKB>")))]
        )
        assert b"canary" not in record.body
        assert record.redacted
        assert f"<{tag}{attribute}>[redacted]</{tag}><direction>server<".encode() in record.body
        [read] = objects(read_objects(record), {})
        assert read.found is not None
        assert read.found.values["config.hardware.device"].disks == (1024,)


@pytest.mark.parametrize("harmless", ["<serviceURI></serviceURI>", "<serviceURI/>", "<a>URI</a> <a>myURI>x</a>"])
def test_what_is_no_uri_of_a_device_stays_as_it_was(harmless: str) -> None:
    body = one(name=f"<val>{harmless}</val>")
    assert without_secrets(body) is body


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN RSA PRIVATE KEY-----",
        "hvs.abcdefghijkl",
        "AKIAABCDEFGHIJKL",
        "eyJhbGciOi1.eyJzdWIiOiJh.abcd",
        "https://a:b@c",
    ],
)
def test_every_shape_of_secret_is_replaced_in_bytes(secret: str) -> None:
    body = one(name=text(f"x {secret} y"))
    assert secret.encode() not in without_secrets(body)
    assert without_secrets(one()) == one()


def test_a_name_that_looks_like_a_secret_does_not_reach_the_document_either() -> None:
    around = replace(AROUND, places={"p": Place("Folder", "ghp_abcdefghijklmno", None)})
    assert "ghp_" not in repr(raw([one()], around=around))


def test_addresses_of_nics_come_in_their_order() -> None:
    net = many("GuestNicInfo", nic("a", ("10.0.0.2", "10.0.0.1"), 4001), nic("b", (), 4000))
    assert [each.addresses for each in found(one(guest__net=net)).values["guest.net"]] == [("10.0.0.2", "10.0.0.1"), ()]


def test_known_objects_are_not_looked_into() -> None:
    record = raw([one(moid=f"vm-{number}") for number in range(50)])
    piece = read_objects(record)
    new = list(objects(piece, {}))
    known = {each.digest: each.id for each in new}
    assert all(each.found is not None for each in new)
    assert all(each.found is None for each in objects(piece, known))


def test_a_reference_needs_its_type() -> None:
    assert found(one(parent=ref("Folder", "group-v5"))).values["parent"] == Ref("Folder", "group-v5")
    assert found(one(parent=ref("", "group-v5"))).odd.keys() == {"parent"}
