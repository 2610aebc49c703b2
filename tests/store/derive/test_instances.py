"""Database instances are what their days say: late files, corrected days and mended parsers, in whatever order they come."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from asset_ledger.domain.inventory import InstanceRecord, Item
from asset_ledger.domain.outcome import Outcome
from asset_ledger.domain.raw import RawRecord
from asset_ledger.pipeline.derive import plan_day
from asset_ledger.pipeline.ledger import source_row
from asset_ledger.sources import import_files
from asset_ledger.sources.import_files.parse import parse as real_parse
from asset_ledger.sources.registry import platform
from asset_ledger.store.decide.link_decisions import confirm_link, instance_page
from asset_ledger.store.derive.links import relink
from tests.faults.ledgers import derived, rebuilt_differences
from tests.pipeline.importing import Importing, everything, importing

DAYS = ("2026-11-01", "2026-11-02", "2026-11-03")
HEADER = "name,host,port,db_type,custom.owner\n"
Parser = Callable[[Callable[[InstanceRecord], InstanceRecord | None]], None]


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parser]:
    """Put a parser in place, a version further, that says of each instance what a function makes of it."""

    def become(say: Callable[[InstanceRecord], InstanceRecord | None]) -> None:
        was = platform("import")

        def parse(raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:
            # another parser's records are recognised by none of these digests
            for item in real_parse(raw, {}):
                said = say(item) if isinstance(item, InstanceRecord) else item
                if said is not None:
                    yield said

        version = was.parser_version + 1
        monkeypatch.setattr(import_files, "PLATFORM", replace(was, parse=parse, parser_version=version))
        platform.cache_clear()

    yield become
    monkeypatch.undo()
    platform.cache_clear()


@pytest.fixture
def others() -> list[Importing]:
    """Further sources over the same ledger."""
    return []


@pytest.fixture
def office(database_url: str, tmp_path: Path, parser: Parser, others: list[Importing]) -> Iterator[Importing]:
    """An import source over an empty ledger. What a test leaves must be what a rebuild with its parser gives."""
    with importing(database_url, tmp_path / "inbox") as made:
        yield made
        for source in (made, *others):
            version = platform("import").parser_version
            query = (
                "SELECT DISTINCT collected_date FROM ledger.inventories WHERE source_id = %s AND parser_version <> %s"
            )
            for day in made.rows(query, source.row.id, version):
                source.derive(day["collected_date"].isoformat())
        assert rebuilt_differences(made.connection, made.source, *(other.source for other in others)) == []


def tell(office: Importing, day: str, *rows: str, hour: int = 1) -> Outcome:
    """Import a file of instances that came at an hour of its day; a row is `name,host,port,db_type,owner`."""
    text = HEADER + "\n".join(rows) + "\n"
    (taken,) = office.take(day, office.drop(f"instances_{day}_{hour}.csv", text))
    assert taken.state == "taken", taken
    office.connection.execute(
        "UPDATE ledger.inventories SET collected_at = %s WHERE status = 'raw'",
        [datetime.combine(date.fromisoformat(day), time(hour), UTC)],
    )
    return office.derive(day)[-1]


def now(office: Importing) -> dict[str, Any]:
    """Return what each instance is of, with the days and hours on which it was seen first and last."""
    found = office.rows("SELECT * FROM ledger.database_instances")
    return {each["name"]: each for each in found}


def types(office: Importing) -> dict[str, str | None]:
    return {name: each["db_type"] for name, each in now(office).items()}


def links(office: Importing) -> list[dict[str, Any]]:
    return office.rows(
        "SELECT i.name, a.hostname, l.match_status, l.matched_by_rule FROM ledger.instance_asset_links l "
        "LEFT JOIN ledger.database_instances i ON i.id = l.instance_id JOIN ledger.assets a ON a.id = l.asset_id ORDER BY 1"
    )


def without(*names: str) -> Callable[[InstanceRecord], InstanceRecord | None]:
    return lambda record: None if record.name in names else record


def as_it_is(record: InstanceRecord) -> InstanceRecord:
    return record


def test_what_a_mended_parser_does_not_tell_any_more_is_gone_with_its_links(office: Importing, parser: Parser) -> None:
    office.read(DAYS[0], "mgmt_ip,hostname\n10.0.0.1,db-01\n")
    tell(office, DAYS[0], "orders,10.0.0.1,5432,mysql,", "total,10.0.0.1,2,,")
    relink(office.connection)
    assert {each["name"] for each in links(office)} == {"orders", "total"}
    parser(without("total"))
    office.derive(DAYS[0])
    assert set(now(office)) == {"orders"}
    assert [each["name"] for each in links(office)] == ["orders"], "at once, not when links are made next"
    assert office.one("SELECT count(*) FROM ledger.instance_daily_specs") == 1


def test_what_another_day_still_tells_is_what_that_day_says(office: Importing, parser: Parser) -> None:
    for day, kind in zip(DAYS, ("mysql", "mariadb", "oracle"), strict=True):
        tell(office, day, f"orders,10.0.0.1,5432,{kind},", "stock,10.0.0.1,1,,")
    parser(lambda record: None if record.db_type == "oracle" else record)
    office.derive(DAYS[2])
    orders, stock = now(office)["orders"], now(office)["stock"]
    assert (orders["db_type"], orders["last_seen_date"]) == ("mariadb", date(2026, 11, 2))
    assert orders["last_seen_at"].date() == date(2026, 11, 2)
    assert (orders["first_seen_at"].date(), stock["last_seen_date"]) == (date(2026, 11, 1), date(2026, 11, 3))
    parser(lambda record: None if record.db_type in ("oracle", "mysql") else record)
    office.derive(DAYS[0])
    assert now(office)["orders"]["first_seen_at"].date() == date(2026, 11, 2)
    assert now(office)["orders"]["inventory_id"] == office.one(
        "SELECT id FROM ledger.inventories WHERE collected_date = %s", DAYS[1]
    )


def test_of_a_day_whose_first_file_does_not_tell_it_any_more_the_second_says_since_when(
    office: Importing, parser: Parser
) -> None:
    tell(office, DAYS[0], "orders,10.0.0.1,5432,mysql,")
    tell(office, DAYS[0], "orders,10.0.0.1,5432,oracle,", hour=2)
    first, second = office.rows("SELECT collected_at FROM ledger.inventories ORDER BY collected_at, id")
    assert now(office)["orders"]["first_seen_at"] == first["collected_at"]
    parser(lambda record: None if record.db_type == "mysql" else record)
    office.derive(DAYS[0])
    assert now(office)["orders"]["first_seen_at"] == second["collected_at"]


def test_of_a_day_whose_last_file_does_not_tell_it_any_more_the_first_counts(office: Importing, parser: Parser) -> None:
    tell(office, DAYS[0], "orders,10.0.0.1,5432,mysql,")
    tell(office, DAYS[0], "orders,10.0.0.1,5432,oracle,", hour=2)
    first, _ = office.rows("SELECT id, collected_at FROM ledger.inventories ORDER BY collected_at, id")
    parser(lambda record: None if record.db_type == "oracle" else record)
    office.derive(DAYS[0])
    orders = now(office)["orders"]
    assert (orders["db_type"], orders["inventory_id"]) == ("mysql", first["id"])
    assert orders["last_seen_at"] == first["collected_at"]


def test_a_late_file_says_nothing_of_later_days(office: Importing) -> None:
    tell(office, DAYS[2], "orders,10.0.0.1,5432,oracle,")
    done = tell(office, DAYS[0], "orders,10.0.0.1,5432,mysql,", "old,10.0.0.1,1,mysql,")
    orders = now(office)["orders"]
    assert (orders["db_type"], orders["last_seen_date"]) == ("oracle", date(2026, 11, 3))
    assert orders["first_seen_at"].date() == date(2026, 11, 1)
    assert (done.instances_new, done.instances_changed, done.instances_unchanged) == (1, 0, 1)


def test_a_late_file_is_compared_with_the_days_before_it(office: Importing) -> None:
    tell(office, DAYS[0], "orders,10.0.0.1,5432,mysql,", "stock,10.0.0.1,1,mysql,")
    tell(office, DAYS[2], "orders,10.0.0.1,5432,oracle,", "stock,10.0.0.1,1,oracle,")
    late = tell(office, DAYS[1], "orders,10.0.0.1,5432,mysql,", "stock,10.0.0.1,1,oracle,")
    assert (late.instances_new, late.instances_changed, late.instances_unchanged) == (0, 1, 1)
    again = tell(office, DAYS[1], "orders,10.0.0.1,5432,mariadb,", "stock,10.0.0.1,1,oracle,", hour=2)
    assert (again.instances_new, again.instances_changed, again.instances_unchanged) == (0, 1, 1)


def test_of_the_days_before_a_late_file_the_latest_is_compared(office: Importing) -> None:
    for day, kind in (("2026-11-01", "mysql"), ("2026-11-02", "oracle"), ("2026-11-04", "mysql")):
        tell(office, day, f"orders,10.0.0.1,5432,{kind},")
    late = tell(office, DAYS[2], "orders,10.0.0.1,5432,oracle,")
    assert (late.instances_new, late.instances_changed, late.instances_unchanged) == (0, 0, 1)


def test_the_second_file_of_a_day_counts_for_what_it_tells(office: Importing) -> None:
    tell(office, DAYS[0], "orders,10.0.0.1,5432,mysql,", "stock,10.0.0.1,1,mysql,")
    second = tell(office, DAYS[0], "orders,10.0.0.1,5432,oracle,", hour=2)
    assert (second.instances_new, second.instances_changed, second.instances_unchanged) == (0, 1, 0)
    assert types(office) == {"orders": "oracle", "stock": "mysql"}
    at = office.rows("SELECT collected_at FROM ledger.inventories ORDER BY collected_at, id")
    orders = now(office)["orders"]
    assert (orders["first_seen_at"], orders["last_seen_at"]) == (at[0]["collected_at"], at[1]["collected_at"])


def test_a_replay_with_the_same_parser_changes_nothing_and_says_so(office: Importing) -> None:
    for day, kind in zip(DAYS, ("mysql", "oracle", "mysql"), strict=True):
        tell(office, day, f"orders,10.0.0.1,5432,{kind},", f"{kind},10.0.0.1,1,{kind},")
        tell(office, day, f"orders,10.0.0.1,5432,{kind},", hour=2)
    before = derived(office.connection)
    for day in (DAYS[1], DAYS[0], DAYS[2], DAYS[1]):
        for outcome in office.derive(day):
            assert (outcome.instances_new, outcome.instances_changed) == (0, 0)
        assert derived(office.connection) == before


def test_what_is_planned_of_a_replay_is_not_done(office: Importing, parser: Parser) -> None:
    tell(office, DAYS[0], "orders,10.0.0.1,5432,mysql,")
    before = everything(office.connection)
    parser(without("orders"))
    plan_day(office.connection, office.source, office.row, date.fromisoformat(DAYS[0]))
    assert everything(office.connection) == before
    office.derive(DAYS[0])
    assert now(office) == {}


def test_a_confirmed_link_outlives_its_instances_going(office: Importing, parser: Parser) -> None:
    office.read(DAYS[0], "mgmt_ip,hostname\n10.0.0.1,db-01\n10.0.0.2,db-02\n")
    tell(office, DAYS[0], "orders,10.0.0.1,5432,mysql,")
    instance: UUID = now(office)["orders"]["id"]
    other: UUID = office.one("SELECT id FROM ledger.assets WHERE hostname = 'db-02'")
    confirm_link(office.connection, instance, other, actor="li.lei", at=datetime(2026, 11, 5, tzinfo=UTC))
    confirmed = links(office)
    assert {
        "name": "orders",
        "hostname": "db-02",
        "match_status": "confirmed",
        "matched_by_rule": "person",
    } in confirmed
    parser(without("orders"))
    office.derive(DAYS[0])
    relink(office.connection)
    assert links(office) == []
    parser(as_it_is)
    office.derive(DAYS[0])
    relink(office.connection)
    assert now(office)["orders"]["id"] == instance
    assert links(office) == confirmed


def test_another_sources_instance_of_the_same_key_is_its_own(
    office: Importing, others: list[Importing], parser: Parser, database_url: str, tmp_path: Path
) -> None:
    tell(office, DAYS[0], "orders,10.0.0.1,5432,mysql,")
    tell(office, DAYS[1], "orders,10.0.0.1,5432,mysql,")
    source = office.source.model_copy(update={"name": "branch", "inbox": tmp_path / "branch"})
    source.inbox.mkdir()
    branch = Importing(office.connection, source, source_row(office.connection, source))
    others.append(branch)
    tell(branch, DAYS[0], "orders,10.0.0.1,5432,oracle,")
    before = office.rows("SELECT * FROM ledger.database_instances WHERE source_id = %s", office.row.id)
    assert len(office.rows("SELECT FROM ledger.database_instances")) == 2
    parser(without("orders"))
    branch.derive(DAYS[0])
    assert office.rows("SELECT * FROM ledger.database_instances") == before
    parser(as_it_is)
    branch.derive(DAYS[0])
    assert len(office.rows("SELECT FROM ledger.database_instances")) == 2


def test_instances_move_with_their_source_to_another_zone(office: Importing) -> None:
    tell(office, DAYS[0], "orders,10.0.0.1,5432,mysql,")
    office.source = office.source.model_copy(update={"zone": "vpc"})
    office.row = source_row(office.connection, office.source)
    assert now(office)["orders"]["zone"] == "vpc"


def test_a_page_says_what_changed_of_an_instance_from_day_to_day(office: Importing) -> None:
    tell(office, DAYS[0], "orders,10.0.0.1,5432,mysql,ann")
    tell(office, DAYS[2], "orders,10.0.0.1,5432,oracle,bob")
    tell(office, DAYS[1], "orders,10.0.0.1,5432,mysql,bob")
    page = instance_page(office.connection, now(office)["orders"]["id"])
    assert page["changes"] == [
        {"collected_date": date(2026, 11, 3), "field": "db_type", "before": "mysql", "after": "oracle"},
        {"collected_date": date(2026, 11, 2), "field": "custom_fields.owner", "before": "ann", "after": "bob"},
    ]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_order_days_come_and_are_derived_again_in_the_instances_are_what_a_rebuild_gives(
    office: Importing, parser: Parser, seed: int
) -> None:
    chance = random.Random(seed)
    names = ("a", "b", "c", "d")
    came: list[str] = []

    def rows(only: str) -> list[str]:
        told = [
            f"{name},10.0.0.1,1,{chance.choice(['mysql', 'oracle', ''])}," for name in names if chance.random() < 0.6
        ]
        return [*told, f"{only},10.0.0.1,1,mysql,"]

    for number in range(10):
        if came and chance.random() < 0.4:
            hidden = chance.choice(names)
            parser(chance.choice([without(hidden), lambda record: None if record.db_type == "oracle" else record]))
            office.derive(chance.choice(came))
        else:
            day = chance.choice(DAYS)
            tell(office, day, *rows(f"only-{number}"), hour=chance.randrange(20))
            came.append(day)
        _pure(office)
    parser(chance.choice([as_it_is, without("a"), lambda record: replace(record, db_type="known")]))
    days = sorted(set(came))
    chance.shuffle(days)
    for day in days:
        office.derive(day)
        _pure(office)


def _pure(office: Importing) -> None:
    """Assert that each instance is what its days say, and that nothing else is there."""
    days = office.rows("SELECT * FROM ledger.instance_daily_specs ORDER BY collected_date")
    expected: dict[str, dict[str, Any]] = {}
    for day in days:
        first = min(day["first_at"], expected.get(day["name"], day).get("first_seen_at", day["first_at"]))
        expected[day["name"]] = {
            "first_seen_at": first,
            "last_seen_date": day["collected_date"],
            "last_seen_at": day["collected_at"],
            **{column: day[column] for column in ("db_type", "inventory_id", "instance_key", "custom_fields")},
        }
    found = {name: {key: each[key] for key in expected.get(name, each)} for name, each in now(office).items()}
    assert found == expected
