"""What the script prints on a host: the line of script.ps1, with the values and shapes that a release gives them.

Only the world is told here; that the script itself says this of a Windows host, its own tests have to show.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.doubles.hyperv.specs import STATE_NAMES, ClusterSpec, DiskSpec, HostSpec, NicSpec, VmSpec

if TYPE_CHECKING:
    from tests.doubles.hyperv.double import HypervDouble

ADMINISTRATORS, HYPERV_ADMINISTRATORS = "S-1-5-32-544", "S-1-5-32-578"
_BUILDS = {
    "2012": ("6.2.9200", "3.0", "1.0"),
    "2012r2": ("6.3.9600", "4.0", "1.1"),
    "2016": ("10.0.14393", "5.1.14393.6343", "2.0.0.0"),
    "2019": ("10.0.17763", "5.1.17763.5830", "2.0.0.0"),
    "2022": ("10.0.20348", "5.1.20348.2582", "2.0.0.0"),
    "2025": ("10.0.26100", "5.1.26100.1591", "2.0.0.0"),
}
_NODE_STATES = {"up": 0, "down": 1, "paused": 2}
_ONLINE, _OFFLINE = 2, 3


@dataclass(frozen=True)
class Asked:
    """What was asked for: `whole`, `own` (without the cluster's lists), `lists` (of a machine only its name and state)
    or `names` (as lists, without the cluster's)."""

    nonce: str
    ask: str


def printed(double: HypervDouble, host: HostSpec, asked: Asked) -> bytes:
    """Return what the script writes to stdout."""
    told = _told(double, host, asked) if host.release in _BUILDS else _too_old(host, asked)
    if double.unwrapped:
        told = _unwrapped(told)
    if double.change_printed is not None:
        told = double.change_printed(told)
    plain = all(one.isprintable() or one in "\r\n" for one in str(told))
    text = json.dumps(told, ensure_ascii=not plain, separators=(",", ":"))
    for sign in "<>&'":  # as ConvertTo-Json of Windows PowerShell writes them
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f"{asked.nonce}:{base64.b64encode(text.encode()).decode()}:{asked.nonce}\r\n".encode()


def clixml(error: str = "") -> bytes:
    """Return what PowerShell writes to stderr: progress records even on success, and the error, if there is one."""
    said = f'<S S="Error">{error}_x000D__x000A_</S>' if error else ""
    return (
        "#< CLIXML\r\n"
        '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
        '<Obj S="progress" RefId="0"><TN RefId="0"><T>System.Management.Automation.PSCustomObject</T>'
        '<T>System.Object</T></TN><MS><I64 N="SourceId">1</I64><PR N="Record"><AV>正在准备首次使用模块。</AV></PR>'
        f"</MS></Obj>{said}</Objs>"
    ).encode()


def trouble(
    where: str, message: str, *, kind: str = "", category: str = "", name: str = "", numbers: tuple[int, ...] = ()
) -> dict[str, Any]:
    """Return an error as the script tells it."""
    return {
        "where": where,
        "message": message[:200],
        "numbers": list(numbers),
        "id": name,
        "category": category,
        "type": kind,
    }


def _told(double: HypervDouble, host: HostSpec, asked: Asked) -> dict[str, Any]:
    errors: list[dict[str, Any]] = []
    told: dict[str, Any] = {
        "v": 1,
        "ask": asked.ask,
        "ok": False,
        "at": double.now(),
        "count": None,
        "items": [],
        "host": _who(host),
        "second": None,
        "cluster": None,
        "errors": errors,
    }
    if asked.ask in ("whole", "own"):
        told["host"] |= _host(host)
    told["second"] = {"ids": None, "error": None}
    _machines(host, told, errors, asked)
    if (cluster := double.cluster_of(host.name)) is not None:
        told["cluster"] = _cluster(double, cluster, host, asked)
    return told


def _too_old(host: HostSpec, asked: Asked) -> dict[str, Any]:
    """Return what PowerShell 2.0 of Windows Server 2008 R2 can say."""
    missing = trouble("module", "PowerShell 2.0 is too old", category="NotInstalled")
    return {"v": 1, "ask": asked.ask, "ok": False, "host": {"name": host.name}, "errors": [missing]}


def _who(host: HostSpec) -> dict[str, Any]:
    groups = {"admin": [ADMINISTRATORS], "hyperv": [HYPERV_ADMINISTRATORS], "none": [], "unseeing": []}[host.rights]
    return {
        "groups": ["S-1-5-32-545", "S-1-5-32-580", *groups],
        "is_admin": host.rights == "admin",
        "ps_version": _BUILDS[host.release][1],
        "name": host.name,
        "fqdn": host.fqdn,
    }


def _host(host: HostSpec) -> dict[str, Any]:
    build = _BUILDS[host.release][0]
    return {
        "manufacturer": "Dell Inc.",
        "model": "PowerEdge R740",
        "memory_bytes": host.memory,
        "logical_processors": host.cpus,
        "sockets": 2,
        "cores": host.cpus // 2,
        "cpu_model": "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz",
        "uuid": host.machine_uuid,
        "serial": host.serial or f"SN-{host.name}",
        "os_version": build,
        "os_build": build.rpartition(".")[2],
        "os_caption": f"Microsoft Windows Server {host.release[:4]} Datacenter",
        "ips": list(host.ips),
        "macs": list(host.macs),
    }


def _machines(host: HostSpec, told: dict[str, Any], errors: list[dict[str, Any]], asked: Asked) -> None:
    if not host.module:
        errors.append(trouble("module", "this host has no Hyper-V module for PowerShell", category="NotInstalled"))
        return
    if host.rights == "none":
        errors += [
            trouble(
                "vms",
                "您没有完成此任务所需的权限。请与对象为" + host.name + "的授权策略的管理员联系。",
                kind="Microsoft.HyperV.PowerShell.VirtualizationException",
                category="PermissionDenied",
                name="AccessDenied,Microsoft.HyperV.PowerShell.Commands.GetVM",
                numbers=(-2146233088,),
            )
        ]
        told["second"]["ids"] = []
        return
    if host.vmms_error:
        errors.append(
            trouble(
                "vms",
                host.vmms_error,
                kind="Microsoft.HyperV.PowerShell.VirtualizationException",
                category="NotSpecified",
                name="Unspecified,Microsoft.HyperV.PowerShell.Commands.GetVM",
                numbers=(-2146233088,),
            )
        )
        told["second"]["error"] = trouble(
            "second", host.vmms_error, kind="System.Runtime.InteropServices.COMException", numbers=(-2147217388,)
        )
        return
    told["host"]["module_version"] = _BUILDS[host.release][2]
    seen = [] if host.rights == "unseeing" else host.vms
    told["items"] = [_row(vm) if asked.ask in ("lists", "names") else _item(vm, host) for vm in seen]
    told["count"] = len(seen)
    told["ok"] = True
    if host.wmi_denied:
        # WMI's status is neither the HResult nor the category: it stands in a property of the exception
        told["second"]["error"] = trouble(
            "second",
            "Access denied",
            kind="System.Management.ManagementException",
            category="InvalidOperation",
            name="GetWMIManagementException,Microsoft.PowerShell.Commands.GetWmiObjectCommand",
            numbers=(-2146233087, -2147217405),
        )
        return
    told["second"]["ids"] = [vm.vm_id for vm in seen] + list(host.hidden_second)


def _row(vm: VmSpec) -> dict[str, Any]:
    return {
        "id": vm.vm_id,
        "name": vm.name,
        "nics": None,
        "disks": None,
        "guest": None,
        "errors": [],
        "state": vm.state,
        "state_name": vm.state_name or STATE_NAMES.get(vm.state, str(vm.state)),
        "replication_mode": vm.replication,
        "replication_state": vm.replicating,
    }


def _item(vm: VmSpec, host: HostSpec) -> dict[str, Any]:
    talks = vm.running and vm.guest is not None
    return _row(vm) | {
        "nics": [_nic(nic, talks=talks) for nic in vm.nics],
        "disks": [_disk(disk) for disk in vm.disks],
        "guest": _guest(vm),
        "errors": list(vm.errors),
        "created": vm.created,
        "vcpu": vm.cpus,
        "mem_startup": vm.memory,
        "mem_assigned": (vm.memory if vm.assigned is None else vm.assigned) if vm.running else 0,
        "mem_max": (1 << 40) if vm.maximum is None else vm.maximum,
        "dynamic": vm.dynamic,
        # Windows Server 2012 has one generation, and does not say so
        "generation": None if host.release == "2012" else vm.generation,
        "version": {"2012": "4.0", "2012r2": "5.0", "2016": "8.0", "2019": "9.0"}.get(host.release, "10.0"),
        "clustered": vm.clustered,
        "bios_guid": "{" + vm.bios.upper() + "}",
        "serial": vm.bios_serial,
    }


def _nic(nic: NicSpec, *, talks: bool) -> dict[str, Any]:
    return {
        "name": "Network Adapter",
        "mac": nic.mac,
        "switch": nic.switch,
        "vlan": nic.vlan,
        "ips": list(nic.ips) if talks else [],
    }


def _disk(disk: DiskSpec) -> dict[str, Any]:
    if disk.passthrough:
        at = "Disk 3 40.00 GB Bus 0 Lun 2 Target 0"
        return {"path": at, "size": None, "type": None, "error": None, "number": 3, "shared": False}
    error = None
    if disk.error is not None:
        error = trouble(
            "vhd",
            disk.error,
            kind="Microsoft.HyperV.PowerShell.VirtualizationException",
            category="ResourceUnavailable",
            name="VHDInUse,Microsoft.Vhd.PowerShell.Cmdlets.GetVhd",
            numbers=(-2146233088,),
        )
    return {
        "path": disk.path,
        "size": None if error else disk.size,
        "type": None if error else disk.kind,
        "error": error,
        "number": None,
        "shared": disk.shared,
    }


def _guest(vm: VmSpec) -> dict[str, Any]:
    told = vm.guest if vm.running else None
    version = told.os_version if told else None
    return {
        "fqdn": told.fqdn if told else None,
        "os_name": told.os_name if told else None,
        "os_version": version,
        "os_major": version.split(".")[0] if version else None,
        "os_build": version.rpartition(".")[2] if version else None,
        "os_platform": told.os_platform if told else None,
    }


def _cluster(double: HypervDouble, cluster: ClusterSpec, host: HostSpec, asked: Asked) -> dict[str, Any]:
    told: dict[str, Any] = {"name": None, "id": None, "nodes": None, "vms": None, "error": None}
    if host.cluster_module is False:
        told["error"] = trouble(
            "cluster_module", "this node has no FailoverClusters module for PowerShell", category="NotInstalled"
        )
        return told
    if host.cluster_denied:
        told["error"] = trouble(
            "cluster",
            "您没有管理该群集的权限。",
            kind="Microsoft.FailoverClusters.PowerShell.ClusterCmdletException",
            category="NotSpecified" if host.cluster_denied == "inside" else "AuthenticationError",
            name="Get-Cluster,Microsoft.FailoverClusters.PowerShell.GetClusterCommand",
            # within it a Win32Exception: its own HResult, and the number of Windows
            numbers=(-2146233088, -2147467259, 5) if host.cluster_denied == "inside" else (-2146233088,),
        )
        return told
    told |= {"name": cluster.name, "id": cluster.cluster_id}
    if asked.ask in ("own", "names"):
        return told
    states = {**dict.fromkeys(cluster.paused, "paused"), **dict.fromkeys(cluster.down, "down")}
    told["nodes"] = [{"name": name, "state": _NODE_STATES[states.get(name, "up")]} for name in cluster.nodes]
    rows: dict[str, dict[str, Any]] = {}
    for node in cluster.nodes:
        for vm in double.hosts[node].vms:
            # of a machine that two nodes have, the cluster knows one
            if vm.clustered and vm.name not in cluster.unlisted and (vm.vm_id not in rows or vm.running):
                owner, state = cluster.owners.get(vm.name, node), _ONLINE if vm.running else _OFFLINE
                rows[vm.vm_id] = {"vm_id": vm.vm_id, "name": vm.name, "owner": owner, "state": state}
        for lost in double.hosts[node].hidden_second:
            rows.setdefault(lost, {"vm_id": lost, "name": "hidden", "owner": node, "state": _ONLINE})
    for vm_id, (name, owner) in cluster.extra.items():
        rows[vm_id] = {"vm_id": vm_id, "name": name, "owner": owner, "state": _OFFLINE}
    told["vms"] = list(rows.values())
    return told


def _unwrapped(value: Any) -> Any:
    """Return the value as PowerShell hands on what it enumerates: a list of one is the one."""
    if isinstance(value, dict):
        return {key: _unwrapped(one) for key, one in value.items()}
    if isinstance(value, list):
        inner = [_unwrapped(one) for one in value]
        return inner[0] if len(inner) == 1 else inner
    return value
