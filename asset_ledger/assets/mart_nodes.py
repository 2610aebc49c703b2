"""What of `dbt_models/` becomes a Dagster asset, and how it shows: keys, texts, columns, and what it is made of.

    <source>/ledger_assets → staging/ledger/assets → marts/current_assets

A table of the ledger has no node of its own: a staging view hangs on the assets that write its table, of every source.
What the HTTP service or a person writes is a node without an upstream. dagster_dbt is imported where it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from asset_ledger.assets.agents import FINDINGS
from asset_ledger.assets.findings import CLOUD_ORPHANS, DRIFT_FINDINGS
from asset_ledger.assets.iac import (
    DEPENDENCY_EDGES,
    PLAN_EVENTS,
    PLANS,
    RESOURCE_EVENTS,
    RESOURCES_CURRENT,
    STATE_VERSIONS,
)
from asset_ledger.assets.ledger import DUPLICATE_CANDIDATES, INSTANCE_ASSET_LINKS
from asset_ledger.assets.nodes import key
from asset_ledger.assets.policies import DEFAULT_OWNERS
from asset_ledger.pipeline.chains import chains
from asset_ledger.pipeline.marts import Models
from asset_ledger.sources.platform import SourceConfig

if TYPE_CHECKING:
    from dagster_dbt import DagsterDbtTranslator

# which node of every source's chain writes a table of the ledger; a source without that node does not write it
OF_CHAINS = {
    "sources": "raw_inventory",
    "inventories": "raw_inventory",
    "asset_observations": "raw_inventory",
    "sync_target_records": "raw_inventory",
    "normalized_assets": "normalized_assets",
    "assets": "ledger_assets",
    "asset_aliases": "ledger_assets",
    "asset_identifiers": "ledger_assets",
    "asset_relations": "ledger_assets",
    "asset_source_links": "ledger_assets",
    "asset_tags": "ledger_assets",
    "asset_words": "ledger_assets",
    "identity_attributions": "ledger_assets",
    "identity_resolutions": "ledger_assets",
    "topology": "ledger_assets",
    "asset_daily_specs": "daily_specs",
    "asset_daily_corrections": "daily_specs",
    "asset_past_words": "daily_specs",
    "asset_daily_ips": "daily_ips",
    "database_instances": "database_instances",
    "instance_daily_specs": "database_instances",
}
DECISIONS = dg.AssetKey(["ledger", "decisions"])
# tables that other assets write. Of any other table it is said that the service writes it
OF_OTHERS: dict[str, tuple[dg.AssetKey, ...]] = {
    "ledger.instance_asset_links": (INSTANCE_ASSET_LINKS,),
    "ledger.duplicate_candidates": (DUPLICATE_CANDIDATES,),
    "ledger.asset_merge_events": (DECISIONS,),
    "ledger.decisions_in_force": (DECISIONS,),
    "iac.states": (STATE_VERSIONS,),
    "iac.state_heads": (STATE_VERSIONS,),
    "iac.resource_events": (RESOURCE_EVENTS,),
    "iac.resources_current": (RESOURCES_CURRENT,),
    "iac.dependency_edges": (DEPENDENCY_EDGES,),
    "iac.plans": (PLANS,),
    "iac.plan_events": (PLAN_EVENTS,),
    "iac.drift_findings": (DRIFT_FINDINGS,),
    "iac.cloud_orphans": (CLOUD_ORPHANS,),
    "iac.coverage": (DRIFT_FINDINGS,),
    "iac.declared_machines": (DRIFT_FINDINGS,),
    "iac.resource_joins": (DRIFT_FINDINGS,),
    "iac.tenant_sources": (DRIFT_FINDINGS,),
    "iac.findings": (DRIFT_FINDINGS, CLOUD_ORPHANS, FINDINGS),
    "agent.findings": (FINDINGS,),
}


@dataclass(frozen=True)
class Nodes:
    """The nodes of the parsed models over these sources."""

    models: Models
    sources: Sequence[SourceConfig]

    @cached_property
    def by_key(self) -> dict[dg.AssetKey, str]:
        """The models' unique ids, by asset key."""
        return {node_key(node): unique_id for unique_id, node in self._nodes("model").items()}

    @cached_property
    def by_days(self) -> frozenset[str]:
        """The unique ids of what is made by days, and of the views of what the sources' chains write by days."""
        found: set[str] = set()
        for unique_id in self._downwards():
            node = self.models.manifest["nodes"][unique_id]
            if is_view(node):
                above = node["depends_on"]["nodes"]
                if any(each in found or self._is_of_chains(each) for each in above):
                    found.add(unique_id)
            elif node["config"]["materialized"] == "incremental":
                found.add(unique_id)
        return frozenset(found)

    @cached_property
    def views(self) -> frozenset[str]:
        """The unique ids of the staging views."""
        return frozenset(unique_id for unique_id, node in self._nodes("model").items() if is_view(node))

    @cached_property
    def now(self) -> frozenset[str]:
        """The unique ids of every other model."""
        return frozenset(self._nodes("model")) - self.by_days

    def check_ids(self, keys: Sequence[dg.AssetCheckKey]) -> list[str]:
        """Return the unique ids of the tests that these checks stand for."""
        return [self._test_ids[each] for each in keys]

    def check_key(self, test_id: str) -> dg.AssetCheckKey | None:
        """Return the check of a test; it is the check of that model of it which is made last."""
        test = self.models.manifest["nodes"][test_id]
        above = [each for each in test["depends_on"]["nodes"] if each in self.models.manifest["nodes"]]
        if not above:
            return None  # of a source alone: Dagster's own checks look at those
        attached = test.get("attached_node") or above[0]
        last = max(above, key=lambda each: (self._order[each], each == attached))
        # another model is looked at as well, and may not be there yet when this one is made
        chosen = attached if self._order[attached] == self._order[last] else last
        return dg.AssetCheckKey(node_key(self.models.manifest["nodes"][chosen]), test["name"])

    def upstream(self, unique_id: str) -> list[dg.AssetKey]:
        """Return what a model is made of, as assets."""
        found: dict[dg.AssetKey, None] = {}
        for each in self.models.manifest["nodes"][unique_id]["depends_on"]["nodes"]:
            if each in self.models.manifest["sources"]:
                found |= dict.fromkeys(self._writers(self.models.manifest["sources"][each]))
            else:
                found[node_key(self.models.manifest["nodes"][each])] = None
        return sorted(found)

    def written_outside(self) -> list[dg.AssetSpec]:
        """Return a node for each table that a model reads and no asset writes."""
        made = []
        for source in self.models.manifest["sources"].values():
            if self._table(source) in OF_OTHERS or (source["schema"] == "ledger" and source["name"] in OF_CHAINS):
                continue
            by = "people" if node_key(source) == DECISIONS else "the HTTP service"
            made.append(
                dg.AssetSpec(
                    node_key(source),
                    description=f"{source['description'].strip()}\n\nWritten by {by}.".strip(),
                    group_name=source["schema"],
                    owners=list(DEFAULT_OWNERS),
                    kinds={"postgres"},
                    metadata={"dagster/table_name": self._table(source)},
                    tags={"layer": "raw"},
                )
            )
        return made

    def translator(self, automation: Mapping[str, dg.AutomationCondition]) -> DagsterDbtTranslator:
        """Return what tells dagster_dbt how a model shows. `automation` is the condition by the models' unique ids."""
        from dagster_dbt import DagsterDbtTranslator, DbtProject

        nodes = self

        class Translator(DagsterDbtTranslator):
            def get_asset_spec(
                self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
            ) -> dg.AssetSpec:
                spec = super().get_asset_spec(manifest, unique_id, project)
                node = self.get_resource_props(manifest, unique_id)
                if node["resource_type"] == "source":
                    return spec.replace_attributes(key=node_key(node))
                return spec.replace_attributes(
                    key=node_key(node),
                    deps=nodes.upstream(unique_id),
                    description=node["description"].strip() or None,
                    group_name=_GROUPS[is_view(node)],
                    owners=list(DEFAULT_OWNERS),
                    kinds={"dbt", "postgres"} | ({"view"} if is_view(node) else set()),
                    tags={"layer": _GROUPS[is_view(node)]},
                    automation_condition=automation[unique_id],
                ).merge_attributes(metadata={"dagster/table_name": f"{node['schema']}.{node['name']}"})

            def get_asset_check_spec(
                self,
                asset_spec: dg.AssetSpec,
                manifest: Mapping[str, Any],
                unique_id: str,
                project: DbtProject | None,  # noqa: ARG002
            ) -> dg.AssetCheckSpec | None:
                check = nodes.check_key(unique_id)
                if check is None or check.asset_key != asset_spec.key:
                    return None
                test = self.get_resource_props(manifest, unique_id)
                return dg.AssetCheckSpec(
                    check.name,
                    asset=check.asset_key,
                    description=test_in_words(test),
                    blocking=test["config"]["severity"].lower() == "error",
                )

        return Translator()

    @cached_property
    def _test_ids(self) -> dict[dg.AssetCheckKey, str]:
        keys = {self.check_key(unique_id): unique_id for unique_id in self._nodes("test")}
        return {check: unique_id for check, unique_id in keys.items() if check is not None}

    @cached_property
    def _order(self) -> dict[str, int]:
        """When a model is made: views, then what is made by days, then what is made of now."""
        return {
            unique_id: 0 if is_view(node) else 1 if unique_id in self.by_days else 2
            for unique_id, node in self._nodes("model").items()
        }

    def _nodes(self, kind: str) -> dict[str, Any]:
        nodes = self.models.manifest["nodes"].items()
        return {unique_id: node for unique_id, node in nodes if node["resource_type"] == kind}

    def _downwards(self) -> list[str]:
        """Return the models, each after those it is made of."""
        nodes = self._nodes("model")
        done: dict[str, None] = {}

        def add(unique_id: str) -> None:
            if unique_id not in done and unique_id in nodes:
                for each in nodes[unique_id]["depends_on"]["nodes"]:
                    add(each)
                done[unique_id] = None

        for unique_id in sorted(nodes):
            add(unique_id)
        return list(done)

    def _is_of_chains(self, unique_id: str) -> bool:
        source = self.models.manifest["sources"].get(unique_id)
        return source is not None and source["schema"] == "ledger" and source["name"] in OF_CHAINS

    def _writers(self, source: Mapping[str, Any]) -> Sequence[dg.AssetKey]:
        if source["schema"] == "ledger" and source["name"] in OF_CHAINS:
            role = OF_CHAINS[source["name"]]
            every = [chain for each in self.sources for chain in chains(each)]
            return [key(chain, role) for chain in every if role in chain.nodes]
        return OF_OTHERS.get(self._table(source), (node_key(source),))

    def _table(self, source: Mapping[str, Any]) -> str:
        return f"{source['schema']}.{source['name']}"


