"""A request of WS-Management: which host, who, what about.

Its name is the operation and its class ("Enumerate Win32_Processor", "Pull Win32_Processor", "Create", "Receive",
"Identify"); before there is an operation it is "unauthenticated" (no credentials), "negotiate" (the first token),
"authenticate" (refused credentials) or "setup" (the empty request that authenticates a connection).
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from tests.doubles.https import log


@dataclass(kw_only=True)
class Request(log.Request):
    """One request."""

    address: str  # the host
    user: str = ""  # "LAB\\ledger"
    authentication: str = ""  # "ntlm" or "basic"
    sealed: bool = False  # whether the body came encrypted
    namespace: str = ""
    query: str = ""
    shell: str = ""
    fault: int | None = None  # the code of the fault that it was answered with

    def is_meant(self, match: str) -> bool:
        """A match is the name, a glob of it, its first word, or "POST" for every request."""
        if self.name == "connect":
            return match == "connect"
        return match == "POST" or match == self.name.split(" ")[0] or fnmatch.fnmatchcase(self.name, match)


class RequestLog(log.RequestLog[Request]):
    """The requests in the order in which they came."""

    keeps = True  # a benchmark has no use for a million rows

    def append(self, request: Request) -> None:
        if self.keeps:
            super().append(request)

    def of(self, address: str, match: str | None = None) -> list[Request]:
        """Return the requests to one host."""
        return [row for row in self.all(match) if row.address == address]

    def queries(self, address: str | None = None) -> list[str]:
        """Return the queries that were asked, in order."""
        rows = self.all("Enumerate")
        return [row.query for row in rows if address is None or row.address == address]
