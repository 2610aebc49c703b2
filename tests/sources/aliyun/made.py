"""Records of regions made by hand, for the tests of the parser and of the proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from asset_ledger.domain.inventory import AssetRecord, Item
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.aliyun.pages import DISKS, INSTANCES
from asset_ledger.sources.aliyun.parse import parse
from asset_ledger.sources.aliyun.proof import digest_of
from asset_ledger.sources.aliyun.raw import Answer, line, record
from tests.doubles.aliyun import InstanceSpec, shapes
from tests.sources.aliyun.live import valid

AT = datetime(2026, 11, 1, 18, 30, tzinfo=UTC)


def row(**said: Any) -> dict[str, Any]:
    """Return an instance as the API tells it, with some of its fields replaced; `...` takes a field out."""
    found = {
        **shapes.instance(InstanceSpec("i-1", name="web-1", serial="00000000-0000-4000-8000-000000000001")),
        **said,
    }
    return {name: value for name, value in found.items() if value is not ...}


def disk(name: str, size: Any, *instances: str, **said: Any) -> dict[str, Any]:
    attached = [{"InstanceId": one} for one in instances]
    owner = instances[0] if instances else ""
    return {"DiskId": name, "Size": size, "InstanceId": owner, "Attachments": {"Attachment": attached}, **said}


def instances_answer(rows: Sequence[Any]) -> Answer:
    return Answer(INSTANCES, {"RegionId": "cn-x"}, 200, {"NextToken": "", "Instances": {"Instance": list(rows)}})


def disks_answer(rows: Sequence[Any], asked: str = "", named: str = "") -> Answer:
    query = {"RegionId": "cn-x", **({"NextToken": asked} if asked else {})}
    return Answer(DISKS, query, 200, {"NextToken": named, "Disks": {"Disk": list(rows)}})


def region(rows: Sequence[Mapping[str, Any]], *disks: Answer, **said: Any) -> RawRecord:
    """Return the record of a region with these instances."""
    ids = [str(one.get("InstanceId")) for one in rows]
    document = {"part": "region", "region": "cn-x", "instances": len(ids), "digest": digest_of(ids), **said}
    return record("cn-x", document, [line(one) for one in (instances_answer(rows), *disks)], AT)


def items(rows: Sequence[Mapping[str, Any]], *disks: Answer, **said: Any) -> list[Item]:
    found = list(parse(region(rows, *(disks or (disks_answer([disk("d-1", 40, "i-1")]),)), **said), {}))
    for item in found:
        if isinstance(item, AssetRecord):
            valid(item.document, item.locator)
    return found


def document(one: Mapping[str, Any], *disks: Answer, **said: Any) -> dict[str, Any]:
    """Return the document of the one instance."""
    [found] = [item.document for item in items([one], *disks, **said) if isinstance(item, AssetRecord)]
    return found
