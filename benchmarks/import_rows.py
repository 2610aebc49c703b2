"""What importing 100,000 machines costs, against the least that PostgreSQL itself needs for the same rows.

The yardstick is a bare COPY of every row the import wrote into tables with the same partitions, indexes and
checks, one transaction, on the same server with the settings of production. An import and its COPY follow one
another and the median of their ratios counts, so that a busy moment falls on both. Each measured client is a
process of its own. Run: `python -m benchmarks import_rows`.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit, urlunsplit

from psycopg import sql

from asset_ledger.domain.calendar import collected_date
from asset_ledger.store.database import Connection, connect, ensure_database, migrate
from asset_ledger.store.partitions import ensure_months
from asset_ledger.store.server import EmbeddedServer
from benchmarks.import_file import write_csv, write_saved_again, write_xlsx
from benchmarks.table import Row

ROWS = 100_000
ROUNDS = 3
COPY_LIMIT = 4.0
SECOND_LIMIT = 1 / 3
MEMORY_LIMIT_MB = 512
CHUNK = 1 << 20

Measured = dict[str, float]


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
        with exclusive(connection, row), _Cost(connection) as cost:
            on = date.fromisoformat(day)
            began = time.monotonic()
            taken = take_files(
                connection, source, row, [Path(file)], on, inbox=Path(inbox), run_id="bench", mode="collect"
            )
            took = time.monotonic() - began
            derived = derive_day(connection, source, row, on, run_id="bench", mode="collect", inbox=Path(inbox))
    counts = derived[0].outcome.counts
    if taken[0].state != "taken" or counts["records"] != ROWS or counts["rejected_rows"]:
        raise RuntimeError(f"{taken[0]}: {counts}")
    cost.print({"take_s": took, **counts})


def client_copy(url: str, folder: str) -> None:
    """COPY files into the tables they are named after."""
    with connect(url) as connection, _Cost(connection) as cost, connection.transaction():
        for file in sorted(Path(folder).iterdir()):
            into = sql.SQL("COPY ledger.{} FROM STDIN").format(sql.Identifier(file.name))
            with file.open("rb") as lines, connection.cursor() as cursor, cursor.copy(into) as copy:
                while chunk := lines.read(CHUNK):
                    copy.write(chunk)
    cost.print({})


def client_to_sql(url: str, file: str) -> None:
    """Write the flat rows as pandas does: no raw, no identity, no history, no index."""
    import pandas as pd
    from sqlalchemy import create_engine

    engine = create_engine(urlunsplit(urlsplit(url)._replace(scheme="postgresql+psycopg")))
    frame = pd.read_csv(file)
    with engine.connect() as connection, _Cost(connection.connection.driver_connection) as cost:
        frame.to_sql("flat", connection, index=False, chunksize=10_000)
        connection.commit()
    engine.dispose()
    cost.print({})


class _Cost:
    """Measures a block: wall, the process's own CPU and, where /proc tells it, that of its server process."""

    def __init__(self, connection: Connection) -> None:
        self._server = Path(f"/proc/{connection.info.backend_pid}/stat")

    def __enter__(self) -> _Cost:
        self._began, self._cpu, self._server_cpu = time.monotonic(), _own_cpu_s(), self._server_cpu_s()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s = time.monotonic() - self._began
        self.cpu_s = _own_cpu_s() - self._cpu
        self.server_cpu_s = self._server_cpu_s() - self._server_cpu

    def print(self, more: dict[str, float]) -> None:
        costs = {"wall_s": self.wall_s, "cpu_s": self.cpu_s, "server_cpu_s": self.server_cpu_s, "peak_mb": _peak_mb()}
        print(json.dumps({**more, **costs}))

    def _server_cpu_s(self) -> float:
        with suppress(OSError):
            fields = self._server.read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return float("nan")


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_mb() -> float:
    # ru_maxrss of a fresh process may be that of the parent it was forked from
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _run(kind: str, *arguments: object) -> Measured:
    command = [sys.executable, "-m", "benchmarks.import_rows", kind, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: Measured = json.loads(done.stdout.splitlines()[-1])
    return found


# --- the databases -----------------------------------------------------------------------------------------------


def _fresh(server: EmbeddedServer, name: str) -> str:
    """Make an empty ledger and return its URL; what was written before does not weigh on what is measured next."""
    _drop(server, name)
    url = server.url(name)
    ensure_database(url)
    migrate(url)
    _checkpoint(url)
    return url


def _drop(server: EmbeddedServer, name: str) -> None:
    with connect(server.url("postgres")) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _checkpoint(url: str) -> None:
    with connect(url) as connection:
        connection.execute("CHECKPOINT")


def _dump(url: str, folder: Path) -> int:
    """Write every row of a ledger to a file a table, but those of `sources`, and return how many there are."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    rows = 0
    with connect(url) as connection:
        tables = connection.execute(
            """
            SELECT c.relname FROM pg_class c
            WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
              AND c.relname <> 'sources'
            """
        ).fetchall()
        for (table,) in tables:
            out = sql.SQL("COPY (SELECT * FROM ledger.{}) TO STDOUT").format(sql.Identifier(table))
            with (folder / table).open("wb") as file, connection.cursor() as cursor:
                with cursor.copy(out) as copy:
                    for chunk in copy:
                        file.write(chunk)
                rows += cursor.rowcount
    for file in folder.iterdir():
        if not file.stat().st_size:
            file.unlink()
    return rows


def _equal_tables(server: EmbeddedServer, day: date, filled: str) -> str:
    """Make an empty ledger with the partitions and the source that the filled one has."""
    url = _fresh(server, "bench_copy")
    with connect(filled) as connection, connect(url) as other:
        ensure_months(other, [day])
        sources = connection.execute("SELECT * FROM ledger.sources").fetchall()
        for source in sources:
            places = ", ".join(["%s"] * len(source))
            other.execute(f"INSERT INTO ledger.sources OVERRIDING SYSTEM VALUE VALUES ({places})", source)
    return url


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
    with tempfile.TemporaryDirectory(prefix="asset-ledger-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # under root the server runs as another user
        for write, file in ((write_csv, "hosts.csv"), (write_saved_again, "again.csv"), (write_xlsx, "hosts.xlsx")):
            write(folder / file, ROWS)
        server = EmbeddedServer(folder / "home")
        server.start()
        try:
            for _ in range(rounds):
                url = _fresh(server, "bench_import")
                first.append(_import(folder / "hosts.csv", url, first_day))
                written = _dump(url, folder / "rows")
                equal = _equal_tables(server, first_day, url)
                _checkpoint(equal)
                copied.append(_run("copy", equal, folder / "rows"))
                _drop(server, "bench_copy")
                second.append(_import(folder / "again.csv", url, second_day))
                _check_second(second[-1])
            to_sql = _run("to_sql", _fresh(server, "bench_copy"), folder / "hosts.csv")
            workbook = _import(folder / "hosts.xlsx", _fresh(server, "bench_import"), first_day)
        finally:
            server.stop()
    return _rows(first, copied, second, to_sql, workbook, written)


def _import(file: Path, url: str, day: date) -> Measured:
    inbox = file.parent / "inbox"
    inbox.mkdir(exist_ok=True)
    dropped = Path(shutil.copy(file, inbox))
    _checkpoint(url)
    return _run("import", url, dropped, day.isoformat(), inbox)


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
    over_copy_cpu = median(_cpu_s(a) / _cpu_s(b) for a, b in zip(first, copied, strict=True))
    again = median(b["wall_s"] / a["wall_s"] for a, b in zip(first, second, strict=True))
    typical = _typical(first)
    peak = max(found["peak_mb"] for found in (*first, *second))
    return [
        Row(
            f"import of {ROWS:,} rows, the file to the last table",
            f"{_ours(typical)} ({over_copy:.1f}x; CPU {over_copy_cpu:.1f}x)",
            f"bare COPY of the {written:,} rows it wrote: {_ours(_typical(copied))}",
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
            f"the import takes {typical['wall_s'] / to_sql['wall_s']:.1f}x",
            f"`to_sql` into one table without an index: {_ours(to_sql)}",
            "stated",
            True,
        ),
        Row(
            "the same, saved again in another order and encoding, dated the next day, one row changed",
            f"{_ours(_typical(second))} ({again:.2f} of the first; 1 change)",
            f"the first import {_ours(typical)}",
            "at most a third, exactly one change",
            again <= SECOND_LIMIT,
        ),
        Row(
            "the first import as .xlsx",
            f"{_ours(workbook)}, {workbook['peak_mb']:.0f} MB",
            f"as .csv {_ours(typical)}",
            "stated",
            True,
        ),
    ]


def _cpu_s(found: Measured) -> float:
    return found["cpu_s"] + found["server_cpu_s"]


def _typical(found: list[Measured]) -> Measured:
    return sorted(found, key=lambda one: one["wall_s"])[len(found) // 2]


def main() -> int:
    client = {"import": client_import, "copy": client_copy, "to_sql": client_to_sql}[sys.argv[1]]
    client(*sys.argv[2:])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
