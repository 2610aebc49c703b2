"""Exports over HTTP: what a tenant gets and what it never does, and what becomes of slow, gone and many clients."""

from __future__ import annotations

import csv
import http.client
import io
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

import psycopg
import pyarrow.parquet as pq
import pytest
from python_calamine import CalamineWorkbook

from asset_ledger.api.export_places import ExportPlaces
from asset_ledger.api.service import Service
from asset_ledger.domain.exports import MARTS
from asset_ledger.pipeline.exports import opened
from asset_ledger.store.database import connect
from asset_ledger.store.pool import Pool
from asset_ledger.store.query.exports import Asked, snapshot
from asset_ledger.store.tenancy import as_tenant
from tests.api.site import Site
from tests.exports.mart import NAME, ROWS, make_large, make_mart

AT = "/api/v1/exports"
DAYS = (date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 3))
# name, whose, days on which it was read, and on which day its source said that it is gone or another
MACHINES = (
    ("acme-1", 1, DAYS, None),
    ("acme-2", 1, DAYS[:2], None),
    ("rival-1", 2, DAYS, None),
    ("nobody-1", 3, DAYS, None),
    ("sold", 1, DAYS[:1], "missing"),
    ("sold", 2, DAYS[1:], None),
    ("shared", 1, DAYS, None),
    ("shared", 2, DAYS, None),
    ("gone", 1, DAYS[:1], "missing"),
)


@pytest.fixture
def shop(site: Site) -> Iterator[Site]:
    """Two tenants and a source that is nobody's; a machine of each, one that both see, and one that went from one to the other."""
    site.token("ann", "reader")
    site.token("rob", "reader", "rival")
    with connect(site.database_url) as connection:
        connection.execute(
            "TRUNCATE ledger.sources, ledger.assets, ledger.asset_source_links, ledger.asset_daily_specs, ledger.decisions,"
            " ledger.normalized_assets, ledger.identity_resolutions, ledger.inventories RESTART IDENTITY CASCADE"
        )
        connection.execute(
            "DROP SCHEMA marts CASCADE; CREATE SCHEMA marts; GRANT USAGE ON SCHEMA marts TO asset_ledger_service"
        )
        for name in ("ours", "theirs", "nobodys"):
            connection.execute(
                "INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank)"
                " VALUES (%s, 'pve', 'pve', 'platform', 'default', 1, 1)",
                [name],
            )
        _days(connection)
        for number, (name, source, days, ended) in enumerate(MACHINES, 1):
            _machine(connection, number, name, source, days, ended)
        for tenant, source in (("acme", 1), ("rival", 2)):
            with as_tenant(connection, site.tenants[tenant]):
                connection.execute("INSERT INTO iac.tenant_sources VALUES (%s, %s)", [site.tenants[tenant], source])
    assert site.service is not None
    site.service.export_places = ExportPlaces(4, 2)
    yield site
    site.service.limits = type(site.service.limits)()


def _days(connection: Any) -> None:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS ledger.asset_daily_specs_y2026m11 PARTITION OF ledger.asset_daily_specs"
        " FOR VALUES FROM ('2026-11-01') TO ('2026-12-01')"
    )
    connection.execute(
        "INSERT INTO ledger.inventories (source_id, scope, collected_date, collected_at, mode, complete, absences, status,"
        " derived_at) SELECT s, 'all', d, d + interval '3 hours', 'collect', true, 'applied', 'derived', now()"
        " FROM generate_series(1, 3) AS s, generate_series(date '2026-11-01', '2026-11-03', interval '1 day') AS d"
    )


