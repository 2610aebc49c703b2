"""`asset-ledger import`: what a dry run says is what the import then says, and each file has one day."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from asset_ledger.cli.dagster_run import PROJECT
from asset_ledger.pipeline.ledger import Ledger
from tests.cli.conftest import FIRST_DAY, HEADER, INSTANCES, SECOND_DAY, Cli


def contents(ledger: Ledger) -> dict[str, int]:
    """Return the number of rows of every table of the ledger."""
    with ledger.connect() as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p')"
        ).fetchall()
        return {name: connection.execute(f"SELECT count(*) FROM ledger.{name}").fetchone()[0] for (name,) in tables}


def test_a_dry_run_prints_what_the_import_then_prints(
    cli: Cli, project: Path, fill: Callable[[str, str, str], str]
) -> None:
    fill("hosts.csv", "2026-01-10", FIRST_DAY)
    file = project / "hosts_2026-01-11.csv"
    file.write_text(SECOND_DAY)
    planned = cli("import", str(file), "--dry-run")
    done = cli("import", str(file))
    again = cli("import", str(file))
    assert (planned.code, done.code, again.code) == (0, 0, 0), done.err
    assert planned.out.splitlines()[0] == "dry run: nothing was written"
    assert done.out.splitlines()[0] == "imported"
    assert planned.out.splitlines()[1:] == done.out.splitlines()[1:]
    assert "machines 4: 1 new, 1 updated, 1 unchanged, 1 in conflict" in done.out
    assert "rows not taken: 1 (1 cells)" in done.out
    assert "IMPORT_NUMBER_INVALID" in done.out
    assert "hardware.cpu_count" in done.out
    assert "nothing changes" in again.out
    assert cli("import", str(file), "-n").out.splitlines()[1:] == again.out.splitlines()[1:]
    assert file.exists()
    assert (project / "inbox/archive/2026-01-11/hosts_2026-01-11.csv").exists()
    (run_id,) = {run["run_id"] for run in json.loads(cli("runs", "list", "--json").out)} - {"run-hosts-2026-01-10"}
    assert "hosts_2026-01-11.csv row 6" in cli("runs", "show", run_id[:8], "--failed").out


def test_a_dry_run_writes_nothing_at_all(cli: Cli, project: Path, ledger: Ledger) -> None:
    before = contents(ledger)
    (project / "hosts.csv").write_text(FIRST_DAY)
    assert cli("import", "hosts.csv", "-n").code == 0
    assert contents(ledger) == before
    assert not (project / "inbox").exists()


def test_the_day_is_the_one_in_the_name_and_another_one_is_refused(cli: Cli, project: Path) -> None:
    for name in ("hosts_2026-01-11.csv", "hosts.csv"):
        (project / name).write_text(HEADER)
    refused = cli("import", "hosts_2026-01-11.csv", "--date", "2026-01-12", "-n")
    assert refused.code == 1
    assert "2026-01-11" in refused.err
    assert "2026-01-12" in refused.err
    assert "for 2026-01-12" in cli("import", "hosts.csv", "--date", "2026-01-12", "-n").out
    assert cli("import", "hosts.csv", "--date", "12.1.2026", "-n").code == 2
    assert cli("import", "hosts.csv", "--date", "2031-01-01", "-n").code == 1


def test_a_file_that_cannot_be_read_is_an_error_and_the_others_are_planned(cli: Cli, project: Path) -> None:
    (project / "bad.csv").write_text("no,such,columns\n1,2,3\n")
    (project / "hosts.csv").write_text(FIRST_DAY)
    (project / "same.csv").write_text(FIRST_DAY)
    done = cli("import", "bad.csv", "hosts.csv", "same.csv", "-n")
    assert done.code == 1
    assert "IMPORT_MISSING_COLUMN: bad.csv" in done.err
    assert "machines 3: 3 new" in done.out
    assert "very content of hosts.csv" in done.out
    as_json = json.loads(cli("import", "hosts.csv", "-n", "--json").out)
    assert as_json[0]["report"]["counts"]["created"] == 3
    assert cli("import", "absent.csv").code == 2
    assert cli("import").code == 2


def test_a_dry_run_of_instances_counts_them(cli: Cli, project: Path) -> None:
    (project / "instances_2026-01-11.csv").write_text(INSTANCES)
    assert "database instances 1: 1 new" in cli("import", "instances_2026-01-11.csv", "-n").out


@pytest.mark.parametrize("name", ["hosts.csv", "instances.csv", "hosts.xlsx", "instances.xlsx"])
def test_a_template_imports_as_it_is(cli: Cli, project: Path, name: str) -> None:
    assert cli("import", "--template", name.split(".")[1], "--output", name).code == 0
    assert "it has no rows" in cli("import", name, "-n").out
    assert cli("import", "--template", name.split(".")[1], "-o", name).code == 2  # never over what is there


def test_which_source_is_asked_where_there_are_several(cli: Cli, project: Path) -> None:
    (project / "hosts.csv").write_text(FIRST_DAY)
    sources = project / "sources.yaml"
    sources.write_text(sources.read_text().replace(", enabled: false", ""))
    done = cli("import", "hosts.csv", "-n")
    assert done.code == 1
    assert "office, old_office" in done.err
    assert "source old_office" in cli("import", "hosts.csv", "-n", "--source", "old_office").out
    assert cli("import", "hosts.csv", "-n", "--source", "probe").code == 1


@pytest.mark.parametrize("debug", [False, True])
def test_a_failed_import_is_one_line_and_a_traceback_only_for_who_asks(project: Path, debug: bool) -> None:
    (project / "hosts_2026-01-10.csv").write_text("what,is,this\n1,2,3\n")
    command = [sys.executable, "-m", "asset_ledger.cli.main", *(["--debug"] if debug else [])]
    done = subprocess.run(
        [*command, "import", "hosts_2026-01-10.csv"],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "nothing was imported"
    if debug:
        assert "Traceback" in done.stderr or "Stack Trace" in done.stderr
        return
    (line,) = done.stderr.splitlines()
    assert line.strip().startswith("IMPORT_")
