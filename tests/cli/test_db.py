"""`asset-ledger db`: which database, and the embedded one that a command starts by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_the_url_is_shown_without_its_password_unless_asked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", "postgresql://ledger:hunter2@db.example:5432/ledger")
    assert cli("db", "url").out == "postgresql://ledger@db.example:5432/ledger\n"
    assert cli("db", "url", "--dagster").out == "postgresql://ledger@db.example:5432/ledger_dagster\n"
    assert "hunter2" in cli("db", "url", "--with-password").out


def test_a_configured_server_is_neither_started_nor_stopped(cli: Cli) -> None:
    status = json.loads(cli("db", "status", "--json").out)
    assert (status["server"], status["answers"]) == ("configured", True)
    assert status["schema"] == status["schema_of_this_release"]
    for command in ("start", "stop"):
        done = cli("db", command)
        assert done.code == 1
        assert "a server of your own" in done.err
    assert cli("db", "migrate").code == 0


def test_a_first_command_starts_the_embedded_server_and_says_so_once(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASSET_LEDGER_DATABASE_URL")
    assert cli("db", "status").code == 1
    try:
        first = cli("assets", "list")
        assert first.code == 0, first.err
        assert "started the embedded PostgreSQL; `asset-ledger db stop` stops it" in first.err
        assert "started" not in cli("assets", "list").err
        assert json.loads(cli("db", "status", "--json").out)["answers"] is True
        assert "running already" in cli("db", "start").out
    finally:
        stopped = cli("db", "stop")
    assert stopped.out == "stopped the embedded PostgreSQL\n"
    assert cli("db", "stop").out == "the embedded PostgreSQL was not running\n"
