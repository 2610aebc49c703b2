"""Which names and values are taken for secrets. Missing one leaks it; taking too much loses a harmless field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain import secrecy
from asset_ledger.domain.secrecy import REDACTED, holds_secret, mentions_secret, names_secret
from tests.patience import no_minutes

PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n-----END OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Passwd",
        "root_password",
        "root密码",
        "db_pass",
        "PASS",
        "pwd",
        "passphrase",
        "client_secret",
        "token",
        "accessKeyId",
        "access_key",
        "api-key",
        "API Key",
        "private_key",
        "snmp_community",
        "口令",
        "密钥",
        "私钥",
        "令牌",
    ],
)
def test_a_field_named_like_a_secret_is_taken_for_one(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize(
    "name", ["credential_ref", " Credential_Ref ", "hostname", "compass", "bypass_mode", "备注", ""]
)
def test_a_reference_and_a_harmless_name_are_not(name: str) -> None:
    assert not names_secret(name)


@pytest.mark.parametrize(
    "value",
    [
        PRIVATE_KEY,
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN",
        "hvs.CAESIJ0123456789abcdef",
        "ghp_0123456789abcdefghij",
        "AKIAIOSFODNN7EXAMPLE",
        "LTAI5tFooBarBazQuux",
        "postgresql://ledger:correct-horse@db.example.com/ledger",
        "see https://user:pw@example.com for more",
        "session-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN",
    ],
)
def test_a_value_in_the_shape_of_a_key_is_one(value: str) -> None:
    assert holds_secret(value)
    assert holds_secret(f"before {value} after")


@pytest.mark.parametrize(
    "value",
    [
        "",
        REDACTED,
        "192.0.2.10",
        "env:PROBE",
        "vault:secret/probe",
        "postgresql://ledger@db.example.com:5432/ledger",
        "https://example.com:8443/a?b=c@d",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI",
        "SHA256:2k0Pq5vHcvZ1xS0nQ1mC2m9c0l1Jb0l3c7q2b5h1T0A",
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_a_harmless_value_is_not(value: str) -> None:
    assert not holds_secret(value)


@pytest.mark.parametrize("piece", ["://", "eyJ", "-----BEGIN ", "://a:", "eyJaaaaaaaa.", "A ", "-eyJ"])
def test_a_crafted_value_costs_no_more_than_its_length(piece: str) -> None:
    with no_minutes():
        holds_secret(piece * 60_000)


_PIECES = st.sampled_from(
    [
        *(
            "pass",
            "PassWord",
            "paſſword",
            "pwd",
            "Secret",
            "to",
            "token",
            "private",
            "private-",
            "Key",
            "\u212aey",
            "api_key",
            "accesskey",
        ),
        *(
            "community",
            "communıty",
            "密码",
            "口令",
            "-----BEGIN RSA ",
            "PRIVATE KEY-----",
            "hvs",
            "ghp_",
            "glpat-",
            "AKIA",
            "LTAI",
        ),
        *("0123456789abcdef", "://", "user:", "word@", ":", "@", "/", "eyJ", ".", " ", "-", "_", "x", "\n", "é"),
    ]
)


@given(st.lists(_PIECES, max_size=12).map("".join))
def test_what_is_looked_for_first_passes_over_nothing_that_the_expressions_find(text: str) -> None:
    value = secrecy._SECRET_VALUE.search(text) is not None or secrecy._JSON_TOKEN.search(text) is not None
    assert holds_secret(text) == value
    assert mentions_secret(text) == (value or secrecy._SECRET_NAME.search(text) is not None)
