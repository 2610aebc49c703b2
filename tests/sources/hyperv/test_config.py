"""What a source of platform `hyperv` may say, and what is refused with a word on how to say it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from asset_ledger.sources.config import parse_sources
from asset_ledger.sources.hyperv.config import HypervConfig, split_host

LEAST: dict[str, Any] = {"name": "hv", "platform": "hyperv", "hosts": ["hv1"], "credential_ref": "env:HV"}


def config(**said: Any) -> HypervConfig:
    return HypervConfig.model_validate({**LEAST, **said})


@pytest.mark.parametrize(
    ("said", "kept", "parts"),
    [
        ("HV1", "hv1", ("hv1", None)),
        (" hv1.Lab.example.com ", "hv1.lab.example.com", ("hv1.lab.example.com", None)),
        ("hv_1:5985", "hv_1:5985", ("hv_1", 5985)),
        ("192.0.2.1", "192.0.2.1", ("192.0.2.1", None)),
        ("192.0.2.1:5986", "192.0.2.1:5986", ("192.0.2.1", 5986)),
        ("2001:DB8::1", "2001:db8::1", ("2001:db8::1", None)),
        ("[2001:db8:0::1]:5986", "[2001:db8::1]:5986", ("2001:db8::1", 5986)),
        ("[2001:db8::1]", "2001:db8::1", ("2001:db8::1", None)),
    ],
)
def test_a_host_is_a_name_or_an_address_with_or_without_a_port(
    said: str, kept: str, parts: tuple[str, int | None]
) -> None:
    assert config(hosts=[said]).hosts == (kept,)
    assert split_host(said) == split_host(kept) == parts


@pytest.mark.parametrize(
    "said",
    [
        *("", "https://hv1:5986/wsman", "LAB\\hv1", "ledger@hv1", "hv 1", "-hv1", "hv1-", "hv1..lab", "hv1.", "a" * 64),
        *("hv1:", "hv1:0", "hv1:65536", "hv1:x", "hv1:\u0665", "300.1.1.1"),
        *("[hv1]:5986", "[::1", "::1::2", "[::1]x", "[::1]:"),
    ],
)
def test_what_is_no_host_is_refused_and_not_quoted(said: str) -> None:
    _, wrong = parse_sources({"sources": [{**LEAST, "hosts": [said]}]})
    [problem] = wrong
    assert problem.startswith("sources[0].hosts.0: ")
    assert len(said) < 6 or said not in problem


@given(st.text(max_size=20))
def test_any_text_is_a_host_in_one_spelling_or_refused(said: str) -> None:
    try:
        kept = config(hosts=[said]).hosts[0]
    except ValidationError:
        return
    assert config(hosts=[kept]).hosts == (kept,)


def test_a_host_stands_once_in_a_source_and_in_one_source_alone() -> None:
    with pytest.raises(ValidationError, match="entries 1 and 3 are the same host"):
        config(hosts=["hv1", "hv2", "HV1"])
    _, wrong = parse_sources(
        {"sources": [{**LEAST, "hosts": ["hv1", "hv2"]}, {**LEAST, "name": "other", "hosts": ["hv3", "HV2", "hv1"]}]}
    )
    assert wrong == ["sources[1].hosts: sources[0] has the same; give each its own"]


def test_a_source_needs_a_host_and_a_credential() -> None:
    for lacking in ("hosts", "credential_ref"):
        with pytest.raises(ValidationError, match=lacking):
            HypervConfig.model_validate({key: value for key, value in LEAST.items() if key != lacking})
    with pytest.raises(ValidationError, match="one host at least"):
        config(hosts=[])


def test_what_is_not_said_is_safe() -> None:
    found = config()
    assert (found.scope, found.https, found.tls_verify, found.authentication) == ("auto", True, True, "ntlm")
    assert (found.max_parallel_nodes, found.deadline_s) == (4, 300)


def test_a_password_never_goes_over_the_wire_in_the_clear() -> None:
    with pytest.raises(ValidationError, match="https"):
        config(authentication="basic", https=False)


@pytest.mark.parametrize(
    ("said", "kept"), [("Lab.example.com", "lab.example.com"), (".lab.example.com", "lab.example.com")]
)
def test_a_suffix_has_no_dots_around_it(said: str, kept: str) -> None:
    assert config(dns_suffix=said).dns_suffix == kept


def test_what_is_no_suffix_is_refused() -> None:
    with pytest.raises(ValidationError, match="domain"):
        config(dns_suffix="https://lab")