def _machine(connection: Any, number: int, name: str, source: int, days: tuple[date, ...], ended: str | None) -> None:
    p = {"n": number, "name": name, "source": source, "first": days[0], "last": days[-1], "missing": ended == "missing"}
    connection.execute(
        "INSERT INTO ledger.assets (id, zone, platform_type, asset_type, hostname, created_at, updated_at)"
        " VALUES (md5(%(name)s::text)::uuid, 'default', 'pve', 'vm', %(name)s, now(), now()) ON CONFLICT DO NOTHING",
        p,
    )
    connection.execute(
        "INSERT INTO ledger.normalized_assets (id, source_id, external_kind, external_id, digest, record_digest,"
        " parser_version, inventory_id, observation_id, locator, document) OVERRIDING SYSTEM VALUE VALUES (%(n)s, %(source)s,"
        " 'vm', %(name)s, %(name)s::text::bytea, '', 1, 1, 1, '', jsonb_build_object('identity', jsonb_build_object("
        "'hostname', %(name)s::text || ' of ' || %(source)s::text)))",
        p,
    )
    connection.execute(
        "INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, asset_id, normalized_id,"
        " record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at, missing_since)"
        " VALUES (%(n)s, %(source)s, 'vm', %(name)s, md5(%(name)s::text)::uuid, %(n)s, '',"
        " (SELECT i.id FROM ledger.inventories AS i WHERE i.source_id = %(source)s AND i.collected_date = %(last)s::date),"
        " %(first)s, %(first)s, %(first)s, %(last)s, %(last)s::date + interval '3 hours', CASE WHEN %(missing)s THEN now() END)",
        p,
    )
    for day in days:
        connection.execute(
            "INSERT INTO ledger.asset_daily_specs (collected_date, asset_id, source_id, link_id, normalized_id, inventory_id,"
            " first_at, collected_at, recorded_at, hostname, platform_type) SELECT %(day)s, md5(%(name)s::text)::uuid, %(source)s,"
            " %(n)s, %(n)s, i.id, i.collected_at, i.collected_at, now(), %(name)s::text || ' of ' || %(source)s::text, 'pve'"
            " FROM ledger.inventories AS i WHERE i.source_id = %(source)s AND i.collected_date = %(day)s",
            {**p, "day": day},
        )


def table(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline=""), strict=True))


def hosts(site: Site, day: str, token: str) -> list[str]:
    answer = site.ask("GET", f"{AT}/assets?as_of={day}", token=token)
    assert answer.status == 200, answer.body
    return [row["hostname"] for row in table(answer.body)]


def queries(site: Site) -> list[dict[str, Any]]:
    """Return what the service's connections are at."""
    return site.rows(
        "SELECT pid, state, query FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'asset_ledger api' AND state <> 'idle'"
    )


def waited_for(look: Any, within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not look():
        assert time.monotonic() < end
        time.sleep(0.02)


# --- what is given -------------------------------------------------------------------------------------------------


def test_a_mart_comes_in_every_format_with_a_name_and_a_record(shop: Site) -> None:
    make_mart(shop.database_url)
    ours = [row for row in ROWS if row[1] == 1]
    answers = {
        form: shop.ask("GET", f"{AT}/{NAME}?format={form}", token=shop.token("ann", "reader"))
        for form in ("csv", "parquet", "xlsx")
    }
    assert {answer.status for answer in answers.values()} == {200}
    assert [answers["csv"].headers[name] for name in ("content-disposition", "transfer-encoding", "cache-control")] == [
        'attachment; filename="daily_specs.csv"', "chunked", "private, no-store",
    ]  # fmt: skip
    assert answers["csv"].headers["content-type"].startswith("text/csv")
    real = pq.read_table(io.BytesIO(answers["parquet"].body)).to_pylist()
    assert [row["hostname"] for row in real] == [row["hostname"] or "" for row in table(answers["csv"].body)]
    assert [row["memory_bytes"] for row in real] == [row[6] for row in ours]
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(answers["xlsx"].body)).get_sheet_by_name(NAME).to_python()
    assert [row[3] for row in sheet[1:]] == [row["hostname"] for row in real]
    told = shop.rows("SELECT event_result, details FROM audit.audit_logs WHERE event_type = 'export.read' ORDER BY id")
    assert [each["details"] for each in told[:2]] == [
        {"name": NAME, "format": "csv", "status": 200}, {"name": NAME, "format": "csv", "rows": len(ours), "whole": True},
    ]  # fmt: skip
    assert {each["event_result"] for each in told} == {"success"}
    assert len(told) == 6


def test_days_are_chosen_and_a_csv_may_be_for_excel(shop: Site) -> None:
    make_mart(shop.database_url)
    answer = shop.ask("GET", f"{AT}/{NAME}?since=2026-11-02&until=2026-11-02&excel=true")
    assert answer.body.startswith(b"\xef\xbb\xbf")
    assert [row["mgmt_ip"] for row in table(answer.body[3:])] == ["10.0.0.0/24"]
    assert 'filename="daily_specs_2026-11-02_2026-11-02.csv"' in answer.headers["content-disposition"]


def test_the_list_says_what_there_is_for_the_tenant(shop: Site) -> None:
    make_mart(shop.database_url, rows=[row for row in ROWS if row[1] == 1 or row[0] == DAYS[0]])
    for user, role, tenant, last in (("ann", "reader", "acme", "2026-11-03"), ("rob", "reader", "rival", "2026-11-01")):
        found = {each["name"]: each for each in shop.ask("GET", AT, token=shop.token(user, role, tenant)).json}  # type: ignore[arg-type]
        assert set(found) == {"assets", *MARTS}
        assert (found[NAME]["built"], found[NAME]["last_day"]) == (True, last)
        assert not found["current_assets"]["built"]
        # a command line's word would be none of theirs
        assert "--" not in found["assets"]["description"]


