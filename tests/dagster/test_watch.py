"""The checks by the clock, as Dagster runs them: on a schedule of their own, beside readings, and never by an old day."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import dagster as dg
import pytest
import time_machine

from asset_ledger.domain.calendar import collected_date, instant_of
from tests.dagster.installation import SOURCES, Installation

DB = "192.0.2.10,db-01,vm,prod;db,4,16"
TODAY = collected_date(datetime.now(UTC))


def evaluations(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], Any]:
    return {(one.asset_key.path[0], one.check_name): one for one in result.get_asset_check_evaluations()}


def watch(installation: Installation, at: datetime) -> dict[tuple[str, str], Any]:
    """Run the job of the checks at an instant, and return what each check said."""
    with time_machine.travel(at, tick=True):
        done = installation.definitions.resolve_job_def("ledger_watch").execute_in_process(
            instance=installation.instance
        )
    assert done.success
    return evaluations(done)


@pytest.fixture
def due_at_midnight(installation: Installation) -> Installation:
    """The probe's day is due by the end of its day, the office's files every week."""
    said = SOURCES.replace("this_machine: true", 'this_machine: true\n    fresh_by: "00:00"')
    (installation.folder / "sources.yaml").write_text(said.replace("inbox: inbox", "inbox: inbox\n    every: 7d"))
    return installation


def test_a_source_turns_stale_while_nothing_runs_and_an_old_day_does_not_mend_it(due_at_midnight: Installation) -> None:
    installation = due_at_midnight
    installation.drop(f"hosts_{TODAY}.csv", DB)
    assert installation.collect("office", TODAY.isoformat()).success
    mine = installation.collect("probe", TODAY.isoformat())
    assert mine.success
    assert evaluations(mine)["probe", "day_fresh"].passed, "the run that reads a source checks it at its end"
    # 15:59:59 UTC is the last second of the next day in Shanghai, whose reading is due by 16:00
    next_day = TODAY + timedelta(days=1)
    end = datetime.combine(next_day, time(15, 59, 30), UTC)
    assert end == instant_of(next_day, time(23, 59, 30))
    assert watch(installation, end)["probe", "day_fresh"].passed
    stale = watch(installation, end + timedelta(seconds=30))["probe", "day_fresh"]
    assert not stale.passed
    assert stale.severity == dg.AssetCheckSeverity.WARN
    assert f"no reading of {next_day} that counts" in stale.description
    assert f"due by {next_day + timedelta(days=1)} 00:00 in Asia/Shanghai" in stale.description
    assert "asset-ledger sources collect probe" in stale.description
    assert stale.metadata["days_behind"].value == 1
    # the old day derived again, and a file of an old day: the days that are due are not there by that
    later = instant_of(TODAY + timedelta(days=10), time(12))
    with time_machine.travel(later, tick=True):
        again = installation.collect("probe", TODAY.isoformat(), replay=True)
        assert again.success
        assert not evaluations(again)["probe", "day_fresh"].passed, "nor in the very run that replayed it"
        installation.drop("hosts_2026-10-01.csv", "192.0.2.11,db-02,vm,prod;db,4,16")
        assert installation.collect("office", "2026-10-01").success
    found = watch(installation, later)
    assert not found["probe", "day_fresh"].passed
    assert found["probe", "day_fresh"].metadata["days_behind"].value == 9
    assert not found["office", "day_fresh"].passed
    assert "Drop a file" in found["office", "day_fresh"].description
    assert found["office", "last_reading_whole"].passed


def test_every_check_is_done_by_the_job_and_says_the_same_keys_each_time(installation: Installation) -> None:
    now = instant_of(TODAY, time(12))
    before = watch(installation, now)
    assert set(before) == {
        ("office", "day_fresh"),
        ("office", "last_reading_whole"),
        ("probe", "day_fresh"),
        ("probe", "last_reading_whole"),
        ("probe", "row_count_usual"),
        ("ledger", "management_addresses_unique"),
    }
    assert before["office", "day_fresh"].passed, "nothing is expected of what somebody brings"
    assert not before["probe", "day_fresh"].passed
    assert "It was never read." in before["probe", "day_fresh"].description
    assert installation.collect("probe", TODAY.isoformat()).success
    after = [watch(installation, now + timedelta(days=days)) for days in (0, 1, 5)]
    for check in before:
        assert len({frozenset(each[check].metadata) for each in after}) == 1, check


def test_a_check_that_fails_by_a_failed_reading_says_so(installation: Installation) -> None:
    """Notices tell of an outage once: what the run said already is not told again by the checks."""
    known_hosts = installation.folder / "known_hosts"
    assert installation.collect("probe", TODAY.isoformat()).success
    never = watch(installation, instant_of(TODAY + timedelta(days=2), time(12)))["probe", "day_fresh"]
    assert not never.passed
    assert never.metadata["follows"].value == "", "nobody tried to read it"
    known_hosts.unlink(missing_ok=True)
    known_hosts.mkdir()
    assert not installation.collect("probe", TODAY.isoformat()).success
    found = watch(installation, instant_of(TODAY + timedelta(days=2), time(12)))
    assert found["probe", "last_reading_whole"].metadata["follows"].value == "reading"
    assert found["probe", "day_fresh"].metadata["follows"].value == "reading"


def test_two_machines_of_one_address_are_told_with_what_to_do(installation: Installation) -> None:
    installation.drop("hosts_2026-11-01.csv", DB, "192.0.2.11,db-02,vm,prod,4,16")
    assert installation.collect("office", "2026-11-01").success
    with installation.connect() as db:
        db.execute("UPDATE ledger.assets SET mgmt_ip = '192.0.2.10'")
    told = watch(installation, instant_of(TODAY, time(12)))["ledger", "management_addresses_unique"]
    assert not told.passed
    assert told.metadata["addresses"].value == 1
    assert "192.0.2.10 in zone default is that of" in told.description
    assert "db-01" in told.description
    assert "`asset-ledger duplicates list`" in told.description


def tick(installation: Installation, at: datetime) -> dg.ScheduleExecutionData:
    repository = installation.definitions.get_repository_def()
    context = dg.build_schedule_context(
        instance=installation.instance, scheduled_execution_time=at, repository_def=repository
    )
    return repository.get_schedule_def("ledger_watch_hourly").evaluate_tick(context)


def test_the_checks_have_a_schedule_of_their_own_that_is_on_and_does_not_pile_up(kept: Installation) -> None:
    schedule = kept.definitions.resolve_schedule_def("ledger_watch_hourly")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert schedule.execution_timezone == "Asia/Shanghai"
    at = datetime(2026, 11, 21, 18, 20, tzinfo=UTC)
    assert len(tick(kept, at).run_requests) == 1
    job = kept.definitions.resolve_job_def("ledger_watch")
    run = kept.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    answer = tick(kept, at)
    assert answer.run_requests == []
    assert answer.skip_message == f"run {run.run_id[:8]} is at it"


def test_the_checks_need_nothing_of_dagster_that_may_change() -> None:
    import warnings

    from dagster_shared.utils.warnings import BetaWarning, PreviewWarning, SupersessionWarning

    from asset_ledger.assets.watch import build_watch_checks, build_watch_job
    from asset_ledger.schedules.watch import build_watch_schedule
    from asset_ledger.sources.config import parse_sources

    sources, _ = parse_sources({"sources": [{"name": "office", "platform": "import", "inbox": "x"}]})
    with warnings.catch_warnings():
        for kind in (BetaWarning, PreviewWarning, SupersessionWarning):
            warnings.simplefilter("error", kind)
        build_watch_checks(sources)
        build_watch_job(sources)
        build_watch_schedule()
