"""The disks of a region, added up by instance. Pure; called by `parse`.

DescribeInstances has no sizes. A disk may be attached to several instances and counts for each; one that is listed
twice counts once. A sum that lacks a part is no sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.normalized import NOT_REPORTED
from asset_ledger.sources.aliyun.errors import DISKS_UNAVAILABLE, PARSE_ERROR
from asset_ledger.sources.aliyun.fields import MOST, reason, unwrapped, whole
from asset_ledger.sources.aliyun.pages import DISKS, PageError, page
from asset_ledger.sources.aliyun.raw import Answer

_GIB = 1 << 30
_OF_NOBODY = "nothing says which instance a disk is attached to"
_NONE_LISTED = f"{NOT_REPORTED}: no disk of it is listed"


@dataclass(slots=True)
class Disks:
    """Sums in bytes by instance id. `why` is why there are none of the region at all, or ""."""

    sums: dict[str, int] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    listed: int = 0
    why: str = ""

    def total(self, instance: str) -> tuple[int, str]:
        """Return the bytes of an instance's disks, or 0 and why they are not known."""
        if self.why:
            return 0, reason(DISKS_UNAVAILABLE, self.why)
        if told := self.odd.get(instance):
            return 0, reason(PARSE_ERROR, told)
        total = self.sums.get(instance, 0)
        if total > MOST:
            return 0, reason(PARSE_ERROR, "its disks are larger than can be")
        return total, "" if total else _NONE_LISTED


def disks_of(answers: Iterable[Answer]) -> Disks:
    """Return the sums of a region from its answers; without all pages there are none, and `why` says so."""
    found, seen = Disks(), set[str]()
    try:
        for row in _rows(answer for answer in answers if answer.action == DISKS):
            name = row.get("DiskId")
            if not isinstance(name, str) or not name:
                raise PageError("a disk has no DiskId")
            if name not in seen:
                seen.add(name)
                _add(found, row)
    except PageError as wrong:
        return Disks(why=str(wrong))
    found.listed = len(seen)
    return found


def _rows(asked: Iterable[Answer]) -> Iterator[Mapping[str, Any]]:
    """Yield the disks of all pages, from the first to the last. Raises PageError where that is not what there is."""
    token = None
    for answer in asked:
        if not answer.ok:
            raise PageError(answer.said)
        read = page(DISKS, answer.data)
        if answer.query.get("NextToken", "") != (token or ""):
            raise PageError("a page of them is missing")
        yield from read.rows
        token = read.next_token
    if token is None:
        raise PageError("they were not asked for")
    if token:
        raise PageError("they were not read to the last page")


def _add(found: Disks, row: Mapping[str, Any]) -> None:
    """Add a disk to the sums of its instances. Raises PageError where nobody can say whose it is."""
    attached = unwrapped(row.get("Attachments"), "Attachment")
    owner = row.get("InstanceId")
    if attached is None or not all(isinstance(one, dict) for one in attached):
        raise PageError(_OF_NOBODY)
    named = [one for one in (owner, *(each.get("InstanceId") for each in attached)) if one not in (None, "")]
    if not all(isinstance(one, str) for one in named):
        raise PageError(_OF_NOBODY)
    size = whole(row.get("Size"), MOST // _GIB)
    for one in dict.fromkeys(named):
        if size:
            found.sums[one] = found.sums.get(one, 0) + size * _GIB
        else:
            found.odd[one] = "the size of a disk cannot be read"
