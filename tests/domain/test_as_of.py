"""What a question about the past means, and what a machine was on a day from what its sources said by then."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from asset_ledger.domain.as_of import AsOf, day_end, parse_as_of, parse_moment
from asset_ledger.domain.day_values import DayRow, DayValue, values_on
from asset_ledger.domain.history import CARRY_DAYS

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
DAY = date(2026, 11, 10)


def test_a_day_means_the_knowledge_of_its_end_in_shanghai() -> None:
    assert day_end(date(2026, 11, 3)) == datetime(2026, 11, 3, 16, tzinfo=UTC)
    assert parse_moment("2026-11-03", now=NOW) == datetime(2026, 11, 3, 15, 59, 59, 999_999, tzinfo=UTC)
    assert parse_moment("2026-11-22", now=NOW) == NOW  # today has not ended
    assert parse_as_of(None, "2026-11-03T16:00:00Z", now=NOW).day == date(2026, 11, 4)
    assert parse_as_of(None, "2026-11-04T00:00+08:00", now=NOW).day == date(2026, 11, 4)
    assert parse_as_of("2026-11-01", "2026-11-03", now=NOW).day == date(2026, 11, 1)


def test_what_was_decided_counts_to_the_end_of_the_day_or_to_the_moment_of_knowledge() -> None:
    asked = AsOf(date(2026, 11, 3))
    assert asked.decided_before == day_end(asked.day)
    early = datetime(2026, 11, 3, 1, tzinfo=UTC)
    assert AsOf(asked.day, early).decided_before == early + timedelta(microseconds=1)
    assert AsOf(asked.day, NOW).decided_before == day_end(asked.day)


@pytest.mark.parametrize(
    ("as_of", "known_at", "why"),
    [
        ("2026-11-23", None, "has not come yet"),
        ("2026-02-30", None, "no day of the calendar"),
        ("yesterday", None, "write it as YYYY-MM-DD"),
        ("20261103", None, "write it as YYYY-MM-DD"),
        ("2019-12-31", None, "before the ledger begins"),
        (None, "2026-11-23", "has not come yet"),
        (None, "2026-11-22T02:00:01Z", "has not come yet"),
        (None, "2026-11-03T10:00", "has no time zone"),
        (None, "soon", "no instant"),
        (None, "0001-01-01T00:00+14:00", "no instant of the calendar"),
        (None, "2019-01-01T00:00Z", "before the ledger begins"),
        ("2026-11-05", "2026-11-04", "nothing was known of it"),
        (None, None, "name a day"),
    ],
)
def test_nonsense_is_refused_with_a_reason(as_of: str | None, known_at: str | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_as_of(as_of, known_at, now=NOW)


def row(days_before: int = 0, source: int = 1, *, link: int | None = None, rank: int = 10, **more: Any) -> DayRow:
    day = DAY - timedelta(days=days_before)
    given: dict[str, Any] = {"own": True, "said": True, "values": {}, "unknown": {}, **more}
    return DayRow(
        day=day,
        source=f"s{source}",
        source_id=source,
        link_id=link or source,
        naming_rank=rank,
        specs_rank=rank,
        os_rank=rank,
        collected_at=datetime(day.year, day.month, day.day, tzinfo=UTC),
        **given,
    )


def cpu(*rows: DayRow) -> DayValue:
    return values_on(DAY, rows, {}, ["cpu_cores"])["cpu_cores"]


def test_the_better_ranked_source_counts_and_a_decision_before_all() -> None:
    rows = [row(source=1, rank=20, values={"cpu_cores": 4}), row(source=2, rank=10, values={"cpu_cores": 8})]
    assert cpu(*rows) == cpu(*reversed(rows)) == DayValue(8, "observed", DAY, "s2")
    named = values_on(DAY, [row(values={"hostname": "web"})], {"hostname": ("boss", "li.lei")})["hostname"]
    assert named == DayValue("boss", "decided", source="li.lei")


def test_a_latest_word_that_knows_a_value_goes_before_an_older_one_of_a_better_source() -> None:
    better = [row(values={}), row(3, values={"cpu_cores": 8})]
    assert cpu(*better, row(source=2, rank=20, values={"cpu_cores": 4})) == DayValue(4, "observed", DAY, "s2")
    assert cpu(*better) == DayValue(8, "carried", DAY - timedelta(days=3), "s1")


def test_of_one_source_the_newest_then_the_assets_own_then_the_later_word_counts() -> None:
    own, merged = row(values={"cpu_cores": 4}), row(link=9, own=False, values={"cpu_cores": 8})
    assert cpu(own, merged).value == 4
    assert cpu(row(1, values={"cpu_cores": 4}), merged).value == 8
    # the other's word is not lost: it fills what the own one does not know
    assert cpu(row(values={}), merged) == DayValue(8, "observed", DAY, "s1")


def test_a_value_is_carried_over_later_words_of_its_source_for_a_while_and_over_silence_for_ever() -> None:
    told = {"cpu_cores": 8}
    assert cpu(row(400, values=told)).value == cpu(row(), row(CARRY_DAYS, values=told)).value == 8
    assert cpu(row(), row(CARRY_DAYS + 1, values=told)).state == "unknown"
    assert cpu(row(), row(CARRY_DAYS + 1, link=9, values=told)).state == "unknown"
    assert cpu(row(), row(CARRY_DAYS + 1, source=2, values=told)).value == 8


def test_a_record_whose_id_went_to_another_counts_after_one_that_is_open() -> None:
    closed = row(link=9, closed=True, values={"cpu_cores": 8})
    assert cpu(row(3, values={"cpu_cores": 4}), closed) == DayValue(4, "carried", DAY - timedelta(days=3), "s1")
    assert cpu(closed).value == 8


def test_a_state_of_a_moment_is_not_carried_over_a_later_word() -> None:
    rows = [row(values={}), row(1, values={"power_state": "running"})]
    assert values_on(DAY, rows, {}, ["power_state"])["power_state"].state == "unknown"
    assert values_on(DAY, rows[1:], {}, ["power_state"])["power_state"] == DayValue(
        "running", "carried", DAY - timedelta(days=1), "s1"
    )


def test_what_is_not_known_has_a_reason() -> None:
    assert cpu(row(unknown={"hardware.cpu_count": "SSH_SECTION_FAILED"})).reason == "SSH_SECTION_FAILED"
    assert cpu(row(unknown={"hardware": "PVE_NODE_DOWN"})).reason == "PVE_NODE_DOWN"
    assert cpu(row(said=False, unknown={"*": "SSH_TIMEOUT"})).reason == "SSH_TIMEOUT"
    assert cpu(row()).reason == cpu().reason == "NOT_REPORTED"
