"""Runs whose worker is gone are ended, raw that they left is derived, and a probing is asked for in its shards."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run, execute_run_iterator
from dagster._core.storage.tags import RETRY_NUMBER_TAG, RUN_KEY_TAG
from dagster._core.test_utils import create_run_for_test

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.shards import Shard
from asset_ledger.pipeline.chains import chains, reading_config
from asset_ledger.pipeline.ledger import source_row
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.resources.presence import ALIVE_TAG, present_executor
from asset_ledger.sensors import lost_runs
from asset_ledger.sensors.lost_runs import INTERVAL_S, LOST_AFTER, absent, build_lost_runs_sensor
from asset_ledger.store.sessions import Presence, living
from tests.dagster.installation import Installation
from tests.patience import until
from tests.sshd import free_port

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
TODAY = collected_date(datetime.now(UTC)).isoformat()


def tick(installation: Installation, cursor: str | None = None) -> dg.SensorResult:
    jobs = [installation.definitions.resolve_job_def("probe_collect")]
    context = dg.build_sensor_context(
        instance=installation.instance, cursor=cursor, resources={"ledger": LedgerResource()}
    )
    found = build_lost_runs_sensor(installation.ledger.sources, jobs)(context)
    assert isinstance(found, dg.SensorResult)
    return found


def started(installation: Installation, **tags: str) -> str:
    run = create_run_for_test(
        installation.instance, job_name="probe_collect", status=dg.DagsterRunStatus.STARTED, tags=tags
    )
    return run.run_id


def aged(cursor: str | None, *, looks: int = 0, unseen: timedelta = timedelta()) -> str:
    """Return a cursor as it were had the sensor looked on a few times every ten seconds, then not for some time."""
    told = json.loads(cursor or "{}")
    after = timedelta(seconds=INTERVAL_S * looks)

    def earlier(instant: str, by: timedelta) -> str:
        return (datetime.fromisoformat(instant) - by).isoformat()

    missed = {run_id: earlier(since, after + unseen) for run_id, since in told["missed"].items()}
    return json.dumps({"looked": earlier(told["looked"], unseen), "missed": missed})


def status(installation: Installation, run_id: str) -> Any:
    run = installation.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_is_lost_once_it_was_missed_for_a_while_and_forgotten_when_it_is_heard_of() -> None:
    missed, lost = absent(["a", "b"], frozenset("b"), {}, NOW)
    assert (missed, lost) == ({"a": NOW}, [])
    later = NOW + LOST_AFTER
    assert absent(["a", "b"], frozenset("b"), missed, later - timedelta(seconds=1)) == ({"a": NOW}, [])
    assert absent(["a", "b"], frozenset("b"), missed, later) == ({}, ["a"])
    assert absent(["a", "b"], frozenset("ab"), missed, later) == ({}, [])
    # what is over is remembered no longer
    assert absent(["b"], frozenset("b"), missed, later) == ({}, [])


def test_only_a_run_that_had_a_session_is_ended_when_it_has_none(installation: Installation) -> None:
    silent, alive = started(installation), started(installation)
    gone = started(installation)
    # a retry has the tags of the run before it until it begins itself
    heir = started(installation, **{ALIVE_TAG: gone})
    for run_id in (alive, gone):
        installation.instance.add_run_tags(run_id, {ALIVE_TAG: run_id})
    with Presence(installation.url, alive):
        first = tick(installation)
        assert list(json.loads(first.cursor or "{}")["missed"]) == [gone]
        tick(installation, aged(first.cursor, looks=2))
    assert status(installation, gone) == dg.DagsterRunStatus.FAILURE
    for run_id in (silent, alive, heir):
        assert status(installation, run_id) == dg.DagsterRunStatus.STARTED


def test_nothing_is_said_of_runs_while_the_database_does_not_answer(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = started(installation)
    installation.instance.add_run_tags(run_id, {ALIVE_TAG: run_id})
    before = aged(tick(installation).cursor, looks=2)
    with monkeypatch.context() as away:
        away.setenv("ASSET_LEDGER_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        found = tick(installation, before)
    assert "DATABASE_UNAVAILABLE" in str(found.skip_reason)
    # where a tick returns no cursor, Dagster keeps the one before it
    kept = found.cursor or before
    found = tick(installation, kept)
    assert status(installation, run_id) == dg.DagsterRunStatus.STARTED, "its session may be on its way back"
    tick(installation, aged(found.cursor, looks=2))
    assert status(installation, run_id) == dg.DagsterRunStatus.FAILURE


def test_time_in_which_nobody_looked_ends_no_run(installation: Installation) -> None:
    """With Dagster's own database away there is no tick that could say so."""
    run_id = started(installation)
    installation.instance.add_run_tags(run_id, {ALIVE_TAG: run_id})
    first = tick(installation)
    found = tick(installation, aged(first.cursor, unseen=timedelta(hours=1)))
    assert status(installation, run_id) == dg.DagsterRunStatus.STARTED, "missed at two looks alone"
    # looks that are always late end it all the same: each counts as one
    tick(installation, aged(found.cursor, unseen=timedelta(minutes=1)))
    assert status(installation, run_id) == dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize("cursor", ["", "7", "{}", '{"a run": "2026-11-23T02:00:00+00:00"}', '{"looked": 1}'])
