"""The line of time of one asset: what every table tells of it, newest first, of every tenant, and no more than asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest

from asset_ledger.cli.timeline import thing_in_words
from asset_ledger.store.decide.decisions import decide
from asset_ledger.store.partitions import ensure_month, ensure_months
from asset_ledger.store.query.asset_page import asset_page
from asset_ledger.store.tenancy import as_tenant
from tests.store.graphing import World, made, world

TODAY = date(2026, 3, 20)


def at(day: int, hour: int = 4) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=UTC)


@pytest.fixture
def lab(database_url: str) -> Iterator[World]:
    """A machine `web` of source 1 (of tenant acme) that a state of acme declares."""
    with world(database_url) as one:
        one.machine("web", 1)
        one.resource("web_vm")
        one.join("web_vm", "web")
        yield one


def page(lab: World, last: int = 100) -> dict[str, Any]:
    return asset_page(lab.connection, made("web"), today=TODAY, days=10, events=last)


def lines(lab: World, last: int = 100) -> list[str]:
    return [f"{thing['day']:%m-%d} {thing_in_words(thing)}" for thing in page(lab, last)["timeline"]]


def probe_days(lab: World, outcomes: dict[int, str | None]) -> None:
    """Source 3 is a probe now, and came to this on these days of March: None is an answer, else an error code."""
    lab.run("UPDATE ledger.sources SET source_type = 'probe', platform = 'ssh' WHERE id = 3")
    lab.link("web", 3)
    link = lab.links["web"]
    ensure_months(lab.connection, [TODAY])
    for day, code in outcomes.items():
        lab.run(
            "INSERT INTO ledger.asset_daily_specs (collected_date, asset_id, source_id, link_id, normalized_id,"
            " inventory_id, first_at, collected_at, recorded_at, platform_type, unknown)"
            " VALUES (%s, %s, 3, %s, %s, 1, %s, %s, %s, 'ssh', %s::jsonb)",
            date(2026, 3, day), made("web"), link, None if code else link, at(day), at(day), at(day),
            json.dumps({"*": code} if code else {}),
        )  # fmt: skip


def test_what_the_ledger_states_and_findings_tell_stands_on_one_line_newest_first(lab: World) -> None:
    with as_tenant(lab.connection, made("acme")):
        lab.run(
            "INSERT INTO iac.drift_findings (tenant_id, kind, state_id, stable_uid, addr, attribute, source_id, source,"
            " asset_id, declared, observed, opened_at, seen_at, closed_at, closed_because)"
            " VALUES (%s, 'drift', %s, %s, 'web_vm', 'cpu_cores', 1, 'one', %s, '4', '8', %s, %s, %s, 'agrees')",
            made("acme"), made("acmeapp"), made("web_vm"), made("web"), at(5), at(6), at(7),
        )  # fmt: skip
    told = lines(lab)
    assert told[:2] == [
        "03-07 finding closed, agrees: drift cpu_cores  (one, acme)",
        "03-05 finding: drift cpu_cores: declared 4, is 8  (one, acme)",
    ]
    assert set(told[2:]) == {
        "03-01 appeared as vm web  (one)",
        "03-01 declared by web_vm in terraform:shop/app, known by its id  (acme)",
        f"03-01 entered the ledger as {made('web')}",
    }


def test_a_state_of_the_tenant_that_shares_an_uid_does_not_tell_its_events_here(lab: World) -> None:
    lab.state("acme", "copy")
    now = datetime.now(UTC)
    ensure_month(lab.connection, "iac.resource_events", now)
    with as_tenant(lab.connection, made("acme")):
        for state, address in (("acmeapp", "web_vm"), ("acmecopy", "copied_vm")):
            lab.run(
                "INSERT INTO iac.resource_events (tenant_id, state_id, version, sequence, id, run_id, stable_uid,"
                " provider, resource_type, addr, action, patch_json, at)"
                " VALUES (%s, %s, 2, 1, %s, 'r1', %s, 'pve', 'vm', %s, 'update', '[]', %s)",
                made("acme"), made(state), uuid4(), made("web_vm"), address, now,
            )  # fmt: skip
    told = " ".join(lines(lab))
    assert "update" in told
    assert "copied_vm" not in told


def test_a_decision_is_told_with_who_made_it_and_why(lab: World) -> None:
    with lab.connection.transaction():
        decide(
            lab.connection, kind="override", asset_id=made("web"), field="hostname", value="shop", actor="han.mei",
            at=at(9), note="its real name",
        )  # fmt: skip
    assert lines(lab, 1) == ["03-09 decided: hostname is shop  (by han.mei, “its real name”)"]


def test_days_on_which_a_probe_came_to_the_same_are_one_thing(lab: World) -> None:
    probe_days(lab, {2: None, 3: None, 4: "SSH_TIMEOUT", 5: "SSH_TIMEOUT", 8: "SSH_AUTH", 9: None})
    assert [line for line in lines(lab) if "probe" in line] == [
        "03-09 probe answered, 1 day  (three)",
        "03-08 probe failed: SSH_AUTH, 1 day  (three)",
        "03-04 probe failed: SSH_TIMEOUT, 2 days, to 2026-03-05  (three)",
        "03-02 probe answered, 2 days, to 2026-03-03  (three)",
    ]


def test_the_agent_on_it_is_told(lab: World) -> None:
    client = uuid4()
    lab.run("UPDATE ledger.sources SET platform = 'agent' WHERE id = 2")
    lab.link("web", 2)
    lab.run("UPDATE ledger.asset_source_links SET external_id = %s WHERE source_id = 2", str(client))
    with as_tenant(lab.connection, made("rival")):
        lab.run(
            "INSERT INTO agent.clients (tenant_id, id, enrolled_by, agent_version, registered_at, status, status_at)"
            " VALUES (%s, %s, 'li.lei', '1.2.0', %s, 'offline', %s)",
            made("rival"), client, at(10), at(12),
        )  # fmt: skip
    assert [line for line in lines(lab) if "agent " in line] == [
        f"03-12 agent offline  (version 1.2.0, client {client}, rival)",
        f"03-10 agent enrolled  (by li.lei, version 1.2.0, client {client}, rival)",
    ]


def test_no_more_is_told_than_was_asked_for_and_that_there_is_more(lab: World) -> None:
    everything = lines(lab)
    assert lines(lab, 2) == everything[:2]
    assert page(lab, 2)["timeline_more"] is True
    assert page(lab, len(everything))["timeline_more"] is False
