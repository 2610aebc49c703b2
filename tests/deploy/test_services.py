"""The units' own commands, started as systemd would start them: an installation of services that the doctor finds in order."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from asset_ledger.store.database import connect
from tests.postgres import drop_database
from tests.sshd import free_port

PROJECT = Path(__file__).parents[2]


def commands(unit: str, ports: dict[str, int], after: str = "") -> list[list[str]]:
    """Return what a unit starts, with the project where it is and the ports of this test."""
    text = (PROJECT / "deploy" / "systemd" / f"asset-ledger-{unit}.service").read_text()
    text = text.replace("/opt/asset-ledger/.venv/bin", str(Path(sys.executable).parent)).replace(
        "/opt/asset-ledger", str(PROJECT)
    )
    for usual, port in ports.items():
        text = re.sub(rf"(-p|--port) {usual}\b", rf"\1 {port}", text)
    return [shlex.split(line) for line in re.findall(rf"^ExecStart{after}=(.*)$", text, re.MULTILINE)]


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment, cwd=log.parent, stdout=out, stderr=out, start_new_session=True
        )
        try:
            yield
            assert process.poll() is None, log.read_text()
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):  # as systemd does to the whole group
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_units_commands_make_an_installation_in_order(tmp_path: Path, database_url: str) -> None:
    ports = {usual: free_port() for usual in ("4000", "3000", "8300")}
    (tmp_path / "sources.yaml").write_text("sources: [{name: office, platform: import, inbox: inbox}]\n")
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text((PROJECT / "deploy" / "workspace.yaml").read_text().replace("4000", str(ports["4000"])))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASSET_LEDGER_", "DAGSTER_"))}
    environment = kept | {
        "ASSET_LEDGER_HOME": str(tmp_path / "home"),
        "ASSET_LEDGER_SOURCES": str(tmp_path / "sources.yaml"),
        "ASSET_LEDGER_DATABASE_URL": database_url,
        "ASSET_LEDGER_CODE_HOST": "127.0.0.1",
        "PATH": "/usr/bin:/bin",  # as systemd gives it: nothing of the project's is on it
        "PYTHONPATH": str(PROJECT),
    }
    doctor = [str(Path(sys.executable).parent / "asset-ledger"), "doctor", "--json"]
    try:
        for command in commands("migrate", ports):
            done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        before = json.loads(subprocess.run(doctor, env=environment, capture_output=True, check=False).stdout)
        found = {each["check"]: each["status"] for each in before["findings"]}
        assert (found["daemon"], found["pools"], found["schema"]) == ("problem", "ok", "ok")
        with ExitStack() as stack:
            for unit in ("code", "api", "webserver", "daemon"):
                (command,) = commands(unit, ports)
                command = [word.replace(str(PROJECT / "deploy" / "workspace.yaml"), str(workspace)) for word in command]
                stack.enter_context(running(command, environment, tmp_path / f"{unit}.log"))
                for waits in commands(unit, ports, "Post"):
                    subprocess.run(waits, env=environment, cwd=tmp_path, capture_output=True, timeout=180, check=True)
            logs = lambda: "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in tmp_path.glob("*.log"))  # noqa: E731
            end = time.monotonic() + 120
            while True:
                said = json.loads(subprocess.run(doctor, env=environment, capture_output=True, check=False).stdout)
                served = [
                    answers(f"http://127.0.0.1:{ports['8300']}/readyz"),
                    answers(f"http://127.0.0.1:{ports['3000']}/server_info"),
                ]
                if all(served) and said["problems"] == 0:
                    break
                assert time.monotonic() < end, f"{said}\n{logs()}"
                time.sleep(0.5)
            query = "{workspaceOrError{...on Workspace{locationEntries{name locationOrLoadError{__typename ...on PythonError{message}}}}}}"
            asked = urllib.request.Request(
                f"http://127.0.0.1:{ports['3000']}/graphql",
                json.dumps({"query": query}).encode(),
                {"Content-Type": "application/json"},
            )
            entry: dict[str, Any] = {}
            while (entry.get("locationOrLoadError") or {}).get("__typename") != "RepositoryLocation":
                assert time.monotonic() < end, f"{entry}\n{logs()}"
                with urllib.request.urlopen(asked, timeout=60) as answer:
                    (entry,) = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
                time.sleep(0.5)
            assert entry["name"] == "asset_ledger"
        with connect(database_url + "_dagster") as db:
            assert db.execute("SHOW timezone").fetchone() == ("UTC",)
    finally:
        drop_database(database_url + "_dagster")
