"""Instances and disks as a test says them: small frozen records, with what a real account would have for the rest.

How they look in an answer is in shapes.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["Pending", "Starting", "Running", "Stopping", "Stopped"]
PAY_AS_YOU_GO_END = "2099-12-31T15:59Z"


@dataclass(frozen=True)
class NicSpec:
    """One elastic network interface; its first IPv4 address is the primary one."""

    ips: tuple[str, ...]
    mac: str = ""  # made from the instance's id and the place where not said
    ipv6: tuple[str, ...] = ()
    id: str = ""
    prefixes: tuple[str, ...] = ()  # IPv4 prefixes (10.1.2.0/28) that are delegated to it


@dataclass(frozen=True)
class EipSpec:
    """An elastic IP address: public, and at another instance tomorrow."""

    ip: str
    allocation_id: str = "eip-bp1double0000000000001"


@dataclass(frozen=True)
class InstanceSpec:
    """One instance. `extra` is laid over what is rendered, `absent` names fields that the answer lacks."""

    id: str
    region: str = "cn-hangzhou"
    name: str = ""  # InstanceName, free text; the id where not said, as the service does
    hostname: str = ""  # HostName; iZ…Z made from the id where not said
    zone: str = ""
    status: Status = "Running"
    cpu: int = 4
    threads_per_core: int = 2
    memory_mib: int = 8192
    instance_type: str = "ecs.c7.xlarge"
    os_type: str = "linux"
    os_name: str = "Alibaba Cloud Linux  3.2104 LTS 64位"
    os_name_en: str = "Alibaba Cloud Linux  3.2104 LTS 64 bit"
    serial: str | None = None  # made from the id where None; "" is what some instances really have
    network: Literal["vpc", "classic"] = "vpc"
    vpc: str = "vpc-bp1double000000000000a"
    vswitch: str = "vsw-bp1double000000000000a"
    nics: tuple[NicSpec, ...] = ()  # one with an address made from the id where not said (none for classic)
    inner_ips: tuple[str, ...] = ()  # of the classic network
    public_ips: tuple[str, ...] = ()
    eip: EipSpec | None = None
    charge: Literal["PrePaid", "PostPaid"] = "PostPaid"
    spot: Literal["NoSpot", "SpotAsPriceGo", "SpotWithPriceLimit"] = "NoSpot"
    stopped_mode: Literal["Not-applicable", "KeepCharging", "StopCharging"] = "Not-applicable"
    created: str = "2025-04-14T22:32Z"
    started: str = "2025-04-14T22:33Z"
    expires: str = PAY_AS_YOU_GO_END
    tags: Mapping[str, str] | None = None  # None: the answer has no Tags at all
    key_pair: str | None = None
    local_storage: tuple[int, int] | None = None  # how many local disks, and GiB each
    extra: Mapping[str, Any] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()


@dataclass(frozen=True)
class DiskSpec:
    """One disk. `instances` are those it is attached to: more than one only with `multi_attach`."""

    id: str
    region: str = "cn-hangzhou"
    size_gib: int = 40
    instances: tuple[str, ...] = ()
    type: Literal["system", "data"] = "data"
    category: str = "cloud_essd"
    multi_attach: bool = False
    name: str = ""
    zone: str = ""
    charge: Literal["PrePaid", "PostPaid"] = "PostPaid"
    created: str = "2025-04-14T22:32:11Z"
    extra: Mapping[str, Any] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RegionSpec:
    """One region, as DescribeRegions tells it."""

    id: str
    local_name: str = ""
    status: str = "available"
