"""What a source of platform `pve` may say in sources.yaml. Read by the collector; nothing is opened here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from asset_ledger.sources.https_endpoint import HttpsConfig, server_url, sha256_fingerprint


class PveConfig(HttpsConfig):
    """One cluster of Proxmox VE, or one node that is in none, read over the HTTPS API of any of its nodes."""

    endpoint: Annotated[str, AfterValidator(server_url(8006, "https://pve.example.com:8006"))] = Field(
        description="URL of any node, or of an address they share: `https://pve.example.com:8006`. No path; without a "
        "port it is 8006."
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file with the CA that signed the certificate, as /etc/pve/pve-root-ca.pem of a node. Without "
        "it the system's own.",
    )
    fingerprint: Annotated[str, AfterValidator(sha256_fingerprint)] | None = Field(
        default=None,
        description="SHA-256 of the endpoint's certificate, in place of a CA; what `pvenode cert info` shows.",
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
    guest_addresses: bool = Field(
        default=True,
        description="Whether guests are asked for their addresses: QEMU guests through their agent, containers "
        "through the node. Up to Proxmox VE 8 agents need the right VM.Monitor.",
    )
