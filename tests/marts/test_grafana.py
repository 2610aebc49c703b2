"""Every SQL statement of the dashboards runs on marts that were built, as the role that Grafana reads with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asset_ledger.store.database import connect
from tests.marts.building import Marts
from tests.marts.world import World

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana"
BOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
ROLE = "asset_ledger_grafana"


def statements() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield each statement with where it stands, its format, and the queries of the variables that it names."""
    for path in BOARDS:
        board = json.loads(path.read_text(encoding="utf-8"))
        asked = {each["name"]: each["query"] for each in board["templating"]["list"] if each["type"] == "query"}
        for name, query in asked.items():
            yield f"{path.stem}: ${name}", query, {}
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                if "rawSql" in target:
                    yield f"{path.stem}: {panel['title']} ({target['format']})", target["rawSql"], asked


def expanded(query: str, values: dict[str, list[str]], first: datetime, last: datetime) -> str:
    """Return a statement as Grafana sends it: macros and variables are put in as text."""
    query = query.replace("$__timeFrom()", f"'{first:%Y-%m-%dT%H:%M:%SZ}'")
    query = query.replace("$__timeTo()", f"'{last:%Y-%m-%dT%H:%M:%SZ}'")
    for name, chosen in values.items():
        quoted = ",".join("'" + each.replace("'", "''") + "'" for each in chosen)
        query = query.replace(f"${{{name}:sqlstring}}", quoted)
    assert "$" not in query, query
    return query


@pytest.fixture(scope="module")
def reader(built_marts: tuple[World, Marts]) -> Iterator[Any]:
    """A connection as Grafana's role, made by deploy/grafana/role.sql."""
    world, marts = built_marts
    script = re.sub(r"--.*", "", (GRAFANA / "role.sql").read_text(encoding="utf-8")).replace(":password", "'x'")
    world.connection.execute(script)
    world.connection.commit()
    with connect(marts.url) as connection:
        connection.execute(f"SET ROLE {ROLE}")
        connection.execute("SET default_transaction_read_only = on")
        yield connection
    world.connection.execute(f"DROP OWNED BY {ROLE}")
    world.connection.execute(f"DROP ROLE {ROLE}")
    world.connection.commit()


def test_every_statement_runs_as_grafanas_role_and_tells_something(
    built_marts: tuple[World, Marts], reader: Any
) -> None:
    world, _ = built_marts
    first = datetime.combine(world.first, datetime.min.time(), UTC)
    last = datetime.combine(world.today, datetime.min.time(), UTC) + timedelta(days=2)  # findings are of today
    empty = []
    for place, query, asked in statements():
        values = {name: [str(row[0]) for row in reader.execute(one).fetchall()] for name, one in asked.items()}
        assert all(values.values()), place
        found = reader.execute(expanded(query, values, first, last))
        columns = [each.name for each in found.description]
        rows = found.fetchall()
        if place.endswith("(time_series)"):
            assert columns[:2] == ["time", "metric"], place
            assert all(isinstance(row[0], datetime) and isinstance(row[1], str) for row in rows), place
            assert rows == sorted(rows, key=lambda row: row[0]), place
        if not rows:
            empty.append(place)
    assert empty == []


def test_the_role_reads_marts_and_nothing_else(reader: Any) -> None:
    import psycopg

    assert reader.execute("SELECT count(*) FROM marts.current_assets").fetchone()[0] > 0
    for statement in ("SELECT * FROM ledger.assets", "DELETE FROM marts.current_assets", "SELECT * FROM agent.users"):
        with pytest.raises(psycopg.Error):
            reader.execute(statement)
        reader.rollback()
