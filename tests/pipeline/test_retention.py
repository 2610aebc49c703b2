"""Retention as Dagster and the command line do it: a plan, a run, the same keys each time, a schedule of one at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from asset_ledger.assets.retention import AUDIT_RETENTION, HISTORY_RETENTION
from asset_ledger.definitions import build_definitions
from asset_ledger.pipeline.retention import RETENTION_JOB, apply, step
from asset_ledger.schedules.retention import build_retention_schedule
from asset_ledger.store.agents.retention import AUDIT, HISTORY
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.tenancy import as_tenant
from tests.store.agents.years import CHANGES, TENANTS, Said, client, make_months, make_tenants, write_history

KEYS = {
    *("dagster/row_count", "months", "months_cut", "months_dropped", "months_left"),
    *("rows_before", "rows_kept", "rows_thinned", "rows_dropped", "rows_late"),
}


@pytest.fixture
def db(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A ledger with rows of half a year ago, by the clock of today; and the environment that names it."""
    (tmp_path / "sources.yaml").write_text("sources: []\n")
    monkeypatch.setenv("ASSET_LEDGER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSET_LEDGER_SOURCES", str(tmp_path / "sources.yaml"))
    monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", database_url)
    now = datetime.now(UTC)
    with connect(database_url) as connection:
        make_tenants(connection)
        month = (now - timedelta(days=200)).replace(day=1)
        make_months(connection, HISTORY, month.date(), now.date())
        make_months(connection, AUDIT, month.date(), now.date())
        kinds = [("periodic_snapshot",), ("periodic_snapshot",), CHANGES[0]]
        write_history(connection, [Said(client(1), month.replace(day=day), kinds[day - 3]) for day in (3, 4, 5)])
        write_history(connection, [Said(client(1), now)])
        with as_tenant(connection, TENANTS[0]):
            for at in (month, now):
                connection.execute(
                    "INSERT INTO audit.audit_logs (created_at, tenant_id, actor, event_type, event_action, event_result)"
                    " VALUES (%s, %s, 'ann', 'state.write', 'x', 'success')",
                    [at, TENANTS[0]],
                )
        yield connection


def ran(instance: dg.DagsterInstance, *, plan: bool = False) -> dg.ExecuteInProcessResult:
    config = {"ops": {step(table): {"config": {"plan": plan}} for table in (HISTORY, AUDIT)}}
    job = build_definitions(()).resolve_job_def(RETENTION_JOB)
    return job.execute_in_process(instance=instance, run_config=config, raise_on_error=False)


def told(found: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, Any]:
    (event,) = (each for each in found.get_asset_materialization_events() if each.asset_key == key)
    return {name: value.value for name, value in event.materialization.metadata.items()}


def numbers(metadata: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in metadata.items() if isinstance(value, int)}


def rows(db: Connection) -> tuple[int, int]:
    found = db.execute(
        "SELECT (SELECT count(*) FROM agent.inventory_history), (SELECT count(*) FROM audit.audit_logs)"
    ).fetchone()
    assert found is not None
    return found[0], found[1]


def test_a_run_lets_go_and_says_of_each_month_what_with_the_same_keys_when_there_is_nothing(db: Connection) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = ran(instance)
        assert first.success
        history = told(first, HISTORY_RETENTION)
        assert set(numbers(history)) == KEYS
        assert {
            name: history[name] for name in ("rows_before", "rows_kept", "rows_thinned", "rows_dropped", "months_cut")
        } == {"rows_before": 4, "rows_kept": 2, "rows_thinned": 1, "rows_dropped": 1, "months_cut": 1}
        assert "| cut | 3 | 1 | 1 | 1 | 0 |" in history["table"]
        audit = told(first, AUDIT_RETENTION)
        assert audit["months_dropped"] == 1
        (run,) = {
            row[0]
            for row in db.execute("SELECT details ->> 'run' FROM audit.audit_logs WHERE event_type = 'retention.apply'")
        }
        assert run == first.run_id
        again = ran(instance)
        for key in (HISTORY_RETENTION, AUDIT_RETENTION):
            counts = numbers(told(again, key))
            assert set(counts) == KEYS
            assert (
                counts["rows_dropped"]
                == counts["rows_thinned"]
                == counts["months_cut"]
                == counts["months_dropped"]
                == 0
            )
            assert counts["rows_before"] == counts["rows_kept"] > 0


