"""Findings in Dagster: they follow the sources that are mapped, the checks turn yellow, the counts are always there."""

from __future__ import annotations

import json
import os

import dagster as dg
import pytest

from asset_ledger.assets.findings import CLOUD_ORPHANS, DRIFT_FINDINGS, FINDINGS_JOB
from asset_ledger.credentials import key_ring
from asset_ledger.definitions import build_definitions
from asset_ledger.domain.iac.rules import Mapped, Rules
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.pipeline.states import parse_waiting
from asset_ledger.settings import Settings
from asset_ledger.store.access.people import add_tenant
from asset_ledger.store.iac.states import Name
from asset_ledger.store.iac.writing import add_file
from asset_ledger.store.tenancy import as_tenant
from tests.dagster.installation import Installation

MAPPED = Mapped("acme", "office", ("*/*",), None, None, None, True)
IAC = "mappings:\n  - {tenant: acme, source: office, provider: azurerm}\n"


@pytest.fixture
def installation(installation: Installation) -> Installation:
    (installation.folder / "iac.yaml").write_text(IAC, encoding="utf-8")
    return installation


def declare(ledger: Ledger, **addresses: str) -> None:
    """Write a state of machines that say their address and no id."""
    ring, _ = key_ring.load_or_make(ledger.settings.home, os.environ)
    resources = [
        {
            "mode": "managed",
            "type": "azurerm_linux_virtual_machine",
            "name": name,
            "provider": 'provider["registry.terraform.io/hashicorp/azurerm"]',
            "instances": [{"attributes": {"id": f"/vm/{name}", "name": name, "private_ip_address": address}}],
        }
        for name, address in addresses.items()
    ]
    body = json.dumps({"version": 4, "serial": 1, "lineage": "one", "resources": resources}).encode()
    with ledger.connect() as connection:
        tenant = add_tenant(connection, "acme", ring)
        with as_tenant(connection, tenant):
            add_file(connection, tenant, Name("terraform", "shop", "prod"), body, ring, "test")
        parse_waiting(connection, ring)


def look(installation: Installation) -> dg.ExecuteInProcessResult:
    ledger = Ledger(Settings.load())
    job = build_definitions(ledger.sources, ledger.iac_rules).resolve_job_def(FINDINGS_JOB)
    return job.execute_in_process(instance=installation.instance, raise_on_error=False)


def counts(found: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, object]:
    (event,) = (each for each in found.get_asset_materialization_events() if each.asset_key == key)
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_findings_hang_on_the_sources_that_are_mapped_alone(installation: Installation) -> None:
    def upstream(rules: Rules) -> set[str]:
        graph = build_definitions(installation.ledger.sources, rules).resolve_asset_graph()
        return {each.to_user_string() for each in graph.get(DRIFT_FINDINGS).parent_keys}

    states = {"iac/resources_current", "iac/dependency_edges"}
    assert upstream(Rules()) == states
    assert upstream(Rules((MAPPED,))) == {*states, "office/ledger_assets"}


def test_what_is_compared_is_counted_with_the_same_keys_every_time(installation: Installation) -> None:
    declare(installation.ledger, web="10.0.0.1")
    empty = look(installation)
    assert empty.success  # its source was not read yet
    installation.drop("hosts_2026-11-20.csv", "10.0.0.1,web,vm,,4,8")
    assert installation.collect("office", "2026-11-20").success
    found = look(installation)
    assert found.success
    for key in (DRIFT_FINDINGS, CLOUD_ORPHANS):
        told = counts(found, key)
        assert told.keys() == counts(empty, key).keys()
        assert (told["declared"], told["dagster/row_count"]) == (1, 0)
        assert "| acme | office | 1 |" in str(told["table"])
    assert all(check.passed for check in found.get_asset_check_evaluations())


def test_the_checks_warn_and_say_what_to_do(installation: Installation) -> None:
    ledger = installation.ledger
    declare(ledger, web="10.0.0.1")
    installation.drop("hosts_2026-11-20.csv", "10.0.0.1,web,vm,,4,8")
    assert installation.collect("office", "2026-11-20").success
    assert look(installation).success
    with ledger.connect() as connection:
        row = connection.execute("SELECT tenant_id, state_id FROM iac.state_heads").fetchone()
        assert row is not None
        # a finding as another evaluation left it, that nothing read since speaks of
        connection.execute(
            "INSERT INTO iac.drift_findings (tenant_id, kind, state_id, stable_uid, addr, attribute, source_id, source,"
            " opened_at, seen_at) SELECT %s, 'drift', %s, stable_uid, addr, 'memory_bytes', s.id, s.name, now(), now()"
            " FROM iac.declared_machines, ledger.sources AS s WHERE s.name = 'office'",
            row,
        )
    found = look(installation)
    by_name = {check.check_name: check for check in found.get_asset_check_evaluations()}
    assert found.success
    assert by_name["no_orphans"].passed
    warned = by_name["no_drift"]
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "asset-ledger findings list" in str(warned.description)


def test_a_tenant_that_there_is_not_makes_the_run_red_and_nothing_is_looked_at(
    installation: Installation,
) -> None:
    declare(installation.ledger, web="10.0.0.1")
    (installation.folder / "iac.yaml").write_text(
        IAC + "  - {tenant: acmee, source: probe, provider: azurerm}\n", encoding="utf-8"
    )
    found = look(installation)
    assert not found.success
    assert found.get_asset_materialization_events() == []
    (failed,) = (event for event in found.all_events if event.event_type_value == "STEP_FAILURE")
    assert "there is no tenant acmee; there are: acme" in str(failed.step_failure_data)
