"""The ids of objects in the ledger: of one vCenter, and of no other that comes to stand in its place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asset_ledger.domain.inventory import AssetRecord, TargetFailure, UnchangedRecord
from asset_ledger.domain.normalized import validate
from asset_ledger.sources.vcenter.ids import external_id, moid_here
from asset_ledger.sources.vcenter.parse import parse
from tests.sources.vcenter.made import AROUND, INSTANCE, here, items, one, raw, ref, text

ABOUT = {"instanceUuid": INSTANCE}
OTHER = {"instanceUuid": "3c0b8f0e-6a57-4c3e-9a44-2f1f0b7ad002"}


@pytest.mark.parametrize("moid", ["vm-1", "/tmp/x@folder-5", "ha-host", "7", "@"])
@pytest.mark.parametrize("about", [ABOUT, OTHER, {}])
def test_an_id_says_its_object_back_to_its_own_vcenter_only(moid: str, about: dict[str, str]) -> None:
    told = external_id(about, moid)
    assert moid_here(about, told) == moid
    assert [moid_here(each, told) for each in (ABOUT, OTHER) if each != about] == [None] * (1 + (about == {}))
    assert (told == moid) is (about == {})


def test_a_host_without_a_vcenter_knows_none_of_a_vcenters_objects() -> None:
    assert moid_here({}, external_id(ABOUT, "vm-1")) is None
    assert moid_here({}, "vm-1@home") == "vm-1@home"


@pytest.mark.parametrize("told", ["", "@" + INSTANCE, "vm-1", "vm-1@"])
def test_what_is_no_id_of_an_object_here_is_none(told: str) -> None:
    assert moid_here(ABOUT, told) is None


@pytest.mark.parametrize("instance", [" ", "\x00", "a\nb", "名" * 3000, "@"])
def test_whatever_a_server_says_of_itself_an_id_can_stand_in_a_document(instance: str) -> None:
    around = replace(AROUND, about={"instanceUuid": instance})
    [found] = items(one(), around=around)
    assert isinstance(found, AssetRecord)
    validate(found.document, target="x")
    assert found.external_id.isprintable()
    assert found.external_id.strip() == found.external_id
    assert moid_here(around.about, found.external_id) == "vm-1"


@pytest.mark.parametrize("part", ["vms", "hosts", "clusters"])
def test_every_id_of_a_record_is_of_its_vcenter_and_the_cloud_native_id_is_the_objects_own(part: str) -> None:
    [found] = items(one(part, "obj-1"), part=part)
    assert isinstance(found, AssetRecord)
    assert found.external_id == here("obj-1")
    assert found.document["identity"]["cloud_native_id"] == "obj-1"
    assert found.locator.startswith("obj-1 ")
    for relation in found.document["relations"]:
        assert moid_here(ABOUT, relation["external_id"]) in ("host-21", "domain-c8")
    around = replace(AROUND, about=OTHER)
    [there] = items(one(part, "obj-1"), part=part, around=around)
    assert isinstance(there, AssetRecord)
    assert there.external_id == external_id(OTHER, "obj-1") != found.external_id
    bare = replace(AROUND, about={})
    [lone] = items(one(part, "obj-1"), part=part, around=bare)
    assert isinstance(lone, AssetRecord)
    assert lone.external_id == "obj-1"


@pytest.mark.parametrize("length", [255, 256, 1024])
def test_a_reference_to_an_object_whose_id_cannot_be_one_is_odd(length: int) -> None:
    around = replace(AROUND, about={"instanceUuid": "x" * 3000})
    found = items(one(runtime__host=ref("HostSystem", "h" * length)), around=around)
    assert isinstance(found[0], AssetRecord)
    validate(found[0].document, target="x")
    assert ("relations" in found[0].document) is (length == 255)


@pytest.mark.parametrize("part", ["vms", "hosts", "clusters"])
def test_what_is_unchanged_is_known_by_the_same_id(part: str) -> None:
    record = raw([one(part, "obj-1")], part)
    [found] = parse(record, {})
    assert isinstance(found, AssetRecord)
    [again] = parse(record, {found.record_digest: found.external_id})
    assert isinstance(again, UnchangedRecord)
    assert (again.external_id, again.locator) == (found.external_id, found.locator)
    assert isinstance(next(parse(record, {found.record_digest: "obj-1"})), AssetRecord)


def test_a_host_that_is_not_reached_fails_under_its_own_id() -> None:
    record, failure = items(one("hosts", "host-1", runtime__connectionState=text("disconnected")), part="hosts")
    assert isinstance(record, AssetRecord)
    assert isinstance(failure, TargetFailure)
    assert failure.external_id == record.external_id == here("host-1")
