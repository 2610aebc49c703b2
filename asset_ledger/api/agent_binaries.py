"""Binaries of agents, up and down: streamed, never whole in memory, and proven by their SHA-256 in both directions.

Annotations are evaluated: FastAPI reads those of functions that are made within a function.
"""

import base64
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from asset_ledger.api.access import Caller
from asset_ledger.api.agent_versions import PREFIX, BinaryFacts, Downloader, Platform, VersionName, found
from asset_ledger.api.answers import Refusal, RefusedRequestError, told
from asset_ledger.api.bodies import told_length
from asset_ledger.api.login import demand
from asset_ledger.api.service import Service
from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.roles import Principal
from asset_ledger.store.agents import versions
from asset_ledger.store.agents.binaries import Binaries, Coming
from asset_ledger.store.agents.clients import Holder
from asset_ledger.store.agents.versions import Binary, VersionRow
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant

_PIECE = 1 << 20
_AT = "/{version}/binaries/{platform}"
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})?|bytes=-(\d{1,18})", re.ASCII)
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_SENT = {"requestBody": {"required": True, "description": "The program, byte for byte.", "content": _BYTES}}
_GONE: dict[int | str, dict[str, Any]] = {410: {"model": Refusal, "description": "The version was withdrawn"}}
_DOWN: dict[int | str, dict[str, Any]] = {
    **_GONE,
    200: {"content": _BYTES, "description": "The whole file"},
    206: {"content": _BYTES, "description": "The part that Range asks for"},
    304: {"description": "If-None-Match has this file's ETag"},
    416: {"model": Refusal, "description": "Range begins behind the file's end"},
}


def router(service: Service) -> APIRouter:
    """Return the routes, which stand under those of the versions."""
    routes = APIRouter(prefix=PREFIX, tags=["agents"])
    _up(routes, service)
    _down(routes, service)
    return routes


def _up(routes: APIRouter, service: Service) -> None:
    @routes.put(
        _AT,
        status_code=201,
        summary="Upload a version's binary for a platform; it never changes then",
        openapi_extra=_SENT,
        responses={**_GONE, 200: {"model": BinaryFacts, "description": "The same file is there already"}},
    )
    async def uploaded(
        request: Request,
        response: Response,
        caller: Annotated[Principal, Depends(Caller(service, "agent_version.write"))],
        version: VersionName,
        platform: Platform,
        sha256: Annotated[
            str, Header(alias="X-SHA256", pattern="^[0-9a-fA-F]{64}$", description="The SHA-256 of the file, in hex.")
        ],
    ) -> BinaryFacts:
        demand(caller, "admin", "publishing an agent")
        upload = _Upload(service, request, caller, version, platform, sha256.lower())
        # before many megabytes have come for nothing
        await run_in_threadpool(upload.begin)
        folder = _folder(service)
        try:
            with folder.coming() as coming:
                await _receive(request, coming, service.limits.binary_bytes)
                made, again = await run_in_threadpool(upload.end, folder, coming)
        except OSError as error:
            raise _not_kept(error) from None
        if again:
            response.status_code = 200
        return BinaryFacts(filename=made.filename, size=made.size, sha256=made.sha256)


@dataclass(frozen=True)
class _Upload:
    """One upload, before and after its bytes came."""

    service: Service
    request: Request
    caller: Principal
    version: str
    platform: str
    sha256: str

    def begin(self) -> None:
        """Raise RefusedRequestError where no such file can be taken."""
        with self.service.connection() as connection, as_tenant(connection, self.caller.tenant_id):
            self._open(found(connection, self.caller.tenant_id, self.version))

    def end(self, folder: Binaries, coming: Coming) -> tuple[Binary, bool]:
        """Compare what came, put it in its place and say so; return it and whether it was there before."""
        if coming.sha256 != self.sha256:
            raise RefusedRequestError(
                422,
                "BINARY_DAMAGED",
                f"what came has the SHA-256 {coming.sha256}, not what X-SHA256 says; nothing is kept: send it again",
            )
        if coming.size == 0:
            raise RefusedRequestError(422, "BINARY_EMPTY", "a program has at least a byte")
        tenant_id = self.caller.tenant_id
        with self.service.connection() as connection, as_tenant(connection, tenant_id):
            row = found(connection, tenant_id, self.version, lock=True)
            if before := self._open(row):
                told(connection, self.request, "agent_version.write", "success", self._details("upload again"))
                return before, True
            made = versions.binary_of(tenant_id, row, self.platform, coming.size, self.sha256)
            versions.set_binary(connection, tenant_id, row.id, self.platform, made)
            told(connection, self.request, "agent_version.write", "success", self._details("upload"))
            # the last thing before the commit: should that fail, the same upload replaces the file, another drops it
            coming.place(folder.at(made.path))
            folder.only(made.path)
        return made, False

    def _open(self, row: VersionRow) -> Binary | None:
        """Return the binary where it is there already. Raises RefusedRequestError where none can be taken."""
        if row.withdrawn_at is not None:
            raise RefusedRequestError(410, "VERSION_WITHDRAWN", f"{self.version} was withdrawn; publish another one")
        before = row.binaries.get(self.platform)
        if before is not None and before.sha256 != self.sha256:
            raise RefusedRequestError(
                409,
                "BINARY_THERE",
                f"{self.version} has another binary for {self.platform}, which never changes: publish the next version",
            )
        return before

    def _details(self, what: str) -> dict[str, Any]:
        return {"version": self.version, "what": what, "platform": self.platform, "sha256": self.sha256}


