"""What importing 100,000 machines costs, against the least that PostgreSQL itself needs for the same rows.

The yardstick is a bare COPY of every row the import wrote into tables with the same partitions, indexes and
checks, one transaction, on the same server with the settings of production. An import and its COPY follow one
another and the median of their ratios counts, so that a busy moment falls on both. Each measured client is a
process of its own. Run: `python -m benchmarks import_rows`.
"""

from __future__ import annotations

import shutil
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit, urlunsplit

from asset_ledger.domain.calendar import collected_date
from asset_ledger.store.database import connect
from benchmarks.import_file import write_csv, write_saved_again, write_xlsx
from benchmarks.measuring import (
    Cost,
    Measured,
    bench_server,
    checkpoint,
    cpu_s,
    drop_ledger,
    dump_rows,
    equal_tables,
    fresh_ledger,
    run_client,
    typical,
)
from benchmarks.table import Row

ROWS = 100_000
ROUNDS = 3
COPY_LIMIT = 4.0
SECOND_LIMIT = 1 / 3
MEMORY_LIMIT_MB = 512


# --- the clients: each runs in a process of its own and prints what it cost --------------------------------------


def client_import(url: str, file: str, day: str, inbox: str) -> None:
    """Do what a run does with a dropped file: take it in, keep its raw, derive its day."""
    from asset_ledger.pipeline.derive import derive_day
    from asset_ledger.pipeline.intake import take_files
    from asset_ledger.pipeline.ledger import source_row
    from asset_ledger.sources.import_files import ImportConfig
    from asset_ledger.store.sources import exclusive

    source = ImportConfig(name="bench", platform="import", inbox=Path(inbox))
    with connect(url) as connection:
        row = source_row(connection, source)
        with exclusive(connection, row), Cost(connection) as cost:
            on = date.fromisoformat(day)
            began = time.monotonic()
            taken = take_files(
                connection, source, row, [Path(file)], on, inbox=Path(inbox), run_id="bench", mode="collect"
            )
            took = time.monotonic() - began
            derived = derive_day(connection, source, row, on, run_id="bench", mode="collect", inbox=Path(inbox))
    counts = derived.readings[0].outcome.counts
    if taken[0].state != "taken" or counts["records"] != ROWS or counts["rejected_rows"]:
        raise RuntimeError(f"{taken[0]}: {counts}")
    cost.print({"take_s": took, **counts})


def client_to_sql(url: str, file: str) -> None:
    """Write the flat rows as pandas does: no raw, no identity, no history, no index."""
    import pandas as pd
    from sqlalchemy import create_engine

    engine = create_engine(urlunsplit(urlsplit(url)._replace(scheme="postgresql+psycopg")))
    frame = pd.read_csv(file)
    with engine.connect() as connection, Cost(connection.connection.driver_connection) as cost:
        frame.to_sql("flat", connection, index=False, chunksize=10_000)
        connection.commit()
    engine.dispose()
    cost.print({})


# --- the measurements --------------------------------------------------------------------------------------------


def _ours(found: Measured) -> str:
    return f"{found['wall_s']:.1f} s, {found['cpu_s'] + found['server_cpu_s']:.1f} s of CPU"


def measure(rounds: int = ROUNDS) -> list[Row]:
    """Return a row a comparison. Raises RuntimeError where an import did not do what is measured."""
    first: list[Measured] = []
    copied: list[Measured] = []
    second: list[Measured] = []
    second_day = collected_date(datetime.now(UTC)) - timedelta(days=1)
    first_day = second_day - timedelta(days=1)
    with bench_server() as (server, folder):
        for write, file in ((write_csv, "hosts.csv"), (write_saved_again, "again.csv"), (write_xlsx, "hosts.xlsx")):
            write(folder / file, ROWS)
        for _ in range(rounds):
            url = fresh_ledger(server, "bench_import")
            first.append(_import(folder / "hosts.csv", url, first_day))
            written = dump_rows(url, folder / "rows")
            equal = equal_tables(server, [first_day], url)
            checkpoint(equal)
            copied.append(run_client("benchmarks.measuring", equal, folder / "rows"))
            drop_ledger(server, "bench_copy")
            second.append(_import(folder / "again.csv", url, second_day))
            _check_second(second[-1])
        to_sql = run_client(
            "benchmarks.import_rows", "to_sql", fresh_ledger(server, "bench_copy"), folder / "hosts.csv"
        )
        workbook = _import(folder / "hosts.xlsx", fresh_ledger(server, "bench_import"), first_day)
    return _rows(first, copied, second, to_sql, workbook, written)


def _import(file: Path, url: str, day: date) -> Measured:
    inbox = file.parent / "inbox"
    inbox.mkdir(exist_ok=True)
    dropped = Path(shutil.copy(file, inbox))
    checkpoint(url)
    return run_client("benchmarks.import_rows", "import", url, dropped, day.isoformat(), inbox)


def _check_second(found: Measured) -> None:
    if (found["updated"], found["unchanged"], found["created"]) != (1, ROWS - 1, 0):
        raise RuntimeError(f"the second import is to find one change: {found}")


def _rows(
    first: list[Measured],
    copied: list[Measured],
    second: list[Measured],
    to_sql: Measured,
    workbook: Measured,
    written: int,
) -> list[Row]:
    over_copy = median(a["wall_s"] / b["wall_s"] for a, b in zip(first, copied, strict=True))
    over_copy_cpu = median(cpu_s(a) / cpu_s(b) for a, b in zip(first, copied, strict=True))
    again = median(b["wall_s"] / a["wall_s"] for a, b in zip(first, second, strict=True))
    usual = typical(first)
    peak = max(found["peak_mb"] for found in (*first, *second))
    return [
        Row(
            f"import of {ROWS:,} rows, the file to the last table",
            f"{_ours(usual)} ({over_copy:.1f}x; CPU {over_copy_cpu:.1f}x)",
            f"bare COPY of the {written:,} rows it wrote: {_ours(typical(copied))}",
            f"at most {COPY_LIMIT:g}x",
            over_copy <= COPY_LIMIT,
        ),
        Row(
            "its memory",
            f"{peak:.0f} MB at the most",
            "",
            f"under {MEMORY_LIMIT_MB} MB",
            peak < MEMORY_LIMIT_MB,
        ),
        Row(
            "the same as flat rows with pandas",
            f"the import takes {usual['wall_s'] / to_sql['wall_s']:.1f}x",
            f"`to_sql` into one table without an index: {_ours(to_sql)}",
            "stated",
            True,
        ),
        Row(
            "the same, saved again in another order and encoding, dated the next day, one row changed",
            f"{_ours(typical(second))} ({again:.2f} of the first; 1 change)",
            f"the first import {_ours(usual)}",
            "at most a third, exactly one change",
            again <= SECOND_LIMIT,
        ),
        Row(
            "the first import as .xlsx",
            f"{_ours(workbook)}, {workbook['peak_mb']:.0f} MB",
            f"as .csv {_ours(usual)}",
            "stated",
            True,
        ),
    ]


def main() -> int:
    client = {"import": client_import, "to_sql": client_to_sql}[sys.argv[1]]
    client(*sys.argv[2:])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
