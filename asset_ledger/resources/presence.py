"""A run's sign of life in Dagster: a session that is there from the run's beginning to its end.

`sensors.lost_runs` looks for the runs that lost theirs. What the session is: `store.sessions`. Every run that Dagster
starts has it from its executor, and a run that reads a source from the resource too, wherever it is worked on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import dagster as dg
from dagster._core.executor.in_process import InProcessExecutor

from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.settings import Settings
from asset_ledger.store.sessions import Presence

ALIVE_TAG = "asset_ledger/alive"
"""Which run has a session that tells of its life: its own id. A retry inherits the tags of the run before it."""
_present: set[str] = set()
"""The runs of this process that have their session already."""


@contextmanager
def present(run: dg.DagsterRun | None, instance: dg.DagsterInstance | None) -> Iterator[None]:
    """Be present while the run goes on, once. Where the ledger cannot be reached, the run's steps say so."""
    try:
        url = None if run is None or instance is None or run.run_id in _present else Ledger(Settings.load()).url
    except LedgerError:
        url = None
    if run is None or instance is None or url is None:
        yield
        return
    with Presence(url, run.run_id) as presence:
        if presence.there:
            instance.add_run_tags(run.run_id, {ALIVE_TAG: run.run_id})
        _present.add(run.run_id)
        try:
            yield
        finally:
            _present.discard(run.run_id)


class PresenceResource(dg.ConfigurableResource):
    """Keeps a session open that bears the run's name, for runs that Dagster's own executors do (`launch`)."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["PresenceResource"]:
        """Be present while the run goes on."""
        with present(context.run, context.instance):
            yield self


class _PresentExecutor(InProcessExecutor):
    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[Any]:
        with present(plan_context.dagster_run, plan_context.instance):
            yield from super().execute(plan_context, execution_plan)


@dg.executor(name="in_process", config_schema=cast("Any", dg.in_process_executor.config_schema))
def present_executor(context: dg.InitExecutorContext) -> InProcessExecutor:
    """Do all steps in the run's own process, which is present from the first to the last."""
    made: Any = dg.in_process_executor.executor_creation_fn(context)  # type: ignore[misc]
    return _PresentExecutor(retries=made.retries, step_dependency_config=made.step_dependency_config)
