"""The scripted world as an Aliyun account: its double serves it, and the platform `aliyun` reads it over the ECS API.

Aliyun tells of no host and no cluster: a world of it has none, and what a machine of the world runs on is its
availability zone. A pool of the world is a region, so that a right that is lost on one is refused by DryRun; what is lost
on single resources shows nowhere and is one of the lies.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from asset_ledger.domain.addresses import normal_serial
from asset_ledger.sources.aliyun.config import AliyunConfig
from asset_ledger.sources.aliyun.errors import CLOCK_SKEW, NETWORK_ERROR, PERMISSION_DENIED
from asset_ledger.sources.aliyun.instances import VM
from asset_ledger.sources.platform import SourceConfig
from tests.doubles.aliyun import AliyunDouble, Cloud, DiskSpec, InstanceSpec, NicSpec
from tests.doubles.aliyun.server import ACCESS_KEY_ID, ACCESS_KEY_SECRET
from tests.faults.world import NONE, PAGE, POOLS, Faults, Machine, Vm, World

CREDENTIAL = (
    "FAULTS_ALIYUN",
    json.dumps({"access_key_id": ACCESS_KEY_ID, "access_key_secret": ACCESS_KEY_SECRET}),
)
"""The variable, and its value, that the source names as its credential."""
NAME = "lab"
_LIST = "DescribeInstances"
_NO_LOOK_UP = {"InstanceIds": ""}
_LATER_PAGE = {**_NO_LOOK_UP, "NextToken": "?*"}


class Aliyun:
    """An Aliyun account that shows a scripted world."""

    supports = frozenset(
        {
            "lost_page",
            "truncated",
            "short_body",
            "shifted_page",
            "hidden_pools",
            "nothing",
            "lies_without",
            "listed_twice",
            "clock_skew_s",
        }
    )
    hosts = False
    clusters = 0
    lists_generations = True
    # a list that says it is at its end is believed, but for the machines that the ledger knows: those are asked for by id
    found_by_ids = frozenset({"truncated"})
    codes: ClassVar[Mapping[str, tuple[str, str]]] = {}
    pool_field = "region"
    state_fields = frozenset({"custom_fields.status", "custom_fields.stopped_mode"})
    refusals: ClassVar[Mapping[str, tuple[str, str]]] = {
        "lost_page": (NETWORK_ERROR.code, "500"),
        "truncated": ("INVENTORY_INCOMPLETE", "that the ledger knows exist and are in no list"),
        "short_body": (NETWORK_ERROR.code, ""),
        "shifted_page": ("INVENTORY_INCOMPLETE", "came more than once"),
        "hidden_pools": (PERMISSION_DENIED.code, "test: the account may not list instances"),
        "clock_skew_s": (CLOCK_SKEW.code, "InvalidTimeStamp"),
    }

    def __init__(self, folder: Path, name: str = NAME, **settings: object) -> None:
        self._served = AliyunDouble(Cloud(POOLS))
        # of more machines than fit on a page of the world, more than fit on a page of one region are in one
        self._served.longest_page = PAGE // len(POOLS)
        self._served.__enter__()
        self.source: SourceConfig = AliyunConfig.model_validate(
            {
                "name": name,
                "platform": "aliyun",
                "endpoint": self._served.endpoint,
                "ca_file": self._served.ca_file,
                "credential_ref": "env:FAULTS_ALIYUN",
                "timeout_ms": 10_000,
                # one network with what is imported
                "address_zone": "source",
                **settings,
            }
        )

    def close(self) -> None:
        """Stop serving."""
        self._served.stop()

    def reading(self, world: World, faults: Faults = NONE) -> None:
        shown, cloud = self._served, self._served.cloud
        shown.faults.clear()
        shown.user.allow_all()
        shown.clock_skew_s = faults.clock_skew_s
        cloud.show(
            [_instance(vm) for vm in world.vms.values()],
            [
                DiskSpec(f"d-{vm.id}", vm.pool, size_gib=vm.disk_gib, instances=(_id(vm),), type="system")
                for vm in world.vms.values()
            ],
        )
        for pool in faults.hidden_pools:
            shown.user.deny(_LIST, pool)
        unseen = [vm for vm in world.vms.values() if faults.nothing or vm.id in faults.lies_without]
        shown.user.hide(_id(vm) for vm in unseen)
        if faults.truncated is not None:
            self._stop_after(faults.truncated)
        if faults.short_body:
            shown.faults.add(_LIST, "cut", times=None, where=_NO_LOOK_UP)
        if faults.lost_page:
            shown.faults.add(_LIST, "status", times=None, status=500, where=_LATER_PAGE)
        if faults.shifted_page:
            for pool in POOLS:
                self._shift(pool)
        if faults.listed_twice:
            self._repeat({f"i-{one}" for one in faults.listed_twice})

    def _stop_after(self, keep: int) -> None:
        """Let the lists of the regions, one after the other, end after so many, as if there were no more."""
        for pool in POOLS:
            ids = self._listed(pool)
            told, keep = set(ids[:keep]), max(0, keep - len(ids))

            def cut(data: Any, told: set[str] = told) -> None:
                rows = data["Instances"]["Instance"]
                kept = [row for row in rows if row["InstanceId"] in told]
                if kept != rows:
                    rows[:], data["NextToken"] = kept, ""

            self._edit(cut, pool)

    def _shift(self, pool: str) -> None:
        """Let the second page of a region begin with the last machine of the first, in place of its own."""
        size, ids = self._served.longest_page, self._listed(pool)
        assert size is not None
        if len(ids) <= size:
            return
        repeated = json.loads(self._served.cloud.told("instance", ids[size - 1]))

        def shift(data: Any) -> None:
            rows = data["Instances"]["Instance"]
            rows[:] = [repeated if row["InstanceId"] == ids[size] else row for row in rows]

        self._edit(shift, pool)

    def _repeat(self, ids: set[str]) -> None:
        """Tell machines twice in a list; when it is begun anew, once. So in every reading, which begins with the regions."""
        repeated: set[str] = set()

        def repeat(data: Any) -> None:
            rows = data["Instances"]["Instance"]
            again = [row for row in rows if row["InstanceId"] in ids - repeated]
            repeated.update(row["InstanceId"] for row in again)
            rows += again

        self._served.faults.on("DescribeRegions", lambda _: repeated.clear(), times=None)
        self._edit(repeat, "*")

    def _edit(self, edit: Callable[[Any], None], region: str) -> None:
        self._served.faults.add(f"{_LIST} {region}", "edit", times=None, edit=edit, where=_NO_LOOK_UP)

    def _listed(self, pool: str) -> list[str]:
        """Return the ids of a region as they are listed to the account."""
        hidden = self._served.user.hidden
        return [one for _, one in self._served.cloud.rows("instance", pool) if one not in hidden]

    def name(self, machine: Machine) -> tuple[str, str]:
        assert isinstance(machine, Vm), "a world without hosts"
        return VM, _id(machine)

    def generation(self, machine: Machine) -> Mapping[str, str]:
        assert isinstance(machine, Vm), "a world without hosts"
        return {"created": _created(machine), "serial": normal_serial(machine.uuid) or ""}


def _id(vm: Vm) -> str:
    return f"i-{vm.id}"


def _created(vm: Vm) -> str:
    return datetime.fromisoformat(vm.created).strftime("%Y-%m-%dT%H:%MZ")


def _instance(vm: Vm) -> InstanceSpec:
    running = vm.power == "running"
    return InstanceSpec(
        _id(vm),
        vm.pool,
        vm.name,
        zone=f"{vm.pool}-{vm.host}",
        status="Running" if running else "Stopped",
        stopped_mode="Not-applicable" if running else "KeepCharging",
        cpu=vm.cpus,
        memory_mib=vm.memory_mib,
        serial=vm.uuid,
        nics=tuple(NicSpec(vm.ips if place == 0 else (), mac) for place, mac in enumerate(vm.macs)),
        created=_created(vm),
    )
