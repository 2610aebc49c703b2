"""The dashboards in deploy/grafana: whole, without addresses, and of metrics that there are. Their SQL: tests/marts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from asset_ledger.api.figures import Figures
from asset_ledger.pipeline.metrics import exposition
from asset_ledger.sources.registry import PLATFORMS, platform
from asset_ledger.store.agents.presence.keeping import Standing
from asset_ledger.store.database import connect

PROJECT = Path(__file__).parents[1]
GRAFANA = PROJECT / "deploy" / "grafana"
BOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
PAGES = ("metrics.md", "presence.md")
ADDRESS = re.compile(r"https?://|\b\d{1,3}(?:\.\d{1,3}){3}\b|localhost|:\d{4}\b")
FUNCTIONS = {
    "time", "max", "sum", "rate", "increase", "by", "histogram_quantile", "le", "what", "via", "status", "result", "kind",
}  # fmt: skip


def board(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def targets(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in board(path)["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target


def expressions() -> list[str]:
    return [target["expr"] for path in BOARDS for _, target in targets(path) if "expr" in target]


def named(expression: str) -> tuple[set[str], set[str]]:
    """Return the metrics that an expression of PromQL names, and the patterns of names that it has."""
    patterns = set(re.findall(r'__name__=~"([^"]+)"', expression))
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", expression)
    return set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", bare)) - FUNCTIONS, patterns


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_panels_have_ids_of_their_own_and_do_not_overlap(path: Path) -> None:
    panels = board(path)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 and place["h"] > 0 for place in places)
    for one, other in combinations(places, 2):
        across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
        assert not (across and one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]), (one, other)
    for panel in panels:
        refs = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(refs)) == len(refs)
        assert panel["title"]
        assert panel["type"] == "row" or refs


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_asks_what_it_is_given_and_names_no_address(path: Path) -> None:
    found = board(path)
    variables = {each["name"] for each in found["templating"]["list"]}
    sources = {
        f"${{{each['name']}}}": each["query"] for each in found["templating"]["list"] if each["type"] == "datasource"
    }
    for title, target in targets(path):
        assert sources[target["datasource"]["uid"]] == target["datasource"]["type"], title
        used = set(re.findall(r"\$\{(\w+)(?::\w+)?\}", target.get("rawSql", target.get("expr", ""))))
        assert used <= variables, title
    used_anywhere = set(re.findall(r"\$\{(\w+)(?::\w+)?\}", path.read_text(encoding="utf-8")))
    assert variables == used_anywhere, "every variable is of use"
    assert ADDRESS.findall(path.read_text(encoding="utf-8")) == []


def test_dashboards_are_known_apart_and_are_of_one_time_zone() -> None:
    found = [board(path) for path in BOARDS]
    assert len({each["uid"] for each in found}) == len({each["title"] for each in found}) == len(BOARDS) == 2
    assert {each["timezone"] for each in found} == {"Asia/Shanghai"}


@pytest.mark.parametrize("path", sorted((GRAFANA / "provisioning").rglob("*.yaml")), ids=lambda path: path.parent.name)
def test_what_grafana_is_provisioned_with_comes_from_its_environment(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)["apiVersion"] == 1
    assert ADDRESS.findall(text) == []
    page = (PROJECT / "docs" / "grafana.md").read_text(encoding="utf-8")
    for name in re.findall(r"\$\{(\w+)\}", text):
        assert f"`{name}`" in page, name


def test_every_metric_that_is_drawn_is_described() -> None:
    pages = "".join((PROJECT / "docs" / page).read_text(encoding="utf-8") for page in PAGES)
    listed = set(re.findall(r"^\| `([\w<>]+)", pages, re.MULTILINE))
    described = {name.replace("<platform>", each) for name in listed for each in PLATFORMS}
    for expression in expressions():
        names, patterns = named(expression)
        assert names or patterns, expression
        assert {re.sub(r"_bucket$", "", name) for name in names} <= described, expression
        for pattern in patterns:
            assert any(re.fullmatch(pattern, name) for name in described), pattern


def test_every_metric_that_is_drawn_is_told(database_url: str) -> None:
    told = _of_the_service() | _of_the_sources(database_url)
    for expression in expressions():
        names, patterns = named(expression)
        assert names <= told, expression
        for pattern in patterns:
            assert any(re.fullmatch(pattern, name) for name in told), pattern


def _of_the_service() -> set[str]:
    figures = Figures()
    figures.answered("state.read", 200, 0.1)
    figures.watch(lambda: Standing(heard=1, sessions=1, table=True, redis=True))
    return _names(figures.exposition((0, None), []).decode())


def _of_the_sources(url: str) -> set[str]:
    with connect(url) as connection:
        for name in PLATFORMS:
            connection.execute(
                "INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank)"
                " VALUES (%s, %s, %s, %s, 'default', 1, 1)",
                [name, name, platform(name).platform_type, platform(name).source_type],
            )
        return _names(exposition(connection, now=datetime.now(UTC)))


def _names(told: str) -> set[str]:
    """Return the names in a scrape, of families that have no sample yet too."""
    families = re.findall(r"^# TYPE (\S+) (\S+)$", told, re.MULTILINE)
    return {f"{name}_bucket" if kind == "histogram" else name for name, kind in families} | {
        name for name, _ in families
    }
