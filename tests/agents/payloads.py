"""Reports of agents as several operating systems send them, for every tier of tests.

`payload` builds one in the seed's snake_case; `camel` and `lower` respell it as gopsutil's v4 and v2 do.
`collected` is what psutil reads of the machine that the tests run on.
"""

from __future__ import annotations

import copy
import ipaddress
import platform
import socket
import time
from pathlib import Path
from typing import Any

import psutil

GIB = 1 << 30


def payload(os: str = "linux", **changes: Any) -> dict[str, Any]:
    """Return a report of one of MACHINES with changes.

    A change is a block (`host`, `cpu`, `memory`, `disks`, `network`) or another outermost key (`collected_at`,
    `agent_version`, `management_ip`, `spooled`, any unknown one) to replace, a key of the host (`hostname`,
    `kernel_version`, …), or one of `cores` (how many CPUs), `memory_total`, `addresses` (CIDR texts of the first real
    interface), `mac` (its), `disk_total` (of the first disk). A key set to None is left out.
    """
    document = copy.deepcopy(MACHINES[os]())
    for name, value in changes.items():
        _change(document, name, value)
    return document


def _change(document: dict[str, Any], name: str, value: Any) -> None:
    nic = next((nic for nic in document["network"] if "loopback" not in nic.get("flags", ())), {})
    if name == "cores":
        first = document["cpu"][0]
        per_package = len(document["cpu"]) == 1
        document["cpu"] = (
            [{**first, "cores": value}] if per_package else [{**first, "cpu": n, "cores": 1} for n in range(value)]
        )
    elif name == "memory_total":
        document["memory"]["total"] = value
    elif name == "addresses":
        nic["addrs"] = [{"addr": text} for text in value]
    elif name == "mac":
        nic["hardwareaddr"] = value
    elif name == "disk_total":
        document["disks"][0]["total"] = value
    else:
        block = document["host"] if name in HOST_KEYS else document
        if value is None:
            block.pop(name, None)
        else:
            block[name] = value


HOST_KEYS = frozenset(
    [
        "hostname",
        "uptime",
        "boot_time",
        "procs",
        "os",
        "platform",
        "platform_family",
        "platform_version",
        "kernel_version",
        "kernel_arch",
        "virtualization_system",
        "virtualization_role",
        "host_id",
    ]
)


def camel(value: Any) -> Any:
    """Respell every key as gopsutil v4 does: `platformVersion`, `hardwareAddr`."""
    return _respelled(value, lambda key: V4.get(key, _camel(key)))


def lower(value: Any) -> Any:
    """Respell every key in lower case without underscores; gopsutil v2 has some of these."""
    return _respelled(value, lambda key: key.replace("_", "").lower())


V4 = {"hardwareaddr": "hardwareAddr"}


def _camel(key: str) -> str:
    first, *others = key.split("_")
    return first + "".join(other.capitalize() for other in others)


def _respelled(value: Any, spelled: Any) -> Any:
    if isinstance(value, dict):
        return {spelled(key): _respelled(inner, spelled) for key, inner in value.items()}
    if isinstance(value, list):
        return [_respelled(inner, spelled) for inner in value]
    return value


def host(
    hostname: str, os: str, name: str, version: str, kernel: str, arch: str = "x86_64", **more: Any
) -> dict[str, Any]:
    return {
        "hostname": hostname,
        "uptime": 864_000,
        "boot_time": 1_780_000_000,
        "procs": 150,
        "os": os,
        "platform": name,
        "platform_family": more.pop("family", ""),
        "platform_version": version,
        "kernel_version": kernel,
        "kernel_arch": arch,
        **more,
    }


