"""What agents say: they are enrolled with a user's token, report with their own, and replace it. docs/agents.md.

Reporting is a plain route: thousands of machines do it, and FastAPI's way to a route costs as much as an unchanged
report. The beats between reports are `presence`.

Annotations are evaluated: FastAPI reads those of functions that are made within a function.
"""

import asyncio
import json
import logging
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from asset_ledger.api.access import Caller
from asset_ledger.api.answers import RefusedRequestError, address_of, record_of, told
from asset_ledger.api.bodies import received, unpacked
from asset_ledger.api.login import client_of, demand, principal_of, secret_of
from asset_ledger.api.service import Service
from asset_ledger.api.threads import in_thread
from asset_ledger.domain.agents.arrival import TooOldError
from asset_ledger.domain.agents.payload import PayloadError, Report, loads, read
from asset_ledger.domain.roles import Principal
from asset_ledger.store.agents import clients, reports
from asset_ledger.store.agents.clients import GRACE, TOKEN_PREFIX, Enrolment, Holder, hashed
from asset_ledger.store.agents.writing import ClientGoneError
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant

REPORT_BYTES = 1 << 20
MOST_WAITING = 64
"""How many reports one process takes in at a time; who comes then is told to come again."""
MOST_OF_ONE = 4
"""How many bodies of one client are read at a time: whoever sends slowly holds up nobody else."""
_BODY_S = 60.0
_AGAIN_S = 5
_KIND = "inventory.update"
_ADVICE = "no machine's report is so large"
_TOLD = 2000
_DEFECTS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    *(Connection.DataError, Connection.IntegrityError, Connection.ProgrammingError),
)
"""What a report raises that our code was not ready for: its bytes are kept all the same."""

_Text = r"^[^\x00-\x1f\x7f]+$"


class NewClient(BaseModel):
    """What a machine says of itself when it is enrolled; what its first report says stands above it."""

    hostname: Annotated[str, Field(min_length=1, max_length=255, pattern=_Text)] | None = None
    machine_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None,
        description="SHA-256, hexadecimal, of what names the machine for good; the same machine is the same client.",
    )
    os: Annotated[str, Field(min_length=1, max_length=50, pattern=_Text)] | None = None
    platform: Annotated[str, Field(min_length=1, max_length=100, pattern=_Text)] | None = None
    arch: Annotated[str, Field(min_length=1, max_length=50, pattern=_Text)] | None = None
    agent_version: Annotated[str, Field(min_length=1, max_length=50, pattern=_Text)] | None = None


class ClientToken(BaseModel):
    """A client and its token, which is not shown again."""

    client_id: UUID
    token: str
    again: bool = Field(description="The machine was a client already; the tokens it had hold no more.")


class NewerToken(BaseModel):
    """A client's new token, and until when the one that it came with holds too."""

    token: str
    old_holds_until: datetime


class ClientCaller(SecurityBase):
    """Which client is asking, as a parameter of a route."""

    def __init__(self, service: Service, kind: str) -> None:
        self.model = HTTPBearer(description="A client's token.")
        self.scheme_name = "client"
        self._service, self._kind = service, kind

    async def __call__(self, request: Request) -> Holder:
        """Return which client is asking. Raises RefusedRequestError."""
        found = await client_of(request, self._service)
        record_of(request).kind = self._kind
        return found


async def client_or_user(request: Request, service: Service) -> Principal | Holder:
    """Return who asks, a client or a user by what its token begins with. Raises RefusedRequestError."""
    if secret_of(request).startswith(TOKEN_PREFIX):
        return await client_of(request, service)
    return await in_thread(principal_of, request, service)


def router(service: Service) -> APIRouter:
    """Return the routes that OpenAPI describes."""
    made = APIRouter(prefix="/api/v1/agents", tags=["agents"])

    @made.post(
        "/enroll",
        status_code=201,
        summary="Make a machine a client; its token is shown once",
    )
    def enrolled(
        request: Request, caller: Annotated[Principal, Depends(Caller(service, "client.register"))], machine: NewClient
    ) -> ClientToken:
        demand(caller, "writer", "enrolling a client")
        asked = Enrolment(**machine.model_dump(), ip=address_of(request))
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            made = clients.enroll(connection, caller.tenant_id, asked, user_id=caller.user_id, who=caller.actor)
            details = {"client_id": str(made.client_id), "hostname": asked.hostname, "again": made.again}
            told(connection, request, "client.register", "success", details, client_id=made.client_id)
        return ClientToken(client_id=made.client_id, token=made.token, again=made.again)

    @made.post("/token", status_code=201, summary="Replace one's own token; the old one holds for an hour")
    def replaced(
        request: Request, caller: Annotated[Holder, Depends(ClientCaller(service, "security.client"))]
    ) -> NewerToken:
        came_with = hashed(secret_of(request))
        until = datetime.now(UTC) + GRACE
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            token = clients.replace_own(connection, caller.tenant_id, caller.client_id, came_with)
            if token is None:
                raise _gone(service, caller)
            told(connection, request, "security.client", "success", {"what": "replace"})
        return NewerToken(token=token, old_holds_until=until)

    return made


