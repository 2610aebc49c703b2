"""A request of Proxmox VE's API, and how tests name it.

A match is "METHOD /path", the path as a glob without the prefix ("GET /nodes/*/qemu/*/config"); "*" as the method
matches any, and "?type=vm" at the end asks for that text in the query.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from tests.doubles.https import log


@dataclass(kw_only=True)
class Request(log.Request):
    """One request, named "GET /nodes"; `path` has no prefix."""

    method: str
    path: str
    query: str
    user: str | None = None  # user@realm or user@realm!token

    def is_meant(self, match: str) -> bool:
        method, _, rest = match.partition(" ")
        path, _, query = rest.partition("?")
        return method in {"*", self.method} and fnmatch.fnmatchcase(self.path, path) and query in self.query
