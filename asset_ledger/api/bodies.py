"""Bodies of requests: read up to a limit, compared with their digest, and recognised as the state they are."""

from __future__ import annotations

import base64
import hashlib
import json
import sys

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asset_ledger.api.answers import RefusedRequestError
from asset_ledger.domain.iac.documents import RefusedError, recognised
from asset_ledger.domain.iac.exact_json import storable
from asset_ledger.domain.iac.skimming import outline
from asset_ledger.store.iac.states import NewBody

BODY_BYTES = LOCK_BYTES = 64 << 10
_AT_ONCE = 256 << 10
_LONG = "Exceeds the limit"
"""How Python begins to say that a whole number has more digits than it reads."""
_READ_ON = 8
"""A body of up to so many times the limit is read to its end and dropped: who sends is then told why."""


class Bounded:
    """Around the routes: no body of more than BODY_BYTES comes in, but by the backend's, which count for themselves."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body counted as it is read."""
        if scope["type"] != "http" or scope["path"].startswith("/terraform/"):
            await self._app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"")
        beyond = told.isdigit() and int(told[:20]) > BODY_BYTES * _READ_ON
        size = 0

        async def receiving() -> Message:
            nonlocal size
            while not beyond:
                message = await receive()
                size += len(message.get("body", b""))
                if size <= BODY_BYTES:
                    return message
                # read on, so that who sends is told why, and nothing kept
                if size > BODY_BYTES * _READ_ON or not message.get("more_body") or message["type"] != "http.request":
                    break
            # FastAPI makes a 400 of anything else that is raised while it reads
            raise HTTPException(413, f"more than {BODY_BYTES} bytes, which nothing but a state has")

        await self._app(scope, receiving, send)


async def received(request: Request, most: int) -> bytes:
    """Return the body. Raises RefusedRequestError with 413, having kept no more than the limit."""
    chunks: list[bytes] = []
    size = 0
    told = request.headers.get("content-length", "")
    if not told.isdigit() or int(told) <= most * _READ_ON:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= most:
                chunks.append(chunk)
            elif size > most * _READ_ON:
                break
            else:
                chunks.clear()
    else:
        size = most + 1
    if size > most:
        raise RefusedRequestError(
            413, "BODY_TOO_LARGE", f"more than {most} bytes; ASSET_LEDGER_API_BODY_BYTES says how large a state may be"
        )
    return b"".join(chunks)


def demand_whole(request: Request, body: bytes) -> None:
    """Raise RefusedRequestError with 400 where a body, an empty one too, is not what its Content-MD5 was made of."""
    digest = request.headers.get("content-md5")
    if digest and digest != base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode():
        raise RefusedRequestError(400, "BODY_DAMAGED", "the body is not the one that Content-MD5 was made of")


def state_of(body: bytes) -> NewBody:
    """Return a body as a Terraform state. Raises RefusedRequestError with 400."""
    try:
        # what is recognised by is at the outermost level: of a large one only that is held
        known = recognised(body if len(body) <= _AT_ONCE else json.dumps(outline(body)).encode())
        if len(body) <= _AT_ONCE:
            outline(body)  # so that size alone does not decide what is refused
        if known.tool != "terraform":
            raise RefusedError(f"a document of {known.tool}'s, not a state of Terraform")
    except RefusedError as error:
        raise RefusedRequestError(400, "NO_STATE_DOCUMENT", str(error)) from None
    except (ValueError, ArithmeticError, RecursionError) as error:
        if str(error).startswith(_LONG):
            why = f"a whole number of more than {sys.get_int_max_str_digits()} digits, which no state has"
        else:
            why = f"not JSON: {str(error)[:200]}"
        raise RefusedRequestError(400, "NO_STATE_DOCUMENT", why) from None
    return NewBody(body, known.kind, known.parsed, known.serial, _text(known.lineage), _text(known.tool_version))


def _text(told: str | None) -> str | None:
    return None if told is None else storable(told)[:300]
