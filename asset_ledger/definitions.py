"""The only place where Dagster definitions are put together: sources.yaml in, everything Dagster shows out.

Nothing is read at import; Dagster calls `defs` when it loads the code location.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from asset_ledger.assets.agents import build_agent_findings_assets, build_agent_findings_job
from asset_ledger.assets.findings import build_findings_assets, build_findings_job
from asset_ledger.assets.hooks import build_hooks_job
from asset_ledger.assets.iac import build_iac_assets, build_parse_job
from asset_ledger.assets.jobs import build_jobs
from asset_ledger.assets.ledger import build_ledger_assets
from asset_ledger.assets.marts import build_mart_assets, build_marts_job
from asset_ledger.assets.notices import build_notices_job
from asset_ledger.assets.retention import build_retention_assets, build_retention_job
from asset_ledger.assets.source_chain import build_chains
from asset_ledger.assets.watch import build_watch_checks, build_watch_job
from asset_ledger.domain.iac.rules import Rules
from asset_ledger.pipeline.ledger import Ledger, platform_of
from asset_ledger.pipeline.marts import Models, models
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.resources.presence import PresenceResource, present_executor
from asset_ledger.schedules.reading import build_reading_schedules
from asset_ledger.schedules.retention import build_retention_schedule
from asset_ledger.schedules.watch import build_watch_schedule
from asset_ledger.sensors.agents import build_agents_sensors
from asset_ledger.sensors.automation import build_automation_sensor
from asset_ledger.sensors.hooks import build_hooks_sensor
from asset_ledger.sensors.inbox import build_inbox_sensor
from asset_ledger.sensors.lost_runs import build_lost_runs_sensor
from asset_ledger.sensors.marts import build_marts_sensor
from asset_ledger.sensors.notices import build_notices_sensor
from asset_ledger.sensors.states import build_states_sensor
from asset_ledger.settings import Settings
from asset_ledger.sources.platform import SourceConfig


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the installation that the environment names."""
    return load()


def load(*, marts: bool = True) -> dg.Definitions:
    """Return the definitions of the installation; without the marts, for a run of something else, in half the time."""
    ledger = Ledger(Settings.load())
    return build_definitions(ledger.sources, ledger.iac_rules, models(ledger) if marts else None)


def build_definitions(
    sources: Sequence[SourceConfig], rules: Rules | None = None, marts: Models | None = None
) -> dg.Definitions:
    """Return the definitions for these sources. `rules` say which of them states are compared with.

    `marts` are dbt's models as parsed; without them there are none.
    """
    jobs = build_jobs(sources)
    marts_job = build_marts_job(marts) if marts else None
    return dg.Definitions(
        assets=[
            *(chain for source in sources for chain in build_chains(source)),
            *build_ledger_assets(sources),
            *build_iac_assets(),
            *build_findings_assets(sources, rules or Rules()),
            *build_agent_findings_assets(sources),
            *build_retention_assets(),
            *(build_mart_assets(sources, marts) if marts else ()),
        ],
        jobs=[
            *jobs,
            build_parse_job(),
            build_findings_job(),
            build_agent_findings_job(),
            build_hooks_job(),
            build_notices_job(),
            build_retention_job(),
            build_watch_job(sources),
            *([marts_job] if marts_job else ()),
        ],
        asset_checks=build_watch_checks(sources),
        schedules=[
            *(schedule for source in sources for schedule in build_reading_schedules(source)),
            build_retention_schedule(),
            build_watch_schedule(),
        ],
        sensors=[
            *(build_inbox_sensor(source) for source in sources if platform_of(source).accept is not None),
            *build_agents_sensors(sources, jobs),
            build_states_sensor(),
            build_hooks_sensor(),
            build_notices_sensor(),
            build_automation_sensor(),
            build_lost_runs_sensor(sources, jobs),
            *([build_marts_sensor(marts_job)] if marts_job else ()),
        ],
        resources={"ledger": LedgerResource(), "presence": PresenceResource()},
        # a process a step costs seconds each; a run is a process already
        executor=present_executor,
    )
