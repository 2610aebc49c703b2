"""The direct edges of a state, found among what Terraform names: everything near and far, without instance keys."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.iac import edges as module
from asset_ledger.domain.iac.edges import Edges, terraform_edges
from asset_ledger.domain.iac.snapshot import Resource
from tests.domain.iac.states import block, instance, read


def told(edges: Edges) -> list[tuple[str, str, str]]:
    return [(each.source[0], each.target[0], each.kind) for each in edges.edges]


def of(*blocks: Any, **more: Any) -> list[tuple[str, str, str]]:
    return told(terraform_edges(read(*blocks).resources, **more))


def named(name: str, *needs: str, **more: Any) -> Any:
    """A resource without attributes that tell anything."""
    return block("t", name, instance({}, dependencies=list(needs)), **more)


def large() -> tuple[Resource, ...]:
    """1 root, 40 modules of 10 networks and 240 machines: 10,001 objects."""
    blocks = [block("vpc", "root", instance({"id": "vpc-root"}))]
    for number in range(40):
        at = f'module.m["k{number}"]'
        nets = [
            instance({"id": f"net-{number}-{each}", "vpc": "vpc-root"}, index_key=each, dependencies=["vpc.root"])
            for each in range(10)
        ]
        vms = [
            instance(
                {"id": f"vm-{number}-{each}", "nics": [{"net": f"net-{number}-{each % 10}"}]},
                index_key=each,
                dependencies=["module.m.subnet.net", "vpc.root"],
            )
            for each in range(240)
        ]
        blocks += [block("subnet", "net", *nets, module=at), block("vm", "vm", *vms, module=at)]
    return read(*blocks).resources


def test_ten_thousand_objects_have_ten_thousand_direct_edges_and_not_millions() -> None:
    resources = large()
    assert len(resources) == 10_001
    found = terraform_edges(resources)
    assert found.capped == ()
    assert len(found.edges) == 10_000
    assert {each.kind for each in found.edges} == {"value"}
    assert all(
        each.source[0].split(".")[1] == each.target[0].split(".")[1]
        for each in found.edges
        if each.target[0] != "vpc.root"
    )
    some = {("vpc.root", ""), ('module.m["k3"].vm.vm[17]', "")}
    assert terraform_edges(resources, some).edges == tuple(each for each in found.edges if each.source in some)


def test_only_instances_whose_module_keys_agree_need_each_other() -> None:
    blocks = [
        each
        for key in ("eu", "us")
        for each in (
            named("net", module=f'module.app["{key}"]'),
            named("vm", "module.app.t.net", module=f'module.app["{key}"].module.inner'),
        )
    ]
    assert of(*blocks) == [
        (f'module.app["{key}"].module.inner.t.vm', f'module.app["{key}"].t.net', "config") for key in ("eu", "us")
    ]


def test_where_no_module_key_agrees_all_are_meant() -> None:
    found = of(
        named("net", module="module.app[0]"),
        named("net", module="module.app[1]"),
        named("vm", "module.app.t.net", module="module.app[2]"),
    )
    assert [target for _, target, _ in found] == ["module.app[0].t.net", "module.app[1].t.net"]


def test_a_value_proves_which_instance_is_meant() -> None:
    nets = block("t", "net", *(instance({"id": f"net-{each}"}, index_key=each) for each in range(3)))
    vm = block("t", "vm", instance({"id": "vm-1", "nic": [{"net": "net-1"}]}, dependencies=["t.net"]))
    assert of(nets, vm) == [("t.vm", "t.net[1]", "value")]


def test_without_a_value_every_instance_may_be_meant() -> None:
    nets = block("t", "net", *(instance({"id": f"net-{each}"}, index_key=each) for each in range(2)))
    assert of(nets, named("vm", "t.net")) == [("t.vm", "t.net[0]", "config"), ("t.vm", "t.net[1]", "config")]


def test_a_value_proves_a_need_that_the_configuration_alone_would_leave_out() -> None:
    a = block("t", "a", instance({"id": "id-of-a"}))
    b = named("b", "t.a")
    assert of(a, b, named("c", "t.b", "t.a")) == [("t.b", "t.a", "config"), ("t.c", "t.b", "config")]
    c = block("t", "c", instance({"x": "id-of-a"}, dependencies=["t.a", "t.b"]))
    assert ("t.c", "t.a", "value") in of(a, b, c)


@pytest.mark.parametrize("shared", ["abc", "shared-by-two"])
def test_short_ids_and_ids_of_several_prove_nothing(shared: str) -> None:
    nets = block("t", "net", instance({"id": shared}, index_key=0), instance({"id": "shared-by-two"}, index_key=1))
    vm = block("t", "vm", instance({"nic": shared}, dependencies=["t.net"]))
    assert {kind for *_, kind in of(nets, vm)} == {"config"}


def test_an_id_is_no_proof_of_a_need_that_nobody_named() -> None:
    assert of(block("t", "a", instance({"id": "id-of-a"})), block("t", "b", instance({"x": "id-of-a"}))) == []


def test_what_waits_to_be_deleted_is_needed_only_by_what_names_it() -> None:
    net = block("t", "net", instance({"id": "net-new"}), instance({"id": "net-old"}, deposed="deadbeef"))
    assert of(net, named("vm", "t.net")) == [("t.vm", "t.net", "config")]
    vm = block("t", "vm", instance({"net": "net-old"}, dependencies=["t.net"]))
    (edge,) = terraform_edges(read(net, vm).resources).edges
    assert edge.target == ("t.net", "deadbeef")


def test_needs_in_a_circle_stay() -> None:
    found = of(named("a", "t.b", "t.a"), named("b", "t.a"), named("c", "t.a", "t.b"))
    assert {("t.a", "t.b", "config"), ("t.b", "t.a", "config")} <= set(found)
    assert any(source == "t.c" for source, *_ in found)


def test_what_a_circle_needs_is_needed_by_those_in_it() -> None:
    found = of(named("a", "t.b", "t.c"), named("b", "t.a", "t.c"), named("c"))
    assert [(source, target) for source, target, _ in found if target == "t.c"] == [("t.a", "t.c"), ("t.b", "t.c")]


def test_what_is_not_in_the_state_is_needed_by_nobody() -> None:
    assert of(named("a", "t.gone", "data.t.x")) == []


def crowd(name: str, size: int, *needs: str) -> Any:
    return block("t", name, *(instance({}, index_key=each, dependencies=list(needs)) for each in range(size)))


def test_too_many_guesses_are_one_edge_for_each_and_told() -> None:
    resources = read(crowd("rule", 300), crowd("vm", 300, "t.rule")).resources
    found = terraform_edges(resources)
    assert [each.kind for each in found.edges] == ["resource"] * 300
    assert {each.target for each in found.edges} == {("t.rule[0]", "")}
    assert found.capped == ("t.vm needs t.rule: too many to tell which, so each of its objects keeps one edge for all",)
    # asked of some alone it is the same edges
    assert terraform_edges(resources, {("t.vm[7]", "")}).edges == tuple(
        each for each in found.edges if each.source == ("t.vm[7]", "")
    )


def test_millions_of_guesses_are_never_made() -> None:
    resources = read(crowd("rule", 3_000), crowd("vm", 3_000, "t.rule")).resources
    assert len(terraform_edges(resources).edges) == 3_000


def test_values_prove_any_number_of_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_A_PAIR", 3)
    nets = block("t", "net", *(instance({"id": f"net-{each}"}, index_key=each) for each in range(4)))
    vms = [instance({"n": f"net-{each}"}, index_key=each, dependencies=["t.net"]) for each in range(4)]
    found = terraform_edges(read(nets, block("t", "vm", *vms)).resources)
    assert [each.kind for each in found.edges] == ["value"] * 4
    assert found.capped == ()


def reach(pairs: set[tuple[str, str]]) -> dict[str, set[str]]:
    """Everything that hangs on each, near and far."""
    back = defaultdict(set)
    for source, target in pairs:
        back[target].add(source)
    found = {}
    for node in back:
        seen, waiting = {node}, [node]
        while waiting:
            waiting += [each for each in back.get(waiting.pop(), ()) if each not in seen and not seen.add(each)]
        found[node] = seen - {node}
    return found


@settings(deadline=None)
@given(st.integers(2, 12), st.randoms(use_true_random=False), st.booleans())
def test_what_hangs_on_a_resource_is_the_same_over_direct_edges_as_over_all(
    size: int, chance: random.Random, values: bool
) -> None:
    direct = {(b, a) for b in range(size) for a in range(b) if chance.random() < 0.4}
    far: dict[int, set[int]] = {each: set() for each in range(size)}
    for node in range(size):
        for source, target in direct:
            if source == node:
                far[node] |= {target} | far[target]
    blocks = [
        block("t", f"r{node}", instance({"id": f"id-{node}-x", "uses": [f"id-{each}-x" for each in far[node] if values and each % 2]},
                                        dependencies=[f"t.r{each}" for each in sorted(far[node])]))
        for node in range(size)
    ]  # fmt: skip
    chance.shuffle(blocks)
    found = {(source, target) for source, target, _ in of(*blocks)}
    closure = {(f"t.r{node}", f"t.r{each}") for node in range(size) for each in far[node]}
    assert found <= closure
    assert reach(found) == reach(closure)
    if not values:  # no edge that another way makes needless
        assert all(reach(found - {edge}) != reach(closure) for edge in found)


class Looked(Set[str]):
    """A set that counts how often one looks at an element of any of them."""

    times = 0

    def __init__(self, elements: Iterable[str]) -> None:
        self._elements = frozenset(elements)

    def __contains__(self, element: object) -> bool:
        Looked.times += 1
        return element in self._elements

    def __iter__(self) -> Iterator[str]:
        for each in self._elements:
            Looked.times += 1
            yield each

    def __len__(self) -> int:
        return len(self._elements)


def test_three_layers_of_hundreds_that_need_all_of_the_next_cost_no_minutes() -> None:
    size = 300
    blocks = [
        named(f"{layer}{each}", *(f"t.{below}{other}" for below in needs for other in range(size)))
        for layer, needs in (("a", "bc"), ("b", "c"), ("c", ""))
        for each in range(size)
    ]
    resources = read(*blocks).resources
    graph = {each.config: Looked(each.dependencies) for each in resources}
    edges = sum(map(len, graph.values()))
    Looked.times = 0
    direct = module._reduced(graph)
    assert Looked.times < 10 * edges  # what is behind each neighbour, element by element, is a hundred times as many
    assert direct["t.a0"] == {f"t.b{each}" for each in range(size)}
    assert direct["t.b0"] == {f"t.c{each}" for each in range(size)}
