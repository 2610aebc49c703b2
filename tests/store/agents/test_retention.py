"""What retention keeps, against the ladder's definition; and that a month is exchanged for one like it, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from asset_ledger.pipeline.retention import apply, plan, totals
from asset_ledger.store.agents.retention import AUDIT, HISTORY, looking, months
from asset_ledger.store.agents.retention import ladder as by_sql
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.tenancy import SERVICE_ROLE, as_tenant
from tests.patience import until
from tests.plain_owner import plainly_owned
from tests.store.agents.years import (
    CHANGES,
    NOW,
    SNAPSHOT,
    TENANTS,
    Said,
    client,
    history,
    ladder,
    leftovers,
    make_months,
    make_tenants,
    oids,
    partitions,
    there,
    three_years,
    write_history,
)

LONG_AGO = date(2023, 9, 1)
AT_ONCE = (0.01,)
"""Ask for a lock twice, not for seconds."""


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    """A ledger with the months of three years, and nothing in them."""
    with connect(database_url) as connection:
        make_tenants(connection)
        make_months(connection, HISTORY, LONG_AGO, NOW.date() + timedelta(days=31))
        yield connection


@pytest.fixture(scope="module")
def ages(template_database: str) -> Iterator[Connection]:
    """The same for tests that roll back what they write."""
    from tests.postgres import create_database, database_name, drop_database

    url = create_database(template_database, template=database_name(template_database))
    with connect(url) as connection:
        make_tenants(connection)
        make_months(connection, HISTORY, LONG_AGO, NOW.date() + timedelta(days=31))
        yield connection
    drop_database(url)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


# --- what stays ----------------------------------------------------------------------------------------------------

_BIRTH = datetime(2023, 9, 1, tzinfo=UTC)
_EDGES = [
    edge + timedelta(microseconds=step)
    for edge in (
        *(datetime(year, month, 1, tzinfo=UTC) for year in (2024, 2025, 2026) for month in (1, 2, 4, 7)),
        *(datetime(2026, 11, 22, tzinfo=UTC) - timedelta(days=days) for days in (90, 365)),
    )
    for step in (-1, 0, 1)
]
_moments = st.one_of(
    st.sampled_from(_EDGES),
    st.integers(0, int((NOW - _BIRTH).total_seconds())).map(lambda s: _BIRTH + timedelta(seconds=s)),
)
_said = st.builds(
    Said,
    st.integers(0, 2).map(client),
    _moments,
    st.sampled_from((SNAPSHOT, SNAPSHOT, SNAPSHOT, (), *CHANGES)),
    st.sampled_from(TENANTS),
)


@settings(max_examples=40)
@given(st.lists(_said, max_size=40))
def test_the_verdict_on_every_row_is_that_of_the_ladder(ages: Connection, rows: list[Said]) -> None:
    with ages.transaction(force_rollback=True):
        write_history(ages, rows)
        wanted = ladder(history(ages), NOW)
        found: dict[int, str] = {}
        for month in months(ages, HISTORY):
            if any(month.lower <= row.at < month.upper for row in rows):
                with looking(ages):
                    query = sql.SQL(
                        "{} SELECT m.id, CASE WHEN {} THEN 'whole' WHEN {} THEN 'thin' ELSE 'gone' END FROM ONLY {} AS m"
                    )
                    of = by_sql(month, NOW)
                    query = query.format(of.edges, of.whole, of.stays, month.identifier)
                    found |= dict(ages.execute(query).fetchall())
        assert {row: how for row, how in found.items() if how != "gone"} == wanted
        assert len(found) == len(rows)


def test_a_row_goes_with_its_last_microsecond_and_not_before(db: Connection) -> None:
    day, step = datetime(2026, 8, 24, tzinfo=UTC), timedelta(microseconds=1)
    year = datetime(2025, 11, 22, tzinfo=UTC)
    rows = [
        *(Said(client(1), at) for at in (datetime(2026, 8, 1, tzinfo=UTC), day - step, day, ago(1))),
        # the first of their month, which is none of a quarter
        *(Said(of, datetime(2025, 10, 5, tzinfo=UTC)) for of in (client(2), client(3))),
        *(Said(client(2), at) for at in (year - step, ago(1))),
        *(Said(client(3), at) for at in (year, ago(1))),
    ]
    write_history(db, rows)
    apply(db, HISTORY, now=NOW)
    found = db.execute("SELECT client_id, collected_at FROM agent.inventory_history ORDER BY 1, 2").fetchall()
    gone = {(client(1), day - step), (client(2), year - step)}
    assert set(found) == {(row.client, row.at) for row in rows} - gone


def test_what_a_killed_run_noted_does_not_keep_a_row(db: Connection) -> None:
    write_history(db, [Said(client(1), datetime(2024, 1, day, tzinfo=UTC)) for day in (3, 4, 5)])
    db.execute(
        "INSERT INTO audit.late_rows SELECT 'agent.inventory_history_y2024m01'::regclass, collected_at, id"
        " FROM agent.inventory_history"
    )
    wanted = ladder(history(db), NOW)
    assert apply(db, HISTORY, now=NOW)[4].late == 0
    assert set(there(db)) == set(wanted)
    assert not leftovers(db)


def test_three_years_are_thinned_as_the_ladder_says_and_a_second_run_does_nothing(db: Connection) -> None:
    write_history(db, three_years())
    before, wanted = there(db), ladder(history(db), NOW)
    like, stood = partitions(db, HISTORY), oids(db, HISTORY)
    planned = plan(db, HISTORY, now=NOW)
    assert there(db) == before, "a plan changes nothing"
    assert oids(db, HISTORY) == stood

    done = apply(db, HISTORY, now=NOW)

    after = there(db)
    assert set(after) == set(wanted)
    for row, how in wanted.items():
        if how == "whole":
            assert after[row] == before[row]
        else:
            assert after[row][1] is None
            assert after[row][0] == without_raw(before[row]), "all but raw_data is as it was"
    assert [(one.month, one.state, one.counts) for one in planned] == [
        (one.month, one.state, one.counts) for one in done
    ]
    assert {"cut", "untouched"} == {one.state for one in done}
    counts = totals(done)
    assert counts["rows_before"] == len(before)
    assert counts["rows_kept"] + counts["rows_thinned"] == len(after)
    assert counts["rows_thinned"] == list(wanted.values()).count("thin")
    assert partitions(db, HISTORY) == like, "each month is like the one before, to the names of its indexes"
    assert not leftovers(db)

    stood = oids(db, HISTORY)
    assert totals(apply(db, HISTORY, now=NOW))["months_cut"] == 0
    assert oids(db, HISTORY) == stood
    assert there(db) == after


def without_raw(row: tuple[object, ...]) -> str:
    text = str(row[0])
    return text[: text.rindex(',"{""row""')] + ",)"


def test_thinning_day_after_day_comes_to_what_thinning_once_does(db: Connection) -> None:
    write_history(db, three_years(clients=6))
    days = [ago(days) for days in (600, 500, 380, 365, 340, 200, 100, 91, 60, 30, 29, 1)]
    wanted = ladder(history(db), NOW)
    for day in (*days, NOW):
        apply(db, HISTORY, now=day)
    assert {row: "whole" if columns[1] else "thin" for row, columns in there(db).items()} == wanted


def test_a_month_of_which_nothing_stays_is_dropped_and_one_that_stays_is_not_touched(db: Connection) -> None:
    made = [datetime(2024, 4, 1, tzinfo=UTC), ago(1)]  # February and March go: the quarter has January's row
    rows = [Said(client(1), datetime(2024, month, 3, 5, tzinfo=UTC)) for month in (1, 2, 3)]
    write_history(db, [*rows, *(Said(client(1), at) for at in made)])
    stood = oids(db, HISTORY)

    done = {one.month: one for one in apply(db, HISTORY, now=NOW)}

    assert {month for month, one in done.items() if one.state == "dropped"} == {"2024-02", "2024-03"}
    assert done["2024-02"].counts.dropped == 1
    after = oids(db, HISTORY)
    assert set(stood) - set(after) == {f"agent.inventory_history_y2024m0{month}" for month in (2, 3)}
    assert after == {name: oid for name, oid in stood.items() if name in after}
    make_months(db, HISTORY, date(2024, 2, 1), date(2024, 2, 2))
    write_history(db, rows[1:2])  # a month that is made again takes rows again
    assert len(there(db)) == 4


def test_every_month_and_what_was_done_to_it_is_in_the_audit(db: Connection) -> None:
    rows = [
        datetime(2024, 1, 3, tzinfo=UTC),
        datetime(2024, 1, 4, tzinfo=UTC),
        datetime(2024, 2, 4, tzinfo=UTC),
        ago(1),
    ]
    write_history(db, [Said(client(1), at, CHANGES[0] if at.day == 4 and at.month == 1 else SNAPSHOT) for at in rows])
    apply(db, HISTORY, now=NOW, run_id="a run")
    told = db.execute(
        "SELECT tenant_id, actor, event_action, event_result, details FROM audit.audit_logs"
        " WHERE event_type = 'retention.apply' ORDER BY id"
    ).fetchall()
    counts = {"table": HISTORY, "run": "a run", "late": 0}
    assert told == [
        (
            None,
            "retention",
            "cut",
            "success",
            {**counts, "month": "2024-01", "before": 2, "kept": 1, "thinned": 1, "dropped": 0},
        ),
        (
            None,
            "retention",
            "drop",
            "success",
            {**counts, "month": "2024-02", "before": 1, "kept": 0, "thinned": 0, "dropped": 1},
        ),
    ]


def test_the_audit_is_kept_for_180_days_and_what_is_of_security_for_ever(db: Connection) -> None:
    make_months(db, AUDIT, LONG_AGO, NOW.date())
    edge = datetime(2026, 11, 22, tzinfo=UTC) - timedelta(days=180)
    moments = [ago(1000), ago(400), edge - timedelta(microseconds=1), edge, ago(90), ago(1)]
    for tenant in (None, *TENANTS):
        with db.transaction():
            db.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant or "")])
            for at in moments:
                for kind in ("state.write", "security.login", "securitywork"):
                    if not (kind == "security.login" and at == ago(400)):
                        db.execute(
                            "INSERT INTO audit.audit_logs (created_at, tenant_id, actor, event_type, event_action,"
                            " event_result) VALUES (%s, %s, 'ann', %s, 'x', 'success')",
                            [at, tenant, kind],
                        )
    kept = "SELECT id, l::text FROM audit.audit_logs AS l WHERE event_type <> 'retention.apply' ORDER BY 1"
    wanted = db.execute(
        "SELECT id, l::text FROM audit.audit_logs AS l WHERE created_at >= %s OR event_type LIKE 'security.%%' ORDER BY 1",
        [edge],
    ).fetchall()
    like = partitions(db, AUDIT)

    done = apply(db, AUDIT, now=NOW)

    assert db.execute(kept).fetchall() == wanted
    assert {one.month: one.state for one in done if one.state != "untouched"} == {
        "2024-02": "cut",
        "2025-10": "dropped",
        "2026-05": "cut",
    }
    still = partitions(db, AUDIT)
    assert {name: said for name, said in still.items() if name in like} == {
        name: said for name, said in like.items() if name in still
    }
    assert not leftovers(db)


# --- a month that is exchanged ----------------------------------------------------------------------------------------


def test_rights_that_somebody_gave_on_a_month_are_given_on_its_copy(db: Connection) -> None:
    write_history(db, [Said(client(1), datetime(2024, 1, day, tzinfo=UTC)) for day in (3, 4, 5)])
    month = "agent.inventory_history_y2024m01"
    db.execute(f"GRANT SELECT ON {month} TO {SERVICE_ROLE} WITH GRANT OPTION; GRANT REFERENCES ON {month} TO PUBLIC")
    db.execute(f"ALTER TABLE {month} ENABLE ROW LEVEL SECURITY; CREATE INDEX by_name ON {month} (hostname)")
    like, stood = partitions(db, HISTORY), oids(db, HISTORY)
    apply(db, HISTORY, now=NOW)
    assert oids(db, HISTORY)[month] != stood[month]
    assert partitions(db, HISTORY) == like


def test_a_month_takes_its_place_without_being_read_under_the_lock(db: Connection) -> None:
    write_history(db, [Said(client(1), datetime(2024, 1, day, tzinfo=UTC)) for day in (3, 4, 5)])
    told: list[str] = []
    db.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    db.execute("SET client_min_messages = debug1")
    apply(db, HISTORY, now=NOW)
    implied = 'partition constraint for table "inventory_history_y2024m01_staying" is implied by existing constraints'
    assert implied in told
    under_the_lock = told[told.index(implied) + 1 :]
    assert not [line for line in under_the_lock if line.startswith(("building index", "verifying"))]


class _Blocked:
    """A run in a thread of its own that waits for a reader of the table, once it has copied a month."""

    def __init__(self, db: Connection, url: str, months_busy: str | None = None) -> None:
        self._url = url
        self.outcomes: list[object] = []
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with connect(self._url, application_name="thinning") as own:
            self.outcomes += apply(own, HISTORY, now=NOW, back_off_s=(0.05,) * 400)

    def __enter__(self) -> _Blocked:
        self.reader = psycopg.connect(self._url, autocommit=True)
        self.reader.execute("BEGIN; SELECT count(*) FROM agent.inventory_history")
        self.thread.start()
        with connect(self._url) as look:
            until(
                lambda: (
                    look.execute(
                        "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
                        " WHERE a.application_name = 'thinning' AND l.mode = 'AccessExclusiveLock' AND NOT l.granted"
                    ).fetchone()
                    != (0,)
                )
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()
        self.thread.join(60)
        assert not self.thread.is_alive()


def test_what_is_written_to_a_month_while_it_is_copied_is_there_afterwards(db: Connection, database_url: str) -> None:
    days = (3, 4, 5, 6, 7)
    write_history(db, [Said(client(1), datetime(2024, 1, day, tzinfo=UTC)) for day in days])
    write_history(db, [Said(client(1), ago(1))])
    write_history(db, [Said(client(3), datetime(2024, 1, 10, tzinfo=UTC)), Said(client(3), ago(1))])
    ids = [
        row
        for (row,) in db.execute(
            "SELECT id FROM agent.inventory_history ORDER BY client_id = %s, collected_at", [client(3)]
        ).fetchall()
    ]
    with _Blocked(db, database_url) as run, connect(database_url) as service:
        service.execute(f"SET ROLE {SERVICE_ROLE}")
        with as_tenant(service, TENANTS[0]):
            late = datetime(2024, 1, 2, tzinfo=UTC)
            service.execute(
                "INSERT INTO agent.inventory_history (tenant_id, client_id, change_type, change_summary, collected_at,"
                " collected_date, digest, raw_data) VALUES (%s, %s, '{periodic_snapshot}', 'late', %s, %s, '', '{}')",
                [TENANTS[0], client(2), late, late.date()],
            )
            # of a row that stays, of one that goes, and of one that moves to another month
            changed = "UPDATE agent.inventory_history SET change_summary = 'anew' WHERE id = ANY (%s)"
            service.execute(changed, [[ids[0], ids[1]]])
            service.execute(
                "UPDATE agent.inventory_history SET collected_at = '2024-02-02', change_summary = 'moved' WHERE id = %s",
                [ids[2]],
            )
            # and of one that stays in the copy, and is to be gone from it
            service.execute("UPDATE agent.inventory_history SET collected_at = '2024-02-03' WHERE id = %s", [ids[6]])
            service.execute(
                "UPDATE agent.inventory_history SET collected_at = '2024-01-02 05:00Z' WHERE id = %s", [ids[3]]
            )
    found = db.execute(
        "SELECT id, change_summary, collected_at::date, raw_data FROM agent.inventory_history"
    ).fetchall()
    told = {row[0]: row[1:3] for row in found}
    assert told.pop(ids[0]) == ("anew", date(2024, 1, 3))
    assert told.pop(ids[1]) == ("anew", date(2024, 1, 4))
    assert told.pop(ids[3])[1] == date(2024, 1, 2)
    assert told.pop(ids[5])[1] == told.pop(ids[7])[1] == ago(1).date()
    assert told.pop(ids[6])[1] == date(2024, 2, 3)
    assert ("late", date(2024, 1, 2)) in told.values()
    assert len(found) == len({row[0] for row in found}) <= 8, "each once"
    assert all(row[3] is not None for row in found), "what came is taken over as it is"
    assert [one for one in run.outcomes if one.late]  # type: ignore[attr-defined]
    assert not leftovers(db)
    # the next run makes of it what the ladder says
    wanted = ladder(history(db), NOW)
    apply(db, HISTORY, now=NOW)
    assert set(there(db)) == set(wanted)


def test_a_month_that_others_are_at_is_left_to_the_next_run_and_the_audit_says_so(
    db: Connection, database_url: str
) -> None:
    write_history(db, [Said(client(1), datetime(2024, 1, day, tzinfo=UTC)) for day in (3, 4, 5)])
    write_history(db, [Said(client(1), ago(1))])
    before = there(db)
    with connect(database_url) as reader, connect(database_url) as writer:
        with reader.transaction():
            reader.execute("SELECT count(*) FROM agent.inventory_history")
            done = {one.month: one for one in apply(db, HISTORY, now=NOW, back_off_s=AT_ONCE)}
            assert done["2024-01"].state == "left"
            assert done["2024-01"].counts.before == done["2024-01"].counts.kept == 3
            assert there(db) == before
        with writer.transaction():  # somebody who writes to that very month
            writer.execute("LOCK TABLE agent.inventory_history_y2024m01 IN ROW EXCLUSIVE MODE")
            done = {one.month: one for one in apply(db, HISTORY, now=NOW, back_off_s=AT_ONCE)}
            assert done["2024-01"].state == "left"
    told = db.execute(
        "SELECT event_action, event_result, details ->> 'why' FROM audit.audit_logs ORDER BY id"
    ).fetchall()
    assert [row[:2] for row in told] == [("left", "failed")] * 2
    assert "in use" in told[0][2]
    assert "writes to inventory_history_y2024m01" in told[1][2]
    assert apply(db, HISTORY, now=NOW)[4].state == "cut"
    assert not leftovers(db)


def test_a_month_that_was_to_go_stays_where_a_row_comes_to_it(db: Connection, database_url: str) -> None:
    write_history(db, [Said(client(1), datetime(2024, month, 3, tzinfo=UTC)) for month in (1, 2)])
    write_history(db, [Said(client(1), ago(1))])
    with _Blocked(db, database_url) as run, connect(database_url) as service:
        write_history(service, [Said(client(2), datetime(2024, 2, 20, tzinfo=UTC))])
        run.reader.close()
        run.thread.join(60)
    assert {one.month: one.state for one in run.outcomes}["2024-02"] == "left"  # type: ignore[attr-defined]
    assert len(there(db)) == 4
    apply(db, HISTORY, now=NOW)
    assert len(there(db)) == 3, "the next run keeps the row that came, and cuts the other"


def test_two_runs_at_once_are_one(db: Connection, database_url: str) -> None:
    from asset_ledger.domain.errors import SOURCE_BUSY, RetryableError

    write_history(db, [Said(client(1), datetime(2024, 1, day, tzinfo=UTC)) for day in (3, 4, 5)])
    with _Blocked(db, database_url):
        with pytest.raises(RetryableError) as refused:
            apply(db, HISTORY, now=NOW)
        assert refused.value.code == SOURCE_BUSY
        assert apply(db, AUDIT, now=NOW) is not None, "the other table is another's work"


# --- whose it is ----------------------------------------------------------------------------------------------------


def test_an_owner_who_is_no_superuser_thins_the_history_of_every_tenant() -> None:
    with plainly_owned() as (mine, _, superuser), connect(mine) as owner, connect(superuser) as all_seeing:
        make_tenants(owner)
        make_months(owner, HISTORY, LONG_AGO, NOW.date() + timedelta(days=31))
        make_months(owner, AUDIT, LONG_AGO, NOW.date())
        write_history(owner, three_years(clients=6))
        wanted, like = ladder(history(all_seeing), NOW), partitions(all_seeing, HISTORY)
        with as_tenant(owner, TENANTS[1]):
            owner.execute(
                "INSERT INTO audit.audit_logs (created_at, tenant_id, actor, event_type, event_action, event_result)"
                " VALUES (%s, %s, 'ann', 'state.write', 'x', 'success')",
                [ago(300), TENANTS[1]],
            )
        counts = totals(plan(owner, HISTORY, now=NOW))
        assert totals(apply(owner, HISTORY, now=NOW)) == counts
        assert set(there(all_seeing)) == set(wanted)
        assert partitions(all_seeing, HISTORY) == like
        assert owner.execute("SELECT count(*) FROM agent.inventory_history").fetchone() == (0,), "no tenant, no rows"
        assert totals(apply(owner, AUDIT, now=NOW))["months_dropped"] == 1
        assert not leftovers(all_seeing)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM audit.late_rows",
        "INSERT INTO audit.late_rows VALUES (1, now(), 1)",
        "SELECT * FROM agent.inventory_history_y2024m01",
        "SELECT audit.indexes_of('agent.inventory_history')",
        "SELECT audit.exchange_month('agent.inventory_history', 'collected_at', 'agent.inventory_history_y2024m01', NULL, '{}')",
        "CREATE TRIGGER t AFTER INSERT ON agent.inventory_history FOR EACH ROW EXECUTE FUNCTION audit.note_late_row('collected_at')",
        "DROP TABLE agent.inventory_history_y2024m01",
        "DELETE FROM agent.inventory_history",
    ],
)
def test_the_service_can_use_none_of_it(db: Connection, statement: str) -> None:
    write_history(db, [Said(client(1), datetime(2024, 1, day, tzinfo=UTC)) for day in (3, 4, 5)])
    apply(db, HISTORY, now=NOW)
    db.execute(f"SET ROLE {SERVICE_ROLE}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute(statement)


def test_the_service_sees_no_more_by_saying_that_it_is_retention(db: Connection) -> None:
    write_history(db, [Said(client(1), ago(1)), Said(client(2), ago(1), tenant=TENANTS[1])])
    with as_tenant(db, TENANTS[0]):
        db.execute(f"SET LOCAL ROLE {SERVICE_ROLE}")
        db.execute("SET LOCAL app.retention = 'on'")
        assert db.execute("SELECT client_id FROM agent.inventory_history").fetchall() == [(client(1),)]
