"""Terraform's HTTP backend: GET, POST, LOCK and UNLOCK of one URL a stack. docs/platforms/terraform.md has the table.

Odd verbs fit no model of an API, so these are plain routes. Each request is one transaction, which first takes the
state's row; what is answered is recorded in it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from asset_ledger.api.answers import RefusedRequestError, record_of, told
from asset_ledger.api.bodies import LOCK_BYTES, demand_whole, received, state_of, told_length
from asset_ledger.api.login import demand, principal_of
from asset_ledger.api.service import Service
from asset_ledger.api.threads import in_thread
from asset_ledger.domain.iac.exact_json import storable
from asset_ledger.domain.iac.locking import Held, Lock, NoLockError, Refused, lock_of
from asset_ledger.domain.roles import Principal
from asset_ledger.store.database import Connection
from asset_ledger.store.iac import states
from asset_ledger.store.iac.states import WORD, Name, NewBody, Who, Written
from asset_ledger.store.tenancy import as_tenant

_ID_CHARACTERS = 300
_WORD = re.compile(WORD)

Handler = Callable[[Request], Awaitable[Response]]


def routes(service: Service) -> list[Route]:
    """Return the backend's routes. State, lock and unlock answer under one path and under paths of their own."""
    backend = Backend(service)
    at = "/{project}/{stack}"
    return [
        Route(f"/terraform/state{at}", backend.state, methods=["GET", "POST", "PUT", "DELETE", "LOCK", "UNLOCK"]),
        Route(f"/terraform/lock{at}", backend.lock, methods=["LOCK", "POST", "PUT", "UNLOCK", "DELETE"]),
        Route(f"/terraform/unlock{at}", backend.unlock, methods=["UNLOCK", "POST", "PUT", "DELETE"]),
    ]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for: the audit's word for it, and a person's."""

    kind: str
    what: str


class Backend:
    """What becomes of a request to a state and its lock, for Terraform; `pulumi` has the same rules at other places."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def state(self, request: Request) -> Response:
        match request.method:
            case "GET" | "HEAD":
                return await in_thread(self._read, request)
            case "LOCK":
                return await self.lock(request)
            case "UNLOCK":
                return await self.unlock(request)
            case "DELETE":
                return await in_thread(self._delete, request)
        writing = _Asked("state.write", "writing a state")
        return await self._with_body(request, writing, self._service.limits.body_bytes, self._write)

    async def lock(self, request: Request) -> Response:
        if request.method in ("UNLOCK", "DELETE"):
            return await self.unlock(request)
        return await self._with_body(request, _Asked("state.lock", "locking a state"), LOCK_BYTES, self._lock)

    async def unlock(self, request: Request) -> Response:
        return await self._with_body(request, _Asked("state.unlock", "unlocking a state"), LOCK_BYTES, self._unlock)

    async def _with_body(
        self, request: Request, asked: _Asked, most: int, work: Callable[[Request, Principal, bytes], Response]
    ) -> Response:
        """Do what needs the role writer. Of who is a stranger no more than a small body is read."""
        small = min(most, LOCK_BYTES)
        length = told_length(request.headers.get("content-length", ""))
        if length is not None and length <= small:
            try:
                body = await received(request, small)
            except ClientDisconnect:
                await in_thread(self._writer, request, asked)  # for its row
                raise
            # who asks is found out in the thread that does it: handing over costs as much as a question to the database
            return await in_thread(lambda: work(request, self._writer(request, asked), body))
        principal = await in_thread(self._writer, request, asked)
        return await in_thread(work, request, principal, await received(request, most))

    def _writer(self, request: Request, asked: _Asked) -> Principal:
        principal = self._principal(request, asked.kind)
        demand(principal, "writer", asked.what)
        return principal

    def _principal(self, request: Request, kind: str) -> Principal:
        principal = principal_of(request, self._service)
        record_of(request).kind = kind
        return principal

    def name(self, request: Request) -> Name:
        """Return which state is asked for. Raises RefusedRequestError with 400."""
        project, stack = request.path_params["project"], request.path_params["stack"]
        for text in (project, stack):
            if _WORD.fullmatch(text) is None:
                raise RefusedRequestError(
                    400, "NAME_INVALID", "project and stack are letters, digits and . _ -, at most 100 of them"
                )
        return Name("terraform", project, stack)

    def _delete(self, request: Request) -> Response:
        self._writer(request, _Asked("state.write", "writing a state"))
        raise RefusedRequestError(
            405,
            "STATE_IS_KEPT",
            "no state is deleted; `terraform destroy` empties it and its history stays",
            headers={"Allow": "GET, POST, PUT, LOCK, UNLOCK"},
        )

    def _read(self, request: Request) -> Response:
        principal = self._principal(request, "state.read")
        name, tenant = self.name(request), principal.tenant_id
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
        self.name(request)
        demand_whole(request, body)
        written = self._keep(request, principal, state_of(body))
        return Response(b"", headers={"X-State-Version": str(written.version)})

    def _keep(self, request: Request, principal: Principal, new: NewBody) -> Written:
        """Keep a body as the next version under the lock that `?ID=` names. Raises RefusedRequestError."""
        name, tenant = self.name(request), principal.tenant_id
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
        self._service.figures.wrote("again" if again else "kept", 0 if again else len(new.data))
        return outcome

    def _lock(self, request: Request, principal: Principal, body: bytes) -> Response:
        """Lock a state as LockInfo asks. Raises RefusedRequestError: with 423 and the holder's where it is locked."""
        name, tenant = self.name(request), principal.tenant_id
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
        """Give a lock back, or without a body force it open. Raises RefusedRequestError."""
        name, tenant = self.name(request), principal.tenant_id
        if not body:  # what `terraform force-unlock` sends, whichever ID it was given; or a body that was lost
            demand_whole(request, body)
            return self._force(request, principal)
        lock_id = _lock_of(request, body).lock_id
        record_of(request).details = {"lock_id": lock_id}
        with self._service.connection() as connection, as_tenant(connection, tenant):
            who = Who(principal.actor, principal.user_id)
            outcome = states.give_lock(connection, tenant, name, lock_id, who)
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
        name, tenant = self.name(request), principal.tenant_id
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


def _locked(held: Lock) -> RefusedRequestError:
    # what the client shows of the holder is read out of this body
    return RefusedRequestError(423, "LOCKED", "the state is locked", body=held.info)
