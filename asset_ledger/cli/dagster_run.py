"""Dagster as seen from the command line: its home, its environment, and runs in a process of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from asset_ledger.cli.debugging import debugging
from asset_ledger.cli.stopping import end_with_parent, interruptible
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.store.database import ensure_database

STOP_S = 10.0
PROJECT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A job to run: for one day, for a range of days, or for none."""

    job: str
    partition: str | None = None
    partition_range: tuple[str, str] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run went. `error` is the failure's own text; `metadata` is what its steps said of outputs or failure."""

    job: str
    run_id: str
    success: bool
    error: str | None
    metadata: Mapping[str, Any]


def prepare(ledger: Ledger) -> dict[str, str]:
    """Make Dagster's home and database if they are not there, and return the environment of its processes."""
    ensure_database(ledger.dagster_url)
    home = ledger.settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    wanted = ledger.settings.named_dagster_config or PROJECT / "deploy" / "dagster.yaml"
    config = home / "dagster.yaml"
    if not config.exists() or config.read_bytes() != wanted.read_bytes():
        _put(wanted, config)
    environment = dict(os.environ)
    # compiling 2,000 modules anew at every start costs more than running them
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment |= {
        "DAGSTER_HOME": str(home),
        "DAGSTER_PG_URL": _for_dagster(ledger.dagster_url),
        "DAGSTER_LOG_DIR": str(home / "logs"),
        "DAGSTER_ARTIFACT_DIR": str(home / "artifacts"),
        # a range of days records each of them: by the thousand in one statement, not in one each
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
        "ASSET_LEDGER_HOME": str(ledger.settings.home),
        "ASSET_LEDGER_SOURCES": str(ledger.settings.sources_file),
        "ASSET_LEDGER_DATABASE_URL": ledger.url,
        "ASSET_LEDGER_DAGSTER_DATABASE_URL": ledger.dagster_url,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH")))),
    }
    return environment


def run(ledger: Ledger, requests: Sequence[RunRequest], *, queued: bool = False) -> list[RunResult]:
    """Run jobs one after the other in one process and return how each went.

    With `queued` they are put into Dagster's queue instead, where workers share them, and waited for.
    A process that dies leaves the last result out and puts its own end in its place. Raises
    PermanentError(CONFIG_INVALID), before anything runs, where sources.yaml or iac.yaml is wrong.
    """
    if not requests:
        return []
    # the process reads them too, and could say what is wrong with them in a traceback alone
    _ = ledger.sources, ledger.iac_rules
    environment = prepare(ledger)
    command = [sys.executable, "-m", "asset_ledger.submit" if queued else "asset_ledger.launch"]
    if debugging() and not queued:
        command.append("--debug")
    with (
        interruptible(),
        subprocess.Popen(  # noqa: S603 - this very interpreter
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            # a group of its own: Ctrl-C is ours to hand on
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509
        ) as process,
    ):
        try:
            answers, _ = process.communicate(json.dumps([asdict(request) for request in requests]))
        except KeyboardInterrupt:
            # Dagster rolls back and marks the run as ended, if it is given the time; one that is still
            # being imported ends at once
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
            raise
    results = [RunResult(**json.loads(line)) for line in answers.splitlines() if line.startswith("{")]
    for request in requests[len(results) :]:
        results.append(RunResult(request.job, "", False, f"its process ended with exit code {process.returncode}", {}))
    return results


def _put(file: Path, place: Path) -> None:
    """Copy a file to its place, where whoever shares the home reads the old one or the new one, each of them whole."""
    # no process id: containers that share the home have the same ones
    part = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
    try:
        shutil.copyfile(file, part)
        if place.exists():
            shutil.copymode(place, part)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


def _for_dagster(url: str) -> str:
    # a bare postgresql:// would choose psycopg 3, whose NOTIFY with parameters fails in dagster-postgres
    parts = urlsplit(url)
    return urlunsplit(parts._replace(scheme="postgresql+psycopg2"))
