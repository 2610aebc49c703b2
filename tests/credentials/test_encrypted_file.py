"""The encrypted file: what it keeps, what it shows, and that neither rivals nor kills damage it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asset_ledger.credentials import CredentialStore, EncryptedFile, generate_key
from asset_ledger.domain.errors import LedgerError

REPOSITORY = Path(__file__).parents[2]
KEY = "ASSET_LEDGER_CREDENTIALS_KEY"


@pytest.fixture
def key() -> str:
    return generate_key()


def opened(home: Path, *keys: str) -> EncryptedFile:
    return CredentialStore(home, {KEY: ",".join(keys)}).file


def test_an_entry_comes_back_through_its_reference(tmp_path: Path, key: str) -> None:
    fields = {"username": "ledger", "private_key": "-----BEGIN …\nmany\nlines\n", "passphrase": "pässwörd 密码"}
    assert opened(tmp_path, key).set("site-a/esx", fields) is False
    store = CredentialStore(tmp_path, {KEY: key})
    assert dict(store.resolve("file:site-a/esx")) == fields
    assert store.file.set("site-a/esx", {"password": "new"}) is True
    assert dict(store.resolve("file:site-a/esx")) == {"password": "new"}


def test_the_file_is_for_its_owner_and_holds_no_value_in_the_clear(tmp_path: Path, key: str) -> None:
    opened(tmp_path / "new" / "home", key).set("pve", {"username": "audit", "password": "hunter2"})
    path = tmp_path / "new" / "home" / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert "hunter2" not in text
    assert "audit" not in text
    assert key not in text


def test_names_are_listed_without_the_key(tmp_path: Path, key: str) -> None:
    assert opened(tmp_path).names() == []
    opened(tmp_path, key).set("b", {"username": "u", "password": "p"})
    opened(tmp_path, key).set("a", {"token": "t"})
    listed = opened(tmp_path).names()
    assert [(entry.name, entry.reference, entry.fields) for entry in listed] == [
        ("a", "file:a", ("token",)),
        ("b", "file:b", ("password", "username")),
    ]
    assert all(entry.updated_at.tzinfo is not None for entry in listed)


def test_removing_needs_no_key_and_a_missing_entry_is_an_error(tmp_path: Path, key: str) -> None:
    opened(tmp_path, key).set("pve", {"password": "p"})
    opened(tmp_path).remove("pve")
    assert opened(tmp_path).names() == []
    for act in (lambda: opened(tmp_path).remove("pve"), lambda: opened(tmp_path, key).read("pve")):
        with pytest.raises(LedgerError, match=r"CREDENTIAL_NOT_FOUND: file:pve: .*credentials\.json has no entry"):
            act()


def test_rotation_goes_over_two_keys_to_the_new_one_alone(tmp_path: Path, key: str) -> None:
    new = generate_key()
    opened(tmp_path, key).set("a", {"password": "1"})
    opened(tmp_path, key).set("b", {"password": "2"})
    dates = [entry.updated_at for entry in opened(tmp_path).names()]
    both = opened(tmp_path, new, key)
    both.set("c", {"password": "3"})  # encrypted with the first already
    assert dict(opened(tmp_path, new).read("c")) == {"password": "3"}
    assert dict(both.read("a")) == {"password": "1"}
    assert both.rotate() == 3
    assert [dict(opened(tmp_path, new).read(name))["password"] for name in "abc"] == ["1", "2", "3"]
    assert [entry.updated_at for entry in opened(tmp_path).names()][:2] == dates
    with pytest.raises(LedgerError, match="CREDENTIAL_UNREADABLE: file:a"):
        opened(tmp_path, key).read("a")


def test_a_rotation_that_cannot_open_an_entry_changes_nothing(tmp_path: Path, key: str) -> None:
    opened(tmp_path, key).set("a", {"password": "1"})
    before = (tmp_path / "credentials.json").read_bytes()
    with pytest.raises(LedgerError, match="CREDENTIAL_UNREADABLE: file:a"):
        opened(tmp_path, generate_key()).rotate()
    assert (tmp_path / "credentials.json").read_bytes() == before


def test_a_file_of_another_key_is_not_added_to(tmp_path: Path, key: str) -> None:
    opened(tmp_path, key).set("a", {"password": "1"})
    with pytest.raises(LedgerError, match="nothing in it opens with ASSET_LEDGER_CREDENTIALS_KEY"):
        opened(tmp_path, generate_key()).set("b", {"password": "2"})
    assert [entry.name for entry in opened(tmp_path).names()] == ["a"]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("", "is not set"),
        ("hunter2-canary", "key 1 of 1 is not 32 bytes"),
        ("GOOD,hunter2-canary", "key 2 of 2 is not 32 bytes"),
        ("hunter2-canary-密", "key 1 of 1 is not 32 bytes"),
    ],
)
def test_a_missing_or_malformed_key_is_said_and_not_shown(tmp_path: Path, key: str, keys: str, reason: str) -> None:
    opened(tmp_path, key).set("a", {"password": "1"})
    with pytest.raises(LedgerError, match=f"CREDENTIAL_UNREADABLE.*{reason}") as caught:
        opened(tmp_path, keys.replace("GOOD", key)).read("a")
    assert "hunter2" not in str(caught.value)
    assert key not in str(caught.value)


def test_a_damaged_entry_is_named_and_the_others_still_open(tmp_path: Path, key: str) -> None:
    path = tmp_path / "credentials.json"
    opened(tmp_path, key).set("a", {"password": "1"})
    opened(tmp_path, key).set("b", {"password": "2"})
    whole = json.loads(path.read_text())
    for token in (whole["entries"]["a"]["token"][:-9] + "AAAAAAAAA", "密", "", whole["entries"]["b"]["token"]):
        damaged = json.loads(path.read_text())
        damaged["entries"]["a"]["token"] = token
        path.write_text(json.dumps(damaged))
        with pytest.raises(LedgerError, match=r"CREDENTIAL_UNREADABLE: file:a: .*damaged") as caught:
            opened(tmp_path, key).read("a")
        assert not token or token not in str(caught.value)
        assert dict(opened(tmp_path, key).read("b")) == {"password": "2"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2-canary",
        "[]",
        '{"version": 2, "entries": {}}',
        '{"version": 1}',
        '{"version": 1, "entries": {"a": {"token": "hunter2-canary"}}}',
        '{"version": 1, "entries": {"a": "hunter2-canary"}}',
    ],
)
def test_a_damaged_file_is_an_error_and_is_not_written_over(tmp_path: Path, key: str, text: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(text)
    for act in (
        lambda: opened(tmp_path, key).read("a"),
        lambda: opened(tmp_path, key).names(),
        lambda: opened(tmp_path, key).set("b", {"password": "p"}),
        lambda: opened(tmp_path, key).rotate(),
    ):
        with pytest.raises(LedgerError, match="CREDENTIAL_UNREADABLE") as caught:
            act()
        assert "hunter2" not in str(caught.value)
    assert path.read_text() == text


def test_a_file_that_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path, key: str) -> None:
    (tmp_path / "credentials.json").mkdir()
    with pytest.raises(LedgerError, match=r"CREDENTIAL_UNREADABLE: .*credentials\.json: the file cannot be read"):
        opened(tmp_path, key).read("a")
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="the file cannot be written"):
        opened(tmp_path / "file", key).set("a", {"password": "p"})


@pytest.mark.parametrize("name", ["", "../x", "a b", "-a", "a\n", "x" * 200])
def test_a_name_that_cannot_be_a_reference_is_refused(tmp_path: Path, key: str, name: str) -> None:
    with pytest.raises(ValueError, match="name is made of"):
        opened(tmp_path, key).set(name, {"password": "p"})


SET_MANY = """
import os, sys
from pathlib import Path
from asset_ledger.credentials import CredentialStore
file = CredentialStore(Path(sys.argv[1]), os.environ).file
for number in range(int(sys.argv[3])):
    file.set(f"{sys.argv[2]}-{number}", {"password": "x" * 2000})
