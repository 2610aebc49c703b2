"""The nodes of a source's chain as Dagster shows them: keys, texts, tables, owners. No node does anything here.

<source>/raw_inventory → <source>/normalized_assets → <source>/ledger_assets, daily_specs, daily_ips
"""

from __future__ import annotations

import dagster as dg

from asset_ledger.assets.policies import DEFAULT_OWNERS
from asset_ledger.pipeline.ledger import platform_of
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


def key(source: SourceConfig, node: str) -> dg.AssetKey:
    """Return the asset key of a node of a source's chain."""
    return dg.AssetKey([source.name, node])


def nodes(source: SourceConfig) -> tuple[str, ...]:
    """Return the nodes of a source's chain in lineage order."""
    return ("raw_inventory", "normalized_assets", *platform_of(source).tables)


def run_tags(source: SourceConfig, mode: str) -> dict[str, str]:
    """Return the tags by which runs are found. The run is the sync session."""
    return {
        "source": source.name,
        "platform": source.platform,
        "scope": "all",
        "mode": mode,
        "sync_category": "asset_inventory",
    }


def specs(source: SourceConfig) -> list[dg.AssetSpec]:
    """Return the chain's assets, in lineage order."""
    platform = platform_of(source)
    made: list[dg.AssetSpec] = []
    for node in nodes(source):
        upstream = {"raw_inventory": [], "normalized_assets": ["raw_inventory"]}.get(node, ["normalized_assets"])
        made.append(
            dg.AssetSpec(
                key(source, node),
                deps=[key(source, name) for name in upstream],
                description=f"{_DESCRIPTIONS[node]}\n\n{platform.title}. {source.description}".strip(),
                group_name=source.name,
                owners=list(source.owners or DEFAULT_OWNERS),
                kinds={"postgres", platform.kind} if node == "raw_inventory" else {"postgres"},
                tags={"platform": source.platform, "layer": "raw" if node == "raw_inventory" else "ledger"},
                metadata={
                    "dagster/table_name": _TABLES[node],
                    "source": source.name,
                    "zone": source.zone,
                },
                code_version=str(platform.parser_version),
                # what a run leaves out stays out; otherwise Dagster turns every day of the run green by itself
                skippable=True,
            )
        )
    return made
