"""A request of one of the services, and how tests name it.

A match is "ACTION" or "ACTION REGION", both globs: "DescribeInstances", "Describe* cn-hangzhou", "AssumeRole", "*". A
call with DryRun is named "DryRun:DescribeInstances", one to the metadata service "PUT /latest/api/token".
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.doubles.https import log


@dataclass(kw_only=True)
class Request(log.Request):
    """One request, named by its action, "DryRun:" and the action, or "GET /path" at the metadata service."""

    region: str = ""  # "" where the action is about none
    service: str  # ecs, sts or metadata: the endpoint that was asked
    parameters: Mapping[str, str] = field(default_factory=dict)  # without signature and security token
    key_id: str = ""
    nonce: str = ""
    style: str = ""  # acs3 or rpc
    addressed: str = ""  # the region that the URL or the Host header names
    code: str = ""  # of an error
    request_id: str = ""

    def is_meant(self, match: str) -> bool:
        name, region = match, "*"
        if " " in match and not match.startswith(("GET /", "PUT /")):
            name, _, region = match.rpartition(" ")
        return fnmatch.fnmatchcase(self.name, name) and fnmatch.fnmatchcase(self.region, region)
