"""A source that is read in scopes: a vCenter's hosts and its machines, each with its job, schedule, tags and records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from asset_ledger import launch
from asset_ledger.assets import source_chain
from asset_ledger.assets.processes import PROCESS_TAG, this_process
from asset_ledger.domain.calendar import collected_date
from asset_ledger.pipeline.chains import chosen, reading_config
from asset_ledger.pipeline.ledger import source_row
from asset_ledger.store.query.runs import list_runs
from asset_ledger.store.sources import exclusive
from tests.dagster.installation import Installation, failure_of, metadata
from tests.doubles.vcenter import ClusterSpec, HostSpec, VcenterDouble, VmSpec

SOURCES = """
sources:
  - name: vc
    platform: vcenter
    endpoint: {endpoint}
    ca_file: {ca_file}
    credential_ref: env:VC
    {more}
"""
HOSTS = [
    HostSpec("host-1", "esx-1", cluster="domain-c1"),
    HostSpec("host-2", "esx-2", cluster="domain-c1", uuid="other"),
]
VMS = [
    VmSpec(f"vm-{n}", f"app-{n}", host=f"host-{1 + n % 2}", uuid=f"4201-{n}", instance_uuid=f"5001-{n}")
    for n in range(6)
]
ROLES = ("raw", "normalized", "ledger", "daily_specs", "daily_ips")


@pytest.fixture
def vcenter() -> Iterator[VcenterDouble]:
    with VcenterDouble() as double:
        double.show(clusters=[ClusterSpec("domain-c1", "prod")], hosts=HOSTS, vms=VMS)
        yield double


@pytest.fixture
def lab(installation: Installation, vcenter: VcenterDouble, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setenv("VC", json.dumps({"username": vcenter.username, "password": vcenter.password}))
    _write(installation, vcenter)
    return installation


def _write(installation: Installation, vcenter: VcenterDouble, more: str = "") -> None:
    text = SOURCES.format(endpoint=vcenter.endpoint, ca_file=vcenter.ca_file, more=more)
    (installation.folder / "sources.yaml").write_text(text)


def today() -> str:
    return collected_date(datetime.now(UTC)).isoformat()


def tags(lab: Installation, result: dg.ExecuteInProcessResult) -> dict[str, str]:
    run = lab.instance.get_run_by_id(result.run_id)
    assert run is not None
    return {name: run.tags[name] for name in ("source", "scope", "mode")}


def test_each_scope_is_a_chain_of_its_own_and_nothing_joins_them_but_the_ledger(lab: Installation) -> None:
    graph = lab.definitions.resolve_asset_graph()
    for scope in ("hosts", "vms"):
        keys = {dg.AssetKey(["vc", f"{role}_{scope}"]) for role in ROLES}
        assert keys <= graph.get_all_asset_keys()
        assert graph.get(dg.AssetKey(["vc", f"normalized_{scope}"])).parent_keys == {
            dg.AssetKey(["vc", f"raw_{scope}"])
        }
        for key in keys:
            assert {parent.path[-1].rpartition("_")[2] for parent in graph.get(key).parent_keys} <= {scope}
    links = graph.get(dg.AssetKey(["ledger", "duplicate_candidates"])).parent_keys
    assert links == {dg.AssetKey(["vc", "ledger_hosts"]), dg.AssetKey(["vc", "ledger_vms"])}
    jobs = {job.name for job in lab.definitions.resolve_all_job_defs() if job.name.startswith("vc_")}
    assert jobs == {"vc_collect", "vc_collect_hosts", "vc_collect_vms", "vc_healthcheck", "vc_detect"}


def test_hosts_and_machines_are_read_by_runs_of_their_own(lab: Installation) -> None:
    hosts = lab.collect("vc", today(), mode="collect_hosts")
    machines = lab.collect("vc", today(), mode="collect_vms")
    assert hosts.success, failure_of(hosts)
    assert machines.success, failure_of(machines)
    assert tags(lab, hosts) == {"source": "vc", "scope": "hosts", "mode": "collect_hosts"}
    assert tags(lab, machines) == {"source": "vc", "scope": "vms", "mode": "collect_vms"}
    assert metadata(hosts, "vc", "ledger_hosts")["created"] == 3
    assert metadata(machines, "vc", "ledger_vms")["created"] == 6
    (known,) = metadata(machines, "vc", "ledger_vms")["hosts_known_from"].records
    assert known.data["told_by_run"] == hosts.run_id
    assert (known.data["hosts"], known.data["machines_on_them"], known.data["scope"]) == (2, 6, "hosts")
    records = lab.rows("SELECT DISTINCT run_id, scope, mode FROM ledger.sync_target_records ORDER BY scope")
    assert records == [
        {"run_id": hosts.run_id, "scope": "hosts", "mode": "collect_hosts"},
        {"run_id": machines.run_id, "scope": "vms", "mode": "collect_vms"},
    ]
    checks = {(check.asset_key.path[-1], check.check_name) for check in hosts.get_asset_check_evaluations()}
    assert checks == {
        ("normalized_hosts", "every_target_read"),
        ("ledger_hosts", "no_identity_conflicts"),
        ("raw_hosts", "inventory_complete"),
        ("ledger_hosts", "absences_within_threshold"),
        ("raw_hosts", "day_fresh"),
        ("raw_hosts", "last_reading_whole"),
        ("daily_specs_hosts", "row_count_usual"),
    }
    assert all(check.passed for check in machines.get_asset_check_evaluations())


def test_one_run_reads_both_hosts_first_for_those_who_want_that(lab: Installation) -> None:
    result = lab.collect("vc", today())
    assert result.success, failure_of(result)
    assert tags(lab, result) == {"source": "vc", "scope": "all", "mode": "collect"}
    readings = lab.rows("SELECT scope, mode, run_id, complete FROM ledger.inventories ORDER BY id")
    assert readings == [
        {"scope": scope, "mode": "collect", "run_id": result.run_id, "complete": True} for scope in ("hosts", "vms")
    ]


def test_hosts_that_fail_do_not_hold_up_the_machines_of_the_same_run(lab: Installation, vcenter: VcenterDouble) -> None:
    vcenter.deny("host-1", "name")
    result = lab.collect("vc", today())
    assert not result.success
    status = lab.rows("SELECT scope, status FROM ledger.inventories ORDER BY id")
    assert {row["scope"]: row["status"] for row in status}["vms"] == "derived"
    assert lab.materialized("vc", "daily_specs_vms") == {today()}
    assert lab.materialized("vc", "daily_specs_hosts") == set()
    assert lab.rows("SELECT count(*) AS n FROM ledger.assets WHERE missing_since IS NOT NULL")[0]["n"] == 0


@pytest.mark.parametrize(
    ("running", "held"),
    [
        ("vc_collect", {"vc_daily_hosts", "vc_daily_vms"}),
        ("vc_collect_hosts", {"vc_daily_hosts"}),
        ("vc_collect_vms", {"vc_daily_vms"}),
        ("vc_healthcheck", set()),
    ],
)
@pytest.mark.usefixtures("kept")
def test_a_mode_is_not_started_while_one_that_overlaps_it_runs(lab: Installation, running: str, held: set[str]) -> None:
    job = lab.definitions.resolve_job_def(running)
    run = lab.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    for name in ("vc_daily_hosts", "vc_daily_vms"):
        answer = _tick(lab, name)
        mode = name.replace("vc_daily", "collect")
        if name in held:
            assert answer.skip_message == (
                f"vc is being read by run {run.run_id} ({running}); queued by mode: {mode} 0"
            )
        else:
            (request,) = answer.run_requests
            assert request.partition_key == "2026-11-22"


def test_hosts_are_read_first_and_machines_five_minutes_later(lab: Installation) -> None:
    assert _crons(lab) == {"vc_daily_hosts": "0 2 * * *", "vc_daily_vms": "5 2 * * *"}


@pytest.mark.parametrize(
    ("schedule", "crons"),
    [
        ("30 3 * * *", {"vc_daily_hosts": "30 3 * * *", "vc_daily_vms": "35 3 * * *"}),
        ('"58 3 * * *"', {"vc_daily_hosts": "58 3 * * *", "vc_daily_vms": "58 3 * * *"}),
        ("{hosts: 0 1 * * *, vms: 0 */4 * * *}", {"vc_daily_hosts": "0 1 * * *", "vc_daily_vms": "0 */4 * * *"}),
        ("{all: 0 1 * * *}", {"vc_daily": "0 1 * * *"}),
        ("{vms: 0 1 * * *}", {"vc_daily_vms": "0 1 * * *"}),
    ],
)
def test_when_each_scope_is_read_can_be_said(
    lab: Installation, vcenter: VcenterDouble, schedule: str, crons: dict[str, str]
) -> None:
    _write(lab, vcenter, f"schedule: {schedule}")
    assert _crons(lab) == crons


def test_one_host_without_a_vcenter_has_one_chain(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    with VcenterDouble(esxi=True) as esxi:
        esxi.show(hosts=[HostSpec("ha-host", "esx-9")], vms=[VmSpec("1", "small", host="ha-host")])
        monkeypatch.setenv("VC", json.dumps({"username": esxi.username, "password": esxi.password}))
        _write(installation, esxi, "scope: standalone")
        result = installation.collect("vc", today())
    assert result.success, failure_of(result)
    assert metadata(result, "vc", "ledger_assets")["created"] == 2
    assert _crons(installation) == {"vc_daily": "0 2 * * *"}


def test_a_session_that_ends_in_the_middle_is_read_again_by_the_same_run(
    lab: Installation, vcenter: VcenterDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came until then is kept as evidence of a reading that nothing is derived from."""
    monkeypatch.setattr(source_chain, "RETRIES", dg.RetryPolicy(max_retries=2, delay=0))
    many = [
        VmSpec(f"vm-{n}", f"app-{n}", host="host-1", uuid=f"4201-{n}", instance_uuid=f"5001-{n}") for n in range(1300)
    ]
    vcenter.show(clusters=[ClusterSpec("domain-c1", "prod")], hosts=HOSTS, vms=many)
    motion = vcenter.on(
        "ContinueRetrievePropertiesEx", lambda double: double.expire_sessions(), kinds=frozenset({"VirtualMachine"})
    )
    result = lab.collect("vc", today(), mode="collect_vms")
    assert result.success, failure_of(result)
    status = [row["status"] for row in lab.rows("SELECT status FROM ledger.inventories ORDER BY id")]
    assert motion.hits == 1
    assert status == ["interrupted", "derived"]
    assert metadata(result, "vc", "ledger_vms")["created"] == 1300


