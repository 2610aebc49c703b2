"""The ledger of a past day: what was observed, carried, unknown, decided; and what would have been answered before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from asset_ledger.domain.as_of import AsOf
from asset_ledger.domain.history import CARRY_DAYS
from asset_ledger.store.database import Connection, clock, connect
from asset_ledger.store.decide.decisions import override, retire
from asset_ledger.store.decide.merges import merge, unmerge
from asset_ledger.store.partitions import ensure_months
from asset_ledger.store.query.as_of import list_as_of, page_statement
from asset_ledger.store.query.asset_as_of import asset_as_of
from asset_ledger.store.query.asset_page import asset_page
from asset_ledger.store.query.assets import SORTS, AssetQuery, find_asset
from tests.pipeline.importing import Importing, importing
from tests.store.telling import document, rebuilt, telling

D = date(2026, 3, 20)
HEADER = "mgmt_ip,hostname,asset_type,cpu_cores,memory_gb,os_family,ip_addresses\n"


class World:
    """Day rows, readings and records written straight into the tables, as a platform's days would be."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.digest = 0
        ensure_months(connection, [date(2026, month, 1) for month in range(1, 6)])

    def source(self, name: str, *, rank: int = 10, source_type: str = "platform") -> int:
        return self._one(
            """INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank)
            VALUES (%s, %s, %s, %s, 'default', %s, %s) RETURNING id""",
            name, name, name, source_type, rank, rank,
        )  # fmt: skip

    def record(self, source: int, name: str, asset: UUID | None = None) -> tuple[int, UUID, int, str]:
        """Return a new record: its link, asset, source and external id."""
        asset = asset or uuid4()
        link = self._one(
            """INSERT INTO ledger.identity_resolutions
                (inventory_id, source_id, external_kind, external_id, rule, outcome, asset_id, inputs, resolved_at)
            VALUES (1, %s, 'vm', %s, 'source_link', 'created', %s, '{}', '2026-01-01') RETURNING id""",
            source, name, asset,
        )  # fmt: skip
        self.connection.execute(
            "INSERT INTO ledger.assets (id, zone, platform_type, created_at, updated_at) "
            "VALUES (%s, 'default', 'x', now(), now()) ON CONFLICT DO NOTHING",
            [asset],
        )
        return link, asset, source, name

    def say(self, record: tuple[int, UUID, int, str], day: date, hour: int = 2, **fields: Any) -> None:
        """Let a record say fields of a day: hostname, cpu_cores, memory_bytes, power_state, relations, …"""
        link, asset, source, name = record
        self.digest += 1
        places = {
            "hostname": ("identity", "hostname"), "mgmt_ip": ("identity", "mgmt_ip"),
            "cpu_cores": ("hardware", "cpu_count"), "memory_bytes": ("hardware", "memory_bytes"),
            "power_state": ("runtime", "power_state"), "os_family": ("os", "family"),
            "ip_addresses": ("network", "ip_addresses"),
        }  # fmt: skip
        document: dict[str, Any] = {"schema": "normalized-v1", "kind": "vm", "identity": {}, "unknown": {}}
        for field, value in fields.items():
            if field in places:
                document.setdefault(places[field][0], {})[places[field][1]] = value
            else:
                document[field] = value
        word = self._one(
            """INSERT INTO ledger.normalized_assets (source_id, external_kind, external_id, digest, record_digest,
                parser_version, inventory_id, observation_id, locator, document)
            VALUES (%s, 'vm', %s, int8send(%s), int8send(%s), 1, 1, 1, 'x', %s) RETURNING id""",
            source, name, self.digest, self.digest, Jsonb(document),
        )  # fmt: skip
        at = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
        self.connection.execute(
            """INSERT INTO ledger.asset_daily_specs (collected_date, asset_id, source_id, link_id, normalized_id,
                inventory_id, first_at, collected_at, recorded_at, hostname, mgmt_ip, asset_type, cpu_cores, memory_bytes,
                disk_total_bytes, os_family, os_version, power_state, platform_type, unknown)
            SELECT %(day)s, %(asset)s, %(source)s, %(link)s, n.id, 1, %(at)s, %(at)s, %(at)s, n.hostname, n.mgmt_ip,
                   n.asset_type, n.cpu_cores, n.memory_bytes, n.disk_total_bytes, n.os_family, n.os_version,
                   n.power_state, s.platform_type, n.unknown
            FROM ledger.normalized_assets n JOIN ledger.sources s ON s.id = n.source_id WHERE n.id = %(word)s""",
            {"day": day, "asset": asset, "source": source, "link": link, "at": at, "word": word},
        )
        self.connection.execute(
            """INSERT INTO ledger.asset_source_links AS l (id, source_id, external_kind, external_id, asset_id,
                normalized_id, record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at)
            VALUES (%(link)s, %(source)s, 'vm', %(name)s, %(asset)s, %(word)s, 'x', 1, %(at)s, %(day)s, %(at)s, %(day)s, %(at)s)
            ON CONFLICT (id) DO UPDATE SET first_seen_at = least(l.first_seen_at, excluded.first_seen_at),
                since_date = least(l.since_date, excluded.since_date),
                last_seen_date = greatest(l.last_seen_date, excluded.last_seen_date),
                last_seen_at = greatest(l.last_seen_at, excluded.last_seen_at),
                normalized_id = CASE WHEN l.last_seen_at < excluded.last_seen_at THEN excluded.normalized_id
                                     ELSE l.normalized_id END""",
            {"link": link, "source": source, "name": name, "asset": asset, "word": word, "at": at, "day": day},
        )

    def fail(self, record: tuple[int, UUID, int, str], day: date) -> None:
        """Let a day say that the target could not be read."""
        self.connection.execute(
            """INSERT INTO ledger.asset_daily_specs (collected_date, asset_id, source_id, link_id, inventory_id, first_at,
                collected_at, recorded_at, platform_type, unknown)
            VALUES (%s, %s, %s, 0, 1, now(), now(), now(), 'x', '{"*": "SSH_TIMEOUT"}')""",
            [day, record[1], record[2]],
        )

    def reading(self, source: int, day: date, *, covers: tuple[str, ...] = (), absences: str = "applied") -> None:
        """Make a complete reading of a source at 03:00."""
        at = datetime(day.year, day.month, day.day, 3, tzinfo=UTC)
        self.connection.execute(
            """INSERT INTO ledger.inventories (source_id, scope, covers, collected_date, collected_at, mode, complete,
                absences, status, derived_at)
            VALUES (%s, 'all', %s, %s, %s, 'collect', true, %s, 'derived', %s)""",
            [source, list(covers), day, at, absences, at],
        )

    def _one(self, statement: str, *parameters: Any) -> Any:
        row = self.connection.execute(statement, parameters).fetchone()
        assert row
        return row[0]

    def list(self, day: date = D, *, known_at: datetime | None = None, **wanted: Any) -> list[dict[str, Any]]:
        return list_as_of(self.connection, AssetQuery(**wanted), AsOf(day, known_at))[0]

    def there(self, day: date = D, *, known_at: datetime | None = None) -> list[str]:
        """Return the names of what was not missing on a day; what was is what the list says when asked for it."""
        found = self.list(day, known_at=known_at)
        missing = {asset["id"]: asset["missing_since"] for asset in found if asset["missing_since"]}
        asked_for = {
            asset["id"]: asset["missing_since"] for asset in self.list(day, known_at=known_at, state="missing")
        }
        assert asked_for == missing
        return [asset["hostname"] for asset in found if asset["id"] not in missing]


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as opened:
        yield opened


