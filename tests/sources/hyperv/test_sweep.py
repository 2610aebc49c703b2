"""Machines that move while nodes are asked one after another: none is lost, none is told twice, whatever the moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.inventory import AssetRecord
from asset_ledger.sources.hyperv import errors
from asset_ledger.sources.hyperv.answers import Answer
from asset_ledger.sources.hyperv.evidence import Evidence, no_sight
from asset_ledger.sources.hyperv.holding import elsewhere, holders
from asset_ledger.sources.hyperv.parse import parse
from asset_ledger.sources.hyperv.proof import prove, twice
from asset_ledger.sources.hyperv.script import DETAILED
from asset_ledger.sources.hyperv.sweep import MOST_SWEEPS, misfit, plan
from tests.sources.hyperv import kept

Where = Callable[[int], dict[int, str | None]]


@dataclass
class World:
    """A cluster of nodes, and machines that are somewhere at every moment; every look at a node is one moment."""

    nodes: tuple[str, ...]
    where: Where
    clustered: frozenset[int]

    def __post_init__(self) -> None:
        self.now = 0
        self.answers: dict[str, list[Answer]] = {}
        self.evidence = Evidence("auto", self.nodes[:1])

    def look(self, node: str, ask: str, sweep: int, moment: int) -> None:
        places = self.where(moment)
        here = sorted(number for number, place in places.items() if place == node)
        told = kept.cluster()
        if ask in ("whole", "lists"):
            owners = {number: place for number, place in places.items() if place and number in self.clustered}
            told = kept.cluster(dict.fromkeys(self.nodes, 0), owners)
        items = [kept.vm(number) if ask in DETAILED else kept.brief(number) for number in here]
        answer = kept.answer(node, items, ask, cluster=told)
        if ask in DETAILED:
            self.answers.setdefault(node, []).append(answer)
        self.evidence.sights.append(kept.sight(answer, sweep))

    def read(self, order: Callable[[int], tuple[int, ...]] | None = None) -> None:
        """Read it as a collector does. `order` says at which moments of a round its nodes are looked at."""
        self.look(self.nodes[0], "whole", 1, 0)
        self.now = 1
        while (asked := plan(self.evidence)) is not None:
            assert asked.sweep <= MOST_SWEEPS
            *together, last = asked.asks
            moments = order(len(together)) if order else tuple(range(len(together)))
            for (node, ask), moment in zip(together, moments, strict=True):
                self.look(node, ask, asked.sweep, self.now + moment)
            self.now += len(together)
            self.look(*last, asked.sweep, self.now)
            self.now += 1

    def told(self) -> Counter[str]:
        """Return how often the records of all nodes tell of each machine."""
        others = elsewhere(self.evidence)
        records = [kept.node(*answers, elsewhere=others[node]) for node, answers in self.answers.items()]
        items = [item for record in records for item in parse(record, {})]
        return Counter(
            item.external_id for item in items if isinstance(item, AssetRecord) and item.external_kind == "vm"
        )


def moving(start: str, *moves: tuple[int, str | None]) -> Where:
    """Return where machine 1 is; machine 2 stays where machine 1 began."""

    def where(moment: int) -> dict[int, str | None]:
        place: str | None = start
        for when, there in moves:
            place = there if moment >= when else place
        return {1: place, 2: start}

    return where


def one_move() -> Iterator[tuple[tuple[str, ...], str, str, int]]:
    for nodes in (("hv1", "hv2"), ("hv1", "hv2", "hv3")):
        for start in nodes:
            for there in nodes:
                if start != there:
                    yield from ((nodes, start, there, moment) for moment in range(10))


@pytest.mark.parametrize("clustered", [frozenset({1, 2}), frozenset({2}), frozenset()])
def test_a_machine_that_moves_at_any_moment_is_never_lost_and_never_twice(clustered: frozenset[int]) -> None:
    tried = 0
    for nodes, start, there, moment in one_move():
        for choice in range(2):
            world = World(nodes, moving(start, (moment, there)), clustered)

            def order(count: int, choice: int = choice) -> tuple[int, ...]:
                every = list(permutations(range(count)))
                return every[-1 if choice else 0]

            world.read(order)
            case = (nodes, start, there, moment, choice)
            assert world.told() == {kept.vm_id(1): 1, kept.vm_id(2): 1}, case
            assert prove(world.evidence).proof.complete, (case, prove(world.evidence).proof.missing)
            assert holders(world.evidence)[kept.vm_id(1)].node in (start, there), case
            assert twice(world.evidence) == {}, case
            tried += 1
    assert tried > 100


def test_one_that_two_nodes_have_shown_is_told_where_it_went() -> None:
    shown_twice = 0
    for nodes, start, there, moment in one_move():
        world = World(nodes, moving(start, (moment, there)), frozenset({1, 2}))
        world.read()
        described = {
            s.node for s in world.evidence.sights if s.detailed and kept.vm_id(1) in {vm.id for vm in s.vms or ()}
        }
        if described == {start, there}:
            shown_twice += 1
            assert holders(world.evidence)[kept.vm_id(1)].node == there
    assert shown_twice >= 5


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 14), st.sampled_from(["hv1", "hv2", "hv3", None])), max_size=6),
    st.sampled_from(["hv1", "hv2", "hv3"]),
)
def test_however_often_it_moves_it_is_told_once_or_the_reading_is_not_whole(
    moves: list[tuple[int, str | None]], start: str
) -> None:
    world = World(("hv1", "hv2", "hv3"), moving(start, *sorted(moves, key=lambda move: move[0])), frozenset({1, 2}))
    world.read()
    told = world.told()
    assert told[kept.vm_id(2)] == 1
    assert told[kept.vm_id(1)] <= 1
    verdict = prove(world.evidence)
    at_the_end = world.where(world.now - 1)[1]
    if not told[kept.vm_id(1)] and at_the_end is not None:
        assert not verdict.proof.complete
        assert "app01" in verdict.proof.missing[-1]


def test_one_made_while_nodes_are_asked_is_told() -> None:
    for made in range(1, 4):

        def where(moment: int, made: int = made) -> dict[int, str | None]:
            return {1: "hv1" if moment >= made else None, 2: "hv2"}

        world = World(("hv1", "hv2"), where, frozenset())
        world.read()
        # the closing look at hv1 is moment 2
        assert world.told() == ({kept.vm_id(1): 1, kept.vm_id(2): 1} if made <= 2 else {kept.vm_id(2): 1})
        assert prove(world.evidence).proof.complete


def test_a_node_that_is_down_is_not_asked_and_the_reading_is_not_whole() -> None:
    told = kept.cluster({"hv1": 0, "hv2": 1, "hv3": 2}, {1: "hv1"})
    evidence = Evidence("auto", ("hv1",), (), [kept.sight(kept.answer("hv1", [kept.vm(1)], "whole", cluster=told))])
    asked = plan(evidence)
    assert asked is not None
    assert asked.asks == (("hv3", "own"),)
    assert any("hv2 is down" in told for told in prove(evidence).incomplete)


def test_the_closing_list_comes_last_and_from_another_node_than_the_first() -> None:
    evidence = kept.pair()
    evidence.sights[2:] = []
    asked = plan(evidence)
    assert asked is not None
    assert asked.asks == (("hv1", "names"), ("hv2", "lists"))


def test_a_cluster_of_one_node_is_asked_for_its_list_twice() -> None:
    told = kept.cluster({"hv1": 0}, {1: "hv1"})
    evidence = Evidence("auto", ("hv1",), (), [kept.sight(kept.answer("hv1", [kept.vm(1)], "whole", cluster=told))])
    asked = plan(evidence)
    assert asked is not None
    assert asked.asks == (("hv1", "lists"),)


def test_a_host_in_no_cluster_is_asked_again_only_where_its_two_lists_differ() -> None:
    assert plan(kept.standalone(kept.vm(1))) is None
    torn = kept.standalone(kept.vm(1), second={"ids": [kept.vm_id(1), kept.vm_id(2)], "error": None})
    asked = plan(torn)
    assert asked is not None
    assert asked.asks == (("hv1", "own"),)
    torn.sights.append(kept.sight(kept.answer("hv1", [kept.vm(1), kept.vm(2)]), 2))
    assert plan(torn) is None
    assert prove(torn).proof.complete


def test_asking_ends_where_it_does_not_help() -> None:
    torn = kept.standalone(kept.vm(1), second={"ids": [], "error": None})
    rounds = 0
    while (asked := plan(torn)) is not None:
        rounds += 1
        torn.sights.append(replace(torn.sights[0], ask="own", sweep=asked.sweep))
    assert rounds == MOST_SWEEPS - 1
    assert "other virtual machines on hv1" in prove(torn).incomplete[0]


def test_when_the_first_node_is_refused_the_clusters_list_another_is_asked() -> None:
    error = kept.DENIED | {"where": "cluster"}
    first = kept.answer("hv1", [kept.vm(1)], "whole", cluster=kept.cluster(error=error))
    second = kept.answer("hv2", [kept.vm(2)], cluster=kept.cluster())
    evidence = Evidence("auto", ("hv1", "hv2"), (), [kept.sight(first), kept.sight(second)])
    asked = plan(evidence)
    assert asked is not None
    assert asked.asks == (("hv2", "lists"),)
    again = kept.answer("hv2", [kept.brief(2)], "lists", cluster=kept.cluster(error=error))
    evidence.sights.append(kept.sight(again))
    assert plan(evidence) is None


def test_one_machine_that_stays_on_two_nodes_counts_where_its_cluster_has_it() -> None:
    evidence = kept.pair((1, 3), (2, 3))
    found = twice(evidence)
    assert found == {kept.vm_id(3): ("app03", ("hv1", "hv2"), "hv2")}
    assert elsewhere(evidence) == {"hv1": {kept.vm_id(3): "hv2"}, "hv2": {}}


def test_a_node_that_does_not_show_it_any_more_does_not_count_whatever_came_in_last() -> None:
    # both were asked at once, and hv2, which it left, was the slower one
    looks = [
        kept.sight(kept.answer("hv1", [kept.vm(1)], "whole", cluster=kept.cluster({"hv1": 0, "hv2": 0}, {}))),
        kept.sight(kept.answer("hv2", [kept.vm(1)], cluster=kept.cluster())),
        kept.sight(kept.answer("hv1", [kept.brief(1)], "names", cluster=kept.cluster()), 2),
        kept.sight(kept.answer("hv2", [], "lists", cluster=kept.cluster({"hv1": 0, "hv2": 0}, {})), 2),
    ]
    evidence = Evidence("auto", ("hv1",), (), looks)
    assert holders(evidence)[kept.vm_id(1)].node == "hv1"
    assert prove(evidence).proof.complete


def test_one_that_was_shown_once_and_never_described_is_not_forgotten() -> None:
    evidence = kept.pair()
    evidence.sights[2] = kept.sight(
        kept.answer("hv1", [kept.brief(1), kept.brief(9)], "names", cluster=kept.cluster()), 2
    )
    evidence.sights.append(kept.sight(kept.answer("hv1", [kept.vm(1)], cluster=kept.cluster()), 3))
    assert "app09" in prove(evidence).incomplete[0]


def test_of_two_the_one_that_runs_counts() -> None:
    nodes = {"hv1": 0, "hv2": 0}
    told = kept.cluster(nodes, {1: "hv2"})
    looks = [
        kept.sight(kept.answer("hv1", [kept.vm(1)], "whole", cluster=told)),
        kept.sight(kept.answer("hv2", [kept.vm(1, state=3)], cluster=kept.cluster())),
    ]
    evidence = Evidence("auto", ("hv1",), (), looks)
    assert holders(evidence)[kept.vm_id(1)].node == "hv1"


@pytest.mark.parametrize(
    ("primary", "replica", "node"),
    [
        ({"state": 2}, {"state": 3}, "hv1"),
        ({"state": 3}, {"state": 3}, "hv1"),
        # failed over: what runs counts, and of both that run the machine itself
        ({"state": 3}, {"state": 2, "replication_state": 6}, "hv2"),
        ({"state": 3}, {"state": 3, "replication_state": 6}, "hv1"),
        ({"state": 2}, {"state": 2, "replication_state": 6}, "hv1"),
    ],
)
def test_of_a_machine_and_its_replica_the_one_that_runs_counts_and_they_are_no_twins(
    primary: dict[str, int], replica: dict[str, int], node: str
) -> None:
    told = kept.cluster({"hv1": 0, "hv2": 0}, {1: "hv2"})
    first, second = kept.vm(1, replication_mode=1, **primary), kept.vm(1, replication_mode=2, **replica)
    looks = [
        kept.sight(kept.answer("hv1", [first], "whole", cluster=told)),
        kept.sight(kept.answer("hv2", [second], cluster=told)),
        kept.sight(kept.answer("hv1", [first], "names", cluster=told), 2),
        kept.sight(kept.answer("hv2", [second], "lists", cluster=told), 2),
    ]
    evidence = Evidence("auto", ("hv1",), (), looks)
    held = holders(evidence)[kept.vm_id(1)]
    assert (held.node, held.replica) == (node, False)
    assert held.failed_over == (() if "replication_state" not in replica else ("hv2",))
    assert twice(evidence) == {}
    assert prove(evidence).proof.complete


def test_a_replica_that_becomes_the_machine_while_nodes_are_asked_is_asked_again() -> None:
    # both were replicas when they were described: hv1 after its role was reversed, hv2 before
    told = kept.cluster({"hv1": 0, "hv2": 0}, {})
    asleep, awake = {"state": 3, "replication_mode": 2}, {"state": 2, "replication_mode": 1}
    looks = [
        kept.sight(kept.answer("hv2", [kept.vm(1, **asleep)], "whole", cluster=told)),
        kept.sight(kept.answer("hv1", [kept.vm(1, **asleep)], cluster=told)),
        kept.sight(kept.answer("hv2", [kept.brief(1, **awake)], "names", cluster=told), 2),
        kept.sight(kept.answer("hv1", [kept.brief(1, **asleep)], "lists", cluster=told), 2),
    ]
    evidence = Evidence("auto", ("hv1",), (), looks)
    assert not prove(evidence).proof.complete
    asked = plan(evidence)
    assert asked is not None
    assert dict(asked.asks) == {"hv1": "own", "hv2": "whole"}
    for node, ask in asked.asks:
        answer = kept.answer(node, [kept.vm(1, **(awake if node == "hv2" else asleep))], ask, cluster=told)
        looks.append(kept.sight(answer, asked.sweep))
    assert plan(evidence) is None
    assert prove(evidence).proof.complete
    assert holders(evidence)[kept.vm_id(1)].node == "hv2"


def told_by(*unable: str) -> Callable[[str, str], dict[str, Any]]:
    """Return what nodes tell of their cluster, of which some may not read it."""

    def told(node: str, ask: str) -> dict[str, Any]:
        if node in unable:
            return kept.cluster(name=None, id=None, error=kept.DENIED | {"where": "cluster"})
        lists = ask in ("whole", "lists")
        return kept.cluster({"hv1": 0, "hv2": 0, "hv3": 0}, {1: "hv1"}) if lists else kept.cluster()

    return told


@pytest.mark.parametrize("unable", [(), ("hv1",), ("hv2",), ("hv3",), ("hv1", "hv2"), ("hv2", "hv3"), ("hv1", "hv3")])
def test_whichever_node_may_not_read_the_cluster_another_one_tells_its_list_last(unable: tuple[str, ...]) -> None:
    told = told_by(*unable)
    looks = [kept.sight(kept.answer("hv1", [kept.vm(1)], "whole", cluster=told("hv1", "whole")))]
    looks += [kept.sight(kept.answer(node, [], cluster=told(node, "own"))) for node in ("hv2", "hv3")]
    evidence = Evidence("auto", ("hv1", "hv2", "hv3"), (), looks)
    while (asked := plan(evidence)) is not None:
        for node, ask in asked.asks:
            items = [kept.brief(1)] if node == "hv1" else []
            looks.append(kept.sight(kept.answer(node, items, ask, cluster=told(node, ask)), asked.sweep))
    assert prove(evidence).proof.missing == ()
    assert len(looks) <= 8


def test_where_the_node_that_should_tell_the_list_last_cannot_any_more_the_next_one_does() -> None:
    evidence = kept.pair()
    denied = kept.cluster(name=None, id=None, error=kept.DENIED | {"where": "cluster"})
    evidence.sights[3] = kept.sight(kept.answer("hv2", [kept.brief(2)], "lists", cluster=denied), 2)
    asked = plan(evidence)
    assert asked is not None
    assert (asked.sweep, asked.asks) == (2, (("hv1", "lists"),))
    evidence.sights.append(kept.sight(kept.answer("hv1", [kept.brief(1)], "lists", cluster=denied), 2))
    assert plan(evidence) is None
    verdict = prove(evidence)
    assert len(verdict.denied) == 2
    assert all("not read again after its nodes at hv" in told for told in verdict.denied)
    assert all("AccessDenied" in told and "Grant-ClusterAccess" in told for told in verdict.denied)


def test_what_the_ledger_knows_and_nobody_showed_is_looked_for_in_every_round_there_is() -> None:
    evidence = kept.pair()
    evidence.known = (kept.vm_id(1), kept.vm_id(9))
    rounds = []
    while (asked := plan(evidence)) is not None:
        rounds.append(asked)
        for node, ask in asked.asks:
            items = [kept.brief(1 if node == "hv1" else 2)]
            evidence.sights.append(kept.sight(kept.answer(node, items, ask, cluster=kept.cluster()), asked.sweep))
    assert [each.sweep for each in rounds] == [3, 4]
    assert {each.asks for each in rounds} == {(("hv1", "names"), ("hv2", "names"))}
    assert prove(evidence).proof.complete


def test_what_the_ledger_knows_is_not_gone_where_a_node_did_not_answer_the_last_look() -> None:
    evidence = kept.pair()
    evidence.known = (kept.vm_id(9),)
    evidence.sights.append(kept.sight(kept.answer("hv1", [kept.brief(1)], "names", cluster=kept.cluster()), 3))
    away = no_sight(
        "hv2", address="hv2:5986", sweep=3, ask="names", at=kept.AT, code=errors.TIMEOUT, message="no connection"
    )
    evidence.sights.append(away)
    assert "hv2 was not read again, where 1 virtual machines" in prove(evidence).incomplete[0]


@pytest.mark.parametrize(
    ("scope", "clusters", "said"),
    [
        ("auto", ("A", "B"), "several clusters: a, b"),
        ("auto", ("A", None), "hv2 is in no cluster, hv1 is in one"),
        ("auto", (None, None), "hv1, hv2 are in no cluster"),
        ("cluster", (None,), "scope: cluster"),
        ("standalone", ("A",), "scope: standalone"),
        ("auto", ("A", "A"), ""),
        ("auto", (None,), ""),
    ],
)
def test_hosts_that_do_not_belong_together_are_named(scope: str, clusters: tuple[str | None, ...], said: str) -> None:
    looks = [
        kept.sight(kept.answer(f"hv{place}", [], cluster=None if name is None else kept.cluster(name=name)))
        for place, name in enumerate(clusters, start=1)
    ]
    found = misfit(Evidence(scope, ("hv1",), (), looks))
    assert said in found if said else found == ""


def test_two_clusters_of_one_name_are_told_apart_by_their_ids() -> None:
    evidence = kept.pair()
    other = kept.cluster(id="{C5A1F8B2-0000-4000-8000-000000000002}")
    evidence.sights.append(kept.sight(kept.answer("hv9", [kept.vm(9)], cluster=other)))
    found = misfit(evidence)
    assert "several clusters of one name, hvclu" in found
    assert "hv1, hv2 (c5a1f8b2-0000-4000-8000-000000000001)" in found
    assert "hv9 (c5a1f8b2-0000-4000-8000-000000000002)" in found
    assert plan(evidence) is None
    assert not prove(evidence).proof.complete


def test_a_node_of_a_cluster_that_is_not_on_its_list_is_named() -> None:
    evidence = kept.pair()
    silent = kept.cluster(name=None, id=None, error=kept.ERROR | {"where": "cluster"})
    evidence.sights.append(kept.sight(kept.answer("hv9", [kept.vm(9)], cluster=silent)))
    assert "hv9 is in a cluster, and not on the list of nodes" in misfit(evidence)
    assert "(hv1, hv2)" in misfit(evidence)
