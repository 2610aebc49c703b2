"""What a source of platform `agent` may say in sources.yaml."""

from __future__ import annotations

from pydantic import Field

from asset_ledger.sources.platform import SourceConfig


class AgentConfig(SourceConfig):
    """The agents of one tenant of the HTTP service."""

    tenant: str = Field(
        pattern=r"^[a-z][a-z0-9_-]{0,62}$",
        description="The tenant whose agents these are; each tenant's are a source of their own.",
    )
