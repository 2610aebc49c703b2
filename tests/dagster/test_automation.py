"""What starts by itself: the daily reading by its schedule, and the links by their automation condition."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest

from asset_ledger.assets.ledger import INSTANCE_ASSET_LINKS
from tests.dagster.installation import Installation

DB = "192.0.2.10,db-01,vm,prod;db,4,16"


def tick(installation: Installation, at: datetime) -> dg.ScheduleExecutionData:
    """Evaluate the daily reading as the daemon does at that instant."""
    repository = installation.definitions.get_repository_def()
    context = dg.build_schedule_context(
        instance=installation.instance, scheduled_execution_time=at, repository_def=repository
    )
    return repository.get_schedule_def("probe_daily").evaluate_tick(context)


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (datetime(2026, 11, 21, 15, 59, 59, tzinfo=UTC), "2026-11-21"),
        (datetime(2026, 11, 21, 16, 0, 0, tzinfo=UTC), "2026-11-22"),
        (datetime(2026, 11, 21, 18, 30, 0, tzinfo=UTC), "2026-11-22"),
    ],
)
def test_a_schedule_tick_asks_for_the_day_it_is_in_shanghai(kept: Installation, at: datetime, day: str) -> None:
    (request,) = tick(kept, at).run_requests
    assert request.partition_key == day


def test_a_schedule_tick_is_skipped_while_its_source_is_being_read(kept: Installation) -> None:
    job = kept.definitions.resolve_job_def("probe_collect")
    at = datetime(2026, 11, 21, 18, 30, tzinfo=UTC)
    run = kept.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    answer = tick(kept, at)
    assert answer.run_requests == []
    assert answer.skip_message == f"probe is being read by run {run.run_id} (probe_collect); queued by mode: collect 0"
    kept.instance.report_run_failed(run)
    assert len(tick(kept, at).run_requests) == 1


def test_the_links_are_asked_for_after_each_new_reading_and_not_otherwise(installation: Installation) -> None:
    def evaluate(cursor: object) -> tuple[int, object]:
        result = dg.evaluate_automation_conditions(
            defs=installation.definitions, instance=installation.instance, cursor=cursor
        )
        return result.get_num_requested(INSTANCE_ASSET_LINKS), result.cursor

    requested, cursor = evaluate(None)
    assert requested == 0, "nothing has been read yet"
    installation.drop("hosts_2026-11-01.csv", DB)
    assert installation.collect("office", "2026-11-01").success
    requested, cursor = evaluate(cursor)
    assert requested == 1
    requested, cursor = evaluate(cursor)
    assert requested == 0, "it was asked for already"
    installation.links()
    requested, cursor = evaluate(cursor)
    assert requested == 0
    installation.drop("hosts_2026-11-02.csv", DB)
    installation.drop("hosts_2026-11-04.csv", DB)
    assert installation.collect("office", span=("2026-11-02", "2026-11-04")).success
    requested, cursor = evaluate(cursor)
    assert requested == 1, "a range reports its days one by one"
