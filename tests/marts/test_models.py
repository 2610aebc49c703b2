"""What the rows of each mart mean, against what was told by hand: see `tests.marts.world` for the days."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from asset_ledger.pipeline.marts import build, models
from asset_ledger.sources.ssh.errors import TIMEOUT
from asset_ledger.store.database import connect
from asset_ledger.store.decide.decisions import retire
from asset_ledger.store.decide.merges import merge
from asset_ledger.store.derive.duplicates import list_candidates
from asset_ledger.store.raw import inventories
from asset_ledger.store.records import TargetRecord, save_records
from tests.marts.building import BY_DAYS, Marts
from tests.marts.world import DAYS, GIB, World, vm
from tests.pipeline.importing import importing
from tests.pipeline.reporting import reporting_on
from tests.store.telling import telling

ONE, TWO, THREE, FOUR, FIVE = DAYS


@pytest.fixture(scope="module")
def world(built_marts: tuple[World, Marts]) -> World:
    return built_marts[0]


@pytest.fixture(scope="module")
def marts(built_marts: tuple[World, Marts]) -> Marts:
    return built_marts[1]


def one(marts: Marts, query: str, *parameters: Any) -> dict[str, Any]:
    (row,) = marts.rows(query, *parameters)
    return row


def on_day(marts: Marts, world: World, name: str, day: date) -> dict[str, Any]:
    query = "SELECT * FROM marts.daily_specs WHERE (asset_id, collected_date) = (%s, %s)"
    return one(marts, query, world.ids[name], day)


def now(marts: Marts, world: World, name: str, mart: str = "current_assets") -> dict[str, Any]:
    return one(marts, f"SELECT * FROM marts.{mart} WHERE asset_id = %s", world.ids[name])


# --- daily_specs -------------------------------------------------------------------------------------------------


def test_a_day_says_what_was_observed_carried_missing_or_unknown(marts: Marts, world: World) -> None:
    told = [on_day(marts, world, "gone", day) for day in DAYS]
    assert [row["state"] for row in told] == ["observed", "missing", "missing", "observed", "observed"]
    assert [row["age_days"] for row in told] == [0, 1, 2, 0, 0]
    assert told[2]["missing_since"] == datetime(2026, 10, 2, 1, tzinfo=UTC)
    quiet = on_day(marts, world, "web", THREE)
    assert (quiet["state"], quiet["age_days"], quiet["said_on"]) == ("carried", 1, TWO)
    assert (quiet["cpu_cores"], quiet["carried"]["cpu_cores"]) == (6, "2026-10-02")
    assert on_day(marts, world, "batch", ONE)["unknown"]["os_family"] == "NOT_REPORTED"


def test_a_day_has_the_words_of_a_merged_machine_under_the_one_it_is_merged_into(marts: Marts, world: World) -> None:
    days = marts.rows("SELECT * FROM marts.daily_specs WHERE asset_id = %s", world.ids["db-old"])
    assert days == []
    second = on_day(marts, world, "db", TWO)
    # lab does not know the memory that day: what old said the day before, not what lab itself did
    assert (second["cpu_cores"], second["memory_bytes"], second["carried"]) == (
        8,
        31 * GIB,
        {"memory_bytes": "2026-10-01"},
    )
    assert second["sources"] == ["lab", "old"]
    assert on_day(marts, world, "db", FIVE)["memory_bytes"] == 32 * GIB


def test_of_several_sources_the_best_ranked_counts_field_by_field(marts: Marts, world: World) -> None:
    row = on_day(marts, world, "web", FOUR)
    assert (row["hostname"], row["memory_bytes"], row["os_family"]) == ("web", 8 * GIB, "debian")
    assert (row["state"], row["carried"]) == ("observed", {"os_family": "2026-10-02", "os_version": "2026-10-02"})
    assert (row["sources"], row["source_id"] in row["source_ids"]) == (["lab", "probes"], True)


def test_a_decision_counts_from_its_day_on_and_a_retired_machine_is_no_more(marts: Marts, world: World) -> None:
    assert [on_day(marts, world, "batch", day)["hostname"] for day in DAYS] == ["batch"] * 2 + ["night-batch"] * 3
    assert on_day(marts, world, "batch", FIVE)["decided"] == {"hostname": "li.lei"}
    days = marts.rows(
        "SELECT collected_date AS day FROM marts.daily_specs WHERE asset_id = %s ORDER BY 1", world.ids["web-x"]
    )
    assert [row["day"] for row in days] == [ONE, TWO]


def test_a_day_says_where_a_machine_ran_on_it(marts: Marts, world: World) -> None:
    places = [on_day(marts, world, "web", day) for day in DAYS]
    assert [row["host"] for row in places] == ["h1", "h2", "h2", "h2", "h2"]
    assert {row["cluster"] for row in places} == {"Cluster One"}
    assert places[0]["host_asset_id"] == world.ids["h1"]
    assert on_day(marts, world, "h1", ONE)["cluster_asset_id"] == world.ids["c1"]


# --- daily_capacity ----------------------------------------------------------------------------------------------


def test_capacity_counts_machines_by_host_and_power_and_no_missing_one(marts: Marts, world: World) -> None:
    def on(day: date, host: str) -> dict[str, tuple[Any, ...]]:
        found = marts.rows(
            "SELECT * FROM marts.daily_capacity WHERE collected_date = %s AND host_asset_id = %s", day, world.ids[host]
        )
        told: dict[str, tuple[int, ...]] = {}
        for row in found:
            counts = (row["machines"], row["cpu_cores"], row["memory_bytes"])
            before = told.get(row["power_state"], (0, 0, 0))
            told[row["power_state"]] = tuple(map(sum, zip(before, counts, strict=True)))
        return told

    assert on(ONE, "h1") == {"running": (2, 12, 40 * GIB)}
    assert on(ONE, "h2") == {"running": (1, 1, GIB), "stopped": (1, 2, 4 * GIB)}
    # web moved to h2, and what ran there is missing
    assert on(TWO, "h1") == {"running": (1, 8, 31 * GIB)}
    assert on(TWO, "h2") == {"running": (1, 6, 8 * GIB), "stopped": (1, 2, 4 * GIB)}
    hosts = one(
        marts,
        "SELECT * FROM marts.daily_capacity WHERE collected_date = %s AND asset_type = 'physical' AND cluster = 'Cluster One'",
        THREE,
    )
    assert (hosts["machines"], hosts["cpu_cores"], hosts["machines_carried"]) == (2, 96, 2)
    # unknown is not 0: it is counted
    assert (hosts["disk_total_bytes"], hosts["disk_total_bytes_unknown"]) == (None, 2)
    assert marts.rows("SELECT FROM marts.daily_capacity WHERE asset_type = 'cluster'") == []


def test_a_machine_that_another_source_tells_of_too_takes_no_other_one_out_of_its_tenants_sight(
    marts: Marts, world: World
) -> None:
    """On h1 run web and db; old, which is nobody's, tells of db as well. The tenant of lab sees web there."""
    (lab,) = marts.rows("SELECT id FROM ledger.sources WHERE name = 'lab'")
    query = "SELECT machines, cpu_cores FROM marts.daily_capacity WHERE collected_date = %s AND host_asset_id = %s"
    with connect(marts.url) as connection, connection.transaction(force_rollback=True):
        acme = world.estate.tenants["acme"]
        connection.execute("SELECT set_config('app.tenant', %s, true)", [str(acme)])
        connection.execute("INSERT INTO iac.tenant_sources (tenant_id, source_id) VALUES (%s, %s)", [acme, lab["id"]])
        assert sorted(connection.execute(query, [ONE, world.ids["h1"]]).fetchall()) == [(1, 4), (1, 8)]
        connection.execute("SET LOCAL ROLE asset_ledger_service")
        assert connection.execute(query, [ONE, world.ids["h1"]]).fetchall() == [(1, 4)]