async def _receive(request: Request, coming: Coming, most: int) -> None:
    """Write a body to its file, a piece at a time. Raises RefusedRequestError with 413, ClientDisconnect, OSError."""
    told_size = told_length(request.headers.get("content-length", ""))
    piece = bytearray()
    if told_size is not None and told_size > most:
        raise _too_large(most)
    async for chunk in request.stream():
        piece += chunk
        if coming.size + len(piece) > most:
            raise _too_large(most)
        if len(piece) >= _PIECE:
            await run_in_threadpool(coming.write, bytes(piece))
            piece.clear()
    await run_in_threadpool(coming.write, bytes(piece))


def _down(routes: APIRouter, service: Service) -> None:
    reader = Annotated[Principal | Holder, Depends(Downloader(service, "agent_version.download"))]

    @routes.get(_AT, summary="Download a binary; Range and If-Range go on where one broke off", responses=_DOWN)
    def downloaded(
        request: Request,
        caller: reader,
        version: VersionName,
        platform: Platform,
        asked: Annotated[str | None, Header(alias="Range", description="`bytes=FROM-`: one range.")] = None,
        if_range: Annotated[str | None, Header(alias="If-Range")] = None,
        if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
    ) -> Response:
        row, path = there(request, caller, version, platform)
        binary = row.binaries[platform]
        headers = _headers(binary)
        if if_none_match is not None and headers["ETag"] in if_none_match:
            return Response(status_code=304, headers={"ETag": headers["ETag"]})
        part = _part(asked, binary.size) if if_range in (None, headers["ETag"]) else None
        begin, end = part or (0, binary.size)
        if begin >= binary.size:
            raise RefusedRequestError(
                416,
                "RANGE_BEHIND_END",
                f"the file has {binary.size} bytes",
                headers={"Content-Range": f"bytes */{binary.size}"},
            )
        headers["Content-Length"] = str(end - begin)
        if part is not None:
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{binary.size}"
        return StreamingResponse(
            pieces(path, begin, end, caller.tenant_id, row.id if end == binary.size else None),
            206 if part is not None else 200,
            headers,
            media_type="application/octet-stream",
        )

    @routes.head(_AT, summary="Its size and digests", responses=_GONE)
    def looked_at(request: Request, caller: reader, version: VersionName, platform: Platform) -> Response:
        binary = there(request, caller, version, platform)[0].binaries[platform]
        headers = {**_headers(binary), "Content-Length": str(binary.size)}
        return Response(headers=headers, media_type="application/octet-stream")

    def there(request: Request, caller: Principal | Holder, version: str, platform: str) -> tuple[VersionRow, Path]:
        """Return a version and its file. Raises RefusedRequestError."""
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            row = found(connection, caller.tenant_id, version)
            if row.withdrawn_at is not None:
                raise RefusedRequestError(410, "VERSION_WITHDRAWN", f"{version} was withdrawn; ask for the latest")
            if platform not in row.binaries:
                raise RefusedRequestError(404, "NO_BINARY", f"{version} has no binary for {platform}")
            told(
                connection,
                request,
                "agent_version.download",
                "success",
                {"version": version, "platform": platform, "range": request.headers.get("range", "")[:60]},
            )
        binary = row.binaries[platform]
        path = _folder(service).at(binary.path)
        if not path.is_file() or path.stat().st_size != binary.size:
            logging.getLogger(__name__).error("%s is not there, or not whole: bring it back from a copy", path)
            raise RefusedRequestError(
                503, "BINARY_AWAY", "its file is not there; the service's log says which", headers={"Retry-After": "60"}
            )
        return row, path

    def pieces(path: Path, begin: int, end: int, tenant_id: UUID, version_id: UUID | None) -> Iterator[bytes]:
        """Yield a part of a file; count the download where it goes to the end and all of it was taken."""
        with path.open("rb") as file:
            file.seek(begin)
            left = end - begin
            while left and (piece := file.read(min(_PIECE, left))):
                left -= len(piece)
                yield piece
        if version_id is not None and not left:
            try:
                with service.connection() as connection, as_tenant(connection, tenant_id):
                    versions.count_download(connection, tenant_id, version_id)
            except (LedgerError, Connection.Error) as error:  # whoever has it whole, has it
                logging.getLogger(__name__).warning("a download was not counted: %s", error)


def _part(asked: str | None, size: int) -> tuple[int, int] | None:
    """Return (first, behind the last) byte of a Range; None for none, and for what need not be understood."""
    told = _RANGE.fullmatch(asked.strip()) if asked else None
    if told is None:
        return None
    first, last, ending = (int(digits) if digits else None for digits in told.groups())
    if first is None:
        return (max(size - (ending or 0), 0), size) if ending else None
    if last is not None and last < first:
        return None
    return first, min(size if last is None else last + 1, size)


def _headers(binary: Binary) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(binary.sha256)).decode()
    return {
        "ETag": f'"{binary.sha256}"',
        "Repr-Digest": f"sha-256=:{digest}:",
        "Digest": f"SHA-256={digest}",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-transform",
        "Content-Disposition": f'attachment; filename="{binary.filename}"',
    }


def _folder(service: Service) -> Binaries:
    if service.agent_binaries is None:
        raise RefusedRequestError(
            503, "NO_FOLDER", "this service has no folder for agents; ASSET_LEDGER_AGENT_BINARIES names one"
        )
    return Binaries(service.agent_binaries)


def _too_large(most: int) -> RefusedRequestError:
    return RefusedRequestError(
        413, "BODY_TOO_LARGE", f"more than {most} bytes; ASSET_LEDGER_API_BINARY_BYTES says how large an agent may be"
    )


def _not_kept(error: OSError) -> RefusedRequestError:
    logging.getLogger(__name__).error("an agent's binary cannot be kept: %s", error)
    return RefusedRequestError(
        503, "BINARY_NOT_KEPT", "the service cannot write it; its log says why", headers={"Retry-After": "60"}
    )
