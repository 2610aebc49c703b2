"""The marts by days against the store's own answers, over random ledgers: there is one truth, and the marts tell it."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asset_ledger.domain.as_of import AsOf
from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.inventory import MACHINE, TargetFailure
from asset_ledger.sources.ssh.errors import TIMEOUT
from asset_ledger.store.database import connect
from asset_ledger.store.decide.decisions import override, retire
from asset_ledger.store.decide.merges import merge
from asset_ledger.store.query.as_of import list_as_of
from asset_ledger.store.query.assets import AssetQuery, list_assets
from asset_ledger.store.query.changes import ChangeQuery, list_changes
from asset_ledger.store.query.day_facts import SPECS
from tests.marts.building import Marts
from tests.store.telling import Telling, document, telling

FIRST = date(2026, 3, 1)
LENGTH = 45
LAST = FIRST + timedelta(days=LENGTH - 1)
DAYS = [FIRST + timedelta(days=number) for number in range(LENGTH)]
NOT_TOLD = ("interface", "identity.generation.uuid")


def some(chance: random.Random, name: str, number: int) -> dict[str, Any]:
    """Return what a source may say of a machine: now this, now that is unknown."""
    facts: dict[str, Any] = {"hostname": f"{name}-{chance.choice('ab')}"}
    if chance.random() < 0.9:
        facts["uuid"] = f"u{number}-{chance.choice('xxxxxxy')}"
    if chance.random() < 0.8:
        facts["cores"] = chance.choice((1, 2, 4))
    if chance.random() < 0.7:
        facts["ip"] = f"10.0.{chance.choice((0, 1))}.{number}"
    if chance.random() < 0.6:
        facts["on"] = chance.sample(["h1", "h2", "h3"], chance.choice((0, 1, 1, 2)))
    if chance.random() < 0.5:
        facts["tags"] = chance.sample(["prod", "test", "db"], chance.choice((0, 1, 2)))
    if chance.random() < 0.5:
        facts["unknown"] = chance.choice(({"hardware": "NODE_DOWN"}, {"*": "AGENT_DOWN"}, {"os.family": "NO_TOOLS"}))
    made = document(**facts)
    if chance.random() < 0.5:
        made.setdefault("hardware", {})["memory_bytes"] = chance.choice((1, 2)) << 30
    if chance.random() < 0.5:
        made["os"] = {"family": chance.choice(("debian", "rhel"))}
    if chance.random() < 0.7:
        made["runtime"] = {"power_state": chance.choice(("running", "stopped", "unknown"))}
    if chance.random() < 0.4:
        made["custom_fields"] = {"owner": chance.choice("mn"), **({"rack": "R1"} if chance.random() < 0.5 else {})}
        if chance.random() < 0.3:
            made["unknown"] = {**made["unknown"], "custom_fields.rack": "NO_RIGHT"}
    return made


def tell(chance: random.Random, one: Telling, day: date, names: dict[str, dict[str, Any]], *, platform: bool) -> None:
    """Let a source say something on a day, or nothing."""
    if chance.random() < 0.25:
        return
    for hour in (1, 9)[: chance.choice((1, 1, 2))]:
        for number, name in enumerate(sorted(names), 1):
            if chance.random() < 0.25:
                names[name] = some(chance, name, number)
        there = {name: made for name, made in names.items() if chance.random() < 0.85}
        if platform:
            one.tell(day.isoformat(), there, hour=hour, complete=True)
        else:
            failures = [TargetFailure(MACHINE, name, name, TIMEOUT, "no answer") for name in names if name not in there]
            one.tell(day.isoformat(), there, hour=hour, failures=failures, external_kind=MACHINE)


@pytest.fixture(scope="module")
def grown(module_database: str, tmp_path_factory: pytest.TempPathFactory, parsed_models: Path) -> Marts:
    """A ledger of 45 days that two platforms and probes spoke of, in which people decided, and its marts of all days."""
    chance = random.Random(20260301)
    with (
        telling(module_database, "lab") as lab,
        telling(module_database, "old", naming_rank=20, specs_rank=5) as old,
        telling(module_database, "probes", platform=False, naming_rank=40, specs_rank=20) as probes,
    ):
        of_lab = {f"vm-{n}": some(chance, f"vm-{n}", n) for n in range(1, 13)}
        of_old = {f"old-{n}": some(chance, f"old-{n}", n) for n in range(1, 6)}
        hosts = {f"10.0.0.{n}": some(chance, f"p-{n}", n) for n in (1, 2, 3, 77)}
        for day in DAYS:
            tell(chance, lab, day, of_lab, platform=True)
            tell(chance, old, day, of_old, platform=True)
            tell(chance, probes, day, hosts, platform=False)
        decide(chance, lab)
    marts = Marts(module_database, tmp_path_factory.mktemp("grown"), parsed_models)
    marts.make(FIRST, LAST)
    return marts


def decide(chance: random.Random, lab: Telling) -> None:
    """Let people merge, name, and retire some machines."""
    ids = [row["id"] for row in lab.rows("SELECT id FROM ledger.assets ORDER BY created_at, id")]
    at = datetime(2026, 3, 20, 4, tzinfo=UTC)
    for child, into in zip(chance.sample(ids, 6), chance.sample(ids, 6), strict=True):
        try:
            merge(lab.connection, child, into, actor="li.lei", at=at)
        except PermanentError:
            continue  # itself, or merged already
    roots = [
        row["id"] for row in lab.rows("SELECT id FROM ledger.assets WHERE merged_into_asset_id IS NULL ORDER BY id")
    ]
    override(lab.connection, roots[0], "hostname", "named", actor="li.lei", at=at)
    override(lab.connection, roots[1], "os_family", "bsd", actor="li.lei", at=at)
    retire(lab.connection, roots[2], actor="li.lei", at=at)


def test_every_day_says_what_the_list_as_of_it_says(grown: Marts) -> None:
    made = grown.rows("SELECT *, host(mgmt_ip) AS mgmt_ip FROM marts.daily_specs")
    states = {row["state"] for row in made}
    assert states == {"observed", "carried", "missing", "unread"} or states == {"observed", "carried", "missing"}
    assert any(row["carried"] for row in made)
    with connect(grown.url) as connection:
        for day in DAYS:
            listed, total = list_as_of(connection, AssetQuery(limit=1000), AsOf(day))
            assert total == len(listed)
            wanted = {asset["id"]: _as_listed(asset, day) for asset in listed}
            found = {row["asset_id"]: _as_made(row) for row in made if row["collected_date"] == day}
            assert found == wanted, day


def _as_listed(asset: dict[str, Any], day: date) -> dict[str, Any]:
    return {
        **{field: asset[field] for field in SPECS},
        "platform_type": asset["platform_type"],
        "said_on": asset["seen_date"],
        "sources": asset["sources"],
        "missing_since": asset["missing_since"],
        "carried": {field: told.isoformat() for field, told in asset["carried"].items()},
        "unknown": asset["unknown"].keys(),
        "decided": asset["decided"],
    }


def _as_made(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **{field: row[field] for field in SPECS},
        "platform_type": row["platform_type"],
        "said_on": row["said_on"],
        "sources": sorted(row["sources"]),
        "missing_since": row["missing_since"],
        "carried": row["carried"],
        "unknown": row["unknown"].keys(),
        "decided": row["decided"],
    }


def test_what_changed_is_what_the_store_says_that_changed(grown: Marts) -> None:
    made = grown.rows("SELECT * FROM marts.asset_changes")
    with connect(grown.url) as connection:
        listed, more = list_changes(connection, ChangeQuery(FIRST, LAST, limit=100_000))
    assert not more
    wanted = sorted(_of_store(event) for event in listed if event["field"] not in NOT_TOLD)
    assert {change for _, _, change, *_ in wanted} >= {"changed", "added", "removed", "moved", "missing", "seen again"}
    found = sorted(_of_mart(row) for row in made)
    assert ([one for one in found if one not in wanted], [one for one in wanted if one not in found]) == ([], [])
    assert found == wanted


def _of_store(event: dict[str, Any]) -> tuple[str, ...]:
    def end(value: Any) -> str:
        return str(value["external_id"] if isinstance(value, dict) else "" if value is None else value)

    said = (event["day"], event["asset_id"], event["change"], event["field"], event["source"], event["external_id"])
    return (*map(str, said), end(event["before"]), end(event["after"]), str(event["since"]))


def _of_mart(row: dict[str, Any]) -> tuple[str, ...]:
    said = (row["collected_date"], row["asset_id"], row["change"], row["field"], row["source"], row["external_id"])
    return (*map(str, said), row["before"] or "", row["after"] or "", str(row["since_on"]))


def test_what_is_now_is_what_the_list_of_now_says(grown: Marts) -> None:
    made = {row["asset_id"]: row for row in grown.rows("SELECT *, host(mgmt_ip) AS mgmt_ip FROM marts.current_assets")}
    with connect(grown.url) as connection:
        listed, _ = list_assets(connection, AssetQuery(state="all", limit=1000))
    assert made.keys() == {asset["id"] for asset in listed}
    for asset in listed:
        row = made[asset["id"]]
        for field in (*SPECS, "zone", "platform_type", "missing_since"):
            assert row[field] == asset[field], (field, asset)
        assert row["carried"] == {field: told.isoformat() for field, told in asset["carried"].items()}
        assert (row["said_on"], sorted(row["sources"])) == (asset["last_seen_date"], sorted(asset["sources"]))
        assert row["tags"] == asset["tags"]
        assert row["unknown"].keys() == {field for field in SPECS if asset[field] is None}
        assert row["said_by"].keys() == {field for field in SPECS if asset[field] is not None}


def test_whose_word_a_value_is_said_it_on_the_day_that_it_is_from(grown: Marts) -> None:
    """Also one that no latest word knows, and that is carried from a word before."""
    told = grown.rows(
        """
        SELECT f.field, c.asset_id, c.said_by ->> f.field AS source, f.value, a.carried ->> f.field AS day
        FROM marts.current_assets AS c
        JOIN ledger.assets AS a ON a.id = c.asset_id
        CROSS JOIN LATERAL jsonb_each_text(to_jsonb(a)) AS f (field, value)
        WHERE a.carried ? f.field
        """
    )
    assert {row["field"] for row in told} >= {"mgmt_ip", "os_family", "memory_bytes"}
    for row in told:
        if row["source"] == "user":
            continue
        said = grown.rows(
            """
            SELECT FROM ledger.asset_daily_specs AS d
            JOIN ledger.assets AS a ON a.id = d.asset_id
            JOIN ledger.sources AS s ON s.id = d.source_id
            WHERE coalesce(a.merged_into_asset_id, a.id) = %s AND s.name = %s AND d.collected_date = %s
              AND to_jsonb(d) ->> %s = %s
            """,
            *(row[name] for name in ("asset_id", "source", "day", "field", "value")),
        )
        assert said, row


def test_days_made_one_by_one_are_those_made_at_once(grown: Marts) -> None:
    """And in whatever order: what a day says is no matter of what was made before."""
    before = {
        name: grown.content(name) for name in ("daily_specs", "daily_capacity", "asset_changes", "source_reliability")
    }
    for day in (DAYS[30], DAYS[3]):
        for name in before:
            with connect(grown.url) as connection:
                connection.execute(f"DELETE FROM marts.{name} WHERE collected_date = %s", [day])
        grown.make(day, day, *before, tests=False)
    for name, rows in before.items():
        assert grown.content(name) == rows, name


def test_made_again_the_days_are_the_same(grown: Marts) -> None:
    names = ("daily_specs", "daily_capacity", "asset_changes", "source_reliability")
    before = {name: grown.content(name) for name in names}
    grown.make(FIRST, FIRST + timedelta(days=29), *names)
    for name, rows in before.items():
        assert grown.content(name) == rows, name