"""


def writer(home: Path, key: str, name: str, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SET_MANY, str(home), name, str(count)]
    return subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, KEY: key})


def test_four_processes_that_write_at_once_lose_nothing(tmp_path: Path, key: str) -> None:
    writers = [writer(tmp_path, key, f"w{number}", 15) for number in range(4)]
    assert [process.wait(timeout=60) for process in writers] == [0] * 4
    names = {entry.name for entry in opened(tmp_path).names()}
    assert names == {f"w{number}-{each}" for number in range(4) for each in range(15)}


def test_a_kill_in_the_middle_of_writing_leaves_a_whole_file(tmp_path: Path, key: str) -> None:
    path, seen = tmp_path / "credentials.json", 0
    opened(tmp_path, key).set("before", {"password": "kept"})
    for round_ in range(4):
        process = writer(tmp_path, key, f"k{round_}", 1_000_000)
        deadline = time.monotonic() + 30
        inode = path.stat().st_ino
        while path.stat().st_ino == inode:  # it is writing
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(0.05 + round_ * 0.0017)
        process.send_signal(signal.SIGKILL)
        process.wait()
        entries = opened(tmp_path, key).names()
        assert len(entries) > seen
        seen = len(entries)
        assert all(opened(tmp_path, key).read(entry.name) for entry in entries)
    assert dict(opened(tmp_path, key).read("before")) == {"password": "kept"}
    opened(tmp_path, key).set("after", {"password": "p"})
    left = {entry.name for entry in tmp_path.iterdir()}
    assert left == {"credentials.json", "credentials.json.lock"}
