"""Heartbeats and WebSockets of clients, as they are asked for over the network; logins that are remembered."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as websocket

from asset_ledger.api import presence
from asset_ledger.store.access.people import set_tenant, set_user
from asset_ledger.store.agents import clients
from asset_ledger.store.agents.clients import Enrolment, Holder
from asset_ledger.store.agents.presence import Timing
from asset_ledger.store.database import connect
from asset_ledger.store.tenancy import as_tenant
from tests.api.site import Answer, Site, serving
from tests.patience import FOREVER_S, soon, until
from tests.postgres import create_database, database_name, drop_database

QUICK = Timing(flush_s=0.02, table_s=0.02, sweep_s=0.1)
PATH = "/api/v1/agents/heartbeat"


@pytest.fixture(scope="module")
def shared_site(template_database: str) -> Iterator[Site]:
    url = create_database(template_database, template=database_name(template_database))
    with serving(url, timing=QUICK) as made:
        yield made
    drop_database(url)


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    shared_site.empty()
    yield shared_site
    until(lambda: not shared_site.service.presence._gathering.came)  # type: ignore[union-attr]


def enrolled(site: Site, hostname: str = "web-1", tenant: str = "acme") -> tuple[UUID, str]:
    """Return a client and its token."""
    tenant_id = site.tenant(tenant)
    with connect(site.database_url) as connection:
        user = set_user(connection, tenant_id, "ann", "writer", password_hash=None, email=None)
        with as_tenant(connection, tenant_id):
            asked = Enrolment(hostname=hostname, machine_key=uuid4().hex * 2)
            made = clients.enroll(connection, tenant_id, asked, user_id=user, who="ann")
    return made.client_id, made.token


def beat(site: Site, token: str, said: Any = None, **more: Any) -> Answer:
    body = json.dumps({"inventory": ""} if said is None else said).encode()
    return site.ask("POST", PATH, body, token=token, **more)


def status(site: Site, client: UUID) -> str:
    (row,) = site.rows("SELECT status FROM agent.clients WHERE id = %s", [client])
    return str(row["status"])


def report(site: Site, client: UUID, digest: bytes) -> None:
    with connect(site.database_url) as connection:
        connection.execute(
            "INSERT INTO agent.inventory_latest (tenant_id, client_id, collected_at, received_at, updated_at, since,"
            " collected_date, digest, payload_sha256, raw_data, raw_at)"
            " VALUES (%s, %s, now(), now(), now(), now(), current_date, 'd', %s, '{}', now())"
            " ON CONFLICT (tenant_id, client_id) DO UPDATE SET payload_sha256 = excluded.payload_sha256",
            [site.tenant("acme"), client, digest],
        )


# === The heartbeat ===


def test_a_beat_makes_its_client_online_and_is_no_row_of_the_audit(site: Site) -> None:
    client, token = enrolled(site)
    answer = beat(site, token)
    assert answer.status == 200
    assert answer.json == {"send_inventory": True, "heartbeat_s": 60, "latest_agent": None}
    assert answer.headers["content-type"] == "application/json"
    until(lambda: status(site, client) == "online")
    for _ in range(3):
        assert beat(site, token).status == 200
    assert [row[1] for row in site.audited()] == ["client.connect"]
    (row,) = site.rows("SELECT host(ip_address) AS ip FROM agent.clients")
    assert row["ip"] == "127.0.0.1"


def test_a_beat_asks_for_the_inventory_unless_it_names_the_last_one_taken(site: Site) -> None:
    client, token = enrolled(site)
    report(site, client, b"\x01" * 32)
    assert beat(site, token, {"inventory": "01" * 32}).json["send_inventory"] is False
    assert beat(site, token, {"inventory": "01" * 32, "more": [1]}).json["send_inventory"] is False
    assert beat(site, token, {"inventory": "02" * 32}).json["send_inventory"] is True
    assert beat(site, token, {}).json["send_inventory"] is True


def test_a_report_that_another_process_took_is_found_out_before_it_is_asked_for_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asset_ledger.api import client_logins

    client, token = enrolled(site)
    report(site, client, b"\x01" * 32)
    beat(site, token, {"inventory": "01" * 32})
    report(site, client, b"\x02" * 32)
    # not with every beat: one whose report is refused again and again would ask the database each time
    assert beat(site, token, {"inventory": "02" * 32}).json["send_inventory"] is True
    monkeypatch.setattr(client_logins, "_AGAIN_S", 0.0)
    assert beat(site, token, {"inventory": "02" * 32}).json["send_inventory"] is False


def test_what_this_process_took_is_known_at_once(site: Site) -> None:
    client, token = enrolled(site)
    assert beat(site, token, {"inventory": "03" * 32}).json["send_inventory"] is True
    assert site.service is not None
    site.service.client_logins.reported(client, b"\x03" * 32)
    assert beat(site, token, {"inventory": "03" * 32}).json["send_inventory"] is False


def test_a_beat_tells_of_the_latest_agent(site: Site) -> None:
    _, token = enrolled(site)
    with connect(site.database_url) as connection:
        connection.execute(
            "INSERT INTO agent.agent_versions (tenant_id, version, is_latest) VALUES (%s, '1.4.0', true)",
            [site.tenant("acme")],
        )
    until(lambda: beat(site, token).json["latest_agent"] == "1.4.0")


@pytest.mark.parametrize("body", [b"{", b"[]", b"nil", b'{"inventory": 7}', b'"x"', b"\xff"])
def test_a_beat_that_is_none_is_refused_recorded_and_no_sign_of_life(site: Site, body: bytes) -> None:
    client, token = enrolled(site)
    answer = site.ask("POST", PATH, body, token=token)
    assert (answer.status, answer.json["code"]) == (400, "BEAT_INVALID")
    assert [row[:3] for row in site.audited()] == [(f"acme/client {client}", "client.heartbeat", "refused")]
    assert site.rows("SELECT client_id FROM audit.audit_logs") == [{"client_id": client}]
    assert status(site, client) == "offline"


def test_nobody_but_a_client_may_beat(site: Site) -> None:
    client, token = enrolled(site)
    for wrong in ("", site.token(), "ac_" + "x" * 43, token[:-1], token + "x"):
        answer = beat(site, wrong)
        assert (answer.status, answer.json["code"]) == (401, "LOGIN_REFUSED")
        assert "Basic" in answer.headers["www-authenticate"]
    assert {row[:3] for row in site.audited()} == {("nobody", "security.login", "refused")}
    assert status(site, client) == "offline"
    assert beat(site, token).status == 200


def test_a_beat_is_posted_and_small(site: Site) -> None:
    _, token = enrolled(site)
    assert site.ask("GET", PATH, token=token).status == 405
    assert site.ask("POST", PATH, b"x" * 70_000, token=token).status == 413


def test_many_beats_at_once_are_one_client_and_one_row(site: Site) -> None:
    several = [enrolled(site, f"web-{n}") for n in range(8)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: beat(site, several[n % 8][1]).status, range(96)))
    assert set(answers) == {200}
    for client, _ in several:
        until(lambda client=client: status(site, client) == "online")
    assert len(site.audited()) == 8


def test_metrics_say_who_is_there(site: Site) -> None:
    client, token = enrolled(site)
    before = figure(site, 'asset_ledger_agent_heartbeats_total{via="post"}')
    beat(site, token)
    until(lambda: status(site, client) == "online")
    assert figure(site, "asset_ledger_agents_online") == 1
    assert figure(site, "asset_ledger_agents_heard") >= 1
    assert figure(site, 'asset_ledger_agent_heartbeats_total{via="post"}') == before + 1
    assert figure(site, 'asset_ledger_presence_up{place="table"}') == 1
    with pytest.raises(KeyError):
        figure(site, 'asset_ledger_presence_up{place="redis"}')


def figure(site: Site, name: str) -> float:
    told = site.ask("GET", "/metrics", token="").body.decode()
    lines = [line.rpartition(" ") for line in told.splitlines() if not line.startswith("#")]
    return {what: float(value) for what, _, value in lines}[name]


# === Logins that are remembered ===


def asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that grows with each question to the database whose a token is."""
    from asset_ledger.api import client_logins

    questions: list[bytes] = []
    real = client_logins.holder

    def counted(connection: Any, digest: bytes) -> Holder | None:
        questions.append(digest)
        return real(connection, digest)

    monkeypatch.setattr(client_logins, "holder", counted)
    return questions


