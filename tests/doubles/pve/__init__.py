"""A double of the Proxmox VE API: one HTTPS server that speaks as 5.0, 5.4, 6.1, 6.4, 7.4, 8.4 or 9.1.

with PveDouble(load("cluster"), version="8.4") as pve:
    pve.endpoint, pve.ca_file, pve.fingerprint; pve.cluster, pve.faults, pve.on, pve.requests
"""

from __future__ import annotations

from tests.doubles.pve.releases import VERSIONS
from tests.doubles.pve.scenario import Scenario, load
from tests.doubles.pve.server import PveDouble

__all__ = ["VERSIONS", "PveDouble", "Scenario", "load"]
