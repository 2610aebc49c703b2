"""What a source that is read over WS-Management says of its hosts. Platforms derive their own model; nothing is opened.

Unlike `https_endpoint` it names no server, for a source has many: certificates are checked by CA, never by fingerprint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from asset_ledger.sources.platform import SourceConfig


class WsmanConfig(SourceConfig):
    """A source whose hosts are read over WS-Management. All times are seconds."""

    authentication: Literal["ntlm", "kerberos", "basic"] = Field(
        default="ntlm",
        description="How the account is proven. basic: local accounts only, and only over HTTPS. kerberos: needs the "
        "extra `asset-ledger[kerberos]`, takes the ticket of the account that the ledger runs as, and hosts by name.",
    )
    https: bool = Field(
        default=True,
        description="False: HTTP, where every message is encrypted by NTLM or Kerberos, but NTLM does not prove who "
        "the host is.",
    )
    default_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of hosts that name none of their own. Without it 5986, or 5985 for HTTP.",
    )
    tls_verify: bool = Field(
        default=True,
        description="False: who answers is not checked, every reading warns, and anybody in between can read the "
        "credential.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file with the CA that signed the hosts' certificates. Without it the system's own. A "
        "certificate must name the address dialled, or the name that the host is known by.",
    )
    connect_timeout_s: float = Field(default=5.0, gt=0, le=60, description="Longest wait for the TCP connection.")
    deadline_s: float = Field(default=60.0, gt=0, le=3600, description="Longest time for the whole work on one host.")

    @property
    def port(self) -> int:
        """The port of hosts that name none of their own."""
        return self.default_port or (5986 if self.https else 5985)

    @property
    def trust(self) -> str:
        """In a word how a host is known to be the right one."""
        if not self.https:
            return "none"
        if not self.tls_verify:
            return "unverified"
        return "ca_file" if self.ca_file else "system"

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.authentication == "basic" and not self.https:
            raise ValueError(
                "authentication: basic sends the password as it is, so it needs https: true; "
                "over HTTP use ntlm or kerberos, which encrypt every message"
            )
        # with https: false it may still stand there: hosts whose own port is 5986 are read over HTTPS all the same
        if self.ca_file and not self.tls_verify:
            raise ValueError("ca_file says how to check certificates and tls_verify: false says not to; drop one")
        return self
