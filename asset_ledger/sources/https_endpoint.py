"""What a source that is read over HTTPS says of its server: where it is, how to know it, how long to wait.

The model that such platforms' own are derived from, with what checks its fields. Nothing is opened here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from asset_ledger.sources.platform import SourceConfig


def server_url(port: int, example: str) -> Callable[[str], str]:
    """Return a validator that gives the URL of a server in one spelling, `https://HOST:PORT`.

    `port` stands where none is said, and `example` in the messages.
    """

    def checked(text: str) -> str:
        try:
            parts = urlsplit(text.strip())
            found = parts.port or port
        except ValueError as error:
            raise ValueError(f"not a URL such as {example}: {error}") from None
        if parts.username is not None or parts.password is not None:
            raise ValueError("a user or password does not belong here; store it and name it with credential_ref")
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError(f"must be a URL such as {example}")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("ends after the port: no path, no question mark")
        if re.fullmatch(r"[A-Za-z0-9._%:-]+", parts.hostname) is None:
            raise ValueError("the host is neither a name nor an address")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"https://{host}:{found}"

    return checked


def sha256_fingerprint(text: str) -> str:
    """Return a SHA-256 fingerprint in one spelling: AB:CD:…"""
    digits = text.strip().replace(":", "").upper()
    if re.fullmatch(r"[0-9A-F]{64}", digits) is None:
        raise ValueError("a SHA-256 fingerprint has 64 hexadecimal digits, with or without colons")
    return ":".join(digits[at : at + 2] for at in range(0, 64, 2))


class HttpsConfig(SourceConfig):
    """A source behind one HTTPS server. A platform's own model says `endpoint` anew, with its port."""

    endpoint: str = Field(description="URL of the server.")
    tls_verify: bool = Field(
        default=True,
        description="False: who answers is not checked, every reading warns, and anybody in between can read the "
        "credential.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file with the CA that signed the certificate. Without it the system's own.",
    )
    fingerprint: Annotated[str, AfterValidator(sha256_fingerprint)] | None = Field(
        default=None, description="SHA-256 of the endpoint's certificate, in place of a CA."
    )
    timeout_ms: int = Field(
        default=60_000,
        ge=100,
        le=600_000,
        description="Longest time for one request, from connecting to the last byte of the answer.",
    )
    credential_ref: str = Field(
        pattern=r"^(env|file|vault):\S+$", description="The account that reads: a reference, never a secret."
    )

    @property
    def server(self) -> str:
        """The server, for messages."""
        return self.endpoint.removeprefix("https://")

    @property
    def trust(self) -> str:
        """In a word how the server is known to be the right one."""
        if not self.tls_verify:
            return "unverified"
        return "fingerprint" if self.fingerprint else "ca_file" if self.ca_file else "system"

    @model_validator(mode="after")
    def _one_way_to_trust(self) -> Self:
        if not self.tls_verify and (self.fingerprint or self.ca_file):
            given = "fingerprint" if self.fingerprint else "ca_file"
            raise ValueError(f"{given} says how to check the server and tls_verify: false says not to; drop one")
        if self.fingerprint and self.ca_file:
            raise ValueError("fingerprint and ca_file are two ways to check the server; keep one")
        return self
