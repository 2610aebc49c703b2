"""What replaying a year costs: 365 days of 1,000 machines derived again from kept raw in one Dagster run.

The yardstick is what it took to persist such a day: a file taken in, its raw kept, the day derived. What Dagster itself
costs is measured with the same run over assets that do nothing but record the same materializations; that is taken off,
and stated. So is what the same days cost as runs of their own. Run: `python -m benchmarks replay`.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from asset_ledger.domain.calendar import collected_date
from asset_ledger.settings import Settings
from benchmarks.table import Row

DAYS = 365
ASSETS = 1000
CHANGED = ASSETS * 2 // 100
SINGLE = 20
LIMIT = 1.3
SOURCE = "bench"


def _days() -> list[date]:
    last = collected_date(datetime.now(UTC)) - timedelta(days=1)
    return [last - timedelta(days=DAYS - 1 - number) for number in range(DAYS)]


def _file(turn: int) -> str:
    """Return a day's file: each turn 2 % of the machines, others than before, get more memory."""
    lines = ["mgmt_ip,hostname,cpu_cores,memory_gb,disk_gb,os_family,os_version,tags"]
    for number in range(ASSETS):
        grown = max(0, (turn * CHANGED - number + ASSETS - 1) // ASSETS)
        lines.append(f"10.0.{number >> 8}.{number & 255},host-{number:05}.example,4,{8 + grown},100,debian,12,bench")
    return "\n".join(lines) + "\n"


def client_persist() -> None:
    """Take in and derive every day's file, one after the other, and print what the days took."""
    from asset_ledger.pipeline.derive import derive_day
    from asset_ledger.pipeline.intake import take_files
    from asset_ledger.pipeline.ledger import Ledger, source_row
    from asset_ledger.store.sources import exclusive

    ledger = Ledger(Settings.load())
    source: Any = ledger.source(SOURCE)
    took: list[float] = []
    with ledger.connect() as connection:
        row = source_row(connection, source)
        with exclusive(connection, row):
            for turn, day in enumerate(_days()):
                path = source.inbox / f"hosts_{day}.csv"
                path.write_text(_file(turn), encoding="utf-8")
                began = time.monotonic()
                take_files(connection, source, row, [path], day, inbox=source.inbox, run_id="bench", mode="collect")
                derived = derive_day(connection, source, row, day, run_id="bench", mode="collect")
                took.append(time.monotonic() - began)
                counts = derived.readings[0].outcome.counts
                if counts["records"] != ASSETS or (turn and counts["updated"] != CHANGED):
                    raise RuntimeError(f"{day}: {counts}")
    # the first days find a database that nobody used yet
    print(json.dumps({"wall_s": sum(took), "day_s": sum(took[5:]) / len(took[5:])}))


def client_run(kind: str) -> None:
    """Run the source's job over every day as one run (`replay`, `empty`) or a few days as runs of their own."""
    from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

    from asset_ledger.definitions import build_definitions
    from asset_ledger.pipeline.chains import chains, collect_job, reading_config
    from asset_ledger.pipeline.ledger import Ledger

    source = Ledger(Settings.load()).source(SOURCE)
    definitions = _empty(source) if kind == "empty" else build_definitions([source])
    job = definitions.resolve_job_def(collect_job(source))
    config: dict[str, Any] = {} if kind == "empty" else reading_config(chains(source), replay=True)
    config["loggers"] = {"console": {"config": {"log_level": "ERROR"}}}
    days = [day.isoformat() for day in _days()]
    with dg.DagsterInstance.get() as instance:
        began = time.monotonic()
        if kind == "single":
            done = [
                job.execute_in_process(instance=instance, partition_key=day, run_config=config)
                for day in days[:: DAYS // SINGLE][:SINGLE]
            ]
        else:
            span = {ASSET_PARTITION_RANGE_START_TAG: days[0], ASSET_PARTITION_RANGE_END_TAG: days[-1]}
            done = [job.execute_in_process(instance=instance, run_config=config, tags=span)]
        took = time.monotonic() - began
    if not all(result.success for result in done):
        raise RuntimeError("the run failed")
    print(json.dumps({"wall_s": took, "runs": len(done)}))


def _empty(source: Any) -> Any:
    """Return definitions with the chain's assets, checks and events, and nothing behind them."""
    from asset_ledger.assets.checks import check_specs
    from asset_ledger.assets.nodes import key, keys, specs
    from asset_ledger.assets.policies import DAYS as PARTITIONS
    from asset_ledger.assets.policies import ONE_RUN, beta_accepted
    from asset_ledger.pipeline.chains import chains, collect_job

    (whole,) = chains(source)
    checks = check_specs(whole)
    with beta_accepted():

        @dg.multi_asset(specs=specs(whole), check_specs=checks, partitions_def=PARTITIONS, backfill_policy=ONE_RUN)
        def chain(context: dg.AssetExecutionContext) -> Iterator[Any]:
            numbers = {f"count_{number}": number for number in range(8)}
            for day in context.partition_keys:
                for role in whole.nodes:
                    context.log_event(dg.AssetMaterialization(key(whole, role), partition=day, metadata=numbers))
                context.log.info("%s", day)
            for check in checks:
                yield dg.AssetCheckResult(asset_key=check.asset_key, check_name=check.name, passed=True)

    job = dg.define_asset_job(collect_job(source), selection=dg.AssetSelection.assets(*keys(whole)))
    return dg.Definitions(assets=[chain], jobs=[job], executor=dg.in_process_executor)


def _client(environment: dict[str, str], *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.replay", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure() -> list[Row]:
    """Return a row a comparison. Raises RuntimeError where a run did not do what is measured."""
    from asset_ledger.cli.dagster_run import prepare
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.store.database import ensure_database, migrate
    from benchmarks.measuring import bench_server

    with bench_server() as (_, folder):
        (folder / "inbox").mkdir()
        sources = folder / "sources.yaml"
        sources.write_text(f"sources:\n  - name: {SOURCE}\n    platform: import\n    inbox: inbox\n", encoding="utf-8")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ASSET_LEDGER_")}
        os.environ.clear()
        os.environ.update(kept | {"ASSET_LEDGER_HOME": str(folder / "home"), "ASSET_LEDGER_SOURCES": str(sources)})
        ledger = Ledger(Settings.load())
        ensure_database(ledger.url)
        migrate(ledger.url)
        environment = prepare(ledger)
        persisted = _client(environment, "persist")
        _client(environment, "single")  # makes Dagster's tables
        empty = _client(environment, "empty")
        replayed = _client(environment, "replay")
        single = _client(environment, "single")
    day = (replayed["wall_s"] - empty["wall_s"]) / DAYS
    ratio = day / persisted["day_s"]
    one = single["wall_s"] / single["runs"]
    return [
        Row(
            f"replay of {DAYS} days of {ASSETS:,} machines, one run: a day, without what Dagster itself costs",
            f"{day * 1000:.0f} ms ({ratio:.2f}x)",
            f"persisting such a day from its file: {persisted['day_s'] * 1000:.0f} ms",
            f"at most {LIMIT:g}x",
            ratio <= LIMIT,
        ),
        Row(
            "the whole run, and the same run over assets that do nothing",
            f"{replayed['wall_s']:.1f} s",
            f"{empty['wall_s']:.1f} s",
            "stated",
            True,
        ),
        Row(
            f"the same days as {DAYS} runs of their own ({int(single['runs'])} of them measured)",
            f"{one * DAYS:.0f} s ({one * 1000:.0f} ms a day)",
            f"as one run {replayed['wall_s']:.1f} s",
            "stated",
            True,
        ),
    ]


if __name__ == "__main__":
    client_persist() if sys.argv[1] == "persist" else client_run(sys.argv[1])
