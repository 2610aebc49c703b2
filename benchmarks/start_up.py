"""How long `make run ARGS=--once` takes with the environment in place, against importing Dagster with dagster-dbt.

A first start makes everything: database server, schema, Dagster's storage, the example sources and files; then it
does the main job, prints the ledger and stops. A second start finds all that. Each is measured from outside, as the
command that make runs; one more first start, not among the measured, is traced to say where its time goes.
Run: `python -m benchmarks start_up`.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.table import Row

ROUNDS = 3
LIMIT = 6.0
TIMEOUT_S = 300
COMMAND = ("-m", "asset_ledger.cli.main", "up", "--once")
BARE = ("-c", "import dagster, dagster_dbt")
CODE_LOCATION = ("-c", "from asset_ledger.definitions import load; load().get_repository_def()")
SOURCES, LOAD_LIMIT = 20, 2.0
_TRACE = "ASSET_LEDGER_BENCHMARK_TRACE"


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSET_LEDGER_")}
    # modules compiled at every start would be measured instead of the program
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {
        "ASSET_LEDGER_HOME": str(folder / "home"),
        "ASSET_LEDGER_SOURCES": str(folder / "sources.yaml"),
    }


def _timed(arguments: tuple[str, ...], environment: dict[str, str]) -> tuple[float, float]:
    """Run Python with these arguments; return (wall, CPU) in seconds. Raises RuntimeError if it fails."""
    before, began = _children_cpu_s(), time.monotonic()
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    wall = time.monotonic() - began
    if done.returncode:
        raise RuntimeError((done.stdout[-1500:] + done.stderr[-1500:]).strip())
    return wall, _children_cpu_s() - before


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- where the time goes -----------------------------------------------------------------------------------------


class _Steps:
    """Notes how long named steps took, into a file that several processes add to."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def note(self, name: str, seconds: float) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps([name, seconds]) + "\n")

    def around(self, owner: Any, attribute: str, name: str | Callable[..., str]) -> None:
        """Measure every call of a function; `name` may be made of the call's arguments."""
        function = getattr(owner, attribute)

        def measured(*args: Any, **kwargs: Any) -> Any:
            began = time.monotonic()
            try:
                return function(*args, **kwargs)
            finally:
                self.note(name if isinstance(name, str) else name(*args, **kwargs), time.monotonic() - began)

        setattr(owner, attribute, measured)


def traced_up(steps: _Steps) -> None:
    """Do `up --once` in this process, measuring its steps."""
    began = time.monotonic()
    from asset_ledger.cli import dagster_run, main, main_job, up

    steps.note("imports of the command", time.monotonic() - began)
    steps.around(up.EmbeddedServer, "start", "database server made and started")
    steps.around(up.EmbeddedServer, "stop", "database server stopped")
    steps.around(up, "ensure_database", "ledger's database")
    steps.around(up, "migrate", "its schema")
    steps.around(dagster_run, "prepare", "Dagster's database")
    steps.around(main_job, "run", "_launch")
    steps.around(up, "_show", "ledger printed")
    with tempfile.TemporaryDirectory(prefix="asset-ledger-bench-") as name:
        python = Path(name) / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m benchmarks.start_up launch\n')
        python.chmod(0o755)
        sys.executable = str(python)  # only the run process is started with it
        _run_command(main)


def _run_command(main: Any) -> None:
    sys.argv = ["asset-ledger", *COMMAND[2:]]
    main.run()


def traced_launch(steps: _Steps) -> None:
    """Do what `asset_ledger.launch` does in this process, measuring its steps."""
    began = time.monotonic()
    import dagster as dg

    imported = time.monotonic()
    from asset_ledger import launch

    steps.note("import dagster", imported - began)
    steps.note("import of the project", time.monotonic() - imported)
    steps.around(launch, "load", "definitions")
    steps.around(dg.DagsterInstance, "get", "Dagster's storage")
    steps.around(launch, "_run", lambda _definitions, _instance, request, **_: f"run {request['job']}")
    sys.exit(launch.main())


