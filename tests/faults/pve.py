"""The scripted world as a Proxmox VE cluster: its double serves it, and the platform `pve` reads it over HTTPS.

One source is one cluster, so hosts of several clusters cannot be told; machine ids are what Proxmox VE makes of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from asset_ledger.sources.platform import SourceConfig
from asset_ledger.sources.pve.config import PveConfig
from asset_ledger.sources.pve.errors import NETWORK_ERROR, NODE_OFFLINE, PERMISSION_DENIED
from tests.doubles.pve import PveDouble, Scenario
from tests.doubles.pve.scenario import AclSpec, GuestSpec, NodeSpec, TokenSpec, UserSpec
from tests.doubles.pve.state import Cluster as State
from tests.faults.world import NONE, POOLS, Cluster, Faults, Host, Machine, Vm, World

TOKEN = "ledger@pve!asset"
SECRET = "11111111-1111-4111-8111-111111111111"
CREDENTIAL = ("FAULTS_PVE", json.dumps({"api_token_id": TOKEN, "api_token_secret": SECRET}))
"""The variable, and its value, that the source names as its credential."""
NAME = "lab"


class Pve:
    """A Proxmox VE cluster that shows a scripted world."""

    supports = frozenset(
        {
            "truncated",
            "short_body",
            "hidden_pools",
            "lies_without",
            "down_hosts",
            "stranger_hosts",
            "silent_agents",
            "hostless",
            "clock_skew_s",
        }
    )
    hosts = True
    clusters = 1
    lists_generations = False
    found_by_ids: frozenset[str] = frozenset()
    codes: ClassVar[Mapping[str, tuple[str, str]]] = {
        "down_hosts": (NODE_OFFLINE.code, NODE_OFFLINE.code),
        "stranger_hosts": (NETWORK_ERROR.code, NETWORK_ERROR.code),
    }
    pool_field = "pool"
    state_fields: frozenset[str] = frozenset()
    refusals: ClassVar[Mapping[str, tuple[str, str]]] = {
        "truncated": (PERMISSION_DENIED.code, "exist and are not shown"),
        "short_body": (NETWORK_ERROR.code, ""),
        "hidden_pools": (PERMISSION_DENIED.code, "VM.Audit is missing"),
        "hostless": ("INVENTORY_RELATIONS_EMPTY", ""),
    }

    def __init__(self, folder: Path, name: str = NAME, **settings: object) -> None:
        self._served = PveDouble(_scenario(World(), NONE), "8.4")
        self._served.auth_delay = 0
        self._served.__enter__()
        self.source: SourceConfig = PveConfig.model_validate(
            {
                "name": name,
                "platform": "pve",
                "endpoint": self._served.endpoint,
                "ca_file": self._served.ca_file,
                "credential_ref": "env:FAULTS_PVE",
                "timeout_ms": 10_000,
                **settings,
            }
        )

    def close(self) -> None:
        """Stop serving."""
        self._served.stop()

    def reading(self, world: World, faults: Faults = NONE) -> None:
        fresh = State(_scenario(world, faults), self._served.release)
        shown = self._served.cluster
        with shown.lock:
            for what in ("nodes", "guests", "pools", "acl", "tokens", "users", "roles", "name"):
                setattr(shown, what, getattr(fresh, what))
            shown.local_node = fresh.local_node
        shown.advance(seconds=faults.clock_skew_s)
        for host in world.hosts.values():
            if host.id in faults.down_hosts:
                shown.set_offline(host.name, minutes=10)
        self._served.faults.clear()
        if faults.truncated is not None or faults.hostless:
            self._served.faults.add("GET /cluster/resources", "json", times=None, body={"data": _rows(world, faults)})
        if faults.short_body:
            self._served.faults.add("GET /cluster/resources", "cut", times=None)
        for host in world.hosts.values():
            if host.id in faults.stranger_hosts:
                self._served.faults.add(
                    f"GET /nodes/{host.name}/*", "status", times=None, status=596, reason="certificate verify failed"
                )

    def name(self, machine: Machine) -> tuple[str, str]:
        match machine:
            case Vm():
                return "vm", f"qemu/{machine.id}"
            case Host():
                return "host", machine.name
            case Cluster():
                return "cluster", machine.name

    def generation(self, machine: Machine) -> Mapping[str, str]:
        if isinstance(machine, Vm):
            return {"uuid": machine.uuid, "created": str(_created(machine))}
        return {}


def _created(vm: Vm) -> int:
    return int(datetime.fromisoformat(vm.created).timestamp())


def _scenario(world: World, faults: Faults) -> Scenario:
    hosts = [host for host in world.hosts.values() if host.id not in faults.lies_without]
    acl = [AclSpec(path="/", role="Ledger", ugid=who) for who in ("ledger@pve", TOKEN)]
    acl += [AclSpec(path=f"/pool/{pool}", role="NoAccess", ugid="ledger@pve") for pool in faults.hidden_pools]
    return Scenario(
        cluster=next((cluster.name for cluster in world.clusters.values()), "cluster-1"),
        nodes=[
            NodeSpec(
                name=host.name,
                address=host.ips[0],
                cpu=host.cpus,
                memory=host.memory_mib * 1024 * 1024,
                network=[{"iface": "vmbr0", "type": "bridge", "active": 1, "address": host.ips[0], "netmask": "24"}],
            )
            for host in hosts
        ]
        or [NodeSpec(name="esx-1", address="10.9.0.1")],
        guests=[_guest(vm, world, faults) for vm in world.vms.values() if vm.id not in faults.lies_without],
        pools=list(POOLS),
        roles={"Ledger": ["VM.Audit", "Sys.Audit", "Datastore.Audit", "Pool.Audit", "VM.Monitor"]},
        users=[UserSpec(userid="ledger@pve", password="none")],
        tokens=[TokenSpec(tokenid=TOKEN, secret=SECRET)],
        acl=acl,
    )


def _guest(vm: Vm, world: World, faults: Faults) -> GuestSpec:
    config: dict[str, Any] = {
        "name": vm.name,
        "cores": vm.cpus,
        "memory": vm.memory_mib,
        "agent": "1",
        "ostype": "l26",
        "smbios1": f"uuid={vm.uuid}",
        "meta": f"creation-qemu=9.0.2,ctime={_created(vm)}",
        "scsi0": f"local-lvm:vm-{vm.id}-disk-0,size={vm.disk_gib}G",
    }
    config |= {f"net{place}": f"virtio={mac.upper()},bridge=vmbr0" for place, mac in enumerate(vm.macs)}
    return GuestSpec(
        vmid=int(vm.id),
        node=world.hosts[vm.host].name,
        status="running" if vm.power == "running" else "stopped",
        config=config,
        agent="silent" if vm.id in faults.silent_agents else "addresses",
        addresses={"eth0": [f"{ip}/24" for ip in vm.ips]},
        pool=vm.pool,
    )


def _rows(world: World, faults: Faults) -> list[dict[str, Any]]:
    """Return a list of guests that stops after some of them, or says of none where it runs."""
    told = [
        {
            "type": "qemu",
            "id": f"qemu/{vm.id}",
            "vmid": int(vm.id),
            "status": vm.power,
            "name": vm.name,
            "maxcpu": vm.cpus,
            "maxmem": vm.memory_mib * 1024 * 1024,
            "template": 0,
            **({} if faults.hostless else {"node": world.hosts[vm.host].name}),
        }
        for vm in world.vms.values()
        if vm.id not in faults.lies_without
    ]
    return told[: faults.truncated]
