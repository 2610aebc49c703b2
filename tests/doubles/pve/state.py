"""The cluster as it is now: what a test moves while a client reads. No HTTP, no shapes.

Every method may be called from any thread; requests are answered under `lock`.
"""

from __future__ import annotations

import copy
import hashlib
import threading
import time
import uuid
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.https.certificates import colons
from tests.doubles.pve.acl import Access, Entry, Pool
from tests.doubles.pve.releases import Release
from tests.doubles.pve.roles import built_in_roles, privileges_of
from tests.doubles.pve.scenario import GuestSpec, NodeSpec, Scenario, StorageSpec, TokenSpec, UserSpec

BROADCAST_LIVES = 300.0  # seconds after which the last word of a silent node is dropped


@dataclass
class Node:
    spec: NodeSpec
    nodeid: int
    offline_since: float | None = None
    silent_since: float | None = None  # its pvestatd hangs
    answer: tuple[int, str, float] = (595, "No route to host", 0.0)  # of what is proxied to it while offline

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def online(self) -> bool:
        return self.offline_since is None


@dataclass
class Guest:
    spec: GuestSpec
    order: int = field(init=False)  # rows come in the order of a hash, never of ids

    def __post_init__(self) -> None:
        self.order = zlib.crc32(str(self.spec.vmid).encode())

    @property
    def vmid(self) -> int:
        return self.spec.vmid

    @property
    def node(self) -> str:
        return self.spec.node

    @property
    def config(self) -> dict[str, str]:
        return self.spec.config


def entry_of(path: str, role: str, ugid: str, propagate: bool = True) -> Entry:
    """Return the entry for user@realm, @group or user@realm!token."""
    kind = "group" if ugid.startswith("@") else "token" if "!" in ugid else "user"
    return Entry("/" + path.strip("/"), kind, ugid.removeprefix("@"), role, propagate)


