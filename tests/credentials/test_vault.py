"""`vault:` references against a server that speaks Vault's protocol."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_ledger.credentials import CredentialStore
from asset_ledger.credentials.vault import Vault
from asset_ledger.domain.errors import LedgerError
from tests.credentials.vault_double import VaultDouble, make_certificates, serve

TOKEN = "hvs.canary-token"
FIELDS = {"username": "audit", "password": "canary-password"}


@pytest.fixture
def vault() -> Iterator[VaultDouble]:
    double = VaultDouble(tokens={TOKEN}, roles={"role": "canary-secret-id"})
    double.secrets = {"secret/sites/pve": FIELDS, "old/pve": {"token": "canary-old"}}
    with serve(double) as running:
        yield running


def settings(double: VaultDouble, **others: str) -> dict[str, str]:
    return {"VAULT_ADDR": double.url, "VAULT_TOKEN": TOKEN, **others}


def app_role(double: VaultDouble, **others: str) -> dict[str, str]:
    return {"VAULT_ADDR": double.url, "VAULT_ROLE_ID": "role", "VAULT_SECRET_ID": "canary-secret-id", **others}


def resolve(environ: dict[str, str], reference: str = "vault:secret/sites/pve") -> dict[str, str]:
    return dict(CredentialStore(Path("/nowhere"), environ).resolve(reference))


def test_a_secret_of_version_2_and_one_of_version_1(vault: VaultDouble) -> None:
    assert resolve(settings(vault)) == FIELDS
    assert resolve(settings(vault), "vault:old/pve") == {"token": "canary-old"}
    assert [path for _, path, _, _ in vault.requests][1::2] == ["secret/data/sites/pve", "old/pve"]


def test_a_mount_may_have_a_path_of_its_own(vault: VaultDouble) -> None:
    vault.mounts["teams/infra/kv/"] = "2"
    vault.secrets["teams/infra/kv/pve"] = {"token": "t"}
    assert resolve(settings(vault), "vault:teams/infra/kv/pve") == {"token": "t"}


def test_a_server_too_old_to_tell_its_mounts_is_read_as_version_1(vault: VaultDouble) -> None:
    vault.without_mounts_endpoint = True
    assert resolve(settings(vault), "vault:old/pve") == {"token": "canary-old"}


def test_an_app_role_logs_in_once_and_again_when_its_token_ends(vault: VaultDouble) -> None:
    store = CredentialStore(Path("/nowhere"), app_role(vault))
    assert dict(store.resolve("vault:secret/sites/pve")) == FIELDS
    assert dict(store.resolve("vault:secret/sites/pve")) == FIELDS
    assert vault.logins == 1
    vault.tokens.clear()
    assert dict(store.resolve("vault:secret/sites/pve")) == FIELDS
    assert vault.logins == 2


def test_the_namespace_is_named_in_every_request(vault: VaultDouble) -> None:
    vault.namespace = "team-a"
    assert resolve(app_role(vault, VAULT_NAMESPACE="team-a")) == FIELDS
    assert {namespace for _, _, namespace, _ in vault.requests} == {"team-a"}


def test_nothing_comes_from_the_process_environment(vault: VaultDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    monkeypatch.setenv("VAULT_ADDR", vault.url)
    with pytest.raises(LedgerError, match="CONFIG_INVALID: vault:secret/sites/pve: VAULT_ADDR is not set"):
        resolve({"VAULT_TOKEN": TOKEN})
    with pytest.raises(LedgerError, match=r"CONFIG_INVALID.*set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID"):
        resolve({"VAULT_ADDR": vault.url, "VAULT_ROLE_ID": "role"})
    assert vault.requests == []
    assert resolve(app_role(vault)) == FIELDS
    assert vault.requests[0] == ("POST", "auth/approle/login", "", "")


def test_the_certificate_is_checked_against_the_given_authority(tmp_path: Path) -> None:
    authority, certificate = make_certificates(tmp_path)
    double = VaultDouble(tokens={TOKEN}, secrets={"secret/sites/pve": FIELDS})
    with serve(double, certificate):
        assert resolve(settings(double, VAULT_CACERT=str(authority))) == FIELDS
        double.requests.clear()
        with pytest.raises(LedgerError, match=r"CREDENTIAL_STORE_UNAVAILABLE.*not trusted; set VAULT_CACERT"):
            resolve(settings(double))
        assert double.requests == []  # the token has not left
        with pytest.raises(LedgerError, match=r"CONFIG_INVALID.*VAULT_CACERT names no readable file"):
            resolve(settings(double, VAULT_CACERT=str(tmp_path / "absent.pem")))


def test_a_redirect_is_not_followed_with_the_token(vault: VaultDouble) -> None:
    vault.fault = "redirect"
    with pytest.raises(LedgerError, match=r"CREDENTIAL_STORE_UNAVAILABLE.*a redirect; name the active node"):
        resolve(settings(vault))
    assert len(vault.requests) == 1


@pytest.mark.parametrize("path", ["secret", "secret/a#password", "secret/a?version=1", "secret/../sys/x", "secret//a"])
def test_a_reference_is_one_mount_and_path(vault: VaultDouble, path: str) -> None:
    with pytest.raises(LedgerError, match=r"CREDENTIAL_NOT_FOUND.*MOUNT/PATH of a whole secret"):
        resolve(settings(vault), f"vault:{path}")
    assert vault.requests == []


def test_without_hvac_the_error_names_the_extra(vault: VaultDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    with pytest.raises(LedgerError, match=r"CONFIG_INVALID.*asset-ledger\[vault\]"):
        resolve(settings(vault))


def denied(double: VaultDouble) -> dict[str, str]:
    double.tokens.clear()
    return settings(double)


def sealed(double: VaultDouble) -> dict[str, str]:
    double.fault = "sealed"
    return app_role(double)


def web_page(double: VaultDouble) -> dict[str, str]:
    double.fault = "html"
    return settings(double)


def wrong_secret_id(double: VaultDouble) -> dict[str, str]:
    return app_role(double) | {"VAULT_SECRET_ID": "canary-wrong"}


def absent(double: VaultDouble) -> dict[str, str]:
    double.secrets.clear()
    return settings(double)


def deleted(double: VaultDouble) -> dict[str, str]:
    double.deleted.add("secret/sites/pve")
    return settings(double)


def nested(double: VaultDouble) -> dict[str, str]:
    double.secrets["secret/sites/pve"] = {"password": {"inner": "canary-inner"}}
    return settings(double)


def number(double: VaultDouble) -> dict[str, str]:
    double.secrets["secret/sites/pve"] = {"canary-name": "password"}
    return settings(double)


def nobody_there(double: VaultDouble) -> dict[str, str]:
    return settings(double) | {"VAULT_ADDR": "http://127.0.0.1:9"}


def hanging(double: VaultDouble) -> dict[str, str]:
    double.fault = "hang"
    return settings(double)


@pytest.mark.parametrize(
    ("situation", "code", "reason"),
    [
        (denied, "CREDENTIAL_UNREADABLE", "lacks `read` on the path, or has ended"),
        (wrong_secret_id, "CREDENTIAL_UNREADABLE", "wrong VAULT_ROLE_ID or VAULT_SECRET_ID"),
        (absent, "CREDENTIAL_NOT_FOUND", "no secret there"),
        (deleted, "CREDENTIAL_NOT_FOUND", "newest version is deleted"),
        (nested, "CREDENTIAL_UNREADABLE", "the field password is not text"),
        (number, "CREDENTIAL_UNREADABLE", "name is not made of letters"),
        (sealed, "CREDENTIAL_STORE_UNAVAILABLE", "sealed or in maintenance"),
        (web_page, "CREDENTIAL_STORE_UNAVAILABLE", "what Vault does not say"),
        (nobody_there, "CREDENTIAL_STORE_UNAVAILABLE", "cannot be reached"),
        (hanging, "CREDENTIAL_STORE_UNAVAILABLE", "did not answer within 0.3 s"),
    ],
)
def test_every_failure_has_its_code_and_shows_no_secret(
    vault: VaultDouble, situation: object, code: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    environ = situation(vault)  # type: ignore[operator]
    with pytest.raises(LedgerError, match=reason) as caught:
        Vault(environ, timeout_seconds=0.3).read("secret/sites/pve")
    error = caught.value
    assert error.code.code == code
    assert error.target == "vault:secret/sites/pve"
    shown = "".join(traceback.format_exception(error)) + str(error) + repr(error) + repr(vars(error)) + caplog.text
    assert "canary" not in shown
