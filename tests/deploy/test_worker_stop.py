"""The worker that units and containers start: SIGTERM to its process alone lets it end what it is at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sshd import free_port

WORKER = Path(__file__).parents[2] / "deploy" / "celery" / "worker.py"
SLOW = """
import time
from pathlib import Path
from dagster_celery.app import app

@app.task(name="slow")
def slow(folder):
    (Path(folder) / "begun").touch()
    time.sleep(3)
    (Path(folder) / "ended").touch()
"""


def wait_for(seen: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


@pytest.mark.needs("redis-server")
def test_a_worker_that_is_told_to_stop_ends_what_it_is_at(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environment = os.environ | {
        "DAGSTER_HOME": str(tmp_path),
        "ASSET_LEDGER_CELERY_BROKER": f"redis://127.0.0.1:{port}/0",
        "ASSET_LEDGER_CELERY_BACKEND": f"redis://127.0.0.1:{port}/1",
        "PYTHONPATH": str(tmp_path),
    }
    log = tmp_path / "log"
    redis = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", "", "--dir", tmp_path], stdout=subprocess.DEVNULL
    )
    try:
        with log.open("wb") as out:
            worker = subprocess.Popen(
                [sys.executable, WORKER, "-n", "one", "--", "-c", "1", "-I", "slow"],
                env=environment,
                cwd=tmp_path,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            wait_for(lambda: "ready." in log.read_text(), log)
            from celery import Celery

            sender = Celery(broker=environment["ASSET_LEDGER_CELERY_BROKER"])
            sender.send_task("slow", [str(tmp_path)], queue="dagster")
            wait_for((tmp_path / "begun").exists, log)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0, log.read_text()
            assert (tmp_path / "ended").exists(), log.read_text()
        finally:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
    finally:
        redis.terminate()
        redis.wait()
