"""Marts made for real: Dagster runs that call dbt on a PostgreSQL, for a day and for a range, and what failing leaves."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest

from asset_ledger.pipeline.marts import PROJECT, models
from asset_ledger.store.database import connect
from asset_ledger.store.tenancy import SERVICE_ROLE, as_tenant
from tests.dagster.installation import Installation, failure_of
from tests.dagster.marts import Marts, calls_of_dbt
from tests.plain_owner import plainly_owned

DAYS = ("2026-11-02", "2026-11-03", "2026-11-04")
SOURCES = """
sources:
  - {name: north, platform: import, inbox: north}
  - {name: south, platform: import, inbox: south}
"""
SPECS = dg.AssetKey(["marts", "daily_specs"])


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for parsed models, which the tests of this file share as an image would bring it along."""
    return tmp_path_factory.mktemp("parsed")


@pytest.fixture
def marts(installation: Installation, parsed: Path, monkeypatch: pytest.MonkeyPatch) -> Marts:
    """A ledger of three days of one machine that grows a CPU a day, and no mart yet."""
    monkeypatch.setenv("ASSET_LEDGER_PARSED_MODELS", str(parsed))
    for number, day in enumerate(DAYS, 1):
        installation.drop(f"hosts_{day}.csv", f"192.0.2.10,db-01,vm,prod;db,{number},16")
    assert installation.collect("office", span=(DAYS[0], DAYS[-1])).success
    return Marts(installation, models(installation.ledger))


def cpus(installation: Installation) -> dict[str, int | None]:
    found = installation.rows("SELECT collected_date, cpu_cores FROM marts.daily_specs ORDER BY 1")
    return {f"{row['collected_date']}": row["cpu_cores"] for row in found}


def test_a_range_of_days_is_one_call_of_dbt_and_a_later_day_leaves_the_others_alone(marts: Marts) -> None:
    installation = marts.installation
    some = ("daily_specs", "daily_capacity", "asset_changes")
    done = marts.build(DAYS[0], DAYS[1], only=some)
    assert done.success, failure_of(done)
    calls = calls_of_dbt(done, installation.instance)
    assert calls == {"marts_of_days": 2}, "one for the views, which are made once, and one for the days"
    assert cpus(installation) == {DAYS[0]: 1, DAYS[1]: 2}
    assert marts.days("daily_specs") == set(DAYS[:2])
    rows = {
        event.partition: event.materialization.metadata["dagster/row_count"].value
        for event in done.get_asset_materialization_events()
        if event.asset_key == SPECS
    }
    assert rows == {DAYS[0]: 1, DAYS[1]: 1}
    with installation.connect() as db:
        db.execute("UPDATE marts.daily_specs SET cpu_cores = 99 WHERE collected_date = %s", [DAYS[0]])
    views = "SELECT oid::bigint AS oid FROM pg_class WHERE relname = 'stg_ledger__assets'"
    before = installation.rows(views)
    again = marts.build(DAYS[2], only=some)
    assert again.success, failure_of(again)
    assert calls_of_dbt(again, installation.instance) == {"marts_of_days": 1}
    assert cpus(installation) == {DAYS[0]: 99, DAYS[1]: 2, DAYS[2]: 3}
    assert marts.days("daily_specs") == set(DAYS)
    assert installation.rows(views) == before, "a view that is in place is not made again"
    (described,) = installation.rows("SELECT obj_description('marts.daily_specs'::regclass, 'pg_class') AS text")
    assert described["text"]