@pytest.fixture
def world(connection: Connection) -> World:
    return World(connection)


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Importing]:
    with importing(database_url, tmp_path / "inbox") as opened:
        yield opened


def before(days: int) -> date:
    return D - timedelta(days=days)


def test_a_value_is_observed_carried_with_its_day_or_unknown_with_its_reason(world: World) -> None:
    vm = world.record(world.source("pve"), "vm-1")
    world.say(vm, before(3), hostname="web", cpu_cores=8, memory_bytes=1024)
    world.say(vm, D, hostname="web", memory_bytes=2048, unknown={"hardware.cpu_count": "PVE_NODE_DOWN"})
    (found,) = world.list()
    assert (found["hostname"], found["memory_bytes"], found["cpu_cores"]) == ("web", 2048, 8)
    assert (found["seen_date"], found["carried"]) == (D, {"cpu_cores": before(3)})
    assert found["unknown"]["os_family"] == "NOT_REPORTED"
    (found,) = world.list(before(1))
    assert found["seen_date"] == before(3)
    assert set(found["carried"].values()) == {before(3)}
    page = asset_as_of(world.connection, vm[1], AsOf(D))
    assert (page["read"], page["cpu_cores"], page["carried"]) == (True, 8, {"cpu_cores": before(3)})


def test_a_value_is_carried_for_a_while_and_then_no_more(world: World) -> None:
    vm = world.record(world.source("pve"), "vm-1")
    world.say(vm, before(CARRY_DAYS), hostname="web", cpu_cores=8)
    world.say(vm, D, hostname="web")
    world.say(vm, D + timedelta(days=1), hostname="web")
    assert [asset["carried"]["cpu_cores"] for asset in world.list(cpu_cores=8)] == [before(CARRY_DAYS)]
    (found,) = world.list(D + timedelta(days=1), unknown="cpu")
    assert (found["cpu_cores"], found["unknown"]["cpu_cores"]) == (None, "NOT_REPORTED")
    page = asset_as_of(world.connection, vm[1], AsOf(D + timedelta(days=1)))
    assert (page["cpu_cores"], page["unknown"]["cpu_cores"]) == (None, "NOT_REPORTED")


