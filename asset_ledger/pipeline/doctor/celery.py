"""Where Celery workers do the runs: what Dagster's file says of them, and verdicts on broker and workers.

Nothing of Celery is imported here. `store.doctor` asks, `examine` brings both together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from asset_ledger.pipeline.doctor.dagsters_file import read, under, whole
from asset_ledger.pipeline.doctor.findings import Finding, listed, ok, problem, skipped, warning
from asset_ledger.store.doctor import Redis, Worker

LAUNCHER = "CeleryRunLauncher"
INSTALL = "pip install --require-hashes -r requirements-celery.lock"
START = (
    "start them: `asset-ledger dagster -- python deploy/celery/worker.py -n one -- -c 2`, or the service "
    "asset-ledger-worker@1; docs/workers.md has each step"
)
# what kombu does with a message that nobody acknowledged, and Dagster with a run, where the file does not say
_VISIBILITY_S, _START_S = 3600, 180


@dataclass(frozen=True, slots=True)
class Handing:
    """How runs are handed to workers, as Dagster's file says. Seconds and runs; None is no limit, or nothing said.

    `broker` and `backend` are URLs with their passwords: they are never printed.
    """

    broker: str = field(repr=False)
    backend: str | None = field(repr=False)
    visibility_s: int
    max_runtime_s: int | None
    start_s: int
    runs: int | None


def handing(file: Path | None, environ: Mapping[str, str]) -> Handing | Finding | None:
    """Read Dagster's file: how runs are handed to Celery, what is wrong with that, or None where Celery does none.

    `file` is None where nobody named one, and none was made yet.
    """
    if file is None:
        return None
    try:
        told = read(file)
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        return problem(
            "Dagster's file",
            f"{file} cannot be read: {type(error).__name__}",
            "deploy/dagster.yaml and deploy/celery/dagster.yaml are examples of it",
        )
    launcher = under(told, "run_launcher")
    if under(launcher, "class") != LAUNCHER:
        return None
    config = under(launcher, "config")
    urls: dict[str, str | None] = {}
    for name in ("broker", "backend"):
        said = under(config, name)
        variable = under(said, "env")
        urls[name] = (environ.get(variable) or None) if isinstance(variable, str) else said
        if variable and urls[name] is None:
            return problem(
                "Celery",
                f"{file} takes its {name} from {variable}, which is not set",
                f"set {variable} where everything is started, as docs/workers.md says",
            )
    if not isinstance(urls["broker"], str):
        return problem(
            "Celery",
            f"{file} names {LAUNCHER} and no broker, so runs are sent to amqp://guest@localhost",
            "write run_launcher as deploy/celery/dagster.yaml has it",
        )
    monitoring = under(told, "run_monitoring")
    return Handing(
        broker=urls["broker"],
        backend=urls["backend"],
        visibility_s=whole(config, "config_source", "broker_transport_options", "visibility_timeout") or _VISIBILITY_S,
        max_runtime_s=whole(monitoring, "max_runtime_seconds") or None,
        start_s=whole(monitoring, "start_timeout_seconds") or _START_S,
        runs=whole(told, "concurrency", "runs", "max_concurrent_runs"),
    )


def of_redis(check: str, found: Redis) -> Finding:
    """Judge a Redis that keeps the queue or the outcomes: it must answer, and keep what it was given."""
    if found.against is not None:
        return problem(
            check,
            f"{found.against}; no run reaches a worker",
            "see that the server runs and takes what ASSET_LEDGER_CELERY_BROKER and ASSET_LEDGER_CELERY_BACKEND say",
        )
    if found.policy is None:
        return ok(check, "answers, and does not let this user ask whether it drops keys")
    if found.policy == "noeviction":
        return ok(check, "answers, and drops nothing by itself")
    full = f"from {found.most_bytes / 2**20:.0f} MiB on" if found.most_bytes else "once it is given a maxmemory"
    return (problem if found.most_bytes else warning)(
        check,
        f"maxmemory-policy is {found.policy}: {full} it drops keys, and with them runs that wait for a worker",
        "`CONFIG SET maxmemory-policy noeviction`, and the same in redis.conf; a cache takes a Redis of its own",
    )


def of_workers(told: Handing, workers: Sequence[Worker]) -> Iterator[Finding]:
    """Judge the workers that answer: are there any, enough for what is handed out, and is a run given to one alone."""
    check = "Celery workers"
    if not workers:
        yield problem(
            check,
            f"none answers, so every run is given up after {told.start_s} s of waiting",
            f"{START}; if they run, they have another ASSET_LEDGER_CELERY_BROKER than this process",
        )
        return
    names = listed([each.name for each in workers])
    unknown = any(each.processes is None for each in workers)
    processes = sum(each.processes or 0 for each in workers)
    many = f"{len(workers)} answer{'s' if len(workers) == 1 else ''} ({names})"
    if told.runs is not None and not unknown and processes < told.runs:
        yield warning(
            check,
            f"{many} with {processes} processes, and up to {told.runs} runs are handed out at once: those that find "
            f"none are given up after {told.start_s} s",
            f"start more workers, or set max_concurrent_runs to {processes} in Dagster's file",
        )
    else:
        yield ok(check, f"{many}, {processes} processes" if not unknown else many)
    yield _delivery(told, workers)


def _delivery(told: Handing, workers: Sequence[Worker]) -> Finding:
    """Judge whether the broker takes a message for lost whose run is at work."""
    check = "Celery delivery"
    most = "no limit" if told.max_runtime_s is None else f"max_runtime_seconds {told.max_runtime_s}"
    said = f"visibility_timeout {told.visibility_s} s, {most}"
    late = [each.name for each in workers if each.late]
    if told.max_runtime_s is not None and told.visibility_s > told.max_runtime_s:
        return ok(check, said)
    if late:
        return problem(
            check,
            f"{said}, and {listed(late)} acknowledges a run when it is over (task_acks_late): a run that takes longer "
            "than visibility_timeout is handed out again while it is at work",
            "start the workers with deploy/celery/worker.yaml, or set visibility_timeout above max_runtime_seconds "
            "there and in Dagster's file",
        )
    if any(each.late is None for each in workers):
        return skipped(check, f"{said}; not every worker says when it acknowledges a run")
    return ok(check, f"{said}: it may be shorter, since a run is acknowledged when it begins")
