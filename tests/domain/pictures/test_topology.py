"""The picture of what hangs together: where boxes stand, that nothing overlaps, and that names stay text."""

from __future__ import annotations

import random
import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.pictures.layers import layered
from asset_ledger.domain.pictures.svg import data_uri, shortened, text_of, width_em
from asset_ledger.domain.pictures.topology import Box, Line, topology_svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(boxes: list[Box], lines: list[Line]) -> ElementTree.Element:
    return ElementTree.fromstring(topology_svg(boxes, lines, title="esx-1", told="1 needs it"))


def rectangles(picture: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    """Return x, y, width and height of every box, without the page and the legend."""
    groups = [each for each in picture.iter(f"{SVG}g") if each.find(f"{SVG}title") is not None]
    return [
        tuple(float(rect.get(name, "")) for name in ("x", "y", "width", "height"))  # type: ignore[misc]
        for group in groups
        for rect in group.findall(f"{SVG}rect")
    ]


def estate(count: int) -> tuple[list[Box], list[Line]]:
    """A cluster, hosts in it, machines on them with names long and short, and resources beside some of them."""
    chance = random.Random(count)
    boxes, lines = [Box("集群-华东", "cluster", "cluster")], []
    for number in range(1, count):
        on = chance.randrange(max(1, number // 3))
        name = chance.choice(["web", "数据库服务器", "a-name-that-goes-on-and-on-and-does-not-end-here.example"])
        look = chance.choice(["vm", "physical", "resource"])
        boxes.append(Box(f"{name}-{number}", "vm, 192.0.2.1", look))  # type: ignore[arg-type]
        lines.append(Line(on, number, "ledger", "runs on"))
    return boxes, lines


@pytest.mark.parametrize("count", [1, 3, 20, 60])
def test_no_box_lies_on_another_and_every_text_fits_its_box(count: int) -> None:
    boxes, lines = estate(count)
    picture = drawn(boxes, lines)
    found = rectangles(picture)
    assert len(found) == count
    for one, other in combinations(found, 2):
        apart_across = one[0] + one[2] <= other[0] or other[0] + other[2] <= one[0]
        assert apart_across or one[1] + one[3] <= other[1] or other[1] + other[3] <= one[1]
    right = max(x + width for x, _, width, _ in found)
    assert right <= float(picture.get("width", "0"))
    for group in picture.iter(f"{SVG}g"):
        rect, name = group.find(f"{SVG}rect"), group.find(f"{SVG}text[@class='name']")
        if name is not None and rect is not None:
            assert width_em(name.text or "") * 13 <= float(rect.get("width", "0")) - 20 + 0.1


def edges_of(many: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    node = st.integers(0, many - 1)
    return st.lists(st.tuples(node, node), max_size=60)


def test_what_is_needed_stands_to_the_left_of_what_needs_it() -> None:
    layers = layered([10.0] * 5, [(0, 1), (1, 2), (0, 2), (3, 2), (2, 4)], gap=1, way=1)
    column = {node: place for place, nodes in enumerate(layers.columns) for node in nodes}
    assert (column[0], column[1], column[3], column[2], column[4]) == (0, 1, 1, 2, 3)
    assert len(layers.ways[0, 2]) == 3  # a place in the column that the line crosses


def test_a_circle_is_opened_at_one_place_and_the_rest_of_it_stands_in_order() -> None:
    layers = layered([10.0] * 4, [(0, 1), (1, 2), (2, 0), (2, 3)], gap=1, way=1)
    assert [[node for node in nodes if node < 4] for nodes in layers.columns] == [[0], [1], [2], [3]]
    assert len(layers.ways[2, 0]) == 3


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 25).flatmap(lambda many: st.tuples(st.just(many), edges_of(many))))
def test_any_graph_is_laid_out_circles_too_and_nothing_in_a_column_overlaps(
    graph: tuple[int, list[tuple[int, int]]],
) -> None:
    count, edges = graph
    layers = layered([10.0] * count, edges, gap=2, way=3)
    assert sorted(node for nodes in layers.columns for node in nodes if node < count) == list(range(count))
    sizes = [10.0] * count + [3.0] * (len(layers.middles) - count)
    for nodes in layers.columns:
        for above, below in pairwise(nodes):
            assert layers.middles[below] - layers.middles[above] >= (sizes[above] + sizes[below]) / 2 + 2 - 1e-6
    assert set(layers.ways) == {edge for edge in edges if edge[0] != edge[1]}


def test_the_same_input_gives_the_same_text() -> None:
    boxes, lines = estate(40)
    made = [topology_svg(boxes, lines, title="x", told="y") for _ in range(2)]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    "name",
    [
        "</text><script>alert(1)</script>",
        '"><image href="http://192.0.2.1/x"/>',
        "a&b<!--",
        "]]>",
        "\x00\x1b[31m",
        "ab\u202egnp",
    ],
)
def test_a_name_is_text_and_never_markup(name: str) -> None:
    boxes = [Box(name, name, "vm", asked=True), Box(name, name, "physical")]
    svg = topology_svg(boxes, [Line(1, 0, "ledger", name)], title=name, told=name, note=name)
    picture = ElementTree.fromstring(svg)
    tags = {element.tag.removeprefix(SVG) for element in picture.iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "text", "g", "path"}
    assert "\x1b" not in svg
    assert "\u202e" not in svg
    assert not re.search(r"(?:href|src|url\()", re.sub(r"<(title|desc|text)[^>]*>.*?</\1>", "", svg, flags=re.DOTALL))


def test_a_picture_tells_what_it_shows_to_who_does_not_see_it() -> None:
    picture = drawn([Box("esx-1", "physical", "physical"), Box("web", "vm", "vm")], [Line(0, 1, "ledger", "runs on")])
    assert picture.get("role") == "img"
    labels = (picture.get("aria-labelledby") or "").split()
    told = {element.get("id"): element.text for element in picture if element.get("id") in labels}
    assert list(told.values()) == ["esx-1", "1 needs it. web runs on esx-1."]


def test_what_does_not_fit_is_shortened_and_stands_whole_where_the_pointer_rests() -> None:
    name = "数据库服务器" * 10
    picture = drawn([Box(name, "vm", "vm")], [])
    (text,) = (each.text or "" for each in picture.iter(f"{SVG}text") if each.get("class") == "name")
    assert text.endswith("…")
    assert name.startswith(text[:-1])
    assert any((each.text or "").startswith(name) for each in picture.iter(f"{SVG}title"))


@given(st.text(), st.floats(3, 30))
def test_a_shortened_text_is_no_wider_than_it_may_be(text: str, most: float) -> None:
    assert width_em(shortened(text, most)) <= most or len(text) <= 1


@given(st.text())
def test_any_text_is_well_formed_xml_and_a_picture_a_link_without_signs_that_end_it(text: str) -> None:
    ElementTree.fromstring(f"<a b='{text_of(text)}'>{text_of(text)}</a>")
    assert not set(data_uri(text)) & set(' ()<>"#&')
