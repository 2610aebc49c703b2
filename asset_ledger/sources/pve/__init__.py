"""Platform `pve`: clusters and single nodes of Proxmox VE, read over their HTTPS API.

`session` and `client` speak HTTP, `collector` and `nodes` say what is read and in which order, `raw` how it is kept;
`parse` and `proof` make documents of it, and the proof that no guest is missing.
"""

from __future__ import annotations

from asset_ledger.sources.platform import Collector, Measure, Platform, Secrets
from asset_ledger.sources.pve.config import PveConfig
from asset_ledger.sources.pve.errors import ERROR_CODES, RATE_LIMIT
from asset_ledger.sources.pve.parse import PARSER_VERSION, parse


def _open(config: PveConfig, credentials: Secrets) -> Collector:
    from asset_ledger.sources.pve.collector import PveCollector

    return PveCollector(config, credentials)


PLATFORM = Platform(
    name="pve",
    title="Proxmox VE",
    kind="proxmox",
    platform_type="pve",
    source_type="platform",
    contract="pull",
    config=PveConfig,
    parse=parse,
    parser_version=PARSER_VERSION,
    error_codes=ERROR_CODES,
    naming_rank=11,
    specs_rank=12,
    complete_by_nature=True,
    relations=True,
    default_schedule="0 2 * * *",
    open=_open,
    exclusive=("endpoint",),
    measures=(
        Measure(
            "pve_rate_limit_count",
            "Requests that something in front of Proxmox VE refused, and readings that failed by it.",
            "rate_limited",
            codes=(RATE_LIMIT,),
        ),
        Measure(
            "pve_guest_agent_unavailable_rate",
            "Share of the guest agents asked that did not answer.",
            "agents_unavailable",
            of="agents_asked",
        ),
    ),
)
