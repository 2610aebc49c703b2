"""Wakes the reading of states when a version or a plan was written. The table is the queue; the bell makes it quick."""

import os
from math import log2

import dagster as dg

from asset_ledger.assets.iac import PARSE_JOB
from asset_ledger.assets.policies import UNFINISHED
from asset_ledger.credentials import key_ring
from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.store.iac.queue import Backlog, backlog, listen, rung

INTERVAL_S = 10
LISTEN_S = 20.0
"""How long a tick that finds nothing listens for the bell, well under the minute after which Dagster ends it."""
AGAIN_S = 15 * 60
"""After how long what a run left unread is asked for once more; then after twice as long each time, up to a day."""
_DAY_S = 24 * 3600


def build_states_sensor() -> dg.SensorDefinition:
    """Return the sensor of the queue of versions. It runs by default: nobody should have to ask for it."""

    @dg.sensor(
        name="iac_state_versions",
        job_name=PARSE_JOB,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reads versions of Terraform and Pulumi states, and plans, as soon as they are written.",
    )
    def states_sensor(context: dg.SensorEvaluationContext, ledger: LedgerResource) -> dg.SensorResult:
        working = context.instance.get_runs(dg.RunsFilter(job_name=PARSE_JOB, statuses=UNFINISHED), limit=1)
        if working:
            return dg.SensorResult(skip_reason=dg.SkipReason(f"run {working[0].run_id[:8]} is reading what waits"))
        try:
            opened = ledger.open()
            keys = _keys(opened)
            with opened.connect() as connection:
                listen(connection)  # first: what comes while the table is looked at rings all the same
                found = backlog(connection, keys)
                if found.tenants and not _waits(found) and rung(connection, LISTEN_S):
                    found = backlog(connection, keys)
        except LedgerError as error:
            return dg.SensorResult(skip_reason=dg.SkipReason(str(error)))
        return decided(found)

    return states_sensor


def decided(found: Backlog) -> dg.SensorResult:
    """Return what a tick does about what waits: one run, for whatever waits when it begins.

    What a run leaves is asked for again, ever less often. What waits for a key is asked for once, for the red run that
    says so: it is asked for again when the key is there, or something else waits.
    """
    if not found.tenants:
        return dg.SensorResult(skip_reason=dg.SkipReason("there is no tenant: nobody keeps states here"))
    if not _waits(found):
        return dg.SensorResult(skip_reason=dg.SkipReason("no version of a state waits, and no plan"))
    key = f"states {found.which} {_again(found.age_s)}"
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=key, tags={"mode": "parse"})])


def _waits(found: Backlog) -> bool:
    return bool(found.versions or found.plans or found.held)


def _again(age_s: float) -> int:
    """Return how often what has waited so long was due to be asked for again."""
    doublings = int(log2(age_s / AGAIN_S + 1))
    most = int(log2(_DAY_S / AGAIN_S + 1))
    return doublings if doublings < most else most + int(age_s // _DAY_S)


def _keys(ledger: Ledger) -> frozenset[str]:
    """Return the names of the keys that a run will have; none where there is no ring that can be used: it says why."""
    try:
        return frozenset(key_ring.load(ledger.settings.home, os.environ).keys)
    except LedgerError:
        return frozenset()
