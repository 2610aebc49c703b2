"""What reading a big Aliyun account costs, against bare requests and json.loads, and what it costs who has none.

The account is the double of the tests, a process of its own that answers every request 30 ms late: 20 regions with 500
instances each. One collect is recorded first; its requests are what the bare client sends, its raw is what is parsed.
What is imported is measured in two copies of the program, one of them without the platform.
Run: `python -m benchmarks aliyun_collect`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import parse_qs

import yaml

from asset_ledger.sources.aliyun.pages import DISKS, INSTANCES, REGIONS
from asset_ledger.sources.aliyun.regions import PAGE_SIZES
from benchmarks.aliyun_clients import REQUESTS, SOURCE
from benchmarks.measuring import Measured, run_client, typical
from benchmarks.table import Row

ACCOUNT_REGIONS, INSTANCES_A_REGION, DISKS_AN_INSTANCE, LATENCY_S = 20, 500, 2, 0.03
MACHINES = ACCOUNT_REGIONS * INSTANCES_A_REGION
PARALLEL = 4
"""What `parallel` is where a source does not say."""
ROUNDS = 7
IMPORT_ROUNDS = 11
BARE_LIMIT = 1.5
MEMORY_REGIONS, MEMORY_INSTANCES = (6, 20), 5000
"""With six regions as many are open at once as ever are."""
TIMEOUT_S = 300
CLIENTS = "benchmarks.aliyun_clients"
PROGRAM = Path(__file__).resolve().parent.parent
PACKAGE = "asset_ledger.sources.aliyun"

DRY_RUNS = f"DryRun of {INSTANCES}"
KINDS = (REGIONS, DRY_RUNS, INSTANCES, DISKS)


# --- the double --------------------------------------------------------------------------------------------------


@contextmanager
def double(folder: Path, regions: int = ACCOUNT_REGIONS, instances: int = INSTANCES_A_REGION) -> Iterator[None]:
    """Serve an account with so many regions and instances in each, and write the source that reads it."""
    size = ("--regions", regions, "--instances", instances, "--disks", DISKS_AN_INSTANCE)
    command = [sys.executable, "-m", "tests.doubles.aliyun", *map(str, size), "--latency", str(LATENCY_S)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            place: dict[str, Any] = json.loads(process.stdout.readline())
            config = {
                "name": "bench",
                "platform": "aliyun",
                "endpoint": place["endpoint"],
                "ca_file": place["ca_file"],
                "credential_ref": "env:ALIYUN",
                "parallel": PARALLEL,
            }
            credential = {name: place[name] for name in ("access_key_id", "access_key_secret")}
            (folder / SOURCE).write_text(json.dumps({"config": config, "credential": credential}))
            yield
        finally:
            process.terminate()


# --- the requests ------------------------------------------------------------------------------------------------


def requests_made(folder: Path, told: Measured) -> Row:
    """Say what was asked, and how often. Only the list of regions is asked for twice: first and at the end."""
    recorded = json.loads((folder / REQUESTS).read_text())
    if (told["requests"], told["records"]) != (len(recorded), ACCOUNT_REGIONS + 1):
        raise RuntimeError(f"{len(recorded)} requests were recorded of this reading: {told}")
    counted = Counter(_kind(one) for one in recorded)
    asked = Counter((one["action"], one["host"], one["url"]) for one in recorded)
    twice = sum(times - 1 for (action, *_), times in asked.items() if action != REGIONS)
    least = {
        REGIONS: 2,
        DRY_RUNS: ACCOUNT_REGIONS,
        INSTANCES: ACCOUNT_REGIONS * _pages(INSTANCES, INSTANCES_A_REGION),
        DISKS: ACCOUNT_REGIONS * _pages(DISKS, INSTANCES_A_REGION * DISKS_AN_INSTANCE),
    }
    return Row(
        f"requests of one collect of {ACCOUNT_REGIONS} regions with {INSTANCES_A_REGION} instances each, "
        f"{DISKS_AN_INSTANCE} disks an instance",
        f"{len(recorded):,}: {', '.join(f'{kind} {counted[kind]:,}' for kind in KINDS)}; "
        f"{twice} asked twice but for the regions, first and at the end",
        f"full pages of {PAGE_SIZES[INSTANCES]} instances and {PAGE_SIZES[DISKS]} disks make {sum(least.values()):,}",
        "none twice, none more than that",
        counted == least and not twice and not told["rate_limited"] and not told["restarts"],
    )


def _kind(one: dict[str, Any]) -> str:
    dry = "DryRun" in parse_qs(one["url"].partition("?")[2])
    return f"DryRun of {one['action']}" if dry else str(one["action"])


def _pages(action: str, rows: int) -> int:
    return -(-rows // PAGE_SIZES[action])


def under_way(folder: Path) -> tuple[int, float]:
    """Return how many recorded requests were under way at once: at most, and on average."""
    recorded = json.loads((folder / REQUESTS).read_text())
    edges = sorted([(one["began"], 1) for one in recorded] + [(one["ended"], -1) for one in recorded])
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most, sum(one["ended"] - one["began"] for one in recorded) / (edges[-1][0] - edges[0][0])


# --- reading -----------------------------------------------------------------------------------------------------


def against_bare(folder: Path) -> Row:
    """Compare collecting with sending the very same requests from as many threads."""
    most, mean = under_way(folder)
    if most != PARALLEL:
        raise RuntimeError(f"{most} requests were under way at once, and {PARALLEL} threads are to be compared with")
    ours: list[Measured] = []
    bare: list[Measured] = []
    for _ in range(ROUNDS):  # in turns, so that a busy moment falls on both
        ours.append(run_client(CLIENTS, "ours", folder))
        bare.append(run_client(CLIENTS, "bare", folder, most))
    if len({one["requests"] for one in ours + bare}) != 1:
        raise RuntimeError(f"not every client sent the same requests: {ours} {bare}")
    ratios = [a["wall_s"] / b["wall_s"] for a, b in zip(ours, bare, strict=True)]
    return Row(
        f"collect of {MACHINES:,} instances, {PARALLEL} regions at a time, every record consumed",
        f"{_words(ours)} ({median(ratios):.2f}x, {min(ratios):.2f} to {max(ratios):.2f} in {ROUNDS} pairs); "
        f"of {most} requests at once {mean:.1f} on average",
        f"the same requests, signed anew, by `http.client` from {most} threads, "
        f"{typical(bare)['bytes'] / 1e6:.1f} MB read and thrown away: {_words(bare)}",
        f"at most {BARE_LIMIT}x",
        median(ratios) <= BARE_LIMIT,
    )


def _words(found: list[Measured]) -> str:
    usual = typical(found)
    return f"{usual['wall_s']:.2f} s, {usual['cpu_s']:.2f} s of CPU"


def against_loads(folder: Path) -> Row:
    """Compare parsing the kept raw of one reading with loading its lines."""
    found = run_client(CLIENTS, "parse", folder)
    if found["documents"] != MACHINES:
        raise RuntimeError(f"not every instance was parsed: {found}")
    return Row(
        f"parse of the kept raw to {MACHINES:,} documents and the proof",
        f"{found['parsed_s'] * 1000:.0f} ms of CPU ({found['ratio']:.1f}x)",
        f"`json.loads` of the same {found['lines']:,.0f} lines, {found['bytes'] / 1e6:.1f} MB: "
        f"{found['loaded_s'] * 1000:.0f} ms of CPU",
        "stated",
        True,
    )


# --- memory ------------------------------------------------------------------------------------------------------


def memory(folder: Path) -> Row:
    """Say what reading large regions needs, few of them and many: as much as those need that are open at once."""
    found: list[Measured] = []
    for regions in MEMORY_REGIONS:
        with double(folder, regions, MEMORY_INSTANCES):
            found.append(run_client(CLIENTS, "documents", folder))
        if found[-1]["machines"] != regions * MEMORY_INSTANCES:
            raise RuntimeError(f"not every instance was read: {found}")
    fewer, more = found
    less, most = (one["peak_mb"] - one["before_mb"] for one in found)
    return Row(
        f"its memory, with documents: {more['machines']:,.0f} instances, {MEMORY_INSTANCES:,} a region",
        f"{most:.0f} MB over what is imported",
        f"with {fewer['machines']:,.0f} instances, {MEMORY_INSTANCES:,} a region: {less:.0f} MB; "
        f"what is imported: {more['before_mb']:.0f} MB",
        "stated",
        True,
    )


# --- who has no source of it -------------------------------------------------------------------------------------

IMPORTING = """
import json, sys, time
from pathlib import Path
began = time.process_time()
import asset_ledger.sources.registry
from asset_ledger.cli import main
for name in main.COMMANDS:
    main._load(name)