@pytest.mark.parametrize("known_at", [None, datetime(2026, 5, 1, tzinfo=UTC)])
def test_the_latest_word_of_a_source_counts_whatever_its_age(world: World, known_at: datetime | None) -> None:
    """A value is carried over the words that its source said after it, not over the days on which nobody spoke."""
    office = world.source("office", rank=20, source_type="import")
    vm = world.record(office, "vm-1")
    long_ago = date(2026, 1, 5)
    world.say(vm, long_ago - timedelta(days=3), hostname="web", cpu_cores=8, memory_bytes=1)
    world.say(vm, long_ago, hostname="web", memory_bytes=2)
    (found,) = world.list(known_at=known_at, cpu_cores=8)
    assert (found["hostname"], found["memory_bytes"], found["cpu_cores"]) == ("web", 2, 8)
    assert (found["seen_date"], found["sources"], found["missing_since"]) == (long_ago, ["office"], None)
    assert (found["carried"]["hostname"], found["carried"]["cpu_cores"]) == (long_ago, long_ago - timedelta(days=3))
    page = asset_as_of(world.connection, vm[1], AsOf(D, known_at))
    assert (page["seen_date"], page["read"], page["cpu_cores"], page["carried"]["cpu_cores"]) == (
        long_ago, False, 8, long_ago - timedelta(days=3),
    )  # fmt: skip
    assert [word["collected_date"] for word in page["sources"]] == [long_ago]
    # a better source that spoke later than that has the word, the other what it does not know
    pve = world.source("pve")
    world.say(world.record(pve, "x", vm[1]), before(2), hostname="vm-1", memory_bytes=2)
    (found,) = world.list(known_at=known_at)
    assert (found["hostname"], found["cpu_cores"], found["sources"]) == ("vm-1", 8, ["office", "pve"])
    assert (found["seen_date"], found["carried"]["memory_bytes"]) == (before(2), before(2))


def test_a_value_is_as_old_as_the_last_word_that_has_it(world: World) -> None:
    pve, office = world.source("pve"), world.source("office", rank=20, source_type="import")
    vm = world.record(pve, "vm-1")
    world.say(vm, before(9), hostname="web", cpu_cores=8)
    world.say(world.record(office, "row", vm[1]), D, hostname="sheet", cpu_cores=8)
    (found,) = world.list()
    assert (found["hostname"], found["cpu_cores"], found["carried"]) == ("web", 8, {"hostname": before(9)})


def test_what_had_gone_missing_by_then_is_listed_as_missing_and_what_had_not_is_not(world: World) -> None:
    pve = world.source("pve")
    for name, last in (("gone", 3), ("unlucky", 1), ("there", 0)):
        world.say(world.record(pve, name), before(last), hostname=name)
    world.reading(pve, before(2))
    assert world.there() == ["there", "unlucky"]
    assert world.there(before(3)) == ["gone"]
    assert world.there(before(2)) == []
    gone = next(
        row[0]
        for row in world.connection.execute("SELECT asset_id FROM ledger.asset_source_links WHERE external_id = 'gone'")
    )
    assert asset_as_of(world.connection, gone, AsOf(D))["missing_since"].date() == before(2)
    # missing for as long as nobody sees it, and since the first that did not
    world.reading(pve, D + timedelta(days=60))
    (found,) = world.list(D + timedelta(days=70), state="missing", search="gone")
    assert found["missing_since"].date() == before(2)


