"""Which nodes around one are drawn where there are more than a picture holds: the near ones, and of each parent some.

What is left out is counted at the node that it hangs on, so that no picture looks like the whole when it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Reached:
    """A node that a walk came to: how far it is, from which one it was found, and its name."""

    id: UUID
    depth: int
    via: UUID | None
    name: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """The nodes that are drawn, the nearest first, and how many more hang on each of them that are not."""

    nodes: list[UUID]
    more: dict[UUID, int]


def chosen(reached: Sequence[Reached], most: int) -> Chosen:
    """Return up to `most` of the nodes: the nearest, and each parent the same share of one distance."""
    drawn: dict[UUID, None] = {}
    for depth in sorted({each.depth for each in reached}):
        of_depth = [each for each in reached if each.depth == depth and (each.via is None or each.via in drawn)]
        shares: dict[UUID | None, list[Reached]] = {}
        for each in sorted(of_depth, key=lambda each: (each.name, str(each.id))):
            shares.setdefault(each.via, []).append(each)
        turns = max(map(len, shares.values()), default=0)
        in_turn = [share[turn] for turn in range(turns) for share in shares.values() if turn < len(share)]
        kept = {each.id for each in in_turn[: max(0, most - len(drawn))]}
        drawn.update((each.id, None) for share in shares.values() for each in share if each.id in kept)
    return Chosen(list(drawn), _left_out(reached, drawn))


def _left_out(reached: Sequence[Reached], drawn: Mapping[UUID, None]) -> dict[UUID, int]:
    via = {each.id: each.via for each in reached}
    more: dict[UUID, int] = {}
    for each in reached:
        if each.id in drawn:
            continue
        near = each.via
        while near is not None and near not in drawn:
            near = via.get(near)
        if near is not None:
            more[near] = more.get(near, 0) + 1
    return {node: more[node] for node in drawn if node in more}
