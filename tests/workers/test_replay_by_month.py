"""`asset-ledger replay --by-month` to its end: a run a month, done by workers, and the days are those of one run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import take_files
from asset_ledger.pipeline.ledger import source_row
from tests.redis_server import RedisServer
from tests.workers.site import Site, hosts

pytestmark = [pytest.mark.needs("redis-server"), pytest.mark.timeout(600)]

HEADER = "mgmt_ip,hostname,asset_type,cpu_cores,memory_gb\n"
FIRST = HEADER + "10.0.0.1,web-01,vm,4,8\n10.0.0.2,db-02,vm,4,8\n"
LATE = HEADER + "10.0.0.1,web-01,vm,16,8\n10.0.0.3,new-03,vm,1,1\n"
SPAN = ("--from", "2026-01-30", "--to", "2026-03-05")
RUNS = """
SELECT r.run_id, array_agg(DISTINCT i.collected_date::text ORDER BY i.collected_date::text) AS days
FROM ledger.sync_target_records r JOIN ledger.inventories i ON i.id = r.inventory_id
WHERE r.mode = 'replay' GROUP BY r.run_id ORDER BY 2
"""
SPECS = """
SELECT d.collected_date::text AS day, a.hostname, d.cpu_cores FROM ledger.asset_daily_specs d
JOIN ledger.assets a ON a.id = d.asset_id ORDER BY 1, 2
"""


@pytest.fixture
def site(database_url: str, tmp_path: Path, redis_server: RedisServer) -> Iterator[Site]:
    with hosts(tmp_path, 0) as port:
        one = Site(tmp_path, database_url, redis_server.url, port)
        one.prepare(1)
        with (tmp_path / "sources.yaml").open("a") as sources:
            sources.write("  - {name: office, platform: import, inbox: inbox}\n")
        try:
            yield one
        finally:
            one.stop()


def take(site: Site, day: str, text: str, *, derived: bool = True) -> None:
    """Take a CSV text in as the file of a day; one that is not derived was left by a run that was killed."""
    ledger, of_day = site.ledger, date.fromisoformat(day)
    source = ledger.source("office")
    path = site.folder / f"hosts-{day}-{derived}.csv"
    path.write_text(text)
    inbox = site.folder / "inbox"
    with ledger.connect() as connection:
        row = source_row(connection, source)
        take_files(connection, source, row, [path], of_day, inbox=inbox, run_id="before", mode="collect")
        if derived:
            derive_day(connection, source, row, of_day, run_id="before", mode="collect", inbox=inbox)


def test_a_replay_by_month_is_a_run_a_month_that_workers_do(site: Site) -> None:
    for day in ("2026-01-30", "2026-01-31", "2026-02-02"):
        take(site, day, FIRST)
    take(site, "2026-01-31", LATE, derived=False)
    take(site, "2026-02-02", LATE, derived=False)

    # nobody takes runs out of the queue: that is said, and nothing is left in it
    alone = site.command("replay", "office", *SPAN, "--by-month")
    assert alone.returncode == 1
    assert "no Dagster daemon is at work" in alone.stderr
    assert "not reached: 2026-01-30 to 2026-01-31, 2026-02-02" in alone.stdout

    site.start_daemon()
    site.start_worker("one")
    done = site.command("replay", "office", *SPAN, "--by-month", "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    runs = site.query(RUNS)
    assert [run["days"] for run in runs] == [["2026-01-30", "2026-01-31"], ["2026-02-02"]]
    assert told["run_id"].split(", ") == [run["run_id"] for run in runs]
    assert [(each["day"], each["changed"], len(each["never_derived"])) for each in told["days"]] == [
        ("2026-01-30", 0, 0),
        ("2026-01-31", 1, 1),
        ("2026-02-02", 1, 1),
    ]
    assert all(each["reached"] and each["error"] is None for each in told["days"])
    assert "2026-03-05" in told["without_raw"]
    specs = site.query(SPECS)
    assert [(row["hostname"], row["cpu_cores"]) for row in specs if row["day"] == "2026-02-02"] == [
        ("db-02", 4),
        ("new-03", 1),
        ("web-01", 16),
    ]
    for run in runs:
        assert run["run_id"] in site.log("one"), "the worker did it"

    # what one run of the whole span says then is what they said
    again = site.command("replay", "office", *SPAN)
    assert again.returncode == 0, again.stderr
    assert "the same as before: 2026-01-30 to 2026-01-31, 2026-02-02" in again.stdout
    assert site.query(SPECS) == specs
