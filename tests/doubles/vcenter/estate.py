"""A whole estate of any size for `show`: for benchmarks, and where a test needs many machines and none in particular."""

from __future__ import annotations

from typing import Any

from tests.doubles.vcenter.specs import GIB, ClusterSpec, DatastoreSpec, DiskSpec, HostSpec, NicSpec, VmSpec, VnicSpec


def estate(*, clusters: int, hosts: int, vms: int) -> dict[str, list[Any]]:
    """Return a whole world for `show`, whose every fact follows from the numbers."""
    places = [(c, h) for c in range(clusters) for h in range(hosts)]
    return {
        "clusters": [ClusterSpec(f"domain-c{c + 1}", f"cluster-{c + 1}") for c in range(clusters)],
        "datastores": [DatastoreSpec(f"datastore-{c + 1}", f"ds-{c + 1}") for c in range(clusters)],
        "hosts": [
            HostSpec(
                f"host-{c * hosts + h + 1}",
                f"esx-{c + 1}-{h + 1}.example.test",
                f"domain-c{c + 1}",
                uuid=f"4c4c4544-0000-4000-8000-{c * hosts + h:012x}",
                serial=f"SN{c * hosts + h:06d}",
                vnics=(VnicSpec(ip=f"10.9.{c}.{h + 1}", mac=f"00:50:56:60:{c:02x}:{h:02x}"),),
                pnics=(f"3c:ec:ef:00:{c:02x}:{h:02x}",),
                datastores=(f"datastore-{c + 1}",),
            )
            for c, h in places
        ],
        "vms": [
            VmSpec(
                f"vm-{n + 1}",
                f"vm-{n + 1:05d}",
                f"host-{n % len(places) + 1}",
                uuid=f"42010000-0000-4000-8000-{n:012x}",
                instance_uuid=f"50010000-0000-4000-8000-{n:012x}",
                disks=(DiskSpec(40 * GIB), DiskSpec(100 * GIB))[: n % 2 + 1],
                nics=(
                    NicSpec(
                        f"00:50:56:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}",
                        (f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}",),
                    ),
                ),
                guest_hostname=f"vm-{n + 1:05d}.example.test",
                guest_full_name="Ubuntu Linux (64-bit)",
            )
            for n in range(vms)
        ],
    }