@pytest.mark.parametrize("known_at", [None, datetime(2026, 5, 1, tzinfo=UTC)])
def test_what_the_evening_did_not_see_is_missing_on_that_day(world: World, known_at: datetime | None) -> None:
    pve, office = world.source("pve"), world.source("office", source_type="import")
    gone, seen = world.record(pve, "gone"), world.record(pve, "seen")
    world.say(gone, D, hour=2, hostname="gone")
    world.say(seen, D, hour=4, hostname="seen")
    world.say(world.record(pve, "merged"), D, hour=2, hostname="other")
    world.reading(pve, D, covers=("host",))
    assert world.there(known_at=known_at) == ["gone", "other", "seen"]
    world.reading(pve, D)
    assert world.there(known_at=known_at) == ["seen"]
    page = asset_as_of(world.connection, gone[1], AsOf(D, known_at))
    assert (page["read"], page["missing_since"]) == (True, datetime(2026, 3, 20, 3, tzinfo=UTC))
    # somebody else saw it after that
    world.say(world.record(office, "row", gone[1]), D, hour=4, hostname="gone")
    assert world.there(known_at=known_at) == ["gone", "seen"]


def test_a_target_that_could_not_be_read_is_missing_all_the_same(world: World) -> None:
    pve = world.source("pve")
    vm = world.record(pve, "vm-1")
    world.say(vm, before(3), hostname="web")
    world.reading(pve, before(2))
    world.fail(vm, D)
    assert world.there() == []
    page = asset_as_of(world.connection, vm[1], AsOf(D))
    assert (page["tried"], page["missing_since"].date()) == (True, before(2))


@pytest.mark.parametrize("known_at", [None, datetime(2026, 5, 1, tzinfo=UTC)])
def test_a_machine_whose_id_another_has_is_missing_since_the_source_spoke_of_the_other(
    world: World, known_at: datetime | None
) -> None:
    pve = world.source("pve")
    old, new = world.record(pve, "vm-1"), world.record(pve, "vm-1")
    world.say(old, before(5), hostname="old")
    world.connection.execute("UPDATE ledger.asset_source_links SET closed_at = '2026-03-18T02:00Z'")
    world.say(new, before(2), hostname="new")
    world.say(new, D, hour=5, hostname="new")
    assert world.there(before(3), known_at=known_at) == ["old"]
    assert world.there(before(2), known_at=known_at) == world.there(known_at=known_at) == ["new"]
    page = asset_as_of(world.connection, old[1], AsOf(D, known_at))
    assert page["missing_since"] == datetime(2026, 3, 18, 2, tzinfo=UTC)
    assert [asset["hostname"] for asset in world.list(source="pve", known_at=known_at)] == ["new"]
    # on the day itself too
    world.say(old, D, hour=3, hostname="old")
    assert world.there(known_at=known_at) == ["new"]


def test_what_a_replay_came_to_hold_had_counted_until_then(world: World) -> None:
    pve = world.source("pve")
    vm = world.record(pve, "vm-1")
    world.say(vm, before(3), hostname="web")
    world.reading(pve, before(1))
    replayed = datetime(2026, 4, 1, tzinfo=UTC)
    world.connection.execute("UPDATE ledger.inventories SET absences = 'held', held_at = %s", [replayed])
    assert world.there() == world.there(known_at=replayed) == ["web"]
    before_it = replayed - timedelta(seconds=1)
    assert world.there(known_at=before_it) == []
    assert asset_as_of(world.connection, vm[1], AsOf(D, before_it))["missing_since"].date() == before(1)


