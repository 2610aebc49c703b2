"""Asking the graph of resources, machines and database instances: what is around a node, what goes with it, and by what
way one needs another. The edges and the walk are SQL (migration 0004); here are names, several tenants, and limits.

One tenant is the service's case; the command line asks for several in turn, because nobody sees two at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal
from uuid import UUID

from psycopg.rows import dict_row

from asset_ledger.domain.iac.paths import shortest_paths
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant

Kind = Literal["asset", "resource", "instance"]
Direction = Literal["needs", "needed_by", "both"]
COUNTED = 100_000
"""How many nodes of a set that is too large to be told are counted."""
SEARCHED = 10_000
"""How many nodes are looked through for a way between two."""
EDGES_SEARCHED = 200_000
"""How many edges between them."""
EDGES_TOLD = 50_000
"""How many edges an answer has."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node as people know it. `type` is the resource's, the machine's or the database's; `states` are a resource's.

    `deposed`: the key of one that was replaced and is not destroyed yet.
    """

    id: UUID
    kind: Kind
    name: str
    type: str | None = None
    address: str | None = None
    states: tuple[str, ...] = ()
    tenant_id: UUID | None = None
    missing_since: datetime | None = None
    retired_at: datetime | None = None
    deposed: str | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """`node` needs `needed`; `how` says how that is known."""

    node: UUID
    needed: UUID
    how: str


@dataclass(frozen=True, slots=True)
class Step:
    """A node that a walk came to: how far, from which one, by which kind of edge. Where it began there is no edge."""

    id: UUID
    kind: Kind
    depth: int
    via: UUID | None
    how: str | None


@dataclass(frozen=True, slots=True)
class Impact:
    """What goes when some nodes go. `steps` may be fewer than `counts` say: then `cut`; `at_least`: counts are too."""

    steps: list[Step]
    nodes: dict[UUID, Node]
    counts: dict[Kind, int]
    cut: bool
    at_least: bool


@dataclass(frozen=True, slots=True)
class Subgraph:
    """Nodes and every edge between two of them. `cut`: there are more nodes than were asked for, or more edges than are told."""

    nodes: dict[UUID, Node]
    edges: list[Edge]
    cut: bool


@dataclass(frozen=True, slots=True)
class Paths:
    """Ways along what is needed, the shortest first. `cut`: there may be others, or not all was looked through."""

    paths: list[list[UUID]]
    nodes: dict[UUID, Node]
    edges: list[Edge]
    cut: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """The graph as some tenants see it; of none: the ledger's part alone. Each call is read in transactions of its own."""

    connection: Connection
    tenants: Sequence[UUID] = field(default_factory=tuple)

    def known(self, ids: Collection[UUID]) -> dict[UUID, Kind]:
        """Return which of some ids are nodes, and of what kind; a merged machine is the one that it is merged into."""
        found = self._ask("SELECT node, kind FROM iac.known_nodes(%s)", [list(ids)])
        return {row["node"]: row["kind"] for row in found}

    def walk(self, start: Collection[UUID], direction: Direction, *, most: int, deepest: int) -> list[Step]:
        """Return nodes by how many edges they are away, each once, up to `most` of them and `deepest` edges away."""
        if len(self.tenants) < 2:
            return list(self._steps(start, direction, most, deepest))
        begun = {step.id: step for step in self._steps(start, direction, most, 0)}
        found = dict(list(begun.items())[:most])
        fresh = list(found)
        while fresh and len(found) < most and max(found[each].depth for each in fresh) < deepest:
            depth = found[fresh[0]].depth + 1
            fresh = []
            # each tenant from the same nodes: what one comes to may lead on in another
            for step in self._steps([k for k, v in found.items() if v.depth == depth - 1], direction, most, 1):
                if step.id not in found and len(found) < most:
                    found[step.id] = Step(step.id, step.kind, depth, step.via, step.how)
                    fresh.append(step.id)
        return list(found.values())

    def impact(self, start: Collection[UUID], *, most: int, deepest: int) -> Impact:
        """Return what goes when some nodes go: up to `most` of it with reasons, and how much it is in all."""
        # one deeper and one more than is told, to know whether there is more
        steps = self.walk(start, "needed_by", most=most + 1, deepest=deepest + 1)
        told = [step for step in steps if step.depth <= deepest][:most]
        cut = len(told) < len(steps)
        kinds: dict[UUID, Kind] = {step.id: step.kind for step in steps}
        if cut:
            kinds = self.blast_radius(start, most=COUNTED + 1)
        begun = {step.id for step in steps if step.depth == 0}
        counts: dict[Kind, int] = {"asset": 0, "instance": 0, "resource": 0}
        for each, kind in kinds.items():
            counts[kind] += each not in begun
        return Impact(told, self.named({step.id: step.kind for step in told}), counts, cut, len(kinds) > COUNTED)

    def blast_radius(self, start: Collection[UUID], *, most: int) -> dict[UUID, Kind]:
        """Return all that goes when some nodes go, these too, up to `most`; without reasons, and quickly."""
        found: dict[UUID, Kind] = {}
        asked: Collection[UUID] = start
        while True:
            before = len(found)
            for row in self._ask("SELECT node, kind FROM iac.blast_radius(%s, %s)", [list(asked), most]):
                found[row["node"]] = row["kind"]
            # what one tenant comes to may lead on in another, and back
            if len(self.tenants) < 2 or len(found) in (before, most) or len(found) > most:
                return dict(list(found.items())[:most])
            asked = list(found)

    def around(self, start: Collection[UUID], direction: Direction, *, most: int, deepest: int) -> Subgraph:
        """Return the nodes around some, and every edge between two of them."""
        steps = self.walk(start, direction, most=most + 1, deepest=deepest)
        kept = {step.id: step.kind for step in steps[:most]}
        edges = self.edges(kept, most=EDGES_TOLD + 1)
        return Subgraph(self.named(kept), edges[:EDGES_TOLD], len(steps) > most or len(edges) > EDGES_TOLD)

    def paths(self, start: UUID, end: UUID, *, most: int, deepest: int) -> Paths:
        """Return the shortest ways by which one node needs another; none where it does not."""
        near, whole, cut = self._within(start, "needs", deepest)
        if not whole:
            # what is needed is more than can be looked through; what needs the other may be less
            also, whole, cut = self._within(end, "needed_by", deepest)
            near = also if whole else {**near, **also}
            cut = cut or not whole
        if start not in near or end not in near:
            return Paths([], {}, [], cut)
        edges = self.edges(near, most=EDGES_SEARCHED + 1)
        cut = cut or len(edges) > EDGES_SEARCHED
        out: dict[UUID, list[UUID]] = {}
        for edge in edges[:EDGES_SEARCHED]:
            out.setdefault(edge.node, []).append(edge.needed)
        found, more = shortest_paths(
            {node: list(dict.fromkeys(needed)) for node, needed in out.items()}, start, end, most=most, deepest=deepest
        )
        told = {each: near[each] for path in found for each in path}
        steps = {pair for path in found for pair in pairwise(path)}
        kept = [edge for edge in edges if (edge.node, edge.needed) in steps]
        return Paths(found, self.named(told), kept, cut or more)

    def _within(self, start: UUID, direction: Direction, deepest: int) -> tuple[dict[UUID, Kind], bool, bool]:
        """Return what is near a node, whether that is all of it, and whether anything is deeper than that."""
        steps = self.walk([start], direction, most=SEARCHED + 1, deepest=deepest + 1)
        near = {step.id: step.kind for step in steps if step.depth <= deepest}
        return near, len(steps) <= SEARCHED, len(near) < len(steps)

    def edges(self, nodes: Collection[UUID], *, most: int) -> list[Edge]:
        """Return up to `most` edges between two of some nodes. A machine and what declares it need each other."""
        found = self._ask(
            "SELECT DISTINCT s.via, s.node, s.how FROM iac.steps(%(ids)s, 'needs') AS s"
            # a merge may have made another of a node since it was found
            " WHERE s.node = ANY (%(ids)s) AND s.via = ANY (%(ids)s) ORDER BY s.via, s.node, s.how LIMIT %(most)s",
            {"ids": list(nodes), "most": most},
        )
        unique = {Edge(row["via"], row["node"], row["how"]) for row in found}
        return sorted(unique, key=lambda edge: (edge.node, edge.needed, edge.how))[:most]

    def named(self, kinds: Mapping[UUID, Kind]) -> dict[UUID, Node]:
        """Return some nodes with what people know them by; one that went meanwhile has its id for a name."""
        found = {each: Node(each, kind, str(each)) for each, kind in kinds.items()}
        for row in self._ask(_NAMES, {"ids": list(kinds)}):
            row["states"] = tuple(row["states"])
            found[row["id"]] = Node(**row | {"name": row["name"] or str(row["id"])})
        return found

    def answering(self, text: str) -> dict[UUID, Kind]:
        """Return the resources with an address, or `[TOOL:]PROJECT/STACK:` and one, and the instances with a name.

        An address is that of what stands in its place, where there is something, not of what was replaced.
        """
        parts = text.split(":", 2)
        addresses = [text, *(":".join(parts[number:]) for number in range(1, len(parts)))]
        found = self._ask(_ANSWERING, {"text": text, "addresses": addresses})
        return {row["id"]: row["kind"] for row in found}

    def _steps(self, start: Collection[UUID], direction: Direction, most: int, deepest: int) -> Iterator[Step]:
        query = "SELECT node AS id, kind, depth, via, how FROM iac.walk(%s, %s, %s, %s)"
        for row in self._ask(query, [list(start), direction, most, deepest]):
            yield Step(**row)

    def _ask(self, query: str, parameters: Any) -> Iterator[dict[str, Any]]:
        for tenant in self.tenants or (None,):
            told = nullcontext() if tenant is None else as_tenant(self.connection, tenant)
            with told, self.connection.cursor(row_factory=dict_row) as cursor:
                found = cursor.execute(query, parameters).fetchall()
            yield from found


