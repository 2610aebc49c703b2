"""Files in, ledger out: identity, history, idempotence, and what a kill leaves behind."""

from __future__ import annotations

import os
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest

from asset_ledger.domain.calendar import collected_date, moment_on
from asset_ledger.domain.errors import SOURCE_BUSY, LedgerError
from asset_ledger.domain.outcome import Change
from asset_ledger.pipeline.derive import derive_day, plan_file
from asset_ledger.pipeline.inbox import archive, look_at, strangers, waiting
from asset_ledger.sources.import_files import accept
from asset_ledger.store.database import clock, connect
from asset_ledger.store.decide.tags import remove_tags
from asset_ledger.store.query.runs import list_runs
from asset_ledger.store.records import save_rejected_file
from asset_ledger.store.sources import exclusive
from tests.pipeline.importing import Importing, everything, importing

HEADER = "mgmt_ip,hostname,cpu_cores,memory_gb,tags\n"
THREE = HEADER + "192.0.2.1,db-1,4,16,prod\n192.0.2.2,db-2,8,32,prod;db\n192.0.2.3,web-1,,,\n"


def test_a_first_file_makes_ledger_assets_with_names_identifiers_tags_and_a_day(office: Importing) -> None:
    outcome = office.read("2026-11-01", THREE)

    assert (outcome.created, outcome.updated, outcome.unchanged) == (3, 0, 0)
    assert office.rows(
        "SELECT hostname, host(mgmt_ip) AS ip, cpu_cores, memory_bytes FROM ledger.assets ORDER BY 2"
    ) == [
        {"hostname": "db-1", "ip": "192.0.2.1", "cpu_cores": 4, "memory_bytes": 16 * 2**30},
        {"hostname": "db-2", "ip": "192.0.2.2", "cpu_cores": 8, "memory_bytes": 32 * 2**30},
        {"hostname": "web-1", "ip": "192.0.2.3", "cpu_cores": None, "memory_bytes": None},
    ]
    assert office.one("SELECT count(*) FROM ledger.asset_daily_specs WHERE collected_date = '2026-11-01'") == 3
    assert office.one("SELECT count(*) FROM ledger.asset_daily_ips") == 3
    assert office.one("SELECT count(*) FROM ledger.asset_identifiers WHERE kind = 'ip' AND last_seen_at IS NULL") == 3
    assert {row["tag"] for row in office.rows("SELECT tag FROM ledger.asset_tags")} == {"prod", "db"}
    assert office.rows("SELECT DISTINCT rule, outcome FROM ledger.identity_resolutions") == [
        {"rule": "mgmt_ip", "outcome": "created"}
    ]


def test_what_a_file_does_not_say_is_null_with_a_reason(office: Importing) -> None:
    office.read("2026-11-01", THREE)

    row = office.one(
        "SELECT d.unknown FROM ledger.asset_daily_specs d JOIN ledger.assets a ON a.id = d.asset_id WHERE a.hostname = 'web-1'"
    )
    assert row["hardware.cpu_count"] == "NOT_REPORTED"