def test_a_cursor_of_another_hand_is_counted_from_anew(installation: Installation, cursor: str) -> None:
    run_id = started(installation)
    installation.instance.add_run_tags(run_id, {ALIVE_TAG: run_id})
    assert list(json.loads(tick(installation, cursor).cursor or "{}")["missed"]) == [run_id]


def test_a_run_is_present_while_it_goes_on_and_not_after_it(installation: Installation) -> None:
    result = installation.collect("probe", TODAY)
    assert result.success
    run = installation.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[ALIVE_TAG] == result.run_id
    with installation.connect() as connection:
        assert living(connection) == frozenset()


def test_every_job_is_done_by_the_executor_that_is_present(installation: Installation) -> None:
    jobs = installation.definitions.resolve_all_job_defs()
    assert {"ledger_links", "probe_collect", "ledger_rebuild"} <= {job.name for job in jobs}
    assert {job.name for job in jobs if job.executor_def is not present_executor} == set()


def test_a_run_that_reads_nothing_is_present_too_and_not_after_it(installation: Installation) -> None:
    job = installation.definitions.resolve_job_def("ledger_links")
    run = installation.instance.create_run_for_job(job)
    alive: set[str] = set()
    for _ in execute_run_iterator(InMemoryJob(job), run, installation.instance):
        with installation.connect() as connection:
            alive |= living(connection)
    found = installation.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert (found.status, found.tags[ALIVE_TAG]) == (dg.DagsterRunStatus.SUCCESS, run.run_id)
    assert alive == {run.run_id}
    with installation.connect() as connection:
        assert living(connection) == frozenset()


