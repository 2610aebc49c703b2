"""An Aliyun account, as its double has it, read into the ledger: address spaces, silent denials, released instances."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import time_machine

from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.outcome import Outcome
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import read_source
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.settings import Settings
from asset_ledger.store.database import rows
from tests.doubles.aliyun import AliyunDouble, estate
from tests.faults.ledgers import rebuilt_differences
from tests.faults.site import instant
from tests.pipeline.importing import Importing, importing
from tests.sources.aliyun.live import config_of

FIRST, SECOND = "2026-10-01", "2026-10-02"
WEB = ("i-bp1web000000000000001", "i-bp1web000000000000002")
VPCS = ["vpc-bp1double000000000000a", "vpc-bp1double000000000000b"]


@pytest.fixture
def aliyun() -> Iterator[AliyunDouble]:
    with AliyunDouble(estate()) as double:
        yield double


@pytest.fixture
def office(
    database_url: str, aliyun: AliyunDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Importing]:
    """An import source in the address space of the first VPC. Rebuilt, the ledger must be the same."""
    monkeypatch.setenv("ALI", json.dumps(aliyun.credential))
    (tmp_path / "inbox").mkdir()
    with importing(database_url, tmp_path / "inbox", zone=VPCS[0]) as made:
        yield made
        found = rebuilt_differences(made.connection, made.source, config_of(aliyun))
        assert not found, "\n".join(found[:20])


def read(office: Importing, aliyun: AliyunDouble, day: str, tmp_path: Path) -> Outcome:
    source = config_of(aliyun)
    row = source_row(office.connection, source)
    ledger = Ledger(Settings(tmp_path, tmp_path / "sources.yaml", None, None, tmp_path))
    with time_machine.travel(instant(day), tick=False):
        at = instant(day)
        reading = read_source(ledger, office.connection, source, row, scope="all", run_id=day, mode="collect", at=at)
        made = derive_day(office.connection, source, row, reading.collected_date, run_id=day, mode="collect")
    return made.readings[-1].outcome


def machines(office: Importing, *columns: str) -> list[dict[str, Any]]:
    return rows(
        office.connection,
        f"SELECT {', '.join(columns)} FROM ledger.assets a JOIN ledger.asset_source_links l ON l.asset_id = a.id "
        "WHERE l.external_kind = 'vm' ORDER BY l.external_id",
    )


def test_machines_of_two_networks_with_one_address_are_two_and_each_is_met_in_its_own(
    office: Importing, aliyun: AliyunDouble, tmp_path: Path
) -> None:
    outcome = read(office, aliyun, FIRST, tmp_path)
    assert outcome.created == 15
    assert outcome.failures == ()
    (met,) = office.take(FIRST, office.drop(f"hosts_{FIRST}.csv", "mgmt_ip,hostname,tags\n172.16.0.10,shop,web\n"))
    assert met.state == "taken"
    (imported,) = office.derive(FIRST)

    assert (imported.attached, imported.created) == (1, 0)
    found = {row["external_id"]: row for row in machines(office, "l.external_id", "a.zone", "host(a.mgmt_ip) AS ip")}
    assert [found[name]["zone"] for name in WEB] == VPCS
    assert {found[name]["ip"] for name in WEB} == {"172.16.0.10"}


def test_what_was_released_is_missing_and_what_is_only_hidden_is_not(
    office: Importing, aliyun: AliyunDouble, tmp_path: Path
) -> None:
    read(office, aliyun, FIRST, tmp_path)
    aliyun.cloud.delete(WEB[0])
    assert read(office, aliyun, SECOND, tmp_path).missing == 1

    aliyun.user.deny(region="cn-hangzhou")
    with pytest.raises(LedgerError) as denied:
        read(office, aliyun, "2026-10-03", tmp_path)
    assert denied.value.code.code == "ALIYUN_PERMISSION_DENIED"
    missing = machines(office, "l.external_id", "a.missing_since")
    assert [row["external_id"] for row in missing if row["missing_since"] is not None] == [WEB[0]]
