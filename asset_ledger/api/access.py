"""Logging in with a password, and tokens: what a person does for themselves. Users and roles are the CLI's.

Annotations are evaluated: FastAPI reads those of functions that are made within a function.
"""

from collections.abc import Callable, Coroutine
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.openapi.models import HTTPBearer
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from asset_ledger.api.answers import RefusedRequestError, address_of, record_of, told
from asset_ledger.api.login import demand, principal_of, secret_of
from asset_ledger.api.service import Service
from asset_ledger.domain.passwords import fits
from asset_ledger.domain.roles import Principal, Role, lower
from asset_ledger.store.access import audit, people, tokens
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant

LOGIN_HOLDS = timedelta(hours=12)
_Name = Annotated[str, Field(min_length=1, max_length=127, pattern=r"^[A-Za-z0-9._@+-]+$")]


class _WrongPasswordError(RefusedRequestError):
    """A try that counts."""


class Login(BaseModel):
    """A name and a password in a tenant."""

    tenant: _Name
    username: _Name
    password: Annotated[str, Field(min_length=1, max_length=1000)]


class NewToken(BaseModel):
    """What a token is for, and the most it may; without `role` all that the token asked with may.

    It ends no later than that one; without `days` when that one does.
    """

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    role: Role | None = None
    days: Annotated[int, Field(ge=1, le=3650)] | None = None


class Token(BaseModel):
    """A token. It is not shown again."""

    token: str
    role: Role
    expires_at: datetime | None


class Me(BaseModel):
    """Who is asking."""

    tenant: str
    username: str
    role: Role


class TokenFacts(BaseModel):
    """A token as it is listed: by how it begins."""

    id: UUID
    name: str
    username: str
    shown: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class AuditEntry(BaseModel):
    """What was asked, by whom, and what came of it."""

    created_at: datetime
    actor: str
    type: str
    action: str
    result: audit.Result
    ip_address: str | None
    details: dict[str, object]


class Caller(SecurityBase):
    """Who is asking, as a parameter of a route; OpenAPI is told of Bearer, Basic is taken too."""

    def __init__(self, service: Service, kind: str) -> None:
        self.model = HTTPBearer(description="An API token; or HTTP Basic, as TENANT/USER with it as the password.")
        self.scheme_name = "token"
        self._service, self._kind = service, kind

    async def __call__(self, request: Request) -> Principal:
        """Return who is asking. Raises RefusedRequestError."""
        found = record_of(request).principal
        if found is None:
            found = await run_in_threadpool(principal_of, request, self._service)
        record_of(request).kind = self._kind
        return found


