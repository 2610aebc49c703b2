"""A request of vCenter's API: method, session, what it is about."""

from __future__ import annotations

from dataclasses import dataclass

from tests.doubles.https import log


@dataclass(kw_only=True)
class Request(log.Request):
    """One request, named by its SOAP method, or "GET /path"."""

    this: str
    session: str  # the first characters of the session's key
    kinds: frozenset[str] = frozenset()  # the types that it is about
    paths: tuple[str, ...] = ()
    max_objects: int | None = None


class RequestLog(log.RequestLog[Request]):
    """The requests in the order in which they came."""

    def sessions(self) -> int:
        """Return how many sessions asked."""
        return len({row.session for row in self.all() if row.session})
