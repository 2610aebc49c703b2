"""Ticks of the inbox sensor: what is taken, what waits, what it says. Every tick gets the cursor of the one before."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine

from asset_ledger.domain.calendar import collected_date
from tests.dagster.installation import Installation

DB = "192.0.2.10,db-01,vm,prod;db,4,16"


class Ticking:
    """The sensor of `office`, tick after tick."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._repository = installation.definitions.get_repository_def()
        self._sensor = self._repository.get_sensor_def("office_inbox")
        self.cursor: str | None = None
        self.reason: str | None = None

    def tick(self) -> Sequence[dg.RunRequest]:
        """Make a tick; return its requests and remember what it said."""
        context = dg.build_sensor_context(
            instance=self._installation.instance, cursor=self.cursor, repository_def=self._repository
        )
        answer = self._sensor.evaluate_tick(context)
        self.cursor = answer.cursor
        self.reason = answer.skip_message
        return answer.run_requests or []

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Run what a tick asked for, as the daemon would."""
        tags = {**request.tags, "dagster/run_key": str(request.run_key)}
        return self._installation.definitions.resolve_job_def("office_collect").execute_in_process(
            instance=self._installation.instance,
            partition_key=request.partition_key,
            run_config=request.run_config,
            tags=tags,
            raise_on_error=False,
        )


@pytest.fixture
def sensor(installation: Installation) -> Ticking:
    return Ticking(installation)


def files(request: dg.RunRequest) -> list[str]:
    """Return the names of the files that a request asks for."""
    return [Path(file).name for file in request.run_config["ops"]["office_chain"]["config"]["files"]]


def test_a_file_being_written_is_taken_once_two_ticks_see_it_the_same(
    installation: Installation, sensor: Ticking
) -> None:
    installation.drop("hosts_2026-11-01.csv", DB)
    assert sensor.tick() == []
    assert sensor.reason == "waiting until hosts_2026-11-01.csv stops changing"
    with (installation.inbox / "hosts_2026-11-01.csv").open("a") as file:
        file.write("192.0.2.11,web-01,vm,web,2,4\n")
    assert sensor.tick() == []
    (request,) = sensor.tick()
    assert request.partition_key == "2026-11-01"
    assert files(request) == ["hosts_2026-11-01.csv"]
    assert sensor.run(request).success
    assert sensor.tick() == []
    assert sensor.reason == "no file waits in inbox/"
    assert len(installation.rows("SELECT id FROM ledger.assets")) == 2


def test_files_of_two_days_are_two_requests_and_files_of_one_day_are_one_in_the_order_they_came(
    installation: Installation, sensor: Ticking
) -> None:
    installation.drop("b_2026-11-01.csv", DB, age_s=90)
    installation.drop("a_2026-11-01.csv", DB, age_s=60)
    installation.drop("today.csv", DB)
    sensor.tick()
    requests = sensor.tick()
    today = collected_date(datetime.now(UTC)).isoformat()
    assert [(request.partition_key, files(request)) for request in requests] == [
        ("2026-11-01", ["b_2026-11-01.csv", "a_2026-11-01.csv"]),
        (today, ["today.csv"]),
    ]
    assert len({request.run_key for request in requests}) == 2


def test_what_is_no_file_to_import_is_passed_over_or_named(installation: Installation, sensor: Ticking) -> None:
    (installation.inbox / "folder.csv").mkdir()
    for name in ("~$hosts.xlsx", ".hosts.csv", "hosts.csv.tmp", "hosts.csv.part"):
        installation.drop(name, DB)
    sensor.tick()
    assert sensor.tick() == []
    assert sensor.reason == "no file waits in inbox/"
    installation.drop("notes.docx", text="?")
    assert sensor.tick() == []
    assert sensor.reason == "left alone (not CSV or Excel, or a link): notes.docx"


def test_a_misnamed_day_is_put_aside_with_a_note(installation: Installation, sensor: Ticking) -> None:
    installation.drop("hosts_2026-02-30.csv", DB)
    installation.drop("hosts_2099-01-01.csv", DB)
    sensor.tick()
    assert sensor.tick() == []
    assert sensor.reason == "put aside: hosts_2026-02-30.csv, hosts_2099-01-01.csv (see inbox/rejected)"
    note = (installation.inbox / "rejected" / "hosts_2099-01-01.csv.why.txt").read_text()
    assert note.startswith("IMPORT_DAY_INVALID: hosts_2099-01-01.csv: 2099-01-01 is not between")
    assert sensor.tick() == []
    assert sensor.reason == "no file waits in inbox/"


def test_an_empty_file_is_rejected_by_its_run_not_by_the_sensor(installation: Installation, sensor: Ticking) -> None:
    installation.drop("empty_2026-11-01.csv", text="")
    sensor.tick()
    (request,) = sensor.tick()
    assert not sensor.run(request).success
    assert (installation.inbox / "rejected" / "empty_2026-11-01.csv.why.txt").exists()
    assert sensor.tick() == []
    assert sensor.reason == "no file waits in inbox/"


def test_a_name_that_is_not_utf8_is_put_aside_and_the_others_are_taken(
    installation: Installation, sensor: Ticking
) -> None:
    # what a GBK name out of an old archive looks like
    (installation.inbox / os.fsdecode("主机.csv".encode("gbk"))).write_text("mgmt_ip,hostname\n192.0.2.7,x\n")
    installation.drop("hosts_2026-11-01.csv", text="mgmt_ip,hostname\n192.0.2.8,y\n")
    assert sensor.tick() == []
    (request,) = sensor.tick()
    assert sensor.run(request).success
    (note,) = (installation.inbox / "rejected").glob("*.why.txt")
    assert "IMPORT_NAME_INVALID" in note.read_text()


def test_an_inbox_that_is_missing_or_has_names_without_a_file_does_not_crash_the_sensor(
    installation: Installation, sensor: Ticking
) -> None:
    # what a listing shows and stat no longer finds: a file that vanished in between looks the same
    (installation.inbox / "gone_2026-11-01.csv").symlink_to(installation.inbox / "nothing")
    assert sensor.tick() == []
    assert sensor.reason == "left alone (not CSV or Excel, or a link): gone_2026-11-01.csv"
    (installation.inbox / "gone_2026-11-01.csv").unlink()
    installation.inbox.rmdir()
    assert sensor.tick() == []
    assert sensor.reason == "no file waits in inbox/"


def test_a_cursor_written_by_hand_is_forgotten_not_fatal(installation: Installation, sensor: Ticking) -> None:
    installation.drop("hosts_2026-11-01.csv", DB)
    for cursor in ("nonsense", "[1]", '{"hosts_2026-11-01.csv": "1-2"}', '{"hosts_2026-11-01.csv": {"x": 1}}'):
        sensor.cursor = cursor
        assert sensor.tick() == []
        assert len(sensor.tick()) == 1


def test_the_very_same_file_dropped_again_is_asked_for_again_and_noted_as_a_duplicate(
    installation: Installation, sensor: Ticking
) -> None:
    file = installation.drop("hosts_2026-11-01.csv", DB)
    before = file.stat()
    sensor.tick()
    (first,) = sensor.tick()
    assert sensor.run(first).success
    sensor.tick()
    installation.drop("hosts_2026-11-01.csv", DB)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as `cp -p` leaves it
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=1)):
        sensor.tick()
        (second,) = sensor.tick()
    assert second.run_key != first.run_key
    assert sensor.run(second).success
    assert list((installation.inbox / "archive" / "2026-11-01").glob("*.duplicate.txt"))


def test_files_wait_while_a_run_takes_in_their_day(installation: Installation, sensor: Ticking) -> None:
    installation.drop("hosts_2026-11-01.csv", DB)
    sensor.tick()
    (request,) = sensor.tick()
    run = installation.instance.create_run_for_job(
        installation.definitions.resolve_job_def("office_collect"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": "2026-11-01", "dagster/run_key": str(request.run_key)},
    )
    installation.drop("more_2026-11-01.csv", DB)
    sensor.tick()
    assert sensor.tick() == []
    assert sensor.reason is not None
    assert f"run {run.run_id[:8]} is taking in files of 2026-11-01" in sensor.reason
    installation.instance.report_run_canceled(run)
    (request,) = sensor.tick()
    assert sorted(files(request)) == ["hosts_2026-11-01.csv", "more_2026-11-01.csv"]


def test_a_file_that_a_failed_run_left_behind_is_asked_for_again_later(
    installation: Installation, sensor: Ticking
) -> None:
    installation.drop("hosts_2026-11-01.csv", DB)
    sensor.tick()
    (request,) = sensor.tick()
    run = installation.instance.create_run_for_job(
        installation.definitions.resolve_job_def("office_collect"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": "2026-11-01", "dagster/run_key": str(request.run_key)},
    )
    installation.instance.report_run_failed(run)
    assert sensor.tick() == []
    assert sensor.reason is not None
    assert f"run {run.run_id[:8]} ended (FAILURE) and left it; tried again at" in sensor.reason
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=11)):
        (again,) = sensor.tick()
    assert again.run_key != request.run_key
    assert json.loads(sensor.cursor or "")["hosts_2026-11-01.csv"]["since"]
