"""A ledger that is written while marts are made: what came between a mart and its tests is no mistake of the mart's."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from asset_ledger.pipeline.marts import Made, build, models
from asset_ledger.store.database import connect
from asset_ledger.store.marts import settled_before
from tests.marts.building import Marts
from tests.store.telling import document, telling

DAY = "2026-10-01"
DAYS = (date.fromisoformat(DAY), date.fromisoformat(DAY))
MADE = ("daily_specs", "current_assets", "asset_coverage")


def looked(marts: Marts, settled: str) -> dict[str, Made]:
    """Run every test of these marts, and none of them anew."""
    project = models(marts.ledger)
    nodes = project.manifest["nodes"]
    chosen = [
        unique_id
        for unique_id, node in nodes.items()
        if node["resource_type"] == "test"
        and {nodes[each]["name"] for each in node["depends_on"]["nodes"] if each in nodes} - {"stg_ledger__decisions"}
        <= {*MADE}
    ]
    return {one.name: one for one in build(marts.ledger, project, chosen, days=DAYS, settled_before=settled)}


def failed(made: dict[str, Made]) -> set[str]:
    return {name for name, one in made.items() if one.status == "fail"}


@pytest.fixture
def marts(module_database: str, tmp_path_factory: pytest.TempPathFactory, parsed_models: Path) -> Marts:
    return Marts(module_database, tmp_path_factory.mktemp("overtaken"), parsed_models)


def test_a_machine_that_came_since_is_no_mistake_and_one_that_was_there_is(marts: Marts) -> None:
    with telling(marts.url, "lab") as lab, connect(marts.url) as db:
        lab.tell(DAY, {"web": document(hostname="web")}, complete=True)
        marts.make(DAY, DAY, *MADE, tests=False)
        settled = settled_before(db)
        assert failed(looked(marts, settled)) == set()
        lab.tell(DAY, {"web": document(hostname="web"), "late": document(hostname="late")}, complete=True)
        assert failed(looked(marts, settled)) == set()
        lost = {"current_assets_are_the_canonical_assets", "every_day_row_is_told"}
        assert failed(looked(marts, settled_before(db))) == lost, "a run that begins now has all of it to tell"
        assert failed(looked(marts, "")) == lost, "as has whoever calls dbt by hand"
        marts.make(DAY, DAY, *MADE, tests=False)
        db.execute("DELETE FROM marts.daily_specs WHERE hostname = 'web'")
        assert failed(looked(marts, settled_before(db))) == {"every_day_row_is_told"}, "what was there is missed"
