"""Two runs at once, and a database that refuses to keep raw: the second waits its turn, and nothing is derived from nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from asset_ledger.domain.errors import RAW_NOT_STORED, SOURCE_BUSY, LedgerError
from asset_ledger.store.sources import exclusive
from tests.faults.doubles import Scripted
from tests.faults.ledgers import assert_same, canonical, derived, rebuilt_differences
from tests.faults.site import Site, opened
from tests.pipeline.importing import importing

DAYS = [f"2026-10-{day:02}" for day in range(1, 6)]


def test_a_second_run_of_a_source_is_refused_while_the_first_writes(site: Site, tmp_path: Path) -> None:
    site.reading(site.estate())
    site.collect(DAYS[0])
    before = derived(site.connection)
    with opened(site.ledger.url, tmp_path, site.double) as second, exclusive(site.connection, site.row):
        second.world = site.world
        error = second.fails(DAYS[1])

    assert error.code is SOURCE_BUSY
    assert_same(before, derived(site.connection))
    site.collect(DAYS[1])


@pytest.mark.parametrize("scopes", [("all", "all"), ("hosts", "vms"), ("all", "vms")])
def test_runs_that_start_at_one_moment_never_interleave(site: Site, tmp_path: Path, scopes: tuple[str, str]) -> None:
    """Both are started again until they are through; each writes the whole of its reading or is refused."""
    site.demand_scopes(*scopes)
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    world.change("vm-1", host="esx4")
    site.reading(world)
    start = threading.Barrier(2)
    refused: list[LedgerError] = []
    broken: list[BaseException] = []

    def run(scope: str) -> None:
        try:
            with opened(site.ledger.url, tmp_path, site.double) as mine:
                start.wait(10)
                for _ in range(500):
                    try:
                        with exclusive(mine.connection, mine.row, covers=mine.covers(scope)):
                            mine.collect_now(scope)
                        return
                    except LedgerError as error:
                        refused.append(error)
                        time.sleep(0.01)
        except BaseException as error:
            broken.append(error)

    with site.on(DAYS[1]):
        site.remember()
        threads = [threading.Thread(target=run, args=[scope]) for scope in scopes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert broken == []
    assert {error.code for error in refused} <= {SOURCE_BUSY}
    assert (
        site.one("SELECT count(*) FROM ledger.inventories WHERE status = 'derived' AND collected_date = %s", DAYS[1])
        == 2
    )
    assert site.one("SELECT count(*) FROM ledger.asset_daily_specs WHERE collected_date = %s", DAYS[1]) == len(
        world.machines()
    )
    moves = [("runs_on", "esx-1", False), ("runs_on", "esx-4", True)]
    assert site.relations("vm-1") == (moves if site.double.hosts else [])


def test_two_sources_written_at_once_give_what_one_after_the_other_gives(
    site: Site, tmp_path: Path, new_site: Callable[[], Site]
) -> None:
    """The clock is one for all threads, so each day both sources are read at the same instant."""
    alone = new_site()
    with ExitStack() as kept:

        def open_both(url: str, folder: str) -> list[Site]:
            (tmp_path / folder).mkdir()
            doubles = [Scripted(tmp_path / folder, name) for name in ("north", "south")]
            return [kept.enter_context(opened(url, tmp_path / folder, double)) for double in doubles]

        both, one_by_one = open_both(site.ledger.url, "both"), open_both(alone.ledger.url, "alone")
        site.others += [each.double.source for each in both]
        world = site.estate(8)
        for number, day in enumerate(DAYS):
            world.change("vm-1", cpus=number + 1, ips=(f"10.3.0.{number + 1}",))
            for each in (*both, *one_by_one):
                each.reading(world)
            with site.on(day), ThreadPoolExecutor(2) as threads:
                assert [len(done) for done in threads.map(Site.collect_now, both)] == [1, 1]
                for each in one_by_one:
                    each.collect_now()
    assert_same(canonical(alone.connection), canonical(site.connection))


HOLD = """
CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END $$;
CREATE TRIGGER hold AFTER INSERT OR UPDATE ON ledger.assets FOR EACH STATEMENT EXECUTE FUNCTION public.hold();
SELECT pg_advisory_lock(4711);
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def test_two_writers_of_one_asset_miss_nothing_of_one_another(site: Site, tmp_path: Path) -> None:
    """The first is held when it has written the asset and not yet committed; the second comes meanwhile."""
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    with (
        importing(site.ledger.url, tmp_path / "inbox") as office,
        opened(site.ledger.url, tmp_path, site.double) as mine,
    ):
        site.others.append(office.source)
        office.read(DAYS[0], FILE)
        world.change("vm-1", cpus=16, name="renamed")
        site.reading(world)
        office.take(DAYS[1], office.drop(f"more_{DAYS[1]}.csv", FILE.replace("vm-1,2", "desk-0,3")))
        site.connection.execute(HOLD)
        with site.on(DAYS[1]), ThreadPoolExecutor(2) as threads:
            site.remember()
            writers = []
            for number, write in enumerate((mine.collect_now, partial(office.derive, DAYS[1])), 1):
                writers.append(threads.submit(write))
                deadline = time.monotonic() + 60
                while site.one(WAITING) < number and time.monotonic() < deadline:
                    time.sleep(0.01)
            held = site.one(WAITING)
            site.connection.execute("SELECT pg_advisory_unlock(4711)")
            assert [len(writer.result(60)) for writer in writers] == [1, 1]
        assert held == 2

    (vm,) = site.rows("SELECT hostname, cpu_cores FROM ledger.assets WHERE mgmt_ip = '10.0.0.2'")
    assert vm == {"hostname": "renamed", "cpu_cores": 16}
    names = site.rows("SELECT value FROM ledger.asset_aliases WHERE value IN ('renamed', 'desk-0') ORDER BY 1")
    assert [name["value"] for name in names] == ["desk-0", "renamed"]


