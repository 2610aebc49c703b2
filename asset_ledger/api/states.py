"""Terraform's HTTP backend: GET, POST, LOCK and UNLOCK of one URL a stack. docs/platforms/terraform.md has the table.

Odd verbs fit no model of an API, so these are plain routes. Each request is one transaction, which first takes the
state's row; what is answered is recorded in it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from asset_ledger.api.answers import RefusedRequestError, record_of, told
from asset_ledger.api.bodies import LOCK_BYTES, demand_whole, received, state_of
from asset_ledger.api.login import demand, principal_of
from asset_ledger.api.service import Service
from asset_ledger.domain.iac.exact_json import storable
from asset_ledger.domain.iac.locking import Held, Lock, NoLockError, Refused, lock_of
from asset_ledger.domain.roles import Principal
from asset_ledger.store.database import Connection
from asset_ledger.store.iac import states
from asset_ledger.store.iac.states import Name, Who
from asset_ledger.store.tenancy import as_tenant

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ID_CHARACTERS = 300

Handler = Callable[[Request], Awaitable[Response]]


def routes(service: Service) -> list[Route]:
    """Return the backend's routes. State, lock and unlock answer under one path and under paths of their own."""
    backend = _Backend(service)
    at = "/{project}/{stack}"
    return [
        Route(f"/terraform/state{at}", backend.state, methods=["GET", "POST", "PUT", "DELETE", "LOCK", "UNLOCK"]),
        Route(f"/terraform/lock{at}", backend.lock, methods=["LOCK", "POST", "PUT", "UNLOCK", "DELETE"]),
        Route(f"/terraform/unlock{at}", backend.unlock, methods=["UNLOCK", "POST", "PUT", "DELETE"]),
    ]