def test_a_replay_that_holds_what_was_applied_leaves_what_was_answered_before(database_url: str) -> None:
    with telling(database_url, "probe", platform=False, removal_at_least=3) as probe:
        connection = probe.connection

        def there(known_at: datetime | None = None) -> set[str]:
            found, _ = list_as_of(connection, AssetQuery(), AsOf(date(2026, 11, 3), known_at))
            return {asset["hostname"] for asset in found if not asset["missing_since"]}

        probe.tell("2026-11-01", {name: document(hostname=name) for name in "abcdef"})
        probe.tell("2026-11-03", {name: document(hostname=name) for name in "abcd"}, complete=True)
        probe.tell("2026-11-02", {name: document(hostname=name) for name in "axyz"})
        assert there() == set("abcd")
        applied = clock(connection)
        probe.version = 2
        probe.tell_again("2026-11-03")
        assert there() == there(clock(connection)) == set("abcdefxyz")
        assert there(applied) == set("abcd")
        held_at = probe.one("SELECT held_at FROM ledger.inventories WHERE complete")
        assert applied < held_at
        probe.version = 3
        probe.tell_again("2026-11-03")
        rebuilt(probe)
        assert probe.one("SELECT held_at FROM ledger.inventories WHERE complete") == held_at


@pytest.mark.parametrize(
    ("covers", "absences", "decided", "listed"),
    [
        (("host",), "applied", None, True),
        (("vm",), "applied", None, False),
        ((), "held", None, True),
        ((), "held", "approved", False),
        ((), "applied", "rejected", True),
    ],
)
def test_only_readings_whose_absences_count_make_something_missing(
    world: World, covers: tuple[str, ...], absences: str, decided: str | None, listed: bool
) -> None:
    pve = world.source("pve")
    world.say(world.record(pve, "vm-1"), before(3), hostname="web")
    world.reading(pve, before(1), covers=covers, absences=absences)
    if decided:
        world.connection.execute(
            "INSERT INTO ledger.decisions (kind, inventory_id, value, actor, decided_at) "
            "SELECT 'absences', max(id), %s, 'li.lei', '2026-05-01' FROM ledger.inventories",
            [Jsonb(decided)],
        )
    assert bool(world.there()) is listed


def test_what_another_source_still_spoke_of_is_listed_although_an_import_did_not(world: World) -> None:
    pve, office = world.source("pve"), world.source("office", rank=20, source_type="import")
    vm = world.record(pve, "vm-1")
    world.say(vm, before(3), hostname="web", cpu_cores=4)
    world.say(world.record(office, "row", vm[1]), before(9), hostname="sheet", memory_bytes=1)
    world.reading(pve, before(1))
    assert world.there() == []  # the platform misses it; an import is never asked
    world.say(vm, D, hostname="web", cpu_cores=8)
    (found,) = world.list()
    assert (found["hostname"], found["cpu_cores"], found["memory_bytes"]) == ("web", 8, 1)
    assert (found["sources"], found["carried"]) == (["office", "pve"], {"memory_bytes": before(9)})


def test_a_machine_that_could_only_be_tried_is_listed_with_the_reason(world: World) -> None:
    ssh = world.source("ssh", source_type="probe")
    known, never = world.record(ssh, "known"), world.record(ssh, "never")
    world.say(known, before(2), hostname="known", cpu_cores=4)
    world.fail(known, D)
    world.fail(never, D)
    one, other = world.list()
    assert (one["hostname"], one["carried"]["cpu_cores"], one["seen_date"]) == ("known", before(2), before(2))
    assert (other["id"], other["seen_date"], other["unknown"]["cpu_cores"]) == (never[1], None, "SSH_TIMEOUT")
    page = asset_as_of(world.connection, never[1], AsOf(D))
    assert (page["tried"], page["read"], page["unknown"]["hostname"]) == (True, False, "SSH_TIMEOUT")


def test_decisions_count_from_the_day_they_were_made_and_retired_ones_go(world: World) -> None:
    vm = world.record(world.source("pve"), "vm-1")
    for day in (before(2), before(1), D):
        world.say(vm, day, hostname="web", cpu_cores=4)
    decided_at = datetime(2026, 3, 19, 15, 59, tzinfo=UTC)  # 23:59 of the day before D
    for kind, field, value, at in (
        ("override", "hostname", "boss", decided_at),
        ("retired", None, True, datetime(2026, 3, 19, 16, 0, tzinfo=UTC)),
    ):
        world.connection.execute(
            "INSERT INTO ledger.decisions (kind, asset_id, field, value, actor, decided_at) VALUES (%s, %s, %s, %s, 'li', %s)",
            [kind, vm[1], field, Jsonb(value), at],
        )
    assert [asset["hostname"] for asset in world.list(before(2))] == ["web"]
    (found,) = world.list(before(1), search="BOSS")
    assert (found["hostname"], found["decided"]) == ("boss", {"hostname": "li"})
    assert world.list() == []
    assert [asset["id"] for asset in world.list(state="retired")] == [asset["id"] for asset in world.list(state="all")]
    assert world.list(state="retired")[0]["retired_at"] == datetime(2026, 3, 19, 16, 0, tzinfo=UTC)
    page = asset_as_of(world.connection, vm[1], AsOf(D))
    assert (page["hostname"], page["retired_at"] is not None) == ("boss", True)
    # before it was decided nobody knew of it
    assert world.list(before(1), known_at=decided_at - timedelta(seconds=1))[0]["hostname"] == "web"


