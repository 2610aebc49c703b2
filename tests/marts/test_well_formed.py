"""What dbt tests of every mart, with each of its rules broken once; and how the database is told to join what is large."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from asset_ledger.pipeline.marts import PROJECT, Made, models
from asset_ledger.store.database import Connection, connect
from tests.marts.building import BY_DAYS, OF_NOW, Marts
from tests.marts.world import World

MARTS = BY_DAYS + OF_NOW
NULL_IN_A_GRAIN: dict[str, set[str]] = {name: set() for name in MARTS} | {
    "daily_capacity": {"asset_type", "cluster_asset_id", "host_asset_id"},
    "asset_changes": {"before_kind", "before", "after_kind", "after"},
    "link_review": {"asset_id"},
}


@pytest.fixture(scope="module")
def made(built_marts: tuple[World, Marts]) -> dict[str, Made]:
    """Every model and test of one more call, by its name."""
    world, marts = built_marts
    return {one.name: one for one in marts.make(world.first, world.last)}


@pytest.fixture(scope="module")
def rules(built_marts: tuple[World, Marts]) -> dict[str, dict[str, Any]]:
    """What is demanded of each mart."""
    nodes = models(built_marts[1].ledger).manifest["nodes"].values()
    tests = [node for node in nodes if (node.get("test_metadata") or {}).get("name") == "well_formed"]
    return {node["attached_node"].split(".")[-1]: node["test_metadata"]["kwargs"] for node in tests}


@pytest.fixture
def connection(built_marts: tuple[World, Marts]) -> Iterator[Connection]:
    with connect(built_marts[1].url) as connection, connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL app.marts = 'on'")
        yield connection


def test_every_mart_has_a_grain_and_says_what_is_never_unknown(rules: dict[str, dict[str, Any]]) -> None:
    assert {*rules} == {*MARTS}
    for name, rule in rules.items():
        assert rule["grain"], name
        assert set(rule["never_null"]) >= set(rule["grain"]) - NULL_IN_A_GRAIN[name], name


@pytest.mark.parametrize("mart", MARTS)
def test_each_rule_that_a_row_breaks_is_told(
    mart: str, connection: Connection, made: dict[str, Made], rules: dict[str, dict[str, Any]]
) -> None:
    look = made[f"{mart}_is_well_formed"].query
    assert look is not None
    rule = rules[mart]
    _loosen(connection, mart)
    assert _found(connection, look) == []
    for column in rule["never_null"]:
        assert f"{column} is NULL" in _broken(connection, mart, f"SET {column} = NULL", look), column
    for column in rule.get("accepted_values", {}):
        assert f"{column} is strange" in _broken(connection, mart, f"SET {column} = 'strange'", look), column
    for column, other in rule.get("relationships", {}).items():
        named = re.sub(r"ref\('(\w+)'\)", r"\1", other)
        told = _broken(connection, mart, f"SET {column} = gen_random_uuid()", look)
        assert f"{named} has no such {column}" in told
    twice = f"2 rows have the same {', '.join(rule['grain'])}"
    with connection.transaction(force_rollback=True):
        connection.execute(f"INSERT INTO marts.{mart} SELECT * FROM marts.{mart} WHERE ctid = {_one(mart)}".encode())
        assert _found(connection, look) == [twice]


@pytest.mark.parametrize("mart", MARTS)
def test_nothing_is_joined_by_a_part_of_its_keys(mart: str, connection: Connection, made: dict[str, Made]) -> None:
    """A merge may be by the day alone, and then compares every two machines of that day: minutes for a month of days."""
    query = made[mart].query
    assert query is not None
    for setting in re.findall(r"set local \w+ = \w+", (PROJECT / "macros" / "forget_days.sql").read_text()):
        connection.execute(setting)
    plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {query}".encode()).fetchall())
    assert "Merge" not in re.sub("Merge Append", "", plan), plan


def _one(mart: str) -> str:
    return f"(SELECT min(ctid) FROM marts.{mart})"


def _broken(connection: Connection, mart: str, change: str, look: str) -> str:
    """Return what is told of a mart of which one row was changed."""
    with connection.transaction(force_rollback=True):
        connection.execute(f"UPDATE marts.{mart} {change} WHERE ctid = {_one(mart)}".encode())
        return "; ".join(_found(connection, look))


def _found(connection: Connection, look: str) -> list[str]:
    return [row[0] for row in connection.execute(look.encode()).fetchall()]


def _loosen(connection: Connection, mart: str) -> None:
    """Drop the indexes that would not let a row be there twice, until the end of the transaction."""
    found = connection.execute(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = %s::regclass AND indisunique",
        [f"marts.{mart}"],
    )
    for (name,) in found.fetchall():
        connection.execute(f"DROP INDEX {name}".encode())
