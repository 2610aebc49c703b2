"""A scripted world: clusters, hosts and virtual machines as they really are, and what a platform answers of them.

Pure Python, no clock: a scenario changes the world between days, and `answers` renders what a reading gets, with the
faults of that day. A true platform's double renders the same world and the same faults in its own protocol.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from typing import Any

PAGE = 5
POOLS = ("prod", "test")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster. `id` is the platform's own."""

    id: str
    name: str
    kind: str = "cluster"


@dataclass(frozen=True, slots=True)
class Host:
    """A hypervisor, member of a cluster."""

    id: str
    name: str
    cluster: str
    serial: str
    ips: tuple[str, ...]
    cpus: int = 64
    memory_mib: int = 262_144
    created: str = "2024-01-01T00:00:00Z"
    kind: str = "host"


@dataclass(frozen=True, slots=True)
class Vm:
    """A virtual machine. `uuid` and `created` tell it from another one that is given its id later.

    `host` may be the id of none: it runs somewhere all the same.
    """

    id: str
    name: str
    uuid: str
    created: str
    host: str
    pool: str
    macs: tuple[str, ...]
    ips: tuple[str, ...]
    cpus: int = 2
    memory_mib: int = 4096
    disk_gib: int = 40
    power: str = "running"
    kind: str = "vm"


Machine = Cluster | Host | Vm


@dataclass(frozen=True)
class Faults:
    """What goes wrong with one reading.

    These hide something, so that a reading under them is not the whole: `lost_page` (the second page answers 500),
    `truncated` (the list stops there, with 200), `short_body` (the last page breaks off), `shifted_page` (the list
    has the right length, with one machine twice and another not at all), `hidden_pools` (the account lost its right
    on them: a shorter list, and a shorter count), `hostless` (no host is told, nor where a machine runs).

    These hide nothing that can be proven: `nothing` (no objects at all, with success), `lies_without` (machines that a
    reading which looks complete does not have), `down_hosts` (a node answers 595), `stranger_hosts` (a node shows
    another certificate), `silent_agents`, `listed_twice`, `clock_skew_s` (of the platform's own clock).
    """

    lost_page: bool = False
    truncated: int | None = None
    short_body: bool = False
    shifted_page: bool = False
    hidden_pools: tuple[str, ...] = ()
    hostless: bool = False
    nothing: bool = False
    lies_without: frozenset[str] = frozenset()
    down_hosts: tuple[str, ...] = ()
    stranger_hosts: tuple[str, ...] = ()
    silent_agents: frozenset[str] = frozenset()
    listed_twice: frozenset[str] = frozenset()
    clock_skew_s: int = 0

    @property
    def names(self) -> frozenset[str]:
        """The faults that are set, by name."""
        return frozenset(one.name for one in fields(self) if getattr(self, one.name) != one.default)


NONE = Faults()


@dataclass
class World:
    """What there is. Machines are kept by id, and changed by replacing them."""

    clusters: dict[str, Cluster] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    vms: dict[str, Vm] = field(default_factory=dict)

    def machines(self) -> list[Machine]:
        """Return all of it: clusters, hosts, virtual machines."""
        return [*self.clusters.values(), *self.hosts.values(), *self.vms.values()]

    def vm(self, name: str) -> Vm:
        """Return the one virtual machine of a name."""
        (found,) = (vm for vm in self.vms.values() if vm.name == name)
        return found

    def change(self, name: str, /, **values: Any) -> Vm:
        """Change a virtual machine and return it."""
        vm = replace(self.vm(name), **values)
        self.vms[vm.id] = vm
        return vm

    def add(self, vm: Vm) -> Vm:
        """Add a virtual machine; under an id that is taken it stands in the place of the other."""
        self.vms[vm.id] = vm
        return vm

    def drop(self, *names: str) -> list[Vm]:
        """Take virtual machines out of the world and return them."""
        return [self.vms.pop(self.vm(name).id) for name in names]

    def copy(self) -> World:
        """Return the world as it is now, to be changed apart."""
        return deepcopy(self)


def new_vm(number: int, host: str, **values: Any) -> Vm:
    """Return a virtual machine whose every fact follows from its number."""
    made = Vm(
        id=str(100 + number),
        name=f"vm-{number}",
        uuid=f"4c4c4544-0000-4000-8000-{number:012x}",
        created=f"2025-01-{number % 28 + 1:02}T00:00:{number % 60:02}Z",
        host=host,
        pool=POOLS[number % len(POOLS)],
        macs=(f"52:54:00:00:{number // 256:02x}:{number % 256:02x}",),
        ips=(f"10.0.{number // 250}.{number % 250 + 1}",),
    )
    return replace(made, **values)


def estate(vms: int = 12, *, clusters: int = 2, hosts: bool = True) -> World:
    """Return four hosts in two clusters, or in one, and some virtual machines spread over them; or those alone."""
    world = World()
    for c in range(1, clusters + 1):
        world.clusters[f"c{c}"] = Cluster(f"c{c}", f"cluster-{c}")
    for n in range(1, 5) if hosts else ():
        cluster = f"c{min(clusters, (n + 1) // 2)}"
        world.hosts[f"esx{n}"] = Host(f"esx{n}", f"esx-{n}", cluster, f"SN{n:04}X", (f"10.9.0.{n}",))
    for number in range(1, vms + 1):
        world.add(new_vm(number, f"esx{(number - 1) % 4 + 1}"))
    return world


