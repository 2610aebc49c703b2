"""Readings that are not the whole, or say that little is left: nothing is missing that is there, nothing is half written."""

from __future__ import annotations

from typing import Any

import pytest

from asset_ledger.store.derive.absences import Verdict, decide_absences, list_held
from tests.faults.ledgers import derived
from tests.faults.site import Site, instant
from tests.faults.world import Faults

DAYS = [f"2026-10-{day:02}" for day in range(1, 11)]
HIDING = {
    "a second page that fails": Faults(lost_page=True),
    "a list that stops": Faults(truncated=7),
    "a body that breaks off": Faults(short_body=True),
    "pages that overlap": Faults(shifted_page=True),
    "a right lost on a pool": Faults(hidden_pools=("test",)),
    "no host to be seen": Faults(hostless=True),
}
hiding = pytest.mark.parametrize("faults", list(HIDING.values()), ids=list(HIDING))


def written(site: Site) -> dict[str, list[tuple[Any, ...]]]:
    """Return what is derived from readings; that there was one is noted elsewhere."""
    return {
        table: found
        for table, found in derived(site.connection).items()
        if table not in ("inventories", "asset_observations")
    }


def refusal(site: Site, faults: Faults) -> tuple[str, str]:
    """Return code and words with which a reading under the one fault fails."""
    (fault,) = faults.names
    return site.double.refusals[fault]


@hiding
def test_what_is_not_the_whole_fails_and_writes_nothing(site: Site, faults: Faults) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    before = written(site)
    world.change("vm-1", cpus=16)
    site.reading(world, faults)

    error = site.fails(DAYS[1])

    code, said = refusal(site, faults)
    assert error.code.code == code
    assert said in str(error)
    assert written(site) == before
    assert site.missing() == set()
    reading = site.last_reading()
    assert not reading["complete"]
    assert reading["status"] in ("failed", "interrupted")
    seen = site.one("SELECT count(*) FROM ledger.asset_observations WHERE inventory_id = %s", reading["id"])
    assert seen >= 1, "what was seen of it is kept"

    site.reading(world)
    site.collect(DAYS[2])
    assert site.asset("vm-1")["cpu_cores"] == 16
    assert site.days_of("vm-1") == [DAYS[0], DAYS[2]]
    assert site.missing() == set()


@hiding
def test_a_first_reading_that_is_not_the_whole_makes_no_asset(site: Site, faults: Faults) -> None:
    if faults.names & site.double.found_by_ids:
        pytest.skip("nothing tells of what is hidden from the very first reading; the next test has the second")
    site.reading(site.estate(), faults)
    assert site.fails(DAYS[0]).code.code == refusal(site, faults)[0]
    assert site.one("SELECT count(*) FROM ledger.assets") == 0
    assert site.one("SELECT count(*) FROM ledger.normalized_assets") == 0


@pytest.mark.parametrize("hidden", [Faults(truncated=7), Faults(hidden_pools=("test",))], ids=["list", "pool"])
def test_what_was_hidden_from_the_first_reading_is_an_asset_once_it_is_shown_and_never_missing_after(
    site: Site, hidden: Faults
) -> None:
    if not hidden.names & site.double.found_by_ids:
        pytest.skip("the first reading under it fails; the test before has that")
    world = site.estate()
    site.reading(world, hidden)
    site.collect(DAYS[0], judged=False)
    site.bars.hidden.clear()  # it could not be known
    shown = site.one("SELECT count(*) FROM ledger.assets")
    site.reading(world)
    site.collect(DAYS[1])
    assert site.one("SELECT count(*) FROM ledger.assets") > shown

    site.reading(world, hidden)
    assert site.fails(DAYS[2]).code.code == refusal(site, hidden)[0]
    assert site.missing() == set()


@hiding
def test_replaying_what_is_not_the_whole_goes_on_failing(site: Site, faults: Faults) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    site.reading(world, faults)
    site.fails(DAYS[0], at="10:00")
    before = written(site)

    site.replay(DAYS[0])

    assert written(site) == before
    assert site.one("SELECT count(*) FROM ledger.inventories WHERE status = 'derived'") == 1


