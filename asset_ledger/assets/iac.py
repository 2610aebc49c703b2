"""What the states of infrastructure as code become, in the group `iac`: one step over all versions and plans that wait.

Both are written by the HTTP service, not by Dagster: `iac/state_versions` and `iac/plans` stand in the lineage for what
comes in.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from asset_ledger.assets.policies import DEFAULT_OWNERS, RETRIES, failure
from asset_ledger.credentials import key_ring
from asset_ledger.domain.errors import STATE_KEY_UNREADABLE, LedgerError, PermanentError
from asset_ledger.pipeline.plans import CaughtUp, catch_up
from asset_ledger.pipeline.states import Parsed, parse_waiting
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.store.iac.queue import backlog

STATE_VERSIONS = dg.AssetKey(["iac", "state_versions"])
RESOURCE_EVENTS = dg.AssetKey(["iac", "resource_events"])
RESOURCES_CURRENT = dg.AssetKey(["iac", "resources_current"])
DEPENDENCY_EDGES = dg.AssetKey(["iac", "dependency_edges"])
PLANS = dg.AssetKey(["iac", "plans"])
PLAN_EVENTS = dg.AssetKey(["iac", "plan_events"])
PARSE_JOB = "iac_parse"
_SHOWN = 20
_OUTCOMES = ("as_predicted", "otherwise", "not_done")


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
        dg.AssetSpec(
            PLANS,
            description="Plans of Terraform that were sent to be kept, as `terraform show -json` prints them: sealed.",
            group_name="iac",
            owners=list(DEFAULT_OWNERS),
            kinds={"terraform"},
            metadata={"dagster/table_name": "iac.plans"},
            tags={"layer": "raw"},
        ),
        _parse_states,
    ]


def build_parse_job() -> Any:
    """Return the job that reads what waits; the sensor of the queue starts it, and a person may."""
    return dg.define_asset_job(
        PARSE_JOB,
        selection=[RESOURCE_EVENTS, RESOURCES_CURRENT, DEPENDENCY_EDGES, PLAN_EVENTS],
        description="Reads every version of a state that was not read yet, tenant by tenant, in the versions' order, "
        "and every plan.",
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
        dg.AssetSpec(
            PLAN_EVENTS,
            deps=[PLANS, RESOURCE_EVENTS],
            description="What each plan predicts, secrets redacted, and what came of it in the run that followed.",
            metadata={"dagster/table_name": "iac.plan_events"},
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
            plans = catch_up(connection, ring)
            left = backlog(connection, ring.keys)
    except LedgerError as error:
        raise failure(error) from error
    read = [one for one in found if not one.waits and not one.unread]
    shared: dict[str, Any] = {
        "versions": len(read),
        "left": left.versions + left.plans + left.held,
        "table": dg.MetadataValue.md(_table(found)),
    }
    yield dg.MaterializeResult(RESOURCE_EVENTS, metadata={**shared, "events": sum(one.events for one in read)})
    yield dg.MaterializeResult(RESOURCES_CURRENT, metadata={**shared, "resources": _last(read, "resources")})
    yield dg.MaterializeResult(DEPENDENCY_EDGES, metadata={**shared, "edges": sum(one.edges for one in read)})
    yield dg.MaterializeResult(PLAN_EVENTS, metadata=_of_plans(plans, shared["left"]))
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
    sealed = [one for one in plans.read if one.waits]
    if sealed:
        raise failure(
            PermanentError(
                STATE_KEY_UNREADABLE,
                f"{len(sealed)} plans wait, for they cannot be opened: {sealed[0].said}",
                target=f"plan {sealed[0].plan.plan_id}",
            )
        )


def _of_plans(found: CaughtUp, left: int) -> dict[str, Any]:
    """Return counts under the same names every time, and what was said of the first plans."""
    read = [one for one in found.read if not one.waits and not one.unread]
    lines = ["| plan | state | predicted | said |", "|---|---|---:|---|"]
    for one in found.read[:_SHOWN]:
        lines.append(f"| {one.plan.plan_id} | {one.plan.state_id} | {one.events} | {_cell(one.said)} |")
    for each in found.followed[:_SHOWN]:
        if each.said is not None:
            lines.append(f"| {each.following.plan_id} | {each.following.state_id} | | {_cell(each.said)} |")
    return {
        "plans": len(read),
        "unread": sum(one.unread for one in found.read),
        "events": sum(one.events for one in read),
        "followed": sum(one.following.followed_by is not None for one in found.followed),
        **{name: sum(one.outcomes.get(name, 0) for one in found.followed) for name in _OUTCOMES},
        "left": left,
        "table": dg.MetadataValue.md("\n".join(lines)),
    }


def _last(found: Sequence[Parsed], what: str) -> int:
    """Return a count over the newest version of each state alone: an older one's stands no more."""
    newest = {one.version.state_id: getattr(one, what) for one in found}
    return sum(newest.values())


def _table(found: Sequence[Parsed]) -> str:
    lines = ["| state | version | events | resources | said |", "|---|---:|---:|---:|---|"]
    for one in found[:_SHOWN]:
        told = f"| {one.version.state_id} | {one.version.version} | {one.events} | {one.resources} |"
        lines.append(f"{told} {_cell(one.said)} |")
    if len(found) > _SHOWN:
        lines.append(f"| and {len(found) - _SHOWN} more | | | | |")
    return "\n".join(lines)


def _cell(said: str | None) -> str:
    return (said or "").replace("|", "\\|").replace("\n", " ")