def test_filters_and_pages_are_of_the_values_of_the_day_carried_ones_among_them(world: World) -> None:
    pve, office = world.source("pve"), world.source("office", rank=20, source_type="import")
    for number in range(9):
        vm = world.record(pve, f"vm-{number}")
        world.say(
            vm,
            before(1),
            hostname=f"host-{number}",
            cpu_cores=1 + number % 3,
            mgmt_ip=f"10.0.0.{number}",
            asset_type="vm",
        )
        world.say(vm, D, hostname=f"host-{number}", mgmt_ip=f"10.0.0.{number}", ip_addresses=[f"10.9.0.{number}"])
    world.say(world.record(office, "row"), D, hostname="sheet", cpu_cores=64)
    assert [asset["hostname"] for asset in world.list(cpu_cores=2)] == ["host-1", "host-4", "host-7"]
    assert list_as_of(world.connection, AssetQuery(cpu_cores=2, limit=1, offset=2), AsOf(D))[1] == 3
    assert list_as_of(world.connection, AssetQuery(cpu_cores=2, limit=1, offset=3), AsOf(D)) == ([], 3)
    assert world.list(sort="cpu")[0]["hostname"] == "sheet"
    assert (
        len(world.list(source="pve")) == len(world.list(asset_type="vm")) == len(world.list(platform_type="pve")) == 9
    )
    assert [asset["hostname"] for asset in world.list(unknown="ip")] == ["sheet"]
    assert [asset["hostname"] for asset in world.list(search="OST-3")] == ["host-3"]
    assert [asset["hostname"] for asset in world.list(search="10.9.0.4")] == ["host-4"]
    for sort in SORTS:
        whole = [asset["id"] for asset in world.list(sort=sort)]
        assert [world.list(sort=sort, limit=1, offset=place)[0]["id"] for place in range(10)] == whole, sort


def test_only_the_months_of_silent_machines_are_looked_at(world: World) -> None:
    pve = world.source("pve")
    spoken, silent = world.record(pve, "spoken"), world.record(pve, "silent")
    day = date(2026, 3, 5)
    for each in (day, date(2026, 2, 20)):
        world.say(spoken, each, hostname="spoken", cpu_cores=1)

    def executed() -> str:
        statement, parameters = page_statement(AssetQuery(cpu_cores=1), AsOf(day))
        plan = world.connection.execute(f"EXPLAIN (ANALYZE, COSTS OFF) {statement}", parameters).fetchall()
        return "\n".join(row[0] for row in plan if "never executed" not in row[0])

    plan = executed()
    assert "y2026m03" in plan
    assert "y2026m02" not in plan
    world.say(silent, date(2026, 2, 20), hostname="silent", cpu_cores=1)
    assert "y2026m02" not in executed()  # its record has what it said last
    assert [asset["hostname"] for asset in world.list(day, cpu_cores=1)] == ["silent", "spoken"]
    world.say(silent, date(2026, 1, 20), hostname="silent", cpu_cores=2)
    world.say(silent, date(2026, 3, 20), hostname="silent", cpu_cores=1)
    plan = executed()
    assert "y2026m02" in plan
    assert "y2026m01" not in plan
    assert [asset["hostname"] for asset in world.list(day, cpu_cores=1)] == ["silent", "spoken"]


