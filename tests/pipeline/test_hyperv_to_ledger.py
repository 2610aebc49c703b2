"""A Hyper-V cluster, as its double has it, read into the ledger day after day: moves, losses, refusals, look-alikes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
import time_machine

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, LedgerError
from asset_ledger.domain.outcome import Outcome
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import read_source
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.sources.hyperv import errors
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.sources.winrm.config import WinrmConfig
from asset_ledger.store.derive.duplicates import find_duplicates
from tests.doubles.hyperv import PASSWORD, USER, HypervDouble, VmSpec, swapped
from tests.doubles.hyperv.specs import FAILED_OVER_WAITING, OFF, REPLICA, REPLICATING
from tests.doubles.wsman import windows
from tests.pipeline.canaries import Canaries, everything_in
from tests.pipeline.importing import Importing
from tests.sources.hyperv.live import cluster, config_of, fields_of, vm
from tests.sources.live import Credentials

SHANGHAI = ZoneInfo("Asia/Shanghai")


@dataclass
class Days:
    """A cluster and the ledger that reads it, one day after the other."""

    office: Importing
    hyperv: HypervDouble
    source: SourceConfig
    today: int = 0

    def collect(self, source: SourceConfig | None = None, fields: dict[str, str] | None = None) -> Outcome:
        """Read on the next day and derive it."""
        self.today += 1
        source = source or self.source
        row = source_row(self.office.connection, source)
        ledger = cast("Ledger", SimpleNamespace(credentials=Credentials(fields or fields_of())))
        now = datetime(2026, 10, self.today, 9, tzinfo=SHANGHAI).astimezone(UTC)
        with time_machine.travel(now, tick=False):
            read_source(ledger, self.office.connection, source, row, scope="all", run_id="r", mode="collect", at=now)
            day = now.astimezone(SHANGHAI).date()
            derived = derive_day(self.office.connection, source, row, day, run_id="r", mode="collect")
        return derived.readings[-1].outcome

    def fails(self) -> LedgerError:
        """Read on the next day and return the error that it must end with; nothing is missing by it."""
        before, missing = self.machines(), self.missing()
        with pytest.raises(LedgerError) as caught:
            self.collect()
        assert (self.machines(), self.missing()) == (before, missing)
        [last] = self.office.rows("SELECT * FROM ledger.inventories ORDER BY id DESC LIMIT 1")
        assert not last["complete"]
        kept = self.office.one("SELECT count(*) FROM ledger.asset_observations WHERE inventory_id = %s", last["id"])
        assert kept >= 1, "what was seen is kept"
        return caught.value

    def machines(self) -> dict[str, Any]:
        """Return the ledger assets by their external ids."""
        found = self.office.rows("SELECT external_id, asset_id FROM ledger.asset_source_links WHERE closed_at IS NULL")
        return {row["external_id"]: row["asset_id"] for row in found}

    def missing(self) -> set[str]:
        found = self.office.rows("SELECT hostname FROM ledger.assets WHERE missing_since IS NOT NULL")
        return {row["hostname"] for row in found}

    def id_of(self, name: str) -> Any:
        return self.machines()[self.hyperv.vm(name).vm_id]

    def hosts_of(self, name: str) -> list[tuple[str, bool]]:
        """Return what a machine ran on, in order, and whether it still does."""
        found = self.office.rows(
            "SELECT t.to_external_id AS host, t.ended_at IS NULL AS open FROM ledger.topology t "
            "WHERE t.from_asset_id = %s AND t.kind = 'runs_on' ORDER BY t.began_at",
            self.id_of(name),
        )
        return [(row["host"], row["open"]) for row in found]


@pytest.fixture
def days(office: Importing) -> Iterator[Days]:
    with cluster(3, 6) as hyperv:
        original = hyperv.vm("vm-3")
        hyperv.hosts["HV1"].vms.append(replace(original, state=OFF, replication=REPLICA, clustered=False))
        yield Days(office, hyperv, config_of(hyperv))


def test_a_cluster_is_hosts_machines_and_no_replica(days: Days) -> None:
    outcome = days.collect()
    assert outcome.created == 1 + 3 + 6
    [inventory] = days.office.rows("SELECT * FROM ledger.inventories")
    assert (inventory["status"], inventory["complete"]) == ("derived", True)
    again = days.collect()
    assert (again.created, again.updated, again.unchanged, again.missing) == (0, 0, 10, 0)


def test_a_machine_that_moves_keeps_its_asset_and_its_history(days: Days) -> None:
    days.collect()
    asset = days.id_of("vm-1")
    days.hyperv.move("vm-1", "HV2")
    outcome = days.collect()
    assert (outcome.created, outcome.missing, outcome.updated) == (0, 0, 1)
    days.hyperv.after("HV2", lambda: days.hyperv.move("vm-1", "HV3"))  # in the middle of the reading
    outcome = days.collect()
    assert (outcome.created, outcome.missing) == (0, 0)
    assert days.id_of("vm-1") == asset
    assert [host for host, _ in days.hosts_of("vm-1")] in (["hv1", "hv2", "hv3"], ["hv1", "hv2"])
    days.collect()
    assert days.hosts_of("vm-1") == [("hv1", False), ("hv2", False), ("hv3", True)]
    told = days.office.rows("SELECT DISTINCT collected_date FROM ledger.asset_daily_specs WHERE asset_id = %s", asset)
    assert len(told) == 4


def test_a_node_that_is_away_fails_the_reading_and_nothing_is_missing(days: Days) -> None:
    days.collect()
    days.hyperv.wsman.faults.add("connect", "reset", address=days.hyperv.hosts["HV3"].address, times=None)
    error = days.fails()
    assert error.code is errors.NODE_UNREACHABLE
    assert "hv3" in error.message
    days.hyperv.wsman.faults.clear()
    assert days.collect().missing == 0


def test_rights_that_are_lost_fail_the_reading_and_nothing_is_missing(days: Days) -> None:
    days.collect()
    for rights in ("none", "unseeing"):
        days.hyperv.hosts["HV2"].rights = rights
        assert days.fails().code is errors.PERMISSION_DENIED
    days.hyperv.hosts["HV2"].rights = "hyperv"
    days.hyperv.hosts["HV1"].cluster_denied = True
    days.collect()  # another node tells the cluster's lists
    for host in days.hyperv.hosts.values():
        host.cluster_denied = True
    assert days.fails().code is errors.PERMISSION_DENIED


def test_what_is_deleted_is_missing_and_what_takes_its_name_is_another_asset(days: Days) -> None:
    days.collect()
    old = days.id_of("vm-2")
    days.hyperv.drop("vm-2")
    outcome = days.collect()
    assert outcome.missing == 1
    assert days.missing() == {"vm-2"}
    days.hyperv.hosts["HV1"].vms.append(vm(2, id="0b9c2a52-1111-4222-8333-444455556666", clustered=True))
    outcome = days.collect()
    assert outcome.created == 1
    assert days.id_of("vm-2") != old
    assert days.missing() == {"vm-2"}, "the one that was deleted"


def test_a_machine_that_is_on_a_list_and_was_not_found_fails_the_reading(days: Days) -> None:
    days.collect()
    lost = days.hyperv.vm("vm-2")
    days.hyperv.drop("vm-2")
    days.hyperv.clusters[0].extra[lost.vm_id] = ("vm-2", "HV2")
    error = days.fails()
    assert error.code is INVENTORY_INCOMPLETE
    assert lost.vm_id in error.message


@pytest.mark.parametrize("generation", [1, 2])
def test_the_same_machine_seen_by_a_probe_is_found_whatever_the_order_of_its_uuids_bytes(
    days: Days, generation: int
) -> None:
    machine = days.hyperv.change("vm-1", generation=generation, bios_guid="12345678-9abc-4def-8123-456789abcdef")
    days.collect()
    shown = swapped(machine.bios) if generation == 1 else machine.bios
    assert shown != machine.bios or generation == 2
    address = "127.0.31.1"
    days.hyperv.wsman.add(
        type(days.hyperv.wsman.hosts[days.hyperv.hosts["HV1"].address].spec)(
            address=address,
            accounts={USER: PASSWORD},
            wmi=windows(release="2019", name="inside", machine_uuid=shown.upper(), ips=[["10.99.0.1"]]),
        )
    )
    days.office.read("2026-10-01", "mgmt_ip,hostname,protocol,credential_ref\n192.0.2.200,inside,winrm,env:WIN\n")
    days.office.connection.execute("UPDATE ledger.assets SET mgmt_ip = %s WHERE hostname = 'inside'", [address])
    probe = WinrmConfig.model_validate(
        {
            "name": "probe",
            "platform": "winrm",
            "default_port": days.hyperv.port,
            "ca_file": days.hyperv.wsman.ca_file,
            "default_credential_ref": "env:WIN",
        }
    )
    assert days.collect(probe).attached == 1
    find_duplicates(days.office.connection)
    found = days.office.rows("SELECT * FROM ledger.duplicate_candidates")
    pairs = {frozenset((row["asset_id"], row["other_asset_id"])): row["parts"] for row in found}
    [inside] = days.office.rows("SELECT id FROM ledger.assets WHERE hostname = 'inside'")
    parts = pairs[frozenset((inside["id"], days.id_of("vm-1")))]
    assert "uuid" in {part["part"] for part in parts}


def test_a_machine_whose_replica_took_over_stays_the_asset_that_it_was(days: Days) -> None:
    days.collect()
    asset = days.id_of("vm-1")
    days.hyperv.change("vm-1", replication=REPLICA, replication_state=FAILED_OVER_WAITING)  # and runs
    outcome = days.collect()
    assert (outcome.created, outcome.missing) == (0, 0)
    assert days.id_of("vm-1") == asset
    assert [caution.code for caution in outcome.cautions if caution.locator == "vm-1"] == [errors.FAILED_OVER]
    days.hyperv.change("vm-1", state=OFF, replication_state=REPLICATING)  # it runs elsewhere again
    assert days.collect().missing == 1


def test_a_machine_in_no_role_that_moves_twice_in_a_reading_is_not_missing(days: Days) -> None:
    days.hyperv.change("vm-6", clustered=False)
    days.collect()
    one_by_one = days.source.model_copy(update={"max_parallel_nodes": 1})
    days.hyperv.after("HV2", lambda: days.hyperv.move("vm-6", "HV2"))
    days.hyperv.after("HV3", lambda: days.hyperv.after("HV3", lambda: days.hyperv.move("vm-6", "HV1")))
    outcome = days.collect(one_by_one)
    assert (outcome.missing, outcome.absences_held) == (0, False)
    assert days.hosts_of("vm-6")[-1] == ("hv1", True)


def test_the_password_stands_nowhere_in_the_ledger(days: Days, database_url: str) -> None:
    canaries = Canaries()
    canaries.watch("password", PASSWORD)
    days.collect()
    days.hyperv.fail("HV2", "half", times=None)
    days.fails()
    days.hyperv.accounts[USER] = PASSWORD
    with pytest.raises(LedgerError) as caught:
        days.collect(fields={"username": USER, "password": canaries.plant("wrong password")})
    assert caught.value.code is errors.AUTH_FAILED
    days.office.connection.commit()
    traces = [trace for where, content in everything_in(database_url) for trace in canaries.traces(content, where)]
    assert traces == []
    assert "Cnry" not in str(caught.value)


def test_a_machine_without_a_word_of_its_guest_keeps_what_was_known(days: Days) -> None:
    days.collect()
    days.hyperv.change("vm-1", guest=None)
    days.collect()
    [asset] = days.office.rows("SELECT * FROM ledger.assets WHERE hostname = 'vm-1'")
    assert str(asset["mgmt_ip"]) == "192.0.2.2"
    assert asset["carried"]["mgmt_ip"] == "2026-10-01"


def test_an_empty_cluster_is_empty_and_its_machines_wait_for_a_person(days: Days) -> None:
    days.collect()
    names = [machine.name for _, machine in days.hyperv.machines()]
    days.hyperv.drop(*names)
    outcome = days.collect()
    assert outcome.absences_held
    assert days.missing() == set()


def test_a_machine_that_is_in_two_places_by_a_copied_id_stays_one_asset(days: Days) -> None:
    days.collect()
    asset = days.id_of("vm-1")
    days.hyperv.hosts["HV2"].vms.append(VmSpec("copy", id=days.hyperv.vm("vm-1").vm_id))
    outcome = days.collect()
    assert any(caution.code is errors.DUPLICATE_ID for caution in outcome.cautions)
    assert (outcome.created, outcome.missing) == (0, 0)
    assert days.id_of("vm-1") == asset
