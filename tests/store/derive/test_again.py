"""What is derived again, by a replay or a rebuild, gives the answers that were given: verdicts, conflicts, and since when
each day has said what it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from asset_ledger.domain.as_of import AsOf
from asset_ledger.store.database import clock
from asset_ledger.store.decide.decisions import retire
from asset_ledger.store.query.as_of import list_as_of
from asset_ledger.store.query.assets import AssetQuery
from tests.store.telling import MACHINE, Telling, document, rebuilt, telling

DAYS = [f"2026-11-{day:02}" for day in range(1, 5)]


@pytest.fixture
def probe(database_url: str) -> Iterator[Telling]:
    with telling(database_url, "probe", platform=False, removal_share=0.3, removal_at_least=3) as told:
        yield told


@pytest.fixture
def lab(database_url: str) -> Iterator[Telling]:
    with telling(database_url) as told:
        yield told


def machines(*names: str) -> dict[str, Any]:
    return {name: document(hostname=name) for name in names}


def absences(told: Telling, day: str) -> str:
    found: str = told.one("SELECT absences FROM ledger.inventories WHERE complete AND collected_date = %s", day)
    return found


def missing(told: Telling) -> set[str]:
    return {row["hostname"] for row in told.rows("SELECT hostname FROM ledger.assets WHERE missing_since IS NOT NULL")}


def as_of(told: Telling, day: str, known_at: datetime) -> set[str]:
    """Return the names of the machines that are listed of a day and not missing, as known at a moment."""
    found, _ = list_as_of(told.connection, AssetQuery(), AsOf(date.fromisoformat(day), known_at))
    return {row["hostname"] for row in found if row["missing_since"] is None}


def silence_of_two_and_then_of_five(probe: Telling) -> None:
    """Two of six unseen apply; a file that comes late tells of three more that the complete reading did not see."""
    probe.tell(DAYS[0], machines(*"abcdef"))
    probe.tell(DAYS[2], machines(*"abcd"), complete=True)
    assert (absences(probe, DAYS[2]), missing(probe)) == ("applied", {"e", "f"})
    probe.tell(DAYS[1], machines(*"axyz"))


def test_a_verdict_on_absences_stays_while_the_parser_is_the_same(probe: Telling) -> None:
    silence_of_two_and_then_of_five(probe)

    probe.tell_again(DAYS[2])
    assert (absences(probe, DAYS[2]), missing(probe)) == ("applied", set("efxyz"))
    rebuilt(probe)
    assert (absences(probe, DAYS[2]), missing(probe)) == ("applied", set("efxyz"))


def test_another_parser_judges_absences_anew_and_releases_nothing_that_is_held(probe: Telling) -> None:
    silence_of_two_and_then_of_five(probe)

    probe.version = 2
    probe.tell_again(DAYS[2])
    assert (absences(probe, DAYS[2]), missing(probe)) == ("held", set())

    probe.version = 3
    probe.tell_again(DAYS[1], x={}, y={}, z={})
    probe.tell_again(DAYS[2])
    assert (absences(probe, DAYS[2]), missing(probe)) == ("held", set()), "a person releases it, no parser does"


def test_what_a_complete_reading_missed_was_not_missing_before_that_was_known(probe: Telling) -> None:
    probe.tell(DAYS[0], machines(*"abcd"))
    before = clock(probe.connection)
    probe.tell(DAYS[1], machines(*"abc"), complete=True)
    after = clock(probe.connection)

    assert as_of(probe, DAYS[1], before) == set("abcd")
    assert as_of(probe, DAYS[1], after) == set("abc")


def test_a_rebuilt_day_was_known_when_the_reading_was_that_told_it_first(probe: Telling) -> None:
    """The evening's reading is derived before the morning's file comes: a rebuild derives them the other way round."""
    start = clock(probe.connection)
    probe.tell(DAYS[0], machines("a"), hour=9)
    between = clock(probe.connection)
    probe.tell(DAYS[0], machines("a", "b"), hour=1)
    end = clock(probe.connection)
    before = probe.rows("SELECT hostname, recorded_at FROM ledger.asset_daily_specs ORDER BY 1")
    assert start < before[0]["recorded_at"] < between < before[1]["recorded_at"] < end

    rebuilt(probe)

    assert probe.rows("SELECT hostname, recorded_at FROM ledger.asset_daily_specs ORDER BY 1") == before
    known = [as_of(probe, DAYS[0], moment) for moment in (start, between, end)]
    assert known == [set(), {"a"}, {"a", "b"}]


def test_a_rebuild_does_not_answer_a_conflict_in_hindsight_and_a_replay_does(lab: Telling, probe: Telling) -> None:
    lab.tell(
        DAYS[0],
        {"1": document(hostname="a", ip="10.0.0.1"), "2": document(hostname="b", ip="10.0.0.1")},
        complete=True,
    )
    told = probe.tell(DAYS[1], {"10.0.0.1": document(kind="machine", ip="10.0.0.1")}, external_kind=MACHINE)
    assert len(told.conflicts) == 1
    (second,) = (row["id"] for row in lab.rows("SELECT id FROM ledger.assets WHERE hostname = 'b'"))
    retire(lab.connection, second, actor="op", at=datetime.now(UTC))
    of_the_probe = "SELECT count(*) FROM ledger.asset_daily_specs WHERE source_id = %s"

    rebuilt(lab, probe)
    assert lab.one(of_the_probe, probe.row.id) == 0
    assert lab.one("SELECT settled_at FROM ledger.identity_resolutions WHERE outcome = 'conflict'") is None

    probe.tell_again(DAYS[1])
    assert lab.one(of_the_probe, probe.row.id) == 1
    rebuilt(lab, probe)
    assert lab.one(of_the_probe, probe.row.id) == 1


def test_an_answer_of_between_two_readings_of_a_day_is_given_again(lab: Telling) -> None:
    others = machines(*"bcdefghij")
    lab.tell(DAYS[0], machines("a") | others, hour=1, complete=True)
    lab.tell(DAYS[0], others, hour=2, complete=True)
    asked = clock(lab.connection)
    assert "a" not in as_of(lab, DAYS[0], asked)

    lab.tell(DAYS[0], machines("a") | others, hour=3, complete=True)

    assert "a" not in as_of(lab, DAYS[0], asked), "that it is seen again was not known then"
    assert "a" in as_of(lab, DAYS[0], clock(lab.connection))
    rebuilt(lab)
    assert "a" not in as_of(lab, DAYS[0], asked)


def test_an_answer_of_while_an_id_was_another_machines_is_given_again(lab: Telling) -> None:
    for hour, uuid in ((1, "u1"), (2, "u2")):
        lab.tell(DAYS[0], {"1": document(hostname=uuid, uuid=uuid)}, hour=hour, complete=True)
    asked = clock(lab.connection)
    assert as_of(lab, DAYS[0], asked) == {"u2"}

    lab.tell(DAYS[0], {"1": document(hostname="u1", uuid="u1")}, hour=3, complete=True)

    assert as_of(lab, DAYS[0], asked) == {"u2"}
    assert as_of(lab, DAYS[0], clock(lab.connection)) == {"u1"}
