"""The marts in Dagster without making any: lineage from every raw asset to every mart, texts, and what follows what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from asset_ledger.assets.mart_nodes import OF_CHAINS, OF_OTHERS, node_key
from asset_ledger.definitions import build_definitions
from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.chains import chains
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.pipeline.marts import PROJECT, Models, digest, models
from asset_ledger.settings import Settings
from asset_ledger.sources.config import load_sources
from asset_ledger.sources.registry import PLATFORMS
from tests.dagster.installation import Installation
from tests.postgres import shared_server

EXAMPLE = Path(__file__).parents[2] / "sources.example.yaml"
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
DAY_MARTS = {"daily_specs", "daily_capacity", "asset_changes", "source_reliability"}


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


def above(specs: dict[dg.AssetKey, dg.AssetSpec], key: dg.AssetKey) -> Iterator[dg.AssetKey]:
    """Yield everything that an asset is made of, itself included. Raises KeyError where a thread of it is torn."""
    seen: set[dg.AssetKey] = set()
    waiting = [key]
    while waiting:
        at = waiting.pop()
        if at not in seen:
            seen.add(at)
            yield at
            waiting += [dep.asset_key for dep in specs[at].deps]


def test_lineage_is_unbroken_from_every_raw_asset_to_every_mart(specs: dict[dg.AssetKey, dg.AssetSpec]) -> None:
    sources = load_sources(EXAMPLE)
    assert {source.platform for source in sources} == set(PLATFORMS)
    raw = {
        dg.AssetKey([source.name, chain.nodes["raw_inventory"]]) for source in sources for chain in chains(source)
    } | {
        dg.AssetKey(["iac", "state_versions"]),
        dg.AssetKey(["agent", "clients"]),
        dg.AssetKey(["ledger", "decisions"]),
    }
    made = {key.path[-1]: set(above(specs, key)) for key in specs if key.path[0] == "marts"}
    assert set(made) == MARTS
    for name, upstream in made.items():
        assert any(key.path[0] == "staging" for key in upstream), name
        lacking = {key.to_user_string() for key in raw - upstream if key.path[0] not in ("iac", "agent", "ledger")}
        assert lacking == set(), f"{name} hangs on none of these"
    for key in raw:
        assert any(key in upstream for upstream in made.values()), key
    # nothing begins in the middle: what has no upstream is raw
    for upstream in made.values():
        ends = [key for key in upstream if not specs[key].deps]
        assert [key.to_user_string() for key in ends if specs[key].tags.get("layer") != "raw"] == []


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


def test_every_test_of_dbt_is_a_check_that_says_what_it_demands(parsed: Models) -> None:
    graph = build_definitions(load_sources(EXAMPLE), None, parsed).get_repository_def().asset_graph
    tests = {node["name"] for node in parsed.manifest["nodes"].values() if node["resource_type"] == "test"}
    checks = {key.name: graph.get_check_spec(key) for key in graph.asset_check_keys if key.name in tests}
    assert len(tests) > 20
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