def test_a_login_is_asked_once_and_none_of_its_beats_asks_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client, token = enrolled(site)
    report(site, client, b"\x01" * 32)
    questions = asked(site, monkeypatch)
    hears(site)
    for _ in range(5):
        beat(site, token, {"inventory": "01" * 32})
    assert len(questions) == 1


def hears(site: Site) -> None:
    """Wait until what ends a login is heard: what was asked before is not remembered past that."""
    assert site.service is not None
    site.service.client_logins._listen()
    until(lambda: site.service.client_logins._hears)  # type: ignore[union-attr]


@pytest.mark.parametrize("end", ["revoke", "rotate", "retire", "enrol again", "tenant"])
def test_a_login_that_ends_is_forgotten_at_once(site: Site, end: str) -> None:
    client, token = enrolled(site)
    _, other = enrolled(site, "web-2", tenant="rival")
    hears(site)
    assert beat(site, token).status == beat(site, other).status == 200
    tenant_id = site.tenant("acme")
    with connect(site.database_url) as connection:  # another process
        match end:
            case "tenant":
                set_tenant(connection, "acme", active=False)
            case _:
                with as_tenant(connection, tenant_id):
                    match end:
                        case "revoke":
                            clients.revoke(connection, tenant_id, client)
                        case "rotate":
                            clients.rotate(connection, tenant_id, client, who="ann")
                        case "retire":
                            clients.retire(connection, tenant_id, client)
                        case "enrol again":
                            (row,) = site.rows("SELECT machine_key FROM agent.clients WHERE id = %s", [client])
                            again = Enrolment(hostname="web-1", machine_key=row["machine_key"])
                            clients.enroll(connection, tenant_id, again, user_id=None, who="ann")
    until(lambda: beat(site, token).status == 401, 20)
    assert beat(site, other).status == 200