class Cluster:
    """Nodes, guests, pools, users and permissions, from a scenario."""

    def __init__(self, scenario: Scenario, release: Release) -> None:
        scenario = copy.deepcopy(scenario)
        self.lock = threading.RLock()
        self.release = release
        self.name = scenario.cluster
        self.config_version = scenario.cluster_version
        self.quorate = True
        self.options = scenario.options
        self.sdn = scenario.sdn
        self.nodes = {
            spec.name: Node(spec, number if scenario.cluster else 0)
            for number, spec in enumerate(scenario.nodes, start=1)
        }
        self.local_node = scenario.nodes[0].name
        self.guests = {spec.vmid: Guest(spec) for spec in scenario.guests}
        self.storages: list[StorageSpec] = scenario.storages
        self.users: dict[str, UserSpec] = {user.userid: user for user in scenario.users}
        self.users.setdefault("root@pam", UserSpec(userid="root@pam"))
        self.tokens: dict[str, TokenSpec] = (
            {token.tokenid: token for token in scenario.tokens} if release.tokens else {}
        )
        known = privileges_of(release)
        self.roles = built_in_roles(release)
        self.built_in = frozenset(self.roles)
        self.roles |= {name: frozenset(privileges) & known for name, privileges in scenario.roles.items()}
        self.groups: dict[str, set[str]] = {name: set() for name in scenario.groups}
        for user in scenario.users:
            for group in user.groups:
                self.groups.setdefault(group, set()).add(user.userid)
        self.pools: dict[str, set[int]] = {name: set() for name in scenario.pools}
        self.pool_storages: dict[str, set[str]] = {}
        for spec in scenario.guests:
            if spec.pool:
                self.pools.setdefault(spec.pool, set()).add(spec.vmid)
        self.acl: list[Entry] = []
        for line in scenario.acl:
            self.grant(line.path, line.role, line.ugid, line.propagate)
        self._offset = 0.0
        self._access: Access | None = None
        self._access_inputs: Any = None

    # -- time ---------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The cluster's clock, in seconds of the epoch; set it or `advance` it."""
        return time.time() + self._offset

    @now.setter
    def now(self, moment: float) -> None:
        self._offset = moment - time.time()

    def advance(self, *, minutes: float = 0.0, seconds: float = 0.0) -> None:
        """Let time pass."""
        self._offset += minutes * 60 + seconds

    # -- guests -------------------------------------------------------------------------------------------------

    def migrate(self, vmid: int, node: str) -> None:
        """Move a guest to another node; its id stays."""
        with self.lock:
            if node not in self.nodes:
                raise KeyError(node)
            self.guests[vmid].spec.node = node

    def delete(self, vmid: int) -> None:
        """Delete a guest with its permissions and its place in a pool, as Proxmox VE does."""
        with self.lock:
            del self.guests[vmid]
            self.acl = [entry for entry in self.acl if entry.path != f"/vms/{vmid}"]
            for members in self.pools.values():
                members.discard(vmid)

    def add_guest(self, vmid: int | None = None, node: str | None = None, **said: Any) -> Guest:
        """Create a guest from the keys of a scenario's guest; without a vmid it gets the lowest free one."""
        with self.lock:
            spec = GuestSpec(vmid=vmid or self.free_vmid(), node=node or self.local_node, **said)
            if spec.vmid in self.guests:
                raise ValueError(f"VM {spec.vmid} already exists")
            self.guests[spec.vmid] = Guest(spec)
            if spec.pool:
                self.pools.setdefault(spec.pool, set()).add(spec.vmid)
            return self.guests[spec.vmid]

    def replace(self, vmid: int, **said: Any) -> Guest:
        """Delete a guest and let another machine have its vmid; without a config it gets one of its own."""
        with self.lock:
            gone = self.guests[vmid].spec
            self.delete(vmid)
            kind = said.setdefault("type", gone.type)
            mac = "BC:24:11:" + ":".join(uuid.uuid4().hex.upper()[at : at + 2] for at in (0, 2, 4))
            if "config" not in said and kind == "qemu":
                said["config"] = {
                    "name": f"successor-of-{vmid}",
                    "memory": "1024",
                    "cores": "1",
                    "net0": f"virtio={mac},bridge=vmbr0",
                    "scsi0": f"local-lvm:vm-{vmid}-disk-1,size=8G",
                    "boot": "order=scsi0",
                    "smbios1": f"uuid={uuid.uuid4()}",
                    "vmgenid": str(uuid.uuid4()),
                    "meta": f"creation-qemu=9.0.2,ctime={int(self.now)}",
                }
            elif "config" not in said:
                said["config"] = {
                    "hostname": f"successor-of-{vmid}",
                    "memory": "512",
                    "net0": f"name=eth0,bridge=vmbr0,hwaddr={mac},ip=dhcp,type=veth",
                    "rootfs": f"local-lvm:vm-{vmid}-disk-1,size=4G",
                }
            return self.add_guest(vmid, said.pop("node", gone.node), **said)

    def free_vmid(self) -> int:
        """Return the lowest free vmid within the bounds of datacenter.cfg (`next-id`, since 7.2)."""
        bounds = dict(part.split("=", 1) for part in str(self.options.get("next-id", "")).split(",") if "=" in part)
        lower = int(bounds.get("lower", 100)) if self.release.number >= (7, 2) else 100
        return next(number for number in range(lower, 1_000_000_000) if number not in self.guests)

    def in_hash_order(self) -> list[Guest]:
        return sorted(self.guests.values(), key=lambda guest: guest.order)

    # -- nodes --------------------------------------------------------------------------------------------------

    def set_offline(
        self,
        node: str,
        *,
        minutes: float = 0.0,
        status: int = 595,
        reason: str = "No route to host",
        delay: float = 0.0,
    ) -> None:
        """Take a node down since so many minutes; under five of them its guests still have their last words.

        What is asked of it is answered with this status, so many seconds late (596 "Connection timed out" takes 30).
        """
        with self.lock:
            self.nodes[node].offline_since = self.now - minutes * 60
            self.nodes[node].answer = (status, reason, delay)

    def set_online(self, node: str) -> None:
        with self.lock:
            self.nodes[node].offline_since = None

    def hang_pvestatd(self, node: str, *, minutes: float = 10.0) -> None:
        """Let an online node say nothing of its guests since so many minutes (a dead NFS does that)."""
        with self.lock:
            self.nodes[node].silent_since = self.now - minutes * 60

    def resume_pvestatd(self, node: str) -> None:
        with self.lock:
            self.nodes[node].silent_since = None

    def broadcasts(self, node: str) -> bool:
        """Say whether the last word of a node still counts."""
        there = self.nodes.get(node)
        if there is None:
            return False
        since = [moment for moment in (there.offline_since, there.silent_since) if moment is not None]
        return not since or self.now - min(since) < BROADCAST_LIVES

    # -- permissions --------------------------------------------------------------------------------------------

    def grant(self, path: str, role: str, ugid: str, propagate: bool = True) -> None:
        """Add an entry for user@realm, @group or user@realm!token; tokens of a release without them are ignored."""
        with self.lock:
            if role not in self.roles:
                raise KeyError(role)
            entry = entry_of(path, role, ugid, propagate)
            if entry.kind == "token" and not self.release.tokens:
                return
            self.revoke(path, role, ugid)
            self.acl.append(entry)

    def revoke(self, path: str, role: str, ugid: str) -> None:
        """Remove an entry, whether it propagates or not; none there is no error."""
        with self.lock:
            gone = {entry_of(path, role, ugid, propagate) for propagate in (True, False)}
            self.acl = [entry for entry in self.acl if entry not in gone]

    @property
    def access(self) -> Access:
        """The permissions as they are now, evaluated at most once a change."""
        with self.lock:
            inputs = (
                tuple(self.acl),
                {name: set(vms) for name, vms in self.pools.items()},
                {name: set(users) for name, users in self.groups.items()},
                {name: token.privsep for name, token in self.tokens.items()},
                dict(self.roles),
            )
            if self._access is None or inputs != self._access_inputs:
                self._access_inputs = inputs
                self._access = Access(
                    roles=inputs[4],
                    groups=inputs[2],
                    tokens=inputs[3],
                    pools={
                        name: Pool(frozenset(vms), frozenset(self.pool_storages.get(name, ())))
                        for name, vms in self.pools.items()
                    },
                    entries=tuple(self.acl),
                )
            return self._access

    # -- small facts --------------------------------------------------------------------------------------------

    def pool_of(self, vmid: int) -> str | None:
        return next((name for name, members in self.pools.items() if vmid in members), None)

    def fingerprint(self, node: str) -> str:
        """Return the node's SHA-256; one is made up for a node whose scenario names none."""
        said = self.nodes[node].spec.fingerprint
        return said or colons(hashlib.sha256(f"certificate of {node}".encode()).digest())

    def visible(self, subject: str, guests: Iterable[Guest]) -> list[Guest]:
        access = self.access
        return [guest for guest in guests if access.holds(subject, f"/vms/{guest.vmid}", "VM.Audit")]
