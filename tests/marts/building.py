"""Marts of a ledger, made as a run makes them: dbt in a process of its own, on the days that are asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.pipeline.marts import Made, Models, build, models
from asset_ledger.store.database import connect, rows

BY_DAYS = ("daily_specs", "daily_capacity", "asset_changes", "source_reliability")
OF_NOW = (
    "current_assets", "asset_coverage", "link_review", "duplicate_review", "iac_findings", "instance_placement",
)  # fmt: skip


@dataclass
class Marts:
    """The marts of one ledger. `parsed` is a folder in which the parsed models stay from one ledger to the next."""

    url: str
    home: Path
    parsed: Path
    staged: bool = field(default=False)

    @property
    def ledger(self) -> Ledger:
        return cast(
            "Ledger", SimpleNamespace(url=self.url, settings=SimpleNamespace(home=self.home, parsed_models=self.parsed))
        )

    def make(self, first: str | date, last: str | date, *names: str, tests: bool = True) -> list[Made]:
        """Make these marts (all), and the views before them once, and run what dbt tests of them."""
        project: Models = models(self.ledger)
        wanted = set(names or BY_DAYS + OF_NOW)
        chosen = [
            unique_id
            for unique_id, node in project.manifest["nodes"].items()
            if (
                node["resource_type"] == "model"
                and (node["name"] in wanted or (not self.staged and node["name"].startswith("stg_")))
            )
            or (node["resource_type"] == "test" and tests and _tests(node, wanted))
        ]
        days = (_day(first), _day(last))
        made = build(self.ledger, project, chosen, days=days)
        self.staged = True
        assert [one for one in made if not one.done] == []
        return made

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        with connect(self.url) as connection:
            return rows(connection, query, list(parameters) or None)

    def content(self, name: str) -> list[tuple[Any, ...]]:
        """Return every row of a mart, in an order of its own."""
        with connect(self.url) as connection:
            return sorted(connection.execute(f"SELECT * FROM marts.{name}").fetchall(), key=repr)


def _tests(node: dict[str, Any], wanted: set[str]) -> bool:
    marts = {name.split(".")[-1] for name in node["depends_on"]["nodes"]} & set(BY_DAYS + OF_NOW)
    return bool(marts) and marts <= wanted


def _day(told: str | date) -> date:
    return told if isinstance(told, date) else date.fromisoformat(told)
