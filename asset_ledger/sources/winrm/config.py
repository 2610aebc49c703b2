"""What a source of platform `winrm` may say in sources.yaml. Read by the collector; nothing is opened here."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from asset_ledger.sources.platform import Shards
from asset_ledger.sources.wsman.config import WsmanConfig

HTTP_PORT = 5985
HTTPS_PORT = 5986
MOST_PORT = 65535


class WinrmConfig(WsmanConfig):
    """A host probe: ledger assets with protocol `winrm`, read one by one. All times are seconds."""

    output_cap_bytes: int = Field(
        default=8 << 20, ge=65536, le=64 << 20, description="Most bytes of answers taken from one host."
    )
    parallel: int = Field(default=32, ge=1, le=256, description="Hosts probed at once; each costs one thread.")
    shards: Shards = 1
    default_credential_ref: str | None = Field(
        default=None,
        pattern=r"^(env|file|vault):\S+$",
        description="Credential of ledger assets that name none of their own: a reference, never a secret. With "
        "kerberos none is needed.",
    )

    @model_validator(mode="after")
    def _a_port_that_fits(self) -> Self:
        if self.https and self.default_port == HTTP_PORT:
            raise ValueError("default_port 5985 is the listener without TLS; drop it, or say https: false")
        return self
