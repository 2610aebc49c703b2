"""`asset-ledger up` on a machine of one's own: first start, second start, serving, and every way of being killed.

One installation for the whole file, in the order of its life: a start of Dagster costs seconds.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from asset_ledger.cli.serving import RUNS_NICENESS
from tests.up.running import Place, place, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")

HOST = "mgmt_ip,hostname,asset_type,cpu_cores\n192.0.2.200,dropped-01,vm,2\n"


def niceness(home: Place, said: str) -> set[int]:
    return {os.getpriority(os.PRIO_PROCESS, pid) for pid, command in home.processes().items() if said in command}


@pytest.fixture(scope="module")
def home() -> Iterator[Place]:
    with place() as made:
        yield made


def archived(home: Place) -> list[str]:
    return sorted(str(path.relative_to(home.inbox)) for path in (home.inbox / "archive").rglob("*.*"))


def test_a_first_start_fills_the_ledger_and_a_second_takes_nothing_twice(home: Place) -> None:
    first = home.once()
    assert first.returncode == 0, first.stdout
    for said in ("made sources.yaml", "example files into inbox/", "3 of 3 runs succeeded", "db-sh-01", "Next:"):
        assert said in first.stdout
    assert home.processes() == {}
    assert home.server.pid() is None
    taken = archived(home)
    assert any(name.endswith("hosts_2026-11-02.xlsx") for name in taken)

    second = home.once()
    assert second.returncode == 0, second.stdout
    assert "office_import" not in second.stdout.split("running the main job:")[1].splitlines()[0]
    assert archived(home) == taken
    assert home.processes() == {}
    assert home.server.pid() is None


def test_a_killed_up_takes_its_servers_along_and_leaves_its_database_to_the_next(home: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = home.start("--port", str(port))
        url = running.url()
    assert f"port {port} is taken" in running.said
    assert url != f"http://127.0.0.1:{port}"
    inventories = home.rows("SELECT collected_date, count(*) FROM ledger.inventories GROUP BY 1 ORDER BY 1")
    assert [found["count"] for found in inventories] == [1, 1, 2, 3], "two starts before, and this one, read today"

    another = home.once()
    assert another.returncode == 1
    assert f"is running on it already, as process {running.process.pid}" in another.stdout
    assert "Traceback" not in another.stdout

    postmaster = home.server.pid()
    assert postmaster is not None
    os.kill(postmaster, signal.SIGKILL)
    running.wait_for(lambda: "the database had ended; starting it again" in running.said, 30)
    running.wait_for(home.server.running, 30)
    note = home.home / "up.postgres"
    running.wait_for(lambda: note.read_text().strip() == str(home.server.pid()), 60)
    assert home.rows("SELECT collected_date, count(*) FROM ledger.inventories GROUP BY 1 ORDER BY 1") == inventories
    running.wait_for(lambda: urllib.request.urlopen(f"{url}/server_info", timeout=5).status == 200, 60)

    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()
    wait_for(lambda: not home.processes(), 60, lambda: str(home.processes()))
    assert home.server.running()


def test_ctrl_c_stops_all_that_was_started_or_taken_over(home: Place) -> None:
    running = home.start("--port", "3050")
    running.url()
    assert "Ctrl-C stops everything." in running.said
    assert "took over the embedded PostgreSQL of an `up` that was killed" in running.said
    assert "asset-ledger tenants add NAME" in running.said
    served = re.search(r"the HTTP service is at (http://\S+);", running.said)
    assert served, running.said
    assert served.end() < running.said.index("running the main job"), "nobody waits for sources that may be away"
    running.wait_for(lambda: urllib.request.urlopen(f"{served[1]}/readyz", timeout=5).status == 200, 30)
    (home.inbox / "dropped_2026-11-04.csv").write_text(HOST)
    found = "SELECT 1 FROM ledger.assets WHERE hostname = 'dropped-01'"
    running.wait_for(lambda: home.rows(found), 90)
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    # runs give way to who asks the service
    assert niceness(home, " serve ") == {ours}
    assert niceness(home, "dagster-daemon") == {ours + RUNS_NICENESS}
    wait_for((home.inbox / "archive" / "2026-11-04" / "dropped_2026-11-04.csv").exists, 60)
    assert running.stop() == 0, running.said
    assert home.processes() == {}
    assert home.server.pid() is None


def test_where_the_http_service_cannot_serve_everything_else_does(home: Place) -> None:
    (home.home / "state_keys").write_text("no key")
    running = home.start("--port", "3050")
    running.wait_for(lambda: "everything else goes on without it" in running.said, 60)
    assert "STATE_KEY_UNREADABLE" in running.said
    running.url()
    assert running.stop() == 0, running.said
    (home.home / "state_keys").unlink()
    assert home.processes() == {}


def test_a_database_that_ran_before_is_left_running_and_ctrl_c_is_said_to_leave_it(home: Place) -> None:
    home.server.start()
    running = home.start("--port", "3050")
    running.url()
    assert "Ctrl-C stops it; the embedded PostgreSQL goes on running." in running.said
    assert running.stop() == 0, running.said
    assert home.processes() == {}
    assert home.server.running()