# --- asset_changes -----------------------------------------------------------------------------------------------


def test_changes_are_told_on_their_day_with_what_was_before(marts: Marts, world: World) -> None:
    found = marts.rows(
        "SELECT * FROM marts.asset_changes WHERE asset_id = ANY(%s) AND change <> 'appeared' ORDER BY collected_date, field",
        [world.ids["web"], world.ids["gone"], world.ids["db"]],
    )
    assert [
        (row["collected_date"], row["hostname"], row["field"], row["change"], row["before"], row["after"])
        for row in found
    ] == [
        (TWO, "web", "cpu_cores", "changed", "4", "6"),
        (TWO, "gone", "record", "missing", None, None),
        (TWO, "web", "runs_on", "moved", "h1", "h2"),
        (FOUR, "gone", "record", "seen again", None, None),
    ]
    assert {row["since_on"] for row in found} == {ONE}


def test_what_appears_in_two_sources_appears_twice_under_one_machine(marts: Marts, world: World) -> None:
    found = marts.rows(
        "SELECT source FROM marts.asset_changes WHERE asset_id = %s AND change = 'appeared'", world.ids["db"]
    )
    assert sorted(row["source"] for row in found) == ["lab", "old"]


# --- of now ------------------------------------------------------------------------------------------------------


def test_an_asset_says_who_said_what_when_and_by_which_rule_it_was_found(marts: Marts, world: World) -> None:
    web = now(marts, world, "web")
    assert (web["state"], web["said_on"], web["sources"], web["rules"]) == (
        "present", FIVE, ["lab", "probes"], ["mgmt_ip", "source_link"],
    )  # fmt: skip
    assert (web["said_by"]["hostname"], web["said_by"]["os_family"]) == ("lab", "probes")
    assert [(each["source"], each["external_id"], each["rule"]) for each in web["provenance"]] == [
        ("lab", "web", "source_link"),
        ("probes", "10.0.1.1", "mgmt_ip"),
    ]
    assert (web["host"], web["cluster"], web["tags"]) == ("h2", "Cluster One", ["prod"])
    assert (web["probe_status"], web["probe_source"]) == ("ok", "probes")
    db = now(marts, world, "db")
    assert (db["merged_asset_ids"], db["sources"]) == ([world.ids["db-old"]], ["lab", "old"])
    assert (db["probe_status"], db["probe_error_code"]) == ("failed", "SSH_TIMEOUT")
    assert now(marts, world, "web-x")["state"] == "retired"


