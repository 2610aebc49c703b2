"""Runs of a source's chain, and what Dagster records of them: metadata, tags, checks, days, failures."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from asset_ledger.assets import source_chain
from asset_ledger.assets.processes import PROCESS_TAG, end_the_dead, this_process
from asset_ledger.domain.calendar import collected_date
from asset_ledger.pipeline.intake import open_collector
from asset_ledger.pipeline.ledger import source_row
from asset_ledger.store.raw import save_inventory
from asset_ledger.store.sources import exclusive
from tests.dagster.installation import Installation, attempts, failure_of, metadata

NODES = {"raw_inventory", "normalized_assets", "ledger_assets", "daily_specs", "daily_ips", "database_instances"}
DB = "192.0.2.10,db-01,vm,prod;db,4,16"
WEB = "192.0.2.11,web-01,vm,web,2,4"


def test_a_run_tells_the_same_numbers_on_a_quiet_day_as_on_a_busy_one(installation: Installation) -> None:
    installation.drop("hosts_2026-11-01.csv", DB, WEB, "not an address,x,vm,,1,1")
    busy = installation.collect("office", "2026-11-01")
    installation.drop("hosts_2026-11-02.csv", DB)
    quiet = installation.collect("office", "2026-11-02")
    assert busy.success
    assert quiet.success
    for node in NODES:
        of_busy, of_quiet = metadata(busy, "office", node), metadata(quiet, "office", node)
        numbers = {name for name, value in of_busy.items() if isinstance(value, (int, float))}
        assert numbers == {name for name, value in of_quiet.items() if isinstance(value, (int, float))}, node
        assert {"dagster/row_count", "duration_s"} <= numbers, node
        assert of_busy["mode"] == "collect"
    assert metadata(busy, "office", "ledger_assets")["created"] == 2
    assert metadata(quiet, "office", "ledger_assets")["created"] == 0
    (rejected,) = metadata(busy, "office", "normalized_assets")["rejected"].records
    assert rejected.data["row"] == 4
    assert rejected.data["column"] == "mgmt_ip"
    assert rejected.data["value"] == "not an address"


def test_a_run_carries_the_tags_of_its_sync_session_and_its_checks_report(installation: Installation) -> None:
    installation.drop("hosts_2026-11-01.csv", DB, "not an address,x,vm,,1,1")
    result = installation.collect("office", "2026-11-01")
    tags = installation.instance.get_run_by_id(result.run_id).tags
    assert {name: tags[name] for name in ("source", "platform", "scope", "mode", "sync_category")} == {
        "source": "office",
        "platform": "import",
        "scope": "all",
        "mode": "collect",
        "sync_category": "asset_inventory",
    }
    assert tags[PROCESS_TAG] == this_process(result.run_id)[PROCESS_TAG]
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert {name: check.passed for name, check in checks.items()} == {
        "every_row_taken": False,
        "no_identity_conflicts": True,
        "inventory_complete": True,
        "absences_within_threshold": True,
        "day_fresh": True,
        "last_reading_whole": True,
    }
    assert checks["every_row_taken"].severity == dg.AssetCheckSeverity.WARN
    assert str(checks["every_row_taken"].description).startswith("rejected rows: 1. The good rows are in the ledger")
    assert result.success, "a rejected row does not hold the good ones hostage"

    replayed = installation.collect("office", "2026-11-01")
    assert installation.instance.get_run_by_id(replayed.run_id).tags["mode"] == "replay"
    (record,) = installation.rows("SELECT DISTINCT run_id, mode FROM ledger.sync_target_records WHERE mode = 'collect'")
    assert record["run_id"] == result.run_id


def test_a_run_started_without_tags_has_them_even_if_it_fails(installation: Installation) -> None:
    job = installation.definitions.resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey(["office", node]) for node in NODES]
    result = job.get_subset(asset_selection=set(selection)).execute_in_process(
        instance=installation.instance, partition_key="2026-11-01", raise_on_error=False
    )
    assert not result.success
    assert installation.instance.get_run_by_id(result.run_id).tags["source"] == "office"


def test_a_day_without_raw_fails_at_once_and_says_what_to_do(installation: Installation) -> None:
    result = installation.collect("office", "2026-11-01")
    assert not result.success
    assert attempts(result) == 1
    failure = failure_of(result)
    assert "RAW_MISSING: office: nothing to read or replay for 2026-11-01" in str(failure.description)
    assert failure.metadata["error_code"].value == "RAW_MISSING"
    assert "import a file for it" in str(failure.metadata["advice"].value)
    assert installation.materialized("office", "raw_inventory") == set()


def test_a_range_with_gaps_marks_only_the_days_that_have_raw(installation: Installation) -> None:
    installation.drop("hosts_2026-11-01.csv", DB)
    installation.drop("hosts_2026-11-04.csv", DB, WEB)
    result = installation.collect("office", span=("2026-11-01", "2026-11-05"))
    assert result.success
    for node in NODES:
        assert installation.materialized("office", node) == {"2026-11-01", "2026-11-04"}, node
    records = installation.instance.fetch_materializations(
        dg.AssetKey(["office", "normalized_assets"]), limit=10
    ).records
    rows = {
        record.partition_key: record.asset_materialization.metadata["dagster/row_count"].value for record in records
    }
    assert rows == {"2026-11-01": 1, "2026-11-04": 2}, "each day has its own numbers"


def test_a_range_of_nothing_but_gaps_fails_and_names_it(installation: Installation) -> None:
    result = installation.collect("office", span=("2026-11-01", "2026-11-05"))
    assert not result.success
    assert "nothing to read or replay for 2026-11-01 to 2026-11-05" in str(failure_of(result).description)


def test_files_for_several_days_at_once_are_refused_before_anything_is_read(installation: Installation) -> None:
    file = installation.drop("hosts_2026-11-01.csv", DB)
    result = installation.collect("office", span=("2026-11-01", "2026-11-02"), files=[file])
    assert not result.success
    assert attempts(result) == 1
    assert "for one day, and this run is for 2 (2026-11-01 to 2026-11-02)" in str(failure_of(result).description)
    assert file.exists()
    assert installation.rows("SELECT 1 FROM ledger.inventories") == []


def test_a_file_that_cannot_be_read_makes_a_red_run_and_is_put_aside_with_a_note(installation: Installation) -> None:
    file = installation.drop("hosts_2026-11-01.csv", text="")
    result = installation.collect("office", "2026-11-01", files=[file])
    assert not result.success
    assert attempts(result) == 1
    code = str(failure_of(result).metadata["error_code"].value)
    assert code.startswith("IMPORT_")
    assert not file.exists()
    assert (installation.inbox / "rejected" / file.name).exists()
    assert code in (installation.inbox / "rejected" / f"{file.name}.why.txt").read_text()
    (record,) = installation.rows("SELECT status, error_code, run_id FROM ledger.sync_target_records")
    assert record == {"status": "failed", "error_code": code, "run_id": result.run_id}


def test_the_same_content_under_two_names_changes_nothing_and_leaves_a_note(installation: Installation) -> None:
    installation.drop("hosts_2026-11-01.csv", DB)
    assert installation.collect("office", "2026-11-01").success
    before = installation.rows("SELECT * FROM ledger.asset_daily_specs")
    installation.drop("again_2026-11-01.csv", DB)
    result = installation.collect("office", "2026-11-01")
    assert result.success
    folder = installation.inbox / "archive" / "2026-11-01"
    assert (folder / "again_2026-11-01.csv").exists()
    assert "hosts_2026-11-01.csv" in (folder / "again_2026-11-01.csv.duplicate.txt").read_text()
    assert len(installation.rows("SELECT id FROM ledger.inventories")) == 1
    assert installation.rows("SELECT * FROM ledger.asset_daily_specs") == before
    (file,) = metadata(result, "office", "raw_inventory")["files"].records
    assert file.data["state"] == "duplicate"
    assert file.data["note"] == "inbox/archive/2026-11-01/again_2026-11-01.csv.duplicate.txt"


def test_a_file_that_another_run_took_meanwhile_is_no_error(installation: Installation) -> None:
    file = installation.drop("hosts_2026-11-01.csv", DB)
    assert installation.collect("office", "2026-11-01").success
    assert installation.collect("office", "2026-11-01", files=[file]).success
    assert not (installation.inbox / "rejected").exists()


def test_a_live_source_is_read_today_and_only_replayed_for_a_past_day(installation: Installation) -> None:
    today = collected_date(datetime.now(UTC))
    yesterday = today - timedelta(days=1)
    source = installation.ledger.source("probe")
    with installation.connect() as connection:
        row = source_row(connection, source)
        collector, order = open_collector(installation.ledger, connection, source, row)
        came_at = datetime.now(UTC) - timedelta(days=1)
        save_inventory(
            connection,
            row,
            collector.collect(order),
            scope="all",
            collected_date=yesterday,
            collected_at=came_at,
            run_id=None,
            mode="collect",
            complete=False,
        )
    replayed = installation.collect("probe", yesterday.isoformat())
    assert replayed.success
    assert metadata(replayed, "probe", "raw_inventory")["mode"] == "replay"
    read = installation.collect("probe", today.isoformat())
    assert read.success
    assert metadata(read, "probe", "raw_inventory")["mode"] == "collect"
    again = installation.collect("probe", today.isoformat(), replay=True)
    assert metadata(again, "probe", "raw_inventory")["mode"] == "replay"
    found = installation.rows("SELECT collected_date, count(*) FROM ledger.inventories GROUP BY 1 ORDER BY 1")
    assert found == [{"collected_date": yesterday, "count": 1}, {"collected_date": today, "count": 1}]
    assert len(installation.rows("SELECT id FROM ledger.assets")) == 1, "it is one machine on both days"
    assert installation.materialized("probe", "daily_specs") == {yesterday.isoformat(), today.isoformat()}


def test_a_busy_source_is_tried_again_and_succeeds_once_it_is_free(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_chain, "LOCK_WAIT_S", 0.2)
    monkeypatch.setattr(source_chain, "RETRIES", dg.RetryPolicy(max_retries=30, delay=1))
    installation.drop("hosts_2026-11-01.csv", DB)
    held, release = threading.Event(), threading.Event()

    def other_run() -> None:
        with installation.connect() as connection:
            row = source_row(connection, installation.ledger.source("office"))
            with exclusive(connection, row):
                held.set()
                release.wait(30)

    other = threading.Thread(target=other_run)
    other.start()
    assert held.wait(10)
    threading.Timer(5, release.set).start()  # a run takes its time to begin
    result = installation.collect("office", "2026-11-01")
    other.join()
    assert result.success
    retries = [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]
    assert retries
    assert "SOURCE_BUSY: office: another run is reading or writing it" in str(retries[0].event_specific_data)


def test_links_join_instances_to_machines_and_count_them(installation: Installation) -> None:
    installation.drop("hosts_2026-11-01.csv", DB)
    installation.drop("instances_2026-11-01.csv", text="name,host,port,db_type\norders,192.0.2.10,5432,postgresql\n")
    assert installation.collect("office", "2026-11-01").success
    result = installation.links()
    numbers = metadata(result, "ledger", "instance_asset_links")
    assert numbers["links_confirmed"] == 1
    assert numbers["dagster/row_count"] == 1


def test_a_run_whose_process_is_gone_is_marked_failed_and_a_living_one_is_left_alone(
    installation: Installation,
) -> None:
    job = installation.definitions.resolve_job_def("ledger_links")
    host, pid, _started = this_process()[PROCESS_TAG].split(" ")
    made = {
        name: installation.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags).run_id
        for name, tags in {
            "living": this_process(),
            "killed": {PROCESS_TAG: f"{host} 4194303 1"},
            "pid used again": {PROCESS_TAG: f"{host} {pid} 1"},
            "of another machine": {PROCESS_TAG: "elsewhere 4194303 1"},
            "not ours": {},
        }.items()
    }
    assert set(end_the_dead(installation.instance)) == {made["killed"], made["pid used again"]}
    for name, run_id in made.items():
        failed = installation.instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.FAILURE
        assert failed == (name in ("killed", "pid used again")), name


def test_a_retry_that_waits_is_not_ended_for_the_process_of_the_run_before_it(installation: Installation) -> None:
    job = installation.definitions.resolve_job_def("ledger_links")
    host = this_process()[PROCESS_TAG].split(" ")[0]
    instance = installation.instance
    started = dg.DagsterRunStatus.STARTED
    killed = instance.create_run_for_job(job, status=started).run_id
    instance.add_run_tags(killed, {PROCESS_TAG: f"{host} 4194303 1 {killed}"})
    # started, and waiting for a slot of its pool: its own step has not named its process yet
    heirs = [
        instance.create_run_for_job(job, status=started, tags=tags, parent_run_id=killed, root_run_id=killed).run_id
        for tags in ({PROCESS_TAG: f"{host} 4194303 1 {killed}"}, {PROCESS_TAG: f"{host} 4194303 1"})
    ]
    assert end_the_dead(instance) == [killed]
    # it is at work, and killed in its turn
    instance.add_run_tags(heirs[0], {PROCESS_TAG: f"{host} 4194303 1 {heirs[0]}"})
    assert end_the_dead(instance) == [heirs[0]]