REFUSALS = {
    "the disk is full": "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'",
    "the right is gone": "RAISE EXCEPTION 'permission denied for table asset_observations' USING ERRCODE = 'insufficient_privilege'",
}


@pytest.mark.parametrize("refusal", list(REFUSALS.values()), ids=list(REFUSALS))
def test_a_run_whose_raw_cannot_be_kept_derives_nothing(site: Site, refusal: str) -> None:
    world = site.estate()
    site.reading(world)
    site.collect(DAYS[0])
    before = {table: found for table, found in derived(site.connection).items() if table != "inventories"}
    site.connection.execute(
        f"CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {refusal}; END $$; "
        "CREATE TRIGGER refuse BEFORE INSERT ON ledger.asset_observations FOR EACH ROW EXECUTE FUNCTION public.refuse()"
    )
    world.change("vm-1", cpus=16)
    site.reading(world)

    error = site.fails(DAYS[1])

    assert error.code is RAW_NOT_STORED
    assert_same(before, {t: found for t, found in derived(site.connection).items() if t != "inventories"})
    site.connection.execute("DROP TRIGGER refuse ON ledger.asset_observations")
    site.collect(DAYS[1])
    assert site.asset("vm-1")["cpu_cores"] == 16
    assert site.missing() == set()


FILE = "mgmt_ip,hostname,cpu_cores,memory_gb,tags\n10.0.0.2,vm-1,2,4,prod\n10.77.0.1,desk-1,4,8,\n10.77.0.2,desk-2,,,\n"


def test_a_file_dropped_twice_changes_nothing_and_says_so(site: Site, tmp_path: Path) -> None:
    site.reading(site.estate())
    site.collect(DAYS[0])
    with importing(site.ledger.url, tmp_path / "inbox") as office:
        site.others.append(office.source)
        outcome = office.read(DAYS[0], FILE, name=f"first_{DAYS[0]}.csv")
        assert (outcome.created, outcome.attached, len(outcome.conflicts)) == (2, 1, 0)
        site.bars.hold()
        before = derived(site.connection)
        (again,) = office.take(DAYS[0], office.drop(f"second_{DAYS[0]}.csv", FILE))
        office.derive(DAYS[0])

        assert again.state == "duplicate"
        assert "first_" in Path(again.note).read_text()
        assert_same(before, derived(site.connection))
        assert site.asset("desk-2")["cpu_cores"] is None, "an empty cell is unknown, not nothing"
        assert office.take(DAYS[0], office.drop(f"third_{DAYS[0]}.csv", FILE))[0].state == "duplicate"


def test_instances_of_one_source_are_not_given_to_the_next_when_both_are_rebuilt(site: Site, tmp_path: Path) -> None:
    """A rebuild derives all readings in one transaction; a file of instances alone is followed by another source."""
    with importing(site.ledger.url, tmp_path / "inbox") as office:
        site.others.append(office.source)
        office.read(DAYS[0], "name,host,port\norders,10.0.0.2,5432\n", name=f"instances_{DAYS[0]}.csv")
    site.reading(site.estate(1))
    site.collect(DAYS[1])

    assert rebuilt_differences(site.connection, site.double.source, *site.others) == []
    assert site.one("SELECT count(*) FROM ledger.database_instances") == 1
