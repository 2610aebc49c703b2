"""Agents in Dagster: the sensor sees what waits, a run takes it in day by day, and what does not agree is looked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from asset_ledger.assets.agents import FINDINGS, FINDINGS_JOB
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sensors import agents as sensing
from asset_ledger.sensors.agents import build_agents_sensors, requested, stretches
from asset_ledger.store.agents.waiting import WaitingDay
from asset_ledger.store.database import connect
from tests.dagster.installation import SOURCES, Installation
from tests.pipeline.reporting import Reporting, reporting_on, source_of

AGENTS = SOURCES + "  - name: agents_acme\n    platform: agent\n    tenant: acme\n"


@pytest.fixture
def agents(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reporting]:
    (installation.folder / "sources.yaml").write_text(AGENTS)
    monkeypatch.setattr(sensing, "LISTEN_S", 0.1)
    with connect(installation.url) as connection:
        yield reporting_on(connection)


def tick(installation: Installation) -> dg.SensorResult:
    jobs = [installation.definitions.get_job_def("agents_acme_collect")]
    (sensor,) = build_agents_sensors(installation.ledger.sources, jobs)
    context = dg.build_sensor_context(instance=installation.instance, resources={"ledger": LedgerResource()})
    found = sensor(context)
    assert isinstance(found, dg.SensorResult)
    return found


def run(installation: Installation, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    """Run what a tick asked for, as the daemon would."""
    assert request.job_name is not None
    return installation.definitions.resolve_job_def(request.job_name).execute_in_process(
        instance=installation.instance,
        partition_key=request.partition_key,
        tags={**request.tags, "dagster/run_key": str(request.run_key)},
        raise_on_error=False,
    )


def test_what_waits_is_asked_for_a_run_takes_it_in_and_nothing_waits(
    installation: Installation, agents: Reporting
) -> None:
    assert tick(installation).run_requests in (None, [])
    agents.report("web-01", "2026-11-10 03:00", peer="192.0.2.10")
    agents.report("web-02", "2026-11-11 03:00", addresses=["192.0.2.11/24"])
    agents.report("web-02", "2026-11-13 03:00", addresses=["192.0.2.11/24"])
    (request,) = tick(installation).run_requests or ()
    assert request.partition_key is None
    assert request.tags["dagster/asset_partition_range_start"] == "2026-11-10"
    assert request.tags["dagster/asset_partition_range_end"] == "2026-11-11"
    done = run(installation, request)
    assert done.success
    (raw,) = done.asset_materializations_for_node("agents_acme_chain")[:1]
    assert raw.asset_key == dg.AssetKey(["agents_acme", "raw_inventory"])
    assert agents.waits() == 1
    (other,) = tick(installation).run_requests or ()
    assert (other.partition_key, other.job_name) == ("2026-11-13", "agents_acme_collect")
    assert run(installation, other).success
    assert agents.waits() == 0
    assert agents.one("SELECT count(*) FROM ledger.assets") == 2


def test_what_comes_just_after_a_run_waits_for_others_to_come_and_no_longer_than_a_while(
    installation: Installation, agents: Reporting
) -> None:
    now = datetime.now(UTC)
    agents.report("web-01", now, peer="192.0.2.10")
    (first,) = tick(installation).run_requests or ()
    assert run(installation, first).success
    agents.report("web-02", now, addresses=["192.0.2.11/24"])
    assert "wait for others to come" in str(tick(installation).skip_reason)
    agents.report("web-03", now - timedelta(minutes=6), addresses=["192.0.2.12/24"])
    (second,) = tick(installation).run_requests or ()
    assert second.run_key != first.run_key


def test_a_run_key_is_another_for_what_comes_and_again_for_what_a_run_left() -> None:
    source = source_of()
    day = WaitingDay(date(2026, 11, 10), 3, "a/3", 60.0, 30.0)
    (one,) = stretches([day])
    key = requested(source, one).run_key
    (more,) = stretches([replace(day, which="b/4")])
    assert requested(source, more).run_key != key
    (later,) = stretches([replace(day, newest_s=3600.0)])
    assert requested(source, later).run_key != key
    assert requested(source, one).run_key == key


def test_days_in_a_row_are_one_run_and_no_more_than_a_month() -> None:
    days = [WaitingDay(date(2026, 9, 1) + timedelta(days=n), 1, str(n), 1.0, 1.0) for n in range(40)]
    assert [len(one.days) for one in stretches(days)] == [31, 9]
    assert [len(one.days) for one in stretches([days[0], days[2], days[3]])] == [1, 2]
    assert stretches([]) == []


def test_a_tenant_that_is_not_there_is_told_by_the_sensor(installation: Installation) -> None:
    (installation.folder / "sources.yaml").write_text(AGENTS)
    assert "there is no tenant acme" in str(tick(installation).skip_reason)


def test_without_sources_of_agents_there_is_no_sensor(installation: Installation) -> None:
    assert build_agents_sensors(installation.ledger.sources, []) == []


def test_what_does_not_agree_is_looked_for_downstream_of_every_source_that_may_speak_of_it(
    installation: Installation, agents: Reporting
) -> None:
    graph = installation.definitions.resolve_asset_graph()
    assert graph.get(FINDINGS).parent_keys == {dg.AssetKey(["agents_acme", "ledger_assets"])}
    done = installation.definitions.resolve_job_def(FINDINGS_JOB).execute_in_process(instance=installation.instance)
    (event,) = done.asset_materializations_for_node("agent_look_for_findings")
    assert event.metadata["dagster/row_count"].value == 0
    (check,) = done.get_asset_check_evaluations()
    assert check.passed
