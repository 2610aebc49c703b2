"""POST /api/v1/login: what is given for a token of ours, a name and a password or an identity provider's token.

The one for people, the other for pipelines: a provider's token often ends within minutes, an apply does not. The token
of ours for it makes no further ones (`access`), and ends with the trust that took it.

Annotations are evaluated: FastAPI reads those of functions that are made within a function.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from starlette.requests import Request

from asset_ledger.api.answers import RefusedRequestError, address_of, record_of, told
from asset_ledger.api.foreign import CHARACTERS
from asset_ledger.api.login import proven
from asset_ledger.api.service import Service
from asset_ledger.api.threads import in_thread
from asset_ledger.domain.passwords import fits
from asset_ledger.domain.roles import Role
from asset_ledger.domain.trusts import EXCHANGED_HOURS
from asset_ledger.store.access import people, tokens
from asset_ledger.store.tenancy import as_tenant

_PASSWORD_HOLDS = timedelta(hours=12)
_USUAL_HOURS = 1
_Name = Annotated[str, Field(min_length=1, max_length=127, pattern=r"^[A-Za-z0-9._@+-]+$")]


class _WrongPasswordError(RefusedRequestError):
    """A try that counts."""


class Login(BaseModel):
    """A name and a password in a tenant."""

    model_config = ConfigDict(extra="forbid")

    tenant: _Name
    username: _Name
    password: Annotated[str, Field(min_length=1, max_length=1000)]


class ForeignLogin(BaseModel):
    """An identity provider's token, and how long ours is to hold: without `hours` one, or less if the trust says so.

    `tenant` may be left out where one alone takes the token.
    """

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(min_length=1, max_length=CHARACTERS)]
    tenant: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")] | None = None
    hours: Annotated[int, Field(ge=1, le=EXCHANGED_HOURS)] | None = None


class Token(BaseModel):
    """A token. It is not shown again."""

    token: str
    role: Role
    expires_at: datetime | None


def _kind(told: Any) -> str:
    """Return which login a body is meant to be, so that what is wrong in it is told of that one alone."""
    token = isinstance(told, ForeignLogin) or (isinstance(told, dict) and "token" in told)
    return "with_token" if token else "with_password"


_Asked = Annotated[
    Annotated[Login, Tag("with_password")] | Annotated[ForeignLogin, Tag("with_token")], Discriminator(_kind)
]


def add_to(routes: APIRouter, service: Service) -> None:
    """Add the route to others."""

    @routes.post("/login", summary="A password, or an identity provider's token, for a token that holds some hours")
    async def login(request: Request, asked: _Asked) -> Token:
        if isinstance(asked, ForeignLogin):
            return await in_thread(_exchanged, service, request, asked)
        return await _logged_in(service, request, asked)


def _exchanged(service: Service, request: Request, asked: ForeignLogin) -> Token:
    """Return a token that may what the provider's may, for as long as its trust lets it."""
    record = record_of(request)
    found = proven(request, service, asked.tenant or "", asked.token)
    record.kind, record.principal = "security.token", found.principal
    trust, caller = found.trust, found.principal
    record.details = {"trust_id": str(trust.id), "hours": asked.hours}
    most = trust.terms.hours
    if most == 0:
        raise RefusedRequestError(403, "NO_EXCHANGE", "the trust that takes this token has none exchanged (--hours 0)")
    if asked.hours is not None and asked.hours > most:
        raise RefusedRequestError(
            403, "TOO_LONG", f"the trust that takes this token lets ours hold {most} h at most; make one with --hours"
        )
    until = datetime.now(UTC) + timedelta(hours=asked.hours or min(_USUAL_HOURS, most))
    details = {"trust_id": str(trust.id), "role": caller.role, "expires_at": until.isoformat()}
    with service.connection() as connection, as_tenant(connection, caller.tenant_id):
        text = tokens.exchange(connection, caller.tenant_id, trust.id, caller.actor, caller.role, expires_at=until)
        told(connection, request, "security.token", "success", details)
    return Token(token=text, role=caller.role, expires_at=until)


async def _logged_in(service: Service, request: Request, asked: Login) -> Token:
    """Return a token for a name and a password, unless too many were wrong lately, or are looked at just now."""
    record = record_of(request)
    record.kind = "security.login"
    record.details = {"tenant": asked.tenant, "username": asked.username}
    address = address_of(request)
    if wait := service.failed_logins.begin(address, asked.username):
        raise RefusedRequestError(
            429,
            "TOO_MANY_FAILED_LOGINS",
            f"too many failed logins; try again in {int(wait) + 1} s",
            headers={"Retry-After": str(int(wait) + 1)},
        )
    wrong = False
    try:
        made = await service.passwords.run(lambda: _checked(service, request, asked))
    except _WrongPasswordError:
        wrong = True
        raise
    finally:
        if not wrong:
            service.failed_logins.forgive(address, asked.username)
    if made is None:
        raise RefusedRequestError(429, "BUSY", "too many log in at once", headers={"Retry-After": "5"})
    return made


def _checked(service: Service, request: Request, asked: Login) -> Token:
    record = record_of(request)
    with service.connection() as connection:
        tenant = people.tenant_named(connection, asked.tenant)
        account = people.account(connection, asked.username)
    # it takes as long for nobody's name as for somebody's
    right = fits(asked.password, account.password_hash if account else None)
    with service.connection() as connection:
        found = None
        if right and tenant is not None and account is not None:
            found = people.principal(connection, tenant, account.user_id)
        if found is None or found.user_id is None:
            service.figures.failed_login()
            raise _WrongPasswordError(401, "LOGIN_REFUSED", "no such user in this tenant with this password")
        record.principal = found
        until = datetime.now(UTC) + _PASSWORD_HOLDS
        with as_tenant(connection, found.tenant_id):
            text = tokens.add_token(connection, found.tenant_id, found.user_id, "login", found.role, expires_at=until)
            people.logged_in(connection, found.tenant_id, found.user_id)
            told(connection, request, "user.login", "success", record.details)
    return Token(token=text, role=found.role, expires_at=until)
