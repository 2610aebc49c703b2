"""Logins of identity providers: signed tokens (JWT) in the place of ours, taken where a tenant trusts the issuer.

Nothing is believed before the signature is checked with a key of the trust's own provider; until then what a token says
only picks the trusts that come into question. Called by `login`.
"""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import dataclass
from typing import Any

import jwt

from asset_ledger.api.provider_keys import ProviderAwayError
from asset_ledger.api.service import Service
from asset_ledger.domain.roles import ROLES, Principal
from asset_ledger.domain.trusts import DEMANDED, LEEWAY_S, actor_of, claimed_name, token_fault
from asset_ledger.store.access import trusts
from asset_ledger.store.access.trusts import Trust

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_TENANT = re.compile(r"[a-z][a-z0-9_-]{0,62}")
CHARACTERS = 16 << 10
_NOTED = 5
_NO_TRUST = "no trust takes this token; who runs the service reads why in `asset-ledger audit list --nobody`"


class NotTakenError(Exception):
    """A token that lets nobody in. `str()` is for who sent it; `noted` for who runs the service, without the token."""

    def __init__(self, said: str, noted: str | None = None) -> None:
        super().__init__(said)
        self.noted = noted or said


@dataclass(frozen=True, slots=True)
class LetIn:
    """Who is let in, and by which trust."""

    principal: Principal
    trust: Trust


class KeysAwayError(Exception):
    """Whether a token is signed rightly cannot be known just now. The message is for who runs the service."""


def is_foreign(secret: str) -> bool:
    """Say whether what stands in the place of a token is a signed one: three parts, as ours never have."""
    return secret.count(".") == 2


def holder(service: Service, username: str, token: str) -> LetIn:
    """Return whose token this is and what a trust lets them do.

    `username` is that of HTTP Basic: empty, the tenant's, or TENANT/NAME with what the token itself calls its bearer.
    Without a tenant just one may take the token; of several trusts of one tenant the one that lets do the most counts.
    A trust whose keys cannot be read counts for nothing while another takes the token.
    Raises NotTakenError, and KeysAwayError where none takes it and such a one might.
    """
    tenant, _, name = username.partition("/")
    if username and _TENANT.fullmatch(tenant) is None:
        raise NotTakenError("the username beside an identity provider's token is TENANT or TENANT/NAME")
    header, payload = _unproven(token)
    if fault := token_fault(header, payload, time.time()):
        raise NotTakenError(f"the identity provider's token is not taken: {fault}")
    with service.connection() as connection:
        asked = trusts.in_issuer(connection, payload["iss"], tenant or None)
    fitting, notes = _fitting(asked, payload, name)
    taken: list[tuple[Trust, str]] = []
    away: list[str] = []
    for trust in fitting:
        try:
            proven = _proven(service, trust, header, token)
        except jwt.PyJWTError as error:
            notes.append(f"trust {trust.id}: {error}")
        except ProviderAwayError as error:
            # another trust may take it, of the same tenant or not
            away.append(f"trust {trust.id}: {error}")
        else:
            taken.append((trust, actor_of(trust.terms, proven) or ""))
    found = _let_in(service, taken)
    if len(found) > 1:
        raise NotTakenError(
            "several tenants take this token; name one: HTTP Basic with TENANT as username and the token as password;"
            " where it is exchanged, as `tenant`"
        )
    if not found and away:
        raise KeysAwayError("; ".join(away[:_NOTED]))
    if not found:
        where = f"{payload['iss'][:200]}{f' for the tenant {tenant}' if tenant else ''}"
        notes += ["it ended just now, or its tenant is kept out"] if taken else []
        raise NotTakenError(_NO_TRUST, "; ".join(notes[:_NOTED]) or f"there is no trust in {where}")
    return found[0]


def _unproven(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a token says in its header and of its bearer, which anybody may have written."""
    read = []
    try:
        if len(token) > CHARACTERS or _TOKEN.fullmatch(token) is None:
            raise ValueError
        for part in token.split(".")[:2]:
            read.append(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))
    except (ValueError, RecursionError):
        raise NotTakenError("the login is no signed token (JWT) that can be read") from None
    header, payload = read
    if not isinstance(header, dict) or not isinstance(payload, dict):
        raise NotTakenError("the login is no signed token (JWT) that can be read")
    return header, payload


def _fitting(asked: list[Trust], payload: dict[str, Any], name: str) -> tuple[list[Trust], list[str]]:
    """Return the trusts whose terms a token fulfils, and of the others why it does not."""
    fitting, notes = [], []
    for trust in asked:
        if other := trust.terms.refuses(payload):
            notes.append(f"trust {trust.id}: the token's {other} is not what it asks for")
        elif name and name not in (actor_of(trust.terms, payload), claimed_name(trust.terms, payload)):
            notes.append(
                f"trust {trust.id}: the username names somebody else than the token's {trust.terms.actor_claim}"
            )
        else:
            fitting.append(trust)
    return fitting, notes


def _proven(service: Service, trust: Trust, header: dict[str, Any], token: str) -> dict[str, Any]:
    """Return what a token says, of which the trust's provider is the author. Raises PyJWTError, ProviderAwayError."""
    kid, algorithm = header.get("kid"), header["alg"]
    if not isinstance(kid, str | None):
        raise jwt.InvalidTokenError("its key has no name (kid) that is text")
    key = service.provider_keys.find(trust.terms.jwks_url, kid, algorithm)
    if key is None:
        raise jwt.InvalidTokenError(
            f"its provider has no key {kid[:100]!r} for {algorithm}"
            if kid
            else "it does not say which key (kid) it is signed with"
        )
    proven: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        audience=trust.terms.audience,
        issuer=trust.terms.issuer,
        leeway=LEEWAY_S,
        options={"require": list(DEMANDED)},
    )
    if trust.terms.refuses(proven):
        raise jwt.InvalidTokenError("it says something else than it did")
    return proven


def _let_in(service: Service, taken: list[tuple[Trust, str]]) -> list[LetIn]:
    """Return who somebody is in each tenant that takes their token, by the trust that lets do the most."""
    best: dict[object, tuple[Trust, str]] = {}
    for trust, actor in taken:
        held = best.get(trust.tenant_id)
        if held is None or _much(trust) > _much(held[0]):
            best[trust.tenant_id] = (trust, actor)
    if not best:
        return []
    with service.connection() as connection:
        found = [(trusts.principal(connection, trust, actor), trust) for trust, actor in best.values()]
    return [LetIn(principal, trust) for principal, trust in found if principal is not None]


def _much(trust: Trust) -> tuple[int, int]:
    """Return how much a trust lets do, to compare it with another's: what first, then how long."""
    return ROLES.index(trust.terms.role), trust.terms.hours
