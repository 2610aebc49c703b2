"""Clients over HTTP: which there are, what each said last and before, and what ends one.

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
from asset_ledger.api.answers import RefusedRequestError, record_of, told
from asset_ledger.api.login import demand
from asset_ledger.api.service import Service
from asset_ledger.domain.agents.changes import ChangeType, compare, differences
from asset_ledger.domain.roles import Principal
from asset_ledger.store.agents import clients, lists
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant

_READ = "clients.read"
_END = "security.client"
_TEXT = r"^[^\x00-\x1f\x7f]+$"


class Client(BaseModel):
    """A client. Bytes; what it said last is null until it said something."""

    id: UUID
    hostname: str | None
    status: lists.Status
    status_at: datetime | None = Field(description="Since when it is that.")
    os: str | None
    platform: str | None
    arch: str | None
    agent_version: str | None
    ip_address: str | None = Field(description="From where it last came.")
    enrolled_by: str
    username: str | None = Field(description="Whose it is; null where a login of a provider enrolled it.")
    registered_at: datetime
    first_connected_at: datetime | None
    last_connected_at: datetime | None
    last_seen: datetime | None = Field(description="Written now and then, not with every beat.")
    retired_at: datetime | None
    collected_at: datetime | None = Field(description="When its latest report was collected.")
    cpu_count: int | None
    memory_total: int | None
    disk_total: int | None = Field(description="Of its file systems; disks of the hardware are another number.")
    ip_addresses: list[str] | None
    waiting: int = Field(description="How many of its reports wait for the ledger.")


class Inventory(BaseModel):
    """What a client said last. Bytes and percent; `raw_data` is of `raw_at`: nothing changed since."""

    hostname: str | None
    os: str | None
    platform: str | None
    platform_version: str | None
    kernel_version: str | None
    arch: str | None
    cpu_count: int | None
    cpu_count_is: Literal["logical", "physical"] | None
    cpu_model: str | None
    cpu_usage_percent: float | None
    memory_total: int | None
    memory_used: int | None
    memory_free: int | None
    memory_usage_percent: float | None
    disk_total: int | None
    disk_used: int | None
    disk_free: int | None
    disk_usage_percent: float | None
    ip_addresses: list[str]
    mac_addresses: list[str]
    collected_at: datetime
    received_at: datetime
    updated_at: datetime = Field(description="When what does not change with use last changed, or a day began.")
    collected_date: date
    payload_sha256: str = Field(description="Of the report's bytes, by which its heartbeats name it.")
    raw_data: dict[str, Any]
    raw_at: datetime


class WholeClient(Client):
    """A client and what it said last."""

    inventory: Inventory | None


class HistoryEntry(BaseModel):
    """One row of a client's history: something changed, or a day began. Bytes."""

    id: int
    collected_at: datetime
    collected_date: date
    created_at: datetime
    change_type: list[ChangeType]
    change_summary: str
    hostname: str | None
    os: str | None
    platform: str | None
    platform_version: str | None
    kernel_version: str | None
    arch: str | None
    cpu_count: int | None
    cpu_count_is: Literal["logical", "physical"] | None
    cpu_model: str | None
    memory_total: int | None
    memory_used: int | None
    disk_total: int | None
    disk_used: int | None
    ip_addresses: list[str]
    mac_addresses: list[str]
    said_again: int = Field(description="How many reports of that day said the same after it.")
    raw_kept: bool = Field(description="Whether the whole report is kept.")


class Difference(BaseModel):
    """A field of which two reports say different things."""

    field: str
    before: Any
    after: Any


class Diff(BaseModel):
    """What differs between two reports of a client, exactly, and what of it counts as a change."""

    before_id: int | None = Field(description="The row of history; null is what the client said last.")
    before_at: datetime
    after_id: int | None
    after_at: datetime
    change_type: list[ChangeType]
    change_summary: str
    differences: list[Difference]


class Ended(BaseModel):
    """How many tokens of a client ended."""

    tokens: int


class _Asked(BaseModel):
    """What may be asked for. Anything else is refused: a filter that slipped would show what nobody asked for."""

    model_config = ConfigDict(extra="forbid")


class AskedClients(_Asked):
    """Which clients."""

    status: lists.Status | None = None
    os: str | None = Field(None, min_length=1, max_length=50, pattern=_TEXT)
    platform: str | None = Field(None, min_length=1, max_length=100, pattern=_TEXT)
    hostname: str | None = Field(None, min_length=1, max_length=255, pattern=_TEXT, description="A part of it.")
    agent_version: str | None = Field(None, min_length=1, max_length=50, pattern=_TEXT)
    retired: lists.Retired = "no"
    after: UUID | None = Field(None, description="The last client of the page before.")
    limit: int = Field(100, ge=1, le=1000)


class AskedHistory(_Asked):
    """Which rows of a client's history."""

    change_type: list[ChangeType] = Field([], description="Only with one of these.")
    after: int | None = Field(None, ge=1, lt=1 << 63, description="The last row of the page before.")
    limit: int = Field(100, ge=1, le=1000)


