"""A large table goes out in as little memory as a small one: the whole process is measured, libraries and all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asset_ledger.exports.formats import FORMATS, Format
from tests.exports.mart import make_large

ROWS = 200_000
MOST_MIB = 120
"""More than for a hundred rows; the table itself is 60 MB as text, and several times that as objects."""
CHILD = """
import sys
from asset_ledger.cli.main import run
sys.argv = ['x', 'export', *sys.argv[1:]]
try:
    run()
finally:
    # not what getrusage says: that counts the process it was forked from
    print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])
"""


def peak_mib(folder: Path, mart: str, form: Format) -> float:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, mart, "-o", f"{mart}.{form}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout) / 1024


@pytest.fixture
def folder(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSET_LEDGER_HOME", str(tmp_path))
    monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", database_url)
    make_large(database_url, 100, "current_assets")
    make_large(database_url, ROWS)
    return tmp_path


def test_memory_does_not_grow_with_the_rows(folder: Path) -> None:
    told = {form: (peak_mib(folder, "current_assets", form), peak_mib(folder, "daily_specs", form)) for form in FORMATS}
    sizes = {form: (folder / f"daily_specs.{form}").stat().st_size for form in FORMATS}
    assert all(large - small < MOST_MIB for small, large in told.values()), told
    assert sizes["csv"] > 40_000_000
