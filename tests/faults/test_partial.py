"""Readings that are whole but know less of some machines: what was known is carried with its age, and nothing is invented."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from asset_ledger.domain.history import CARRY_DAYS, Event, Word, events
from tests.faults.site import Site
from tests.faults.world import Faults

DAYS = [f"2026-10-{day:02}" for day in range(1, 11)]
HALF = frozenset(str(100 + n) for n in range(1, 13, 2))


def told(site: Site, name: str) -> list[Event]:
    """Return what happened to a machine, as the ledger tells it from the words of its record."""
    words = site.rows(
        "SELECT w.first_date, w.last_date, n.document FROM ledger.asset_words w "
        "JOIN ledger.normalized_assets n ON n.id = w.normalized_id WHERE w.asset_id = %s ORDER BY w.first_date",
        site.asset(name)["id"],
    )
    found = [event for event in events(Word(**word) for word in words) if event.change != "appeared"]
    return [event for event in found if event.field not in site.double.state_fields]


UNREADABLE = {
    "a node that answers 595": (Faults(down_hosts=("esx1",)), "down_hosts"),
    "a node with another certificate": (Faults(stranger_hosts=("esx1",)), "stranger_hosts"),
}


@pytest.mark.parametrize(("faults", "code"), list(UNREADABLE.values()), ids=list(UNREADABLE))
def test_a_node_that_cannot_be_read_keeps_its_machines_with_their_age(site: Site, faults: Faults, code: str) -> None:
    world = site.estate()
    site.reading(world, faults)
    of_host, of_machines = site.double.codes[code]
    site.reading(world)
    site.collect(DAYS[0])
    before = {name: site.asset(name) for name in ("vm-1", "vm-2", "esx-1")}
    site.reading(world, faults)
    outcomes = site.collect(DAYS[1])

    assert site.missing() == set()
    for name in ("vm-1", "esx-1"):
        now = site.asset(name)
        assert now["mgmt_ip"] == before[name]["mgmt_ip"]
        assert set(now["carried"].values()) == {DAYS[0]}, "what is carried is labelled with its day"
    assert "mgmt_ip" in site.asset("vm-1")["carried"]
    assert site.asset("vm-1")["disk_total_bytes"] == before["vm-1"]["disk_total_bytes"]
    assert "disk_total_bytes" in site.asset("vm-1")["carried"]
    assert site.asset("vm-2")["carried"] == {}, "other nodes go on"
    (day,) = site.rows(
        "SELECT disk_total_bytes, mgmt_ip, unknown FROM ledger.asset_daily_specs WHERE collected_date = %s AND asset_id = %s",
        DAYS[1],
        before["vm-1"]["id"],
    )
    assert (day["disk_total_bytes"], day["mgmt_ip"]) == (None, None)
    assert day["unknown"]["network.ip_addresses"].startswith(of_machines)
    changed = {change.field for outcome in outcomes for change in outcome.changes}
    assert changed <= site.double.state_fields, "what is unknown did not change"
    closed = site.rows("SELECT * FROM ledger.asset_identifiers WHERE last_seen_at IS NOT NULL")
    assert closed == [], "nobody saw an identifier go"
    assert told(site, "vm-1") == told(site, "esx-1") == []
    (failed,) = site.rows("SELECT * FROM ledger.sync_target_records WHERE error_code IS NOT NULL")
    assert site.double.name(world.hosts["esx1"])[1] in failed["target"], "the node is named"
    assert (failed["status"], failed["error_code"]) == ("failed", of_host)
    assert "part_of" in failed["details"], "it is no target: the source is, and was reached"

    site.reading(world)
    outcomes = site.collect(DAYS[2])
    again = {change.field for outcome in outcomes for change in outcome.changes if change.before is not None}
    assert again <= site.double.state_fields, "it says what it said before"
    assert told(site, "vm-1") == told(site, "esx-1") == []
    assert site.asset("vm-1")["carried"] == {}


def test_a_silent_guest_agent_loses_no_address(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    site.reading(world, Faults(silent_agents=HALF))
    outcomes = [*site.collect(DAYS[1]), *site.collect(DAYS[2])]

    for number in range(1, 13):
        vm = site.asset(f"vm-{number}")
        assert str(vm["mgmt_ip"]) == world.vm(f"vm-{number}").ips[0]
        assert vm["carried"].get("mgmt_ip") == (DAYS[0] if number % 2 else None)
        assert told(site, vm["hostname"]) == [], "no address was removed"
    changed = {change.field for outcome in outcomes for change in outcome.changes}
    assert changed <= site.double.state_fields
    assert site.rows("SELECT * FROM ledger.asset_identifiers WHERE last_seen_at IS NOT NULL") == []
    of_the_day = site.one("SELECT count(*) FROM ledger.asset_daily_ips WHERE collected_date = %s", DAYS[1])
    assert of_the_day == 6 + len(world.hosts), "yesterday's addresses are not passed off as today's"


def test_a_value_that_is_carried_for_too_long_is_unknown(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    site.reading(world, Faults(silent_agents=frozenset({"101"})))
    last = date.fromisoformat(DAYS[0]) + timedelta(days=CARRY_DAYS)
    site.collect(last.isoformat())
    assert site.asset("vm-1")["carried"]["mgmt_ip"] == DAYS[0]

    site.collect((last + timedelta(days=1)).isoformat())

    assert site.asset("vm-1")["mgmt_ip"] is None
    assert "mgmt_ip" not in site.asset("vm-1")["carried"]


def test_an_address_that_changed_behind_a_silence_is_one_change(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    site.reading(world, Faults(silent_agents=HALF))
    site.collect(DAYS[1])
    world.change("vm-1", ips=("10.0.7.7",))
    site.reading(world)
    site.collect(DAYS[2])

    day, since = date.fromisoformat(DAYS[2]), date.fromisoformat(DAYS[0])
    assert told(site, "vm-1") == [
        Event(day, since, "changed", "mgmt_ip", "10.0.0.2", "10.0.7.7"),
        Event(day, since, "removed", "ip", "10.0.0.2", None),
        Event(day, since, "added", "ip", None, "10.0.7.7"),
    ]
    addresses = site.rows(
        "SELECT value, last_seen_at FROM ledger.asset_identifiers WHERE kind = 'ip' AND asset_id = %s ORDER BY last_seen_at",
        site.asset("vm-1")["id"],
    )
    assert [(row["value"], row["last_seen_at"] is None) for row in addresses] == [
        ("10.0.0.2", False),
        ("10.0.7.7", True),
    ]


def test_a_machine_that_is_off_is_not_gone(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    world.change("vm-1", power="stopped")
    site.reading(world)
    outcomes = site.collect(DAYS[1])

    changes = [(change.field, change.after) for outcome in outcomes for change in outcome.changes]
    assert [one for one in changes if one[0] not in site.double.state_fields] == [("runtime.power_state", "stopped")]
    vm = site.asset("vm-1")
    assert (vm["power_state"], vm["missing_since"]) == ("stopped", None)
    assert str(vm["mgmt_ip"]) == world.vm("vm-1").ips[0]
    told_by_agent = "silent_agents" in site.double.supports
    assert vm["carried"].get("mgmt_ip") == (DAYS[0] if told_by_agent else None)
