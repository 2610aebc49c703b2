"""Machines that move, come and go while their nodes are read, in any order: none is lost, and none is told twice.

One that is in no role of the cluster, so that nobody but its node tells of it, has to move once in every round to be
seen in none, away from a node that is asked later to one that was asked. What the ledger knows is looked for in four
rounds: three moves lose nothing. What it does not know is looked for in two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE
from tests.doubles.hyperv import HypervDouble
from tests.doubles.hyperv.specs import OFF, RUNNING
from tests.sources.hyperv.live import cluster, read, vm

NODES = ("HV1", "HV2", "HV3")
MOST_MOVES = 3
MACHINES = [f"vm-{number}" for number in range(1, 7)]


@dataclass(frozen=True)
class Event:
    """What happens once a node has answered so many times."""

    node: str
    answers: int
    kind: str
    machine: str
    to: str


EVENTS = st.builds(
    Event,
    st.sampled_from(NODES),
    st.integers(1, 3),
    st.sampled_from(["move", "move", "move", "delete", "create", "stop"]),
    st.sampled_from(MACHINES),
    st.sampled_from(NODES),
)


class Story:
    """Events that happen to a cluster while it is read."""

    def __init__(self, hyperv: HypervDouble, events: list[Event], *, clustered: bool) -> None:
        self.hyperv = hyperv
        self.answers = dict.fromkeys(NODES, 0)
        self.events = events
        self.clustered = clustered
        self.gone: set[str] = set()
        self.made = 0
        self.moves = dict.fromkeys(MACHINES, 0)

    def answered(self, node: str) -> None:
        self.answers[node] += 1
        for event in self.events:
            if (event.node, event.answers) == (node, self.answers[node]):
                self._happen(event)

    def _happen(self, event: Event) -> None:
        there = event.machine not in self.gone
        if event.kind == "create":
            self.made += 1
            made = vm(100 + self.made, clustered=self.clustered)
            self.hyperv.hosts[event.to].vms.append(made)
        elif event.kind == "move" and there and self.moves[event.machine] < MOST_MOVES:
            self.moves[event.machine] += 1
            self.hyperv.move(event.machine, event.to)
        elif event.kind == "delete" and there:
            self.gone.add(event.machine)
            self.hyperv.drop(event.machine)
        elif event.kind == "stop" and there:
            now = self.hyperv.vm(event.machine).state
            self.hyperv.change(event.machine, state=OFF if now == RUNNING else RUNNING)


def told(hyperv: HypervDouble, node: str, story: Story) -> Callable[[], None]:
    return lambda: story.answered(node)


TWO_MOVES = [Event("HV2", 1, "move", "vm-3", "HV2"), Event("HV3", 2, "move", "vm-3", "HV1")]
"""Seen by nobody in two rounds: to HV2 once that has answered, and to HV1 while the second round is at HV3."""
THREE_MOVES = [
    Event("HV2", 1, "move", "vm-3", "HV2"),
    Event("HV3", 2, "move", "vm-3", "HV3"),
    Event("HV2", 3, "move", "vm-3", "HV2"),
]
"""Seen by nobody in three rounds, each time back to where they had just been."""


@settings(max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=st.lists(EVENTS, max_size=6), clustered=st.booleans(), parallel=st.sampled_from([1, 4]))
@example(events=TWO_MOVES, clustered=False, parallel=1)
@example(events=TWO_MOVES, clustered=False, parallel=4)
@example(events=THREE_MOVES, clustered=False, parallel=1)
def test_what_was_there_all_the_time_is_told_once_or_the_reading_fails(
    events: list[Event], clustered: bool, parallel: int
) -> None:
    with cluster(3, 0) as hyperv:
        for number, name in enumerate(MACHINES):
            hyperv.hosts[NODES[number % 3]].vms.append(vm(number + 1, name=name, clustered=clustered))
        story = Story(hyperv, events, clustered=clustered)
        for node in NODES:
            hyperv.after(node, told(hyperv, node, story), times=20)
        known = frozenset(("vm", each.vm_id) for _, each in hyperv.machines())
        found = read(hyperv, known=known, max_parallel_nodes=parallel)
        if found.error is not None:
            assert found.error.code is INVENTORY_INCOMPLETE, found.error
            return
        names = found.names
        assert len(set(names)) == len(names)
        stayed = set(MACHINES) - story.gone
        assert stayed <= set(names)
        assert set(names) <= set(MACHINES) | {f"vm-{100 + number}" for number in range(1, story.made + 1)}
        for name in names:
            assert found.on(name) in {node.lower() for node in NODES}
        assert hyperv.shells() == []
