"""The graph over HTTP: what is around a node, by what way one needs another, and what goes with it.

Annotations are evaluated: FastAPI reads those of functions that are made within a function.
"""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field
from starlette.requests import Request

from asset_ledger.api.access import Caller
from asset_ledger.api.answers import RefusedRequestError, told
from asset_ledger.api.service import Service
from asset_ledger.domain.roles import Principal
from asset_ledger.pipeline import topology
from asset_ledger.store.iac import graph
from asset_ledger.store.iac.graph import Direction, Graph, Kind
from asset_ledger.store.tenancy import as_tenant

_NODE = r"^(asset|resource|instance):[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
_Node = Annotated[str, Query(pattern=_NODE, description="asset:UUID, resource:UUID or instance:UUID")]
_Limit = Annotated[int, Query(ge=1, le=10_000, description="How many nodes at most.")]
_Depth = Annotated[int, Query(ge=1, le=100, description="How many edges away at most.")]
# names in a picture come from outside: whatever they are, a browser runs and fetches nothing for it
_PICTURE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


class Node(BaseModel):
    """A machine, a resource or a database instance."""

    node: str = Field(description="What asks for it: KIND:UUID.")
    kind: Kind
    id: UUID
    name: str
    type: str | None
    address: str | None
    states: list[str] = Field(description="Of a resource: the states that it stands in.")
    missing_since: datetime | None
    retired_at: datetime | None
    deposed: str | None = Field(description="Of a resource that was replaced and waits to be destroyed: its key.")


class Edge(BaseModel):
    """`node` needs `needed`."""

    node: str
    needed: str
    how: str = Field(description="How that is known: the kind of edge.")


class Around(BaseModel):
    """Nodes, and every edge between two of them. `cut`: there are more nodes than were asked for, or more edges."""

    nodes: list[Node]
    edges: list[Edge]
    cut: bool


class Ways(BaseModel):
    """The shortest ways by which one node needs another, as nodes in their order; none where it does not."""

    paths: list[list[str]]
    nodes: list[Node]
    edges: list[Edge]
    cut: bool = Field(description="There may be others, or not all was looked through.")


class Gone(Node):
    """A node that goes, and why: it hangs on `via`, by an edge of the kind `how`."""

    depth: int
    via: str | None
    how: str | None


class Counts(BaseModel):
    """How much goes in all, what was asked about not counted. `at_least`: it is more than can be counted."""

    assets: int
    instances: int
    resources: int
    at_least: bool


class Impact(BaseModel):
    """What goes when a node goes, the nearest first. `cut`: more goes than is told here."""

    counts: Counts
    nodes: list[Gone]
    cut: bool


def router(service: Service) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1", tags=["graph"])
    reader = Annotated[Principal, Depends(Caller(service, "graph.read"))]

    @routes.get("/graph", summary="What is around a node: nodes, and the edges between them")
    def around(
        request: Request,
        caller: reader,
        node: _Node,
        direction: Annotated[Direction, Query(description="What it needs, what needs it, or both.")] = "both",
        depth: _Depth = 1,
        limit: _Limit = 1000,
    ) -> Around:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            seen = Graph(connection, (caller.tenant_id,))
            found = seen.around([_known(seen, node)], direction, most=limit, deepest=depth)
            told(connection, request, "graph.read", "success", {"node": node})
        return Around(nodes=_nodes(found.nodes.values()), edges=_edges(found.edges, found.nodes), cut=found.cut)

    @routes.get("/graph/paths", summary="The shortest ways by which one node needs another")
    def paths(
        request: Request,
        caller: reader,
        start: Annotated[str, Query(alias="from", pattern=_NODE)],
        end: Annotated[str, Query(alias="to", pattern=_NODE)],
        limit: Annotated[int, Query(ge=1, le=100, description="How many ways at most.")] = 5,
        depth: _Depth = 30,
    ) -> Ways:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            seen = Graph(connection, (caller.tenant_id,))
            found = seen.paths(_known(seen, start), _known(seen, end), most=limit, deepest=depth)
            told(connection, request, "graph.read", "success", {"from": start, "to": end})
        return Ways(
            paths=[[_called(found.nodes[each]) for each in path] for path in found.paths],
            nodes=_nodes(found.nodes.values()),
            edges=_edges(found.edges, found.nodes),
            cut=found.cut,
        )

    @routes.get("/impact", summary="What goes when a node goes, and why")
    def impact(request: Request, caller: reader, node: _Node, depth: _Depth = 30, limit: _Limit = 1000) -> Impact:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            seen = Graph(connection, (caller.tenant_id,))
            found = seen.impact([_known(seen, node)], most=limit + 1, deepest=depth)
            told(connection, request, "graph.read", "success", {"node": node})
        counts = found.counts
        return Impact(
            counts=Counts(
                assets=counts["asset"],
                instances=counts["instance"],
                resources=counts["resource"],
                at_least=found.at_least,
            ),
            nodes=[
                Gone.model_validate(
                    _shown(found.nodes[step.id])
                    | {"depth": step.depth, "via": _called(found.nodes[step.via]), "how": step.how}
                )
                for step in found.steps
                if step.via is not None
            ],
            cut=found.cut,
        )

    @routes.get(
        "/topology.svg",
        summary="What a node needs and what needs it, as a picture",
        response_class=Response,
        responses={200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}},
    )
    def picture(
        request: Request,
        caller: reader,
        node: _Node,
        depth: Annotated[int, Query(ge=1, le=30, description="How many edges away at most.")] = 5,
        limit: Annotated[int, Query(ge=1, le=500, description="How many nodes are drawn at most.")] = 60,
    ) -> Response:
        with service.connection() as connection, as_tenant(connection, caller.tenant_id):
            seen = Graph(connection, (caller.tenant_id,))
            found = topology.around(seen, _known(seen, node), limit=limit, depth=depth)
            told(connection, request, "graph.read", "success", {"node": node})
        drawn = topology.picture(found, found.nodes[found.start].name, f"ask for more than limit={limit}")
        return Response(drawn, media_type="image/svg+xml", headers=_PICTURE)

    return routes


def _known(seen: Graph, node: str) -> UUID:
    """Return the id of a node that the tenant sees; of a merged machine the one that it is merged into."""
    kind, _, text = node.partition(":")
    for found, its_kind in seen.known([UUID(text)]).items():
        if its_kind == kind:
            return found
    raise RefusedRequestError(404, "NO_NODE", f"there is no {kind} of this id in your part of the graph")


def _called(node: graph.Node) -> str:
    return f"{node.kind}:{node.id}"


def _shown(node: graph.Node) -> dict[str, object]:
    told = asdict(node)
    del told["tenant_id"]
    return told | {"node": _called(node), "states": list(node.states)}


def _nodes(nodes: Iterable[graph.Node]) -> list[Node]:
    return [
        Node.model_validate(_shown(each)) for each in sorted(nodes, key=lambda each: (each.kind, each.name, each.id))
    ]


def _edges(edges: Iterable[graph.Edge], nodes: dict[UUID, graph.Node]) -> list[Edge]:
    return [Edge(node=_called(nodes[each.node]), needed=_called(nodes[each.needed]), how=each.how) for each in edges]
