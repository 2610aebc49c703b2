"""The worker that units and containers start: it ends what it is at when told to stop, and leaves no password behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.patience import PATIENCE_S
from tests.sshd import free_port

WORKER = Path(__file__).parents[2] / "deploy" / "celery" / "worker.py"
PASSWORD = "canary-of-the-broker"
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


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a worker is started with: a Redis that wants a password, and a home of Dagster's."""
    port = free_port()
    (tmp_path / "slow.py").write_text(SLOW)
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return os.environ | {
        "DAGSTER_HOME": str(home),
        "ASSET_LEDGER_CELERY_BROKER": f"redis://:{PASSWORD}@127.0.0.1:{port}/0",
        "ASSET_LEDGER_CELERY_BACKEND": f"redis://:{PASSWORD}@127.0.0.1:{port}/1",
        "PYTHONPATH": str(tmp_path),
    }


@contextmanager
def at_work(
    tmp_path: Path, environment: dict[str, str], *arguments: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run Redis and a worker that takes messages; give the worker and its log."""
    log = tmp_path / "log"
    port = str(urlsplit(environment["ASSET_LEDGER_CELERY_BROKER"]).port)
    redis = subprocess.Popen(
        ["redis-server", "--port", port, "--save", "", "--dir", tmp_path, "--requirepass", PASSWORD],
        stdout=subprocess.DEVNULL,
    )
    try:
        with log.open("wb") as out:
            worker = subprocess.Popen(
                [sys.executable, WORKER, "-n", "one", *arguments, "--", "-c", "1", "-I", "slow"],
                env=environment,
                cwd=tmp_path,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            wait_for(lambda: "ready." in log.read_text(), log)
            yield worker, log
        finally:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
    finally:
        redis.terminate()
        redis.wait()


def send(environment: dict[str, str], folder: Path, queue: str = "dagster") -> None:
    from celery import Celery

    Celery(broker=environment["ASSET_LEDGER_CELERY_BROKER"]).send_task("slow", [str(folder)], queue=queue)


@pytest.mark.needs("redis-server")
def test_a_worker_that_is_told_to_stop_ends_what_it_is_at(tmp_path: Path, environment: dict[str, str]) -> None:
    with at_work(tmp_path, environment) as (worker, log):
        send(environment, tmp_path)
        wait_for((tmp_path / "begun").exists, log)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0, log.read_text()
        assert (tmp_path / "ended").exists(), log.read_text()


@pytest.mark.needs("redis-server")
def test_a_worker_leaves_the_brokers_password_in_no_file_and_in_no_argument(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    from celery import Celery

    with at_work(tmp_path, environment) as (worker, log):
        # what worker.yaml says is what it works with: the file was read, not passed over
        asked = (
            Celery(broker=environment["ASSET_LEDGER_CELERY_BROKER"]).control.inspect(timeout=PATIENCE_S, limit=1).conf()
        )
        (told,) = asked.values()
        assert told["worker_disable_prefetch"] is True
        assert told["broker_transport_options"]["visibility_timeout"] == 3600
        for path in (path for path in tmp_path.rglob("*") if path.is_file()):
            assert PASSWORD.encode() not in path.read_bytes(), path
        assert PASSWORD not in json.dumps(asked)
        assert PASSWORD.encode() not in Path(f"/proc/{worker.pid}/cmdline").read_bytes()
        assert PASSWORD not in log.read_text()


@pytest.mark.needs("redis-server")
def test_a_worker_takes_from_every_queue_that_it_is_given(tmp_path: Path, environment: dict[str, str]) -> None:
    with at_work(tmp_path, environment, "-q", "shanghai", "-q", "dagster") as (_, log):
        for queue in ("shanghai", "dagster"):
            (tmp_path / queue).mkdir()
            send(environment, tmp_path / queue, queue)
        for queue in ("shanghai", "dagster"):
            wait_for((tmp_path / queue / "begun").exists, log)


@pytest.mark.parametrize(
    ("text", "said", "next_step"),
    [
        (None, "a variable that", "set ASSET_LEDGER_CELERY_BROKER and ASSET_LEDGER_CELERY_BACKEND"),
        ("broker: redis://127.0.0.1/0\n", "names no broker", "a flat file is passed over"),
        ("execution: {config: {brokr: x}}\n", "brokr", "write it as deploy/celery/worker.yaml is written"),
        ("", "cannot be read: No such file", "name a worker.yaml with -y"),
    ],
    ids=["variables", "flat", "wrong", "missing"],
)
def test_a_worker_that_knows_no_broker_ends_at_once_and_says_what_to_do(
    tmp_path: Path, text: str | None, said: str, next_step: str
) -> None:
    own = tmp_path / "own.yaml"
    if text:
        own.write_text(text)
    done = subprocess.run(
        [sys.executable, WORKER, *(() if text is None else ("-y", str(own)))],
        env={name: value for name, value in os.environ.items() if not name.startswith("ASSET_LEDGER_CELERY")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    error, *_, step = done.stderr.splitlines()
    assert said in done.stderr
    assert error.startswith("error: ")
    assert step.startswith("next:  ")
    assert next_step in step