def test_a_machine_is_missing_since_the_complete_reading_that_did_not_see_it_and_comes_back_as_itself(
    site: Site,
) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    before = site.asset("vm-3")
    dropped = world.drop("vm-3")
    site.reading(world, Faults(truncated=3))
    site.fails(DAYS[1])
    assert site.missing() == set(), "a failed reading saw nothing go"
    site.reading(world)
    site.collect(DAYS[2])
    site.collect(DAYS[3])
    assert site.asset("vm-3")["missing_since"] == instant(DAYS[2])
    world.add(dropped[0])
    site.reading(world)
    site.collect(DAYS[4])

    back = site.asset("vm-3")
    assert (back["id"], back["missing_since"]) == (before["id"], None)
    assert site.days_of("vm-3") == [DAYS[0], DAYS[4]]


def test_a_scope_says_nothing_of_the_kinds_it_does_not_cover(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    world.drop("vm-1")
    site.reading(world)

    site.collect(DAYS[1], scope="hosts")
    assert site.missing() == set()
    site.collect(DAYS[1], scope="vms", at="10:00")
    assert site.missing() == {"vm-1"}
    assert site.relations("vm-2") == [("runs_on", "esx-2", True)]


def test_the_hours_of_one_day_may_lose_a_machine_and_find_it_again(site: Site) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0], at="09:00")
    dropped = world.drop("vm-1")
    site.reading(world)
    site.collect(DAYS[0], at="12:00")
    assert site.asset("vm-1")["missing_since"] == instant(DAYS[0], "12:00")
    world.add(dropped[0])
    site.reading(world)
    site.collect(DAYS[0], at="15:00")

    assert site.missing() == set()
    site.replay(DAYS[0])
    assert site.missing() == set()


@pytest.mark.parametrize(
    "faults",
    [Faults(nothing=True), Faults(lies_without=frozenset(str(n) for n in range(101, 109)))],
    ids=["zero", "60 %"],
)
def test_a_reading_that_lost_too_many_is_held_and_what_is_there_again_was_never_missing(
    site: Site, faults: Faults
) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    site.reading(world, faults)
    site.collect(DAYS[1])

    assert site.missing() == set()
    (held,) = list_held(site.connection)
    assert held["id"] == site.last_reading()["id"]
    assert site.last_reading()["absences"] == "held"
    site.reading(world)
    site.collect(DAYS[2])
    assert site.missing() == set()
    assert list_held(site.connection) == [], "nobody needs to decide any more"


def shrunk(site: Site) -> int:
    """Let two thirds of the machines really go, and return the reading that is held."""
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    world.drop(*(f"vm-{n}" for n in range(1, 9)))
    site.reading(world)
    site.collect(DAYS[1])
    assert site.missing() == set()
    (held,) = list_held(site.connection)
    found: int = held["id"]
    return found


def decide(site: Site, inventory: int, verdict: Verdict, day: str) -> None:
    with site.on(day, "18:00") as now:
        decide_absences(site.connection, inventory, verdict, actor="op", at=now)
    site.bars.hold()


def test_a_held_reading_counts_once_a_person_approves_of_it(site: Site) -> None:
    held = shrunk(site)
    decide(site, held, "approved", DAYS[1])

    assert site.missing() == {f"vm-{n}" for n in range(1, 9)}
    assert {row["missing_since"] for row in site.rows("SELECT missing_since FROM ledger.assets")} == {
        None,
        instant(DAYS[1]),
    }
    site.collect(DAYS[2])
    assert site.missing() == {f"vm-{n}" for n in range(1, 9)}
    assert list_held(site.connection) == []
    site.reading(site.estate())
    site.collect(DAYS[3])
    assert site.missing() == set()


def test_a_held_reading_that_is_rejected_makes_nothing_missing_for_good(site: Site) -> None:
    held = shrunk(site)
    decide(site, held, "rejected", DAYS[1])
    site.replay(DAYS[1])

    assert site.missing() == set()
    assert site.one("SELECT count(*) FROM ledger.decisions WHERE kind = 'absences'") == 1
    site.collect(DAYS[2])
    assert site.missing() == set(), "the next reading without them is held in its own right"
    assert len(list_held(site.connection)) == 1


def test_an_approval_that_is_withdrawn_brings_them_back(site: Site) -> None:
    held = shrunk(site)
    decide(site, held, "approved", DAYS[1])
    decide(site, held, "rejected", DAYS[2])

    assert site.missing() == set()
