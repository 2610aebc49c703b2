"""An export on its way to a client: read in threads, sent in pieces, ended with whoever waits for it.

What is wrong before the first piece is an answer like any other; after it the connection is cut, so that no part passes
for the whole. Every export is recorded when it begins and when it is over, with how many rows were given away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Generator, Mapping
from contextlib import ExitStack, suppress
from threading import Lock
from time import monotonic
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from asset_ledger.api.answers import RefusedRequestError, record_of, told
from asset_ledger.api.service import Service
from asset_ledger.domain.errors import (
    EXPORT_CELL_TOO_LONG,
    EXPORT_NOT_BUILT,
    EXPORT_TOO_SLOW,
    EXPORT_UNKNOWN,
    EXPORT_VALUE_UNFIT,
    LedgerError,
    RetryableError,
)
from asset_ledger.domain.roles import Principal
from asset_ledger.exports.formats import Format, pieces
from asset_ledger.pipeline.exports import Counted, opened
from asset_ledger.store.database import Connection
from asset_ledger.store.query.exports import Asked
from asset_ledger.store.tenancy import as_tenant

_STATUS = {
    EXPORT_UNKNOWN.code: 404,
    EXPORT_NOT_BUILT.code: 409,
    EXPORT_CELL_TOO_LONG.code: 422,
    EXPORT_VALUE_UNFIT.code: 422,
    EXPORT_TOO_SLOW.code: 503,
}
_AGAIN = {"Retry-After": "10"}
_log = logging.getLogger(__name__)


class Export:
    """One export: its pieces, the query behind them, and its record."""

    def __init__(
        self, service: Service, request: Request, caller: Principal, asked: Asked, form: Format, *, for_excel: bool
    ) -> None:
        self.service, self.request, self.caller = service, request, caller
        self._asked, self._form, self._for_excel = asked, form, for_excel
        self._counted = Counted()
        self._connection: Connection | None = None
        self._pieces = self._made()
        self._lock = Lock()
        self._ended = False

    @property
    def name(self) -> str:
        """What is exported."""
        return self._asked.name

    def next_piece(self) -> bytes | None:
        """Return the next bytes; None behind the last. In a thread: it asks the database, and makes the file."""
        return next(self._pieces, None)

    def _made(self) -> Generator[bytes]:
        tenant_id, most_s = self.caller.tenant_id, self.service.limits.export_s
        with ExitStack() as held:
            connection = held.enter_context(self.service.connection())
            held.callback(self._let_go)
            with self._lock:
                if self._ended:
                    return
                self._connection = connection
            reading = held.enter_context(opened(connection, self._asked, tenant_id=tenant_id, statement_s=most_s))
            # behind the last row the connection is given back: a workbook is sent when nothing more is asked
            reading = self._counted.counting(reading, then=held.close)
            yield from pieces(reading, self._form, for_excel=self._for_excel)

    def _let_go(self) -> None:
        """Know of no query any more: the connection may be another's from now on."""
        with self._lock:
            self._connection = None

    def stop(self) -> None:
        """End the query that runs, if one does; whatever waits for it is then told so."""
        with self._lock:
            self._ended = True
            if self._connection is not None:
                self._connection.cancel_safe(timeout=5)

    def close(self) -> None:
        """Give back what is held. In a thread, when no piece is being made."""
        self._pieces.close()

    def record(self, *, whole: bool) -> None:
        """Write how many rows were given away."""
        details = {**record_of(self.request).details, "rows": self._counted.rows, "whole": whole}
        tenant_id = self.caller.tenant_id
        try:
            with self.service.connection() as connection, as_tenant(connection, tenant_id):
                told(connection, self.request, "export.read", "success" if whole else "failed", details)
        except (LedgerError, Connection.Error) as error:  # that it began is written; what was sent cannot be taken back
            _log.error("the end of an export was not recorded: %s", error)


class Streamed(StreamingResponse):
    """The answer to a request for an export."""

    def __init__(self, export: Export, *, headers: Mapping[str, str], media_type: str) -> None:
        super().__init__((), headers=headers, media_type=media_type)
        self._export = export

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI calls it
        """Send the pieces as they are made, for as long as somebody takes them."""
        export, service = self._export, self._export.service
        _demand_place(service, export.caller)
        begun = whole = False
        gone = asyncio.create_task(_gone(receive))
        ends = monotonic() + service.limits.export_s
        try:
            while True:
                piece = await self._piece(gone, ends)
                if not begun:
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    begun = True
                if piece is None:
                    break
                # who takes nothing for so long keeps others from a place
                await asyncio.wait_for(
                    send({"type": "http.response.body", "body": piece, "more_body": True}),
                    service.limits.export_stall_s,
                )
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            whole = True
        except (LedgerError, TimeoutError) as error:
            if isinstance(error, LedgerError) and not begun:
                raise _refused(error) from error
            # an answer that is not ended: the server closes the connection, and the client knows
            _log.error("an export was cut short: %s", str(error) or "its client took nothing for too long")
        except _GoneError:
            return
        finally:
            gone.cancel()
            await _uninterrupted(run_in_threadpool(self._end, begun=begun, whole=whole))

    async def _piece(self, gone: asyncio.Task[None], ends: float) -> bytes | None:
        """Return the next piece; end the query and raise where nobody waits for it, or for too long."""
        making = asyncio.create_task(run_in_threadpool(self._export.next_piece))
        await asyncio.wait({making, gone}, timeout=max(0.0, ends - monotonic()), return_when=asyncio.FIRST_COMPLETED)
        if gone.done() or not making.done():
            await run_in_threadpool(self._export.stop)
            with suppress(LedgerError, StopIteration, Connection.Error):
                await making
            if gone.done():
                raise _GoneError
            most_s = self._export.service.limits.export_s
            raise RetryableError(EXPORT_TOO_SLOW, f"it was ended after {most_s} seconds", target=self._export.name)
        return making.result()

    def _end(self, *, begun: bool, whole: bool) -> None:
        try:
            self._export.close()
        finally:
            self._export.service.export_places.leave(self._export.caller.tenant_id)
        if begun:
            self._export.record(whole=whole)


def _demand_place(service: Service, caller: Principal) -> None:
    """Take a place for an export. Raises RefusedRequestError: 429 where the tenant holds its share, 503 where all are
    held."""
    places = service.export_places
    match places.take(caller.tenant_id):
        case "tenant":
            why = f"{places.most_of_one} exports of the tenant are running: ask again when one has ended"
            raise RefusedRequestError(429, "EXPORTS_AT_ONCE", why, headers=_AGAIN)
        case "service":
            why = f"{places.most} exports are running, as many as the service does at once: ask again"
            raise RefusedRequestError(503, "EXPORTS_AT_ONCE", why, headers=_AGAIN)


class _GoneError(Exception):
    """The client has gone."""


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _uninterrupted(work: Coroutine[Any, Any, None]) -> None:
    """Wait for work to its end, even where the request is being cancelled."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _refused(error: LedgerError) -> Exception:
    status = _STATUS.get(error.code.code)
    if status is None:
        return error
    headers = _AGAIN if error.code.retryable else {}
    return RefusedRequestError(status, error.code.code, f"{error.message}. {error.code.advice}", headers=headers)
