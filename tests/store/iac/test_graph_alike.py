"""The graph against another's algorithms, over worlds that nobody thought of."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import rustworkx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asset_ledger.store.iac.graph import Graph
from asset_ledger.store.tenancy import as_tenant
from tests.store.graphing import World, made, owner

RESOURCES, MACHINES, INSTANCES = [f"r{n}" for n in range(7)], [f"m{n}" for n in range(6)], ["i0", "i1", "i2"]
MAYBE = st.sampled_from([True, False, False])


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """What a world has, in names. Source 1 is acme's, source 2 is not."""
    sources = {name: draw(st.sampled_from([1, 1, 2])) for name in MACHINES}
    roots = [name for name in MACHINES if draw(MAYBE) is False]
    merged = {name: draw(st.sampled_from(roots)) for name in MACHINES if roots and name not in roots}
    pairs = st.tuples(st.sampled_from(RESOURCES), st.sampled_from(RESOURCES))
    near = st.tuples(st.sampled_from(MACHINES), st.sampled_from(MACHINES)).filter(
        lambda p: sources[p[0]] == sources[p[1]]
    )
    return {
        "sources": sources,
        "merged": merged,
        "needs": draw(st.sets(pairs, max_size=14)),
        "on": {pair: draw(MAYBE) for pair in draw(st.sets(near, max_size=7))},
        "retired": {name for name in roots if draw(MAYBE) and draw(MAYBE)},
        "gone": {name for name in RESOURCES if draw(MAYBE) and draw(MAYBE)},
        "missing": {name for name in MACHINES if draw(MAYBE)},
        "joins": {name: (draw(st.sampled_from(MACHINES)), draw(MAYBE)) for name in RESOURCES if draw(st.booleans())},
        "instances": {
            name: (draw(st.sampled_from(MACHINES)), draw(st.sampled_from(["confirmed", "confirmed", "candidate"])))
            for name in INSTANCES
        },
        "start": draw(st.sets(st.sampled_from([*RESOURCES, *MACHINES, *INSTANCES]), min_size=1, max_size=2)),
    }


def put(one: World, facts: dict[str, Any]) -> None:
    one.begin()
    for name in MACHINES:
        gone = {"missing_since": "2026-03-02"} if name in facts["missing"] else {}
        one.machine(name, facts["sources"][name], merged_into=facts["merged"].get(name), **gone)
    for name in RESOURCES:
        one.resource(name)
    with as_tenant(one.connection, made("acme")):
        # it left its state after findings were looked for; its edges went with it
        one.run("DELETE FROM iac.resources_current WHERE addr = ANY (%s)", list(facts["gone"]))
    one.run("UPDATE ledger.assets SET deleted_at = now() WHERE hostname = ANY (%s)", list(facts["retired"]))
    for pair in facts["needs"]:
        if not set(pair) & facts["gone"]:
            one.needs(*pair)
    for pair, ended in facts["on"].items():
        one.on(*pair, ended=ended)
    for name, (machine, left) in facts["joins"].items():
        one.join(name, machine, source=facts["sources"][machine], left=left)
    for name, (machine, status) in facts["instances"].items():
        one.instance(name, machine, status)


def visible(facts: dict[str, Any], *, whole: bool) -> set[str]:
    """Return the machines that are acme's: those of source 1, but none that it misses and source 2 has by now."""
    sources, missing = facts["sources"], facts["missing"]
    taken = {_root(facts, name) for name in MACHINES if sources[name] == 2 and name not in missing}
    own = {n for n in MACHINES if sources[n] == 1 and not (n in missing and _root(facts, n) in taken)}
    return set(MACHINES) if whole else own


def _root(facts: dict[str, Any], name: str) -> str:
    root: str = facts["merged"].get(name, name)
    return root