class _Backend:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def state(self, request: Request) -> Response:
        match request.method:
            case "GET" | "HEAD":
                principal = await self._principal(request, "state.read")
                return await run_in_threadpool(self._read, request, principal)
            case "LOCK":
                return await self.lock(request)
            case "UNLOCK":
                return await self.unlock(request)
        principal = await self._principal(request, "state.write")
        demand(principal, "writer", "writing a state")
        if request.method == "DELETE":
            raise RefusedRequestError(
                405,
                "STATE_IS_KEPT",
                "no state is deleted; `terraform destroy` empties it and its history stays",
                headers={"Allow": "GET, POST, PUT, LOCK, UNLOCK"},
            )
        body = await received(request, self._service.limits.body_bytes)
        return await run_in_threadpool(self._write, request, principal, body)

    async def lock(self, request: Request) -> Response:
        if request.method in ("UNLOCK", "DELETE"):
            return await self.unlock(request)
        principal = await self._principal(request, "state.lock")
        demand(principal, "writer", "locking a state")
        return await run_in_threadpool(self._lock, request, principal, await received(request, LOCK_BYTES))

    async def unlock(self, request: Request) -> Response:
        principal = await self._principal(request, "state.unlock")
        demand(principal, "writer", "unlocking a state")
        return await run_in_threadpool(self._unlock, request, principal, await received(request, LOCK_BYTES))

    async def _principal(self, request: Request, kind: str) -> Principal:
        principal = await run_in_threadpool(principal_of, request, self._service)
        record_of(request).kind = kind
        return principal

    def _read(self, request: Request, principal: Principal) -> Response:
        name, tenant = _name(request), principal.tenant_id
        with self._service.connection() as connection, as_tenant(connection, tenant):
            stored = states.head_body(connection, tenant, name)
            if stored is None:
                raise RefusedRequestError(404, "NO_STATE", "nothing was written here yet")
            body = states.opened(self._service.ring, tenant, stored)
            told(connection, request, "state.read", "success", {"version": stored.version})
        return Response(
            body,
            media_type="application/json",
            headers={
                "Content-MD5": base64.b64encode(stored.md5).decode(),
                "ETag": f'"{stored.sha256.hex()}"',
                "X-State-Version": str(stored.version),
            },
        )

    def _write(self, request: Request, principal: Principal, body: bytes) -> Response:
        name, tenant = _name(request), principal.tenant_id
        demand_whole(request, body)
        new = state_of(body)
        lock_id = request.query_params.get("ID") or None
        if lock_id is not None:
            _demand_id(lock_id)
        record_of(request).details = {"lock_id": lock_id}
        who = Who(principal.actor, principal.user_id)
        with self._service.connection() as connection, as_tenant(connection, tenant):
            outcome = states.add_version(
                connection, tenant, name, new, lock_id=lock_id, who=who, ring=self._service.ring
            )
            if isinstance(outcome, Held | Refused):
                self._service.figures.wrote("refused")
                if isinstance(outcome, Held):
                    raise _locked(outcome.lock)
                raise RefusedRequestError(409, "STATE_CONFLICT", outcome.reason)
            again = outcome.taken.again
            details = {
                "version": outcome.version,
                "again": again,
                "flags": list(outcome.taken.flags),
                "lock_id": lock_id,
            }
            told(connection, request, "state.write", "success", details)
        self._service.figures.wrote("again" if again else "kept", 0 if again else len(body))
        return Response(b"", headers={"X-State-Version": str(outcome.version)})

    def _lock(self, request: Request, principal: Principal, body: bytes) -> Response:
        name, tenant = _name(request), principal.tenant_id
        wanted = _lock_of(request, body)
        details = {"lock_id": wanted.lock_id, "operation": wanted.operation, "who": wanted.who}
        record_of(request).details = details
        with self._service.connection() as connection, as_tenant(connection, tenant):
            who = Who(principal.actor, principal.user_id)
            outcome = states.take_lock(connection, tenant, name, wanted, who)
            if isinstance(outcome, Held):
                raise _locked(outcome.lock)
            told(connection, request, "state.lock", "success", details)
        return Response(b"")

    def _unlock(self, request: Request, principal: Principal, body: bytes) -> Response:
        name, tenant = _name(request), principal.tenant_id
        if not body:  # what `terraform force-unlock` sends, whichever ID it was given; or a body that was lost
            demand_whole(request, body)
            return self._force(request, principal)
        lock_id = _lock_of(request, body).lock_id
        record_of(request).details = {"lock_id": lock_id}
        with self._service.connection() as connection, as_tenant(connection, tenant):
            outcome = states.give_lock(connection, tenant, name, lock_id, principal.user_id)
            if isinstance(outcome, Refused):
                raise RefusedRequestError(409, "LOCKED_BY_ANOTHER", outcome.reason)
            if isinstance(outcome, Held):  # whoever comes second is shown the id: it gives no right to the lock
                self._forced(connection, request, principal, name)
            else:
                told(connection, request, "state.unlock", "success", {"lock_id": lock_id})
        return Response(b"")

    def _force(self, request: Request, principal: Principal) -> Response:
        record_of(request).kind = "security.force_unlock"
        demand(principal, "admin", "taking a lock away from its holder")
        name, tenant = _name(request), principal.tenant_id
        with self._service.connection() as connection, as_tenant(connection, tenant):
            self._forced(connection, request, principal, name)
        return Response(b"")

    def _forced(self, connection: Connection, request: Request, principal: Principal, name: Name) -> None:
        record_of(request).kind = "security.force_unlock"
        demand(principal, "admin", "taking a lock away from its holder")
        details: dict[str, object] = {}
        if found := states.force_lock(connection, principal.tenant_id, name):
            held, version = found
            details = {"lock_id": held.lock_id, "who": held.who, "operation": held.operation}
            details |= {"holder": held.actor, "version": version}
        told(connection, request, "security.force_unlock", "success", details)


def _lock_of(request: Request, body: bytes) -> Lock:
    demand_whole(request, body)
    try:
        found = lock_of(body)
    except NoLockError as error:
        raise RefusedRequestError(400, "LOCK_INFO_INVALID", str(error)) from None
    _demand_id(found.lock_id)
    return Lock(found.lock_id, found.info, _shown(found.operation), _shown(found.who))


def _demand_id(lock_id: str) -> None:
    if len(lock_id) > _ID_CHARACTERS or storable(lock_id) != lock_id:
        raise RefusedRequestError(400, "LOCK_ID_INVALID", f"a lock's ID is text of at most {_ID_CHARACTERS} characters")


def _shown(told_by_client: str | None) -> str | None:
    return None if told_by_client is None else storable(told_by_client)[:_ID_CHARACTERS]


def _name(request: Request) -> Name:
    project, stack = request.path_params["project"], request.path_params["stack"]
    for text in (project, stack):
        if _WORD.fullmatch(text) is None:
            raise RefusedRequestError(
                400, "NAME_INVALID", "project and stack are letters, digits and . _ -, at most 100 of them"
            )
    return Name("terraform", project, stack)


def _locked(held: Lock) -> RefusedRequestError:
    # what the client shows of the holder is read out of this body
    return RefusedRequestError(423, "LOCKED", "the state is locked", body=held.info)
