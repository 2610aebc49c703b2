"""The service's process: uvicorn around the app."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asset_ledger.api.service import Limits, Service
from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.pipeline.ledger import Ledger

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, BaseTransport, Transport

    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

FRAME_BYTES = 64 << 10
_HEAD_BYTES = 2 << 10
"""What is written at once and no longer than this may be an answer's head, which its body follows."""


def run(
    ledger: Ledger,
    ring: KeyRing,
    *,
    host: str,
    port: int,
    certificate: Path | None = None,
    key: Path | None = None,
    behind: str | None = None,
) -> None:
    """Serve until the process is asked to end. Requests that run then are finished first.

    ASSET_LEDGER_API_DATABASE_URL names a login of the service's own, in place of the owner's; ASSET_LEDGER_REDIS_URL
    where several processes share who is online.
    """
    import uvicorn

    from asset_ledger.api.app import create_app

    _take_files()
    service = Service(
        os.environ.get("ASSET_LEDGER_API_DATABASE_URL") or ledger.url,
        ring,
        limits(os.environ),
        agent_binaries=ledger.settings.agent_binaries,
        redis_url=ledger.settings.redis_url,
    )
    app = create_app(service)
    _keep_for_good()
    uvicorn.run(
        app,
        host=host,
        port=port,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        # paths alone: an access log must not hold what a query or a header says
        access_log=False,
        log_level="warning",
        server_header=False,
        **connections(),
        proxy_headers=behind is not None,
        forwarded_allow_ips=behind,
        timeout_graceful_shutdown=30,
    )


def connections() -> dict[str, Any]:
    """Return what uvicorn is told of WebSockets: they are for agents, whose messages are small."""
    return {
        "http": protocol(),
        "ws": "websockets-sansio",
        "ws_max_size": FRAME_BYTES,
        # what it saves of a beat's 100 bytes it costs many times over in memory
        "ws_per_message_deflate": False,
        "ws_ping_interval": 20.0,
        "ws_ping_timeout": 20.0,
    }


def protocol() -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol, which has no setting for either, with two differences.

    WebSockets are under one path: anywhere else asking for one is a request like any other, answered and recorded as
    one, whatever it is made of. And an answer leaves in one piece.
    """
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from asset_ledger.api.presence import CONNECT

    path = CONNECT.encode()

    class Protocol(HttpToolsProtocol):
        def connection_made(self, transport: BaseTransport) -> None:
            super().connection_made(transport)  # type: ignore[arg-type]
            self.transport = OnePiece(self.transport, self.loop)  # type: ignore[assignment]

        def handle_websocket_upgrade(self) -> None:
            self.transport = self.transport.within  # type: ignore[attr-defined]  # a message is one piece as it is
            super().handle_websocket_upgrade()

        def _should_upgrade(self) -> bool:
            return self.url.partition(b"?")[0] == path and super()._should_upgrade()

    return Protocol


class OnePiece:
    """A transport that keeps what may be a head until the next write, or the loop's next turn, and sends both at once.

    In two pieces an answer wakes its client twice, which waits in between, and costs the service two sends.
    """

    def __init__(self, within: Transport, loop: AbstractEventLoop) -> None:
        self.within, self._loop = within, loop
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send something, or keep it if it is short and nothing is kept yet."""
        if self._head:
            head, self._head = self._head, b""
            self.within.writelines((head, data))
        elif 0 < len(data) <= _HEAD_BYTES:
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self.within.write(data)

    def close(self) -> None:
        """Send what is kept, and close."""
        self._flush()
        self.within.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self.within.write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.within, name)


def _keep_for_good() -> None:
    """Have the collector of cycles pass over what is loaded by now, for as long as the process lives.

    Looking through all of it keeps every request waiting for tens of milliseconds, now and then, and finds nothing.
    """
    gc.collect()
    gc.freeze()


def _take_files() -> None:
    """Take as many open files as the system allows: a connection is one, and the usual 1024 are few for agents."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(ValueError, OSError):  # a system that allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def limits(environ: os._Environ[str] | dict[str, str]) -> Limits:
    """Return the limits that ASSET_LEDGER_API_* says. Raises PermanentError(CONFIG_INVALID) naming a wrong one."""
    usual = Limits()
    return Limits(
        body_bytes=_number(environ.get("ASSET_LEDGER_API_BODY_BYTES"), usual.body_bytes, "ASSET_LEDGER_API_BODY_BYTES"),
        connections=_number(
            environ.get("ASSET_LEDGER_API_CONNECTIONS"), usual.connections, "ASSET_LEDGER_API_CONNECTIONS"
        ),
        binary_bytes=_number(
            environ.get("ASSET_LEDGER_API_BINARY_BYTES"), usual.binary_bytes, "ASSET_LEDGER_API_BINARY_BYTES"
        ),
        exports=_number(environ.get("ASSET_LEDGER_API_EXPORTS"), usual.exports, "ASSET_LEDGER_API_EXPORTS"),
    )


def _number(text: str | None, usual: int, name: str) -> int:
    if not text:
        return usual
    if not text.isdigit() or int(text) < 1:
        raise PermanentError(CONFIG_INVALID, "must be a whole number above 0", target=name)
    return int(text)
