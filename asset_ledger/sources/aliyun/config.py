"""What a source of platform `aliyun` may say in sources.yaml. Read by the collector; nothing is opened here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from asset_ledger.sources.https_endpoint import HttpsConfig, server_url

REGION = "{region}"
REGION_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
PUBLIC_ENDPOINT = "https://ecs.aliyuncs.com:443"
_STAND_IN = "region-0"
_OF_ALIYUN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.aliyuncs\.com")
_checked_server = server_url(443, "https://ecs-vpc.{region}.aliyuncs.com")


def _ecs_endpoint(text: str) -> str:
    """Return an endpoint in one spelling; `{region}` may stand in its host. "" is Aliyun's own."""
    if not text.strip():
        return ""
    if text.count(REGION) > 1 or _STAND_IN in text:
        raise ValueError("{region} stands once in it")
    return _checked_server(text.replace(REGION, _STAND_IN)).replace(_STAND_IN, REGION)


def _metadata_endpoint(text: str) -> str:
    found = text.strip().rstrip("/")
    if re.fullmatch(r"http://[A-Za-z0-9.-]+(:[0-9]{1,5})?", found) is None:
        raise ValueError("must be a URL such as http://100.100.100.200")
    return found


def _region(text: str) -> str:
    if REGION_ID.fullmatch(text) is None or len(text) > 64:
        raise ValueError("a region is named as Aliyun does, such as cn-hangzhou")
    return text


class AliyunConfig(HttpsConfig):
    """The ECS instances of one Aliyun account, in every region, read over the ECS API."""

    tls_verify: bool = Field(
        default=True,
        description="False: who answers is not checked, every reading warns, and anybody in between can read what is "
        "sent.",
    )
    endpoint: Annotated[str, AfterValidator(_ecs_endpoint)] = Field(
        default="",
        description="URL to read ECS through, where it is not Aliyun's public one: "
        "`https://ecs-vpc.{region}.aliyuncs.com` inside a VPC. `{region}` becomes the region that is asked; without it "
        "one server answers for all.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file with the CA that signed the certificates, where something in between opens TLS. Without "
        "it the system's own.",
    )
    timeout_ms: int = Field(
        default=30_000,
        ge=100,
        le=600_000,
        description="Longest time for one call, from connecting to the last byte of the answer.",
    )
    credential_ref: str = Field(
        default="",
        pattern=r"^$|^(env|file|vault):\S+$",
        description="The AccessKey that reads, with fields access_key_id and access_key_secret, and if it is temporary "
        "security_token; with role_arn (and external_id) that role is assumed. A reference, never a secret.",
    )
    ram_role: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="Name of the RAM role of the ECS instance that this program runs on: in place of an AccessKey.",
    )
    account_id: str = Field(
        default="",
        pattern=r"^([0-9]{1,32})?$",
        coerce_numbers_to_str=True,
        description="Id of the account that is to be read. A credential of another is refused, before anything is "
        "listed.",
    )
    home_region: Annotated[str, AfterValidator(_region)] = Field(
        default="cn-hangzhou",
        description="The region that is asked for the list of regions. Matters with `{region}` in `endpoint`.",
    )
    exclude_regions: tuple[Annotated[str, AfterValidator(_region)], ...] = Field(
        default=(),
        description="Regions that are left out. All others are read, those that Aliyun opens later too.",
    )
    parallel: int = Field(default=4, ge=1, le=32, description="Calls under way at once, each of another region.")
    address_zone: Literal["vpc", "source"] = Field(
        default="vpc",
        description="In what a private address is unique. vpc: in the instance's VPC. source: in the `zone` of the "
        "source, which then has no two VPCs with overlapping addresses.",
    )
    reading_timeout_s: int = Field(
        default=3600,
        ge=1,
        le=86_400,
        description="Longest time in seconds for one reading, with what is waited while Aliyun throttles.",
    )
    sts_endpoint: Annotated[str, AfterValidator(server_url(443, "https://sts.aliyuncs.com"))] = Field(
        default="https://sts.aliyuncs.com:443",
        description="URL of the service that roles are assumed at; inside a VPC `https://sts-vpc.REGION.aliyuncs.com`.",
    )
    metadata_endpoint: Annotated[str, AfterValidator(_metadata_endpoint)] = Field(
        default="http://100.100.100.200",
        description="URL of the metadata service of an ECS instance, for `ram_role`.",
    )

    @property
    def asks_account(self) -> bool:
        """Say whether each reading asks whose the credential is: STS may be out of reach of who reads inside a VPC."""
        return bool(self.account_id) or not self.endpoint

    @property
    def server(self) -> str:
        """The server that is asked first, for messages."""
        return self.host_of(self.home_region)

    def host_of(self, region: str, told: str = "") -> str:
        """Return `HOST:PORT` of a region. `told` is what DescribeRegions names for it; only Aliyun's names count."""
        if self.endpoint:
            return self.endpoint.removeprefix("https://").replace(REGION, region)
        if region == self.home_region and not told:
            return PUBLIC_ENDPOINT.removeprefix("https://")
        known = _OF_ALIYUN.fullmatch(told) is not None
        return f"{told if known else f'ecs.{region}.aliyuncs.com'}:443"

    def at(self, host: str) -> AliyunConfig:
        """Return the same source with this `HOST:PORT` for its one server: what a session is made of."""
        return self.model_copy(update={"endpoint": f"https://{host}"})

    @model_validator(mode="after")
    def _one_certificate(self) -> Self:
        if self.fingerprint and (not self.endpoint or REGION in self.endpoint):
            raise ValueError("fingerprint is of one server's certificate, and there are many; use ca_file")
        return self
