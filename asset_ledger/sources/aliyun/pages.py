"""What stands in the pages of the ECS API's lists: rows, tokens, ids. Pure; `client`, `proof` and `parse` read by it.

Lists are wrapped twice, `{"Instances": {"Instance": [...]}}`. A page that is not so is no page: never an empty one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

INSTANCES = "DescribeInstances"
DISKS = "DescribeDisks"
REGIONS = "DescribeRegions"
_WRAPPED = {INSTANCES: ("Instances", "Instance"), DISKS: ("Disks", "Disk"), REGIONS: ("Regions", "Region")}
_INSTANCE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class PageError(ValueError):
    """An answer with status 200 is no page of the list that was asked for. Its text says why."""


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page, and the token of the next, "" where there is none."""

    rows: tuple[Mapping[str, Any], ...]
    next_token: str


def page(action: str, data: Any) -> Page:
    """Return a page of DescribeInstances or DescribeDisks. Raises PageError; a token that is left out is one, too."""
    token = data.get("NextToken") if isinstance(data, dict) else None
    if not isinstance(token, str):
        raise PageError(f"{action}: the answer has no NextToken, so nothing says whether it is the last page")
    return Page(rows(action, data), token)


def rows(action: str, data: Any) -> tuple[Mapping[str, Any], ...]:
    """Return the rows of a list. Raises PageError."""
    outer, inner = _WRAPPED[action]
    wrapped = data.get(outer) if isinstance(data, dict) else None
    found = wrapped.get(inner) if isinstance(wrapped, dict) else None
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise PageError(f"{action}: the answer has no list {outer}.{inner}")
    if action == INSTANCES:
        for row in found:
            instance_id(row)
    return tuple(found)


def instance_id(row: Mapping[str, Any]) -> str:
    """Return the id of an instance. Raises PageError."""
    found = row.get("InstanceId")
    if not isinstance(found, str) or _INSTANCE_ID.fullmatch(found) is None:
        raise PageError(f"{INSTANCES}: an instance has no InstanceId that can be one")
    return found