def test_what_fails_is_named_with_its_cause_and_takes_nothing_away(marts: Marts) -> None:
    """A test that finds rows is a failing check, a model that fails leaves what was there: one project has both."""
    some = ("daily_specs", "daily_capacity")
    assert marts.build(DAYS[0], DAYS[1], only=some).success
    before = cpus(marts.installation)
    text = (marts.models.project / "models/marts/daily_specs.sql").read_text()
    # made of the first day alone, as if the third had a row that the database chokes on
    choking = f"select q.* from (\n{text}\n) as q where 1 / (q.cpu_cores - 3) is not null"
    faulty = marts.of_faulty_models(
        {
            "models/marts/daily_specs.sql": choking,
            "tests/nothing_has_many_cpus.sql": "select * from {{ ref('daily_specs') }} where cpu_cores > 1",
        }
    )

    done = faulty.build(DAYS[1], DAYS[2], only=some)
    failure = failure_of(done)
    assert failure.metadata["error_code"].value == "MARTS_MODEL_FAILED"
    told = str(failure.description)
    assert told.startswith(f"MARTS_MODEL_FAILED: daily_specs of {DAYS[1]} to {DAYS[2]}: ")
    assert "division by zero" in told
    assert "1 models were left out" in told
    assert "asset-ledger marts build" in told
    assert cpus(marts.installation) == before
    assert marts.days("daily_specs") == marts.days("daily_capacity") == set(DAYS[:2])

    done = faulty.build(DAYS[1], only=some)
    (check,) = (each for each in done.get_asset_check_evaluations() if each.check_name == "nothing_has_many_cpus")
    assert (check.passed, check.asset_key) == (False, SPECS)
    assert check.description is not None
    assert check.description.startswith(f"1 row of {DAYS[1]} breaks it")
    (row,) = check.metadata["rows"].records
    assert (row.data["collected_date"], row.data["cpu_cores"]) == (f"{DAYS[1]}", "2")
    assert check.metadata["failed_rows"].value == 1
    assert "cpu_cores > 1" in str(check.metadata["look"].value)
    failure = failure_of(done)
    assert failure.metadata["error_code"].value == "MARTS_TEST_FAILED"
    assert f"nothing_has_many_cpus of {DAYS[1]}" in str(failure.description)
    assert cpus(marts.installation) == before, "a test says what is wrong; it takes nothing away"


def test_a_release_that_brings_a_column_makes_it_and_leaves_other_days_without(marts: Marts) -> None:
    assert marts.build(DAYS[0]).success
    model = (PROJECT / "models/marts/source_reliability.sql").read_text()
    described = (PROJECT / "models/marts/marts.yml").read_text()
    column, name = "    coalesce(r.readings, 0) as readings,", "      - {name: readings, description:"
    assert (model.count(column), described.count(name)) == (1, 1)
    newer = marts.of_faulty_models(
        {
            "models/marts/source_reliability.sql": model.replace(column, f"{column}\n    7 as brought,", 1),
            "models/marts/marts.yml": described.replace(
                name, f"      - {{name: brought, description: 'What a release brought.'}}\n{name}", 1
            ),
        }
    )
    for day in DAYS[1:]:  # the second time the same models made it before
        done = newer.build(day)
        assert done.success, failure_of(done)
    found = marts.installation.rows(
        "SELECT DISTINCT collected_date::text AS day, brought FROM marts.source_reliability ORDER BY 1"
    )
    assert [(row["day"], row["brought"]) for row in found] == [(DAYS[0], None), (DAYS[1], 7), (DAYS[2], 7)]
    (comment,) = marts.installation.rows(
        "SELECT col_description(attrelid, attnum) AS text FROM pg_attribute"
        " WHERE attrelid = 'marts.source_reliability'::regclass AND attname = 'brought'"
    )
    assert comment["text"] == "What a release brought."


