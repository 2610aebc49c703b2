"""What the benchmarks share: what a block costs, clients in processes of their own, ledgers to measure on, and the
yardstick of a bare COPY of the same rows into equal tables."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

from psycopg import sql

from asset_ledger.store.database import Connection, connect, ensure_database, migrate
from asset_ledger.store.embedded.server import EmbeddedServer
from asset_ledger.store.partitions import ensure_months

CHUNK = 1 << 20

Measured = dict[str, float]


class Cost:
    """Measures a block: wall, the process's own CPU and, where /proc tells it, that of its server process."""

    def __init__(self, connection: Connection) -> None:
        self._server = Path(f"/proc/{connection.info.backend_pid}/stat")

    def __enter__(self) -> Cost:
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


def run_client(module: str, *arguments: object) -> Measured:
    """Run a benchmark's module as a process of its own and return what it printed last."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: Measured = json.loads(done.stdout.splitlines()[-1])
    return found


# --- the databases -----------------------------------------------------------------------------------------------


@contextmanager
def bench_server() -> Iterator[tuple[EmbeddedServer, Path]]:
    """Yield an embedded server that runs, with the settings of production, and a folder to measure in."""
    with tempfile.TemporaryDirectory(prefix="asset-ledger-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # under root the server runs as another user
        server = EmbeddedServer(folder / "home")
        server.start()
        try:
            yield server, folder
        finally:
            server.stop()


def fresh_ledger(server: EmbeddedServer, name: str) -> str:
    """Make an empty ledger and return its URL; what was written before does not weigh on what is measured next."""
    drop_ledger(server, name)
    url = server.url(name)
    ensure_database(url)
    migrate(url)
    checkpoint(url)
    return url


def drop_ledger(server: EmbeddedServer, name: str) -> None:
    with connect(server.url("postgres")) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def checkpoint(url: str) -> None:
    with connect(url) as connection:
        connection.execute("CHECKPOINT")


def last_transaction(url: str) -> int:
    """Return the number of the latest transaction: what is written from now on has a higher one."""
    with connect(url) as connection:
        row = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
    assert row is not None
    return int(row[0])


def dump_rows(url: str, folder: Path, *, since: int = 0, schema: str = "ledger") -> int:
    """Write every row of a ledger that a transaction after `since` wrote to a file a table, and return how many.

    The rows of `sources` and of what is written by the HTTP service are left out; columns that PostgreSQL makes
    itself too.
    """
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    rows = 0
    with connect(url) as connection:
        for table, columns in _tables(connection, schema):
            out = sql.SQL("COPY (SELECT {} FROM {} WHERE xmin::text::bigint > {}) TO STDOUT").format(
                columns, sql.Identifier(schema, table), sql.Literal(since)
            )
            with (folder / table).open("wb") as file, connection.cursor() as cursor:
                with cursor.copy(out) as copy:
                    for chunk in copy:
                        file.write(chunk)
                rows += cursor.rowcount
    for file in folder.iterdir():
        if not file.stat().st_size:
            file.unlink()
    return rows


_NOT_DERIVED = ("sources", "states", "state_heads", "state_locks")


def _tables(connection: Connection, schema: str) -> list[tuple[str, sql.Composable]]:
    found = connection.execute(
        """
        SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = %s::regnamespace AND c.relname <> ALL (%s) AND a.attnum > 0
          AND NOT a.attisdropped AND a.attgenerated = ''
          AND (c.relkind = 'r' AND NOT c.relispartition OR c.relkind = 'p')
        GROUP BY 1 ORDER BY 1
        """,
        [schema, list(_NOT_DERIVED)],
    ).fetchall()
    return [(table, sql.SQL(", ").join(map(sql.Identifier, columns))) for table, columns in found]


def copy_rows(url: str, folder: str, schema: str = "ledger") -> None:
    """COPY the files of `dump_rows` into the tables they are named after, in one transaction, and print the cost."""
    with connect(url) as connection:
        tables = dict(_tables(connection, schema))
        with Cost(connection) as cost, connection.transaction():
            for file in sorted(Path(folder).iterdir()):
                into = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(schema, file.name), tables[file.name])
                with file.open("rb") as lines, connection.cursor() as cursor, cursor.copy(into) as copy:
                    while chunk := lines.read(CHUNK):
                        copy.write(chunk)
    cost.print({})


def equal_tables(server: EmbeddedServer, days: Iterable[date], filled: str) -> str:
    """Make an empty ledger with the partitions and the source that the filled one has."""
    url = fresh_ledger(server, "bench_copy")
    with connect(filled) as connection, connect(url) as other:
        ensure_months(other, days)
        columns = "id, name, platform, platform_type, source_type, zone, naming_rank, specs_rank"
        for source in connection.execute(f"SELECT {columns} FROM ledger.sources").fetchall():
            places = ", ".join(["%s"] * len(source))
            other.execute(f"INSERT INTO ledger.sources ({columns}) OVERRIDING SYSTEM VALUE VALUES ({places})", source)
    return url


def cpu_s(found: Measured) -> float:
    """Return the CPU seconds of a client and of its server process."""
    return found["cpu_s"] + found["server_cpu_s"]


def typical(found: list[Measured]) -> Measured:
    """Return the median of several measurements by their wall time."""
    return sorted(found, key=lambda one: one["wall_s"])[len(found) // 2]


def in_words(found: Measured) -> str:
    """Return a measurement as a cell of the table shows it."""
    return f"{found['wall_s']:.2f} s, {cpu_s(found):.2f} s of CPU"


def main() -> int:
    copy_rows(*sys.argv[1:])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
