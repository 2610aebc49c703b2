"""Puts runs into Dagster's queue and waits for them: `python -m asset_ledger.submit < requests.json`.

The command line starts it where workers are to share the runs (`launch` does runs in its own process). Dagster's daemon
takes them out of the queue. A run that is done again after its worker was killed is waited for, too. Who stops waiting
stops no run. Answers are JSON lines on standard output, in the order of the requests.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    WILL_RETRY_TAG,
)
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.controller import all_daemons_live

from asset_ledger.assets.failed_days import FAILED_DAYS
from asset_ledger.assets.nodes import shard_tags
from asset_ledger.domain.shards import Shard
from asset_ledger.launch import set_pool_limits

REQUEST_TAG = "asset_ledger/request"
"""What a run and its retries have in common: they inherit it."""
LOOK_S = 1.0
UNDECIDED_S = 20.0
NO_DAEMON = (
    "no Dagster daemon is at work, which takes runs out of the queue: start one (`asset-ledger up`, docs/workers.md), "
    "or leave the option out that cuts the work into runs"
)


def main() -> int:
    """Queue the requests on standard input, wait until all are over, and return 0 if all succeeded."""
    requests = json.load(sys.stdin)
    with dg.DagsterInstance.get() as instance:
        if not all_daemons_live(instance):
            print(NO_DAEMON, file=sys.stderr)  # noqa: T201
            return 1
        set_pool_limits(instance)
        asked = _queue(instance, requests)
        ok = True
        for request, wanted in zip(requests, asked, strict=True):
            answer = _answer(instance, request["job"], _wait(instance, wanted))
            ok = ok and answer["success"]
            print(json.dumps(answer, ensure_ascii=False, default=str), flush=True)  # noqa: T201
    return 0 if ok else 1


def _queue(instance: dg.DagsterInstance, requests: list[dict[str, Any]]) -> list[str]:
    """Put a run for each request into the queue and return what they are found by."""
    asked = []
    # the daemon knows the code location by the name that this file gives it
    file = os.environ.get("ASSET_LEDGER_WORKSPACE") or str(Path(__file__).resolve().parent.parent / "workspace.yaml")
    with WorkspaceProcessContext(instance, WorkspaceFileTarget([file])) as process:
        workspace = process.create_request_context()
        for name, entry in workspace.get_code_location_entries().items():
            if entry.load_error is not None:
                sys.exit(f"the code location {name} of {file} does not load: {entry.load_error.message.strip()}")
        (location,) = workspace.code_locations
        (repository,) = location.get_repositories().values()
        for request in requests:
            job = location.get_job(
                JobSubsetSelector(
                    location_name=location.name,
                    repository_name=repository.name,
                    job_name=request["job"],
                    op_selection=None,
                )
            )
            config = request.get("config") or {}
            plan = location.get_execution_plan(
                job, config, step_keys_to_execute=None, known_state=None, instance=instance
            ).execution_plan_snapshot
            wanted = str(uuid.uuid4())
            run = instance.create_run(
                job_name=job.name,
                run_id=None,
                run_config=config,
                resolved_op_selection=job.resolved_op_selection,
                step_keys_to_execute=plan.step_keys_to_execute,
                op_selection=None,
                status=None,
                root_run_id=None,
                parent_run_id=None,
                tags={**job.tags, **_tags(request), REQUEST_TAG: wanted},
                job_snapshot=job.job_snapshot,
                execution_plan_snapshot=plan,
                parent_job_snapshot=job.parent_job_snapshot,
                remote_job_origin=job.get_remote_origin(),
                job_code_origin=job.get_python_origin(),
                asset_selection=None,
                asset_check_selection=None,
                asset_graph=repository.asset_graph,
            )
            instance.submit_run(run.run_id, workspace)
            asked.append(wanted)
    return asked


def _tags(request: dict[str, Any]) -> dict[str, str]:
    tags = dict(request.get("tags") or {})
    if "shard" in tags:
        tags |= shard_tags(Shard.named(tags["shard"]))
    if request.get("partition"):
        tags[PARTITION_NAME_TAG] = request["partition"]
    if request.get("partition_range"):
        first, last = request["partition_range"]
        tags |= {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
    return tags


def _wait(instance: dg.DagsterInstance, wanted: str) -> dg.DagsterRun:
    """Wait until a request's run is over and is not done again, and return its last run."""
    failed_at: dict[str, float] = {}
    while True:
        (last,) = instance.get_runs(dg.RunsFilter(tags={REQUEST_TAG: wanted}), limit=1)
        if last.is_finished:
            since = failed_at.setdefault(last.run_id, time.monotonic())
            again = last.tags.get(WILL_RETRY_TAG)
            # whether it is done again is decided by the daemon, a moment after it failed
            undecided = again is None and instance.run_retries_enabled and time.monotonic() - since < UNDECIDED_S
            if not last.is_failure or not (undecided or again == "true"):
                return last
        time.sleep(LOOK_S)


def _answer(instance: dg.DagsterInstance, job: str, run: dg.DagsterRun) -> dict[str, Any]:
    success = run.status == dg.DagsterRunStatus.SUCCESS
    causes, days = ([], {}) if success else _causes(instance, run.run_id)
    unsaid = f"the run is {run.status.value}; its page in the UI says why"
    return {
        "job": job,
        "run_id": run.run_id,
        "success": success,
        "error": None if success else "\n".join(causes) or unsaid,
        "metadata": {FAILED_DAYS: days} if days else {},
    }


def _causes(instance: dg.DagsterInstance, run_id: str) -> tuple[list[str], dict[str, str]]:
    """Return why a run failed, a paragraph each, and the days that it names."""
    causes: list[str] = []
    days: dict[str, str] = {}
    failures = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    for entry in instance.all_logs(run_id, of_type=failures):
        event = entry.dagster_event
        if event is None:
            continue
        if not event.is_step_failure:
            causes += [event.message] if event.message and not causes else []
            continue
        told = event.step_failure_data.user_failure_data
        if told is not None:
            causes += [told.description] if told.description else []
            named = told.metadata.get(FAILED_DAYS)
            days |= dict(named.value) if named is not None and isinstance(named.value, dict) else {}
        elif event.step_failure_data.error is not None:
            error = event.step_failure_data.error
            causes.append(str((error.cause or error).message).strip())
    return causes, days


if __name__ == "__main__":
    sys.exit(main())
