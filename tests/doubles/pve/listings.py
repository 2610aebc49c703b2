"""The endpoints of the whole cluster: version, cluster, and the list of nodes."""

from __future__ import annotations

from typing import Any

from tests.doubles.pve.calls import Call, Parameter, Route, bad_parameters
from tests.doubles.pve.shapes import Row, guest_resource, node_row


def version(call: Call) -> Row:
    release, options = call.release, call.cluster.options
    row: Row = {"version": release.version, "release": release.release, "repoid": release.repoid}
    shown = options if release.version_tells_options else {key: options[key] for key in ("console",) if key in options}
    return dict(shown) | row


def _pools(call: Call) -> list[Row]:
    return [
        {"id": f"/pool/{name}", "pool": name, "type": "pool"}
        for name in call.cluster.pools
        if call.holds(f"/pool/{name}", call.release.pool_privilege)
    ]


def _guests(call: Call) -> list[Row]:
    cluster = call.cluster
    return [
        guest_resource(cluster, guest, call.release) for guest in cluster.visible(call.who, cluster.in_hash_order())
    ]


def _nodes(call: Call) -> list[Row]:
    rows = []
    for node in call.cluster.nodes.values():
        row = node_row(call.cluster, node, call.release, audited=call.holds(f"/nodes/{node.name}", "Sys.Audit"))
        if call.release.number >= (7, 3) and "maxcpu" in row:
            row["cgroup-mode"] = 2
        rows.append(row)
    return rows


def _storages(call: Call) -> list[Row]:
    rows: list[Row] = []
    for storage in call.cluster.storages:
        if not call.holds(f"/storage/{storage.name}", "Datastore.Audit"):
            continue
        for node in storage.nodes or list(call.cluster.nodes):
            row: Row = {
                "id": f"storage/{node}/{storage.name}",
                "storage": storage.name,
                "node": node,
                "type": "storage",
                "shared": int(storage.shared),
            }
            if call.release.unknown_status:
                row["status"] = "unknown"
            if call.release.number >= (6, 2):
                row |= {"plugintype": storage.type, "content": storage.content}
            if call.cluster.broadcasts(node):
                row |= {"maxdisk": storage.size, "disk": storage.used}
                if call.release.unknown_status:
                    row["status"] = "available"
            rows.append(row)
    return rows


def _networks(call: Call) -> list[Row]:
    rows: list[Row] = []
    for node in call.cluster.nodes:
        for zone in call.cluster.sdn:
            if call.release.sdn_rows_filtered and not call.holds(f"/sdn/zones/{zone}", "SDN.Audit"):
                continue
            if call.release.sdn_rows:
                row = {"id": f"sdn/{node}/{zone}", "sdn": zone, "node": node, "type": "sdn", "status": "ok"}
                rows.append(row)
            if call.release.network_rows:
                row = {"id": f"network/{node}/zone/{zone}", "network": zone, "network-type": "zone", "node": node}
                rows.append(row | {"type": "network", "status": "ok"})
    return rows


def resources(call: Call) -> list[Row]:
    """Answer GET /cluster/resources: what the caller may not see is left out without a word."""
    wanted = call.parameters.get("type")
    rows: list[Row] = []
    for kinds, make in (
        (("pool",), _pools),
        (("vm",), _guests),
        (("node",), _nodes),
        (("storage",), _storages),
        (("sdn", "network"), _networks),
    ):
        if wanted is None or wanted in kinds:
            rows += make(call)
    return rows


def status(call: Call) -> list[Row]:
    """Answer GET /cluster/status: one node of id 0 is a standalone host."""
    cluster = call.cluster
    rows: list[Row] = []
    if cluster.name:
        rows.append(
            {
                "type": "cluster",
                "id": "cluster",
                "name": cluster.name,
                "nodes": len(cluster.nodes),
                "quorate": int(cluster.quorate),
                "version": cluster.config_version,
            }
        )
    for node in cluster.nodes.values():
        rows.append(
            {
                "type": "node",
                "id": f"node/{node.name}",
                "name": node.name,
                "nodeid": node.nodeid,
                "local": int(node.name == cluster.local_node),
                "online": int(node.online),
                "level": node.spec.level,
                "ip": node.spec.address,
            }
        )
    return rows


def next_id(call: Call) -> str:
    """Answer GET /cluster/nextid; with a vmid it is the oracle that needs no right."""
    wanted = call.parameters.get("vmid")
    if wanted is None:
        return str(call.cluster.free_vmid())
    if int(wanted) in call.cluster.guests:
        raise bad_parameters(vmid=f"VM {wanted} already exists")
    return str(wanted)


def options(call: Call) -> dict[str, Any]:
    return dict(call.cluster.options)


def nodes(call: Call) -> list[Row]:
    rows = []
    for node in call.cluster.nodes.values():
        row = node_row(call.cluster, node, call.release, audited=call.holds(f"/nodes/{node.name}", "Sys.Audit"))
        if call.release.ssl_fingerprint:
            row["ssl_fingerprint"] = call.cluster.fingerprint(node.name)
        rows.append(row)
    return rows


def pools(call: Call) -> list[Row]:
    """Answer GET /pools: those that the caller may see."""
    return [{"poolid": row["pool"]} for row in _pools(call)]


_TYPES = ("vm", "storage", "node")
_AUDIT = ("/", ("Sys.Audit",))
ROUTES = (
    Route("GET", "/version", version),
    Route(
        "GET",
        "/cluster/resources",
        resources,
        {"type": Parameter(enum=_TYPES)},
        in_release=lambda release: not release.sdn_rows,
    ),
    Route(
        "GET",
        "/cluster/resources",
        resources,
        {"type": Parameter(enum=(*_TYPES, "sdn"))},
        in_release=lambda release: release.sdn_rows,
    ),
    Route("GET", "/cluster/status", status, right=_AUDIT),
    Route("GET", "/cluster/options", options, right=_AUDIT),
    Route("GET", "/cluster/nextid", next_id, {"vmid": Parameter("vmid")}),
    Route("GET", "/nodes", nodes),
    Route("GET", "/pools", pools),
)
