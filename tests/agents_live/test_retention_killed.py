"""Retention that is killed, again and again, at any moment, while late reports come: no row is lost, nothing half-done stays."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from asset_ledger.pipeline.retention import apply
from asset_ledger.store.agents.retention import HISTORY
from asset_ledger.store.database import connect
from tests.patience import until
from tests.postgres import create_database, database_name, drop_database
from tests.store.agents.test_retention import LONG_AGO
from tests.store.agents.years import (
    NOW,
    TENANTS,
    Said,
    client,
    history,
    ladder,
    leftovers,
    make_months,
    make_tenants,
    partitions,
    there,
    three_years,
    write_history,
)

PROJECT = Path(__file__).parents[2]
RUN = """
import sys
from datetime import datetime
from asset_ledger.pipeline.retention import apply
from asset_ledger.store.database import connect
with connect(sys.argv[1], application_name="doomed") as db:
    print("begun", flush=True)
    apply(db, "agent.inventory_history", now=datetime.fromisoformat(sys.argv[2]), back_off_s=(0.05,) * 100)
"""


@pytest.fixture(scope="module")
def years(template_database: str) -> Iterator[str]:
    """A database with three years of history, to be copied."""
    url = create_database(template_database, template=database_name(template_database))
    with connect(url) as db:
        make_tenants(db)
        make_months(db, HISTORY, LONG_AGO, NOW.date() + timedelta(days=31))
        write_history(db, three_years(clients=60))
    yield url
    drop_database(url)


def begun(url: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, url, NOW.isoformat()], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def backends(db: psycopg.Connection[tuple[object, ...]]) -> int:
    (count,) = db.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'doomed'").fetchone() or (0,)
    return int(str(count))


@pytest.mark.parametrize("seed", range(24))
def test_a_run_that_is_killed_at_any_moment_loses_no_row_and_leaves_no_table(years: str, seed: int) -> None:
    chance = random.Random(seed)
    url = create_database(years, template=database_name(years))
    try:
        with connect(url) as db:
            before, first, like = there(db), ladder(history(db), NOW), partitions(db, HISTORY)
            stop = threading.Event()
            came: list[Said] = []

            def write() -> None:
                """Go on telling what was long ago, as an agent does that was off for long."""
                number = 0
                with connect(url) as own:
                    while not stop.is_set():
                        number += 1
                        one = Said(
                            client(1000 + seed), NOW - timedelta(days=chance.randrange(100, 1100), seconds=number)
                        )
                        write_history(own, [one])
                        came.append(one)

            writer = threading.Thread(target=write)
            writer.start()
            try:
                for _ in range(3):
                    process = begun(url)
                    time.sleep(chance.uniform(0, 2.5))
                    if chance.random() < 0.5:
                        process.kill()
                    else:  # the server's end of it, as a restart does
                        db.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'doomed'"
                        )
                    process.wait()
                    until(lambda: backends(db) == 0)
            finally:
                stop.set()
                writer.join()
            told = history(db)
            found = there(db)
            wanted = ladder(told, NOW)  # of what is there: thinning in steps comes to the same rows
            assert all(found[row] == before[row] for row, how in first.items() if how == "whole")
            assert {row for row in wanted if row in before} == set(first)
            assert sum(len(rows) for key, rows in told.items() if key[1] == client(1000 + seed)) >= len(
                {(one.at.year, (one.at.month - 1) // 3) for one in came}
            )
            assert not [name for (name,) in leftovers(db) if str(name).endswith("_staying")]

            done = apply(db, HISTORY, now=NOW)
            assert not [one for one in done if one.state == "left"]
            assert set(there(db)) == set(wanted)
            assert {name: said for name, said in partitions(db, HISTORY).items() if name in like} == {
                name: said for name, said in like.items() if name in partitions(db, HISTORY)
            }
            assert not leftovers(db)
    finally:
        drop_database(url)


def test_what_was_to_stay_before_the_kills_stays_after_them(years: str) -> None:
    url = create_database(years, template=database_name(years))
    try:
        with connect(url) as db:
            before, wanted = there(db), ladder(history(db), NOW)
            chance = random.Random(1)
            for _ in range(12):
                process = begun(url)
                time.sleep(chance.uniform(0, 0.6))
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                until(lambda: backends(db) == 0)
                found = there(db)
                assert set(wanted) <= set(found)
                assert all(found[row] == before[row] for row, how in wanted.items() if how == "whole")
                assert all(found[row][1] in (None, before[row][1]) for row in found)
            apply(db, HISTORY, now=NOW)
            assert set(there(db)) == set(wanted)
            assert not leftovers(db)
    finally:
        drop_database(url)


def test_late_rows_of_two_tenants_while_months_are_exchanged_are_all_told_to_the_ladder(years: str) -> None:
    """Without kills: whoever came, when, is in what the next run judges; nobody comes twice."""
    url = create_database(years, template=database_name(years))
    try:
        with connect(url) as db:
            stop = threading.Event()
            came: dict[int, list[Said]] = {0: [], 1: []}

            def write(number: int) -> None:
                chance = random.Random(number)
                with connect(url) as own:
                    while not stop.is_set():
                        at = NOW - timedelta(days=chance.randrange(100, 1100), microseconds=len(came[number]))
                        # a change: it stays at least thin
                        one = Said(client(2000 + number), at, ("os_change",), TENANTS[number])
                        write_history(own, [one])
                        came[number].append(one)

            writers = [threading.Thread(target=write, args=[number]) for number in came]
            for writer in writers:
                writer.start()
            try:
                for _ in range(2):
                    apply(db, HISTORY, now=NOW)
            finally:
                stop.set()
                for writer in writers:
                    writer.join()
            for number, rows in came.items():
                found = history(db)[TENANTS[number], client(2000 + number)]
                assert sorted(one.at for one in rows) == sorted(one.collected_at for one in found)
            assert all(len(rows) > 20 for rows in came.values()), "they did write meanwhile"
    finally:
        drop_database(url)
