"""The nodes of a chain as Dagster shows them: keys, texts, tables, owners. No node does anything here.

<source>/raw_inventory → <source>/normalized_assets → <source>/ledger_assets, daily_specs, daily_ips

A source that is read in several scopes has such a chain for each: raw_hosts → normalized_hosts → ledger_hosts, …
"""

from __future__ import annotations

import dagster as dg
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._core.storage.tags import RETRY_STRATEGY_TAG

from asset_ledger.assets.policies import DEFAULT_OWNERS
from asset_ledger.domain.shards import Shard
from asset_ledger.pipeline.chains import ALL, Chain
from asset_ledger.sources.platform import SourceConfig

_DESCRIPTIONS = {
    "raw_inventory": "Raw evidence as received, kept for ever: committed before anything is derived from it.",
    "normalized_assets": "Every machine of the reading as a normalized-v1 document: the same fields whatever the "
    "platform, validated, equal content kept once.",
    "ledger_assets": "The ledger's machines: created, recognised, updated; names, identifiers and tags with them.",
    "daily_specs": "CPU, memory, disk and OS of every machine on this day; what is unknown is NULL with a reason.",
    "daily_ips": "Every address of every machine on this day.",
    "database_instances": "Database instances, to be joined to the machines they run on.",
}
_TABLES = {
    "raw_inventory": "ledger.asset_observations",
    "normalized_assets": "ledger.normalized_assets",
    "ledger_assets": "ledger.assets",
    "daily_specs": "ledger.asset_daily_specs",
    "daily_ips": "ledger.asset_daily_ips",
    "database_instances": "ledger.database_instances",
}


def key(chain: Chain, role: str) -> dg.AssetKey:
    """Return the asset key of the node that has this role in a chain."""
    return dg.AssetKey([chain.source.name, chain.nodes[role]])


def keys(chain: Chain) -> list[dg.AssetKey]:
    """Return the asset keys of a chain, in lineage order."""
    return [key(chain, role) for role in chain.nodes]


def run_tags(source: SourceConfig, mode: str, scope: str = ALL) -> dict[str, str]:
    """Return the tags by which runs are found. The run is the sync session."""
    return {
        "source": source.name,
        "platform": source.platform,
        "scope": scope,
        "mode": mode,
        "sync_category": "asset_inventory",
    }


def shard_tags(shard: Shard) -> dict[str, str]:
    """Return the tags of a run that reads a shard. Done again, the whole of it is: it knows itself what it has."""
    return {"shard": str(shard), RETRY_STRATEGY_TAG: ReexecutionStrategy.ALL_STEPS.value}


def specs(chain: Chain) -> list[dg.AssetSpec]:
    """Return the chain's assets, in lineage order."""
    source, platform = chain.source, chain.platform
    made: list[dg.AssetSpec] = []
    for role in chain.nodes:
        upstream = {"raw_inventory": [], "normalized_assets": ["raw_inventory"]}.get(role, ["normalized_assets"])
        part = "" if chain.scope == ALL else f" Of scope {chain.scope}, which is read by itself."
        made.append(
            dg.AssetSpec(
                key(chain, role),
                deps=[key(chain, other) for other in upstream],
                description=f"{_DESCRIPTIONS[role]}{part}\n\n{platform.title}. {source.description}".strip(),
                group_name=source.name,
                owners=list(source.owners or DEFAULT_OWNERS),
                kinds={"postgres", platform.kind} if role == "raw_inventory" else {"postgres"},
                tags={"platform": source.platform, "layer": "raw" if role == "raw_inventory" else "ledger"},
                metadata={
                    "dagster/table_name": _TABLES[role],
                    "source": source.name,
                    "zone": source.zone,
                    **({} if chain.scope == ALL else {"scope": chain.scope}),
                },
                code_version=str(platform.parser_version),
                # what a run leaves out stays out; otherwise Dagster turns every day of the run green by itself
                skippable=True,
            )
        )
    return made
