"""Runs jobs of this project in this process and says how they went: `python -m asset_ledger.launch < requests.json`.

The command line starts it, so that it need not import Dagster itself. A run started here is a run like any other:
it is in the Dagster UI, with its tags. Answers are JSON lines on standard output; logs go to standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from asset_ledger.assets.failed_days import FAILED_DAYS
from asset_ledger.assets.policies import pool_limits
from asset_ledger.assets.processes import end_the_dead, this_process
from asset_ledger.definitions import load
from asset_ledger.pipeline.marts import JOB as MARTS_JOB


def main(*, debug: bool = False) -> int:
    """Run the requests on standard input one after the other; return 0 if all succeeded.

    Why one failed is in its answer. Its play-by-play is in the UI; with `debug` its tracebacks are on standard
    error too.
    """
    requests = json.load(sys.stdin)
    definitions = load(marts=any(request["job"] == MARTS_JOB for request in requests))
    ok = True
    with dg.DagsterInstance.get() as instance:
        set_pool_limits(instance)
        end_the_dead(instance)
        for request in requests:
            answer = _run(definitions, instance, request, debug=debug)
            ok = ok and answer["success"]
            print(json.dumps(answer, ensure_ascii=False, default=str), flush=True)  # noqa: T201
    return 0 if ok else 1


def set_pool_limits(instance: dg.DagsterInstance) -> None:
    """Set how many steps of a platform may run at a time, where that is not set yet."""
    storage = instance.event_log_storage
    there = {pool.name for pool in storage.get_pool_limits()}
    for pool, limit in pool_limits().items():
        if pool not in there:
            storage.set_concurrency_slots(pool, limit)


def _run(
    definitions: dg.Definitions, instance: dg.DagsterInstance, request: dict[str, Any], *, debug: bool
) -> dict[str, Any]:
    tags = dict(request.get("tags") or {})
    if request.get("partition_range"):
        first, last = request["partition_range"]
        tags |= {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
    job = definitions.resolve_job_def(request["job"])
    result = job.execute_in_process(
        instance=instance,
        partition_key=request.get("partition"),
        run_config={**(request.get("config") or {}), **_console("ERROR" if debug else "CRITICAL")},
        tags={**job.tags, **tags, **this_process()},
        raise_on_error=False,
    )
    return {
        "job": request["job"],
        "run_id": result.run_id,
        "success": result.success,
        "error": None if result.success else _error(result),
        "metadata": _metadata(result),
    }


def _console(level: str) -> dict[str, Any]:
    """Return the run configuration under which Dagster writes what is at least of a level to standard error."""
    return {"loggers": {"console": {"config": {"log_level": level}}}}


def _error(result: dg.ExecuteInProcessResult) -> str:
    """Return why each step that failed did, a paragraph each."""
    causes = []
    for event in result.all_events:
        if event.is_step_failure:
            failed = event.step_failure_data
            if failed.user_failure_data and failed.user_failure_data.description:
                causes.append(str(failed.user_failure_data.description))
            elif failed.error:
                cause = failed.error.cause or failed.error
                causes.append(str(cause.message).strip())
    return "\n".join(causes) or "the run failed before its first step; its page in the UI says why"


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Return what the steps say of their outputs, or of how they failed. Days that several failed have every cause."""
    found: dict[str, Any] = {}
    failed_days: dict[str, str] = {}
    for event in result.all_events:
        told: dict[str, Any] = {}
        if event.is_successful_output:
            told = dict(event.step_output_data.metadata)
        elif event.is_step_failure and event.step_failure_data.user_failure_data:
            told = dict(event.step_failure_data.user_failure_data.metadata)
        for name, value in told.items():
            if name == FAILED_DAYS:
                for day, cause in value.value.items():
                    failed_days[day] = "; ".join(filter(None, (failed_days.get(day), cause)))
            elif isinstance(value.value, (str, int, float, bool, dict)):
                found[name] = value.value
    return {**found, **({FAILED_DAYS: failed_days} if failed_days else {})}


def launch() -> int:
    """Do `main` as a process of its own; a command that has gone, or asks to stop, ends it without a traceback."""
    # the system sends SIGTERM when the command is killed: the run is to be rolled back and marked as on Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return main(debug="--debug" in sys.argv[1:])
    except (KeyboardInterrupt, DagsterExecutionInterruptedError):
        return 130
    except BrokenPipeError:
        # Python's last flush would complain once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(launch())