@pytest.mark.parametrize("seed", range(4))
def test_the_page_that_sql_chooses_is_the_one_its_values_ask_for(world: World, seed: int) -> None:
    chance = random.Random(seed)
    sources = [world.source("a", rank=10), world.source("b", rank=10), world.source("c", rank=30, source_type="import")]
    records = []
    for number in range(25):
        asset = uuid4()
        records += [
            world.record(source, f"{number}-{place}", asset)
            for place, source in enumerate(sources)
            if chance.random() < 0.6
        ]
        if chance.random() < 0.2:
            records.append(world.record(sources[0], f"{number}-again", asset))
    for record in records:
        for days in chance.sample(range(CARRY_DAYS + 5), 3) + [0] * (chance.random() < 0.5):
            offered = {
                "hostname": f"h{chance.randrange(9)}",
                "cpu_cores": chance.randrange(1, 4),
                "memory_bytes": chance.randrange(1, 4),
            }
            known = {field: value for field, value in offered.items() if chance.random() < 0.6}
            taken = world.connection.execute(
                "SELECT FROM ledger.asset_daily_specs WHERE collected_date = %s AND link_id = %s",
                [before(days), record[0]],
            ).fetchone()
            if taken is None:
                world.say(record, before(days), hour=chance.randrange(6), **known)
    for days in chance.sample(range(20), 4):
        world.reading(chance.choice(sources[:2]), before(days))
    assets = sorted({record[1] for record in records})
    for child, root in zip(assets[:4], assets[4:8], strict=True):
        world.connection.execute("UPDATE ledger.assets SET merged_into_asset_id = %s WHERE id = %s", [root, child])
    pages = {asset: asset_as_of(world.connection, asset, AsOf(D)) for asset in assets[4:]}
    expected = {asset: page for asset, page in pages.items() if page["seen_date"]}
    found = {asset["id"]: asset for asset in world.list(limit=1000)}
    assert found.keys() == expected.keys()
    for asset, page in expected.items():
        for field in ("hostname", "cpu_cores", "memory_bytes", "seen_date", "zone", "platform_type", "missing_since"):
            assert found[asset][field] == page[field], (asset, field)
        assert found[asset]["carried"] == {
            field: day for field, day in page["carried"].items() if field != "ip_addresses"
        }
    for cores in range(1, 4):
        of_cores = {asset for asset, page in expected.items() if page["cpu_cores"] == cores}
        assert {asset["id"] for asset in world.list(cpu_cores=cores, limit=1000)} == of_cores
    for sort, field in (("hostname", "hostname"), ("cpu", "cpu_cores"), ("memory", "memory_bytes")):
        values = [asset[field] for asset in world.list(sort=sort, limit=1000)]
        known_values = [value for value in values if value is not None]
        assert known_values == sorted(known_values, reverse=sort != "hostname")
        assert values[: len(known_values)] == known_values  # what is not known comes last


def answers(connection: Connection, days: list[date], known_at: datetime | None = None) -> list[Any]:
    """Return everything that can be asked about some days."""
    ids = [row[0] for row in connection.execute("SELECT DISTINCT asset_id FROM ledger.identity_resolutions ORDER BY 1")]
    told: list[Any] = []
    for day in days:
        for wanted in (AssetQuery(), AssetQuery(cpu_cores=8), AssetQuery(sort="memory")):
            told.append(list_as_of(connection, wanted, AsOf(day, known_at)))
        for asset in ids:
            page = asset_as_of(connection, asset, AsOf(day, known_at))
            if page["first_day"]:
                told.append({name: value for name, value in page.items() if name != "known_at"})
    return told


def test_the_ledger_answers_as_it_would_have_at_any_moment(office: Importing) -> None:
    connection = office.connection
    days = [date(2026, 3, day) for day in (1, 2, 3, 5)]
    moments: list[tuple[datetime, list[Any]]] = []

    def remember() -> None:
        told = answers(connection, days)
        moments.append((datetime.now(UTC), told))

    remember()
    office.read("2026-03-01", HEADER + "10.0.0.1,web,vm,4,8,debian,10.1.1.1\n10.0.0.2,db,vm,8,16,,\n")
    remember()
    office.read("2026-03-03", HEADER + "10.0.0.1,web,vm,8,8,debian,\n10.0.0.2,db,vm,,16,rhel,\n10.0.0.3,new,vm,8,1,,\n")
    remember()
    office.read(
        "2026-03-01", HEADER + "10.0.0.1,web,vm,2,8,debian,10.1.1.2\n", name="late.csv"
    )  # a late file of that day
    remember()
    web, db, new = (find_asset(connection, name) for name in ("web", "db", "new"))
    override(connection, web, "hostname", "front", actor="li", at=datetime.now(UTC))
    remember()
    merge(connection, new, db, actor="li", at=datetime.now(UTC))
    remember()
    office.read("2026-03-05", HEADER + "10.0.0.5,five,vm,8,8,,\n")
    remember()
    # a day that came late, with a machine that was seen first on a later one
    office.read("2026-03-02", HEADER + "10.0.0.2,db,vm,16,16,,\n10.0.0.4,four,vm,8,8,,\n10.0.0.5,five,vm,4,8,,\n")
    remember()
    merge(connection, db, web, actor="li", at=datetime.now(UTC))
    remember()
    retire(connection, web, actor="li", at=datetime.now(UTC))
    remember()
    unmerge(connection, db, actor="li", at=datetime.now(UTC))
    remember()
    assert connection.execute("SELECT count(*) > 0 FROM ledger.asset_daily_corrections").fetchone() == (True,)
    distinct = [told for number, (_, told) in enumerate(moments) if number == 0 or told != moments[number - 1][1]]
    assert len(distinct) >= 6, "the questions do not tell the moments apart"
    for number, (moment, told) in enumerate(moments):
        assert answers(connection, days, moment) == told, number


