"""A person's word on tags, and the readings that come after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import take_files
from asset_ledger.pipeline.ledger import source_row
from asset_ledger.sources.import_files.config import ImportConfig
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.decide.tags import TAG, add_tags, remove_tags, tags_in_use, tags_of
from asset_ledger.store.query.assets import AssetQuery, find_asset, list_assets

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as opened:
        yield opened


@pytest.fixture
def sync(connection: Connection, tmp_path: Path) -> Callable[[str, str], None]:
    """Import a machine with tags, as a file of a day."""

    def take(day: str, tags: str) -> None:
        file = tmp_path / "hosts.csv"
        file.write_text(f"mgmt_ip,hostname,tags\n10.0.0.1,web-01,{tags}\n")
        config = ImportConfig(name="office", platform="import", inbox=tmp_path / "inbox")
        row = source_row(connection, config)
        of_day = date.fromisoformat(day)
        take_files(connection, config, row, [file], of_day, inbox=config.inbox, run_id=day, mode="collect")
        derive_day(connection, config, row, of_day, run_id=day, mode="collect")

    return take


def has(connection: Connection) -> list[str]:
    (asset,) = list_assets(connection, AssetQuery())[0]
    return list(asset["tags"])


def test_what_a_person_removed_no_reading_brings_back(connection: Connection, sync: Callable[[str, str], None]) -> None:
    sync("2026-01-10", "prod;web")
    web = find_asset(connection, "web-01")
    assert remove_tags(connection, web, ["prod", "none"], actor="li.lei", at=NOW) == ["prod"]
    sync("2026-01-11", "prod;web;new")
    sync("2026-01-12", "prod")
    assert has(connection) == ["new", "web"]
    assert list_assets(connection, AssetQuery(tags=("prod",))) == ([], 0)
    assert {each["tag"]: each["assets"] for each in tags_in_use(connection)} == {"new": 1, "web": 1}


def test_what_a_person_added_stays_and_what_was_removed_can_be_added_again(
    connection: Connection, sync: Callable[[str, str], None]
) -> None:
    sync("2026-01-10", "prod")
    web = find_asset(connection, "web-01")
    assert add_tags(connection, web, ["vip", "prod", "vip"], actor="li.lei", at=NOW) == ["vip"]
    remove_tags(connection, web, ["prod"], actor="li.lei", at=NOW)
    assert add_tags(connection, web, ["prod"], actor="han.mei", at=NOW) == ["prod"]
    assert remove_tags(connection, web, ["none"], actor="li.lei", at=NOW) == []
    sync("2026-01-11", "web")
    assert has(connection) == ["prod", "vip", "web"]
    told = {each["tag"]: (each["added_by"], each["removed_by"]) for each in tags_of(connection, web)}
    assert told == {"prod": ("han.mei", None), "vip": ("li.lei", None), "web": ("office", None)}


@pytest.mark.parametrize("tag", ["", "a b", "a,b", "a;b", "x" * 65, "a\n"])
def test_a_tag_that_a_source_could_not_give_is_none(tag: str) -> None:
    assert TAG.fullmatch(tag) is None
    assert TAG.fullmatch("环境:生产")
