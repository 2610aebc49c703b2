"""A big cluster out of nothing, for benchmarks: the same numbers give the same cluster."""

from __future__ import annotations

import uuid

from tests.doubles.pve.scenario import GuestSpec, NodeSpec, Scenario


def _machine(vmid: int, node: str, *, agent: bool) -> GuestSpec:
    high, low = divmod(vmid, 256)
    address = f"10.{high // 256}.{high % 256}.{low}/16"
    return GuestSpec(
        vmid=vmid,
        node=node,
        status="stopped" if vmid % 10 == 0 else "running",
        agent="addresses",
        addresses={"eth0": [address]},
        config={
            "name": f"vm{vmid}",
            "agent": "1" if agent else "0",
            "boot": "order=scsi0",
            "cores": str(1 + vmid % 8),
            "memory": str(1024 * (1 + vmid % 16)),
            "meta": f"creation-qemu=8.1.5,ctime={1_700_000_000 + vmid}",
            "net0": f"virtio=BC:24:11:{vmid >> 16 & 255:02X}:{high % 256:02X}:{low:02X},bridge=vmbr0",
            "ostype": "l26",
            "scsi0": f"ceph:vm-{vmid}-disk-0,size={16 + vmid % 64}G",
            "scsihw": "virtio-scsi-single",
            "smbios1": f"uuid={uuid.UUID(int=vmid | 0x4000_8000_0000_0000_0000)}",
            "vmgenid": str(uuid.UUID(int=vmid | 0x4001_8000_0000_0000_0000)),
        },
    )


def _container(vmid: int, node: str) -> GuestSpec:
    high, low = divmod(vmid, 256)
    mac = f"BC:24:11:{vmid >> 16 & 255:02X}:{high % 256:02X}:{low:02X}"
    address = f"10.{high // 256}.{high % 256}.{low}/16"
    return GuestSpec(
        vmid=vmid,
        node=node,
        type="lxc",
        status="running",
        addresses={"eth0": [address]},
        config={
            "hostname": f"ct{vmid}",
            "arch": "amd64",
            "cores": str(1 + vmid % 4),
            "memory": "1024",
            "net0": f"name=eth0,bridge=vmbr0,hwaddr={mac},ip={address},type=veth",
            "ostype": "debian",
            "rootfs": f"ceph:vm-{vmid}-disk-0,size=8G",
            "swap": "512",
        },
    )


def big_cluster(base: Scenario, *, guests: int, nodes: int, agents: float) -> Scenario:
    """Return the users of a scenario over so many guests on so many nodes; `agents` of the machines answer."""
    names = [f"node{number:02}" for number in range(1, nodes + 1)]
    made = []
    for position in range(guests):
        vmid, node = 100 + position, names[position % nodes]
        if position % 5 == 4:
            made.append(_container(vmid, node))
        else:
            made.append(_machine(vmid, node, agent=(position * 7919 % 1000) < agents * 1000))
    return base.model_copy(
        update={
            "cluster": "big" if nodes > 1 else None,
            "nodes": [
                NodeSpec(name=name, address=f"10.255.0.{number % 250 + 1}", cpu=64, memory="512G")  # type: ignore[arg-type]
                for number, name in enumerate(names)
            ],
            "guests": made,
            "pools": [],
        }
    )
