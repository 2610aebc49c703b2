"""Tokens, and who one is: what a person does for themselves. Users and roles are the CLI's, logging in is `exchange`'s.

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
from pydantic import BaseModel, BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from asset_ledger.api import exchange
from asset_ledger.api.answers import RefusedRequestError, record_of, told
from asset_ledger.api.exchange import Token
from asset_ledger.api.login import demand, principal_of, secret_of
from asset_ledger.api.service import Service
from asset_ledger.api.threads import in_thread
from asset_ledger.domain.roles import Principal, Role, lower
from asset_ledger.store.access import audit, people, tokens
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant


def _counted(value: object) -> object:
    """Refuse what would pass for a number and is none in JSON. `7.0` is a whole number there."""
    if isinstance(value, bool | str):
        raise ValueError("a whole number is wanted")  # noqa: TRY004 - what pydantic expects
    return value


class NewToken(BaseModel):
    """What a token is for, and the most it may; without `role` all that the token asked with may.

    It ends no later than that one; without `days` when that one does.
    """

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    role: Role | None = None
    days: Annotated[int, Field(ge=1, le=3650), BeforeValidator(_counted)] | None = None


class Me(BaseModel):
    """Who is asking."""

    tenant: str
    username: str
    role: Role


class TokenFacts(BaseModel):
    """A token as it is listed: by how it begins. One that was exchanged for a provider's has a trust, and no user."""

    id: UUID
    name: str
    username: str
    shown: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    trust_id: UUID | None


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
        self.model = HTTPBearer(
            description="An API token, or an identity provider's; or HTTP Basic with it as the password."
        )
        self.scheme_name = "token"
        self._service, self._kind = service, kind

    async def __call__(self, request: Request) -> Principal:
        """Return who is asking. Raises RefusedRequestError."""
        found = record_of(request).principal
        if not isinstance(found, Principal):
            found = await in_thread(principal_of, request, self._service)
        record_of(request).kind = self._kind
        return found


def router(service: Service) -> APIRouter:
    """Return the routes."""

    class AfterLogin(APIRoute):
        """A route that knows who asks before it reads what is sent."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()

            async def asked(request: Request) -> Response:
                await in_thread(principal_of, request, service)
                return await answer(request)

            return asked

    routes = APIRouter(prefix="/api/v1", tags=["access"])
    exchange.add_to(routes, service)
    _me(routes, service)
    known = APIRouter(prefix="/api/v1", tags=["access"], route_class=AfterLogin)
    _tokens(known, service)
    _audit(known, service)
    for each in known.routes:
        routes.routes.append(each)
    return routes


def _me(routes: APIRouter, service: Service) -> None:
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
        if caller.user_id is None:
            raise RefusedRequestError(
                403, "NO_USER", "who comes by an identity provider makes none; POST /api/v1/login exchanges its tokens"
            )
        role = wanted.role or caller.role
        demand(caller, role, f"a token that may what role {role} may")
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
            kind = "user.logout" if _came_with(held[0], caller, secret_of(request)) else "security.token"
            told(connection, request, kind, "success", record_of(request).details)


def _ends(rows: list[tokens.TokenRow], caller: Principal, secret: str) -> datetime | None:
    """Return when the token ends that somebody asks with; None where it does not."""
    # of two that begin alike, which nobody has seen, the earlier end
    own = [each for each in rows if _came_with(each, caller, secret)]
    return min((each.expires_at for each in own if each.expires_at and not each.revoked_at), default=None)


def _came_with(token: tokens.TokenRow, caller: Principal, secret: str) -> bool:
    """Say whether a token is the one that somebody asks with."""
    return token.username == caller.actor and secret.startswith(token.shown)


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