def hides(world: World, faults: Faults, scope: str) -> bool:
    """Say whether a reading of a scope under these faults is not the whole and shows it, so that it must fail."""
    listed = len(_told(world, faults, scope))
    return bool(
        faults.short_body
        or faults.hidden_pools
        or (faults.hostless and scope != "hosts" and any(vm.id not in faults.lies_without for vm in world.vms.values()))
        or (faults.truncated is not None and listed > faults.truncated)
        or ((faults.shifted_page or faults.lost_page) and listed > PAGE)
    )


def answers(world: World, faults: Faults = NONE) -> dict[str, list[dict[str, Any]]]:
    """Return the responses a client gets, in order, by scope: `path`, `status` and `body` (a text that may break off)."""
    return {scope: list(_responses(world, faults, scope)) for scope in ("all", "hosts", "vms")}


def _told(world: World, faults: Faults, scope: str) -> list[Machine]:
    return [
        machine
        for machine in ([] if faults.nothing else world.machines())
        if machine.id not in faults.lies_without
        and not (isinstance(machine, Vm) and (scope == "hosts" or machine.pool in faults.hidden_pools))
        and not (not isinstance(machine, Vm) and (scope == "vms" or faults.hostless))
    ]


def _responses(world: World, faults: Faults, scope: str) -> Iterator[dict[str, Any]]:
    told = _told(world, faults, scope)
    rights = {f"/pool/{pool}": [] if pool in faults.hidden_pools else ["VM.Audit"] for pool in POOLS}
    yield _ok("/access/permissions", {"/": ["Sys.Audit"], **rights})
    yield _ok("/pools", list(POOLS))
    counts = {kind: sum(machine.kind == kind for machine in told) for kind in ("cluster", "host", "vm")}
    yield _ok("/count", {**counts, "time_skew_s": faults.clock_skew_s})
    yield from _pages([_listed(machine, faults) for machine in told], faults)
    for host in world.hosts.values():
        if faults.nothing or host.id in faults.lies_without:
            continue
        path = f"/nodes/{host.id}"
        if host.id in faults.down_hosts:
            yield {"path": path, "status": 595, "body": "No route to host"}
        elif host.id in faults.stranger_hosts:
            yield {"path": path, "status": 596, "body": "certificate fingerprint differs"}
        else:
            guests = {m.id: _detail(m, faults) for m in told if isinstance(m, Vm) and m.host == host.id}
            yield _ok(path, {"serial": host.serial, "ips": list(host.ips), "guests": guests})


def _ok(path: str, body: Any) -> dict[str, Any]:
    return {"path": path, "status": 200, "body": json.dumps(body)}


def _pages(items: list[dict[str, Any]], faults: Faults) -> Iterator[dict[str, Any]]:
    if faults.truncated is not None:
        items = items[: faults.truncated]
    if faults.shifted_page and len(items) > PAGE:
        items = [*items[:PAGE], items[PAGE - 1], *items[PAGE + 1 :]]
    for item in list(items):
        if item["id"] in faults.listed_twice:
            items = [*items, item]
    pages = [items[start : start + PAGE] for start in range(0, len(items), PAGE)] or [[]]
    for number, page in enumerate(pages):
        response = _ok(f"/inventory?page={number + 1}", page)
        if faults.lost_page and number == 1:
            response |= {"status": 500, "body": "internal error"}
        if faults.short_body and number == len(pages) - 1:
            response["body"] = response["body"][: len(response["body"]) * 2 // 3]
        yield response


def _listed(machine: Machine, faults: Faults) -> dict[str, Any]:
    """Return what the cluster's own view has of a machine; the rest only its node knows."""
    match machine:
        case Cluster():
            return {"kind": "cluster", "id": machine.id, "name": machine.name}
        case Host():
            return {
                "kind": "host",
                "id": machine.id,
                "name": machine.name,
                "cluster": machine.cluster,
                "cpus": machine.cpus,
                "memory_mib": machine.memory_mib,
                "created": machine.created,
            }
        case Vm():
            return {
                "kind": "vm",
                "id": machine.id,
                "name": machine.name,
                "pool": machine.pool,
                **({} if faults.hostless else {"host": machine.host}),
                "cpus": machine.cpus,
                "memory_mib": machine.memory_mib,
                "created": machine.created,
                "power": machine.power,
            }


def _detail(vm: Vm, faults: Faults) -> dict[str, Any]:
    silent = vm.id in faults.silent_agents or vm.power != "running"
    agent: dict[str, Any] = (
        {"error": "guest agent is not running"} if silent else {"ips": list(vm.ips), "os": ["linux", "12"]}
    )
    return {"uuid": vm.uuid, "macs": list(vm.macs), "disk_gib": vm.disk_gib, "agent": agent}
