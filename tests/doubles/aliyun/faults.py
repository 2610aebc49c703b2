"""What can go wrong in what the services say, besides what goes wrong on any wire. What a match is stands in log.py.

`where` asks for parameters too: {"NextToken": "?*"} is any page but the first.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tests.doubles.aliyun.log import Request
from tests.doubles.https import faults
from tests.doubles.https.faults import WireKind

Kind = Literal[
    WireKind,
    "truncated_json",  # half of the body, with a Content-Length that fits the half
    # in what the service says
    "error",  # the error `code` with `status` and `message`, as the service writes errors
    "throttle",  # Throttling.User (or `code`), 429 (or `status`), x-acs-retry-after where `retry_after_ms` is said
    "expire_token",  # the NextToken is no longer taken; first pages are not counted
    "expire_credentials",  # the STS session that asks is over: for this call and every later one
    # in what it leaves out, all with 200
    "drop_token",  # the page says it is the last one
    "no_token",  # the page says nothing of a next one: the field is missing
    "repeat",  # the last row of the page is told twice
    "repeat_token",  # the page gives the token it was asked with: a chain without an end
    "no_rows",  # an empty page
    "replace",  # `body` as JSON in place of the answer
    "edit",  # the answer as `edit` changes it (in place, or by returning another)
]


@dataclass(kw_only=True)
class Fault(faults.Fault):
    """One fault."""

    where: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    message: str | None = None
    retry_after_ms: int | None = None
    edit: Callable[[Any], Any] | None = None


@dataclass(kw_only=True)
class Motion(faults.Motion):
    """Something that happens in the cloud once a request has been answered."""

    where: Mapping[str, str] = field(default_factory=dict)


class Registry(faults.Registry[Fault, Motion, Request]):
    """The faults and motions of one account's cloud."""

    fault, motion, kinds = Fault, Motion, frozenset(get_args(Kind))

    def concerns(self, said: Fault | Motion, request: Request) -> bool:
        if isinstance(said, Fault) and said.kind == "expire_token" and not request.parameters.get("NextToken"):
            return False
        return all(fnmatch.fnmatchcase(request.parameters.get(key, ""), glob) for key, glob in said.where.items())
