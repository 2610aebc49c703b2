"""Versions of states in Dagster: the sensor sees what waits, the run reads it, what cannot be opened is a red run."""

from __future__ import annotations

import base64
import json
import os
import threading
from dataclasses import replace

import dagster as dg
import pytest

from asset_ledger.assets.iac import (
    DEPENDENCY_EDGES,
    PARSE_JOB,
    RESOURCE_EVENTS,
    RESOURCES_CURRENT,
)
from asset_ledger.credentials import key_ring
from asset_ledger.definitions import build_definitions
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sensors.states import build_states_sensor, decided
from asset_ledger.settings import Settings
from asset_ledger.store.access.people import add_tenant
from asset_ledger.store.database import Connection
from asset_ledger.store.iac.queue import Backlog, backlog, listen, rung
from asset_ledger.store.iac.states import Name
from asset_ledger.store.iac.writing import add_file
from asset_ledger.store.tenancy import as_tenant
from tests.dagster.installation import Installation

STACK = Name("terraform", "net", "prod")


@pytest.fixture
def ledger(installation: Installation) -> Ledger:
    return Ledger(Settings.load())


@pytest.fixture
def instance(installation: Installation) -> dg.DagsterInstance:
    return installation.instance


def state(serial: int, **values: str) -> bytes:
    resources = [
        {
            "mode": "managed",
            "type": "aws_instance",
            "name": name,
            "provider": 'provider["registry.terraform.io/hashicorp/aws"]',
            "instances": [{"schema_version": 1, "attributes": {"id": f"i-{name}0001", "ami": ami, "user_data": "x y"}}],
        }
        for name, ami in values.items()
    ]
    return json.dumps({"version": 4, "serial": serial, "lineage": "one", "resources": resources}).encode()


def write(ledger: Ledger, *bodies: bytes) -> None:
    ring, _ = key_ring.load_or_make(ledger.settings.home, os.environ)
    with ledger.connect() as connection:
        row = connection.execute("SELECT id FROM agent.tenants WHERE name = 'acme'").fetchone()
        tenant = row[0] if row else add_tenant(connection, "acme", ring)
        for body in bodies:
            with as_tenant(connection, tenant):
                add_file(connection, tenant, STACK, body, ring, "test")


def waiting(connection: Connection) -> tuple[int, int]:
    """Return how many versions can be read by who has the keys of now, and how many wait for another."""
    found = backlog(connection, key_ring.load(Settings.load().home, os.environ).keys)
    return found.versions, found.held


