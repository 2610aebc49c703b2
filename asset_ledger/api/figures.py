"""The service's own metrics, in Prometheus' text format. They name no tenant: nobody has to log in to read them.

What happened is counted by this process; what waits to be parsed, which findings are open, and who is online is looked
up when they are read. Where the database is away they are left out, and what the process counted is told all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from asset_ledger.domain.iac.rules import EVERY_KIND
from asset_ledger.store.agents.presence.keeping import Standing
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
        self._answers: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
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
        self._database = Gauge(
            "asset_ledger_database_up", "Whether the database answered when this was read.", registry=registry
        )
        self._database_errors = Counter(
            "asset_ledger_database_errors", "How often something asked for here found no database.", registry=registry
        )

        # what is looked up in the database: without an answer there is no figure, and none of before
        self._looked_up = looked_up = CollectorRegistry(auto_describe=False)
        self._waiting = Gauge(
            "asset_ledger_state_versions_unparsed", "Versions that wait to be parsed.", registry=looked_up
        )
        self._delay = Gauge(
            "asset_ledger_state_parse_delay_seconds", "How long the oldest of them has waited.", registry=looked_up
        )
        self._findings = Gauge(
            "asset_ledger_findings_open", "Findings that are open, over all tenants.", ["kind"], registry=looked_up
        )
        self._unsure = Gauge(
            "asset_ledger_findings_unsure",
            "Open findings of which nothing complete says whether they still hold.",
            ["kind"],
            registry=looked_up,
        )
        self._oldest = Gauge(
            "asset_ledger_findings_oldest_seconds",
            "How long the oldest open finding has been open.",
            ["kind"],
            registry=looked_up,
        )
        self._online = Gauge(
            "asset_ledger_agents_online", "Clients that are online, over all tenants.", registry=looked_up
        )

        self._heard = Gauge(
            "asset_ledger_agents_heard",
            "Clients that this process heard within the last two minutes.",
            registry=registry,
        )
        self._sockets = Gauge("asset_ledger_agent_connections", "WebSockets that are open here.", registry=registry)
        beats = Counter("asset_ledger_agent_heartbeats", "Beats taken.", ["via"], registry=registry)
        self._beats = {"post": beats.labels("post"), "websocket": beats.labels("websocket")}
        self._unflushed = Counter(
            "asset_ledger_presence_flush_failures", "Batches of beats that had to wait.", ["place"], registry=registry
        )
        self._place = Gauge(
            "asset_ledger_presence_up", "Whether a place where beats are kept takes them.", ["place"], registry=registry
        )
        self._standing: Callable[[], Standing] | None = None

    def watch(self, standing: Callable[[], Standing]) -> None:
        """Ask this how it stands with presence, whenever the metrics are read."""
        self._standing = standing

    def beat(self, via: Literal["post", "websocket"]) -> None:
        """Count a beat."""
        self._beats[via].inc()

    def flush_failed(self, place: str) -> None:
        """Count a batch of beats that could not be written to a place."""
        self._unflushed.labels(place).inc()

    def clients_online(self, count: int) -> None:
        """Take how many clients are online."""
        self._online.set(count)

    def answered(self, what: str, status: int, seconds: float) -> None:
        """Count a request. `what` is a word of the audit's own."""
        found = self._answers.get((what, status))
        if found is None:  # looking up labels costs as much as counting
            found = self._answers[what, status] = (
                self._requests.labels(what, str(status)),
                self._seconds.labels(what),
            )
        found[0].inc()
        found[1].observe(seconds)

    def wrote(self, result: Literal["kept", "again", "refused"], size_bytes: int = 0) -> None:
        """Count a write of a state."""
        self._writes.labels(result).inc()
        self._bytes.inc(size_bytes)

    def failed_login(self) -> None:
        """Count a login that was refused."""
        self._failed.inc()

    def database_failed(self) -> None:
        """Count a request, or work of the service's own, that found no database."""
        self._database_errors.inc()

    def exposition(self, waiting: tuple[int, datetime | None], findings: Sequence[OpenFindings]) -> bytes:
        """Return them as a scraper takes them, with how many versions wait, since when, and what is open."""
        self._database.set(1)
        count, oldest = waiting
        found = {one.kind: one for one in findings}
        for kind in EVERY_KIND:  # one that is no more is 0, and does not stay as it was last seen
            one = found.get(kind)
            self._findings.labels(kind).set(one.open if one else 0)
            self._unsure.labels(kind).set(one.unsure if one else 0)
            self._oldest.labels(kind).set(_age_s(one.oldest if one else None))
        self._waiting.set(count)
        self._delay.set(_age_s(oldest))
        return self._counted() + generate_latest(self._looked_up)

    def without_database(self) -> bytes:
        """Return what this process counted itself, and that the database is away."""
        self._database.set(0)
        return self._counted()

    def _counted(self) -> bytes:
        if self._standing is not None:
            self._set_standing(self._standing())
        return generate_latest(self._registry)

    def _set_standing(self, found: Standing) -> None:
        self._heard.set(found.heard)
        self._sockets.set(found.sessions)
        self._place.labels("table").set(found.table)
        if found.redis is not None:
            self._place.labels("redis").set(found.redis)


def _age_s(since: datetime | None) -> float:
    return 0.0 if since is None else max(0.0, (datetime.now(UTC) - since).total_seconds())
