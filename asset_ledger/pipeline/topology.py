"""What hangs together around one node, chosen and named: for a picture, for lines of text and for programs.

The node, what it needs and what needs it, as far as some steps: not what else its host carries. The walk is
`store.iac.graph`, the choice `domain.pictures.around`, the drawing `domain.pictures.topology`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from asset_ledger.domain.pictures.around import Reached, chosen
from asset_ledger.domain.pictures.topology import Box, Line, Look, Tie, topology_svg
from asset_ledger.store.iac.graph import Edge, Graph, Node

WALKED = 2_000
"""How many nodes are looked at on either side, to say how many more there are."""
_LOOKS: dict[str | None, Look] = {"vm": "vm", "physical": "physical", "cluster": "cluster"}
_WHY = {
    "runs_on": "runs on",
    "member_of": "is a member of",
    "instance_on": "is confirmed to run on",
    "value": "has an attribute that names",
    "property": "has an input made of",
    "parent": "is a part of",
    "provider": "is made through",
}


@dataclass(frozen=True, slots=True)
class Around:
    """The nodes that are told, the one that was asked for first; the edges between them; how many more hang on each.

    `needed` and `needing` count both sides, told or not; what is on both, as what declares a machine, needs it.
    `at_least`: there are more than were counted.
    """

    start: UUID
    nodes: dict[UUID, Node]
    edges: list[Edge]
    more: dict[UUID, int]
    needed: int
    needing: int
    at_least: bool


def around(graph: Graph, start: UUID, *, limit: int, depth: int) -> Around:
    """Return what a node needs and what needs it, up to `limit` nodes and `depth` steps away; the nearest first."""
    needs = graph.walk([start], "needs", most=WALKED + 1, deepest=depth)
    needed_by = graph.walk([start], "needed_by", most=WALKED + 1, deepest=depth)
    kinds = {step.id: step.kind for step in (*needs[:WALKED], *needed_by[:WALKED])}
    names = {each: node.name for each, node in graph.named(kinds).items()}
    # a machine and what declares it need each other: what is on both sides is told where it is nearer
    reached: dict[UUID, Reached] = {}
    for step in sorted((*needs[:WALKED], *needed_by[:WALKED]), key=lambda step: step.depth):
        reached.setdefault(step.id, Reached(step.id, step.depth, step.via, names[step.id]))
    told = chosen(list(reached.values()), limit)
    needing = {step.id for step in needed_by[:WALKED]}
    begun = {step.id for step in (*needs, *needed_by) if step.depth == 0}
    return Around(
        next(iter(begun), start),  # a merge may have come between
        graph.named({each: kinds[each] for each in told.nodes}),
        _once(graph, told.nodes),
        told.more,
        len({step.id for step in needs[:WALKED]} - needing - begun),
        len(needing - begun),
        max(len(needs), len(needed_by)) > WALKED,
    )


def _once(graph: Graph, nodes: list[UUID]) -> list[Edge]:
    """Return the edges between some nodes; of a machine and what declares it, that the resource needs the machine."""
    edges = graph.edges(nodes, most=len(nodes) ** 2)
    kinds = graph.known(nodes)
    return [
        edge
        for edge in edges
        if not (edge.how.startswith("joined_by_") and kinds.get(edge.node) == "asset") and edge.node != edge.needed
    ]


def picture(found: Around, name: str, command: str) -> str:
    """Return it as an SVG. `name` is what was asked for; `command` says how to see what a picture cannot hold."""
    places = {node: number for number, node in enumerate(found.nodes)}
    boxes = [_box(node, asked=node.id == found.start) for node in found.nodes.values()]
    lines = [Line(places[edge.needed], places[edge.node], _tie(edge.how), why(edge.how)) for edge in found.edges]
    for node, count in found.more.items():
        lines.append(Line(places[node], len(boxes), "ledger", together(count)))
        boxes.append(Box(f"and {count} more", "", "more"))
    left = sum(found.more.values())
    return topology_svg(
        boxes,
        lines,
        title=f"{name} and what hangs together with it",
        told=counted(found),
        note=f"{left} more {_are(left)} not drawn: {command}" if left else "",
    )


def counted(found: Around) -> str:
    """Return in words how much there is."""
    at_least = "at least " if found.at_least else ""
    needed, needing = found.needed, found.needing
    others, need = "other" if needed == 1 else "others", "needs" if needing == 1 else "need"
    return f"needs {at_least}{needed} {others}; {at_least}{needing} {need} it"


def not_told(found: Around) -> str:
    """Return in words how many hang together with it that are not told; an empty text where all are."""
    left = sum(found.more.values())
    return f"{left} more {_are(left)} not told" if left else ""


def together(count: int) -> str:
    """Return in words what as many more do at a node that they are counted at, to stand between their names."""
    return "hangs together with" if count == 1 else "hang together with"


def why(how: str) -> str:
    """Return in words how one node hangs on another, to stand between their names."""
    if how.startswith("joined_by_"):
        return f"declares (known by its {how.removeprefix('joined_by_')})"
    return _WHY.get(how, "depends on")


def as_json(found: Around) -> Mapping[str, object]:
    """Return it as JSON-like data: nodes, edges, how many more hang on each node, and how many there are in all."""
    return {
        "node": found.start,
        "needs": found.needed,
        "needed_by": found.needing,
        "at_least": found.at_least,
        "nodes": [
            {"id": node.id, "kind": node.kind, "name": node.name, "type": node.type, "more": found.more.get(node.id, 0)}
            for node in found.nodes.values()
        ],
        "edges": [{"node": edge.node, "needed": edge.needed, "how": edge.how} for edge in found.edges],
    }


def _box(node: Node, *, asked: bool) -> Box:
    look: Look = "instance" if node.kind == "instance" else "resource" if node.kind == "resource" else "machine"
    if node.kind == "asset":
        look = _LOOKS.get(node.type, "machine")
    address = node.address if node.address != node.name else None
    gone = [
        *([f"missing since {node.missing_since:%Y-%m-%d}"] if node.missing_since else []),
        *([f"retired {node.retired_at:%Y-%m-%d}"] if node.retired_at else []),
    ]
    about = ", ".join(filter(None, (*gone, node.type, address, *node.states, "deposed" if node.deposed else None)))
    return Box(node.name, about or node.kind, look, gone=bool(gone), asked=asked)


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _tie(how: str) -> Tie:
    if how.startswith("joined_by_"):
        return "declares"
    return "ledger" if how in ("runs_on", "member_of", "instance_on") else "state"