def oracle(facts: dict[str, Any], *, whole: bool) -> rustworkx.PyDiGraph[str, None]:
    """The same graph in another library: an edge from what needs to what is needed, of all or of source 1 alone."""
    root = {name: _root(facts, name) for name in MACHINES}
    seen = visible(facts, whole=whole)
    # what is rival's too is not told what runs on
    shared = set() if whole else {root[name] for name in MACHINES if facts["sources"][name] == 2}
    retired = facts["retired"]
    nodes = {*(name for name in RESOURCES if name not in facts["gone"]), *(root[name] for name in seen)}
    edges = {pair for pair in facts["needs"] if not set(pair) & facts["gone"]}
    edges |= {
        (root[one], root[other])
        for (one, other), ended in facts["on"].items()
        if not ended and one not in facts["missing"] and {one, other} <= seen and not {root[one], root[other]} & retired
    }
    for name, (machine, left) in facts["joins"].items():
        if not left and machine in seen and root[machine] not in retired and name not in facts["gone"]:
            edges |= {(name, root[machine]), (root[machine], name)}
    for name, (machine, status) in facts["instances"].items():
        # an instance's machine is its tenant's where any of what was merged into it, or itself, is
        told = any(each in seen for each in MACHINES if each == machine or root[each] == machine)
        if status == "confirmed" and told and root[machine] not in shared | retired:
            edges.add((name, root[machine]))
            nodes |= {name, root[machine]}
    graph: rustworkx.PyDiGraph[str, None] = rustworkx.PyDiGraph(multigraph=False)
    index = {name: graph.add_node(name) for name in sorted(nodes)}
    graph.add_edges_from([(index[one], index[other], None) for one, other in edges])
    return graph


def agrees(graph: Graph, facts: dict[str, Any], *, whole: bool) -> None:
    expected = oracle(facts, whole=whole)
    index = {expected[number]: number for number in expected.node_indices()}
    # a machine that is merged into one of the tenant's, but is of another's source, is not to be found by its own id
    seen = {name for name in facts["start"] if name in index or name in visible(facts, whole=whole)}
    start = {facts["merged"].get(name, name) for name in seen} & set(index)
    asked = [made(name) for name in facts["start"]]
    # what hangs on some: everything that comes to them along its needs
    expected.reverse()
    hangs: dict[str, int] = dict.fromkeys(start, 0)
    for name in start:
        for number, length in _lengths(expected, index[name]):
            hangs[expected[number]] = min(length, hangs.get(expected[number], length))
    everything = {made(name): depth for name, depth in hangs.items()}
    assert set(graph.blast_radius(asked, most=1000)) == set(everything)
    with as_tenant(graph.connection, graph.tenants[0]):
        once = "SELECT count(*) = count(DISTINCT node) FROM iac.blast_radius(%s)"
        assert graph.connection.execute(once, [asked]).fetchone() == (True,)
    steps = graph.walk(asked, "needed_by", most=1000, deepest=100)
    assert {step.id: step.depth for step in steps} == everything
    assert len(steps) == len(everything)
    expected.reverse()
    pairs = {(made(expected[a]), made(expected[b])) for a, b in expected.edge_list()}
    for step in steps:
        assert (step.via is None) == (step.depth == 0)
        if step.via is not None:
            assert (step.id, step.via) in pairs
            assert everything[step.via] == step.depth - 1
    assert {(edge.node, edge.needed) for edge in graph.edges(everything, most=1000)} == {
        pair for pair in pairs if set(pair) <= set(everything)
    }
    if len(start) == 2:
        first, second = sorted(start)
        ways = sorted(map(len, rustworkx.all_simple_paths(expected, index[first], index[second])))
        found = graph.paths(made(first), made(second), most=4, deepest=100)
        assert [len(path) for path in found.paths] == ways[:4]
        assert all(pair in pairs for path in found.paths for pair in pairwise(path))


def _lengths(graph: rustworkx.PyDiGraph[str, None], start: int) -> Iterator[tuple[int, int]]:
    yield from rustworkx.dijkstra_shortest_path_lengths(graph, start, lambda _: 1.0).items()  # type: ignore[misc]


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
@given(facts=worlds())
def test_what_goes_is_what_another_library_says_goes(one: World, acme: Graph, facts: dict[str, Any]) -> None:
    put(one, facts)
    agrees(acme, facts, whole=False)
    agrees(owner(one, "acme"), facts, whole=True)
    agrees(owner(one, "acme", "rival"), facts, whole=True)
