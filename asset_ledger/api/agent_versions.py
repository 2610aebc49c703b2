"""Versions of the agent: published and withdrawn by administrators, asked for and downloaded by whoever has a token.

Annotations are evaluated: FastAPI reads those of functions that are made within a function.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi import Path as InPath
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from pydantic import BaseModel, Field
from starlette.requests import Request

from asset_ledger.api.access import Caller
from asset_ledger.api.agents import client_or_user
from asset_ledger.api.answers import RefusedRequestError, record_of, told
from asset_ledger.api.login import demand
from asset_ledger.api.service import Service
from asset_ledger.domain.agents.versions import PLATFORMS
from asset_ledger.domain.roles import Principal
from asset_ledger.store.agents import versions
from asset_ledger.store.agents.clients import Holder
from asset_ledger.store.agents.versions import VersionRow
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant

PREFIX = "/api/v1/agent-versions"
_NUMBER = "(0|[1-9][0-9]*)"
_WORD = "(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = rf"^{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_WORD}(\.{_WORD})*)?$"
VersionName = Annotated[str, InPath(pattern=_VERSION, max_length=50)]
Platform = Literal[PLATFORMS]  # type: ignore[valid-type]
_Said = Annotated[str, Field(pattern=_VERSION, max_length=50)]


class NewVersion(BaseModel):
    """A version to publish, as semver.org writes them. Its binaries follow, one a platform."""

    version: _Said
    changelog: Annotated[str, Field(max_length=20_000, pattern=r"^[^\x00]*$")] | None = None
    min_server_version: _Said | None = Field(
        default=None, description="The oldest asset_ledger that it works with; an older one does not offer it."
    )


class BinaryFacts(BaseModel):
    """The agent for one platform."""

    filename: str
    size: int
    sha256: str


class AgentVersion(BaseModel):
    """A published version. `download_count` counts whole downloads, however many pieces they came in."""

    version: str
    release_date: datetime
    is_latest: bool
    changelog: str | None
    min_server_version: str | None
    download_count: int
    binaries: dict[str, BinaryFacts]
    withdrawn_at: datetime | None


class Newest(BinaryFacts):
    """The version that a platform's agents are to have."""

    version: str
    platform: str
    url: str = Field(description="Where the binary is, on this server.")
    release_date: datetime
    changelog: str | None


class Downloader(SecurityBase):
    """Who is asking, a user or an agent with its own token."""

    def __init__(self, service: Service, kind: str) -> None:
        self.model = HTTPBearer(description="An API token, an identity provider's, or a client's.")
        self.scheme_name = "token"
        self._service, self._kind = service, kind

    async def __call__(self, request: Request) -> Principal | Holder:
        """Return who is asking. Raises RefusedRequestError."""
        found = await client_or_user(request, self._service)
        record_of(request).kind = self._kind
        return found


def router(service: Service) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix=PREFIX, tags=["agents"])
    _publish(routes, service)
    _read(routes, service)
    return routes


def _publish(routes: APIRouter, service: Service) -> None:
    writer = Annotated[Principal, Depends(Caller(service, "agent_version.write"))]

    @routes.post("", status_code=201, summary="Publish a version; agents are told of none before it is the latest")
    def added(request: Request, caller: writer, wanted: NewVersion) -> AgentVersion:
        demand(caller, "admin", "publishing an agent")
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            if not versions.add(
                connection,
                caller.tenant_id,
                wanted.version,
                changelog=wanted.changelog,
                min_server_version=wanted.min_server_version,
            ):
                raise RefusedRequestError(
                    409,
                    "VERSION_THERE",
                    f"{wanted.version} is published already; a version never changes: take the next",
                )
            told(connection, request, "agent_version.write", "success", {"version": wanted.version, "what": "add"})
            return facts(found(connection, caller.tenant_id, wanted.version))

    @routes.post("/{version}/latest", summary="Make a version the one that agents are told of")
    def made_latest(request: Request, caller: writer, version: VersionName) -> AgentVersion:
        demand(caller, "admin", "saying which agent is the latest")
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            row = found(connection, caller.tenant_id, version, lock=True)
            if row.withdrawn_at is not None:
                raise RefusedRequestError(409, "VERSION_WITHDRAWN", f"{version} was withdrawn; publish another one")
            if not row.binaries:
                raise RefusedRequestError(409, "NO_BINARY", f"{version} has no binary yet: upload one first")
            versions.set_latest(connection, caller.tenant_id, row.id)
            told(connection, request, "agent_version.write", "success", {"version": version, "what": "latest"})
            return facts(found(connection, caller.tenant_id, version))

    @routes.post("/{version}/withdraw", summary="Offer a version no more; where it was the latest, there is none then")
    def withdrawn(request: Request, caller: writer, version: VersionName) -> AgentVersion:
        demand(caller, "admin", "withdrawing an agent")
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            row = found(connection, caller.tenant_id, version, lock=True)
            versions.withdraw(connection, caller.tenant_id, row.id)
            told(connection, request, "agent_version.write", "success", {"version": version, "what": "withdraw"})
            return facts(found(connection, caller.tenant_id, version))


def _read(routes: APIRouter, service: Service) -> None:
    reader = Annotated[Principal | Holder, Depends(Downloader(service, "agent_version.read"))]

    @routes.get("", summary="The published versions, the highest first")
    def listed(request: Request, caller: reader) -> list[AgentVersion]:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            rows = versions.versions(connection, caller.tenant_id)
            told(connection, request, "agent_version.read", "success", {})
        return [facts(row) for row in rows]

    @routes.get("/latest", summary="The newest released version for a platform that works with this server")
    def latest(request: Request, caller: reader, platform: Annotated[Platform, Query()]) -> Newest:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            row = versions.newest(connection, caller.tenant_id, platform, versions.ours())
            if row is None:
                raise RefusedRequestError(
                    404, "NO_VERSION", f"no released version has a binary for {platform} and works with this server"
                )
            told(connection, request, "agent_version.read", "success", {"version": row.version, "platform": platform})
        return Newest(
            version=row.version,
            platform=platform,
            url=f"{PREFIX}/{row.version}/binaries/{platform}",
            release_date=row.release_date,
            changelog=row.changelog,
            **binary_facts(row, platform),
        )


def found(connection: Connection, tenant_id: UUID, version: str, *, lock: bool = False) -> VersionRow:
    """Return a version. Raises RefusedRequestError with 404."""
    row = versions.version(connection, tenant_id, version, lock=lock)
    if row is None:
        raise RefusedRequestError(404, "NO_VERSION", f"there is no version {version}")
    return row


def facts(row: VersionRow) -> AgentVersion:
    """Return a version as it is answered: where its files lie is nobody's concern."""
    return AgentVersion(
        version=row.version,
        release_date=row.release_date,
        is_latest=row.is_latest,
        changelog=row.changelog,
        min_server_version=row.min_server_version,
        download_count=row.download_count,
        binaries={name: BinaryFacts(**binary_facts(row, name)) for name in sorted(row.binaries)},
        withdrawn_at=row.withdrawn_at,
    )


def binary_facts(row: VersionRow, platform: str) -> dict[str, Any]:
    """Return what is answered of a version's binary for a platform that it has."""
    binary = row.binaries[platform]
    return {"filename": binary.filename, "size": binary.size, "sha256": binary.sha256}
