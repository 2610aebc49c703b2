"""What reading a vCenter of 10,000 machines costs, against the bare transfer, pyvmomi, and a COPY of what is written.

The server is the simulator of the tests, spoken to directly. Every client is a process of its own; what is compared is
measured in turns, and the median of the ratios counts. Without the simulator's Debian packages nothing is measured.
Run: `python -m benchmarks vcenter_collect`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from asset_ledger.domain.calendar import collected_date
from benchmarks.measuring import (
    Measured,
    bench_server,
    checkpoint,
    cpu_s,
    drop_ledger,
    dump_rows,
    equal_tables,
    fresh_ledger,
    in_words,
    last_transaction,
    run_client,
    typical,
)
from benchmarks.table import Row
from benchmarks.vcenter_clients import FETCHED, FIRST_READING, HOSTS_READING, PATHS, SECOND_READING, SOURCE, WALKED

MACHINES, FEWER = 10_000, 2_000
CLUSTERS, HOSTS_A_CLUSTER = 10, 10
HOSTS = CLUSTERS * HOSTS_A_CLUSTER
WALKED_MACHINES = 300
CHANGED = MACHINES * 2 // 100
ROUNDS = 3
TRANSFER_LIMIT = 3.0
BATCHED_LIMIT = 4.0
WALKED_LIMIT = 20.0
COPY_LIMIT = 4.0
MEMORY_LIMIT_MB = 256
MANY = 100_000
"""More than any vCenter has: what memory would grow to, if what it grows by went on, is held to the limit there."""
CLIENTS = "benchmarks.vcenter_clients"


# --- the simulator -----------------------------------------------------------------------------------------------


@contextmanager
def simulator(folder: Path, machines: int) -> Iterator[None]:
    """Serve a vCenter in a process of its own, with the source that reads it in a folder made for it."""
    folder.mkdir()
    size = ("--clusters", CLUSTERS, "--hosts", HOSTS_A_CLUSTER, "--vms", machines // CLUSTERS)
    command = [sys.executable, "-m", "tests.doubles.vcenter", *map(str, size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the simulator did not start: see above")
            place: dict[str, str] = json.loads(line)
            config = {
                "name": "bench",
                "platform": "vcenter",
                "endpoint": place["endpoint"],
                "ca_file": place["ca_file"],
                "credential_ref": "env:VCENTER",
            }
            credential = {"username": place["username"], "password": place["password"]}
            (folder / SOURCE).write_text(json.dumps({"config": config, "credential": credential}))
            _client("furnish", folder)
            yield
        finally:
            process.stdin.close()  # it ends with its input, and so does its simulator
            process.wait(60)


def _client(name: str, folder: Path, *more: object) -> Measured:
    return run_client(CLIENTS, name, folder, *more)


# --- reading -----------------------------------------------------------------------------------------------------


def against_others(folder: Path) -> tuple[list[Row], float]:
    """Compare reading with the bare transfer and with pyvmomi. Return the rows, and the memory that it took in MB."""
    names = ("collected", "bare", "extracted", "documents", "batched")
    found: dict[str, list[Measured]] = {name: [] for name in names}
    for _ in range(ROUNDS):  # in turns, so that a busy moment falls on all
        for name in names:
            found[name].append(_client(name, folder))
    bare, whole = found["bare"], found["extracted"]
    _check(found)
    size = typical(bare)["bytes"] / 1e6
    transfer = f"the same request by `http.client`, {size:.0f} MB read and thrown away: {_words(bare)}"
    rows = [
        Row(
            f"collect of {MACHINES:,} machines, {len(PATHS)} properties asked of each, and every one of them "
            "extracted; with connecting, login, rights, views, places, second count and logout",
            f"{_words(whole)} ({_times(whole, bare):.1f}x)",
            transfer,
            f"at most {TRANSFER_LIMIT:g}x",
            _times(whole, bare) <= TRANSFER_LIMIT,
        ),
        Row(
            "the same without extracting: to the raw that a run keeps",
            f"{_words(found['collected'])} ({_times(found['collected'], bare):.1f}x)",
            transfer,
            "stated",
            True,
        ),
        Row(
            "the same to every document and the proof",
            f"{_words(found['documents'])} ({_times(found['documents'], bare):.1f}x)",
            transfer,
            "stated",
            True,
        ),
        _faster(
            "the first against pyvmomi, both from connecting to the last property",
            whole,
            found["batched"],
            f"SmartConnect, RetrievePropertiesEx of the same paths, every value looked at: {_words(found['batched'])}, "
            f"{_peak(found['batched']):.0f} MB",
            BATCHED_LIMIT,
        ),
        *_against_walking(folder),
    ]
    return rows, max(_peak(found["documents"]), _peak(whole))


def _check(found: dict[str, list[Measured]]) -> None:
    """Raise RuntimeError where a client did not read everything, or not the same."""
    bare = found["bare"][0]
    if bare["status"] != 200 or any(one["bytes"] < bare["bytes"] for one in found["collected"]):
        raise RuntimeError(f"the bare transfer is not that of a collect: {bare} {found['collected']}")
    read = {(one["machines"], one["properties"]) for name in ("extracted", "batched") for one in found[name]}
    if len(read) != 1:
        raise RuntimeError(f"not every client read the same: {read}")
    if any(one["machines"] != MACHINES or not one["complete"] for one in found["documents"]):
        raise RuntimeError(f"not every machine was read, or not proven so: {found['documents']}")


def _against_walking(folder: Path) -> list[Row]:
    """Compare with reading object by object, a few of them in turns with ours."""
    ours: dict[str, list[Measured]] = {"paths": [], "whole": []}
    theirs: dict[str, list[Measured]] = {"paths": [], "whole": []}
    times = MACHINES / WALKED_MACHINES
    for how, found in theirs.items():
        for _ in range(ROUNDS):
            ours[how].append(_client("extracted", folder))
            few = _client("walked", folder, WALKED_MACHINES, how)
            found.append({"wall_s": few["wall_s"] * times, "cpu_s": few["cpu_s"] * times})
    by_path = f"`vm.config.hardware.numCPU` and so on, {len(WALKED)} paths"
    by_name = f"each of its {len(FETCHED)} properties fetched once, as a whole"
    scaled = f"{WALKED_MACHINES} of them, times {times:.1f}"
    return [
        _faster(
            "the same against pyvmomi machine by machine",
            ours["paths"],
            theirs["paths"],
            f"{by_path}: {_words(theirs['paths'])} ({scaled})",
            WALKED_LIMIT,
        ),
        _faster(
            "the same against fewer reads of more",
            ours["whole"],
            theirs["whole"],
            f"{by_name}: {_words(theirs['whole'])} ({scaled})",
            None,
        ),
    ]


def _faster(what: str, ours: list[Measured], theirs: list[Measured], against: str, limit: float | None) -> Row:
    times = _times(theirs, ours)
    bound = "stated" if limit is None else f"at least {limit:g}x faster"
    return Row(what, f"{_words(ours)} ({times:.1f}x faster)", against, bound, limit is None or times >= limit)


def memory(folder: Path, most: float) -> Row:
    """Compare the memory of reading 10,000 machines, which is known, with that of reading fewer."""
    fewer = _client("documents", folder)
    if fewer["machines"] != FEWER:
        raise RuntimeError(f"not every machine was read: {fewer}")
    many = _with_many(most, fewer["peak_mb"])
    return Row(
        "its memory, with extracting and documents",
        f"{most:.0f} MB at the most; at this rate {many:.0f} MB with {MANY:,} machines",
        f"with {FEWER:,} machines: {fewer['peak_mb']:.0f} MB",
        f"under {MEMORY_LIMIT_MB} MB",
        max(most, many) < MEMORY_LIMIT_MB,
    )


def _with_many(most: float, fewer: float) -> float:
    return most + max(most - fewer, 0) / (MACHINES - FEWER) * (MANY - MACHINES)


# --- into the ledger ---------------------------------------------------------------------------------------------


def into_the_ledger(folder: Path, small: Path) -> list[Row]:
    """Compare deriving from kept raw, on a first day and the next, with a bare COPY of what each wrote."""
    second_day = collected_date(datetime.now(UTC)) - timedelta(days=1)
    first_day = second_day - timedelta(days=1)
    first: list[Measured] = []
    copied: list[Measured] = []
    second: list[Measured] = []
    copied_again: list[Measured] = []
    kept: list[Measured] = []
    with bench_server() as (server, work):
        rows = work / "rows"
        for _ in range(ROUNDS):
            url = fresh_ledger(server, "bench_vcenter")
            _client("keep", folder, HOSTS_READING, "hosts", url, first_day)
            _client("derive", folder, "hosts", url, first_day)
            for file, day, ours, theirs in (
                (FIRST_READING, first_day, first, copied),
                (SECOND_READING, second_day, second, copied_again),
            ):
                kept.append(_client("keep", folder, file, "vms", url, day))
                before = last_transaction(url)
                checkpoint(url)
                ours.append(_client("derive", folder, "vms", url, day))
                ours[-1]["rows"] = dump_rows(url, rows, since=before)
                theirs.append(_copied(equal_tables(server, [first_day, second_day], url), rows))
                drop_ledger(server, "bench_copy")
        url = fresh_ledger(server, "bench_vcenter")
        _client("keep", small, HOSTS_READING, "hosts", url, first_day)
        _client("derive", small, "hosts", url, first_day)
        fewer = _peak([_client("keep", small, FIRST_READING, "vms", url, first_day)])
        fewer = max(fewer, _peak([_client("derive", small, "vms", url, first_day)]))
    created, changed = ({(one["created"], one["updated"]) for one in ours} for ours in (first, second))
    if (created, changed) != ({(MACHINES, 0)}, {(0, CHANGED)}):
        raise RuntimeError(f"all machines are to be new, then {CHANGED} to change: {first} {second}")
    peak = _peak([*first, *second, *kept])
    return [
        Row(
            f"from raw to ledger: {MACHINES:,} machines that are new, on {HOSTS} hosts that the ledger knows",
            f"{in_words(typical(first))} ({_times(first, copied):.1f}x; CPU {_cpu_times(first, copied):.1f}x)",
            f"bare COPY of the {first[0]['rows']:,} rows it wrote: {in_words(typical(copied))}",
            f"at most {COPY_LIMIT:g}x",
            _times(first, copied) <= COPY_LIMIT,
        ),
        Row(
            "the same the next day, 2 % of them changed",
            f"{in_words(typical(second))} ({_times(second, copied_again):.1f}x; "
            f"CPU {_cpu_times(second, copied_again):.1f}x)",
            f"bare COPY of the {second[0]['rows']:,} rows it wrote: {in_words(typical(copied_again))}",
            "stated",
            True,
        ),
        Row(
            "keeping their raw, which a run does while the server answers",
            in_words(typical(kept)),
            "",
            "stated",
            True,
        ),
        Row(
            "memory of keeping raw and deriving",
            f"{peak:.0f} MB at the most",
            f"with {FEWER:,} machines: {fewer:.0f} MB",
            f"under {MEMORY_LIMIT_MB} MB",
            peak < MEMORY_LIMIT_MB,
        ),
    ]


def _copied(url: str, rows: Path) -> Measured:
    checkpoint(url)
    return run_client("benchmarks.measuring", url, rows)


# --- in words ----------------------------------------------------------------------------------------------------


def _times(found: list[Measured], others: list[Measured]) -> float:
    return median(a["wall_s"] / b["wall_s"] for a, b in zip(found, others, strict=True))


def _cpu_times(found: list[Measured], others: list[Measured]) -> float:
    return median(cpu_s(a) / cpu_s(b) for a, b in zip(found, others, strict=True))


def _peak(found: list[Measured]) -> float:
    return max(one["peak_mb"] for one in found)


def _words(found: list[Measured]) -> str:
    usual = typical(found)
    return f"{usual['wall_s']:.1f} s, {usual['cpu_s']:.1f} s of CPU"


def measure() -> list[Row]:
    """Return a row a comparison. Raises RuntimeError where a client did not read everything."""
    from tests.doubles.vcenter.vcsim import missing

    if reason := missing():
        return [Row(f"reading {MACHINES:,} machines", "not measured", f"the simulator {reason}", "stated", True)]
    with tempfile.TemporaryDirectory(prefix="asset-ledger-bench-") as name:
        everything, few = Path(name) / "all", Path(name) / "few"
        with simulator(everything, MACHINES):
            _client("record", everything, "hosts", HOSTS_READING)
            _client("record", everything, "vms", FIRST_READING)
            rows, most = against_others(everything)
            _client("change", everything, CHANGED)
            _client("record", everything, "vms", SECOND_READING)
        with simulator(few, FEWER):
            _client("record", few, "hosts", HOSTS_READING)
            _client("record", few, "vms", FIRST_READING)
            rows.append(memory(few, most))
        return [*rows, *into_the_ledger(everything, few)]
