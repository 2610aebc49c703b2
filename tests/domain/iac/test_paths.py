"""Ways through a graph: the shortest first, none twice through a node, as another's algorithms find them."""

from __future__ import annotations

import rustworkx
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.iac.paths import shortest_paths

EDGES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=22)


@given(EDGES, st.integers(0, 6), st.integers(0, 6), st.integers(1, 5))
def test_the_ways_are_the_shortest_simple_ones_of_all_that_there_are(
    edges: list[tuple[int, int]], start: int, end: int, most: int
) -> None:
    out: dict[int, list[int]] = {}
    for one, other in edges:
        out.setdefault(one, []).append(other)
    graph = rustworkx.PyDiGraph(multigraph=False)
    graph.add_nodes_from(range(7))
    graph.add_edges_from([(one, other, None) for one, other in edges])
    every = [list(each) for each in rustworkx.all_simple_paths(graph, start, end)] if start != end else [[start]]
    found, more = shortest_paths(out, start, end, most=most)
    assert [len(each) for each in found] == sorted(map(len, every))[:most]
    assert all(each in every for each in found)
    assert len({tuple(each) for each in found}) == len(found)
    assert more == (len(every) > most)


def test_a_graph_with_more_ways_than_can_be_looked_at_still_answers() -> None:
    every = range(60)
    out = {one: [other for other in every if other != one] for one in every}
    found, more = shortest_paths(out, 0, 59, most=5, looks=300)
    assert found[:2] == [[0, 59], [0, 1, 59]]
    assert more


def test_where_the_end_is_not_reached_nothing_is_tried() -> None:
    assert shortest_paths({0: [1], 2: [3]}, 0, 3, most=5, looks=0) == ([], False)


def test_a_dense_part_that_leads_nowhere_else_is_looked_through_once() -> None:
    dense = [f"d{n}" for n in range(60)]
    out = {"s": ["x"], "x": ["e", *dense], **{one: ["x", *[other for other in dense if other != one]] for one in dense}}
    # what simple ways through it have in common: none comes back, for they would pass x twice
    assert shortest_paths(out, "s", "e", most=5, looks=10_000) == ([["s", "x", "e"]], False)


def test_ways_that_are_too_long_are_not_told_and_it_is_said_that_there_may_be_some() -> None:
    out = {"a": ["b", "c"], "b": ["c"]}
    assert shortest_paths(out, "a", "c", most=5, deepest=2) == ([["a", "c"], ["a", "b", "c"]], False)
    assert shortest_paths(out, "a", "c", most=5, deepest=1) == ([["a", "c"]], True)
    assert shortest_paths({"a": ["b"], "b": ["c"]}, "a", "c", most=5, deepest=1) == ([], True)