def cpus(count: int, model: str, cores: int = 1, mhz: float = 2400.0) -> list[dict[str, Any]]:
    """Return `count` entries of `cores` each: Linux has one a logical CPU, Windows one a package, macOS one in all."""
    return [
        {
            "cpu": n,
            "vendor_id": "GenuineIntel",
            "family": "6",
            "model": "79",
            "stepping": 1,
            "physical_id": str(n // 4),
            "core_id": str(n),
            "cores": cores,
            "model_name": model,
            "mhz": mhz,
            "cache_size": 35840,
            "flags": ["fpu", "vme"],
            "microcode": "0xb000040",
        }
        for n in range(count)
    ]


def memory(total: int) -> dict[str, Any]:
    half = total // 2
    return {"total": total, "available": half, "used": half, "used_percent": 50.0, "free": half // 2}


def disk(device: str, mountpoint: str, fstype: str, total: int, opts: list[str] | None = None) -> dict[str, Any]:
    return {
        "device": device,
        "mountpoint": mountpoint,
        "fstype": fstype,
        "opts": ["rw", "relatime"] if opts is None else opts,
        "path": mountpoint,
        "total": total,
        "used": total // 4,
        "free": total - total // 4,
        "used_percent": 25.0,
    }


def nic(
    name: str, mac: str, *addresses: str, flags: tuple[str, ...] = ("up", "broadcast", "multicast"), mtu: int = 1500
) -> dict[str, Any]:
    return {
        "index": 1,
        "mtu": mtu,
        "name": name,
        "hardwareaddr": mac,
        "flags": list(flags),
        "addrs": [{"addr": text} for text in addresses],
    }


LOOPBACK = nic("lo", "", "127.0.0.1/8", "::1/128", flags=("up", "loopback"), mtu=65536)


def linux() -> dict[str, Any]:
    """Ubuntu with snaps: half of the LVM volume group allocated."""
    return {
        "host": host(
            "web-01",
            "linux",
            "ubuntu",
            "22.04",
            "5.15.0-58-generic",
            family="debian",
            virtualization_system="kvm",
            virtualization_role="guest",
            host_id="4c4c4544-0042-3510-8051-b7c04f4e3932",
        ),
        "cpu": cpus(4, "Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz"),
        "memory": memory(16_376_053_760),
        "swap": {"total": 0, "used": 0, "free": 0, "used_percent": 0.0},
        "disks": [
            disk("/dev/mapper/ubuntu--vg-ubuntu--lv", "/", "ext4", 26_241_638_400),
            disk("/dev/vda2", "/boot", "ext4", 2_040_373_248),
            disk("/dev/loop0", "/snap/core20/1822", "squashfs", 66_453_504, ["ro", "nodev", "relatime"]),
            disk("/dev/loop1", "/snap/lxd/24322", "squashfs", 117_440_512, ["ro", "nodev", "relatime"]),
        ],
        "network": [
            LOOPBACK,
            nic(
                "ens18",
                "52:54:00:12:34:56",
                "192.0.2.10/24",
                "2001:db8::5054:ff:fe12:3456/64",
                "fe80::5054:ff:fe12:3456/64",
            ),
        ],
    }


def docker() -> dict[str, Any]:
    """A host of containers: bridges and virtual pairs that come and go, overlays, a share."""
    document = linux()
    document["host"]["hostname"] = "node-01"
    document["disks"] += [
        disk("overlay", "/var/lib/docker/overlay2/ab/merged", "overlay", 26_241_638_400),
        disk("tmpfs", "/run", "tmpfs", 1_637_605_376),
        disk("nas:/export", "/mnt/share", "nfs4", 8 << 40),
        disk("//files/team", "/mnt/team", "cifs", 4 << 40),
    ]
    document["network"] += [
        nic("docker0", "02:42:5c:11:22:33", "172.17.0.1/16"),
        nic("br-1a2b3c4d5e6f", "02:42:9e:44:55:66", "172.18.0.1/16"),
        nic("veth12ab34c", "7a:01:02:03:04:05", "fe80::7801:2ff:fe03:405/64"),
        nic("cali0123456789a", "ee:ee:ee:ee:ee:ee"),
        nic("flannel.1", "8e:11:22:33:44:55", "10.244.0.0/32"),
    ]
    return document


def sles() -> dict[str, Any]:
    """SLES 12: one disk of 50 GiB whose btrfs is mounted nine times."""
    mounts = ["/", "/home", "/opt", "/srv", "/tmp", "/usr/local", "/var/log", "/var/tmp", "/.snapshots"]
    return {
        "host": host("sles-01", "linux", "sles", "12.5", "4.12.14-122.37-default", family="suse"),
        "cpu": cpus(2, "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz"),
        "memory": memory(3_991_879_680),
        "disks": [disk("/dev/sda2", mount, "btrfs", 52_425_397_248) for mount in mounts],
        "network": [LOOPBACK, nic("eth0", "00:50:56:aa:bb:cc", "198.51.100.20/24")],
    }


def windows() -> dict[str, Any]:
    """Windows Server 2019: an entry a package, a DVD, pseudo interfaces, an interface without addresses."""
    document = {
        "host": host(
            "WIN-7G3KQ",
            "windows",
            "Microsoft Windows Server 2019 Datacenter",
            "10.0.17763.2114 Build 17763.2114",
            "10.0.17763.2114 Build 17763.2114",
            family="Server",
            host_id="a1b2c3d4-0000-4000-8000-0123456789ab",
        ),
        "cpu": cpus(2, "Intel(R) Xeon(R) Platinum 8171M CPU @ 2.60GHz", cores=4, mhz=2095.0),
        "memory": memory(8_589_463_552),
        "disks": [
            disk("C:", "C:", "NTFS", 136_365_207_552, ["rw", "compress"]),
            disk("D:", "D:", "UDF", 5_296_713_728, ["ro"]),
        ],
        "network": [
            nic("Ethernet0", "00:15:5d:01:02:03", "203.0.113.30/24", "fe80::d1f3:5a1b:8d4e:1c2f/64"),
            nic(
                "Loopback Pseudo-Interface 1",
                "",
                "::1/128",
                "127.0.0.1/8",
                flags=("up", "loopback", "multicast"),
                mtu=-1,
            ),
            nic(
                "isatap.{8E4B0B7E-5A5B-4E8E-9D3A-1F2E3D4C5B6A}",
                "00:00:00:00:00:00:00:e0",
                "fe80::5efe:cb00:711e/128",
                flags=("pointtopoint",),
            ),
        ],
    }
    adapter = nic("Ethernet1", "00:15:5d:01:02:04")
    del adapter["addrs"]
    document["network"].append(adapter)
    return document


def darwin() -> dict[str, Any]:
    """macOS: physical cores in one entry, one APFS container under several volumes, temporary IPv6 addresses."""
    container = 494_384_795_648
    return {
        "host": host("studio.local", "darwin", "darwin", "14.5", "23.5.0", "arm64", family="Standalone Workstation"),
        "cpu": cpus(1, "Apple M2 Pro", cores=10, mhz=3504.0),
        "memory": memory(32 * GIB),
        "disks": [
            disk("/dev/disk3s1s1", "/", "apfs", container, ["ro", "journaled", "multilabel"]),
            disk("/dev/disk3s6", "/System/Volumes/VM", "apfs", container, ["rw", "noexec", "nobrowse"]),
            disk("/dev/disk3s5", "/System/Volumes/Data", "apfs", container, ["rw", "nobrowse", "journaled"]),
            disk("map auto_home", "/System/Volumes/Data/home", "autofs", 0, ["rw", "automounted"]),
        ],
        "network": [
            nic("lo0", "", "127.0.0.1/8", "::1/128", "fe80::1/64", flags=("up", "loopback", "multicast"), mtu=16384),
            nic(
                "en0",
                "a4:83:e7:10:20:30",
                "192.0.2.77/24",
                "2001:db8:1::1c3a:55aa:90f1:7d21/64",
                "2001:db8:1::d80b:7e31:40cf:a8e5/64",
            ),
            nic("awdl0", "3e:5f:11:22:33:44", "fe80::3c5f:11ff:fe22:3344/64"),
            nic("utun3", "", "100.64.0.9/32", flags=("up", "pointtopoint", "multicast"), mtu=1380),
            nic("bridge100", "a6:83:e7:40:50:60", "192.168.64.1/24"),
        ],
    }


def rocky() -> dict[str, Any]:
    """Rocky Linux on metal: XFS on LVM, a bond, a virtual IP of a cluster beside its address."""
    return {
        "host": host("db-01", "linux", "rocky", "9.4", "5.14.0-427.13.1.el9_4.x86_64", family="rhel"),
        "cpu": cpus(64, "AMD EPYC 7543 32-Core Processor", mhz=2800.0),
        "memory": memory(269_801_668_608),
        "disks": [
            disk("/dev/mapper/rl-root", "/", "xfs", 75_125_227_520),
            disk("/dev/sda1", "/boot/efi", "vfat", 627_900_416),
            disk("/dev/mapper/data-pg", "/var/lib/pgsql", "xfs", 2_198_956_146_688),
        ],
        "network": [
            LOOPBACK,
            nic("eno1", "3c:ec:ef:00:00:01"),
            nic("eno2", "3c:ec:ef:00:00:01"),
            nic("bond0", "3c:ec:ef:00:00:01", "198.51.100.50/24", "198.51.100.99/32"),
        ],
    }


MACHINES = {"linux": linux, "docker": docker, "sles": sles, "windows": windows, "darwin": darwin, "rocky": rocky}


def collected() -> dict[str, Any]:
    """Return what psutil reads of this machine, in the seed's shape: a second way to the contract."""
    release = platform.freedesktop_os_release()
    virtual = psutil.virtual_memory()
    boot = int(psutil.boot_time())
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "host": {
            "hostname": socket.gethostname(),
            "uptime": int(time.time() - boot),
            "boot_time": boot,
            "procs": len(psutil.pids()),
            "os": platform.system().lower(),
            "platform": release.get("ID", ""),
            "platform_version": release.get("VERSION_ID", ""),
            "kernel_version": platform.release(),
            "kernel_arch": platform.machine(),
        },
        "cpu": [
            {"cpu": n, "model_name": models[n] if n < len(models) else "", "mhz": 0.0, "cores": 1}
            for n in range(psutil.cpu_count() or 1)
        ],
        "memory": {name: getattr(virtual, name) for name in ("total", "available", "used", "free")}
        | {"used_percent": virtual.percent},
        "disks": [_disk_of(part) for part in psutil.disk_partitions(all=False)],
        "network": [_nic_of(name, addresses) for name, addresses in psutil.net_if_addrs().items()],
    }


def _disk_of(part: Any) -> dict[str, Any]:
    usage = psutil.disk_usage(part.mountpoint)
    return {
        "device": part.device,
        "mountpoint": part.mountpoint,
        "fstype": part.fstype,
        "opts": part.opts.split(","),
        "total": usage.total,
        "used": usage.used,
        "free": usage.free,
        "used_percent": usage.percent,
    }


def _nic_of(name: str, addresses: list[Any]) -> dict[str, Any]:
    known = psutil.net_if_stats().get(name)
    mac, told = "", []
    for address in addresses:
        if address.family == psutil.AF_LINK:
            mac = address.address
        elif address.family in (socket.AF_INET, socket.AF_INET6):
            bits = bin(int(ipaddress.ip_address(address.netmask))).count("1") if address.netmask else 32
            told.append({"addr": f"{address.address.split('%')[0]}/{bits}"})
    return {
        "name": name,
        "mtu": known.mtu if known else 0,
        "hardwareaddr": mac,
        "flags": known.flags.split(",") if known else [],
        "addrs": told,
    }
