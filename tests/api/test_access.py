"""Who gets in, as what, and that every request leaves one row, whoever asked and whatever came of it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from asset_ledger.api import exchange
from asset_ledger.api.app import create_app
from asset_ledger.api.service import FailedLogins, Limits, network_of
from asset_ledger.store.access import people, tokens
from asset_ledger.store.database import connect
from tests.api.site import RING, Site, basic, lock_info, md5, serving, state
from tests.patience import FOREVER_S, until

AT = "/terraform/state/shop/app"
PASSWORD = "correct horse battery"


def login(site: Site, username: str = "ann", password: str = PASSWORD, tenant: str = "acme") -> Any:
    body = json.dumps({"tenant": tenant, "username": username, "password": password}).encode()
    return site.ask("POST", "/api/v1/login", body, token="", headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("username", "enters"),
    [("acme/ann", True), ("ann", True), ("", True), ("acme/bob", False), ("rival/ann", False), ("bob", False), ("/", False)],
)  # fmt: skip
def test_a_token_is_its_users_password_and_nobody_elses(site: Site, username: str, enters: bool) -> None:
    token = site.token()
    assert site.ask("GET", AT, headers=basic(username, token)).status == (404 if enters else 401)


@pytest.mark.parametrize("word", ["Bearer", "bearer", "Token"])
def test_a_token_is_taken_as_bearer_too(site: Site, word: str) -> None:
    assert site.ask("GET", AT, headers={"Authorization": f"{word} {site.token()}"}).status == 404


@pytest.mark.parametrize(
    "given",
    [
        {}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer al_wrong"},
        {"Authorization": "Bearer x"}, {"Authorization": "Basic !!"}, {"Authorization": "Basic /w=="},
        {"Authorization": "Digest x"}, basic("acme/ann", PASSWORD), basic("acme/ann", ""), basic("acme/ann", "al_\0"),
        {"Authorization": "Bearer al_\xe9\xff"},
    ],
)  # fmt: skip
def test_whoever_has_no_token_that_holds_is_refused_before_anything_is_said(site: Site, given: dict[str, str]) -> None:
    site.token(password=PASSWORD)
    site.ask("POST", AT, state())
    for method, path in (
        ("GET", AT),
        ("GET", "/terraform/state/shop/none"),
        ("POST", AT),
        ("LOCK", AT),
        ("UNLOCK", AT),
        ("DELETE", AT),
        ("GET", "/api/v1/states"),
        ("GET", "/api/v1/states/terraform/shop/none/versions"),
        ("GET", "/api/v1/audit"),
        ("POST", "/terraform/lock/shop/app"),
    ):
        answer = site.ask(method, path, b"x" if method in ("POST", "LOCK") else None, token="", headers=given)
        assert answer.status in (401, 429), (method, path)
        assert answer.status == 429 or "Basic" in answer.headers["www-authenticate"]
        site.empty_failures()


def test_a_token_ends_when_it_is_revoked_expires_or_its_user_or_tenant_is_kept_out(site: Site) -> None:
    def enters(token: str) -> bool:
        return site.ask("GET", AT, headers=basic("", token)).status == 404

    admin, other = site.token("ann"), site.token("bob", "reader")
    with connect(site.database_url) as connection:
        tenant = site.tenants["acme"]
        user = people.users(connection, tenant)[0].id
        old = tokens.add_token(connection, tenant, user, "old", "admin", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
        assert (enters(admin), enters(other), enters(old)) == (True, True, False)
        people.disable_user(connection, "ann")
        assert (enters(admin), enters(other)) == (False, True)
        people.set_tenant(connection, "acme", active=False)
        assert (enters(admin), enters(other)) == (False, False)
        people.set_tenant(connection, "acme", active=True)
        (bobs,) = [each for each in tokens.tokens(connection, tenant) if each.username == "bob"]
        assert bobs.last_used_at is not None
        assert enters(other)
        tokens.revoke(connection, tenant, bobs.id)
        assert not enters(other)


def test_a_role_may_what_it_says_and_a_token_no_more_than_its_user(site: Site) -> None:
    asked = [("GET", AT, None), ("POST", AT, state()), ("LOCK", AT, lock_info("a")), ("UNLOCK", AT, lock_info("a")), ("UNLOCK", AT, None), ("DELETE", AT, None), ("GET", "/api/v1/states", None), ("GET", "/api/v1/audit", None)]  # fmt: skip
    site.ask("POST", AT, state())
    may = {
        "reader": [200, 403, 403, 403, 403, 403, 200, 403],
        "writer": [200, 200, 200, 200, 403, 405, 200, 403],
        "admin": [200, 200, 200, 200, 200, 405, 200, 200],
    }
    for role, statuses in may.items():
        token = site.token(role, role)  # type: ignore[arg-type]
        assert [site.ask(method, path, body, token=token).status for method, path, body in asked] == statuses, role
    was_admin = site.token("carl", "admin")
    site.token("carl", "reader")
    assert site.ask("POST", AT, state(), token=was_admin).status == 403


@pytest.fixture
def strict(database_url: str) -> Iterator[Site]:
    with serving(database_url, limits=Limits(failed_logins=3, failed_within_s=30)) as made:
        yield made


def test_junk_locks_no_token_out(strict: Site) -> None:
    token = strict.token()
    for given in ({"Authorization": "Bearer junk"}, basic("acme/ann", "al_guess"), {"Authorization": "Bearer al_junk"}):
        for _ in range(20):
            assert strict.ask("GET", AT, headers=given).status == 401
        assert strict.ask("GET", AT, headers=basic("acme/ann", token)).status == 404
        assert strict.ask("GET", AT, token=token).status == 404


def test_who_guesses_passwords_waits_and_tokens_do_not(strict: Site) -> None:
    token = strict.token(password=PASSWORD)
    for _ in range(3):
        assert login(strict, password="wrong guess of it").status == 401
    refused = login(strict)
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 31
    assert login(strict, tenant="other").status == 429, "the name is one, in whichever tenant"
    assert login(strict, username="bob").status == 401
    assert strict.ask("GET", AT, token=token).status == 404


def test_who_logs_in_rightly_is_never_counted(strict: Site) -> None:
    strict.token(password=PASSWORD)
    assert [login(strict).status for _ in range(5)] == [200] * 5


def test_guesses_at_once_are_no_more_than_guesses_one_by_one(strict: Site) -> None:
    strict.token(password=PASSWORD)
    with ThreadPoolExecutor(30) as threads:
        statuses = list(threads.map(lambda _: login(strict, password="wrong guess of it").status, range(30)))
    assert statuses.count(401) <= 3
    assert set(statuses) == {401, 429}


def test_an_address_fails_for_all_names_together_and_a_network_of_ipv6_is_one(strict: Site) -> None:
    tries = FailedLogins(3, 60)
    for number in range(15):
        assert tries.begin(f"2001:db8::{number:x}", f"name-{number}") == 0
    assert tries.begin("2001:db8::ffff", "another") > 0
    assert tries.begin("2001:db8:0:1::1", "another") == 0
    assert tries.begin("::ffff:10.0.0.1", "another") == 0
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1")
    assert network_of("fe80::1") == network_of("fe80::2")


def test_who_must_wait_is_not_forgotten_for_all_that_others_try() -> None:
    tries = FailedLogins(3, 60)
    for _ in range(3):
        assert tries.begin("10.0.0.1", "ann") == 0
    for number in range(12_000):
        tries.begin(f"10.1.{number >> 8}.{number & 255}", "x")
    assert tries.begin("10.0.0.1", "ann") > 0


def test_a_flood_of_logins_waits_for_itself_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    token, checked = site.token(), threading.Event()
    monkeypatch.setattr(exchange, "fits", lambda *_: not checked.wait(FOREVER_S))
    with ThreadPoolExecutor(60) as threads:
        running = [threads.submit(login, site, username=f"nobody{number}") for number in range(60)]
        try:
            # four at most are checked and eight wait; to the others it is said at once
            until(lambda: sum(each.done() for each in running) >= 60 - 12)
            for _ in range(20):
                assert site.ask("GET", AT, token=token).status == 404
            assert not all(each.done() for each in running)
        finally:
            checked.set()
        statuses = [each.result().status for each in running]
    assert set(statuses) == {401, 429}


@pytest.mark.parametrize("path", ["/api/v1/login", "/api/v1/tokens", "/api/v1/none"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_is_no_state_is_small(site: Site, path: str, chunked: bool) -> None:
    body = b'{"tenant":"acme","username":"ann","name":"' + b"x" * 70_000 + b'"}'
    headers = {"Content-Type": "application/json"} | ({"Transfer-Encoding": "chunked"} if chunked else {})
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    answer = site.ask("POST", path, sent, headers=headers)
    assert answer.status == (404 if path == "/api/v1/none" else 413)
    assert len(site.audited()) == 1


def test_a_body_without_an_end_is_not_held(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(
            b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            for _ in range(20):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        assert connection.recv(20).startswith(b"HTTP/1.1 413")


def test_who_is_not_logged_in_is_told_so_before_the_body_is_read(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    connection.putrequest("POST", "/api/v1/tokens")
    connection.putheader("Content-Length", "1000")
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()


def test_a_token_makes_none_that_outlives_it_and_ends_none_that_may_more(site: Site) -> None:
    wide = site.token(password=PASSWORD)
    json_type = {"Content-Type": "application/json"}

    def made(token: str, **told: Any) -> Any:
        return site.ask(
            "POST", "/api/v1/tokens", json.dumps({"name": "x"} | told).encode(), token=token, headers=json_type
        )

    day = made(wide, role="reader", days=1).json
    child = made(day["token"])
    assert (child.status, child.json["role"], child.json["expires_at"]) == (201, "reader", day["expires_at"])
    assert made(day["token"], days=30).status == 403
    assert made(day["token"], role="writer").status == 403
    assert made(login(site).json["token"], days=2).status == 403
    assert made(wide).json["expires_at"] is None
    ids = {each["name"]: each["id"] for each in site.ask("GET", "/api/v1/tokens", token=day["token"]).json}
    assert site.ask("DELETE", f"/api/v1/tokens/{ids['tests']}", token=day["token"]).status == 403
    assert site.ask("GET", "/api/v1/me", token=wide).status == 200
    site.token("ann", "reader")
    assert site.ask("DELETE", f"/api/v1/tokens/{ids['tests']}", token=day["token"]).status == 204, (
        "it may no more by now"
    )


def test_what_a_path_says_to_a_terminal_is_escaped_in_its_row(site: Site) -> None:
    site.ask("GET", "/api/v1/x%1b%5b31mRED%0a2026%c2%9b%e2%80%ae", token="")
    assert site.audited()[-1][3] == "GET /api/v1/x\\u001b[31mRED\\u000a2026\\u009b\\u202e"


@pytest.mark.parametrize(
    ("host", "address"),
    [("fe80::1%eth0", "fe80::1"), ("10.0.0.1", "10.0.0.1"), ("unix:", None), ("", None), ("::1%a%b", "::1")],
)
def test_an_address_is_stored_without_its_scope(site: Site, host: str, address: str | None) -> None:
    async def asked() -> list[Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        assert site.service is not None
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/none",
            "headers": [],
            "client": (host, 1),
            "query_string": b"",
        }
        await create_app(site.service)(scope, receive, send)
        return sent

    assert asyncio.run(asked())[0]["status"] == 404
    (row,) = site.rows("SELECT host(ip_address) AS ip FROM audit.audit_logs")
    assert row["ip"] == address


def test_a_password_gives_a_token_that_holds_twelve_hours(site: Site) -> None:
    site.token(password=PASSWORD)
    answer = login(site)
    assert answer.status == 200, answer.body
    assert answer.json["role"] == "admin"
    assert 11.9 < (datetime.fromisoformat(answer.json["expires_at"]) - datetime.now(UTC)).total_seconds() / 3600 < 12.1
    assert site.ask("GET", "/api/v1/me", token=answer.json["token"]).json == {"tenant": "acme", "username": "ann", "role": "admin"}  # fmt: skip
    assert site.rows("SELECT last_login_at FROM agent.users WHERE username = 'ann'")[0]["last_login_at"] is not None


def test_a_wrong_password_name_or_tenant_are_one_answer(site: Site) -> None:
    site.token(password=PASSWORD)
    site.token("bob", tenant="rival")
    answers = [
        login(site, password="another one of them"),
        login(site, username="nobody"),
        login(site, tenant="none"),
        login(site, tenant="rival"),
        login(site, username="bob", tenant="rival"),
    ]
    assert {(answer.status, answer.body) for answer in answers} == {(401, answers[0].body)}
    with connect(site.database_url) as connection:
        people.disable_user(connection, "ann")
    assert login(site).status == 401


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"tenant":"acme"}', b'{"tenant":"a\\u0000","username":"b","password":"hunter2hunter2"}', b'{"tenant":"acme","username":"ann","password":["hunter2hunter2"]}'])  # fmt: skip
def test_a_login_that_is_none_is_refused_without_repeating_it(site: Site, body: bytes) -> None:
    answer = site.ask("POST", "/api/v1/login", body, token="", headers={"Content-Type": "application/json"})
    assert answer.status == 422
    assert b"hunter2" not in answer.body


def test_people_make_list_and_end_their_own_tokens(site: Site) -> None:
    json_type = {"Content-Type": "application/json"}
    bob, ann = site.token("bob", "writer"), site.token("ann", "admin")
    made = site.ask("POST", "/api/v1/tokens", b'{"name":"ci","role":"reader","days":7}', token=bob, headers=json_type)
    assert made.status == 201
    assert site.ask("GET", "/api/v1/me", token=made.json["token"]).json["role"] == "reader"
    refused = site.ask("POST", "/api/v1/tokens", b'{"name":"more","role":"admin"}', token=bob, headers=json_type)
    assert refused.status == 403
    of_bob = site.ask("GET", "/api/v1/tokens", token=bob).json
    assert sorted(each["name"] for each in of_bob) == ["ci", "tests"]
    of_all = site.ask("GET", "/api/v1/tokens", token=ann).json
    assert len(of_all) == 3
    assert made.json["token"] not in json.dumps(of_all)
    (anns,) = [each["id"] for each in of_all if each["username"] == "ann"]
    assert site.ask("DELETE", f"/api/v1/tokens/{anns}", token=bob).status == 404
    (ci,) = [each["id"] for each in of_bob if each["name"] == "ci"]
    assert site.ask("DELETE", f"/api/v1/tokens/{ci}", token=bob).status == 204
    assert site.ask("DELETE", f"/api/v1/tokens/{ci}", token=bob).status == 404
    assert site.ask("GET", "/api/v1/me", token=made.json["token"]).status == 401


@pytest.mark.parametrize("days", ["true", '"7"', "7.5", "0"])
def test_days_that_are_no_count_make_no_token(site: Site, days: str) -> None:
    headers, token = {"Content-Type": "application/json"}, site.token()
    answer = site.ask("POST", "/api/v1/tokens", f'{{"name":"ci","days":{days}}}'.encode(), token=token, headers=headers)
    assert answer.status == 422
    assert len(site.ask("GET", "/api/v1/tokens", token=token).json) == 1


def test_every_request_leaves_one_row_whatever_came_of_it(site: Site) -> None:
    writer, reader = site.token("will", "writer"), site.token("rita", "reader")
    lock = lock_info("a")
    asked = [
        ("GET", AT, None, writer, {}, 404, "state.read"),
        ("POST", AT, state(), writer, {}, 200, "state.write"),
        ("POST", AT, b"x", writer, {}, 400, "state.write"),
        ("POST", AT, state(), writer, {"Content-MD5": md5(b"x")}, 400, "state.write"),
        ("POST", AT, state(), reader, {}, 403, "state.write"),
        ("GET", AT, None, reader, {}, 200, "state.read"),
        ("GET", "/terraform/state/shop/-", None, reader, {}, 400, "state.read"),
        ("LOCK", AT, lock, writer, {}, 200, "state.lock"),
        ("LOCK", AT, lock_info("b"), writer, {}, 423, "state.lock"),
        ("POST", AT, state(2), writer, {}, 423, "state.write"),
        ("UNLOCK", AT, lock_info("b"), writer, {}, 409, "state.unlock"),
        ("UNLOCK", AT, None, writer, {}, 403, "security.force_unlock"),
        ("UNLOCK", AT, lock, writer, {}, 200, "state.unlock"),
        ("DELETE", AT, None, writer, {}, 405, "state.write"),
        ("PATCH", AT, None, writer, {}, 405, "request"),
        ("GET", "/none%00/%ff", None, writer, {"User-Agent": "x" * 999, "X-Request-ID": "r-1"}, 404, "request"),
        ("GET", "/api/v1/states", None, writer, {}, 200, "states.read"),
        ("GET", "/api/v1/states?limit=x", None, writer, {}, 200, "states.read"),
        ("GET", "/api/v1/states/x/a/b/versions", None, writer, {}, 422, "states.read"),
        ("GET", "/api/v1/audit", None, writer, {}, 403, "security.audit"),
        ("GET", AT, None, "", {}, 401, "security.login"),
        ("GET", AT, None, "al_no", {}, 401, "security.login"),
    ]
    for number, (method, path, body, token, headers, status, kind) in enumerate(asked, 1):
        answer = site.ask(method, path, body, token=token, headers=headers)
        assert answer.status == status, (method, path, answer.body)
        found = site.audited()
        assert len(found) == number, (method, path, found[-2:])
        who = "nobody" if status == 401 or kind == "request" else "acme/will" if token == writer else "acme/rita"
        result = "success" if status == 200 else "refused"
        assert found[-1][:3] == (who, kind, result), (method, path)
    for path in ("/healthz", "/readyz", "/metrics"):
        assert site.ask("GET", path, token="").status == 200
    assert len(site.audited()) == len(asked)
    odd = site.rows(
        "SELECT event_action, user_agent, request_id, host(ip_address) AS ip FROM audit.audit_logs WHERE request_id = 'r-1'"
    )
    assert odd == [
        {"event_action": "GET /none\ufffd/\ufffd", "user_agent": "x" * 300, "request_id": "r-1", "ip": "127.0.0.1"}
    ]


def test_a_row_that_cannot_be_written_is_told_to_the_log_and_holds_no_refusal_back(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(site.database_url) as connection:
        connection.execute("REVOKE INSERT ON audit.audit_logs FROM asset_ledger_service")
        try:
            assert site.ask("GET", AT, token="").status == 401
        finally:
            connection.execute("GRANT INSERT ON audit.audit_logs TO asset_ledger_service")
    assert f"not recorded: GET {AT} 401 nobody" in caplog.text


def test_a_body_that_ends_too_early_leaves_a_row_and_no_version(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    connection.putrequest("POST", AT)
    connection.putheader("Authorization", f"Bearer {site.token()}")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b'{"version":4')
    connection.close()
    until(site.audited)
    assert [row[:3] for row in site.audited()] == [("acme/ann", "state.write", "refused")]
    assert site.versions() == []


def test_the_audit_is_read_by_administrators_of_the_tenant_and_holds_no_secret(site: Site) -> None:
    site.token(password=PASSWORD)
    rival = site.token("rob", tenant="rival")
    secret = state(outputs={"password": {"value": "Tr0ub4dor-in-a-state", "type": "string", "sensitive": True}})
    site.ask("POST", AT, secret)
    login(site)
    site.ask("GET", AT, token=rival)
    found = site.ask("GET", "/api/v1/audit?type=state.").json
    assert [(each["actor"], each["type"]) for each in found] == [("acme/ann", "state.write")]
    assert {each["actor"] for each in site.ask("GET", "/api/v1/audit", token=rival).json} == {"rival/rob"}
    told = json.dumps(site.rows("SELECT * FROM audit.audit_logs"), default=str)
    for hidden in ("Tr0ub4dor", PASSWORD, site.token(), rival):
        assert hidden not in told


def test_openapi_tells_every_json_route_and_how_to_log_in(site: Site) -> None:
    told = site.ask("GET", "/openapi.json", token="").json
    assert {"/api/v1/login", "/api/v1/states", "/api/v1/tokens", "/api/v1/audit", "/healthz"} <= set(told["paths"])
    assert told["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert "token" in told["paths"]["/api/v1/states"]["get"]["security"][0]
    assert "security" not in told["paths"]["/api/v1/login"]["post"]


def test_metrics_say_what_was_written_what_waits_and_who_failed(site: Site) -> None:
    def figures() -> dict[str, float]:
        lines = site.ask("GET", "/metrics", token="").body.decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    before = figures()
    site.ask("POST", AT, state())
    site.ask("POST", AT, state())
    site.ask("POST", "/terraform/state/shop/other", state(), token=site.token("rob", tenant="rival"))
    site.ask("GET", AT, token="al_no")
    now = figures()

    def more(name: str) -> float:
        return now[name] - before.get(name, 0)

    assert more('asset_ledger_state_writes_total{result="kept"}') == 2
    assert more('asset_ledger_state_writes_total{result="again"}') == 1
    assert more("asset_ledger_state_written_bytes_total") == 2 * len(state())
    assert more("asset_ledger_api_failed_logins_total") == 1
    assert more('asset_ledger_api_requests_total{status="200",what="state.write"}') == 3
    assert now["asset_ledger_state_versions_unparsed"] == 2, "of all tenants"
    assert 0 < now["asset_ledger_state_parse_delay_seconds"] < 60
    assert "acme" not in site.ask("GET", "/metrics", token="").body.decode()


def test_a_service_whose_database_is_away_lives_but_is_not_ready_and_says_so() -> None:
    nowhere = "postgresql://ledger:hunter2@127.0.0.1:1/none"
    with serving(nowhere, limits=Limits(wait_s=0.3), ring=RING) as site:
        assert site.ask("GET", "/healthz", token="").status == 200
        for path in ("/readyz", AT, "/api/v1/states"):
            answer = site.ask("GET", path, token="al_any")
            assert answer.status == 503, path
            assert b"DATABASE_UNAVAILABLE" in answer.body
            assert b"hunter2" not in answer.body
        # whoever watches is told so, with what the process counted, and no figure of before
        told = site.ask("GET", "/metrics", token="")
        assert told.status == 200
        lines = told.body.decode().splitlines()
        assert "asset_ledger_database_up 0.0" in lines
        (failed,) = [line for line in lines if line.startswith("asset_ledger_database_errors_total ")]
        assert float(failed.split()[1]) >= 4
        assert [line for line in lines if line.startswith("asset_ledger_api_requests_total") and 'status="503"' in line]
        assert not [
            line for line in lines if line.startswith(("asset_ledger_findings_open", "asset_ledger_agents_online"))
        ]


def test_a_service_over_a_schema_of_another_release_is_not_ready(site: Site) -> None:
    with connect(site.database_url) as connection:
        (now,) = connection.execute("SELECT version_num FROM public.alembic_version").fetchone() or ("",)
        connection.execute("UPDATE public.alembic_version SET version_num = '0001'")
        try:
            answer = site.ask("GET", "/readyz", token="")
            assert answer.status == 503
            assert b"db migrate" in answer.body
        finally:
            connection.execute("UPDATE public.alembic_version SET version_num = %s", [now])
    assert site.ask("GET", "/readyz", token="").status == 200
