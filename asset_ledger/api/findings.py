"""Findings and coverage, as JSON: what is not as declared, and how much of each source is declared at all.

Annotations are evaluated: FastAPI reads those of functions that are made within a function.
"""

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from asset_ledger.api.access import Caller
from asset_ledger.api.answers import RefusedRequestError, told
from asset_ledger.api.service import Service
from asset_ledger.domain.iac.rules import AnyKind
from asset_ledger.domain.iac.snapshot import Tool
from asset_ledger.domain.roles import Principal
from asset_ledger.store.iac import found
from asset_ledger.store.iac.states import WORD
from asset_ledger.store.tenancy import as_tenant

_SOURCE = r"^[a-z][a-z0-9_]{0,39}$"
_STATE = rf"^(pulumi:|terraform:)?{WORD}/{WORD}$"


class Finding(BaseModel):
    """A finding. It holds until it is closed; while it is unsure, nothing complete was read that would say so."""

    id: UUID
    kind: AnyKind
    source: str
    tool: Tool | None = Field(description="Of an orphan, state, address and attribute are nobody's.")
    project: str | None
    stack: str | None
    addr: str | None
    stable_uid: UUID | None
    attribute: str
    declared: Any = Field(description="Sizes in bytes. Of addresses those that the machine does not have.")
    observed: Any = Field(description="Of a double, the other resources that are the machine.")
    asset_id: UUID | None
    name: str | None
    external_kind: str | None
    external_id: str | None
    rule: str | None = Field(description="How resource and machine were joined: id, uuid or address.")
    score: int | None
    observed_at: datetime | None
    opened_at: datetime
    seen_at: datetime
    unsure_since: datetime | None
    unsure_because: str | None
    closed_at: datetime | None
    closed_because: str | None
    client_id: UUID | None = Field(description="Of what an agent said, and then `declared` is what the platform says.")


class Coverage(BaseModel):
    """How much of a source is declared, in machines, as last looked at on a day."""

    source: str
    day: date
    evaluated_at: datetime
    reading_at: datetime | None = Field(description="The last reading whose absences count.")
    complete: bool
    why: str | None = Field(description="Why not all can be said.")
    observed: int
    managed: int = Field(description="How many of those observed a state declares.")
    declared: int
    ignored: int
    drifting: int
    missing: int
    doubles: int
    orphans: int
    unknown: dict[str, int] = Field(description="How many declared machines could not be compared, by reason.")
    managed_percent: float | None = Field(description="Of those observed, to a tenth; null where there are none.")


class _Asked(BaseModel):
    """What may be asked for. Anything else is refused: a filter that slipped would show what nobody asked for."""

    model_config = ConfigDict(extra="forbid")


class AskedFindings(_Asked):
    """Which findings."""

    status: Literal["open", "closed", "all"] = "open"
    kind: list[AnyKind] = Field([], description="Only of these kinds.")
    source: str | None = Field(None, pattern=_SOURCE)
    state: str | None = Field(
        None, pattern=_STATE, description="PROJECT/STACK; one of Pulumi's with pulumi: before it."
    )
    after: UUID | None = Field(None, description="The last finding of the page before.")
    limit: int = Field(100, ge=1, le=1000)


class AskedCoverage(_Asked):
    """Of which source, and how many days."""

    source: str | None = Field(None, pattern=_SOURCE)
    days: int = Field(1, ge=1, le=366, description="How many days of each source.")


def router(service: Service) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1", tags=["findings"])
    reader = Annotated[Principal, Depends(Caller(service, "findings.read"))]

    @routes.get("/findings", summary="What is not as declared, those opened last first")
    def listed(
        request: Request,
        caller: reader,
        asked: Annotated[AskedFindings, Query()],
    ) -> list[Finding]:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            rows = found.listed(
                connection,
                caller.tenant_id,
                status=asked.status,
                kinds=asked.kind,
                source=asked.source,
                state=None if asked.state is None else _state(asked.state),
                after=asked.after,
                limit=asked.limit,
            )
            told(connection, request, "findings.read", "success", {})
        return [Finding(**asdict(row)) for row in rows]

    @routes.get("/findings/{finding_id}", summary="A finding")
    def one(request: Request, caller: reader, finding_id: UUID) -> Finding:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            row = found.finding(connection, caller.tenant_id, finding_id)
            if row is None:
                raise RefusedRequestError(404, "NO_FINDING", "there is no such finding")
            told(connection, request, "findings.read", "success", {})
        return Finding(**asdict(row))

    @routes.get("/coverage", summary="How much of each source is declared, the newest day first")
    def coverage(
        request: Request,
        caller: reader,
        asked: Annotated[AskedCoverage, Query()],
    ) -> list[Coverage]:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            rows = found.coverage(connection, caller.tenant_id, source=asked.source, days=asked.days)
            told(connection, request, "findings.read", "success", {})
        return [Coverage(**asdict(row)) for row in rows]

    return routes


def _state(text: str) -> tuple[Tool, str, str]:
    tool, _, name = text.rpartition(":")
    project, _, stack = name.partition("/")
    return ("pulumi" if tool == "pulumi" else "terraform", project, stack)
