"""What this machine is, as a report: psutil's readings in the shape that gopsutil's agents send, in a stable order.

Nothing is derived here: totals, what counts as a disk, which address is stable are the server's to say. What may not be
read (a container, a plain user) is left out; it is never a zero.
"""

from __future__ import annotations

import json
import platform
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, TypeVar

import psutil  # type: ignore[import-untyped]

from asset_ledger.agent.identity import machine_id, product_uuid

_T = TypeVar("_T")
_UNREADABLE = (OSError, psutil.Error, RuntimeError, NotImplementedError, AttributeError, LookupError, ValueError)
"""What psutil raises where a system, a container or a plain user's rights lack something."""
_MOST_INTERFACES = 200
"""A machine of containers has thousands that come and go; those of containers are left out first."""
_MOST_OPTIONS = 32
_OF_CONTAINERS = ("veth", "cali", "cni", "lxc", "fwbr", "fwln", "fwpr", "tap", "vnet", "br-")
_MAKERS = {
    "qemu": "kvm",
    "kvm": "kvm",
    "vmware": "vmware",
    "microsoft corporation": "hyperv",
    "innotek": "vbox",
    "xen": "xen",
    "amazon ec2": "kvm",
    "google": "kvm",
    "alibaba cloud": "kvm",
    "openstack": "kvm",
}


def agent_version() -> str:
    """Return which version of the agent this is."""
    try:
        return version_of("asset-ledger")
    except PackageNotFoundError:  # run from a folder, not installed
        return "0.0.0"


def collect(*, now: float, management_ip: str | None = None) -> dict[str, Any]:
    """Return this machine's report of an instant (seconds since 1970, UTC)."""
    document: dict[str, Any] = {
        "collected_at": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
        "agent_version": agent_version(),
        "host": _without_unknown(_host(now)),
        "cpu": _cpus(),
        "memory": _memory(),
        "disks": _disks(),
        "network": _network(),
    }
    if swap := _or_none(_swap):
        document["swap"] = swap
    used = _or_none(lambda: psutil.cpu_percent(interval=None))
    if used is not None and _warmed():
        document["cpu_usage_percent"] = used
    if management_ip is not None:
        document["management_ip"] = management_ip
    return document


def body_of(document: Mapping[str, Any], *, spooled: bool) -> bytes:
    """Return a report as it is sent. `spooled`: later than it was collected, so that its own day counts."""
    return json.dumps(
        {**document, "spooled": True} if spooled else document, ensure_ascii=False, separators=(",", ":")
    ).encode("utf-8", "replace")


class _Warm:
    """psutil says how busy the CPUs were since it was last asked; the first answer means nothing."""

    asked = False


def _warmed() -> bool:
    before, _Warm.asked = _Warm.asked, True
    return before


def _host(now: float) -> dict[str, Any]:
    booted = _or_none(lambda: int(psutil.boot_time()))
    release = _os_release()
    os = platform.system().lower()
    uuid, machine = product_uuid(), machine_id()
    system, role = _virtualization()
    return {
        "hostname": socket.gethostname(),
        # of a clock that was set back, or a container's that knows its host's
        "uptime": max(int(now) - booted, 0) if booted is not None else None,
        "boot_time": booted,
        "procs": _or_none(lambda: len(psutil.pids())),
        "os": os,
        "platform": release.get("ID") or os,
        "platform_family": release.get("ID_LIKE", "").split(" ")[0] or release.get("ID"),
        "platform_version": release.get("VERSION_ID") or platform.mac_ver()[0] or platform.release(),
        "kernel_version": platform.release(),
        "kernel_arch": platform.machine(),
        "virtualization_system": system,
        "virtualization_role": role,
        "host_id": uuid or _dashed(machine),
        "host_id_is": "product_uuid" if uuid else "machine_id" if machine else None,
    }


def _cpus() -> list[dict[str, Any]]:
    """Return one entry a logical CPU, as Linux's agents do; elsewhere one for all of them."""
    count = _or_none(psutil.cpu_count) or 0
    frequency = _or_none(psutil.cpu_freq)
    mhz = round(frequency.current, 1) if frequency else None
    if platform.system() != "Linux":
        return [_without_unknown({"cpu": 0, "model_name": platform.processor(), "mhz": mhz, "cores": count})]
    read = _proc_cpus()
    return [
        _without_unknown(
            {
                "cpu": number,
                "vendor_id": said.get("vendor_id"),
                "model_name": said.get("model name") or said.get("cpu model") or said.get("Processor"),
                "physical_id": said.get("physical id"),
                "core_id": said.get("core id"),
                "cores": 1,
                "mhz": mhz,
            }
        )
        for number, said in enumerate([*read, *({} for _ in range(count - len(read)))][: count or len(read)])
    ]


def _proc_cpus() -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for block in _text("/proc/cpuinfo").split("\n\n"):
        said = {
            name.strip(): value.strip()
            for name, sign, value in (line.partition(":") for line in block.splitlines())
            if sign
        }
        if "processor" in said:
            found.append(said)
    return found


