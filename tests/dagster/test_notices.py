"""Notices in Dagster: every run that ends is looked at once, whatever happens meanwhile, and the job sends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from asset_ledger.assets.notices import NOTICES_JOB, run_facts
from asset_ledger.assets.policies import failure
from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import CONFIG_INVALID, CREDENTIAL_NOT_FOUND, PermanentError
from asset_ledger.domain.notices.digest import digest_of
from asset_ledger.domain.notices.redaction import redacted
from asset_ledger.domain.notices.text import compose
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sensors.notices import BEAT, Cursor, build_notices_sensor
from asset_ledger.store.notices import list_notices, list_troubles
from tests.dagster.installation import SOURCES, Installation, failure_of
from tests.doubles.robots import WECOM, Answer, Robots

RECEIVER = "receivers: [{name: group, credential_ref: 'env:GROUP'}]\ndagster_url: https://dagster.example.com\n"


@pytest.fixture
def robots(monkeypatch: pytest.MonkeyPatch) -> Iterator[Robots]:
    with Robots() as double:
        for name, value in double.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("GROUP_URL", double.wecom)
        yield double


@pytest.fixture
def told(installation: Installation) -> Installation:
    """An installation whose people are told."""
    (installation.folder / "notices.yaml").write_text(RECEIVER)
    return installation


class Ticks:
    """The sensor, tick after tick."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.cursor = Cursor(*[datetime.now(UTC)] * 4).text()

    def __call__(self) -> dg.SensorResult:
        context = dg.build_sensor_context(
            instance=self.installation.instance,
            cursor=self.cursor,
            repository_def=self.installation.definitions.get_repository_def(),
            resources={"ledger": LedgerResource()},
        )
        found = build_notices_sensor()(context)
        assert isinstance(found, dg.SensorResult)
        if found.cursor is not None:
            self.cursor = found.cursor
        return found


def run(installation: Installation) -> dg.ExecuteInProcessResult:
    job = installation.definitions.resolve_job_def(NOTICES_JOB)
    return job.execute_in_process(instance=installation.instance, raise_on_error=False)


def test_a_run_with_a_bad_file_is_told_and_then_that_it_is_well(told: Installation, robots: Robots) -> None:
    ticks = Ticks(told)
    assert "nothing is due" in str(ticks().skip_reason)
    told.drop("hosts_2026-11-20.csv", text="mgmt_ip,hostname\n\xff")
    told.collect("office", "2026-11-20")
    (asked,) = ticks().run_requests or ()
    (again,) = ticks().run_requests or ()
    assert asked.run_key == again.run_key
    result = run(told)
    assert result.success
    (said,) = robots.said[WECOM]
    text = said["text"]["content"]
    assert "[asset_ledger] office collect of 2026-11-20" in text
    assert "team:infrastructure" in text
    assert "https://dagster.example.com/runs/" in text
    assert "nothing is due" in str(ticks().skip_reason), "nor of the run that sent"
    with told.connect() as db:
        assert list_troubles(db)
        assert {row["state"] for row in list_notices(db)} == {"sent"}


def test_a_run_that_fails_is_told_by_its_code_and_not_by_what_strangers_said(told: Installation) -> None:
    @dg.op
    def broken() -> None:
        raise RuntimeError("password=hunter2")

    @dg.job(tags={"source": "office", "mode": "collect", "scope": "all"})
    def office_broken() -> None:
        broken()

    ticks = Ticks(told)
    office_broken.execute_in_process(instance=told.instance, raise_on_error=False)
    ticks()
    with told.connect() as db:
        (row,) = list_notices(db)
    (entry,) = row["digest"]["entries"]
    assert (entry["kind"], entry["code"], entry["place"]) == ("failed_run", "DEFECT", "broken")
    assert "RuntimeError" in entry["message"]
    assert "hunter2" not in str(row)


