"""A double of Hyper-V: hosts and failover clusters that answer the project's script over WS-Management.

with HypervDouble(HostSpec("HV1", vms=[VmSpec("web")])) as hyperv:
    hyperv.at("HV1"), hyperv.wsman.ca_file; hyperv.move, hyperv.change, hyperv.after, hyperv.fail, hyperv.runs
"""

from __future__ import annotations

from tests.doubles.hyperv.double import PASSWORD, USER, HypervDouble
from tests.doubles.hyperv.specs import (
    GIB,
    ClusterSpec,
    DiskSpec,
    GuestSpec,
    HostSpec,
    NicSpec,
    VmSpec,
    guid_of,
    swapped,
)

__all__ = [
    "GIB",
    "PASSWORD",
    "USER",
    "ClusterSpec",
    "DiskSpec",
    "GuestSpec",
    "HostSpec",
    "HypervDouble",
    "NicSpec",
    "VmSpec",
    "guid_of",
    "swapped",
]