# a machine is seen by itself, or by one that is merged into it: the other may be of a source that is not the tenant's
_NAMES = """
SELECT a.asset_id AS id, 'asset' AS kind, coalesce(a.name, a.address) AS name, a.asset_type AS type, a.address,
       '{}'::text[] AS states, NULL::uuid AS tenant_id, a.missing_since, a.retired_at, NULL AS deposed
FROM iac.graph_assets AS a WHERE a.member_id = ANY (%(ids)s)
UNION
SELECT a.asset_id, 'asset', coalesce(a.name, a.address), a.asset_type, a.address, '{}', NULL, a.missing_since,
       a.retired_at, NULL
FROM iac.graph_merged AS m
CROSS JOIN LATERAL (SELECT * FROM iac.graph_assets AS g WHERE g.member_id = m.member_id OFFSET 0) AS a
WHERE m.asset_id = ANY (%(ids)s)
UNION ALL
-- one that stands in several states is called as in the first of them
SELECT stable_uid, 'resource', (array_agg(addr ORDER BY place))[1], (array_agg(resource_type ORDER BY place))[1], NULL,
       array_agg(DISTINCT state), tenant_id, NULL, NULL, (array_agg(nullif(deposed, '') ORDER BY place))[1]
FROM (SELECT c.*, ROW(c.deposed <> '', h.tool, h.project, h.stack) AS place,
             CASE h.tool WHEN 'terraform' THEN '' ELSE h.tool || ':' END || h.project || '/' || h.stack AS state
      FROM iac.resources_current AS c JOIN iac.state_heads AS h USING (tenant_id, state_id)
      WHERE c.tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid AND c.stable_uid = ANY (%(ids)s)) AS r
GROUP BY tenant_id, stable_uid
UNION ALL
SELECT DISTINCT i.instance_id, 'instance', i.name, i.db_type, i.host || coalesce(':' || i.port, ''), '{}'::text[], NULL::uuid,
       NULL::timestamptz, NULL::timestamptz, NULL
FROM iac.graph_instances AS i WHERE i.instance_id = ANY (%(ids)s)
"""
_ANSWERING = """
SELECT DISTINCT c.stable_uid AS id, 'resource' AS kind
FROM iac.resources_current AS c JOIN iac.state_heads AS h USING (tenant_id, state_id)
WHERE c.tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid AND c.addr = ANY (%(addresses)s)
  AND %(text)s IN (c.addr, h.project || '/' || h.stack || ':' || c.addr,
                   h.tool || ':' || h.project || '/' || h.stack || ':' || c.addr)
  AND (c.deposed = '' OR NOT EXISTS (
      SELECT FROM iac.resources_current AS o
      WHERE o.tenant_id = c.tenant_id AND o.state_id = c.state_id AND o.addr = c.addr AND o.deposed = ''))
UNION ALL
SELECT DISTINCT i.instance_id, 'instance' FROM iac.graph_instances AS i WHERE i.name = %(text)s
"""
