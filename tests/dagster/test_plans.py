"""Plans in Dagster: they ring the same bell, are read by the same run, and their outcomes are counted."""

from __future__ import annotations

import json
import os
import threading
from uuid import UUID

import dagster as dg
import pytest

from asset_ledger.assets.iac import PARSE_JOB, PLAN_EVENTS, RESOURCE_EVENTS
from asset_ledger.credentials import key_ring
from asset_ledger.definitions import build_definitions
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sensors.states import build_states_sensor
from asset_ledger.settings import Settings
from asset_ledger.store.access.people import add_tenant
from asset_ledger.store.iac.plans import NewPlan, add_plan
from asset_ledger.store.iac.queue import Backlog, backlog, listen, rung
from asset_ledger.store.iac.states import Name, Who
from asset_ledger.store.iac.writing import add_file
from asset_ledger.store.tenancy import as_tenant
from tests.dagster.installation import Installation

STACK = Name("terraform", "net", "prod")
CHANGE = {
    "address": "aws_instance.web", "mode": "managed", "type": "aws_instance", "name": "web",
    "provider_name": "registry.terraform.io/hashicorp/aws",
    "change": {"actions": ["create"], "before": None, "after": {"ami": "ami-1"}, "after_unknown": {"id": True}},
}  # fmt: skip
PLAN = {"format_version": "1.2", "planned_values": {}, "errored": False, "resource_changes": [CHANGE]}


@pytest.fixture
def ledger(installation: Installation) -> Ledger:
    return Ledger(Settings.load())


@pytest.fixture
def tenant(ledger: Ledger) -> UUID:
    ring, _ = key_ring.load_or_make(ledger.settings.home, os.environ)
    with ledger.connect() as connection:
        return add_tenant(connection, "acme", ring)


def send(ledger: Ledger, tenant: UUID, **more: object) -> None:
    ring = key_ring.load(ledger.settings.home, os.environ)
    with ledger.connect() as connection, as_tenant(connection, tenant):
        new = NewPlan(json.dumps({**PLAN, **more}).encode())
        add_plan(connection, tenant, STACK, new, base=None, who=Who("ci", None), ring=ring)


def write(ledger: Ledger, tenant: UUID, ami: str) -> None:
    ring = key_ring.load(ledger.settings.home, os.environ)
    resource = {
        "mode": "managed", "type": "aws_instance", "name": "web",
        "provider": 'provider["registry.terraform.io/hashicorp/aws"]',
        "instances": [{"attributes": {"id": "i-1", "ami": ami}}],
    }  # fmt: skip
    body = json.dumps({"version": 4, "serial": 1, "lineage": "one", "resources": [resource]}).encode()
    with ledger.connect() as connection, as_tenant(connection, tenant):
        add_file(connection, tenant, STACK, body, ring, "test")


def waiting(ledger: Ledger) -> Backlog:
    with ledger.connect() as connection:
        return backlog(connection, key_ring.load(ledger.settings.home, os.environ).keys)


def tick(installation: Installation) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=installation.instance, resources={"ledger": LedgerResource()})
    found = build_states_sensor()(context)
    assert isinstance(found, dg.SensorResult)
    return found


def run(installation: Installation) -> dg.ExecuteInProcessResult:
    job = build_definitions([]).resolve_job_def(PARSE_JOB)
    return job.execute_in_process(instance=installation.instance, raise_on_error=False)


def test_a_plan_is_asked_for_read_and_followed(installation: Installation, ledger: Ledger, tenant: UUID) -> None:
    send(ledger, tenant)
    assert (waiting(ledger).versions, waiting(ledger).plans) == (0, 1)
    (request,) = tick(installation).run_requests or ()
    write(ledger, tenant, "ami-1")
    (other,) = tick(installation).run_requests or ()
    assert request.run_key != other.run_key
    result = run(installation)
    assert result.success
    told = {
        event.asset_key: event.step_materialization_data.materialization.metadata
        for event in result.get_asset_materialization_events()
    }
    counts = {name: value.value for name, value in told[PLAN_EVENTS].items() if name != "table"}
    assert counts == {
        "plans": 1, "unread": 0, "events": 1, "followed": 1, "as_predicted": 1, "otherwise": 0, "not_done": 0, "left": 0,
    }  # fmt: skip
    assert told[RESOURCE_EVENTS]["events"].value == 1
    assert (waiting(ledger).plans, waiting(ledger).versions, waiting(ledger).held) == (0, 0, 0)
    again = run(installation).get_asset_materialization_events()
    (empty,) = (e.step_materialization_data.materialization.metadata for e in again if e.asset_key == PLAN_EVENTS)
    assert empty.keys() == told[PLAN_EVENTS].keys(), "the same numbers every time, so that they can be plotted"


def test_a_plan_whose_key_is_gone_waits_and_the_run_is_red(
    installation: Installation, ledger: Ledger, tenant: UUID
) -> None:
    send(ledger, tenant)
    with ledger.connect() as connection:
        connection.execute("UPDATE iac.plans SET key_id = 'gone'")
    assert (waiting(ledger).plans, waiting(ledger).held) == (0, 1)
    (held,) = tick(installation).run_requests or ()
    result = run(installation)
    assert not result.success
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert "1 plans wait, for they cannot be opened" in str(failed.step_failure_data.user_failure_data)
    assert (tick(installation).run_requests or ())[0].run_key == held.run_key, "one red run told it"
    with ledger.connect() as connection:
        connection.execute(
            "UPDATE iac.plans SET key_id = %s", [next(iter(key_ring.load(ledger.settings.home, os.environ).keys))]
        )
    assert run(installation).success


def test_a_plan_over_a_version_whose_key_is_gone_waits_behind_it(
    installation: Installation, ledger: Ledger, tenant: UUID
) -> None:
    write(ledger, tenant, "ami-1")
    send(ledger, tenant)
    assert (waiting(ledger).versions, waiting(ledger).plans) == (1, 1)
    with ledger.connect() as connection:
        connection.execute("UPDATE iac.states SET key_id = 'gone'")
    assert (waiting(ledger).versions, waiting(ledger).plans, waiting(ledger).held) == (0, 0, 2)
    assert not run(installation).success
    assert waiting(ledger).held == 2


def test_the_bell_is_heard_when_a_plan_is_sent(ledger: Ledger, tenant: UUID) -> None:
    with ledger.connect() as connection:
        listen(connection)
        later = threading.Timer(0.3, send, (ledger, tenant))
        later.start()
        assert rung(connection, 60)
        later.join()
