"""What is made across sources, in the group `ledger`."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from asset_ledger.assets.nodes import key
from asset_ledger.assets.policies import DEFAULT_OWNERS, FOLLOW, RETRIES, failure
from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.chains import chains
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.derive.duplicates import find_duplicates
from asset_ledger.store.derive.links import relink

INSTANCE_ASSET_LINKS = dg.AssetKey(["ledger", "instance_asset_links"])
DUPLICATE_CANDIDATES = dg.AssetKey(["ledger", "duplicate_candidates"])


def build_ledger_assets(sources: Sequence[SourceConfig]) -> list[dg.AssetsDefinition]:
    """Return the assets downstream of every source's chain."""
    every = [chain for source in sources for chain in chains(source)]
    upstream = [
        key(chain, role) for chain in every for role in ("ledger_assets", "database_instances") if role in chain.nodes
    ]

    @dg.asset(
        key=INSTANCE_ASSET_LINKS,
        deps=upstream,
        description="Database instances joined to the machines they run on, by address first and by name, "
        "with rule and confidence. One strong hit is confirmed, several wait for a person.",
        metadata={"dagster/table_name": "ledger.instance_asset_links"},
        check_specs=[_EVERY_INSTANCE],
        **_SHARED,
    )
    def instance_asset_links(ledger: LedgerResource) -> dg.MaterializeResult:
        try:
            with ledger.open().connect() as connection:
                counts = relink(connection)
        except LedgerError as error:
            raise failure(error) from error
        return dg.MaterializeResult(
            metadata={"dagster/row_count": counts["links_confirmed"] + counts["links_candidate"], **counts},
            check_results=[_every_instance_linked(counts)],
        )

    @dg.asset(
        key=DUPLICATE_CANDIDATES,
        deps=[key(chain, "ledger_assets") for chain in every if "ledger_assets" in chain.nodes],
        description="Pairs of ledger assets that may be one machine: the same UUID, address or serial, with a score "
        "made of named parts. Nobody but a person merges.",
        metadata={"dagster/table_name": "ledger.duplicate_candidates"},
        check_specs=[_NO_DUPLICATES],
        **_SHARED,
    )
    def duplicate_candidates(ledger: LedgerResource) -> dg.MaterializeResult:
        try:
            with ledger.open().connect() as connection:
                counts = find_duplicates(connection)
        except LedgerError as error:
            raise failure(error) from error
        return dg.MaterializeResult(
            metadata={"dagster/row_count": counts["candidates"], **counts},
            check_results=[_no_new_duplicates(counts)],
        )

    return [instance_asset_links, duplicate_candidates]


_SHARED: dict[str, Any] = {
    "group_name": "ledger",
    "owners": list(DEFAULT_OWNERS),
    "kinds": {"postgres"},
    "tags": {"layer": "ledger"},
    "retry_policy": RETRIES,
    "automation_condition": FOLLOW,
}
_EVERY_INSTANCE = dg.AssetCheckSpec(
    "every_instance_linked",
    asset=INSTANCE_ASSET_LINKS,
    description="Every database instance is confirmed to run on a machine of the ledger.",
)
_NO_DUPLICATES = dg.AssetCheckSpec(
    "no_new_duplicates",
    asset=DUPLICATE_CANDIDATES,
    description="No two ledger assets look like one machine, but for those that a person dismissed.",
)


def _every_instance_linked(counts: Mapping[str, int]) -> dg.AssetCheckResult:
    alone, waiting = counts["instances_unlinked"], counts["instances_waiting"]
    told = (
        f"{alone} of {counts['instances']} database instances are on no confirmed machine; {waiting} of them have "
        "candidates. See them: `asset-ledger instances list --unlinked`. Decide: `asset-ledger links confirm`, or the "
        "job `ledger_link`."
    )
    return _result(_EVERY_INSTANCE, alone, told, {"instances_unlinked": alone, "instances_waiting": waiting})


def _no_new_duplicates(counts: Mapping[str, int]) -> dg.AssetCheckResult:
    open_ = counts["candidates"]
    told = (
        f"{open_} pairs of ledger assets may be one machine and wait for a person, {counts['new'] or 'none'} of them "
        "found by this run. See them: `asset-ledger duplicates list`. Decide: `asset-ledger duplicates merge` or "
        "`dismiss`, or the jobs `ledger_merge` and `ledger_dismiss_duplicate`."
    )
    return _result(_NO_DUPLICATES, open_, told, {"candidates": open_, "new": counts["new"]})


def _result(check: dg.AssetCheckSpec, bad: int, told: str, metadata: Mapping[str, int]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=bad == 0,
        severity=dg.AssetCheckSeverity.WARN,
        description=told if bad else check.description,
        metadata=dict(metadata),
    )
