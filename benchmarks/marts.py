"""What dbt costs over its own SQL: the marts of one day over 10,000 machines and a year of days, and a backfill of 30.

The ledger is that of `benchmarks.as_of` with a year of days, and a host for each machine. The build is the one that a
run does: models and tests of all marts, one call. Bare is every statement of it in the same database, one after another
in one session, with the same rows deleted and the same indexes kept: `BEGIN`, delete, insert, `ROLLBACK`. Start-up is
what is left of dbt's process when the time that it gives its models is taken off. Run: `python -m benchmarks marts`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

from asset_ledger.domain.calendar import collected_date
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.pipeline.marts import Made, Models, build, models
from asset_ledger.store.database import Connection, connect
from benchmarks.as_of import ASSETS, fill
from benchmarks.measuring import bench_server, fresh_ledger
from benchmarks.table import Row

LENGTH = 365
BACKFILL = 30
ROUNDS = 3
LIMIT = 2.0
HOSTS = 100

_HOSTS = """
INSERT INTO ledger.asset_relations (from_link_id, kind, to_kind, to_external_id, began_date, began_at)
SELECT id, 'runs_on', 'vm', 'vm-' || (1 + id %% %(hosts)s), since_date, since_at FROM ledger.asset_source_links
"""
_TARGETS = """
INSERT INTO ledger.sync_target_records (collected_date, run_id, source_id, inventory_id, scope, mode, target,
                                        started_at, duration_ms, status, effect)
