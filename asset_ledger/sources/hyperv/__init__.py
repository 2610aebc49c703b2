"""Platform `hyperv`: hosts and failover clusters of Microsoft Hyper-V, read by PowerShell over WS-Management.

`collector`, `nodes` and `survey` say which hosts are read, and in which order; `script` and `raw` what is asked of each
and how it is kept; `sweep`, `holding`, `parse` and `proof` make documents of it, and the proof that none is missing.
"""

from __future__ import annotations

from asset_ledger.sources.hyperv.config import HypervConfig
from asset_ledger.sources.hyperv.errors import ERROR_CODES
from asset_ledger.sources.hyperv.parse import PARSER_VERSION, parse
from asset_ledger.sources.platform import Collector, Platform, Secrets


def _open(config: HypervConfig, credentials: Secrets) -> Collector:
    from asset_ledger.sources.hyperv.collector import HypervCollector

    return HypervCollector(config, credentials)


PLATFORM = Platform(
    name="hyperv",
    title="Microsoft Hyper-V",
    kind="hyperv",
    platform_type="hyperv",
    source_type="platform",
    contract="pull",
    config=HypervConfig,
    parse=parse,
    parser_version=PARSER_VERSION,
    error_codes=ERROR_CODES,
    naming_rank=14,
    specs_rank=15,
    complete_by_nature=True,
    relations=True,
    default_schedule="0 2 * * *",
    open=_open,
    exclusive=("hosts",),
)
