"""Runs the benchmarks and writes what they found into docs/benchmarks.md: `python -m benchmarks [NAME...]`.

Each benchmark is a module here with `measure() -> list[Row]`. The rows of those that were not run stay as they
are in the page. The exit code is 1 if any limit does not hold.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from benchmarks.table import Row, print_table, table_lines

NAMES = (
    *("import_rows", "persist_day", "replay", "as_of", "duplicates", "start_up"),
    *("ssh_probe", "winrm_probe", "pve_collect", "vcenter_collect", "aliyun_collect"),
    *("state_requests", "terraform_apply", "state_parse", "blast_radius", "drift"),
    *("heartbeats", "agent_reports", "retention", "capacity"),
    *("marts", "workers"),
)
PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}; all if none is given")
    parser.add_argument("--no-write", action="store_true", help=f"leave docs/{PAGE.name} as it is")
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.names if name not in NAMES]:
        parser.error(f"there is no benchmark {', '.join(unknown)}")
    every: list[Row] = []
    for name in chosen.names or NAMES:
        began = time.monotonic()
        busy = os.getloadavg()[0]
        rows = import_module(f"benchmarks.{name}").measure()
        every += rows
        took = time.monotonic() - began
        print(f"{name}: {took:.0f} s", file=sys.stderr)
        if not chosen.no_write:
            write_results(
                PAGE, name, [f"{_machine()}; load {busy:.1f} at the start, {took:.0f} s", "", *table_lines(rows)]
            )
    print_table(every)
    return 0 if all(row.ok for row in every) else 1


def write_results(page: Path, name: str, lines: list[str]) -> None:
    """Put lines between the page's two marker comments of a benchmark. Raises ValueError where they are missing."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    text = page.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise ValueError(f"{page} has no markers of {name}")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}" + "\n".join(lines) + f"\n{end}{after}", encoding="utf-8")


def _machine() -> str:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores of {_processor()}, {gib:.0f} GiB, "
        f"{platform.system()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    raise SystemExit(main())
