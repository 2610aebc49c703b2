"""The metrics of the sources in Prometheus' text format, computed from the ledger's tables: runs are short processes.

What every platform has is named after it (`ssh_collect_success_rate`); its own are `Platform.measures`. Beside them:
how much of each source is declared, its findings, and what webhooks still have to be told. Called by the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from asset_ledger.sources.platform import Measure
from asset_ledger.sources.registry import PLATFORMS, platform
from asset_ledger.store.database import Connection
from asset_ledger.store.iac.figures import source_coverage, source_findings
from asset_ledger.store.iac.outbox import Box, boxes
from asset_ledger.store.query.metrics import WINDOW_DAYS, reading_figures

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily, Metric


def exposition(connection: Connection, *, now: datetime) -> str:
    """Return the metrics of every source that is read, as a scraper takes them."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(reading_figures(connection, now=now)))
    registry.register(_Declared(source_coverage(connection), source_findings(connection), boxes(connection), now))
    return generate_latest(registry).decode()


_MACHINES = ("observed", "managed", "declared", "ignored", "drifting", "missing", "doubles", "orphans")


class _Figures:
    """What `reading_figures` found, as prometheus_client asks for it."""

    def __init__(self, found: Iterable[Mapping[str, Any]]) -> None:
        self._found = list(found)

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily, UnknownMetricFamily

        for name in PLATFORMS:
            mine = [row for row in self._found if row["platform"] == name]
            if not mine:
                continue
            rate = GaugeMetricFamily(
                f"{name}_collect_success_rate",
                f"Share of the readings of the last {WINDOW_DAYS} days that succeeded.",
                labels=["source", "scope"],
            )
            last = GaugeMetricFamily(
                f"{name}_last_success_timestamp_seconds", "When a reading last succeeded.", labels=["source", "scope"]
            )
            for row in mine:
                if row["attempts"]:
                    rate.add_metric([row["source"], row["scope"]], row["succeeded"] / row["attempts"])
                if row["last_success_at"]:
                    last.add_metric([row["source"], row["scope"]], row["last_success_at"].timestamp())
            yield rate
            yield last
            for measure in platform(name).measures:
                # a counter would be renamed to end in _total
                family = GaugeMetricFamily if measure.of else UnknownMetricFamily
                metric = family(measure.name, measure.help, labels=["source", "scope"])
                for row in mine:
                    value = _value(measure, row)
                    if value is not None:
                        metric.add_metric([row["source"], row["scope"]], value)
                yield metric


class _Declared:
    """How much of the sources is declared in states, what was found, and who still has to be told of it."""

    def __init__(
        self,
        coverage: Iterable[Mapping[str, Any]],
        findings: Iterable[Mapping[str, Any]],
        told: Iterable[Box],
        now: datetime,
    ) -> None:
        self._coverage, self._findings, self._told = list(coverage), list(findings), list(told)
        self._now = now

    def collect(self) -> Iterator[Metric]:
        yield from self._of_sources()
        yield from self._of_findings()
        yield from self._of_hooks()

    def _of_sources(self) -> Iterator[Metric]:
        labels = ["tenant", "source"]
        share = _gauge("iac_coverage_ratio", "Share of the machines of a source that a state declares.", labels)
        looked = _gauge("iac_evaluated_timestamp_seconds", "When findings were last looked for.", labels)
        whole = _gauge("iac_reading_complete", "1 where the reading that they were looked for in was complete.", labels)
        machines = _gauge("iac_machines", "Machines of a source, by what is said of them.", [*labels, "state"])
        for row in self._coverage:
            of = [row["tenant"], row["source"]]
            if row["observed"]:
                share.add_metric(of, row["managed"] / row["observed"])
            looked.add_metric(of, row["evaluated_at"].timestamp())
            whole.add_metric(of, int(row["complete"]))
            for state in _MACHINES:
                machines.add_metric([*of, state], row[state])
        yield from (share, looked, whole, machines)

    def _of_findings(self) -> Iterator[Metric]:
        labels = ["tenant", "source", "kind"]
        count = _gauge("iac_findings_open", "Findings of a source that are open.", labels)
        unsure = _gauge(
            "iac_findings_unsure", "Open findings of which nothing complete says whether they still hold.", labels
        )
        oldest = _gauge("iac_findings_oldest_seconds", "How long the oldest has been open.", labels)
        for row in self._findings:
            of = [row["tenant"], row["source"], row["kind"]]
            count.add_metric(of, row["open"])
            unsure.add_metric(of, row["unsure"])
            oldest.add_metric(of, max(0.0, (self._now - row["oldest"]).total_seconds()))
        yield from (count, unsure, oldest)

    def _of_hooks(self) -> Iterator[Metric]:
        labels = ["tenant", "webhook"]
        waiting = _gauge("iac_webhook_waiting", "Messages that the receiver has not taken yet.", labels)
        given_up = _gauge("iac_webhook_given_up", "Messages that it did not take within a week.", labels)
        for box in self._told:
            waiting.add_metric([box.tenant, box.hook], box.waiting)
            given_up.add_metric([box.tenant, box.hook], box.given_up)
        yield from (waiting, given_up)


def _gauge(name: str, help_: str, labels: list[str]) -> GaugeMetricFamily:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, help_, labels=labels)


def _value(measure: Measure, row: Mapping[str, Any]) -> float | None:
    """Return a measure of a source; None where nothing was counted that it could be a share of."""
    failed, counted, newest = (cast(Mapping[str, float], row[name]) for name in ("failed", "counted", "newest"))
    if measure.of is None:
        return counted.get(measure.counted, 0) + sum(failed.get(code.code, 0) for code in measure.codes)
    whole = newest.get(measure.of, 0)
    return newest.get(measure.counted, 0) / whole if whole else None
