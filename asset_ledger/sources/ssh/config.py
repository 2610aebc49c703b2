"""What a source of platform `ssh` may say in sources.yaml. Read by the collector; nothing is opened here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from asset_ledger.sources.platform import Shards, SourceConfig


class SshConfig(SourceConfig):
    """A host probe: ledger assets with protocol `ssh` or `local`, read one by one. All times are seconds."""

    known_hosts: Path = Field(
        default=Path("~/.ssh/known_hosts"),
        description="OpenSSH known_hosts file with the hosts' keys, by address (`192.0.2.10`, `[192.0.2.10]:2222`).",
    )
    host_keys: Literal["verify", "accept_first"] = Field(
        default="verify",
        description="verify: an unknown host is a failure. accept_first: its first key is recorded in known_hosts "
        "and every run warns. A changed key is never accepted.",
    )
    default_port: int = Field(
        default=22, ge=1, le=65535, description="Port of ledger assets that name none of their own."
    )
    connect_timeout_s: float = Field(default=5.0, gt=0, le=60, description="Longest wait for the TCP connection.")
    handshake_timeout_s: float = Field(
        default=10.0, gt=0, le=120, description="Longest wait for greeting and key exchange, and again for the login."
    )
    deadline_s: float = Field(default=20.0, gt=0, le=600, description="Longest time for the whole probe of one host.")
    output_cap_bytes: int = Field(
        default=1 << 20, ge=4096, le=64 << 20, description="Most bytes taken from one host, both streams together."
    )
    parallel: int = Field(default=32, ge=1, le=256, description="Hosts probed at once; each costs two threads.")
    shards: Shards = 1
    this_machine: bool = Field(
        default=False, description="Probe also the machine the ledger runs on, without SSH and without a ledger asset."
    )
    default_credential_ref: str | None = Field(
        default=None,
        pattern=r"^(env|file|vault):\S+$",
        description="Credential of ledger assets that name none of their own: a reference, never a secret.",
    )
