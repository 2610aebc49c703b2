"""Machines declared one and parted again: chains, refusals, two people at once, and not one row lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from asset_ledger.domain.errors import ASSET_AMBIGUOUS, ASSET_NOT_FOUND, DECISION_INVALID, PermanentError
from asset_ledger.pipeline.ledger import source_row
from asset_ledger.sources.import_files.config import ImportConfig
from asset_ledger.store.database import Connection, connect, ledger_lock
from asset_ledger.store.decide.decisions import not_duplicate, override, retire
from asset_ledger.store.decide.merges import find_merged, find_to_merge, find_to_merge_into, merge, preview, unmerge
from asset_ledger.store.decide.tags import add_tags
from asset_ledger.store.derive.duplicates import find_duplicates
from asset_ledger.store.derive.roots import repoint
from asset_ledger.store.derive.settle import settle_assets
from asset_ledger.store.query.assets import find_asset
from tests.pipeline.importing import Importing, everything, importing
from tests.postgres import create_database, database_name, drop_database

AT = datetime(2026, 2, 1, tzinfo=UTC)
WHO: dict[str, Any] = {"actor": "li.lei", "at": AT}
HEADER = "mgmt_ip,hostname,asset_type,cpu_cores,memory_gb,os_family,tags,SN,custom.rack\n"
FIRST = HEADER + (
    "10.0.0.1,a,vm,4,8,debian,prod,S1,R1\n10.0.0.2,b,vm,8,,rhel,,S2,R2\n10.0.0.3,c,physical,16,64,,,S3,\n"
    "10.0.0.4,d,vm,1,1,debian,,S4,\n"
)
LATER = [
    ("2026-01-11", FIRST.replace(",a,vm,4,", ",a,vm,5,")),
    ("2026-01-13", HEADER + "10.0.0.1,a2,vm,6,8,debian,new,S1,R7\n10.0.0.2,b,vm,9,2,,,S2,R2\n"),
    ("2026-01-12", HEADER + "10.0.0.2,b,vm,7,2,rhel,,S9,R2\n10.0.0.3,c,physical,16,,,,S3,\n"),
]


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Importing]:
    with importing(database_url, tmp_path / "inbox") as opened:
        opened.read("2026-01-10", FIRST)
        yield opened


@pytest.fixture
def ids(office: Importing) -> dict[str, UUID]:
    return {name: find_asset(office.connection, name) for name in "abcd"}


def refused(match: str | None, code: object = DECISION_INVALID) -> pytest.RaisesExc[PermanentError]:
    return pytest.raises(PermanentError, match=match, check=lambda error: error.code is code)


def derived(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table but that of decisions, to the last byte."""
    tables = connection.execute(
        """
        SELECT relname FROM pg_class WHERE relnamespace = 'ledger'::regnamespace
        AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'decisions'
        """
    ).fetchall()
    return {
        table: sorted(connection.execute(f"SELECT t::text FROM ledger.{table} t").fetchall()) for (table,) in tables
    }


def pointers(connection: Connection, ids: dict[str, UUID]) -> dict[str, str | None]:
    names = {asset_id: name for name, asset_id in ids.items()}
    found = connection.execute("SELECT id, merged_into_asset_id FROM ledger.assets").fetchall()
    return {names[asset_id]: names.get(root) for asset_id, root in found if root}


def test_what_is_parted_is_what_it_was_to_the_last_byte(office: Importing, ids: dict[str, UUID]) -> None:
    db = office.connection
    find_duplicates(db)
    before = derived(db)
    merge(db, ids["a"], ids["b"], **WHO)
    assert derived(db) != before
    assert {table: rows for table, rows in derived(db).items() if rows != before[table]}.keys() == {
        "assets",
        "asset_tags",
    }
    unmerge(db, ids["a"], **WHO)
    assert derived(db) == before


