"""What reading a version of a large state costs: 22 MB, 10,000 objects, 2 % of them changed since the version before.

Measured is the whole reading, from the sealed body to events, current resources, machines and edges: opening, decoding,
comparing, redacting, writing. The yardstick is `json.loads` of the document and a `COPY` of the rows written into equal
tables. And what others wait for meanwhile: a service in a process of its own is asked for small states over one
connection, in turns by itself and while a version is read.
Run: `python -m benchmarks state_parse`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from uuid import UUID

from asset_ledger.cli.serving import yield_to_others
from asset_ledger.store.database import connect
from asset_ledger.store.partitions import ensure_month
from benchmarks.measuring import (
    Cost,
    Measured,
    bench_server,
    checkpoint,
    copy_rows,
    dump_rows,
    fresh_ledger,
    in_words,
    last_transaction,
    run_client,
    typical,
)
from benchmarks.state_service import RING, Client, Service, aws_state, service
from benchmarks.table import Row

OBJECTS = 10_000
CHANGED = OBJECTS * 2 // 100
ROUNDS = 5
LIMIT, P99_LIMIT = 4.0, 2.0
QUIET_S = 2.5
READINGS = 16


def client_parse(url: str, tenant: str) -> None:
    """Read what waits, and print what that cost and did."""
    import cryptography.hazmat.primitives.ciphers.aead  # noqa: F401 - loaded once a process, however much it reads

    from asset_ledger.pipeline.states import parse_waiting

    del tenant
    with connect(url) as connection, Cost(connection) as cost:
        found = parse_waiting(connection, RING)
    if not found or any(one.said or one.events == 0 for one in found):
        raise RuntimeError(f"a version was not read: {found}")
    cost.print({"events": found[-1].events, "resources": found[-1].resources})


def client_load(url: str, folder: str) -> None:
    """Decode the document and copy the rows, and print what that cost."""
    body = (Path(folder) / "document").read_bytes()
    began = time.monotonic(), time.process_time()
    json.loads(body)
    decoding = {"decoding_s": time.monotonic() - began[0], "decoding_cpu_s": time.process_time() - began[1]}
    print(json.dumps(decoding))
    copy_rows(url, str(Path(folder) / "rows"), "iac")


def measure(rounds: int = ROUNDS) -> list[Row]:
    """Return a row a comparison."""
    with bench_server() as (server, folder):
        url = fresh_ledger(server, "bench")
        with service(url, folder) as running:
            client = running.client()
            ours: list[Measured] = []
            bare: list[float] = []
            size = _write(client, 1)
            _parse(running)
            # not before each: every page is written whole once after one, which a reading meets once in five minutes
            checkpoint(url)
            _write(client, 2)
            _parse(running)
            for serial in range(3, rounds + 3):
                _write(client, serial)
                before = last_transaction(url)
                ours.append(_parse(running))
                if ours[-1]["events"] != CHANGED:
                    raise RuntimeError(f"the version is to change {CHANGED} objects: {ours[-1]}")
                written = dump_rows(url, folder / "rows", since=before, schema="iac")
                (folder / "document").write_bytes(aws_state(OBJECTS, serial, CHANGED))
                equal = fresh_ledger(server, "bench_copy")
                _without_keys(equal, serial)
                bare.append(_load(equal, folder))
            others = _others(running, client, rounds + 3)
    times = median(one["wall_s"] / other for one, other in zip(ours, bare, strict=True))
    return [
        Row(
            f"reading a version of {size / 1e6:.0f} MB, {OBJECTS:,} objects, {CHANGED} of them changed",
            f"{in_words(typical(ours))} ({times:.1f}x), {max(one['peak_mb'] for one in ours):.0f} MB at the most",
            f"`json.loads` of it and a COPY of the {written:,} rows: {median(bare):.2f} s",
            f"at most {LIMIT:g}x",
            times <= LIMIT,
        ),
        others,
    ]


def _write(client: Client, serial: int) -> int:
    body = aws_state(OBJECTS, serial, CHANGED)
    client.ask("POST", "/terraform/state/shop/large", body)
    return len(body)


def _parse(running: Service) -> Measured:
    return run_client("benchmarks.state_parse", "parse", running.database_url, running.tenant_id)


def _load(url: str, folder: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.state_parse", "load", url, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    decoding, copying = map(json.loads, done.stdout.splitlines())
    return float(decoding["decoding_s"] + copying["wall_s"])


def _without_keys(url: str, serial: int) -> None:
    """Make the partition, and let rows in whose tenant and state are not there."""
    del serial
    with connect(url) as connection:
        ensure_month(connection, "iac.resource_events", datetime.now(UTC))
        connection.execute(f'ALTER DATABASE "{connection.info.dbname}" SET session_replication_role = replica')


def _others(running: Service, client: Client, serial: int) -> Row:
    """Compare what somebody else waits while a large version is written and read with what they wait else."""
    asking = running.client()
    asking.ask("POST", "/terraform/state/shop/small", aws_state(25, 1))
    _parse(running)
    command = [sys.executable, "-m", "benchmarks.state_parse", "parse", running.database_url, str(running.tenant_id)]
    quiet: list[float] = []
    while_read: list[float] = []
    for number in range(READINGS):
        client.ask("POST", "/terraform/state/shop/large", aws_state(OBJECTS, serial + number, CHANGED))
        checkpoint(running.database_url)  # what the writing of it leaves the disk to do is not the reading's
        _ask_until(asking, quiet, _after(QUIET_S))
        reading = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            # as `up` starts the daemon and its runs
            start_new_session=True,
            preexec_fn=yield_to_others,  # noqa: PLW1509
        )
        _ask_until(asking, while_read, lambda reading=reading: reading.poll() is not None)
    usual, meanwhile = _p99(quiet), _p99(while_read)
    return Row(
        "another asks for a small state meanwhile: 99 of 100 are answered within",
        f"{1000 * meanwhile:.1f} ms ({meanwhile / usual:.2f}x) in {len(while_read):,} requests, half of them under"
        f" {1000 * median(while_read):.1f} ms",
        f"while nothing is read: {1000 * usual:.1f} ms in {len(quiet):,}, half under {1000 * median(quiet):.1f} ms",
        f"under {P99_LIMIT:g}x",
        meanwhile < P99_LIMIT * usual,
    )


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _ask_until(client: Client, waits: list[float], ended: Callable[[], bool]) -> None:
    while not ended():
        began = time.perf_counter()
        client.ask("GET", "/terraform/state/shop/small")
        waits.append(time.perf_counter() - began)
        time.sleep(0.005)


def _p99(waits: list[float]) -> float:
    return sorted(waits)[int(len(waits) * 0.99)]


if __name__ == "__main__":
    if sys.argv[1] == "parse":
        client_parse(sys.argv[2], str(UUID(sys.argv[3])))
    else:
        client_load(sys.argv[2], sys.argv[3])
