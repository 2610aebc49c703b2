"""What is known of states, as JSON: lists, versions, locks, events. Never a body: that is the backend's to give.

Annotations are evaluated: FastAPI reads those of functions that are made within a function.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi import Path as InPath
from pydantic import BaseModel, Field
from starlette.requests import Request

from asset_ledger.api.access import Caller
from asset_ledger.api.answers import RefusedRequestError, told
from asset_ledger.api.service import Service
from asset_ledger.domain.iac.snapshot import Tool
from asset_ledger.domain.roles import Principal
from asset_ledger.store.database import Connection
from asset_ledger.store.iac import resources, states
from asset_ledger.store.tenancy import as_tenant

_Word = Annotated[str, InPath(pattern=rf"^{states.WORD}$")]


class State(BaseModel):
    """A state: its newest version, and who has it locked."""

    tool: Tool
    project: str
    stack: str
    head_version: int
    written_at: datetime | None
    serial: int | None
    size_bytes: int | None
    locked_by: str | None
    locked_at: datetime | None


class Version(BaseModel):
    """A version of a state."""

    version: int
    created_at: datetime
    size_bytes: int
    sha256: str
    kind: str
    serial: int | None
    lineage: str | None
    tool_version: str | None
    run_id: str | None = Field(description="The lock it was written under: versions of one lock are one run.")
    operation: str | None
    actor: str
    flags: list[str]
    parsed_at: datetime | None
    parse_error: str | None = Field(description="Why it was not read, or what of it was not.")


class HeldLock(BaseModel):
    """A lock that is held. `actor` logged in, `who` is what the client says of itself."""

    tool: Tool
    project: str
    stack: str
    lock_id: str | None = Field(description="Told to who may lock.")
    actor: str
    who: str | None
    operation: str | None
    created_at: datetime


class Event(BaseModel):
    """What a version did to a resource. `patch` is RFC 6902 over attributes without what is secret."""

    id: UUID
    version: int
    sequence: int
    run_id: str
    at: datetime
    action: str
    addr: str
    previous_addr: str | None
    deposed: str
    provider: str
    resource_type: str
    stable_uid: UUID
    patch: list[dict[str, Any]]


def router(service: Service) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1", tags=["states"])
    reader = Annotated[Principal, Depends(Caller(service, "states.read"))]
    at = "/states/{tool}/{project}/{stack}"

    @routes.get("/states", summary="The tenant's states")
    def listed(request: Request, caller: reader) -> list[State]:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            found = states.states(connection, caller.tenant_id)
            told(connection, request, "states.read", "success", {})
        return [State(**asdict(each)) for each in found]

    @routes.get("/locks", summary="The locks that are held")
    def locks(request: Request, caller: reader) -> list[HeldLock]:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            found = states.locks(connection, caller.tenant_id)
            told(connection, request, "states.read", "success", {})
        hidden = {} if caller.may("writer") else {"lock_id": None}
        return [HeldLock(**asdict(each) | hidden) for each in found]

    @routes.get(f"{at}/versions", summary="The versions of a state, the newest first")
    def versions(
        request: Request,
        caller: reader,
        tool: Tool,
        project: _Word,
        stack: _Word,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        below: Annotated[int | None, Query(ge=1, lt=1 << 63)] = None,
    ) -> list[Version]:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            state_id = _known(connection, caller, tool, project, stack)
            found = states.versions(connection, caller.tenant_id, state_id, limit, below=below)
            told(connection, request, "states.read", "success", {})
        return [Version(**{**asdict(each), "sha256": each.sha256.hex()}) for each in found]

    @routes.get(f"{at}/events", summary="What versions did to resources, in their order")
    def events(
        request: Request,
        caller: reader,
        tool: Tool,
        project: _Word,
        stack: _Word,
        above: Annotated[int, Query(ge=0, lt=1 << 63, description="Versions above this one.")] = 0,
        upto: Annotated[int | None, Query(ge=1, lt=1 << 63, description="Versions up to this one.")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> list[Event]:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            state_id = _known(connection, caller, tool, project, stack)
            found = resources.events(connection, caller.tenant_id, state_id, above=above, upto=upto, limit=limit)
            told(connection, request, "states.read", "success", {})
        return [Event(**asdict(each)) for each in found]

    return routes


def _known(
    connection: Connection, caller: Principal, tool: Literal["terraform", "pulumi"], project: str, stack: str
) -> UUID:
    found = states.state_id(connection, caller.tenant_id, states.Name(tool, project, stack))
    if found is None:
        raise RefusedRequestError(404, "NO_STATE", "there is no such state")
    return found
