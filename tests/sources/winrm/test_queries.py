"""What Windows is asked: few queries, nothing that costs the host or tells of people, nothing in a language."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from asset_ledger.sources.winrm.queries import NAMESPACE, QUERIES, Query

# what WMI measures for seconds, what differs at every reading, who is logged on
DEAR_OR_FLEETING = {"LoadPercentage", "FreeSpace", "LastBootUpTime", "LocalDateTime", "FreePhysicalMemory", "UserName"}


def properties(wql: str) -> list[str]:
    asked = re.fullmatch(r"SELECT (\*|\w+(?:,\w+)*) FROM Win32_\w+(?: WHERE \w+=\w+)?", wql)
    assert asked, wql
    return asked[1].split(",")


def test_a_host_is_asked_at_most_eight_times() -> None:
    assert len(QUERIES) <= 8
    assert len({query.name for query in QUERIES}) == len(QUERIES)
    assert {query.namespace for query in QUERIES} == {NAMESPACE} == {"root/cimv2"}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_only_the_adapters_whose_addresses_are_arrays_are_asked_for_everything(query: Query) -> None:
    starred = [wql for wql in (query.wql, *query.fallbacks) if properties(wql) == ["*"]]
    assert bool(starred) == (query.wmi_class == "Win32_NetworkAdapterConfiguration")


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_nothing_is_asked_that_is_dear_or_different_every_day(query: Query) -> None:
    asked = {name for wql in (query.wql, *query.fallbacks) for name in properties(wql)}
    assert asked & DEAR_OR_FLEETING == set()


@pytest.mark.parametrize("query", [query for query in QUERIES if query.fallbacks], ids=lambda query: query.name)
def test_each_fallback_asks_the_same_class_for_less(query: Query) -> None:
    texts = (query.wql, *query.fallbacks)
    for longer, shorter in pairwise(texts):
        assert set(properties(shorter)) < set(properties(longer))
        assert longer.split(" FROM ")[1] == shorter.split(" FROM ")[1]


def test_a_query_that_may_fail_comes_after_those_that_may_not() -> None:
    required = [query.required for query in QUERIES]
    assert required == sorted(required, reverse=True)


def test_a_dvd_and_an_adapter_without_ip_are_not_asked_for() -> None:
    by_name = {query.name: query.wql for query in QUERIES}
    assert by_name["logical_disk"].endswith(" WHERE DriveType=3")
    assert by_name["network"].endswith(" WHERE IPEnabled=TRUE")
