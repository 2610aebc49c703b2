"""What people decide against what sources say, reading after reading, and how it is taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from asset_ledger.domain.errors import ASSET_NOT_FOUND, DECISION_INVALID, PermanentError
from asset_ledger.store.database import ledger_lock
from asset_ledger.store.decide import decisions
from asset_ledger.store.decide.merges import merge
from asset_ledger.store.decide.tags import add_tags, remove_tags
from asset_ledger.store.query.assets import find_asset
from tests.pipeline.importing import Importing, importing

AT = datetime(2026, 2, 1, tzinfo=UTC)
LATER = datetime(2026, 2, 2, tzinfo=UTC)
HEADER = "mgmt_ip,hostname,asset_type,os_family,os_version,custom.rack\n"
WEB = "10.0.0.1,web-01,vm,debian,12,R1\n"
WHO = {"actor": "li.lei", "at": AT}


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Importing]:
    with importing(database_url, tmp_path / "inbox") as opened:
        opened.read("2026-01-10", HEADER + WEB + "10.0.0.2,db-02,physical,rhel,9,R2\n")
        yield opened


@pytest.fixture
def web(office: Importing) -> UUID:
    return find_asset(office.connection, "web-01")


def row(office: Importing, asset_id: UUID) -> dict[str, object]:
    (found,) = office.rows("SELECT * FROM ledger.assets WHERE id = %s", asset_id)
    return found


def refused(code: object = DECISION_INVALID, match: str | None = None) -> pytest.RaisesExc[PermanentError]:
    return pytest.raises(PermanentError, match=match, check=lambda error: error.code is code)


@pytest.mark.parametrize(
    ("field", "value", "before"),
    [
        ("hostname", "shop", "web-01"),
        ("asset_type", "physical", "vm"),
        ("os_family", "ubuntu", "debian"),
        ("os_version", "24.04", "12"),
        ("custom_fields.rack", "R9", "R1"),
    ],
)
def test_a_decided_field_stays_through_every_reading_and_cleared_is_the_sources_again(
    office: Importing, web: UUID, field: str, value: str, before: str
) -> None:
    def now() -> object:
        column, _, name = field.partition(".")
        found = row(office, web)[column]
        return found.get(name) if name else found  # type: ignore[attr-defined]

    untouched = row(office, web)
    assert now() == before
    decisions.override(office.connection, web, field, value, **WHO)
    assert now() == value
    for day in ("2026-01-11", "2026-01-12", "2026-01-09"):
        office.read(day, HEADER + WEB)
        assert now() == value
    assert decisions.clear_override(office.connection, web, field, **WHO)
    # that an older day came says when it was first seen, and since when it is so
    older = {"created_at": None, "updated_at": None}
    assert row(office, web) | older == untouched | older
    assert decisions.clear_override(office.connection, web, field, **WHO) is None


def test_a_name_that_a_person_gave_finds_the_machine_and_so_does_the_one_that_sources_give(
    office: Importing, web: UUID
) -> None:
    decisions.override(office.connection, web, "hostname", "shop", **WHO)
    assert find_asset(office.connection, "shop") == find_asset(office.connection, "web-01") == web


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("cpu_cores", "4", "hostname, asset_type, os_family, os_version or custom_fields.NAME"),
        ("custom_fields", "x", "custom_fields.NAME"),
        ("custom_fields.", "x", "custom_fields.NAME"),
        ("custom_fields. ", "x", "custom_fields.NAME"),
        ("custom_fields.db_password", "x", "secret"),
        ("custom_fields.note", "postgresql://me:hunter2@db/x", "key or a token"),
        ("asset_type", "container", "vm, physical, cluster"),
        ("hostname", "two words", "blank"),
        ("hostname", "x" * 254, "253"),
        ("hostname", " ", "unset"),
        ("os_version", "1\x1b[2J", "printed"),
    ],
)
def test_what_cannot_be_decided_is_refused_and_nothing_is_written(
    office: Importing, web: UUID, field: str, value: str, told: str
) -> None:
    with refused(match=told):
        decisions.override(office.connection, web, field, value, **WHO)
    assert office.one("SELECT count(*) FROM ledger.decisions") == 0


def test_a_secret_in_a_note_is_refused(office: Importing, web: UUID) -> None:
    with refused():
        decisions.retire(office.connection, web, **WHO, note="see https://me:hunter2@wiki/x")
    assert row(office, web)["deleted_at"] is None


def test_deciding_what_is_in_force_writes_nothing(office: Importing, web: UUID) -> None:
    first = decisions.override(office.connection, web, "hostname", "shop", **WHO)
    again = decisions.override(office.connection, web, "hostname", " shop ", actor="han.mei", at=LATER)
    assert (first.new, again.new, again.id, again.actor) == (True, False, first.id, "li.lei")
    other = decisions.override(office.connection, web, "hostname", "shop-2", actor="han.mei", at=LATER)
    assert other.new
    assert office.one("SELECT count(*) FROM ledger.decisions") == 2
    assert len(decisions.in_force(office.connection, limit=9)) == 1


def test_true_and_one_are_two_values(office: Importing, web: UUID) -> None:
    with office.connection.transaction():
        ledger_lock(office.connection)
        for value in (True, 1, "1", True):
            made = decisions.decide(office.connection, kind="retired", asset_id=web, value=value, **WHO)
            assert made
            assert made.new


def test_a_retired_machine_is_seen_again_and_stays_retired_until_restored(office: Importing, web: UUID) -> None:
    before = row(office, web)
    assert decisions.restore(office.connection, web, **WHO) is None
    decisions.retire(office.connection, web, **WHO, note="scrapped")
    office.read("2026-01-11", HEADER + WEB)
    assert row(office, web)["deleted_at"] == AT
    assert decisions.restore(office.connection, web, actor="han.mei", at=LATER)
    assert row(office, web) == before


def test_every_decision_is_listed_and_those_that_are_in_force_are_told_apart(office: Importing, web: UUID) -> None:
    db = find_asset(office.connection, "db-02")
    decisions.override(office.connection, web, "os_family", "ubuntu", **WHO)
    decisions.override(office.connection, web, "os_family", "alpine", **WHO, note="seen on site")
    decisions.not_duplicate(office.connection, web, db, **WHO)
    decisions.not_duplicate(office.connection, db, web, dismissed=False, actor="han.mei", at=LATER)
    add_tags(office.connection, db, ["vip", "core"], **WHO)
    remove_tags(office.connection, db, ["vip"], **WHO)
    told = [
        (each["kind"], each["field"], each["value"], each["in_force"])
        for each in decisions.log(office.connection, limit=99)
    ]
    assert told == [
        ("tag", "vip", False, True),
        ("tag", "vip", True, False),
        ("tag", "core", True, True),
        ("not_duplicate", None, None, False),
        ("not_duplicate", None, True, False),
        ("override", "os_family", "alpine", True),
        ("override", "os_family", "ubuntu", False),
    ]  # fmt: skip
    standing = decisions.in_force(office.connection, limit=99)
    assert [(each["kind"], each["field"]) for each in standing] == [
        ("tag", "vip"), ("tag", "core"), ("override", "os_family"),
    ]  # fmt: skip
    assert len(decisions.log(office.connection, asset_id=web, limit=99)) == 4
    assert [each["note"] for each in decisions.in_force(office.connection, kind="override", limit=9)] == [
        "seen on site"
    ]
    (of_db,) = decisions.log(office.connection, asset_id=db, kind="not_duplicate", limit=1)
    assert {of_db["asset"], of_db["other"]} == {"web-01", "db-02"}
    pages = [decisions.log(office.connection, limit=3, offset=at)[0]["id"] for at in (0, 3, 6)]
    assert pages == sorted(pages, reverse=True)


def test_nothing_is_decided_of_what_is_not_there_or_is_merged_into_another(office: Importing, web: UUID) -> None:
    db = find_asset(office.connection, "db-02")
    merge(office.connection, web, db, **WHO)
    many = office.one("SELECT count(*) FROM ledger.decisions")
    acts: list[Callable[[UUID], object]] = [
        lambda asset_id: decisions.override(office.connection, asset_id, "hostname", "x", **WHO),
        lambda asset_id: decisions.clear_override(office.connection, asset_id, "hostname", **WHO),
        lambda asset_id: decisions.retire(office.connection, asset_id, **WHO),
        lambda asset_id: decisions.restore(office.connection, asset_id, **WHO),
        lambda asset_id: add_tags(office.connection, asset_id, ["x"], **WHO),
        lambda asset_id: remove_tags(office.connection, asset_id, ["x"], **WHO),
        lambda asset_id: decisions.not_duplicate(office.connection, asset_id, db, **WHO),
        lambda asset_id: decisions.not_duplicate(office.connection, db, asset_id, dismissed=False, **WHO),
    ]
    for act in acts:
        with refused(ASSET_NOT_FOUND):
            act(uuid4())
        with refused(DECISION_INVALID, f"merged into db-02 .{db}"):
            act(web)
    assert office.one("SELECT count(*) FROM ledger.decisions") == many


def test_a_bad_tag_is_refused_with_all_of_its_call(office: Importing, web: UUID) -> None:
    with refused():
        add_tags(office.connection, web, ["a", "b c"], **WHO)
    assert office.one("SELECT count(*) FROM ledger.decisions") == 0


def test_no_asset_is_no_duplicate_of_itself(office: Importing, web: UUID) -> None:
    with refused():
        decisions.not_duplicate(office.connection, web, web, **WHO)
