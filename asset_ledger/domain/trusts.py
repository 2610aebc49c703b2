"""Logins of identity providers: which tokens a tenant takes, what of a token is asked whoever sent it, and who it is.

Rules alone. Signatures are checked by `api.foreign`, with the keys that `api.provider_keys` reads; trusts are kept by
`store.access.trusts`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.domain.roles import Role

ALGORITHMS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    **{f"{kind}{size}": ("RSA", ()) for kind in ("RS", "PS") for size in (256, 384, 512)},
    "ES256": ("EC", ("P-256",)),
    "ES384": ("EC", ("P-384",)),
    "EdDSA": ("OKP", ("Ed25519", "Ed448")),
}
"""How a token may be signed: its algorithm, the kind of key that fits it, and the curves (RFC 7518, RFC 8037).

None whose key could be a secret that both know: with those, a public key is one that everybody can sign with.
"""
DEMANDED = ("exp", "iat", "iss", "aud", "sub")
TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
"""What a token may call itself (RFC 7519, RFC 9068). One that says nothing, as those of Kubernetes do, is taken too."""
LEEWAY_S = 30.0
LONGEST_S = 24 * 3600.0
EXCHANGED_HOURS = 12
"""The longest that a token of ours holds that one of a provider is exchanged for."""
_SAID_BY_EVERY_TOKEN = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti"})
_ACTOR_CHARACTERS = 200
_TEXT_CHARACTERS = 1000
_CLAIMS = 20


@dataclass(frozen=True, slots=True)
class Terms:
    """Whose tokens are taken, which of them, and what they then may.

    `claims` has for each claim the value that a token must have, or a list of values of which it must have one. Values
    are text, whole numbers, true or false. `hours` is the longest that a token of ours holds that one of these is
    exchanged for; 0 where none is.
    """

    issuer: str
    audience: str
    jwks_url: str
    claims: Mapping[str, Any]
    role: Role
    actor_claim: str = "sub"
    hours: int = 1

    def refuses(self, payload: Mapping[str, Any]) -> str | None:
        """Return what of a token's claims is not as it must be, by its name; None where all is."""
        if payload.get("iss") != self.issuer:
            return "iss"
        audiences = payload.get("aud")
        if self.audience not in _listed(audiences):
            return "aud"
        for name, wanted in self.claims.items():
            if not _has(payload.get(name), wanted):
                return name
        return None if actor_of(self, payload) else self.actor_claim

    def starred(self) -> list[str]:
        """Return the claims that are to have a `*` in them, which whoever wrote it may take for a pattern."""
        return [
            name
            for name, wanted in self.claims.items()
            if any(isinstance(each, str) and "*" in each for each in _listed(wanted))
        ]


def token_fault(header: Mapping[str, Any], payload: Mapping[str, Any], now: float) -> str | None:
    """Return why no trust could take a token, whoever signed it; None where one may. `now` in seconds since 1970.

    It says nothing but what whoever sent the token can read in it.
    """
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        return f"it must be signed with one of {', '.join(ALGORITHMS)}"
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        return "its typ must be JWT or at+jwt"
    if "crit" in header:
        return "its header demands (crit) what is not known here"
    if missing := [name for name in DEMANDED if payload.get(name) in (None, "", [])]:
        return f"it has no {' and no '.join(missing)}"
    for name in ("iss", "sub"):
        if not isinstance(payload[name], str) or not _is_text(payload[name]):
            return f"its {name} is no text that can be shown"
    return _time_fault(payload, now)


def _time_fault(payload: Mapping[str, Any], now: float) -> str | None:
    times = {name: payload[name] for name in ("exp", "iat", "nbf") if name in payload}
    for name, value in times.items():
        # what is no number at all (NaN) is in no range either
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 40:
            return f"its {name} is no time"
    if times["exp"] <= now - LEEWAY_S:
        return "it has expired"
    if times["iat"] > now + LEEWAY_S or times.get("nbf", 0) > now + LEEWAY_S:
        return "it does not hold yet; are the clocks right?"
    if times["exp"] - times["iat"] > LONGEST_S:
        return f"it holds longer than {LONGEST_S / 3600:g} hours"
    return None


