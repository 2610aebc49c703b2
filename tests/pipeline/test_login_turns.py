"""A wrong password of a domain account is shown to three hosts a day, however many runs read, and a right one to all."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.shards import Shard, cut
from asset_ledger.pipeline.chains import chains
from asset_ledger.pipeline.days import Request, SourceRun
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.sources.winrm.config import WinrmConfig
from asset_ledger.store.database import connect, rows
from tests.doubles.wsman import WsmanDouble
from tests.sources.live import Credentials
from tests.sources.winrm.live import PASSWORD, USER, add, config_of

TODAY = collected_date(datetime.now(UTC))
LOG = cast("Any", SimpleNamespace(info=lambda *_: None, warning=lambda *_: None))
HOSTS = 32
SHARDS = cut(8)
WRONG = "canary-wrong"
CODES = """
SELECT DISTINCT ON (o.target) o.target, coalesce(o.payload #>> '{error,code}', 'read') AS code
FROM ledger.asset_observations o WHERE o.source_id = %s ORDER BY o.target, o.id DESC
"""


@dataclass
class Windows:
    """A WinRM source with Windows hosts; each run is a run of its own, with a connection of its own."""

    url: str
    double: WsmanDouble
    source: WinrmConfig

    def run(self, run_id: str, password: str, shard: Shard | None = None, *before: str) -> None:
        ledger = cast("Ledger", SimpleNamespace(credentials=Credentials({"username": USER, "password": password})))
        request = Request((TODAY,), run_id, shard=shard, attempts=(run_id, *before))
        with connect(self.url) as connection:
            row = source_row(connection, self.source)
            SourceRun(ledger, connection, chains(self.source)[0], row, request, LOG).do()

    def all_at_once(self, password: str) -> None:
        threads = [
            threading.Thread(target=self.run, args=(f"at-once-{shard.number}", password, shard)) for shard in SHARDS
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in threads)

    def shown(self) -> int:
        """Return how often a login was refused."""
        return len(self.double.requests.all("authenticate"))

    def codes(self) -> Counter[str]:
        """Return how many hosts came to which end the last time."""
        with connect(self.url) as connection:
            found = rows(connection, CODES, [source_row(connection, self.source).id])
        return Counter(row["code"] for row in found)


@pytest.fixture(scope="module")
def double() -> Iterator[WsmanDouble]:
    with WsmanDouble(tls=False) as one:
        for number in range(1, HOSTS + 1):
            add(one, f"127.0.36.{number}")
        yield one


@pytest.fixture
def windows(database_url: str, double: WsmanDouble) -> Windows:
    double.requests.clear()
    one = Windows(database_url, double, config_of(double, default_credential_ref="env:WIN"))
    with connect(database_url) as connection:
        source_row(connection, one.source)
        connection.execute(
            "INSERT INTO ledger.assets (id, zone, platform_type, mgmt_ip, protocol, created_at, updated_at) "
            "SELECT gen_random_uuid(), 'default', 'unknown', ('127.0.36.' || n)::inet, 'winrm', now(), now() "
            "FROM generate_series(1, %s) AS n",
            [HOSTS],
        )
    return one


def test_shards_at_the_same_time_show_a_wrong_password_to_three_hosts_together(windows: Windows) -> None:
    windows.all_at_once(WRONG)
    assert windows.codes() == {"WINRM_AUTH_FAILED": 3, "WINRM_NOT_TRIED": HOSTS - 3}
    assert windows.shown() == 3


def test_shards_one_after_the_other_and_another_source_count_what_the_day_was_told(windows: Windows) -> None:
    for shard in SHARDS:
        windows.run(f"run-{shard.number}", WRONG, shard)
    assert windows.shown() == 3
    other = Windows(windows.url, windows.double, windows.source.model_copy(update={"name": "other_hosts"}))
    other.run("other", WRONG, Shard(1, 8))
    assert windows.shown() == 3
    assert set(other.codes()) == {"WINRM_NOT_TRIED"}


def test_a_whole_reading_that_dagster_does_again_goes_on_counting(windows: Windows) -> None:
    windows.run("killed", WRONG)
    windows.run("again", WRONG, None, "killed")
    assert windows.shown() == 3


def test_a_right_password_reads_every_host_in_shards_at_the_same_time(windows: Windows) -> None:
    windows.all_at_once(PASSWORD)
    assert windows.codes() == {"read": HOSTS}


def test_who_mended_the_password_reads_everything_once_and_shards_read_again(windows: Windows) -> None:
    for shard in SHARDS[:4]:
        windows.run(f"wrong-{shard.number}", WRONG, shard)
    windows.run("shard", PASSWORD, SHARDS[4])
    assert set(windows.codes()) == {"WINRM_AUTH_FAILED", "WINRM_NOT_TRIED"}
    windows.run("whole", PASSWORD)
    assert windows.codes() == {"read": HOSTS}
    windows.run("shard again", PASSWORD, SHARDS[4])
    assert windows.codes() == {"read": HOSTS}
