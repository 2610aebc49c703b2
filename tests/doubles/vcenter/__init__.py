"""A double of vCenter: one HTTPS server that speaks SOAP as 6.5, 6.7, 7.0, 8.0, 8.0.3 or 9.0, and as one ESXi host.

with VcSim(clusters=2, vms=5) as sim, VcenterDouble(sim, release="8.0.3") as vc: objects of the simulator
with VcenterDouble(release="7.0") as vc: vc.show(hosts=[HostSpec(...)], vms=[VmSpec(...)]): objects of the test
"""

from __future__ import annotations

from tests.doubles.vcenter.releases import RELEASES
from tests.doubles.vcenter.server import Permission, VcenterDouble
from tests.doubles.vcenter.specs import (
    ClusterSpec,
    DatacenterSpec,
    DatastoreSpec,
    DiskSpec,
    FolderSpec,
    HostSpec,
    NicSpec,
    PoolSpec,
    VmSpec,
    VnicSpec,
)
from tests.doubles.vcenter.vcsim import VcSim

__all__ = [
    "RELEASES",
    "ClusterSpec",
    "DatacenterSpec",
    "DatastoreSpec",
    "DiskSpec",
    "FolderSpec",
    "HostSpec",
    "NicSpec",
    "Permission",
    "PoolSpec",
    "VcSim",
    "VcenterDouble",
    "VmSpec",
    "VnicSpec",
]
