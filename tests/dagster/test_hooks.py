"""Webhooks in Dagster: a tick asks for a run only where something is due, and the run sends it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from asset_ledger.assets.hooks import HOOKS_JOB
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sensors.hooks import build_hooks_sensor, decided
from asset_ledger.store.iac import outbox
from asset_ledger.store.iac.outbox import Due
from asset_ledger.store.tenancy import as_tenant
from tests.dagster.installation import Installation
from tests.doubles.webhooks import Receiver
from tests.pipeline.telling_hooks import opened, tenant

NOW = datetime.now(UTC) - timedelta(minutes=5)


@pytest.fixture
def there() -> Iterator[Receiver]:
    with Receiver() as double:
        yield double


@pytest.fixture
def hooked(installation: Installation, there: Receiver, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation with a webhook, and a finding that it is told of."""
    (installation.folder / "iac.yaml").write_text(
        f"webhooks: [{{name: tickets, url: '{there.url}', credential_ref: 'env:TICKETS', ca_file: '{there.ca_file}'}}]"
    )
    monkeypatch.setenv("TICKETS_SECRET", there.secret)
    with installation.connect() as db:
        opened(db, NOW, "drift")
        with as_tenant(db, tenant(db)):
            outbox.enqueue(db, "acme", installation.ledger.iac_rules.hooks, at=NOW)
    return installation


def tick(installation: Installation) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=installation.instance, resources={"ledger": LedgerResource()})
    found = build_hooks_sensor()(context)
    assert isinstance(found, dg.SensorResult)
    return found


def run(installation: Installation) -> dg.ExecuteInProcessResult:
    job = installation.definitions.resolve_job_def(HOOKS_JOB)
    return job.execute_in_process(instance=installation.instance, raise_on_error=False)


def told(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    (output,) = (event for event in result.all_events if event.is_successful_output)
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def test_what_is_due_is_asked_for_once_and_sent(hooked: Installation, there: Receiver) -> None:
    (first,) = tick(hooked).run_requests or ()
    (again,) = tick(hooked).run_requests or ()
    assert first.run_key == again.run_key
    result = run(hooked)
    assert result.success
    assert told(result) == {"arrived": 1, "not_arrived": 0, "given_up": 0}
    assert len(there.taken) == 1
    after = tick(hooked)
    assert not after.run_requests
    assert "nothing is due" in str(after.skip_reason)


def test_where_iac_yaml_names_no_webhook_nothing_is_asked(installation: Installation) -> None:
    found = tick(installation)
    assert not found.run_requests
    assert "names no webhook" in str(found.skip_reason)


def test_a_receiver_that_is_away_is_no_red_run_and_not_asked_for_at_once(hooked: Installation, there: Receiver) -> None:
    there.faults.add("POST *", "status", status=503)
    result = run(hooked)
    assert result.success
    assert told(result)["not_arrived"] == 1
    assert not tick(hooked).run_requests


def test_a_hook_that_is_written_wrong_is_a_red_run(
    hooked: Installation, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKETS_SECRET", "hunter2")
    result = run(hooked)
    assert not result.success
    (event,) = (event for event in result.all_events if event.is_step_failure)
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    assert "CREDENTIAL_UNREADABLE" in (failure.description or "")
    assert "hunter2" not in str([event.message for event in result.all_events])
    assert not there.requests.count()


def test_a_file_that_is_wrong_is_said_by_the_tick(hooked: Installation) -> None:
    (hooked.folder / "iac.yaml").write_text("webhooks: [{name: tickets}]")
    found = tick(hooked)
    assert not found.run_requests
    assert "CONFIG_INVALID" in str(found.skip_reason)


def key(found: Due) -> str | None:
    (request,) = decided(found).run_requests or ()
    return request.run_key


def test_what_a_run_that_died_left_is_asked_for_again_a_quarter_of_an_hour_later() -> None:
    assert key(Due(2, "2 ab", 0)) == key(Due(2, "2 ab", 899))
    assert key(Due(2, "2 ab", 0)) != key(Due(2, "2 ab", 900))
    assert key(Due(2, "2 ab", 0)) != key(Due(2, "2 cd", 0))
    assert not decided(Due(0, "0 0", 0)).run_requests
