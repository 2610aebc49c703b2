"""The routes, put together: one app for one service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from asset_ledger.api import (
    access,
    agent_binaries,
    agent_versions,
    agents,
    clients,
    exports,
    findings,
    graph,
    health,
    plans,
    presence,
    pulumi,
    reads,
    states,
)
from asset_ledger.api.answers import REFUSALS, Recording, RefusedRequestError
from asset_ledger.api.bodies import Bounded
from asset_ledger.api.service import Service
from asset_ledger.domain.errors import LedgerError


def create_app(service: Service) -> presence.Sockets:
    """Return the app of a service, which is started and stopped with it."""
    documented = routed(service)
    # beats come most often of all, and are looked for first
    plain = [*presence.routes(service), *agents.routes(service), *states.routes(service)]
    return presence.Sockets(Recording(Bounded(Plain(plain, documented)), service), service)


class Plain:
    """Routes that no model of an API describes, and before them what all others go through.

    They are asked most often, and the frameworks' way to a route, and round it for errors, costs as much as the route.
    """

    def __init__(self, routes: Sequence[Route], others: FastAPI) -> None:
        self._of_one_path = {route.path: (route,) for route in routes if not route.param_convertors}
        self._of_many = tuple(route for route in routes if route.param_convertors)
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to one of the routes, or pass it on."""
        if scope["type"] == "http":
            for route in self._of_one_path.get(scope["path"], self._of_many):
                if found := route.path_regex.match(scope["path"]):
                    scope["path_params"] = found.groupdict()
                    await _answer(route, scope, receive, send)
                    return
        await self._others(scope, receive, send)


async def _answer(route: Route, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request to a route. What nobody foresaw is answered too, and raised, so that the server tells of it."""
    request = Request(scope, receive)
    try:
        if scope["method"] not in (allowed := route.methods or ()):
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(allowed))})
        response = await route.endpoint(request)
    except Exception as error:
        refused = next((REFUSED[kind] for kind in type(error).__mro__ if kind in REFUSED), None)
        if refused is None:
            await PlainTextResponse("Internal Server Error", 500)(scope, receive, send)
            raise
        response = await refused(request, error)
    await response(scope, receive, send)


def routed(service: Service) -> FastAPI:
    """Return the routes that OpenAPI describes and what becomes of errors, without the record of requests."""

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
        exception_handlers=REFUSED,
        # a redirect makes Terraform believe that what it sent was saved: nothing here ever redirects
        redirect_slashes=False,
        # their pages load scripts from elsewhere
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(pulumi.router(service))
    app.include_router(access.router(service))
    app.include_router(agents.router(service))
    app.include_router(clients.router(service))
    app.include_router(reads.router(service))
    app.include_router(plans.router(service))
    app.include_router(findings.router(service))
    app.include_router(graph.router(service))
    app.include_router(exports.router(service))
    app.include_router(agent_versions.router(service))
    app.include_router(agent_binaries.router(service))
    app.include_router(health.router(service))

    return app


async def _refused(_: Request, error: RefusedRequestError) -> Response:
    return error.response()


async def _unknown(_: Request, error: HTTPException) -> Response:
    code = {404: "NO_SUCH_PATH", 405: "METHOD_NOT_ALLOWED", 413: "BODY_TOO_LARGE"}.get(
        error.status_code, "REQUEST_REFUSED"
    )
    return RefusedRequestError(error.status_code, code, str(error.detail), headers=error.headers).response()


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    # without what was sent: it may be a password
    said = "; ".join(f"{'.'.join(str(step) for step in each['loc'])}: {each['msg']}" for each in error.errors())
    return RefusedRequestError(422, "REQUEST_INVALID", said).response()


async def _gone(_: Request, __: ClientDisconnect) -> Response:
    return RefusedRequestError(400, "BODY_CUT_SHORT", "the connection ended within the body").response()


async def _failed(_: Request, error: LedgerError) -> Response:
    # 503: Terraform asks again by itself
    return RefusedRequestError(503, error.code.code, health.outwards(error), headers={"Retry-After": "2"}).response()


REFUSED: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    RefusedRequestError: _refused,
    HTTPException: _unknown,
    RequestValidationError: _invalid,
    ClientDisconnect: _gone,
    LedgerError: _failed,
}
"""What becomes of an error, whichever route it is of."""
