"""What a run does for its days, without Dagster: which days are done, which failed, and what was not reached."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from asset_ledger.domain.errors import RAW_MISSING, LedgerError
from asset_ledger.pipeline.chains import Chain
from asset_ledger.pipeline.days import ConnectionLostError, Request, SourceRun
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.settings import Settings
from asset_ledger.store.database import connect
from tests.pipeline.importing import Importing, importing

HEADER = "mgmt_ip,hostname,cpu_cores\n"
DAYS = (date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 3))


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Importing]:
    """An import source into which a file of each of three days was taken, none of them derived."""
    with importing(database_url, tmp_path / "inbox") as made:
        for cores, day in enumerate(DAYS, 1):
            text = f"{HEADER}192.0.2.1,db-01,{cores}\n"
            made.take(day.isoformat(), made.drop(f"hosts_{day}.csv", text))
        yield made


def run(office: Importing, log: logging.Logger, *days: date) -> SourceRun:
    ledger = Ledger(Settings.load())
    return SourceRun(ledger, office.connection, Chain(office.source), office.row, Request(days=days, run_id="run"), log)


class Cutting(logging.Handler):
    """Ends a session in the server as soon as a day is told to be done."""

    def __init__(self, url: str, pid: int, done: str) -> None:
        super().__init__()
        self.url, self.pid, self.done = url, pid, done

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(self.done):
            with connect(self.url) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [self.pid])


def test_a_connection_that_is_lost_ends_the_run_and_says_what_was_done_and_what_was_not_reached(
    office: Importing, database_url: str
) -> None:
    log = logging.Logger("run", logging.INFO)
    log.addHandler(Cutting(database_url, office.connection.info.backend_pid, f"office {DAYS[0]}: "))
    with pytest.raises(ConnectionLostError) as lost:
        run(office, log, *DAYS).do()
    assert lost.value.done.derived == [DAYS[0]]
    assert list(lost.value.done.failed) == [DAYS[1]]
    assert list(lost.value.unreached) == [DAYS[2]]
    assert lost.value.__cause__ is lost.value.done.failed[DAYS[1]]
    with connect(database_url) as later:
        found = later.execute("SELECT collected_date, cpu_cores FROM ledger.asset_daily_specs").fetchall()
    assert found == [(DAYS[0], 1)]


def test_days_without_raw_are_passed_over_and_a_run_that_finds_none_says_so(office: Importing) -> None:
    empty = date(2026, 10, 1)
    log = logging.Logger("run")
    done = run(office, log, empty, *DAYS).do()
    assert [(day.day, len(day.derived)) for day in done.days] == [(empty, 0), *((day, 1) for day in DAYS)]
    assert (done.failed, done.derived) == ({}, list(DAYS))
    with pytest.raises(LedgerError) as missing:
        run(office, log, empty).do()
    assert missing.value.code is RAW_MISSING