def test_raw_that_a_run_left_is_derived_once_nothing_has_run_for_a_while(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installation.collect("probe", TODAY).success
    assert tick(installation).run_requests == []
    with installation.connect() as connection:
        connection.execute("UPDATE ledger.inventories SET status = 'raw'")
    assert tick(installation).run_requests == []  # a retry may be on its way
    monkeypatch.setattr(lost_runs, "REST", timedelta())
    (request,) = tick(installation).run_requests or ()
    assert (request.job_name, request.partition_key) == ("probe_collect", TODAY)
    assert installation.collect("probe", TODAY, replay=True).success
    assert tick(installation).run_requests == []


def hosts(installation: Installation, count: int = 4) -> None:
    """Put machines into the ledger of which each refuses: what one is told of it costs no time."""
    port = free_port()
    sources = installation.folder / "sources.yaml"
    sources.write_text(sources.read_text().rstrip() + "\n    default_credential_ref: env:PROBE\n")
    with installation.connect() as connection:
        source_row(connection, installation.ledger.source("probe"))
        connection.execute(
            "INSERT INTO ledger.assets (id, zone, platform_type, mgmt_ip, protocol, port, created_at, updated_at) "
            "SELECT gen_random_uuid(), 'default', 'unknown', ('127.0.9.' || n)::inet, 'ssh', %s, now(), now() "
            "FROM generate_series(1, %s) AS n",
            [port, count],
        )


def read_shard(installation: Installation, **done_again: Any) -> dg.DagsterRun:
    """Do a run of the only shard, which may be another one done again; its failures are of a kind that stays."""
    job = installation.definitions.resolve_job_def("probe_collect")
    tags = done_again.pop("tags", {})
    run = installation.instance.create_run_for_job(
        job,
        run_config=reading_config(chains(installation.ledger.source("probe")), shard=Shard(1, 1)),
        tags={"dagster/partition": TODAY, "shard": "1/1", **tags},
        **done_again,
    )
    assert execute_run(InMemoryJob(job), run, installation.instance).success
    with installation.connect() as connection:
        connection.execute(
            "UPDATE ledger.asset_observations SET payload = jsonb_set(payload, '{error,code}', '\"SSH_AUTH_FAILED\"') "
            "WHERE payload #>> '{error,code}' IS NOT NULL"
        )
    found = installation.instance.get_run_by_id(run.run_id)
    assert found is not None
    return found


def observed(installation: Installation, run_id: str) -> int:
    """Return how many of the machines that refuse the run asked."""
    with installation.connect() as connection:
        (row,) = connection.execute(
            "SELECT count(*) FROM ledger.asset_observations o JOIN ledger.inventories i ON i.id = o.inventory_id "
            "WHERE i.run_id = %s AND o.target LIKE '127.0.9.%%'",
            [run_id],
        ).fetchall()
    return int(row[0])


def again(before: dg.DagsterRun, **tags: str) -> dict[str, Any]:
    """Return what makes a run one that does another one again."""
    return {
        "parent_run_id": before.run_id,
        "root_run_id": before.root_run_id or before.run_id,
        "tags": {"dagster/parent_run_id": before.run_id, **tags},
    }


def test_a_shard_that_a_person_does_again_is_read_again_whatever_became_of_it(installation: Installation) -> None:
    hosts(installation)
    first = read_shard(installation)
    second = read_shard(installation, **again(first))
    # Dagster numbers its retries of a run that failed: this one did not
    third = read_shard(installation, **again(second, **{RETRY_NUMBER_TAG: "1"}))
    assert [observed(installation, run.run_id) for run in (first, second, third)] == [4, 4, 4]


def test_a_shard_that_dagster_does_again_is_not_read_again_and_one_by_hand_after_it_is(
    installation: Installation,
) -> None:
    hosts(installation)
    first = read_shard(installation)
    installation.instance.report_run_failed(first)
    second = read_shard(installation, **again(first, **{RETRY_NUMBER_TAG: "1"}))
    installation.instance.report_run_failed(second)
    third = read_shard(installation, **again(second, **{RETRY_NUMBER_TAG: "2"}))
    by_hand = read_shard(installation, **again(third))
    assert [observed(installation, run.run_id) for run in (first, second, third, by_hand)] == [4, 0, 0, 4]


def test_what_a_shard_left_that_is_lost_for_good_is_derived_and_asked_for_once(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_runs, "REST", timedelta())
    hosts(installation)
    lost = read_shard(installation)
    with installation.connect() as connection:
        connection.execute("DELETE FROM ledger.asset_daily_specs")
        connection.execute("DELETE FROM ledger.asset_daily_ips")
        connection.execute("UPDATE ledger.inventories SET status = 'reading', derived_at = NULL, report = '{}'")
        with Presence(installation.url, lost.run_id):
            until(lambda: lost.run_id in living(connection))
            assert tick(installation).run_requests == [], "it is at it"
        until(lambda: not living(connection))
    (request,) = tick(installation).run_requests or ()

    def follow(config: Any) -> dg.ExecuteInProcessResult:
        tags = {**request.tags, RUN_KEY_TAG: request.run_key or ""}
        return installation.definitions.resolve_job_def("probe_collect").execute_in_process(
            instance=installation.instance, partition_key=TODAY, run_config=config, tags=tags, raise_on_error=False
        )

    # a replay that fails over it is not asked for every few minutes; after another reading it is
    wrong: Any = json.loads(json.dumps(request.run_config))
    wrong["ops"]["probe_chain"]["config"]["left_by"] = []
    assert not follow(wrong).success
    assert tick(installation).run_requests == []
    create_run_for_test(installation.instance, job_name="probe_collect", status=dg.DagsterRunStatus.FAILURE)
    (request,) = tick(installation).run_requests or ()

    assert follow(request.run_config).success
    with installation.connect() as connection:
        assert connection.execute("SELECT status FROM ledger.inventories").fetchall() == [("derived",)]
    assert len(installation.rows("SELECT * FROM ledger.asset_daily_specs")) >= 4
    assert tick(installation).run_requests == []


def test_a_whole_reading_that_broke_off_is_left_to_the_next_one(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_runs, "REST", timedelta())
    assert installation.collect("probe", TODAY).success
    with installation.connect() as connection:
        connection.execute("UPDATE ledger.inventories SET status = 'interrupted'")
    assert tick(installation).run_requests == []


def test_a_shard_is_asked_for_by_its_name_and_reads_its_machines_alone(kept: Installation) -> None:
    installation = kept
    sources = installation.folder / "sources.yaml"
    sources.write_text(sources.read_text().replace("this_machine: true", "this_machine: true\n    shards: 3"))
    repository = installation.definitions.get_repository_def()
    context = dg.build_schedule_context(
        installation.instance, repository_def=repository, scheduled_execution_time=datetime.now(UTC)
    )
    requests = repository.get_schedule_def("probe_daily").evaluate_tick(context).run_requests or []
    assert [request.tags["shard"] for request in requests] == ["1/3", "2/3", "3/3"]
    assert len({request.run_key for request in requests}) == 3

    job = installation.definitions.resolve_job_def("probe_collect")
    read = []
    for request in requests:
        done = job.execute_in_process(
            instance=installation.instance, partition_key=request.partition_key, run_config=request.run_config
        )
        assert done.success
        read.append(done.run_id)
    # this machine is the first shard's; the others have nothing, and that is no failure
    with installation.connect() as connection:
        found = connection.execute("SELECT run_id FROM ledger.sync_target_records").fetchall()
    assert found == [(read[0],)]


@pytest.mark.parametrize(
    ("source", "config", "why"),
    [
        ("office", {"shard": "1/2"}, "else is cut into shards"),
        ("probe", {"shard": "1/2", "replay": True}, "else is cut into shards"),
        ("probe", {"shard": "3/2"}, "there is no part 3 of 2"),
        ("probe", {"left_by": ["one"]}, "taken up by the replay of a probing"),
        ("office", {"left_by": ["one"], "replay": True}, "taken up by the replay of a probing"),
    ],
)
def test_a_shard_of_what_is_not_cut_is_refused(
    installation: Installation, source: str, config: dict[str, Any], why: str
) -> None:
    done = installation.definitions.resolve_job_def(f"{source}_collect").execute_in_process(
        instance=installation.instance,
        partition_key=TODAY,
        run_config={"ops": {f"{source}_chain": {"config": config}}},
        raise_on_error=False,
    )
    assert not done.success
    told = [event.step_failure_data.user_failure_data for event in done.all_events if event.is_step_failure]
    assert [why in str(one and one.description) for one in told] == [True]


def test_a_run_that_was_given_up_does_nothing_more(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hung goes on: its step is tried again, in a run that is over."""
    instance = installation.instance
    found = instance.get_run_by_id

    def given_up(run_id: str) -> dg.DagsterRun | None:
        run = found(run_id)
        return None if run is None else run.with_status(dg.DagsterRunStatus.FAILURE)

    monkeypatch.setattr(type(instance), "get_run_by_id", lambda _, run_id: given_up(run_id))
    done = installation.collect("probe", TODAY)
    assert not done.success
    with installation.connect() as connection:
        assert connection.execute("SELECT count(*) FROM ledger.asset_observations").fetchone() == (0,)
