"""Verdicts on Dagster: do its daemons live, are the pools set, does a run hang. Only its own database is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from asset_ledger.pipeline.doctor.findings import Finding, listed, ok, problem, skipped, warning
from asset_ledger.store.doctor import Orchestration

BEAT = timedelta(minutes=5)
USUAL_RUN_S = 14_400
"""For how long deploy/dagster.yaml lets a run go on: said of one that hangs where the file in force does not say."""
# a little more than deploy/dagster.yaml lets each take before Dagster itself ends it
_MORE = timedelta(minutes=10)
_LONG = {
    "NOT_STARTED": timedelta(minutes=30),
    "QUEUED": timedelta(hours=1),
    "STARTING": timedelta(minutes=10),
    "CANCELING": timedelta(minutes=10),
}


def of_dagster(
    found: Orchestration, pools: Mapping[str, int], now: datetime, *, longest_run_s: int | None = None
) -> Iterator[Finding]:
    """Judge what Dagster's database says. `pools` are the limits that enabled sources need, by name.

    `longest_run_s` is after how long Dagster ends a run, None where that is not known.
    """
    if not found.made:
        yield warning(
            "Dagster",
            "its database has no tables: nothing has ever run here",
            "`asset-ledger up`, or start dagster-webserver and dagster-daemon as docs/operations.md says",
        )
        return
    yield _daemons(found.beats, now)
    yield _pools(found.pools, pools)
    yield _runs(found.unfinished, now, timedelta(seconds=longest_run_s or USUAL_RUN_S) + _MORE)


def _daemons(beats: Mapping[str, datetime], now: datetime) -> Finding:
    step = "start it: `asset-ledger up`, or the service asset-ledger-daemon; its log says why it ended"
    if not beats:
        return problem("daemon", "Dagster's daemon has never run, so nothing is read by itself", step)
    silent = {name: now - at for name, at in beats.items() if now - at > BEAT}
    if len(silent) == len(beats):
        last = max(beats.values())
        return problem(
            "daemon", f"Dagster's daemon beat last at {last:%Y-%m-%d %H:%M}Z, so nothing is read by itself", step
        )
    # one that is not configured any more leaves its last beat behind
    if recent := {name: gap for name, gap in silent.items() if gap < timedelta(days=1)}:
        return problem("daemon", f"parts of it have stopped beating: {listed(sorted(recent))}", step)
    return ok("daemon", f"beats, {len(beats) - len(silent)} parts")


def _pools(there: Mapping[str, int], wanted: Mapping[str, int]) -> Finding:
    missing = sorted(wanted.keys() - there.keys())
    shut = sorted(name for name in wanted.keys() & there.keys() if there[name] < 1)
    if missing:
        return warning(
            "pools",
            f"no limit is set for {listed(missing)}, so any number of its steps may run at once",
            "`asset-ledger up --once` sets them, as does every run that the command line starts",
        )
    if shut:
        return problem(
            "pools",
            f"the limit of {listed(shut)} is 0, so its steps wait for ever",
            "`dagster instance concurrency set POOL N`, or Deployment → Concurrency in the UI",
        )
    return ok("pools", listed([f"{name} {there[name]}" for name in sorted(wanted)]) if wanted else "none is needed")


def _runs(unfinished: Iterable[Mapping[str, Any]], now: datetime, longest: timedelta) -> Finding:
    long = {**_LONG, "STARTED": longest}
    stuck = []
    count = 0
    for run in unfinished:
        count += 1
        since = run["started_at"] if run["status"] == "STARTED" else run["updated_at"]
        since = since or run["updated_at"] or run["created_at"]
        if now - since > long.get(run["status"], timedelta(hours=4)):
            stuck.append(f"{run['job']} {run['run_id'][:8]} ({run['status'].lower()} since {since:%Y-%m-%d %H:%M}Z)")
    if stuck:
        return problem(
            "runs",
            f"{len(stuck)} hang: {listed(stuck, 3)}",
            "see that the daemon runs, which ends runs whose process is gone; else Terminate → Force in the UI",
        )
    return ok("runs", f"{count} under way, none hangs" if count else "none under way")


def unknown(why: str) -> Finding:
    """Return what to say where Dagster's database could not be asked."""
    return skipped("Dagster", why)