def test_an_asset_without_an_address_says_why(marts: Marts, world: World) -> None:
    batch = now(marts, world, "batch")
    assert (batch["mgmt_ip"], batch["no_address_because"]) == (None, "GUEST_OFF")
    assert (batch["hostname"], batch["said_by"]["hostname"], batch["decided"]) == (
        "night-batch",
        "user",
        {"hostname": "li.lei"},
    )
    assert now(marts, world, "web")["no_address_because"] is None


def test_coverage_says_who_is_probed_reports_has_an_address_and_is_declared(marts: Marts, world: World) -> None:
    web, db, batch = (now(marts, world, name, "asset_coverage") for name in ("web", "db", "batch"))
    assert (web["is_probed"], web["is_probed_well"], web["not_probed_because"]) == (True, True, None)
    assert (db["is_probed"], db["is_probed_well"], db["not_probed_because"]) == (True, False, "SSH_TIMEOUT")
    assert (batch["is_probed"], batch["not_probed_because"], batch["has_address"], batch["no_address_because"]) == (
        False, "no_address", False, "GUEST_OFF",
    )  # fmt: skip
    assert now(marts, world, "desk", "asset_coverage")["not_probed_because"] == "no_protocol"
    assert (web["has_agent"], web["is_declared"], web["not_declared_because"]) == (False, False, "no_source_is_mapped")
    guest = one(marts, "SELECT * FROM marts.asset_coverage WHERE hostname = 'web1'")
    assert (guest["has_agent"], guest["agent_status"], guest["is_declared"]) == (True, "offline", True)
    assert guest["declared_by"] == ["shop/prod proxmox_virtual_environment_vm.web"]
    assert one(marts, "SELECT * FROM marts.asset_coverage WHERE hostname = 'dns1'")["not_declared_because"] == "orphan"
    left_out = marts.rows(
        "SELECT FROM marts.asset_coverage WHERE asset_id = ANY(%s)", [world.ids["web-x"], world.ids["c1"]]
    )
    assert left_out == []


def test_links_wait_are_confirmed_or_there_are_none(marts: Marts, world: World) -> None:
    found = marts.rows("SELECT * FROM marts.link_review ORDER BY instance")
    assert [(row["instance"], row["review"], row["hostname"], row["matched_by_rule"]) for row in found] == [
        ("lost", "unlinked", None, None),
        ("orders", "confirmed", "db", "mgmt_ip"),
        ("stock", "waits", "night-batch", "hostname"),
    ]


def test_an_instance_is_placed_down_to_its_cluster_or_says_why_not(marts: Marts, world: World) -> None:
    found = {row["instance"]: row for row in marts.rows("SELECT * FROM marts.instance_placement")}
    orders = found["orders"]
    assert (orders["asset_id"], orders["host"], orders["cluster"]) == (world.ids["db"], "h1", "Cluster One")
    assert orders["unplaced_because"] is None
    assert found["stock"]["unplaced_because"] == "only_weak_candidates"
    assert found["lost"]["unplaced_because"] == "no_machine_has_its_address_or_name"


