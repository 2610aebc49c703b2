"""What a source of platform `hyperv` may say in sources.yaml. Read by the collector; nothing is opened here."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from asset_ledger.sources.wsman.config import WsmanConfig

MOST_HOSTS = 64
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")


def split_host(text: str) -> tuple[str, int | None]:
    """Return name or address and port of `NAME`, `NAME:PORT`, `ADDRESS` or `[ADDRESS]:PORT`, in lower case.

    Raises ValueError for anything else.
    """
    told = text.strip().lower()
    bracketed = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", told)
    if bracketed:
        host, port = _address(bracketed[1]), bracketed[2]
    elif told.count(":") > 1:
        host, port = _address(told), None
    else:
        host, colon, behind = told.partition(":")
        port = behind if colon else None
        if re.fullmatch(r"[0-9.]+", host):
            host = _address(host)
        elif len(host) > 253 or _NAME.fullmatch(host) is None:
            raise ValueError("a host is a name such as hv1.example.com or an address; no URL, no user, no path")
    if port is not None and (re.fullmatch(r"[0-9]{1,5}", port) is None or not 0 < int(port) < 65536):
        raise ValueError("a port is a number from 1 to 65535")
    return host, None if port is None else int(port)


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("this is no address: write an IPv6 address with a port as [ADDRESS]:PORT") from None


def _host(text: str) -> str:
    host, port = split_host(text)
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _each_once(hosts: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(hosts) <= MOST_HOSTS:
        raise ValueError(f"name one host at least, and {MOST_HOSTS} at most: a cluster has no more nodes")
    for place, host in enumerate(hosts):
        if host in hosts[:place]:
            raise ValueError(f"entries {hosts.index(host) + 1} and {place + 1} are the same host; name each once")
    return hosts


def _suffix(text: str) -> str:
    told = text.strip().lower().strip(".")
    if _NAME.fullmatch(told) is None:
        raise ValueError("a DNS suffix is a domain such as lab.example.com")
    return told


class HypervConfig(WsmanConfig):
    """One Hyper-V host that is in no cluster, or one failover cluster, read by PowerShell over WS-Management."""

    hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], AfterValidator(_each_once)] = Field(
        description="One host that is in no cluster, or one or more nodes of one cluster: names or addresses, each "
        "with :PORT where it is not the usual. A cluster's other nodes are found by name and must be reachable too.",
    )
    scope: Literal["auto", "standalone", "cluster"] = Field(
        default="auto",
        description="What the hosts must be; another is an error. auto: whatever they are.",
    )
    dns_suffix: Annotated[str, AfterValidator(_suffix)] | None = Field(
        default=None,
        description="Domain behind the names by which the cluster tells of its nodes. Without it the domain of the "
        "node that told.",
    )
    max_parallel_nodes: int = Field(default=4, ge=1, le=32, description="Nodes read at once, each over one connection.")
    deadline_s: float = Field(
        default=300,
        ge=1,
        le=3600,
        description="Longest time for reading one node once, from connecting to the last byte, in seconds.",
    )
    credential_ref: str = Field(
        pattern=r"^(env|file|vault):\S+$",
        description="The account that reads every node, with username (`LAB\\\\ledger` or ledger@lab.example.com) and "
        "password: a reference, never a secret.",
    )
