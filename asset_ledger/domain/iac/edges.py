"""What depends on what, between the objects of one state.

Terraform names what a resource depends on without instance keys, and everything that hangs on that too: 10,001 objects
would give 3.85 million edges where 19,600 are true. So each name is taken for the instances that agree on the instance
keys of every module both are in, and kept as an edge only where it is direct: an attribute holds the other's id, or no
longer way through the configuration leads there.

Pulumi names single objects, by property: its edges are taken as they stand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from asset_ledger.domain.iac.addresses import Module
from asset_ledger.domain.iac.snapshot import Place, Resource

Kind = Literal["value", "config", "resource", "parent", "property", "provider"]

MOST_A_PAIR = 5_000
"""How many edges one resource may have to another by the configuration alone; above, each object keeps one for all."""
SHORTEST_ID = 4


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` needs `target`: places in the state. `kind` says how that is known.

    A `resource` edge stands for all the target's instances: which of them are meant is not told, and they are too many.
    """

    source: Place
    target: Place
    kind: Kind


@dataclass(frozen=True, slots=True)
class Edges:
    """The direct edges of a state, and in words where an edge stands for many."""

    edges: tuple[Edge, ...]
    capped: tuple[str, ...] = ()


class _Graph:
    """The objects of a Terraform state by configuration address, and which of those need which directly."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.by_config: dict[str, list[Resource]] = defaultdict(list)
        for each in resources:
            self.by_config[each.config].append(each)
        told = {config: {each.dependencies for each in found} for config, found in self.by_config.items()}
        self.needs = {config: set().union(*found) & self.by_config.keys() for config, found in told.items()}
        self.direct = _reduced(self.needs)
        self._agreeing: dict[str, _Agreeing] = {}

    @cached_property
    def ids(self) -> dict[str, Place | None]:
        return _ids(each for found in self.by_config.values() for each in found)

    def candidates(self, source: Resource, target: str) -> list[Resource]:
        """Return the instances of a resource that one object may mean by its name."""
        if target not in self._agreeing:
            self._agreeing[target] = _Agreeing(self.by_config[target])
        return self._agreeing[target].to(source.modules)

    def is_capped(self, config: str, target: str) -> bool:
        """Say whether the configuration alone would give more edges than are worth keeping: asked of all objects."""
        sources = self.by_config[config]
        if len(sources) * len(self.by_config[target]) <= MOST_A_PAIR:
            return False
        return sum(len(self.candidates(each, target)) for each in sources) > MOST_A_PAIR


def terraform_edges(resources: Iterable[Resource], only: Set[Place] | None = None) -> Edges:
    """Return the direct edges between a Terraform state's objects, sorted; with `only` those that begin there."""
    graph = _Graph(resources)
    edges: list[Edge] = []
    capped: list[str] = []
    for config, needs in sorted(graph.needs.items()):
        sources = [each for each in graph.by_config[config] if only is None or each.place in only]
        targets = sorted(needs - {config})
        if not sources or not targets:
            continue
        # what values prove is no guess, and is kept whatever the number
        few = {target: not graph.is_capped(config, target) for target in targets if target in graph.direct[config]}
        found = [edge for source in sources if source.dependencies for edge in _from(graph, source, few)]
        edges += found
        guessed = {edge.target for edge in found if edge.kind == "resource"}
        capped.extend(
            f"{config} needs {target}: too many to tell which, so each of its objects keeps one edge for all"
            for target in few
            if not few[target] and any(each.place in guessed for each in graph.by_config[target])
        )
    return Edges(tuple(sorted(edges, key=lambda edge: (edge.source, edge.target, edge.kind))), tuple(capped))


def _from(graph: _Graph, source: Resource, few: Mapping[str, bool]) -> Iterator[Edge]:
    """Yield the edges that begin at one object. `few` has the resources it may need directly."""
    told = _told(source.attributes, graph.ids)
    for target in dict.fromkeys(source.dependencies):
        if target == source.config or target not in graph.by_config:
            continue
        candidates = graph.candidates(source, target)
        by_value = [each for each in candidates if each.place in told] if told else []
        if by_value:
            yield from (Edge(source.place, each.place, "value") for each in by_value)
        elif target in few:
            # what waits to be deleted is needed by nobody that does not name it
            current = [each for each in candidates if not each.deposed] or candidates
            yield from (
                Edge(source.place, each.place, "config" if few[target] else "resource")
                for each in (current if few[target] else current[:1])
            )


class _Agreeing:
    """The instances of one resource, found by the module instances they stand in."""

    def __init__(self, targets: list[Resource]) -> None:
        self._all = targets
        self._names = tuple(module.name for module in targets[0].modules)
        self._by_head: dict[tuple[Module, ...], list[Resource]] = defaultdict(list)
        for each in targets:
            for size in range(len(each.modules) + 1):
                self._by_head[each.modules[:size]].append(each)

    def to(self, modules: tuple[Module, ...]) -> list[Resource]:
        """Return those that agree with a path on every module they share; all where none does."""
        shared = 0
        for mine, name in zip(modules, self._names, strict=False):
            if mine.name != name:
                break
            shared += 1
        return self._by_head.get(modules[:shared]) or self._all


def _reduced(needs: Mapping[str, Set[str]]) -> dict[str, set[str]]:
    """Return of each what it needs by no longer way: what is told is everything, near and far."""
    # sets as the bits of one number: what is behind all of a thousand others is found in a thousand steps
    bit = {config: 1 << place for place, config in enumerate(needs)}
    # in a circle each is behind the other: no way through it is the longer one
    onward = {
        config: [near for near in told if near in bit and config not in needs[near]] for config, told in needs.items()
    }
    behind = {config: sum(bit[near] for near in told) for config, told in onward.items()}
    found: dict[str, set[str]] = {}
    for config, told in needs.items():
        far = 0
        for near in onward[config]:
            far |= behind[near]
        found[config] = {near for near in told if not far & bit.get(near, 0)} - {config}
    return found


def _ids(resources: Iterable[Resource]) -> dict[str, Place | None]:
    """Return the object of each id and ARN; None where several share it."""
    found: dict[str, Place | None] = {}
    for each in resources:
        if not each.managed:
            continue
        place, attributes = each.place, each.attributes
        for name in ("id", "arn", "self_link"):
            text = attributes.get(name)
            if isinstance(text, str) and len(text) >= SHORTEST_ID and found.setdefault(text, place) != place:
                found[text] = None
    return found


def _told(value: Any, ids: Mapping[str, Place | None]) -> set[Place]:
    """Return the objects whose id stands anywhere in a value."""
    found: set[Place] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            if each in ids and (place := ids[each]) is not None:
                found.add(place)
        elif isinstance(each, dict):
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
    return found