def test_the_next_day_adds_history_and_names_exactly_what_changed(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    outcome = office.read("2026-11-02", THREE.replace("db-1,4,", "db-1,8,"))

    assert (outcome.created, outcome.updated, outcome.unchanged) == (0, 1, 2)
    assert outcome.changes == (Change("192.0.2.1", "db-1", "hardware.cpu_count", 4, 8),)
    history = office.rows(
        """
        SELECT d.collected_date, d.cpu_cores FROM ledger.asset_daily_specs d
        JOIN ledger.assets a ON a.id = d.asset_id WHERE a.hostname = 'db-1' ORDER BY 1
        """
    )
    assert [row["cpu_cores"] for row in history] == [4, 8]


def test_rows_and_columns_in_another_order_change_nothing(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    lines = [line.split(",") for line in THREE.strip().splitlines()]
    shuffled = [lines[0], *reversed(lines[1:])]
    text = "\r\n".join(",".join(reversed(line)) for line in shuffled)

    outcome = office.read("2026-11-02", b"\xef\xbb\xbf" + text.encode())

    assert (outcome.created, outcome.updated, outcome.unchanged) == (0, 0, 3)
    assert office.one("SELECT count(*) FROM ledger.normalized_assets") == 3
    assert office.one("SELECT count(*) FROM ledger.asset_daily_specs") == 6


def test_the_same_content_twice_under_two_names_changes_nothing(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    before = everything(office.connection)

    (again,) = office.take("2026-11-01", office.drop("copy_2026-11-01.csv", THREE))

    assert again.state == "duplicate"
    assert "hosts_2026-11-01.csv" in Path(again.note).read_text()
    assert everything(office.connection) == before
    assert not list(office.inbox.glob("*.csv"))


def test_the_same_content_on_another_day_is_that_days_reading(office: Importing) -> None:
    office.read("2026-11-01", THREE)

    assert office.read("2026-11-02", THREE).unchanged == 3


def test_deriving_a_day_again_gives_the_same_rows(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    office.read("2026-11-01", HEADER + "192.0.2.1,db-1,6,16,\n192.0.2.9,new,1,1,\n", name="late_2026-11-01.csv")
    before = everything(office.connection)
    before.pop("sync_target_records")

    office.derive("2026-11-01")

    after = everything(office.connection)
    after.pop("sync_target_records")
    assert after == before


def test_files_of_one_day_add_up_in_the_order_they_came(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    outcome = office.read("2026-11-01", HEADER + "192.0.2.1,db-1,6,16,prod\n", name="late_2026-11-01.csv")

    assert outcome.updated == 1
    assert office.one("SELECT count(*) FROM ledger.asset_daily_specs") == 3
    assert office.one("SELECT cpu_cores FROM ledger.assets WHERE hostname = 'db-1'") == 6


def test_a_reading_that_counts_as_earlier_leaves_the_records_of_those_after_it_as_they_are(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    office.take("2026-11-02", office.drop("c_2026-11-02.csv", THREE))
    office.derive("2026-11-02")
    # what took it in had a clock that was fast
    office.connection.execute(
        "UPDATE ledger.inventories SET collected_at = collected_at + interval '1 s' WHERE collected_date = '2026-11-02'"
    )
    told = "SELECT target, effect FROM ledger.sync_target_records WHERE collected_date = '2026-11-02' ORDER BY id"
    before = office.rows(told)
    office.take("2026-11-02", office.drop("d_2026-11-02.csv", HEADER + "192.0.2.9,new,1,1,\n"))

    assert [outcome.created for outcome in office.derive("2026-11-02")] == [1, 0]

    assert office.rows(told) == [*before, {"target": "d_2026-11-02.csv", "effect": "day written"}]


def test_what_an_earlier_reading_made_missing_is_said_by_its_own_record(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    office.read("2026-11-02", HEADER + "192.0.2.1,db-1,4,16,prod\n", name="c_2026-11-02.csv")
    office.connection.execute(
        "UPDATE ledger.inventories SET collected_at = collected_at + interval '1 s' WHERE collected_date = '2026-11-02'"
    )
    office.take("2026-11-02", office.drop("d_2026-11-02.csv", THREE.replace("192.0.2.3", "192.0.2.4")), complete=True)

    assert [outcome.missing for outcome in office.derive("2026-11-02")] == [1, 0]

    assert office.rows(
        "SELECT target, effect FROM ledger.sync_target_records WHERE collected_date = '2026-11-02' ORDER BY id"
    ) == [
        {"target": "c_2026-11-02.csv", "effect": "day written"},
        {"target": "d_2026-11-02.csv", "effect": "day written; 1 missing"},
    ]


def test_a_file_came_when_the_server_says_whatever_the_clock_of_this_host(office: Importing) -> None:
    office.connection.execute(
        "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
        " AS $$ SELECT pg_catalog.clock_timestamp() - interval '1 hour' $$"
    )
    office.connection.execute("SET search_path = public, pg_catalog")
    began = clock(office.connection)
    office.take(collected_date(began).isoformat(), office.drop("hosts.csv", THREE))
    assert began < office.one("SELECT collected_at FROM ledger.inventories") < clock(office.connection)


def test_a_late_file_is_compared_with_the_day_before_it_not_with_the_present(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    office.read("2026-11-04", THREE.replace("db-1,4,", "db-1,16,") + "192.0.2.9,new,1,1,\n")
    late = office.read("2026-11-02", THREE.replace("db-1,4,", "db-1,8,") + "192.0.2.9,new,1,1,\n")
    assert (late.created, late.attached, late.updated, late.unchanged) == (0, 1, 1, 2)
    assert late.changes == (Change("192.0.2.1", "db-1", "hardware.cpu_count", 4, 8),)
    same = office.read("2026-11-03", THREE.replace("db-1,4,", "db-1,8,"))
    assert (same.updated, same.unchanged, same.changes) == (0, 3, ())


def test_an_older_day_adds_history_and_leaves_what_is_current(office: Importing) -> None:
    office.read("2026-11-03", HEADER + "192.0.2.1,db-1,8,16,\n")
    office.read("2026-11-01", HEADER + "192.0.2.1,db-old,4,16,\n")

    assert office.one("SELECT hostname, cpu_cores FROM ledger.assets") == ("db-1", 8)
    assert [
        row["cpu_cores"]
        for row in office.rows("SELECT cpu_cores FROM ledger.asset_daily_specs ORDER BY collected_date")
    ] == [4, 8]
    assert office.one("SELECT first_seen_at::date, last_seen_date FROM ledger.asset_source_links") == (
        date(2026, 11, 1),
        date(2026, 11, 3),
    )
    assert {row["value"] for row in office.rows("SELECT value FROM ledger.asset_aliases")} == {"db-1", "db-old"}


def test_the_days_may_come_in_any_order(database_url: str, tmp_path: Path) -> None:
    days = {
        "2026-11-01": HEADER + "192.0.2.1,a,1,1,\n192.0.2.2,b,1,1,x\n",
        "2026-11-02": HEADER + "192.0.2.1,a,2,1,\n",
        "2026-11-03": HEADER + "192.0.2.1,a2,2,1,\n192.0.2.3,c,1,1,\n",
    }
    current = "SELECT hostname, host(mgmt_ip), cpu_cores FROM ledger.assets ORDER BY 2"
    specs = """
        SELECT d.collected_date, host(a.mgmt_ip), d.cpu_cores FROM ledger.asset_daily_specs d
        JOIN ledger.assets a ON a.id = d.asset_id ORDER BY 1, 2
    """
    answers = []
    for order in (sorted(days), sorted(days, reverse=True)):
        with importing(database_url, tmp_path / order[0]) as office:
            office.connection.execute(
                "TRUNCATE ledger.assets, ledger.asset_source_links, ledger.asset_daily_specs, "
                "ledger.asset_daily_ips, ledger.inventories, ledger.normalized_assets, "
                "ledger.asset_observations, ledger.asset_identifiers, ledger.asset_aliases CASCADE"
            )
            for day in order:
                office.read(day, days[day])
            answers.append((office.rows(current), office.rows(specs)))
    assert answers[0] == answers[1]


def test_an_address_of_several_assets_is_a_conflict_and_nothing_is_written(office: Importing) -> None:
    office.read("2026-11-01", "mgmt_ip,hostname,ip_addresses\n192.0.2.1,a,192.0.2.77\n192.0.2.2,b,192.0.2.77\n")
    before = office.rows("SELECT * FROM ledger.assets ORDER BY id")

    outcome = office.read("2026-11-02", "mgmt_ip,hostname\n192.0.2.77,c\n")

    assert outcome.created == outcome.attached == outcome.updated == 0
    assert len(outcome.conflicts[0].asset_ids) == 2
    assert office.rows("SELECT * FROM ledger.assets ORDER BY id") == before
    assert office.one("SELECT count(*) FROM ledger.asset_daily_specs WHERE collected_date = '2026-11-02'") == 0
    assert office.one("SELECT status, error_code FROM ledger.sync_target_records WHERE target = '192.0.2.77'") == (
        "failed",
        "IDENTITY_CONFLICT",
    )


def test_an_address_that_one_asset_answers_to_attaches(office: Importing) -> None:
    office.read("2026-11-01", "mgmt_ip,hostname,ip_addresses\n192.0.2.1,a,192.0.2.77\n")
    outcome = office.read("2026-11-02", "mgmt_ip,hostname\n192.0.2.77,a\n")

    assert outcome.attached == 1
    assert office.one("SELECT count(*) FROM ledger.assets") == 1
    assert office.one("SELECT host(mgmt_ip) FROM ledger.assets") in ("192.0.2.1", "192.0.2.77")


def test_zones_keep_equal_addresses_apart(database_url: str, tmp_path: Path, office: Importing) -> None:
    office.read("2026-11-01", HEADER + "192.0.2.1,here,1,1,\n")
    from asset_ledger.pipeline.ledger import source_row
    from asset_ledger.sources.import_files.config import ImportConfig

    (tmp_path / "other").mkdir()
    elsewhere = ImportConfig(name="elsewhere", platform="import", inbox=tmp_path / "other", zone="vpc-2")
    other = Importing(office.connection, elsewhere, source_row(office.connection, elsewhere))

    assert other.read("2026-11-01", HEADER + "192.0.2.1,there,1,1,\n").created == 1
    assert office.one("SELECT count(*) FROM ledger.assets") == 2


def test_an_identifier_that_is_gone_is_closed_with_the_last_time_it_was_seen(office: Importing) -> None:
    office.read("2026-11-01", "mgmt_ip,hostname,ip_addresses\n192.0.2.1,a,192.0.2.77\n")
    office.read("2026-11-02", "mgmt_ip,hostname,ip_addresses\n192.0.2.1,a,192.0.2.78\n")

    found = office.rows("SELECT value, last_seen_at::date AS until FROM ledger.asset_identifiers ORDER BY value")
    assert [(row["value"], row["until"]) for row in found] == [
        ("192.0.2.1", None),
        ("192.0.2.77", date(2026, 11, 1)),
        ("192.0.2.78", None),
    ]


def test_an_unchanged_record_moves_last_seen_forward_and_never_back(office: Importing) -> None:
    for day, seen in (("2026-11-02", 2), ("2026-11-04", 4), ("2026-11-03", 4)):
        office.read(day, THREE)
        assert {
            row["last_seen_date"] for row in office.rows("SELECT last_seen_date FROM ledger.asset_source_links")
        } == {date(2026, 11, seen)}


def test_an_address_that_an_asset_gave_up_does_not_attach_to_it(office: Importing) -> None:
    office.read("2026-11-01", "mgmt_ip,hostname,ip_addresses\n192.0.2.1,a,192.0.2.77\n")
    office.read("2026-11-02", "mgmt_ip,hostname,ip_addresses\n192.0.2.1,a,\n")

    assert office.read("2026-11-03", "mgmt_ip,hostname\n192.0.2.77,b\n").created == 1


def test_a_day_derived_again_keeps_nothing_that_its_raw_does_not_say(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    office.read("2026-11-02", THREE)
    # what an older parser might have written
    office.connection.execute("UPDATE ledger.inventories SET parser_version = 0 WHERE collected_date = '2026-11-01'")
    office.connection.execute(
        "UPDATE ledger.asset_daily_specs SET asset_id = gen_random_uuid() WHERE collected_date = '2026-11-01'"
    )

    office.derive("2026-11-01")

    assert office.one("SELECT count(*), count(DISTINCT asset_id) FROM ledger.asset_daily_specs") == (6, 3)


def test_a_tag_that_a_person_removed_is_not_brought_back_by_a_file(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    asset = office.one("SELECT asset_id FROM ledger.asset_tags WHERE tag = 'db'")
    remove_tags(office.connection, asset, ["db"], actor="ann", at=datetime.now(UTC))

    office.read("2026-11-02", THREE.replace("db-2,8", "db-2,9"))

    assert office.one("SELECT removed_by FROM ledger.asset_tags WHERE tag = 'db'") == "ann"


def test_good_rows_are_taken_and_every_bad_cell_is_reported(office: Importing) -> None:
    outcome = office.read("2026-11-01", HEADER + "192.0.2.1,a,1,1,\n192.0.2.999,b b,x,1,\n192.0.2.3,c,1,1,\n")

    assert outcome.created == 2
    (row,) = outcome.rejected
    assert (row.row, {cell.column for cell in row.cells}) == (3, {"mgmt_ip", "hostname", "cpu_cores"})
    report = office.inbox / "archive/2026-11-01/hosts_2026-11-01.csv.report.csv"
    assert report.read_text("utf-8-sig").count("\n") == 4
    record = office.one("SELECT details FROM ledger.sync_target_records WHERE status = 'failed'")
    assert {cell["column"] for cell in record["cells"]} == {"mgmt_ip", "hostname", "cpu_cores"}


def test_a_dry_run_says_what_apply_then_does_and_writes_nothing(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    text = THREE.replace("db-1,4,", "db-1,8,") + "192.0.2.9,new,1,1,\n192.0.2.9,again,1,1,\nnonsense,x,1,1,\n"
    file = office.drop("hosts_2026-11-02.csv", text)
    before = everything(office.connection)
    now = datetime.now(UTC)

    planned = plan_file(
        office.connection,
        office.source,
        office.row,
        accept(file, now, office.source),
        date(2026, 11, 2),
        moment_on(date(2026, 11, 2), now),
    )

    assert everything(office.connection) == before
    office.take("2026-11-02", file)
    assert planned.report() == office.derive("2026-11-02")[-1].report()


def test_instances_are_imported_and_a_change_is_counted(office: Importing) -> None:
    first = office.read(
        "2026-11-01", "name,host,port,db_type\norders,192.0.2.1,3306,mysql\n", name="instances_2026-11-01.csv"
    )
    second = office.read(
        "2026-11-02", "name,host,port,db_type\norders,192.0.2.1,3306,mariadb\n", name="instances_2026-11-02.csv"
    )

    assert (first.instances_new, second.instances_new, second.instances_changed) == (1, 0, 1)
    assert office.one("SELECT db_type FROM ledger.database_instances") == "mariadb"


def test_a_failure_in_the_middle_leaves_nothing_half_done_and_the_raw_kept(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    before = everything(office.connection)
    # the last table of the transaction refuses
    office.connection.execute("ALTER TABLE ledger.asset_daily_ips ADD CONSTRAINT refuse CHECK (ip <> '192.0.2.50')")
    file = office.drop("hosts_2026-11-02.csv", HEADER + "192.0.2.1,db-1,5,1,\n192.0.2.50,x,1,1,\n")
    office.take("2026-11-02", file)

    with pytest.raises(psycopg.errors.CheckViolation):
        office.derive("2026-11-02")

    after = everything(office.connection)
    for table in ("assets", "asset_source_links", "asset_daily_specs", "asset_daily_ips", "asset_identifiers"):
        assert after[table] == before[table], table
    assert office.one("SELECT status, error_code FROM ledger.inventories WHERE collected_date = '2026-11-02'") == (
        "failed",
        "CheckViolation",
    )
    office.connection.execute("ALTER TABLE ledger.asset_daily_ips DROP CONSTRAINT refuse")
    assert office.derive("2026-11-02")[0].created == 1


def test_a_run_killed_between_commit_and_move_is_finished_by_the_next(office: Importing) -> None:
    file = office.drop("hosts_2026-11-01.csv", THREE)
    office.take("2026-11-01", file)
    archived = office.inbox / "archive/2026-11-01/hosts_2026-11-01.csv"
    archived.replace(file)  # as if the process had died before the move

    (taken,) = office.take("2026-11-01", file)

    assert (taken.state, archived.exists(), file.exists()) == ("taken", True, False)
    assert office.derive("2026-11-01")[0].created == 3
    assert office.one("SELECT count(*) FROM ledger.inventories") == 1


def test_a_reading_that_cannot_be_derived_holds_up_no_other(office: Importing) -> None:
    office.connection.execute("ALTER TABLE ledger.asset_daily_ips ADD CONSTRAINT refuse CHECK (ip <> '192.0.2.50')")
    bad = office.drop("a_2026-11-02.csv", HEADER + "192.0.2.50,x,1,1,\n")
    good = office.drop("b_2026-11-02.csv", THREE)
    office.take("2026-11-02", bad, good)

    with pytest.raises(psycopg.errors.CheckViolation):
        office.derive("2026-11-02")

    assert office.one("SELECT count(*) FROM ledger.assets") == 3
    assert [row["status"] for row in office.rows("SELECT status FROM ledger.inventories ORDER BY id")] == [
        "failed",
        "derived",
    ]
    assert office.read("2026-11-02", HEADER + "192.0.2.60,late,1,1,\n", name="c_2026-11-02.csv").created == 1


def test_a_day_with_a_failed_reading_is_replayed_with_it_or_without(office: Importing) -> None:
    office.connection.execute("ALTER TABLE ledger.asset_daily_ips ADD CONSTRAINT refuse CHECK (ip <> '192.0.2.50')")
    bad = office.drop("a_2026-11-02.csv", HEADER + "192.0.2.50,x,1,1,\n")
    office.take("2026-11-02", bad, office.drop("b_2026-11-02.csv", THREE))
    with pytest.raises(psycopg.errors.CheckViolation):
        office.derive("2026-11-02")
    statuses = "SELECT array_agg(status ORDER BY id) FROM ledger.inventories"

    assert [outcome.unchanged for outcome in office.derive("2026-11-02")] == [3]
    assert office.one(statuses) == ["failed", "derived"]

    office.connection.execute("ALTER TABLE ledger.asset_daily_ips DROP CONSTRAINT refuse")
    assert [outcome.created for outcome in office.derive("2026-11-02")] == [1, 0]
    assert office.one(statuses) == ["derived", "derived"]


def test_a_replay_that_fails_leaves_the_day_and_its_readings_as_they_were(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    before = everything(office.connection)
    office.connection.execute(
        "ALTER TABLE ledger.inventories ADD CONSTRAINT refuse CHECK (status <> 'derived') NOT VALID"
    )

    with pytest.raises(psycopg.errors.CheckViolation):
        office.derive("2026-11-01")

    after = everything(office.connection)
    # that it failed is on record
    assert len(after.pop("sync_target_records")) == len(before.pop("sync_target_records")) + 1
    assert after == before


def test_a_report_that_cannot_be_written_undoes_nothing(office: Importing) -> None:
    office.take("2026-11-01", office.drop("hosts_2026-11-01.csv", HEADER + "192.0.2.1,a,1,1,\nnonsense,b,1,1,\n"))
    (office.inbox / "archive/2026-11-01/.hosts_2026-11-01.csv.report.csv.part").mkdir()

    day = derive_day(
        office.connection, office.source, office.row, date(2026, 11, 1), run_id=None, mode="collect", inbox=office.inbox
    )

    (derived,) = day.readings
    assert derived.outcome.created == 1
    assert derived.unreported is not None
    assert "hosts_2026-11-01.csv" in derived.unreported


def test_a_file_with_a_column_that_is_not_known_gets_a_report_too(office: Importing) -> None:
    office.read("2026-11-01", "mgmt_ip,hostname,memroy_gb\n192.0.2.1,a,16\n")

    report = office.inbox / "archive/2026-11-01/hosts_2026-11-01.csv.report.csv"
    assert "memroy_gb" in report.read_text("utf-8-sig")


def test_the_same_content_twice_in_one_batch_is_a_duplicate_under_its_own_name(office: Importing) -> None:
    one, two = office.drop("one_2026-11-01.csv", THREE), office.drop("two_2026-11-01.csv", THREE)

    taken = office.take("2026-11-01", one, two)

    assert [(file.name, file.state) for file in taken] == [
        ("one_2026-11-01.csv", "taken"),
        ("two_2026-11-01.csv", "duplicate"),
    ]
    assert (office.inbox / "archive/2026-11-01/two_2026-11-01.csv.duplicate.txt").exists()
    assert len(office.derive("2026-11-01")) == 1


@pytest.mark.parametrize("name", [b"h\xff\xfe.csv", b"a\nb.csv", ("名" * 70).encode() + b".csv"])
def test_a_name_that_cannot_be_kept_is_put_aside_and_holds_up_no_other(office: Importing, name: bytes) -> None:
    bad = office.inbox / os.fsdecode(name)
    bad.write_text(THREE)
    good = office.drop("hosts_2026-11-01.csv", THREE)

    states = {
        file.name: file.state for file in office.take("2026-11-01", *(found.path for found in waiting(office.inbox)))
    }

    assert sorted(states.values()) == ["rejected", "taken"]
    assert not bad.exists()
    assert not good.exists()
    note = next((office.inbox / "rejected").glob("*.why.txt"))
    assert "IMPORT_NAME_INVALID" in note.read_text()


def test_files_that_were_put_aside_under_one_name_are_all_kept(office: Importing) -> None:
    for text in ("", "no,header\n1,2\n"):
        office.take("2026-11-01", office.drop("hosts.csv", text))

    assert sorted(path.name for path in (office.inbox / "rejected").iterdir()) == [
        "hosts.2.csv",
        "hosts.2.csv.why.txt",
        "hosts.csv",
        "hosts.csv.why.txt",
    ]


def test_a_file_that_is_written_to_while_it_is_taken_stays_and_the_archive_holds_what_was_taken(
    office: Importing,
) -> None:
    file = office.drop("hosts_2026-11-01.csv", THREE)
    seen = look_at(file)
    place = office.inbox / "archive/2026-11-01/hosts_2026-11-01.csv"
    body = file.read_bytes()
    with file.open("a") as still_open:
        still_open.write("192.0.2.9,late,1,1,\n")

    archive(seen, office.inbox, place, body)

    assert place.read_bytes() == body
    assert file.exists()


def test_a_link_is_not_taken_and_is_spoken_of(office: Importing, tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text(THREE)
    (office.inbox / "link.csv").symlink_to(outside)
    (office.inbox / "loop.csv").symlink_to(office.inbox / "loop.csv")

    assert waiting(office.inbox) == []
    assert strangers(office.inbox) == ["link.csv", "loop.csv"]


def test_two_runs_of_one_source_do_not_overlap(database_url: str, office: Importing) -> None:
    with (
        connect(database_url) as other,
        exclusive(other, office.row),
        pytest.raises(LedgerError) as refused,
        exclusive(office.connection, office.row),
    ):
        pass
    assert refused.value.code is SOURCE_BUSY
    with exclusive(office.connection, office.row):
        pass


def test_two_imports_into_a_new_month_at_once_both_succeed(database_url: str, tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            with connect(database_url) as connection:
                from asset_ledger.pipeline.ledger import source_row
                from asset_ledger.sources.import_files.config import ImportConfig

                inbox = tmp_path / name
                inbox.mkdir()
                source = ImportConfig(name=name, platform="import", inbox=inbox, zone=name)
                mine = Importing(connection, source, source_row(connection, source))
                for month in range(1, 7):
                    mine.read(f"2026-{month:02}-01", THREE)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []


def test_a_day_without_raw_gives_nothing(office: Importing) -> None:
    day = derive_day(office.connection, office.source, office.row, date(2026, 10, 1), run_id=None, mode="replay")
    assert day.readings == ()


def test_a_run_whose_file_was_refused_is_listed_among_the_failed(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    (taken,) = office.take("2026-11-02", office.drop("hosts_2026-11-02.csv", ""))
    assert taken.error is not None
    save_rejected_file(office.connection, office.row, date(2026, 11, 2), taken.name, taken.error, run_id="second")

    everything_listed = list_runs(office.connection)
    failed = list_runs(office.connection, failed=True)

    assert [(run["run_id"], run["status"], run["ok"], run["failed"]) for run in everything_listed] == [
        ("second", "refused", 0, 1),
        ("run", "derived", 1, 0),
    ]
    assert [(run["run_id"], run["error_code"]) for run in failed] == [("second", "IMPORT_EMPTY")]


def test_a_replay_is_of_the_whole_day_also_where_a_reading_still_waits(office: Importing) -> None:
    office.read("2026-11-01", THREE)
    before = office.one("SELECT parser_version FROM ledger.inventories")
    office.connection.execute("UPDATE ledger.inventories SET parser_version = 0")
    # a run that was killed once its raw was whole
    office.take("2026-11-01", office.drop("more_2026-11-01.csv", HEADER + "192.0.2.9,late,1,1,\n"))

    derive_day(office.connection, office.source, office.row, date(2026, 11, 1), run_id="run", mode="replay")

    assert office.rows("SELECT DISTINCT parser_version, status FROM ledger.inventories") == [
        {"parser_version": before, "status": "derived"}
    ]
    assert office.one("SELECT count(*) FROM ledger.assets") == 4