def test_pairs_wait_are_dismissed_or_are_one_by_now(marts: Marts, world: World) -> None:
    found = {
        frozenset((row["asset_id"], row["other_asset_id"])): row
        for row in marts.rows("SELECT * FROM marts.duplicate_review")
    }
    merged = found[frozenset((world.ids["db"], world.ids["db-old"]))]
    assert (merged["review"], merged["merged_into_asset_id"], merged["decided_by"]) == (
        "merged",
        world.ids["db"],
        "li.lei",
    )
    assert found[frozenset((world.ids["web"], world.ids["web-x"]))]["review"] == "dismissed"
    (waits,) = [row for row in found.values() if row["review"] == "waits"]
    assert {waits["hostname"], waits["other_hostname"]} == {"n1", "n2"}
    assert waits["parts"][0]["part"] == "address"


def test_findings_are_told_with_their_age_and_tenant(marts: Marts, world: World) -> None:
    drift = one(marts, "SELECT * FROM marts.iac_findings WHERE kind = 'drift'")
    assert (drift["tenant"], drift["status"], drift["name"], drift["attribute"]) == ("acme", "open", "db", "cpu_cores")
    assert (drift["declared"], drift["observed"], drift["age_days"], drift["project"]) == (4, 12, 0, "shop")
    orphans = {row["name"] for row in marts.rows("SELECT name FROM marts.iac_findings WHERE kind = 'orphan'")}
    assert {"dns1", "win1"} <= orphans
    assert "web1" not in orphans


def test_a_source_says_how_well_it_could_be_read_on_a_day(marts: Marts) -> None:
    query = "SELECT * FROM marts.source_reliability WHERE (source, collected_date) = (%s, %s)"
    probes = one(marts, query, "probes", TWO)
    assert (probes["readings"], probes["targets"], probes["targets_failed"]) == (1, 2, 1)
    assert (float(probes["success_rate"]), probes["errors"]) == (0.5, {"SSH_TIMEOUT": 1})
    assert (float(probes["slowest_target_seconds"]), float(probes["target_seconds"]), float(probes["run_seconds"])) == (
        5.0,
        6.5,
        5.0,
    )
    assert float(one(marts, query, "lab", ONE)["completeness"]) == 1.0
    assert marts.rows(query, "lab", THREE) == []


# --- made again: the last ones change the ledger -----------------------------------------------------------------


def test_a_day_that_changed_changes_alone(marts: Marts, world: World) -> None:
    before = {name: marts.content(name) for name in BY_DAYS}
    with telling(world.estate.url, "late", naming_rank=5, specs_rank=5) as late:
        late.tell(FOUR.isoformat(), {"new": vm("new", "10.0.7.7", 16)}, complete=True)
    marts.make(FOUR, FOUR)
    for name in BY_DAYS:
        after = marts.content(name)
        days = {row[0] for row in [*after, *before[name]] if (row in after) != (row in before[name])}
        assert days == {FOUR}, name
    assert one(marts, "SELECT * FROM marts.current_assets WHERE hostname = 'new'")["cpu_cores"] == 16


def test_a_day_that_has_no_row_left_is_empty(marts: Marts) -> None:
    """dbt's own delete+insert would leave it as it was: it deletes what it has rows for."""
    with connect(marts.url) as connection:
        connection.execute(
            "INSERT INTO marts.source_reliability (collected_date, source_id, source, platform, source_type, scope) "
            "VALUES ('2026-10-03', 1, 'lab', 'told', 'platform', 'all')"
        )
    marts.make(THREE, THREE, "source_reliability")
    assert marts.rows("SELECT FROM marts.source_reliability WHERE collected_date = %s", THREE) == []


def test_whom_a_row_may_be_shown_to_is_in_it(marts: Marts, world: World) -> None:
    acme = world.estate.tenants["acme"]
    with connect(marts.url) as connection, connection.transaction():
        connection.execute("SET LOCAL ROLE asset_ledger_service")
        connection.execute("SELECT set_config('app.tenant', %s, true)", [str(acme)])
        seen = connection.execute("SELECT DISTINCT sources FROM marts.current_assets").fetchall()
        assert seen == [(["pve_x"],)]
        assert connection.execute("SELECT count(*) > 0 FROM marts.iac_findings").fetchone() == (True,)


def test_every_day_is_of_machines_that_there_are_also_one_that_was_made_before(marts: Marts) -> None:
    """The day is not among those of this run, so that no test of those looks at it."""
    name = "days_are_of_assets_that_there_are"
    (found,) = [one for one in marts.make(FIVE, FIVE, "current_assets", "daily_specs") if one.name == name]
    assert (found.status, found.failures) == ("pass", 0)
    project = models(marts.ledger)
    test = f"test.asset_ledger.{name}"
    with connect(marts.url) as connection:
        connection.execute(
            "UPDATE marts.daily_specs SET asset_id = gen_random_uuid() WHERE (collected_date, hostname) = (%s, 'gone')",
            [ONE],
        )
    (found,) = build(marts.ledger, project, [test], days=(FIVE, FIVE))
    assert (found.status, found.failures) == ("fail", 1)
    marts.make(ONE, ONE, "daily_specs", tests=False)
    (found,) = build(marts.ledger, project, [test], days=(FIVE, FIVE))
    assert found.status == "pass"


