"""From the cluster's state to rows: which keys a release shows and of which JSON type they are. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from tests.doubles.pve.releases import Release
from tests.doubles.pve.scenario import bytes_of
from tests.doubles.pve.state import Cluster, Guest, Node

Row = dict[str, Any]
_INTEGERS = {
    "qemu": {"balloon", "cores", "cpuunits", "memory", "shares", "sockets", "vcpus"},
    "lxc": {"cores", "cpuunits", "memory", "swap", "tty"},
}
_BOOLEANS = {
    "qemu": {"acpi", "autostart", "kvm", "localtime", "numa", "onboot", "protection", "tablet", "template"},
    "lxc": {"console", "debug", "onboot", "protection", "template", "unprivileged"},
}
_SIZE = re.compile(r"(?:^|,)size=([0-9.]+[KMGT]?)", re.IGNORECASE)


def mebibytes(said: str | None, default: int) -> int:
    """Return the memory of a configuration in MiB: 2048, or current=2048."""
    match = re.search(r"(?:^|current=)(\d+)", said or "")
    return int(match[1]) if match else default


def volume_size(volume: str | None) -> int:
    match = _SIZE.search(volume or "")
    return bytes_of(match[1]) if match else 0


def boot_disk(config: dict[str, str]) -> str | None:
    """Return the configuration of the disk a machine boots from, or None where it cannot be told."""
    order = config.get("boot", "")
    names = order.removeprefix("order=").split(";") if order.startswith("order=") else [config.get("bootdisk", "")]
    disks = [name for name in names if re.fullmatch(r"(ide|sata|scsi|virtio)\d+", name)]
    return next((config[name] for name in disks if name in config and "media=cdrom" not in config[name]), None)


def agent_enabled(config: dict[str, str]) -> bool:
    said = config.get("agent", "0").split(",")[0].removeprefix("enabled=")
    return said in {"1", "on", "yes", "true"}


# -- one guest's numbers, as its node reports them ------------------------------------------------------------------


def numbers(cluster: Cluster, guest: Guest, release: Release) -> Row:
    """Return what pvestatd says of a guest, all numbers being numbers."""
    config, spec = guest.config, guest.spec
    running = spec.status == "running"
    host = cluster.nodes[guest.node].spec
    if spec.type == "qemu":
        cpus = min(int(config.get("sockets", 1)) * int(config.get("cores", 1)), host.cpu)
        cpus = int(config.get("vcpus", cpus))
        maxmem = mebibytes(config.get("memory"), release.default_memory) << 20
        name, maxdisk, disk = config.get("name", f"VM {guest.vmid}"), volume_size(boot_disk(config)), 0
    else:
        limit = float(config.get("cpulimit", 0))
        cpus = int(config["cores"]) if "cores" in config else (limit or host.cpu)  # type: ignore[assignment]
        maxmem = mebibytes(config.get("memory"), 512) << 20
        name = config.get("hostname", f"CT{guest.vmid}")
        maxdisk = volume_size(config.get("rootfs"))
        disk = maxdisk // 3 if running else 0
    row = {
        "name": name,
        "status": spec.status,
        "cpus": cpus,
        "cpu": 0.0173 if running else 0,
        "maxmem": maxmem,
        "mem": maxmem * 3 // 5 if running else 0,
        "maxdisk": maxdisk,
        "disk": disk,
        "uptime": spec.uptime if running else 0,
        "netin": 123_456 if running else 0,
        "netout": 65_432 if running else 0,
        "diskread": 1_048_576 if running else 0,
        "diskwrite": 524_288 if running else 0,
    }
    if spec.type == "lxc":
        row |= {"swap": 0, "maxswap": mebibytes(config.get("swap"), 512) << 20}
    return row | spec.stats


# -- /cluster/resources ---------------------------------------------------------------------------------------------


def guest_resource(cluster: Cluster, guest: Guest, release: Release) -> Row:
    """Return the row of a guest; of a node that says nothing only the guest list is left."""
    spec = guest.spec
    row: Row = {"id": f"{spec.type}/{guest.vmid}", "vmid": guest.vmid, "node": guest.node, "type": spec.type}
    if release.unknown_status:
        row["status"] = "unknown"
    if cluster.broadcasts(guest.node):
        said = numbers(cluster, guest, release)
        row |= {name: value for name, value in said.items() if name not in {"cpus", "swap", "maxswap"}}
        row["maxcpu"] = said["cpus"]
        row["template"] = int(spec.config.get("template", "0"))
        if release.memhost:
            row["memhost"] = int(said["mem"]) + (1 << 20) if spec.status == "running" else 0
    if release.lock_in_resources and "lock" in guest.config:
        row["lock"] = guest.config["lock"]
    if release.tags and "tags" in guest.config:
        row["tags"] = guest.config["tags"]
    if pool := cluster.pool_of(guest.vmid):
        row["pool"] = pool
    if spec.hastate:
        row["hastate"] = spec.hastate
    return row


def node_row(cluster: Cluster, node: Node, release: Release, *, audited: bool) -> Row:
    """Return the row of a node in /nodes and /cluster/resources, without the keys that only one of them has."""
    row: Row = {"id": f"node/{node.name}", "node": node.name, "type": "node"}
    status, spec = "unknown", node.spec
    if cluster.broadcasts(node.name):
        stats = audited or not release.stats_need_sys_audit
        if node.online:
            status = "online"
            if stats:
                row |= {"uptime": 1_234_567, "cpu": 0.0421, "mem": spec.memory // 3, "disk": spec.disk // 4}
        row["level"] = spec.level
        if stats:
            row |= {"maxcpu": spec.cpu, "maxmem": spec.memory, "maxdisk": spec.disk}
    if release.node_status:
        row["status"] = status if node.online else "offline"
    return row


# -- /nodes/N/qemu, /nodes/N/lxc, status/current --------------------------------------------------------------------


def vmid_as_listed(guest: Guest, release: Release) -> int | str:
    text = release.qemu_vmid_is_text if guest.spec.type == "qemu" else release.lxc_numbers_are_text
    return str(guest.vmid) if text else guest.vmid


def guest_listed(cluster: Cluster, guest: Guest, release: Release, *, full: bool = False) -> Row:
    """Return the row of a guest as its node lists it."""
    spec, running = guest.spec, guest.spec.status == "running"
    row = numbers(cluster, guest, release) | {"vmid": vmid_as_listed(guest, release)}
    template, lock = spec.config.get("template") == "1", spec.config.get("lock")
    if template or release.blank_keys:
        row["template"] = 1 if template else ""
    if running:
        row["pid"] = (
            str(20_000 + guest.vmid) if spec.type == "qemu" or release.lxc_numbers_are_text else 20_000 + guest.vmid
        )
    if spec.type == "lxc":
        if release.number >= (6, 0):
            row["type"] = "lxc"
        if lock or release.blank_keys:
            row["lock"] = lock or ""
        if running and release.lxc_numbers_are_text:
            row |= {"disk": str(row["disk"]), "maxdisk": str(row["maxdisk"])}
    elif lock and release.number >= (6, 0):
        row["lock"] = lock
    if release.tags and "tags" in spec.config:
        row["tags"] = spec.config["tags"]
    if full and spec.type == "qemu":
        row["qmpstatus"] = spec.qmpstatus or spec.status
    return row


def guest_current(cluster: Cluster, guest: Guest, release: Release) -> Row:
    """Return status/current of a guest."""
    row = guest_listed(cluster, guest, release, full=True)
    row["ha"] = {"managed": 1, "state": guest.spec.hastate} if guest.spec.hastate else {"managed": 0}
    if guest.spec.type == "qemu":
        if agent_enabled(guest.config):
            row["agent"] = 1
        if guest.spec.status == "running" and release.number >= (6, 2):
            row |= {"running-machine": "pc-i440fx-9.0+pve0", "running-qemu": "9.0.2"}
    return row


# -- config ---------------------------------------------------------------------------------------------------------


def config_shown(guest: Guest, release: Release, said: dict[str, str]) -> Row:
    """Return a configuration with the JSON types of the release, masked as Proxmox VE masks it."""
    kind = guest.spec.type
    row: Row = {}
    pairs: list[list[str]] = []
    for name, value in said.items():
        if kind == "lxc" and name.startswith("lxc."):
            pairs.append([name, value])
        elif name in release.config_keys_unknown:
            continue
        elif name == "cipassword":
            row[name] = "**********"
        elif name == "agent" and release.agent_is_boolean:
            row[name] = int(agent_enabled(said))
        elif name == "memory" and kind == "qemu":
            row[name] = value if release.memory_is_text else mebibytes(value, 512)
        elif name in _INTEGERS[kind] or name in _BOOLEANS[kind]:
            row[name] = int(value)
        else:
            row[name] = value
    if pairs:
        row["lxc"] = pairs
    row["digest"] = hashlib.sha1(repr(sorted(guest.config.items())).encode(), usedforsecurity=False).hexdigest()
    return row


# -- addresses ------------------------------------------------------------------------------------------------------


def _mac(guest: Guest, position: int) -> str:
    match = re.search(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", guest.config.get(f"net{position}", ""))
    return match[0].lower() if match else f"02:00:00:00:{position:02x}:{guest.vmid % 256:02x}"


def _interfaces(guest: Guest) -> dict[str, tuple[str, list[str]]]:
    """Return interface -> (MAC, CIDRs), the loopback first."""
    found = {"lo": ("00:00:00:00:00:00", ["127.0.0.1/8", "::1/128"])}
    for position, (name, addresses) in enumerate(guest.spec.addresses.items()):
        found[name] = _mac(guest, position), addresses
    return found


def agent_interfaces(guest: Guest) -> Any:
    """Return `result` of network-get-interfaces, good or an error: both come with 200."""
    spec = guest.spec
    if spec.agent_result is not None:
        return spec.agent_result
    if spec.agent == "command_disabled":
        text = "The command guest-network-get-interfaces has been disabled for this instance"
        return {"error": {"class": "CommandDisabled", "desc": text}}
    if spec.agent == "empty":
        return []
    rows: list[Row] = []
    for name, (mac, addresses) in _interfaces(guest).items():
        row: Row = {"name": name, "hardware-address": mac}
        listed = []
        for cidr in addresses:
            address, _, prefix = cidr.partition("/")
            family = "ipv6" if ":" in address else "ipv4"
            listed.append({"ip-address-type": family, "ip-address": address, "prefix": int(prefix or 32)})
        if listed:
            row["ip-addresses"] = listed
        row["statistics"] = {"rx-bytes": 1, "rx-packets": 1, "tx-bytes": 1, "tx-packets": 1}
        rows.append(row)
    if spec.agent == "partial":
        rows.append({"name": "tun0", "ip-addresses": []})
        rows.append({"name": "docker0", "hardware-address": "02:42:ac:11:00:02"})
    return rows


def lxc_interfaces(guest: Guest, release: Release) -> list[Row] | None:
    """Return a container's interfaces; None while it is stopped. `inet` has the last address only."""
    if guest.spec.status != "running":
        return None
    rows = []
    for name, (mac, addresses) in _interfaces(guest).items():
        row: Row = {"name": name, "hwaddr": mac}
        for cidr in addresses:
            row["inet6" if ":" in cidr else "inet"] = cidr
        if release.lxc_ip_addresses:
            row["hardware-address"] = mac
            row["ip-addresses"] = [
                {
                    "ip-address": cidr.split("/")[0],
                    "prefix": int(cidr.split("/")[1]),
                    "ip-address-type": "inet6" if ":" in cidr else "inet",
                }
                for cidr in addresses
            ]
        rows.append(row)
    return rows
