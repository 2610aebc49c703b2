"""Who an agent is: a file for its owner alone, and a key by which a machine is known again without saying its ids."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from asset_ledger.agent import identity
from asset_ledger.agent.enrolment import enroll, renew
from asset_ledger.agent.identity import Identity, load, machine_key, product_uuid, save
from asset_ledger.domain.errors import PermanentError, RetryableError
from tests.agent.server import TOKEN, USER_TOKEN, Reported

MINE = Identity("https://ledger.example.com", "c-1", TOKEN)


def test_an_identity_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        save(tmp_path / "agent" / "identity.json", MINE)
    finally:
        os.umask(before)
    assert load(tmp_path / "agent" / "identity.json") == MINE
    assert (tmp_path / "agent").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "agent" / "identity.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o660, 0o644])
def test_a_token_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.json"
    save(path, MINE)
    path.chmod(mode)
    with pytest.raises(PermanentError, match=f"AGENT_IDENTITY_UNSAFE.*its mode is {mode:04o}.*chmod 600"):
        load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"server": "x"}', '{"token": "ac_secret"}', "\udcff"])
def test_what_is_no_identity_is_said_without_what_it_says(tmp_path: Path, text: str) -> None:
    path = tmp_path / "identity.json"
    with pytest.raises(PermanentError, match=r"AGENT_NOT_ENROLLED.*asset-ledger agent enroll"):
        load(path)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(0o600)
    with pytest.raises(PermanentError, match="it is no identity file") as caught:
        load(path)
    assert "secret" not in str(caught.value)


def test_a_token_is_in_no_repr() -> None:
    assert TOKEN not in repr(MINE)


@pytest.mark.needs("root")
def test_what_root_enrols_belongs_to_whom_the_folder_belongs_to(tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    save(folder / "identity.json", MINE)
    found = (folder / "identity.json").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (12345, 12345, 0o600)


def test_a_machine_is_known_again_and_its_ids_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, uuid = tmp_path / "machine-id", tmp_path / "product_uuid"
    monkeypatch.setattr(identity, "_MACHINE_ID", machine)
    monkeypatch.setattr(identity, "_PRODUCT_UUID", uuid)
    machine.write_text("0123456789abcdef0123456789abcdef\n")
    key = machine_key(tmp_path)
    assert key == machine_key(tmp_path)
    assert len(key) == 64
    assert "0123456789abcdef0123456789abcdef" not in key
    uuid.write_text("4C4C4544-0032-3610-8054-B4C04F435931\n")
    of_clone = machine_key(tmp_path)
    assert of_clone != key, "a clone has other hardware"
    uuid.write_text("00000000-0000-0000-0000-000000000000\n")
    assert machine_key(tmp_path) == key, "a board whose maker gave it none"


def test_a_machine_without_an_id_makes_one_up_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_PRODUCT_UUID", tmp_path / "none")
    monkeypatch.setattr(identity, "_MACHINE_ID", tmp_path / "empty")
    (tmp_path / "empty").write_text("uninitialized\n")
    one, two = tmp_path / "one", tmp_path / "two"
    assert machine_key(one) == machine_key(one)
    assert machine_key(one) != machine_key(two)
    assert (one / "machine-id").stat().st_mode & 0o777 == 0o600


def test_the_unit_passes_on_what_root_alone_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_PRODUCT_UUID", tmp_path / "none")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "product_uuid").write_text("4C4C4544-0032-3610-8054-B4C04F435931\n")
    assert product_uuid() == "4c4c4544-0032-3610-8054-b4c04f435931"
    (tmp_path / "product_uuid").write_text("none")
    assert product_uuid() is None


def test_a_machine_becomes_a_client_and_stays_it(tmp_path: Path, server: Reported) -> None:
    place = tmp_path / "agent" / "identity.json"
    found, again = enroll(server.endpoint, USER_TOKEN, place.parent, place, server.ca_file)
    assert (found.client_id, found.token, again) == ("c-1", TOKEN, False)
    assert load(place) == found
    assert enroll(server.endpoint, USER_TOKEN, place.parent, place, server.ca_file)[1] is True
    first, second = server.enrolled
    assert first == second
    assert first["machine_key"] == machine_key(place.parent)
    assert set(first) == {"hostname", "machine_key", "os", "platform", "arch", "agent_version"}


def test_an_enrolment_that_is_refused_leaves_the_identity_as_it_was(tmp_path: Path, server: Reported) -> None:
    place = tmp_path / "identity.json"
    save(place, MINE)
    with pytest.raises(PermanentError, match=r"AGENT_REFUSED.*the token holds no more") as caught:
        enroll(server.endpoint, "al_wrong", tmp_path, place, server.ca_file)
    assert "al_wrong" not in str(caught.value)
    server.faults.add("*", "html")
    with pytest.raises(RetryableError, match="no JSON object"):
        enroll(server.endpoint, USER_TOKEN, tmp_path, place, server.ca_file)
    server.faults.add("*", "garbled", body=b'{"client_id": "c-1"}')
    with pytest.raises(RetryableError, match="its answer has no token"):
        enroll(server.endpoint, USER_TOKEN, tmp_path, place, server.ca_file)
    assert load(place) == MINE


def test_a_folder_that_cannot_be_written_is_found_before_a_token_is_made(tmp_path: Path, server: Reported) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        enroll(server.endpoint, USER_TOKEN, tmp_path, tmp_path / "file" / "identity.json", server.ca_file)
    assert server.enrolled == []


def test_an_agent_changes_its_own_token(home: Path, server: Reported) -> None:
    before = load(home / "identity.json")
    after = renew(home / "identity.json")
    assert after.token == server.token != before.token
    assert load(home / "identity.json") == after
    assert json.loads((home / "identity.json").read_text())["client_id"] == "c-1"
    shutil.rmtree(home)