SELECT collected_date, 'run ' || id, source_id, id, scope, mode, 'pve', collected_at, 60000, 'ok', 'published'
FROM ledger.inventories
"""


@dataclass(frozen=True, slots=True)
class Build:
    """One call of dbt: all of it, and what dbt gives to models and tests, in seconds."""

    wall_s: float
    work_s: float
    made: Sequence[Made]


class Marts:
    """The marts of one ledger, as a run makes them."""

    def __init__(self, url: str, folder: Path) -> None:
        self._ledger = cast(
            "Ledger",
            SimpleNamespace(url=url, settings=SimpleNamespace(home=folder, parsed_models=folder / "parsed")),
        )
        self._results = folder / "dbt" / "work" / "run_results.json"
        self.project: Models = models(self._ledger)

    def ids(self, schema: str) -> list[str]:
        """Return the models of a schema, and the tests of the marts with them."""
        nodes = self.project.manifest["nodes"].items()
        found = [
            unique_id for unique_id, node in nodes if node["resource_type"] == "model" and node["schema"] == schema
        ]
        if schema == "marts":
            found += [unique_id for unique_id, node in nodes if node["resource_type"] == "test"]
        return found

    def build(self, ids: Sequence[str], first: date, last: date, *, again: bool = False) -> Build:
        """Make models and run tests, `again` where these made the marts before. Raises RuntimeError where one fails."""
        began = time.perf_counter()
        made = build(self._ledger, self.project, ids, days=(first, last), same_models=again)
        wall_s = time.perf_counter() - began
        if wrong := [one for one in made if not one.done]:
            raise RuntimeError(f"{wrong[0].name}: {wrong[0].message}")
        return Build(wall_s, float(json.loads(self._results.read_bytes())["elapsed_time"]), made)


def measure(rounds: int = ROUNDS) -> list[Row]:
    """Return a row a comparison. Raises RuntimeError where the marts are not what is to be measured."""
    last = collected_date(datetime.now(UTC)) - timedelta(days=1)
    with bench_server() as (server, folder):
        url = fresh_ledger(server, "bench_marts")
        with connect(url) as connection:
            began = time.monotonic()
            fill(connection, last - timedelta(days=LENGTH - 1), LENGTH)
            connection.execute(_HOSTS, {"hosts": HOSTS})
            connection.execute(_TARGETS)
            connection.execute("VACUUM ANALYZE")
            filled_s = time.monotonic() - began
        marts = Marts(url, folder)
        staged = marts.build(marts.ids("marts_staging"), last, last)
        before = last - timedelta(days=BACKFILL)
        backfill = marts.build(marts.ids("marts"), before, last - timedelta(days=1))
        with connect(url) as connection:
            connection.execute("SET app.marts = 'on'")
            connection.execute("VACUUM ANALYZE")
            built, bare = [], []
            for _ in range(rounds):
                built.append(marts.build(marts.ids("marts"), last, last, again=True))
                bare.append(_bare_s(connection, built[-1].made, marts.project, last))
            _check(connection, before, last)
            touched = _touched(connection, built[-1].made)
        return _rows(filled_s, staged, backfill, built, bare, touched, last)


def _rows(
    filled_s: float,
    staged: Build,
    backfill: Build,
    built: Sequence[Build],
    bare: Sequence[float],
    touched: Sequence[str],
    last: date,
) -> list[Row]:
    work = median(one.work_s for one in built)
    ratio = median(one.work_s / other for one, other in zip(built, bare, strict=True))
    start_up = median(one.wall_s - one.work_s for one in built)
    tests = sum(one.is_test for one in built[0].made)
    return [
        Row(
            f"{ASSETS:,} machines on {LENGTH} days: {ASSETS * LENGTH:,} day rows made",
            f"{filled_s:.0f} s",
            "",
            "stated",
            True,
        ),
        Row(
            f"dbt build of one day: {len(built[0].made) - tests} marts and {tests} tests",
            f"{work:.2f} s, {ratio:.2f}×",
            f"{median(bare):.2f} s the same SQL bare",
            f"≤ {LIMIT:g}×",
            ratio <= LIMIT,
        ),
        Row("dbt's start-up before that", f"{start_up:.2f} s", "", "stated", True),
        Row(
            f"a backfill of {BACKFILL} days in one call",
            f"{backfill.work_s:.1f} s",
            f"{BACKFILL} × one day: {BACKFILL * (work + start_up):.1f} s",
            "less than by days",
            backfill.work_s < BACKFILL * (work + start_up),
        ),
        Row("the staging views, made once a release", f"{staged.work_s:.1f} s", "", "stated", True),
        Row(
            "partitions of the day rows that one day's marts read",
            f"{len(touched)}: {', '.join(touched)}",
            f"{LENGTH // 30 + 1} there are",
            "the day's month, and that of the day before",
            set(touched) <= {_month(last), _month(last - timedelta(days=1))},
        ),
    ]


def _bare_s(connection: Connection, made: Sequence[Made], project: Models, day: date) -> float:
    """Run every statement of a build by itself, in its order, and return how long that took together."""
    took = 0.0
    for one in made:
        if one.query is None:
            raise RuntimeError(f"dbt does not say what {one.name} is")
        began = time.perf_counter()
        with connection.transaction(force_rollback=True):
            for statement in _statements(one, project, day):
                connection.execute(statement.encode())
        took += time.perf_counter() - began
    return took


def _statements(one: Made, project: Models, day: date) -> list[str]:
    """Return what a model's or test's own SQL is: dbt makes a view of its columns, keeps it apart, swaps names."""
    assert one.query is not None
    if one.is_test:
        return [f"SELECT count(*) FROM ({one.query}) AS found"]
    config = project.manifest["nodes"][one.unique_id]["config"]
    if config["materialized"] == "incremental":
        table = f"marts.{one.name}"
        where = f"collected_date BETWEEN '{day}' AND '{day}'"
        return [*_HOOK, f"DELETE FROM {table} WHERE {where}", f"INSERT INTO {table} {one.query}"]
    indexes = [f"CREATE INDEX ON bare ({', '.join(each['columns'])})" for each in config.get("indexes") or ()]
    return [
        *_HOOK,
        f"CREATE TABLE public.bare AS {one.query}",
        *(each.replace("ON bare", "ON public.bare") for each in indexes),
    ]


_HOOK = ("SET LOCAL jit = off", "SET LOCAL enable_nestloop = off", "SET LOCAL enable_mergejoin = off")
"""What macro `plan_for_many` says before each mart."""


def _check(connection: Connection, first: date, last: date) -> None:
    found = connection.execute(
        "SELECT collected_date, count(*) FROM marts.daily_specs GROUP BY 1 ORDER BY 1"
    ).fetchall()
    wanted = [(first + timedelta(days=n), ASSETS) for n in range((last - first).days + 1)]
    if found != wanted:
        raise RuntimeError(f"daily_specs has {found[:3]}…")


def _touched(connection: Connection, made: Sequence[Made]) -> list[str]:
    """Return the partitions of the day rows that the marts by days read: executed, not only planned."""
    found: set[str] = set()
    for one in made:
        if not one.is_test and one.name in ("daily_specs", "asset_changes"):
            assert one.query is not None
            with connection.transaction(force_rollback=True):
                for statement in _HOOK:
                    connection.execute(statement)
                row = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {one.query}".encode()).fetchone()
            assert row
            found |= _read(row[0][0]["Plan"])
    return sorted(found)


def _read(node: dict[str, Any]) -> set[str]:
    name = node.get("Relation Name", "")
    found = {name} if re.match(r"asset_daily_specs_y", name) and node.get("Actual Loops") else set()
    return found.union(*(_read(child) for child in node.get("Plans", ())))


def _month(day: date) -> str:
    return f"asset_daily_specs_y{day.year}m{day.month:02}"
