"""What befalls a day's probes beside a killed worker: a queue that forgets, a message that comes twice, a worker that hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from asset_ledger.store.database import connect
from asset_ledger.store.sessions import living
from tests.redis_server import RedisServer
from tests.workers.site import DAY, Site, hosts

pytestmark = [pytest.mark.needs("redis-server"), pytest.mark.timeout(600)]

COUNT = 16
ONCE = "SELECT target, count(*) AS n FROM ledger.sync_target_records WHERE inventory_id IS NOT NULL GROUP BY target"
# what a broker does whose message was not acknowledged in its time; the launcher's own way of putting it together
DELIVER = """
import sys
from dagster import DagsterInstance
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import pack_value
from dagster_celery.tasks import create_execute_job_task
with DagsterInstance.get() as instance:
    run = instance.get_run_by_id(sys.argv[1])
    args = ExecuteRunArgs(run.job_code_origin, run.run_id, instance.get_ref(), set_exit_code_on_failure=True)
    task = create_execute_job_task(instance.run_launcher.celery)
    task.si(execute_job_args_packed=pack_value(args)).apply_async(queue="dagster", routing_key="dagster.execute_job")
"""


@pytest.fixture
def site(database_url: str, tmp_path: Path, redis_server: RedisServer) -> Iterator[Site]:
    with hosts(tmp_path, 1.5) as port:
        one = Site(tmp_path, database_url, redis_server.url, port, patience_s=30, start_timeout_s=40)
        one.prepare(COUNT, parallel=1)
        try:
            yield one
        finally:
            one.stop()


def handed_out(site: Site) -> int:
    """Return how many runs are in Redis: one is said to be starting before its message is sent."""
    return sum(run["status"] == "STARTING" and DAGSTER_CELERY_TASK_ID_TAG in run["tags"] for run in site.runs())


def test_a_day_is_complete_and_once_whatever_the_queue_and_a_worker_do(site: Site, redis_server: RedisServer) -> None:
    done: list[subprocess.CompletedProcess[str]] = []
    site.start_daemon()
    asking = threading.Thread(target=lambda: done.append(site.command("probe", "--shards", "2", "--json")))
    asking.start()

    # the runs are handed out, nobody takes them, and Redis forgets them
    site.wait(lambda: done or handed_out(site) == 2, "the runs are not handed out")
    assert not done, done[0].stdout + done[0].stderr
    redis_server.kill()
    redis_server.start()
    site.start_worker("one")
    site.start_worker("two")
    site.wait(lambda: all(map(site.runs_on, ("one", "two"))), "what Redis forgot is not done again", 240)

    # one worker hangs, and the other is given its run a second time
    (hung,) = site.runs_on("two")
    os.killpg(site.processes["two"].pid, signal.SIGSTOP)
    subprocess.run([sys.executable, "-c", DELIVER, hung], env=site.environment, check=True, capture_output=True)
    site.wait(
        lambda: site.noted(hung, "Ignoring a duplicate run"), "the message that came twice is not passed over", 60
    )

    # its time is over; the other worker does its shard again, and it can write no more when it goes on
    asking.join(150)
    assert done, [(run["run_id"], run["status"]) for run in site.runs()]
    assert done[0].returncode == 0, [each["error"] for each in json.loads(done[0].stdout)]
    before = site.query(DAY), site.query(ONCE)
    os.killpg(site.processes["two"].pid, signal.SIGCONT)
    with connect(site.database_url) as connection:
        site.wait(lambda: not living(connection), "the run that hung goes on")

    assert {run["run_id"]: run["status"] for run in site.runs()}[hung] == "FAILURE"
    assert [run["status"] for run in site.runs()].count("SUCCESS") == 2
    assert (site.query(DAY), site.query(ONCE)) == before
    assert len(before[0]) == COUNT
    assert [row["n"] for row in before[1]] == [1] * COUNT
