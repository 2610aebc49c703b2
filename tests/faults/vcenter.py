"""The scripted world as a vCenter: its double serves it, and the platform `vcenter` reads it over SOAP.

A pool of the world is a folder of virtual machines. A machine's BIOS uuid is the world's; its instanceUuid, which vCenter
gives to every machine anew, follows from its id and the moment at which it was created.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from asset_ledger.sources.platform import SourceConfig
from asset_ledger.sources.vcenter.config import VcenterConfig
from asset_ledger.sources.vcenter.errors import HOST_DISCONNECTED, NETWORK_ERROR, PERMISSION_DENIED, VM_INACCESSIBLE
from asset_ledger.sources.vcenter.ids import external_id
from tests.doubles.vcenter import (
    ClusterSpec,
    DatastoreSpec,
    DiskSpec,
    FolderSpec,
    HostSpec,
    NicSpec,
    Permission,
    VcenterDouble,
    VmSpec,
    VnicSpec,
)
from tests.doubles.vcenter.rendered import INSTANCE
from tests.doubles.vcenter.specs import GIB
from tests.faults.world import NONE, PAGE, POOLS, Cluster, Faults, Host, Machine, Vm, World

USER = "ledger@vsphere.local"
PASSWORD = "vcenter-canary-secret"
CREDENTIAL = ("FAULTS_VCENTER", json.dumps({"username": USER, "password": PASSWORD}))
"""The variable, and its value, that the source names as its credential."""
NAME = "lab"
_NAMESPACE = uuid.UUID("6f9b7d0e-2f53-4b0f-9d0a-5f0f6d9c1c11")
_KINDS = {kind: frozenset({kind}) for kind in ("VirtualMachine", "HostSystem", "ClusterComputeResource")}


class Vcenter:
    """A vCenter that shows a scripted world."""

    supports = frozenset(Faults.__dataclass_fields__)
    hosts = True
    clusters = 2
    lists_generations = False
    codes: ClassVar[Mapping[str, tuple[str, str]]] = {
        "down_hosts": (HOST_DISCONNECTED.code, VM_INACCESSIBLE.code),
        "stranger_hosts": (HOST_DISCONNECTED.code, VM_INACCESSIBLE.code),
    }
    pool_field = "folder"
    state_fields = frozenset({"custom_fields.connection_state", "custom_fields.tools_state"})
    # what is hidden is told by nothing; the machines that the ledger knows are asked for by their ids
    found_by_ids = frozenset({"hidden_pools"})
    refusals: ClassVar[Mapping[str, tuple[str, str]]] = {
        "lost_page": (NETWORK_ERROR.code, ""),
        "truncated": ("INVENTORY_INCOMPLETE", "were not received"),
        "short_body": (NETWORK_ERROR.code, ""),
        "shifted_page": ("INVENTORY_INCOMPLETE", "were not received"),
        "hidden_pools": (PERMISSION_DENIED.code, "that the ledger knows are hidden"),
        "hostless": ("INVENTORY_INCOMPLETE", "came without runtime.host"),
    }

    def __init__(self, folder: Path, name: str = NAME, **settings: object) -> None:
        self._served = VcenterDouble(username=USER, password=PASSWORD)
        self._served.__enter__()
        self.source: SourceConfig = VcenterConfig.model_validate(
            {
                "name": name,
                "platform": "vcenter",
                "endpoint": self._served.endpoint,
                "ca_file": self._served.ca_file,
                "credential_ref": "env:FAULTS_VCENTER",
                "timeout_ms": 10_000,
                "page_size": PAGE,
                **settings,
            }
        )

    def close(self) -> None:
        """Stop serving."""
        self._served.stop()

    def reading(self, world: World, faults: Faults = NONE) -> None:
        shown = self._served
        shown.forget()
        shown.clock_skew_s = faults.clock_skew_s
        if faults.nothing:
            shown.show()
            return
        hosts = [host for host in world.hosts.values() if host.id not in faults.lies_without]
        vms = [vm for vm in world.vms.values() if vm.id not in faults.lies_without]
        away = {*faults.down_hosts, *faults.stranger_hosts}
        shown.show(
            folders=[FolderSpec(f"group-v-{pool}", pool) for pool in POOLS],
            clusters=[ClusterSpec(cluster.id, cluster.name) for cluster in world.clusters.values()],
            datastores=[DatastoreSpec("datastore-1", "shared")],
            hosts=[_host(host, away=host.id in away) for host in hosts],
            vms=[_vm(vm, faults, away=vm.host in away) for vm in vms],
        )
        if faults.hidden_pools:
            self._hide_pools(vms, faults.hidden_pools)
        if faults.hostless:
            shown.hide(*world.hosts)
            shown.silent_about.update(world.hosts)
            for vm in vms:
                shown.leave_out(_moid(vm), "runtime.host")
        shown.repeat(*(_moid(vm) for vm in vms if vm.id in faults.listed_twice))
        if faults.truncated is not None:
            left = max(0, faults.truncated - len(world.clusters))
            for kind, keep in (
                ("ClusterComputeResource", faults.truncated),
                ("HostSystem", left),
                ("VirtualMachine", faults.truncated),
            ):
                self._stop_after(kind, keep)
        if faults.short_body:
            for kind in ("HostSystem", "VirtualMachine"):
                shown.faults.add("RetrievePropertiesEx", "cut", times=None, kinds=_KINDS[kind])
        if faults.lost_page:
            for kind in ("HostSystem", "VirtualMachine"):
                shown.faults.add("ContinueRetrievePropertiesEx", "status", times=None, status=500, kinds=_KINDS[kind])
        if faults.shifted_page and len(vms) > PAGE:
            shown.repeat(_moid(vms[PAGE - 1]))
            shown.swallow(_moid(vms[PAGE]))

    def _stop_after(self, kind: str, keep: int) -> None:
        """Let a list end after so many objects, as if there were no more."""
        for match in ("RetrievePropertiesEx", "ContinueRetrievePropertiesEx"):
            self._served.faults.add(match, "drop_token", times=None, keep=keep, kinds=_KINDS[kind])

    def _hide_pools(self, vms: list[Vm], pools: tuple[str, ...]) -> None:
        """Take the account's right on folders away: they, their machines and the entries that say why are not told of."""
        domain, user = "VSPHERE.LOCAL", USER.partition("@")[0]
        self._served.permissions = [Permission(("Folder", "group-d1"), f"{domain}\\{user}", -2)]
        for pool in pools:
            self._served.permissions.append(Permission(("Folder", f"group-v-{pool}"), f"{domain}\\{user}", -5))
        self._served.hide(*(f"group-v-{pool}" for pool in pools), *(_moid(vm) for vm in vms if vm.pool in pools))

    def name(self, machine: Machine) -> tuple[str, str]:
        return machine.kind, external_id({"instanceUuid": INSTANCE}, _moid(machine))

    def generation(self, machine: Machine) -> Mapping[str, str]:
        match machine:
            case Vm():
                return {"instance_uuid": _instance(machine), "uuid": machine.uuid}
            case Host():
                return {"uuid": _uuid_of(machine), "serial": machine.serial}
            case Cluster():
                return {"vcenter": INSTANCE}


