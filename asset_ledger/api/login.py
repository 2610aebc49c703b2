"""Who is asking: a token as Bearer or as the password of Basic, which is all that Terraform can send.

The token is one of ours, or an identity provider's (`foreign`). A name and a password are good for one thing: a token
that holds for half a day (`exchange`).
"""

from __future__ import annotations

import base64
import binascii
import logging

from starlette.requests import Request

from asset_ledger.api import foreign
from asset_ledger.api.answers import RefusedRequestError, record_of
from asset_ledger.api.service import Service
from asset_ledger.api.threads import in_thread
from asset_ledger.domain.roles import Principal, Role
from asset_ledger.store.access import tokens
from asset_ledger.store.agents.clients import Holder

_ASK = {"WWW-Authenticate": 'Basic realm="asset_ledger", charset="UTF-8"'}


def principal_of(request: Request, service: Service) -> Principal:
    """Return who is asking. Raises RefusedRequestError with 401, or 503 while a provider's keys cannot be read.

    Failures are not counted against anybody: 256 random bits are not guessed, and junk must lock nobody out.
    """
    given = request.headers.get("authorization", "")
    kind, _, value = given.partition(" ")
    username, secret = _given(kind.lower(), value.strip())
    found = None
    if secret.startswith(tokens.PREFIX):
        with service.connection() as connection:
            found = tokens.holder(connection, secret)
        if found is not None and not _names(username, found):
            found = None
    elif foreign.is_foreign(secret):
        found = proven(request, service, username, secret).principal
    if found is None:
        if given:
            service.figures.failed_login()
        record_of(request).kind = "security.login"
        why = "the login is not valid, or holds no more" if given else "a login is needed"
        raise RefusedRequestError(
            401, "LOGIN_REFUSED", f"{why}; give an API token as the password (asset-ledger tokens add)", headers=_ASK
        )
    record_of(request).principal = found
    return found


def proven(request: Request, service: Service, username: str, token: str) -> foreign.LetIn:
    """Return whom an identity provider's token lets in. Raises RefusedRequestError with 401 or 503."""
    record = record_of(request)
    try:
        return foreign.holder(service, username, token)
    except foreign.NotTakenError as error:
        service.figures.failed_login()
        record.kind, record.details = "security.login", {"why": error.noted}
        raise RefusedRequestError(401, "LOGIN_REFUSED", str(error), headers=_ASK) from None
    except foreign.KeysAwayError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - a traceback would say no more
        record.kind, record.details = "security.login", {"why": str(error)}
        raise RefusedRequestError(
            503,
            "PROVIDER_UNAVAILABLE",
            "the identity provider's keys cannot be read; the service's log says why",
            headers={"Retry-After": "10"},
        ) from None


async def client_of(request: Request, service: Service) -> Holder:
    """Return which client asks with a token of its own. Raises RefusedRequestError with 401, and RetryableError.

    Of one that asked a moment ago no database is asked.
    """
    token = secret_of(request)
    found = service.client_logins.hit(token) or await in_thread(service.client_logins.find, token)
    if found is None:
        service.figures.failed_login()
        record_of(request).kind = "security.login"
        raise RefusedRequestError(
            401,
            "LOGIN_REFUSED",
            "a client's token is needed, one that holds; enrol the machine anew (asset-ledger agent enroll)",
            headers=_ASK,
        )
    record_of(request).principal = found
    return found


def demand(principal: Principal, needed: Role, what: str) -> None:
    """Raise RefusedRequestError with 403 unless a principal may do what needs a role."""
    if not principal.may(needed):
        raise RefusedRequestError(
            403, "ROLE_MISSING", f"{what} needs the role {needed}; {principal.actor} is {principal.role} here"
        )


def secret_of(request: Request) -> str:
    """Return the token that a request came with; empty where it has none."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    return _given(kind.lower(), value.strip())[1]


def _names(username: str, found: Principal) -> bool:
    """Say whether a username beside a token is its own. A pipeline's may be its tenant too."""
    if found.user_id is None and username in (found.tenant, f"{found.tenant}/"):
        return True
    return username in ("", found.actor, f"{found.tenant}/{found.actor}")


def _given(kind: str, value: str) -> tuple[str, str]:
    """Return (username, secret) of an Authorization header; empty where it has none that can be used."""
    if kind in ("bearer", "token"):
        return "", value
    if kind == "basic":
        try:
            username, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return username, secret
    return "", ""
