"""Which nodes are drawn of many: the near ones, a share of each parent's, and the rest counted where it hangs."""

from __future__ import annotations

from uuid import UUID, uuid5

from asset_ledger.domain.pictures.around import Reached, chosen

SPACE = UUID("00000000-0000-4000-8000-000000000003")


def node(name: str, depth: int = 0, via: str | None = None) -> Reached:
    return Reached(uuid5(SPACE, name), depth, uuid5(SPACE, via) if via else None, name)


def names(reached: list[Reached], most: int) -> tuple[list[str], dict[str, int]]:
    known = {each.id: each.name for each in reached}
    found = chosen(reached, most)
    return [known[each] for each in found.nodes], {known[each]: count for each, count in found.more.items()}


def test_all_are_drawn_where_there_is_room() -> None:
    assert names([node("x"), node("b", 1, "x"), node("a", 1, "x")], 3) == (["x", "a", "b"], {})


def test_each_parent_gets_the_same_share_and_what_is_left_out_is_counted_there() -> None:
    hosts = [node(f"h{number}", 1, "x") for number in range(2)]
    machines = [node(f"h{host}-{number}", 2, f"h{host}") for host in range(2) for number in range(10)]
    drawn, more = names([node("x"), *hosts, *reversed(machines)], 7)
    assert drawn == ["x", "h0", "h1", "h0-0", "h0-1", "h1-0", "h1-1"]
    assert more == {"h0": 8, "h1": 8}


def test_what_hangs_on_something_that_is_left_out_is_counted_at_the_next_that_is_drawn() -> None:
    reached = [node("x"), node("a", 1, "x"), node("b", 1, "x"), node("on-b", 2, "b")]
    assert names(reached, 2) == (["x", "a"], {"x": 2})
