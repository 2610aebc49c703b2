"""The ledger made again from its evidence: the same rows, whatever happened to it, and a report where it is not so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline import rebuild as rebuilding
from asset_ledger.pipeline.rebuild import rebuild
from asset_ledger.store.database import connect
from asset_ledger.store.decide import decisions
from asset_ledger.store.decide.merges import merge
from asset_ledger.store.sources import exclusive
from tests.pipeline.importing import Importing, everything, importing

HEADER = "mgmt_ip,hostname,asset_type,cpu_cores,tags\n"
FIRST = HEADER + "192.0.2.1,a,vm,4,prod\n192.0.2.2,b,vm,2,\n192.0.2.3,c,vm,1,\n"
SECOND = HEADER + "192.0.2.1,a,vm,8,prod\n192.0.2.2,b-new,vm,2,\n192.0.2.4,d,vm,1,\n"
INSTANCES = "name,host,port,db_type\norders,192.0.2.1,5432,postgresql\n"
AT = datetime(2026, 11, 5, tzinfo=UTC)


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Importing]:
    """A ledger with days that came out of order, a late file, a conflict-free history, and decisions of every kind."""
    with importing(database_url, tmp_path / "inbox") as made:
        made.read("2026-11-03", SECOND)
        made.read("2026-11-01", FIRST)
        made.read("2026-11-02", INSTANCES, "instances_2026-11-02.csv")
        made.read("2026-11-01", HEADER + "192.0.2.3,c,vm,16,\n", "late_2026-11-01.csv")
        by = {"actor": "li.lei", "at": AT}
        decisions.override(made.connection, asset(made, "192.0.2.1"), "hostname", "orders-db", **by)
        decisions.retire(made.connection, asset(made, "192.0.2.4"), **by)
        merge(made.connection, asset(made, "192.0.2.3"), asset(made, "192.0.2.2"), **by)
        yield made


def asset(office: Importing, address: str) -> UUID:
    found: UUID = office.one(
        "SELECT id FROM ledger.assets WHERE mgmt_ip = %s AND merged_into_asset_id IS NULL", address
    )
    return found


def test_a_rebuild_gives_the_same_rows_and_a_verification_leaves_them(office: Importing) -> None:
    before = everything(office.connection)
    report = rebuild(office.connection, [office.source], verify=True)
    assert report.differences == ()
    assert report.readings == 4
    assert everything(office.connection) == before
    kept = rebuild(office.connection, [office.source], verify=False)
    assert kept.differences == ()
    assert kept.digests == report.digests
    assert rebuild(office.connection, [office.source], verify=True).digests == report.digests


@pytest.mark.parametrize(
    ("damage", "table"),
    [
        ("UPDATE ledger.assets SET cpu_cores = 99 WHERE mgmt_ip = '192.0.2.1'", "assets"),
        ("DELETE FROM ledger.asset_daily_specs WHERE collected_date = '2026-11-03'", "asset_daily_specs"),
        ("DELETE FROM ledger.asset_aliases WHERE value = 'b'", "asset_aliases"),
        ("UPDATE ledger.asset_source_links SET missing_since = now()", "asset_source_links"),
        ("DELETE FROM ledger.asset_past_words", "asset_past_words"),
        ("INSERT INTO ledger.asset_tags SELECT id, 'stray', 'nobody', now() FROM ledger.assets", "asset_tags"),
        ("DELETE FROM ledger.database_instances", "database_instances"),
    ],
)
def test_a_row_that_the_evidence_does_not_support_is_found_and_mended(
    office: Importing, damage: str, table: str
) -> None:
    office.connection.execute(damage)
    report = rebuild(office.connection, [office.source], verify=True)
    found = {each.table: each for each in report.differences}
    assert table in found
    assert found[table].only_before or found[table].only_after
    assert {row["in"] for row in found[table].examples} <= {"ledger", "rebuilt"}
    rebuild(office.connection, [office.source], verify=False)
    assert rebuild(office.connection, [office.source], verify=True).differences == ()


def test_evidence_is_never_touched(office: Importing) -> None:
    evidence = ("decisions", "inventories", "asset_observations", "identity_resolutions", "asset_daily_corrections")
    before = everything(office.connection)
    rebuild(office.connection, [office.source], verify=False)
    after = everything(office.connection)
    for table in (*evidence, "normalized_assets", "sync_target_records"):
        assert after[table] == before[table], table


def test_raw_of_a_source_that_is_no_longer_configured_is_named(office: Importing) -> None:
    before = everything(office.connection)
    with pytest.raises(LedgerError, match="CONFIG_INVALID: office: raw is kept of sources"):
        rebuild(office.connection, [], verify=False)
    assert everything(office.connection) == before


def test_a_rebuild_waits_for_a_run_and_gives_up_in_words(
    office: Importing, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "WAIT_S", 0.3)
    with (
        connect(database_url) as other,
        exclusive(other, office.row),
        pytest.raises(LedgerError, match="SOURCE_BUSY: office"),
    ):
        rebuild(office.connection, [office.source], verify=True)
    assert rebuild(office.connection, [office.source], verify=True).differences == ()
