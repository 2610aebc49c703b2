"""Where the boxes of a graph stand: in columns by what needs what, what is needed to the left of what needs it.

The usual way of drawing layers: circles are opened, each node goes one column right of what it needs, the order in a
column is that of the neighbours' middles, and nothing in a column overlaps. Deterministic: ties go by the order in
which nodes are given. For pictures of some hundred nodes; it knows nothing of what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 8
"""How often the order of the columns is made better from left and from right. More changes nothing to be seen."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Columns from left to right; `middles` the height of each node's middle, from 0.

    `ways` are the nodes that an edge passes: its two ends, and between them a place in every column that it crosses.
    Places are numbers from `len(nodes)` on, beside the nodes' own.
    """

    columns: list[list[int]]
    middles: list[float]
    ways: dict[tuple[int, int], list[int]]


def layered(heights: Sequence[float], edges: Sequence[tuple[int, int]], *, gap: float, way: float) -> Layers:
    """Lay nodes out, known by their number. An edge is (what is needed, what needs it); `way` is the height of a place.

    An edge from a node to itself, or twice, is no matter. One that closes a circle is drawn, but moves no node.
    """
    given = list(dict.fromkeys(edge for edge in edges if edge[0] != edge[1]))
    forward = _without_circles(len(heights), given)
    column = _columns(len(heights), forward)
    sizes = list(heights)
    columns: list[list[int]] = [[] for _ in range(max(column, default=-1) + 1)]
    for node, place in enumerate(column):
        columns[place].append(node)
    ways: dict[tuple[int, int], list[int]] = {}
    for edge in given:
        first, last = (column[node] for node in edge)
        step = 1 if first <= last else -1
        between = []
        for place in range(first + step, last, step):
            between.append(len(sizes))
            columns[place].append(len(sizes))
            sizes.append(way)
        ways[edge] = [edge[0], *between, edge[1]]
    beside: list[tuple[list[int], list[int]]] = [([], []) for _ in sizes]
    where = {node: place for place, nodes in enumerate(columns) for node in nodes}
    for passed in ways.values():
        for one, other in pairwise(passed):
            left, right = (one, other) if where[one] < where[other] else (other, one)
            if where[left] != where[right]:
                beside[left][1].append(right)
                beside[right][0].append(left)
    _order(columns, beside)
    return Layers(columns, _middles(columns, beside, sizes, gap), ways)


def _without_circles(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the edges without those that lead back to a node that the walk is still below of."""
    out: list[list[int]] = [[] for _ in range(count)]
    for start, end in edges:
        out[start].append(end)
    state, kept = [0] * count, []
    for root in range(count):
        if state[root]:
            continue
        state[root] = 1
        waiting = [(root, iter(out[root]))]
        while waiting:
            node, ends = waiting[-1]
            end = next(ends, -1)
            if end < 0:
                state[node] = 2
                waiting.pop()
            elif state[end] != 1:
                kept.append((node, end))
                if not state[end]:
                    state[end] = 1
                    waiting.append((end, iter(out[end])))
    return kept


def _columns(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return each node's column: right of all it needs; what needs nothing close to the first that needs it."""
    needs: list[list[int]] = [[] for _ in range(count)]
    needed: list[list[int]] = [[] for _ in range(count)]
    for start, end in edges:
        needs[end].append(start)
        needed[start].append(end)
    left = [len(each) for each in needs]
    ready = [node for node in range(count) if not left[node]]
    column = [0] * count
    for node in ready:  # grows while it is walked
        column[node] = max((column[each] + 1 for each in needs[node]), default=0)
        for each in needed[node]:
            left[each] -= 1
            if not left[each]:
                ready.append(each)
    for node in reversed(ready):
        if not needs[node] and needed[node]:
            column[node] = min(column[each] for each in needed[node]) - 1
    return column


def _order(columns: list[list[int]], beside: Sequence[tuple[list[int], list[int]]]) -> None:
    """Put the nodes of each column in the order of the middles of what they hang together with."""
    place = {node: float(number) for nodes in columns for number, node in enumerate(nodes)}
    for sweep in range(SWEEPS):
        side = sweep % 2
        for nodes in columns if side == 0 else reversed(columns):
            wanted = {node: _mean([place[each] for each in beside[node][side]], place[node]) for node in nodes}
            nodes.sort(key=lambda node: wanted[node])
            place.update((node, float(number)) for number, node in enumerate(nodes))


def _middles(
    columns: Sequence[list[int]], beside: Sequence[tuple[list[int], list[int]]], sizes: Sequence[float], gap: float
) -> list[float]:
    """Return how high each middle is: near its neighbours', in the order of the column, nothing on top of another."""
    middle = [0.0] * len(sizes)
    for nodes in columns:
        height = 0.0
        for node in nodes:
            middle[node] = height + sizes[node] / 2
            height += sizes[node] + gap
    for sweep in range(SWEEPS):
        side = sweep % 2
        for nodes in columns if side == 0 else reversed(columns):
            wanted = [_mean([middle[each] for each in beside[node][side]], middle[node]) for node in nodes]
            for node, at in zip(nodes, _apart(wanted, [sizes[node] for node in nodes], gap), strict=True):
                middle[node] = at
    top = min((middle[node] - sizes[node] / 2 for nodes in columns for node in nodes), default=0.0)
    return [each - top for each in middle]


def _apart(wanted: Sequence[float], sizes: Sequence[float], gap: float) -> list[float]:
    """Return the places nearest to what is wanted (by squares) that keep the order and do not overlap."""
    offsets, height = [], 0.0
    for number, size in enumerate(sizes):
        height += (sizes[number - 1] + size) / 2 + gap if number else 0.0
        offsets.append(height)
    blocks: list[tuple[float, int]] = []  # what a run of nodes that touch wants together, and how many they are
    for want, offset in zip(wanted, offsets, strict=True):
        total, many = want - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / many:
            total, many = total + blocks[-1][0], many + blocks[-1][1]
            blocks.pop()
        blocks.append((total, many))
    starts = [total / many for total, many in blocks for _ in range(many)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
