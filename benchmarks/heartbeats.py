"""What a heartbeat costs the service, against a bare Starlette POST that pipelines one Redis command.

Both under uvicorn in processes of their own, over kept connections, in turns; CPU is read from /proc. Then 10,000
clients that beat once a minute for a minute, each over a connection of its own, and what they take in memory. Real
Redis and PostgreSQL with the settings of production. Run: `python -m benchmarks heartbeats`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import redis

from asset_ledger.store.access.people import add_tenant, set_user
from asset_ledger.store.database import connect
from benchmarks.heartbeat_client import INVENTORY, token
from benchmarks.measuring import bench_server, fresh_ledger, run_client
from benchmarks.state_service import RING
from benchmarks.table import Row

CLIENTS = 10_000
MINUTE_S = 60.0
ROUNDS = 5
BEATS = 10_000
LIMIT = 2.0
CORES = 2
_COUNTED_S = 12.0
"""How long PostgreSQL may take to count what was written."""


def measure(clients: int = CLIENTS, rounds: int = ROUNDS) -> list[Row]:
    """Return the comparison, the load of many clients, and their memory."""
    with bench_server() as (server, folder), _redis(folder) as (redis_url, redis_process):
        url = fresh_ledger(server, "bench")
        _enrol(url, clients)
        with (
            _service(url, folder, redis_url) as (process, port),
            _bare("batch", redis_url) as (batching, batching_port),
            _bare("each", redis_url) as (asking, asking_port),
        ):
            empty, redis_empty = _resident_mb(process), _redis_mb(redis_url)
            began = time.monotonic()
            before = _cpu_s(process) + _postgres_cpu_s(server.pid())
            run_client("benchmarks.heartbeat_client", port, 0, clients, 0)
            first_s = time.monotonic() - began
            first_cpu = _cpu_s(process) + _postgres_cpu_s(server.pid()) - before
            _until_online(url, clients)
            memory, redis_memory = _resident_mb(process) - empty, _redis_mb(redis_url) - redis_empty
            rows = _compare((process, port), (batching, batching_port), (asking, asking_port), rounds, url)
            rows += _minute(process, port, redis_process, server.pid(), clients)
    times = 100_000 / clients
    return [
        *rows,
        Row(
            f"{clients:,} clients that come for the first time, as fast as they are taken",
            f"{first_s:.1f} s, {first_cpu:.1f} s of CPU with PostgreSQL's",
            "who each token is of, once; a row of the audit for each",
            "stated",
            True,
        ),
        Row(
            f"memory of {clients:,} clients",
            f"service {memory:.0f} MB, Redis {redis_memory:.0f} MB",
            f"100,000 by that: service {memory * times:.0f} MB, Redis {redis_memory * times:.0f} MB",
            "stated",
            True,
        ),
    ]


def _compare(
    ours: tuple[int, int], batching: tuple[int, int], asking: tuple[int, int], rounds: int, url: str
) -> list[Row]:
    """Return what a beat costs each of them. Only who is known beats: nothing of this is written to the database."""
    found: dict[str, list[float]] = {"ours": [], "batch": [], "each": []}
    written = _written(url)
    for number in range(rounds + 1):
        for name, (process, port) in (("ours", ours), ("batch", batching), ("each", asking)):
            before = _cpu_s(process)
            run_client("benchmarks.heartbeat_client", port, 0, BEATS, 0)
            time.sleep(0.6)  # for what is flushed after the last answer
            if number:  # the first opens what is opened once
                found[name].append((_cpu_s(process) - before) / BEATS * 1e6)
    written = _written(url) - written
    ratio = median(one / other for one, other in zip(found["ours"], found["batch"], strict=True))
    ratio_each = median(one / other for one, other in zip(found["ours"], found["each"], strict=True))
    us = {name: median(values) for name, values in found.items()}
    return [
        Row(
            "CPU of the service for a heartbeat",
            f"{us['ours']:.0f} µs ({ratio:.2f}x)",
            f"a bare Starlette POST, one Redis command in a pipeline every half second: {us['batch']:.0f} µs",
            f"at most {LIMIT:g}x",
            ratio <= LIMIT,
        ),
        Row(
            "the same",
            f"{us['ours']:.0f} µs ({ratio_each:.2f}x)",
            f"a bare Starlette POST that sends its Redis command itself: {us['each']:.0f} µs",
            f"at most {LIMIT:g}x",
            ratio_each <= LIMIT,
        ),
        Row(
            f"rows that {(rounds + 1) * BEATS:,} heartbeats wrote",
            f"{written}",
            "agent.*, audit.*; sweeps note their time",
            "none of a beat",
            written <= 0,
        ),
    ]


def _minute(process: int, port: int, redis_process: int, postgres: int | None, clients: int) -> list[Row]:
    before = (_cpu_s(process), _cpu_s(redis_process), _postgres_cpu_s(postgres))
    found = run_client("benchmarks.heartbeat_client", port, 0, clients, clients / MINUTE_S)
    after = (_cpu_s(process), _cpu_s(redis_process), _postgres_cpu_s(postgres))
    service, stored, database = ((one - other) / found["wall_s"] for one, other in zip(after, before, strict=True))
    share = (service + stored + database) / CORES
    return [
        Row(
            f"{clients:,} clients, a beat each {MINUTE_S:.0f} s ({clients / MINUTE_S:.0f} a second, a connection each)",
            f"{100 * service:.1f} % of a core, Redis {100 * stored:.1f} %, PostgreSQL {100 * database:.1f} %;"
            f" 99 of 100 answered within {1000 * found['late_s']:.0f} ms",
            f"{CORES} cores: {100 * (1 - share):.0f} % of them are left",
            "at most half of them",
            share <= 0.5,
        )
    ]


def _enrol(url: str, clients: int) -> None:
    """Put clients with tokens and a report each into a ledger."""
    with connect(url) as connection:
        tenant = add_tenant(connection, "acme", RING)
        user = set_user(connection, tenant, "ann", "writer", password_hash=None, email=None)
        with connection.transaction():
            connection.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant)])
            rows = connection.execute(
                "INSERT INTO agent.clients (tenant_id, user_id, enrolled_by, hostname)"
                " SELECT %s, %s, 'ann', 'web-' || n FROM generate_series(1, %s) AS n RETURNING id",
                [tenant, user, clients],
            ).fetchall()
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO agent.client_tokens (tenant_id, client_id, token_hash, shown, created_by)"
                    " VALUES (%s, %s, %s, 'ac_', 'ann')",
                    [(tenant, row[0], hashlib.sha256(token(n).encode()).digest()) for n, row in enumerate(rows)],
                )
            connection.execute(
                "INSERT INTO agent.inventory_latest (tenant_id, client_id, collected_at, received_at, updated_at,"
                " since, collected_date, digest, payload_sha256, raw_data, raw_at)"
                " SELECT tenant_id, id, now(), now(), now(), now(), current_date, 'd', %s, '{}', now()"
                " FROM agent.clients WHERE tenant_id = %s",
                [bytes.fromhex(INVENTORY), tenant],
            )
        connection.execute("ANALYZE")


def _until_online(url: str, clients: int) -> None:
    end = time.monotonic() + 120
    with connect(url) as connection:
        while connection.execute("SELECT agent.clients_online()").fetchone() != (clients,):
            if time.monotonic() > end:
                raise RuntimeError("not every client came online")
            time.sleep(0.1)


def _written(url: str) -> int:
    """Return how many rows were written so far where beats and what is told of them could be."""
    with connect(url) as connection:
        time.sleep(_COUNTED_S)
        row = connection.execute(
            "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables"
            " WHERE schemaname IN ('agent', 'audit') AND relname <> 'presence_sweeps'"
        ).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _redis(folder: Path) -> Iterator[tuple[str, int]]:
    if shutil.which("redis-server") is None:
        raise RuntimeError("redis-server is not installed (Debian package redis-server)")
    port = _free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(["redis-server", *options], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        _wait(process, port)
        yield f"redis://127.0.0.1:{port}/0", process.pid
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def _service(database_url: str, home: Path, redis_url: str) -> Iterator[tuple[int, int]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSET_LEDGER_")}
    environment |= {
        "ASSET_LEDGER_DATABASE_URL": database_url,
        "ASSET_LEDGER_REDIS_URL": redis_url,
        "ASSET_LEDGER_HOME": str(home),
        "ASSET_LEDGER_STATE_KEYS": f"bench:{base64.b64encode(RING.keys['bench']).decode()}",
    }
    port = _free_port()
    command = [sys.executable, "-m", "asset_ledger.cli.main", "serve", "--port", str(port)]
    with _running(command, port, environment, home) as process:
        yield process, port


@contextmanager
def _bare(how: str, redis_url: str) -> Iterator[tuple[int, int]]:
    port = _free_port()
    command = [sys.executable, "-m", "benchmarks.heartbeat_bare", how, redis_url, str(port)]
    with _running(command, port, dict(os.environ), Path.cwd()) as process:
        yield process, port


@contextmanager
def _running(command: list[str], port: int, environment: dict[str, str], folder: Path) -> Iterator[int]:
    process = subprocess.Popen(command, env=environment, cwd=folder)
    try:
        _wait(process, port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{process.args} does not listen")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _postgres_cpu_s(postmaster: int | None) -> float:
    """Return the CPU seconds of a server and all its processes, those that ended included."""
    if postmaster is None:
        return 0.0
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if stat.parent.name == str(postmaster):
            total += sum(int(field) for field in fields[11:15])
        elif fields[1] == str(postmaster):
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def _resident_mb(process: int) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def _redis_mb(url: str) -> float:
    with redis.Redis.from_url(url, protocol=2) as client:
        told: dict[str, int] = client.info("memory")
    return told["used_memory"] / 2**20
