"""The keys of an identity provider, read from a real one over a socket: how soon, how often, and for how long they hold."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from asset_ledger.api.provider_keys import Pace, ProviderAwayError, ProviderKeys, keys_at
from tests.api.identity import PATH, RSA_KEYS, Provider, jwk, publishing
from tests.doubles.https.certificates import make_certificates
from tests.patience import until

PACE = Pace(within_s=20.0)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def provider() -> Iterator[Provider]:
    with publishing() as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(clock: Clock) -> ProviderKeys:
    return ProviderKeys(PACE, clock)


def test_keys_are_read_once_and_again_when_they_are_old(provider: Provider, keys: ProviderKeys, clock: Clock) -> None:
    for _ in range(3):
        assert keys.find(provider.jwks_url, "k1", "RS256").public_numbers() == RSA_KEYS[0].public_key().public_numbers()
        clock.now += PACE.fresh_s / 3
    assert provider.asked == [PATH]
    clock.now += 1
    assert keys.find(provider.jwks_url, "k1", "RS256") is not None
    assert len(provider.asked) == 2


def test_a_key_that_was_taken_back_holds_no_more(provider: Provider, keys: ProviderKeys, clock: Clock) -> None:
    assert keys.find(provider.jwks_url, "k1", "RS256") is not None
    provider.keys = {"k2": RSA_KEYS[1]}
    clock.now += PACE.fresh_s + 1
    assert keys.find(provider.jwks_url, "k1", "RS256") is None
    assert keys.find(provider.jwks_url, "k2", "RS256") is not None


def test_a_key_nobody_knows_is_asked_for_once_a_minute(provider: Provider, keys: ProviderKeys, clock: Clock) -> None:
    assert keys.find(provider.jwks_url, "k1", "RS256") is not None
    for number in range(50):
        assert keys.find(provider.jwks_url, f"none-{number}", "RS256") is None
    assert len(provider.asked) == 1, "they were read just now"
    provider.keys["k2"] = RSA_KEYS[1]
    clock.now += PACE.again_s
    assert keys.find(provider.jwks_url, "k2", "RS256") is not None, "a new key works after a minute at the latest"
    for number in range(50):
        assert keys.find(provider.jwks_url, f"none-{number}", "RS256") is None
    assert len(provider.asked) == 2


@pytest.mark.parametrize("published", [[], [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}]])
def test_a_provider_that_withdraws_every_key_is_not_one_that_is_away(
    provider: Provider, keys: ProviderKeys, clock: Clock, caplog: pytest.LogCaptureFixture, published: list[Any]
) -> None:
    assert keys.find(provider.jwks_url, "k1", "RS256") is not None
    provider.published = published
    clock.now += PACE.fresh_s + 1
    assert keys.find(provider.jwks_url, "k1", "RS256") is None
    assert f"{provider.jwks_url}: it publishes no key that can be used here" in caplog.text
    provider.mode = "error"
    clock.now += PACE.fresh_s + 1
    assert keys.find(provider.jwks_url, "k1", "RS256") is None, "nor are they back when it is away"
    provider.mode, provider.published = "well", None
    clock.now += PACE.again_s
    assert keys.find(provider.jwks_url, "k1", "RS256") is not None


def test_keys_outlive_a_provider_that_is_away_by_a_day(provider: Provider, keys: ProviderKeys, clock: Clock) -> None:
    assert keys.find(provider.jwks_url, "k1", "RS256") is not None
    provider.mode = "error"
    for _ in range(24):
        clock.now += 3599
        assert keys.find(provider.jwks_url, "k1", "RS256") is not None
    assert len(provider.asked) == 25
    clock.now += 3600
    with pytest.raises(ProviderAwayError, match="answered with 503"):
        keys.find(provider.jwks_url, "k1", "RS256")
    provider.mode = "well"
    clock.now += PACE.retry_s
    assert keys.find(provider.jwks_url, "k1", "RS256") is not None


def test_a_provider_that_is_away_from_the_first_is_tried_every_ten_seconds(
    provider: Provider, keys: ProviderKeys, clock: Clock
) -> None:
    provider.mode = "closes"
    for _ in range(5):
        with pytest.raises(ProviderAwayError):
            keys.find(provider.jwks_url, "k1", "RS256")
    assert len(provider.asked) == 1
    provider.mode = "well"
    clock.now += PACE.retry_s
    assert keys.find(provider.jwks_url, "k1", "RS256") is not None


def test_many_who_come_at_once_read_once_on_mondays_too(provider: Provider, keys: ProviderKeys, clock: Clock) -> None:
    for times in (1, 2):
        with ThreadPoolExecutor(12) as threads:
            found = list(threads.map(lambda _: keys.find(provider.jwks_url, "k1", "RS256"), range(12)))
        assert None not in found
        assert len(provider.asked) == times
        clock.now += 3 * 86400


def test_a_provider_that_hangs_holds_up_few_and_nobody_whose_key_is_known(
    provider: Provider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ProviderKeys(Pace(within_s=60), clock)
    assert keys.find(provider.jwks_url, "k1", "RS256") is not None
    provider.mode = "hangs"
    clock.now += PACE.fresh_s + 1
    with ThreadPoolExecutor(40) as threads:
        waiting = [threads.submit(keys.find, provider.jwks_url, "new", "RS256") for _ in range(40)]
        # sixteen wait, the others are told so at once
        until(lambda: sum(each.done() for each in waiting) == 24)
        assert all(isinstance(each.exception(), ProviderAwayError) for each in waiting if each.done())
        assert keys.find(provider.jwks_url, "k1", "RS256") is not None
        assert not all(each.done() for each in waiting)
        keys.stop()
        provider.ended.set()
        assert sum(each.exception() is None for each in waiting) == 16
    assert len(provider.asked) == 2


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("error", "answered with 503"), ("redirect", "answered with 302, which is not followed"), ("huge", "larger than 256 KiB"),
        ("endless", "larger than 256 KiB"), ("short", "shorter than it says"), ("junk", "is not JSON"),
        ("closes", "closed connection"), ("hangs", "no whole answer within 0.5 s"),
        ("trickles", "no whole answer within 0.5 s"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_set_of_keys_is_none(provider: Provider, mode: Any, said: str) -> None:
    provider.mode = mode
    with pytest.raises(ProviderAwayError) as away:
        keys_at(provider.jwks_url, 0.5 if mode in ("hangs", "trickles") else 20.0)
    assert said in str(away.value)
    assert str(away.value).startswith(provider.jwks_url)
    assert provider.asked == [PATH], "no redirect is followed"


@pytest.mark.parametrize(
    "document", [b"[]", b"null", b'{"keys": {}}', b'{"keys": null}', b'"keys"', b"[" * 100_000, b"\xff\xfe\x00"]
)
def test_a_document_that_is_something_else_is_none(provider: Provider, document: bytes) -> None:
    provider.body = lambda: document  # type: ignore[method-assign]
    with pytest.raises(ProviderAwayError):
        keys_at(provider.jwks_url, 20.0)


def test_a_provider_that_is_not_there_is_away() -> None:
    with pytest.raises(ProviderAwayError, match="refused"):
        keys_at("http://127.0.0.1:1/keys", 20.0)


def test_of_what_is_published_signing_keys_alone_are_taken(provider: Provider) -> None:
    good, curve, edwards = RSA_KEYS[0], ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    weak = rsa.generate_private_key(65537, 1024)
    whole = jwk(good, "r1") | {"d": "AQAB", "p": "x"}
    provider.published = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "o"}, jwk(good, "e", use="enc"), jwk(weak, "w"), None, 7, [], {}, {"kty": ["RSA"]},
        {"kty": "RSA", "kid": "x", "n": "!!", "e": "AQAB"}, {"kty": "RSA", "kid": "y", "n": 5, "e": "AQAB"}, jwk(curve, "p") | {"x": "AAAA"},
        jwk(good, "z") | {"kid": 5}, jwk(good, "a") | {"alg": 5}, {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43, "kid": "q"}, whole, jwk(curve, "c1"), jwk(edwards, "d1", use="sig"),
    ]  # fmt: skip
    found = keys_at(provider.jwks_url, 20.0)
    assert [(key.kid, key.kind, key.curve) for key in found] == [
        ("r1", "RSA", None), ("c1", "EC", "P-256"), ("d1", "OKP", "Ed25519"),
    ]  # fmt: skip
    assert not hasattr(found[0].public, "private_numbers"), "a private half is not kept"


def test_a_key_signs_what_it_is_for(provider: Provider, keys: ProviderKeys) -> None:
    curves = [ec.generate_private_key(kind) for kind in (ec.SECP256R1(), ec.SECP384R1())]
    provider.published = [
        jwk(RSA_KEYS[0], "r"), jwk(RSA_KEYS[1], "r5", alg="RS512"), jwk(curves[0], "c2"), jwk(curves[1], "c3"),
    ]  # fmt: skip
    fits = {
        ("r", "RS256"): True, ("r", "PS384"): True, ("r", "ES256"): False, ("r", "EdDSA"): False, ("r5", "RS512"): True,
        ("r5", "RS256"): False, ("c2", "ES256"): True, ("c2", "ES384"): False, ("c3", "ES384"): True, ("c3", "ES256"): False,
        ("c3", "RS256"): False, (None, "ES256"): True, (None, "RS512"): False, (None, "RS256"): True, ("", "RS256"): False,
    }  # fmt: skip
    url = provider.jwks_url
    assert {pair: keys.find(url, *pair) is not None for pair in fits} == fits, "without a name where there is just one"


def test_two_keys_of_one_name_and_kind_are_none(provider: Provider, keys: ProviderKeys) -> None:
    provider.published = [jwk(RSA_KEYS[0], "k"), jwk(RSA_KEYS[1], "k")]
    assert keys.find(provider.jwks_url, "k", "RS256") is None


def test_https_is_checked_and_plain_words_say_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_certificates(tmp_path, "127.0.0.1", authority="provider")
    with publishing(made.chain_file) as provider:
        with pytest.raises(ProviderAwayError, match="its certificate is not trusted"):
            keys_at(provider.jwks_url, 20.0)
        monkeypatch.setenv("SSL_CERT_FILE", str(made.ca_file))
        assert len(keys_at(provider.jwks_url, 20.0)) == 1
        monkeypatch.setenv("SSL_CERT_FILE", str(made.wrong_ca_file))
        with pytest.raises(ProviderAwayError, match="its certificate is not trusted"):
            keys_at(provider.jwks_url, 20.0)
    (tmp_path / "other").mkdir()
    other = make_certificates(tmp_path / "other", "127.0.0.1", "other_name", authority="provider")
    with publishing(other.chain_file) as provider:
        monkeypatch.setenv("SSL_CERT_FILE", str(other.ca_file))
        with pytest.raises(ProviderAwayError, match="its certificate is not trusted"):
            keys_at(provider.jwks_url, 20.0)


def test_stopping_ends_what_is_being_read(provider: Provider) -> None:
    provider.mode = "hangs"
    keys = ProviderKeys(Pace(within_s=60))
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(keys.find, provider.jwks_url, "k1", "RS256")
        until(lambda: provider.asked)
        keys.stop()
        assert isinstance(asking.exception(30), ProviderAwayError)
