"""What changed across the ledger between days: from words alone, paged, with machines that went and came back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from asset_ledger.domain.history import FIELDS
from asset_ledger.store.database import Connection
from asset_ledger.store.decide.merges import merge
from asset_ledger.store.query import changes
from asset_ledger.store.query.assets import find_asset
from asset_ledger.store.query.changes import ChangeQuery, asset_events, is_field, known_fields, list_changes
from tests.pipeline.importing import Importing, importing

HEADER = "mgmt_ip,hostname,cpu_cores,memory_gb,tags,ip_addresses\n"
MONTH = (date(2026, 3, 1), date(2026, 3, 31))


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Importing]:
    with importing(database_url, tmp_path / "inbox") as opened:
        yield opened


@pytest.fixture
def days(office: Importing) -> Connection:
    """Four days of two machines; on the third the cores are not told."""
    office.read("2026-03-01", HEADER + "10.0.0.1,web,4,8,prod,10.1.1.1\n10.0.0.2,db,8,16,,\n")
    office.read("2026-03-02", HEADER + "10.0.0.1,web,8,8,prod,10.1.1.2\n10.0.0.2,db,8,16,,\n")
    office.read("2026-03-03", HEADER + "10.0.0.1,web,,8,prod;vip,10.1.1.2\n10.0.0.2,db,8,16,,\n")
    office.read("2026-03-04", HEADER + "10.0.0.1,web,8,8,prod;vip,10.1.1.2\n10.0.0.2,db,16,16,,\n")
    return office.connection


def told(connection: Connection, since: date, until: date, **wanted: Any) -> list[tuple[Any, ...]]:
    found, more = list_changes(connection, ChangeQuery(since, until, **wanted))
    assert not more
    return [(c["day"].day, c["hostname"], c["change"], c["field"], c["before"], c["after"]) for c in found]


def test_changes_are_told_day_by_day_and_what_was_merely_unknown_is_none(days: Connection) -> None:
    assert told(days, *MONTH) == [
        (4, "db", "changed", "cpu_cores", 8, 16),
        (3, "web", "added", "tag", None, "vip"),
        (2, "web", "changed", "cpu_cores", 4, 8),
        (2, "web", "removed", "ip", "10.1.1.1", None),
        (2, "web", "added", "ip", None, "10.1.1.2"),
        (1, "web", "appeared", "record", None, None),
        (1, "db", "appeared", "record", None, None),
    ]


def test_a_window_is_compared_with_what_was_known_before_it(days: Connection) -> None:
    (change,), _ = list_changes(days, ChangeQuery(date(2026, 3, 4), date(2026, 3, 4)))
    assert (change["field"], change["since"], change["source"]) == ("cpu_cores", date(2026, 3, 3), "office")
    assert told(days, date(2026, 3, 5), date(2026, 3, 31)) == []


def test_changes_are_chosen_by_field_asset_and_source(days: Connection) -> None:
    assert [change[0] for change in told(days, *MONTH, field="cpu_cores")] == [4, 2]
    assert told(days, *MONTH, field="hardware.cpu_count") == told(days, *MONTH, field="cpu_cores")
    db = find_asset(days, "db")
    assert [change[1] for change in told(days, *MONTH, asset_ids=(db,))] == ["db", "db"]
    assert told(days, *MONTH, source="nobody") == []
    assert len(told(days, *MONTH, source="office")) == 7


def test_pages_have_every_change_once_however_few_words_are_compared_at_a_time(
    days: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = list_changes(days, ChangeQuery(*MONTH))
    monkeypatch.setattr(changes, "CHUNK", 1)
    pages = [list_changes(days, ChangeQuery(*MONTH, limit=2, offset=place)) for place in range(0, 8, 2)]
    assert [change for page, _ in pages for change in page] == whole
    assert [more for _, more in pages] == [True, True, True, False]


def test_a_merged_machine_is_told_under_the_name_of_the_one_it_is_merged_into(days: Connection) -> None:
    web, db = find_asset(days, "web"), find_asset(days, "db")
    merge(days, db, web, actor="li", at=datetime.now(UTC))
    (named,) = days.execute("SELECT hostname FROM ledger.assets WHERE id = %s", [web]).fetchall()
    assert {change[1] for change in told(days, *MONTH, asset_ids=(web,))} == set(named)
    assert len(told(days, *MONTH, asset_ids=(web,))) == 7
    assert len(asset_events(days, [web, db], today=MONTH[1], last=3)) == 3


def test_a_late_file_changes_what_is_told_of_its_days(office: Importing, days: Connection) -> None:
    office.read("2026-03-01", HEADER + "10.0.0.1,web,8,8,prod,10.1.1.2\n", name="late.csv")
    assert [change for change in told(days, *MONTH) if change[0] == 2] == []


def complete(office: Importing, day: str) -> None:
    """Say that the reading of a day was complete and its absences count, as those of a platform do."""
    office.connection.execute(
        "UPDATE ledger.inventories SET complete = true, absences = 'applied' WHERE collected_date = %s", [day]
    )


def test_what_went_missing_and_came_back_is_told_with_when_it_was_last_seen(office: Importing) -> None:
    both = HEADER + "10.0.0.1,web,4,8,,\n10.0.0.2,db,8,16,,\n"
    for day, text in (("01", both), ("02", both), ("03", HEADER + "10.0.0.1,web,4,8,,\n"),
                      ("05", HEADER + "10.0.0.1,web,4,8,,\n"), ("06", both), ("07", both)):  # fmt: skip
        office.read(f"2026-03-{day}", text)
        complete(office, f"2026-03-{day}")
    connection = office.connection
    absences = [change for change in told(connection, *MONTH) if change[2] != "appeared"]
    expected = [(6, "db", "seen again", "record", None, None), (3, "db", "missing", "record", None, None)]
    assert absences == expected
    db = find_asset(connection, "db")
    assert [c for c in told(connection, *MONTH, asset_ids=(db,)) if c[2] != "appeared"] == expected
    assert told(connection, date(2026, 3, 6), date(2026, 3, 7)) == expected[:1]  # the gap began before the window
    assert told(connection, date(2026, 3, 5), date(2026, 3, 5)) == []  # and is not told to begin inside of it
    assert told(connection, date(2026, 3, 3), date(2026, 3, 3)) == expected[1:]
    found, _ = list_changes(connection, ChangeQuery(date(2026, 3, 3), date(2026, 3, 6)))
    assert {change["since"] for change in found} == {date(2026, 3, 2)}


def test_what_went_and_came_back_is_asked_for_by_its_field(office: Importing) -> None:
    both = HEADER + "10.0.0.1,web,4,8,,\n10.0.0.2,db,8,16,,\n"
    for day, text in (("01", both), ("02", HEADER + "10.0.0.1,web,8,8,,\n"), ("03", both)):
        office.read(f"2026-03-{day}", text)
        complete(office, f"2026-03-{day}")
    whole = told(office.connection, *MONTH)
    records = [change for change in whole if change[3] == "record"]
    assert {change[2] for change in records} == {"appeared", "missing", "seen again"}
    assert told(office.connection, *MONTH, field="record") == records
    assert {change[3] for change in whole} <= set(known_fields())


def test_fields_are_known_by_their_names_and_paths_and_nothing_else_is() -> None:
    for name in ("record", "cpu_cores", "hardware.cpu_count", "ip", "network.ip_addresses", "tag", "runs_on", "member_of",
                 "custom_fields.rack", "identity.generation.uuid", "asset_type", "kind"):  # fmt: skip
        assert is_field(name), name
    for name in ("missing", "cpu", "hardware.cpus", "custom_fields.", "relations", "unknown", ""):
        assert not is_field(name), name
    assert set(FIELDS.values()) <= set(known_fields())


def test_what_no_complete_reading_missed_did_not_go(office: Importing) -> None:
    both = HEADER + "10.0.0.1,web,4,8,,\n10.0.0.2,db,8,16,,\n"
    for day, text in (("01", both), ("03", HEADER + "10.0.0.1,web,4,8,,\n"), ("06", both)):
        office.read(f"2026-03-{day}", text)
    assert {change[2] for change in told(office.connection, *MONTH)} == {"appeared"}


def test_the_far_end_of_a_move_has_its_name(office: Importing) -> None:
    office.read("2026-03-01", HEADER + "10.0.0.1,web,4,8,,\n10.0.0.2,esx-2,8,16,,\n")
    office.read("2026-03-02", HEADER + "10.0.0.1,web,8,8,,\n10.0.0.2,esx-2,8,16,,\n")
    for cores, host in ((4, "10.0.0.9"), (8, "10.0.0.2")):
        relation = [{"kind": "runs_on", "external_kind": "machine", "external_id": host}]
        office.connection.execute(
            "UPDATE ledger.normalized_assets SET document = document || %s WHERE hostname = 'web' AND cpu_cores = %s",
            [Jsonb({"relations": relation}), cores],
        )
    (move,), _ = list_changes(office.connection, ChangeQuery(*MONTH, field="runs_on"))
    assert move["change"] == "moved"
    assert move["before"] == {"external_kind": "machine", "external_id": "10.0.0.9", "name": None}
    assert move["after"] == {"external_kind": "machine", "external_id": "10.0.0.2", "name": "esx-2"}
