"""Pages: by token, whose tokens belong to their query, and by number, which shift when rows come and go.

A token is a place in the list: rows that come later do not shift it. Called by api.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.doubles.aliyun.answers import ServiceError

if TYPE_CHECKING:
    from tests.doubles.aliyun.server import AliyunDouble
    from tests.doubles.aliyun.state import Cloud

Rows = Sequence[tuple[int, str]]
LEAST, USUAL = 10, 10
MOST = {"DescribeInstances": 100, "DescribeDisks": 500}
MOST_NUMBERED = 100
# what makes a query another one; the size of a page does not
_NOT_THE_QUERY = frozenset({
    "AccessKeyId", "MaxResults", "NextToken", "SecurityToken", "Signature", "SignatureNonce", "Timestamp",
})  # fmt: skip


@dataclass(frozen=True)
class Page:
    """What part of a list is asked for."""

    by_token: bool
    size: int
    number: int
    before: int | None  # the place after which the page begins: lists go from new to old
    query: str
    made: float

    def cut(self, rows: Rows) -> tuple[Rows, str, int]:
        """Return the rows of the page, the token of the next one, and how many rows there are."""
        if not self.by_token:
            return rows[(self.number - 1) * self.size : self.number * self.size], "", len(rows)
        left = rows if self.before is None else [row for row in rows if row[0] < self.before]
        found = left[: self.size]
        return found, self._token(found[-1][0]) if len(left) > self.size else "", len(rows)

    def _token(self, place: int) -> str:
        said = json.dumps([self.query, place, self.made], separators=(",", ":")).encode()
        return "caeba0bbb2be03f8" + base64.urlsafe_b64encode(said).decode().rstrip("=")


def wanted(said: Mapping[str, str], action: str, double: AliyunDouble) -> Page:
    """Return the page that a request asks for. Raises ServiceError for a token of another query or past its time."""
    query = {name: value for name, value in said.items() if name not in _NOT_THE_QUERY} | {"Action": action}
    key = hashlib.sha256(json.dumps(sorted(query.items())).encode()).hexdigest()[:16]
    if "MaxResults" not in said and not said.get("NextToken"):
        size = min(_number(said, "PageSize", USUAL), MOST_NUMBERED)
        return Page(False, size, _number(said, "PageNumber", 1), None, key, double.now())
    size = min(max(_number(said, "MaxResults", USUAL), LEAST), MOST[action], double.longest_page or MOST[action])
    if not (token := said.get("NextToken")):
        return Page(True, size, 1, None, key, double.now())
    try:
        text = token.removeprefix("caeba0bbb2be03f8")
        owner, place, made = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise ServiceError(double.token_error) from None
    too_old = double.token_lifetime is not None and double.now() - made > double.token_lifetime
    if owner != key or too_old:
        raise ServiceError(double.token_error)
    return Page(True, size, 1, place, key, double.now())


def filtered(rows: Rows, kind: str, said: Mapping[str, str], cloud: Cloud) -> Rows:
    """Return the rows that a request's filters let through."""
    wants = {
        name: said[parameter]
        for parameter, name in (("Status", "status"), ("VpcId", "vpc"), ("InstanceNetworkType", "network"))
        if parameter in said and kind == "instance"
    }
    ids = said.get("InstanceIds" if kind == "instance" else "DiskIds")
    if ids is not None:
        named = set(json.loads(ids))
        rows = [row for row in rows if row[1] in named]
    if wants:
        rows = [row for row in rows if all(getattr(cloud.instances[row[1]], key) == is_ for key, is_ in wants.items())]
    if "ZoneId" in said:
        shown = cloud.instances if kind == "instance" else cloud.disks
        rows = [row for row in rows if (shown[row[1]].zone or f"{shown[row[1]].region}-h") == said["ZoneId"]]
    if kind == "disk" and "InstanceId" in said:
        rows = [row for row in rows if said["InstanceId"] in cloud.disks[row[1]].instances]
    if kind == "disk" and "Status" in said:
        rows = [row for row in rows if ("In_use" if cloud.disks[row[1]].instances else "Available") == said["Status"]]
    return rows


def _number(said: Mapping[str, str], name: str, usual: int) -> int:
    if name not in said:
        return usual
    if not said[name].isdecimal() or int(said[name]) < 1:
        raise ServiceError("InvalidParameter", f"The specified parameter {name} is not valid.")
    return int(said[name])
