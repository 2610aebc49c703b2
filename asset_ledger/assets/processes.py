"""Which process works on a run, and ending the runs whose process is gone.

A killed process tells nobody: its run would stay "started", and its pool slot taken, until `max_runtime_seconds`.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import dagster as dg

from asset_ledger.assets.policies import UNFINISHED

PROCESS_TAG = "asset_ledger/process"
_WAITING = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING)


def this_process(run_id: str | None = None) -> dict[str, str]:
    """Return the tag that names the process a run is worked on by, with the run where it has its id already."""
    value = f"{socket.gethostname()} {os.getpid()} {_started(os.getpid())}"
    return {PROCESS_TAG: value if run_id is None else f"{value} {run_id}"}


def end_the_dead(instance: dg.DagsterInstance) -> list[str]:
    """Mark the unfinished runs of this machine whose process is gone as failed; return their ids.

    Their pool slots are given back at once. Runs of other machines are left to Dagster's own monitoring.
    """
    ended: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[one for one in UNFINISHED if one not in _WAITING])):
        if _is_dead(run):
            instance.report_run_failed(run, "its process ended without a word: killed, or the machine went down")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            ended.append(run.run_id)
    return ended


def _is_dead(run: dg.DagsterRun) -> bool:
    """Say whether the process that worked on a run is gone. Of other machines' runs nothing is known."""
    host, pid, started, of = [*run.tags.get(PROCESS_TAG, "").split(" "), "", "", ""][:4]
    # a retry has the tags of the run before it until its own first step, which may wait for a pool after its start
    theirs = of != run.run_id if of else run.parent_run_id is not None
    return not theirs and host == socket.gethostname() and pid.isdigit() and _started(int(pid)) != started


def _started(pid: int) -> str:
    """Return what tells this process from a later one of the same id: its start in clock ticks, where Linux says so."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _alive(pid)
    return "gone" if fields[0] in "ZX" else fields[19]


def _alive(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass
    return "alive"
