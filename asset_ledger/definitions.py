"""The only place where Dagster definitions are put together: sources.yaml in, everything Dagster shows out.

Nothing is read at import; Dagster calls `defs` when it loads the code location.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from asset_ledger.assets.findings import build_findings_assets, build_findings_job
from asset_ledger.assets.hooks import build_hooks_job
from asset_ledger.assets.iac import build_iac_assets, build_parse_job
from asset_ledger.assets.jobs import build_jobs
from asset_ledger.assets.ledger import build_ledger_assets
from asset_ledger.assets.source_chain import build_chains
from asset_ledger.domain.iac.rules import Rules
from asset_ledger.pipeline.ledger import Ledger, platform_of
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.schedules.reading import build_reading_schedules
from asset_ledger.sensors.automation import build_automation_sensor
from asset_ledger.sensors.hooks import build_hooks_sensor
from asset_ledger.sensors.inbox import build_inbox_sensor
from asset_ledger.sensors.states import build_states_sensor
from asset_ledger.settings import Settings
from asset_ledger.sources.platform import SourceConfig


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the installation that the environment names."""
    ledger = Ledger(Settings.load())
    return build_definitions(ledger.sources, ledger.iac_rules)


def build_definitions(sources: Sequence[SourceConfig], rules: Rules | None = None) -> dg.Definitions:
    """Return the definitions for these sources. `rules` say which of them states are compared with."""
    return dg.Definitions(
        assets=[
            *(chain for source in sources for chain in build_chains(source)),
            *build_ledger_assets(sources),
            *build_iac_assets(),
            *build_findings_assets(sources, rules or Rules()),
        ],
        jobs=[*build_jobs(sources), build_parse_job(), build_findings_job(), build_hooks_job()],
        schedules=[schedule for source in sources for schedule in build_reading_schedules(source)],
        sensors=[
            *(build_inbox_sensor(source) for source in sources if platform_of(source).accept is not None),
            build_states_sensor(),
            build_hooks_sensor(),
            build_automation_sensor(),
        ],
        resources={"ledger": LedgerResource()},
        # a process a step costs seconds each; a run is a process already
        executor=dg.in_process_executor,
    )