def test_the_row_of_the_canonical_asset_is_made_of_what_is_said_of_all_members(
    office: Importing, ids: dict[str, UUID]
) -> None:
    merge(office.connection, ids["c"], ids["b"], **WHO)
    (row,) = office.rows("SELECT * FROM ledger.assets WHERE id = %s", ids["b"])
    assert row["memory_bytes"] == 64 * 2**30  # b does not say
    assert find_asset(office.connection, "c") == find_asset(office.connection, "10.0.0.3") == ids["b"]


@contextmanager
def copied(url: str) -> Iterator[str]:
    other = create_database(url, template=database_name(url))
    yield other
    drop_database(other)


def test_readings_between_merge_and_parting_leave_what_they_leave_without_a_merge(
    database_url: str, tmp_path: Path
) -> None:
    with importing(database_url, tmp_path / "inbox") as office:
        office.read("2026-01-10", FIRST)
        ids = {name: find_asset(office.connection, name) for name in "abcd"}
    with copied(database_url) as url, importing(url, tmp_path / "other") as never:
        for day, text in LATER:
            never.read(day, text)
        with importing(database_url, tmp_path / "inbox") as office:
            merge(office.connection, ids["a"], ids["b"], **WHO)
            merge(office.connection, ids["c"], ids["a"], **WHO)
            for day, text in LATER:
                office.read(day, text)
                assert pointers(office.connection, ids) == {"a": "b", "c": "b"}
            unmerge(office.connection, ids["c"], **WHO)
            unmerge(office.connection, ids["a"], **WHO)
            with_merge, without = everything(office.connection), everything(never.connection)
            for same in (with_merge, without):
                del same["decisions"]
                del same["asset_observations"]  # they name their file, and when it came
            assert with_merge == without
            whole = [one.rows("SELECT * FROM ledger.assets ORDER BY id") for one in (office, never)]
            assert whole[0] == whole[1]


def test_a_chain_points_to_its_root_and_comes_apart_where_it_is_cut(office: Importing, ids: dict[str, UUID]) -> None:
    db = office.connection
    untouched = derived(db)
    merge(db, ids["a"], ids["b"], **WHO)
    after_first = derived(db)
    told = merge(db, ids["b"], ids["c"], **WHO)
    assert pointers(db, ids) == {"a": "c", "b": "c"}
    assert set(told.moved) == {ids["a"], ids["b"], ids["c"]}
    assert merge(db, ids["d"], ids["a"], **WHO).root == ids["c"]
    assert pointers(db, ids) == {"a": "c", "b": "c", "d": "c"}
    unmerge(db, ids["d"], **WHO)
    assert unmerge(db, ids["b"], **WHO).root == ids["c"]
    assert pointers(db, ids) == {"a": "b"}
    assert derived(db) == after_first
    merge(db, ids["b"], ids["c"], **WHO)
    unmerge(db, ids["a"], **WHO)
    assert pointers(db, ids) == {"b": "c"}
    unmerge(db, ids["b"], **WHO)
    assert derived(db) == untouched


def test_what_contradicts_a_merge_in_force_is_refused(office: Importing, ids: dict[str, UUID]) -> None:
    db = office.connection
    a, b, c = ids["a"], ids["b"], ids["c"]
    with refused("one already"):
        merge(db, a, a, **WHO)
    merge(db, a, b, **WHO)
    for child, into, match in (
        (b, a, "one already"),  # the other way round
        (a, b, f"merged into {b} already, by li.lei on 2026-02-01"),
        (a, c, "duplicates unmerge"),
    ):
        with refused(match):
            merge(db, child, into, **WHO)
        with refused(match):
            preview(db, child, into, at=AT)
    merge(db, b, c, **WHO)
    with refused("one already"):
        merge(db, c, a, **WHO)
    with refused("merged into nothing"):
        unmerge(db, c, **WHO)
    for act in (
        lambda: merge(db, uuid4(), a, **WHO),
        lambda: merge(db, a, uuid4(), **WHO),
        lambda: unmerge(db, uuid4(), **WHO),
    ):
        with refused(None, ASSET_NOT_FOUND):
            act()
    assert office.one("SELECT count(*) FROM ledger.decisions") == 2
    unmerge(db, b, **WHO)
    unmerge(db, a, **WHO)
    merge(db, b, a, **WHO)
    assert pointers(db, ids) == {"b": "a"}