def _moid(machine: Machine) -> str:
    return f"vm-{machine.id}" if isinstance(machine, Vm) else machine.id


def _instance(vm: Vm) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{vm.id} {vm.created}"))


def _uuid_of(host: Host) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{host.serial} {host.created}"))


def _host(host: Host, *, away: bool) -> HostSpec:
    return HostSpec(
        host.id,
        host.name,
        host.cluster,
        uuid=_uuid_of(host),
        serial=host.serial,
        sockets=2,
        cores=host.cpus // 2,
        threads=host.cpus,
        memory=host.memory_mib << 20,
        vnics=tuple(
            VnicSpec(f"vmk{n}", f"00:50:56:6f:{n:02x}:{host.ips[0].split('.')[-1]:0>2}", ip)
            for n, ip in enumerate(host.ips)
        ),
        pnics=(),
        connection="notResponding" if away else "connected",
        power="unknown" if away else "poweredOn",
        datastores=("datastore-1",),
        told=not away,
    )


def _vm(vm: Vm, faults: Faults, *, away: bool) -> VmSpec:
    running = vm.power == "running"
    cards = [NicSpec(mac, vm.ips if place == 0 else ()) for place, mac in enumerate(vm.macs)]
    return VmSpec(
        _moid(vm),
        vm.name,
        vm.host,
        uuid=vm.uuid,
        instance_uuid=_instance(vm),
        cpus=vm.cpus,
        memory_mb=vm.memory_mib,
        disks=(DiskSpec(vm.disk_gib * GIB),),
        nics=tuple(cards),
        tools="guestToolsNotRunning" if vm.id in faults.silent_agents else "guestToolsRunning",
        power="poweredOn" if running else "poweredOff",
        connection="disconnected" if away else "connected",
        folder=f"group-v-{vm.pool}",
    )
