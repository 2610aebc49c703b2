"""A vCenter day after day: what people do to machines with VMware's own SDK, and what the ledger then says of them.

The simulator does what it can do; a move between hosts, which it cannot, is put into its answers.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
import time_machine
from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim

from asset_ledger.domain.outcome import Outcome
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import read_source
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.settings import Settings
from asset_ledger.sources.vcenter import PLATFORM
from asset_ledger.sources.vcenter.config import VcenterConfig
from asset_ledger.sources.vcenter.ids import moid_here
from asset_ledger.store.database import Connection, connect, rows
from asset_ledger.store.derive.duplicates import find_duplicates
from asset_ledger.store.sources import SourceRow, exclusive
from tests.doubles.vcenter import VcenterDouble
from tests.doubles.vcenter.fixtures import StartVcSim
from tests.doubles.vcenter.specs import ClusterSpec, DatastoreSpec, HostSpec, NicSpec, VmSpec, VnicSpec
from tests.faults.ledgers import rebuilt_differences

DAYS = [f"2026-10-{day:02}" for day in range(1, 8)]


@dataclass
class Lab:
    """A vCenter, the SDK that changes it, and the ledger that reads it."""

    double: VcenterDouble
    sdk: Any
    connection: Connection
    row: SourceRow
    ledger: Ledger
    source: VcenterConfig
    runs: list[str] = field(default_factory=list)

    def read(self, day: str, *scopes: str, at: str = "01:00") -> list[Outcome]:
        """Read hosts and machines, or one of them, on a day, and derive what was read."""
        done = []
        moment = datetime.combine(date.fromisoformat(day), time.fromisoformat(at), UTC)
        with time_machine.travel(moment, tick=False):
            for scope in scopes or ("hosts", "vms"):
                covers = PLATFORM.scopes[scope]
                self.runs.append(f"{scope}-{day}")
                kept: dict[str, Any] = {"run_id": self.runs[-1], "mode": f"collect_{scope}"}
                with exclusive(self.connection, self.row, covers=covers):
                    read_source(self.ledger, self.connection, self.source, self.row, scope=scope, at=moment, **kept)
                    made = derive_day(
                        self.connection, self.source, self.row, date.fromisoformat(day), covers=covers, **kept
                    )
                done.append(made.readings[-1].outcome)
        return done

    @property
    def about(self) -> dict[str, str]:
        """Which vCenter it is."""
        return {"instanceUuid": self.sdk.content.about.instanceUuid}

    def find(self, kind: type, name: str) -> Any:
        """Return the SDK's object of this name."""
        view = self.sdk.content.viewManager.CreateContainerView(self.sdk.content.rootFolder, [kind], True)
        (found,) = [each for each in view.view if each.name == name]
        view.Destroy()
        return found

    def assets(self, name: str) -> list[dict[str, Any]]:
        """Return the ledger assets of a hostname, with the id under which the source knows each."""
        return rows(
            self.connection,
            """
            SELECT a.*, l.external_id FROM ledger.assets a JOIN ledger.asset_source_links l ON l.asset_id = a.id
            WHERE a.hostname = %s ORDER BY l.id
            """,
            [name],
        )

    def look_alikes(self) -> list[set[Any]]:
        """Return the pairs of assets that may be one machine. The simulator's hosts all have the same addresses."""
        find_duplicates(self.connection)
        found = rows(self.connection, "SELECT asset_id, other_asset_id FROM ledger.duplicate_candidates")
        return [{pair["asset_id"], pair["other_asset_id"]} for pair in found]

    def relations(self, name: str) -> list[tuple[str, str | None, bool]]:
        """Return what a machine hangs or hung on, in order, and whether it still does."""
        found = rows(
            self.connection,
            """
            SELECT t.kind, o.hostname, t.ended_at IS NULL AS open FROM ledger.topology t
            JOIN ledger.assets a ON a.id = t.from_asset_id LEFT JOIN ledger.assets o ON o.id = t.to_asset_id
            WHERE a.hostname = %s ORDER BY t.began_at, t.to_external_id
            """,
            [name],
        )
        return [(row["kind"], row["hostname"], row["open"]) for row in found]


