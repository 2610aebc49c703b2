"""Reports of agents on their way into the ledger: taken once, each to its day, in whatever order they come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.iac.rules import Rules
from asset_ledger.pipeline.agent_findings import evaluate
from asset_ledger.pipeline.agents import backlogs
from asset_ledger.pipeline.ledger import source_row
from asset_ledger.pipeline.rebuild import rebuild
from asset_ledger.sources.agent import PLATFORM
from asset_ledger.store.agents import waiting
from asset_ledger.store.database import connect
from asset_ledger.store.decide import decisions, merges
from tests.pipeline.importing import everything, importing
from tests.pipeline.reporting import Reporting, reporting, source_of
from tests.plain_owner import plainly_owned
from tests.postgres import create_database, database_name, drop_database

DAY, NEXT = "2026-11-10", "2026-11-11"


@pytest.fixture
def agents(database_url: str) -> Iterator[Reporting]:
    with reporting(database_url) as opened:
        yield opened


def specs(agents: Reporting, day: str = DAY) -> dict[str, Any]:
    """Return what a day says of each client's machine: CPUs by hostname."""
    found = agents.rows(
        "SELECT n.hostname, d.cpu_cores FROM ledger.asset_daily_specs AS d"
        " JOIN ledger.normalized_assets AS n ON n.id = d.normalized_id WHERE d.collected_date = %s",
        day,
    )
    return {row["hostname"]: row["cpu_cores"] for row in found}


def test_a_report_becomes_a_machine_of_its_day_and_waits_no_more(agents: Reporting) -> None:
    agents.report("web-01", f"{DAY} 03:00", peer="192.0.2.10")
    assert agents.waits() == 1
    day = agents.run(DAY)
    assert (day.mode, agents.waits()) == ("collect", 0)
    assert day.derived[0].outcome.created == 1
    [machine] = agents.rows(
        "SELECT hostname, host(mgmt_ip) AS ip, cpu_cores, disk_total_bytes, os_family FROM ledger.assets"
    )
    assert machine == {
        "hostname": "web-01",
        "ip": "192.0.2.10",
        "cpu_cores": 4,
        "disk_total_bytes": None,
        "os_family": "debian",
    }
    kept = agents.rows("SELECT target, source_type, redacted FROM ledger.asset_observations")
    assert kept == [{"target": str(agents.client("web-01")), "source_type": "agent", "redacted": False}]
    [record] = agents.rows("SELECT target, status, error_code FROM ledger.sync_target_records")
    assert record["target"] == str(agents.client("web-01"))
    assert record["status"] == "partial"


def test_a_run_without_reports_replays_the_day(agents: Reporting) -> None:
    agents.report("web-01", f"{DAY} 03:00", peer="192.0.2.10")
    agents.run(DAY)
    before = everything(agents.connection)
    assert agents.run(DAY).mode == "replay"
    after = everything(agents.connection)
    assert {name: rows for name, rows in after.items() if name != "sync_target_records"} == {
        name: rows for name, rows in before.items() if name != "sync_target_records"
    }


def test_a_report_attaches_to_the_machine_that_has_its_address_and_joins_no_other(
    agents: Reporting, database_url: str, tmp_path: Path
) -> None:
    with importing(database_url, tmp_path / "inbox") as office:
        office.read(DAY, "mgmt_ip,hostname,asset_type\n192.0.2.10,erp,vm\n192.0.2.11,mail,vm\n")
    agents.report("web-01", f"{DAY} 03:00", peer="192.0.2.10")
    agents.report("web-02", f"{DAY} 03:00", addresses=["192.0.2.55/24"])
    outcome = agents.run(DAY).derived[0].outcome
    assert (outcome.attached, outcome.created) == (1, 1)
    assert agents.one("SELECT count(*) FROM ledger.assets") == 3
    # a person's name for it counts before what it calls itself
    assert agents.one("SELECT hostname FROM ledger.assets WHERE mgmt_ip = '192.0.2.10'") == "erp"