def run(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = build_definitions([]).resolve_job_def(PARSE_JOB)
    return job.execute_in_process(instance=instance, raise_on_error=False)


def tick(instance: dg.DagsterInstance) -> dg.SensorResult:
    found = build_states_sensor()(dg.build_sensor_context(instance=instance, resources={"ledger": LedgerResource()}))
    assert isinstance(found, dg.SensorResult)
    return found


def test_what_was_written_is_asked_for_once_and_read_in_one_run(ledger: Ledger, instance: dg.DagsterInstance) -> None:
    write(ledger, state(1, web="ami-1"), state(2, web="ami-2", db="ami-1"))
    (request,) = tick(instance).run_requests or ()
    assert request.run_key == (tick(instance).run_requests or ())[0].run_key
    result = run(instance)
    assert result.success
    told = {
        event.asset_key: event.step_materialization_data.materialization.metadata
        for event in result.get_asset_materialization_events()
    }
    assert told[RESOURCE_EVENTS]["events"].value == 3
    assert told[RESOURCE_EVENTS]["versions"].value == 2
    assert told[RESOURCES_CURRENT]["resources"].value == 2
    assert DEPENDENCY_EDGES in told
    with ledger.connect() as connection:
        assert waiting(connection) == (0, 0)
        assert connection.execute("SELECT attrs->>'ami' FROM iac.resources_current ORDER BY addr").fetchall() == [
            ("ami-1",),
            ("ami-2",),
        ]
        kept = connection.execute("SELECT attrs->>'user_data' FROM iac.resources_current").fetchall()
    assert all(value.startswith("redacted:") for (value,) in kept)


def test_a_version_whose_key_is_gone_waits_and_the_run_is_red(
    ledger: Ledger, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(ledger, state(1, web="ami-1"))
    other = base64.b64encode(b"o" * 32).decode()
    with monkeypatch.context() as changed:
        changed.setenv(key_ring.VARIABLE, f"other:{other}")
        result = run(instance)
        assert not result.success
        (held,) = tick(instance).run_requests or ()
        with ledger.connect() as connection:
            assert waiting(connection) == (0, 1)
    (again,) = tick(instance).run_requests or ()
    assert again.run_key != held.run_key, "the key is there again"
    assert run(instance).success
    with ledger.connect() as connection:
        assert waiting(connection) == (0, 0)


def test_where_nobody_keeps_states_nothing_is_asked_for(ledger: Ledger, instance: dg.DagsterInstance) -> None:
    with ledger.connect() as connection:
        connection.execute("DELETE FROM agent.tenants")
    found = tick(instance)
    assert not found.run_requests
    assert "no tenant" in str(found.skip_reason)


def key(found: Backlog) -> str | None:
    (request,) = decided(found).run_requests or ()
    return request.run_key


def test_another_version_is_another_run() -> None:
    first = Backlog(1, 1, 0, "1/0 a/0", 5.0)
    assert key(first) == key(replace(first, age_s=800.0))
    assert key(first) != key(replace(first, which="1/0 b/0"))
    assert not decided(Backlog(1, 0, 0, "0/0 0/0", 0.0)).run_requests


def test_what_a_run_left_is_asked_for_again_ever_less_often() -> None:
    left = Backlog(1, 1, 0, "1/0 a/0", 0.0)
    hours = [minute / 60 for minute in range(4 * 24 * 60)]
    keys = [key(replace(left, age_s=hour * 3600)) for hour in hours]
    asked = [hour for hour, mine, before in zip(hours[1:], keys[1:], keys, strict=False) if mine != before]
    assert asked == [0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 24.0, 48.0, 72.0]


def test_a_version_that_shows_late_is_not_hidden_by_one_that_is_newer(
    ledger: Ledger, instance: dg.DagsterInstance
) -> None:
    write(ledger, state(1, web="ami-1"))
    ring = key_ring.load(ledger.settings.home, os.environ)
    with ledger.connect() as slow, ledger.connect() as quick:
        (tenant,) = slow.execute("SELECT id FROM agent.tenants WHERE name = 'acme'").fetchone() or ()
        assert run(instance).success
        with as_tenant(slow, tenant):
            add_file(slow, tenant, Name("terraform", "net", "slow"), state(1, web="ami-1"), ring, "test")
            with as_tenant(quick, tenant):
                add_file(quick, tenant, Name("terraform", "net", "quick"), state(1, web="ami-1"), ring, "test")
            (first,) = tick(instance).run_requests or ()
            # its place in the row of what waits is taken by the other: as many, and the newest of them the same
            quick.execute("UPDATE iac.states SET created_at = now() + interval '1 s' WHERE parsed_at IS NULL")
        quick.execute(
            "UPDATE iac.states AS s SET parsed_at = now() FROM iac.state_heads AS h"
            " WHERE h.state_id = s.state_id AND h.stack = 'quick'"
        )
    (second,) = tick(instance).run_requests or ()
    assert second.run_key != first.run_key


def test_what_waits_for_a_key_is_asked_for_once_and_hides_nobody(ledger: Ledger, instance: dg.DagsterInstance) -> None:
    write(ledger, state(1, web="ami-1"), state(2, web="ami-2"))
    with ledger.connect() as connection:
        connection.execute("UPDATE iac.states SET key_id = 'gone' WHERE version = 1")
        assert waiting(connection) == (0, 2), "so does what stands behind it"
        (first,) = tick(instance).run_requests or ()
        connection.execute("UPDATE iac.states SET created_at = created_at - interval '3 days'")
        (later,) = tick(instance).run_requests or ()
        assert later.run_key == first.run_key, "one red run told it"
        (tenant,) = connection.execute("SELECT id FROM agent.tenants WHERE name = 'acme'").fetchone() or ()
        ring = key_ring.load(ledger.settings.home, os.environ)
        with as_tenant(connection, tenant):
            add_file(connection, tenant, Name("terraform", "lan", "prod"), state(1, web="ami-1"), ring, "test")
        assert waiting(connection) == (1, 2)
        (other,) = tick(instance).run_requests or ()
        assert other.run_key != first.run_key
        result = run(instance)
        assert not result.success
        assert waiting(connection) == (0, 2)
        (after,) = tick(instance).run_requests or ()
        assert after.run_key == first.run_key
        connection.execute("UPDATE agent.tenants SET key_id = 'gone'")
        connection.execute("UPDATE iac.states SET key_id = %s", [ring.current])
        assert waiting(connection) == (0, 2), "nor is anything read without the key of the tenant's hashes"


def test_the_bell_is_heard_when_a_version_is_written(ledger: Ledger) -> None:
    write(ledger)
    with ledger.connect() as connection:
        listen(connection)
        later = threading.Timer(0.3, write, (ledger, state(7, web="ami-9")))
        later.start()
        assert rung(connection, 60)
        later.join()