def test_a_tenant_without_a_source_is_told_why_there_is_nothing(shop: Site) -> None:
    make_mart(shop.database_url)
    hint = "x-asset-ledger-hint"
    newcomer = shop.token("new", "reader", "newcomer")
    for path in (NAME, "assets"):
        answer = shop.ask("GET", f"{AT}/{path}", token=newcomer)
        assert (answer.status, table(answer.body)) == (200, [])
        assert "no source is mapped to this tenant" in answer.headers[hint]
        assert "iac.yaml, then `asset-ledger findings check`" in answer.headers[hint]
        assert hint not in shop.ask("GET", f"{AT}/{path}", token=shop.token("ann", "reader")).headers


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("current_assets", 409, "EXPORT_NOT_BUILT"),
        ("nothing", 404, "EXPORT_UNKNOWN"),
        ("pg_class", 404, "EXPORT_UNKNOWN"),
        ("api_tokens", 404, "EXPORT_UNKNOWN"),
        (f"{NAME}?as_of=2026-11-01", 404, "EXPORT_UNKNOWN"),
        (f"{NAME}?format=exe", 422, "REQUEST_INVALID"),
        (f"{NAME}?since=2026-13-01", 422, "REQUEST_INVALID"),
        (f"{NAME}?since=2026-11-03&until=2026-11-01", 409, "NO_SUCH_DAYS"),
        ("assets?as_of=2999-01-01", 404, "NO_SUCH_DAY"),
        ("Daily%20Specs", 422, "REQUEST_INVALID"),
        ("%22marts%22.daily_specs", 422, "REQUEST_INVALID"),
    ],
)
def test_what_cannot_be_had_is_refused_in_words(shop: Site, path: str, status: int, code: str) -> None:
    make_mart(shop.database_url)
    answer = shop.ask("GET", f"{AT}/{path}")
    assert (answer.status, answer.json["code"]) == (status, code)


def test_a_workbook_that_cannot_be_is_refused_before_its_first_byte(shop: Site) -> None:
    make_mart(shop.database_url, rows=[(*ROWS[0][:3], "x" * 40_000, *ROWS[0][4:])])
    answer = shop.ask("GET", f"{AT}/{NAME}?format=xlsx")
    assert (answer.status, answer.json["code"]) == (422, "EXPORT_CELL_TOO_LONG")
    assert "csv or parquet" in answer.json["message"]
    assert shop.ask("GET", f"{AT}/{NAME}?format=parquet").status == 200


# --- whose it is ---------------------------------------------------------------------------------------------------


def test_a_past_day_is_told_in_the_words_of_the_tenants_own_sources(shop: Site) -> None:
    ann, rob = shop.token("ann", "reader"), shop.token("rob", "reader", "rival")
    # what went to another tenant is told of no more, on no day; what is only gone still is
    assert hosts(shop, "2026-11-01", ann) == ["acme-1 of 1", "acme-2 of 1", "gone of 1", "shared of 1"]
    assert hosts(shop, "2026-11-03", ann) == ["acme-1 of 1", "acme-2 of 1", "gone of 1", "shared of 1"]
    assert hosts(shop, "2026-11-01", rob) == ["rival-1 of 2", "shared of 2"]
    assert hosts(shop, "2026-11-03", rob) == ["rival-1 of 2", "shared of 2", "sold of 2"]
    rows = table(shop.ask("GET", f"{AT}/assets?as_of=2026-11-03", token=ann).body)
    assert [row["missing_since"] for row in rows] == ["", "2026-11-03T03:00:00Z", "2026-11-02T03:00:00Z", ""]
    assert {row["sources"] for row in rows} == {'["ours"]'}
    third = shop.token("eve", "reader", "third")
    assert hosts(shop, "2026-11-03", third) == []


def test_decisions_of_people_are_the_installations_but_a_retired_machine_is_retired(shop: Site) -> None:
    with connect(shop.database_url) as connection:
        for kind, field, value in (("override", "hostname", '"secret name"'), ("retired", None, "true")):
            connection.execute(
                "INSERT INTO ledger.decisions (kind, asset_id, field, value, actor, decided_at)"
                " VALUES (%s, md5(%s)::uuid, %s, %s, 'boss', '2026-11-01')",
                [kind, "acme-1" if field else "acme-2", field, value],
            )
    body = shop.ask("GET", f"{AT}/assets?as_of=2026-11-03", token=shop.token("ann", "reader")).body
    assert b"secret" not in body
    assert b"boss" not in body
    assert [row["hostname"] for row in table(body)] == ["acme-1 of 1", "gone of 1", "shared of 1"]


