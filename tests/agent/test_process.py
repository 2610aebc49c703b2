"""The agent as a process: light, alone in its folder, ended at once, and a unit that systemd takes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asset_ledger.agent.unit import PROGRAM, unit
from tests.agent.server import TOKEN, USER_TOKEN, Reported
from tests.patience import soon, until

PROJECT = Path(__file__).parents[2]
AGENT = (sys.executable, "-m", "asset_ledger.cli.main", "agent")
NEVER_HERE = (
    "dagster",
    "psycopg",
    "psycopg_pool",
    "sqlalchemy",
    "alembic",
    "fastapi",
    "starlette",
    "uvicorn",
    "pydantic",
    "pandas",
    "paramiko",
    "pydantic",
    "requests",
    "typer",
    "cryptography",
    "redis",
    "rich",
    "yaml",
)


def called(*arguments: str, **said: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AGENT, *arguments],
        cwd=PROJECT,
        env={**os.environ, **said},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@contextmanager
def running(home: Path, **said: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*AGENT, "run", "--home", str(home), "--interval", "0.2"],
        cwd=PROJECT,
        env={**os.environ, **said},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ended(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> str:
    process.send_signal(number)
    with soon():
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_reports_and_ends_at_once_when_it_is_told_to(home: Path, server: Reported, number: int) -> None:
    with running(home) as process:
        until(lambda: len(server.beats) >= 3)
        said = ended(process, number)
    assert len(server.reports) == 1
    assert "told to end" in said
    assert "Traceback" not in said
    assert TOKEN not in said


def test_an_agent_ends_at_once_although_its_server_says_nothing(home: Path, server: Reported) -> None:
    server.faults.add("*heartbeat", "stall_before", seconds=600)
    with running(home) as process:
        until(lambda: server.requests.count("*heartbeat"))
        ended(process)


def test_two_agents_do_not_share_a_folder(home: Path, server: Reported) -> None:
    with running(home) as process:
        until(lambda: server.beats)
        second = called("run", "--home", str(home))
        assert second.returncode == 1
        assert second.stderr.startswith(f"AGENT_BUSY: {home}")
        ended(process)
    with running(home) as process:
        before = len(server.beats)
        until(lambda: len(server.beats) > before)


def test_an_agent_that_is_killed_leaves_a_folder_that_the_next_one_takes(home: Path, server: Reported) -> None:
    with running(home) as process:
        until(lambda: server.reports)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running(home) as process:
        before = len(server.beats)
        until(lambda: len(server.beats) > before)
        ended(process)
    assert len(server.reports) <= 2, "one that was not noted before the end may come again"


def test_an_agent_that_is_not_enrolled_says_how(tmp_path: Path) -> None:
    done = called("run", "--home", str(tmp_path))
    assert done.returncode == 1
    assert "AGENT_NOT_ENROLLED" in done.stderr
    assert "asset-ledger agent enroll --server URL" in done.stderr


def test_enrolling_takes_a_users_token_from_a_private_file_or_a_variable(tmp_path: Path, server: Reported) -> None:
    token = tmp_path / "token"
    token.write_text(f"{USER_TOKEN}\n")
    token.chmod(0o600)
    common = ("enroll", "--server", server.endpoint, "--ca-file", str(server.ca_file), "--home", str(tmp_path / "a"))
    done = called(*common, "--token-file", str(token))
    assert (done.returncode, done.stdout) == (0, "c-1\n"), done.stderr
    assert called(*common, "--token-env", "MINE", MINE=USER_TOKEN).returncode == 0
    assert USER_TOKEN not in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    token.chmod(0o644)
    refused = called(*common, "--token-file", str(token))
    assert refused.returncode == 1
    assert "AGENT_IDENTITY_UNSAFE" in refused.stderr
    for wrong in ((), ("--token-env", "NONE"), ("--token-file", str(token), "--token-env", "MINE")):
        assert called(*common, *wrong).returncode == 1
    assert len(server.enrolled) == 2


def test_an_update_is_fetched_and_put_by_hand(home: Path, server: Reported, tmp_path: Path) -> None:
    server.publish("9.0.0", b"x" * 100_000)
    server.faults.add("*binaries*", "cut")
    done = called("update", "--home", str(home))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == b"x" * 100_000
    assert called("update", "--home", str(home), "--to", str(tmp_path / "program")).returncode == 0
    assert (tmp_path / "program").read_bytes() == b"x" * 100_000


# what Python runs before anything else of a process that finds it
LOADED = """
import atexit, os, sys
from pathlib import Path
place = Path(os.environ["TOLD"])
atexit.register(lambda: place.write_text("\\n".join(sys.modules) + "\\n" + Path("/proc/self/status").read_text()))
"""


def test_an_agents_process_loads_nothing_heavy(home: Path, server: Reported, tmp_path: Path) -> None:
    told = tmp_path / "told"
    (tmp_path / "sitecustomize.py").write_text(LOADED)
    with running(home, PYTHONPATH=str(tmp_path), TOLD=str(told)) as process:
        until(lambda: len(server.beats) >= 2 and server.reports)
        ended(process)
    loaded = {line.partition(".")[0] for line in told.read_text().splitlines()}
    assert {"psutil", "urllib3"} <= loaded
    assert sorted(loaded & set(NEVER_HERE)) == []
    peak = re.search(r"VmHWM:\s+(\d+) kB", told.read_text())
    assert peak is not None
    print(f"resident at its highest: {int(peak[1]) / 1024:.1f} MiB")


def test_the_unit_that_is_kept_is_the_one_that_is_printed() -> None:
    assert (PROJECT / "deploy" / "asset-ledger-agent.service").read_text() == unit(PROGRAM)
    done = called("install-unit")
    assert done.returncode == 0
    assert done.stdout.startswith(unit("X").partition("ExecStart")[0])


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "asset-ledger-agent.service"
    path.write_text(unit(sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
