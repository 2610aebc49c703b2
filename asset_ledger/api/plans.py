"""Plans: sent to be kept with a state, listed, and told what came of them. Never the plan itself: it has secrets.

Annotations are evaluated: FastAPI reads those of functions that are made within a function.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query
from fastapi import Path as InPath
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from asset_ledger.api.access import Caller
from asset_ledger.api.answers import RefusedRequestError, record_of, told
from asset_ledger.api.bodies import demand_whole, received, unpacked
from asset_ledger.api.login import demand
from asset_ledger.api.reads import Event
from asset_ledger.api.service import Service
from asset_ledger.api.threads import in_thread
from asset_ledger.domain.iac.exact_json import TooDeepError
from asset_ledger.domain.iac.plans import NotAPlanError, demand_plan
from asset_ledger.domain.iac.skimming import outline
from asset_ledger.domain.iac.snapshot import Tool
from asset_ledger.domain.roles import Principal
from asset_ledger.store.iac import plans, states
from asset_ledger.store.iac.plans import NewPlan, NoSuchBaseError
from asset_ledger.store.iac.states import WORD, Name, Who
from asset_ledger.store.tenancy import as_tenant

_Word = Annotated[str, InPath(pattern=rf"^{WORD}$")]
_BODY = {
    "requestBody": {
        "required": True,
        "description": "What `terraform show -json` prints of a saved plan; also with Content-Encoding: gzip.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


class Kept(BaseModel):
    """A plan that is kept. `again`: the same bytes were sent for this state before."""

    id: UUID
    base_version: int
    again: bool


class Plan(BaseModel):
    """A plan that is kept: over which version it was made, and which run followed it."""

    id: UUID
    tool: Tool
    project: str
    stack: str
    base_version: int = Field(description="The version it was made over; 0 where there was none.")
    created_at: datetime
    actor: str
    size_bytes: int
    sha256: str
    tool_version: str | None
    errored: bool | None = Field(description="Whether the tool did not get to its end; null while it was not read.")
    parsed_at: datetime | None
    parse_error: str | None = Field(description="Why it was not read, or what of it was not.")
    followed_by: int | None = Field(description="The last version of the run that followed it.")
    followed_run: str | None
    run_is_open: bool = Field(description="That run has its lock still: what is not done may come yet.")
    predicted: int
    drift: int = Field(description="How many resources it found changed outside.")
    as_predicted: int
    otherwise: int
    not_done: int


class PlanEvent(BaseModel):
    """What a plan predicted or found (`drift`), and the event that it became. `patch` is without what is secret."""

    sequence: int
    action: str
    addr: str
    previous_addr: str | None
    deposed: str
    provider: str
    resource_type: str
    reason: str | None
    stable_uid: UUID | None
    patch: list[dict[str, Any]]
    outcome: Literal["as_predicted", "otherwise", "not_done"] | None = Field(
        description="What came of it; null while no run followed the plan, and of drift."
    )
    event_version: int | None
    event_sequence: int | None


class WholePlan(Plan):
    """A plan with what it predicted, and with what the run did besides."""

    events: list[PlanEvent]
    unpredicted: list[Event]
    more: bool = Field(
        description="Of one of them there is more: ask for it with `above`, `above_version` and `above_sequence`."
    )


def router(service: Service) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["plans"])
    _keep(routes, service)
    _read(routes, service)
    return routes


def _keep(routes: APIRouter, service: Service) -> None:
    @routes.post(
        "/terraform/plans/{project}/{stack}",
        status_code=201,
        summary="Keep a plan with a state, which need not be there yet",
        openapi_extra=_BODY,
        responses={200: {"model": Kept, "description": "The same bytes are kept already."}},
    )
    async def sent(
        request: Request,
        response: Response,
        caller: Annotated[Principal, Depends(Caller(service, "plan.write"))],
        project: _Word,
        stack: _Word,
        base: Annotated[
            int | None,
            Header(
                alias="X-State-Version",
                ge=0,
                lt=1 << 63,
                description="The version of the state that it was made over; without it the newest.",
            ),
        ] = None,
    ) -> Kept:
        demand(caller, "writer", "keeping a plan")
        most = service.limits.body_bytes
        body = await received(request, most)
        made = await in_thread(keep, request, caller, Name("terraform", project, stack), base, body)
        if made.again:
            response.status_code = 200
        return made

    def keep(request: Request, caller: Principal, name: Name, base: int | None, body: bytes) -> Kept:
        demand_whole(request, body)
        new = plan_of(unpacked(request, body, service.limits.body_bytes))
        record_of(request).details = {"base_version": base}
        who = Who(caller.actor, caller.user_id)
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            try:
                kept = plans.add_plan(connection, caller.tenant_id, name, new, base=base, who=who, ring=service.ring)
            except NoSuchBaseError as error:
                raise RefusedRequestError(400, "NO_SUCH_VERSION", str(error)) from None
            details = {"plan": str(kept.id), "base_version": kept.base_version, "again": kept.again}
            told(connection, request, "plan.write", "success", details)
        return Kept(**asdict(kept))


def _read(routes: APIRouter, service: Service) -> None:
    reader = Annotated[Principal, Depends(Caller(service, "plan.read"))]

    @routes.get("/api/v1/states/{tool}/{project}/{stack}/plans", summary="The plans of a state, the newest first")
    def of_state(
        request: Request,
        caller: reader,
        tool: Tool,
        project: _Word,
        stack: _Word,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[Plan]:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            state_id = states.state_id(connection, caller.tenant_id, Name(tool, project, stack))
            if state_id is None:
                raise RefusedRequestError(404, "NO_STATE", "there is no such state")
            found = plans.plans(connection, caller.tenant_id, state_id, limit)
            told(connection, request, "plan.read", "success", {})
        return [Plan(**_facts(each)) for each in found]

    @routes.get("/api/v1/plans/{plan_id}", summary="What a plan predicted, and what came of it")
    def one(
        request: Request,
        caller: reader,
        plan_id: UUID,
        above: Annotated[int, Query(ge=0, lt=1 << 31, description="Predictions after the one of this number.")] = 0,
        above_version: Annotated[
            int, Query(ge=0, lt=1 << 63, description="Of what was not predicted, what comes after this version's …")
        ] = 0,
        above_sequence: Annotated[int, Query(ge=0, lt=1 << 31, description="… event of this number.")] = 0,
        limit: Annotated[int, Query(ge=1, le=10_000, description="At most so many of each.")] = 1000,
    ) -> WholePlan:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            found = plans.plan(connection, caller.tenant_id, plan_id)
            if found is None:
                raise RefusedRequestError(404, "NO_PLAN", "there is no such plan")
            events = plans.plan_events(connection, caller.tenant_id, plan_id, above=above, limit=limit + 1)
            after = (above_version, above_sequence)
            others = plans.unpredicted(connection, caller.tenant_id, plan_id, limit + 1, above=after)
            told(connection, request, "plan.read", "success", {"plan": str(plan_id)})
        return WholePlan(
            **_facts(found),
            events=[PlanEvent(**asdict(each)) for each in events[:limit]],
            unpredicted=[Event(**asdict(each)) for each in others[:limit]],
            more=max(len(events), len(others)) > limit,
        )


def _facts(row: plans.PlanRow) -> dict[str, Any]:
    return {**asdict(row), "sha256": row.sha256.hex()}


def plan_of(body: bytes) -> NewPlan:
    """Return a body as a plan. Raises RefusedRequestError with 400."""
    try:
        # what a plan is recognised by is at the outermost level: only that is held
        demand_plan(outline(body))
    except (NotAPlanError, TooDeepError) as error:
        raise RefusedRequestError(400, "NO_PLAN_DOCUMENT", f"no plan: {error}") from None
    except ValueError as error:
        raise RefusedRequestError(400, "NO_PLAN_DOCUMENT", f"not JSON: {str(error)[:200]}") from None
    return NewPlan(body)
