"""What is made across sources, in the group `ledger`."""

from collections.abc import Sequence

import dagster as dg

from asset_ledger.assets.nodes import key, nodes
from asset_ledger.assets.policies import DEFAULT_OWNERS, FOLLOW, RETRIES, failure
from asset_ledger.domain.errors import LedgerError
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.links import relink

INSTANCE_ASSET_LINKS = dg.AssetKey(["ledger", "instance_asset_links"])


def build_ledger_assets(sources: Sequence[SourceConfig]) -> list[dg.AssetsDefinition]:
    """Return the assets downstream of every source's chain."""
    upstream = [
        key(source, node)
        for source in sources
        for node in ("ledger_assets", "database_instances")
        if node in nodes(source)
    ]

    @dg.asset(
        key=INSTANCE_ASSET_LINKS,
        deps=upstream,
        description="Database instances joined to the machines they run on, by address first and by name, "
        "with rule and confidence. One strong hit is confirmed, several wait for a person.",
        group_name="ledger",
        owners=list(DEFAULT_OWNERS),
        kinds={"postgres"},
        tags={"layer": "ledger"},
        metadata={"dagster/table_name": "ledger.instance_asset_links"},
        retry_policy=RETRIES,
        automation_condition=FOLLOW,
    )
    def instance_asset_links(ledger: LedgerResource) -> dg.MaterializeResult:
        try:
            with ledger.open().connect() as connection:
                counts = relink(connection)
        except LedgerError as error:
            raise failure(error) from error
        return dg.MaterializeResult(
            metadata={"dagster/row_count": counts["links_confirmed"] + counts["links_candidate"], **counts}
        )

    return [instance_asset_links]