def test_nobody_without_a_login_gets_anything(shop: Site) -> None:
    make_mart(shop.database_url)
    for path in (AT, f"{AT}/assets", f"{AT}/{NAME}"):
        assert shop.ask("GET", path, token="").status == 401
        assert shop.ask("GET", path, headers={"Authorization": "Bearer wrong"}).status == 401


@pytest.mark.parametrize("form", ["csv", "parquet", "xlsx"])
def test_another_tenant_gets_no_row_of_a_mart(shop: Site, form: str) -> None:
    make_mart(shop.database_url, rows=[row for row in ROWS if row[1] == 1])
    answer = shop.ask("GET", f"{AT}/{NAME}?format={form}", token=shop.token("rob", "reader", "rival"))
    assert answer.status == 200
    assert b"web-01" not in answer.body
    if form == "csv":
        assert len(table(answer.body)) == 0
    if form == "parquet":
        assert pq.read_table(io.BytesIO(answer.body)).num_rows == 0


def test_a_mart_that_nothing_keeps_apart_is_not_shown_to_tenants(shop: Site) -> None:
    make_mart(shop.database_url, "current_assets", apart=False)
    answer = shop.ask("GET", f"{AT}/current_assets")
    assert (answer.status, answer.json["code"]) == (409, "EXPORT_NOT_BUILT")
    with connect(shop.database_url) as connection, opened(connection, Asked("current_assets")) as reading:
        assert sum(map(len, reading.batches)) == len(ROWS), "who owns the ledger may"


VIEWS = ("sources", "asset_source_links", "asset_past_words", "asset_daily_specs", "normalized_assets", "identity_resolutions",
         "inventories", "assets", "decisions")  # fmt: skip


def test_the_services_role_sees_of_the_ledger_what_the_tenant_may_and_without_one_nothing(shop: Site) -> None:
    pool = Pool(shop.database_url, most=1, wait_s=5)
    pool.start()
    with pool.connection() as connection:
        for view in VIEWS:
            assert connection.execute(f"SELECT count(*) FROM tenant_ledger.{view}").fetchone() == (0,), view  # type: ignore[arg-type]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT FROM ledger.{view}")  # type: ignore[arg-type]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"DELETE FROM tenant_ledger.{view}")  # type: ignore[arg-type]
        with snapshot(connection, shop.tenants["acme"]):
            for view in ("asset_source_links", "asset_daily_specs", "normalized_assets", "inventories"):
                seen = connection.execute(f"SELECT DISTINCT source_id FROM tenant_ledger.{view}").fetchall()  # type: ignore[arg-type]
                assert seen == [(1,)], view
            # a condition of the caller's own is asked of what is shown alone, not of what is hidden
            assert connection.execute(
                "SELECT count(*) FROM tenant_ledger.normalized_assets WHERE 1 / (CASE WHEN hostname LIKE 'rival%' THEN 0 ELSE 1 END) = 1"
            ).fetchone() == (5,)
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), connection.transaction():
                connection.execute("CREATE TEMP TABLE x ()")
        # nothing of it stays on the connection for the next caller
        assert (connection.isolation_level, connection.read_only) == (None, None)
        assert connection.execute("SELECT current_setting('app.tenant', true), current_setting('statement_timeout')").fetchone() in (("", "0"), (None, "0"))  # fmt: skip
        assert connection.cursor_factory is psycopg.Cursor
    pool.stop()


# --- slow, gone and many -------------------------------------------------------------------------------------------