def test_a_machine_whose_address_two_assets_have_is_a_conflict_and_joins_neither(agents: Reporting) -> None:
    for name in ("web-01", "web-02"):
        agents.report(name, f"{DAY} 03:00", addresses=["192.0.2.55/24"], mac=f"52:54:00:00:00:0{name[-1]}")
    agents.run(DAY)
    agents.connection.execute(
        "INSERT INTO ledger.assets (id, zone, platform_type, mgmt_ip, custom_fields, carried, created_at, updated_at)"
        " VALUES (gen_random_uuid(), 'default', 'unknown', '192.0.2.55', '{}', '{}', now(), now())"
    )
    agents.report("web-03", f"{DAY} 04:00", addresses=["192.0.2.55/24"])
    outcome = agents.run(DAY).derived[-1].outcome
    assert (len(outcome.conflicts), outcome.created, outcome.attached) == (1, 0, 0)


def linked(agents: Reporting) -> dict[str, int]:
    """Return of each machine by its name how many agents are linked to the ledger asset that it is."""
    found = agents.rows(
        "SELECT n.hostname, (SELECT count(*) FROM ledger.asset_source_links AS o WHERE o.asset_id = l.asset_id"
        "                    AND o.source_id = l.source_id) AS agents"
        " FROM ledger.asset_source_links AS l JOIN ledger.normalized_assets AS n ON n.id = l.normalized_id"
        " WHERE l.source_id = %s",
        agents.row.id,
    )
    return {row["hostname"]: row["agents"] for row in found}


@pytest.mark.parametrize("there", [True, False], ids=["of a file", "of nobody"])
@pytest.mark.parametrize("together", [True, False], ids=["in one reading", "from reading to reading"])
def test_an_address_that_was_given_anew_does_not_make_two_agents_one_machine(
    agents: Reporting, database_url: str, tmp_path: Path, *, together: bool, there: bool
) -> None:
    with importing(database_url, tmp_path / "inbox") as office:
        if there:
            office.read(DAY, "mgmt_ip,hostname,asset_type\n192.0.2.10,erp,vm\n")
        agents.report("web-01", f"{DAY} 03:00", addresses=["192.0.2.10/24"])
        if not together:
            agents.run(DAY)
        agents.report("web-02", f"{DAY} 03:10", addresses=["192.0.2.10/24"])
        agents.report("web-03", f"{DAY} 03:20", addresses=["192.0.2.12/24"])
        outcome = agents.run(DAY).derived[-1].outcome
        assert [one.external_id for one in outcome.conflicts] == [str(agents.client("web-02"))]
        assert linked(agents) == {"web-01": 1, "web-03": 1}
        [said] = agents.rows("SELECT message FROM ledger.sync_target_records WHERE error_code = 'IDENTITY_CONFLICT'")
        assert "another id of the same source" in said["message"]
        [read] = agents.rows(
            "SELECT effect FROM ledger.sync_target_records WHERE target = %s AND error_code IS NULL",
            str(agents.client("web-02")),
        )
        assert read["effect"] == "nothing was written for it: it is in conflict"
        before = everything(agents.connection)
        sources = [office.source, agents.source] if there else [agents.source]
        assert rebuild(agents.connection, sources, verify=True).differences == ()
        assert everything(agents.connection) == before
        agents.run(DAY, replay=True)
        assert linked(agents) == {"web-01": 1, "web-03": 1}
    # an address of its own makes it a machine of its own
    agents.report("web-02", f"{DAY} 05:00", addresses=["192.0.2.60/24"])
    assert agents.run(DAY).derived[-1].outcome.created == 1
    assert linked(agents) == {"web-01": 1, "web-02": 1, "web-03": 1}
    assert rebuild(agents.connection, sources, verify=True).differences == ()


