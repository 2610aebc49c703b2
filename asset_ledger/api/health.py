"""What is asked of the service itself: does it live, could it serve, what did it count. Nobody has to log in."""

from __future__ import annotations

import logging

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from asset_ledger.api.service import Service
from asset_ledger.domain.errors import DATABASE_NEWER, LedgerError
from asset_ledger.store.access.people import demand_ring
from asset_ledger.store.agents.presence.transitions import online
from asset_ledger.store.database import current_revision, head_revision
from asset_ledger.store.iac.figures import open_findings
from asset_ledger.store.iac.resources import count_waiting


def router(service: Service) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", response_class=PlainTextResponse, summary="Whether the process lives")
    async def alive() -> str:
        return "ok\n"

    @routes.get("/readyz", response_class=PlainTextResponse, summary="Whether it could serve: database, schema, keys")
    def ready() -> Response:
        try:
            with service.connection() as connection:
                found = current_revision(connection)
                if found != (head := head_revision()):
                    step = DATABASE_NEWER.advice if found and found > head else "`asset-ledger db migrate`"
                    return PlainTextResponse(f"the schema is at {found}, this release needs {head}: {step}\n", 503)
                demand_ring(connection, service.ring)
        except LedgerError as error:
            return PlainTextResponse(f"{error.code.code}: {outwards(error)}\n", 503)
        return PlainTextResponse("ok\n")

    @routes.get("/metrics", response_class=PlainTextResponse, summary="Figures for Prometheus")
    def metrics() -> Response:
        try:
            with service.connection() as connection, connection.transaction():
                service.figures.clients_online(online(connection))
                said = service.figures.exposition(count_waiting(connection), open_findings(connection))
        except LedgerError as error:
            # whoever watches is to be told that, and not that nothing answers
            outwards(error)
            said = service.figures.without_database()
        return Response(said, media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def outwards(error: LedgerError) -> str:
    """Return what an answer may say of an error: its code's words. Its own, which may name a host, a user of the
    database or a key, go to the process's log."""
    logging.getLogger(__name__).error("%s", error)
    return f"{error.code.meaning}. {error.code.advice}"
