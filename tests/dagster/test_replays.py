"""A live source through Dagster: replays with a mended parser and their plan, and what its checks and records say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from asset_ledger.assets import source_chain
from asset_ledger.domain.calendar import collected_date, moment_on
from asset_ledger.pipeline.intake import open_collector
from asset_ledger.pipeline.ledger import source_row
from asset_ledger.sources.registry import PLATFORMS, platform
from asset_ledger.store.decide.decisions import retire
from asset_ledger.store.raw import save_inventory
from tests.dagster.installation import Installation, failure_of, metadata
from tests.faults import scripted
from tests.faults.world import NONE, Faults, World, answers, estate
from tests.pipeline.importing import everything

NOW = datetime.now(UTC)
TODAY = collected_date(NOW)
DAYS = [TODAY - timedelta(days=n) for n in (4, 3, 1)]
GAP = TODAY - timedelta(days=2)
SPAN = (DAYS[0].isoformat(), DAYS[-1].isoformat())
SOURCES = """
sources:
  - {name: lab, platform: scripted, answers: lab.json}
"""


@pytest.fixture
def lab(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation whose one source is a scripted platform. A run is not tried again: the world is the same."""
    monkeypatch.setattr(source_chain, "RETRIES", dg.RetryPolicy(max_retries=0))
    monkeypatch.setitem(PLATFORMS, "scripted", "tests.faults.scripted")
    platform.cache_clear()
    (installation.folder / "sources.yaml").write_text(SOURCES)
    show(installation, estate(4))
    yield installation
    platform.cache_clear()


