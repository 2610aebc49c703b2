"""How it stands with sources, over real readings of a cluster and readings of many days: fresh, whole, of usual size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from psycopg.types.json import Jsonb

from asset_ledger.domain.calendar import collected_date, instant_of
from asset_ledger.domain.cliffs import DayCount
from asset_ledger.domain.errors import CREDENTIAL_UNREADABLE, SOURCE_BUSY, PermanentError, RetryableError
from asset_ledger.domain.shards import Shard, cut
from asset_ledger.pipeline.chains import chains
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import read_source
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.pipeline.watch import Partly, Standing, expectation, standings
from asset_ledger.sources.config import parse_sources
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.decide.decisions import decide, retire
from asset_ledger.store.query.watch import orphan_relations, shared_addresses
from asset_ledger.store.raw import save_inventory
from asset_ledger.store.records import save_unread
from tests.doubles.pve import PveDouble, load
from tests.sources.live import Credentials
from tests.sources.pve.live import config_of, fields_of

ACCOUNT = "agent@pve!asset"
TODAY = date(2026, 11, 20)  # a Friday
PVE = {"endpoint": "https://pve.example.com:8006", "auth_type": "api_token", "credential_ref": "env:PVE"}


def sources(*said: dict[str, Any]) -> list[SourceConfig]:
    """The sources of a file that says this."""
    found, problems = parse_sources({"sources": [*said]})
    assert problems == []
    return found


def pve(name: str = "lab", **said: Any) -> dict[str, Any]:
    return {"name": name, "platform": "pve", **PVE, "endpoint": f"https://{name}.example.com:8006", **said}


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as connection:
        yield connection


def read(
    db: Connection,
    source: SourceConfig,
    day: date,
    *,
    at: datetime | None = None,
    came_at: datetime | None = None,
    scope: str = "all",
    status: str = "derived",
    complete: bool = True,
    records: int = 10,
    failed: int = 0,
    error_code: str | None = None,
) -> int:
    """Put in a reading of a day as it stands once its run is over. `came_at` is when its raw was written."""
    moment = at or instant_of(day, time(2, 3))
    kept = save_inventory(
        db, source_row(db, source), [], scope=scope, collected_date=day, collected_at=moment, run_id="r1", mode="collect",
        complete=False,
    )  # fmt: skip
    db.execute(
        "UPDATE ledger.inventories SET status = %s, complete = %s, error_code = %s, recorded_at = %s, report = %s WHERE id = %s",
        [
            status,
            complete,
            error_code,
            came_at or moment,
            Jsonb({"counts": {"records": records, "failed_targets": failed}}),
            kept.id,
        ],
    )
    return kept.id


def at(day: date, clock: str) -> datetime:
    """The instant at which clocks in Shanghai show this."""
    return instant_of(day, time.fromisoformat(clock))


def look(db: Connection, several: Sequence[SourceConfig], now: datetime) -> dict[str, Standing]:
    return {
        f"{one.chain.source.name} {one.chain.scope}".removesuffix(" all"): one
        for one in standings(db, several, now=now)
    }


def test_yesterdays_reading_is_fresh_until_todays_is_due(db: Connection) -> None:
    (lab,) = several = sources(pve())
    read(db, lab, TODAY - timedelta(days=1))
    assert look(db, several, at(TODAY, "04:59"))["lab"].fresh
    stale = look(db, several, at(TODAY, "05:00"))["lab"]
    assert not stale.fresh
    assert stale.days_behind == 1
    assert stale.age_s == (27 * 60 - 3) * 60
    read(db, lab, TODAY)
    assert look(db, several, at(TODAY, "05:00"))["lab"].fresh


def test_the_hour_of_sources_yaml_counts_before_that_of_the_schedule(db: Connection) -> None:
    (lab,) = several = sources(pve(fresh_by="09:00"))
    read(db, lab, TODAY - timedelta(days=1))
    assert look(db, several, at(TODAY, "08:59"))["lab"].fresh
    assert not look(db, several, at(TODAY, "09:00"))["lab"].fresh


def test_a_weekly_source_is_not_red_every_day(db: Connection) -> None:
    (lab,) = several = sources(pve(schedule="0 2 * * 0"))
    sunday = date(2026, 11, 15)
    read(db, lab, sunday)
    week = [look(db, several, at(sunday + timedelta(days=days), "12:00"))["lab"].fresh for days in range(9)]
    assert week == [True] * 7 + [False] * 2


def test_what_is_read_by_drop_is_only_stale_where_sources_yaml_expects_it(db: Connection) -> None:
    office, weekly = several = sources(
        {"name": "office", "platform": "import", "inbox": "a"},
        {"name": "weekly", "platform": "import", "inbox": "b", "every": "7d"},
    )
    for each in (office, weekly):
        read(db, each, TODAY - timedelta(days=8), complete=False)
    found = look(db, several, at(TODAY, "12:00"))
    assert found["office"].fresh
    assert found["office"].due is None
    assert not found["weekly"].fresh
    # a file of an old day that is dropped today is of its old day
    read(db, weekly, TODAY - timedelta(days=30), came_at=at(TODAY, "11:00"), complete=False)
    assert not look(db, several, at(TODAY, "12:00"))["weekly"].fresh
    read(db, weekly, TODAY - timedelta(days=7), came_at=at(TODAY, "11:00"), complete=False)
    assert look(db, several, at(TODAY, "12:00"))["weekly"].fresh


@pytest.mark.parametrize(
    "said",
    [
        {"complete": False},
        {"status": "failed"},
        {"status": "interrupted"},
        {"status": "raw"},
        {"came_at": datetime(2026, 11, 21, 3, 0, tzinfo=UTC)},  # raw that came on another day
    ],
)
def test_what_is_not_whole_or_was_not_read_that_day_does_not_count(db: Connection, said: dict[str, Any]) -> None:
    (lab,) = several = sources(pve())
    read(db, lab, TODAY, **said)
    assert not look(db, several, at(TODAY, "23:00"))["lab"].fresh


@pytest.mark.parametrize(("utc", "counts"), [("15:59:59", True), ("16:00:00", False)])
def test_the_day_that_raw_came_on_is_shanghais(db: Connection, utc: str, counts: bool) -> None:
    (lab,) = several = sources(pve())
    read(db, lab, TODAY, came_at=datetime.fromisoformat(f"{TODAY}T{utc}+00:00"))
    assert look(db, several, at(TODAY, "23:59"))["lab"].fresh is counts


def probed(db: Connection, source: SourceConfig, day: date, *, read_: int, failed: int = 0, first: int = 0) -> None:
    """Put in a probing of machines that are called by number, some of which answered."""
    inventory = read(db, source, day, complete=False)
    names = [
        (f"192.0.2.{number}", "ok" if number < first + read_ else "failed")
        for number in range(first, first + read_ + failed)
    ]
    for name, status in names:
        db.execute(
            """
            INSERT INTO ledger.sync_target_records (collected_date, run_id, source_id, inventory_id, scope, mode, target,
                                                    started_at, duration_ms, status, effect)
            SELECT collected_date, run_id, source_id, id, scope, mode, %s, collected_at, 1, %s, 'put in'
            FROM ledger.inventories WHERE id = %s
            """,
            [name, status, inventory],
        )


@pytest.fixture
def probe() -> SourceConfig:
    (found,) = sources({"name": "probe", "platform": "ssh", "known_hosts": "k"})
    return found


def test_a_probe_that_reached_nobody_has_read_nothing(db: Connection, probe: SourceConfig) -> None:
    probed(db, probe, TODAY, read_=0, failed=12)
    assert not look(db, [probe], at(TODAY, "12:00"))["probe"].fresh
    probed(db, probe, TODAY, read_=1)
    found = look(db, [probe], at(TODAY, "12:00"))["probe"]
    assert found.fresh
    assert found.days[0].records == 1


def test_a_day_that_was_probed_in_parts_or_twice_has_each_machine_once(db: Connection, probe: SourceConfig) -> None:
    for back in range(1, 8):
        probed(db, probe, TODAY - timedelta(days=back), read_=40)
    for first in (0, 20):  # two workers share them
        probed(db, probe, TODAY, read_=20, first=first)
    probed(db, probe, TODAY, read_=40)
    found = look(db, [probe], at(TODAY, "12:00"))["probe"]
    assert found.days[0].records == 40
    assert not found.cliff


@pytest.fixture
def sharded(db: Connection) -> SourceConfig:
    """A probing of 40 machines in four shards, and the machines: they were declared long ago."""
    (found,) = sources(
        {"name": "probe", "platform": "ssh", "known_hosts": "k", "shards": 4, "default_credential_ref": "env:P"}
    )
    declare(db, range(40), at(TODAY, "00:00") - timedelta(days=90))
    return found


def declare(db: Connection, numbers: Iterable[int], since: datetime) -> None:
    db.execute(
        "INSERT INTO ledger.assets (id, zone, platform_type, mgmt_ip, protocol, created_at, updated_at)"
        " SELECT gen_random_uuid(), 'default', 'unknown', ('192.0.2.' || n)::inet, 'ssh', %s, %s FROM unnest(%s) AS n",
        [since, since, list(numbers)],
    )


def probe_shard(
    db: Connection,
    source: SourceConfig,
    day: date,
    shard: Shard,
    of: range = range(40),
    lost: int = 0,
    clock: str = "02:03",
) -> None:
    """Put in the reading of a shard that came to its end, but for its last `lost` machines; the first two refused."""
    names = [f"192.0.2.{number}" for number in of if shard.has(f"192.0.2.{number}")]
    inventory = read(db, source, day, at=at(day, clock), complete=False)
    for place, name in enumerate(names[: len(names) - lost]):
        db.execute(
            """
            INSERT INTO ledger.sync_target_records (collected_date, run_id, source_id, inventory_id, scope, mode, target,
                                                    started_at, duration_ms, status, effect)
            SELECT collected_date, run_id, source_id, id, scope, mode, %s, collected_at, 1, %s, 'put in'
            FROM ledger.inventories WHERE id = %s
            """,
            [name, "failed" if place < 2 else "ok", inventory],
        )


NIGHT_AND_DAY = ("02:20", "12:00")


def test_a_day_is_not_there_before_its_last_shard_has_ended(db: Connection, sharded: SourceConfig) -> None:
    *most, last = cut(4)
    assert not look(db, [sharded], at(TODAY, "12:00"))["probe"].fresh, "nothing was read yet"
    for shard in most:
        probe_shard(db, sharded, TODAY, shard)
        found = look(db, [sharded], at(TODAY, "12:00"))["probe"]
        assert (found.fresh, found.days, found.age_s) == (False, (), None)
        assert found.partly is not None
        assert str(last) in found.partly.shards
    assert found.partly.machines == sum(last.has(f"192.0.2.{number}") for number in range(40))
    assert found.partly.shards == ("4/4",)
    probe_shard(db, sharded, TODAY, last)
    found = look(db, [sharded], at(TODAY, "12:00"))["probe"]
    assert (found.fresh, found.partly, found.days[0].records) == (True, None, 32)


def test_while_shards_are_read_at_night_the_day_before_is_what_is_judged(db: Connection, sharded: SourceConfig) -> None:
    for back in range(1, 9):
        for shard in cut(4):
            probe_shard(db, sharded, TODAY - timedelta(days=back), shard)
    probe_shard(db, sharded, TODAY, cut(4)[0])
    at_night, at_noon = (look(db, [sharded], at(TODAY, clock))["probe"] for clock in NIGHT_AND_DAY)
    assert (at_night.fresh, at_noon.fresh) == (True, False)
    assert at_night.days[0] == DayCount(TODAY - timedelta(days=1), 32)
    assert not at_night.cliff
    assert not at_noon.cliff
    # a shard that was lost for good half way is not there either, whoever derives what it had kept
    for shard in cut(4)[1:]:
        probe_shard(db, sharded, TODAY, shard, lost=3 if shard.number == 3 else 0)
    found = look(db, [sharded], at(TODAY, "12:00"))["probe"]
    assert not found.fresh
    assert found.partly == Partly(TODAY, 3, ("3/4",))


def test_the_number_of_shards_may_be_another_each_day(db: Connection, sharded: SourceConfig) -> None:
    for shard in cut(7):
        probe_shard(db, sharded, TODAY - timedelta(days=1), shard)
    probe_shard(db, sharded, TODAY, Shard(1, 1))
    found = look(db, [sharded], at(TODAY, "12:00"))["probe"]
    assert [day.day for day in found.days] == [TODAY, TODAY - timedelta(days=1)]


def test_machines_that_are_declared_or_retired_after_the_reading_make_no_hole_in_it(
    db: Connection, sharded: SourceConfig
) -> None:
    for back in (0, 1):
        for shard in cut(4):
            probe_shard(db, sharded, TODAY - timedelta(days=back), shard)
    declare(db, range(40, 60), at(TODAY, "09:00"))
    # one that was known and could not be probed until today
    declare(db, [61], at(TODAY, "00:00") - timedelta(days=9))
    db.execute("UPDATE ledger.assets SET deleted_at = now() WHERE mgmt_ip = '192.0.2.3'")
    found = look(db, [sharded], at(TODAY, "12:00"))["probe"]
    assert found.fresh
    assert found.partly is None


@pytest.fixture
def small(db: Connection) -> tuple[SourceConfig, int, int]:
    """A probing in eight shards, of one machine that was read on three days, and that machine. The last is an older one
    of another shard, which the ledger has of another source and which cannot be probed."""
    (found,) = sources({"name": "probe", "platform": "ssh", "known_hosts": "k", "shards": 8})
    (mine,) = (part for part in cut(8) if part.has("192.0.2.1"))
    other = next(number for number in range(2, 40) if not mine.has(f"192.0.2.{number}"))
    declare(db, [1, other], at(TODAY, "00:00") - timedelta(days=90))
    db.execute("UPDATE ledger.assets SET credential_ref = 'env:P'")
    db.execute(
        "UPDATE ledger.assets SET protocol = NULL, credential_ref = NULL WHERE mgmt_ip = %s", [f"192.0.2.{other}"]
    )
    for back in range(3):
        probed(db, found, TODAY - timedelta(days=back), read_=1, first=1)
    return found, 1, other


def can_be_probed(db: Connection, number: int, since: datetime) -> None:
    db.execute(
        "UPDATE ledger.assets SET protocol = 'ssh', credential_ref = 'env:P', updated_at = %s WHERE mgmt_ip = %s",
        [since, f"192.0.2.{number}"],
    )


LAST_THREE_DAYS = [TODAY - timedelta(days=back) for back in range(3)]


def test_a_machine_that_can_be_probed_only_since_the_reading_is_not_missed_though_the_ledger_had_it_long_before(
    db: Connection, small: tuple[SourceConfig, int, int]
) -> None:
    source, _, other = small
    can_be_probed(db, other, at(TODAY, "09:00"))
    found = look(db, [source], at(TODAY, "12:00"))["probe"]
    assert (found.fresh, found.partly) == (True, None)
    assert [one.day for one in found.days] == LAST_THREE_DAYS
    # once it has been read, its shard is waited for
    tomorrow, later = (TODAY + timedelta(days=days) for days in (1, 9))
    probed(db, source, tomorrow, read_=1, first=1)
    probed(db, source, tomorrow, read_=1, first=other)
    assert [one.day for one in look(db, [source], at(tomorrow, "12:00"))["probe"].days] == [tomorrow, *LAST_THREE_DAYS]
    for back in range(8):
        probed(db, source, later - timedelta(days=back), read_=1, first=1)
    found = look(db, [source], at(later, "12:00"))["probe"]
    assert (found.fresh, found.days[0].day) == (False, tomorrow), "however long ago that was"
    assert found.partly is not None
    assert (found.partly.day, found.partly.machines) == (later, 1)


def test_machines_that_sources_yaml_lets_be_probed_do_not_make_the_days_before_partly_read(
    db: Connection, small: tuple[SourceConfig, int, int]
) -> None:
    source, _, other = small
    can_be_probed(db, other, at(TODAY, "00:00") - timedelta(days=90))  # nothing of the machine itself has changed
    found = look(db, [source], at(TODAY, "12:00"))["probe"]
    assert (found.fresh, found.partly) == (True, None)
    assert [one.day for one in found.days] == LAST_THREE_DAYS[:2], "of the first day it cannot be told"
    # the first day that is looked at is not the first that was read
    probed(db, source, TODAY - timedelta(days=60), read_=1, first=1)
    assert [one.day for one in look(db, [source], at(TODAY, "12:00"))["probe"].days][:3] == LAST_THREE_DAYS


def test_a_shard_that_had_no_machine_when_the_day_was_read_is_not_waited_for(
    db: Connection, sharded: SourceConfig
) -> None:
    *most, last = cut(4)
    empty = [number for number in range(40) if last.has(f"192.0.2.{number}")]
    db.execute("DELETE FROM ledger.assets WHERE split_part(host(mgmt_ip), '.', 4)::integer = ANY(%s)", [empty])
    for back in (0, 1):
        for shard in most:
            probe_shard(db, sharded, TODAY - timedelta(days=back), shard)
    assert look(db, [sharded], at(TODAY, "12:00"))["probe"].fresh
    declare(db, empty[1:], at(TODAY, "09:00"))
    assert look(db, [sharded], at(TODAY, "12:00"))["probe"].fresh, "they were declared after it"
    # a machine that was read, and has an address of that shard since
    moved = next(f"192.0.2.{number}" for number in range(40) if most[0].has(f"192.0.2.{number}"))
    db.execute(
        "UPDATE ledger.sync_target_records SET asset_id = (SELECT id FROM ledger.assets WHERE host(mgmt_ip) = %s)"
        " WHERE target = %s",
        [moved, moved],
    )
    db.execute("UPDATE ledger.assets SET mgmt_ip = %s WHERE host(mgmt_ip) = %s", [f"192.0.2.{empty[0]}", moved])
    assert look(db, [sharded], at(TODAY, "12:00"))["probe"].fresh


def test_a_probing_whose_raw_was_derived_by_a_replay_has_its_machines(db: Connection, probe: SourceConfig) -> None:
    for back in range(8):
        probed(db, probe, TODAY - timedelta(days=back), read_=40)
    db.execute("UPDATE ledger.sync_target_records SET mode = 'replay' WHERE collected_date = %s", [TODAY])
    found = look(db, [probe], at(TODAY, "12:00"))["probe"]
    assert found.days[0].records == 40
    assert not found.cliff


def test_a_cliff_says_whether_machines_that_did_not_answer_make_it(db: Connection, probe: SourceConfig) -> None:
    for back in range(1, 8):
        probed(db, probe, TODAY - timedelta(days=back), read_=40)
    probed(db, probe, TODAY, read_=10, failed=29)
    assert look(db, [probe], at(TODAY, "12:00"))["probe"].cliff_follows == "targets"
    (lab,) = sources(pve())
    for back in range(8):
        read(db, lab, TODAY - timedelta(days=back), records=100 if back else 30)
    assert look(db, [lab], at(TODAY, "12:00"))["lab"].cliff_follows == "fewer"
    read(db, lab, TODAY, at=at(TODAY, "03:00"), records=300)
    found = look(db, [lab], at(TODAY, "12:00"))["lab"]
    assert (found.cliff, found.cliff_follows) == (True, "")


def test_scopes_that_are_read_apart_are_fresh_apart(db: Connection) -> None:
    (vc,) = several = sources(
        {"name": "vc", "platform": "vcenter", "endpoint": "https://vc.example.com", "credential_ref": "env:VC",
 },
    )  # fmt: skip
    read(db, vc, TODAY, scope="hosts")
    read(db, vc, TODAY - timedelta(days=1), scope="vms")
    found = look(db, several, at(TODAY, "12:00"))
    assert (found["vc hosts"].fresh, found["vc vms"].fresh) == (True, False)
    read(db, vc, TODAY)  # of everything
    assert look(db, several, at(TODAY, "12:00"))["vc vms"].fresh


def test_a_scope_that_is_only_read_by_hand_is_never_stale() -> None:
    (vc,) = sources(
        {"name": "vc", "platform": "vcenter", "endpoint": "https://vc.example.com", "credential_ref": "env:VC",
         "schedule": {"hosts": "0 1 * * *"}},
    )  # fmt: skip
    assert {chain.scope: expectation(chain).crons for chain in chains(vc)} == {"hosts": ("0 1 * * *",), "vms": ()}


def test_a_source_that_was_never_read_is_stale_and_says_so(db: Connection) -> None:
    several = sources(pve())
    found = look(db, several, at(TODAY, "12:00"))["lab"]
    assert (found.fresh, found.age_s, found.days_behind, found.newest) == (False, None, None, None)
    assert found.whole


def test_the_newest_attempt_is_told_whatever_became_of_it(db: Connection) -> None:
    (lab,) = several = sources(pve())
    read(db, lab, TODAY - timedelta(days=1))
    read(db, lab, TODAY, status="failed", complete=False, error_code="PVE_PERMISSION_DENIED")
    found = look(db, several, at(TODAY, "12:00"))["lab"]
    assert not found.whole
    assert found.newest is not None
    assert (found.newest.status, found.newest.error_code) == ("failed", "PVE_PERMISSION_DENIED")


def test_an_attempt_of_which_nothing_came_in_is_told_too(db: Connection) -> None:
    (lab,) = several = sources(pve())
    today = collected_date(datetime.now(UTC))
    read(db, lab, today - timedelta(days=1))
    error = PermanentError(CREDENTIAL_UNREADABLE, "there is no such file", target="lab")
    save_unread(db, source_row(db, lab), today, error, run_id="r2", mode="collect")
    found = look(db, several, datetime.now(UTC))["lab"]
    assert found.newest is not None
    assert (found.newest.status, found.newest.error_code, found.newest.run_id) == ("failed", error.code.code, "r2")
    assert not found.whole


def test_that_another_run_had_the_source_meanwhile_does_not_spoil_the_reading_that_succeeds(db: Connection) -> None:
    (lab,) = several = sources(pve())
    now = datetime.now(UTC)
    today = collected_date(now)
    # the reading is at work from before the other run asks, and ends well after it
    read(db, lab, today, at=now - timedelta(minutes=5), came_at=now)
    error = RetryableError(SOURCE_BUSY, "another run is reading it", target="lab")
    save_unread(db, source_row(db, lab), today, error, run_id="r2", mode="collect")
    found = look(db, several, datetime.now(UTC))["lab"]
    assert found.newest is not None
    assert (found.newest.status, found.newest.run_id) == ("derived", "r1")
    assert found.whole


def test_a_cliff_is_told_of_the_newest_day_with_the_sources_own_threshold(db: Connection) -> None:
    lab, wide = several = sources(pve(), pve("wide", cliff_share=0.8))
    for each in (lab, wide):
        for back in range(1, 8):
            read(db, each, TODAY - timedelta(days=back), records=100)
        read(db, each, TODAY, records=3, status="failed", complete=False)
        assert not look(db, several, at(TODAY, "12:00"))[each.name].cliff, "what is not whole has no size"
        read(db, each, TODAY, at=at(TODAY, "03:00"), records=40)
    found = look(db, several, at(TODAY, "12:00"))
    assert (found["lab"].cliff, found["wide"].cliff) == (True, False)
    assert found["lab"].usual is not None
    # the working days among them
    assert (found["lab"].usual.records, found["lab"].usual.days) == (100, 5)


@dataclass
class Lab:
    """A real reading of a cluster."""

    db: Connection
    source: SourceConfig

    def asset(self, kind: str) -> Any:
        row = self.db.execute(
            "SELECT asset_id FROM ledger.asset_source_links WHERE external_kind = %s ORDER BY external_id", [kind]
        ).fetchone()
        assert row is not None
        return row[0]

    def orphans(self) -> dict[str, Any]:
        (row,) = orphan_relations(self.db)
        return row


@pytest.fixture
def lab(db: Connection) -> Iterator[Lab]:
    with PveDouble(load("cluster")) as double:
        source = config_of(double, ACCOUNT)
        row = source_row(db, source)
        reader = cast("Ledger", SimpleNamespace(credentials=Credentials(fields_of(ACCOUNT))))
        read_source(reader, db, source, row, scope="all", run_id="r1", mode="collect")
        today = collected_date(datetime.now(UTC))
        derive_day(db, source, row, today, run_id="r1", mode="collect")
        yield Lab(db, source)


def test_a_real_reading_is_fresh_whole_and_has_its_records(lab: Lab) -> None:
    now = datetime.now(UTC)
    (found,) = standings(lab.db, [lab.source], now=now)
    assert found.fresh
    assert found.whole
    assert found.newest is not None
    assert found.newest.complete
    known = lab.db.execute("SELECT count(*) FROM ledger.asset_source_links").fetchone()
    assert found.days[0].records == (known or (0,))[0] > 5
    assert found.age_s is not None
    assert 0 <= found.age_s < 600
    # and it stays of its day
    (later,) = standings(lab.db, [lab.source], now=now + timedelta(days=3))
    assert not later.fresh
    assert later.days_behind in (2, 3)


def test_relations_that_end_nowhere_are_counted_by_why(lab: Lab) -> None:
    whole = lab.orphans()
    assert whole["relations"] > 5
    assert [whole[why] for why in ("unknown", "missing", "retired", "on_itself")] == [0, 0, 0, 0]
    assert whole["examples"] == []
    host = lab.asset("host")
    on_it = lab.db.execute("SELECT count(*) FROM ledger.topology WHERE to_asset_id = %s AND current", [host]).fetchone()
    retire(lab.db, host, actor="ann", at=datetime.now(UTC))
    found = lab.orphans()
    assert found["retired"] == (on_it or (0,))[0] > 0
    assert found["examples"][0]["why"] == "retired"
    assert len(found["examples"]) == 3
    lab.db.execute("UPDATE ledger.asset_source_links SET missing_since = now() WHERE external_kind = 'cluster'")
    assert lab.orphans()["missing"] > 0
    lab.db.execute("UPDATE ledger.asset_relations SET to_external_id = 'gone' WHERE kind = 'member_of'")
    found = lab.orphans()
    assert found["missing"] == 0
    assert found["unknown"] > 0


def test_a_machine_that_was_merged_into_its_own_host_runs_on_itself(lab: Lab) -> None:
    pair = lab.db.execute(
        "SELECT from_asset_id, to_asset_id FROM ledger.topology WHERE kind = 'runs_on' AND current LIMIT 1"
    ).fetchone()
    assert pair is not None
    lab.db.execute("UPDATE ledger.assets SET merged_into_asset_id = %s WHERE id = %s", [pair[1], pair[0]])
    assert lab.orphans()["on_itself"] == 1


def test_one_address_of_several_machines_counts_in_a_zone_until_a_person_says_that_they_are_not_one(lab: Lab) -> None:
    db = lab.db
    assert shared_addresses(db)["addresses"] == 0
    ids = [
        row[0]
        for row in db.execute(
            "SELECT a.id FROM ledger.assets a JOIN ledger.asset_source_links l ON l.asset_id = a.id"
            " WHERE l.external_kind = 'vm' ORDER BY a.id LIMIT 3"
        )
    ]
    db.execute("UPDATE ledger.assets SET mgmt_ip = '192.0.2.99' WHERE id = ANY(%s)", [ids])
    found = shared_addresses(db)
    assert (found["addresses"], found["machines"]) == (1, 3)
    assert found["shared"][0]["mgmt_ip"] == "192.0.2.99"
    db.execute("UPDATE ledger.assets SET zone = 'elsewhere' WHERE id = %s", [ids[0]])
    assert shared_addresses(db)["machines"] == 2
    db.execute("UPDATE ledger.assets SET missing_since = now() WHERE id = %s", [ids[1]])
    assert shared_addresses(db)["addresses"] == 0
    db.execute("UPDATE ledger.assets SET missing_since = NULL WHERE id = %s", [ids[1]])
    decide(
        db, kind="not_duplicate", asset_id=min(ids[1:]), other_id=max(ids[1:]), value=True, actor="ann",
        at=datetime.now(UTC),
    )  # fmt: skip
    assert shared_addresses(db)["addresses"] == 0
