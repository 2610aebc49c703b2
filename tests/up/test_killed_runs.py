"""A run that is killed in the middle of an import: all that was committed is there, nothing is half done.

Also `up` on a database server of one's own (ASSET_LEDGER_DATABASE_URL): the runs below use one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import psycopg
import pytest

from asset_ledger.store.database import connect, public
from tests.postgres import create_database, drop_database, shared_server
from tests.up.running import Place, Running, place

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")

ROWS = 20_000
SOURCES = "sources:\n  - {name: office, platform: import, inbox: inbox}\n"
FILE = "hosts_2026-11-01.csv"
DERIVED = """
    SELECT (SELECT count(*) FROM ledger.asset_daily_specs) AS specs, (SELECT count(*) FROM ledger.assets) AS assets,
           (SELECT count(*) FROM ledger.asset_daily_ips) AS ips
"""
NOTHING = [{"specs": 0, "assets": 0, "ips": 0}]
DERIVING = """
    SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND starts_with(application_name, 'asset_ledger')
    AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '0.3 s'
"""


def hosts() -> str:
    lines = ("mgmt_ip,hostname,asset_type,cpu_cores,memory_gb",)
    made = (f"10.{n // 65536}.{n // 256 % 256}.{n % 256},host-{n:05},vm,4,16" for n in range(1, ROWS + 1))
    return "\n".join((*lines, *made, ""))


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Place]:
    url = create_database(shared_server().url("postgres"))
    try:
        with place(url, {"sources.yaml": SOURCES, f"inbox/{FILE}": hosts()}) as made:
            os.utime(made.inbox / FILE, (1, 1))
            yield made
    finally:
        drop_database(url)
        drop_database(f"{url}_dagster")


def kill_the_run(home: Place, running: Running) -> None:
    """Kill the process that the run is in, and see `up` report it and end."""
    (pid,) = (pid for pid, command in home.processes().items() if "asset_ledger.launch" in command)
    os.kill(pid, signal.SIGKILL)
    assert running.process.wait(60) == 1, running.said
    assert "its process ended with exit code -9" in running.said


def readings(home: Place) -> list[dict[str, object]]:
    try:
        return home.rows("SELECT status FROM ledger.inventories ORDER BY id")
    except psycopg.errors.UndefinedTable:
        return []


def test_a_run_killed_again_and_again_loses_nothing_and_leaves_nothing_half_done(elsewhere: Place) -> None:
    home = elsewhere
    waiting, kept = home.inbox / FILE, home.inbox / "archive" / "2026-11-01" / FILE

    running = home.start("--once")
    running.wait_for(lambda: readings(home), 90)
    kill_the_run(home, running)
    assert home.rows(DERIVED) == NOTHING
    assert waiting.exists() != kept.exists(), "the file is in one place, not in two and not in none"

    running = home.start("--once")
    running.wait_for(lambda: kept.exists() and {"status": "raw"} in readings(home) and home.rows(DERIVING), 90)
    kill_the_run(home, running)
    assert home.rows(DERIVED) == NOTHING
    assert not waiting.exists()
    assert kept.read_text() == hosts()

    done = home.once()
    assert done.returncode == 0, done.stdout
    assert f"using the database {public(home.url)}" in done.stdout
    assert home.rows(DERIVED) == [{"specs": ROWS, "assets": ROWS, "ips": ROWS}]
    statuses = [reading["status"] for reading in readings(home)]
    assert statuses.count("derived") == 1
    assert set(statuses) <= {"derived", "interrupted"}
    assert [path for path in home.inbox.rglob("*") if path.is_file()] == [kept]
    with connect(f"{home.url}_dagster") as connection:
        runs = connection.execute(
            "SELECT status, count(*) FROM runs WHERE pipeline_name = 'office_collect' GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert runs == [("FAILURE", 2), ("SUCCESS", 1)], "no run is shown as still going on"
    assert home.server.pid() is None, "no server of one's own beside the one that was named"
