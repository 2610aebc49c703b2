"""The line of the last days: short, whole, and a gap where nothing is known."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.pictures.sparkline import HEIGHT, days_sparkline
from asset_ledger.domain.pictures.svg import data_uri

COUNTS = st.integers(0, 10_000_000)


def paths(svg: str) -> list[str]:
    return [each.get("d") or "" for each in ElementTree.fromstring(svg) if each.tag.endswith("path")]


def test_a_day_without_a_reading_is_a_gap_and_not_a_zero() -> None:
    assert paths(days_sparkline([5, 5, None, 5, 5], [0] * 5)) == ["M30 15h60M210 15h60"]


def test_a_day_alone_is_a_dot_and_one_without_failures_has_no_bar() -> None:
    line, bars = paths(days_sparkline([None, 7, None], [0, 0, 3]))
    assert line == "M150 15h0"
    assert bars == f"M250 {HEIGHT}v-10"


@given(st.lists(st.tuples(st.none() | COUNTS, COUNTS), min_size=30, max_size=30))
def test_thirty_days_of_any_numbers_are_short_enough_for_dagster_to_show(days: list[tuple[int | None, int]]) -> None:
    svg = days_sparkline([seen for seen, _ in days], [failed for _, failed in days])
    ElementTree.fromstring(svg)
    assert len(data_uri(svg)) < 800
    assert not re.search(r"[()<>\"# ]", data_uri(svg))