def _where_time_goes() -> str:
    """Trace a first start and return its steps in their order, with seconds."""
    with tempfile.TemporaryDirectory(prefix="asset-ledger-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # under root the server runs as another user
        trace = folder / "trace"
        wall, _ = _timed(("-m", "benchmarks.start_up", "up"), _environment(folder) | {_TRACE: str(trace)})
        spent: dict[str, float] = {}
        for line in trace.read_text().splitlines():
            step, seconds = json.loads(line)
            spent[step] = spent.get(step, 0.0) + seconds
    began_by_command = ("imports of the command", "database server", "ledger", "its schema")
    launch = spent.pop("_launch")
    spent["other parts of the run process"] = launch - _sum(spent, lambda step: not step.startswith(began_by_command))
    spent["everything else"] = wall - launch - _sum(spent, lambda step: step.startswith(began_by_command))
    return ", ".join(f"{step} {seconds:.1f}" for step, seconds in spent.items() if seconds >= 0.05)


def _sum(spent: dict[str, float], chosen: Callable[[str], bool]) -> float:
    return sum(seconds for step, seconds in spent.items() if chosen(step))


# --- the measurements --------------------------------------------------------------------------------------------


def measure(rounds: int = ROUNDS) -> list[Row]:
    """Return a row a start. Raises RuntimeError where one fails."""
    _timed(BARE, _environment(Path.cwd()))  # compiled once, as the environment in place is
    bare: list[tuple[float, float]] = []
    first: list[tuple[float, float]] = []
    second: list[tuple[float, float]] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="asset-ledger-bench-") as name:
            folder = Path(name)
            folder.chmod(0o711)
            environment = _environment(folder)
            bare.append(_timed(BARE, environment))
            first.append(_timed(COMMAND, environment))
            second.append(_timed(COMMAND, environment))
    yardstick = f"`import dagster, dagster_dbt`: {_typical(bare)}"
    rows = []
    for what, found in (("first", first), ("second", second)):
        ratio = median(a[0] / b[0] for a, b in zip(found, bare, strict=True))
        rows.append(
            Row(
                f"`make run ARGS=--once`, the {what} start",
                f"{_typical(found)} ({ratio:.1f}x)",
                yardstick,
                f"at most {LIMIT:g}x",
                ratio <= LIMIT,
            )
        )
    rows += measure_load(rounds)
    rows.append(Row("where the seconds of a first start go", _where_time_goes(), "", "stated", True))
    return rows


def measure_load(rounds: int = ROUNDS) -> list[Row]:
    """Return how long the code location takes to load with 20 sources: the models parsed already, and not yet."""
    with tempfile.TemporaryDirectory(prefix="asset-ledger-bench-") as name:
        folder = Path(name)
        listed = [
            f"  - {{name: source_{number}, platform: import, inbox: inbox_{number}}}" for number in range(SOURCES)
        ]
        (folder / "sources.yaml").write_text("\n".join(["sources:", *listed, ""]))
        # nothing of it is connected to
        environment = _environment(folder) | {"ASSET_LEDGER_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing"}
        first = _timed(CODE_LOCATION, environment)
        bare, loads = [], []
        for _ in range(rounds):
            bare.append(_timed(BARE, environment))
            loads.append(_timed(CODE_LOCATION, environment))
    ratio = median(a[0] / b[0] for a, b in zip(loads, bare, strict=True))
    yardstick = f"`import dagster, dagster_dbt`: {_typical(bare)}"
    what = f"the code location with {SOURCES} sources"
    return [
        Row(what, f"{_typical(loads)} ({ratio:.2f}x)", yardstick, f"under {LOAD_LIMIT:g}x", ratio < LOAD_LIMIT),
        Row(f"{what}, dbt's models parsed for the first time", _typical([first]), "", "stated", True),
    ]


def _typical(found: list[tuple[float, float]]) -> str:
    wall, cpu = sorted(found)[len(found) // 2]
    return f"{wall:.1f} s, {cpu:.1f} s of CPU"


def main() -> int:
    steps = _Steps(Path(os.environ[_TRACE]))
    {"up": traced_up, "launch": traced_launch}[sys.argv[1]](steps)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