def router(service: Service) -> APIRouter:
    """Return the routes."""

    class AfterLogin(APIRoute):
        """A route that knows who asks before it reads what is sent."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()

            async def asked(request: Request) -> Response:
                await run_in_threadpool(principal_of, request, service)
                return await answer(request)

            return asked

    routes = APIRouter(prefix="/api/v1", tags=["access"])
    _login(routes, service)
    known = APIRouter(prefix="/api/v1", tags=["access"], route_class=AfterLogin)
    _tokens(known, service)
    _audit(known, service)
    for each in known.routes:
        routes.routes.append(each)
    return routes


def _login(routes: APIRouter, service: Service) -> None:
    @routes.post("/login", summary="A password for a token that holds twelve hours")
    async def login(request: Request, asked: Login) -> Token:
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
            made = await service.passwords.run(lambda: checked(request, asked))
        except _WrongPasswordError:
            wrong = True
            raise
        finally:
            if not wrong:
                service.failed_logins.forgive(address, asked.username)
        if made is None:
            raise RefusedRequestError(429, "BUSY", "too many log in at once", headers={"Retry-After": "5"})
        return made

    def checked(request: Request, asked: Login) -> Token:
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
            until = datetime.now(UTC) + LOGIN_HOLDS
            with as_tenant(connection, found.tenant_id):
                text = tokens.add_token(
                    connection, found.tenant_id, found.user_id, "login", found.role, expires_at=until
                )
                people.logged_in(connection, found.tenant_id, found.user_id)
                told(connection, request, "security.login", "success", record.details)
        return Token(token=text, role=found.role, expires_at=until)

    @routes.get("/me", summary="Who is asking")
    def me(caller: Annotated[Principal, Depends(Caller(service, "access.read"))]) -> Me:
        return Me(tenant=caller.tenant, username=caller.actor, role=caller.role)


def _tokens(routes: APIRouter, service: Service) -> None:
    token_caller = Annotated[Principal, Depends(Caller(service, "security.token"))]

    @routes.get("/tokens", summary="One's own tokens; an administrator's: the tenant's")
    def listed(request: Request, caller: token_caller) -> list[TokenFacts]:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            found = tokens.tokens(connection, caller.tenant_id)
            told(connection, request, "security.token", "success", {})
        return [TokenFacts(**asdict(each)) for each in found if caller.may("admin") or each.username == caller.actor]

    @routes.post("/tokens", status_code=201, summary="Make a token for oneself: shown once")
    def added(request: Request, caller: token_caller, wanted: NewToken) -> Token:
        role = wanted.role or caller.role
        demand(caller, role, f"a token that may what role {role} may")
        assert caller.user_id is not None
        until = datetime.now(UTC) + timedelta(days=wanted.days) if wanted.days else None
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            ends = _ends(tokens.tokens(connection, caller.tenant_id), caller, secret_of(request))
            if ends is not None and until is not None and until > ends:
                raise RefusedRequestError(
                    403,
                    "TOKEN_OUTLIVED",
                    f"the token you ask with ends {ends:%Y-%m-%d %H:%M} UTC; none it makes ends later",
                )
            until = until or ends
            details = {"token": wanted.name, "role": role, "expires_at": until.isoformat() if until else None}
            text = tokens.add_token(connection, caller.tenant_id, caller.user_id, wanted.name, role, expires_at=until)
            told(connection, request, "security.token", "success", details)
        return Token(token=text, role=role, expires_at=until)

    @routes.delete("/tokens/{token_id}", status_code=204, summary="End a token; an administrator anybody's")
    def ended(request: Request, caller: token_caller, token_id: UUID) -> None:
        record_of(request).details = {"token_id": str(token_id)}
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            held = [
                each
                for each in tokens.tokens(connection, caller.tenant_id)
                if each.id == token_id and (caller.may("admin") or each.username == caller.actor)
            ]
            if held:
                demand(caller, _may(connection, caller, held[0]), "ending this token")
            if not held or not tokens.revoke(connection, caller.tenant_id, token_id):
                raise RefusedRequestError(404, "NO_TOKEN", "no such token holds, or it is not yours")
            told(connection, request, "security.token", "success", record_of(request).details)


def _ends(rows: list[tokens.TokenRow], caller: Principal, secret: str) -> datetime | None:
    """Return when the token ends that somebody asks with; None where it does not."""
    # of two that begin alike, which nobody has seen, the earlier end
    own = [each for each in rows if each.username == caller.actor and secret.startswith(each.shown)]
    return min((each.expires_at for each in own if each.expires_at and not each.revoked_at), default=None)


def _may(connection: Connection, caller: Principal, token: tokens.TokenRow) -> Role:
    """Return what a token may: no more than its user does by now."""
    members = people.users(connection, caller.tenant_id)
    return next((lower(token.role, each.role) for each in members if each.username == token.username), token.role)


def _audit(routes: APIRouter, service: Service) -> None:
    @routes.get("/audit", summary="What was asked in the tenant, the newest first; for administrators")
    def asked(
        request: Request,
        caller: Annotated[Principal, Depends(Caller(service, "security.audit"))],
        kind: Annotated[str | None, Query(alias="type", max_length=100, pattern=r"^[a-z_.]+$")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[AuditEntry]:
        demand(caller, "admin", "reading the audit")
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            found = audit.entries(connection, caller.tenant_id, kind=kind, limit=limit)
            told(connection, request, "security.audit", "success", {})
        return [AuditEntry(**asdict(each)) for each in found]
