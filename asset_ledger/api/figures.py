"""The service's own metrics, in Prometheus' text format. They name no tenant: nobody has to log in to read them.

What happened is counted by this process; what waits to be parsed is looked up when they are read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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

    def exposition(self, waiting: tuple[int, datetime | None]) -> bytes:
        """Return them as a scraper takes them, with how many versions wait, since when."""
        count, oldest = waiting
        self._waiting.set(count)
        self._delay.set(0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds()))
        return generate_latest(self._registry)
