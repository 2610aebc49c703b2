"""What stands below proxmoxer's ProxmoxResource in place of its own session and serializer. Used by `client` alone.

proxmoxer's own session writes passwords to a debug log, beside what `sources.https_session` says of all of them; its
serializer hides that a body was no JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from asset_ledger.sources.https_session import Codes, HttpsSession, Reply
from asset_ledger.sources.pve import errors
from asset_ledger.sources.pve.config import PveConfig


class Session(HttpsSession):
    """HTTPS as the API of Proxmox VE is spoken: forms go in, JSON comes back."""

    def __init__(self, config: PveConfig) -> None:
        super().__init__(config, Codes(errors.CONFIG_INVALID, errors.NETWORK_ERROR, errors.TLS_ERROR))

    def request(
        self,
        method: str,
        url: str,
        data: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request and return its whole answer. Raises what `HttpsSession.stream` raises."""
        path = urlsplit(url).path
        sent = {"Accept": "application/json", **(headers or {})}
        if method != "GET":
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        return self.send(
            method, f"{path}?{urlencode(params)}" if params else path, urlencode(data) if data else None, sent
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an answer of 400 and up says beside its status line, which a front proxy with HTTP/2 loses."""

    errors: Mapping[str, str]
    message: str
    retry_after_s: float | None
    readable: bool = True


class Serializer:
    """Hands replies through proxmoxer unread: what it makes of a body that is no JSON hides that it is none."""

    def loads(self, reply: Reply) -> Reply:
        """Return the reply."""
        return reply

    def loads_errors(self, reply: Reply) -> Refusal:
        """Return what a refusal says beside its status line."""
        after = reply.headers.get("Retry-After", "").strip()
        seconds = float(after) if after.isascii() and after.isdecimal() else None
        try:
            found = json.loads(reply.body)
        except (ValueError, RecursionError):
            found = {}  # an empty body, or a proxy's page
        if not isinstance(found, dict):
            return Refusal({}, "", seconds, readable=False)
        said, message = found.get("errors"), found.get("message")
        said = {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else {}
        return Refusal(said, message.strip() if isinstance(message, str) else "", seconds)
