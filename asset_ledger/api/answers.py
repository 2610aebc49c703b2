"""Refusals in one shape, and the record of every request: one row each, whatever came of it.

What a request did is recorded in the transaction that did it; `Recording` writes the row of every request that has
none by then: refused ones, and those that no handler ever saw.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from time import perf_counter
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asset_ledger.api.service import Service
from asset_ledger.api.threads import in_thread
from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.iac.exact_json import storable
from asset_ledger.domain.roles import Principal
from asset_ledger.store.access import audit
from asset_ledger.store.access.audit import Entry, Origin, Result
from asset_ledger.store.agents.clients import Holder
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant

UNRECORDED = frozenset({"/healthz", "/readyz", "/metrics"})
"""What programs ask every few seconds, and what tells nobody anything."""
_RECORD = "asset_ledger.record"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What moves a terminal's cursor, colours it, or turns its text around."""


class Refusal(BaseModel):
    """What an answer says that is none: a word for programs, and what a person does about it."""

    code: str
    message: str


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": description}
    for status, description in (
        (400, "What was sent cannot be taken"),
        (401, "A login is needed, or the one given holds no more"),
        (403, "The role does not allow it"),
        (404, "There is none"),
        (405, "Nothing is done with this verb here"),
        (409, "It does not fit what is there"),
        (413, "Too large"),
        (422, "A parameter is not as it must be"),
        (423, "Somebody has it locked"),
        (429, "Too often: Retry-After says when again"),
        (503, "Not now: the database, or who is asked for a login, is away"),
    )
}
"""What any route may answer besides what it is for."""


class RefusedRequestError(Exception):
    """A request that is not done: its status, a word for programs, and what a person does about it."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})
        self.body = body

    def response(self) -> Response:
        """Return the answer. A body that the client expects stands in place of ours."""
        content = self.body or json.dumps({"code": self.code, "message": self.message}).encode()
        return Response(content, self.status, self.headers, media_type="application/json")


@dataclass
class Record:
    """What is known of a request for its row. `details` holds nothing secret."""

    kind: str = "request"
    principal: Principal | Holder | None = None
    details: dict[str, Any] = field(default_factory=dict)
    written: bool = False
    client_id: UUID | None = None


def record_of(request: Request) -> Record:
    """Return what is known of a request so far."""
    found: Record = request.scope[_RECORD]
    return found


def told(
    connection: Connection,
    request: Request,
    kind: str,
    result: Result,
    details: Mapping[str, Any],
    *,
    client_id: UUID | None = None,
) -> None:
    """Write a request's row, inside `as_tenant`, in the transaction that does what is asked.

    `client_id` is of the client that a user did something to.

    Should that come to nothing after all, `forget` and the row is written by `Recording`.
    """
    record = record_of(request)
    record.kind, record.details, record.client_id = kind, dict(details), client_id
    assert record.principal is not None
    audit.record(connection, record.principal.tenant_id, _entry(request.scope, record, result))
    record.written = True


class Recording:
    """Around the app: sees every answer before it goes out, those of errors too."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and record it."""
        if scope["type"] != "http" or scope["path"] in UNRECORDED:
            await self._app(scope, receive, send)
            return
        record = scope[_RECORD] = Record()
        began = perf_counter()
        status, took_s = 0, 0.0

        async def sending(message: Message) -> None:
            nonlocal status, took_s
            if message["type"] == "http.response.start":
                status, took_s = message["status"], perf_counter() - began
                # a transaction that failed has taken its row along
                if not record.written or status >= 500:
                    await in_thread(self._write, scope, record, status)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            if status:  # counted once the answer is on its way: nobody waits for that
                self._service.figures.answered(record.kind, status, took_s)

    def _write(self, scope: Scope, record: Record, status: int) -> None:
        result: Result = "success" if status < 400 else "refused" if status < 500 else "failed"
        details = {**record.details, "status": status}
        entry = _entry(scope, Record(record.kind, record.principal, details, client_id=record.client_id), result)
        try:
            with self._service.connection() as connection:
                if record.principal is None:
                    with connection.transaction():
                        audit.record(connection, None, entry)
                else:
                    with as_tenant(connection, record.principal.tenant_id):
                        audit.record(connection, record.principal.tenant_id, entry)
        # nothing was done, and the answer says so: it is not held back for its row
        except (LedgerError, Connection.Error) as error:
            logging.getLogger(__name__).error(  # noqa: TRY400 - a traceback would say no more
                "not recorded: %s %s %s: %s", entry.action, status, entry.actor, error
            )


def _entry(scope: Scope, record: Record, result: Result) -> Entry:
    principal = record.principal
    return Entry(
        type=record.kind,
        action=_plain(f"{scope['method']} {scope['path']}")[:500],
        result=result,
        actor=f"{principal.tenant}/{principal.actor}" if principal else "nobody",
        user_id=principal.user_id if principal else None,
        origin=_origin(scope),
        details=record.details,
        client_id=principal.client_id if isinstance(principal, Holder) else record.client_id,
    )


def _origin(scope: Scope) -> Origin:
    """Return where a request came from. Read off the scope itself: every request has its row."""
    headers = dict(reversed(scope["headers"]))  # of one that came twice the first

    def header(name: bytes) -> str | None:
        return _plain(headers.get(name, b"").decode("latin-1"))[:300] or None

    return Origin(_address_in(scope), header(b"user-agent"), header(b"x-request-id"))


def _plain(text: str) -> str:
    """Return a text as it may be stored and printed: control characters escaped."""
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", storable(text))


def address_of(request: Request) -> str | None:
    """Return the address a request came from; None where that is no address of the internet protocol."""
    return _address_in(request.scope)


def _address_in(scope: Scope) -> str | None:
    client = scope.get("client")
    return _address(client[0]) if client else None


@lru_cache(1 << 14)
def _address(host: str) -> str | None:
    try:
        # without the scope (`fe80::1%eth0`): PostgreSQL's type has no room for it
        return str(ip_address(host.partition("%")[0]))
    except ValueError:  # a socket of the machine's own
        return None
