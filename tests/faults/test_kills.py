"""kill -9 of the writer in the middle of its transaction, at every table and at random moments: nothing half done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from asset_ledger.pipeline.rebuild import rebuild
from tests.faults.ledgers import assert_same, canonical, derived
from tests.faults.site import Site
from tests.faults.world import World, new_vm

PROJECT = Path(__file__).parents[2]
TABLES = (
    "asset_observations",
    "inventories",
    "normalized_assets",
    "identity_resolutions",
    "asset_daily_specs",
    "asset_daily_ips",
    "asset_past_words",
    "asset_source_links",
    "asset_identifiers",
    "asset_aliases",
    "asset_relations",
    "assets",
    "sync_target_records",
)
RANDOM_MOMENTS = 8
LONGEST_MOMENT_S = 0.25
PAUSES = """
CREATE TABLE public.pause (at text);
CREATE FUNCTION public.pause() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM public.pause WHERE at = TG_TABLE_NAME) THEN PERFORM pg_sleep(60); END IF;
    RETURN NULL;
END $$;
"""
OTHERS = "SELECT pid, wait_event FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class Victim:
    """The process that is killed, again and again."""

    def __init__(self, site: Site) -> None:
        url, folder = site.ledger.url, site.double.source.answers.parent
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.runner", url, str(folder)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, day: str, at: str) -> int:
        """Begin to read a day, and return the process that does."""
        self._tell(f"{day} {at}")
        return int(self._said("pid"))

    def ended(self) -> int:
        """Wait until the process is no more, and return how it ended."""
        return int(self._said("ended"))

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _said(self, word: str) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().split()
        assert line[:1] == [word], line
        return line[1]


@contextmanager
def victim(site: Site) -> Iterator[Victim]:
    found = Victim(site)
    try:
        yield found
    finally:
        found.close()


def story(world: World, number: int) -> str:
    """Let something of every sort happen to the world, and return the day it is of."""
    world.add(new_vm(100 + number, f"esx{number % 4 + 1}"))
    world.change("vm-1", host=f"esx{number % 4 + 1}", ips=(f"10.1.0.{number + 1}",))
    world.change("vm-2", name="vm-2", cpus=number + 2)
    if number:
        world.drop(f"vm-{100 + number - 1}")
    return f"2026-{9 + number // 30:02}-{number % 30 + 1:02}"


def prepare(site: Site) -> None:
    """Make every table one in which the writer can be held, and let the server notice soon that its client is gone."""
    site.connection.execute(
        f"ALTER DATABASE {site.one('SELECT current_database()')} SET client_connection_check_interval = 20"
    )
    site.connection.execute(PAUSES)
    for table in TABLES:
        site.connection.execute(
            f"CREATE TRIGGER pause AFTER INSERT OR UPDATE OR DELETE ON ledger.{table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION public.pause()"
        )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def published(site: Site) -> dict[str, list[tuple[object, ...]]]:
    """Return what is derived; that something was read, and which reading waits, is no part of it."""
    return {
        table: found
        for table, found in derived(site.connection).items()
        if table not in ("inventories", "asset_observations")
    }


def through(site: Site, day: str) -> bool:
    """Say whether the writer had committed the day before it was killed."""
    query = "SELECT count(*) FROM ledger.inventories WHERE collected_date = %s AND status = 'derived'"
    return bool(site.one(query, day))


@pytest.mark.usefixtures("scripted_only")
@pytest.mark.skipif(sys.platform != "linux", reason="the server notices a dead client at once on Linux only")
def test_a_writer_killed_anywhere_leaves_nothing_half_done_and_its_rerun_gives_the_same_rows(
    site: Site, new_site: Callable[[], Site]
) -> None:
    prepare(site)
    chance = random.Random(11)
    world, reached, at = site.estate(), set(), "09:00"
    moments: list[str | float] = [*TABLES, *(chance.uniform(0, LONGEST_MOMENT_S) for _ in range(RANDOM_MOMENTS))]
    site.reading(world)
    site.collect("2026-08-31")
    with victim(site) as killed:
        for number, moment in enumerate(moments):
            day = story(world, number)
            site.reading(world)
            before = published(site)
            if isinstance(moment, str):
                site.connection.execute("INSERT INTO public.pause VALUES (%s)", [moment])
            pid = killed.start(day, at)
            if isinstance(moment, str):
                wait_until(lambda: any(row["wait_event"] == "PgSleep" for row in site.rows(OTHERS)))
                reached.add(moment)
            else:
                time.sleep(moment)
            with suppress(ProcessLookupError):  # at a random moment it may be through already
                os.kill(pid, signal.SIGKILL)
            done = killed.ended() == 0
            wait_until(lambda: site.rows(OTHERS) == [])
            site.connection.execute("TRUNCATE public.pause")

            if isinstance(moment, str):
                assert not done
                assert_same(before, published(site), f"killed at {moment}")
            elif through(site, day):
                assert rebuild(site.connection, [site.double.source], verify=True).differences == ()
            else:
                assert_same(before, published(site), f"killed after {moment} s")
            site.collect(day, at=at)
            assert site.one("SELECT count(*) FROM ledger.inventories WHERE status IN ('raw', 'reading')") == 0
    assert reached == set(TABLES)

    undisturbed = new_site()
    world = site.estate()
    undisturbed.reading(world)
    undisturbed.collect("2026-08-31")
    for number in range(len(moments)):
        day = story(world, number)
        undisturbed.reading(world)
        undisturbed.collect(day, at=at)
    # days that were read twice have a second reading, which found its own work done
    once, again = (canonical(one.connection, without=["inventories"]) for one in (undisturbed, site))
    assert_same(once, again)
