"""The account's cloud as it is now: regions, instances and disks, with the verbs by which days differ. Thread-safe.

Specs are immutable; every verb puts another one in place. What of it is told to whom is decided in api.py.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tests.doubles.aliyun import shapes
from tests.doubles.aliyun.specs import DiskSpec, EipSpec, InstanceSpec, NicSpec, RegionSpec


class Cloud:
    """Regions with what is in them. Newer instances are listed first."""

    def __init__(self, regions: Iterable[str] = ("cn-hangzhou",)) -> None:
        self.lock = threading.RLock()
        self.regions: dict[str, RegionSpec] = {region: RegionSpec(region) for region in regions}
        self.refused: dict[str, tuple[int, str]] = {}  # regions that are listed and answer with an error
        self.instances: dict[str, InstanceSpec] = {}
        self.disks: dict[str, DiskSpec] = {}
        self._places: dict[str, int] = {}  # when a row came: the cursor of token paging
        self._numbers = itertools.count(1)
        self._told: dict[str, str] = {}  # rows already rendered
        self._order: dict[tuple[str, str], list[tuple[int, str]]] = {}

    # -- regions

    def add_region(self, region: str, **said: Any) -> RegionSpec:
        """Open a region, as new and edge regions appear over time."""
        with self.lock:
            self.regions[region] = RegionSpec(region, **said)
            return self.regions[region]

    def remove_region(self, region: str) -> None:
        with self.lock:
            del self.regions[region]

    def refuse_region(self, region: str, status: int = 404, code: str = "InvalidRegionId.NotFound") -> None:
        """List the region, and answer every call about it with an error."""
        self.refused[region] = (status, code)

    def accept_region(self, region: str) -> None:
        """Answer about a region again."""
        self.refused.pop(region, None)

    # -- instances

    def create(self, instance_id: str, /, **said: Any) -> InstanceSpec:
        """Create an instance from the fields of InstanceSpec; with `disk_gib` also its system disk."""
        disk_gib = said.pop("disk_gib", None)
        spec = self.put(InstanceSpec(instance_id, **said))
        if disk_gib is not None:
            self.create_disk(
                f"d-{instance_id.removeprefix('i-')}",
                region=spec.region,
                size_gib=disk_gib,
                instances=(instance_id,),
                type="system",
            )
        return spec

    def put(self, spec: InstanceSpec) -> InstanceSpec:
        """Put an instance in place, new or in place of the one with its id."""
        with self.lock:
            if spec.region not in self.regions:
                raise KeyError(f"no such region: {spec.region}")
            self.instances[spec.id] = spec
            self._touch("instance", spec.id)
            return spec

    def change(self, instance_id: str, **said: Any) -> InstanceSpec:
        """Change fields of an instance: name, tags, cpu, memory_mib, instance_type, nics, …"""
        with self.lock:
            return self.put(replace(self.instances[instance_id], **said))

    def delete(self, instance_id: str) -> None:
        """Release an instance with its system disk; data disks stay and are detached."""
        with self.lock:
            del self.instances[instance_id]
            self._forget("instance", instance_id)
            for disk in [one for one in self.disks.values() if instance_id in one.instances]:
                if disk.type == "system":
                    self.delete_disk(disk.id)
                else:
                    self.detach(disk.id, instance_id)

    def stop(self, instance_id: str, *, charging: bool = True) -> InstanceSpec:
        """Stop an instance; without charging it also gives up its public addresses (an EIP stays)."""
        with self.lock:
            if charging:
                return self.change(instance_id, status="Stopped", stopped_mode="KeepCharging")
            return self.change(instance_id, status="Stopped", stopped_mode="StopCharging", public_ips=())

    def start(self, instance_id: str, *, public_ips: tuple[str, ...] | None = None) -> InstanceSpec:
        """Start an instance; one that was stopped without charging comes back with other public addresses."""
        with self.lock:
            said: dict[str, Any] = {} if public_ips is None else {"public_ips": public_ips}
            return self.change(instance_id, status="Running", stopped_mode="Not-applicable", **said)

    def add_nic(self, instance_id: str, nic: NicSpec) -> InstanceSpec:
        """Attach one more elastic network interface."""
        with self.lock:
            spec = self.instances[instance_id]
            return self.change(instance_id, nics=(*shapes.nics_of(spec), nic))

    def remove_nic(self, instance_id: str, place: int = -1) -> InstanceSpec:
        """Detach the interface at a place: the last one, unless said."""
        with self.lock:
            nics = list(shapes.nics_of(self.instances[instance_id]))
            del nics[place]
            return self.change(instance_id, nics=tuple(nics))

    def move_eip(self, ip: str, instance_id: str | None) -> None:
        """Give an elastic address to another instance, or to none."""
        with self.lock:
            eip = EipSpec(ip)
            for one in list(self.instances.values()):
                if one.eip is not None and one.eip.ip == ip:
                    eip = one.eip
                    self.change(one.id, eip=None)
            if instance_id is not None:
                self.change(instance_id, eip=eip)

    def show(
        self, instances: Iterable[InstanceSpec], disks: Iterable[DiskSpec] = (), regions: Iterable[str] | None = None
    ) -> None:
        """Show these instances and disks, and nothing else, from now on."""
        with self.lock:
            if regions is not None:
                self.regions = {region: RegionSpec(region) for region in regions}
            for kind, rows in (("instance", self.instances), ("disk", self.disks)):
                for row_id in list(rows):
                    self._forget(kind, row_id)
            self.instances.clear()
            self.disks.clear()
            for instance in instances:
                self.put(instance)
            for disk in disks:
                self.put_disk(disk)

    # -- disks

    def create_disk(self, disk_id: str, /, **said: Any) -> DiskSpec:
        """Create a disk from the fields of DiskSpec, attached to `instances`."""
        return self.put_disk(DiskSpec(disk_id, **said))

    def put_disk(self, spec: DiskSpec) -> DiskSpec:
        """Put a disk in place, new or in place of the one with its id."""
        with self.lock:
            self.disks[spec.id] = spec
            self._touch("disk", spec.id)
            return spec

    def change_disk(self, disk_id: str, **said: Any) -> DiskSpec:
        with self.lock:
            return self.put_disk(replace(self.disks[disk_id], **said))

    def attach(self, disk_id: str, instance_id: str) -> DiskSpec:
        """Attach a disk to one more instance; to a second one it must be multi-attach."""
        with self.lock:
            disk = self.disks[disk_id]
            if disk.instances and not disk.multi_attach:
                raise ValueError(f"{disk_id} is attached to {disk.instances[0]} and not multi-attach")
            return self.change_disk(disk_id, instances=(*disk.instances, instance_id))

    def detach(self, disk_id: str, instance_id: str) -> DiskSpec:
        with self.lock:
            left = tuple(one for one in self.disks[disk_id].instances if one != instance_id)
            return self.change_disk(disk_id, instances=left)

    def delete_disk(self, disk_id: str) -> None:
        with self.lock:
            del self.disks[disk_id]
            self._forget("disk", disk_id)

    # -- reading

    def rows(self, kind: str, region: str) -> list[tuple[int, str]]:
        """Return place and id of a region's instances or disks, the newest first."""
        with self.lock:
            if (kind, region) not in self._order:
                shown = self.instances if kind == "instance" else self.disks
                found = [(self._places[row.id], row.id) for row in shown.values() if row.region == region]
                self._order[kind, region] = sorted(found, reverse=True)
            return self._order[kind, region]

    def told(self, kind: str, row_id: str) -> str:
        """Return an instance or disk as the text that stands in an answer."""
        with self.lock:
            if row_id not in self._told:
                row = shapes.instance(self.instances[row_id]) if kind == "instance" else shapes.disk(self.disks[row_id])
                self._told[row_id] = json.dumps(row, ensure_ascii=False)
            return self._told[row_id]

    def _touch(self, kind: str, row_id: str) -> None:
        self._told.pop(row_id, None)
        if row_id not in self._places:
            self._places[row_id] = next(self._numbers)
        self._order = {key: rows for key, rows in self._order.items() if key[0] != kind}

    def _forget(self, kind: str, row_id: str) -> None:
        self._told.pop(row_id, None)
        self._places.pop(row_id, None)
        self._order = {key: rows for key, rows in self._order.items() if key[0] != kind}
