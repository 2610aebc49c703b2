"""The real agent and the real service, each a process: one goes, one comes back, and history is what the machine was."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents_live.whole import COMMAND, PROJECT, Installation, installed
from tests.patience import until


@pytest.fixture
def site(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    before = os.umask(0o077)
    try:
        with installed(tmp_path, database_url) as made:
            yield made
    finally:
        os.umask(before)


def in_order(names: list[str]) -> bool:
    numbers = [int(name[1:]) for name in names]
    return numbers == sorted(numbers) and len(set(numbers)) == len(numbers)


def test_what_a_machine_was_while_the_service_was_away_is_in_its_history_once_and_in_order(site: Installation) -> None:
    with site.agent():
        until(lambda: site.latest() == "h0")
        site.end_service()
        for number in range(1, 6):
            site.rename(f"h{number}")
            until(lambda: site.spooled == number)  # noqa: B023 - asked within the loop
        site.serve()
        until(lambda: site.spooled == 0 and site.latest() == "h5")
        site.rename("h6")
        until(lambda: site.latest() == "h6")
    assert site.names() == [f"h{number}" for number in range(7)]
    (queued,) = site.rows("SELECT count(*) AS reports FROM agent.reports")
    assert queued["reports"] == 7, "raw of each waits for the ledger"
    spooled = site.rows(
        "SELECT (convert_from(payload, 'UTF8')::jsonb)->>'spooled' AS it FROM agent.reports ORDER BY id"
    )
    assert [row["it"] for row in spooled] == [None, "true", "true", "true", "true", "true", None]


def test_a_service_that_is_killed_again_and_again_gets_every_change_once(site: Installation) -> None:
    number = 0
    with site.agent():
        for _ in range(4):
            for _ in range(3):
                number += 1
                site.rename(f"h{number}")
                until(lambda: site.latest() == f"h{number}" or f"h{number}" in site.waiting_names())  # noqa: B023
            site.end_service(signal.SIGKILL)
            number += 1
            site.rename(f"h{number}")
            until(lambda: f"h{number}" in site.waiting_names())  # noqa: B023
            site.serve()
        until(lambda: site.spooled == 0 and site.latest() == f"h{number}")
    names = site.names()
    assert in_order(names), names
    assert set(names) >= {f"h{each}" for each in range(1, number + 1)}


def test_an_agent_that_is_killed_again_and_again_loses_nothing_that_it_kept(site: Installation) -> None:
    with site.agent():
        until(lambda: site.latest() == "h0")
    site.end_service()
    for number in range(1, 9):
        site.rename(f"h{number}")
        with site.agent() as process:
            until(lambda: f"h{number}" in site.waiting_names())  # noqa: B023
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert site.waiting_names() == [f"h{number}" for number in range(1, 9)]
    site.serve()
    for _ in range(3):  # killed while it sends, too
        with site.agent() as process:
            before = site.spooled
            until(lambda: site.spooled < before or site.spooled == 0)  # noqa: B023
            process.send_signal(signal.SIGKILL)
            process.wait()
    with site.agent():
        until(lambda: site.spooled == 0 and site.latest() == "h8")
    assert site.names() == [f"h{number}" for number in range(9)]


def test_a_revoked_agent_stops_and_goes_on_as_the_same_client_when_it_is_enrolled_again(site: Installation) -> None:
    with site.agent() as process:
        until(lambda: site.latest() == "h0")
        site.done("agents", "revoke", site.client_id)
        until(lambda: "Nothing is reported from now on" in site.log)
        site.rename("h1")
        assert process.poll() is None
        assert site.enroll() == site.client_id
        until(lambda: site.latest() == "h1")
    (count,) = site.rows("SELECT count(*) AS clients FROM agent.clients")
    assert count["clients"] == 1


def test_an_agent_changes_its_token_while_it_runs(site: Installation) -> None:
    with site.agent():
        until(lambda: site.latest() == "h0")
        site.done("agent", "renew")
        until(lambda: "enrolled anew" in site.log)
        site.rename("h1")
        until(lambda: site.latest() == "h1")
    (held,) = site.rows("SELECT count(*) AS tokens FROM agent.client_tokens")
    assert held["tokens"] == 2


def test_a_heartbeat_makes_a_machine_online_and_its_inventory_is_not_sent_again(site: Installation) -> None:
    with site.agent():
        until(lambda: site.rows("SELECT status FROM agent.clients WHERE status = 'online'"))
        until(lambda: site.latest() == "h0")
        until((site.home / "standing.json").exists)
    for _ in range(3):
        (before,) = site.rows("SELECT max(last_heartbeat) AS at FROM agent.presence")
        with site.agent():
            until(lambda: site.rows("SELECT max(last_heartbeat) AS at FROM agent.presence")[0]["at"] > before["at"])  # noqa: B023
    assert site.log.count("reported:") == 1
    assert site.names() == ["h0"]


def test_a_download_that_the_service_was_killed_in_is_gone_on_with(site: Installation) -> None:
    binary = site.folder / "binary"
    content = os.urandom(1 << 20) * 200
    binary.write_bytes(content)
    site.done("agents", "versions", "add", "9.0.0", "--binary", f"linux-amd64={binary}", "--latest")
    updates = site.home / "updates"
    process = subprocess.Popen(
        [*COMMAND, "agent", "update"], cwd=PROJECT, env=site.environment, stdout=subprocess.PIPE, text=True
    )
    until(lambda: any(path.stat().st_size for path in updates.glob("*.part")) if updates.exists() else False)
    site.end_service(signal.SIGKILL)
    site.serve()
    place = Path(process.communicate(timeout=240)[0].strip())
    assert process.returncode == 0
    with place.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == hashlib.sha256(content).hexdigest()
    until(lambda: site.rows("SELECT download_count FROM agent.agent_versions") == [{"download_count": 1}])


def test_a_binary_that_was_changed_on_the_services_disk_is_not_trusted(site: Installation) -> None:
    binary = site.folder / "binary"
    binary.write_bytes(os.urandom(1 << 20))
    site.done("agents", "versions", "add", "9.0.0", "--binary", f"linux-amd64={binary}", "--latest")
    (kept,) = (path for path in (site.folder / "home" / "agent-binaries").rglob("linux-amd64-*"))
    kept.chmod(0o600)
    with kept.open("r+b") as file:
        file.write(b"#!/bin/sh\n")
    done = site.call("agent", "update")
    assert done.returncode == 1
    assert "AGENT_BINARY_DAMAGED" in done.stderr
    assert list((site.home / "updates").iterdir()) == []


def test_two_agents_of_one_folder_are_one(site: Installation) -> None:
    with site.agent():
        until(lambda: site.latest() == "h0")
        second = site.call("agent", "run")
        assert second.returncode == 1
        assert "AGENT_BUSY" in second.stderr