def test_a_day_that_is_broken_is_not_green_for_a_day_that_is_not(marts: Marts) -> None:
    name = "daily_specs_is_well_formed"
    assert marts.build(DAYS[0], DAYS[2], only=("daily_specs",)).success
    with marts.installation.connect() as db:
        db.execute("UPDATE marts.daily_specs SET state = 'strange' WHERE collected_date = %s", [DAYS[0]])
    assert marts.check(name, DAYS[1]).passed, "nobody has looked at the other day yet"
    # a person's button names no day: every day that there is is looked at
    found = marts.check(name)
    assert not found.passed
    (row,) = found.metadata["rows"].records  # type: ignore[union-attr]
    assert [*row.data][:3] == ["broken", "collected_date", "asset_id"]
    assert (row.data["broken"], row.data["collected_date"]) == ("state is strange", DAYS[0])
    assert found.metadata["days"].value == f"{DAYS[0]} to {DAYS[2]}"
    # what is right of another day does not say that this one was mended
    done = marts.build(DAYS[1], only=("daily_specs",))
    assert done.success, "and stops nobody"
    (other,) = (each for each in done.get_asset_check_evaluations() if each.check_name == name)
    assert (other.passed, other.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"asset-ledger marts build --since {DAYS[0]} --until {DAYS[0]}" in str(other.description)
    done = marts.build(DAYS[0], only=("daily_specs",))
    (mended,) = (each for each in done.get_asset_check_evaluations() if each.check_name == name)
    assert mended.passed
    assert marts.check(name).passed


def test_a_mart_that_somebody_holds_is_tried_again_until_he_lets_go(
    marts: Marts, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = marts.installation
    some = ("current_assets", "link_review", "instance_placement")
    first = marts.build(DAYS[0], only=some)
    assert first.success, "no day was made before"
    sign = "&" if "?" in installation.url else "?"
    monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", f"{installation.url}{sign}options=-c%20lock_timeout%3D500ms")
    # not half a minute, as in life
    monkeypatch.setattr("asset_ledger.assets.marts.RETRIES", dg.RetryPolicy(max_retries=2, delay=1))
    with connect(installation.url) as idle, ThreadPoolExecutor(1) as other, idle.transaction():
        idle.execute("SELECT FROM marts.instance_placement")
        building = other.submit(marts.build, DAYS[0], only=some)

        def retried() -> list[dg.EventLogRecord]:
            wanted = dg.EventRecordsFilter(dg.DagsterEventType.STEP_UP_FOR_RETRY)
            return list(installation.instance.get_event_records(wanted, limit=5))

        while not retried():
            assert not building.done()
            time.sleep(0.1)
        idle.execute("ROLLBACK")
        done = building.result()
    assert done.success
    (event,) = retried()
    failure = event.event_log_entry.get_dagster_event().step_retry_data.error
    told = str(failure)
    assert "MARTS_BUSY: instance_placement" in told
    assert "idle in transaction" in told
    made = {each.asset_key.path[-1] for each in done.get_asset_materialization_events() if each.asset_key}
    assert made == set(some)


def test_a_plain_owner_makes_marts_of_all_tenants_and_the_service_shows_each_its_own(
    tmp_path: Path, parsed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("north", "south"):
        (tmp_path / name).mkdir()
    (tmp_path / "sources.yaml").write_text(SOURCES)
    with plainly_owned() as (url, _, _), dg.DagsterInstance.ephemeral() as instance:
        monkeypatch.setenv("ASSET_LEDGER_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("ASSET_LEDGER_SOURCES", str(tmp_path / "sources.yaml"))
        monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", url)
        monkeypatch.setenv("ASSET_LEDGER_PARSED_MODELS", str(parsed))
        installation = Installation(tmp_path, url, instance)
        for number, name in enumerate(("north", "south"), 1):
            header = "mgmt_ip,hostname,asset_type,tags,cpu_cores,memory_gb\n"
            file = tmp_path / name / f"hosts_{DAYS[0]}.csv"
            file.write_text(f"{header}192.0.2.{number},{name}-01,vm,prod,4,16\n")
            assert installation.collect(name, DAYS[0], files=[file]).success
        tenants = {}
        with connect(url) as db:
            for name in ("north", "south"):
                tenants[name] = uuid4()
                with as_tenant(db, tenants[name]):
                    db.execute(
                        "INSERT INTO agent.tenants (id, name, hash_key, key_id) VALUES (%s, %s, '', 'k')",
                        [tenants[name], name],
                    )
                    db.execute(
                        "INSERT INTO iac.tenant_sources SELECT %s, id FROM ledger.sources WHERE name = %s",
                        [tenants[name], name],
                    )
        done = Marts(installation, models(installation.ledger)).build(DAYS[0])
        assert done.success, failure_of(done)
        with connect(url) as db:
            every = db.execute("SELECT hostname FROM marts.current_assets ORDER BY 1").fetchall()
            assert every == [("north-01",), ("south-01",)]
            marts = [
                row[0]
                for row in db.execute(
                    "SELECT relname FROM pg_class WHERE relnamespace = 'marts'::regnamespace AND relkind = 'r'"
                )
            ]
            shown = "SELECT hostname FROM marts.{}"
            for name, tenant in tenants.items():
                with as_tenant(db, tenant):
                    db.execute(f"SET LOCAL ROLE {SERVICE_ROLE}")
                    # what is made of all sources may be in the other's words
                    for mart in ("current_assets", "daily_specs"):
                        assert db.execute(shown.format(mart)).fetchall() == [], mart
                    told = db.execute("SELECT source FROM marts.source_reliability").fetchall()
                    assert told == [(name,)]
                    assert db.execute("SELECT has_schema_privilege('marts_staging', 'USAGE')").fetchone() == (False,)
            with as_tenant(db, tenants["south"]):
                db.execute("DELETE FROM iac.tenant_sources")
            with as_tenant(db, tenants["north"]):
                db.execute(f"SET LOCAL ROLE {SERVICE_ROLE}")
                for mart in ("current_assets", "daily_specs"):
                    assert db.execute(shown.format(mart)).fetchall() == [("north-01",)], mart
            with db.transaction():
                db.execute(f"SET LOCAL ROLE {SERVICE_ROLE}")
                for mart in marts:
                    assert db.execute(f"SELECT count(*) FROM marts.{mart}").fetchone() == (0,), (
                        f"{mart}: no tenant, no row"
                    )
