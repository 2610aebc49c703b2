"""`asset-ledger credentials` as a person and a script use it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from asset_ledger.cli.credentials import app
from asset_ledger.credentials import CredentialStore, generate_key
from asset_ledger.domain.errors import LedgerError

KEY = "ASSET_LEDGER_CREDENTIALS_KEY"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSET_LEDGER_HOME", str(tmp_path))
    monkeypatch.setenv(KEY, generate_key())
    return tmp_path


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def kept(home: Path, name: str) -> dict[str, str]:
    return dict(CredentialStore(home, os.environ).resolve(f"file:{name}"))


def test_a_password_comes_from_stdin_and_is_not_echoed(home: Path) -> None:
    done = run("set", "pve", "--username", "audit", "--password-stdin", stdin="hunter2 \n")
    assert done.output == "file:pve set (password, username)\n"
    assert kept(home, "pve") == {"username": "audit", "password": "hunter2 "}
    assert "replaced" in run("set", "pve", "--password-stdin", stdin="other\n").output


def test_a_private_key_comes_from_a_file_and_other_fields_line_by_line(home: Path, tmp_path: Path) -> None:
    (tmp_path / "id").write_text("-----BEGIN KEY-----\nhunter2\n")
    arguments = ("--private-key-file", str(tmp_path / "id"), "--field", "passphrase", "--field", "token=-")
    done = run("set", "ssh", "--username", "u", *arguments, stdin="one\ntwo\n")
    assert done.exit_code == 0, done.output
    assert kept(home, "ssh") == {
        "username": "u", "private_key": "-----BEGIN KEY-----\nhunter2\n", "passphrase": "one", "token": "two",
    }  # fmt: skip
    assert "hunter2" not in done.output


def test_a_value_as_an_argument_is_refused_and_not_repeated(home: Path) -> None:
    done = run("set", "pve", "--field", "password=hunter2")
    assert done.exit_code == 2
    assert "never taken as an argument" in done.output
    assert "hunter2" not in done.output
    assert not (home / "credentials.json").exists()


def test_an_empty_stdin_and_a_bad_name_are_refused(home: Path) -> None:
    assert run("set", "pve", "--password-stdin").exit_code == 2
    assert run("set", "a b", "--password-stdin", stdin="x\n").exit_code == 2
    assert not (home / "credentials.json").exists()


def test_on_a_terminal_the_password_is_asked_for_hidden_and_twice(home: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-c", "from asset_ledger.cli.credentials import app; app()", "set", "pve"]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, cwd=Path(__file__).parents[2]
    )
    os.close(slave)
    shown = b""
    deadline = time.monotonic() + 30
    for prompt in (b"password: ", b": ", b"set (password)"):
        seen = len(shown)
        while prompt not in shown[seen:] and time.monotonic() < deadline:
            shown += os.read(master, 1000)
        assert prompt in shown[seen:]
        if prompt.endswith(b": "):
            time.sleep(0.1)
            os.write(master, b"hunter2\n")
    assert process.wait(timeout=60) == 0
    os.close(master)
    assert b"hunter2" not in shown
    assert kept(home, "pve") == {"password": "hunter2"}


def test_list_shows_names_dates_and_fields_without_the_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("set", "pve", "--username", "u", "--password-stdin", stdin="hunter2\n")
    monkeypatch.delenv(KEY)
    assert run("list").output.startswith("file:pve  20")
    assert run("list").output.endswith(" UTC  password, username\n")
    (entry,) = json.loads(run("list", "--json").output)
    assert entry.pop("updated_at").endswith("+00:00")
    assert entry == {"name": "pve", "reference": "file:pve", "fields": ["password", "username"]}


def test_a_key_is_made_put_first_rotated_to_and_the_old_one_dropped(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("set", "pve", "--password-stdin", stdin="hunter2\n")
    made = run("new-key")
    new = made.stdout.strip()
    assert "credentials rotate" in made.stderr
    monkeypatch.setenv(KEY, f"{new},{os.environ[KEY]}")
    assert run("rotate").output.startswith("1 entries now open with the first key")
    monkeypatch.setenv(KEY, new)
    assert kept(home, "pve") == {"password": "hunter2"}


def test_check_says_which_fields_a_reference_has(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVE_TOKEN", "hunter2")
    assert run("check", "env:PVE").output == "env:PVE: token\n"
    failed = run("check", "file:absent")
    assert isinstance(failed.exception, LedgerError)  # the main command prints it
    assert failed.exception.code.code == "CREDENTIAL_NOT_FOUND"


def test_remove_removes(home: Path) -> None:
    run("set", "pve", "--password-stdin", stdin="hunter2\n")
    assert run("remove", "pve").output == "file:pve removed\n"
    assert "No entries" in run("list").output
