"""What Dagster shows of the example sources: names, texts, lineage. The golden changes only by --update-golden."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from asset_ledger.assets.ledger import DUPLICATE_CANDIDATES, INSTANCE_ASSET_LINKS
from asset_ledger.definitions import build_definitions
from asset_ledger.sources.config import load_sources

PROJECT = Path(__file__).parents[2]
NODES = ("state_versions", "resource_events", "resources_current", "dependency_edges")
GOLDEN = Path(__file__).with_name("golden") / "catalogue.json"


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(load_sources(PROJECT / "sources.example.yaml"))


@pytest.fixture(scope="module")
def assets(definitions: dg.Definitions) -> dict[dg.AssetKey, dg.AssetSpec]:
    return {spec.key: spec for spec in definitions.resolve_all_asset_specs()}


def catalogue(definitions: dg.Definitions) -> dict[str, Any]:
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    return {
        "assets": {
            spec.key.to_user_string(): {
                "group": spec.group_name,
                "owners": sorted(spec.owners),
                "kinds": sorted(spec.kinds),
                "table": spec.metadata.get("dagster/table_name"),
                "description": spec.description,
                "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
                "partitioned": spec.partitions_def is not None,
                "automated": spec.automation_condition is not None,
                "pool": sorted(graph.get(spec.key).pools or ()),
            }
            for spec in sorted(definitions.resolve_all_asset_specs(), key=lambda spec: spec.key)
        },
        "checks": {
            f"{check.asset_key.to_user_string()}:{check.name}": graph.get_check_spec(check).description
            for check in sorted(graph.asset_check_keys)
        },
        "jobs": {
            job.name: {"description": job.description, "tags": dict(sorted(job.tags.items()))}
            for job in sorted(repository.get_all_jobs(), key=lambda job: job.name)
            if not job.name.startswith("__")
        },
        "sensors": {
            sensor.name: {"description": sensor.description, "running": sensor.default_status.value}
            for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name)
        },
        "schedules": {
            schedule.name: {
                "description": schedule.description,
                "cron": schedule.cron_schedule,
                "timezone": schedule.execution_timezone,
                "running": schedule.default_status.value,
            }
            for schedule in sorted(repository.schedule_defs, key=lambda schedule: schedule.name)
        },
    }


def test_the_catalogue_is_as_the_golden_says(definitions: dg.Definitions, update_golden: bool) -> None:
    text = json.dumps(catalogue(definitions), indent=2, ensure_ascii=False) + "\n"
    if update_golden:
        GOLDEN.write_text(text, encoding="utf-8")
    assert json.loads(text) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_every_asset_says_what_it_is_whose_it_is_and_where_its_rows_lie(
    assets: dict[dg.AssetKey, dg.AssetSpec],
) -> None:
    for key, spec in assets.items():
        assert len(spec.description or "") > 40, key
        assert spec.group_name == key.path[0], key
        assert spec.owners, key
        assert spec.kinds & {"postgres", "terraform"}, key
        assert re.fullmatch(r"(ledger|iac|agent|audit)\.[a-z_]+", spec.metadata["dagster/table_name"]), key


def test_every_table_that_an_asset_names_exists(assets: dict[dg.AssetKey, dg.AssetSpec], database_url: str) -> None:
    from asset_ledger.store.database import connect

    with connect(database_url) as connection:
        for key, spec in assets.items():
            found = connection.execute("SELECT to_regclass(%s)", [spec.metadata["dagster/table_name"]]).fetchone()
            assert found != (None,), key


def test_lineage_from_every_raw_inventory_to_the_links_is_unbroken(assets: dict[dg.AssetKey, dg.AssetSpec]) -> None:
    raw = [key for key in assets if key.path[-1] == "raw_inventory"]
    assert raw
    for start in raw:
        reached = {start}
        while more := {
            key for key, spec in assets.items() if key not in reached and {dep.asset_key for dep in spec.deps} & reached
        }:
            reached |= more
        assert {INSTANCE_ASSET_LINKS, DUPLICATE_CANDIDATES} <= reached, start
        assert {key for key in assets if key.path[0] == start.path[0]} <= reached, start


def test_lineage_from_the_states_to_the_edges_is_unbroken(assets: dict[dg.AssetKey, dg.AssetSpec]) -> None:
    chain = [dg.AssetKey(["iac", name]) for name in NODES]
    for upstream, downstream in pairwise(chain):
        assert upstream in {dep.asset_key for dep in assets[downstream].deps}


def test_every_job_sensor_and_schedule_says_what_it_does(definitions: dg.Definitions) -> None:
    shown = catalogue(definitions)
    for kind in ("jobs", "sensors", "schedules", "checks"):
        for name, one in shown[kind].items():
            assert one if kind == "checks" else one["description"], (kind, name)


def test_definitions_load_with_beta_preview_and_superseded_forms_as_errors(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text((PROJECT / "sources.example.yaml").read_text())
    program = """
import warnings
from dagster_shared.utils.warnings import BetaWarning, PreviewWarning, SupersessionWarning
for kind in (BetaWarning, PreviewWarning, SupersessionWarning):
    warnings.simplefilter("error", kind)
import dagster as dg
from asset_ledger.assets.policies import ONE_RUN, beta_accepted
from asset_ledger.definitions import defs
loaded = defs()
dg.Definitions.validate_loadable(loaded)
with beta_accepted():
    try:
        dg.asset(backfill_policy=ONE_RUN)(lambda: None)
    except BetaWarning:
        print("only the accepted one is silenced")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            "PATH": "/usr/bin:/bin",
            "ASSET_LEDGER_SOURCES": str(tmp_path / "sources.yaml"),
            "PYTHONPATH": str(PROJECT),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "only the accepted one is silenced"