@pytest.mark.usefixtures("kept")
def test_a_run_that_was_started_for_assets_holds_up_what_overlaps_it(lab: Installation) -> None:
    job = lab.definitions.resolve_implicit_global_asset_job_def()
    selected = frozenset(dg.AssetKey(["vc", f"{role}_hosts"]) for role in ROLES)
    run = lab.instance.create_run_for_job(job, asset_selection=selected, status=dg.DagsterRunStatus.STARTED)

    assert f"run {run.run_id}" in str(_tick(lab, "vc_daily_hosts").skip_message)
    assert len(_tick(lab, "vc_daily_vms").run_requests) == 1


@pytest.mark.usefixtures("kept")
def test_a_run_whose_process_is_gone_holds_up_nothing(lab: Installation) -> None:
    job = lab.definitions.resolve_job_def("vc_collect_hosts")
    host, pid, _ = this_process()[PROCESS_TAG].split(" ")
    tags = {PROCESS_TAG: f"{host} {pid} 1"}
    lab.instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)

    assert len(_tick(lab, "vc_daily_hosts").run_requests) == 1


def test_a_day_of_which_one_scope_was_read_is_done_by_a_run_of_both(lab: Installation) -> None:
    assert lab.collect("vc", today(), mode="collect_vms").success
    result = lab.collect("vc", today(), replay=True)
    assert result.success, failure_of(result)
    assert lab.materialized("vc", "raw_vms") == {today()}
    assert lab.materialized("vc", "raw_hosts") == set()

    alone = lab.collect("vc", today(), replay=True, mode="collect_hosts")
    assert "RAW_MISSING" in str(failure_of(alone).description)
    nothing = lab.collect("vc", "2026-11-01", replay=True)
    assert not nothing.success


