"""Machines that had one external id one after the other, told in any order: each record stays with the machine it was
first given to, whatever the ledger learned since.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.errors import LedgerError
from tests.faults import spoken
from tests.faults.ledgers import assert_same, derived, rebuilt_differences
from tests.faults.spoken import Speaker, speaking
from tests.faults.stories import HOURS, SAID, STORIES
from tests.postgres import create_database, database_name, drop_database

DAYS = [f"2026-10-{day:02}" for day in range(1, 7)]
READING = st.tuples(st.sampled_from(DAYS), HOURS, SAID, st.booleans())
READINGS = st.lists(READING, min_size=2, max_size=9)


def one(generation: dict[str, str] | None = None, **facts: Any) -> dict[str, Any]:
    return {"id": "a", **({"generation": generation} if generation else {}), **facts}


def asset_of(speaker: Speaker, day: str) -> Any:
    """Return the one asset that has a row of a day."""
    (found,) = speaker.connection.execute(
        "SELECT asset_id FROM ledger.asset_daily_specs WHERE collected_date = %s", [day]
    ).fetchall()
    return found[0]


def attributed(speaker: Speaker) -> list[Any]:
    return speaker.connection.execute("SELECT * FROM ledger.identity_attributions ORDER BY 1, 2, 3").fetchall()


def conflicts(speaker: Speaker) -> bool:
    """Say whether there were any: a replay, which a person starts, may answer them."""
    found = speaker.connection.execute("SELECT FROM ledger.identity_resolutions WHERE outcome = 'conflict'").fetchone()
    return found is not None


def assert_rebuilds(speaker: Speaker) -> None:
    found = rebuilt_differences(speaker.connection, speaker.source)
    assert not found, "\n".join(found[:20])


@contextmanager
def speaker_of_its_own(template: str) -> Iterator[Speaker]:
    url = create_database(template, template=database_name(template))
    try:
        with speaking(url) as speaker:
            yield speaker
    finally:
        drop_database(url)


def tell(speaker: Speaker, readings: list[Any]) -> None:
    for day, at, records, complete in readings:
        with suppress(LedgerError):
            speaker.say(day, *records, at=at, complete=complete)


@STORIES
@given(readings=READINGS, again=st.permutations(DAYS))
def test_who_a_record_is_hangs_on_no_order_and_no_replay(
    template_database: str, readings: list[Any], again: list[str]
) -> None:
    with speaker_of_its_own(template_database) as speaker:
        tell(speaker, readings)
        before = derived(speaker.connection)
        for day in again[:3]:
            if any(day == told for told, *_ in readings):
                speaker.derive(day)
        if not conflicts(speaker):
            assert_same(before, derived(speaker.connection))
        assert_rebuilds(speaker)


@STORIES
@given(readings=READINGS, again=st.permutations(DAYS), mended=st.integers(1, 8))
def test_a_mended_parser_that_tells_machines_apart_leaves_what_a_rebuild_finds(
    template_database: str, monkeypatch: pytest.MonkeyPatch, readings: list[Any], again: list[str], mended: int
) -> None:
    told = [day for day in again if any(day == reading[0] for reading in readings)]
    spoken.parser(monkeypatch, spoken.MISREAD)
    with speaker_of_its_own(template_database) as speaker:
        tell(speaker, readings[:mended])
        spoken.parser(monkeypatch, spoken.RIGHT)
        tell(speaker, readings[mended:])
        for day in told:
            speaker.derive(day)
        before = derived(speaker.connection)
        for day in told[::-1]:
            speaker.derive(day)
        if not conflicts(speaker):
            assert_same(before, derived(speaker.connection))
        assert_rebuilds(speaker)


def test_a_silent_record_of_a_late_day_stays_with_the_machine_it_was_given_to(database_url: str) -> None:
    with speaking(database_url) as speaker:
        speaker.say(DAYS[2], one({"uuid": "2"}))
        speaker.say(DAYS[1], one())
        speaker.say(DAYS[0], one({"uuid": "1"}))

        assert asset_of(speaker, DAYS[1]) == asset_of(speaker, DAYS[2]) != asset_of(speaker, DAYS[0])
        for day in DAYS[:3]:
            speaker.derive(day)
        assert asset_of(speaker, DAYS[1]) == asset_of(speaker, DAYS[2])
        assert attributed(speaker) == [], "there was one machine then: that it was the one needs no keeping"
        assert_rebuilds(speaker)


def test_a_choice_among_machines_that_no_fact_makes_again_is_kept(database_url: str) -> None:
    with speaking(database_url) as speaker:
        speaker.say(DAYS[0], one({"uuid": "1"}))
        speaker.say(DAYS[3], one({"uuid": "2"}))
        speaker.say(DAYS[1], one())
        speaker.say(DAYS[4], one())

        # the late day belongs to the machine of that time; the newest one is what is taken where nothing was kept
        assert asset_of(speaker, DAYS[1]) == asset_of(speaker, DAYS[0])
        assert asset_of(speaker, DAYS[4]) == asset_of(speaker, DAYS[3])
        assert len(attributed(speaker)) == 1
        speaker.say(DAYS[2], one({"uuid": "3"}))
        speaker.derive(DAYS[1])
        assert asset_of(speaker, DAYS[1]) == asset_of(speaker, DAYS[0])
        assert_rebuilds(speaker)


def test_a_day_of_which_the_first_reading_was_another_machine_by_today_s_words_is_derived_again_alike(
    database_url: str,
) -> None:
    with speaking(database_url) as speaker:
        # facts that change one after the other within a day: the last word has nothing in common with the first
        speaker.say(DAYS[0], one({"created": "1", "uuid": "1"}), at="08:00")
        speaker.say(DAYS[0], one({"created": "1", "uuid": "2"}), at="09:00")
        speaker.say(DAYS[0], one({"created": "2", "uuid": "2"}), at="10:00")
        speaker.derive(DAYS[0])

        assert speaker.connection.execute("SELECT count(*) FROM ledger.assets").fetchone() == (1,)
        assert_rebuilds(speaker)


def test_a_chain_of_facts_of_which_the_middle_came_first_is_one_machine_after_a_rebuild(database_url: str) -> None:
    with speaking(database_url) as speaker:
        speaker.say(DAYS[0], one({"created": "1", "uuid": "1"}))
        speaker.say(DAYS[2], one({"created": "1", "uuid": "2"}))
        speaker.say(DAYS[1], one({"created": "2", "uuid": "2"}))

        assert speaker.connection.execute("SELECT count(*) FROM ledger.assets").fetchone() == (1,)
        assert_rebuilds(speaker)
        assert speaker.connection.execute("SELECT count(*) FROM ledger.assets").fetchone() == (1,)


def test_a_mended_parser_that_reads_which_machine_it_was_gives_the_day_to_that_one(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken.parser(monkeypatch, spoken.MISREAD)
    with speaking(database_url) as speaker:
        speaker.say(DAYS[0], one({"uuid": "1"}))
        speaker.say(DAYS[3], one({"uuid": "2"}))
        speaker.say(DAYS[1], one(mended={"generation": {"uuid": "2"}}))
        speaker.say(DAYS[2], one(cores=2, mended={"hostname": "a"}))
        assert asset_of(speaker, DAYS[1]) == asset_of(speaker, DAYS[2]) == asset_of(speaker, DAYS[0])

        spoken.parser(monkeypatch, spoken.RIGHT)
        for day in (DAYS[1], DAYS[2], DAYS[0], DAYS[3]):
            speaker.derive(day)

        assert asset_of(speaker, DAYS[1]) == asset_of(speaker, DAYS[3]), "now its facts say so"
        assert asset_of(speaker, DAYS[2]) == asset_of(speaker, DAYS[0]), "its facts say what they said"
        assert [row[3] for row in attributed(speaker)] == [1]
        assert_rebuilds(speaker)


def test_what_two_machines_do_not_tell_alike_is_no_reason_to_take_one_for_the_other(database_url: str) -> None:
    with speaking(database_url) as speaker:
        speaker.say(DAYS[0], one({"created": "1", "uuid": "1"}))
        speaker.say(DAYS[1], one({"created": "1"}))
        speaker.say(DAYS[2], one({"uuid": "2"}))

        assert asset_of(speaker, DAYS[0]) == asset_of(speaker, DAYS[1]) != asset_of(speaker, DAYS[2])
        assert_rebuilds(speaker)


def test_a_failure_stays_off_a_machine_that_was_learned_of_later(database_url: str) -> None:
    with speaking(database_url) as speaker:
        speaker.say(DAYS[1], one(failed=True))
        speaker.say(DAYS[0], one({"uuid": "1"}))
        speaker.derive(DAYS[1])

        assert speaker.connection.execute("SELECT count(*) FROM ledger.asset_daily_specs").fetchone() == (1,)
        assert_rebuilds(speaker)


def test_a_mended_parser_may_find_a_third_machine_on_the_last_day_of_the_second(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken.parser(monkeypatch, spoken.MISREAD)
    with speaking(database_url) as speaker:
        speaker.say(DAYS[0], one({"uuid": "1"}))
        speaker.say(DAYS[1], one({"uuid": "2"}, mended={"generation": {"uuid": "3"}}))

        spoken.parser(monkeypatch, spoken.RIGHT)
        speaker.derive(DAYS[1])
        speaker.derive(DAYS[0])

        links = speaker.connection.execute(
            "SELECT generation ->> 'uuid', closed_at IS NULL FROM ledger.asset_source_links ORDER BY id"
        ).fetchall()
        assert links == [("1", False), ("3", True)]
        assert_rebuilds(speaker)


def test_a_failure_is_as_old_as_the_first_reading_of_the_day_in_which_it_failed(database_url: str) -> None:
    with speaking(database_url) as speaker:
        speaker.say(DAYS[0], one())
        speaker.say(DAYS[1], one(failed=True), at="10:00")
        speaker.say(DAYS[1], one(failed=True), at="08:00")
        speaker.say(DAYS[1], one(failed=True), at="12:00")

        hours = speaker.connection.execute(
            "SELECT collected_at - first_at, inventory_id FROM ledger.asset_daily_specs WHERE normalized_id IS NULL"
        ).fetchall()
        assert [(str(span), inventory) for span, inventory in hours] == [("4:00:00", 4)]
        assert_rebuilds(speaker)


def test_a_late_reading_of_one_address_takes_the_failure_of_another_of_the_machine_back(database_url: str) -> None:
    def machine(ip: str, **facts: Any) -> dict[str, Any]:
        return {"kind": spoken.MACHINE, "id": ip, "ip": "10.0.0.2", **facts}

    with speaking(database_url) as speaker:
        speaker.say(DAYS[0], machine("10.0.0.2"))
        speaker.say(DAYS[0], machine("10.0.0.3"), at="10:00")
        speaker.say(DAYS[1], machine("10.0.0.2", failed=True), at="10:00")
        failed = "SELECT count(*) FROM ledger.asset_daily_specs WHERE normalized_id IS NULL"
        assert speaker.connection.execute(failed).fetchone() == (1,)
        speaker.say(DAYS[1], machine("10.0.0.3"), at="08:00")

        assert speaker.connection.execute("SELECT count(*) FROM ledger.assets").fetchone() == (1,)
        assert speaker.connection.execute(failed).fetchone() == (0,)
        assert_rebuilds(speaker)


def test_another_parser_that_reads_the_same_facts_moves_no_record(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken.parser(monkeypatch, spoken.MISREAD)
    with speaking(database_url) as speaker:
        speaker.say(DAYS[2], one({"uuid": "2"}))
        speaker.say(DAYS[1], one(mended={"cores": 2}))
        speaker.say(DAYS[0], one({"uuid": "1"}))

        spoken.parser(monkeypatch, spoken.RIGHT)
        for day in DAYS[:3]:
            speaker.derive(day)

        assert asset_of(speaker, DAYS[1]) == asset_of(speaker, DAYS[2])
        assert_rebuilds(speaker)


def test_a_conflict_that_a_replay_answered_stays_answered_when_a_machine_of_an_earlier_day_is_learned_of(
    database_url: str,
) -> None:
    def told(generation: dict[str, str] | None = None) -> dict[str, Any]:
        facts = {"generation": generation} if generation else {}
        return {"kind": spoken.MACHINE, "id": "10.0.0.2", "ip": "10.0.0.2", **facts}

    answered = """SELECT d.link_id FROM ledger.asset_daily_specs d JOIN ledger.identity_resolutions r ON r.id = d.link_id
        WHERE r.external_kind = 'machine' AND d.collected_date = %s"""
    with speaking(database_url) as speaker:
        speaker.say(DAYS[1], {"id": "b", "ip": "10.0.0.2"}, one(ip="10.0.0.2"), at="08:00")
        assert speaker.say(DAYS[1], told(), at="10:00")[0].conflicts
        speaker.say(DAYS[2], {"id": "b", "ip": "10.0.0.9"}, at="08:00")
        speaker.say(DAYS[2], told({"uuid": "1"}), at="10:00")
        speaker.derive(DAYS[1])
        speaker.say(DAYS[0], told({"uuid": "2"}))

        (given_to,) = speaker.connection.execute(answered, [DAYS[1]]).fetchall()
        assert [given_to] == speaker.connection.execute(answered, [DAYS[2]]).fetchall()
        assert_rebuilds(speaker)


def test_what_a_mended_parser_reads_in_an_earlier_reading_of_the_day_was_not_known_since_that_was_derived(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken.parser(monkeypatch, spoken.MISREAD)
    with speaking(database_url) as speaker:
        speaker.say(DAYS[0], one())
        speaker.say(DAYS[1], {"id": "b", "cores": 2, "overlooked": 1}, {"id": "c", "failed": True}, at="08:00")
        speaker.say(DAYS[0], {"id": "c"}, at="10:00")
        spoken.parser(monkeypatch, spoken.RIGHT)
        speaker.say(DAYS[1], {"id": "b", "cores": 2}, {"id": "c", "failed": True}, at="10:00")
        for day in DAYS[:2]:
            speaker.derive(day)

        assert_rebuilds(speaker)
