"""What is asked of an identity provider's token, and which trusts can be made at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.trusts import LEEWAY_S, Terms, actor_of, claimed_name, demand_sound, token_fault

NOW = 1_780_000_000
GITLAB = Terms(
    "https://gitlab.example.com", "https://ledger.example.com", "https://gitlab.example.com/oauth/discovery/keys",
    {"project_path": "shop/infra", "ref_protected": "true"}, "writer",
)  # fmt: skip
PAYLOAD = {
    "iss": GITLAB.issuer, "aud": GITLAB.audience, "sub": "project_path:shop/infra:ref_type:branch:ref:main",
    "iat": NOW, "nbf": NOW - 5, "exp": NOW + 3600, "project_path": "shop/infra", "ref_protected": "true",
    "user_login": "ann", "user_id": 42, "groups": ["dev", "ops"], "email_verified": True,
}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ({"project_path": "shop/infra"}, True), ({"project_path": "shop/infr"}, False), ({"project_path": "SHOP/infra"}, False),
        ({"project_path": ["a", "shop/infra"]}, True), ({"project_path": ["a", "b"]}, False),
        ({"project_path": "shop/infra", "ref": "main"}, False), ({"groups": "ops"}, True), ({"groups": ["x", "dev"]}, True),
        ({"groups": "none"}, False), ({"user_id": 42}, True), ({"user_id": "42"}, False), ({"email_verified": True}, True),
        ({"email_verified": 1}, False), ({"email_verified": "true"}, False), ({"ref_protected": True}, False),
    ],
)  # fmt: skip
def test_a_token_must_say_each_claim_and_of_lists_one(wanted: dict[str, Any], taken: bool) -> None:
    assert (replace(GITLAB, claims=wanted).refuses(PAYLOAD) is None) == taken


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"iss": "https://gitlab.example.com/"}, "iss"), ({"iss": ["https://gitlab.example.com"]}, "iss"),
        ({"aud": "other"}, "aud"), ({"aud": ["other", GITLAB.audience]}, None), ({"aud": [[GITLAB.audience]]}, "aud"),
        ({"aud": {GITLAB.audience: 1}}, "aud"), ({"aud": None}, "aud"), ({"sub": ""}, "sub"), ({"sub": "a\nb"}, "sub"),
        ({"sub": None}, "sub"), ({"sub": ["a"]}, "sub"), ({"sub": True}, "sub"), ({"sub": "a\u202eb"}, "sub"), ({}, None),
    ],
)  # fmt: skip
def test_what_is_not_as_it_must_be_is_named(other: dict[str, Any], named: str | None) -> None:
    assert GITLAB.refuses(PAYLOAD | other) == named


@given(st.dictionaries(st.sampled_from(sorted(PAYLOAD)), JSON))
def test_whatever_claims_are_is_refused_or_taken_and_never_an_error(other: dict[str, Any]) -> None:
    payload = PAYLOAD | other
    token_fault({"alg": "RS256"}, payload, NOW)
    if GITLAB.refuses(payload) is None:
        assert payload["project_path"] in ("shop/infra", ["shop/infra"])
        assert actor_of(GITLAB, payload)


@given(st.dictionaries(st.sampled_from(["alg", "typ", "crit", "kid"]), JSON))
def test_whatever_a_header_is_is_refused_or_taken_and_never_an_error(header: dict[str, Any]) -> None:
    assert token_fault(header, PAYLOAD, NOW) is not None, "none of these is an algorithm"
    token_fault(header | {"alg": "RS256"}, PAYLOAD, NOW)


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "HS256", "HS512", "ES256K", "ES512", "rs256", "", None, ["RS256"]]
)
def test_an_algorithm_that_everybody_could_sign_with_is_none(algorithm: Any) -> None:
    assert "must be signed" in str(token_fault({"alg": algorithm}, PAYLOAD, NOW))


@pytest.mark.parametrize(
    ("kind", "taken"),
    [("JWT", True), ("jwt", True), ("at+jwt", True), ("application/at+jwt", True), ("logout+jwt", False), ("dpop+jwt", False), (None, False), (1, False)],
)  # fmt: skip
def test_a_token_that_is_meant_for_something_else_is_refused(kind: Any, taken: bool) -> None:
    assert (token_fault({"alg": "ES256", "typ": kind}, PAYLOAD, NOW) is None) == taken
    assert token_fault({"alg": "ES256"}, PAYLOAD, NOW) is None, "those of Kubernetes do not say"


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        ({"exp": NOW - LEEWAY_S + 1}, None), ({"exp": NOW - LEEWAY_S}, "expired"), ({"iat": NOW + LEEWAY_S}, None),
        ({"iat": NOW + LEEWAY_S + 1}, "not hold yet"), ({"nbf": NOW + LEEWAY_S + 1}, "not hold yet"),
        ({"exp": NOW + 86400}, None), ({"exp": NOW + 86401}, "longer than 24 hours"), ({"exp": str(NOW + 60)}, "no time"),
        ({"exp": True}, "no time"), ({"exp": float("nan")}, "no time"), ({"exp": float("inf")}, "no time"),
        ({"exp": 10**400}, "no time"), ({"iat": -1}, "no time"), ({"nbf": None}, "no time"), ({"exp": None}, "no exp"),
        ({"iat": None, "sub": ""}, "no iat and no sub"), ({"aud": []}, "no aud"), ({"iss": "a\0"}, "iss is no text"),
        ({"iss": 1}, "iss is no text"), ({"sub": 1}, "sub is no text"), ({"exp": NOW + 60.5}, None),
    ],
)  # fmt: skip
def test_a_token_holds_for_a_day_at_most_and_says_from_when_until_when(
    other: dict[str, Any], fault: str | None
) -> None:
    found = token_fault({"alg": "RS256"}, PAYLOAD | other, NOW)
    assert (found is None) if fault is None else fault in str(found)


def test_an_actor_is_called_by_where_and_who_and_two_are_never_called_the_same() -> None:
    assert actor_of(GITLAB, PAYLOAD) == "oidc:gitlab.example.com#sub=project_path:shop/infra:ref_type:branch:ref:main"
    assert actor_of(replace(GITLAB, actor_claim="user_login"), PAYLOAD) == "oidc:gitlab.example.com#user_login=ann"
    assert actor_of(replace(GITLAB, actor_claim="user_id"), PAYLOAD) == "oidc:gitlab.example.com#user_id=42"
    realm = replace(GITLAB, issuer="https://sso.example.com/realms/a")
    assert actor_of(realm, PAYLOAD) != actor_of(replace(realm, issuer="https://sso.example.com/realms/b"), PAYLOAD)
    assert claimed_name(replace(GITLAB, actor_claim="groups"), PAYLOAD) is None
    long = [actor_of(GITLAB, {"sub": "x" * 5000 + last}) for last in "ab"]
    assert long[0] != long[1]
    assert {len(name or "") for name in long} == {200}
    prefix = "oidc:gitlab.example.com#sub="
    assert actor_of(GITLAB, {"sub": (long[0] or "").removeprefix(prefix)}) != long[0], "nor by whom calls themselves so"


@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_different_bearers_have_different_names(one: str, other: str) -> None:
    names = [actor_of(GITLAB, {"sub": each}) for each in (one, other)]
    assert None in names or (names[0] == names[1]) == (one == other)


ISSUERS = [
    "https://h", "https://h:8443", "http://127.0.0.1", "https://127.0.0.1", "HTTPS://h", "https://http://127.0.0.1",
    "https://HTTPS://h", "https://h/sub=x", "https://h:8443/", "https://h/https://h",
]  # fmt: skip
BEARERS = st.tuples(
    st.sampled_from(ISSUERS), st.sampled_from(["sub", "nick", "8443:nick", "#sub"]), st.text("a8443:=#/?~", min_size=1, max_size=9)
)  # fmt: skip


@given(BEARERS, BEARERS)
@example(("https://h", "sub", "ann"), ("https://h", "nick", "ann"))
@example(("https://h", "sub", "nick=ann"), ("https://h", "nick", "ann"))
@example(("https://h", "sub", "8443:x"), ("https://h:8443", "sub", "x"))
@example(("https://h", "8443:nick", "x"), ("https://h:8443", "nick", "x"))
@example(("http://127.0.0.1", "sub", "x"), ("https://127.0.0.1", "sub", "x"))
@example(("http://127.0.0.1", "sub", "x"), ("https://http://127.0.0.1", "sub", "x"))
def test_a_name_says_whose_claim_it_is_and_which(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    names = []
    for issuer, claim, said in (one, other):
        terms = replace(GITLAB, issuer=issuer, actor_claim=claim)
        demand_sound(terms)
        names.append(actor_of(terms, {claim: said}))
    assert (names[0] == names[1]) == (one == other)


def test_a_star_is_no_pattern_and_the_claims_that_have_one_are_named() -> None:
    starred = replace(
        GITLAB, claims={"sub": "repo:acme/*", "ref": ["main", "release/*"], "n": 1, "groups": ["a", True]}
    )
    assert starred.starred() == ["sub", "ref"]
    assert starred.refuses(PAYLOAD | {"sub": "repo:acme/shop"}) == "sub"
    assert GITLAB.starred() == []


def test_sound_terms_are_taken() -> None:
    demand_sound(GITLAB)
    demand_sound(replace(GITLAB, issuer="http://127.0.0.1:8080", jwks_url="http://localhost:1/keys?p=b2c"))
    demand_sound(replace(GITLAB, claims={"https://example.com/groups": ["a", "b"], "n": 1, "sub": "x", "yes": True}))


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"issuer": "http://gitlab.example.com"}, "issuer"), ({"issuer": "gitlab.example.com"}, "issuer"),
        ({"issuer": "https://gitlab.example.com?x=1"}, "issuer"), ({"issuer": "https://u:hunter2@gitlab.example.com"}, "issuer"),
        ({"issuer": "https://"}, "issuer"), ({"issuer": ""}, "issuer"), ({"issuer": "https://a b"}, "issuer"),
        ({"issuer": "https://a\0"}, "issuer"), ({"issuer": "https://[::1"}, "issuer"), ({"issuer": "https://x:99999"}, "issuer"),
        ({"issuer": "https://é.example"}, "issuer"), ({"jwks_url": "http://169.254.169.254/keys"}, "jwks_url"),
        ({"jwks_url": "http://localhost.example.com/"}, "jwks_url"), ({"jwks_url": "file:///etc/passwd"}, "jwks_url"),
        ({"jwks_url": "https://u:hunter2@x/keys"}, "jwks_url"), ({"jwks_url": "https://x/#y"}, "jwks_url"),
        ({"audience": ""}, "audience"), ({"audience": " x"}, "audience"), ({"audience": "a\nb"}, "audience"),
        ({"actor_claim": ""}, "actor_claim"), ({"actor_claim": "a=b"}, "actor_claim"), ({"claims": {}}, "claims"), ({"claims": {f"c{n}": "x" for n in range(21)}}, "claims"),
        ({"claims": {"aud": "x"}}, "claim aud"), ({"claims": {"iss": "x", "ref": "y"}}, "claim iss"), ({"claims": {"exp": 1}}, "claim exp"),
        ({"claims": {"": "x"}}, "claim "), ({"claims": {"ref": []}}, "claim ref"), ({"claims": {"ref": None}}, "claim ref"),
        ({"claims": {"ref": ""}}, "claim ref"), ({"claims": {"ref": 1.5}}, "claim ref"), ({"claims": {"ref": {"a": 1}}}, "claim ref"),
        ({"claims": {"ref": ["a", ["b"]]}}, "claim ref"),
    ],
)  # fmt: skip
def test_terms_that_nobody_or_everybody_would_fulfil_are_refused(other: dict[str, Any], named: str) -> None:
    with pytest.raises(PermanentError) as refused:
        demand_sound(replace(GITLAB, **other))
    assert refused.value.target == named
    assert "hunter2" not in str(refused.value)
