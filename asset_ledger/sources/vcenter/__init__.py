"""Platform `vcenter`: everything a vCenter manages, or one ESXi host without, read over the SOAP API of vSphere.

`client`, `stub` and `bulk` speak to the server, `survey` and `collector` say what is read and in which order, `raw` how
it is kept; `parse` and `proof` make documents of it, and the proof that nothing is missing. Hosts and virtual machines
of a vCenter are two readings, neither of which waits for the other.
"""

from __future__ import annotations

from asset_ledger.sources.platform import Collector, Platform, Secrets
from asset_ledger.sources.vcenter.config import VcenterConfig
from asset_ledger.sources.vcenter.errors import ERROR_CODES
from asset_ledger.sources.vcenter.parse import PARSER_VERSION, parse


def _open(config: VcenterConfig, credentials: Secrets) -> Collector:
    from asset_ledger.sources.vcenter.collector import VcenterCollector

    return VcenterCollector(config, credentials)


def _chains(config: VcenterConfig) -> tuple[str, ...]:
    return ("hosts", "vms") if config.scope == "vcenter" else ("all",)


PLATFORM = Platform(
    name="vcenter",
    title="VMware vCenter",
    kind="vmware",
    platform_type="vmware",
    source_type="platform",
    contract="pull",
    config=VcenterConfig,
    parse=parse,
    parser_version=PARSER_VERSION,
    error_codes=ERROR_CODES,
    naming_rank=12,
    specs_rank=13,
    scopes={"all": (), "hosts": ("host", "cluster"), "vms": ("vm",)},
    chains=_chains,
    complete_by_nature=True,
    relations=True,
    default_schedule="0 2 * * *",
    open=_open,
    exclusive=("endpoint",),
)
