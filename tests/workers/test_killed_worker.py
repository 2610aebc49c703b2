"""Two Celery workers share a day's probes; one is killed in the middle, and nobody has to do anything about it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_ledger.store.database import connect
from asset_ledger.store.sessions import living
from tests.postgres import create_database, database_name, drop_database
from tests.redis_server import RedisServer
from tests.workers.site import DAY, Site, hosts

pytestmark = [pytest.mark.needs("redis-server"), pytest.mark.timeout(600)]

COUNT = 48
THINKS_S = 1.5
# what counts of the day of each target: one record of one run
RECORDS = """
SELECT r.target, count(*) AS records, min(r.status) AS status FROM ledger.sync_target_records r
WHERE r.inventory_id IS NOT NULL GROUP BY r.target ORDER BY r.target
"""
KEPT = """
SELECT o.target FROM ledger.asset_observations o JOIN ledger.inventories i ON i.id = o.inventory_id
WHERE i.status = 'reading' AND i.run_id = '{}'
"""
OBSERVED = "SELECT target, count(*) AS times FROM ledger.asset_observations GROUP BY target"


@pytest.fixture
def site(database_url: str, tmp_path: Path, redis_server: RedisServer) -> Iterator[Site]:
    with hosts(tmp_path, THINKS_S) as port:
        one = Site(tmp_path, database_url, redis_server.url, port)
        one.prepare(COUNT, parallel=2)
        try:
            yield one
        finally:
            one.stop()


def probe(site: Site, *options: str) -> tuple[threading.Thread, list[subprocess.CompletedProcess[str]]]:
    """Start `asset-ledger probe`; its outcome is in the list when the thread has ended."""
    done: list[subprocess.CompletedProcess[str]] = []
    thread = threading.Thread(target=lambda: done.append(site.command("probe", "--json", *options)))
    thread.start()
    return thread, done


def test_a_day_is_complete_and_once_though_a_worker_is_killed_in_its_middle(
    site: Site, template_database: str, redis_server: RedisServer
) -> None:
    site.start_daemon()
    site.start_worker("one")
    site.start_worker("two")
    asking, done = probe(site, "--shards", "4")

    # both are at it, and some of what the first reads is kept already
    site.wait(lambda: done or all(map(site.runs_on, ("one", "two"))), "the runs are not shared")
    assert not done, done[0].stdout + done[0].stderr
    (hit,) = site.runs_on("one")
    site.wait(lambda: bool(site.query(KEPT.format(hit))), "nothing is kept of what is being read")
    site.kill("one")

    asking.join(120)
    assert done, [(run["run_id"], run["status"]) for run in site.runs()]
    assert done[0].returncode == 0, [each["error"] for each in json.loads(done[0].stdout)]

    # complete, and once: nobody was read twice whose raw was kept
    records = site.query(RECORDS)
    assert len(records) == COUNT
    assert {(row["records"], row["status"]) for row in records} <= {(1, "ok"), (1, "partial")}
    assert len(site.query(DAY)) == COUNT
    assert {row["times"] for row in site.query(OBSERVED)} == {1}
    # no run is stuck; the killed one was ended and done again
    runs = site.runs()
    assert {run["status"] for run in runs} == {"SUCCESS", "FAILURE"}
    assert [run["run_id"] for run in runs if run["status"] == "FAILURE"] == [hit]
    assert [run["tags"]["dagster/retry_number"] for run in runs if "dagster/retry_number" in run["tags"]] == ["1"]
    assert {run["shard"] for run in json.loads(done[0].stdout)} == {"1/4", "2/4", "3/4", "4/4"}
    with connect(site.database_url) as connection:
        # the last of them ends its session a moment after it said that it is done
        site.wait(lambda: not living(connection), "a run that is over is taken for alive", 30)
        assert {row["status"] for row in site.query("SELECT status FROM ledger.inventories")} == {"derived"}

    # the same as one run makes that nobody disturbed
    alone = create_database(template_database, template=database_name(template_database))
    try:
        undisturbed = Site(site.folder / "alone", alone, redis_server.url, site.port)
        undisturbed.folder.mkdir()
        for name in ("client", "host.pub"):
            (undisturbed.folder / name).write_text((site.folder / name).read_text())
        undisturbed.prepare(COUNT, parallel=16)
        assert undisturbed.command("probe").returncode == 0
        assert undisturbed.query(DAY) == site.query(DAY)
    finally:
        drop_database(alone)
