"""Which properties are read of each kind of object, and which of them an object must have. Pure data.

`bulk` asks for them, `objects` looks for them. Leaf paths only: one whole `config` is 55 kB of a virtual machine and
a megabyte of a host. Nothing that changes by itself (uptime, usage) is among them: it would make every record new
every day.
"""

from __future__ import annotations

from dataclasses import dataclass

HOSTS = "hosts"
CLUSTERS = "clusters"
VMS = "vms"
PARTS = (HOSTS, CLUSTERS, VMS)
"""The parts of a reading, in the order in which they are read."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object: its type's name in the API, its paths, and those of them that the proof insists on.

    A release that does not know one of `optional` answers InvalidProperty: it is then left out, and the evidence
    says so.
    """

    type: str
    mandatory: tuple[str, ...]
    plain: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def every(self) -> tuple[str, ...]:
        """All paths, mandatory ones first."""
        return (*self.mandatory, *self.plain, *self.optional)


KINDS = {
    HOSTS: Kind(
        type="HostSystem",
        mandatory=("name", "parent"),
        plain=(
            "hardware.systemInfo",
            "summary.hardware.cpuModel",
            "summary.hardware.numCpuPkgs",
            "summary.hardware.numCpuCores",
            "summary.hardware.numCpuThreads",
            "summary.hardware.memorySize",
            "summary.hardware.vendor",
            "summary.hardware.model",
            "summary.hardware.uuid",
            "summary.config.product",
            "runtime.connectionState",
            "runtime.powerState",
            "runtime.inMaintenanceMode",
            "config.network.vnic",
            "config.network.pnic",
            "datastore",
        ),
        optional=("config.virtualNicManagerInfo.netConfig",),
    ),
    CLUSTERS: Kind(type="ClusterComputeResource", mandatory=("name",), plain=("parent",)),
    VMS: Kind(
        type="VirtualMachine",
        mandatory=("name", "runtime.host"),
        plain=(
            "parent",
            "parentVApp",
            "resourcePool",
            "runtime.connectionState",
            "runtime.powerState",
            "config.instanceUuid",
            "config.uuid",
            "config.template",
            "config.managedBy",
            "config.hardware.numCPU",
            "config.hardware.memoryMB",
            "config.hardware.device",
            "guest.hostName",
            "guest.ipAddress",
            "guest.net",
            "guest.toolsRunningStatus",
            "guest.guestFullName",
            "guest.guestFamily",
            "summary.config.guestFullName",
            "summary.config.guestId",
        ),
    ),
}
