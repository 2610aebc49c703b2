"""How a ledger grows: 2,000 machines read every day for 30 days, weighed by table and index, and reckoned up to years.

Days are kept and derived as a run does, 2 % of the machines changed each day. Weighing after the first day and the last
tells what a machine costs once from what each of its days costs. Dagster's event log is weighed by runs of one
job. Run: `python -m benchmarks capacity`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asset_ledger.domain.calendar import collected_date
from asset_ledger.store.database import Connection, connect
from benchmarks.measuring import bench_server, checkpoint, fresh_ledger
from benchmarks.table import Row

ASSETS = 2_000
DAYS = 30
CHANGED = ASSETS * 2 // 100
RUNS = 5
GIB = 1 << 30
RECKONED = ((100_000, 1_095), (1_000_000, 1_095))

# of every table with its partitions: main and TOAST, and its indexes
_WEIGHTS = """
SELECT n.nspname || '.' || root.relname AS name, sum(pg_table_size(leaf.relid))::bigint,
       sum(pg_indexes_size(leaf.relid))::bigint
FROM pg_class root
JOIN pg_namespace n ON n.oid = root.relnamespace
CROSS JOIN LATERAL (SELECT relid FROM pg_partition_tree(root.oid) UNION SELECT root.oid::regclass) AS leaf(relid)
WHERE n.nspname = ANY(%s) AND root.relkind IN ('r', 'p') AND NOT root.relispartition
GROUP BY 1
"""

Weights = dict[str, tuple[int, int]]


def measure(assets: int = ASSETS, days: int = DAYS) -> list[Row]:
    """Return bytes a machine-day by table, of WAL and of Dagster's log, and what they come to; every row is stated."""
    with bench_server() as (server, folder):
        url = fresh_ledger(server, "bench_capacity")
        empty, first, last, wal = _filled(url, assets, days)
        log = _event_log(server.url("bench_log"), folder)
    once = {name: _sum(first[name]) - _sum(empty[name]) for name in first}
    # a table's first pages are made on its first day: what later days add is what days cost
    daily = {name: (last[name][0] - first[name][0], last[name][1] - first[name][1]) for name in last}
    per = assets * (days - 1)
    rows = []
    for name, (table, index) in sorted(daily.items(), key=lambda each: -sum(each[1])):
        if table + index >= per * 0.5:
            said = f"{table / per:.0f} B + {index / per:.0f} B of indexes"
            rows.append(
                _stated(
                    f"`{name}`, a machine and day", said, f"{(table + index) / GIB * 1024:.1f} MiB over {days - 1} days"
                )
            )
    a_day = sum(map(sum, daily.values())) / per
    # of the first day's weight a day's part is what every day has
    a_machine = max(0.0, sum(once.values()) / assets - a_day)
    rows += [
        _stated(
            "all tables, a machine and day", f"{a_day:.0f} B", f"{assets:,} machines, {days} days, 2 % changed a day"
        ),
        _stated("all tables, a machine once", f"{a_machine:.0f} B", "what the first day wrote beyond a day's part"),
        _stated(
            "WAL, a machine and day",
            f"{wal / per:.0f} B",
            "with full pages after checkpoints; goes with the oldest base backup",
        ),
        _stated("Dagster's database, a run", f"{log / 1024:.0f} KiB", f"mean of {RUNS} runs of a source's job"),
    ]
    for machines, over in RECKONED:
        whole = machines * (a_machine + over * a_day)
        rows.append(
            _stated(
                f"{machines:,} machines x {over:,} days, reckoned",
                f"{whole / GIB:,.0f} GiB",
                f"{machines * a_day / GIB:.2f} GiB and {machines * wal / per / GIB:.2f} GiB of WAL a day",
            )
        )
    return rows


def _stated(what: str, measured: str, against: str) -> Row:
    return Row(what, measured, against, "stated", True)


def _sum(weight: tuple[int, int]) -> int:
    return weight[0] + weight[1]


def _filled(url: str, assets: int, days: int) -> tuple[Weights, Weights, Weights, float]:
    """Fill a ledger; return what it weighed empty, after the first day, after the last, and its WAL between these."""
    from asset_ledger.pipeline.derive import derive_day
    from asset_ledger.pipeline.ledger import source_row
    from asset_ledger.store.sources import exclusive
    from benchmarks.day_platform import keep, reading, register

    source = register()
    today = collected_date(datetime.now(UTC))
    with connect(url) as connection:
        empty = _weights(connection)
        first: Weights = {}
        began = 0
        row = source_row(connection, source)
        for turn in range(days):
            day = today - timedelta(days=days - 1 - turn)
            with exclusive(connection, row):
                changed = assets * 2 // 100
                keep(connection, row, day, datetime.now(UTC), reading(assets, changed=changed, turn=turn), "bench")
                derive_day(connection, source, row, day, run_id="bench", mode="collect")
            if turn == 0:
                checkpoint(url)
                first, began = _weights(connection), _wal(connection)
        checkpoint(url)
        return empty, first, _weights(connection), float(_wal(connection) - began)


def _weights(connection: Connection) -> Weights:
    found = connection.execute(_WEIGHTS, [["ledger", "iac", "agent", "audit"]])
    return {name: (int(table), int(index)) for name, table, index in found}


def _wal(connection: Connection) -> int:
    row = connection.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None
    return int(row[0])


def _event_log(url: str, folder: Path) -> float:
    """Return the bytes by which a run of a source's job makes Dagster's database grow."""
    from asset_ledger.cli.dagster_run import RunRequest, run
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.settings import Settings

    (folder / "sources.yaml").write_text("sources: [{name: office, platform: import, inbox: inbox}]\n")
    (folder / "inbox").mkdir()
    ours = {
        "ASSET_LEDGER_HOME": str(folder / "ledger"),
        "ASSET_LEDGER_SOURCES": str(folder / "sources.yaml"),
        "ASSET_LEDGER_DATABASE_URL": url,
    }
    today = collected_date(datetime.now(UTC))
    with _environment(ours):
        from asset_ledger.store.database import ensure_database, migrate

        ensure_database(url)
        migrate(url)
        ledger = Ledger(Settings.load())

        def once(number: int) -> int:
            hosts = "hostname,mgmt_ip\n" + "".join(f"h{each},10.0.{number}.{each}\n" for each in range(1, 50))
            (folder / "inbox" / f"hosts-{number}_{today}.csv").write_text(hosts)
            (result,) = run(ledger, [RunRequest("office_collect", partition=today.isoformat())])
            if not result.success:
                raise RuntimeError(result.error)
            with connect(ledger.dagster_url) as connection:
                row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            assert row is not None
            return int(row[0])

        before = once(0)
        after = before
        for number in range(1, RUNS + 1):
            after = once(number)
    return (after - before) / RUNS


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    kept = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
