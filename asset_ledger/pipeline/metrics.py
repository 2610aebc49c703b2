"""The metrics of the sources in Prometheus' text format, computed from the ledger's tables: runs are short processes.

What every platform has is named after it (`ssh_collect_success_rate`); its own are `Platform.measures`. Called by the
command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from asset_ledger.sources.platform import Measure
from asset_ledger.sources.registry import PLATFORMS, platform
from asset_ledger.store.database import Connection
from asset_ledger.store.query.metrics import WINDOW_DAYS, reading_figures

if TYPE_CHECKING:
    from prometheus_client.core import Metric


def exposition(connection: Connection, *, now: datetime) -> str:
    """Return the metrics of every source that is read, as a scraper takes them."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(reading_figures(connection, now=now)))
    return generate_latest(registry).decode()


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


def _value(measure: Measure, row: Mapping[str, Any]) -> float | None:
    """Return a measure of a source; None where nothing was counted that it could be a share of."""
    failed, counted, newest = (cast(Mapping[str, float], row[name]) for name in ("failed", "counted", "newest"))
    if measure.of is None:
        return counted.get(measure.counted, 0) + sum(failed.get(code.code, 0) for code in measure.codes)
    whole = newest.get(measure.of, 0)
    return newest.get(measure.counted, 0) / whole if whole else None