def test_a_token_that_its_client_has_replaced_holds_to_its_end_and_no_longer(site: Site) -> None:
    client, token = enrolled(site)
    tenant_id = site.tenant("acme")
    hears(site)
    beat(site, token)
    with connect(site.database_url) as connection, as_tenant(connection, tenant_id):
        new = clients.replace_own(connection, tenant_id, client, clients.hashed(token))
    assert beat(site, token).status == beat(site, new).status == 200
    with connect(site.database_url) as connection, as_tenant(connection, tenant_id):
        connection.execute(
            "UPDATE agent.client_tokens SET expires_at = now() + interval '1 second' WHERE expires_at > now()"
        )
    until(lambda: beat(site, token).status == 401)
    assert beat(site, new).status == 200


def test_when_the_line_is_cut_nothing_is_remembered_until_it_is_back(site: Site) -> None:
    client, token = enrolled(site)
    hears(site)
    beat(site, token)
    assert site.service is not None
    logins = site.service.client_logins
    assert logins.hit(token) is not None
    url, logins._database_url = logins._database_url, "postgresql://nobody@127.0.0.1:1/none"
    ended = site.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'asset_ledger logins' AND datname = current_database()"
    )
    assert len(ended) == 1
    until(lambda: logins.hit(token) is None)
    assert beat(site, token).status == 200
    kept = logins._kept[clients.hashed(token)]
    assert kept.until - kept.asked_at <= 60, "while nothing is heard, it holds for a minute"
    logins._database_url = url
    until(lambda: logins._hears)
    assert beat(site, token).status == 200
    with connect(site.database_url) as connection, as_tenant(connection, site.tenant("acme")):
        clients.revoke(connection, site.tenant("acme"), client)
    until(lambda: beat(site, token).status == 401, 20)


