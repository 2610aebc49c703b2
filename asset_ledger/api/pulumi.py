"""Exported Pulumi stacks, in and out, at the paths and in the shapes that Pulumi's own service has for them.

That is all of that service's API there is here: no `pulumi login`. Versions, locks and who may what are the same as for
Terraform (`states`). docs/platforms/pulumi.md has the table.

Annotations are evaluated: FastAPI reads those of functions that are made within a function.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi import Path as InPath
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from asset_ledger.api.access import Caller
from asset_ledger.api.answers import Refusal, RefusedRequestError, told
from asset_ledger.api.bodies import LOCK_BYTES, demand_whole, export_of, received, unpacked
from asset_ledger.api.login import demand
from asset_ledger.api.service import Service
from asset_ledger.api.states import Backend
from asset_ledger.api.threads import in_thread
from asset_ledger.domain.iac.pulumi_state import exported
from asset_ledger.domain.roles import Principal
from asset_ledger.store.database import Connection
from asset_ledger.store.iac import states
from asset_ledger.store.iac.states import Name
from asset_ledger.store.tenancy import as_tenant

EMPTY = b'{"version":3,"deployment":{}}'
"""What is exported of a stack that nothing was deployed to."""
_Org = Annotated[str, InPath(description="The tenant's name.", pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
_Word = Annotated[str, InPath(pattern=rf"^{states.WORD}$")]
_Version = Annotated[int, InPath(ge=1, lt=(1 << 63) - 1)]
_EXPORT: dict[str, Any] = {
    "type": "object",
    "required": ["version", "deployment"],
    "properties": {
        "version": {"type": "integer", "minimum": 1},
        "features": {"type": "array", "items": {"type": "string"}},
        "deployment": {"type": ["object", "null"]},
    },
}
_LOCK_INFO = {"type": "object", "required": ["ID"], "properties": {"ID": {"type": "string", "minLength": 1}}}


def _asks(schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """Return what OpenAPI is told of a body that FastAPI does not read: it may be as large as a state."""
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def _json(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_EXPORTED: dict[int | str, dict[str, Any]] = {200: _json(_EXPORT, "The version, byte for byte")}
_HELD: dict[int | str, dict[str, Any]] = {423: _json(_LOCK_INFO, "Somebody has it locked: what the holder sent")}
_KEPT: dict[int | str, dict[str, Any]] = {**_HELD, 415: {"model": Refusal, "description": "Packed in another way"}}


class Imported(BaseModel):
    """What an import is asked for by; it is done already."""

    update_id: str = Field(alias="updateId")


class Update(BaseModel):
    """How far an import is."""

    status: Literal["succeeded"]
    events: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _At:
    """Who is asking for which stack."""

    caller: Principal
    name: Name


def router(service: Service) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/stacks/{org}/{project}/{stack}", tags=["pulumi"])
    stacks = _Stacks(service)
    reading = Annotated[_At, Depends(_at(service, "state.read"))]

    @routes.get("/export", summary="The stack's newest version, as it came", responses=_EXPORTED)
    def newest(request: Request, at: reading) -> Response:
        return stacks.export(request, at, None)

    @routes.get("/export/{version}", summary="An older version of the stack, as it came", responses=_EXPORTED)
    def older(request: Request, at: reading, version: _Version) -> Response:
        return stacks.export(request, at, version)

    @routes.post(
        "/import", summary="Keep what `pulumi stack export` prints", responses=_KEPT, openapi_extra=_asks(_EXPORT)
    )
    async def imported(
        request: Request, response: Response, at: Annotated[_At, Depends(_at(service, "state.write"))]
    ) -> Imported:
        demand(at.caller, "writer", "writing a state")
        body = await received(request, service.limits.body_bytes)
        number = await in_thread(stacks.imported, request, at, body)
        response.headers["X-State-Version"] = number
        return Imported(updateId=number)

    @routes.get("/update/{update_id}", summary="Whether an import is done: it is, as soon as it was answered")
    def update(
        request: Request, at: Annotated[_At, Depends(_at(service, "states.read"))], update_id: _Version
    ) -> Update:
        stacks.demand_version(request, at, update_id)
        return Update(status="succeeded", events=[])

    @routes.post(
        "/lock", summary="Lock the stack, as Terraform's LOCK does", responses=_HELD, openapi_extra=_asks(_LOCK_INFO)
    )
    async def locked(request: Request, at: Annotated[_At, Depends(_at(service, "state.lock"))]) -> Response:
        demand(at.caller, "writer", "locking a state")
        return await in_thread(stacks.locked, request, at, await received(request, LOCK_BYTES))

    @routes.delete(
        "/lock",
        summary="Give the stack's lock back; without a body, force it open",
        openapi_extra=_asks(_LOCK_INFO, required=False),
    )
    async def unlocked(request: Request, at: Annotated[_At, Depends(_at(service, "state.unlock"))]) -> Response:
        demand(at.caller, "writer", "unlocking a state")
        return await in_thread(stacks.unlocked, request, at, await received(request, LOCK_BYTES))

    return routes


def _at(service: Service, kind: str) -> Callable[..., _At]:
    """Return what finds out who is asking for which stack, before a body is read."""

    def found(
        caller: Annotated[Principal, Depends(Caller(service, kind))], org: _Org, project: _Word, stack: _Word
    ) -> _At:
        if org != caller.tenant:
            # of another organisation nothing is said, whether there is one or not
            raise RefusedRequestError(
                404, "NO_STATE", "there is no such stack; the first part of a stack's path is your tenant's name"
            )
        return _At(caller, Name("pulumi", project, stack))

    return found


class _Stacks(Backend):
    def name(self, request: Request) -> Name:
        """Return which stack is asked for."""
        return replace(super().name(request), tool="pulumi")

    def export(self, request: Request, at: _At, version: int | None) -> Response:
        """Return a version, or the newest. Raises RefusedRequestError with 404."""
        tenant = at.caller.tenant_id
        with self._service.connection() as connection, as_tenant(connection, tenant):
            state_id = _known(connection, at, version)
            if version is None:
                stored = states.head_body(connection, tenant, at.name)
            else:
                stored = states.stored(connection, tenant, state_id, version)
            body = EMPTY if stored is None else exported(states.opened(self._service.ring, tenant, stored))
            number = 0 if stored is None else stored.version
            told(connection, request, "state.read", "success", {"version": number})
        return Response(
            body,
            media_type="application/json",
            headers={"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-State-Version": str(number)},
        )

    def imported(self, request: Request, at: _At, body: bytes) -> str:
        """Keep a body as the next version and return its number, which stands for the import too."""
        demand_whole(request, body)
        new = export_of(unpacked(request, body, self._service.limits.body_bytes))
        return str(self._keep(request, at.caller, new).version)

    def demand_version(self, request: Request, at: _At, version: int) -> None:
        """Raise RefusedRequestError with 404 where there is no such version."""
        with self._service.connection() as connection, as_tenant(connection, at.caller.tenant_id):
            _known(connection, at, version)
            told(connection, request, "states.read", "success", {"version": version})

    def locked(self, request: Request, at: _At, body: bytes) -> Response:
        """Lock the stack. Raises RefusedRequestError."""
        return self._lock(request, at.caller, body)

    def unlocked(self, request: Request, at: _At, body: bytes) -> Response:
        """Give the lock back, or force it open. Raises RefusedRequestError."""
        return self._unlock(request, at.caller, body)


def _known(connection: Connection, at: _At, version: int | None) -> UUID:
    """Return a stack's id. Raises RefusedRequestError with 404 where it, or this version of it, is none."""
    tenant = at.caller.tenant_id
    state_id = states.state_id(connection, tenant, at.name)
    if state_id is None:
        raise RefusedRequestError(404, "NO_STATE", "nothing was written here yet")
    if version is not None:
        found = states.versions(connection, tenant, state_id, 1, below=version + 1)
        if [each.version for each in found] != [version]:
            raise RefusedRequestError(404, "NO_VERSION", f"the stack has no version {version}")
    return state_id
