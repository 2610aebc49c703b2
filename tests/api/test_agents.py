"""Agents over HTTP: enrolled once, known by a token of their own, and every report taken or refused with a reason."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from asset_ledger.api import agents
from asset_ledger.store.database import connect
from asset_ledger.store.pool import Pool
from asset_ledger.store.tenancy import as_tenant, knowing
from tests.agents.payloads import GIB, camel, payload
from tests.api.agent_site import MACHINE, enrolled, enrolling, packed, report
from tests.api.site import Site, serving
from tests.patience import until

REPORT = "/api/v1/agents/report"
TABLES = (
    "agent.clients",
    "agent.client_tokens",
    "agent.inventory_latest",
    "agent.inventory_history",
    "agent.reports",
)


# === Enrolment and tokens ===


def test_a_machine_is_enrolled_with_a_users_token_and_its_own_is_kept_as_a_hash(site: Site) -> None:
    machine = enrolled(site, hostname="web-01", machine_key=MACHINE, os="linux", agent_version="1.0.0")
    assert machine.token.startswith("ac_")
    assert len(machine.token) == 46
    (row,) = site.rows("SELECT * FROM agent.clients")
    assert (str(row["id"]), row["hostname"], row["status"], str(row["ip_address"])) == (
        machine.id,
        "web-01",
        "offline",
        "127.0.0.1",
    )
    dumped = json.dumps([site.rows(f"SELECT * FROM {table}") for table in (*TABLES, "audit.audit_logs")], default=str)
    assert machine.token not in dumped
    assert machine.token[len("ac_") + 6 :] not in dumped
    (told,) = site.rows("SELECT * FROM audit.audit_logs WHERE event_type = 'client.register'")
    assert (told["actor"], str(told["client_id"]), told["details"]["again"]) == ("acme/wim", machine.id, False)


def test_the_same_machine_enrolled_again_is_the_same_client_and_its_old_token_ends(site: Site) -> None:
    first = enrolled(site, hostname="web-01", machine_key=MACHINE)
    assert first.report().status == 200
    again = enrolled(site, hostname="web-02", machine_key=MACHINE)
    assert (again.id, again.token != first.token) == (first.id, True)
    until(lambda: first.report().status == 401)
    assert again.report(hostname="web-02").json["result"] == "changed"
    assert len(site.rows("SELECT id FROM agent.clients")) == 1
    assert len(site.rows("SELECT id FROM agent.inventory_history")) == 2
    assert enrolled(site, hostname="web-01", machine_key="b" * 64).id != first.id
    assert enrolled(site, hostname="web-01").id != enrolled(site, hostname="web-01").id, "nothing says it is the same"


def test_many_that_enrol_one_machine_at_once_make_one_client_with_one_token_that_holds(site: Site) -> None:
    token = site.token("wim", "writer")
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: enrolled(site, token=token, machine_key=MACHINE), range(6)))
    assert len({one.id for one in made}) == 1
    (held,) = site.rows("SELECT count(*) AS n FROM agent.client_tokens WHERE revoked_at IS NULL")
    assert held["n"] == 1


def test_who_may_only_read_enrols_nothing_and_nobody_neither(site: Site) -> None:
    reader = site.token("rita", "reader")
    assert enrolling(site, token=reader).status == 403
    assert enrolling(site, token="").status == 401
    machine = enrolled(site)
    assert enrolling(site, token=machine.token).status == 401
    assert len(site.rows("SELECT id FROM agent.clients")) == 1
    assert [who for who, what, result, _ in site.audited() if what == "client.register" and result == "refused"] == [
        "acme/rita"
    ]


@pytest.mark.parametrize(
    "told", [{"hostname": ""}, {"hostname": "a\nb"}, {"machine_key": "4c4c4544"}, {"hostname": "x" * 256}, {"os": 1}]
)
def test_what_no_machine_says_of_itself_is_refused(site: Site, told: dict[str, Any]) -> None:
    answer = enrolling(site, **told)
    assert (answer.status, answer.json["code"]) == (422, "REQUEST_INVALID")


def test_a_client_replaces_its_token_and_the_old_one_holds_for_an_hour(site: Site) -> None:
    machine = enrolled(site)
    answer = site.ask("POST", "/api/v1/agents/token", token=machine.token)
    assert answer.status == 201
    newer = answer.json["token"]
    assert newer != machine.token
    assert site.ask("POST", REPORT, report(), token=newer).status == 200
    assert machine.report().status == 200
    (old,) = site.rows("SELECT expires_at - now() AS holds FROM agent.client_tokens WHERE expires_at IS NOT NULL")
    assert timedelta(minutes=59) < old["holds"] <= timedelta(hours=1)
    with connect(site.database_url) as connection:
        connection.execute("UPDATE agent.client_tokens SET expires_at = now() WHERE expires_at IS NOT NULL")
    until(lambda: machine.report().status == 401)
    assert site.ask("POST", "/api/v1/agents/token", token=machine.token).status == 401
    assert site.ask("POST", REPORT, report(), token=newer).status == 200


def test_a_third_token_ends_the_first_at_once(site: Site) -> None:
    machine = enrolled(site)
    second = site.ask("POST", "/api/v1/agents/token", token=machine.token).json["token"]
    third = site.ask("POST", "/api/v1/agents/token", token=second).json["token"]
    until(lambda: machine.report().status == 401)
    assert [site.ask("POST", REPORT, report(), token=each).status for each in (second, third)] == [200, 200]


def test_no_other_token_reports_and_a_clients_does_nothing_else(site: Site) -> None:
    machine = enrolled(site)
    for token in (site.token(), "", "ac_" + "x" * 43, "al_" + "x" * 43):
        assert site.ask("POST", REPORT, report(), token=token).status == 401
        assert site.ask("POST", "/api/v1/agents/token", token=token).status == 401
    for method, path in [
        ("GET", "/api/v1/me"), ("GET", "/api/v1/clients"), ("GET", f"/api/v1/clients/{machine.id}"),
        ("GET", f"/api/v1/clients/{machine.id}/history"), ("POST", f"/api/v1/clients/{machine.id}/retire"),
        ("GET", "/api/v1/states"), ("GET", "/terraform/state/a/b"), ("GET", "/api/v1/audit"),
    ]:  # fmt: skip
        assert site.ask(method, path, token=machine.token).status == 401, path
    assert site.rows("SELECT id FROM agent.reports") == []


# === Reports ===


def test_a_report_is_answered_with_what_became_of_it(site: Site) -> None:
    machine, now = enrolled(site), datetime.now(UTC)
    first = machine.report(collected_at=now)
    assert (first.status, first.json["result"], first.json["changes"]) == (200, "changed", ["periodic_snapshot"])
    assert machine.report(collected_at=now).json["result"] == "duplicate"
    assert machine.report(collected_at=now + timedelta(seconds=1), uptime=3).json["result"] == "unchanged"
    changed = machine.report(collected_at=now + timedelta(seconds=2), memory_total=32 * GIB, agent_version="1.3.0").json
    assert (changed["result"], changed["changes"]) == ("changed", ["hardware_change"])
    assert "memory" in changed["summary"]
    late = machine.report(collected_at=now - timedelta(seconds=5), kernel_version="6.1.0", spooled=True).json
    assert late["result"] == "late"
    ahead = machine.report(collected_at=now + timedelta(days=1)).json
    assert ahead["notes"] == ["collected_at is 23 h ahead: taken as now"] or "24 h" in ahead["notes"][0]
    (row,) = site.rows("SELECT agent_version, hostname FROM agent.clients")
    assert row == {"agent_version": "1.3.0", "hostname": "web-01"}


def test_every_change_is_recorded_and_an_unchanged_report_is_not(site: Site) -> None:
    machine, now = enrolled(site), datetime.now(UTC)
    machine.report(collected_at=now)
    machine.report(collected_at=now)
    machine.report(collected_at=now + timedelta(seconds=1))
    machine.report(collected_at=now + timedelta(seconds=2), cores=8)
    told = site.rows("SELECT * FROM audit.audit_logs WHERE event_type = 'inventory.update' ORDER BY id")
    assert [each["details"]["changes"] for each in told] == [["periodic_snapshot"], ["hardware_change"]]
    assert {(str(each["client_id"]), each["actor"]) for each in told} == {(machine.id, f"acme/client {machine.id}")}


def test_a_newer_agent_on_an_unchanged_machine_is_known(site: Site) -> None:
    machine, now = enrolled(site), datetime.now(UTC)
    machine.report(collected_at=now, agent_version="1.0.0")
    for n in (1, 2):
        answer = machine.report(collected_at=now + timedelta(seconds=n), agent_version="1.1.0")
        assert answer.json["result"] == "unchanged"
    assert site.rows("SELECT agent_version FROM agent.clients") == [{"agent_version": "1.1.0"}]


@pytest.mark.parametrize("spelled", [lambda told: told, camel], ids=["seed", "gopsutil"])
def test_both_spellings_are_one_report(site: Site, spelled: Any) -> None:
    machine = enrolled(site)
    machine.report(raw=json.dumps(spelled(payload())).encode())
    (row,) = site.rows("SELECT platform_version, mac_addresses FROM agent.inventory_latest")
    assert row == {"platform_version": "22.04", "mac_addresses": ["52:54:00:12:34:56"]}


def test_a_packed_report_is_the_report_it_was_before(site: Site) -> None:
    machine, body = enrolled(site), report(collected_at=datetime.now(UTC))
    sent, headers = packed(body)
    assert machine.report(raw=sent, headers=headers).json["result"] == "changed"
    assert machine.report(raw=body).json["result"] == "duplicate"
    (row,) = site.rows("SELECT payload FROM agent.reports")
    assert bytes(row["payload"]) == body


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "named"),
    [
        (b"", {}, 400, "REPORT_UNREADABLE", "no JSON"),
        (b"{", {}, 400, "REPORT_UNREADABLE", "no JSON"),
        (b"[]", {}, 400, "REPORT_UNREADABLE", "a list"),
        (b"[" * 100_000, {}, 400, "REPORT_UNREADABLE", "deep"),
        (b'{"host": NaN}', {}, 400, "REPORT_UNREADABLE", "NaN"),
        (b"{}", {}, 422, "REPORT_INVALID", "host"),
        (b'{"host": {"hostname": 7}}', {}, 422, "REPORT_INVALID", "host.hostname"),
        (b'{"host": {}, "disks": [{"total": -1}]}', {}, 422, "REPORT_INVALID", "disks[0].total"),
        (b'{"host": {}, "collected_at": "yesterday"}', {}, 422, "REPORT_INVALID", "collected_at"),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400, "BODY_DAMAGED", "gzip"),
        (b"x", {"Content-Encoding": "br"}, 415, "CODING_UNKNOWN", "gzip"),
        (b" " * (1 << 20) + b"{}", {}, 413, "BODY_TOO_LARGE", "1048576"),
        (gzip.compress(b" " * (20 << 20), 9), {"Content-Encoding": "gzip"}, 413, "BODY_TOO_LARGE", "1048576"),
    ],
    ids=lambda given: str(given)[:20] if isinstance(given, str | int) else "-",
)
def test_what_is_no_report_is_refused_with_a_reason_and_keeps_nothing(
    site: Site, body: bytes, headers: dict[str, str], status: int, code: str, named: str
) -> None:
    machine = enrolled(site)
    answer = machine.report(raw=body, headers=headers)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert named in answer.json["message"]
    assert site.rows("SELECT id FROM agent.reports") == []
    assert site.audited()[-1][:3] == (f"acme/client {machine.id}", "inventory.update", "refused")


def test_a_report_of_years_ago_is_refused(site: Site) -> None:
    answer = enrolled(site).report(collected_at=datetime.now(UTC) - timedelta(days=900), spooled=True)
    assert (answer.status, answer.json["code"]) == (422, "REPORT_TOO_OLD")


def test_other_verbs_are_refused(site: Site) -> None:
    assert site.ask("GET", REPORT, token=enrolled(site).token).status == 405


def test_raw_is_kept_where_deriving_fails(site: Site) -> None:
    machine, now = enrolled(site), datetime.now(UTC)
    machine.report(collected_at=now)
    with connect(site.database_url) as connection:  # what an earlier version kept and this one cannot read
        connection.execute("UPDATE agent.inventory_latest SET raw_data = %s", [Jsonb({"host": {"hostname": 7}})])
    body = report(collected_at=now + timedelta(seconds=1), cores=8)
    answer = machine.report(raw=body)
    assert (answer.status, answer.json["result"]) == (202, "kept")
    assert machine.report(raw=body).status == 202
    kept = site.rows("SELECT payload, underived FROM agent.reports WHERE underived IS NOT NULL")
    assert [(bytes(each["payload"]), each["underived"]) for each in kept] == [(body, "PayloadError")]
    assert len(site.rows("SELECT id FROM agent.inventory_history")) == 1
    assert site.audited()[-1][1:3] == ("inventory.update", "failed")


def test_too_many_at_once_are_told_to_come_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "MOST_WAITING", 1)
    machine, other = enrolled(site), enrolled(site)
    assert machine.report().status == 200
    with connect(site.database_url) as connection, connection.transaction():
        connection.execute("LOCK TABLE agent.inventory_latest IN EXCLUSIVE MODE")
        waits = threading.Thread(target=lambda: machine.report(uptime=7))
        waits.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'agent.inventory_latest'::regclass AND NOT granted"
        until(lambda: connection.execute(waiting).fetchone() == (1,))
        answer = other.report()
    waits.join(30)
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (429, "BUSY", "5")
    assert other.report().status == 200


def test_a_client_that_sends_slowly_holds_up_nobody_but_itself(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "MOST_WAITING", 1)
    slow, other = enrolled(site), enrolled(site)
    head = f"POST {REPORT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {slow.token}\r\nContent-Length: 1000\r\n\r\n{{"
    with ExitStack() as sockets:
        for _ in range(agents.MOST_OF_ONE):
            each = sockets.enter_context(socket.create_connection(("127.0.0.1", site.port)))
            each.sendall(head.encode())
        until(lambda: slow.report().status == 429)
        assert other.report().status == 200
    until(lambda: slow.report().status == 200)
    refused = "SELECT FROM audit.audit_logs WHERE event_type = 'inventory.update' AND event_result = 'refused'"
    assert not site.rows(refused + " AND (details ->> 'status')::int = 429")


def test_two_services_that_take_reports_of_one_client_at_once_lose_none(site: Site) -> None:
    machine, now = enrolled(site), datetime.now(UTC) - timedelta(minutes=5)
    with serving(site.database_url) as second:
        ports = (site.port, second.port)

        def send(n: int) -> int:
            body = report(collected_at=now + timedelta(seconds=n), cores=1 + n % 3)
            return site.ask("POST", REPORT, body, token=machine.token, port=ports[n % 2]).status

        with ThreadPoolExecutor(6) as threads:
            assert set(threads.map(send, [*range(12), *range(12)])) == {200}
    told = site.rows("SELECT collected_at, change_type, cpu_count FROM agent.inventory_history ORDER BY collected_at")
    assert [(each["collected_at"], each["cpu_count"]) for each in told] == [
        (now + timedelta(seconds=n), 1 + n % 3) for n in range(12)
    ]
    assert [each["change_type"] for each in told] == [["periodic_snapshot"]] + [["hardware_change"]] * 11


# === Tenants ===


@pytest.fixture
def two(site: Site) -> Site:
    """Two tenants; of the first there is a row in every table."""
    enrolled(site, hostname="web-01", machine_key=MACHINE).report()
    site.token("rob", tenant="rival")
    return site


@pytest.fixture
def service(two: Site) -> Iterator[psycopg.Connection[Any]]:
    pool = Pool(two.database_url, most=1, wait_s=5)
    pool.start()
    with pool.connection() as connection:
        yield connection
    pool.stop()


def test_a_machine_of_one_tenant_is_another_in_another(two: Site) -> None:
    rival = enrolled(two, token=two.token("rob", tenant="rival"), hostname="web-01", machine_key=MACHINE)
    rival.report(hostname="of-rival")
    assert len(two.rows("SELECT DISTINCT tenant_id FROM agent.clients")) == 2
    assert {row["hostname"] for row in two.rows("SELECT hostname FROM agent.inventory_latest")} == {
        "web-01",
        "of-rival",
    }


def test_a_tenant_that_is_kept_out_has_no_clients_that_report(two: Site) -> None:
    machine = enrolled(two)
    assert machine.report().status == 200
    with connect(two.database_url) as connection:
        connection.execute("UPDATE agent.tenants SET is_active = false WHERE name = 'acme'")
    until(lambda: machine.report().status == 401)


def test_the_service_sees_and_changes_no_row_of_another_tenant_nor_any_without_one(
    two: Site, service: psycopg.Connection[Any]
) -> None:
    for table in TABLES:
        assert two.rows(f"SELECT count(*) FROM {table}")[0]["count"] > 0, table
        assert service.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    with as_tenant(service, two.tenants["rival"]):
        for table in TABLES:
            assert service.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        assert service.execute("UPDATE agent.clients SET hostname = 'x'").rowcount == 0
        assert service.execute("UPDATE agent.client_tokens SET revoked_at = now()").rowcount == 0
        assert service.execute("UPDATE agent.inventory_latest SET hostname = 'x'").rowcount == 0
        assert service.execute("UPDATE agent.inventory_history SET hostname = 'x'").rowcount == 0


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO agent.clients (tenant_id, enrolled_by) VALUES (%(acme)s, 'x')",
        "INSERT INTO agent.client_tokens (tenant_id, client_id, token_hash, shown, created_by) VALUES (%(acme)s, %(client)s, 'x', 'x', 'x')",
        "INSERT INTO agent.reports (tenant_id, client_id, received_at, collected_at, collected_date, payload, payload_sha256) VALUES (%(acme)s, %(client)s, now(), now(), current_date, '', '')",
        "UPDATE agent.clients SET tenant_id = %(acme)s",
        "DELETE FROM agent.clients",
        "DELETE FROM agent.reports",
        "DELETE FROM agent.inventory_history",
        "UPDATE agent.reports SET payload = ''",
        "UPDATE agent.client_tokens SET token_hash = ''",
        "UPDATE agent.clients SET machine_key = NULL",
    ],
)
def test_what_the_service_need_not_do_with_agents_it_may_not(
    two: Site, service: psycopg.Connection[Any], statement: str
) -> None:
    (client,) = two.rows("SELECT id FROM agent.clients")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), as_tenant(service, two.tenants["rival"]):
        service.execute(statement, {"acme": two.tenants["acme"], "client": client["id"]})


def test_before_a_tenant_is_known_a_token_shows_its_own_row_alone(two: Site, service: psycopg.Connection[Any]) -> None:
    enrolled(two, token=two.token("rob", tenant="rival"))
    (mine,) = two.rows("SELECT token_hash FROM agent.client_tokens WHERE tenant_id = %s", [two.tenants["acme"]])
    with knowing(service, token_hash=mine["token_hash"].hex()):
        assert service.execute("SELECT tenant_id FROM agent.client_tokens").fetchall() == [(two.tenants["acme"],)]
        assert service.execute("SELECT count(*) FROM agent.clients").fetchone() == (0,)


def test_months_of_history_are_no_way_around(two: Site, service: psycopg.Connection[Any]) -> None:
    parts = two.rows("SELECT inhrelid::regclass::text AS part FROM pg_inherits WHERE inhparent = 'agent.inventory_history'::regclass")  # fmt: skip
    assert parts
    for part in parts:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
            service.execute(f"SELECT * FROM {part['part']}")


def test_what_waits_is_counted_over_all_tenants_and_names_none(two: Site, service: psycopg.Connection[Any]) -> None:
    enrolled(two, token=two.token("rob", tenant="rival")).report()
    with service.transaction():
        found = service.execute("SELECT reports, oldest IS NOT NULL FROM agent.waiting_reports()").fetchone()
        assert found == (2, True)
        assert service.execute("SELECT count(*) FROM agent.reports").fetchone() == (0,)


def test_the_example_of_the_documentation_is_a_report(site: Site) -> None:
    page = (Path(__file__).parents[2] / "docs" / "agents.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    answer = enrolled(site).report(raw=example.encode())
    assert answer.json["result"] == "changed"
    (row,) = site.rows("SELECT * FROM agent.inventory_latest")
    assert (row["hostname"], row["cpu_count"], row["disk_total"], row["mac_addresses"], row["ip_addresses"]) == (
        "web-01",
        2,
        53_687_091_200,
        ["52:54:00:12:34:56"],
        ["192.0.2.10", "2001:db8::5054:ff:fe12:3456"],
    )


def test_of_a_packed_report_no_more_is_unpacked_than_it_may_have(site: Site) -> None:
    machine, bomb = enrolled(site), gzip.compress(bytes(64 << 20), 9)
    tracemalloc.start()
    try:
        answer = machine.report(raw=bomb, headers={"Content-Encoding": "gzip"})
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert answer.status == 413