def routes(service: Service) -> list[Route]:
    """Return the plain route."""
    return [Route("/api/v1/agents/report", Reports(service).report, methods=["POST"])]


class Reports:
    """Takes reports in, a bounded number at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._inside = 0
        self._sending: Counter[UUID] = Counter()

    async def report(self, request: Request) -> Response:
        """Take a report in."""
        holder = await client_of(request, self._service)
        record_of(request).kind = _KIND
        if self._sending[holder.client_id] >= MOST_OF_ONE:
            raise _busy(request, "this client is sending others")
        self._sending[holder.client_id] += 1
        try:
            async with asyncio.timeout(_BODY_S):
                body = await received(request, REPORT_BYTES, advice=_ADVICE)
        except TimeoutError:
            raise RefusedRequestError(408, "BODY_TOO_SLOW", f"the body was not there in {_BODY_S:g} s") from None
        finally:
            self._sending[holder.client_id] -= 1
            if not self._sending[holder.client_id]:
                del self._sending[holder.client_id]
        if self._inside >= MOST_WAITING:
            raise _busy(request, "too many report at once")
        self._inside += 1
        try:
            return await in_thread(self._take, request, holder, body)
        finally:
            self._inside -= 1

    def _take(self, request: Request, holder: Holder, body: bytes) -> Response:
        payload = unpacked(request, body, REPORT_BYTES, advice=_ADVICE)
        now = datetime.now(UTC)
        report: Report | None = None
        try:
            report = _read(payload)
            accepted = self._accept(request, holder, payload, report, now)
        except TooOldError as error:
            raise RefusedRequestError(422, "REPORT_TOO_OLD", str(error)) from None
        except ClientGoneError:
            raise _gone(self._service, holder) from None
        except _DEFECTS as error:
            logging.getLogger(__name__).exception("a report of client %s was kept and not read", holder.client_id)
            return self._keep(request, holder, payload, report, now, type(error).__name__)
        self._service.presence.beat(holder.tenant_id, holder.client_id, holder.user_id, address_of(request))
        return _answer(
            200,
            {
                "result": accepted.result,
                "changes": list(accepted.change.types) if accepted.change else [],
                "summary": accepted.change.summary if accepted.change else "",
                "collected_at": accepted.collected_at.isoformat(),
                "collected_date": accepted.collected_date.isoformat(),
                "notes": list(accepted.notes),
            },
        )

    def _accept(
        self, request: Request, holder: Holder, payload: bytes, report: Report, now: datetime
    ) -> reports.Accepted:
        def recorded(accepted: reports.Accepted) -> None:
            if accepted.change is None:
                return
            details = {
                "result": accepted.result,
                "changes": list(accepted.change.types),
                "summary": accepted.change.summary[:_TOLD],
                "collected_at": accepted.collected_at.isoformat(),
            }
            told(connection, request, _KIND, "success", details)

        with self._service.connection() as connection:
            accepted = reports.accept(
                connection, holder, payload, report, received_at=now, peer=address_of(request), then=recorded
            )
        if accepted.change is None:
            # counted, and not recorded: nothing happened to anything
            record_of(request).written = True
        if accepted.said_last is not None:
            self._service.client_logins.reported(holder.client_id, accepted.said_last)
        if report.agent_version is not None:
            holder.agent_version = report.agent_version
        return accepted

    def _keep(
        self, request: Request, holder: Holder, payload: bytes, report: Report | None, now: datetime, why: str
    ) -> Response:
        with self._service.connection() as connection, as_tenant(connection, holder.tenant_id):
            placed = reports.keep(
                connection, holder, payload, report, received_at=now, peer=address_of(request), why=why
            )
            told(connection, request, _KIND, "failed", {"result": "kept", "why": why})
        return _answer(202, {"result": "kept", "collected_date": placed.collected_date.isoformat()})


def _read(payload: bytes) -> Report:
    """Return a body as a report. Raises RefusedRequestError with 400 or 422."""
    try:
        document = loads(payload)
    except PayloadError as error:
        raise RefusedRequestError(400, "REPORT_UNREADABLE", str(error)) from None
    try:
        return read(document)
    except PayloadError as error:
        raise RefusedRequestError(422, "REPORT_INVALID", str(error)) from None


def _busy(request: Request, why: str) -> RefusedRequestError:
    # counted, and not recorded: who comes too often must not fill the audit
    record_of(request).written = True
    return RefusedRequestError(429, "BUSY", why, headers={"Retry-After": str(_AGAIN_S)})


def _gone(service: Service, holder: Holder) -> RefusedRequestError:
    service.client_logins.forget(holder.client_id)
    return RefusedRequestError(
        401, "LOGIN_REFUSED", "the client was retired; enrol the machine anew (asset-ledger agent enroll)"
    )


def _answer(status: int, told: dict[str, Any]) -> Response:
    return Response(json.dumps(told, ensure_ascii=False).encode(), status, media_type="application/json")
