"""An installation to run Dagster on: its folder, a migrated database, a Dagster instance. Nothing is faked."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from asset_ledger.definitions import build_definitions
from asset_ledger.pipeline.chains import chosen, reading_config
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.settings import Settings
from asset_ledger.store.database import Connection, connect, rows

SOURCES = """
sources:
  - name: office
    platform: import
    description: Spreadsheets of the office.
    inbox: inbox
  - name: probe
    platform: ssh
    this_machine: true
    known_hosts: known_hosts
"""
HEADER = "mgmt_ip,hostname,asset_type,tags,cpu_cores,memory_gb\n"


@dataclass
class Installation:
    """One installation. Its settings come from the environment, as Dagster's processes get them."""

    folder: Path
    url: str
    instance: dg.DagsterInstance

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(Settings.load())

    @cached_property
    def definitions(self) -> dg.Definitions:
        return build_definitions(self.ledger.sources)

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    def drop(self, name: str, *rows: str, text: str | None = None, age_s: float = 60) -> Path:
        """Put a file into the inbox, written `age_s` seconds ago; `rows` go under the usual header."""
        path = self.inbox / name
        path.write_text(HEADER + "".join(f"{row}\n" for row in rows) if text is None else text, encoding="utf-8")
        then = time.time() - age_s
        os.utime(path, (then, then))
        return path

    def collect(
        self,
        source: str,
        day: str | None = None,
        *,
        span: tuple[str, str] | None = None,
        files: list[Path] | None = None,
        complete: bool = False,
        replay: bool = False,
        plan: bool = False,
        mode: str | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run a source's job of a mode for a day or a span of days, in this process."""
        job, chains = chosen(self.ledger.source(source), mode)
        tags = (
            {"dagster/asset_partition_range_start": span[0], "dagster/asset_partition_range_end": span[1]}
            if span
            else {}
        )
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=day,
            tags=tags,
            run_config=reading_config(chains, files=files or [], complete=complete, replay=replay, plan=plan),
            raise_on_error=False,
        )

    def links(self) -> dg.ExecuteInProcessResult:
        """Run the job that joins instances to machines."""
        return self.definitions.resolve_job_def("ledger_links").execute_in_process(instance=self.instance)

    def run(self, job: str, config: dict[str, Any], tags: dict[str, str] | None = None) -> dg.ExecuteInProcessResult:
        """Run a job of one op with this configuration of the op."""
        found = self.definitions.resolve_job_def(job)
        (op,) = found.nodes
        return found.execute_in_process(
            instance=self.instance,
            run_config={"ops": {op.name: {"config": config}}},
            tags=tags or {},
            raise_on_error=False,
        )

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with connect(self.url) as connection:
            yield connection

    def rows(self, query: str) -> list[dict[str, Any]]:
        with self.connect() as connection:
            return rows(connection, query)

    def materialized(self, source: str, node: str) -> set[str]:
        """Return the days for which Dagster shows the node as made."""
        return set(self.instance.get_materialized_partitions(dg.AssetKey([source, node])))


def metadata(result: dg.ExecuteInProcessResult, source: str, node: str) -> dict[str, Any]:
    """Return the metadata of a run's materialization of a node."""
    (event,) = (
        event for event in result.get_asset_materialization_events() if event.asset_key == dg.AssetKey([source, node])
    )
    return {name: value.value for name, value in event.materialization.metadata.items()}


def failure_of(result: dg.ExecuteInProcessResult) -> dg.Failure:
    """Return how the chain said that it failed."""
    (event,) = (event for event in result.all_events if event.is_step_failure)
    data = event.step_failure_data.user_failure_data
    assert data is not None, event.step_failure_data.error
    return dg.Failure(description=data.description, metadata=dict(data.metadata))


def attempts(result: dg.ExecuteInProcessResult) -> int:
    """Return how often the chain was started."""
    kinds = {dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED}
    return sum(event.event_type in kinds for event in result.all_events)
