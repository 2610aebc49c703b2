"""Which days' marts lack something, and how they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.storage.tags import RUN_KEY_TAG
from dagster._core.test_utils import create_run_for_test

from asset_ledger.domain.exports import DAY_MARTS
from asset_ledger.pipeline.marts import JOB
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sensors import marts
from asset_ledger.sensors.marts import LONGEST, build_marts_sensor, request, stretches
from asset_ledger.store.database import Connection, clock, connect
from asset_ledger.store.marts import days_lacking, note_days_built
from tests.dagster.installation import Installation

DAY, TODAY = date(2026, 11, 1), date(2026, 11, 4)
EVERY = [DAY + timedelta(days=n) for n in range(4)]
HEADER = "mgmt_ip,hostname,asset_type\n"


@pytest.fixture
def read(installation: Installation) -> Installation:
    """A ledger with one reading, of the first day; its marts are there, and nothing is in them."""
    file = installation.folder / f"hosts_{DAY}.csv"
    file.write_text(f"{HEADER}192.0.2.1,db-01,vm\n")
    assert installation.collect("office", f"{DAY}", files=[file]).success
    with connect(installation.url) as connection:
        for mart in DAY_MARTS:
            connection.execute(f"CREATE TABLE marts.{mart} ()".encode())
    return installation


def lacking(connection: Connection, minutes: int = 0) -> list[date]:
    return days_lacking(connection, TODAY, patience=timedelta(minutes=minutes))


def built(connection: Connection, days: Sequence[date] = EVERY) -> None:
    note_days_built(connection, (days[0], days[-1]), "some", clock(connection))


def test_nothing_lacks_where_nothing_was_read(installation: Installation) -> None:
    with connect(installation.url) as connection:
        assert lacking(connection) == []


def test_a_day_lacks_its_marts_until_they_are_made_also_one_that_nobody_read(read: Installation) -> None:
    with connect(read.url) as connection:
        assert lacking(connection) == EVERY
        assert lacking(connection, 10) == EVERY, "at first there is nothing to wait for"
        built(connection, EVERY[:2])
        assert lacking(connection) == EVERY[2:]
        built(connection)
        assert lacking(connection) == []


def test_every_day_lacks_a_mart_that_is_no_more(read: Installation) -> None:
    with connect(read.url) as connection:
        built(connection)
        assert lacking(connection) == []
        connection.execute("DROP TABLE marts.daily_capacity")
        assert lacking(connection) == EVERY


def test_what_came_of_a_day_since_is_lacking_after_a_while(read: Installation) -> None:
    with connect(read.url) as connection:
        built(connection)
        connection.execute(
            "INSERT INTO ledger.inventories (source_id, scope, collected_date, collected_at, mode, complete, status,"
            " error_code) SELECT id, 'all', %s, now(), 'collect', false, 'failed', 'X' FROM ledger.sources LIMIT 1",
            [EVERY[2]],
        )
        assert lacking(connection) == [EVERY[2]], "a reading that failed"
        assert lacking(connection, 10) == [], "the marts may be about to follow it"
        built(connection, EVERY[2:3])
        assert lacking(connection) == []
        # 22:00 UTC is the next day in Shanghai
        connection.execute(
            "INSERT INTO ledger.decisions (kind, asset_id, field, value, actor, decided_at)"
            " SELECT 'override', id, 'hostname', to_jsonb('x'::text), 'han', '2026-11-02T22:00Z' FROM ledger.assets"
        )
        connection.execute("UPDATE marts_staging.built_days SET built_at = '2026-11-02T12:00Z'")
        assert EVERY[2] in lacking(connection)


def test_days_in_a_row_are_asked_for_at_once() -> None:
    assert list(stretches([])) == []
    assert list(stretches([EVERY[0]])) == [(EVERY[0], EVERY[0])]
    assert list(stretches([EVERY[0], EVERY[1], EVERY[3]])) == [(EVERY[0], EVERY[1]), (EVERY[3], EVERY[3])]
    years = [DAY + timedelta(days=n) for n in range(LONGEST + 2)]
    assert list(stretches(years)) == [(years[0], years[LONGEST - 1]), (years[LONGEST], years[-1])]


def test_the_same_days_are_asked_for_again_after_hours() -> None:
    now = datetime(2026, 11, 4, 1, 0, tzinfo=UTC)
    first = request((DAY, DAY), now)
    assert (first.partition_key, first.run_key) == ("2026-11-01", request((DAY, DAY), now + timedelta(hours=1)).run_key)
    assert first.run_key != request((DAY, DAY), now + timedelta(hours=7)).run_key
    assert request((DAY, TODAY), now).tags == {
        "dagster/asset_partition_range_start": "2026-11-01",
        "dagster/asset_partition_range_end": "2026-11-04",
    }


def test_the_sensor_asks_and_says_why_it_does_not(read: Installation) -> None:
    job = dg.define_asset_job(JOB, selection="*")
    sensor = build_marts_sensor(job)

    def tick() -> object:
        with dg.build_sensor_context(instance=read.instance, resources={"ledger": LedgerResource()}) as context:
            return sensor(context)

    asked = tick()
    assert isinstance(asked, dg.RunRequest)
    assert asked.tags["dagster/asset_partition_range_start"] == "2026-11-01"
    today = datetime.now(UTC).date() + timedelta(days=1)
    with connect(read.url) as connection:
        note_days_built(connection, (DAY, today), "some", clock(connection))
    assert tick() == dg.SkipReason("every day has its marts")


def test_days_whose_marts_cannot_be_made_keep_no_later_ones_waiting(
    read: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = build_marts_sensor(dg.define_asset_job(JOB, selection="*"))
    # the hours after which days are asked for again do not end meanwhile
    monkeypatch.setattr(marts, "AGAIN_S", 10**9)
    today = datetime.now(UTC).date() + timedelta(days=1)
    with connect(read.url) as connection:
        note_days_built(connection, (DAY, today), "some", clock(connection))
        connection.execute("DELETE FROM marts_staging.built_days WHERE collected_date = ANY(%s)", [[DAY, EVERY[2]]])

    def tick() -> dg.RunRequest | dg.SkipReason:
        with dg.build_sensor_context(instance=read.instance, resources={"ledger": LedgerResource()}) as context:
            asked = sensor(context)
        assert isinstance(asked, dg.RunRequest | dg.SkipReason)
        return asked

    def fails(status: dg.DagsterRunStatus = dg.DagsterRunStatus.FAILURE) -> str | None:
        asked = tick()
        assert isinstance(asked, dg.RunRequest)
        create_run_for_test(read.instance, job_name=JOB, status=status, tags={RUN_KEY_TAG: asked.run_key or ""})
        return asked.partition_key

    assert fails(dg.DagsterRunStatus.NOT_STARTED) == f"{DAY}"
    assert [fails(), fails()] == [f"{DAY}", f"{EVERY[2]}"], "what was never begun is asked for, and launched"
    skipped = tick()
    assert isinstance(skipped, dg.SkipReason)
    assert f"the marts of 2 days were asked for and still lack something, the first of {DAY}" in str(skipped)
    monkeypatch.setattr(marts, "AGAIN_S", 10**8)
    assert fails() == f"{DAY}", "it has its turn again"