def test_a_database_that_is_away_for_a_tick_loses_no_run(told: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = Ticks(told)
    before = ticks.cursor

    @dg.op
    def broken() -> None:
        raise dg.Failure("no", metadata={"error_code": "PVE_TIMEOUT"})

    @dg.job
    def sometimes() -> None:
        broken()

    sometimes.execute_in_process(instance=told.instance, raise_on_error=False)
    with monkeypatch.context() as away:
        away.setenv("ASSET_LEDGER_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        found = ticks()
        assert "DATABASE_UNAVAILABLE" in str(found.skip_reason)
        assert ticks.cursor == before
    assert ticks().run_requests
    with told.connect() as db:
        assert [row["digest"]["entries"][0]["code"] for row in list_notices(db)] == ["PVE_TIMEOUT"]


def test_failed_checks_reach_people_though_the_run_is_green(told: Installation) -> None:
    @dg.asset(
        key=["office", "raw_inventory"], check_specs=[dg.AssetCheckSpec("row_count", asset=["office", "raw_inventory"])]
    )
    def rows() -> dg.MaterializeResult:
        said = dg.AssetCheckResult(
            check_name="row_count", passed=False, severity=dg.AssetCheckSeverity.WARN, description="half are gone"
        )
        return dg.MaterializeResult(check_results=[said])

    ticks = Ticks(told)
    assert dg.materialize([rows], instance=told.instance).success
    assert ticks().run_requests
    with told.connect() as db:
        (row,) = list_notices(db)
    (entry,) = row["digest"]["entries"]
    assert (entry["kind"], entry["code"], entry["severity"], entry["source"]) == (
        "failed_check",
        "row_count",
        "warning",
        "office",
    )
    assert entry["message"] == "half are gone"


def test_the_next_step_of_what_the_checks_by_the_clock_say_is_told_whole(told: Installation) -> None:
    (told.folder / "sources.yaml").write_text(SOURCES.replace("inbox: inbox", "inbox: inbox\n    every: 1d"))
    told.drop("hosts_2026-11-01.csv", "192.0.2.10,db-01,vm,prod,4,16", "192.0.2.11,db-02,vm,prod,4,16")
    assert told.collect("office", "2026-11-01").success
    with told.connect() as db:
        db.execute("UPDATE ledger.assets SET mgmt_ip = '192.0.2.10'")
    ticks = Ticks(told)
    done = told.definitions.resolve_job_def("ledger_watch").execute_in_process(instance=told.instance)
    ticks()
    steps = {
        (one.asset_key.path[0], one.check_name): one.metadata["next_step"].value
        for one in done.get_asset_check_evaluations()
        if not one.passed
    }
    assert steps.keys() == {
        ("office", "day_fresh"),
        ("probe", "day_fresh"),
        ("ledger", "management_addresses_unique"),
    }
    with told.connect() as db:
        every = [digest_of(row["digest"]) for row in list_notices(db)]
    body = compose(every, dagster_url=None, message="0a1b2c3d").body
    for one in done.get_asset_check_evaluations():
        if not one.passed:
            step = steps[one.asset_key.path[0], one.check_name]
            assert one.description.endswith(f". {step}"), "in Dagster its text has both"
            assert f" {redacted(step)}\n" in body
            assert body.count(redacted(step)) == 1
    assert "`asset-ledger import FILE --source office`." in steps["office", "day_fresh"]
    assert "The newest reading (run " in body
    assert ") is of 2026-11-01 23:59 in Asia/Shanghai." in body


def test_what_to_do_about_a_failed_run_is_told_once(told: Installation) -> None:
    @dg.op
    def broken() -> None:
        error = PermanentError(CREDENTIAL_NOT_FOUND, "there is no file:pve", target="pve_lab")
        error.add_note("What was read until then is kept.")
        raise failure(error)

    @dg.job
    def lacking() -> None:
        broken()

    ticks = Ticks(told)
    lacking.execute_in_process(instance=told.instance, raise_on_error=False)
    ticks()
    with told.connect() as db:
        (row,) = list_notices(db)
    body = compose([digest_of(row["digest"])], dagster_url=None, message="0a1b2c3d").body
    advice = redacted(CREDENTIAL_NOT_FOUND.advice)
    assert f"run failed. pve_lab: there is no file:pve. What was read until then is kept. {advice}.\n" in body
    assert body.count("Put it where") == 1


def test_what_the_checks_say_of_a_reading_whose_run_was_told_is_not_told_again(told: Installation) -> None:
    (told.folder / "known_hosts").unlink(missing_ok=True)
    (told.folder / "known_hosts").mkdir()
    ticks = Ticks(told)
    assert not told.collect("probe", collected_date(datetime.now(UTC)).isoformat()).success
    ticks()
    told.definitions.resolve_job_def("ledger_watch").execute_in_process(instance=told.instance)
    ticks()
    with told.connect() as db:
        every = list_notices(db)
        open_now = {one["code"] for one in list_troubles(db)}
    entries = [entry["kind"] for row in every for entry in row["digest"]["entries"] if entry["source"] == "probe"]
    assert entries == ["failed_run"]
    assert "last_reading_whole" in open_now, "it failed, and follows from the run"


def test_the_shard_of_a_run_is_known(told: Installation) -> None:
    @dg.op
    def broken() -> None:
        raise RuntimeError("no")

    @dg.job(tags={"source": "probe", "shard": "2/4"})
    def probe_collect() -> None:
        broken()

    done = probe_collect.execute_in_process(instance=told.instance, raise_on_error=False)
    record = told.instance.get_run_record_by_id(done.run_id)
    assert record is not None
    assert run_facts(told.instance, record, {}).shard == "2/4"


def test_without_receivers_nothing_is_asked_and_the_past_is_not_told_later(installation: Installation) -> None:
    ticks = Ticks(installation)
    installation.drop("hosts_2026-11-20.csv", text="mgmt_ip,hostname\n\xff")
    installation.collect("office", "2026-11-20")
    assert "names no receiver" in str(ticks().skip_reason)
    kept = Cursor.read(ticks.cursor, datetime.now(UTC))
    assert datetime.now(UTC) - kept.until < timedelta(minutes=1)


def test_a_receiver_that_is_new_in_the_file_is_told_once_of_what_is_open(told: Installation) -> None:
    ticks = Ticks(told)
    told.drop("hosts_2026-11-20.csv", text="mgmt_ip,hostname\n\xff")
    told.collect("office", "2026-11-20")
    ticks()
    (told.folder / "notices.yaml").write_text(
        RECEIVER.replace("}]", "}, {name: more, credential_ref: 'env:GROUP'}]", 1)
    )
    told.__dict__.pop("ledger", None)
    ticks()
    ticks()
    with told.connect() as db:
        (first,) = list_notices(db, receiver="group")
        (added,) = list_notices(db, receiver="more")
    assert added["digest"]["title"] == "open when this receiver was added"
    codes = [[one["code"] for one in each["digest"]["entries"]] for each in (first, added)]
    assert codes[0] == codes[1]
    assert {one["news"] for one in added["digest"]["entries"]} == {"still"}


def test_a_cursor_of_a_release_that_kept_no_receivers_makes_none_of_them_new() -> None:
    now = datetime.now(UTC)
    before = Cursor(now, now, now, now).text()
    assert Cursor.read(before.replace(', "receivers": null', ""), now).added(["group"]) == ()
    assert Cursor.read(Cursor(now, now, now, now, ("group",)).text(), now).added(["group", "more"]) == ("more",)


def test_a_file_that_is_wrong_fails_the_tick(told: Installation) -> None:
    (told.folder / "notices.yaml").write_text("receivers: [{name: group, url: 'wecombot://hunter2'}]")
    with pytest.raises(PermanentError) as caught:
        Ticks(told)()
    assert caught.value.code is CONFIG_INVALID
    assert "hunter2" not in str(caught.value)


def test_a_run_that_cannot_be_looked_at_does_not_hold_up_those_after_it(told: Installation) -> None:
    @dg.op
    def broken() -> None:
        raise RuntimeError("no")

    @dg.job(tags={"scope": "hunter2\x00"})  # no jsonb takes this
    def poisoned() -> None:
        broken()

    @dg.job
    def another() -> None:
        broken()

    ticks = Ticks(told)
    for job in (poisoned, another):
        job.execute_in_process(instance=told.instance, raise_on_error=False)
    before = ticks.cursor
    assert ticks().run_requests
    assert ticks.cursor != before
    with told.connect() as db:
        found = {row["digest"]["title"]: row["digest"]["entries"][0] for row in list_notices(db)}
    assert {title: one["code"] for title, one in found.items()} == {"poisoned": "NOT_LOOKED_AT", "another": "DEFECT"}
    assert "UntranslatableCharacter" in found["poisoned"]["message"]
    assert "hunter2" not in str(found)


def test_a_source_that_is_gone_from_the_file_silences_nobody(told: Installation) -> None:
    text = RECEIVER.replace("'env:GROUP'", "'env:GROUP', sources: [gone, '*']")
    (told.folder / "notices.yaml").write_text(text)
    assert "nothing is due" in str(Ticks(told)().skip_reason)


def test_the_job_does_not_wait_behind_readings(told: Installation) -> None:
    assert told.definitions.resolve_job_def(NOTICES_JOB).tags["dagster/priority"] == "100"


def test_a_receiver_that_cannot_be_used_is_a_red_run_and_one_that_is_away_is_not(
    told: Installation, robots: Robots, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = Ticks(told)
    told.drop("hosts_2026-11-20.csv", text="mgmt_ip,hostname\n\xff")
    told.collect("office", "2026-11-20")
    ticks()
    robots.fault = lambda _host: Answer(503, "away")
    assert run(told).success
    with told.connect() as db:
        db.execute("UPDATE audit.notices SET next_at = now()")
    monkeypatch.setenv("GROUP_URL", "hunter2")
    result = run(told)
    assert not result.success
    assert "NOTICE_RECEIVER_INVALID" in str(failure_of(result))
    assert "hunter2" not in str([event.message for event in result.all_events]) + str(failure_of(result))


def test_a_sensor_that_fails_tick_after_tick_is_told(kept: Installation) -> None:
    from dagster._core.definitions.run_request import InstigatorType
    from dagster._core.remote_origin import (
        InProcessCodeLocationOrigin,
        RemoteInstigatorOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, TickData, TickStatus
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._utils.error import SerializableErrorInfo

    (kept.folder / "notices.yaml").write_text(RECEIVER)
    origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="asset_ledger.definitions"))
    where = RemoteInstigatorOrigin(RemoteRepositoryOrigin(origin, "__repository__"), "iac_webhooks")
    state = InstigatorState(where, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE)
    kept.instance.add_instigator_state(state)
    error = SerializableErrorInfo("password=hunter2", [], "DagsterUserCodeUnreachableError")
    ticks = Ticks(kept)
    for number in range(2):
        assert "nothing is due" in str(ticks().skip_reason)
        kept.instance.create_tick(
            TickData(
                state.instigator_origin_id,
                "iac_webhooks",
                InstigatorType.SENSOR,
                TickStatus.FAILURE,
                datetime.now(UTC).timestamp() + number,
                error=error,
                selector_id=state.selector_id,
            )
        )
    # it is at work again, which says nothing yet
    kept.instance.create_tick(
        TickData(
            state.instigator_origin_id,
            "iac_webhooks",
            InstigatorType.SENSOR,
            TickStatus.STARTED,
            datetime.now(UTC).timestamp() + 2,
            selector_id=state.selector_id,
        )
    )
    old = Cursor.read(ticks.cursor, datetime.now(UTC))
    ticks.cursor = Cursor(old.until, old.beat_at - 2 * BEAT, old.ticked_at, old.awake_since).text()
    assert ticks().run_requests
    with kept.connect() as db:
        (row,) = list_notices(db)
    (entry,) = row["digest"]["entries"]
    assert (entry["place"], entry["code"]) == ("sensor iac_webhooks", "TICK_FAILED")
    assert "DagsterUserCodeUnreachableError" in entry["message"]
    assert "hunter2" not in str(row)
