"""Commands that start a real Dagster run: probe, collect, replay, check. One process each, so few tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from asset_ledger.cli.dagster_run import PROJECT, prepare
from asset_ledger.pipeline.ledger import Ledger
from tests.cli.conftest import HEADER, Cli


def test_a_probe_that_fails_names_target_code_and_advice_and_leaves_a_null_day(
    cli: Cli, fill: Callable[[str, str, str], str], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBE_USERNAME", "audit")
    monkeypatch.setenv("PROBE_PASSWORD", "hunter2")
    fill(
        "hosts.csv",
        "2026-01-10",
        HEADER.replace("备注", "port")
        + "192.0.2.1,here,vm,ssh,4,8,debian,12,,,9\n"
        + "192.0.2.2,win,vm,winrm,4,8,windows,12,,,\n",
    )
    with ledger.connect() as connection:  # no file may name a loopback address, and no test dials another
        connection.execute("UPDATE ledger.assets SET mgmt_ip = '127.0.1.9' WHERE hostname = 'here'")
    done = cli("probe")
    assert done.code == 0, done.err
    assert "failed" in done.out
    assert "SSH_" in done.out
    assert "1 failed" in done.out
    assert "1 ledger asset has protocol winrm in zone default, where no source reads it" in done.out + done.err
    assert "hunter2" not in done.out + done.err
    page = json.loads(cli("assets", "show", "here", "--json").out)
    day, imported = page["history"]
    assert imported["cpu_cores"] == 4
    assert day["cpu_cores"] is None
    assert day["unknown"]["*"].startswith("SSH_")
    assert page["cpu_cores"] == 4
    assert f"not read: {day['unknown']['*']}" in cli("assets", "show", "here").out


@pytest.mark.parametrize(
    "command",
    [("sources", "collect", "office"), ("probe",), ("replay", "office", "--from", "2026-01-10"), ("marts", "build")],
)
def test_what_is_wrong_in_iac_yaml_is_said_before_anything_runs(
    cli: Cli, project: Path, fill: Callable[[str, str, str], str], command: tuple[str, ...]
) -> None:
    fill("hosts.csv", "2026-01-10", HEADER + "10.0.0.1,web,vm,,4,8,debian,12,,,\n")
    (project / "iac.yaml").write_text("mappings: [{source: nobody}]")
    done = cli(*command)
    assert done.code == 1
    assert "CONFIG_INVALID" in done.err
    assert "iac.yaml" in done.err
    assert "Traceback" not in done.out + done.err


def test_days_are_replayed_and_those_without_raw_are_passed_over(
    cli: Cli, fill: Callable[[str, str, str], str]
) -> None:
    fill("hosts.csv", "2026-01-10", HEADER + "10.0.0.1,web,vm,,4,8,debian,12,,,\n")
    done = cli("sources", "collect", "office", "--from", "2026-01-09", "--to", "2026-01-10", "--replay")
    assert done.code == 0, done.err
    assert done.out.startswith("office, 2026-01-09 to 2026-01-10, run ")
    assert "hosts.csv" in done.out
    assert done.out.splitlines()[-1] == "  1 ok"


def test_debug_is_handed_on_to_the_process_of_a_run(project: Path) -> None:
    def collect(*options: str) -> str:
        command = [sys.executable, "-m", "asset_ledger.cli.main", *options, "sources", "collect", "office"]
        done = subprocess.run(
            [*command, "--date", "2026-01-15"], cwd=PROJECT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "RAW_MISSING" in done.stdout + done.stderr
        return done.stderr

    assert "pipeline/days.py" not in collect()
    assert "pipeline/days.py" in collect("--debug")


def test_detect_says_what_is_there_and_a_push_source_has_nothing_to_ask(cli: Cli, project: Path) -> None:
    sources = project / "sources.yaml"
    sources.write_text(sources.read_text().replace("platform: ssh,", "platform: ssh, this_machine: true,"))
    done = cli("sources", "detect", "probe")
    assert done.out.splitlines()[0] == "probe: OK", done.err
    assert any(line.split() == ["capabilities.local_targets", "1"] for line in done.out.splitlines())
    refused = cli("sources", "check", "office")
    assert refused.code == 1
    assert "CONFIG_INVALID: office" in refused.err
    assert cli("sources", "detect", "nosuch").code == 1


def test_the_targets_of_a_run_are_chosen_and_paged_with_their_total(cli: Cli, filled: str) -> None:
    every = json.loads(cli("runs", "show", filled, "--json").out)
    assert (every["total"], len(every["targets"])) == (3, 3)
    assert [each["status"] for each in every["targets"]] == ["failed", "failed", "partial"]
    conflict = cli("runs", "show", filled, "--code", "identity_conflict")
    assert "10.9.9.9" in conflict.out
    assert "row 6" not in conflict.out
    assert "like that: 1 of the run's targets; in all 2 failed, 1 partial" in conflict.out
    assert json.loads(cli("runs", "show", filled, "--status", "ok", "--json").out)["total"] == 0
    assert json.loads(cli("runs", "show", filled, "--search", "ROW 6", "--json").out)["total"] == 1
    first = cli("runs", "show", filled, "--limit", "2")
    assert "1 to 2 of 3; --offset 2 goes on" in first.err
    rest = cli("runs", "show", filled, "--limit", "2", "--offset", "2")
    assert "3 to 3 of 3" in rest.err
    assert "--offset 9 is behind the last of 3" in cli("runs", "show", filled, "--offset", "9").err


def launches(home: Path) -> list[int]:
    """Return the processes that run jobs for the installation of a home."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            ours = f"ASSET_LEDGER_HOME={home}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if ours and b"asset_ledger.launch" in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def collect(source: str) -> subprocess.Popen[str]:
    """Start `sources collect` as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "asset_ledger.cli.main", "sources", "collect", source],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_command_that_is_told_to_end_leaves_no_process_behind(project: Path, number: signal.Signals) -> None:
    command = collect("office")
    until(lambda: launches(project / "home"))
    command.send_signal(number)
    told, _ = command.communicate(timeout=30)
    assert command.returncode != 0
    assert "Traceback" not in told or number == signal.SIGKILL, told
    until(lambda: not launches(project / "home"))


def test_a_run_whose_command_has_gone_ends_without_a_traceback(ledger: Ledger) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "asset_ledger.launch"],
        env=prepare(ledger),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    process.stdin.write('[{"job": "ledger_links"}]')
    process.stdin.close()
    told = process.stderr.read()
    assert process.wait(60) == 1
    assert "Traceback" not in told
    assert "BrokenPipe" not in told
