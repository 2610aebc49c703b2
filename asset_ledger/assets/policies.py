"""How assets behave, decided once: days, retries, backfills, automation, pools. No asset says it by itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster_shared.utils.warnings import BetaWarning

from asset_ledger.domain.calendar import FIRST_DAY, LEDGER_TIMEZONE
from asset_ledger.domain.errors import LedgerError
from asset_ledger.sources.registry import PLATFORMS, platform

# end_offset=1: today is a day that can be read before it is over
DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), timezone=LEDGER_TIMEZONE, end_offset=1)

RETRIES = dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)

# a year of days is one run that commits day by day; docs/decisions/0005 says why
ONE_RUN = dg.BackfillPolicy.single_run()

# not eager(): it waits until no day of any source is missing, and a source's days begin years before its first reading
FOLLOW = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
).with_label("a source was read, and none is being read")


def follow(upstream: dg.AssetSelection, label: str) -> dg.AutomationCondition:
    """Return the condition of what follows some of its upstream alone, day by day where both are made by days."""
    updated = dg.AutomationCondition.any_deps_updated().allow(upstream)
    busy = dg.AutomationCondition.any_deps_in_progress().allow(upstream)
    return (updated.since_last_handled() & ~busy & ~dg.AutomationCondition.in_progress()).with_label(label)


# a run in one of these states still works on its source, or is about to
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

DEFAULT_OWNERS = ("team:infrastructure",)


def pool_limits() -> dict[str, int]:
    """Return how many steps of each platform may run at a time, by pool.

    Set on the instance at start-up: a default limit in dagster.yaml makes runs fail when it is changed later.
    """
    return {name: platform(name).pool_limit for name in PLATFORMS}


@contextmanager
def beta_accepted() -> Iterator[None]:
    """Silence Dagster's warning that `backfill_policy` on assets is beta: we chose it knowingly, and only there."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Parameter `backfill_policy` of function `multi_asset`", BetaWarning)
        yield


def failure(error: LedgerError) -> dg.Failure:
    """Return the Dagster failure of a ledger error: it is tried again only where its code says that may help."""
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
    return dg.Failure(
        description=f"{error}{notes}",
        metadata={"error_code": error.code.code, "advice": error.code.advice},
        allow_retries=error.code.retryable,
    )
