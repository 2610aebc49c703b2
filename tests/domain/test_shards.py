"""The cut of a probing: whole, without overlap, and the same on every machine and in every release."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.shards import MOST_SHARDS, SLOTS, Shard, cut, slot_of

KEPT = [156, 29, 52]


@given(st.text(), st.integers(1, MOST_SHARDS))
def test_each_machine_is_in_exactly_one_part_of_a_cut(name: str, parts: int) -> None:
    assert sum(shard.has(name) for shard in cut(parts)) == 1


@given(st.text(), st.integers(1, MOST_SHARDS), st.integers(1, MOST_SHARDS))
def test_parts_of_two_cuts_that_read_one_machine_hold_one_slot_in_common(name: str, one: int, other: int) -> None:
    (mine,) = [shard for shard in cut(one) if shard.has(name)]
    (theirs,) = [shard for shard in cut(other) if shard.has(name)]
    assert set(mine.slots) & set(theirs.slots)


@pytest.mark.parametrize("parts", [1, 7, MOST_SHARDS])
def test_the_parts_of_a_cut_hold_every_slot_once(parts: int) -> None:
    assert sorted(slot for shard in cut(parts) for slot in shard.slots) == list(range(SLOTS))


def test_where_a_machine_falls_is_never_changed() -> None:
    # a run that is done again with a newer release reads what the one before it was to read
    assert [slot_of(name) for name in ("192.0.2.10", "2001:db8::1", "")] == KEPT


def test_a_part_is_named_as_it_is_written() -> None:
    assert Shard.named("3/8") == Shard(3, 8)
    assert str(Shard(3, 8)) == "3/8"


@pytest.mark.parametrize("text", ["", "3", "0/8", "9/8", "3/8/1", "3/49", "-1/4", "a/b"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="part"):
        Shard.named(text)


def test_parts_are_about_as_large_as_one_another() -> None:
    names = [f"10.{n // 250}.{n % 250}.7" for n in range(4000)]
    sizes = [sum(shard.has(name) for name in names) for shard in cut(8)]
    assert max(sizes) < 1.25 * min(sizes)
