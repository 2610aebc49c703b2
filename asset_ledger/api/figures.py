"""The service's own metrics, in Prometheus' text format. They name no tenant: nobody has to log in to read them.

What happened is counted by this process; what waits to be parsed, and which findings are open, is looked up when they
are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from asset_ledger.domain.iac.rules import KINDS
from asset_ledger.store.iac.figures import OpenFindings

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Figures:
    """What one process counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        registry = self._registry
        self._requests = Counter(
            "asset_ledger_api_requests", "Requests answered.", ["what", "status"], registry=registry
        )
        self._seconds = Histogram(
            "asset_ledger_api_request_seconds", "How long they took.", ["what"], buckets=_SECONDS, registry=registry
        )
        self._writes = Counter(
            "asset_ledger_state_writes",
            "Writes of states: kept, again the same, refused.",
            ["result"],
            registry=registry,
        )
        self._bytes = Counter(
            "asset_ledger_state_written_bytes", "Bytes of the states that were kept.", registry=registry
        )
        self._failed = Counter("asset_ledger_api_failed_logins", "Logins that were refused.", registry=registry)
        self._waiting = Gauge(
            "asset_ledger_state_versions_unparsed", "Versions that wait to be parsed.", registry=registry
        )
        self._delay = Gauge(
            "asset_ledger_state_parse_delay_seconds", "How long the oldest of them has waited.", registry=registry
        )

        self._findings = Gauge(
            "asset_ledger_findings_open", "Findings that are open, over all tenants.", ["kind"], registry=registry
        )
        self._unsure = Gauge(
            "asset_ledger_findings_unsure",
            "Open findings of which nothing complete says whether they still hold.",
            ["kind"],
            registry=registry,
        )
        self._oldest = Gauge(
            "asset_ledger_findings_oldest_seconds",
            "How long the oldest open finding has been open.",
            ["kind"],
            registry=registry,
        )

    def answered(self, what: str, status: int, seconds: float) -> None:
        """Count a request. `what` is a word of the audit's own."""
        self._requests.labels(what, str(status)).inc()
        self._seconds.labels(what).observe(seconds)

    def wrote(self, result: Literal["kept", "again", "refused"], size_bytes: int = 0) -> None:
        """Count a write of a state."""
        self._writes.labels(result).inc()
        self._bytes.inc(size_bytes)

    def failed_login(self) -> None:
        """Count a login that was refused."""
        self._failed.inc()

    def exposition(self, waiting: tuple[int, datetime | None], findings: Sequence[OpenFindings]) -> bytes:
        """Return them as a scraper takes them, with how many versions wait, since when, and what is open."""
        count, oldest = waiting
        found = {one.kind: one for one in findings}
        for kind in KINDS:  # one that is no more is 0, and does not stay as it was last seen
            one = found.get(kind)
            self._findings.labels(kind).set(one.open if one else 0)
            self._unsure.labels(kind).set(one.unsure if one else 0)
            self._oldest.labels(kind).set(_age_s(one.oldest if one else None))
        self._waiting.set(count)
        self._delay.set(_age_s(oldest))
        return generate_latest(self._registry)


def _age_s(since: datetime | None) -> float:
    return 0.0 if since is None else max(0.0, (datetime.now(UTC) - since).total_seconds())