@pytest.fixture
def misread(lab: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Three past days, derived by a parser that takes mebibytes for megabytes; now it is mended."""
    parser(monkeypatch, scripted.MISREAD)
    for day in DAYS:
        keep_raw(lab, day)
    assert lab.collect("lab", span=SPAN).success
    parser(monkeypatch, scripted.RIGHT)
    return lab


def parser(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    monkeypatch.setattr(scripted, "PLATFORM", scripted.platform_of_version(version))
    platform.cache_clear()


def show(lab: Installation, world: World, faults: Faults = NONE) -> None:
    (lab.folder / "lab.json").write_text(json.dumps(answers(world, faults)))


def keep_raw(lab: Installation, day: date) -> None:
    """Keep what the platform answers as the raw of a past day."""
    source = lab.ledger.source("lab")
    with lab.connect() as connection:
        row = source_row(connection, source)
        collector, order = open_collector(lab.ledger, connection, source, row)
        records = collector.collect(order)
        at = moment_on(day, NOW)
        save_inventory(
            connection,
            row,
            records,
            scope="all",
            collected_date=day,
            collected_at=at,
            run_id=None,
            mode="collect",
            complete=False,
        )


def contents(lab: Installation) -> dict[str, list[Any]]:
    with lab.connect() as connection:
        return everything(connection)


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def check(result: dg.ExecuteInProcessResult, name: str) -> str:
    """Return the text of a check that failed, as a warning."""
    (found,) = (each for each in result.get_asset_check_evaluations() if each.check_name == name)
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    return str(found.description)


def records(lab: Installation, run_id: str) -> list[dict[str, Any]]:
    return lab.rows(
        f"SELECT target, status, error_code, effect FROM ledger.sync_target_records WHERE run_id = '{run_id}' ORDER BY id"
    )


def test_a_plan_writes_nothing_and_shows_what_would_change_day_by_day(misread: Installation) -> None:
    before = contents(misread)
    made = misread.materialized("lab", "daily_specs")
    plan = misread.collect("lab", span=SPAN, plan=True)
    assert plan.success
    assert contents(misread) == before
    assert plan.get_asset_materialization_events() == []
    assert misread.materialized("lab", "daily_specs") == made
    assert checks(plan) == {}, "what was not done is not judged"
    observed = [event.asset_observation_data.asset_observation for event in plan.get_asset_observation_events()]
    assert [(each.asset_key.path[-1], each.partition) for each in observed] == [
        ("daily_specs", day.isoformat()) for day in DAYS
    ]
    told = {name: value.value for name, value in observed[0].metadata.items()}
    assert told["corrections_changed"] == 8
    assert told["summary"] == "8 changed of the day's rows"
    assert "| vm-1 | changed | hardware.memory_bytes | 4096000000 | 4294967296 |" in told["diff"]
    assert misread.instance.get_run_by_id(plan.run_id).tags["mode"] == "plan"


def test_a_range_is_replayed_as_one_run_with_its_corrections_by_day(misread: Installation) -> None:
    runs = len(misread.instance.get_runs())
    done = misread.collect("lab", span=SPAN, replay=True)
    assert done.success
    assert len(misread.instance.get_runs()) == runs + 1
    found = misread.rows("SELECT DISTINCT memory_bytes FROM ledger.asset_daily_specs WHERE asset_type = 'vm'")
    assert found == [{"memory_bytes": 4096 * 1024 * 1024}]
    made = [
        event.materialization
        for event in done.get_asset_materialization_events()
        if event.asset_key.path[-1] == "daily_specs"
    ]
    assert [each.partition for each in made] == [day.isoformat() for day in DAYS]
    assert [each.metadata["corrections_changed"].value for each in made] == [8, 8, 8]
    assert "hardware.memory_bytes" in made[0].metadata["corrections"].value
    assert GAP.isoformat() not in misread.materialized("lab", "daily_specs")
    again = misread.collect("lab", DAYS[0].isoformat(), replay=True)
    assert metadata(again, "lab", "daily_specs")["corrections_changed"] == 0
    plan = misread.collect("lab", DAYS[0].isoformat(), plan=True)
    (observed,) = plan.get_asset_observation_events()
    shown = observed.asset_observation_data.asset_observation.metadata
    assert shown["summary"].value == "nothing would change"


def test_a_plan_or_replay_that_names_files_is_refused(installation: Installation) -> None:
    file = installation.drop("hosts_2026-11-01.csv", "192.0.2.10,db-01,vm,prod;db,4,16")
    refused = installation.collect("office", "2026-11-01", files=[file], plan=True)
    assert "reads nothing, and files are named (1)" in str(failure_of(refused).description)
    assert file.exists()


def test_a_whole_reading_proves_it_and_says_what_it_meant_for_the_day(lab: Installation) -> None:
    day = TODAY.isoformat()
    done = lab.collect("lab", day)
    assert done.success
    assert checks(done) == {
        "every_target_read": True,
        "no_identity_conflicts": True,
        "inventory_complete": True,
        "absences_within_threshold": True,
        "relations_present": True,
        "day_fresh": True,
        "last_reading_whole": True,
        "row_count_usual": True,
        "relations_end_somewhere": True,
    }
    raw = metadata(done, "lab", "raw_inventory")
    assert raw["complete"] is True
    assert raw["proof"][0]["counts"][0]["vm_listed"] == 4
    (record,) = records(lab, done.run_id)
    assert record == {"target": "lab", "status": "ok", "error_code": None, "effect": "day written"}

    world = estate(4)
    world.drop("vm-1")
    show(lab, world, Faults(down_hosts=("esx2",)))
    less = lab.collect("lab", day)
    assert metadata(less, "lab", "ledger_assets")["missing"] == 1
    assert checks(less)["every_target_read"] is False
    endpoint, node = records(lab, less.run_id)
    assert endpoint["effect"] == "day written; 1 missing"
    assert endpoint["status"] == "partial"
    assert (node["target"], node["error_code"]) == ("host esx2", "SCRIPTED_NODE_UNREACHABLE")
    show(lab, estate(4))
    back = lab.collect("lab", day)
    assert metadata(back, "lab", "ledger_assets")["revived"] == 1
    assert records(lab, back.run_id)[0]["effect"] == "day written; 1 seen again"


def test_a_reading_that_is_not_whole_fails_its_check_and_has_its_record(lab: Installation) -> None:
    day = TODAY.isoformat()
    assert lab.collect("lab", day).success
    show(lab, estate(4), Faults(truncated=3))
    cut = lab.collect("lab", day)
    assert not cut.success
    assert "Nothing was derived from it" in check(cut, "inventory_complete")
    *_, record = records(lab, cut.run_id)
    assert (record["target"], record["status"], record["error_code"]) == ("lab", "failed", "INVENTORY_INCOMPLETE")
    assert record["effect"].startswith("nothing was derived from it")
    show(lab, estate(4), Faults(hostless=True))
    hostless = lab.collect("lab", day)
    assert not hostless.success
    assert check(hostless, "relations_present")


def test_a_source_that_cannot_be_read_has_its_record_and_what_came_is_not_derived(lab: Installation) -> None:
    show(lab, estate(12), Faults(lost_page=True))
    failed = lab.collect("lab", TODAY.isoformat())
    assert not failed.success
    (record,) = records(lab, failed.run_id)
    assert (record["target"], record["status"], record["error_code"]) == ("lab", "failed", "SCRIPTED_UNREACHABLE")
    assert record["effect"].startswith("it was not read; nothing is missing by that")
    assert lab.rows("SELECT status, error_code FROM ledger.inventories") == [
        {"status": "interrupted", "error_code": "SCRIPTED_UNREACHABLE"}
    ]


def test_too_many_absences_are_held_and_the_check_names_count_and_command(lab: Installation) -> None:
    day = TODAY.isoformat()
    show(lab, estate(12))
    assert lab.collect("lab", day).success
    show(lab, estate(4))
    held = lab.collect("lab", day)
    assert held.success
    (reading,) = lab.rows("SELECT id FROM ledger.inventories WHERE absences = 'held'")
    said = check(held, "absences_within_threshold")
    assert said.startswith("8 machines were not seen")
    assert f"`asset-ledger absences approve {reading['id']}`" in said
    assert "absences of 8 held" in records(lab, held.run_id)[0]["effect"]
    decision = {"inventory": reading["id"], "decision": "approve", "actor": "han.mei"}
    assert lab.run("ledger_absences", decision).success
    assert checks(lab.collect("lab", day, replay=True))["absences_within_threshold"] is True


def test_a_reused_id_has_a_record_that_names_both_machines(lab: Installation) -> None:
    day = TODAY.isoformat()
    world = estate(4)
    assert lab.collect("lab", day).success
    world.change("vm-1", uuid="4c4c4544-0000-4000-8000-00000000beef", created="2026-01-01T00:00:00Z", name="other")
    show(lab, world)
    done = lab.collect("lab", day)
    assert metadata(done, "lab", "ledger_assets")["reused_ids"] == 1
    endpoint, reused = records(lab, done.run_id)
    assert "1 id reused by another machine" in endpoint["effect"]
    assert reused["target"] == "vm 101"
    (row,) = lab.rows("SELECT details, asset_id::text FROM ledger.sync_target_records ORDER BY id DESC LIMIT 1")
    assert row["details"]["asset_id"] == row["asset_id"]
    assert row["details"]["former_asset_id"] not in (None, row["asset_id"])


def test_a_relation_to_what_a_person_retired_is_not_to_be_read_again(lab: Installation) -> None:
    assert lab.collect("lab", TODAY.isoformat()).success
    with lab.connect() as db:
        host = db.execute(
            "SELECT asset_id FROM ledger.asset_source_links WHERE external_kind = 'host' LIMIT 1"
        ).fetchone()
        assert host is not None
        retire(db, host[0], actor="ann", at=datetime.now(UTC))
    watch = lab.definitions.resolve_job_def("ledger_watch")
    said = check(watch.execute_in_process(instance=lab.instance), "relations_end_somewhere")
    assert "a person retired" in said
    assert "`asset-ledger assets restore NAME`" in said
    assert "sources collect" not in said
    assert "rights" not in said
    assert "unmerge" not in said
    with lab.connect() as db:
        db.execute("UPDATE ledger.assets SET deleted_at = NULL")
        db.execute("UPDATE ledger.asset_relations SET to_external_id = 'gone'")
    said = check(watch.execute_in_process(instance=lab.instance), "relations_end_somewhere")
    assert "Read lab, hosts before machines: `asset-ledger sources collect lab`" in said
    assert "restore" not in said


def test_the_checks_across_sources_count_what_waits_for_a_person(installation: Installation) -> None:
    office = "192.0.2.10,db-01,vm,prod;db,4,16"
    installation.drop("hosts_2026-11-01.csv", office)
    installation.drop("instances_2026-11-01.csv", text="name,host,port,db_type\norders,198.51.100.9,5432,postgresql\n")
    assert installation.collect("office", "2026-11-01").success
    assert "1 of 1 database instances are on no confirmed machine" in check(
        installation.links(), "every_instance_linked"
    )
    duplicates = installation.definitions.resolve_job_def("ledger_duplicates")
    assert checks(duplicates.execute_in_process(instance=installation.instance)) == {
        "no_new_duplicates": True,
        "management_addresses_unique": True,
    }
    with installation.connect() as connection:
        # a machine of the same serial, as another platform would bring it
        connection.execute(
            """
            INSERT INTO ledger.assets (id, zone, platform_type, hostname, created_at, updated_at)
            SELECT gen_random_uuid(), zone, platform_type, 'twin', created_at, updated_at FROM ledger.assets
            """
        )
        connection.execute(
            """
            INSERT INTO ledger.asset_identifiers (asset_id, source_id, kind, value, first_seen_at)
            SELECT id, 1, 'serial', 'CZ1234ABCD', created_at FROM ledger.assets
            """
        )
    said = check(duplicates.execute_in_process(instance=installation.instance), "no_new_duplicates")
    assert said.startswith(
        "1 pairs of ledger assets may be one machine and wait for a person, 1 of them found by this run"
    )
