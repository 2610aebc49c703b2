"""The endpoints of one node and of one guest."""

from __future__ import annotations

from tests.doubles.pve import shapes
from tests.doubles.pve.calls import Call, Parameter, RefusalError, Route, bad_parameters
from tests.doubles.pve.releases import Release
from tests.doubles.pve.shapes import Row


def node_status(call: Call) -> Row:
    """Answer GET /nodes/N/status: loads and megahertz are strings."""
    spec, release = call.cluster.nodes[call.place["node"]].spec, call.release
    used = spec.memory // 3
    cpuinfo: Row = {
        "cpus": spec.cpu,
        "sockets": spec.sockets,
        "model": spec.cpu_model,
        "mhz": spec.mhz,
        "user_hz": 100,
        "hvm": "1" if release.number >= (6, 0) else 1,
    }
    if release.number >= (6, 0):
        cpuinfo |= {"cores": max(1, spec.cpu // (2 * spec.sockets)), "flags": "fpu vme de svm nx"}
    kernel = "6.8.12-9-pve" if release.number >= (8, 0) else "5.4.106-1-pve"
    long_version = release.version if release.number >= (6, 0) else f"{release.version}-{release.release}"
    row: Row = {
        "uptime": 1_234_567,
        "cpu": 0.0421,
        "wait": 0.0007,
        "idle": 0,
        "loadavg": ["0.42", "0.37", "0.31"],
        "cpuinfo": cpuinfo,
        "memory": {"total": spec.memory, "used": used, "free": spec.memory - used},
        "swap": {"total": 8 << 30, "used": 0, "free": 8 << 30},
        "rootfs": {"total": spec.disk, "used": spec.disk // 4, "free": spec.disk * 3 // 4, "avail": spec.disk * 2 // 3},
        "ksm": {"shared": 0},
        "pveversion": f"pve-manager/{long_version}/{release.repoid}",
        "kversion": f"Linux {kernel} #1 SMP PREEMPT_DYNAMIC",
    }
    if release.number >= (8, 0):
        row["current-kernel"] = {"sysname": "Linux", "release": kernel, "machine": "x86_64", "version": "#1 SMP"}
        row["boot-info"] = {"mode": "efi", "secureboot": 0}
    return row


def node_network(call: Call) -> list[Row]:
    wanted = call.parameters.get("type")
    rows = call.cluster.nodes[call.place["node"]].spec.network
    drop = set() if call.release.number >= (6, 1) else {"cidr", "cidr6"}
    return [
        {key: value for key, value in row.items() if key not in drop}
        for row in rows
        if wanted is None or row["type"] == wanted
    ]


def guests(call: Call) -> list[Row]:
    """Answer the list of one node's guests of one kind, what the caller may not see left out."""
    here = [
        guest
        for guest in call.cluster.in_hash_order()
        if guest.node == call.place["node"] and guest.spec.type == call.place["kind"]
    ]
    full = bool(call.parameters.get("full"))
    return [
        shapes.guest_listed(call.cluster, guest, call.release, full=full)
        for guest in call.cluster.visible(call.who, here)
    ]


def config(call: Call) -> Row:
    """Answer a configuration: pending values unless `current` is asked for."""
    guest = call.guest()
    snapshot = call.parameters.get("snapshot")
    if snapshot and call.parameters.get("current"):
        text = "cannot use 'snapshot' parameter with 'current'"
        raise bad_parameters(snapshot=text, current=text)
    if snapshot:
        if snapshot not in guest.spec.snapshots:
            raise RefusalError(500, f"snapshot '{snapshot}' does not exist")
        return shapes.config_shown(guest, call.release, guest.spec.snapshots[snapshot])
    said = dict(guest.config)
    pending = guest.spec.type == "qemu" or call.release.lxc_config_has_pending
    if pending and not call.parameters.get("current"):
        said = {key: value for key, value in said.items() if key not in guest.spec.pending_delete} | guest.spec.pending
    return shapes.config_shown(guest, call.release, said)


def current(call: Call) -> Row:
    return shapes.guest_current(call.cluster, call.guest(), call.release)


def snapshots(call: Call) -> list[Row]:
    """Answer the snapshots of a guest: the last row, `current`, is none."""
    guest = call.guest()
    rows: list[Row] = [{"name": name, "description": "", "snaptime": 1_717_000_000} for name in guest.spec.snapshots]
    now: Row = {"name": "current", "description": "You are here!", "digest": "0" * 40}
    return [*rows, now | {"running": int(guest.spec.status == "running")}]


def agent(call: Call) -> Row:
    """Answer network-get-interfaces: an absent agent is a 500, a disabled command a 200 with an error in it."""
    guest = call.guest()
    if not shapes.agent_enabled(guest.config):
        raise RefusalError(500, call.release.no_agent)
    if guest.spec.status != "running":
        raise RefusalError(500, f"VM {guest.vmid} is not running")
    if guest.spec.agent == "not_running":
        call.delay += call.agent_delay
        text = "QEMU guest agent is not running" if call.release.number >= (5, 3) else "Qemu Guest Agent is not running"
        raise RefusalError(500, text)
    if guest.spec.agent == "silent":
        call.delay += call.agent_delay * 5 / 3
        command = "guest-network-get-interfaces"
        raise RefusalError(500, f"VM {guest.vmid} qmp command '{command}' failed - got timeout")
    return {"result": shapes.agent_interfaces(guest)}


def container_interfaces(call: Call) -> list[Row] | None:
    return shapes.lxc_interfaces(call.guest(), call.release)


def _routes_of(kind: str, lists: dict[str, Parameter]) -> tuple[Route, ...]:
    path = "/nodes/{node}/(?P<kind>" + kind + ")"
    audit = ("/vms/{vmid}", ("VM.Audit",))
    both = {"current": Parameter("boolean"), "snapshot": Parameter()}

    def pending(release: Release) -> bool:
        return kind == "qemu" or release.lxc_config_has_pending

    return (
        Route("GET", path, guests, lists),
        Route("GET", path + "/{vmid}/status/current", current, right=audit),
        Route("GET", path + "/{vmid}/snapshot", snapshots, right=audit),
        Route("GET", path + "/{vmid}/config", config, both, right=audit, in_release=pending),
        # before pending changes of containers there was nothing to choose, and no parameter to choose with
        Route("GET", path + "/{vmid}/config", config, right=audit, in_release=lambda release: not pending(release)),
    )


def _agent_routes(privileges: tuple[str, ...]) -> tuple[Route, ...]:
    right = ("/vms/{vmid}", privileges)
    path = "/nodes/{node}/(?P<kind>qemu)/{vmid}/agent"
    commands = Parameter(optional=False, enum=("network-get-interfaces",))

    def mine(release: Release) -> bool:
        return release.agent_privileges == privileges

    return (
        Route("POST", path, agent, {"command": commands}, right=right, in_release=mine),
        Route(
            "GET",
            path + "/network-get-interfaces",
            agent,
            right=right,
            in_release=lambda release: mine(release) and release.agent_by_get,
        ),
    )


ROUTES = (
    Route("GET", "/nodes/{node}/status", node_status, right=("/nodes/{node}", ("Sys.Audit",))),
    Route("GET", "/nodes/{node}/network", node_network, {"type": Parameter()}),
    *_routes_of("qemu", {"full": Parameter("boolean")}),
    *_routes_of("lxc", {}),
    *_agent_routes(("VM.Monitor",)),
    *_agent_routes(("VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted")),
    Route(
        "GET",
        "/nodes/{node}/(?P<kind>lxc)/{vmid}/interfaces",
        container_interfaces,
        right=("/vms/{vmid}", ("VM.Audit",)),
        in_release=lambda release: release.lxc_interfaces,
    ),
)
