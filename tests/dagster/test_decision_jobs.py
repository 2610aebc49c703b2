"""The jobs by which people decide: what each does to a real ledger, and what it says of a wrong configuration."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from tests.dagster.installation import HEADER, Installation, attempts, failure_of

DB = "192.0.2.10,db-01,vm,prod;db,4,16"
WEB = "192.0.2.11,web-01,vm,web,2,4"
INSTANCE = "name,host,port,db_type\norders,192.0.2.10,5432,postgresql\n"
WHO = {"actor": "han.mei", "note": "seen in the rack"}


@pytest.fixture
def filled(installation: Installation) -> Installation:
    """Two machines and a database instance on one of them."""
    installation.drop("hosts_2026-11-01.csv", DB, WEB)
    installation.drop("instances_2026-11-01.csv", text=INSTANCE)
    assert installation.collect("office", "2026-11-01").success
    assert installation.links().success
    return installation


def told(result: dg.ExecuteInProcessResult) -> str:
    """Return what the job says it did."""
    assert result.success, failure_of(result).description
    (event,) = (event for event in result.all_events if event.is_successful_output)
    return str(event.step_output_data.metadata["done"].value)


def decided(installation: Installation) -> list[dict[str, Any]]:
    return installation.rows("SELECT kind, value, actor, note FROM ledger.decisions ORDER BY id")


def test_an_override_wins_and_is_given_back(filled: Installation) -> None:
    config = {"asset": "db-01", "field": "hostname", "value": "orders-db", **WHO}
    assert "hostname is orders-db, by han.mei" in told(filled.run("ledger_override", config))
    found = filled.rows("SELECT hostname FROM ledger.assets WHERE mgmt_ip = '192.0.2.10'")
    assert found == [{"hostname": "orders-db"}]
    (row,) = decided(filled)
    assert row == {"kind": "override", "value": "orders-db", "actor": "han.mei", "note": "seen in the rack"}
    cleared = filled.run("ledger_override", {"asset": "orders-db", "clear": True, **WHO})
    assert "is what its sources say" in told(cleared)
    assert filled.rows("SELECT hostname FROM ledger.assets WHERE mgmt_ip = '192.0.2.10'") == [{"hostname": "db-01"}]


def test_two_assets_are_merged_and_parted(filled: Installation) -> None:
    assert "is merged into" in told(filled.run("ledger_merge", {"child": "web-01", "into": "192.0.2.10", **WHO}))
    merged = "SELECT hostname FROM ledger.assets WHERE merged_into_asset_id IS NOT NULL"
    assert filled.rows(merged) == [{"hostname": "web-01"}]
    assert "of its own again" in told(filled.run("ledger_unmerge", {"child": "web-01", **WHO}))
    assert filled.rows(merged) == []


def test_links_and_look_alikes_follow_a_decision_at_once(filled: Installation) -> None:
    links = "SELECT match_status FROM ledger.instance_asset_links"
    pairs = "SELECT score FROM ledger.duplicate_candidates"
    filled.drop("hosts_2026-11-02.csv", text=f"{HEADER.strip()},SN\n{DB},S1\n{WEB},S1\n")
    assert filled.collect("office", "2026-11-02").success
    assert told(filled.run("ledger_dismiss_duplicate", {"one": "db-01", "other": "web-01", "withdraw": True, **WHO}))
    candidates = filled.rows(pairs)
    assert len(candidates) == 1
    assert told(filled.run("ledger_merge", {"child": "web-01", "into": "db-01", **WHO}))
    assert filled.rows(pairs) == []
    assert told(filled.run("ledger_unmerge", {"child": "web-01", **WHO}))
    assert filled.rows(pairs) == candidates
    (asset,) = filled.rows("SELECT id::text FROM ledger.assets WHERE hostname = 'db-01'")
    assert filled.rows(links) == [{"match_status": "confirmed"}]
    assert told(filled.run("ledger_retire", {"asset": "db-01", **WHO}))
    assert filled.rows(links) == []
    assert told(filled.run("ledger_retire", {"asset": asset["id"], "restore": True, **WHO}))
    assert filled.rows(links) == [{"match_status": "confirmed"}]


def test_a_merged_asset_does_not_stand_for_its_root(filled: Installation) -> None:
    filled.drop("hosts_2026-11-02.csv", DB, WEB, "192.0.2.12,new-01,vm,,1,1")
    assert filled.collect("office", "2026-11-02").success
    (child,) = filled.rows("SELECT id::text FROM ledger.assets WHERE hostname = 'web-01'")
    assert told(filled.run("ledger_merge", {"child": "web-01", "into": "db-01", **WHO}))
    for name, says in ((child["id"], "already, by han.mei"), ("web-01", "which is merged into db-01")):
        refused = filled.run("ledger_merge", {"child": name, "into": "new-01", **WHO})
        assert not refused.success
        assert says in str(failure_of(refused).description)
    assert len(decided(filled)) == 1


def test_a_machine_is_retired_and_restored(filled: Installation) -> None:
    (asset,) = filled.rows("SELECT id::text FROM ledger.assets WHERE hostname = 'web-01'")
    assert "is retired" in told(filled.run("ledger_retire", {"asset": "web-01", **WHO}))
    retired = "SELECT hostname FROM ledger.assets WHERE deleted_at IS NOT NULL"
    assert filled.rows(retired) == [{"hostname": "web-01"}]
    assert "back in the lists" in told(filled.run("ledger_retire", {"asset": asset["id"], "restore": True, **WHO}))
    assert filled.rows(retired) == []


def test_two_look_alikes_are_dismissed_and_withdrawn(filled: Installation) -> None:
    config = {"one": "db-01", "other": "web-01", **WHO}
    assert "two machines" in told(filled.run("ledger_dismiss_duplicate", config))
    assert "may be one machine again" in told(filled.run("ledger_dismiss_duplicate", config | {"withdraw": True}))
    assert [row["value"] for row in decided(filled)] == [True, None]


def test_a_link_is_rejected_confirmed_and_cleared(filled: Installation) -> None:
    status = "SELECT match_status, link_type FROM ledger.instance_asset_links ORDER BY asset_id = (SELECT id FROM ledger.assets WHERE hostname = 'web-01')"
    config = {"instance": "orders", "asset": "db-01", **WHO}
    assert told(filled.run("ledger_link", config | {"decision": "reject"})).endswith("rejected; `clear` undoes it")
    assert filled.rows(status) == [{"match_status": "rejected", "link_type": "manual"}]
    assert "what was said of it is taken back: rejected" in told(
        filled.run("ledger_link", config | {"decision": "clear"})
    )
    assert filled.rows(status) == [{"match_status": "confirmed", "link_type": "auto"}]
    assert "confirmed" in told(filled.run("ledger_link", config | {"asset": "web-01"}))
    assert "already; nothing changed" in told(filled.run("ledger_link", config | {"asset": "web-01"}))


def test_tags_are_put_on_a_machine_and_taken_off_for_good(filled: Installation) -> None:
    tags = "SELECT tag FROM ledger.asset_tags WHERE removed_at IS NULL AND asset_id = (SELECT id FROM ledger.assets WHERE hostname = 'db-01') ORDER BY 1"
    config = {"asset": "db-01", "add": ["core", "prod"], "remove": ["db"], **WHO}
    assert told(filled.run("ledger_tag", config)).endswith(": added core; removed db")
    assert filled.rows(tags) == [{"tag": "core"}, {"tag": "prod"}]
    assert [(row["kind"], row["actor"], row["note"]) for row in decided(filled)] == [
        ("tag", "han.mei", "seen in the rack")
    ] * 2
    assert "nothing changed" in told(filled.run("ledger_tag", config))
    filled.drop("hosts_2026-11-02.csv", DB)
    assert filled.collect("office", "2026-11-02").success
    assert filled.rows(tags) == [{"tag": "core"}, {"tag": "prod"}], "no reading brings a removed tag back"


def test_a_retired_machine_is_restored_by_a_name_that_another_has_now(filled: Installation) -> None:
    assert told(filled.run("ledger_retire", {"asset": "web-01", **WHO}))
    filled.drop("hosts_2026-11-02.csv", "192.0.2.99,web-01,vm,,1,1")
    assert filled.collect("office", "2026-11-02").success
    standing = "SELECT host(mgmt_ip) AS ip, deleted_at IS NOT NULL AS retired FROM ledger.assets WHERE hostname = 'web-01' ORDER BY 1"
    assert [row["retired"] for row in filled.rows(standing)] == [True, False]
    assert "back in the lists" in told(filled.run("ledger_retire", {"asset": "web-01", "restore": True, **WHO}))
    assert [row["retired"] for row in filled.rows(standing)] == [False, False]


def test_held_absences_are_approved_and_rejected(installation: Installation) -> None:
    every = [f"192.0.2.{n},host-{n:02},vm,,1,1" for n in range(1, 11)]
    installation.drop("hosts_2026-11-01.csv", *every)
    assert installation.collect("office", "2026-11-01", complete=True).success
    installation.drop("hosts_2026-11-02.csv", *every[:2])
    assert installation.collect("office", "2026-11-02", complete=True).success
    (held,) = installation.rows("SELECT id FROM ledger.inventories WHERE absences = 'held'")
    missing = "SELECT count(*) FROM ledger.assets WHERE missing_since IS NOT NULL"
    approve = {"inventory": held["id"], "decision": "approve", **WHO}
    assert "approved: 8 missing" in told(installation.run("ledger_absences", approve))
    assert installation.rows(missing) == [{"count": 8}]
    assert "already; nothing changed" in told(installation.run("ledger_absences", approve))
    assert "8 no longer missing" in told(installation.run("ledger_absences", {"inventory": held["id"], **WHO}))
    assert installation.rows(missing) == [{"count": 0}]


def test_who_decides_may_be_a_tag_of_the_run_and_nobody_is_refused(filled: Installation) -> None:
    config = {"asset": "db-01", "value": "orders-db"}
    refused = filled.run("ledger_override", config)
    assert not refused.success
    assert attempts(refused) == 1
    assert "DECISION_INVALID: `actor`: nobody is named" in str(failure_of(refused).description)
    assert decided(filled) == []
    assert filled.run("ledger_override", config, {"actor": "li.lei"}).success
    assert decided(filled)[0]["actor"] == "li.lei"


@pytest.mark.parametrize(
    ("job", "config", "says"),
    [
        ("ledger_merge", {"child": "db-01"}, "`into`: it is empty"),
        ("ledger_merge", {"child": "db-01", "into": "nosuch"}, "ASSET_NOT_FOUND: nosuch"),
        ("ledger_merge", {"child": "db-01", "into": "db-01"}, "DECISION_INVALID"),
        ("ledger_unmerge", {"child": "db-01"}, "db-01"),
        ("ledger_override", {"asset": "db-01", "field": "cpu_cores", "value": "4"}, "DECISION_INVALID: cpu_cores"),
        ("ledger_override", {"asset": "db-01"}, "`value`: it is empty"),
        ("ledger_override", {"asset": "db-01", "value": "x", "clear": True}, "one of the two"),
        ("ledger_tag", {"asset": "db-01"}, "`add`: no tag is named"),
        ("ledger_tag", {"asset": "db-01", "add": ["new", "a b"]}, "DECISION_INVALID: a b: a tag is"),
        ("ledger_tag", {"asset": "db-01", "add": ["x"], "remove": ["x"]}, "to be added too: x"),
        ("ledger_link", {"instance": "nosuch", "asset": "db-01"}, "INSTANCE_NOT_FOUND: nosuch"),
        ("ledger_absences", {}, "`inventory`: it is empty"),
        ("ledger_absences", {"inventory": 1}, "reading 1"),
    ],
)
def test_a_wrong_configuration_ends_at_once_with_what_to_do(
    filled: Installation, job: str, config: dict[str, Any], says: str
) -> None:
    result = filled.run(job, config | WHO)
    assert not result.success
    assert attempts(result) == 1
    failure = failure_of(result)
    assert says in str(failure.description)
    assert failure.metadata["advice"].value
    assert decided(filled) == []


def test_every_field_of_every_decision_says_what_it_is_for(installation: Installation) -> None:
    for job in installation.definitions.get_repository_def().get_all_jobs():
        if job.tags.get("mode") not in ("decide", "rebuild"):
            continue
        (op,) = job.nodes
        fields = op.definition.config_schema.config_type.fields
        assert fields, job.name
        for name, field in fields.items():
            assert field.description, (job.name, name)
            assert not field.is_required, (job.name, name)


def test_a_rebuild_verifies_and_fails_with_the_tables_that_differ(filled: Installation) -> None:
    assert filled.run("ledger_rebuild", {}).success
    with filled.connect() as connection:
        connection.execute("UPDATE ledger.assets SET cpu_cores = 99 WHERE hostname = 'web-01'")
    refused = filled.run("ledger_rebuild", {"verify": True})
    assert not refused.success
    failure = failure_of(refused)
    assert "REBUILD_DIFFERS: 1 tables differ: assets (-1 +1)" in str(failure.description)
    (row,) = failure.metadata["differences"].records
    assert row.data["table"] == "assets"
    assert filled.rows("SELECT cpu_cores FROM ledger.assets WHERE hostname = 'web-01'") == [{"cpu_cores": 99}]
    assert filled.run("ledger_rebuild", {"verify": False}).success
    assert filled.rows("SELECT cpu_cores FROM ledger.assets WHERE hostname = 'web-01'") == [{"cpu_cores": 2}]
    assert filled.run("ledger_rebuild", {}).success
