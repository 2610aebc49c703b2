"""Starts the sending of what webhooks are told, when something is due: nothing runs for nothing."""

from datetime import UTC, datetime

import dagster as dg

from asset_ledger.assets.hooks import HOOKS_JOB
from asset_ledger.assets.policies import UNFINISHED
from asset_ledger.domain.errors import LedgerError
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.store.iac.outbox import Due, due

INTERVAL_S = 30
AGAIN_S = 15 * 60
"""After how long what a run left as it was is asked for once more: it died before it could note anything."""


def build_hooks_sensor() -> dg.SensorDefinition:
    """Return the sensor of the outbox. It runs by default, and asks for nothing where iac.yaml names no webhook."""

    @dg.sensor(
        name="iac_webhooks",
        job_name=HOOKS_JOB,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the receivers of webhooks what findings opened and closed.",
    )
    def hooks_sensor(context: dg.SensorEvaluationContext, ledger: LedgerResource) -> dg.SensorResult:
        try:
            opened = ledger.open()
            hooks = opened.iac_rules.hooks
            if not hooks:
                return dg.SensorResult(skip_reason=dg.SkipReason("iac.yaml names no webhook"))
            working = context.instance.get_runs(dg.RunsFilter(job_name=HOOKS_JOB, statuses=UNFINISHED), limit=1)
            if working:
                return dg.SensorResult(skip_reason=dg.SkipReason(f"run {working[0].run_id[:8]} is sending"))
            with opened.connect() as connection:
                found = due(connection, hooks, now=datetime.now(UTC))
        except LedgerError as error:
            return dg.SensorResult(skip_reason=dg.SkipReason(str(error)))
        return decided(found)

    return hooks_sensor


def decided(found: Due) -> dg.SensorResult:
    """Return what a tick does about what is due: one run for all of it."""
    if not found.messages:
        return dg.SensorResult(skip_reason=dg.SkipReason("nothing is due"))
    key = f"hooks {found.which} {int(found.late_s // AGAIN_S)}"
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key, tags={"mode": "deliver"})])
