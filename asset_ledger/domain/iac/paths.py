"""The shortest simple ways from one node of a graph to another. Pure; the graph is what `store.iac.graph` found."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Generic, TypeVar

_Node = TypeVar("_Node", bound=Hashable)


def shortest_paths(
    out: Mapping[_Node, Sequence[_Node]],
    start: _Node,
    end: _Node,
    *,
    most: int,
    deepest: int | None = None,
    looks: int = 1_000_000,
) -> tuple[list[list[_Node]], bool]:
    """Return up to `most` ways that pass no node twice, the shortest first, and whether there may be more.

    `out` has by node where its edges lead. A way has `deepest` edges at most. After about `looks` edges were looked at
    it ends with the ways it has: how many simple ways a graph has is not bounded by its size.
    """
    search = _Search(out, end, _distances(out, end), deepest, looks)
    found: list[list[_Node]] = []
    # Yen's algorithm: whatever way is not told yet leaves one that is at some node. Each waits with where it left
    # the one before it, and with which next nodes are the others' from there: so none comes twice.
    waiting: list[tuple[int, int, list[_Node], int, set[_Node]]] = []
    pushed = 0
    first = search.shortest([start], ())
    if first is not None:
        waiting.append((len(first), pushed, first, 0, set()))
    while waiting and len(found) < most and search.looks > 0:
        *_, way, left_at, others = heappop(waiting)
        found.append(way)
        for index in range(left_at, len(way) - 1):
            taken = {way[index + 1]} | (others if index == left_at else set())
            following = search.shortest(way[: index + 1], taken)
            if following is not None:
                pushed += 1
                heappush(waiting, (len(following), pushed, following, index, taken))
    return found, bool(waiting) or search.cut


@dataclass(slots=True)
class _Search(Generic[_Node]):
    """Looking for ways to one end. `cut`: some may have been passed over."""

    out: Mapping[_Node, Sequence[_Node]]
    end: _Node
    left: Mapping[_Node, int]
    deepest: int | None
    looks: int
    cut: bool = False

    def shortest(self, begun: list[_Node], taken: Collection[_Node]) -> list[_Node] | None:
        """Return the shortest way that begins like this and goes on to none of some nodes, if there is one."""
        passed = set(begun[:-1])
        steps = {begun[-1]: len(begun) - 1}
        before: dict[_Node, _Node] = {}
        # by the least length a way can have; of equals the nearest to the end, so that it goes straight there
        waiting = [(0, 0, 0, begun[-1])] if self._leads(begun[-1], len(begun) - 1) else []
        number = 0
        while waiting:
            *_, node = heappop(waiting)
            if node == self.end:
                return begun + _after(begun[-1], node, before)
            if node in passed:  # a longer way to it
                continue
            passed.add(node)
            length = steps[node] + 1
            for following in self.out.get(node, ()):
                self.looks -= 1
                if following in passed or (node == begun[-1] and following in taken):
                    continue
                if length < steps.get(following, length + 1) and self._leads(following, length):
                    steps[following], before[following] = length, node
                    number += 1
                    left = self.left[following]
                    heappush(waiting, (length + left, left, number, following))
            if self.looks <= 0:
                self.cut = True
                return None
        return None

    def _leads(self, node: _Node, length: int) -> bool:
        """Return whether the end can be come to from a node that is so many edges away from the start."""
        if node not in self.left:
            return False
        if self.deepest is not None and length + self.left[node] > self.deepest:
            self.cut = True
            return False
        return True


def _after(first: _Node, last: _Node, before: Mapping[_Node, _Node]) -> list[_Node]:
    way: list[_Node] = []
    while last != first:
        way.append(last)
        last = before[last]
    return way[::-1]


def _distances(out: Mapping[_Node, Sequence[_Node]], end: _Node) -> dict[_Node, int]:
    """Return how many edges each node is from the end, where it is reached at all."""
    back: dict[_Node, list[_Node]] = {}
    for node, following in out.items():
        for each in following:
            back.setdefault(each, []).append(node)
    found = {end: 0}
    waiting = deque([end])
    while waiting:
        node = waiting.popleft()
        for each in back.get(node, ()):
            if each not in found:
                found[each] = found[node] + 1
                waiting.append(each)
    return found
