"""Findings of a cluster that is read for real, against states that are parsed for real: what opens, ages and closes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.iac.rules import Ignored
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.pipeline.findings import evaluate
from asset_ledger.pipeline.states import parse_waiting, rebuild
from asset_ledger.store import database
from asset_ledger.store.database import connect
from asset_ledger.store.iac import standing
from asset_ledger.store.iac.queue import backlog
from asset_ledger.store.tenancy import as_tenant
from tests.pipeline.estate import MAPPED, RING, Estate
from tests.pipeline.estate import estate as opened


@pytest.fixture
def estate(database_url: str) -> Iterator[Estate]:
    with opened(database_url) as found:
        yield found


def test_a_machine_that_is_as_declared_is_no_finding(estate: Estate) -> None:
    estate.declare("web", "db")
    estate.read()
    found = estate.check()["acme"]
    assert estate.drift() == {}
    assert not estate.findings(kinds=("missing", "double"))
    (row,) = found.coverage
    assert (row.declared, row.managed, row.complete) == (2, 2, True)
    assert row.observed == row.managed + row.orphans
    assert not {"qemu/100", "qemu/101"} & estate.orphans()


def test_what_was_changed_by_hand_is_drift_until_it_is_as_declared_again(estate: Estate) -> None:
    estate.declare("web", "db")
    estate.pve.cluster.guests[100].config["memory"] = "4096"
    estate.pve.cluster.migrate(101, "n3")
    estate.pve.cluster.guests[101].spec.status = "stopped"
    estate.read()
    estate.check()
    assert estate.drift() == {
        ("web", "memory_bytes"): (8192 << 20, 4096 << 20),
        ("db", "host"): ("n2", "n3"),
        ("db", "power_state"): ("on", "off"),
    }
    (first,) = [one for one in estate.findings(kinds=("drift",)) if one.attribute == "memory_bytes"]
    assert (first.source, first.project, first.stack, first.rule, first.score) == ("pve_x", "shop", "prod", "id", 100)
    estate.pve.cluster.guests[100].config["memory"] = "8192"
    estate.read()
    estate.check()
    assert set(estate.drift()) == {("db", "host"), ("db", "power_state")}
    assert estate.closed() == {("drift", "web"): "agrees"}
    estate.declare("web", db={"node_name": "n3"})
    estate.check()
    # it was declared after the reading: nobody knows how it was since
    unsure = estate.findings(kinds=("drift",))
    assert {one.attribute for one in unsure} == {"host", "power_state"}
    assert all("declared after" in str(one.unsure_because) for one in unsure)
    estate.read()
    estate.check()
    assert set(estate.drift()) == {("db", "power_state")}
    assert all(one.unsure_since is None for one in estate.findings())


def test_looking_again_changes_only_when_it_was_looked(estate: Estate) -> None:
    estate.declare("db", web={"memory": 1024})
    estate.read()
    at = datetime.now(UTC)
    if collected_date(at) != collected_date(at + timedelta(minutes=2)):
        at += timedelta(minutes=2)  # coverage is kept by days
    first = estate.check(now=at)["acme"]
    assert first.opened == len(estate.findings())
    kept, written = _all_rows(estate), _written(estate)
    assert len(written) == first.opened > 1
    again = estate.check(now=at + timedelta(minutes=1))["acme"]
    assert (again.opened, again.closed, again.unsure, again.seen) == (0, 0, 0, first.opened)
    # the same reading confirms nothing
    assert {one.seen_at for one in estate.findings()} == {at}
    assert _all_rows(estate) == kept
    assert _written(estate) == written, "rows were written again that say the same"
    estate.read()
    estate.check(now=at + timedelta(minutes=2))
    assert {one.seen_at for one in estate.findings()} == {at + timedelta(minutes=2)}
    # nor is a doubt that lasts written again
    later = at + standing.HOLDS + timedelta(days=1)
    assert estate.check(now=later)["acme"].unsure == first.opened
    written = _written(estate)
    assert estate.check(now=later + timedelta(minutes=1))["acme"].unsure == first.opened
    assert _written(estate) == written
    assert {one.unsure_since for one in estate.findings()} == {later}


def _written(estate: Estate) -> list[str]:
    """Return by which transaction each finding was written last."""
    tables = ("drift_findings", "cloud_orphans")
    return [row["xmin"] for table in tables for row in estate.rows(f"SELECT xmin::text FROM iac.{table} ORDER BY id")]


def _all_rows(estate: Estate) -> list[dict[str, object]]:
    volatile = {"seen_at", "evaluated_at"}
    tables = ("drift_findings", "cloud_orphans", "coverage", "resource_joins", "tenant_sources")
    return [
        {name: value for name, value in row.items() if name not in volatile}
        for table in tables
        for row in estate.rows(f"SELECT * FROM iac.{table} ORDER BY 1, 2")
    ]


def test_before_a_reading_that_came_after_it_nothing_is_said_of_what_is_declared(estate: Estate) -> None:
    estate.read()
    estate.declare("db", gone={"vm_id": 999}, web={"memory": 1024})
    found = estate.check()["acme"]
    assert estate.findings(kinds=("drift", "missing")) == []
    assert found.coverage[0].unknown == {"declared_after_reading": 3}
    estate.read()
    estate.check()
    assert set(estate.drift()) == {("web", "memory_bytes")}
    assert [one.addr for one in estate.findings(kinds=("missing",))] == ["proxmox_virtual_environment_vm.gone"]


def test_a_machine_that_is_gone_is_missing_and_comes_back(estate: Estate) -> None:
    estate.declare("web", "db")
    estate.read()
    estate.check()
    spec = estate.pve.cluster.guests[101].spec
    estate.pve.cluster.delete(101)
    estate.read()
    estate.check()
    (missing,) = estate.findings(kinds=("missing",))
    assert (missing.name, missing.asset_id is not None) == ("db", True)
    estate.pve.cluster.add_guest(**spec.model_dump())
    estate.read()
    estate.check()
    assert estate.findings(kinds=("missing",)) == []
    assert estate.closed() == {("missing", "db"): "seen_again"}


def test_drift_of_a_machine_that_goes_missing_ends_with_it(estate: Estate) -> None:
    estate.declare(db={"memory": 1024})
    estate.read()
    estate.check()
    assert set(estate.drift()) == {("db", "memory_bytes")}
    estate.pve.cluster.delete(101)
    estate.read()
    estate.check()
    assert [one.kind for one in estate.findings() if one.kind != "orphan"] == ["missing"]
    assert estate.closed() == {("drift", "db"): "missing"}


def test_a_reading_that_failed_opens_and_closes_nothing(estate: Estate) -> None:
    estate.declare("db", web={"memory": 1024})
    estate.read()
    estate.check()
    kept = {one.id for one in estate.findings()}
    estate.declare("web", "db")
    estate.pve.cluster.grant("/pool/prod", "NoAccess", "agent@pve")
    estate.read(fails=True)
    found = estate.check()["acme"]
    (row,) = found.coverage
    assert (row.complete, row.why) == (False, "the last reading of pve_x is not complete: PVE_PERMISSION_DENIED")
    assert (found.opened, found.closed) == (0, 0)
    now = estate.findings()
    assert {one.id for one in now} == kept
    assert all(one.unsure_since is not None and one.unsure_because == row.why for one in now)
    since = {one.unsure_since for one in now}
    estate.check()
    assert {one.unsure_since for one in estate.findings()} == since
    estate.pve.cluster.revoke("/pool/prod", "NoAccess", "agent@pve")
    estate.read()
    estate.check()
    assert estate.drift() == {}
    assert all(one.unsure_since is None for one in estate.findings())


def test_what_leaves_its_state_is_left_at_once_and_its_machine_an_orphan_after_a_later_reading(estate: Estate) -> None:
    estate.declare("db", web={"memory": 1024})
    estate.read()
    estate.check()
    estate.declare("db")
    estate.check()
    assert estate.drift() == {}
    assert estate.closed() == {("drift", "web"): "left"}
    # it may have been destroyed: the last reading was before that
    assert "qemu/100" not in estate.orphans()
    estate.read()
    estate.check()
    assert "qemu/100" in estate.orphans()
    estate.declare("db", "web")
    estate.check()
    assert "qemu/100" not in estate.orphans()
    assert estate.closed()["orphan", "qemu/100"] == "joined"


def test_orphans_are_neither_templates_nor_hosts_nor_what_is_not_to_be_declared(estate: Estate) -> None:
    estate.read()
    estate.check()
    guests = {f"{one.type}/{vmid}" for vmid, one in ((v, g.spec) for v, g in estate.pve.cluster.guests.items())}
    assert "qemu/9000" in guests
    assert estate.orphans() == guests - {"qemu/9000"}
    estate.map(replace(MAPPED, orphans=False))
    estate.check()
    assert estate.orphans() == set()
    assert set(estate.closed().values()) == {"no_longer_mapped"}


def test_an_orphan_that_is_deleted_or_retired_is_none_any_more(estate: Estate) -> None:
    estate.read()
    estate.check()
    retired = estate.rows(
        "UPDATE ledger.assets SET deleted_at = now() WHERE id ="
        " (SELECT asset_id FROM ledger.asset_source_links WHERE external_id = 'qemu/101') RETURNING id"
    )
    assert len(retired) == 1
    estate.pve.cluster.delete(100)
    estate.read()
    estate.check()
    assert {"qemu/100", "qemu/101"}.isdisjoint(estate.orphans())
    assert estate.closed() == {("orphan", "qemu/100"): "gone", ("orphan", "qemu/101"): "retired"}


def test_while_a_state_was_not_read_nobody_knows_what_is_an_orphan(estate: Estate) -> None:
    estate.declare("db")
    estate.read()
    estate.check()
    assert "qemu/100" in estate.orphans()
    estate.declare("web", "db", read=False)
    found = estate.check()["acme"]
    assert (found.opened, found.closed) == (0, 0)
    why = {one.unsure_because for one in estate.findings()}
    assert why == {"a version of shop/prod waits to be read"}
    estate.write(b'{"meta": {}, "encrypted_data": "x", "encryption_version": "v0"}', state="shop/sealed")
    estate.check()
    assert {one.unsure_because for one in estate.findings()} == {"the newest version of shop/sealed cannot be read"}
    assert "qemu/100" not in estate.orphans()
    estate.map(replace(MAPPED, states=("shop/prod",)))
    estate.check()
    assert all(one.unsure_since is None for one in estate.findings())


def test_while_an_apply_has_a_state_locked_nothing_is_said_of_it(estate: Estate) -> None:
    estate.declare(web={"memory": 1024})
    estate.lock(operation="OperationTypePlan")
    estate.read()
    estate.check()
    assert set(estate.drift()) == {("web", "memory_bytes")}
    estate.declare("db", state="shop/test")
    estate.lock("shop/test")
    estate.read()
    found = estate.check()["acme"]
    assert found.coverage[0].why == "shop/test is locked: it is being changed"
    assert {one.kind for one in estate.findings() if one.unsure_since is None} == {"drift"}
    # a lock that nobody gives back does not silence it for ever
    found = estate.check(now=datetime.now(UTC) + timedelta(days=2))["acme"]
    assert found.coverage[0].why is None
    assert all(one.unsure_since is None for one in estate.findings())


def test_two_resources_of_one_machine_are_a_finding_of_the_later_one(estate: Estate) -> None:
    estate.declare("web")
    estate.read()
    estate.check()
    estate.declare("web", "db", state="shop/copy")
    estate.check()
    (double,) = estate.findings(kinds=("double",))
    assert (double.project, double.stack, double.observed) == (
        "shop",
        "copy",
        ["shop/prod proxmox_virtual_environment_vm.web"],
    )
    estate.declare("db", state="shop/copy")
    estate.check()
    assert estate.findings(kinds=("double",)) == []
    assert estate.closed()["double", "web"] == "left"


def test_each_later_resource_of_a_machine_names_all_others(estate: Estate) -> None:
    estate.declare("web", "db")
    estate.read()
    estate.check()
    for copy in ("shop/a", "shop/b"):
        estate.declare("web", state=copy)
    assert estate.check()["acme"].open["double"] == 2
    of = "proxmox_virtual_environment_vm.web"
    assert {f"{one.project}/{one.stack}": one.observed for one in estate.findings(kinds=("double",))} == {
        "shop/a": [f"shop/b {of}", f"shop/prod {of}"],
        "shop/b": [f"shop/a {of}", f"shop/prod {of}"],
    }
    (coverage,) = estate.check()["acme"].coverage
    assert (coverage.declared, coverage.managed, coverage.doubles) == (4, 2, 2)


def _with_addresses(estate: Estate, *addresses: str) -> None:
    """Let the guest 100 have these as its source told of it."""
    estate.connection.execute(
        "UPDATE ledger.normalized_assets SET document = jsonb_set(document, '{network,ip_addresses}', %s)"
        " WHERE id = (SELECT normalized_id FROM ledger.asset_source_links WHERE external_id = 'qemu/100')",
        [json.dumps(addresses)],
    )


def test_a_machine_that_is_claimed_by_address_as_well_counts_once(estate: Estate) -> None:
    estate.declare("web")
    estate.write(_state(_azure("a", "192.0.2.100")), state="cloud/one")
    estate.map(replace(MAPPED, states=("shop/*",)), replace(MAPPED, provider="azurerm"))
    estate.read()
    coverage = estate.check()["acme"].coverage[0]
    assert {row["rule"] for row in estate.rows("SELECT rule FROM iac.resource_joins")} == {"id", "address"}
    assert (coverage.declared, coverage.managed) == (2, 1)
    assert coverage.managed + coverage.orphans == coverage.observed


def test_two_resources_with_addresses_of_one_machine_are_not_joined(estate: Estate) -> None:
    estate.write(_state(_azure("a", "192.0.2.100"), _azure("b", "192.0.2.99")))
    estate.map(replace(MAPPED, provider="azurerm"))
    estate.read()
    _with_addresses(estate, "192.0.2.100", "192.0.2.99")
    coverage = estate.check()["acme"].coverage[0]
    assert coverage.unknown == {"several_fit": 2}
    assert estate.rows("SELECT * FROM iac.resource_joins") == []
    assert "qemu/100" not in estate.orphans()


def test_what_runs_on_two_hosts_drifts_whatever_else_does(estate: Estate) -> None:
    estate.declare("web")
    estate.read()
    estate.connection.execute(
        "INSERT INTO ledger.asset_relations"
        " SELECT from_link_id, kind, to_kind, 'n3', began_date, began_at + interval '1 minute'"
        " FROM ledger.asset_relations WHERE ended_at IS NULL AND from_link_id ="
        " (SELECT id FROM ledger.asset_source_links WHERE external_id = 'qemu/100')"
    )
    estate.check()
    assert estate.drift() == {("web", "host"): ("n1", "n3")}


def test_who_gives_a_lock_back_confirms_nothing(estate: Estate) -> None:
    estate.declare(web={"memory": 1024})
    estate.read()
    at = datetime.now(UTC)
    estate.check(now=at)
    estate.lock()
    estate.check(now=at + timedelta(hours=1))
    estate.connection.execute("DELETE FROM iac.state_locks")
    estate.check(now=at + timedelta(hours=2))
    (found,) = estate.findings(kinds=("drift",))
    assert (found.seen_at, found.unsure_since) == (at, None)


def test_a_double_ends_when_the_other_one_leaves(estate: Estate) -> None:
    estate.declare("web")
    estate.read()
    estate.check()
    estate.declare("web", state="shop/copy")
    estate.check()
    estate.declare(state="shop/prod")
    estate.check()
    assert estate.closed() == {("double", "web"): "no_longer_double"} | {
        key: why for key, why in estate.closed().items() if key[0] == "orphan"
    }


def test_a_rule_takes_findings_out_and_lets_them_in_again(estate: Estate) -> None:
    estate.declare("db", web={"memory": 1024, "cores": 1})
    estate.read()
    estate.check()
    assert len(estate.drift()) == 2
    rules = (
        Ignored(kind="drift", attribute="memory_bytes", until=datetime.now(UTC).date() + timedelta(days=1)),
        Ignored(kind="orphan", source="pve_*"),
        Ignored(kind="orphan", external_id="lxc/200", keep=True),
    )
    estate.map(ignore=rules)
    found = estate.check()["acme"]
    assert set(estate.drift()) == {("web", "cpu_cores")}
    assert estate.orphans() == {"lxc/200"}
    assert set(estate.closed().values()) == {"ignored"}
    assert found.coverage[0].ignored == found.closed
    estate.check(now=datetime.now(UTC) + timedelta(days=2, hours=12))
    assert len(estate.drift()) == 2


def test_who_has_no_id_is_found_by_uuid_in_either_byte_order(estate: Estate) -> None:
    # as a machine is declared that was restored under another number
    estate.declare(
        web={"vm_id": 998, "uuid": "5e1f2a0d-2b1c-3e4d-8f40-000000000100", "memory": 1024},
        db={"vm_id": 999, "uuid": "0d2a1f5e-1c2b-4d3e-8f40-000000000101"},
    )
    estate.read()
    estate.check()
    joins = estate.rows("SELECT rule, score, left_at FROM iac.resource_joins")
    assert joins == [{"rule": "uuid", "score": 90, "left_at": None}] * 2
    assert set(estate.drift()) == {("web", "memory_bytes")}
    assert estate.findings(kinds=("missing",)) == []


def test_a_uuid_that_two_resources_have_says_nothing(estate: Estate) -> None:
    uuid = "0d2a1f5e-1c2b-4d3e-8f40-000000000100"
    estate.declare(one={"vm_id": 998, "uuid": uuid}, two={"vm_id": 999, "uuid": uuid})
    estate.read()
    found = estate.check()["acme"]
    assert estate.rows("SELECT rule FROM iac.resource_joins") == []
    assert estate.findings(kinds=("missing", "drift")) == []
    assert "qemu/100" not in estate.orphans()
    assert found.coverage[0].unknown == {"several_fit": 2}


def test_an_address_claims_a_machine_and_compares_nothing(estate: Estate) -> None:
    estate.write(_state(_azure("web", "192.0.2.100"), _azure("lost", "192.0.2.9")))
    estate.map(replace(MAPPED, provider="azurerm"))
    estate.read()
    found = estate.check()["acme"]
    (join,) = estate.rows("SELECT rule, score FROM iac.resource_joins")
    assert join == {"rule": "address", "score": 60}
    # who says no id is never missing: nobody knows whether it is there
    assert estate.findings(kinds=("missing", "drift")) == []
    assert "qemu/100" not in estate.orphans()
    assert found.coverage[0].unknown == {"known_by_address_alone": 1, "says_no_id": 1}


def _azure(name: str, address: str) -> dict[str, object]:
    attributes = {"id": f"/subscriptions/1/vm/{name}", "name": name, "private_ip_address": address}
    return {
        "mode": "managed",
        "type": "azurerm_linux_virtual_machine",
        "name": name,
        "provider": 'provider["registry.terraform.io/hashicorp/azurerm"]',
        "instances": [{"attributes": attributes}],
    }


def test_who_has_the_address_of_a_machine_that_is_gone_is_not_that_machine(estate: Estate) -> None:
    estate.declare(gone={"vm_id": 999, "addresses": ["192.0.2.100"]})
    estate.read()
    estate.check()
    assert [one.name for one in estate.findings(kinds=("missing",))] == ["gone"]
    assert "qemu/100" in estate.orphans()


def test_declared_addresses_that_a_machine_does_not_have_are_drift(estate: Estate) -> None:
    estate.declare("db", web={"addresses": ["192.0.2.100", "192.0.2.7"]})
    estate.read()
    estate.check()
    ((declared, observed),) = estate.drift().values()
    assert declared == ["192.0.2.7"]
    assert "192.0.2.100" in observed


def test_an_address_of_ipv6_that_its_host_made_anew_is_no_drift(estate: Estate) -> None:
    estate.declare(web={"addresses": ["192.0.2.100", "2001:db8::7:1"]})
    estate.read()
    estate.check()
    assert estate.drift() == {}
    estate.declare(web={"addresses": ["192.0.2.100", "2001:db8:1::7"]})
    estate.read()
    estate.check()
    assert next(iter(estate.drift().values()))[0] == ["2001:db8:1::7"]


def test_what_is_not_known_on_both_sides_is_never_drift(estate: Estate) -> None:
    estate.declare(web={"node_name": None, "started": None, "cores": None, "memory": None})
    estate.pve.cluster.set_offline("n2", minutes=60)
    estate.declare("db", web={"started": False, "node_name": None, "cores": None, "memory": None})
    estate.read()
    estate.check()
    # nobody asked the node that is offline: what was known before is compared, the power state is not
    assert estate.drift() == {("web", "power_state"): ("off", "on")}


def test_drift_of_which_one_side_is_told_no_more_stays_and_says_so(estate: Estate) -> None:
    estate.declare(web={"memory": 1024})
    estate.read()
    estate.check()
    estate.declare(web={"memory": None})
    estate.read()
    estate.check()
    (one,) = estate.findings(kinds=("drift",))
    assert one.unsure_because == "memory_bytes is not known on both sides"


def test_a_source_is_shown_to_the_tenant_it_is_mapped_to_and_moves_with_the_mapping(estate: Estate) -> None:
    estate.declare(web={"memory": 1024})
    estate.declare("db", web={"memory": 2048}, tenant="other")
    estate.read()
    estate.check()
    assert estate.drift()["web", "memory_bytes"][0] == 1024 << 20
    assert estate.findings(tenant="other") == []
    estate.map(replace(MAPPED, tenant="other"))
    estate.check()
    assert estate.findings() == []
    assert set(estate.closed().values()) == {"no_longer_mapped"}
    assert {one.declared for one in estate.findings(tenant="other", kinds=("drift",))} == {2048 << 20}
    (row,) = estate.rows("SELECT t.name FROM iac.tenant_sources JOIN agent.tenants AS t ON t.id = tenant_id")
    assert row == {"name": "other"}


def test_a_mapped_source_that_was_never_read_says_so(estate: Estate) -> None:
    estate.declare("web")
    found = estate.check()["acme"]
    assert (found.unread, found.coverage, found.opened) == (("pve_x",), (), 0)


def test_of_a_source_that_was_never_read_whole_nothing_is_said(estate: Estate) -> None:
    estate.declare(gone={"vm_id": 999}, web={"memory": 1024})
    estate.pve.cluster.grant("/pool/prod", "NoAccess", "agent@pve")
    estate.read(fails=True)
    found = estate.check()["acme"]
    assert estate.findings() == []
    (row,) = found.coverage
    assert (row.complete, row.reading_at, row.unknown) == (False, None, {"not_read_yet": 2})


def test_a_state_of_machines_that_nobody_mapped_is_named(estate: Estate) -> None:
    estate.declare("web")
    estate.read()
    estate.map(replace(MAPPED, states=("else/*",)))
    assert estate.check()["acme"].unmapped == ("shop/prod",)


def test_a_rebuild_of_the_states_changes_no_finding(estate: Estate) -> None:
    estate.declare("db", web={"memory": 1024})
    estate.read()
    estate.check()
    kept = _all_rows(estate)
    rebuild(estate.connection, estate.tenants["acme"], RING)
    estate.check()
    assert _all_rows(estate) == kept


def _state(*resources: dict[str, object]) -> bytes:
    return json.dumps({"version": 4, "serial": 1, "lineage": "one", "resources": resources}).encode()


def test_ids_that_say_of_which_vcenter_they_are_are_met_without_it(estate: Estate) -> None:
    estate.declare("db", web={"memory": 1024, "node_name": "n9"})
    estate.read()
    # as a vCenter names its objects, and those that it had before it was built anew
    now, before = ("@11111111-1111-4111-8111-111111111111", "@22222222-2222-4222-8222-222222222222")
    estate.connection.execute("UPDATE ledger.asset_source_links SET external_id = external_id || %s", [now])
    estate.connection.execute("UPDATE ledger.asset_relations SET to_external_id = to_external_id || %s", [now])
    estate.connection.execute(
        "INSERT INTO ledger.asset_source_links SELECT (jsonb_populate_record(l, jsonb_build_object('id', id + 1000,"
        " 'external_id', replace(external_id, %s, %s), 'missing_since', now(), 'last_seen_at', now()))).*"
        " FROM ledger.asset_source_links AS l WHERE external_kind = 'vm'",
        [now, before],
    )
    estate.check()
    assert set(estate.drift()) == {("web", "memory_bytes"), ("web", "host")}
    assert estate.findings(kinds=("missing", "double")) == []
    assert "qemu/100" + now not in estate.orphans()


def test_what_a_person_merged_is_one_machine(estate: Estate) -> None:
    estate.declare("web")
    estate.read()
    estate.check()
    assert "qemu/101" in estate.orphans()
    estate.connection.execute(
        "UPDATE ledger.assets SET merged_into_asset_id ="
        " (SELECT asset_id FROM ledger.asset_source_links WHERE external_id = 'qemu/100')"
        " WHERE id = (SELECT asset_id FROM ledger.asset_source_links WHERE external_id = 'qemu/101')"
    )
    estate.check()
    assert "qemu/101" not in estate.orphans()
    assert estate.closed() == {("orphan", "qemu/101"): "joined"}


def test_two_who_look_at_once_write_each_finding_once(estate: Estate) -> None:
    estate.declare("db", web={"memory": 1024})
    estate.read()
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: _look_alone(estate), range(6)))
    every = estate.findings("all")
    assert len(every) == len({(one.kind, one.addr, one.external_id) for one in every})
    assert set(estate.drift()) == {("web", "memory_bytes")}


def _look_alone(estate: Estate) -> None:
    with connect(estate.url) as connection:
        evaluate(connection, estate.rules, now=datetime.now(UTC))


def test_an_owner_who_is_no_superuser_looks_as_well(estate: Estate) -> None:
    estate.declare("db", web={"memory": 1024})
    estate.read()
    name = f"plain_{uuid4().hex[:12]}"
    connection = estate.connection
    connection.execute(f"CREATE ROLE {name} NOLOGIN NOSUPERUSER")
    try:
        for schema in ("ledger", "iac", "agent"):
            connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
            connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {name}")
        connection.execute(f"CREATE POLICY plain ON agent.tenants TO {name} USING (true)")
        connection.execute(f"GRANT TEMPORARY ON DATABASE {connection.info.dbname} TO {name}")
        connection.execute(f"SET ROLE {name}")
        found = estate.check()["acme"]
        assert (found.open["drift"], estate.drift().keys()) == (1, {("web", "memory_bytes")})
    finally:
        connection.execute("RESET ROLE")
        connection.execute(f"DROP OWNED BY {name}")
        connection.execute(f"DROP ROLE {name}")


def test_a_state_that_an_older_release_read_makes_no_orphans_until_it_is_read_anew(estate: Estate) -> None:
    estate.declare("web", "db")
    estate.declare("db", web={"memory": 4096})
    estate.read()
    _as_the_release_before_left_it(estate.url)
    found = estate.check()["acme"]
    assert estate.findings() == []
    assert found.coverage[0].why == "shop/prod was last read by an older release: run `asset-ledger state parse`"
    # the next apply changes one machine only; and without its key nothing can be read anew
    estate.declare("web", db={"memory": 1024}, read=False)
    assert [one.waits for one in parse_waiting(estate.connection, KeyRing({"other": b"o" * 32}))] == [True, True]
    estate.check()
    assert estate.findings() == []
    assert backlog(estate.connection, RING.keys).versions == 2
    parse_waiting(estate.connection, RING)
    assert backlog(estate.connection, RING.keys).versions == 0
    estate.read()
    (row,) = estate.check()["acme"].coverage
    assert (row.declared, row.managed, row.why) == (2, 2, None)
    assert set(estate.drift()) == {("db", "memory_bytes")}
    assert not {"qemu/100", "qemu/101"} & estate.orphans()


def _as_the_release_before_left_it(url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).with_name("migrations")))
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
    engine.dispose()
    database.migrate(url)


def test_a_tenant_that_there_is_not_is_said_before_anything_is_closed(estate: Estate) -> None:
    estate.declare("db", web={"memory": 1024})
    estate.read()
    estate.check()
    kept = _all_rows(estate)
    estate.map(replace(MAPPED, tenant="acmee"))
    with pytest.raises(PermanentError, match="there is no tenant acmee; there are: acme, other"):
        estate.check()
    assert _all_rows(estate) == kept


def test_a_tenant_that_cannot_be_looked_at_holds_up_no_other(estate: Estate) -> None:
    estate.declare(web={"memory": 1024}, tenant="other")
    estate.map(replace(MAPPED, tenant="other"))
    estate.read()
    with as_tenant(estate.connection, estate.tenants["acme"]):
        # what no program of ours writes: looking at acme cannot end
        estate.connection.execute(
            "INSERT INTO iac.cloud_orphans (tenant_id, source_id, source, external_kind, external_id, link_id, asset_id,"
            " observed_at, opened_at, seen_at)"
            " VALUES (%s, 1, 'x', 'vm', 'x', 1, gen_random_uuid(), now(), now(), now())",
            [estate.tenants["acme"]],
        )
    estate.connection.execute(
        f"ALTER TABLE iac.cloud_orphans ADD CHECK (closed_at IS NULL OR tenant_id <> '{estate.tenants['acme']}')"
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        estate.check()
    assert len(estate.findings(tenant="other", kinds=("drift",))) == 1


def test_what_was_found_in_a_source_that_nobody_reads_any_more_is_unsure(estate: Estate) -> None:
    estate.declare("db", web={"memory": 1024})
    estate.read()
    estate.check()
    opened = {one.id: one.seen_at for one in estate.findings()}
    found = estate.check(now=datetime.now(UTC) + timedelta(days=3, hours=1))["acme"]
    assert {one.id: one.seen_at for one in estate.findings()} == opened
    assert all("pve_x was last read at 2" in str(one.unsure_because) for one in estate.findings())
    assert (found.opened, found.closed, found.coverage[0].complete) == (0, 0, False)
    assert "pve_x was last read at" in str(found.coverage[0].why)
    estate.read()
    estate.check()
    assert all(one.unsure_since is None for one in estate.findings())