def test_an_address_that_its_machine_gave_up_is_free_for_another(agents: Reporting) -> None:
    agents.report("web-01", f"{DAY} 03:00", addresses=["192.0.2.10/24"])
    agents.run(DAY)
    agents.report("web-01", f"{DAY} 04:00", addresses=["192.0.2.60/24"])
    agents.run(DAY)
    agents.report("web-02", f"{DAY} 05:00", addresses=["192.0.2.10/24"])
    outcome = agents.run(DAY).derived[-1].outcome
    assert (outcome.conflicts, outcome.created) == ((), 1)
    assert linked(agents) == {"web-01": 1, "web-02": 1}


def test_a_machine_that_was_enrolled_as_another_client_is_itself_again_once_a_person_says_so(agents: Reporting) -> None:
    agents.report("old", f"{DAY} 03:00", addresses=["192.0.2.10/24"])
    agents.run(DAY)
    agents.report("new", f"{DAY} 04:00", addresses=["192.0.2.10/24"])
    assert len(agents.run(DAY).derived[-1].outcome.conflicts) == 1
    who: dict[str, Any] = {"actor": "li.lei", "at": datetime.now(UTC)}
    old = agents.one("SELECT id FROM ledger.assets")
    decisions.retire(agents.connection, old, **who)
    agents.report("new", f"{DAY} 05:00", addresses=["192.0.2.10/24"], cores=8)
    assert agents.run(DAY).derived[-1].outcome.conflicts == ()
    new = agents.one("SELECT id FROM ledger.assets WHERE id <> %s", old)
    decisions.restore(agents.connection, old, **who)
    merges.merge(agents.connection, old, new, **who)
    agents.report("new", f"{DAY} 06:00", addresses=["192.0.2.10/24"], cores=16)
    assert agents.run(DAY).derived[-1].outcome.updated == 1
    assert linked(agents) == {"old": 1, "new": 1}
    assert rebuild(agents.connection, [agents.source], verify=True).differences == ()


def test_what_a_machine_said_last_is_the_day_whichever_report_came_first(agents: Reporting) -> None:
    agents.report("web-01", f"{DAY} 08:00", peer="192.0.2.10", cores=8)
    agents.run(DAY)
    late = agents.report("web-01", f"{DAY} 03:00", received=f"{DAY} 09:00", peer="192.0.2.10", cores=2, spooled=True)
    assert late.result == "late"
    agents.run(DAY)
    assert specs(agents) == {"web-01": 8}
    agents.report("web-01", f"{DAY} 10:00", peer="192.0.2.10", cores=16)
    agents.run(DAY)
    assert specs(agents) == {"web-01": 16}


def test_what_a_machine_says_next_counts_although_another_spoke_later_in_a_reading_before(agents: Reporting) -> None:
    agents.report("web-01", f"{DAY} 08:00", addresses=["192.0.2.10/24"], cores=2)
    agents.report("web-02", f"{DAY} 08:50", addresses=["192.0.2.11/24"])
    agents.run(DAY)
    agents.report("web-01", f"{DAY} 08:20", addresses=["192.0.2.10/24"], cores=4)
    agents.run(DAY)
    assert specs(agents) == {"web-01": 4, "web-02": 4}
    before = specs(agents)
    agents.run(DAY, replay=True)
    assert specs(agents) == before


def test_a_late_report_between_two_that_say_the_same_has_not_the_last_word(agents: Reporting) -> None:
    agents.report("web-01", f"{DAY} 03:00", peer="192.0.2.10", cores=8)
    assert agents.report("web-01", f"{DAY} 07:00", peer="192.0.2.10", cores=8).result == "unchanged"
    agents.report("web-01", f"{DAY} 05:00", received=f"{DAY} 08:00", peer="192.0.2.10", cores=2, spooled=True)
    agents.run(DAY)
    assert specs(agents) == {"web-01": 8}


