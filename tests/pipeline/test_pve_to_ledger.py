"""A Proxmox VE cluster, as its double has it, read into the ledger: whole readings, refused ones, and a replay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import IncompleteError
from asset_ledger.domain.outcome import Outcome
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import read_source
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.pve import PLATFORM, errors
from asset_ledger.sources.pve.collector import PveCollector
from asset_ledger.store.raw import save_inventory
from tests.doubles.pve import PveDouble, load
from tests.pipeline.importing import Importing
from tests.sources.live import Credentials
from tests.sources.pve.live import config_of, fields_of

TODAY = collected_date(datetime.now(UTC))


@pytest.fixture
def pve() -> Iterator[PveDouble]:
    with PveDouble(load("cluster")) as double:
        yield double


def collect(office: Importing, pve: PveDouble, account: str = "agent@pve!asset") -> Outcome:
    source = config_of(pve, account)
    row = source_row(office.connection, source)
    ledger = cast("Ledger", SimpleNamespace(credentials=Credentials(fields_of(account))))
    read_source(ledger, office.connection, source, row, scope="all", run_id="r", mode="collect")
    derived = derive_day(office.connection, source, row, TODAY, run_id="r", mode="collect")
    return derived.readings[-1].outcome


def collect_before(office: Importing, pve: PveDouble, days: int, account: str = "agent@pve!asset") -> None:
    """Read the cluster as a run of so many days ago did, and derive that day."""
    source, ago = config_of(pve, account), timedelta(days=days)
    row = source_row(office.connection, source)
    office.connection.commit()
    found = PLATFORM.open(source, Credentials(fields_of(account))) if PLATFORM.open else None
    assert isinstance(found, PveCollector)
    save_inventory(
        office.connection,
        row,
        found.collect(ReadOrder()),
        scope="all",
        collected_date=TODAY - ago,
        collected_at=datetime.now(UTC) - ago,
        run_id="r",
        mode="collect",
        complete=False,
        covers=PLATFORM.scopes["all"],
    )
    derive_day(office.connection, source, row, TODAY - ago, run_id="r", mode="collect")


def inventories(office: Importing) -> list[dict[str, Any]]:
    return office.rows("SELECT status, complete, error_code, proof FROM ledger.inventories ORDER BY id")


def machines(office: Importing) -> set[tuple[str, str, bool]]:
    found = office.rows(
        "SELECT external_kind AS kind, external_id AS id, missing_since IS NOT NULL AS missing FROM ledger.asset_source_links"
    )
    return {(row["kind"], row["id"], row["missing"]) for row in found}


def described_on_n2(office: Importing) -> list[dict[str, Any]]:
    """Return what the ledger has of the guests of node n2."""
    return office.rows(
        "SELECT l.external_id AS id, a.hostname, host(a.mgmt_ip) AS address, a.cpu_cores, a.memory_bytes, "
        "a.disk_total_bytes, a.os_family, a.power_state "
        "FROM ledger.asset_source_links l JOIN ledger.assets a ON a.id = l.asset_id "
        "WHERE l.external_id = ANY(ARRAY['qemu/101', 'qemu/102', 'qemu/105', 'lxc/201']) ORDER BY l.external_id"
    )


def test_a_cluster_is_hosts_guests_and_what_they_hang_on(office: Importing, pve: PveDouble) -> None:
    outcome = collect(office, pve)
    assert outcome.created == 1 + 3 + 11
    assert outcome.counts["failed_targets"] == 0
    assert len(machines(office)) == 15
    [inventory] = inventories(office)
    [counts] = inventory["proof"]["counts"]
    assert (inventory["status"], inventory["complete"]) == ("derived", True)
    assert counts["guests"] == {"/cluster/resources": 11, "/cluster/resources?type=vm": 11}
    again = collect(office, pve)
    assert (again.created, again.updated, again.unchanged) == (0, 0, 15)


def test_a_guest_that_moves_stays_the_machine_it_was(office: Importing, pve: PveDouble) -> None:
    collect(office, pve)
    pve.cluster.migrate(100, "n3")
    outcome = collect(office, pve)
    assert (outcome.created, outcome.missing, outcome.updated) == (0, 0, 1)


def test_a_reading_that_is_refused_changes_nothing_and_is_kept(office: Importing, pve: PveDouble) -> None:
    collect(office, pve)
    before = machines(office)
    pve.cluster.grant("/pool/prod", "NoAccess", "agent@pve")
    with pytest.raises(IncompleteError) as caught:
        collect(office, pve)
    assert caught.value.code is errors.PERMISSION_DENIED
    assert machines(office) == before
    last = inventories(office)[-1]
    assert (last["status"], last["error_code"], last["complete"]) == ("interrupted", "PVE_PERMISSION_DENIED", False)
    assert any("VM.Audit" in each for each in last["proof"]["missing"])


def test_what_is_deleted_is_missing_and_what_is_on_an_offline_node_is_not(office: Importing, pve: PveDouble) -> None:
    collect_before(office, pve, days=1)
    pve.cluster.set_offline("n2", minutes=60)
    pve.cluster.delete(200)
    before = described_on_n2(office)
    assert {row["id"] for row in before} == {"qemu/101", "qemu/102", "qemu/105", "lxc/201"}
    assert all(row["memory_bytes"] and row["disk_total_bytes"] and row["hostname"] for row in before)
    outcome = collect(office, pve)
    assert outcome.missing == 1
    assert {found for found in machines(office) if found[2]} == {("vm", "lxc/200", True)}
    # what nobody could ask keeps the last answer; what is known to be uncertain does not
    after = described_on_n2(office)
    assert [row | {"power_state": None} for row in after] == [row | {"power_state": None} for row in before]
    assert {row["power_state"] for row in before} == {"running", "suspended"}
    assert {row["power_state"] for row in after} == {"unknown"}
    assert any(caution.code is errors.NODE_OFFLINE for caution in outcome.cautions)