from asset_ledger.sources.config import load_sources
load_sources(Path("sources.yaml"))
usual, modules = time.process_time() - began, sorted(sys.modules)
began = time.process_time()
asset_ledger.sources.registry.error_codes()
every, more = time.process_time() - began, sorted(set(sys.modules) - set(modules))
print(json.dumps([asset_ledger.__file__, usual, modules, every, more]))
"""
"""What everybody imports: all commands, and the platforms of the sources there are. Then what asks every platform."""


class Imports:
    """What one process imported: CPU seconds and modules, first as everybody does, then by asking every platform."""

    def __init__(self, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSET_LEDGER_")}
        # modules compiled at every start would be measured instead
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        done = subprocess.run(
            [sys.executable, "-c", IMPORTING],
            cwd=folder,
            env=kept | {"PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        file, self.usual_s, self.modules, self.every_s, self.more = json.loads(done.stdout)
        if not Path(file).is_relative_to(folder):
            raise RuntimeError(f"{file} was imported, and not the copy in {folder}")


def copies(folder: Path) -> tuple[Path, Path]:
    """Write two copies of the program with sources of all other platforms, and return them.

    From the second the platform is gone: its line of the registry and its folder.
    """
    said = yaml.safe_load((PROGRAM / "sources.example.yaml").read_text(encoding="utf-8"))
    said["sources"] = [source for source in said["sources"] if source["platform"] != "aliyun"]
    whole, without = folder / "whole", folder / "without"
    for copy in (whole, without):
        code = copy / "asset_ledger"
        shutil.copytree(PROGRAM / "asset_ledger", code, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "sources.yaml").write_text(json.dumps(said))
    registry = without / "asset_ledger" / "sources" / "registry.py"
    text, lines = re.subn(rf'\n +"aliyun": "{re.escape(PACKAGE)}",', "", registry.read_text(encoding="utf-8"))
    if lines != 1:
        raise RuntimeError(f"{lines} lines of the registry name the platform")
    registry.write_text(text, encoding="utf-8")
    shutil.rmtree(without / "asset_ledger" / "sources" / "aliyun")
    return whole, without


def importing(folder: Path) -> list[Row]:
    """Compare what is imported with the platform and without; noise is what two equal runs beside it differ by."""
    whole, without = copies(folder)
    for copy in (whole, without):
        Imports(copy)  # compiled once, as an installation is
    rounds = [(Imports(without), Imports(whole), Imports(without)) for _ in range(IMPORT_ROUNDS)]
    noise = median(abs(before.usual_s - after.usual_s) for before, _, after in rounds)
    added = median(ours.usual_s - (before.usual_s + after.usual_s) / 2 for before, ours, after in rounds)
    for_all = median(ours.every_s - (before.every_s + after.every_s) / 2 for before, ours, after in rounds)
    _, ours, other = rounds[0]
    unlike = set(ours.modules) ^ set(other.modules)
    only_ours = set(ours.more) - set(other.more)
    if not _of_it(ours.modules + ours.more) or _of_it(other.modules + other.more):
        raise RuntimeError("the copies do not differ by the platform")
    usual = [median(each.usual_s for each in found) * 1000 for found in zip(*rounds, strict=True)]
    return [
        Row(
            "import for who has no source of it: the registry, every command, the platforms of the other example "
            "sources",
            f"{usual[1]:.0f} ms of CPU, {len(ours.modules):,} modules, "
            f"{_of_it(ours.modules)} of the platform ({added * 1000:+.1f} ms)",
            f"without its folder and its line of the registry: {(usual[0] + usual[2]) / 2:.0f} ms, "
            f"{len(other.modules):,} modules; two equal runs differ by {noise * 1000:.1f} ms",
            "the same modules, at most what two equal runs differ by",
            not unlike and added <= noise,
        ),
        Row(
            "the same for what asks every platform there is: `errors`, and a run's process for its pool limits",
            f"{for_all * 1000:+.1f} ms of CPU, {_of_it(only_ours)} modules of the platform and "
            f"{len(only_ours) - _of_it(only_ours)} others",
            "without its folder and its line of the registry",
            "stated",
            True,
        ),
    ]


def _of_it(modules: Iterable[str]) -> int:
    return sum(name.startswith(PACKAGE) for name in modules)


def measure() -> list[Row]:
    """Return a row a comparison. Raises RuntimeError where a client did not read everything."""
    with tempfile.TemporaryDirectory(prefix="asset-ledger-bench-") as name:
        folder = Path(name)
        with double(folder):
            told = run_client(CLIENTS, "record", folder)
            rows = [requests_made(folder, told), against_bare(folder)]
        rows.append(against_loads(folder))
        return [*rows, memory(folder), *importing(folder)]
