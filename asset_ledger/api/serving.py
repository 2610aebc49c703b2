"""The service's process: uvicorn around the app."""

from __future__ import annotations

import os
from pathlib import Path

from asset_ledger.api.service import Limits, Service
from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.pipeline.ledger import Ledger


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

    ASSET_LEDGER_API_DATABASE_URL names a login of the service's own, in place of the owner's.
    """
    import uvicorn

    from asset_ledger.api.app import create_app

    uvicorn.run(
        create_app(Service(os.environ.get("ASSET_LEDGER_API_DATABASE_URL") or ledger.url, ring, limits(os.environ))),
        host=host,
        port=port,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        # paths alone: an access log must not hold what a query or a header says
        access_log=False,
        log_level="warning",
        server_header=False,
        # asking for a WebSocket is a request like any other, answered and recorded as one
        ws="none",
        proxy_headers=behind is not None,
        forwarded_allow_ips=behind,
        timeout_graceful_shutdown=30,
    )


def limits(environ: os._Environ[str] | dict[str, str]) -> Limits:
    """Return the limits that ASSET_LEDGER_API_* says. Raises PermanentError(CONFIG_INVALID) naming a wrong one."""
    usual = Limits()
    return Limits(
        body_bytes=_number(environ.get("ASSET_LEDGER_API_BODY_BYTES"), usual.body_bytes, "ASSET_LEDGER_API_BODY_BYTES"),
        connections=_number(
            environ.get("ASSET_LEDGER_API_CONNECTIONS"), usual.connections, "ASSET_LEDGER_API_CONNECTIONS"
        ),
    )


def _number(text: str | None, usual: int, name: str) -> int:
    if not text:
        return usual
    if not text.isdigit() or int(text) < 1:
        raise PermanentError(CONFIG_INVALID, "must be a whole number above 0", target=name)
    return int(text)