def test_what_is_told_while_the_database_is_asked_is_not_overheard(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from asset_ledger.api import client_logins

    client, token = enrolled(site)
    hears(site)
    assert site.service is not None
    logins, real = site.service.client_logins, client_logins.holder

    def slow(connection: Any, digest: bytes) -> Holder | None:
        found = real(connection, digest)
        logins.forget(client)  # as if it was told now, of what was read just before
        return found

    monkeypatch.setattr(client_logins, "holder", slow)
    assert beat(site, token).status == 200
    assert logins.hit(token) is None


def test_without_the_database_who_is_remembered_may_beat_and_others_are_told_to_come_again(site: Site) -> None:
    client, token = enrolled(site)
    _, stranger = enrolled(site, "web-2")
    hears(site)
    beat(site, token)
    until(lambda: status(site, client) == "online")
    assert site.service is not None
    pool, site.service._pool = site.service._pool, type(site.service._pool)("postgresql://x@127.0.0.1:1/x", most=1, wait_s=0.1)  # fmt: skip
    site.service._pool.start()
    try:
        assert beat(site, token).status == 200
        answer = beat(site, stranger)
        assert answer.status == 503
        assert "retry-after" in answer.headers
    finally:
        site.service._pool.stop()
        site.service._pool = pool
        site.service.client_logins._away_until = 0.0
    assert beat(site, stranger).status == 200


@contextmanager
def nobody_reads_tokens(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have every question whose a token is wait for as long as the service lets it."""
    from asset_ledger.store import pool as pools

    monkeypatch.setitem(pools._SETTINGS, "lock_timeout", "0")
    assert site.service is not None
    pool, site.service._pool = site.service._pool, pools.Pool(site.database_url, most=4, wait_s=5)
    site.service._pool.start()
    try:
        with connect(site.database_url) as connection, connection.transaction():
            connection.execute("LOCK TABLE agent.client_tokens IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        until(lambda: not waiting(site))
        site.service._pool.stop()
        site.service._pool = pool
        site.service.client_logins._away_until = 0.0


def waiting(site: Site) -> list[dict[str, Any]]:
    return site.rows("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def test_while_the_database_hangs_a_login_that_is_remembered_is_answered_from_memory(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asset_ledger.api import client_logins

    monkeypatch.setattr(client_logins, "_AGAIN_S", 0.0)
    monkeypatch.setattr(client_logins, "_ANSWER_S", FOREVER_S)
    monkeypatch.setattr(presence, "_WAIT_S", 0.05)
    client, token = enrolled(site)
    report(site, client, b"\x01" * 32)
    hears(site)
    assert beat(site, token, {"inventory": "01" * 32}).json["send_inventory"] is False
    with nobody_reads_tokens(site, monkeypatch):
        with soon():
            for _ in range(presence._MOST_LOOKING * 6):  # more than there are threads
                answer = beat(site, token, {"inventory": "02" * 32})
                assert (answer.status, answer.json["send_inventory"]) == (200, True)
            assert beat(site, token, {"inventory": "01" * 32}).json["send_inventory"] is False
        assert waiting(site), "the question hangs still"
    report(site, client, b"\x02" * 32)
    until(lambda: beat(site, token, {"inventory": "02" * 32}).json["send_inventory"] is False)


def test_a_question_that_the_database_does_not_answer_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from asset_ledger.api import client_logins

    _, token = enrolled(site)
    monkeypatch.setattr(client_logins, "_ANSWER_S", 0.1)
    with nobody_reads_tokens(site, monkeypatch), soon():
        answer = beat(site, token)
    assert (answer.status, "retry-after" in answer.headers) == (503, True)


# === The connection ===


def connected(site: Site, token: str, **more: Any) -> ClientConnection:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return websocket(
        f"ws://127.0.0.1:{site.port}/api/v1/agents/connect", additional_headers=headers, compression=None, **more
    )


def test_a_connection_is_a_sign_of_life_and_carries_beats(site: Site) -> None:
    client, token = enrolled(site)
    report(site, client, b"\x01" * 32)
    with connected(site, token) as line:
        until(lambda: status(site, client) == "online")
        for said, wanted in (({"inventory": "01" * 32}, False), ({"inventory": ""}, True)):
            line.send(json.dumps(said))
            assert json.loads(line.recv(30)) == {"send_inventory": wanted, "heartbeat_s": 60, "latest_agent": None}
        line.send(b'{"inventory": ""}')
        assert json.loads(line.recv(30))["heartbeat_s"] == 60
        assert figure(site, "asset_ledger_agent_connections") == 1
    until(lambda: figure(site, "asset_ledger_agent_connections") == 0)
    assert status(site, client) == "online", "it may be about to connect elsewhere"
    assert [row[1] for row in site.audited()] == ["client.connect"]


def test_a_quiet_connection_goes_on_being_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "_QUIET_S", 0.05)
    client, token = enrolled(site)
    assert site.service is not None
    heard = site.service.presence._gathering.known
    with connected(site, token):
        until(lambda: client in heard)
        first = heard[client].beat.at
        until(lambda: heard[client].beat.at > first)


def test_a_connection_ends_when_its_login_does(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "_QUIET_S", 0.1)
    client, token = enrolled(site)
    hears(site)
    with connected(site, token) as line:
        with connect(site.database_url) as connection, as_tenant(connection, site.tenant("acme")):
            clients.revoke(connection, site.tenant("acme"), client)
        with pytest.raises(ConnectionClosed) as closed:
            line.recv(30)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "the login holds no more")  # type: ignore[union-attr]


def test_the_newer_of_two_connections_stands(site: Site) -> None:
    _, token = enrolled(site)
    with connected(site, token) as old, connected(site, token) as new:
        with pytest.raises(ConnectionClosed) as closed:
            old.recv(30)
        assert closed.value.rcvd.code == 4001  # type: ignore[union-attr]
        new.send("{}")
        assert json.loads(new.recv(30))["heartbeat_s"] == 60
    until(lambda: figure(site, "asset_ledger_agent_connections") == 0)


@pytest.mark.parametrize(("said", "code"), [("nonsense", 1003), ("[1]", 1003), ("x" * 70_000, 1009)])
def test_a_message_that_is_none_ends_the_connection(site: Site, said: str, code: int) -> None:
    _, token = enrolled(site)
    with connected(site, token) as line:
        line.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            line.recv(30)
    assert closed.value.rcvd.code == code  # type: ignore[union-attr]


@pytest.mark.parametrize("token", ["", "ac_" + "x" * 43, "al_" + "x" * 43])
def test_who_may_not_connect_is_told_so_and_recorded(site: Site, token: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connected(site, token)
    answer = refused.value.response
    assert answer.status_code == 401
    assert json.loads(answer.body or b"")["code"] == "LOGIN_REFUSED"
    assert "Basic" in answer.headers["WWW-Authenticate"]
    assert site.audited() == [("nobody", "security.login", "refused", "GET /api/v1/agents/connect")]


def test_without_a_websocket_the_path_says_what_it_is_for(site: Site) -> None:
    client, token = enrolled(site)
    answer = site.ask("GET", presence.CONNECT, token=token)
    assert (answer.status, answer.json["code"], answer.headers["upgrade"]) == (426, "WEBSOCKET_NEEDED", "websocket")
    assert site.audited() == [(f"acme/client {client}", "client.connect", "refused", "GET /api/v1/agents/connect")]
    assert site.ask("GET", presence.CONNECT, token="").status == 401


@pytest.mark.parametrize("path", ["/terraform/state/shop/app", "/nowhere", "/api/v1/agents/connect/", "/metrics"])
def test_anywhere_else_asking_for_a_websocket_is_a_request_like_any_other(site: Site, path: str) -> None:
    plain = site.ask("GET", path)
    wanted = site.ask("GET", path, headers=UPGRADE)
    assert (wanted.status, sorted(wanted.headers)) == (plain.status, sorted(plain.headers))
    rows = site.audited()
    assert len(rows) == (0 if path == "/metrics" else 2)
    assert len(set(rows)) <= 1


def test_a_handshake_that_is_none_is_answered(site: Site) -> None:
    _, token = enrolled(site)
    broken = {**UPGRADE, "Sec-WebSocket-Key": "short", "Authorization": f"Bearer {token}"}
    assert site.ask("GET", presence.CONNECT, headers=broken).status == 400
    assert site.ask("GET", "/nowhere", headers=broken | {"Authorization": f"Bearer {site.token()}"}).status == 404


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
}


def test_an_app_without_that_protocol_answers_the_same(site: Site) -> None:
    """As under a server that hands every WebSocket to the app."""
    import asyncio

    from asset_ledger.api.app import create_app

    assert site.service is not None
    sent: list[dict[str, Any]] = []

    async def ask() -> None:
        came = iter([{"type": "websocket.connect"}])

        async def receive() -> dict[str, Any]:
            return next(came)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "websocket", "path": "/nowhere", "raw_path": b"/nowhere", "query_string": b"", "headers": [],
            "scheme": "ws", "client": ("192.0.2.1", 5), "server": ("127.0.0.1", 80), "root_path": "",
            "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        await create_app(site.service)(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(ask())
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert sent[0]["status"] == 404
    assert len(site.audited()) == 1


def test_a_service_that_ends_closes_connections_and_writes_what_it_heard(template_database: str) -> None:
    url = create_database(template_database, template=database_name(template_database))
    try:
        with ExitStack() as lines:
            with serving(url, timing=Timing(flush_s=30, table_s=30)) as own:
                client, token = enrolled(own)
                line = lines.enter_context(connected(own, token))
            with pytest.raises(ConnectionClosed) as closed:
                line.recv(30)
        assert closed.value.rcvd.code == 1012  # type: ignore[union-attr]
        assert [row["client_id"] for row in own.rows("SELECT client_id FROM agent.presence")] == [client]
    finally:
        drop_database(url)


@pytest.mark.needs("redis-server")
def test_without_redis_no_beat_is_refused(template_database: str, redis_server: Any) -> None:
    url = create_database(template_database, template=database_name(template_database))
    try:
        with serving(url, timing=QUICK, redis_url=redis_server.url) as own:
            client, token = enrolled(own)
            assert beat(own, token).status == 200
            until(lambda: status(own, client) == "online")
            with redis_server.client() as redis:
                assert redis.exists(f"client:{client}")
            redis_server.kill()
            for _ in range(5):
                assert beat(own, token).status == 200
            until(lambda: own.rows("SELECT FROM agent.presence"))
            assert figure(own, 'asset_ledger_presence_up{place="redis"}') == 0
            assert figure(own, 'asset_ledger_presence_flush_failures_total{place="redis"}') >= 1
            redis_server.start()
            until(lambda: figure(own, 'asset_ledger_presence_up{place="redis"}') == 1)
            with redis_server.client() as redis:
                assert redis.exists(f"client:{client}")
            assert [row[1] for row in own.audited()] == ["client.connect"]
    finally:
        drop_database(url)
