"""Lists of assets, which asset a name means, and one asset's page: over rows the real pipeline wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest

from asset_ledger.domain.errors import ASSET_AMBIGUOUS, ASSET_NOT_FOUND, PermanentError
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import take_files
from asset_ledger.pipeline.ledger import source_row
from asset_ledger.sources.import_files.config import ImportConfig
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.decide.decisions import tag
from asset_ledger.store.decide.merges import merge
from asset_ledger.store.derive.links import relink
from asset_ledger.store.query.asset_page import asset_page
from asset_ledger.store.query.assets import SORTS, UNKNOWN, AssetQuery, find_asset, list_assets
from asset_ledger.store.query.runs import runs_beginning_with
from asset_ledger.store.query.sources import list_sources

HEADER = "mgmt_ip,hostname,asset_type,protocol,cpu_cores,memory_gb,disk_total_gb,os_family,tags,ip_addresses,SN\n"
Fill = Callable[..., None]


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as opened:
        yield opened


@pytest.fixture
def fill(connection: Connection, tmp_path: Path) -> Fill:
    """Import rows as the file of a day of a source."""

    def take(day: str, rows: str, *, source: str = "office", name: str = "hosts.csv", header: str = HEADER) -> None:
        folder = tmp_path / source
        folder.mkdir(exist_ok=True)
        file = folder / name
        file.write_text(header + rows)
        config = ImportConfig(name=source, platform="import", inbox=folder / "inbox")
        row = source_row(connection, config)
        of_day = date.fromisoformat(day)
        run_id = f"{source}-{day}"
        take_files(connection, config, row, [file], of_day, inbox=config.inbox, run_id=run_id, mode="collect")
        assert derive_day(connection, config, row, of_day, run_id=run_id, mode="collect")

    return take


@pytest.fixture
def machines(fill: Fill) -> None:
    fill(
        "2026-01-10",
        "10.0.0.1,web-01,vm,ssh,4,8,100,debian,prod;web,10.9.9.9,S1\n"
        "10.0.0.2,db-02,physical,,32,256,,rhel,prod;db,10.9.9.9,S2\n"
        "10.0.0.3,100%_03,vm,winrm,,,,,test,,S3\n",
    )


def names(connection: Connection, **wanted: object) -> list[str]:
    return [asset["hostname"] for asset in list_assets(connection, AssetQuery(**wanted))[0]]  # type: ignore[arg-type]


def aged(connection: Connection, name: str, **wanted: object) -> dict[str, object]:
    (asset,) = list_assets(connection, AssetQuery(search=name, **wanted))[0]  # type: ignore[arg-type]
    return asset


def test_a_value_that_nobody_told_lately_is_carried_with_its_day(connection: Connection, fill: Fill) -> None:
    fill("2026-01-05", "10.0.0.1,web,vm,,4,8,100,,,,\n")
    fill("2026-01-06", "10.0.0.1,web,vm,,,8,,,,,\n")  # the source itself no longer says
    fill("2026-01-08", "10.0.0.1,web,vm,,,,,debian,,,\n", source="cmdb")  # and another speaks later
    row = aged(connection, "web")
    assert (row["cpu_cores"], row["memory_bytes"], row["os_family"]) == (4, 8 * 2**30, "debian")
    assert row["carried"] == {
        "cpu_cores": date(2026, 1, 5),
        "disk_total_bytes": date(2026, 1, 5),
        "memory_bytes": date(2026, 1, 6),
    }
    page = asset_page(connection, find_asset(connection, "web"), today=date(2026, 1, 9), days=3)
    assert page["carried"] == row["carried"]
    assert page["last_seen_date"] == date(2026, 1, 8)


def test_missing_machines_are_listed_as_such_and_retired_ones_only_when_asked_for(
    connection: Connection, machines: None
) -> None:
    connection.execute("UPDATE ledger.assets SET missing_since = '2026-01-12' WHERE hostname = 'web-01'")
    connection.execute("UPDATE ledger.assets SET deleted_at = '2026-01-13' WHERE hostname = 'db-02'")
    assert names(connection) == ["100%_03", "web-01"]
    assert names(connection, state="missing") == ["web-01"]
    assert names(connection, state="retired") == ["db-02"]
    assert names(connection, state="all") == ["100%_03", "db-02", "web-01"]
    assert aged(connection, "web-01")["missing_since"] == datetime(2026, 1, 12, tzinfo=UTC)
    assert list_assets(connection, AssetQuery(state="all", limit=1, offset=5)) == ([], 3)


def test_what_is_said_of_a_merged_machine_finds_the_one_it_is_merged_into(
    connection: Connection, machines: None, fill: Fill
) -> None:
    fill("2026-01-12", "10.0.0.9,other,vm,,4,8,,,blue,10.8.8.8,S9\n", source="cmdb")
    root, child = find_asset(connection, "web-01"), find_asset(connection, "other")
    merge(connection, child, root, actor="li", at=datetime.now(UTC))
    for wanted in ({"search": "other"}, {"search": "10.8.8.8"}, {"tags": ("blue",)}, {"source": "cmdb"}):
        assert [asset["id"] for asset in list_assets(connection, AssetQuery(**wanted))[0]] == [root], wanted  # type: ignore[arg-type]
    (row,) = list_assets(connection, AssetQuery(search="S9"))[0]
    assert (row["tags"], row["sources"], row["last_seen_date"]) == (
        ["blue", "prod", "web"], ["cmdb", "office"], date(2026, 1, 12),
    )  # fmt: skip
    assert list_assets(connection, AssetQuery(sort="last_seen"))[0][0]["id"] == root
    tag(connection, root, "blue", False, actor="li", at=datetime.now(UTC))
    assert list_assets(connection, AssetQuery(tags=("blue",))) == ([], 0)
    assert aged(connection, "S9")["tags"] == ["prod", "web"]


def test_the_page_of_any_machine_is_a_fixed_number_of_statements(
    connection: Connection, machines: None, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    def statements(name: str, days: int) -> int:
        asset = find_asset(connection, name)
        made: list[object] = []
        real = psycopg.Cursor.execute
        with monkeypatch.context() as patched:
            patched.setattr(psycopg.Cursor, "execute", lambda self, *a, **k: made.append(a) or real(self, *a, **k))
            asset_page(connection, asset, today=date(2026, 2, 1), days=days)
        return len(made)

    before = statements("100%_03", 1)
    for day in range(11, 18):
        fill(f"2026-01-{day}", f"10.0.0.1,web-01,vm,ssh,{day},8,100,debian,t{day},10.9.9.{day},S1\n")
    assert statements("web-01", 30) == before
    assert (
        len(asset_page(connection, find_asset(connection, "web-01"), today=date(2026, 2, 1), days=30)["changes"]) > 20
    )


CASES: list[tuple[dict[str, object], list[str]]] = [
    ({}, ["100%_03", "db-02", "web-01"]),
    ({"search": "WEB"}, ["web-01"]),
    ({"search": "0.0.2"}, ["db-02"]),
    ({"search": "%"}, ["100%_03"]),
    ({"search": "_0"}, ["100%_03"]),
    ({"search": "10.9.9.9"}, ["db-02", "web-01"]),
    ({"search": "S2"}, ["db-02"]),
    ({"tags": ("prod",)}, ["db-02", "web-01"]),
    ({"tags": ("prod", "db")}, ["db-02"]),
    ({"tags": ("db", "web")}, []),
    ({"tags": ("prod", "prod")}, ["db-02", "web-01"]),
    ({"asset_type": "vm"}, ["100%_03", "web-01"]),
    ({"platform_type": "import"}, ["100%_03", "db-02", "web-01"]),
    ({"platform_type": "vmware"}, []),
    ({"protocol": "winrm"}, ["100%_03"]),
    ({"source": "office"}, ["100%_03", "db-02", "web-01"]),
    ({"source": "other"}, []),
    ({"cpu_cores": 4}, ["web-01"]),
    ({"cpu_cores": 5}, []),
    ({"unknown": "cpu"}, ["100%_03"]),
    ({"unknown": "memory"}, ["100%_03"]),
    ({"unknown": "disk"}, ["100%_03", "db-02"]),
    ({"unknown": "os"}, ["100%_03"]),
    ({"unknown": "ip"}, []),
    ({"tags": ("prod",), "asset_type": "vm", "search": "w"}, ["web-01"]),
    ({"sort": "cpu"}, ["db-02", "web-01", "100%_03"]),
    ({"sort": "mgmt_ip"}, ["web-01", "db-02", "100%_03"]),
]


def test_a_list_has_what_was_asked_for(connection: Connection, machines: None) -> None:
    for wanted, found in CASES:
        assert names(connection, **wanted) == found, wanted
        assert list_assets(connection, AssetQuery(**wanted))[1] == len(found), wanted  # type: ignore[arg-type]


def test_pages_have_every_machine_once_in_every_order(connection: Connection, machines: None) -> None:
    for sort in SORTS:
        whole, total = list_assets(connection, AssetQuery(sort=sort))
        pages = [list_assets(connection, AssetQuery(sort=sort, limit=1, offset=place)) for place in range(4)]
        assert [page[0]["id"] for page, _ in pages[:3]] == [asset["id"] for asset in whole], sort
        assert [count for _, count in pages] == [total] * 4
        assert pages[3][0] == []


def test_every_unknown_can_be_asked_for(connection: Connection) -> None:
    for fact in UNKNOWN:
        assert list_assets(connection, AssetQuery(unknown=fact)) == ([], 0)


def test_a_row_says_which_sources_speak_of_it_and_when_they_last_did(connection: Connection, fill: Fill) -> None:
    fill("2026-01-10", "10.0.0.1,web-01,vm,,4,8,,,b;a,,\n10.0.0.2,db-02,vm,,4,8,,,,,\n")
    fill("2026-01-12", "10.0.0.1,web-01.example,vm,,4,8,,,,,\n", source="cmdb")
    # of two sources of one rank the one that spoke last
    assert names(connection, sort="last_seen") == ["web-01.example", "db-02"]
    assert names(connection, source="office") == ["db-02", "web-01.example"]
    assert names(connection, source="cmdb") == ["web-01.example"]
    assert names(connection, search="WEB-01") == ["web-01.example"]
    (row, _) = list_assets(connection, AssetQuery(sort="last_seen"))[0]
    assert row["sources"] == ["cmdb", "office"]
    assert row["tags"] == ["a", "b"]
    assert row["last_seen_date"] == date(2026, 1, 12)
    assert {source["name"]: source["assets"] for source in list_sources(connection)} == {"cmdb": 1, "office": 2}
    assert runs_beginning_with(connection, "cm") == ["cmdb-2026-01-12"]


def test_a_machine_is_found_by_whatever_names_it(connection: Connection, fill: Fill) -> None:
    fill("2026-01-10", "10.0.0.1,web-01,vm,,4,8,,,,10.9.9.1,SN-1\n10.0.0.2,db-02,vm,,4,8,,,,,\n")
    fill("2026-01-11", "10.0.0.1,Web-New.example,vm,,4,8,,,,10.9.9.1,SN-1\n")
    wanted = find_asset(connection, "10.0.0.1")
    for text in ("web-01", "WEB-new.EXAMPLE", " 10.0.0.1 ", "10.9.9.1", "SN-1", str(wanted), str(wanted).upper()):
        assert find_asset(connection, text) == wanted, text
    for text in (wanted.hex[:6], str(wanted)[:12], wanted.hex[:31]):
        assert find_asset(connection, text) == wanted, text
    for text in ("", "web", wanted.hex[:5], "10.0.0.9", "ffffff", "10.9.9.1.", "0" * 32, "'; --"):
        with pytest.raises(PermanentError) as failed:
            find_asset(connection, text)
        assert failed.value.code is ASSET_NOT_FOUND, text


def test_a_name_of_two_machines_is_never_guessed(connection: Connection, machines: None) -> None:
    with pytest.raises(PermanentError) as failed:
        find_asset(connection, "10.9.9.9")
    assert failed.value.code is ASSET_AMBIGUOUS
    (candidates,) = failed.value.__notes__
    assert [line.split()[1] for line in candidates.splitlines()] == ["db-02", "web-01"]


def test_an_address_means_who_is_there_before_who_is_missing_and_both_before_who_is_retired(
    connection: Connection, machines: None
) -> None:
    web, db = (find_asset(connection, name) for name in ("web-01", "db-02"))
    address = "10.9.9.9"  # of both
    connection.execute("UPDATE ledger.assets SET missing_since = '2026-01-12' WHERE id = %s", [web])
    assert find_asset(connection, address) == db
    assert find_asset(connection, "web-01") == web
    connection.execute("UPDATE ledger.assets SET deleted_at = '2026-01-13' WHERE id = %s", [db])
    assert find_asset(connection, address) == web
    assert find_asset(connection, "db-02") == find_asset(connection, str(db)) == db
    # also where the retired one has it as its management address and the other as one of several
    assert find_asset(connection, "10.0.0.2") == db
    connection.execute("UPDATE ledger.assets SET mgmt_ip = '10.9.9.9' WHERE id = %s", [db])
    assert find_asset(connection, address) == web
    connection.execute("UPDATE ledger.assets SET deleted_at = '2026-01-13' WHERE id = %s", [web])
    connection.execute("UPDATE ledger.assets SET mgmt_ip = NULL WHERE id = %s", [db])
    with pytest.raises(PermanentError) as failed:
        find_asset(connection, address)
    assert failed.value.code is ASSET_AMBIGUOUS


def test_the_page_tells_every_day_and_what_changed_from_one_to_the_next(connection: Connection, fill: Fill) -> None:
    fill("2026-01-05", "10.0.0.1,web-01,vm,,4,8,,debian,,,\n")
    fill("2026-01-10", "10.0.0.1,web-01,vm,,8,8,,debian,,10.9.9.1,\n")
    fill("2026-01-11", "10.0.0.1,web-01,vm,,8,8,,debian,,10.9.9.1,\n")
    fill("2026-01-12", "10.0.0.1,web-01,vm,,,16,,debian,,10.9.9.1,\n")
    fill("2026-01-12", "10.0.0.1,web-01,physical,,2,2,,debian,,,\n", source="cmdb")
    instances = "name,host,port\norders,10.0.0.1,5432\n"
    fill("2026-01-12", instances, name="instances.csv", header="")
    relink(connection)
    page = asset_page(connection, find_asset(connection, "web-01"), today=date(2026, 1, 12), days=3)
    assert [(day["collected_date"].day, day["source"], day["cpu_cores"]) for day in page["history"]] == [
        (12, "cmdb", 2), (12, "office", None), (11, "office", 8), (10, "office", 8),
    ]  # fmt: skip
    assert page["history"][1]["unknown"]["hardware.cpu_count"] == "NOT_REPORTED"
    assert page["history"][2]["ip_addresses"] == ["10.0.0.1", "10.9.9.1"]
    told = [(c["day"].day, c["since"] and c["since"].day, c["field"], c["before"], c["after"]) for c in page["changes"]]
    assert told == [
        (12, 11, "memory_bytes", 8 * 2**30, 16 * 2**30),  # that the cores became unknown is no change
        (12, None, "record", None, None),  # it appeared in the other source
        (10, 5, "cpu_cores", 4, 8),
        (10, 5, "ip", None, "10.9.9.1"),
        (5, None, "record", None, None),
    ]
    last = asset_page(connection, find_asset(connection, "web-01"), today=date(2026, 1, 12), days=1, events=2)
    assert [change["day"].day for change in last["changes"]] == [12, 12]
    assert [(each["source"], each["outcome"]) for each in page["resolutions"]] == [
        ("office", "created"), ("cmdb", "attached"),
    ]  # fmt: skip
    assert [each["name"] for each in page["instances"]] == ["orders"]
    assert {each["source"] for each in page["sources"]} == {"cmdb", "office"}
    assert [each["value"] for each in page["aliases"]] == ["web-01"]


def test_an_identifier_that_a_source_no_longer_has_is_kept_with_when_it_was_last_seen(
    connection: Connection, fill: Fill
) -> None:
    fill("2026-01-10", "10.0.0.1,web-01,vm,,4,8,,,,10.9.9.1,\n")
    fill("2026-01-11", "10.0.0.1,web-01,vm,,4,8,,,,10.9.9.2,\n")
    page = asset_page(connection, find_asset(connection, "web-01"), today=date(2026, 1, 11), days=1)
    told = {each["value"]: (each["current"], each["last_seen_at"].date().day) for each in page["identifiers"]}
    assert told == {"10.0.0.1": (True, 11), "10.9.9.2": (True, 11), "10.9.9.1": (False, 10)}
    with pytest.raises(PermanentError):
        find_asset(connection, "10.9.9.1")