def _memory() -> dict[str, Any]:
    found = _or_none(psutil.virtual_memory)
    if found is None:
        return {}
    return {
        "total": found.total,
        "available": found.available,
        "used": found.used,
        "used_percent": found.percent,
        "free": found.free,
        **{name: getattr(found, name) for name in ("buffers", "cached", "shared", "slab") if hasattr(found, name)},
    }


def _swap() -> dict[str, Any]:
    found = psutil.swap_memory()
    return {"total": found.total, "used": found.used, "free": found.free, "used_percent": found.percent}


def _disks() -> list[dict[str, Any]]:
    """Return the file systems of devices, with what may be read of how full they are."""
    of_superblocks = writable(_text("/proc/self/mountinfo"))
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for part in _or_none(lambda: psutil.disk_partitions(all=False)) or []:
        usage = _or_none(lambda mountpoint=part.mountpoint: psutil.disk_usage(mountpoint))  # type: ignore[misc]
        options = [each for each in part.opts.split(",") if each]
        if part.mountpoint in of_superblocks:
            # a hardened service sees everything mounted read-only: the file system itself knows better
            options = [
                "rw" if of_superblocks[part.mountpoint] else "ro",
                *(each for each in options if each not in ("ro", "rw")),
            ]
        found[part.device, part.mountpoint] = {
            "device": part.device,
            "mountpoint": part.mountpoint,
            "fstype": part.fstype,
            "opts": options[:_MOST_OPTIONS],
            **(
                {"total": usage.total, "used": usage.used, "free": usage.free, "used_percent": usage.percent}
                if usage is not None
                else {}
            ),
        }
    return [found[key] for key in sorted(found)]


def writable(mountinfo: str) -> dict[str, bool]:
    """Return of every mount point whether its file system can be written, however it is mounted here."""
    found: dict[str, bool] = {}
    for line in mountinfo.splitlines():
        mount, _, system = line.partition(" - ")
        fields, of_system = mount.split(" "), system.split(" ")
        if len(fields) > 4 and len(of_system) > 2:
            point = fields[4].encode().decode("unicode_escape", "replace") if "\\" in fields[4] else fields[4]
            found[point] = "rw" in of_system[2].split(",")
    return found


def _network() -> list[dict[str, Any]]:
    states = _or_none(psutil.net_if_stats) or {}
    temporary = _temporary()
    found: list[dict[str, Any]] = []
    for name, addresses in (_or_none(psutil.net_if_addrs) or {}).items():
        state = states.get(name)
        of_internet = [_cidr(each) for each in addresses if each.family in (socket.AF_INET, socket.AF_INET6)]
        macs = [each.address.replace("-", ":").lower() for each in addresses if each.family == psutil.AF_LINK]
        found.append(
            _without_unknown(
                {
                    "name": name,
                    "mtu": state.mtu if state else None,
                    "hardwareaddr": next(iter(macs), None),
                    "flags": sorted(flag for flag in state.flags.split(",") if flag) if state else None,
                    "addrs": [{"addr": each, **temporary.get((name, each), {})} for each in sorted({*of_internet})],
                }
            )
        )
    found.sort(key=lambda nic: (nic["name"].startswith(_OF_CONTAINERS), nic["name"]))
    return found[:_MOST_INTERFACES]


def _temporary() -> dict[tuple[str, str], dict[str, bool]]:
    """Return of IPv6 addresses whether they are temporary ones (RFC 8981), where Linux says so."""
    found: dict[tuple[str, str], dict[str, bool]] = {}
    for line in _text("/proc/net/if_inet6").splitlines():
        address, _, prefix, _, flags, name = line.split()[:6]
        text = f"{IPv6Address(int(address, 16))}/{int(prefix, 16)}"
        found[name, text] = {"temporary": bool(int(flags, 16) & 0x01)}  # IFA_F_TEMPORARY of if_addr.h
    return found


def _cidr(address: Any) -> str:
    """Return an address as CIDR text; without its scope, and alone where its mask is not known."""
    text = address.address.partition("%")[0]
    if not address.netmask:
        return f"{text}/{ip_address(text).max_prefixlen}"
    return f"{text}/{int(ip_address(address.netmask)).bit_count()}"


def _virtualization() -> tuple[str | None, str | None]:
    """Return (system, "guest") where this is a guest of something; (None, None) where nothing says so."""
    container = _text("/run/systemd/container").strip() or ("docker" if Path("/.dockerenv").exists() else "")
    if container:
        return container, "guest"
    maker = " ".join(_text(f"/sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name")).lower()
    if "hypervisor" in _text("/proc/cpuinfo"):
        return next((system for said, system in _MAKERS.items() if said in maker), None), "guest"
    return None, None


def _os_release() -> dict[str, str]:
    text = _text("/etc/os-release") or _text("/usr/lib/os-release")
    return {
        name: value.strip().strip("\"'")
        for name, sign, value in (line.strip().partition("=") for line in text.splitlines())
        if sign and not name.startswith("#")
    }


def _dashed(machine: str | None) -> str | None:
    digits = (machine or "").lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}" if len(digits) == 32 else None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _or_none(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except _UNREADABLE:
        return None


def _without_unknown(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value not in (None, "")}