def test_two_machines_that_a_person_told_apart_are_not_merged(office: Importing, ids: dict[str, UUID]) -> None:
    db = office.connection
    not_duplicate(db, ids["b"], ids["a"], **WHO)
    with refused("li.lei said on 2026-02-01"):
        merge(db, ids["a"], ids["b"], **WHO)
    merge(db, ids["a"], ids["c"], **WHO)
    with refused("undismiss"):  # c is a now
        merge(db, ids["b"], ids["c"], **WHO)
    assert len(not_duplicate(db, ids["c"], ids["b"], dismissed=False, **WHO)) == 1
    merge(db, ids["b"], ids["c"], **WHO)
    with refused("merged into"):
        not_duplicate(db, ids["b"], ids["c"], **WHO)


def test_a_retired_machine_takes_no_other_in(office: Importing, ids: dict[str, UUID]) -> None:
    retire(office.connection, ids["b"], **WHO)
    with refused("retired"):
        merge(office.connection, ids["a"], ids["b"], **WHO)
    merge(office.connection, ids["b"], ids["a"], **WHO)


def test_zones_are_merged_only_when_asked(office: Importing, ids: dict[str, UUID], tmp_path: Path) -> None:
    db = office.connection
    (tmp_path / "far").mkdir()
    source = ImportConfig(name="far", platform="import", inbox=tmp_path / "far", zone="moon")
    far = Importing(db, source, source_row(db, source))
    far.read("2026-01-10", HEADER + "10.0.0.1,far,vm,1,1,,,S7,\n")
    other = find_asset(db, "far")
    assert other != ids["a"]
    with refused("in zone moon and a"):
        merge(db, other, ids["a"], **WHO)
    merge(db, other, ids["a"], **WHO, across_zones=True)
    assert find_asset(db, "far") == ids["a"]


