"""A service that machines report to: enrolment, and reports as an agent sends them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.agents.payloads import payload
from tests.api.site import Answer, Site

MACHINE = "a" * 64


@dataclass(frozen=True)
class Machine:
    """A client and its token."""

    site: Site
    id: str
    token: str

    def report(self, *, headers: Mapping[str, str] | None = None, raw: bytes | None = None, **changes: Any) -> Answer:
        body = report(**changes) if raw is None else raw
        return self.site.ask("POST", "/api/v1/agents/report", body, token=self.token, headers=headers)


def report(os: str = "linux", **changes: Any) -> bytes:
    """Return a report's bytes; instants among the changes as RFC 3339."""
    told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in changes.items()}
    return json.dumps(payload(os, **told)).encode()


def enrolled(site: Site, *, token: str | None = None, **told: Any) -> Machine:
    """Make a machine a client, as a writer does."""
    answer = enrolling(site, token=token or site.token("wim", "writer"), **told)
    assert answer.status == 201, answer.body
    return Machine(site, answer.json["client_id"], answer.json["token"])


def enrolling(site: Site, *, token: str | None = None, **told: Any) -> Answer:
    """Ask for a machine to be made a client."""
    headers = {"Content-Type": "application/json"}
    return site.ask("POST", "/api/v1/agents/enroll", json.dumps(told).encode(), token=token, headers=headers)


def packed(body: bytes) -> tuple[bytes, dict[str, str]]:
    return gzip.compress(body), {"Content-Encoding": "gzip"}