def test_pairs_that_wait_are_those_that_the_list_shows_whatever_was_decided_since_they_were_found(
    marts: Marts, world: World
) -> None:
    def waiting() -> dict[frozenset[UUID], tuple[Any, ...]]:
        marts.make(FIVE, FIVE, "duplicate_review")
        return {
            frozenset((row["asset_id"], row["other_asset_id"])): (row["score"], row["sources"], row["other_sources"])
            for row in marts.rows("SELECT * FROM marts.duplicate_review WHERE review = 'waits'")
        }

    def listed() -> dict[frozenset[UUID], tuple[Any, ...]]:
        found, _ = list_candidates(connection, limit=100)
        return {
            frozenset(machine["id"] for machine in each["machines"]): (
                each["score"], *(machine["sources"] for machine in each["machines"]),
            )
            for each in found
        }  # fmt: skip

    connection = world.connection
    ids = {
        row["hostname"]: row["id"]
        for row in marts.rows("SELECT id, hostname FROM ledger.assets WHERE hostname IN ('n1', 'n2')")
    }
    assert set(waiting()) == {frozenset(ids.values())}
    # who tells of a machine that is merged into one of the two tells of that one
    merge(connection, world.ids["gone"], ids["n2"], actor="li.lei", at=datetime(2026, 10, 6, tzinfo=UTC))
    connection.execute(
        "INSERT INTO ledger.duplicate_candidates (asset_id, other_asset_id, score, parts, found_at)"
        " VALUES (least(%(a)s, %(b)s), greatest(%(a)s, %(b)s), 50, '[]', now())",
        {"a": world.ids["gone"], "b": world.ids["web"]},
    )
    told = waiting()
    assert told == listed()
    assert set(told) == {frozenset(ids.values())}, "what is merged waits no more, although it was found before"
    assert ["lab", "pve_x"] in told[frozenset(ids.values())]
    retire(connection, ids["n1"], actor="li.lei", at=datetime(2026, 10, 6, tzinfo=UTC))
    assert waiting() == listed() == {}


def test_what_is_told_beside_a_target_is_no_target(marts: Marts, world: World, tmp_path: Path) -> None:
    rows = "".join(f"10.7.0.{n},bad-{n},1\n" for n in range(1, 100)) + "10.7.1.999,a,1\n10.7.1.998,b,1\nc,c,1\n"
    with importing(marts.url, tmp_path / "inbox", "flawed") as flawed:
        flawed.read(TWO.isoformat(), "mgmt_ip,hostname,cpu_cores\n" + rows)
    agents = reporting_on(world.connection, "beta")
    for name in ("one", "two", "three"):
        agents.report(name, f"{TWO} 03:00", addresses=["10.8.0.1/24"], mac=f"52:54:00:00:01:{len(name):02}")
    agents.run(TWO)
    at = datetime(2026, 10, 2, 1, tzinfo=UTC)
    pulled = [
        TargetRecord("lab", None, at, 0, "partial", None, None, "told", {"counts": {}}),
        TargetRecord("vm 7", "vm/7", at, 0, "failed", TIMEOUT, "no answer", "told", {"part_of": "lab"}),
        TargetRecord("vm 8", "vm/8", at, 0, "ok", None, None, "told", {"former_asset_id": "x"}),
    ]
    with telling(marts.url, "lab") as lab, lab.connection.transaction():
        (inventory,) = inventories(lab.connection, lab.row, TWO)
        save_records(lab.connection, lab.row, inventory, pulled, run_id="lab", mode="collect")
    marts.make(TWO, TWO, "source_reliability")

    def told(source: str) -> dict[str, int]:
        query = "SELECT * FROM marts.source_reliability WHERE (source, collected_date) = (%s, %s)"
        row = one(marts, query, source, TWO)
        assert row["success_rate"] == 1
        counts = ("targets", "targets_failed", "parts_failed", "rows_rejected", "conflicts", "ids_reused")
        return {name: row[name] for name in counts if row[name]}

    assert told("flawed") == {"targets": 1, "rows_rejected": 3}
    assert told(agents.source.name) == {"targets": 3, "conflicts": 2}
    assert told("lab") == {"targets": 1, "parts_failed": 1, "ids_reused": 1}
