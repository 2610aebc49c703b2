"""A day's probes of 1,000 hosts shared by two Celery workers, against the same by one.

Each host thinks for a second before it answers, and each run reads eight at a time. The day is cut into the same
shards both times, so that what a run costs is the same; Dagster's daemon, Redis, PostgreSQL and the workers are
processes as in production (`tests/workers/site.py`), with the shipped configuration. A worker is warm: it has done a
run before.
Run: `python -m benchmarks workers`; `python -m benchmarks.workers COUNT` measures fewer hosts.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import bench_server, drop_ledger, fresh_ledger
from benchmarks.table import Row, print_table
from tests.workers.site import Site, hosts, redis_on

COUNT = 1000
SHARDS = 4
PARALLEL = 8
THINKS_S = 1.0
LIMIT = 0.6
PATIENCE_S = 1800


def measure(count: int = COUNT) -> list[Row]:
    """Probe the hosts with one worker and with two, on a fresh ledger each."""
    command: dict[int, float] = {}
    runs: dict[int, float] = {}
    with bench_server() as (server, _):
        for workers in (1, 2):
            name = f"workers_{workers}"
            with tempfile.TemporaryDirectory(prefix="asset-ledger-bench-") as folder:
                place = Path(folder)
                with hosts(place, THINKS_S) as port, redis_on(place) as redis_url:
                    site = Site(
                        place, fresh_ledger(server, name), redis_url, port, slots=workers, patience_s=PATIENCE_S
                    )
                    command[workers], runs[workers] = _probed(site, workers, count)
            drop_ledger(server, name)
            drop_ledger(server, f"{name}_dagster")
    ideal = count * THINKS_S / PARALLEL
    return [
        Row(
            f"probes of {count:,} hosts by two workers, {SHARDS} runs queued to last one ended",
            f"{runs[2]:.0f} s",
            f"one worker: {runs[1]:.0f} s",
            f"≤ {LIMIT}×",
            runs[2] <= LIMIT * runs[1],
        ),
        Row(
            f"`asset-ledger probe --shards {SHARDS}` with two workers, start to end",
            f"{command[2]:.0f} s",
            f"one worker: {command[1]:.0f} s; the hosts' own {THINKS_S:g} s, {PARALLEL} at a time: {ideal:.0f} s",
            "stated",
            ok=True,
        ),
    ]


def _probed(site: Site, workers: int, count: int) -> tuple[float, float]:
    """Return how long the command took, and its runs. Raises RuntimeError unless every host has its record."""
    site.prepare(count, parallel=PARALLEL)
    try:
        site.start_daemon()
        for number in range(workers):
            site.start_worker(f"worker-{number + 1}")
        # what a worker loads at its first run is not measured: it stays for the next
        for number in range(workers):
            site.submit([{"job": "ledger_links"}] * (number + 1))
        began = time.monotonic()
        done = site.command("probe", "--shards", str(SHARDS), "--json")
        took = time.monotonic() - began
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        (told,) = site.query("SELECT count(DISTINCT target) AS targets FROM ledger.sync_target_records")
        if told["targets"] != count:
            raise RuntimeError(f"{told['targets']} of {count} hosts have a record")
        return took, site.took("probe_collect")
    finally:
        site.stop()


if __name__ == "__main__":
    print_table(measure(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT))
