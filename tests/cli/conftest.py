"""A ledger of a test's own, filled by the real pipeline, and the command line called as a process would be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from asset_ledger.cli import main
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import take_files
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.settings import Settings
from asset_ledger.store.derive.links import relink

SOURCES = """
sources:
  - {name: office, platform: import, inbox: inbox}
  - {name: probe, platform: ssh, default_credential_ref: "env:PROBE", known_hosts: known_hosts, connect_timeout_s: 1}
  - {name: old_office, platform: import, inbox: old_inbox, enabled: false}
"""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Cli = Callable[..., Done]


@pytest.fixture
def project(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a sources.yaml, and the environment that names it and an empty ledger."""
    (tmp_path / "sources.yaml").write_text(SOURCES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSET_LEDGER_SOURCES", str(tmp_path / "sources.yaml"))
    monkeypatch.setenv("ASSET_LEDGER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", database_url)
    monkeypatch.delenv("ASSET_LEDGER_DAGSTER_DATABASE_URL", raising=False)
    monkeypatch.setenv("ASSET_LEDGER_ACTOR", "li.lei")
    return tmp_path


@pytest.fixture
def cli(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call `asset-ledger` with arguments and return exit code, stdout and stderr."""

    def call(*arguments: str) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["asset-ledger", *arguments])
        with pytest.raises(SystemExit) as end:
            main.run()
        told = capsys.readouterr()
        return Done(int(end.value.code or 0), told.out, told.err)

    return call


@pytest.fixture
def ledger(project: Path) -> Ledger:
    return Ledger(Settings.load())


@pytest.fixture
def fill(ledger: Ledger) -> Callable[[str, str, str], str]:
    """Take a CSV text in as the file of a day and derive it, as a run would; return the run's id."""

    def take(name: str, day: str, text: str) -> str:
        path = ledger.settings.root / name
        path.write_text(text)
        run_id = f"run-{path.stem}-{day}"
        source = ledger.source("office")
        with ledger.connect() as connection:
            row = source_row(connection, source)
            of_day = date.fromisoformat(day)
            inbox = ledger.settings.root / "inbox"
            take_files(connection, source, row, [path], of_day, inbox=inbox, run_id=run_id, mode="collect")
            derive_day(connection, source, row, of_day, run_id=run_id, mode="collect", inbox=inbox)
            relink(connection)
        return run_id

    return take


HEADER = "mgmt_ip,hostname,asset_type,protocol,cpu_cores,memory_gb,os_family,os_version,tags,ip_addresses,备注\n"
FIRST_DAY = HEADER + (
    "10.0.0.1,web-01,vm,ssh,4,8,debian,12,prod;web,10.9.9.9,前端\n"
    "10.0.0.2,数据库-02,physical,,32,256,rhel,9,prod;db,10.9.9.9,核心数据库\n"
    "10.0.0.3,old-03,vm,,,,,,test,,\n"
)
SECOND_DAY = HEADER + (
    "10.0.0.1,web-01,vm,ssh,8,8,debian,12,prod;web,10.9.9.9,前端\n"
    "10.0.0.2,数据库-02,physical,,32,256,rhel,9,prod;db,10.9.9.9,核心数据库\n"
    "10.9.9.9,clash,vm,,1,1,debian,12,,,\n"
    "10.0.0.4,new-04,vm,,1,1,debian,12,,,\n"
    "10.0.0.5,bad-05,vm,,many,8,debian,12,,,\n"
)
INSTANCES = "name,host,port,db_type\norders,10.0.0.2,5432,postgresql\n"


@pytest.fixture
def filled(fill: Callable[[str, str, str], str]) -> str:
    """The ledger of two days, with a conflict, a rejected row and a database instance; the second day's run."""
    fill("hosts.csv", "2026-01-10", FIRST_DAY)
    fill("instances.csv", "2026-01-10", INSTANCES)
    return fill("hosts.csv", "2026-01-11", SECOND_DAY)
