"""The scripted world as a Hyper-V cluster: its double answers the script, and the platform `hyperv` reads every node.

One source is one cluster. A machine's VMId follows from the world's id, its BIOSGUID is the world's uuid. Hyper-V has no
pools: that of a machine is the name that its guest gives itself, and who lost a right on one lost it on the hosts of its
machines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from asset_ledger.sources.hyperv.config import HypervConfig
from asset_ledger.sources.hyperv.errors import NODE_UNREACHABLE, PARSE_ERROR, PERMISSION_DENIED, WSMAN_FAULT
from asset_ledger.sources.platform import SourceConfig
from tests.doubles.hyperv import (
    GIB,
    PASSWORD,
    USER,
    ClusterSpec,
    DiskSpec,
    GuestSpec,
    HostSpec,
    HypervDouble,
    NicSpec,
    VmSpec,
    guid_of,
)
from tests.doubles.hyperv.specs import OFF, RUNNING
from tests.faults.world import NONE, PAGE, Faults, Host, Machine, Vm, World, estate

CREDENTIAL = ("FAULTS_HYPERV", json.dumps({"username": USER, "password": PASSWORD}))
"""The variable, and its value, that the source names as its credential."""
NAME = "lab"
_A_FAULT = 2150858770


class Hyperv:
    """A Hyper-V cluster that shows a scripted world."""

    supports = frozenset(
        {
            "lost_page",
            "truncated",
            "short_body",
            "shifted_page",
            "hidden_pools",
            "lies_without",
            "silent_agents",
            "listed_twice",
            "clock_skew_s",
        }
    )
    cannot: ClassVar[Mapping[str, str]] = {
        "down_hosts": "without a word of one node a cluster of Hyper-V is not read whole: that is INVENTORY_INCOMPLETE",
        "stranger_hosts": "a node with another certificate is not asked, and without it the cluster is not read whole",
        "hostless": "on Hyper-V a machine is told by the host it runs on, and by nobody else",
        "nothing": "a host that answers with success is itself something",
    }
    hosts = True
    clusters = 1
    lists_generations = False
    found_by_ids: frozenset[str] = frozenset()
    codes: ClassVar[Mapping[str, tuple[str, str]]] = {
        "down_hosts": (NODE_UNREACHABLE.code, NODE_UNREACHABLE.code),
        "stranger_hosts": (NODE_UNREACHABLE.code, NODE_UNREACHABLE.code),
    }
    pool_field = "guest_hostname"
    state_fields = frozenset({"custom_fields.state"})
    refusals: ClassVar[Mapping[str, tuple[str, str]]] = {
        "lost_page": (WSMAN_FAULT.code, str(_A_FAULT)),
        "truncated": ("INVENTORY_INCOMPLETE", ""),
        "short_body": (PARSE_ERROR.code, "cut short"),
        "shifted_page": (PARSE_ERROR.code, "two virtual machines with one id"),
        "hidden_pools": (PERMISSION_DENIED.code, ""),
    }

    def __init__(self, folder: Path, name: str = NAME, **settings: object) -> None:
        self._served = HypervDouble()
        self._served.__enter__()
        for host in estate().hosts.values():
            self._served.add(_host(host))
        self.source: SourceConfig = HypervConfig.model_validate(
            {
                "name": name,
                "platform": "hyperv",
                "hosts": [self._served.at(host) for host in self._served.hosts],
                "ca_file": self._served.wsman.ca_file,
                "credential_ref": "env:FAULTS_HYPERV",
                "deadline_s": 30,
                **settings,
            }
        )

    def close(self) -> None:
        """Stop serving."""
        self._served.wsman.stop()

    def reading(self, world: World, faults: Faults = NONE) -> None:
        served = self._served
        with served.lock:
            served.trouble.clear()
            served.wsman.faults.clear()
            served.chunk = None
            served.clock_skew_s = faults.clock_skew_s
            hosts = {host.id: host for host in world.hosts.values()}
            for host in hosts.values():
                _show(served.hosts[host.name], host)
            cluster = next(iter(world.clusters.values()), None)
            names = [host.name for host in hosts.values()]
            served.clusters = [ClusterSpec(cluster.name, names)] if cluster is not None else []
            vms = [vm for vm in world.vms.values() if vm.id not in faults.lies_without]
            for vm in vms:
                served.hosts[hosts[vm.host].name].vms.append(_vm(vm, faults))
            self._hide(world, faults, vms)

    def _hide(self, world: World, faults: Faults, vms: list[Vm]) -> None:
        served = self._served
        every = list(served.hosts.values())
        listed = len(world.clusters) + len(world.hosts) + len(vms)
        for vm in vms:
            if vm.id in faults.listed_twice:  # what a migration left behind on another host
                other = next(host for host in every if host.name != world.hosts[vm.host].name)
                other.vms.append(replace(_vm(vm, faults), state=OFF))
        if faults.hidden_pools:
            lost = {vm.host for vm in vms if vm.pool in faults.hidden_pools} or set(world.hosts)
            for host in lost:
                served.hosts[world.hosts[host].name].rights = "none"
        if faults.truncated is not None and listed > faults.truncated:
            kept = max(0, faults.truncated - len(world.clusters) - len(world.hosts))
            self._lose({guid_of(f"vm {vm.id}") for vm in vms[kept:]})
        if faults.short_body or (faults.truncated is not None and listed > faults.truncated and not vms):
            served.fail(every[-1].name, "half", times=None)
        if faults.lost_page and listed > PAGE:
            served.chunk = 256
            served.wsman.faults.add("Receive", "wsman", code=_A_FAULT, times=None, after=2)
        if faults.shifted_page and listed > PAGE:
            crowded = max(every, key=lambda host: len(host.vms))
            if len(crowded.vms) > 1:
                crowded.hidden_second = (crowded.vms[1].vm_id,)
                crowded.vms[1] = crowded.vms[0]
            else:
                served.fail(crowded.name, "half", times=None)

    def _lose(self, lost: set[str]) -> None:
        """Let Get-VM stop before some machines, which WMI still tells of."""
        for host in self._served.hosts.values():
            host.hidden_second = tuple(vm.vm_id for vm in host.vms if vm.vm_id in lost)
            host.vms = [vm for vm in host.vms if vm.vm_id not in lost]

    def name(self, machine: Machine) -> tuple[str, str]:
        return machine.kind, guid_of(f"vm {machine.id}") if isinstance(machine, Vm) else machine.name.lower()

    def generation(self, machine: Machine) -> Mapping[str, str]:
        return {"created": machine.created} if isinstance(machine, Vm) else {}


def _host(host: Host) -> HostSpec:
    return HostSpec(host.name, domain="")


def _show(shown: HostSpec, host: Host) -> None:
    """Let a host of the double be as the world has it, without machines."""
    shown.vms, shown.hidden_second, shown.rights = [], (), "hyperv"
    shown.ips, shown.cpus, shown.memory, shown.serial = host.ips, host.cpus, host.memory_mib << 20, host.serial
    shown.macs = (f"00:15:5D:FF:00:{int(host.ips[0].rpartition('.')[2]):02X}",)


def _vm(vm: Vm, faults: Faults) -> VmSpec:
    silent = vm.id in faults.silent_agents
    cards: list[dict[str, Any]] = [{"mac": mac.replace(":", "").upper()} for mac in vm.macs]
    return VmSpec(
        vm.name,
        id=guid_of(f"vm {vm.id}"),
        state=RUNNING if vm.power == "running" else OFF,
        cpus=vm.cpus,
        memory=vm.memory_mib << 20,
        bios_guid=vm.uuid,
        clustered=True,
        created=vm.created,
        disks=(DiskSpec(vm.disk_gib * GIB),),
        nics=tuple(
            NicSpec(**card, ips=vm.ips if place == 0 and not silent else ()) for place, card in enumerate(cards)
        ),
        guest=None if silent else GuestSpec(fqdn=vm.pool),
    )
