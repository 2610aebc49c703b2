"""Every property that is read equals what pyvmomi itself makes of the same question, over whole inventories."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from asset_ledger.domain.errors import IncompleteError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.vcenter.objects import Found, objects
from asset_ledger.sources.vcenter.paths import KINDS
from asset_ledger.sources.vcenter.properties import Devices
from asset_ledger.sources.vcenter.raw import EVIDENCE, read_evidence, read_objects
from tests.doubles.vcenter import RELEASES, VcenterDouble
from tests.doubles.vcenter.client import connected
from tests.doubles.vcenter.client import read as asked
from tests.doubles.vcenter.fixtures import StartVcSim
from tests.sources.vcenter.equal import by_pyvmomi
from tests.sources.vcenter.live import collector
from tests.sources.vcenter.worlds import show_everything

SHAPES: dict[str, dict[str, int | bool]] = {
    "clusters, pools and a lone host": {"clusters": 2, "hosts": 3, "lone_hosts": 1, "vms": 12, "pools": 1},
    "two datacenters": {"datacenters": 2, "clusters": 1, "hosts": 2, "vms": 5, "datastores": 3},
    "no machine": {"clusters": 1, "hosts": 1, "vms": 0},
    "one ESXi host": {"esx": True, "vms": 4},
}


def ours(records: list[RawRecord]) -> dict[str, dict[str, Found]]:
    found: dict[str, dict[str, Found]] = {part: {} for part in KINDS}
    for raw in records:
        if raw.document["part"] != EVIDENCE:
            piece = read_objects(raw)
            for one in objects(piece, {}):
                assert one.found is not None
                assert one.name == one.found.values.get("name", "")
                found[piece.part][one.moid] = one.found
    return found


def theirs(vc: VcenterDouble, records: list[RawRecord]) -> dict[str, dict[str, Found]]:
    from pyVmomi import vim

    dropped = {sight.part: sight.dropped for sight in read_evidence(records[-1]).sights}
    with connected(vc) as service:
        content = service.RetrieveContent()
        return {
            part: {
                one.obj._moId: by_pyvmomi(one)
                for one in asked(
                    content,
                    getattr(vim, kind.type),
                    [path for path in kind.every if path not in dropped.get(part, ())],
                    size=3,
                )
            }
            for part, kind in KINDS.items()
        }


def check(vc: VcenterDouble, **said: Any) -> dict[str, dict[str, Found]]:
    records: list[RawRecord] = []
    with suppress(IncompleteError):  # what a refusal left out is left out for pyvmomi, too
        records.extend(collector(vc, **said).collect(ReadOrder()))
    mine, other = ours(records), theirs(vc, records)
    for part in KINDS:
        assert mine[part].keys() == other[part].keys()
        for moid, found in mine[part].items():
            assert found == other[part][moid], moid
    return mine


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_whole_inventory_of_the_simulator_equals_pyvmomis(
    start_vcsim: StartVcSim, shape: dict[str, int | bool]
) -> None:
    with VcenterDouble(start_vcsim(**shape), release=None) as vc:
        found = check(vc, scope="standalone" if "esx" in shape else "vcenter")
    assert bool(found["vms"]) == bool(shape["vms"])
    assert found["hosts"]
    assert all(one.values.keys() >= {"name", "parent", "hardware.systemInfo"} for one in found["hosts"].values())


def test_the_simulators_answers_as_another_release_writes_them_equal_pyvmomis(start_vcsim: StartVcSim) -> None:
    sim = start_vcsim(**SHAPES["clusters, pools and a lone host"])
    with VcenterDouble(sim, release="8.0.3") as vc:
        vc.connection("vm-71", "orphaned")
        moids = list(check(vc)["vms"])
        for number, (moid, state) in enumerate(zip(moids, ("inaccessible", "disconnected", "invalid"), strict=False)):
            vc.connection(moid, state)
            vc.deny(moids[10 + number], ("guest.net", "config.uuid", "runtime.host")[number])
        vc.agent_machine(moids[20])
        vc.leave_out(moids[21], "guest.*")
        found = check(vc, page_size=7)["vms"]
    assert [found[moid].values["runtime.connectionState"] for moid in moids[:2]] == ["inaccessible", "disconnected"]
    assert not any(path.startswith("config.") for path in found[moids[0]].values)
    assert found[moids[10]].faults == {"guest.net": "NoPermission"}
    assert "config.managedBy" in found[moids[20]].values
    devices = found[moids[22]].values["config.hardware.device"]
    assert isinstance(devices, Devices)
    assert devices.disks
    assert devices.cards


@pytest.mark.parametrize("release", RELEASES)
def test_a_described_inventory_of_every_release_equals_pyvmomis(release: str) -> None:
    with VcenterDouble(release=release) as vc:
        show_everything(vc)
        found = check(vc, page_size=5)
    read_paths = {part: {path for one in every.values() for path in one.values} for part, every in found.items()}
    # every path is there at least once, so that every reader was compared
    for part, kind in KINDS.items():
        assert set(kind.every) - read_paths[part] == set()


def test_a_described_esxi_host_equals_pyvmomis() -> None:
    with VcenterDouble(release="7.0", esxi=True) as vc:
        show_everything(vc, esxi=True)
        found = check(vc, scope="standalone")
    assert list(found["hosts"]) == ["ha-host"]
    assert found["vms"]
