"""A run's sign of life as a Dagster resource: a session that is there from the run's beginning to its end.

`sensors.lost_runs` looks for the runs that lost theirs. What the session is: `store.sessions`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.settings import Settings
from asset_ledger.store.sessions import Presence

ALIVE_TAG = "asset_ledger/alive"
"""Which run has a session that tells of its life: its own id. A retry inherits the tags of the run before it."""


class PresenceResource(dg.ConfigurableResource):
    """Keeps a session open that bears the run's name."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["PresenceResource"]:
        """Be present while the run goes on. Where the ledger cannot be reached, the run's steps say so."""
        run, instance = context.run, context.instance
        try:
            url = None if run is None or instance is None else Ledger(Settings.load()).url
        except LedgerError:
            url = None
        if run is None or instance is None or url is None:
            yield self
            return
        with Presence(url, run.run_id) as presence:
            if presence.there:
                instance.add_run_tags(run.run_id, {ALIVE_TAG: run.run_id})
            yield self