def actor_of(terms: Terms, payload: Mapping[str, Any]) -> str | None:
    """Return what records call the bearer of a token; None where its claim says nothing that can be shown.

    Two that differ in issuer, claim or what it says are never called the same, however long they are: locks are theirs
    by this name. An issuer has no `#`, a claim's name no `=` (`demand_sound`).
    """
    said = claimed_name(terms, payload)
    if said is None:
        return None
    host = terms.issuer.removeprefix("https://")
    whole = f"oidc:{terms.issuer if '://' in host else host}#{terms.actor_claim}={said}"
    # what is cut has all the characters there may be, and what is not has fewer
    if len(whole) < _ACTOR_CHARACTERS:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:32]
    return f"{whole[: _ACTOR_CHARACTERS - 33]}~{digest}"


def claimed_name(terms: Terms, payload: Mapping[str, Any]) -> str | None:
    """Return what the claim says that a trust knows people by; None where that is nothing that can be shown."""
    said = payload.get(terms.actor_claim)
    if isinstance(said, int) and not isinstance(said, bool):
        said = str(said)
    return said if isinstance(said, str) and said.strip() and said.isprintable() else None


def demand_sound(terms: Terms) -> None:
    """Raise PermanentError(CONFIG_INVALID), naming the field, for terms that none or everybody would fulfil."""
    _demand_url("issuer", terms.issuer, query=False)
    _demand_url("jwks_url", terms.jwks_url, query=True)
    for name, value in (("audience", terms.audience), ("actor_claim", terms.actor_claim)):
        if not _is_text(value):
            raise PermanentError(CONFIG_INVALID, "must be text that can be shown", target=name)
    if "=" in terms.actor_claim:
        raise PermanentError(CONFIG_INVALID, "must have no =, which parts it from what it says", target="actor_claim")
    if not 0 <= terms.hours <= EXCHANGED_HOURS:
        raise PermanentError(CONFIG_INVALID, f"must be 0 to {EXCHANGED_HOURS}", target="hours")
    if not 1 <= len(terms.claims) <= _CLAIMS:
        raise PermanentError(
            CONFIG_INVALID,
            f"name 1 to {_CLAIMS} claims: without any, whomever the provider knows would come in",
            target="claims",
        )
    for name, wanted in terms.claims.items():
        if not _is_text(name) or name in _SAID_BY_EVERY_TOKEN:
            raise PermanentError(CONFIG_INVALID, "tells nobody from others, or is no name", target=f"claim {name}")
        values = _listed(wanted)
        if not values or not all(_is_text(each) if isinstance(each, str) else isinstance(each, int) for each in values):
            raise PermanentError(
                CONFIG_INVALID,
                "must be text, a whole number, true, false, or a list of such",
                target=f"claim {name}",
            )


def is_loopback(host: str) -> bool:
    """Say whether a host of a URL is this machine itself."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _has(said: Any, wanted: Any) -> bool:
    """Say whether a claim has a value that is wanted. Of a claim with several (`groups`) one is enough."""
    # by type as well: Python takes True for 1
    return any(type(value) is type(one) and value == one for value in _listed(said) for one in _listed(wanted))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_text(value: str) -> bool:
    return 0 < len(value) <= _TEXT_CHARACTERS and value.isprintable() and value == value.strip()


def _demand_url(name: str, url: str, *, query: bool) -> None:
    why = ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        if not _is_text(url) or not url.isascii() or " " in url or not host:
            why = "is no URL"
        elif parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
            why = "must begin with https://; http:// is for this machine itself alone"
        elif parts.username is not None or "#" in url or ("?" in url and not query):
            why = "must be without user, password and fragment" + ("" if query else ", and without a query")
    except ValueError:
        why = "is no URL"
    if why:
        # not repeated: it may have a password in it
        raise PermanentError(CONFIG_INVALID, why, target=name)