def test_two_people_who_merge_the_two_the_other_way_round_at_once_do_not_make_a_ring(
    database_url: str, office: Importing, ids: dict[str, UUID]
) -> None:
    for _ in range(5):
        answers: list[object] = []
        ready = threading.Barrier(2)

        def work(child: UUID, into: UUID, ready: threading.Barrier = ready, answers: list[object] = answers) -> None:
            with connect(database_url) as connection:
                ready.wait(10)
                try:
                    answers.append(merge(connection, child, into, **WHO).child)
                except PermanentError as error:
                    answers.append(error.code)

        pairs = ((ids["a"], ids["b"]), (ids["b"], ids["a"]))
        threads = [threading.Thread(target=work, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert answers.count(DECISION_INVALID) == 1, answers
        (child,) = (answer for answer in answers if isinstance(answer, UUID))
        assert len(pointers(office.connection, ids)) == 1
        unmerge(office.connection, child, **WHO)


def test_a_preview_tells_what_a_merge_makes_and_makes_nothing(office: Importing, ids: dict[str, UUID]) -> None:
    db = office.connection
    office.read("2026-01-11", HEADER + "10.0.0.1,a,vm,4,8,debian,prod,S1,R1\n")
    office.read("2026-01-11", "name,host,port\norders,10.0.0.1,5432\n", name="instances_2026-01-11.csv")
    override(db, ids["b"], "os_version", "9.4", **WHO)
    add_tags(db, ids["a"], ["vip"], **WHO)
    before = everything(db)
    told = preview(db, ids["a"], ids["b"], at=AT)
    assert everything(db) == before
    fields = {each.field: (each.child, each.into, each.result, each.from_) for each in told.fields}
    assert fields["hostname"] == ("a", "b", "a", "office")  # of one source, its latest word
    assert fields["os_version"] == (None, "9.4", "9.4", "decided by li.lei")
    assert fields["memory_bytes"][2] == 8 * 2**30
    assert fields["power_state"] == (None, None, None, None)
    assert (told.child_days, told.into_days, told.both_days) == (2, 1, 1)
    assert told.members == (ids["a"],)
    merge(db, ids["a"], ids["b"], **WHO)
    (row,) = office.rows("SELECT * FROM ledger.assets WHERE id = %s", ids["b"])
    for name, (_, _, result, _) in fields.items():
        assert (str(row[name]) if name == "mgmt_ip" else row[name]) == result, name


def test_a_merged_machine_is_found_by_what_would_find_its_root(office: Importing, ids: dict[str, UUID]) -> None:
    db = office.connection
    merge(db, ids["a"], ids["b"], **WHO)
    for text in (str(ids["a"]), ids["a"].hex[:8], "A", "10.0.0.1", str(ids["a"]).upper()):
        assert find_merged(db, text) == ids["a"], text
    for text in ("b", "", "10.0.0.2", str(ids["b"]), "zz"):
        with refused(None, ASSET_NOT_FOUND):
            find_merged(db, text)
    for text in (str(ids["a"]), ids["a"].hex[:8]):
        assert find_to_merge(db, text) == ids["a"]
        assert find_to_merge_into(db, text) == ids["a"]
    assert find_to_merge(db, "b") == find_to_merge(db, str(ids["b"])) == ids["b"]
    for text in ("a", "10.0.0.1", "S1"):  # what only the merged one has does not stand for all of its root
        with refused(f"that is a .*, which is merged into b .{ids['b']}"):
            find_to_merge(db, text)
        assert find_to_merge_into(db, text) == ids["b"]
    override(db, ids["c"], "hostname", "a", **WHO)
    merge(db, ids["c"], ids["b"], **WHO)
    with refused(None, ASSET_AMBIGUOUS):
        find_merged(db, "a")


def test_pointers_are_made_again_from_the_decisions_alone(office: Importing, ids: dict[str, UUID]) -> None:
    db = office.connection
    merge(db, ids["a"], ids["b"], **WHO)
    merge(db, ids["b"], ids["c"], **WHO)
    merge(db, ids["d"], ids["a"], **WHO)
    unmerge(db, ids["d"], **WHO)
    whole = derived(db)
    with db.transaction():
        ledger_lock(db)
        db.execute(
            "UPDATE ledger.assets SET merged_into_asset_id = CASE WHEN id = %s THEN %s::uuid END", [ids["d"], ids["a"]]
        )
        assert set(repoint(db)) == set(ids.values())
        assert repoint(db) == []
        settle_assets(db, None)
    assert derived(db) == whole


def test_what_is_merged_into_a_merged_one_stays_with_that_one(office: Importing, ids: dict[str, UUID]) -> None:
    db = office.connection
    merge(db, ids["b"], ids["c"], **WHO)
    done = merge(db, ids["a"], ids["b"], **WHO)
    assert (done.into, done.root) == (ids["b"], ids["c"])
    assert pointers(db, ids) == {"a": "c", "b": "c"}
    parted = unmerge(db, ids["a"], **WHO)
    assert (parted.into, parted.root) == (ids["b"], ids["c"])
    merge(db, ids["a"], parted.into, **WHO)
    unmerge(db, ids["b"], **WHO)
    assert pointers(db, ids) == {"a": "b"}


def test_the_merge_events_tell_who_merged_and_parted(office: Importing, ids: dict[str, UUID]) -> None:
    merge(office.connection, ids["a"], ids["b"], **WHO, note="one box")
    unmerge(office.connection, ids["a"], actor="han.mei", at=AT)
    told = office.rows(
        "SELECT event, merged_by, merged_into_asset_id, notes FROM ledger.asset_merge_events ORDER BY id"
    )
    assert [tuple(each.values()) for each in told] == [
        ("merge", "li.lei", ids["b"], "one box"), ("unmerge", "han.mei", None, None),
    ]  # fmt: skip
