"""`asset-ledger export`: what is listed, what is written, that a file is whole or not there, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet as pq
import pytest

from asset_ledger.cli.exporting import _to_stdout
from asset_ledger.domain.errors import EXPORT_FILE_EXISTS, EXPORT_TO_TERMINAL, LedgerError, PermanentError
from asset_ledger.pipeline.exports import whole_file
from asset_ledger.store.database import connect, rows
from tests.cli.conftest import HEADER, Cli
from tests.exports.mart import HEAD, NAME, ROWS, make_large, make_mart


@pytest.fixture
def mart(project: Path, database_url: str) -> str:
    make_mart(database_url)
    return NAME


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def read(path: Path) -> list[dict[str, str]]:
    return table(path.read_bytes().decode())


def test_the_list_says_what_there_is_and_what_is_not_built(mart: str, cli: Cli) -> None:
    found = {each["name"]: each for each in json.loads(cli("export", "--list", "--json").out)["exports"]}
    assert found["assets"]["built"]
    assert found[mart] == found[mart] | {
        "built": True, "has_days": True, "first_day": "2026-11-01", "last_day": "2026-11-03", "description": "What each machine was.",
    }  # fmt: skip
    assert not found["current_assets"]["built"]
    shown = cli("export", "--list")
    assert "2026-11-01 to 2026-11-03" in shown.out
    assert "marts build" in shown.err


def test_the_list_counts_rows_as_the_list_of_marts_does(mart: str, cli: Cli, database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute("CREATE TABLE marts.link_review AS SELECT n FROM generate_series(1, 6) AS n")
        connection.execute("CREATE TABLE marts.duplicate_review (n integer)")
        connection.execute("CREATE TABLE marts.current_assets AS SELECT n FROM generate_series(1, 7) AS n")
        connection.execute("ANALYZE marts.current_assets")
        connection.execute("INSERT INTO marts.current_assets VALUES (8)")
    counted = {each["name"]: each["row_count"] for each in json.loads(cli("marts", "list", "--json").out)}
    assert counted == {mart: len(ROWS), "link_review": 6, "duplicate_review": 0, "current_assets": 8}
    listed = {each["name"]: each["rows"] for each in json.loads(cli("export", "--list", "--json").out)["exports"]}
    assert {name: rows for name, rows in listed.items() if rows is not None} == counted


def test_what_has_no_such_days_names_what_has(mart: str, cli: Cli, database_url: str) -> None:
    make_mart(database_url, "current_assets")
    with connect(database_url) as connection:
        connection.execute("ALTER TABLE marts.current_assets DROP COLUMN collected_date")
    for option in ("--as-of", "--since", "--until"):
        done = cli("export", "current_assets", option, "2026-11-01")
        assert done.code == 1
        assert "it is of now" in done.err
        assert "assets is the machines as of a day (as_of)" in done.err
        assert "daily_specs what they were on each (since, until)" in done.err
    assert "it is of one day (as_of)" in cli("export", "assets", "--until", "2026-11-01").err


def test_a_mart_is_the_same_in_every_format_and_in_the_database(
    mart: str, cli: Cli, project: Path, database_url: str
) -> None:
    for form in ("csv", "parquet", "xlsx"):
        done = cli("export", mart, "-o", f"all.{form}")
        assert (done.code, done.out) == (0, "")
        assert "4 rows" in done.err
    real = pq.read_table(project / "all.parquet").to_pylist()
    with connect(database_url) as connection:
        # one statement of ours says what is there; the order is that of the columns
        told = rows(
            connection,
            f"SELECT collected_date, source_id, asset_id::text, hostname, cpu_cores, memory_bytes, share, load, virtual,"
            f" seen_at, tags, source_ids FROM marts.{mart} ORDER BY collected_date, source_id",
        )
    assert len(real) == len(ROWS)
    assert [{name: row[name] for name in told[0]} for row in real] == told
    assert [row["mgmt_ip"] for row in real] == ["10.0.0.1", "10.0.0.2", "10.0.0.0/24", None]
    assert real[0]["addresses"] == ["10.0.0.1", "fd00::1"]
    assert json.loads(real[0]["facts"]) == {"owner": "平台组"}
    text = read(project / "all.csv")
    assert list(text[0]) == HEAD
    for row, values in zip(text, real, strict=True):
        assert row["hostname"] == (values["hostname"] or "")
        assert row["memory_bytes"] == ("" if values["memory_bytes"] is None else str(values["memory_bytes"]))
        assert row["tags"] == ("" if values["tags"] is None else json.dumps(values["tags"]))
    assert [row["ratio"] for row in text] == ["0.125", "12345678901234567890.5", "", "0"]
    assert text[0]["seen_at"] == "2026-11-01T01:02:03.456000Z"
    sheet = openpyxl.load_workbook(project / "all.xlsx")[mart]
    cells = [dict(zip(HEAD, row, strict=True)) for row in sheet.iter_rows(min_row=2, values_only=True)]
    assert [row["hostname"] for row in cells] == [row["hostname"] for row in real]
    assert [row["cpu_cores"] for row in cells] == [8, None, None, 0]
    assert cells[1]["memory_bytes"] == str(2**60)
    cli("export", mart, "-o", "again.csv")
    assert (project / "again.csv").read_bytes() == (project / "all.csv").read_bytes()


def test_days_and_filters_choose_rows(mart: str, cli: Cli) -> None:
    def hosts(*options: str) -> list[str]:
        done = cli("export", mart, *options)
        assert done.code == 0, done.err
        return [row["mgmt_ip"] for row in table(done.out)]

    assert hosts("--since", "2026-11-02", "--until", "2026-11-02") == ["10.0.0.0/24"]
    assert hosts("--filter", "mgmt_ip=10.0.0.2") == ["10.0.0.2"]
    assert hosts("--filter", "tags=a,b") == ["10.0.0.1"]
    assert hosts("--filter", "source_id=1", "--filter", "source_id=2", "--filter", "cpu_cores=8") == ["10.0.0.1"]
    assert hosts("--filter", "addresses=fd00::1", "--filter", "hostname=' OR 1=1 --") == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["current_assets"], "EXPORT_NOT_BUILT", "asset-ledger marts build"),
        (["nothing"], "EXPORT_UNKNOWN", "current_assets"),
        (["pg_class"], "EXPORT_UNKNOWN", "export --list"),
        (["marts.daily_specs; DROP TABLE x"], "EXPORT_UNKNOWN", "no mart"),
        ([NAME, "--filter", "secret=1"], "EXPORT_UNKNOWN", "it has collected_date"),
        ([NAME, "--as-of", "2026-11-01"], "EXPORT_UNKNOWN", "since and until"),
        (["assets", "--since", "2026-11-01"], "EXPORT_UNKNOWN", "no days"),
        ([NAME, "-o", "there.csv"], "EXPORT_FILE_EXISTS", "--force"),
        ([NAME, "-o", "no/folder.csv"], "EXPORT_FILE_UNWRITABLE", "No such file"),
    ],
)
def test_what_cannot_be_exported_says_why_and_what_next(
    mart: str, cli: Cli, project: Path, arguments: list[str], code: str, says: str
) -> None:
    (project / "there.csv").write_text("mine")
    done = cli("export", *arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(code)
    assert says in done.err
    assert (project / "there.csv").read_text() == "mine"


@pytest.mark.parametrize("option", [["--as-of", "2026-13-01"], ["--as-of", "2999-01-01"], ["--filter", "x"], ["--since", "2026-11-03", "--until", "2026-11-01"], ["--for-excel", "-f", "xlsx"]])  # fmt: skip
def test_wrong_options_are_wrong_usage(mart: str, cli: Cli, option: list[str]) -> None:
    assert cli("export", mart, *option).code == 2


def test_a_file_is_replaced_by_force_alone_and_never_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with whole_file(path) as file:
        file.write(b"whole")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    with pytest.raises(PermanentError) as refused, whole_file(path):
        pass
    assert refused.value.code is EXPORT_FILE_EXISTS
    with whole_file(path, force=True) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    path.unlink()
    with pytest.raises(PermanentError, match="EXPORT_FILE_EXISTS"), whole_file(path) as file:
        path.write_bytes(b"came meanwhile")
    assert path.read_bytes() == b"came meanwhile"
    with suppress(KeyError), whole_file(path, force=True) as file:
        file.write(b"half")
        raise KeyError
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a.csv", b"came meanwhile")]


def test_a_failure_in_the_middle_leaves_nothing(cli: Cli, project: Path, database_url: str) -> None:
    make_mart(database_url, rows=[(*row[:3], "x" * 40_000, *row[4:]) for row in ROWS])
    done = cli("export", NAME, "-o", "wide.xlsx")
    assert done.err.startswith("EXPORT_CELL_TOO_LONG")
    assert not [each.name for each in project.iterdir() if "wide" in each.name]
    assert cli("export", NAME, "-o", "wide.csv").code == 0
    with connect(database_url) as connection:
        connection.execute(f"UPDATE marts.{NAME} SET seen_at = 'infinity' WHERE collected_date = '2026-11-02'")
    assert cli("export", NAME, "-o", "endless.csv").err.startswith("EXPORT_VALUE_UNFIT")
    assert not list(project.glob("*endless*"))


def test_nothing_binary_is_written_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(LedgerError) as refused:
        _to_stdout(iter([b"PAR1"]), "parquet")
    assert refused.value.code is EXPORT_TO_TERMINAL
    _to_stdout(iter([b"a\r\n", b"\x1b[2J\r\n"]), "csv")
    assert capsys.readouterr().out == "a\n\\x1b[2J\n", "a name that would clear the screen"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_killed_in_the_middle_there_is_no_file(project: Path, database_url: str, number: signal.Signals) -> None:
    make_large(database_url, 120_000)
    command = "import sys; from asset_ledger.cli.main import run; sys.argv = ['x', 'export', 'daily_specs', '-o', 'big.csv']; run()"
    process = subprocess.Popen([sys.executable, "-c", command], cwd=project, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    # it grows: the kill comes within
    while not any(each.stat().st_size for each in project.glob(".big.csv*")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(number)
    assert process.wait(60) != 0
    assert not (project / "big.csv").exists()
    if number != signal.SIGKILL:
        assert not list(project.glob(".big.csv*"))
    # what ran for it has ended with it
    with connect(database_url) as connection:
        while rows(
            connection, "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ):
            assert time.monotonic() < end
            time.sleep(0.05)


# --- machines ------------------------------------------------------------------------------------------------------


def shown(cli: Cli, *options: str) -> list[dict[str, Any]]:
    return list(json.loads(cli("assets", "list", "--json", "--limit", "1000", *options).out)["assets"])


@pytest.mark.parametrize("day", ["2026-01-10", "2026-01-11", "2026-01-20"])
def test_the_machines_of_a_day_are_what_the_list_shows_all_pages(
    filled: str, cli: Cli, monkeypatch: pytest.MonkeyPatch, day: str
) -> None:
    monkeypatch.setattr("asset_ledger.store.query.exports.BATCH", 2)
    expected = shown(cli, "--as-of", day)
    found = table(cli("export", "assets", "--as-of", day).out)
    assert len(found) == len(expected) >= 3
    for row, asset in zip(found, expected, strict=True):
        assert row["as_of"] == day
        for name in ("id", "hostname", "mgmt_ip", "asset_type", "os_family", "zone", "seen_date"):
            assert row[name] == (asset[name] or ""), name
        for name in ("cpu_cores", "memory_bytes", "disk_total_bytes"):
            assert row[name] == ("" if asset[name] is None else str(asset[name])), name
        assert json.loads(row["sources"]) == asset["sources"]
        for name in ("carried", "unknown", "decided"):
            assert json.loads(row[name]) == asset[name]


def test_without_a_day_the_machines_are_those_of_now(filled: str, cli: Cli) -> None:
    found = table(cli("export", "assets").out)
    assert [row["id"] for row in found] == [asset["id"] for asset in shown(cli)]


KEPT = ("id", "hostname", "mgmt_ip", "zone", "asset_type", "cpu_cores", "memory_bytes", "disk_total_bytes", "os_family",
        "os_version", "protocol", "port", "tags", "missing_since")  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_what_is_exported_for_import_changes_nothing_when_it_is_imported(
    fill: Callable[[str, str, str], str], filled: str, cli: Cli, project: Path, form: str
) -> None:
    fill(
        "more.csv",
        "2026-01-12",
        HEADER.strip() + ",custom_fields,serial_number,mac_addresses,os_name,vendor\n"
        '10.0.0.7,七号机,vm,winrm,2,1.5,windows,2022,"a;=b",10.0.0.7;fd00::7,备注,"{""owner"": ""平台,组"", ""n"": 1}",007,'
        "52:54:00:12:34:56,Windows Server,Dell Inc.\n",
    )
    cli("assets", "set-hostname", "10.0.0.1", "decided-01")
    name = f"hosts.again.{form}"
    done = cli("export", "assets", "--for-import", "-f", form, "-o", name)
    assert done.code == 0, done.err
    before = shown(cli)
    (planned,) = json.loads(cli("import", name, "--dry-run", "--json").out)
    report = planned["report"]
    assert {name: report["counts"][name] for name in ("records", "created", "conflicts", "rejected_rows")} == {
        "records": len(before), "created": 0, "conflicts": 0, "rejected_rows": 0,
    }  # fmt: skip
    # what a person decided is shown, so the file says it too
    assert [(each["field"], each["after"]) for each in report["changes"]] == [("identity.hostname", "decided-01")]
    assert not report["warnings"]
    body = (project / name).read_bytes()
    if form == "csv":
        fill("office_2026-01-13.csv", "2026-01-13", body.decode())
        after = shown(cli)
        assert [{key: asset[key] for key in KEPT} for asset in after] == [
            {key: asset[key] for key in KEPT} for asset in before
        ]
        assert cli("export", "assets", "--for-import").out.encode() == body
        seven = next(row for row in table(body.decode()) if row["mgmt_ip"] == "10.0.0.7")
        assert seven["serial_number"] == "007"
        assert seven["mac_addresses"] == "52:54:00:12:34:56"
        assert json.loads(seven["custom_fields"]) == {"owner": "平台,组", "n": 1, "备注": "备注"}


def test_a_missing_machine_is_not_exported_for_import_it_would_come_back(
    filled: str, cli: Cli, database_url: str
) -> None:
    with connect(database_url) as connection:
        connection.execute("UPDATE ledger.assets SET missing_since = now() WHERE hostname = 'old-03'")
    done = cli("export", "assets", "--for-import")
    assert "old-03" not in done.out
    assert "1 machine is left out" in done.err
