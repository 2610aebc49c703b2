"""What a source may say of a vCenter: one spelling of the endpoint, one way to trust it, and what is read of it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from asset_ledger.sources.vcenter import PLATFORM
from asset_ledger.sources.vcenter.config import VcenterConfig

GIVEN = {"name": "vc", "platform": "vcenter", "endpoint": "https://vc.example.com", "credential_ref": "env:VC"}
PRINT = "ab" * 32


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://vc.example.com", "https://vc.example.com:443"),
        (" https://VC.example.com/ ", "https://vc.example.com:443"),
        ("https://10.0.0.1:8443", "https://10.0.0.1:8443"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]:443"),
    ],
)
def test_an_endpoint_has_one_spelling_and_port_443(given: str, kept: str) -> None:
    assert VcenterConfig.model_validate({**GIVEN, "endpoint": given}).endpoint == kept


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"endpoint": "https://vc.example.com/sdk"}, "no path"),
        ({"endpoint": "http://vc.example.com"}, "https://vcenter.example.com"),
        ({"endpoint": "vc.example.com"}, "https://vcenter.example.com"),
        ({"endpoint": "https://root:secret@vc.example.com"}, "credential_ref"),
        ({"fingerprint": "ab:cd"}, "64 hexadecimal digits"),
        ({"fingerprint": PRINT, "ca_file": "ca.pem"}, "keep one"),
        ({"fingerprint": PRINT, "tls_verify": False}, "drop one"),
        ({"ca_file": "ca.pem", "tls_verify": False}, "drop one"),
        ({"credential_ref": "root:secret"}, "pattern"),
        ({"scope": "cluster"}, "'vcenter' or 'standalone'"),
        ({"page_size": 0}, "greater than or equal to 1"),
        ({"page_size": 5001}, "less than or equal to 5000"),
        ({"timeout_ms": 10}, "greater than or equal to 100"),
        ({"password": "secret"}, "Extra inputs"),
    ],
)
def test_what_contradicts_itself_is_refused_with_the_reason(said: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        VcenterConfig.model_validate({**GIVEN, **said})
    assert all("secret" not in error["msg"] for error in caught.value.errors())


def test_a_vcenter_is_two_readings_and_a_single_host_is_one() -> None:
    assert PLATFORM.chains(VcenterConfig.model_validate(GIVEN)) == ("hosts", "vms")
    assert PLATFORM.chains(VcenterConfig.model_validate({**GIVEN, "scope": "standalone"})) == ("all",)
    assert PLATFORM.scopes == {"all": (), "hosts": ("host", "cluster"), "vms": ("vm",)}


def test_what_is_not_said_has_the_defaults_of_the_docs() -> None:
    found = VcenterConfig.model_validate(GIVEN)
    assert (found.timeout_ms, found.page_size, found.reading_timeout_s) == (120_000, 500, 3600)
    assert (found.tls_verify, found.scope, found.trust, found.server) == (
        True,
        "vcenter",
        "system",
        "vc.example.com:443",
    )
