"""The command as a process: how quickly it helps, how errors end it, and what it never imports."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from asset_ledger.cli.main import COMMANDS
from asset_ledger.domain.errors import PermanentError
from asset_ledger.store.database import connect, ensure_database, migrate
from tests.cli.conftest import Cli

ROOT = Path(__file__).parents[2]


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    done = process("-X", "importtime", "-m", "asset_ledger.cli.main", "--help")
    assert done.returncode == 0
    assert all(f" {name} " in done.stdout for name in COMMANDS)
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    heavy = {"psycopg", "pydantic", "sqlalchemy", "dagster", "cryptography", "yaml", "fastapi", "starlette", "uvicorn"}
    assert not imported & heavy


def test_every_command_has_help_and_no_command_imports_dagster() -> None:
    code = """
import sys, typer
from asset_ledger.cli import main
for name in main.COMMANDS:
    command = main._load(name)
    for each in [command, *getattr(command, "commands", {}).values()]:
        assert each.help, (name, each.name)
assert "dagster" not in sys.modules
assert not any(name.startswith(("asset_ledger.assets.", "asset_ledger.definitions")) for name in sys.modules)
"""
    done = process("-c", code)
    assert done.returncode == 0, done.stderr


def test_an_error_is_a_message_with_a_next_step_and_no_traceback(cli: Cli) -> None:
    done = cli("assets", "show", "nosuch")
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("ASSET_NOT_FOUND: nosuch: ")
    assert "assets list --search" in done.err
    assert "Traceback" not in done.err


def test_debug_shows_the_traceback(project: Path) -> None:
    done = process("-m", "asset_ledger.cli.main", "--debug", "assets", "show", "nosuch")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "find_asset" in done.stderr


def test_wrong_usage_ends_with_2_and_a_suggestion(cli: Cli) -> None:
    done = cli("asets", "list")
    assert done.code == 2
    assert "assets" in done.err
    assert cli("assets", "list", "--sort", "colour").code == 2


def test_a_reader_that_goes_away_is_no_error_message() -> None:
    for arguments, reader in (("errors --json", "head -c 10"), ("errors RAW_MISSING", "true")):
        command = f"{sys.executable} -m asset_ledger.cli.main {arguments} | {reader}"
        done = subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
        assert len(done.stdout) in (0, 10)
        assert done.stderr == ""


def test_a_server_that_does_not_answer_is_named_without_its_password(cli: Cli, monkeypatch) -> None:
    monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", "postgresql://ledger:hunter2@127.0.0.1:9/ledger")
    done = cli("assets", "list")
    assert done.code == 1
    assert done.err.startswith("DATABASE_UNAVAILABLE: postgresql://ledger@127.0.0.1:9/ledger: ")
    assert "hunter2" not in done.err


def test_what_libpq_says_of_an_url_is_never_repeated() -> None:
    for url in ("postgresql://x:hunter2%Pass@127.0.0.1:1/db", "postgresql://x@127.0.0.1:1/db?hunter2=1"):
        for opening in (ensure_database, lambda url: connect(url).__enter__(), migrate):
            with pytest.raises(PermanentError) as caught:
                opening(url)
            told = "".join(traceback.format_exception(caught.value))
            assert "percent-encode" in told
            assert "hunter2" not in told
            assert caught.value.__context__ is None


def test_a_folder_that_cannot_be_made_is_named_with_its_cause_and_what_to_do(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "file").write_text("")
    monkeypatch.setenv("ASSET_LEDGER_HOME", str(project / "file" / "home"))
    done = cli("up", "--once")
    assert done.code == 1
    assert done.err.startswith(
        f"CONFIG_INVALID: {project / 'file' / 'home'}: Not a directory; make it writable, or set"
    )
    assert "Traceback" not in done.err
    assert "Traceback" in process("-m", "asset_ledger.cli.main", "--debug", "up", "--once").stderr


def test_a_broken_sources_file_is_said_before_any_server_is_started(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASSET_LEDGER_DATABASE_URL")
    (project / "sources.yaml").write_text("sources: 1")
    for command in (["up", "--once"], ["sources", "list"], ["sources", "collect", "office"], ["probe"]):
        done = cli(*command)
        assert done.code == 1
        assert "must be a list of sources" in done.err
        assert not (project / "home" / "postgres").exists()


def test_nothing_is_put_anywhere_before_the_database_answers(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "sources.yaml").unlink()
    monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", "postgresql://ledger@127.0.0.1:9/ledger")
    done = cli("up", "--once")
    assert done.code == 1
    assert "DATABASE_UNAVAILABLE" in done.err
    assert "ASSET_LEDGER_DATABASE_URL runs; where that is not set, run `asset-ledger db start`" in done.err
    assert not (project / "sources.yaml").exists()
    assert not (project / "inbox").exists()