def test_a_late_report_goes_to_its_own_day_and_today_stays_as_it_is(agents: Reporting) -> None:
    agents.report("web-01", f"{NEXT} 03:00", peer="192.0.2.10", cores=8)
    agents.run(NEXT)
    agents.report("web-01", f"{DAY} 03:00", received=f"{NEXT} 04:00", peer="192.0.2.10", cores=2, spooled=True)
    found = backlogs(agents.connection, [agents.source])
    assert [str(one.day) for one in found[0].days] == [DAY]
    agents.run(DAY)
    assert specs(agents) == {"web-01": 2}
    assert specs(agents, NEXT) == {"web-01": 8}
    assert agents.one("SELECT cpu_cores FROM ledger.assets") == 8
    assert agents.one("SELECT count(*) FROM ledger.asset_observations") == 2


def test_who_does_not_report_is_not_missing(agents: Reporting) -> None:
    for name, address in (("web-01", "192.0.2.10"), ("web-02", "192.0.2.11")):
        agents.report(name, f"{DAY} 03:00", addresses=[f"{address}/24"])
    agents.run(DAY)
    agents.report("web-01", f"{NEXT} 03:00", addresses=["192.0.2.10/24"])
    agents.run(NEXT)
    assert agents.one("SELECT count(*) FROM ledger.assets WHERE missing_since IS NOT NULL") == 0
    assert agents.one("SELECT bool_or(complete) FROM ledger.inventories") is False


def test_a_report_that_is_none_fails_alone_and_says_why(agents: Reporting) -> None:
    agents.report("web-01", f"{DAY} 03:00", addresses=["192.0.2.10/24"])
    agents.report("web-02", f"{DAY} 03:00", addresses=["192.0.2.11/24"])
    with agents.connection.transaction():
        agents.connection.execute("SELECT set_config('app.tenant', %s, true)", [str(agents.tenant_id)])
        agents.connection.execute(
            "UPDATE agent.reports SET payload = '[]', payload_sha256 = sha256('[]') WHERE client_id = %s",
            [agents.client("web-02")],
        )
    agents.run(DAY)
    assert specs(agents) == {"web-01": 4}
    codes = agents.rows("SELECT error_code FROM ledger.sync_target_records WHERE status = 'failed'")
    assert codes == [{"error_code": "AGENT_PAYLOAD_INVALID"}]


def test_reports_of_another_tenant_are_left_to_its_own_source(agents: Reporting, database_url: str) -> None:
    with reporting(database_url, "other") as others:
        others.report("web-01", f"{DAY} 03:00", addresses=["192.0.2.10/24"])
        agents.report("web-02", f"{DAY} 03:00", addresses=["192.0.2.11/24"])
        agents.run(DAY)
        assert (agents.waits(), others.waits()) == (0, 1)
        assert specs(agents) == {"web-02": 4}


