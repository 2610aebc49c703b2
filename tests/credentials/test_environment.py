"""`env:` references, and the forms a reference may have at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asset_ledger.credentials import CredentialStore, Secret
from asset_ledger.domain.errors import LedgerError


def resolve(reference: str, **environ: str) -> dict[str, str]:
    return dict(CredentialStore(Path("/nowhere"), environ).resolve(reference))


def test_one_variable_holds_all_fields_as_json() -> None:
    assert resolve("env:PVE", PVE='{"username": "audit@pve", "Password": "s3cret"}') == {
        "username": "audit@pve",
        "password": "s3cret",
    }


def test_one_variable_a_field_is_the_other_way() -> None:
    found = resolve("env:PVE", PVE_USERNAME="u", PVE_PASSWORD="p", PVE_PRIVATE_KEY="k", PVE_TOKEN="", PVEX_TOKEN="x")
    assert found == {"username": "u", "password": "p", "private_key": "k"}


def test_the_json_variable_is_the_whole_credential_where_both_are_set() -> None:
    assert resolve("env:PVE", PVE='{"token": "t"}', PVE_PASSWORD="other") == {"token": "t"}


def test_a_variable_that_is_not_set_is_not_found() -> None:
    with pytest.raises(LedgerError, match=r"CREDENTIAL_NOT_FOUND: env:PVE: neither .* PVE nor any PVE_…"):
        resolve("env:PVE", PV_PASSWORD="p", PVE_="x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hunter2-canary", "does not hold a JSON object"),
        ('{"password": "hunter2-canary"', "does not hold a JSON object"),
        ('["hunter2-canary"]', "not an object"),
        ('"hunter2-canary"', "not an object"),
        ('{"password": 12345678}', "the field password is not text"),
        ('{"password": {"hunter2-canary": "x"}}', "the field password is not text"),
        ('{"hunter2-canary": "password"}', "name is not made of letters"),
        ("{}", "no fields"),
    ],
)
def test_a_malformed_variable_is_named_and_not_shown(text: str, reason: str) -> None:
    with pytest.raises(LedgerError, match=f"CREDENTIAL_UNREADABLE: env:PVE: .*{reason}") as caught:
        resolve("env:PVE", PVE=text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "reference",
    ["hunter2-canary", "ssh:hunter2-canary", ":hunter2-canary", "file:hvs.hunter2canaryhunter2canary", "env:"],
)
def test_what_is_no_reference_is_not_repeated(reference: str) -> None:
    with pytest.raises(LedgerError, match=r"CREDENTIAL_NOT_FOUND.*env:NAME, file:NAME or vault:PATH") as caught:
        resolve(reference)
    assert "hunter2" not in str(caught.value)


def test_an_env_reference_names_a_variable_and_nothing_else() -> None:
    with pytest.raises(LedgerError, match="letters, digits and _"):
        resolve("env:PVE-1")


def test_a_secret_shows_its_fields_and_never_its_values() -> None:
    secret = Secret({"username": "audit", "password": "hunter2"})
    assert repr(secret) == str(secret) == f"{secret}" == "Secret(password, username)"
    assert "hunter2" not in repr([secret]) + repr({"login": secret}) + f"{secret!r} {secret}"
    assert secret["password"] == "hunter2"
    assert dict(secret) == {"username": "audit", "password": "hunter2"}
    with pytest.raises(KeyError, match="token"):
        secret["token"]
    with pytest.raises(TypeError):
        json.dumps(secret)
    store = CredentialStore(Path("/home"), {"PVE_PASSWORD": "hunter2"})
    assert "hunter2" not in repr(store) + repr(store.file)
