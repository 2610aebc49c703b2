"""Signs of life: the heartbeat, and the connection that stands for one. docs/agents.md has both.

They come a thousand times as often as anything else, so a beat asks no database, makes no row of the audit, and is
looked at by no model: `store.agents.presence` writes it together with others. Refused ones are recorded as any request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asset_ledger.api.answers import RefusedRequestError, address_of, record_of
from asset_ledger.api.login import client_of, secret_of
from asset_ledger.api.service import Service
from asset_ledger.api.threads import in_thread
from asset_ledger.domain.errors import LedgerError
from asset_ledger.store.agents import versions
from asset_ledger.store.agents.clients import Holder
from asset_ledger.store.tenancy import as_tenant

HEARTBEAT = "/api/v1/agents/heartbeat"
CONNECT = "/api/v1/agents/connect"
HEARTBEAT_S = 60
_QUIET_S = 30.0
"""How long a connection may be quiet before it is looked whether its login still holds; it counts as a beat."""
_LATEST_S = 60.0
_WAIT_S = 1.0
"""How long a beat of a login that is remembered waits for the database at most."""
_MOST_LOOKING = 8
"""How many look at once for what is not remembered: a database that hangs must not keep all threads."""
_Of = TypeVar("_Of", str, UUID)
_JSON = [(b"content-type", b"application/json")]
_GOING, _REFUSED, _UNREADABLE, _REPLACED = 1001, 1008, 1003, 4001


def routes(service: Service) -> list[Route]:
    """Return the heartbeat's route, and what becomes of one who asks for the connection without a WebSocket."""
    beats = Beats(service)

    async def heartbeat(request: Request) -> Response:
        record = record_of(request)
        record.kind = "client.heartbeat"
        token = secret_of(request)
        if (holder := service.client_logins.hit(token)) is None:
            holder = await client_of(request, service)
        record.principal = holder
        said = beats.said(await request.body())
        service.presence.beat(holder.tenant_id, holder.client_id, holder.user_id, address_of(request))
        service.figures.beat("post")
        record.written = True  # that it came is presence's to tell
        return Response(await beats.answer(token, holder, said), media_type="application/json")

    async def connect(request: Request) -> Response:
        record_of(request).kind = "client.connect"
        await client_of(request, service)
        raise RefusedRequestError(
            426, "WEBSOCKET_NEEDED", "a client connects here by a WebSocket", headers={"Upgrade": "websocket"}
        )

    return [Route(HEARTBEAT, heartbeat, methods=["POST"]), Route(CONNECT, connect, methods=["GET"])]