def begun(site: Site, path: str, token: str) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
    """Ask, and take nothing of the answer but its head."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    connection.connect()
    # little is taken in by a client that reads nothing
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    return connection.getresponse(), connection


def test_a_client_that_goes_away_ends_what_the_database_does_for_it(shop: Site) -> None:
    make_large(shop.database_url, 60_000)
    ann = shop.token("ann", "reader")
    answer, connection = begun(shop, f"{AT}/{NAME}", ann)
    assert answer.status == 200
    waited_for(lambda: queries(shop))
    connection.sock.close()
    answer.close()
    waited_for(lambda: not queries(shop))
    waited_for(
        lambda: shop.rows("SELECT 1 FROM audit.audit_logs WHERE event_type = 'export.read' AND event_result = 'failed'")
    )
    (told,) = shop.rows("SELECT details FROM audit.audit_logs WHERE event_result = 'failed'")
    assert told["details"]["whole"] is False
    assert 0 < told["details"]["rows"] < 60_000
    assert shop.ask("GET", f"{AT}/{NAME}?since=2026-11-05", token=ann).status == 200


def test_a_client_that_goes_away_before_the_first_row_ends_the_query_that_runs(shop: Site) -> None:
    make_mart(shop.database_url, rows=ROWS[:1])
    with connect(shop.database_url) as connection:
        connection.execute(f"CREATE POLICY slow ON marts.{NAME} AS RESTRICTIVE USING (pg_sleep(60) IS NOT NULL)")  # type: ignore[arg-type]
    asking = http.client.HTTPConnection("127.0.0.1", shop.port, timeout=60)
    asking.request("GET", f"{AT}/{NAME}", headers={"Authorization": f"Bearer {shop.token('ann', 'reader')}"})
    waited_for(lambda: [each for each in queries(shop) if "FETCH" in each["query"] and each["state"] == "active"])
    asking.close()
    waited_for(lambda: not queries(shop), 10)


def test_a_client_that_takes_nothing_is_cut_off_and_its_place_is_free(shop: Site) -> None:
    make_large(shop.database_url, 60_000)
    assert shop.service is not None
    shop.service.limits = replace(shop.service.limits, export_stall_s=0.5)
    ann = shop.token("ann", "reader")
    answer, connection = begun(shop, f"{AT}/{NAME}", ann)
    waited_for(lambda: queries(shop))
    waited_for(lambda: not queries(shop))
    # what it has is not taken for the whole
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    connection.close()
    waited_for(lambda: shop.ask("GET", f"{AT}/{NAME}?since=2026-11-05", token=ann).status == 200)


def test_an_export_that_takes_too_long_is_ended_and_said_to_be(shop: Site) -> None:
    make_mart(shop.database_url, rows=ROWS[:1])
    with connect(shop.database_url) as connection:
        connection.execute(f"CREATE POLICY slow ON marts.{NAME} AS RESTRICTIVE USING (pg_sleep(60) IS NOT NULL)")  # type: ignore[arg-type]
    assert shop.service is not None
    shop.service.limits = replace(shop.service.limits, export_s=1)
    answer = shop.ask("GET", f"{AT}/{NAME}", token=shop.token("ann", "reader"))
    assert (answer.status, answer.json["code"]) == (503, "EXPORT_TOO_SLOW")
    assert answer.headers["retry-after"]
    assert not queries(shop)


def test_so_many_run_at_once_and_no_more(shop: Site) -> None:
    make_large(shop.database_url, 60_000)
    assert shop.service is not None
    shop.service.export_places = ExportPlaces(3, 2)
    ann, rob = shop.token("ann", "reader"), shop.token("rob", "reader", "rival")
    held = [begun(shop, f"{AT}/{NAME}", ann) for _ in range(2)]
    third = shop.ask("GET", f"{AT}/{NAME}", token=ann)
    assert (third.status, third.json["code"], third.headers["retry-after"]) == (429, "EXPORTS_AT_ONCE", "10")
    assert shop.ask("GET", f"{AT}/{NAME}", token=rob).status == 200, "others have places of their own"
    places = shop.service.export_places
    waited_for(lambda: places.take(UUID(int=1)) is None)
    full = shop.ask("GET", f"{AT}/{NAME}", token=rob)
    assert (full.status, full.json["code"], full.headers["retry-after"]) == (503, "EXPORTS_AT_ONCE", "10")
    shop.service.export_places.leave(UUID(int=1))
    for answer, connection in held:
        answer.close()
        connection.close()
    waited_for(lambda: shop.ask("GET", f"{AT}/{NAME}?since=2026-11-05", token=ann).status == 200)


def test_openapi_says_what_the_files_are(shop: Site) -> None:
    found = json.loads(shop.ask("GET", "/openapi.json").body)["paths"][f"{AT}/{{name}}"]["get"]
    assert set(found["responses"]["200"]["content"]) == {
        "text/csv", "application/vnd.apache.parquet", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    }  # fmt: skip
    assert {each["name"] for each in found["parameters"]} == {"name", "format", "as_of", "since", "until", "excel"}


def test_a_service_has_its_limits_from_the_environment() -> None:
    from asset_ledger.api.serving import limits

    assert limits({"ASSET_LEDGER_API_EXPORTS": "7"}).exports == 7
    assert Service("postgresql://nobody@127.0.0.1:1/none", None, limits({})).export_places.most == 4  # type: ignore[arg-type]