_Which = Annotated[str, Query(pattern=r"^(latest|[1-9][0-9]{0,17})$", description="The id of a row, or `latest`.")]


def router(service: Service) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1/clients", tags=["clients"])
    _read(routes, service)
    _compare(routes, service)
    _end(routes, service)
    return routes


def _read(routes: APIRouter, service: Service) -> None:
    reader = Annotated[Principal, Depends(Caller(service, _READ))]

    @routes.get("", summary="The tenant's clients, by hostname")
    def listed(request: Request, caller: reader, asked: Annotated[AskedClients, Query()]) -> list[Client]:
        wanted = lists.Wanted(**asked.model_dump(exclude={"after", "limit"}))
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            found = lists.clients(connection, caller.tenant_id, wanted, after=asked.after, limit=asked.limit)
            told(connection, request, _READ, "success", {})
        return [Client(**asdict(each)) for each in found]

    @routes.get("/{client_id}", summary="A client, and what it said last")
    def one(request: Request, caller: reader, client_id: UUID) -> WholeClient:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            found = _client(connection, caller, client_id)
            latest = lists.latest(connection, caller.tenant_id, client_id)
            told(connection, request, _READ, "success", {}, client_id=client_id)
        return WholeClient(**asdict(found), inventory=None if latest is None else Inventory(**asdict(latest)))

    @routes.get("/{client_id}/history", summary="What a client said before, the newest first")
    def history(
        request: Request, caller: reader, client_id: UUID, asked: Annotated[AskedHistory, Query()]
    ) -> list[HistoryEntry]:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            _client(connection, caller, client_id)
            found = lists.history(
                connection,
                caller.tenant_id,
                client_id,
                kinds=asked.change_type,
                after=asked.after,
                limit=asked.limit,
            )
            told(connection, request, _READ, "success", {}, client_id=client_id)
        return [HistoryEntry(**asdict(each)) for each in found]


def _compare(routes: APIRouter, service: Service) -> None:
    @routes.get("/{client_id}/diff", summary="What differs between any two reports of a client")
    def diff(
        request: Request,
        caller: Annotated[Principal, Depends(Caller(service, _READ))],
        client_id: UUID,
        before: Annotated[_Which, Query(alias="from")],
        after: Annotated[_Which, Query(alias="to")] = "latest",
    ) -> Diff:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            _client(connection, caller, client_id)
            old, new = (_said(connection, caller, client_id, each) for each in (before, after))
            told(connection, request, _READ, "success", {}, client_id=client_id)
        change = compare(old.inventory, new.inventory)
        return Diff(
            before_id=old.id,
            before_at=old.collected_at,
            after_id=new.id,
            after_at=new.collected_at,
            change_type=list(change.types),
            change_summary=change.summary,
            differences=[
                Difference(field=each.field, before=each.before, after=each.after)
                for each in differences(old.inventory, new.inventory)
            ],
        )


def _end(routes: APIRouter, service: Service) -> None:
    ender = Annotated[Principal, Depends(Caller(service, _END))]

    @routes.post("/{client_id}/token/revoke", summary="End a client's tokens; it is let in again by enrolling it anew")
    def revoked(request: Request, caller: ender, client_id: UUID) -> Ended:
        record_of(request).client_id = client_id
        demand(caller, "writer", "ending a client's tokens")
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            _client(connection, caller, client_id)
            ended = clients.revoke(connection, caller.tenant_id, client_id)
            told(connection, request, _END, "success", {"what": "revoke", "tokens": ended}, client_id=client_id)
        service.client_logins.forget(client_id)
        return Ended(tokens=ended)

    @routes.post("/{client_id}/retire", status_code=204, summary="Take a client as gone for good; its history stays")
    def retired(request: Request, caller: ender, client_id: UUID) -> None:
        record_of(request).client_id = client_id
        demand(caller, "admin", "retiring a client")
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            _client(connection, caller, client_id)
            if not clients.retire(connection, caller.tenant_id, client_id):
                raise RefusedRequestError(409, "CLIENT_RETIRED", "the client was retired already")
            told(connection, request, _END, "success", {"what": "retire"}, client_id=client_id)
        service.client_logins.forget(client_id)


def _client(connection: Connection, caller: Principal, client_id: UUID) -> lists.ClientRow:
    found = lists.client(connection, caller.tenant_id, client_id)
    if found is None:
        raise RefusedRequestError(404, "NO_CLIENT", "there is no such client")
    return found


def _said(connection: Connection, caller: Principal, client_id: UUID, which: str) -> lists.Said:
    row_id = None if which == "latest" else int(which)
    try:
        found = lists.said(connection, caller.tenant_id, client_id, row_id)
    except lists.NotKeptError:
        raise RefusedRequestError(
            409, "REPORT_NOT_KEPT", f"of row {which} the report is not kept any more (retention)"
        ) from None
    if found is None:
        why = "the client said nothing yet" if row_id is None else f"its history has no row {which}"
        raise RefusedRequestError(404, "NO_REPORT", why)
    return found
