"""What a source of platform `pve` may say in sources.yaml. Read by the collector; nothing is opened here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from asset_ledger.sources.platform import SourceConfig

_PORT = 8006


def _endpoint(text: str) -> str:
    """Return the URL of the API's server in one spelling, `https://HOST:PORT`."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port or _PORT
    except ValueError as error:
        raise ValueError(f"not a URL such as https://pve.example.com:8006: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("a user or password does not belong here; store it and name it with credential_ref")
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("must be a URL such as https://pve.example.com:8006")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("ends after the port: no path, no question mark")
    if re.fullmatch(r"[A-Za-z0-9._%:-]+", parts.hostname) is None:
        raise ValueError("the host is neither a name nor an address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"https://{host}:{port}"


def _fingerprint(text: str) -> str:
    """Return a SHA-256 fingerprint as Proxmox VE shows it: AB:CD:…"""
    digits = text.strip().replace(":", "").upper()
    if re.fullmatch(r"[0-9A-F]{64}", digits) is None:
        raise ValueError("a SHA-256 fingerprint has 64 hexadecimal digits, with or without colons")
    return ":".join(digits[at : at + 2] for at in range(0, 64, 2))


class PveConfig(SourceConfig):
    """One cluster of Proxmox VE, or one node that is in none, read over the HTTPS API of any of its nodes."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        description="URL of any node, or of an address they share: `https://pve.example.com:8006`. No path; without a "
        "port it is 8006."
    )
    tls_verify: bool = Field(
        default=True,
        description="False: who answers is not checked, every reading warns, and anybody in between can read the "
        "credential.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file with the CA that signed the certificate, as /etc/pve/pve-root-ca.pem of a node. Without "
        "it the system's own.",
    )
    fingerprint: Annotated[str, AfterValidator(_fingerprint)] | None = Field(
        default=None,
        description="SHA-256 of the endpoint's certificate, in place of a CA; what `pvenode cert info` shows.",
    )
    timeout_ms: int = Field(
        default=60_000,
        ge=100,
        le=600_000,
        description="Longest time for one request, from connecting to the last byte of the answer.",
    )
    scope: Literal["auto", "standalone", "cluster"] = Field(
        default="auto",
        description="What the endpoint must be; another is an error. auto: whatever it is.",
    )
    max_parallel_nodes: int = Field(
        default=5,
        ge=1,
        le=32,
        description="Nodes read at once; each is asked two things at a time, four where few are left.",
    )
    auth_type: Literal["api_token", "user_password"] = Field(
        default="api_token",
        description="What the credential holds: for api_token (Proxmox VE 6.2 and later) api_token_id, "
        "`user@realm!name`, and api_token_secret; for user_password username, `user@realm`, and password.",
    )
    credential_ref: str = Field(
        pattern=r"^(env|file|vault):\S+$", description="The account that reads: a reference, never a secret."
    )
    guest_addresses: bool = Field(
        default=True,
        description="Whether guests are asked for their addresses: QEMU guests through their agent, containers "
        "through the node. Up to Proxmox VE 8 agents need the right VM.Monitor.",
    )

    @model_validator(mode="after")
    def _one_way_to_trust(self) -> PveConfig:
        if not self.tls_verify and (self.fingerprint or self.ca_file):
            given = "fingerprint" if self.fingerprint else "ca_file"
            raise ValueError(f"{given} says how to check the server and tls_verify: false says not to; drop one")
        if self.fingerprint and self.ca_file:
            raise ValueError("fingerprint and ca_file are two ways to check the server; keep one")
        return self
