"""Platform `agent`: machines that report of themselves to the HTTP service, each as a client with a token of its own.

`accept` makes a raw record of a report that waits, `parse` a normalized-v1 document of a raw record. A source is the
agents of one tenant. Nothing here knows the service: reports are taken out of its queue by `pipeline.agents`.
"""

from __future__ import annotations

from asset_ledger.sources.agent.accept import record
from asset_ledger.sources.agent.config import AgentConfig
from asset_ledger.sources.agent.errors import ERROR_CODES
from asset_ledger.sources.agent.parse import PARSER_VERSION, parse
from asset_ledger.sources.platform import Platform, Queue


def _tenant(config: AgentConfig) -> str:
    return config.tenant


PLATFORM = Platform(
    name="agent",
    title="Agents that report of their own machine",
    kind="json",
    platform_type="unknown",
    source_type="agent",
    contract="push",
    config=AgentConfig,
    parse=parse,
    parser_version=PARSER_VERSION,
    error_codes=ERROR_CODES,
    naming_rank=42,
    specs_rank=22,
    queue=Queue(_tenant, record),
    exclusive=("tenant",),
)
