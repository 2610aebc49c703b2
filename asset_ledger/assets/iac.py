"""What the states of infrastructure as code become, in the group `iac`: one step over every version that waits.

A version is written by the HTTP service, not by Dagster: `iac/state_versions` stands in the lineage for what comes in.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from asset_ledger.assets.policies import DEFAULT_OWNERS, RETRIES, failure
from asset_ledger.credentials import key_ring
from asset_ledger.domain.errors import STATE_KEY_UNREADABLE, LedgerError, PermanentError
from asset_ledger.pipeline.states import Parsed, parse_waiting
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.store.iac.queue import backlog

STATE_VERSIONS = dg.AssetKey(["iac", "state_versions"])
RESOURCE_EVENTS = dg.AssetKey(["iac", "resource_events"])
RESOURCES_CURRENT = dg.AssetKey(["iac", "resources_current"])
DEPENDENCY_EDGES = dg.AssetKey(["iac", "dependency_edges"])
PARSE_JOB = "iac_parse"
_SHOWN = 20


def build_iac_assets() -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Return the assets that states are read into."""
    return [
        dg.AssetSpec(
            STATE_VERSIONS,
            description="Every version of every Terraform and Pulumi state as it was written: sealed, kept for ever.",
            group_name="iac",
            owners=list(DEFAULT_OWNERS),
            kinds={"terraform", "pulumi"},
            metadata={"dagster/table_name": "iac.states"},
            tags={"layer": "raw"},
        ),
        _parse_states,
    ]


def build_parse_job() -> Any:
    """Return the job that reads what waits; the sensor of the queue starts it, and a person may."""
    return dg.define_asset_job(
        PARSE_JOB,
        selection=[RESOURCE_EVENTS, RESOURCES_CURRENT, DEPENDENCY_EDGES],
        description="Reads every version of a state that was not read yet, tenant by tenant, in the versions' order.",
        tags={"mode": "parse"},
    )


@dg.multi_asset(
    name="iac_parse_states",
    specs=[
        dg.AssetSpec(
            RESOURCE_EVENTS,
            deps=[STATE_VERSIONS],
            description="What happened to each resource from one version to the next, as JSON patches over redacted "
            "attributes.",
            metadata={"dagster/table_name": "iac.resource_events"},
            kinds={"postgres"},
            owners=list(DEFAULT_OWNERS),
            tags={"layer": "iac"},
        ),
        dg.AssetSpec(
            RESOURCES_CURRENT,
            deps=[RESOURCE_EVENTS],
            description="Every resource that stands in the newest version of a state, secrets redacted.",
            metadata={"dagster/table_name": "iac.resources_current"},
            kinds={"postgres"},
            owners=list(DEFAULT_OWNERS),
            tags={"layer": "iac"},
        ),
        dg.AssetSpec(
            DEPENDENCY_EDGES,
            deps=[RESOURCES_CURRENT],
            description="What depends on what, instance by instance and direct alone.",
            metadata={"dagster/table_name": "iac.dependency_edges"},
            kinds={"postgres"},
            owners=list(DEFAULT_OWNERS),
            tags={"layer": "iac"},
        ),
    ],
    group_name="iac",
    retry_policy=RETRIES,
)
def _parse_states(ledger: LedgerResource) -> Iterator[dg.MaterializeResult]:
    opened = ledger.open()
    try:
        with opened.connect() as connection:
            ring = key_ring.load(opened.settings.home, os.environ)
            found = parse_waiting(connection, ring)
            left = backlog(connection, ring.keys)
    except LedgerError as error:
        raise failure(error) from error
    read = [one for one in found if not one.waits and not one.unread]
    shared: dict[str, Any] = {
        "versions": len(read),
        "left": left.versions + left.held,
        "table": dg.MetadataValue.md(_table(found)),
    }
    yield dg.MaterializeResult(RESOURCE_EVENTS, metadata={**shared, "events": sum(one.events for one in read)})
    yield dg.MaterializeResult(RESOURCES_CURRENT, metadata={**shared, "resources": _last(read, "resources")})
    yield dg.MaterializeResult(DEPENDENCY_EDGES, metadata={**shared, "edges": sum(one.edges for one in read)})
    waits = [one for one in found if one.waits]
    if waits:  # what could be read is written; the red run is for whoever keeps the keys
        first = waits[0]
        raise failure(
            PermanentError(
                STATE_KEY_UNREADABLE,
                f"{len(waits)} states wait, for their newest versions cannot be opened: {first.said}",
                target=f"state {first.version.state_id}",
            )
        )


def _last(found: Sequence[Parsed], what: str) -> int:
    """Return a count over the newest version of each state alone: an older one's stands no more."""
    newest = {one.version.state_id: getattr(one, what) for one in found}
    return sum(newest.values())


def _table(found: Sequence[Parsed]) -> str:
    lines = ["| state | version | events | resources | said |", "|---|---:|---:|---:|---|"]
    for one in found[:_SHOWN]:
        said = (one.said or "").replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {one.version.state_id} | {one.version.version} | {one.events} | {one.resources} | {said} |")
    if len(found) > _SHOWN:
        lines.append(f"| and {len(found) - _SHOWN} more | | | | |")
    return "\n".join(lines)
