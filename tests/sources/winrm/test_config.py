"""What a source of host probes over WinRM may say, and which listener each of its hosts is read over."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from asset_ledger.sources.winrm import PLATFORM
from asset_ledger.sources.winrm.config import WinrmConfig

GIVEN = {"name": "windows_hosts", "platform": "winrm"}


def config(**said: Any) -> WinrmConfig:
    return WinrmConfig.model_validate({**GIVEN, **said})


def test_a_source_that_says_nothing_verifies_https_and_never_sends_the_password() -> None:
    said = config()
    assert (said.https, said.tls_verify, said.authentication, said.port) == (True, True, "ntlm", 5986)


@pytest.mark.parametrize(
    ("said", "port"),
    [({"https": False}, 5985), ({"default_port": 15986}, 15986), ({"https": False, "default_port": 8080}, 8080)],
)
def test_the_port_follows_the_listener_unless_it_is_named(said: dict[str, Any], port: int) -> None:
    assert config(**said).port == port


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"authentication": "basic", "https": False}, "basic sends the password as it is, so it needs https: true"),
        ({"tls_verify": False, "ca_file": "ca.pem"}, "drop one"),
        ({"default_port": 5985}, "default_port 5985 is the listener without TLS; drop it, or say https: false"),
        ({"authentication": "credssp"}, "ntlm"),
        ({"default_port": 0}, "greater than or equal to 1"),
        ({"parallel": 0}, "greater than or equal to 1"),
        ({"default_credential_ref": "hunter2"}, "pattern"),
        ({"deadline_s": 0}, "greater than 0"),
    ],
)
def test_what_contradicts_itself_is_refused(said: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(**said)
    assert says in str(caught.value)


def test_a_ca_file_may_stand_beside_http_for_the_hosts_whose_own_port_is_5986() -> None:
    assert config(https=False, ca_file="ca.pem").ca_file is not None


def test_only_ledger_assets_with_protocol_winrm_are_read() -> None:
    assert PLATFORM.select is not None
    selection = PLATFORM.select(config(default_credential_ref="env:WIN"))
    assert (selection.protocols, selection.default_credential_ref) == (("winrm",), "env:WIN")