def test_a_reading_that_cannot_be_kept_leaves_its_reports_waiting(
    agents: Reporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents.report("web-01", f"{DAY} 03:00", peer="192.0.2.10")
    agents.connection.execute(
        "ALTER TABLE ledger.asset_observations ADD CONSTRAINT none CHECK (target = 'x') NOT VALID"
    )
    with pytest.raises(Exception, match="RAW_NOT_STORED"):
        agents.run(DAY)
    assert agents.waits() == 1
    assert agents.one("SELECT count(*) FROM ledger.inventories") == 0
    agents.connection.execute("ALTER TABLE ledger.asset_observations DROP CONSTRAINT none")
    agents.run(DAY)
    assert (agents.waits(), specs(agents)) == (0, {"web-01": 4})


def test_many_reports_are_readings_of_an_hour_each_and_of_no_more_than_the_most(
    agents: Reporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MOST", 3)
    for number in range(5):
        agents.report(f"web-{number}", f"{DAY} 03:0{number}", addresses=[f"192.0.2.{number + 1}/24"])
    agents.report("web-9", f"{DAY} 05:00", addresses=["192.0.2.9/24"])
    taken = waiting.take(
        agents.connection,
        agents.tenant_id,
        agents.row,
        datetime.fromisoformat(DAY).date(),
        PLATFORM.queue.record if PLATFORM.queue else None,  # type: ignore[arg-type]
        run_id="run",
        mode="collect",
    )
    assert (taken.reports, taken.readings, taken.late) == (6, 3, 0)
    at = agents.rows("SELECT collected_at FROM ledger.inventories ORDER BY id")
    assert [row["collected_at"].strftime("%H:%M") for row in at] == ["03:02", "03:04", "05:00"]


def test_a_source_of_a_tenant_that_is_not_there_says_so(agents: Reporting) -> None:
    source = source_of("nobody")
    row = source_row(agents.connection, source)
    nobody = Reporting(agents.connection, agents.tenant_id, source, row)
    with pytest.raises(PermanentError, match="there is no tenant nobody"):
        nobody.run(DAY)
    [found] = backlogs(agents.connection, [source])
    assert found.problem is not None
    assert "tenants add nobody" in found.problem


def test_an_owner_who_is_no_superuser_takes_in_what_waits_and_looks_for_findings() -> None:
    with plainly_owned() as (url, _, _), reporting(url) as agents:
        agents.report("web-01", f"{DAY} 03:00", addresses=["192.0.2.10/24"])
        (found,) = backlogs(agents.connection, [agents.source])
        assert [one.reports for one in found.days] == [1]
        agents.run(DAY)
        assert (agents.waits(), specs(agents)) == (0, {"web-01": 4})
        (looked,) = evaluate(agents.connection, [agents.source], Rules(), now=datetime.now(UTC))
        assert looked.opened == 0


def test_a_bell_rings_when_a_report_comes(agents: Reporting, database_url: str) -> None:
    with connect(database_url) as listening:
        waiting.listen(listening)
        assert not waiting.rung(listening, 0.1)
        agents.report("web-01", f"{DAY} 03:00", peer="192.0.2.10")
        assert waiting.rung(listening, 30)


def test_a_rebuild_gives_the_same_rows_where_agents_reported(
    agents: Reporting, database_url: str, tmp_path: Path
) -> None:
    with importing(database_url, tmp_path / "inbox") as office:
        office.read(DAY, "mgmt_ip,hostname,asset_type,cpu_cores\n192.0.2.10,erp,vm,2\n")
        agents.report("web-01", f"{NEXT} 08:00", peer="192.0.2.10", cores=8)
        agents.run(NEXT)
        agents.report("web-01", f"{NEXT} 02:00", received=f"{NEXT} 09:00", peer="192.0.2.10", cores=2, spooled=True)
        agents.report("web-01", f"{DAY} 02:00", received=f"{NEXT} 09:00", peer="192.0.2.10", cores=1, spooled=True)
        agents.report("web-02", f"{NEXT} 03:00", addresses=["192.0.2.12/24"], os="rocky")
        agents.run(NEXT)
        agents.run(DAY)
        before = everything(agents.connection)
        report = rebuild(agents.connection, [office.source, agents.source], verify=True)
        assert report.differences == ()
        assert report.readings == 5
        assert everything(agents.connection) == before
    assert specs(agents, NEXT) == {"web-01": 8, "web-02": 64}


# a client, the minute of the day at which it spoke, and how many CPUs it had
SAID = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 6), st.integers(1, 3)),
    min_size=1,
    max_size=8,
    unique_by=lambda one: one[:2],
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(said=SAID, data=st.data())
def test_whatever_the_order_in_which_reports_come_the_day_says_what_was_said_last(
    template_database: str, said: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    url = create_database(template_database, template=database_name(template_database))
    try:
        with reporting(url) as agents:
            for client, hour, cores in data.draw(st.permutations(said)):
                address = "192.0.2.10/24" if client == "a" else "192.0.2.11/24"
                agents.report(
                    client,
                    f"{DAY} 0{hour}:30",
                    received=f"{DAY} 12:00",
                    addresses=[address],
                    cores=cores,
                    spooled=True,
                )
                if data.draw(st.booleans()):
                    agents.run(DAY)
            agents.run(DAY)
            last = {client: cores for client, _, cores in sorted(said, key=lambda one: one[1])}
            assert specs(agents) == last
            assert rebuild(agents.connection, [agents.source], verify=True).differences == ()
    finally:
        drop_database(url)
