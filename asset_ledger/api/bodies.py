"""Bodies of requests: read up to a limit, compared with their digest, and recognised as the state they are."""

from __future__ import annotations

import base64
import hashlib
import sys
import zlib

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asset_ledger.api.answers import RefusedRequestError
from asset_ledger.domain.iac.documents import DECIDING, Body, RefusedError, known
from asset_ledger.domain.iac.exact_json import TooDeepError, storable
from asset_ledger.domain.iac.skimming import outline
from asset_ledger.domain.iac.snapshot import Tool
from asset_ledger.store.iac.states import NewBody

BODY_BYTES = LOCK_BYTES = 64 << 10
_LONG = "Exceeds the limit"
"""How Python begins to say that a whole number has more digits than it reads."""
_LARGE = ("/terraform/", "/api/stacks/", "/api/v1/agent-versions/", "/api/v1/agents/report")
"""Where bodies as large as a state, a program or a report come in: their routes count for themselves."""
_OF_A_STATE = "ASSET_LEDGER_API_BODY_BYTES says how large a state may be"
_GZIP = 31
"""How zlib is told that what it reads begins with the head that gzip writes."""
_CODINGS = {"Accept-Encoding": "gzip"}
_WANTED = {"terraform": "a state of Terraform", "pulumi": "an exported stack of Pulumi"}
_MOST_DIGITS = 18
_READ_ON = 8
"""A body of up to so many times the limit is read to its end and dropped: who sends is then told why."""


class Bounded:
    """Around the routes: no body of more than BODY_BYTES comes in, but where states do, which is counted there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body counted as it is read."""
        if scope["type"] != "http" or scope["path"].startswith(_LARGE):
            await self._app(scope, receive, send)
            return
        told = told_length(dict(scope["headers"]).get(b"content-length", b"").decode("latin-1"))
        beyond = told is not None and told > BODY_BYTES * _READ_ON
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


def told_length(header: str) -> int | None:
    """Return how long a Content-Length says that a body is, with however many digits; None where it says nothing."""
    if not (header.isascii() and header.isdigit()):
        return None
    digits = header.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else sys.maxsize


async def received(request: Request, most: int, *, advice: str = _OF_A_STATE) -> bytes:
    """Return the body. Raises RefusedRequestError with 413, having kept no more than the limit."""
    chunks: list[bytes] = []
    size = 0
    told = told_length(request.headers.get("content-length", ""))
    if told is None or told <= most * _READ_ON:
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
        raise _too_large(most, advice)
    return b"".join(chunks)


def unpacked(request: Request, body: bytes, most: int, *, advice: str = _OF_A_STATE) -> bytes:
    """Return a body as it was before it was packed with gzip, if it was. Raises RefusedRequestError.

    No more than the limit is unpacked, whatever it would come to.
    """
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        raise RefusedRequestError(
            415, "CODING_UNKNOWN", "a body is sent as it is, or with Content-Encoding: gzip", headers=_CODINGS
        )
    unpacking = zlib.decompressobj(_GZIP)
    try:
        found = unpacking.decompress(body, most + 1)
    except zlib.error:
        raise RefusedRequestError(400, "BODY_DAMAGED", "the body is not the gzip that its head says") from None
    if len(found) > most:
        raise _too_large(most, advice)
    if not unpacking.eof or unpacking.unused_data:
        raise RefusedRequestError(400, "BODY_DAMAGED", "the body is not one gzip, whole and alone")
    return found


def demand_whole(request: Request, body: bytes) -> None:
    """Raise RefusedRequestError with 400 where a body, an empty one too, is not what its Content-MD5 was made of."""
    digest = request.headers.get("content-md5")
    if digest and digest != base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode():
        raise RefusedRequestError(400, "BODY_DAMAGED", "the body is not the one that Content-MD5 was made of")


def state_of(body: bytes) -> NewBody:
    """Return a body as a Terraform state. Raises RefusedRequestError with 400."""
    return _new(body, _known(body, "terraform"))


def export_of(body: bytes) -> NewBody:
    """Return a body as an exported Pulumi stack. Raises RefusedRequestError with 400."""
    found = _known(body, "pulumi")
    if "deployment" not in found.document:
        raise RefusedRequestError(
            400,
            "NO_STATE_DOCUMENT",
            "a checkpoint file; send what `pulumi stack export` prints, or keep it with `asset-ledger state import`",
        )
    return _new(body, found)


def _known(body: bytes, tool: Tool) -> Body:
    try:
        # what is recognised by is at the outermost level, or small: only that is held
        found = known(outline(body, DECIDING))
        if found.tool != tool:
            raise RefusedError(f"a document of {found.tool.title()}'s, not {_WANTED[tool]}")
    except (RefusedError, TooDeepError) as error:
        raise RefusedRequestError(400, "NO_STATE_DOCUMENT", str(error)) from None
    except ValueError as error:
        if str(error).startswith(_LONG):
            why = f"a whole number of more than {sys.get_int_max_str_digits()} digits, which no state has"
        else:
            why = f"not JSON: {str(error)[:200]}"
        raise RefusedRequestError(400, "NO_STATE_DOCUMENT", why) from None
    return found


def _new(body: bytes, found: Body) -> NewBody:
    return NewBody(body, found.kind, found.parsed, found.serial, _text(found.lineage), _text(found.tool_version))


def _too_large(most: int, advice: str) -> RefusedRequestError:
    return RefusedRequestError(413, "BODY_TOO_LARGE", f"more than {most} bytes; {advice}")


def _text(told: str | None) -> str | None:
    return None if told is None else storable(told)[:300]