class Beats:
    """What a beat says and is answered."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._latest: dict[UUID, tuple[str | None, float]] = {}
        self._looking: set[asyncio.Task[None]] = set()

    def said(self, body: bytes | str) -> str:
        """Return the hash that a beat names, of the report that was last taken of it. Raises RefusedRequestError."""
        try:
            found = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError:
            found = None
        said = found.get("inventory", "") if isinstance(found, dict) else None
        if not isinstance(said, str):
            raise RefusedRequestError(400, "BEAT_INVALID", 'a heartbeat is {"inventory": "HEX"}, in JSON')
        return said

    async def answer(self, token: str, holder: Holder, said: str) -> bytes:
        """Return whether the inventory is wanted, when to come again, and which agent is the latest."""
        logins = self._service.client_logins
        if not _is_known(holder, said) and logins.due(token):
            task = self._look(self._find_anew, token)
            if task is not None:
                await asyncio.wait({task}, timeout=_WAIT_S)
            holder = logins.hit(token) or holder
        return orjson.dumps(
            {
                "send_inventory": not _is_known(holder, said),
                "heartbeat_s": HEARTBEAT_S,
                "latest_agent": self._latest_of(holder.tenant_id),
            }
        )

    def _latest_of(self, tenant_id: UUID) -> str | None:
        """Return the latest agent as it was known a minute ago; looking for it makes no beat wait."""
        found, until = self._latest.get(tenant_id, (None, 0.0))
        now = monotonic()
        if until < now and self._look(self._find_latest, tenant_id) is not None:
            self._latest[tenant_id] = (found, now + _LATEST_S)
        return found

    def _look(self, work: Callable[[_Of], None], of: _Of) -> asyncio.Task[None] | None:
        """Begin to ask the database for something; None where too many do already, and it is for a later beat."""
        if len(self._looking) >= _MOST_LOOKING:
            return None
        task = asyncio.create_task(in_thread(work, of))
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)
        return task

    def _find_anew(self, token: str) -> None:
        with suppress(LedgerError):  # it is asked again with a later beat
            self._service.client_logins.find_anew(token)

    def _find_latest(self, tenant_id: UUID) -> None:
        with suppress(LedgerError), self._service.connection() as connection, as_tenant(connection, tenant_id):
            self._latest[tenant_id] = (versions.latest(connection, tenant_id), monotonic() + _LATEST_S)


class Sockets:
    """Around everything: one path where a client may connect by a WebSocket. Who may not is answered as any request."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._beats = Beats(service)
        self._open: dict[UUID, Send] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or keep a connection."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        await receive()  # that one wants to connect
        asked = {**scope, "type": "http", "method": "GET"}
        if scope["path"] == CONNECT:
            token = secret_of(Request(asked))
            if holder := await self._let_in(token):
                await self._connected(address_of(Request(asked)), token, holder, receive, send)
                return
        await self._app(asked, _asking(receive), _answering(scope, send))

    async def _let_in(self, token: str) -> Holder | None:
        logins = self._service.client_logins
        try:
            return logins.hit(token) or await in_thread(logins.find, token)
        except LedgerError:
            return None  # the request without a WebSocket finds the same, and is answered and recorded

    async def _connected(self, ip: str | None, token: str, holder: Holder, receive: Receive, send: Send) -> None:
        """Take what a client sends for as long as it is connected and its login holds."""
        presence, client_id = self._service.presence, holder.client_id
        await send({"type": "websocket.accept"})
        if (older := self._open.get(client_id)) is not None:
            # its line may have been cut without a word: the newer one stands
            with suppress(OSError, RuntimeError):
                await older({"type": "websocket.close", "code": _REPLACED, "reason": "the client connected again"})
        self._open[client_id] = send
        began = presence.opened(client_id, holder.user_id)
        try:
            presence.beat(holder.tenant_id, client_id, holder.user_id, ip)
            while True:
                message: Message | None = None
                with suppress(TimeoutError):
                    async with asyncio.timeout(_QUIET_S):
                        message = await receive()
                if message is not None and message["type"] == "websocket.disconnect":
                    return
                with suppress(LedgerError):  # while nobody can be asked, nobody can end a login either
                    found = self._service.client_logins.hit(token) or await in_thread(
                        self._service.client_logins.find, token
                    )
                    if found is None:
                        await _close(send, _REFUSED, "the login holds no more")
                        return
                    holder = found
                presence.beat(holder.tenant_id, client_id, holder.user_id, ip)
                if message is not None and not await self._answered(message, token, holder, send):
                    return
        finally:
            presence.closed(client_id, began)
            if self._open.get(client_id) is send:
                del self._open[client_id]

    async def _answered(self, message: Message, token: str, holder: Holder, send: Send) -> bool:
        self._service.figures.beat("websocket")
        try:
            said = self._beats.said(message.get("text") or message.get("bytes") or b"")
        except RefusedRequestError as error:
            await _close(send, _UNREADABLE, error.message)
            return False
        answer = await self._beats.answer(token, holder, said)
        await send({"type": "websocket.send", "text": answer.decode()})
        return True


def _is_known(holder: Holder, said: str) -> bool:
    return holder.payload_sha256 is not None and holder.payload_sha256.hex() == said.lower()


async def _close(send: Send, code: int, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason})


def _asking(receive: Receive) -> Receive:
    """Return what receives a request that has no body, in the place of a connection."""
    asked = False

    async def receiving() -> Message:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await receive()  # that it ended
        return {"type": "http.disconnect"}

    return receiving


def _answering(scope: Scope, send: Send) -> Callable[[Any], Awaitable[None]]:
    """Return what sends the answer to a request in the place of a connection."""
    whole = "websocket.http.response" in scope.get("extensions", {})
    closed = False

    async def answer(message: Message) -> None:
        nonlocal closed
        if whole:
            await send({**message, "type": f"websocket.{message['type']}", **_body_of(message)})
        elif not closed:
            closed = True
            await send({"type": "websocket.close", "code": _REFUSED})

    return answer


def _body_of(message: Message) -> dict[str, Any]:
    return {"body": message.get("body", b"")} if message["type"] == "http.response.body" else {}