def test_a_plan_shows_the_same_and_changes_nothing(db: Connection) -> None:
    before = rows(db)
    with dg.DagsterInstance.ephemeral() as instance:
        planned = ran(instance, plan=True)
        assert planned.success
        assert not planned.get_asset_materialization_events()
        seen = [
            event.asset_observation_data.asset_observation for event in planned.all_events if event.is_asset_observation
        ]
        assert {one.asset_key for one in seen} == {HISTORY_RETENTION, AUDIT_RETENTION}
        assert rows(db) == before
        done = ran(instance)
        for one in seen:
            counts = {name: value.value for name, value in one.metadata.items()}
            assert counts.pop("mode") == "plan"
            if one.asset_key == HISTORY_RETENTION:
                assert counts == told(done, one.asset_key)
            else:  # history was done first, and the audit says so
                assert counts["rows_dropped"] == told(done, one.asset_key)["rows_dropped"] == 1


def test_the_schedule_asks_for_a_run_a_day_and_for_none_while_one_is_at_it(tmp_path: Path, db: Connection) -> None:
    schedule = build_retention_schedule()
    assert schedule.execution_timezone == "Asia/Shanghai"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        at = datetime(2026, 11, 22, 3, 40, tzinfo=UTC)
        repository = build_definitions(()).get_repository_def()
        with dg.build_schedule_context(instance, at, repository_def=repository) as context:
            (asked,) = schedule.evaluate_tick(context).run_requests or ()
            assert asked.run_key == "retention:2026-11-22T03:40:00+00:00"
        job = build_definitions(()).resolve_job_def(RETENTION_JOB)
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        with dg.build_schedule_context(instance, at, repository_def=repository) as context:
            tick = schedule.evaluate_tick(context)
            assert not tick.run_requests
            assert "is at it" in (tick.skip_message or "")


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """Call the command line as a process: its run is one too."""
    return subprocess.run(
        [sys.executable, "-m", "asset_ledger.cli.main", "retention", *words],
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_line_plans_and_starts_the_run(
    db: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.postgres import create_database, drop_database

    dagster_url = create_database(database_url)
    monkeypatch.setenv("ASSET_LEDGER_DAGSTER_DATABASE_URL", dagster_url)
    try:
        planned = command("plan", "--json")
        assert planned.returncode == 0, planned.stderr
        document = json.loads(planned.stdout)
        assert document["plan"] is True
        assert document["tables"][HISTORY]["totals"]["rows_dropped"] == 1
        assert [one["state"] for one in document["tables"][AUDIT]["months"]].count("dropped") == 1
        (cut,) = (one for one in document["tables"][HISTORY]["months"] if one["state"] == "cut")
        assert (cut["before"], cut["kept"], cut["thinned"], cut["dropped"]) == (3, 1, 1, 1)
        said = command("plan", "--table", "history")
        assert "agent.inventory_history: 4 before, 2 kept, 1 thinned, 1 dropped" in said.stdout
        assert AUDIT not in said.stdout
        assert rows(db) == (4, 2), "it was a plan"

        done = command("run", "--json")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["tables"][HISTORY]["totals"]["rows_dropped"] == 1
        assert document["tables"][AUDIT]["totals"]["months_dropped"] == 1
        assert document["run"]
        assert rows(db)[0] == 3
        assert apply(db, HISTORY)[0].state == "untouched"
        nothing = command("plan")
        assert f"{HISTORY}: nothing would change" in nothing.stderr
    finally:
        drop_database(dagster_url)
