"""A report as an agent sends it: JSON in gopsutil's camelCase or the seed's snake_case, to typed fields.

Nothing is judged here: which disks, interfaces and addresses count is said in `inventory`. Unknown keys are left to
the raw body, which is kept as it came. The HTTP service reads reports with this, and so does replay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asset_ledger.domain.addresses import normal_mac
from asset_ledger.domain.agents.fields import Block, PayloadError, kind_of
from asset_ledger.domain.iac.exact_json import is_deep
from asset_ledger.domain.iac.exact_json import loads as exact_loads

MOST_ADDRESSES = 1024
"""Of one interface."""
MOST_CORES = 1 << 16
"""Of one entry: 4,096 of them still fit a 32-bit column."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """One entry of `cpu`: a logical CPU on Linux, a package on Windows, the whole on macOS."""

    model: str | None
    vendor: str | None
    cores: int | None
    mhz: float | None
    physical_id: str | None


@dataclass(frozen=True, slots=True)
class Disk:
    """One mounted file system. Bytes; None where its usage could not be read."""

    device: str
    mountpoint: str
    fstype: str
    total: int | None
    used: int | None
    free: int | None
    read_only: bool


@dataclass(frozen=True, slots=True)
class Nic:
    """One interface as listed. `mac` is None unless it is of 6 bytes and may name a card; addresses are CIDR text.

    `temporary` and `lasting` are those of `addresses` of which the agent says so: gopsutil does not.
    """

    name: str
    mac: str | None
    flags: tuple[str, ...]
    addresses: tuple[str, ...]
    mtu: int | None
    temporary: frozenset[str] = frozenset()
    lasting: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Report:
    """One report. Bytes, seconds and percent; None where the agent said nothing."""

    hostname: str | None
    os: str | None
    platform: str | None
    platform_family: str | None
    platform_version: str | None
    kernel_version: str | None
    arch: str | None
    virtualization_system: str | None
    virtualization_role: str | None
    host_id: str | None
    boot_time: int | None
    uptime_s: int | None
    procs: int | None
    cpus: tuple[Cpu, ...]
    cpu_usage_percent: float | None
    memory_total: int | None
    memory_used: int | None
    memory_free: int | None
    memory_available: int | None
    memory_used_percent: float | None
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    collected_at: datetime | None
    agent_version: str | None
    management_ip: str | None
    spooled: bool


def loads(body: bytes) -> Mapping[str, Any]:
    """Return the object that a body holds, every number as it stands. Raises PayloadError."""
    try:
        document = exact_loads(body)
    except RecursionError:
        raise PayloadError("", "is nested too deeply") from None
    except ValueError as problem:  # of which what a decoder says quotes no more than a character
        raise PayloadError("", f"is no JSON: {problem}") from None
    if not isinstance(document, dict):
        raise PayloadError("", f"is {kind_of(document)}, not an object with host, cpu, memory, disks and network")
    if is_deep(document):
        raise PayloadError("", "is nested too deeply")
    return document


def read(document: Mapping[str, Any]) -> Report:
    """Return a report's fields. Raises PayloadError that names the first that is not of its type.

    Keys are compared without case and underscores, so gopsutil's major versions and the seed's spelling are one.
    """
    top = Block(document, "")
    host = top.block("host")
    if host is None:
        raise PayloadError("host", "is missing; a report says at least which host it is of")
    memory = top.block("memory") or Block({}, "memory")
    return Report(
        hostname=host.text("hostname", 255),
        os=host.text("os", 50),
        platform=host.text("platform", 100),
        platform_family=host.text("platform_family", 100),
        platform_version=host.text("platform_version", 255),
        kernel_version=host.text("kernel_version", 255),
        arch=host.text("kernel_arch", 50),
        virtualization_system=host.text("virtualization_system", 100),
        virtualization_role=host.text("virtualization_role", 100),
        host_id=host.text("host_id", 255),
        boot_time=host.count("boot_time"),
        uptime_s=host.count("uptime"),
        procs=host.count("procs"),
        cpus=tuple(_cpu(cpu) for cpu in top.blocks("cpu")),
        cpu_usage_percent=top.percent("cpu_usage_percent"),
        memory_total=memory.count("total"),
        memory_used=memory.count("used"),
        memory_free=memory.count("free"),
        memory_available=memory.count("available"),
        memory_used_percent=memory.percent("used_percent"),
        disks=tuple(_disk(disk) for disk in top.blocks("disks")),
        nics=tuple(_nic(nic) for nic in top.blocks("network")),
        collected_at=top.instant("collected_at"),
        agent_version=top.text("agent_version", 50),
        management_ip=top.address("management_ip"),
        spooled=top.truth("spooled") or False,
    )


def _cpu(entry: Block) -> Cpu:
    cores = entry.count("cores")
    if cores is not None and cores > MOST_CORES:
        raise PayloadError(entry.path("cores"), f"is {cores}, more than any processor has")
    return Cpu(
        model=entry.text("model_name", 255),
        vendor=entry.text("vendor_id", 255),
        cores=cores,
        mhz=entry.number("mhz"),
        physical_id=entry.text("physical_id", 64),
    )


def _disk(entry: Block) -> Disk:
    return Disk(
        device=entry.text("device", 1024) or "",
        mountpoint=entry.text("mountpoint", 4096) or "",
        fstype=entry.text("fstype", 64) or "",
        total=entry.count("total"),
        used=entry.count("used"),
        free=entry.count("free"),
        read_only="ro" in entry.words("opts"),
    )


def _nic(entry: Block) -> Nic:
    addresses: list[str] = []
    said: dict[bool, set[str]] = {True: set(), False: set()}
    for address in entry.blocks("addrs", most=MOST_ADDRESSES):
        text = address.text("addr", 100)
        if text is None:
            continue
        addresses.append(text)
        temporary = address.truth("temporary")
        if temporary is not None:
            said[temporary].add(text)
    return Nic(
        name=entry.text("name", 255) or "",
        mac=normal_mac(entry.text("hardware_addr", 255) or ""),
        flags=tuple(flag.lower() for flag in entry.words("flags")),
        addresses=tuple(addresses),
        mtu=entry.number_of_any_sign("mtu"),
        temporary=frozenset(said[True]),
        lasting=frozenset(said[False]),
    )


__all__ = ["Cpu", "Disk", "Nic", "PayloadError", "Report", "loads", "read"]