_GROUPS = {True: "staging", False: "marts"}


def is_view(node: Mapping[str, Any]) -> bool:
    """Say whether a model is a view: it is in place once made, and shows each day as that comes."""
    return bool(node["config"]["materialized"] == "view")


def node_key(node: Mapping[str, Any]) -> dg.AssetKey:
    """Return the asset key of a model, or of a dbt source's table."""
    if node["resource_type"] == "source":
        return dg.AssetKey([node["schema"], node["name"]])
    if is_view(node):
        # the lineage shows a key's last part, and little of it: not all of them are to begin with stg_ledger__
        return dg.AssetKey([_GROUPS[True], *node["name"].removeprefix("stg_").split("__", 1)])
    return dg.AssetKey([_GROUPS[False], node["name"]])


def test_in_words(test: Mapping[str, Any]) -> str:
    """Return what a dbt test demands: its own description, or sentences of what makes a model well formed."""
    said = (test.get("description") or "").strip()
    kind = test.get("test_metadata") or {}
    if said or kind.get("name") != "well_formed":
        return said or str(test["name"]).replace("_", " ")
    of = kind["kwargs"]
    values, others = of.get("accepted_values", {}), of.get("relationships", {})
    named = {column: ref.removeprefix("ref('").removesuffix("')") for column, ref in others.items()}
    return " ".join(
        [
            f"No two rows have the same {', '.join(of['grain'])}.",
            f"Every row says its {', '.join(of['never_null'])}.",
            *(f"{column} is one of {', '.join(accepted)}." for column, accepted in values.items()),
            *(f"Every {column} is one of {other}." for column, other in named.items()),
        ]
    )
