"""The routes, put together: one app for one service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from asset_ledger.api import access, findings, graph, health, plans, pulumi, reads, states
from asset_ledger.api.answers import REFUSALS, Recording, RefusedRequestError
from asset_ledger.api.bodies import Bounded
from asset_ledger.api.service import Service
from asset_ledger.domain.errors import LedgerError


def create_app(service: Service) -> Recording:
    """Return the app of a service, which is started and stopped with it."""
    return Recording(Bounded(routed(service)), service)


def routed(service: Service) -> FastAPI:
    """Return the routes and what becomes of errors, without the record of requests."""

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.start)
        try:
            yield
        finally:
            await run_in_threadpool(service.stop)

    app = FastAPI(
        title="asset_ledger",
        lifespan=running,
        responses=REFUSALS,
        # a redirect makes Terraform believe that what it sent was saved: nothing here ever redirects
        redirect_slashes=False,
        # their pages load scripts from elsewhere
        docs_url=None,
        redoc_url=None,
    )
    app.router.routes.extend(states.routes(service))
    app.include_router(pulumi.router(service))
    app.include_router(access.router(service))
    app.include_router(reads.router(service))
    app.include_router(plans.router(service))
    app.include_router(findings.router(service))
    app.include_router(graph.router(service))
    app.include_router(health.router(service))

    @app.exception_handler(RefusedRequestError)
    async def refused(_: Request, error: RefusedRequestError) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> Response:
        code = {404: "NO_SUCH_PATH", 405: "METHOD_NOT_ALLOWED", 413: "BODY_TOO_LARGE"}.get(
            error.status_code, "REQUEST_REFUSED"
        )
        return RefusedRequestError(error.status_code, code, str(error.detail), headers=error.headers).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        # without what was sent: it may be a password
        said = "; ".join(f"{'.'.join(str(step) for step in each['loc'])}: {each['msg']}" for each in error.errors())
        return RefusedRequestError(422, "REQUEST_INVALID", said).response()

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return RefusedRequestError(400, "BODY_CUT_SHORT", "the connection ended within the body").response()

    @app.exception_handler(LedgerError)
    async def failed(_: Request, error: LedgerError) -> Response:
        # 503: Terraform asks again by itself
        return RefusedRequestError(
            503, error.code.code, health.outwards(error), headers={"Retry-After": "2"}
        ).response()

    return app
