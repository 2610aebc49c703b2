"""The metrics of the sources in Prometheus' text format, computed from the ledger's tables: runs are short processes.

What every platform has is named after it (`ssh_collect_success_rate`); its own are `Platform.measures`. Beside them:
whether each source is fresh, how much of it is declared, its findings, and what still has to be told. Called by the
command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from asset_ledger.pipeline.watch import Standing, standings
from asset_ledger.sources.platform import Measure, SourceConfig
from asset_ledger.sources.registry import PLATFORMS, platform
from asset_ledger.store.database import Connection
from asset_ledger.store.derive.absences import list_held
from asset_ledger.store.iac.figures import source_coverage, source_findings
from asset_ledger.store.iac.outbox import Box, boxes
from asset_ledger.store.query.figures import clients, notices, retention_late
from asset_ledger.store.query.metrics import WINDOW_DAYS, reading_figures

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily, Metric


def exposition(connection: Connection, *, now: datetime, sources: Sequence[SourceConfig] = ()) -> str:
    """Return the metrics of every source that is read, as a scraper takes them.

    Of `sources`, those of sources.yaml, it is said whether they are fresh: the ledger does not know what is expected.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(reading_figures(connection, now=now)))
    registry.register(_Watched(standings(connection, sources, now=now), list_held(connection)))
    registry.register(_Service(connection, now))
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


class _Watched:
    """Whether each source is fresh and of its usual size, and what of it waits for a person."""

    def __init__(self, found: Iterable[Standing], held: Iterable[Mapping[str, Any]]) -> None:
        self._found = list(found)
        self._held: dict[tuple[str, str], int] = {}
        for one in held:
            # readings of one scope wait for the same machines, the newest for all of them
            of = (one["source"], one["scope"])
            self._held[of] = max(one["waiting"], self._held.get(of, 0))

    def collect(self) -> Iterator[Metric]:
        labels = ["source", "scope"]
        fresh = _gauge("asset_ledger_source_fresh", "1 where the day that is due by now is there, 0 elsewhere.", labels)
        age = _gauge("asset_ledger_source_age_seconds", "How old the newest reading is that counts.", labels)
        size = _gauge("asset_ledger_source_records", "How many records the newest whole day has.", labels)
        usual = _gauge("asset_ledger_source_size_usual", "1 where that is about as many as usual, 0 elsewhere.", labels)
        waiting = _gauge(
            "asset_ledger_removals_held", "Machines that were not seen, and wait for a person to decide.", labels
        )
        for one in self._found:
            of = [one.chain.source.name, one.chain.scope]
            if one.due is not None:
                fresh.add_metric(of, int(one.fresh))
            if one.age_s is not None:
                age.add_metric(of, one.age_s)
            # a day of files or reports is as large as its last one: that is no size of a day
            if one.days and one.chain.platform.contract != "push":
                size.add_metric(of, one.days[0].records)
            if one.usual is not None:
                usual.add_metric(of, int(not one.cliff))
            self._held.setdefault((of[0], of[1]), 0)
        for (source, scope), machines in sorted(self._held.items()):
            waiting.add_metric([source, scope], machines)
        yield from (fresh, age, size, usual, waiting)


class _Service:
    """What is there of agents, notices and retention, and when all this was said."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._clients, self._notices = clients(connection), notices(connection)
        self._late, self._now = retention_late(connection, now=now), now

    def collect(self) -> Iterator[Metric]:
        agents = _gauge(
            "asset_ledger_agents", "Clients of a tenant that were heard at least once.", ["tenant", "status"]
        )
        for row in self._clients:
            for status in ("online", "offline"):
                agents.add_metric([row["tenant"], status], row[status])
        waiting = _gauge("asset_ledger_notices_waiting", "Notices that a receiver has not taken yet.", ["receiver"])
        given_up = _gauge("asset_ledger_notices_given_up", "Notices that it did not take in time.", ["receiver"])
        for row in self._notices:
            waiting.add_metric([row["receiver"]], row["waiting"])
            given_up.add_metric([row["receiver"]], row["given_up"])
        late = _gauge("asset_ledger_retention_late_seconds", "How long what is to go has been past its time.", [])
        late.add_metric([], self._late.total_seconds())
        said = _gauge("asset_ledger_figures_timestamp_seconds", "When these figures were made.", [])
        said.add_metric([], self._now.timestamp())
        yield from (agents, waiting, given_up, late, said)


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
