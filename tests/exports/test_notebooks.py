"""A frame has the rows of the table, and the types that pandas has for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pandas as pd
import psycopg
import pytest

from asset_ledger.domain.errors import LedgerError
from asset_ledger.notebooks import frame
from asset_ledger.store.database import connect
from tests.exports.mart import HEAD, NAME, ROWS, make_mart
from tests.up.running import wait_for


@pytest.fixture(autouse=True)
def notebook(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSET_LEDGER_HOME", str(tmp_path))
    monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", database_url)
    make_mart(database_url)


def test_a_frame_has_the_rows_and_types_that_know_what_is_not_known() -> None:
    found = frame(NAME, categories=["source_id"])
    assert list(found.columns) == HEAD
    assert len(found) == len(ROWS)
    assert {name: str(found[name].dtype) for name in ("cpu_cores", "memory_bytes", "share", "load", "virtual", "seen_at", "collected_date", "source_id")} == {
        "cpu_cores": "Int64", "memory_bytes": "Int64", "share": "Float64", "load": "Float64", "virtual": "boolean",
        "seen_at": "datetime64[us, UTC]", "collected_date": "datetime64[us]", "source_id": "category",
    }  # fmt: skip
    assert found["hostname"].dtype == "string"
    assert found["memory_bytes"].max() == 2**60
    assert found["cpu_cores"].isna().tolist() == [False, True, True, False]
    assert list(found["tags"].iloc[0]) == ["prod", "a,b"]
    assert found["seen_at"].iloc[0] == pd.Timestamp("2026-11-01 01:02:03.456Z")


def test_days_and_rows_are_chosen_as_on_the_command_line() -> None:
    assert frame(NAME, since=date(2026, 11, 2), until="2026-11-02")["mgmt_ip"].tolist() == ["10.0.0.0/24"]
    assert frame(NAME, filters={"mgmt_ip": "10.0.0.2"})["source_id"].tolist() == [2]
    machines = frame("assets", as_of="2026-11-01")
    assert len(machines) == 0
    assert str(machines["memory_bytes"].dtype) == "Int64"
    with pytest.raises(LedgerError, match="EXPORT_NOT_BUILT"):
        frame("current_assets")
    with pytest.raises(ValueError, match="no day"):
        frame("assets", as_of="yesterday")


def test_a_frame_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asset_ledger.store.query.exports._TABLES", "CREATE TABLE marts.x ()")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        frame(NAME)


def test_a_mart_that_is_replaced_meanwhile_is_read_whole(database_url: str) -> None:
    with connect(database_url) as dbt, ThreadPoolExecutor(1) as other:
        with dbt.transaction():  # as dbt does: made beside it, and put in its place at the end
            dbt.execute(f"CREATE TABLE marts.{NAME}__dbt_tmp AS SELECT * FROM marts.{NAME}")
            dbt.execute(f"ALTER TABLE marts.{NAME} RENAME TO {NAME}__dbt_backup")
            dbt.execute(f"ALTER TABLE marts.{NAME}__dbt_tmp RENAME TO {NAME}")
            asked = other.submit(frame, NAME)
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IS NOT NULL"
            with connect(database_url) as looking:
                wait_for(lambda: looking.execute(waiting).fetchone() == (1,), 20)
            dbt.execute(f"DROP TABLE marts.{NAME}__dbt_backup")
        assert len(asked.result(30)) == len(ROWS)