def test_a_record_that_a_correction_took_away_is_still_known_to_have_been_known(world: World) -> None:
    vm = world.record(world.source("pve"), "vm-1")
    world.say(vm, before(2), hostname="ghost", cpu_cores=8)
    noticed = datetime(2026, 4, 1, tzinfo=UTC)
    world.connection.execute(
        """INSERT INTO ledger.asset_daily_corrections (collected_date, asset_id, source_id, link_id, normalized_id,
            inventory_id, first_at, collected_at, unknown, recorded_at, superseded_at)
        SELECT collected_date, asset_id, source_id, link_id, normalized_id, inventory_id, first_at, collected_at, unknown,
               recorded_at, %s FROM ledger.asset_daily_specs""",
        [noticed],
    )
    world.connection.execute("TRUNCATE ledger.asset_daily_specs, ledger.asset_source_links, ledger.assets")
    assert world.list() == []
    (known,) = world.list(known_at=noticed - timedelta(seconds=1), cpu_cores=8)
    assert (known["hostname"], known["carried"]["cpu_cores"]) == ("ghost", before(2))
    assert asset_as_of(world.connection, vm[1], AsOf(D, noticed - timedelta(days=1)))["hostname"] == "ghost"
    assert world.list(known_at=noticed) == []


def test_a_merge_unites_the_days_and_unmerging_parts_them_again(office: Importing) -> None:
    connection = office.connection
    office.read("2026-03-01", HEADER + "10.0.0.1,web,vm,4,8,,\n10.0.0.2,copy,vm,8,16,rhel,\n")
    office.read("2026-03-02", HEADER + "10.0.0.2,copy,vm,8,16,rhel,\n")
    web, copy = find_asset(connection, "web"), find_asset(connection, "copy")
    day_1, day_2 = AsOf(date(2026, 3, 1)), AsOf(date(2026, 3, 2))
    apart = [list_as_of(connection, AssetQuery(), day) for day in (day_1, day_2)]
    merge(connection, copy, web, actor="li", at=datetime.now(UTC))
    ((one,), total) = list_as_of(connection, AssetQuery(), day_1)
    assert (total, one["id"], one["hostname"], one["cpu_cores"]) == (1, web, "web", 4)  # its own word of the day
    # what its own word does not know, the other's tells
    assert (one["os_family"], one["seen_date"]) == ("rhel", date(2026, 3, 1))
    ((one,), _) = list_as_of(connection, AssetQuery(), day_2)
    assert (one["hostname"], one["cpu_cores"], one["seen_date"]) == ("copy", 8, date(2026, 3, 2))
    page = asset_page(connection, web, today=date(2026, 3, 2), days=9)
    assert [(day["collected_date"].day, day["hostname"], day["counts"]) for day in page["history"]] == [
        (2, "copy", True), (1, "web", True), (1, "copy", False),
    ]  # fmt: skip
    assert [member["id"] for member in page["members"]] == [copy]
    assert len([change for change in page["changes"] if change["change"] == "appeared"]) == 2
    assert {alias["value"] for alias in page["aliases"]} == {"web", "copy"}
    unmerge(connection, copy, actor="li", at=datetime.now(UTC))
    assert [list_as_of(connection, AssetQuery(), day) for day in (day_1, day_2)] == apart
