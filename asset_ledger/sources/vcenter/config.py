"""What a source of platform `vcenter` may say in sources.yaml. Read by the collector; nothing is opened here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from asset_ledger.sources.https_endpoint import HttpsConfig, server_url, sha256_fingerprint


class VcenterConfig(HttpsConfig):
    """One vCenter with everything it manages, or one ESXi host without, read over the SOAP API."""

    endpoint: Annotated[str, AfterValidator(server_url(443, "https://vcenter.example.com"))] = Field(
        description="URL of the vCenter, or of the ESXi host: `https://vcenter.example.com`. No path; without a "
        "port it is 443."
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file with the CA that signed the certificate, as https://VCENTER/certs/download.zip has it. "
        "Without it the system's own.",
    )
    fingerprint: Annotated[str, AfterValidator(sha256_fingerprint)] | None = Field(
        default=None,
        description="SHA-256 of the endpoint's certificate, in place of a CA; the usual way for a single ESXi host.",
    )
    timeout_ms: int = Field(
        default=120_000,
        ge=100,
        le=600_000,
        description="Longest time for one call, from connecting to the last byte of the answer.",
    )
    credential_ref: str = Field(
        pattern=r"^(env|file|vault):\S+$",
        description="The account that reads, with fields username and password: a reference, never a secret.",
    )
    scope: Literal["vcenter", "standalone"] = Field(
        default="vcenter",
        description="What the endpoint is; anything else is an error. vcenter: hosts and virtual machines are two "
        "readings, each with its own schedule. standalone: one ESXi host that no vCenter manages, in one reading.",
    )
    page_size: int = Field(
        default=500, ge=1, le=5000, description="Objects asked for at a time; a server may send fewer, or more."
    )
    reading_timeout_s: int = Field(
        default=3600,
        ge=1,
        le=86_400,
        description="Longest time in seconds for one reading, from its first call to its last.",
    )
