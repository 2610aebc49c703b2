"""Target records: written in one go with their assets, found again page by page, at the size of a large run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from asset_ledger.domain.errors import CONFIG_INVALID, INVENTORY_INCOMPLETE, PermanentError
from asset_ledger.store.database import Connection, connect, rows
from asset_ledger.store.query.runs import (
    count_records,
    days_touched,
    list_runs,
    run_records,
    run_reports,
    runs_beginning_with,
)
from asset_ledger.store.raw import InventoryRow, save_inventory
from asset_ledger.store.records import (
    TargetRecord,
    save_records,
    save_underived,
    save_unread,
)
from asset_ledger.store.sources import SourceRow, ensure_source

DAY = date(2026, 11, 1)
AT = datetime(2026, 11, 1, 2, 30, tzinfo=UTC)
MANY = 10_000


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as opened:
        yield opened


@pytest.fixture
def source(connection: Connection) -> SourceRow:
    return ensure_source(
        connection,
        name="lab",
        platform="ssh",
        platform_type="ssh",
        source_type="probe",
        zone="default",
        naming_rank=1,
        specs_rank=1,
    )


def reading(connection: Connection, source: SourceRow, run_id: str = "run-1", day: date = DAY) -> InventoryRow:
    return save_inventory(
        connection,
        source,
        [],
        scope="all",
        collected_date=day,
        collected_at=AT,
        run_id=run_id,
        mode="collect",
        complete=False,
    )


def target(name: str, **values: Any) -> TargetRecord:
    made: dict[str, Any] = {
        "target": name,
        "external_id": None,
        "started_at": AT,
        "duration_ms": 12,
        "status": "ok",
        "code": None,
        "message": None,
        "effect": "its day is written",
    }
    return TargetRecord(**(made | values))


def keep(connection: Connection, source: SourceRow, inventory: InventoryRow, *records: TargetRecord) -> int:
    with connection.transaction():
        return save_records(connection, source, inventory, records, run_id=inventory.run_id, mode="collect")


def link(connection: Connection, source: SourceRow, number: int, external_id: str, kind: str = "machine") -> str:
    row = connection.execute(
        """
        INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, asset_id, normalized_id,
            record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at)
        VALUES (%s, %s, %s, %s, gen_random_uuid(), 1, '', 1, %s, %s, %s, %s, %s) RETURNING asset_id::text
        """,
        [number, source.id, kind, external_id, AT, DAY, AT, DAY, AT],
    ).fetchone()
    assert row is not None
    return str(row[0])


def test_a_record_is_kept_whole_and_joined_to_its_asset_once(connection: Connection, source: SourceRow) -> None:
    asset = link(connection, source, 1, "10.0.0.1")
    link(connection, source, 2, "10.0.0.1", kind="vm")  # the same id of another kind makes no second row
    failed = target(
        "a\ttab, 中文\nand \\ more",
        external_id="10.0.0.1",
        status="failed",
        code=CONFIG_INVALID,
        message="what\x00ever",
        details={"unknown": {"os.family": "X\x00Y"}},
    )
    assert keep(connection, source, reading(connection, source), failed, target("b", external_id="10.0.0.9")) == 2
    first, second = run_records(connection, "run-1")
    assert first["asset_id"] is not None
    assert first["target"] == "a\ttab, 中文\nand \\ more"
    assert (first["error_code"], first["retryable"]) == ("CONFIG_INVALID", False)
    assert first["advice"] == CONFIG_INVALID.advice
    assert first["message"] == "what\ufffdever"
    assert first["details"] == {"unknown": {"os.family": "X\ufffdY"}}
    assert {str(first["asset_id"])} == {asset}
    assert second["asset_id"] is None


def test_two_readings_of_one_transaction_keep_their_records_apart(connection: Connection, source: SourceRow) -> None:
    with connection.transaction():
        keep(connection, source, reading(connection, source, "one"), target("a"))
        keep(connection, source, reading(connection, source, "two"), target("b"), target("c"))
        assert keep(connection, source, reading(connection, source, "none")) == 0
    assert [row["target"] for row in run_records(connection, "one")] == ["a"]
    assert [row["target"] for row in run_records(connection, "two")] == ["b", "c"]


def test_ten_thousand_targets_are_paged_without_gap_or_repetition_and_filtered(
    connection: Connection, source: SourceRow
) -> None:
    made = [
        target(f"host-{n:05}", status="failed", code=INVENTORY_INCOMPLETE, message="it broke off")
        if n % 100 == 7
        else target(f"host-{n:05}", status="partial" if n % 100 == 9 else "ok")
        for n in range(MANY)
    ]
    keep(connection, source, reading(connection, source), *made)
    keep(connection, source, reading(connection, source, "run-2"), target("host-00001"))
    pages = [
        row["target"]
        for offset in range(0, MANY, 1000)
        for row in run_records(connection, "run-1", limit=1000, offset=offset)
    ]
    assert len(pages) == len(set(pages)) == MANY
    assert pages[:2] == ["host-00007", "host-00107"]
    assert pages[100] == "host-00009"
    assert count_records(connection, "run-1") == MANY
    for wishes, count in (
        ({"failed": True}, 200),
        ({"status": "failed"}, 100),
        ({"status": "skipped"}, 0),
        ({"code": "INVENTORY_INCOMPLETE"}, 100),
        ({"text": "HOST-0123"}, 10),
        ({"text": "broke off", "status": "failed"}, 100),
        ({"text": "%"}, 0),
    ):
        assert count_records(connection, "run-1", **wishes) == count, wishes
        assert len(run_records(connection, "run-1", **wishes, limit=MANY)) == count, wishes


def test_a_page_of_a_run_reads_no_row_of_another_run(connection: Connection, source: SourceRow) -> None:
    for number in range(20):
        inventory = reading(connection, source, f"run-{number}", DAY + timedelta(days=number))
        keep(connection, source, inventory, *(target(f"host-{n}") for n in range(1000)))
    connection.execute("ANALYZE ledger.sync_target_records")
    connection.execute("SET plan_cache_mode = force_generic_plan")
    (plan,) = connection.execute(
        """
        EXPLAIN (ANALYZE, FORMAT JSON) SELECT id FROM ledger.sync_target_records
        WHERE run_id = 'run-7' ORDER BY array_position(ARRAY['failed', 'ok'], status), id LIMIT 100
        """
    ).fetchone() or ([],)
    assert "Seq Scan" not in json.dumps(plan)


def test_a_reading_that_was_not_derived_and_one_that_was_not_read_are_listed_with_why(
    connection: Connection, source: SourceRow
) -> None:
    kept = reading(connection, source)
    cut = PermanentError(INVENTORY_INCOMPLETE, "the list stops at 3", target="lab")
    save_underived(connection, source, kept, "lab", cut, run_id="run-1", mode="collect")
    save_unread(connection, source, DAY, KeyError("password=hunter2"), run_id="run-2", mode="collect")
    (first,) = run_records(connection, "run-1")
    assert (first["status"], first["error_code"], first["message"]) == (
        "failed",
        "INVENTORY_INCOMPLETE",
        "the list stops at 3",
    )
    assert first["effect"].startswith("nothing was derived from it; yesterday's values, with their age,")
    (second,) = run_records(connection, "run-2")
    assert second["error_code"] is None
    assert "KeyError" in second["message"]
    assert "hunter2" not in json.dumps(second, default=str)
    listed = {row["run_id"]: row for row in list_runs(connection)}
    assert listed["run-2"]["status"] == "refused"
    assert (listed["run-1"]["failed"], listed["run-2"]["failed"]) == (1, 1)
    assert {row["run_id"] for row in list_runs(connection, failed=True)} == {"run-1", "run-2"}


def test_runs_are_listed_newest_first_by_pages(connection: Connection, source: SourceRow) -> None:
    for number in range(5):
        keep(connection, source, reading(connection, source, f"run-{number}"), target("a"))
    every = [row["run_id"] for row in list_runs(connection)]
    assert every == [f"run-{number}" for number in (4, 3, 2, 1, 0)]
    assert [row["run_id"] for row in list_runs(connection, limit=2, offset=2)] == every[2:4]
    assert list_runs(connection, source="nosuch") == []


def test_a_half_read_reading_is_marked_when_its_run_gives_up(connection: Connection, source: SourceRow) -> None:
    reading(connection, source)
    connection.execute("UPDATE ledger.inventories SET status = 'reading'")
    save_unread(connection, source, DAY, PermanentError(CONFIG_INVALID, "no"), run_id="other", mode="collect")
    assert rows(connection, "SELECT status FROM ledger.inventories") == [{"status": "reading"}]
    save_unread(connection, source, DAY, PermanentError(CONFIG_INVALID, "no"), run_id="run-1", mode="collect")
    found = rows(connection, "SELECT status, error_code FROM ledger.inventories")
    assert found == [{"status": "interrupted", "error_code": "CONFIG_INVALID"}]


def test_a_replay_has_a_row_of_its_own_and_leaves_the_counts_of_the_run_that_read(
    connection: Connection, source: SourceRow
) -> None:
    inventory = reading(connection, source, "read")
    connection.execute("UPDATE ledger.inventories SET status = 'derived'")
    read = replace(inventory, status="derived")
    keep(connection, source, read, target("a"), target("b"))
    with connection.transaction():
        save_records(connection, source, read, [target("a"), target("b")], run_id="again", mode="replay")
    damaged = PermanentError(CONFIG_INVALID, "no")
    save_underived(connection, source, read, "lab", damaged, run_id="broken", mode="replay")
    listed = {
        row["run_id"]: (row["mode"], row["status"], row["ok"], row["failed"], row["error_code"])
        for row in list_runs(connection)
    }
    assert listed == {
        "broken": ("replay", "failed", 0, 1, "CONFIG_INVALID"),
        "again": ("replay", "derived", 2, 0, None),
        "read": ("collect", "derived", 2, 0, None),
    }
    assert next(iter(listed)) == "broken"
    assert [row["run_id"] for row in list_runs(connection, mode="replay")] == ["broken", "again"]
    assert [row["run_id"] for row in list_runs(connection, mode="collect")] == ["read"]
    assert [row["run_id"] for row in list_runs(connection, failed=True)] == ["broken"]
    (report,) = run_reports(connection, "broken")
    assert (report["mode"], report["status"], report["report"]) == ("replay", "failed", {})
    assert runs_beginning_with(connection, "aga") == ["again"]
    assert runs_beginning_with(connection, "b") == ["broken"]
    assert runs_beginning_with(connection, "c") == []
    assert days_touched(connection, "broken") == {DAY: True}
    assert days_touched(connection, "read") == {DAY: False}


def test_what_a_run_id_begins_with_is_found_without_reading_every_record(
    connection: Connection, source: SourceRow
) -> None:
    for number in range(20):
        inventory = reading(connection, source, f"run-{number:02}", DAY + timedelta(days=number * 20))
        keep(connection, source, inventory, *(target(f"host-{n}") for n in range(1000)))
    connection.execute("ANALYZE ledger.sync_target_records")
    assert runs_beginning_with(connection, "run-1") == [f"run-{number}" for number in range(10, 20)]
    assert len(runs_beginning_with(connection, "r")) == 10
    assert runs_beginning_with(connection, "run-07") == ["run-07"]
    # every row read counts once: those of 20 runs are 20,000
    before = rows_read(connection)
    runs_beginning_with(connection, "run-0")
    assert rows_read(connection) - before < 2000


def rows_read(connection: Connection) -> int:
    connection.execute("SELECT pg_stat_force_next_flush()")
    connection.execute("SELECT pg_stat_clear_snapshot()")
    row = connection.execute(
        """
        SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables
        WHERE relname LIKE 'sync_target_records%'
        """
    ).fetchone()
    assert row is not None
    return int(row[0])