@pytest.fixture
def lab(start_vcsim: StartVcSim, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Two clusters of two hosts, a host on its own, three machines in each pool. Rebuilt, the ledger must be the same."""
    sim = start_vcsim(own=True, clusters=2, hosts=2, lone_hosts=1, vms=3)
    monkeypatch.setenv("VC", json.dumps({"username": sim.username, "password": sim.password}))
    with VcenterDouble(sim) as double, connect(database_url) as connection:
        source = VcenterConfig.model_validate(
            {
                "name": "vc",
                "platform": "vcenter",
                "endpoint": double.endpoint,
                "ca_file": double.ca_file,
                "credential_ref": "env:VC",
            }
        )
        context = ssl.create_default_context(cafile=str(double.ca_file))
        sdk = SmartConnect(host="127.0.0.1", port=double.port, user=sim.username, pwd=sim.password, sslContext=context)
        ledger = Ledger(Settings(tmp_path, tmp_path / "sources.yaml", database_url, None, tmp_path))
        made = Lab(double, sdk, connection, source_row(connection, source), ledger, source)
        made.read(DAYS[0])
        yield made
        Disconnect(sdk)
        found = rebuilt_differences(connection, source)
        assert not found, "\n".join(found[:20])


@pytest.fixture
def described(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Lab, Callable[[VcenterDouble], None]]]:
    """A lab without a simulator, and what sets another vCenter in the place of the one that is read."""
    with VcenterDouble() as first, connect(database_url) as connection:
        monkeypatch.setenv("VC", json.dumps({"username": first.username, "password": first.password}))

        def config(double: VcenterDouble) -> VcenterConfig:
            told = {"name": "vc", "platform": "vcenter", "endpoint": first.endpoint, "credential_ref": "env:VC"}
            return VcenterConfig.model_validate({**told, "ca_file": double.ca_file})

        source = config(first)
        ledger = Ledger(Settings(tmp_path, tmp_path / "sources.yaml", database_url, None, tmp_path))
        made = Lab(first, None, connection, source_row(connection, source), ledger, source)

        def replaced(double: VcenterDouble) -> None:
            made.double, made.source = double, config(double)

        yield made, replaced
        found = rebuilt_differences(connection, made.source)
        assert not found, "\n".join(found[:20])


OLD, NEW = (f"3c0b8f0e-6a57-4c3e-9a44-2f1f0b7ad00{n}" for n in (1, 2))
HOSTS, MACHINES, CLUSTERS = 6, 12, 2


def estate(turned: int, instance_uuid: str) -> dict[str, Any]:
    """Return the same clusters, hosts and machines, numbered from another one on: host 0 is called `host-{turned}`.

    The last host and the last machine cannot be reached where the numbers are others: all that is told is their name.
    """

    def moid(kind: str, number: int, of: int) -> str:
        return f"{kind}-{(number + turned) % of}"

    def lost(number: int, of: int) -> bool:
        return turned > 0 and number == of - 1

    return {
        "instance_uuid": instance_uuid,
        "clusters": [ClusterSpec(moid("domain-c", n, CLUSTERS), f"cluster{n}") for n in range(CLUSTERS)],
        "datastores": [DatastoreSpec("datastore-1", "san")],
        "hosts": [
            HostSpec(
                moid("host", n, HOSTS),
                f"esx{n}",
                moid("domain-c", n % CLUSTERS, CLUSTERS),
                uuid=f"4c4c4544-0051-3510-8052-00000000000{n}",
                serial=f"7Q5RN5{n}",
                vnics=(VnicSpec("vmk0", f"00:50:56:60:00:0{n}", f"10.9.0.{n + 1}"),),
                pnics=(f"3c:ec:ef:00:00:0{n}",),
                datastores=("datastore-1",),
                told=not lost(n, HOSTS),
                connection="disconnected" if lost(n, HOSTS) else "connected",
            )
            for n in range(HOSTS)
        ],
        "vms": [
            VmSpec(
                moid("vm", n, MACHINES),
                f"app{n}",
                moid("host", n % HOSTS, HOSTS),
                uuid=f"42010000-0000-4000-8000-{n:012d}",
                instance_uuid=f"50010000-0000-4000-8000-{n:012d}",
                nics=(NicSpec(f"00:50:56:00:01:{n:02x}", (f"10.1.0.{n + 1}",)),),
                connection="inaccessible" if lost(n, MACHINES) else "connected",
            )
            for n in range(MACHINES)
        ],
    }


def test_a_vcenter_that_is_built_anew_at_the_same_endpoint_takes_none_of_the_old_ones_assets(
    described: tuple[Lab, Callable[[VcenterDouble], None]],
) -> None:
    lab, replaced = described
    names = [
        *(f"cluster{n}" for n in range(CLUSTERS)),
        *(f"esx{n}" for n in range(HOSTS)),
        *(f"app{n}" for n in range(MACHINES)),
    ]
    lab.double.show(**estate(0, OLD))
    lab.read(DAYS[0])
    before = {name: lab.assets(name)[0] for name in names}
    port = lab.double.port
    lab.double.stop()
    with VcenterDouble(port=port) as again:
        again.show(**estate(1, NEW))
        replaced(again)
        hosts, machines = lab.read(DAYS[1])

        assert (hosts.created, hosts.attached, hosts.reused_ids) == (CLUSTERS + HOSTS, 0, 0)
        assert (machines.created, machines.attached, machines.reused_ids) == (MACHINES, 0, 0)
        assert hosts.absences_held
        assert machines.absences_held
        pairs = lab.look_alikes()
        for name in names:
            old, new = lab.assets(name)
            assert old["id"] == before[name]["id"] != new["id"]
            assert old == before[name], "nothing of another vCenter's came to it"
            was = moid_here({"instanceUuid": OLD}, old["external_id"])
            now = moid_here({"instanceUuid": NEW}, new["external_id"])
            assert None not in (was, now)
            assert was != now
            reached = not name.startswith("cluster") and name not in (f"esx{HOSTS - 1}", f"app{MACHINES - 1}")
            assert ({old["id"], new["id"]} in pairs) is reached
        assert lab.relations("app1") == [("runs_on", "esx1", True)] * 2
        later = lab.read(DAYS[2])
        assert [(each.created, each.updated, each.missing) for each in later] == [(0, 0, 0)] * 2


def test_a_vcenter_that_is_restored_from_a_backup_is_the_same_one(
    described: tuple[Lab, Callable[[VcenterDouble], None]],
) -> None:
    lab, replaced = described
    lab.double.show(**estate(0, OLD))
    lab.read(DAYS[0])
    port = lab.double.port
    lab.double.stop()
    with VcenterDouble(port=port) as again:
        again.show(**estate(0, OLD))
        replaced(again)
        for outcome in lab.read(DAYS[1]):
            assert (outcome.created, outcome.updated, outcome.missing) == (0, 0, 0)
            assert not outcome.absences_held


VM = "DC0_C0_RP0_VM0"


def test_a_machine_that_moves_to_another_host_is_the_same_machine(lab: Lab) -> None:
    machine = lab.find(vim.VirtualMachine, VM)
    was = machine.runtime.host.name
    other = next(host for host in machine.runtime.host.parent.host if host.name != was)
    lab.double.move(machine._moId, other._moId)
    lab.read(DAYS[1])

    (asset,) = lab.assets(VM)
    assert moid_here(lab.about, asset["external_id"]) == machine._moId
    assert lab.relations(VM) == [("runs_on", was, False), ("runs_on", other.name, True)]


def test_a_clone_with_the_bios_uuid_of_its_original_is_a_machine_of_its_own_and_nobody_merges_them(lab: Lab) -> None:
    machine = lab.find(vim.VirtualMachine, VM)
    bios = machine.config.uuid
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False)
    WaitForTask(machine.CloneVM_Task(folder=machine.parent, name="clone", spec=spec), si=lab.sdk)
    clone = lab.find(vim.VirtualMachine, "clone")
    lab.double.put(clone._moId, "config.uuid", "xsd:string", bios)
    _, machines = lab.read(DAYS[1])

    assert machines.created == 1
    (original,), (copy,) = lab.assets(VM), lab.assets("clone")
    assert original["id"] != copy["id"]
    assert lab.read(DAYS[2])[1].updated == 0
    assert {original["id"], copy["id"]} in lab.look_alikes()


def test_a_machine_that_is_registered_anew_is_a_new_asset_that_looks_like_the_old_one(lab: Lab) -> None:
    """Its id is another one then; that it is the same machine, a person says."""
    machine = lab.find(vim.VirtualMachine, VM)
    moid, uuids = machine._moId, (machine.config.uuid, machine.config.instanceUuid)
    file, folder, host, pool = (
        machine.config.files.vmPathName,
        machine.parent,
        machine.runtime.host,
        machine.resourcePool,
    )
    WaitForTask(machine.PowerOffVM_Task(), si=lab.sdk)
    lab.read(DAYS[1])
    machine.UnregisterVM()
    lab.read(DAYS[2])
    (gone,) = lab.assets(VM)
    assert gone["missing_since"] is not None

    task = folder.RegisterVM_Task(path=file, name=VM, asTemplate=False, pool=pool, host=host)
    WaitForTask(task, si=lab.sdk)
    back = lab.find(vim.VirtualMachine, VM)
    assert back._moId != moid
    for path, uuid in zip(("config.uuid", "config.instanceUuid"), uuids, strict=True):
        lab.double.put(back._moId, path, "xsd:string", uuid)
    lab.read(DAYS[3])

    old, new = lab.assets(VM)
    assert [moid_here(lab.about, each["external_id"]) for each in (old, new)] == [moid, back._moId]
    assert old["missing_since"] is not None
    assert new["missing_since"] is None
    assert {old["id"], new["id"]} in lab.look_alikes()


def test_a_host_that_is_away_for_a_day_keeps_its_machines_and_is_the_same_when_it_is_back(lab: Lab) -> None:
    host = lab.find(vim.HostSystem, "DC0_H0")
    machines = [machine._moId for machine in host.vm]
    away_with_it = (host._moId, host.parent._moId, *machines)
    lab.double.delete(*away_with_it)
    hosts, vms = lab.read(DAYS[1])
    assert (hosts.missing, vms.missing) == (1, len(machines))
    (away,) = lab.assets("DC0_H0")
    assert away["missing_since"] is not None

    lab.double.unhide(*away_with_it)
    hosts, vms = lab.read(DAYS[2])
    assert (hosts.revived, vms.revived) == (1, len(machines))
    (back,) = lab.assets("DC0_H0")
    assert back["id"] == away["id"]
    assert back["missing_since"] is None
    assert lab.relations("DC0_H0_VM0") == [("runs_on", "DC0_H0", True)]


def test_a_folder_that_is_renamed_changes_where_machines_stand_and_nothing_else(lab: Lab) -> None:
    machine = lab.find(vim.VirtualMachine, VM)
    folder = machine.parent.CreateFolder("web")
    WaitForTask(folder.MoveIntoFolder_Task([machine]), si=lab.sdk)
    lab.read(DAYS[1])
    (before,) = lab.assets(VM)
    assert before["custom_fields"]["folder"] == "web"
    WaitForTask(folder.Rename_Task("shop"), si=lab.sdk)
    _, outcome = lab.read(DAYS[2])

    assert (outcome.created, outcome.updated, outcome.missing) == (0, 1, 0)
    assert [(change.field, change.before, change.after) for change in outcome.changes] == [
        ("custom_fields.folder", "web", "shop")
    ]
    (after,) = lab.assets(VM)
    assert (after["id"], after["custom_fields"]["folder"]) == (before["id"], "shop")
    assert lab.relations(VM)[-1][2]


@pytest.mark.parametrize("state", ["inaccessible", "orphaned", "invalid", "disconnected"])
def test_a_machine_of_which_vcenter_knows_nothing_any_more_keeps_its_identity_and_its_last_values(
    lab: Lab, state: str
) -> None:
    machine = lab.find(vim.VirtualMachine, VM)
    (before,) = lab.assets(VM)
    lab.double.connection(machine._moId, state)
    lab.read(DAYS[1])

    (asset,) = lab.assets(VM)
    assert asset["id"] == before["id"]
    assert asset["cpu_cores"] == before["cpu_cores"]
    assert asset["carried"]["cpu_cores"] == DAYS[0], "yesterday's value says how old it is"
    (day,) = rows(
        lab.connection,
        "SELECT cpu_cores, unknown FROM ledger.asset_daily_specs WHERE collected_date = %s AND asset_id = %s",
        [DAYS[1], asset["id"]],
    )
    assert day["cpu_cores"] is None
    assert "VCENTER_VM_INACCESSIBLE" in day["unknown"]["hardware.cpu_count"]


def test_a_machine_whose_name_vcenter_cannot_read_any_more_keeps_the_last_one(lab: Lab) -> None:
    machine = lab.find(vim.VirtualMachine, VM)
    (before,) = lab.assets(VM)
    lab.double.connection(machine._moId, "inaccessible")
    lab.double.put(machine._moId, "name", "xsd:string", "%2fvmfs%2fvolumes%2f5f3a-01%2fvm0%2fvm0.vmx")
    lab.read(DAYS[1])

    (asset,) = lab.assets(VM)
    assert asset["id"] == before["id"]
    assert asset["carried"]["hostname"] == DAYS[0]


def test_a_machine_that_is_deleted_while_it_is_read_leaves_a_whole_reading(lab: Lab) -> None:
    machine = lab.find(vim.VirtualMachine, VM)
    gone: Callable[[VcenterDouble], object] = lambda double: double.delete(machine._moId)  # noqa: E731
    lab.double.on("CreateContainerView", gone, kinds=frozenset({"VirtualMachine"}))
    _, outcome = lab.read(DAYS[1])

    assert outcome.missing == 1
    (asset,) = lab.assets(VM)
    assert asset["missing_since"] is not None