def test_a_chain_that_gives_up_on_another_run_leaves_its_record(
    lab: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_chain, "LOCK_WAIT_S", 0.1)
    monkeypatch.setattr(source_chain, "RETRIES", dg.RetryPolicy(max_retries=1, delay=0))
    with lab.connect() as other:
        row = source_row(other, lab.ledger.source("vc"))
        with exclusive(other, row, covers=("host", "cluster")):
            result = lab.collect("vc", today())
    assert not result.success
    records = lab.rows("SELECT scope, target, status, error_code FROM ledger.sync_target_records ORDER BY id")
    assert sorted(records, key=lambda record: record["scope"]) == [
        {"scope": "hosts", "target": "vc hosts", "status": "failed", "error_code": "SOURCE_BUSY"},
        {"scope": "vms", "target": "vc vms", "status": "ok", "error_code": None},
    ]
    with lab.connect() as connection:
        listed = [run["status"] for run in list_runs(connection, source="vc")]
    assert sorted(listed) == ["derived", "refused"]


def test_a_replay_of_which_one_scope_fails_tells_what_the_other_came_to(lab: Installation) -> None:
    assert lab.collect("vc", today()).success
    with lab.connect() as connection:
        connection.execute(
            "UPDATE ledger.asset_observations SET body = 'damaged' WHERE inventory_id IN "
            "(SELECT id FROM ledger.inventories WHERE scope = 'hosts')"
        )
    request = {
        "job": "vc_collect",
        "partition_range": ["2026-11-01", today()],
        "config": reading_config(chosen(lab.ledger.source("vc"), None)[1], replay=True),
    }
    answer = launch._run(lab.definitions, lab.instance, request, debug=False)
    assert answer["success"] is False
    assert "RAW_DAMAGED" in answer["metadata"]["failed_days"][today()]
    states = lab.rows("SELECT scope, effect FROM ledger.sync_target_records WHERE mode = 'replay' ORDER BY scope")
    assert [state["scope"] for state in states] == ["hosts", "vms"]
    assert states[1]["effect"].startswith("day derived again")


def _tick(lab: Installation, name: str) -> dg.ScheduleExecutionData:
    repository = lab.definitions.get_repository_def()
    context = dg.build_schedule_context(
        instance=lab.instance,
        scheduled_execution_time=datetime(2026, 11, 21, 18, 30, tzinfo=UTC),
        repository_def=repository,
    )
    return repository.get_schedule_def(name).evaluate_tick(context)


def _crons(lab: Installation) -> dict[str, str]:
    from asset_ledger.definitions import build_definitions
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.settings import Settings

    repository = build_definitions(Ledger(Settings.load()).sources).get_repository_def()
    found = {each.name: str(each.cron_schedule) for each in repository.schedule_defs}
    return {name: cron for name, cron in found.items() if name.startswith("vc_")}
