"""The marts in Dagster without making any: lineage from every raw asset to every mart, texts, and what follows what."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from asset_ledger.assets.mart_nodes import OF_CHAINS, OF_OTHERS, Nodes, node_key
from asset_ledger.definitions import build_definitions
from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.exports import DAY_MARTS
from asset_ledger.pipeline.chains import chains
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.pipeline.marts import PROJECT, Models, digest, models
from asset_ledger.settings import Settings
from asset_ledger.sources.config import load_sources
from asset_ledger.sources.registry import PLATFORMS
from tests.dagster.installation import Installation
from tests.postgres import shared_server

EXAMPLE = Path(__file__).parents[2] / "sources.example.yaml"
CHAINS = [chain for source in load_sources(EXAMPLE) for chain in chains(source)]
GOLDEN = Path(__file__).with_name("golden") / "marts.json"
MARTS = {
    "current_assets",
    "daily_specs",
    "daily_capacity",
    "asset_changes",
    "asset_coverage",
    "link_review",
    "duplicate_review",
    "iac_findings",
    "source_reliability",
    "instance_placement",
}


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The models as they are delivered, parsed once."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(
        home=home,
        sources_file=EXAMPLE,
        database_url=shared_server().url("postgres"),
        dagster_database_url=None,
        examples=home,
    )
    return models(Ledger(settings))


@pytest.fixture(scope="module")
def specs(parsed: Models) -> dict[dg.AssetKey, dg.AssetSpec]:
    """Every asset of a ledger with a source of every platform."""
    found = build_definitions(load_sources(EXAMPLE), None, parsed).resolve_all_asset_specs()
    return {spec.key: spec for spec in found}


Edges = dict[dg.AssetKey, set[dg.AssetKey]]


@pytest.fixture(scope="module")
def edges(specs: dict[dg.AssetKey, dg.AssetSpec]) -> Edges:
    """What each asset is made of."""
    return {key: {dep.asset_key for dep in spec.deps} for key, spec in specs.items()}


@pytest.fixture(scope="module")
def read(parsed: Models) -> dict[str, set[str]]:
    """What the SQL of each mart reads, itself and the macros it calls: models by name, as the text says and not dbt."""
    texts = {path.stem: path.read_text() for path in (PROJECT / "models" / "marts").glob("*.sql")}
    macros = {
        name: text
        for path in (PROJECT / "macros").glob("*.sql")
        for name, text in re.findall(r"{% macro (\w+)\(.*?-?%}(.*?){%-? endmacro", path.read_text(), re.DOTALL)
    }
    found = {}
    for mart, text in texts.items():
        called = [macros[name] for name in macros if re.search(rf"\b{name}\(", text)]
        found[mart] = {name for one in (text, *called) for name in re.findall(r"ref\('(\w+)'\)", one)}
    return found


def reached(edges: Edges, start: dg.AssetKey, through: Callable[[dg.AssetKey], bool]) -> set[dg.AssetKey]:
    """Return an asset and everything that it is made of by way of assets that one may go through."""
    seen = {start}
    waiting = [start]
    while waiting:
        for each in edges[waiting.pop()] - seen:
            if through(each):
                seen.add(each)
                waiting.append(each)
    return seen


def torn(edges: Edges, read: Mapping[str, set[str]], tables: Mapping[str, str]) -> list[str]:
    """Return what is torn between marts and raw assets: what a mart reads and does not hang on, and what a view shows
    of a source and has no way to what was read of it.

    Each view is looked at by itself, and the way from it goes through the source's own assets alone: all marts hang on
    `staging/ledger/sources`, and that hangs on everything.
    """
    found = []
    for mart, names in read.items():
        for name in names:
            view = dg.AssetKey(["staging", *name.removeprefix("stg_").split("__", 1)])
            one = dg.AssetKey(["marts", name]) if name in MARTS else view
            if one not in edges[dg.AssetKey(["marts", mart])]:
                found.append(f"marts/{mart} does not hang on {one.to_user_string()}")
    for chain in CHAINS:
        nodes = {role: dg.AssetKey([chain.source.name, name]) for role, name in chain.nodes.items()}
        for table, role in tables.items():
            view = dg.AssetKey(["staging", "ledger", table])
            if role in nodes and nodes[role] not in edges[view]:
                found.append(f"{view.to_user_string()} does not hang on {nodes[role].to_user_string()}")
        for node in nodes.values():
            if nodes["raw_inventory"] not in reached(edges, node, frozenset(nodes.values()).__contains__):
                found.append(f"{node.to_user_string()} has no way to what was read")
    return found


def test_lineage_is_unbroken_from_every_raw_asset_to_every_mart(
    specs: dict[dg.AssetKey, dg.AssetSpec], edges: Edges, read: dict[str, set[str]]
) -> None:
    assert {chain.source.platform for chain in CHAINS} == set(PLATFORMS)
    assert set(read) == MARTS
    assert torn(edges, read, OF_CHAINS) == []
    # what every mart hangs on counts for none: machines come by the assets of their source
    shared = {dg.AssetKey(["staging", "ledger", name]) for name, role in OF_CHAINS.items() if role == "raw_inventory"}
    raw = {dg.AssetKey([chain.source.name, chain.nodes["raw_inventory"]]): chain for chain in CHAINS}
    for mart in MARTS - {"source_reliability"}:
        upstream = reached(edges, dg.AssetKey(["marts", mart]), lambda key: key not in shared)
        lacking = {key for key, chain in raw.items() if "ledger_assets" in chain.nodes} - upstream
        assert lacking == set(), mart
    every = {mart: reached(edges, dg.AssetKey(["marts", mart]), lambda _: True) for mart in MARTS}
    for key in (*raw, *(dg.AssetKey(path) for path in (["iac", "state_versions"], ["agent", "clients"], ["ledger", "decisions"]))):  # fmt: skip
        assert any(key in upstream for upstream in every.values()), key
    # nothing begins in the middle: what has no upstream is raw
    for upstream in every.values():
        ends = [key for key in upstream if not edges[key]]
        assert [key.to_user_string() for key in ends if specs[key].tags.get("layer") != "raw"] == []


def test_an_edge_that_is_cut_anywhere_between_raw_and_mart_is_missed(edges: Edges, read: dict[str, set[str]]) -> None:
    """Each by itself: from a mart to what its SQL reads, from a view to an asset that writes its table, within a source."""
    cut = 0
    of_sources = {chain.source.name for chain in CHAINS}
    for below, several in edges.items():
        for above in several:
            from_view = list(below.path[:2]) == ["staging", "ledger"] and below.path[-1] in OF_CHAINS
            within_source = below.path[0] in of_sources and above.path[0] == below.path[0]
            if below.path[0] == "marts" or from_view or within_source:
                cut += 1
                assert torn({**edges, below: several - {above}}, read, OF_CHAINS), f"{below} without {above}"
    assert cut > 200


def test_every_table_has_a_staging_view_and_every_view_hangs_on_who_writes_its_table(
    specs: dict[dg.AssetKey, dg.AssetSpec], parsed: Models
) -> None:
    staged = {key for key in specs if key.path[0] == "staging"}
    for source in parsed.manifest["sources"].values():
        assert dg.AssetKey(["staging", source["schema"], source["name"]]) in staged
        written = (source["schema"] == "ledger" and source["name"] in OF_CHAINS) or (
            f"{source['schema']}.{source['name']}" in OF_OTHERS
        )
        assert written or node_key(source) in specs
    tables = {f"{source['schema']}.{source['name']}" for source in parsed.manifest["sources"].values()}
    assert {f"ledger.{name}" for name in OF_CHAINS} | set(OF_OTHERS) <= tables, "of a table that is read by nobody"


def test_every_mart_says_what_it_is_whose_it_is_and_what_its_columns_mean(
    specs: dict[dg.AssetKey, dg.AssetSpec],
) -> None:
    for key, spec in specs.items():
        if key.path[0] not in ("marts", "staging"):
            continue
        assert spec.group_name == key.path[0]
        assert spec.owners == ["team:infrastructure"]
        assert {"dbt", "postgres"} <= set(spec.kinds)
        assert spec.description, key
        assert "select" not in spec.description.lower().split(), f"{key} shows its SQL as its description"
        table = f"marts.{key.path[1]}" if key.path[0] == "marts" else f"marts_staging.stg_{'__'.join(key.path[1:])}"
        assert spec.metadata["dagster/table_name"] == table
        columns = spec.metadata["dagster/column_schema"].columns
        assert columns, key
        assert [column.name for column in columns if not column.description] == [], key
        by_days = spec.partitions_def is not None
        assert key.path[0] == "staging" or by_days == (key.path[-1] in DAY_MARTS), key


def shown(parsed: Models) -> dict[str, Any]:
    """Return what Dagster shows of marts and views; what a view hangs on of every source is said once."""
    repository = build_definitions(load_sources(EXAMPLE), None, parsed).get_repository_def()
    specs = {key: repository.assets_defs_by_key[key].specs_by_key[key] for key in repository.assets_defs_by_key}
    names = {chain.source.name for chain in CHAINS}
    graph = repository.asset_graph
    found: dict[str, Any] = {}
    for key, spec in sorted(specs.items()):
        if key.path[0] not in ("marts", "staging"):
            continue
        deps_shown = {
            f"<source>/{dep.asset_key.path[1]}" if dep.asset_key.path[0] in names else dep.asset_key.to_user_string()
            for dep in spec.deps
        }
        found[key.to_user_string()] = {
            "group": spec.group_name,
            "kinds": sorted(spec.kinds),
            "table": spec.metadata["dagster/table_name"],
            "partitions": str(spec.partitions_def) if spec.partitions_def else None,
            "automated": spec.automation_condition.get_label() if spec.automation_condition else None,
            "deps": sorted(deps_shown),
            "checks": {
                check.name: f"{'blocks: ' if graph.get_check_spec(check).blocking else ''}{graph.get_check_spec(check).description}"
                for check in sorted(graph.asset_check_keys)
                if check.asset_key == key
            },
        }
    return found


def test_the_marts_are_as_the_golden_says(parsed: Models, update_golden: bool) -> None:
    text = json.dumps(shown(parsed), indent=2, ensure_ascii=False) + "\n"
    if update_golden:
        GOLDEN.write_text(text, encoding="utf-8")
    assert json.loads(text) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_what_is_made_of_now_is_tested_whatever_the_day_and_what_is_made_by_days_of_its_days(parsed: Models) -> None:
    """What is of now is made with no day but today's: a test there that looks at the run's days alone looks at one."""
    nodes = Nodes(parsed, load_sources(EXAMPLE))
    by_days = {node_key(parsed.manifest["nodes"][unique_id]) for unique_id in nodes.by_days}
    of_days = 0
    for unique_id, node in parsed.manifest["nodes"].items():
        if node["resource_type"] == "test" and re.search(
            "days_asked_for|days_between", f"{node['raw_code']} {node['config']}"
        ):
            of_days += 1
            check = nodes.check_key(unique_id)
            assert check is not None
            assert check.asset_key in by_days, check
    assert of_days > 7


def test_the_marts_that_are_made_by_days_are_known_to_who_looks_what_lacks(parsed: Models) -> None:
    nodes = Nodes(parsed, load_sources(EXAMPLE))
    assert sorted(nodes.models.names(sorted(nodes.by_days - nodes.views))) == sorted(DAY_MARTS)


def test_every_test_of_dbt_is_a_check_that_says_what_it_demands(parsed: Models) -> None:
    graph = build_definitions(load_sources(EXAMPLE), None, parsed).get_repository_def().asset_graph
    tests = {node["name"] for node in parsed.manifest["nodes"].values() if node["resource_type"] == "test"}
    checks = {key.name: graph.get_check_spec(key) for key in graph.asset_check_keys if key.name in tests}
    assert len(tests) > 15
    assert set(checks) == tests
    assert [name for name, spec in checks.items() if not spec.description] == []


def test_the_marts_of_a_day_follow_that_day_and_no_other(installation: Installation, parsed: Models) -> None:
    definitions = build_definitions(installation.ledger.sources, None, parsed)
    mart = dg.AssetKey(["marts", "daily_specs"])
    view = dg.AssetKey(["staging", "ledger", "asset_daily_specs"])

    def evaluate(cursor: object) -> tuple[set[str], set[str], int, object]:
        result = dg.evaluate_automation_conditions(defs=definitions, instance=installation.instance, cursor=cursor)
        return (
            set(result.get_requested_partitions(mart)),
            set(result.get_requested_partitions(view)),
            result.get_num_requested(dg.AssetKey(["marts", "current_assets"])),
            result.cursor,
        )

    asked, _, now, cursor = evaluate(None)
    assert (asked, now) == (set(), 0), "nothing has been read yet"
    for day in ("2026-11-02", "2026-11-03", "2026-11-04"):
        installation.drop(f"hosts_{day}.csv", f"192.0.2.10,db-01,vm,{day},4,16")
    assert installation.collect("office", span=("2026-11-02", "2026-11-04")).success
    asked, viewed, now, cursor = evaluate(cursor)
    assert asked == viewed == {"2026-11-02", "2026-11-03", "2026-11-04"}
    asked, _, _, cursor = evaluate(cursor)
    assert asked == set(), "they were asked for already"
    # what is not made by days asks for no day
    installation.instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(["ledger", "decisions"])))
    asked, _, _, cursor = evaluate(cursor)
    assert asked == set()
    assert installation.collect("office", "2026-11-03", replay=True).success
    asked, viewed, _, cursor = evaluate(cursor)
    assert asked == viewed == {"2026-11-03"}, "a replayed day is made again"
    sensor = definitions.resolve_sensor_def("follow_upstream")
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert sensor.emit_backfills, "many days of one tick are one backfill, and that is one run"


def test_models_that_changed_have_another_digest_and_others_the_same(tmp_path: Path) -> None:
    assert digest() == digest(PROJECT)
    for name in ("one", "two"):
        (tmp_path / name / "models").mkdir(parents=True)
        (tmp_path / name / "models" / "a.sql").write_text("select 1 as one")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    (tmp_path / "two" / "models" / "a.sql").write_text("select 2 as one")
    assert digest(tmp_path / "one") != digest(tmp_path / "two")


def test_models_that_dbt_does_not_take_are_named_with_their_file(installation: Installation, tmp_path: Path) -> None:
    project = tmp_path / "broken"
    (project / "models").mkdir(parents=True)
    for name in ("dbt_project.yml", "profiles.yml"):
        (project / name).write_text((PROJECT / name).read_text())
    (project / "models" / "wrong.sql").write_text("select * from {{ ref('not_there') }}")
    with pytest.raises(LedgerError) as told:
        models(installation.ledger, project)
    assert told.value.code.code == "MARTS_PROJECT_INVALID"
    assert "not_there" in str(told.value)
    assert "wrong.sql" in str(told.value)
